"""Numbers of 16, 32 and 64 bits side by side: every verb is right, or says in one sentence what is wrong."""

import contextlib
import itertools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import cojax
from cojax import CojaxInputError, costs, penalties

NODES, ROWS = 4, 6
RANDOM = np.random.default_rng(0)
FEATURES, TARGETS = RANDOM.normal(size=(NODES, ROWS, 2)), RANDOM.normal(size=(NODES, ROWS))
PRICE, DEMAND, BUDGET = np.linspace(1.0, 2.0, NODES), np.linspace(0.0, 3.0, NODES), 4.0
METHOD = cojax.CoOpt(cojax.DIGing(0.02, mixing=0.5), cojax.Laplacian(0.1))
FLOATS = {2: (jnp.bfloat16, jnp.float16), 4: (jnp.float32,), 8: (jnp.float64,)}
DIGITS = {2: 2e-2, 4: 2e-4, 8: 1e-9}  # of least squares with a condition number of some tens


@pytest.fixture(autouse=True)
def promotion_as_users_have_it():
    with jax.numpy_dtype_promotion("standard"):
        yield


def cost(x, data):
    features, targets, price, demand = data
    errors = features @ x.params["weight"] + x.params["offset"] - targets
    return jnp.sum(errors**2) + price * (x.cpu - demand) ** 2


def optimum():
    """Model, shares and price by NumPy."""
    rows = np.concatenate([FEATURES, np.ones((NODES, ROWS, 1))], axis=2).reshape(NODES * ROWS, -1)
    price = (BUDGET - DEMAND.sum()) / (0.5 / PRICE).sum()
    return np.linalg.lstsq(rows, TARGETS.ravel(), rcond=None)[0], DEMAND + price / (2 * PRICE), price


MODEL, CPU, PRICE_OF_ONE = optimum()


def flat(params):
    """One copy of the model, in float64."""
    return np.append(*(np.asarray(params[name], np.float64).reshape(-1) for name in ("weight", "offset")))


def made(weight, offset, samples, shares):
    """A problem and a start in these dtypes; `shares` is that of the budget and of what a share costs."""
    data = [jnp.asarray(part, samples) for part in (FEATURES, TARGETS)]
    problem = cojax.Problem(
        cost, (*data, *(jnp.asarray(part, shares) for part in (PRICE, DEMAND))), jnp.asarray(BUDGET, shares)
    )
    return problem, problem.start({"weight": jnp.zeros((NODES, 2), weight), "offset": jnp.zeros(NODES, offset)})


def widths(most):
    return st.sampled_from([each for bits, kinds in FLOATS.items() if bits <= most for each in kinds])


DTYPES = st.sampled_from((4, 8)).flatmap(
    lambda most: st.tuples(st.just(most == 8), widths(most), widths(most), widths(most), widths(most))
)


def check_every_verb(wide, weight, offset, samples, shares):
    with jax.enable_x64(wide):
        problem, start = made(weight, offset, samples, shares)
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(start)]
        learned = DIGITS[min(jnp.dtype(each).itemsize for each in (weight, offset, samples))]
        shared = DIGITS[min(jnp.dtype(shares).itemsize, problem.budget.dtype.itemsize)]
        allocation = cojax.allocate(problem, start.params)
        np.testing.assert_allclose(allocation.cpu, CPU, atol=3 * shared)
        np.testing.assert_allclose(allocation.price, PRICE_OF_ONE, atol=3 * shared)
        polished = cojax.polish(problem, start)
        best = cojax.reference(problem, jax.tree.map(lambda leaf: leaf[0], start.params))
        run = cojax.solve(problem, cojax.network(nx.cycle_graph(NODES)), METHOD, start, num_steps=4, every=2)
        assert run.trace.imbalance.max() == 0.0 and np.isfinite(run.trace.cost).all()
        for x in (polished, best.x, run.x):
            assert [leaf.dtype for leaf in jax.tree.leaves(x)] == dtypes
        for params in (jax.tree.map(lambda leaf: leaf[1], polished.params), best.params):
            np.testing.assert_allclose(flat(params), MODEL, atol=learned)
        np.testing.assert_allclose(cojax.sensitivities(problem, start).more.budget, PRICE_OF_ONE, atol=3 * shared)
        judged = cojax.certificate(problem, polished)
        assert judged.balance <= np.finfo(np.dtype(problem.budget.dtype)).eps * 8 and judged.gap < 1


