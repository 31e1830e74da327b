"""Modules of Equinox and Flax as they come, functions, flags and names among their leaves, in a cost and as params."""

from collections.abc import Callable

import equinox as eqx
import flax.nnx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cojax
from cojax import CojaxInputError
from cojax._support.modules import Parted, arrays_only

NODES, ROWS = 3, 6
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(NODES, ROWS, 2))
TARGETS = RANDOM.normal(size=(NODES, ROWS))
PRICE, DEMAND, BUDGET = np.linspace(1.0, 2.0, NODES), np.linspace(0.0, 2.0, NODES), 6.0
DATA = (FEATURES, TARGETS, PRICE, DEMAND)
NETWORK = cojax.network(nx.path_graph(NODES))
METHOD = cojax.CoOpt(cojax.ExactDiffusion(0.015), cojax.Laplacian(0.1))


class Layer(eqx.Module):
    """A linear map, with leaves that are no arrays: JAX would refuse the function and trace the flag."""

    linear: eqx.nn.Linear
    activation: Callable
    training: bool
    name: str
    gain: float

    def __call__(self, row):
        assert type(self.training) is bool and type(self.gain) is float and self.name == "layer"  # as they were given
        return self.gain * self.activation(self.linear(row), self.training)


class Nnx(flax.nnx.Module):
    """The same of Flax."""

    def __init__(self, linear):
        self.linear = flax.nnx.Linear(2, 1, param_dtype=jnp.float64, rngs=flax.nnx.Rngs(0))
        self.linear.kernel.set_value(linear.weight.T)
        self.linear.bias.set_value(linear.bias)
        self.activation, self.training, self.gain = passed_on, False, 2.0

    def __call__(self, row):
        return self.gain * self.activation(self.linear(row), self.training)


def passed_on(value, training):
    return jnp.sin(value) if training else value


LINEAR = eqx.nn.Linear(2, 1, key=jax.random.key(0))
LAYER = Layer(LINEAR, passed_on, False, "layer", 2.0)
KINDS = {"equinox": LAYER, "nnx": Nnx(LINEAR), "list": [LINEAR, lambda value: 2.0 * value]}


def predict(model, rows):
    if isinstance(model, list):
        return model[1](jax.vmap(model[0])(rows))[:, 0]
    return jax.vmap(model)(rows)[:, 0]


def cost(x, data):
    features, targets, price, demand = data
    errors = predict(x.params, features) - targets
    return jnp.sum(errors**2) + price * (x.cpu - demand) ** 2


def stacked(model):
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * NODES) if eqx.is_array(leaf) else leaf, model)


def optimum(features=FEATURES):
    """Weights, offset, shares, price and cost by NumPy; the model doubles what it computes."""
    rows = 2 * np.concatenate([features, np.ones((NODES, ROWS, 1))], axis=2).reshape(NODES * ROWS, -1)
    found, (left,), *_ = np.linalg.lstsq(rows, TARGETS.ravel(), rcond=None)
    price = (BUDGET - DEMAND.sum()) / (0.5 / PRICE).sum()
    cpu = DEMAND + price / (2 * PRICE)
    return found[:-1], found[-1], cpu, price, left + (PRICE * (cpu - DEMAND) ** 2).sum()


WEIGHT, OFFSET, CPU, PRICE_OF_ONE, LEAST = optimum()
PROBLEM = cojax.Problem(cost, DATA, BUDGET)


