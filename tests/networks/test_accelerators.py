"""Everything is lowered for GPUs and TPUs on a machine without one, and asks nothing of them that they round away."""

import itertools
import re

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax._support import exact_grid
from cojax.networks.laws import Transfer, Weigh
from cojax.problems.costs import LeastSquares, Samples
from cojax.problems.sparse import SparseFeatures

pytestmark = pytest.mark.optimised

PLATFORMS = ("cuda", "rocm", "tpu")
# What the platforms compute by their own libraries: eigenvectors, and the factors of a matrix.
LIBRARIES = r"(cusolver|hipsolver)_(getrf|syevd)_ffi|(cu|hip)_lu_pivots_to_permutation|LuDecomposition|Eigh"
METHOD = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.2))
GRAPH = laws.ring_with_chords()
PROBLEMS = {dtype: laws.quadratic(dtype=dtype) for dtype in (np.float32, np.float64)}
ARCS = nx.DiGraph([(i, (i + jump) % 8) for i in range(8) for jump in (1, 3)])
NOTHING = dict(num_steps=2, every=2, record=laws.nothing)


def lowered(function, *args):
    """The one program of `function` for all platforms, not compiled."""
    return jax.jit(function).trace(*args).lower(lowering_platforms=PLATFORMS).as_text()


def check(program):
    """No platform is asked for a call back into Python, or a library that it does not have."""
    calls = re.findall(r'custom_call @"?([\w.]+)', program)
    assert all(re.fullmatch(LIBRARIES, call) for call in calls), calls


def network(layout="neighbors", link=None, graph=GRAPH):
    return cojax.network(graph, nodelist=range(8), layout=layout, link=link)


def end(problem, network, method, start):
    return cojax.solve(problem, network, method, start, **NOTHING).x


def check_run(network, method=METHOD, dtype=np.float32, problem=None, start=None):
    problem = PROBLEMS[dtype] if problem is None else problem
    start = laws.start_of(PROBLEMS[dtype]) if start is None else start
    check(lowered(end, problem, network, method, start))


PAIRS = list(itertools.zip_longest(laws.LEARNERS, laws.ALLOCATORS))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: " with ".join(filter(None, pair)))
def test_every_method_is_lowered(pair):
    learner, allocator = pair
    directed = cojax.Directed(weights=jnp.asarray(cojax.weights.directed(8, np.asarray(ARCS.edges).T)))
    method = cojax.CoOpt(laws.LEARNERS[learner], laws.ALLOCATORS.get(allocator, cojax.Hold()))
    check_run(directed if learner.startswith("Push") else network(), method, np.float64)


