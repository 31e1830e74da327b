"""What must hold on 8 devices; `test_sharding.py` runs it in a process of its own, where XLA makes 8 of the CPU."""

import functools
import re

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from support import laws

import cojax
from cojax.networks.base import Wire
from cojax.networks.devices.halos import arrange_nodes
from cojax.networks.laws import Transfer, Weigh
from cojax.runs.loop import _solve
from cojax.runs.records import decision, standard

NUM_NODES = 32
METHOD = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3))
ALLOCATOR = cojax.CoOpt(allocate=cojax.Laplacian(0.3))  # compiles in half the time
COARSE = cojax.LogQuantizer(0.5)
EDGE_MEMORY = cojax.Innovation(COARSE, memory="edge")


def scrambled_grid(rows=4, columns=8, seed=0):
    """A grid whose nodes are numbered at random: neighbours lie anywhere, until they are put in order."""
    order = np.random.default_rng(seed).permutation(rows * columns)
    names = {(i, j): int(order[columns * i + j]) for i in range(rows) for j in range(columns)}
    return nx.relabel_nodes(nx.grid_2d_graph(rows, columns), names)


def network_of(graphs, **options):
    return cojax.network(graphs, nodelist=range(NUM_NODES), **options)


def directed_ring():
    graph = nx.DiGraph(nx.cycle_graph(NUM_NODES, create_using=nx.DiGraph))
    graph.add_edge(3, 17)
    return graph


def in_turn(graph):
    """Two graphs that have every second edge each."""
    edges = list(graph.edges)
    parts = [nx.create_empty_copy(graph), nx.create_empty_copy(graph)]
    for part, chosen in zip(parts, (edges[::2], edges[1::2]), strict=True):
        part.add_edges_from(chosen)
    return parts


NETWORKS = {
    "a table of graphs in turn, lost, with memory by edge": lambda: cojax.Lossy(
        network_of(in_turn(scrambled_grid()), layout="neighbors", link=EDGE_MEMORY), 0.3, key=2
    ),
    "a random graph, where all rows are gathered": lambda: network_of(
        nx.random_regular_graph(6, NUM_NODES, seed=0), layout="neighbors", link=cojax.Innovation(COARSE)
    ),
    "a list of edges, with hubs, lost, with memory by edge": lambda: cojax.Lossy(
        network_of(nx.barabasi_albert_graph(NUM_NODES, 2, seed=0), layout="edges", link=EDGE_MEMORY), 0.3
    ),
    "a split table, cut as a list of edges": lambda: network_of(
        nx.barabasi_albert_graph(NUM_NODES, 2, seed=0), layout="split", link=EDGE_MEMORY
    ),
    "shifts of 1, 6 and 16 nodes, lost, now and then, with memory by edge": lambda: cojax.Intermittent(
        cojax.Lossy(network_of(nx.circulant_graph(NUM_NODES, [1, 6, 16]), layout="circulant", link=EDGE_MEMORY), 0.3), 2
    ),
    "a matrix with memory by edge": lambda: network_of(
        nx.gnp_random_graph(NUM_NODES, 0.4, seed=0), layout="dense", link=EDGE_MEMORY
    ),
    "a table that fails in bursts, the largest numbers with memory by edge": lambda: cojax.GilbertElliott(
        network_of(scrambled_grid(), layout="neighbors", link=cojax.Innovation(cojax.TopK(1), memory="edge")), 0.1, 0.3
    ),
    "a table, random numbers with memory by edge": lambda: network_of(
        scrambled_grid(), layout="neighbors", link=cojax.Innovation(cojax.RandK(1), memory="edge")
    ),
    "a directed graph": lambda: network_of(directed_ring(), link=cojax.Innovation(COARSE)),
    "a graph drawn in every step": lambda: cojax.RandomGraph(NUM_NODES, 0.2, key=1, link=cojax.Quantized(COARSE)),
    "a random graph that the devices compute, lost, with memory by edge": lambda: cojax.Lossy(
        cojax.Computed(cojax.graphs.computed("regular", NUM_NODES, links=4, seed=1), link=EDGE_MEMORY), 0.3, key=2
    ),
    "points that the devices compute, with memory by edge": lambda: cojax.Computed(
        cojax.graphs.computed("geometric", NUM_NODES, seed=1), link=EDGE_MEMORY
    ),
    "pairs drawn in every step": lambda: cojax.RandomPairs(NUM_NODES, key=1, link=cojax.Quantized(COARSE)),
}
MARKS = {  # matrices and a list of edges as those above; rows are gathered in the flux over random graphs too
    "a random graph, where all rows are gathered": pytest.mark.exhaustive,
    "a directed graph": pytest.mark.exhaustive,
    "a graph drawn in every step": pytest.mark.exhaustive,
    "a split table, cut as a list of edges": pytest.mark.exhaustive,
}


