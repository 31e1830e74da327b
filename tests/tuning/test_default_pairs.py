"""One call gives one network and both halves, and such runs end certified, with the total right at every step."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import cojax
from cojax import theory

NODES, PARAMS = 12, 3
GRAPH = nx.erdos_renyi_graph(NODES, 0.35, seed=1)
NETWORKS = {
    "fixed": lambda: cojax.network(GRAPH),
    "lossy": lambda: cojax.Lossy(cojax.network(GRAPH), 0.3, key=3),
    "switching": lambda: cojax.network(cojax.graphs.switching(GRAPH, 3, seed=0)),
    "switching and lossy": lambda: cojax.Lossy(cojax.network(cojax.graphs.switching(GRAPH, 3, seed=0)), 0.3, key=3),
    "drawn": lambda: cojax.RandomGraph(NODES, 0.2, key=3),
    "drawn and lossy": lambda: cojax.Lossy(cojax.RandomGraph(NODES, 0.3), 0.3),
    "drawn in pairs": lambda: cojax.RandomPairs(NODES),
}


def cost(x, data):
    features, targets, demand, capacity = data
    return jnp.mean((features @ x.params - targets) ** 2) / 2 + (x.cpu - demand) ** 2 / (2 * capacity)


def problem_of(spread):
    """Least squares, and shares whose costs curve up to `spread` times as much at one node as at another."""
    random = np.random.default_rng(5)
    features = jnp.asarray(random.normal(size=(NODES, 12, PARAMS)))
    targets = features @ jnp.arange(1.0, PARAMS + 1) + jnp.asarray(random.normal(size=(NODES, 12)))
    demand, capacity = (
        jnp.asarray(random.uniform(1.0, 4.0, NODES)),
        jnp.asarray(spread ** random.uniform(0.0, 1.0, NODES)),
    )
    return cojax.Problem(cost, (features, targets, demand, capacity), budget=30.0)


@pytest.fixture(scope="module")
def problem():
    return problem_of(10.0)


@pytest.fixture(scope="module")
def start(problem):
    return problem.start(params=jnp.zeros((NODES, PARAMS)))


@pytest.mark.parametrize(
    "name",
    [
        "fixed",
        pytest.param("lossy", marks=pytest.mark.exhaustive),
        pytest.param("switching", marks=pytest.mark.exhaustive),
        "switching and lossy",
        "drawn",
        "drawn and lossy",
        "drawn in pairs",
    ],
)
def test_both_halves_end_certified_and_the_total_is_right_at_every_step(problem, start, name):
    network, method = cojax.default(problem, NETWORKS[name](), start)
    solution = cojax.solve_to(problem, network, method, start, tolerance=1e-6, max_steps=4000, every=500)
    assert cojax.Status(int(solution.status)) == cojax.Status.CONVERGED
    assert bool(cojax.is_certified(cojax.certificate(problem, solution.x), 1e-6))
    assert float(solution.state.imbalance) == 0.0
    # Least squares by linear algebra: the sum over nodes of means of as many samples each.
    features, targets = (np.concatenate(np.asarray(part)) for part in problem.data[:2])
    best = np.linalg.lstsq(features, targets, rcond=None)[0]
    # The certificate allows gradients of 1e-6 of the largest, whose Hessian is not below a tenth of its norm.
    np.testing.assert_allclose(np.asarray(solution.x.params), np.broadcast_to(best, (NODES, PARAMS)), atol=1e-4)


@pytest.mark.parametrize("name", ["drawn", "drawn and lossy", "drawn in pairs"])
def test_shares_alone_find_one_price_over_graphs_that_are_drawn(name):
    random = np.random.default_rng(2)
    demand, capacity = random.uniform(1.0, 4.0, NODES), 10.0 ** random.uniform(0.0, 1.0, NODES)
    problem = cojax.Problem(
        lambda x, data: (x.cpu - data[0]) ** 2 / (2 * data[1]), (demand, capacity), budget=demand.sum() + 5.0
    )
    given, start = NETWORKS[name](), problem.start()
    network, method = cojax.default_allocator(problem, given, start)
    solution = cojax.solve(problem, network, cojax.CoOpt(allocate=method), start, num_steps=2000, every=1000)
    assert float(solution.state.imbalance) == 0.0
    # Whatever is drawn, sums of two lots of twelve numbers of 20 round to 1e-14.
    np.testing.assert_allclose(solution.x.cpu, demand + 5.0 * capacity / capacity.sum(), atol=1e-9)
    for k in (0, 7):  # what is drawn stays as it was
        ours, theirs = (theory.laplacians(each.bare().at(k))[0].toarray() for each in (network, given))
        np.testing.assert_array_equal(ours, theirs)


def test_graphs_that_are_drawn_too_thin_to_choose_numbers_on_are_refused_by_their_name(problem, start):
    thin = cojax.RandomGraph(NODES, 1e-4, key=0)
    for choose in (cojax.default, cojax.default_learner, cojax.default_allocator):
        with pytest.raises(
            cojax.CojaxInputError, match=r"the first 64 graphs of a RandomGraph .* got \d+ parts of 12 nodes"
        ):
            choose(problem, thin, start)


@pytest.mark.parametrize("name", ["fixed", "lossy"])
def test_one_link_rounds_each_half_by_its_own_quantizer(problem, start, name):
    network, method = cojax.default(problem, NETWORKS[name](), start)
    solution = cojax.solve(problem, network, method, start, num_steps=10)
    # Before the first step and after each: three numbers of the model with 2 bits, one marginal cost with 1.
    assert float(solution.trace.bits[-1]) == 11 * (PARAMS * 2 + 1)


def test_weights_fit_the_shares_where_one_graph_stands_and_stay_where_graphs_take_turns(problem, start):
    kept = NETWORKS["switching"]()
    network, method = cojax.default(problem, kept, start)
    np.testing.assert_array_equal(network.weights, kept.weights)
    assert isinstance(method.allocate, cojax.Laplacian)
    network, method = cojax.default(problem, NETWORKS["fixed"](), start)
    alone, allocate = cojax.default_allocator(problem, NETWORKS["fixed"](), start)
    assert theory.spectrum(network) == theory.spectrum(alone) and isinstance(method.allocate, cojax.Nesterov)
    assert float(method.allocate.step_size) == float(allocate.step_size)


def test_two_defaults_over_one_of_their_networks_may_diverge_where_the_pair_does_not(start):
    problem = problem_of(1000.0)
    network, method = cojax.default(problem, NETWORKS["fixed"](), start)
    paired = cojax.solve_to(problem, network, method, start, tolerance=1e-4, max_steps=4000, every=500)
    assert cojax.Status(int(paired.status)) == cojax.Status.CONVERGED
    network, learn = cojax.default_learner(problem, NETWORKS["fixed"](), start)
    _, allocate = cojax.default_allocator(problem, NETWORKS["fixed"](), start)
    mixed = cojax.solve(problem, network, cojax.CoOpt(learn, allocate), start, num_steps=4000, every=500)
    assert not bool(cojax.is_certified(cojax.certificate(problem, mixed.x), 1e-4))


def test_a_half_that_is_not_there_is_left_out(problem, start):
    model = cojax.Problem(lambda x, data: jnp.sum((x.params - data) ** 2), jnp.arange(12.0).reshape(12, 1))
    _, method = cojax.default(model, NETWORKS["fixed"](), model.start(params=jnp.zeros((12, 1))))
    assert isinstance(method.learn, cojax.APAPC) and isinstance(method.allocate, cojax.Hold)
    shares = cojax.Problem(lambda x, data: data * x.cpu**2, jnp.arange(1.0, 13.0), budget=12.0)
    _, method = cojax.default(shares, NETWORKS["switching"](), shares.start())
    assert isinstance(method.allocate, cojax.Nesterov) and isinstance(method.learn, cojax.Hold)


def test_every_number_of_a_default_run_is_differentiable(problem, start):
    network, method = cojax.default(problem, NETWORKS["lossy"](), start)

    def final_cost(method):
        return cojax.solve(problem, network, method, start, num_steps=20, every=20).trace.cost[-1]

    slopes = jax.jit(jax.grad(final_cost))(method)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slopes))
    assert float(slopes.learn.step_size) != 0 and float(slopes.allocate.step_size) != 0


def test_a_directed_network_is_refused_with_a_way_out(problem, start):
    network = cojax.network(nx.DiGraph([(node, (node + 1) % NODES) for node in range(NODES)]))
    with pytest.raises(cojax.CojaxInputError, match="default_allocator needs an undirected network"):
        cojax.default(problem, network, start)


def test_a_node_alone_gets_its_default_too():
    alone = cojax.Problem(lambda x, want: jnp.sum((x.params - want) ** 2) + (x.cpu - want) ** 2, np.ones(1), budget=2.0)
    start = alone.start(params=jnp.zeros(1))
    network, method = cojax.default(alone, cojax.network(nx.empty_graph(1)), start)
    solution = cojax.solve_to(alone, network, method, start, tolerance=1e-6, max_steps=200, every=20)
    assert cojax.Status(int(solution.status)) == cojax.Status.CONVERGED
    np.testing.assert_allclose(solution.x.params, [1.0], atol=1e-6)
    assert float(solution.x.cpu[0]) == 2.0


@pytest.mark.parametrize("choose", [cojax.default, cojax.default_learner, cojax.default_allocator])
def test_what_does_not_fit_or_is_traced_is_refused_in_one_sentence(problem, start, choose):
    name = choose.__name__
    with pytest.raises(cojax.CojaxInputError, match=f"{name} needs one number of nodes .* 12 in problem, 5 in network"):
        choose(problem, cojax.network(nx.cycle_graph(5)), start)
    with pytest.raises(cojax.CojaxInputError, match=f"{name} computes on the host, got traced"):
        jax.eval_shape(lambda start: choose(problem, NETWORKS["fixed"](), start)[0].weights, start)


def test_a_start_that_decides_nothing_is_refused(problem):
    with pytest.raises(cojax.CojaxInputError, match="default needs a start with params or cpu, got one without"):
        cojax.default(problem, NETWORKS["fixed"](), cojax.Decision())


def billed(x, data):
    """The cost in a unit of money that is data, so that one program serves all units."""
    unit, *data = data
    return unit * cost(x, data)


@pytest.mark.parametrize("exponent", [-20, 20])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_unit_of_the_costs_changes_no_step(problem, start, name, exponent):
    """A cost in other units of money is another number at every step, and nothing else."""
    unit, runs = 2.0**exponent, []
    for each in (1.0, unit):
        told = cojax.Problem(billed, (jnp.full(NODES, each), *problem.data), budget=30.0)
        network, method = cojax.default(told, NETWORKS[name](), start)
        runs.append(cojax.solve(told, network, method, start, num_steps=200, every=20))
    np.testing.assert_allclose(np.asarray(runs[1].trace.cost) / unit, runs[0].trace.cost, rtol=1e-9)
    np.testing.assert_allclose(runs[1].x.cpu, runs[0].x.cpu, rtol=1e-6, atol=1e-9)