def test_a_model_of_16_bits_beside_wider_numbers_is_solved_and_keeps_them():
    check_every_verb(False, jnp.bfloat16, jnp.float32, jnp.float32, jnp.float32)


@pytest.mark.exhaustive
@settings(max_examples=40, deadline=None)
@given(DTYPES)
def test_params_data_and_shares_of_any_widths_are_solved_and_keep_them(dtypes):
    check_every_verb(*dtypes)


PLACES = [
    pytest.param(place, marks=pytest.mark.exhaustive if place[3] and not all(place) else ())  # programs of their own
    for place in itertools.product((False, True), repeat=4)
]


@pytest.mark.parametrize("inside", PLACES, ids=str)
def test_what_was_made_in_64_bits_and_used_in_32_is_right_or_refused(inside):
    """Problem, start and network are made, and the verbs called, in an `enable_x64` block or outside of it."""
    made_in, start_in, network_in, called_in = map(jax.enable_x64, inside)
    with made_in:
        problem = cojax.Problem(cost, (FEATURES, TARGETS, PRICE, DEMAND), BUDGET)
    own = [problem]
    with start_in:
        if inside[0] != inside[1]:
            own = [cojax.Problem(cost, (FEATURES, TARGETS, PRICE, DEMAND), BUDGET)]
        start = own[0].start({"weight": np.zeros((NODES, 2)), "offset": np.zeros(NODES)})
    with network_in:
        network = cojax.network(nx.cycle_graph(NODES))
    verbs = {
        "start": lambda: problem.start(start.params).cpu.sum() - BUDGET,
        "shares": lambda: problem.start(start.params, start.cpu).cpu.sum() - BUDGET,
        "solve": lambda: cojax.solve(problem, network, METHOD, start, num_steps=2).trace.imbalance.max(),
        "step": lambda: cojax.step(problem, network, METHOD, cojax.init(problem, network, METHOD, start)).imbalance,
        "allocate": lambda: cojax.allocate(problem, start.params).cpu - CPU,
        "certificate": lambda: cojax.certificate(problem, start).balance,
        "shard": lambda: cojax.shard(problem, network, start).start.cpu.sum() - BUDGET,
        "tuned": lambda: cojax.tuned(cojax.Laplacian, problem, network, start).step_size > 0 and 0.0,
        "minibatch": lambda: cojax.Minibatch(problem, 2, samples=lambda data: data[:2]).base.budget - BUDGET,
    }
    answered = set()
    with called_in:
        for name, verb in verbs.items():
            with contextlib.suppress(CojaxInputError):
                np.testing.assert_allclose(verb(), 0.0, atol=1e-5)
                answered.add(name)
    if len(set(inside)) == 1:
        assert answered == set(verbs)
    if inside[0] and not inside[3]:
        assert not answered


def test_a_state_of_another_precision_is_refused():
    problem = cojax.Problem(cost, tuple(np.float32(part) for part in (FEATURES, TARGETS, PRICE, DEMAND)), np.float32(4))
    network = cojax.network(nx.cycle_graph(NODES))
    zeros = {"weight": np.zeros((NODES, 2), np.float32), "offset": np.zeros(NODES, np.float32)}
    wide = cojax.solve(problem, network, METHOD, problem.start(zeros), num_steps=2)
    with jax.enable_x64(False), pytest.raises(CojaxInputError, match="solve needs network in the 32 bits that JAX"):
        cojax.solve(problem, network, METHOD, wide.state, num_steps=2)
    with jax.enable_x64(False):
        narrow = cojax.network(nx.cycle_graph(NODES))
        state = cojax.solve(problem, narrow, METHOD, problem.start(zeros), num_steps=2).state
    with pytest.raises(CojaxInputError, match="a run in the precision of this one, got float32 for float64"):
        cojax.solve(problem, narrow, METHOD, state, num_steps=2)
    with pytest.raises(CojaxInputError, match="certificate needs cpu in the float32 of the budget, got float64"):
        cojax.certificate(problem, cojax.Decision(zeros, jnp.asarray(CPU)))


def plain(x, a):
    return a * x.cpu**2


