"""What must hold on 8 devices where they do not divide the nodes; `test_sharding.py` runs it as `eight_devices.py`."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax
import pytest
from programs.eight_devices import COARSE, EDGE_MEMORY, scrambled_grid
from support import laws

import cojax
from cojax.networks.base import Wire
from cojax.networks.connectivity import connects
from cojax.networks.devices.padding import with_rows, with_zeros
from cojax.networks.laws import Transfer, Weigh

NUM_NODES = 21  # in 24 rows


def uneven_grid():
    return scrambled_grid(3, 7)


NETWORKS = {
    "a table, lost, with memory by edge": lambda graph: cojax.Lossy(
        cojax.network(graph, nodelist=range(NUM_NODES), layout="neighbors", link=EDGE_MEMORY), 0.3, key=2
    ),
    "a matrix, quantized": lambda graph: cojax.network(
        graph, nodelist=range(NUM_NODES), layout="dense", link=cojax.Quantized(COARSE)
    ),
    "shifts, now and then": lambda _: cojax.Intermittent(
        cojax.network(nx.circulant_graph(NUM_NODES, [1, 3]), layout="circulant"), 2
    ),
    "a list of edges, lost": lambda graph: cojax.Lossy(
        cojax.network(graph, nodelist=range(NUM_NODES), layout="edges", link=EDGE_MEMORY), 0.3
    ),
    "a directed graph": lambda _: cojax.network(nx.cycle_graph(NUM_NODES, create_using=nx.DiGraph)),
    "a graph drawn in every step": lambda _: cojax.RandomGraph(NUM_NODES, 0.3, key=1),
    "pairs drawn in every step": lambda _: cojax.RandomPairs(NUM_NODES, key=1),
    "a computed table, lost, with memory by edge": lambda _: cojax.Lossy(
        cojax.Computed(cojax.graphs.computed("geometric", NUM_NODES, seed=1), link=EDGE_MEMORY), 0.3, key=2
    ),
    "a computed ring": lambda _: cojax.Computed(cojax.graphs.computed("ring", NUM_NODES)),
    "a computed table, told of events": lambda _: cojax.Computed(
        cojax.graphs.computed("regular", NUM_NODES, links=4), link=cojax.EventTriggered(0.05, 0.9)
    ),
    "a table, told of events": lambda graph: cojax.network(
        graph, nodelist=range(NUM_NODES), layout="neighbors", link=cojax.EventTriggered(0.05, 0.9)
    ),
}
MARKS = {kind: pytest.mark.exhaustive for kind in NETWORKS if kind not in ("a matrix, quantized", "a computed ring")}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in NETWORKS])
def test_nodes_that_do_not_fill_the_devices_run_as_on_one(kind):
    problem, network = laws.quadratic(NUM_NODES), NETWORKS[kind](uneven_grid())
    start, length = laws.start_of(problem), dict(num_steps=20, every=10)
    method = cojax.CoOpt(cojax.DIGing(jnp.linspace(0.01, 0.06, NUM_NODES)), cojax.Laplacian(0.3))
    alone = cojax.solve(problem, network, method, start, **length)
    cut = cojax.shard(problem, network, start)
    shared = cojax.solve(cut.problem, cut.network, method, cut.start, **length)
    np.testing.assert_array_equal(shared.x.cpu, alone.x.cpu)
    # Sums in another order: a few roundings of numbers of size 1 in each of 20 steps.
    np.testing.assert_allclose(shared.x.params, alone.x.params, rtol=1e-12, atol=1e-13)
    assert int(shared.status) == int(alone.status)
    for here, there in zip(*map(jax.tree.leaves, (shared.trace, alone.trace)), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-12, atol=1e-13)
    assert not np.asarray(shared.trace.imbalance).any()


@pytest.mark.parametrize("size", [3, 21, 100])  # of 8 devices some may hold no node at all
def test_rows_without_a_node_have_no_neighbour_in_a_computed_graph(size):
    graph = cojax.graphs.computed("regular", size, links=2, seed=3)
    known = graph.edge_list().to_networkx()
    price, rows = np.arange(float(size)), -(-size // 8) * 8
    problem = cojax.Problem(lambda x, price: price * x.cpu**2, price, budget=1.0)
    table = cojax.shard(problem, cojax.Computed(graph), problem.start()).network.at(0)
    assert {shard.data.shape for shard in table.index.addressable_shards} == {(2, rows // 8)}
    heard = np.random.default_rng(0).normal(size=(rows, 2))
    wanted = np.zeros((rows, 2))
    for a, b in known.edges:
        weight = 1 / (1 + max(known.degree[a], known.degree[b]))
        wanted[a] += weight * (heard[b] - heard[a])
        wanted[b] += weight * (heard[a] - heard[b])
    flow = jax.jit(lambda heard: table.flow(Wire(heard), Weigh()))(jnp.asarray(heard))
    np.testing.assert_allclose(flow, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("barrier", ["neighbours", "all"])
def test_the_clock_of_nodes_that_do_not_fill_the_devices_is_that_of_one_device(barrier):
    problem, random = laws.quadratic(NUM_NODES), np.random.default_rng(0)
    latency = random.uniform(0.0, 1.0, (NUM_NODES, NUM_NODES))
    clock = cojax.Clock(random.uniform(0.5, 2.0, NUM_NODES), share=1.0, latency=latency + latency.T, barrier=barrier)
    network = cojax.Timed(NETWORKS["a table, lost, with memory by edge"](uneven_grid()), clock)
    method, start = cojax.CoOpt(allocate=cojax.Laplacian(0.1)), laws.start_of(problem)
    wanted = cojax.solve(problem, network, method, start, num_steps=12).trace.seconds
    shards = cojax.shard(problem, network, start)
    found = cojax.solve(shards.problem, shards.network, method, shards.start, num_steps=12).trace.seconds
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_derivatives_of_nodes_that_do_not_fill_the_devices_are_those_of_one_device():
    problem, link = laws.quadratic(NUM_NODES), cojax.Quantized(COARSE)
    table = cojax.network(uneven_grid(), nodelist=range(NUM_NODES), layout="neighbors", link=link)

    def run(given, cut):
        step_size, weights, demand, cpu = given
        box = dict(lower=-1.0, upper=2.0, penalty=cojax.penalties.PowerPenalty(0.1))
        posed = cojax.Problem(laws.cost, (*problem.data[:3], demand), problem.budget, **box)
        parts = posed, cojax.Lossy(table.reweighted(weights), 0.3), cojax.Decision(jnp.zeros((NUM_NODES, 3)), cpu)
        posed, network, start = cojax.shard(*parts) if cut else parts
        method = cojax.CoOpt(allocate=cojax.Laplacian(step_size))
        x = cojax.solve(posed, network, method, start, num_steps=10, every=5, record=laws.nothing).x
        return jnp.sum(x.cpu**3), x.cpu

    at = (jnp.asarray(0.3), table.weights, problem.data[3], laws.start_of(problem).cpu)
    programs = (jax.jit(jax.grad(functools.partial(run, cut=cut), has_aux=True)) for cut in (True, False))
    (here, shared), (there, alone) = (program(at) for program in programs)
    np.testing.assert_array_equal(shared, alone)
    for got, expected in zip(here, there, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)  # sums over nodes in another order


def test_what_has_no_value_where_a_gradient_is_0_has_one_where_no_node_is():
    direction = optax.stateless(lambda grad, params: jax.tree.map(lambda leaf: leaf / jnp.sqrt(leaf * leaf), grad))
    learner = cojax.CoOpt(learn=cojax.DIGing(0.1, transform=direction))
    path = cojax.network(nx.path_graph(5), layout="dense")  # whose products spread what is NaN anywhere

    def run(step_size, targets, cut):
        posed = cojax.Problem(lambda x, target: (x.params - target) ** 2, targets), path, cojax.Decision(jnp.zeros(5))
        problem, network, start = cojax.shard(*posed) if cut else posed
        method = eqx.tree_at(lambda each: each.learn.step_size, learner, step_size)
        x = cojax.solve(problem, network, method, start, num_steps=3, every=3, record=laws.nothing).x
        return jnp.sum(x.params**3), x.params

    at = jnp.asarray(0.1), jnp.arange(1.0, 6.0)
    programs = (jax.jit(jax.grad(functools.partial(run, cut=cut), (0, 1), has_aux=True)) for cut in (True, False))
    here, there = (jax.tree.leaves(program(*at)) for program in programs)
    for got, expected in zip(here, there, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)  # sums over nodes in another order


def test_minibatches_of_nodes_that_do_not_fill_the_devices_are_those_of_one_device():
    def cost(x, samples):  # without a derivative at 0, in all three: what rows that hold no node could have
        return jnp.mean(jnp.sqrt(x.params * x.params) / samples) + jnp.sqrt(x.cpu)

    random = np.random.default_rng(0)
    box = dict(lower=0.0, upper=2.0, penalty=cojax.penalties.BarrierPenalty(0.1))
    whole = cojax.Problem(cost, random.normal(size=(NUM_NODES, 6)), budget=1.0 * NUM_NODES, **box)
    network, start = (
        cojax.network(nx.cycle_graph(NUM_NODES)),
        cojax.Decision(random.normal(size=NUM_NODES), np.ones(NUM_NODES)),
    )

    @jax.jit
    def gradients(start):
        cut = cojax.shard(whole, network, start)
        here, there = (cojax.Minibatch(posed, 2, samples=lambda data: data).at(3) for posed in (cut.problem, whole))
        return here.grad(cut.start), there.grad(start)

    here, there = gradients(start)
    for got, expected in zip(here, there, strict=True):
        np.testing.assert_array_equal(got, np.append(expected, [0, 0, 0]))


def test_shifts_become_a_table_where_nodes_do_not_fill_the_devices():
    shifts = cojax.network(nx.circulant_graph(9, [1, 3]), layout="circulant")
    table = with_rows(shifts, 12)  # which checks that both ends of every edge lead to each other
    heard, transfer = jnp.asarray(np.random.default_rng(0).normal(size=9)), Transfer(0.3, jnp.asarray(2.0**-40))
    here, there = jax.jit(
        lambda heard: (table.flow(Wire(with_zeros(heard, 12)), transfer), shifts.flow(Wire(heard), transfer))
    )(heard)
    np.testing.assert_array_equal(here, with_zeros(there, 12))


@pytest.mark.exhaustive
def test_a_run_of_nodes_that_do_not_fill_the_devices_goes_on_until_it_is_certified(tmp_path):
    problem, method = laws.quadratic(NUM_NODES), cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3))
    start, network = laws.start_of(problem), cojax.network(uneven_grid(), nodelist=range(NUM_NODES))
    cut, length = cojax.shard(problem, network, start), dict(tolerance=1e-6, every=500)
    alone = cojax.solve_to(problem, network, method, start, max_steps=5000, **length)
    for max_steps in (500, 5000):  # the second goes on from what the first has saved
        shared = cojax.solve_to(
            cut.problem, cut.network, method, cut.start, max_steps=max_steps, checkpoint=tmp_path / "run.npz", **length
        )
    assert int(shared.status) == int(alone.status) == cojax.Status.CONVERGED
    np.testing.assert_array_equal(shared.x.cpu, alone.x.cpu)
    # Beside numbers of size 1; what is left of the distances after the first lies far above rounding.
    for here, there in zip(jax.tree.leaves(shared.certificate), jax.tree.leaves(alone.certificate), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-6, atol=1e-11)
    again = cojax.solve(cut.problem, cut.network, method, shared.state, num_steps=500, every=500)
    assert again.x.cpu.shape == (NUM_NODES,) and not np.asarray(again.trace.imbalance).any()


def test_only_rows_that_the_devices_leave_over_are_added():
    mesh = jax.make_mesh((2, 3), ("a", "b"), devices=jax.devices()[:6])

    def posed(num_nodes):
        problem = cojax.Problem(lambda x, target: (x.params - target) ** 2, 0.5 + np.arange(num_nodes))
        return problem, cojax.network(nx.cycle_graph(num_nodes)), cojax.Decision(np.asarray(problem.data))

    for num_nodes, rows in ((12, 12), (4, 6)):
        cut = cojax.shard(*posed(num_nodes), mesh)
        assert cut.start.params.shape == (rows,) and cut.start.params.sharding.num_devices == 6
        np.testing.assert_array_equal(cut.start.params[:num_nodes], np.arange(num_nodes) + 0.5)
        assert (cut.network.has_node is None) == (rows == num_nodes) == (type(cut.problem) is cojax.Problem)
    assert connects(cut.network, 0, 1)
    with pytest.raises(cojax.CojaxInputError, match=r"Problem\.start needs the problem that was given to cojax\.shard"):
        cut.problem.start(params=jnp.zeros(6))
    with pytest.raises(cojax.CojaxInputError, match=r"certificate needs the problem that was given to cojax\.shard"):
        laws.unchecked(cojax.certificate)(cut.problem, posed(4)[2])
    with pytest.raises(cojax.CojaxInputError, match=r"4 in the network and 0, 4 at the start"):
        cojax.shard(*posed(4)[:2], cojax.Decision([np.zeros(4), np.zeros(())]), mesh)
    with pytest.raises(cojax.CojaxInputError, match=r"shard once, and map over solve"):
        jax.vmap(lambda params: cojax.shard(*posed(4)[:2], cojax.Decision(params)).start)(jnp.zeros((2, 4)))
    with pytest.raises(cojax.CojaxInputError, match=r"the problem and the network that one cojax\.shard returned"):
        cojax.solve(posed(6)[0], cut.network, cojax.CoOpt(learn=cojax.DIGing(0.1)), cut.start, num_steps=1)
    with pytest.raises(cojax.CojaxInputError, match="choose the numbers of a method before you shard"):
        cojax.theory.laplacians(cut.network)