@pytest.fixture(scope="module")
def problem():
    return laws.quadratic(NUM_NODES)


@pytest.fixture(scope="module")
def start(problem):
    return laws.start_of(problem)


def sharded_run(problem, network, start, method=METHOD, **options):
    problem, network, start = cojax.shard(problem, network, start)
    return cojax.solve(problem, network, method, start, **options)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in NETWORKS])
def test_a_run_on_eight_devices_is_the_run_on_one(problem, start, kind):
    # What is recorded is a matter of no layout: the first kind stands for all. What learners tell over edges is summed
    # in the test of reverse mode.
    first, method = kind == next(iter(NETWORKS)), ALLOCATOR if kind.startswith("a list of edges") else METHOD
    network, length = NETWORKS[kind](), dict(num_steps=20, every=20, record=standard if first else laws.nothing)
    alone = cojax.solve(problem, network, method, start, **length)
    shared = sharded_run(problem, network, start, method, **length)
    np.testing.assert_array_equal(shared.x.cpu, alone.x.cpu)
    # Sums in another order: a few roundings of numbers of size 1 in each of 20 steps.
    np.testing.assert_allclose(shared.x.params, alone.x.params, rtol=1e-12, atol=1e-13)
    assert shared.x.params.sharding.num_devices == 8
    assert int(shared.status) == int(alone.status)
    for here, there in zip(*map(jax.tree.leaves, (shared.trace, alone.trace)), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-12, atol=1e-13)


LOOKS = (("all-reduce", ()), ("all-reduce", (3,)))  # single numbers, and the distances of `progress`


def collectives(program):
    """Kind and result shape of what travels, in loops and outside of them; all-reduces of what a look sees left out."""
    loops, _, entry = program.partition("\nENTRY")
    pattern = re.compile(r"= \(?\w+\[([\d,]*)\].* (all-gather|all-to-all|collective-permute|all-reduce)(?:-start)?\(")
    found = []
    for part in (loops, entry):
        pairs = [(kind, tuple(map(int, filter(None, shape.split(","))))) for shape, kind in pattern.findall(part)]
        found.append([pair for pair in pairs if pair not in LOOKS])
    return found


def program_of(problem, network, start, method=ALLOCATOR, record=laws.nothing):
    problem, network, start = cojax.shard(problem, network, start)
    return _solve.lower(problem, network, method, start, 2, 10, record).compile().as_text()


CLOCKED = {
    "a table": lambda: network_of(in_turn(scrambled_grid()), layout="neighbors"),
    "a list of edges": lambda: network_of(nx.barabasi_albert_graph(NUM_NODES, 2, seed=0), layout="edges"),
    "shifts": lambda: network_of(nx.circulant_graph(NUM_NODES, [1, 6, 16]), layout="circulant"),
    "a matrix": lambda: network_of(nx.gnp_random_graph(NUM_NODES, 0.4, seed=0), layout="dense"),
}


