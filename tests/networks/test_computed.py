"""Graphs that are functions of (seed, node, slot) are the graphs that they say, in any block of nodes."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from scipy.sparse.linalg import eigsh
from scipy.spatial import KDTree
from support import laws

import cojax
from cojax._support import computed_graphs
from cojax._support.computed_graphs import Laps, Shuffle, neighbors_of
from cojax.networks.base import Wire
from cojax.networks.laws import Weigh

FAMILIES = {
    "ring": {},
    "circulant": dict(offsets=(1, 5, 18)),  # 18 is half of 36, so its own mirror image
    "grid": {},
    "torus": {},
    "regular": dict(links=6, seed=4),
    "geometric": dict(radius=2.2, seed=4),
}


def graph_of(name, num_nodes=36):
    return cojax.graphs.computed(name, num_nodes, **FAMILIES[name])


def to_networkx(table):
    """A table of neighbours, row by row, in plain Python."""
    graph = nx.empty_graph(table.shape[1])
    for slot in table:
        graph.add_edges_from((node, int(other)) for node, other in enumerate(slot) if other != node)
    return graph


@pytest.mark.parametrize("name", FAMILIES)
def test_every_edge_is_there_once_from_both_ends_and_all_nodes_are_connected(name):
    graph = graph_of(name)
    table = np.asarray(neighbors_of(graph, jnp.arange(36)))
    for node, others in enumerate(table.T):
        there = others[others != node]
        assert len(set(there)) == len(there)
        for slot, other in enumerate(others):
            assert other == node or table[graph.mirror[slot], other] == node
    assert nx.is_connected(to_networkx(table))
    listed = nx.empty_graph(36)
    listed.add_edges_from(graph.edge_list().pairs.T.tolist())
    assert graph.edge_list().pairs.shape[1] == listed.number_of_edges()
    assert nx.utils.graphs_equal(listed, to_networkx(table))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_block_of_nodes_has_the_rows_that_it_has_in_the_whole(name, monkeypatch):
    graph = graph_of(name)
    whole = np.asarray(neighbors_of(graph, jnp.arange(36)))
    for first, last in ((17, 18), (20, 36)):
        np.testing.assert_array_equal(neighbors_of(graph, jnp.arange(first, last)), whole[:, first:last])
    for length in (18, 35):
        monkeypatch.setattr(computed_graphs, "NODES_AT_ONCE", length)
        np.testing.assert_array_equal(neighbors_of(graph, jnp.arange(36)), whole)
        assert graph.edge_list().pairs.shape[1] == (whole != np.arange(36)).sum() // 2


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ring", nx.cycle_graph(36)),
        ("circulant", nx.circulant_graph(36, [1, 5, 18])),
        ("grid", nx.convert_node_labels_to_integers(nx.grid_2d_graph(6, 6))),
        ("torus", nx.convert_node_labels_to_integers(nx.grid_2d_graph(6, 6, periodic=True))),
    ],
)
def test_regular_shapes_are_those_of_networkx(name, known):
    assert nx.utils.graphs_equal(graph_of(name).edge_list().to_networkx(), known)


def test_seeds_beyond_32_bits_would_share_rings_and_are_refused():
    with pytest.raises(cojax.CojaxInputError, match="seed"):
        cojax.graphs.computed("regular", 100, links=4, seed=2**32)
    assert cojax.graphs.computed("regular", 100, links=4, seed=2**32 - 1).num_nodes == 100


@pytest.mark.parametrize(("size", "seed"), [(3, 0), (4, 1), (37, 2), (36, 3), (1009, 4)])
def test_a_shuffle_is_an_order_of_all_nodes_and_knows_its_inverse(size, seed):
    order = Shuffle.of(size, (seed,))
    nodes = np.asarray(order.node(jnp.arange(size)))
    np.testing.assert_array_equal(np.sort(nodes), np.arange(size))
    np.testing.assert_array_equal(order.place(jnp.asarray(nodes)), np.arange(size))


def test_a_shuffle_is_as_good_as_a_random_order():
    size = 100_003
    places = np.asarray(Shuffle.of(size, (5,)).place(jnp.arange(size)))
    bound = 5 / size**0.5  # five standard deviations
    for ahead in (1, 2, 316, 317):  # 317 is the root of n, the length of its tables
        assert abs(np.corrcoef(places, np.roll(places, ahead))[0, 1]) < bound
    assert abs(np.corrcoef(places, np.arange(size))[0, 1]) < bound
    counts = np.histogram2d(np.arange(size), places, bins=32)[0]
    square = ((counts - size / 1024) ** 2 / (size / 1024)).sum()
    assert abs(square - 31**2) < 5 * (2 * 31**2) ** 0.5  # chi squared
    assert (places == np.arange(size)).sum() <= 7  # 1 on average, Poisson


def test_a_random_regular_graph_has_the_degrees_and_the_gap_of_one():
    graph = cojax.graphs.computed("regular", 4000, links=6, seed=1)
    ours = graph.edge_list().to_networkx()
    degrees = np.array([degree for _, degree in ours.degree])
    # Three rings share about 2 links for each of 3 pairs, and each takes one from two nodes; a Poisson number.
    assert degrees.max() == 6 and 0 <= (6 - degrees).sum() <= 2 * (6 + 5 * 6**0.5)
    values = eigsh(nx.to_scipy_sparse_array(ours, dtype=float), k=2, which="LA", return_eigenvectors=False)
    assert values[1] == pytest.approx(6, abs=0.02)
    assert values[0] == pytest.approx(2 * 5**0.5, rel=0.02)  # Friedman's theorem
    other = cojax.graphs.computed("regular", 4000, links=6, seed=2).edge_list().to_networkx()
    assert nx.intersection(ours, other).number_of_edges() < 60  # 18 expected


def parts_of(size, parts):
    """The part of every node."""
    rows = np.array_split(np.arange(size), parts)
    return np.repeat(np.arange(parts), [len(row) for row in rows])


@pytest.mark.parametrize(("size", "parts"), [(24, 4), (25, 4), (27, 4), (1000, 37), (1009, 9)])
def test_laps_are_an_order_of_all_nodes_that_comes_to_every_part_in_turn(size, parts):
    order = Laps(size, parts, (3,))
    nodes = np.asarray(order.node(jnp.arange(size, dtype=jnp.int32)))
    np.testing.assert_array_equal(np.sort(nodes), np.arange(size))
    np.testing.assert_array_equal(order.place(jnp.asarray(nodes)), np.arange(size))
    part = parts_of(size, parts)
    laps, longer = divmod(size, parts)
    by_lap = part[nodes][: laps * parts].reshape(laps, parts)
    assert (by_lap == by_lap[0]).all() and sorted(by_lap[0]) == list(range(parts))
    assert part[nodes][laps * parts :].tolist() == [name for name in by_lap[0] if name < longer]


def test_in_every_part_laps_have_a_random_order_of_its_own():
    laps, parts = 5_003, 16
    order = Laps(laps * parts + 7, parts, (5,))
    lap = np.asarray(order.place(jnp.arange(laps * parts + 7, dtype=jnp.int32))) // parts
    rows = np.stack([part[:laps] for part in np.array_split(lap, parts)])
    bound = 5 / laps**0.5  # five standard deviations
    for ahead in (0, 1, 71):  # 71 is the root of a part, about the length of its tables
        apart = np.corrcoef(rows, np.roll(rows, ahead, axis=1))
        assert np.abs(apart[:parts, parts:][~np.eye(parts, dtype=bool) | (ahead > 0)]).max() < bound
    assert np.abs([np.corrcoef(row, np.arange(laps))[0, 1] for row in rows]).max() < bound
    alike = (rows[:, None] == rows[None]).sum(2)[~np.eye(parts, dtype=bool)]
    assert alike.max() <= 9 and abs(alike.mean() - 1) < 0.3  # 1 on average, Poisson


def test_a_large_random_regular_graph_expands_as_well_and_its_parts_have_few_partners(monkeypatch):
    monkeypatch.setattr(computed_graphs, "PARTS", 100)
    monkeypatch.setattr(computed_graphs, "LEAST_PART", 40)
    graph = cojax.graphs.computed("regular", 4010, links=6, seed=3)
    ours = graph.edge_list().to_networkx()
    assert nx.is_connected(ours) and (6 - np.array([degree for _, degree in ours.degree])).sum() <= 2 * (6 + 5 * 6**0.5)
    values = eigsh(nx.to_scipy_sparse_array(ours, dtype=float), k=2, which="LA", return_eigenvectors=False)
    # That of the parts, 100 nodes, may be above the bound of Friedman's theorem by chance; those of the lift are not.
    assert values[0] < 1.05 * 2 * 5**0.5
    part = parts_of(4010, 100)
    partners = part[np.asarray(graph.neighbors(jnp.arange(4010)))]
    for name in range(100):
        assert len(np.unique(partners[:, part == name])) <= 6 + 6  # and those of the node of the last, short lap


def test_of_half_a_million_nodes_on_a_random_regular_graph_a_part_has_neighbours_in_as_many_as_it_has_links():
    size = computed_graphs.PARTS * computed_graphs.LEAST_PART
    for seed, part in ((0, 0), (1, 300)):
        graph = cojax.graphs.computed("regular", size, links=10, seed=seed)
        nodes = jnp.arange(part * size // 512, (part + 1) * size // 512)
        others = np.asarray(neighbors_of(graph, nodes)) * 512 // size
        assert len(np.unique(others)) <= 10
        assert np.bincount(others.ravel(), minlength=512).max() >= len(nodes) - 8  # whole parts
    whole = cojax.graphs.computed("regular", size - 1, links=10, seed=0)
    assert len(np.unique(np.asarray(neighbors_of(whole, jnp.arange(1024))) // 1024)) > 500


@pytest.mark.parametrize("radius", [10**0.5 / 2, 2.0, 3.3, 7.0])
def test_a_geometric_graph_links_what_scipy_finds_near(radius):
    graph = cojax.graphs.computed("geometric", 30 * 41, radius=radius, seed=7)
    places = np.asarray(graph.places(jnp.arange(30 * 41)), np.float64)
    cells = places - np.stack(np.divmod(np.arange(30 * 41), 41), axis=1)
    assert cells.min() >= 0.25 and cells.max() < 0.75
    # Uniform in the middle half: its mean has a standard deviation of 0.5 / sqrt(12 n); both ways apart.
    assert np.abs(cells.mean(0) - 0.5).max() < 5 * 0.5 / (12 * len(cells)) ** 0.5
    assert abs(np.corrcoef(cells.T)[0, 1]) < 5 / len(cells) ** 0.5
    pairs = KDTree(places).query_pairs(radius, output_type="ndarray")
    assert {tuple(pair) for pair in pairs} == {tuple(pair) for pair in graph.edge_list().pairs.T}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_it_has_metropolis_weights_built_whole_or_not(name):
    graph = graph_of(name)
    known = to_networkx(np.asarray(neighbors_of(graph, jnp.arange(36))))
    laplacian = np.zeros((36, 36))
    for a, b in known.edges:
        weight = 1 / (1 + max(known.degree[a], known.degree[b]))
        laplacian[[a, b], [b, a]] -= weight
        laplacian[[a, b], [a, b]] += weight
    heard = np.random.default_rng(0).normal(size=(36, 2))
    for network in (cojax.network(graph), cojax.Computed(graph).at(0)):
        flow = network.flow(Wire(jnp.asarray(heard)), Weigh())
        np.testing.assert_allclose(flow, -laplacian @ heard, rtol=1e-12, atol=1e-13)


def test_runs_over_it_are_those_over_the_network_built_whole():
    graph, problem = cojax.graphs.computed("geometric", 12), laws.quadratic(12)
    link = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
    method, length = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3)), dict(num_steps=20, every=10)
    here, there = (
        cojax.solve(problem, cojax.Lossy(network, 0.2), method, laws.start_of(problem), **length)
        for network in (cojax.Computed(graph, link=link), cojax.network(graph, link=link))
    )
    np.testing.assert_array_equal(here.x.cpu, there.x.cpu)
    np.testing.assert_allclose(here.x.params, there.x.params, rtol=1e-12, atol=1e-13)  # sums in another order


def test_its_spectrum_is_that_of_the_laplacian_that_networkx_has():
    graph = graph_of("geometric")
    known = graph.edge_list().to_networkx()
    for a, b in known.edges:
        known.edges[a, b]["weight"] = 1 / (1 + max(known.degree[a], known.degree[b]))
    values = np.linalg.eigvalsh(nx.laplacian_matrix(known).toarray())
    for network in (cojax.Computed(graph), cojax.Lossy(cojax.Computed(graph), 0.2)):
        found = cojax.theory.spectrum(network)
        np.testing.assert_allclose([found.lambda_2, found.lambda_n], values[[1, -1]], rtol=1e-12)
    assert cojax.theory.is_fixed(cojax.Computed(graph))
    assert not cojax.theory.is_fixed(cojax.Lossy(cojax.Computed(graph), 0.2))
    here, there = (
        cojax.theory.worst_rate(cojax.CoOpt(cojax.DIGing(0.1)), net(graph), convexity=0.5, smoothness=1.0)
        for net in (cojax.Computed, cojax.network)
    )
    assert here == there


@pytest.mark.parametrize("name", ["ring", "geometric"])
@pytest.mark.parametrize("chosen", [cojax.default, cojax.default_learner, cojax.default_allocator])
def test_defaults_are_those_of_the_network_built_whole(name, chosen):
    graph, problem = cojax.graphs.computed(name, 12), laws.quadratic(12)
    start = laws.start_of(problem)
    for over in (lambda network: network, lambda network: cojax.Lossy(network, 0.2)):
        here, there = (chosen(problem, over(net(graph)), start) for net in (cojax.Computed, cojax.network))
        assert eqx.tree_equal(here, there)


def test_tuned_numbers_are_those_of_the_network_built_whole():
    graph, problem = cojax.graphs.computed("regular", 12, links=4, seed=2), laws.quadratic(12)
    clock = cojax.Clock(1.0)
    for kind in (cojax.DIGing, cojax.APAPC, cojax.Laplacian, cojax.Nesterov):
        for over in (lambda network: network, lambda network: cojax.Timed(cojax.Lossy(network, 0.2), clock)):
            here, there = (
                cojax.tuned(kind, problem, over(net(graph)), laws.start_of(problem))
                for net in (cojax.Computed, cojax.network)
            )
            for got, wanted in zip(*map(jax.tree.leaves, (here, there)), strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_graphs_computed_and_networkx_graphs_take_turns():
    network = cojax.network([cojax.graphs.computed("ring", 9), nx.star_graph(8)])
    assert network.num_graphs == 2 and network.num_nodes == 9


def test_ten_thousand_million_nodes_are_too_many_and_a_thousand_million_are_not():
    graph = cojax.graphs.computed("regular", 10**9, links=4)
    nodes = jnp.asarray([0, 123_456_789, 999_999_999], jnp.int32)
    others = np.asarray(neighbors_of(graph, nodes))
    for slot, back in enumerate(graph.mirror):
        np.testing.assert_array_equal(np.asarray(neighbors_of(graph, jnp.asarray(others[slot])))[back], nodes)
    torus = np.asarray(cojax.graphs.computed("torus", 2**30).neighbors(nodes))
    assert sorted(torus[:, 0].tolist()) == [1, 2**15 - 1, 2**15, 2**30 - 2**15]
    shifts = cojax.graphs.computed("circulant", 2**31 - 1, offsets=(1, 2**30)).neighbors(jnp.asarray([2**31 - 2]))
    assert sorted(np.asarray(shifts)[:, 0].tolist()) == [0, 2**30 - 2, 2**30 - 1, 2**31 - 3]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda computed: computed("regulr", 9), r"knows ring, .*, got 'regulr'; did you mean 'regular'\?"),
        (lambda computed: computed(["ring"], 9), r"knows ring, .*, got \['ring'\]\."),
        (lambda computed: jax.jit(lambda radius: computed("geometric", 9, radius=radius))(2.0), "got a traced one"),
        (lambda computed: computed("ring", 9, links=2), "takes no settings, got links"),
        (lambda computed: computed("ring", 2), "whole number num_nodes from 3 to 2147483647, got 2"),
        (lambda computed: computed("ring", 10**10), "from 3 to 2147483647, got 10000000000"),
        (lambda computed: computed("regular", 9, seed=-1), "whole number seed from 0 to 4294967295, got -1"),
        (lambda computed: computed("regular", 9, links=3), "an even number of links, two for every ring, got 3"),
        (lambda computed: computed("regular", 9, links=10), "links from 2 to 8, got 10"),
        (lambda computed: computed("circulant", 12, offsets=(2, 4)), r"got \(2, 4\), all multiples of 2"),
        (lambda computed: computed("circulant", 12, offsets=12), r"a sequence of offsets such as \(1, 5\), got 12"),
        (lambda computed: computed("circulant", 12, offsets=(12,)), "offset from 1 to 11, got 12"),
        (lambda computed: computed("grid", 13), r"rows \* columns with at least 2 of both, got 13"),
        (lambda computed: computed("torus", 14), "at least 3 of both, got 14"),
        (lambda computed: computed("geometric", 12, radius=1.5), r"a radius from sqrt\(10\) / 2 = 1.58.*, got 1.5"),
        (lambda computed: computed("geometric", 12, radius="far"), "needs numbers|real numbers for radius"),
        (lambda _: cojax.Computed(nx.path_graph(3)), r"Computed needs a graph of cojax\.graphs\.computed\(\.\.\.\)"),
        (lambda computed: cojax.Computed(computed("ring", 9), link=3), r"needs a link such as Ideal\(\), got 3"),
    ],
)
def test_what_is_no_graph_is_refused_in_a_sentence(ask, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        ask(laws.unchecked(cojax.graphs.computed))


@pytest.mark.parametrize("name", ["ring", "grid", "regular", "geometric"])
def test_neighbors_are_asked_of_nodes_of_the_graph_alone(name):
    graph = cojax.graphs.computed(name, 400)
    wanted = np.asarray(graph.neighbors(jnp.arange(100, dtype=jnp.int32)))
    asked = functools.partial(laws.unchecked(type(graph).neighbors), graph)
    for nodes in (np.arange(100, dtype=np.int8), np.arange(100, dtype=np.uint64), list(range(100))):
        np.testing.assert_array_equal(asked(nodes), wanted)
    for nodes, message in (
        ([0, -1], "nodes from 0 to 399, got -1"),
        ([400], "nodes from 0 to 399, got 400"),
        (5, r"in one row, \(b,\), got int64 of shape \(\)"),
        ([[1, 2]], r"in one row, \(b,\), got int64 of shape \(1, 2\)"),
        ([1.5], "whole numbers of nodes in one row, .* got float64"),
        (None, "real numbers for nodes"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            asked(nodes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3, 8), r"a function make\(nodes\), got int"),
        ((lambda nodes: nodes, 0), "num_nodes from 1 to 2147483647, got 0"),
        ((lambda nodes: nodes[:-1], 8), r"with its 8 nodes on the first axis, got shape \(7,\)"),
        ((lambda nodes: 3.0, 8), r"with its 8 nodes on the first axis, got shape \(\)"),
        ((lambda nodes: "eight", 8), "needs real numbers for what make returns"),
        ((lambda nodes: nodes, 8, 4), r"needs a jax\.sharding\.Mesh, got int"),
    ],
)
def test_what_makes_no_rows_is_refused_in_a_sentence(given, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        laws.unchecked(cojax.spread)(*given)


def test_under_jit_nothing_is_spread():
    with pytest.raises(cojax.CojaxInputError, match="call it outside"):
        jax.jit(lambda: cojax.spread(lambda nodes: nodes, 8))()


def test_on_one_device_spread_is_what_it_makes_of_all_nodes():
    made = cojax.spread(lambda nodes: {"a": nodes.astype(float) * 2.0, "b": np.ones((len(nodes), 3))}, 8)
    np.testing.assert_array_equal(made["a"], 2.0 * np.arange(8))
    assert made["b"].shape == (8, 3) and isinstance(made["b"], jax.Array)