MEMORY = {"quantizer": cojax.AdaptiveQuantizer(), "memory": "edge"}
CHANNELS = {
    "dense, uniform": ("dense", cojax.Quantized(cojax.UniformQuantizer(0.1, largest=9.0))),
    "neighbors, log": ("neighbors", cojax.Quantized(cojax.LogQuantizer(0.1, smallest=1e-3, largest=9.0))),
    "split, float": ("split", cojax.Quantized(cojax.FloatQuantizer(3))),
    "edges, adaptive": ("edges", cojax.Innovation(cojax.AdaptiveQuantizer())),
    "circulant, one bit": ("circulant", cojax.Innovation(cojax.OneBitQuantizer())),
    "neighbors, events": ("neighbors", cojax.EventTriggered(0.1)),
    "dense, a memory by edge": ("dense", cojax.Innovation(**MEMORY)),
    "neighbors, a memory by edge": ("neighbors", cojax.Innovation(**MEMORY)),
    "split, a memory by edge": ("split", cojax.Innovation(**MEMORY)),
    "edges, a memory by edge": ("edges", cojax.Innovation(**MEMORY)),
    "circulant, a memory by edge": ("circulant", cojax.Innovation(**MEMORY)),
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_layout_and_link_is_lowered(channel):
    layout, link = CHANNELS[channel]
    check_run(network(layout, link, nx.cycle_graph(8) if layout == "circulant" else GRAPH))


def test_digraphs_are_lowered():
    check_run(network("dense", graph=ARCS))


SWITCHING = cojax.network(laws.switching_graphs(), layout="neighbors")
FAULTY = cojax.Corrupted(cojax.Duplicated(cojax.Delayed(cojax.LossyOneWay(network(), 0.2), 2), 0.1), 0.1)
NETWORKS = {
    "lossy": cojax.Lossy(SWITCHING, 0.3),
    "intermittent": cojax.Intermittent(SWITCHING, 2),
    "random": cojax.RandomGraph(8, 0.5),
    "random pairs": cojax.RandomPairs(8),
    "with a ledger": cojax.Ledger(FAULTY),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_faults_and_their_ledger_are_lowered(name):
    check_run(NETWORKS[name])


def test_nodes_that_come_and_go_are_lowered():
    whole = PROBLEMS[np.float32]
    problem = cojax.Changing(whole, [cojax.Change(1, leaves=2, heir=3, budget=13.0), cojax.Change(2, joins=2)])
    start = problem.start(laws.start_of(whole).params)
    check_run(cojax.Ledger(cojax.Delayed(cojax.Members(network(), problem), 2)), problem=problem, start=start)


def test_sparse_features_and_minibatches_of_them_are_lowered():
    random = np.random.default_rng(0)
    features = SparseFeatures(random.integers(0, 3, (8, 5, 2)), random.normal(size=(8, 5, 2)).astype(np.float32), 3)
    loss, ones = LeastSquares(0.1), jnp.ones((8, 5), jnp.float32)
    problem = cojax.Problem(lambda x, data: loss(x.params, data), Samples(features, ones, ones))
    start = problem.start(jnp.zeros((8, 3), jnp.float32))
    check_run(network(), cojax.CoOpt(cojax.DIGing(0.1)), problem=cojax.Minibatch(problem, 2), start=start)


@pytest.mark.parametrize("layout", ["neighbors", "edges"])
def test_derivatives_of_both_modes_are_lowered(layout):
    problem = PROBLEMS[np.float32]
    start, net = laws.start_of(problem), network(layout)

    def cost(method):
        return problem.costs(end(problem, net, method, start)).sum()

    def both(method):
        return jax.jvp(jax.grad(cost), (method,), (method,))

    check(lowered(both, METHOD))


@pytest.mark.parametrize("axis", ["step_size", "seed"])
def test_sweeps_are_lowered(axis):
    def point(step_size=0.05, seed=0):
        method = cojax.CoOpt(cojax.DIGing(step_size), cojax.Laplacian(0.2))
        net = cojax.Lossy(network(), 0.3, key=seed) if axis == "seed" else network()
        return problem, net, method, start

    def run():
        return cojax.sweep(point, **{axis: [1, 2]}, **NOTHING).solution.x

    problem = PROBLEMS[np.float32]
    start = laws.start_of(problem)
    check(lowered(run))


def coupled(x, data):
    return jnp.sum(data * x.cpu**2) + 0.01 * jnp.prod(x.cpu) + jnp.sum((data @ x.params - 1) ** 2)


def optimal(problem, x):
    polished = cojax.polish(problem, x)
    return cojax.allocate(problem, x.params), cojax.certificate(problem, polished), cojax.sensitivities(problem, x)


def test_optima_and_their_certificates_are_lowered():
    data = jnp.ones((8, 2), jnp.float32)
    problem = cojax.Problem(coupled, data, budget=np.full(2, 8, np.float32), lower=0.0, upper=4.0)
    check(lowered(optimal, problem, problem.start(params=data)))


def precisions(program):
    """Those that its products ask for."""
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    assert products
    return {re.search(r"precision = \[(\w+), \1\]", line)[1] for line in products}


def test_every_product_of_a_run_is_as_precise_as_its_numbers():
    problem = PROBLEMS[np.float32]

    def cost(method):
        return problem.costs(end(problem, network("dense"), method, laws.start_of(problem))).sum()

    assert precisions(lowered(jax.grad(cost), METHOD)) == {"HIGHEST"}


def test_every_product_of_an_optimum_is_as_precise_as_its_numbers():
    data = jnp.ones((8, 2), jnp.float32)
    problem = cojax.Problem(coupled, data, budget=np.full(2, 8, np.float32), lower=0.0, upper=4.0)

    def moved(problem):
        return problem.costs(cojax.polish(problem, problem.start(params=data))).sum()

    def judged(problem):
        return cojax.certificate(problem, problem.start(params=data))

    assert precisions(lowered(jax.grad(moved), problem)) == precisions(lowered(judged, problem)) == {"HIGHEST"}


def test_a_coarser_product_can_be_chosen():
    problem = PROBLEMS[np.float32]
    with jax.default_matmul_precision("tensorfloat32"):
        program = lowered(lambda x: problem.grad(x), laws.start_of(problem))
    assert precisions(program) == {"HIGH"}


def test_shares_are_moved_and_counted_without_a_product_a_division_or_a_power():
    # A device may round these: products to 11 bits, divisions by two units in the last place, powers by logarithms.
    # A matrix has a product beside, for its derivatives, that XLA drops.
    problem, net = PROBLEMS[np.float32], network("edges")

    def shares(cpu, price):
        grid = exact_grid.grid_of(cpu)
        flow = net.hear(Transfer(jnp.float32(0.1), grid), price)
        wrapped = exact_grid.count_difference(cpu, flow, grid)
        return exact_grid.settle(wrapped, problem.budget), exact_grid.shortfall(wrapped, problem.budget)

    start = laws.start_of(problem).cpu
    program = lowered(shares, start, start)
    assert "round_nearest_even" in program  # so that this is it
    assert not re.search(r"stablehlo\.(dot_general|power|exponential|divide[^\n]*f32)", program)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_two_are_those_of_the_standard_library(dtype):
    info = jnp.finfo(dtype)
    exponents = np.arange(info.minexp, info.maxexp)
    powers = jax.vmap(lambda exponent: exact_grid.power_of_two(exponent, dtype))(jnp.asarray(exponents))
    np.testing.assert_array_equal(powers, np.ldexp(np.ones((), dtype), exponents))


@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_steps_that_are_one_program_keep_the_total_to_the_last_bit(layout):
    # Not in a loop, XLA computes a marginal cost where it is heard, and its last product fused with the difference: the
    # prices are so large that their rounding is many steps of the grid.
    random = np.random.default_rng(2)
    price, shares = 1e4 * random.uniform(0.5, 2, 40), random.uniform(0.5, 1.5, 40)
    problem = cojax.Problem(lambda x, price: price * x.cpu**2, price.astype(np.float32), budget=np.float32(40))
    start = problem.start(cpu=(40 * shares / shares.sum()).astype(np.float32))
    net = cojax.network(nx.random_regular_graph(10, 40, seed=0), nodelist=range(40), layout=layout)
    method = cojax.CoOpt(allocate=cojax.Laplacian(1e-5))

    @jax.jit
    def after_three(problem, start):
        state = cojax.init(problem, net, method, start)
        for _ in range(3):
            state = cojax.step(problem, net, method, state)
        return state.method.allocate.cpu

    cpu = after_three(problem, start)
    assert (np.asarray(cpu) != start.cpu).any()
    assert laws.exact_imbalance(cpu, problem.budget) == 0


def test_shares_that_flow_together_are_multiples_of_the_grid():
    # So that the scatters of a GPU, which add in any order, add without rounding; those of params round.
    random = np.random.default_rng(0)
    heard, grid = jnp.asarray(random.normal(size=8), jnp.float32), jnp.float32(2.0**-20)
    net = network("edges")
    flow = net.hear(Transfer(jnp.float32(0.1), grid), heard)
    np.testing.assert_array_equal(flow, np.round(flow / grid) * grid)
    weighed = net.hear(Weigh(), heard)
    assert (np.asarray(weighed) != np.round(weighed / grid) * grid).any()