@pytest.mark.parametrize("kind", CLOCKED)
def test_the_clock_of_eight_devices_is_that_of_one(problem, start, kind):
    random = np.random.default_rng(0)
    latency = random.uniform(0.0, 1.0, (NUM_NODES, NUM_NODES))
    clock = cojax.Clock(
        work=random.uniform(0.5, 2.0, NUM_NODES), share=random.uniform(0.5, 2.0, NUM_NODES), latency=latency + latency.T
    )
    network = cojax.Lossy(cojax.Timed(CLOCKED[kind](), clock), 0.2, key=3)
    wanted = cojax.solve(problem, network, ALLOCATOR, start, num_steps=12).trace.seconds
    shards = cojax.shard(problem, network, start)
    found = cojax.solve(shards.problem, shards.network, ALLOCATOR, shards.start, num_steps=12).trace.seconds
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("link", [cojax.Ideal(), EDGE_MEMORY])
def test_only_border_rows_travel_over_a_grid(problem, start, link):
    graph = scrambled_grid(2, 16)
    network = network_of(graph, layout="neighbors", link=link)
    loops, _ = collectives(program_of(problem, network, start, METHOD, standard))
    assert {kind for kind, _ in loops} == {"collective-permute"}
    expected = rows_that_must_travel(graph, 8, by_edge=link is EDGE_MEMORY)
    assert sum(expected) < NUM_NODES / 4
    assert sorted(shape[0] for _, shape in loops) == sorted(3 * expected)  # params, tracker and price