def check_model(model, tolerance):
    """Whether what is called is the least squares fit, at every node or in one copy."""
    rows = jnp.asarray(FEATURES[0])
    found = predict(model, rows) if isinstance(model, list) else jax.vmap(model)(rows)[:, 0]
    np.testing.assert_allclose(found, 2 * (FEATURES[0] @ WEIGHT + OFFSET), atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_as_it_comes_is_learned_and_can_be_called(kind, tmp_path):
    model = KINDS[kind]
    start = PROBLEM.start(stacked(model))
    solution = cojax.solve_to(
        PROBLEM, NETWORK, METHOD, start, tolerance=1e-5, max_steps=4000, every=400, checkpoint=tmp_path / "run.npz"
    )
    assert solution.status == cojax.Status.CONVERGED
    assert jax.tree.structure(solution.x.params) == jax.tree.structure(start.params)
    for node in range(NODES):
        check_model(jax.tree.map(lambda leaf, node=node: leaf[node], solution.x.params), 1e-4)
    np.testing.assert_allclose(solution.x.cpu, CPU, atol=1e-4)
    best = cojax.reference(PROBLEM, model)
    check_model(best.params, 1e-9)
    np.testing.assert_allclose([best.cost, best.price], [LEAST, PRICE_OF_ONE], rtol=1e-9)


@pytest.fixture(scope="module")
def run():
    start = PROBLEM.start(stacked(LAYER))
    return start, cojax.solve(PROBLEM, NETWORK, METHOD, start, num_steps=4, every=2)


def test_a_model_with_functions_is_read_as_the_module_it_was(run):
    start, solution = run
    models = solution.x.params
    assert isinstance(models.module, Layer) and models.linear.weight.shape == (NODES, 1, 2)
    assert models.training is False and models.activation is passed_on
    assert "Layer(linear=Linear(" in repr(start) and "activation=passed_on" in repr(solution.x)
    assert cojax.solve(PROBLEM, NETWORK, METHOD, solution.state, num_steps=2).state.step == 6
    assert jax.tree.structure(PROBLEM.start(models)) == jax.tree.structure(start)
    with pytest.raises(AttributeError, match="nothing"):
        _ = models.nothing


def test_every_judge_takes_the_module_itself_and_the_start(run):
    start, _ = run
    for params in (stacked(LAYER), start.params):
        x = cojax.Decision(params, start.cpu)
        np.testing.assert_allclose(cojax.allocate(PROBLEM, params).cpu, CPU, rtol=1e-9)
        polished = cojax.polish(PROBLEM, x)
        check_model(jax.tree.map(lambda leaf: leaf[0], polished.params), 1e-9)
        found = cojax.sensitivities(PROBLEM, x)
        np.testing.assert_allclose([found.cost, found.more.budget], [LEAST, PRICE_OF_ONE], rtol=1e-9)
        assert cojax.certificate(PROBLEM, x).gap > 0
    moved = cojax.shift(PROBLEM, start, budget=1.0)
    np.testing.assert_allclose(moved.cpu, (1 / PRICE) / (1 / PRICE).sum(), rtol=1e-9)
    assert cojax.is_certified(cojax.certificate(PROBLEM, polished), 1e-10)


def test_every_way_to_run_takes_a_model_with_functions(run):
    start, _ = run
    best = cojax.polish(PROBLEM, start)
    numbers = cojax.Reference(best, None, PROBLEM.costs(best).sum(), None, None, None)
    fast = {"num_steps": 4, "every": 2}
    runs = cojax.sweep(lambda step_size: (PROBLEM, NETWORK, cojax.CoOpt(cojax.DIGing(step_size)), start),
                       step_size=[0.01, 0.02], **fast)  # fmt: skip
    assert runs.solution.x.params.linear.weight.shape == (2, NODES, 1, 2)
    assert any(name.endswith("linear.weight") for name in runs.arrays())
    assert cojax.compare(PROBLEM, NETWORK, {"one": METHOD}, start, optimum=numbers, **fast)["one"].learn_gap[-1] < 1
    batch = cojax.Minibatch(PROBLEM, 2, samples=lambda data: data[:2])
    changing = cojax.Changing(PROBLEM, [cojax.Change(2, budget=7.0), cojax.Change(3, leaves=0, heir=1)])
    cut = cojax.shard(PROBLEM, NETWORK, start)
    for problem, network, begin in (
        (batch, NETWORK, start),
        (changing, cojax.Members(NETWORK, changing), changing.start(stacked(LAYER))),
        (cut.problem, cut.network, cut.start),
    ):
        done = cojax.solve(problem, network, METHOD, begin, num_steps=4, every=4)
        assert done.trace.imbalance.max() == 0.0
        assert done.x.params.module.activation is passed_on


@pytest.mark.exhaustive  # eleven programs
def test_what_chooses_numbers_takes_a_model_with_functions(run):
    start, solution = run
    best = [cojax.polish(PROBLEM, start)] * 2
    tuned = cojax.tune(PROBLEM, NETWORK, METHOD, [start, start], what=["learn.step_size"], num_steps=10, num_updates=1,
                       optima=best)  # fmt: skip
    assert tuned.after <= tuned.before
    network, method = cojax.default(PROBLEM, NETWORK, start)
    learned = cojax.solve(PROBLEM, network, method, start, num_steps=200, every=200)
    assert learned.trace.cost[-1] < solution.trace.cost[0]


def test_a_model_with_functions_has_derivatives(run):
    start, _ = run

    def last(begin):
        return cojax.solve(PROBLEM, NETWORK, METHOD, begin, num_steps=2).trace.cost[-1]

    slope = jax.jit(jax.grad(last))(start)
    for place in ((0, 0, 1), (2, 0, 0)):
        ends = [
            float(
                last(eqx.tree_at(lambda x: x.params.linear.weight, start, start.params.linear.weight.at[place].add(by)))
            )
            for by in (1e-5, -1e-5)
        ]
        np.testing.assert_allclose(slope.params.linear.weight[place], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


class Frozen(eqx.Module):
    """A cost with a network of its own before the model: features of the features."""

    network: eqx.nn.MLP
    twice: bool
    scale: float

    def __call__(self, x, data):
        features, targets, price, demand = data
        rows = jax.vmap(self.network)(features) if self.twice else features
        errors = rows @ x.params - targets
        return self.scale * jnp.sum(errors**2) + price * (x.cpu - demand) ** 2


def frozen_features(network, rows):
    hidden = np.tanh(rows @ np.asarray(network.layers[0].weight).T + np.asarray(network.layers[0].bias))
    return hidden @ np.asarray(network.layers[1].weight).T + np.asarray(network.layers[1].bias)


def frozen_least(network):
    rows = frozen_features(network, FEATURES).reshape(NODES * ROWS, -1)
    _, (left,), *_ = np.linalg.lstsq(rows, TARGETS.ravel(), rcond=None)
    return 0.5 * left + (PRICE * (CPU - DEMAND) ** 2).sum()


def test_a_cost_with_a_frozen_network_is_solved_judged_and_differentiated():
    network = eqx.nn.MLP(2, 3, 4, 1, activation=jnp.tanh, key=jax.random.key(1))
    problem = cojax.Problem(Frozen(network, True, 0.5), DATA, BUDGET)
    assert isinstance(problem.cost, Parted) and problem.cost.scale == 0.5  # read as the module itself
    start = problem.start(np.zeros((NODES, 3)))
    run = cojax.solve(problem, NETWORK, METHOD, start, num_steps=4, every=2)
    assert run.trace.imbalance.max() == 0.0
    np.testing.assert_allclose(cojax.reference(problem, np.zeros(3)).cost, frozen_least(network), rtol=1e-10)
    found = cojax.sensitivities(problem, start)
    weight = np.asarray(network.layers[0].weight)
    ends = []
    for by in (1e-5, -1e-5):
        bent = weight.copy()
        bent[1, 0] += by
        ends.append(frozen_least(eqx.tree_at(lambda net: net.layers[0].weight, network, bent)))
    np.testing.assert_allclose(found.own.network.layers[0].weight[1, 0], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
    assert "Frozen(network=MLP(" in repr(problem)


LEAVES = st.sampled_from([passed_on, jnp.tanh, jax.nn.relu, True, False, 1, 2.5, "name", None])
ARRAYS = st.integers(1, 3).map(lambda width: np.arange(float(width)))


def layers(parts):
    return st.builds(Layer, parts, parts, parts, parts, parts)


TREES = st.recursive(LEAVES | ARRAYS, layers, max_leaves=8)


@settings(max_examples=60, deadline=None)
@given(TREES.filter(lambda tree: isinstance(tree, Layer)))
def test_a_module_of_anything_has_arrays_as_leaves_and_comes_back(tree):
    held = arrays_only("test", tree)
    assert all(map(eqx.is_array_like, jax.tree.leaves(held)))
    assert [id(leaf) for leaf in jax.tree.leaves(held)] == [
        id(leaf) for leaf in jax.tree.leaves(tree) if isinstance(leaf, np.ndarray)
    ]
    again = arrays_only("test", jax.tree.map(lambda leaf: leaf, tree))
    assert jax.tree.structure(again) == jax.tree.structure(held)
    assert hash(jax.tree.structure(again)) == hash(jax.tree.structure(held))
    whole = held.module if isinstance(held, Parted) else held
    assert jax.tree.structure(whole) == jax.tree.structure(tree)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(tree), strict=True):
        assert type(one) is type(other) and np.array_equal(one, other) if eqx.is_array(other) else one is other


def test_what_is_no_model_is_refused_in_one_sentence():
    class Listed(eqx.Module):
        weight: jax.Array
        names: object

    for params, sentence in (
        (stacked(eqx.nn.Dropout(0.5)), "needs params that hold arrays, got a Dropout without any"),
        (jnp.tanh, "needs params that hold arrays, got a"),
        ({"w": np.ones((NODES, 2)), "mask": np.ones((NODES, 2), bool)}, r"for params\['mask'\], got bool"),
        ({"w": np.ones((NODES, 2)), "counts": np.ones(NODES, int)}, r"needs floats for params\['counts'\], got int64"),
        (Listed(np.ones((NODES, 2)), {1, 2}), "modules whose other parts Python can hash, got one in Listed"),
        ("weights", "needs real numbers for params, got <U7"),
        ([0.0] * NODES, r"needs 3 nodes on the first axis of params, got shape \(\)"),
    ):
        with pytest.raises(CojaxInputError, match=sentence):
            PROBLEM.start(params)
    dropout = flax.nnx.Dropout(0.5, rngs=flax.nnx.Rngs(0))
    with pytest.raises(CojaxInputError, match=r"needs floats for params\.rngs\.count\.value, got uint32"):
        PROBLEM.start(dropout)
    with pytest.raises(CojaxInputError, match="solve needs a start of arrays, got a function in it: make"):
        cojax.solve(PROBLEM, NETWORK, METHOD, cojax.Decision(stacked(LAYER), jnp.asarray(CPU)), num_steps=2)