def test_numbers_beyond_float32_are_refused_at_every_entrance():
    with jax.enable_x64(True):
        wide = jnp.full(NODES, 1e300)
    with jax.enable_x64(False):
        ones, huge = np.ones(NODES), np.full(NODES, 1e39)
        problem = cojax.Problem(plain, ones, BUDGET)
        entrances = {
            "data": lambda: cojax.Problem(plain, huge, BUDGET),
            "data of JAX": lambda: cojax.Problem(plain, wide, BUDGET),
            "the cost's own": lambda: cojax.Problem(jax.tree_util.Partial(lambda a, x, data: a, wide), ones),
            "budget": lambda: cojax.Problem(plain, ones, wide[0]),
            "lower": lambda: cojax.Problem(plain, ones, BUDGET, lower=-wide),
            "params": lambda: problem.start(huge),
            "params of JAX": lambda: problem.start(wide),
            "cpu": lambda: problem.start(cpu=huge),
            "cpu of JAX": lambda: problem.start(cpu=wide),
            "a new budget": lambda: cojax.Changing(problem, [cojax.Change(2, budget=1e39)]),
            "new data": lambda: cojax.Changing(problem, [cojax.Change(2, data=huge)]),
            "a direction": lambda: cojax.shift(problem, budget=1e39),
            "samples": lambda: cojax.datasets.split(huge[:, None], ones, 2, seed=0),
            "targets": lambda: cojax.datasets.split_by_target(ones[:, None], huge, 2, seed=0),
            "sparse samples": lambda: cojax.datasets.split(sparse.csr_array(huge[:, None]), ones, 2, seed=0),
            "a sparse column": lambda: costs.SparseFeatures([[[2**40]]], [[[1.0]]], 3),
            "a sparse value": lambda: costs.SparseFeatures([[[0]]], [[[1e39]]], 3),
            "weights": lambda: cojax.network(np.array([[0, 1e39], [1e39, 0]])),
            "a step": lambda: cojax.Laplacian(1e39),
            "a step of 0": lambda: cojax.DIGing(1e-50),
            "a ridge": lambda: costs.LeastSquares(1e39),
            "a penalty": lambda: penalties.PowerPenalty(1e300),
            "scheduled steps": lambda: cojax.Scheduled(cojax.Laplacian(0.1), {"step_size": [1e39]}),
        }
        for name, entrance in entrances.items():
            with pytest.raises(CojaxInputError) as caught:
                entrance()
            assert "\n" not in str(caught.value), name
        assert cojax.datasets.split(np.full((4, 1), 2**40), ones, 2, seed=0).features.max() == 2.0**40


def test_params_of_whole_numbers_or_flags_are_refused_in_every_verb():
    problem = cojax.Problem(cost, (FEATURES, TARGETS, PRICE, DEMAND), BUDGET)
    for dtype in (int, bool):
        params = {"weight": np.zeros((NODES, 2)), "offset": np.zeros(NODES, dtype)}
        one = {"weight": np.zeros(2), "offset": np.zeros((), dtype)}
        for owner, verb in {
            "Problem.start": lambda params=params: problem.start(params),
            "allocate": lambda params=params: cojax.allocate(problem, params),
            "polish": lambda params=params: cojax.polish(problem, cojax.Decision(params)),
            "certificate": lambda params=params: cojax.certificate(problem, cojax.Decision(params, jnp.asarray(CPU))),
            "reference": lambda one=one: cojax.reference(problem, one),
        }.items():
            with pytest.raises(
                CojaxInputError, match=rf"{owner} needs (floats|real numbers) for params\['offset'\], got"
            ):
                verb()


def halved(value):
    return jax.lax.while_loop(lambda v: jnp.abs(v) > 1, lambda v: v / 2, value)


def on_host(value):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), value.dtype), value, vmap_method="sequential")


def told(value):
    return jax.experimental.io_callback(np.sin, jax.ShapeDtypeStruct((), value.dtype), value)


@pytest.mark.parametrize("function", [halved, on_host, told])
def test_a_cost_that_jax_cannot_differentiate_is_named_in_every_verb(function):
    problem = cojax.Problem(lambda x, a: function(x.cpu) * a, PRICE, BUDGET)
    network, start = cojax.network(nx.cycle_graph(NODES)), problem.start()
    for verb in (
        lambda: cojax.solve(problem, network, METHOD, start, num_steps=2),
        lambda: cojax.init(problem, network, METHOD, start),
        lambda: cojax.default(problem, network, start),
        lambda: cojax.tuned(cojax.Laplacian, problem, network, start),
        lambda: cojax.allocate(problem),
        lambda: cojax.certificate(problem, start),
        lambda: cojax.polish(problem),
        lambda: cojax.reference(problem),
    ):
        with pytest.raises(CojaxInputError, match=r"cost.*(lax.while_loop|jax.numpy)") as caught:
            verb()
        assert "\n" not in str(caught.value)