def rows_that_must_travel(graph, num_devices, *, by_edge):
    """The most that any device needs of the one so many places before it, by distance: a plain count."""
    pairs = np.array(graph.edges).T
    order, gathers = arrange_nodes(np.hstack([pairs, pairs[::-1]]), len(graph), num_devices)
    assert not gathers
    device = {int(node): place * num_devices // len(graph) for place, node in enumerate(order)}
    needed = {}
    for a, b in [*graph.edges, *((b, a) for a, b in graph.edges)]:
        if device[a] != device[b]:
            distance = (device[a] - device[b]) % num_devices
            needed.setdefault((distance, device[a]), set()).add((a, b) if by_edge else b)
    distances = {distance for distance, _ in needed}
    return [max(len(rows) for (far, _), rows in needed.items() if far == distance) for distance in distances]


@pytest.mark.parametrize("layout", ["neighbors", "circulant"])
def test_one_row_travels_each_way_around_a_ring(problem, start, layout):
    network = network_of(nx.cycle_graph(NUM_NODES), layout=layout)
    loops, entry = collectives(program_of(problem, network, start))
    assert loops == 2 * [("collective-permute", (1,))]
    assert "all-gather" not in dict(entry)  # a ring is in order already


def test_all_rows_of_a_random_graph_are_gathered(problem, start):
    network = network_of(nx.random_regular_graph(6, NUM_NODES, seed=0), layout="neighbors")
    loops, _ = collectives(program_of(problem, network, start))
    assert {kind for kind, _ in loops} == {"all-gather"}
    assert {shape[0] for _, shape in loops} == {NUM_NODES}


def test_flux_over_random_graphs_is_bitwise_that_of_one_device(problem, start):
    random = np.random.default_rng(0)
    price = jnp.asarray(random.normal(size=(NUM_NODES, 2)))
    flux = jax.jit(lambda net, price: net.flow(Wire(price), Transfer(0.3, jnp.asarray(2.0**-40))))
    for seed in range(3):
        graph = nx.watts_strogatz_graph(NUM_NODES, 4, [0.1, 0.5, 1.0][seed], seed=seed)
        graph = nx.compose(graph, nx.path_graph(NUM_NODES))
        network = network_of(graph, layout=["neighbors", "edges"][seed % 2])
        sharded = cojax.shard(problem, network, start).network
        here = cojax.restored(sharded, flux(sharded, sharded.to_rows(price)))
        np.testing.assert_array_equal(here, flux(network, price))


def test_steps_by_node_and_records_by_node_find_their_nodes_and_a_run_goes_on(problem, start):
    method = cojax.CoOpt(cojax.DIGing(jnp.linspace(0.01, 0.06, NUM_NODES)), cojax.Laplacian(0.3))
    network = network_of(scrambled_grid(), layout="neighbors")
    alone = cojax.solve(problem, network, method, start, num_steps=20, every=5, record=decision)
    cut, length = cojax.shard(problem, network, start), dict(num_steps=10, every=5, record=decision)
    first = cojax.solve(cut.problem, cut.network, method, cut.start, **length)
    second = cojax.solve(cut.problem, cut.network, method, first.state, **length)
    np.testing.assert_array_equal(second.x.cpu, alone.x.cpu)
    np.testing.assert_allclose(second.x.params, alone.x.params, rtol=1e-12, atol=1e-13)
    by_caller = jax.vmap(lambda x: cojax.restored(cut.network, x))(first.trace)
    np.testing.assert_array_equal(by_caller.cpu, alone.trace.cpu[:2])


def test_derivatives_pass_through_the_cut(problem, start):
    network = network_of(scrambled_grid(), layout="neighbors", link=EDGE_MEMORY)

    def loss(run, step_size, weights, demand):
        posed = cojax.Problem(laws.cost, (*problem.data[:3], demand), budget=problem.budget)
        method = cojax.CoOpt(allocate=cojax.Laplacian(step_size))
        length = dict(num_steps=10, every=5, record=laws.nothing)
        x = run(posed, network.reweighted(weights), start, method=method, **length).x
        return jnp.sum(x.cpu**3)

    def alone(problem, network, start, method, **length):
        return cojax.solve(problem, network, method, start, **length)

    at = (0.3, network.weights, problem.data[3])
    here, there = (jax.jit(jax.grad(functools.partial(loss, run), (0, 1, 2)))(*at) for run in (sharded_run, alone))
    for got, expected in zip(here, there, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)  # sums over nodes in another order


def test_minibatches_are_drawn_where_the_data_are():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(NUM_NODES, 6, 2)), rng.normal(size=(NUM_NODES, 6))
    samples = cojax.costs.Samples(features, targets, np.where(np.arange(6) < 5, 1 / 5, 0.0) * np.ones((NUM_NODES, 1)))
    whole = cojax.Problem(lambda x, samples: cojax.costs.LeastSquares()(x.params, samples), samples)
    network, start = network_of(nx.cycle_graph(NUM_NODES)), cojax.Decision(params=jnp.zeros((NUM_NODES, 2)))
    method, length = cojax.CoOpt(learn=cojax.DIGing(0.05)), dict(num_steps=20, every=20, record=laws.nothing)
    cut = cojax.shard(whole, network, start)
    alone = cojax.solve(cojax.Minibatch(whole, 2), network, method, start, **length)
    given = cojax.Minibatch(cut.problem, 2), cut.network, method, cut.start
    program = _solve.lower(*given, 1, 20, laws.nothing).compile()
    shared = cojax.restored(cut.network, program(*given).x.params)
    np.testing.assert_allclose(shared, alone.x.params, rtol=1e-12, atol=1e-13)
    assert [kind for kind, _ in collectives(program.as_text())[0]] == [
        "collective-permute"
    ] * 4  # two messages, each both ways
    with pytest.raises(cojax.CojaxInputError, match="shard that problem, then take"):
        cojax.shard(cojax.Minibatch(whole, 2), network, start)


@pytest.mark.parametrize(
    ("graph", "layout"), [(scrambled_grid(), "neighbors"), (nx.barabasi_albert_graph(NUM_NODES, 2, seed=0), "edges")]
)
def test_reverse_mode_through_a_flow_is_that_of_one_device(problem, start, graph, layout):
    network, heard = network_of(graph, layout=layout), jnp.sin(jnp.arange(2.0 * NUM_NODES).reshape(-1, 2))

    def cost(weights, heard, cut):
        net = network.reweighted(weights)
        if cut:
            net = cojax.shard(problem, net, start).network
            heard = net.to_rows(heard)
        return (net.hear(Weigh(), heard) ** 3).sum()

    here, there = (jax.jit(jax.grad(functools.partial(cost, cut=cut), (0, 1))) for cut in (True, False))
    for got, expected in zip(here(network.weights, heard), there(network.weights, heard), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)  # sums in another order


COMPUTED = {
    "ring": {},
    "torus": {},
    "geometric": {},
    "a random ring, by borders": dict(name="regular", links=2, num_nodes=1600),
    "regular": dict(links=4),
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_devices_hold_the_rows_that_they_compute_and_send_what_others_want(kind):
    given = dict(name=kind, num_nodes=64) | COMPUTED[kind]
    graph = cojax.graphs.computed(**given, seed=1)
    size = given["num_nodes"]
    heard = np.random.default_rng(0).normal(size=(size, 2))
    known = graph.edge_list().to_networkx()
    laplacian = np.zeros((size, size))
    for a, b in known.edges:
        weight = 1 / (1 + max(known.degree[a], known.degree[b]))
        laplacian[[a, b], [b, a]] -= weight
        laplacian[[a, b], [a, b]] += weight
    start = cojax.Decision(cojax.spread(lambda nodes: jnp.asarray(heard)[nodes], size))
    problem = cojax.Problem(lambda x, price: price * (x.params**2).sum(), cojax.spread(prices, size))
    cut = cojax.shard(problem, cojax.Computed(graph), start)
    flow = jax.jit(lambda net, heard: net.flow(Wire(heard), Weigh()))(cut.network, cut.start.params)
    np.testing.assert_allclose(flow, -laplacian @ heard, rtol=1e-12, atol=1e-13)
    for leaf in jax.tree.leaves((cut.problem.data, cut.start)):
        assert {len(shard.data) for shard in leaf.addressable_shards} == {size // 8}
    if kind == "ring":
        return  # which has no table
    gradient = jax.jit(jax.grad(lambda heard: (cut.network.flow(Wire(heard), Weigh()) ** 2).sum()))(cut.start.params)
    np.testing.assert_allclose(gradient, 2 * laplacian @ laplacian @ heard, rtol=1e-11, atol=1e-12)
    others = jax.jit(lambda net: jnp.broadcast_to(net.named_ends()[1], net.index.shape))(cut.network)
    np.testing.assert_array_equal(others, graph.neighbors(jnp.arange(size)))
    table: list = [others, cut.network.index, cut.network.twin, cut.network.weights]
    assert {shard.data.shape[1] for leaf in table for shard in leaf.addressable_shards} == {size // 8}
    assert cut.network.node_halo.gathers == (kind == "regular")
    device = {node: node * 8 // size for node in known}
    wanted = {(device[a], b) for edge in known.edges for a, b in (edge, edge[::-1]) if device[a] != device[b]}
    if kind == "regular":
        return  # where all rows go everywhere
    halo, block, sent = cut.network.node_halo, size // 8, set()
    for send, moves in zip(halo.sends, halo.moves, strict=True):
        sent |= {
            (getter, sender * block + row) for sender, getter in moves for row in np.asarray(send)[sender].tolist()
        }
    assert wanted <= sent and all(row % block == 0 for _, row in sent - wanted)  # what fills up is the first row
    partners = {(device[node], there) for there, node in wanted}
    assert len(halo.sends) == max(sum(here == place for here, _ in partners) for place in range(8))


@pytest.mark.parametrize(
    ("kind", "width"), [("geometric", ()), ("geometric", (5,)), ("regular", (1,)), ("regular", (2, 3))]
)
def test_a_long_message_travels_in_pieces_and_flows_as_a_short_one(kind, width, monkeypatch):
    graph = cojax.graphs.computed(kind, 64, **COMPUTED[kind], seed=1)
    whole, heard = cojax.network(graph), jnp.asarray(np.random.default_rng(0).normal(size=(64, *width)))
    problem = cojax.Problem(lambda x, price: price * (x.params**2).sum(), prices(jnp.arange(64)))
    cut = cojax.shard(problem, cojax.Computed(graph), cojax.Decision(heard))

    def flow(network, heard):
        return network.hear(Weigh(), heard)

    def slopes(network, heard):
        return jax.grad(lambda *given: (flow(network.reweighted(given[0]), given[1]) ** 3).sum(), (0, 1))(
            network.weights, heard
        )

    monkeypatch.setattr("cojax.networks.devices.layouts.BYTES_AT_ONCE", 0)
    program = jax.jit(flow).lower(cut.network, cut.start.params).compile()
    numbers = int(np.prod(width))
    shapes = [shape for part in collectives(program.as_text()) for _, shape in part if shape]
    assert shapes and {shape[1:] for shape in shapes} == {(-(-numbers // 4),)}
    np.testing.assert_allclose(program(cut.network, cut.start.params), flow(whole, heard), rtol=1e-12, atol=1e-13)
    here, there = slopes(cut.network, cut.start.params), slopes(whole, heard)
    np.testing.assert_allclose(here[1], there[1], rtol=1e-12, atol=1e-13)
    by_edge = jax.jit(lambda net: net.named_ends()[1])(cut.network)
    known = {}
    for slot, row in enumerate(np.asarray(whole.index)):
        known |= {(node, int(other)): there[0][slot, node] for node, other in enumerate(row) if other != node}
    for (slot, node), other in np.ndenumerate(np.asarray(by_edge)):
        if other != node:
            assert abs(here[0][slot, node] - known[node, other]) < 1e-12


def prices(nodes):
    return 0.5 + nodes.astype(float) / 7


def test_what_is_spread_is_checked_as_what_is_whole():
    def cost(x, price):
        return price * x.cpu**2

    price = cojax.spread(prices, 64)
    problem = cojax.Problem(cost, price, budget=32.0, lower=-1.0, upper=cojax.spread(lambda nodes: prices(nodes), 64))
    for part in (problem.lower, problem.upper, problem.start().cpu):
        assert {shard.data.shape for shard in part.addressable_shards} == {(8,)}
    whole = cojax.Problem(cost, np.asarray(price), budget=32.0, lower=-1.0, upper=np.asarray(price))
    np.testing.assert_array_equal(problem.start().cpu, whole.start().cpu)
    uneven = np.asarray(whole.start().cpu)[::-1].copy()
    spread = cojax.spread(lambda nodes: jnp.asarray(uneven)[nodes], 64)
    np.testing.assert_array_equal(problem.start(cpu=spread).cpu, whole.start(cpu=uneven).cpu)
    with pytest.raises(cojax.CojaxInputError, match=r"budget <= sum of upper, got 5000 > 320: 4680 too much"):
        cojax.Problem(cost, price, budget=5000.0, upper=price)
    with pytest.raises(cojax.CojaxInputError, match=r"lower <= upper, got 5\.0 > 0\.0 at node 0"):
        cojax.Problem(
            cost, price, budget=1.0, lower=5.0, upper=cojax.spread(lambda nodes: 9.5 - prices(63 - nodes), 64)
        )
    with pytest.raises(cojax.CojaxInputError, match="data without NaN, got one at node 41"):
        cojax.Problem(cost, cojax.spread(lambda nodes: jnp.where(nodes == 41, jnp.nan, 1.0), 64))
    with pytest.raises(cojax.CojaxInputError, match=r"cpu that sums to the budget 32, got 64"):
        problem.start(cpu=cojax.spread(lambda nodes: jnp.ones(len(nodes)), 64))
    with pytest.raises(cojax.CojaxInputError, match="finite numbers for params"):
        problem.start(params=cojax.spread(lambda nodes: jnp.full(len(nodes), jnp.inf), 64))
    with pytest.raises(cojax.CojaxInputError, match="that the devices divide, got 63 on 8 devices"):
        cojax.spread(prices, 63)
    for odd in (lambda nodes: nodes, lambda nodes: (prices(nodes),), lambda nodes: jnp.ones((len(nodes), 2))):
        with pytest.raises(cojax.CojaxInputError, match=r"alike for whatever nodes, got \{'': 'float64\[8\]'\} and"):
            cojax.spread(lambda nodes, odd=odd: prices(nodes) if nodes[0] < 56 else odd(nodes), 64)


@pytest.mark.exhaustive
def test_many_runs_at_once_on_eight_devices(problem, start):
    problem_, network, start_ = cojax.shard(problem, network_of(scrambled_grid(), layout="neighbors"), start)

    def run(step_size):
        method = cojax.CoOpt(cojax.DIGing(step_size), cojax.Laplacian(0.3))
        return cojax.solve(problem_, network, method, start_, num_steps=10, every=10).x

    both = jax.vmap(run)(jnp.asarray([0.02, 0.05]))
    np.testing.assert_allclose(both.params[1], run(0.05).params, rtol=1e-12, atol=1e-13)


def test_what_one_device_saved_goes_on_on_eight_until_it_is_certified(tmp_path):
    # Shares alone: with a model every program here takes twice as long to compile.
    problem = cojax.Problem(lambda x, curve: curve * x.cpu**2, np.linspace(0.5, 2.0, NUM_NODES), budget=32.0)
    start = problem.start()
    network = network_of(scrambled_grid(), layout="neighbors")
    saved, short = tmp_path / "run.npz", dict(tolerance=1e-4, max_steps=100, every=100, record=laws.nothing)
    cojax.solve_to(problem, network, ALLOCATOR, start, checkpoint=saved, **short)
    found = cojax.solve_to(problem, network, ALLOCATOR, start, checkpoint=saved, **short)
    assert int(found.state.step) == 100 and not cojax.is_certified(found.certificate, 1e-4)
    cut = cojax.shard(problem, network, found.x)
    rest = cojax.solve_to(
        cut.problem, cut.network, ALLOCATOR, cut.start, tolerance=1e-4, max_steps=1000, every=1000, record=laws.nothing
    )
    assert rest.x.cpu.sharding.num_devices == 8
    assert int(rest.status) == cojax.Status.CONVERGED
    assert cojax.is_certified(rest.certificate, 1e-4)


def test_arrays_on_an_explicit_mesh_are_taken_as_on_one_device():
    """`jax.make_mesh` makes explicit meshes, over whose arrays JAX maps no cost."""
    mesh = jax.make_mesh((8,), ("i",))

    def cut(array):
        return jax.device_put(array, NamedSharding(mesh, PartitionSpec("i")))

    plain = laws.quadratic()
    start = laws.start_of(plain)
    problem = cojax.Problem(laws.cost, jax.tree.map(cut, plain.data), plain.budget, lower=cut(np.full(8, -9.0)))
    placed = problem.start(cut(start.params), cut(start.cpu))
    network, method = cojax.network(nx.cycle_graph(8)), cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.1))
    costs = [
        cojax.solve(each, network, method, begin, num_steps=4).trace.cost
        for each, begin in ((plain, start), (problem, placed))
    ]
    np.testing.assert_array_equal(*costs)
    raw = cojax.Decision(cut(start.params), cut(start.cpu))
    np.testing.assert_allclose(cojax.allocate(plain, raw.params).cpu, laws.optimum(plain)[1], rtol=1e-9)
    assert cojax.certificate(plain, raw).balance == 0.0
    for refused in (
        lambda: cojax.solve(plain, network, method, raw, num_steps=4),
        lambda: cojax.solve(plain, network, cojax.CoOpt(cojax.DIGing(cut(np.full(8, 0.05)))), start, num_steps=4),
    ):
        with pytest.raises(cojax.CojaxInputError, match="cut over an explicit mesh"):
            refused()

    def last(data):
        own = cojax.Problem(laws.cost, data, plain.budget)
        return cojax.solve(own, network, method, start, num_steps=4).trace.cost[-1]

    np.testing.assert_allclose(jax.jit(last)(jax.tree.map(cut, plain.data)), costs[0][-1], rtol=1e-12)
