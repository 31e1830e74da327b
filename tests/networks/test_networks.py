"""Networks conserve, layouts agree, and a graph that could not work is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from support import laws

import cojax
from cojax.networks.base import Wire
from cojax.networks.laws import Transfer, Weigh
from cojax.networks.layouts.columns import columns
from cojax.networks.layouts.split import as_edges

LAYOUTS = {
    "dense": cojax.Dense,
    "neighbors": cojax.Neighbors,
    "split": cojax.Split,
    "edges": cojax.Edges,
    "circulant": cojax.Circulant,
}


@jax.jit  # one program, where its operations one by one are many
def flow_at(network, k, message, law):
    return network.at(k).flow(Wire(jnp.asarray(message)), law)


def flow(network, message, law=None, k=0):
    return flow_at(network, k, message, Weigh() if law is None else law)


def message_of(num_nodes, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(num_nodes, dim))


@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_the_flow_is_minus_the_laplacian_times_the_message(layout):
    graph = nx.erdos_renyi_graph(40, 0.2, seed=1)
    network = cojax.network(graph, layout=layout)
    assert type(network) is LAYOUTS[layout]
    degree = dict(graph.degree)
    for a, b in graph.edges:
        graph[a][b]["weight"] = 1 / (1 + max(degree[a], degree[b]))
    message = message_of(40)
    np.testing.assert_allclose(flow(network, message), -nx.laplacian_matrix(graph) @ message, atol=1e-13)


def test_a_link_that_remembers_edges_is_not_given_a_matrix_of_all_pairs():
    graph = nx.random_regular_graph(30, 128, seed=0)
    assert isinstance(cojax.network(graph), cojax.Dense)
    by_edge = cojax.Innovation(cojax.LogQuantizer(0.1), memory="edge")
    assert isinstance(cojax.network(graph, link=by_edge), cojax.Neighbors)


@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_a_flow_is_computed_operation_by_operation_where_jit_is_off(layout):
    network = cojax.network(laws.ring_with_chords(), layout=layout)
    kinds, message = (Weigh(), Transfer(0.1, jnp.asarray(2.0**-20))), message_of(8)
    with jax.disable_jit():
        by_hand = [flow(network, message, law) for law in kinds]
    for mine, law in zip(by_hand, kinds, strict=True):
        np.testing.assert_allclose(mine, flow(network, message, law), rtol=1e-13, atol=1e-14)  # sums of 4


def test_a_star_of_40_leaves_scans_its_slots_and_agrees():
    graph = nx.star_graph(40)
    message = message_of(41)
    table, edges = (flow(cojax.network(graph, layout=layout), message) for layout in ("neighbors", "edges"))
    np.testing.assert_allclose(table, edges, atol=1e-13)


@pytest.mark.parametrize("order", ["in order", "in any order", "in any order and direction"])
@pytest.mark.parametrize("num_slots", [1, 3, 11])
def test_every_edge_stands_at_both_of_its_ends_and_neighbours_in_order(order, num_slots):
    random = np.random.default_rng(0)
    pairs = np.array(sorted(nx.gnp_random_graph(40, 0.15, seed=1).edges)).T
    if order != "in order":
        pairs = pairs[:, random.permutation(pairs.shape[1])]
    if order == "in any order and direction":
        pairs = np.where(random.random(pairs.shape[1]) < 0.5, pairs, pairs[::-1])
    table = columns(40, pairs, num_slots)
    slot, column = np.divmod(table.place, table.owner.size)
    np.testing.assert_array_equal(table.owner[column], pairs)
    np.testing.assert_array_equal(table.other.ravel()[table.place], pairs[::-1])
    assert len(np.unique(table.place)) == pairs.size
    empty = np.ones(table.other.shape, bool)
    empty.reshape(-1)[table.place] = False
    np.testing.assert_array_equal(table.other[empty], np.broadcast_to(table.owner, empty.shape)[empty])
    for node in range(40):
        there = pairs == node
        parts = slot[there] + num_slots * column[there]  # the columns of a node are its own and those added, in order
        others = pairs[::-1][there]
        assert (np.diff(others[np.argsort(parts)]) > 0).all()


def test_a_hub_takes_columns_of_its_own_and_gives_what_its_neighbours_receive():
    graph = nx.star_graph(40)
    graph.add_edges_from([(1, 2), (39, 40)])
    network = cojax.network(graph, layout="split")
    assert network.weights.shape[1] > 41 and set(np.asarray(network.owner[41:])) == {0}
    message = message_of(41)
    np.testing.assert_allclose(flow(network, message), flow(cojax.network(graph, layout="dense"), message), atol=1e-13)


def test_shares_over_a_split_table_are_bitwise_those_over_edges_where_links_fail_and_edges_remember():
    problem, graph = laws.quadratic(32), nx.barabasi_albert_graph(32, 2, seed=0)
    link = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
    method = cojax.CoOpt(learn=cojax.DIGing(0.02), allocate=cojax.Laplacian(0.2))
    runs = []
    for layout in ("split", "edges"):
        network = cojax.Lossy(cojax.network(graph, nodelist=range(32), link=link, layout=layout), 0.3, key=1)
        assert type(network.graphs) is LAYOUTS[layout]
        runs.append(
            cojax.solve(problem, network, method, laws.start_of(problem), num_steps=20, every=20, record=laws.nothing)
        )
    assert runs[0].state.imbalance == 0.0
    np.testing.assert_array_equal(runs[0].x.cpu, runs[1].x.cpu)
    # Flows of params are summed in another order: a few roundings of numbers of size 1 in each of 20 steps.
    np.testing.assert_allclose(runs[0].x.params, runs[1].x.params, atol=1e-12)


def test_a_split_table_is_the_same_network_as_its_list_of_edges():
    graphs = [nx.barabasi_albert_graph(20, 2, seed=seed) for seed in (0, 1)]
    network = cojax.network(graphs, nodelist=range(20), layout="split")
    listed = as_edges(network)
    made = cojax.network(graphs, nodelist=range(20), layout="edges")
    order = np.lexsort(np.asarray(listed.pairs)[::-1])
    np.testing.assert_array_equal(listed.pairs[:, order], made.pairs)
    np.testing.assert_array_equal(listed.weights[:, order], made.weights)


def test_graphs_with_hubs_are_split_and_even_ones_are_not():
    chosen = {
        cojax.Split: [nx.star_graph(99), nx.barabasi_albert_graph(300, 3, seed=0)],
        cojax.Neighbors: [nx.random_regular_graph(4, 100, seed=0), nx.grid_2d_graph(9, 9)],
    }
    for kind, graphs in chosen.items():
        assert [type(cojax.network(graph)) for graph in graphs] == [kind] * len(graphs)


@pytest.mark.parametrize("size, offsets", [(9, [1]), (12, [2, 3]), (24, [1, 2, 4, 8])])
def test_circulant_graphs_are_seen_and_agree_with_their_matrix(size, offsets):
    graph = nx.circulant_graph(size, offsets)
    network = cojax.network(graph)
    assert isinstance(network, cojax.Circulant)
    for dim in (3, 30):  # short rows are shifted, long ones gathered
        message, matrix = message_of(len(graph), dim), cojax.network(graph, layout="dense")
        np.testing.assert_allclose(flow(network, message), flow(matrix, message), atol=1e-13)


def test_what_one_node_gives_another_receives():
    network = cojax.network(nx.path_graph(2), layout="neighbors")
    law = Transfer(1.0, jnp.asarray(2.0**-10))
    given = np.asarray(flow(network, np.array([1.0, 0.3]), law))
    assert given[0] == -given[1] != 0
    assert given[0] == round(-0.7 * 0.5 * 2**10) / 2**10


def test_weights_that_differ_by_step_take_turns_and_repeat():
    graphs = laws.switching_graphs()
    network = cojax.network(graphs, layout="neighbors")
    message = message_of(8)
    for k in (0, 1, 2, 5):
        alone = nx.Graph(graphs[k % 2])
        expected = flow(cojax.Dense(weights=_metropolis(alone)), message)
        np.testing.assert_allclose(flow(network, message, k=k), expected, atol=1e-13)


def _metropolis(graph):
    adjacency = nx.to_numpy_array(graph)
    degree = adjacency.sum(1)
    return jnp.asarray(adjacency / (1 + np.maximum(degree[:, None], degree[None, :])))


def test_matrices_are_taken_as_they_are_dense_or_sparse():
    weights = np.asarray(_metropolis(laws.ring_with_chords())) / 3
    message = message_of(8)
    for given in (weights, scipy.sparse.csr_array(weights), [weights, weights], np.stack([weights, weights])):
        network = cojax.network(given, layout="neighbors")
        np.testing.assert_allclose(flow(network, message), flow(cojax.Dense(weights=jnp.asarray(weights)), message))


def test_the_nodelist_orders_the_rows():
    graph = nx.Graph([("b", "a"), ("a", "c")])
    network = cojax.network(graph, nodelist=["a", "b", "c"], layout="dense")
    np.testing.assert_array_equal(np.asarray(network.weights) > 0, [[0, 1, 1], [1, 0, 0], [1, 0, 0]])


def test_a_directed_graph_is_balanced_and_its_flow_sums_to_zero():
    arcs = nx.DiGraph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (2, 0)])
    network = cojax.network(arcs)
    assert isinstance(network, cojax.Digraph)
    weights = np.asarray(network.weights)
    np.testing.assert_allclose(weights.sum(0), weights.sum(1), atol=1e-15)
    assert weights[1, 0] > 0 and weights[0, 1] == 0  # node 1 hears node 0
    np.testing.assert_allclose(np.asarray(flow(network, message_of(4))).sum(0), 0, atol=1e-15)


def split(owner=(0, 1, 2, 1), twin=((1, 0, 3, 2),), weights=((0.5, 0.5, 0.2, 0.2),)):
    """Node 1 between nodes 0 and 2, in a table of one slot."""
    table = dict(index=jnp.asarray([[1, 0, 1, 2]]), twin=jnp.asarray(twin), owner=jnp.asarray(owner), size=3)
    return cojax.Split(weights=jnp.asarray(weights), **table)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_links_fail_at_their_rate_and_independently(rate):
    network = cojax.Lossy(cojax.network(nx.complete_graph(20), layout="dense"), rate, key=3)
    up = np.asarray(jax.jit(jax.vmap(lambda k: network.at(k).weights > 0))(jnp.arange(400)))
    np.testing.assert_array_equal(up, up.swapaxes(1, 2))
    sides = up[:, *np.triu_indices(20, 1)].astype(float)
    # 76 000 draws: six standard deviations.
    assert abs(sides.mean() - (1 - rate)) < 6 * np.sqrt(rate * (1 - rate) / sides.size)
    correlation = np.corrcoef(sides.T) - np.eye(190)
    assert np.abs(correlation).max() < 6 / np.sqrt(400)
    in_time = [np.corrcoef(edge[1:], edge[:-1])[0, 1] for edge in sides.T]
    assert np.abs(in_time).max() < 5 / np.sqrt(400)


def test_another_key_loses_other_links():
    base = cojax.network(nx.complete_graph(10), layout="dense")
    one, other = (np.asarray(cojax.Lossy(base, 0.5, key=key).at(0).weights) for key in (0, 1))
    assert (one != other).any()


def test_a_random_graph_is_drawn_anew_at_every_step_and_still_solves():
    problem = laws.quadratic()
    network = cojax.RandomGraph(8, 0.3, key=1)
    first, second = (np.asarray(network.at(k).weights) for k in (0, 1))
    assert (first != second).any() and (first == first.T).all()
    method = cojax.CoOpt(learn=cojax.DIGing(0.03, mixing=0.5), allocate=cojax.Laplacian(0.2))
    run = cojax.solve(problem, network, method, laws.start_of(problem), num_steps=6000, every=6000, record=laws.nothing)
    params, cpu, _ = laws.optimum(problem)
    np.testing.assert_allclose(run.x.cpu, cpu, atol=1e-10)
    np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=1e-10)
    assert run.state.imbalance == 0.0


def test_a_link_that_is_drawn_is_lost_no_more_often_with_the_same_key():
    size, there, lost = 200, 0.3, 0.4
    drawn = cojax.RandomGraph(size, there)
    kept = cojax.Lossy(drawn, lost)
    pairs = np.triu_indices(size, 1)
    for k in range(3):
        before, after = (np.asarray(one.at(k).weights)[pairs] > 0 for one in (drawn, kept))
        assert not (after & ~before).any()
        # Of 5970 links on average 3582: 6 standard deviations are 4 %.
        assert after.sum() == pytest.approx((1 - lost) * before.sum(), rel=0.05)


def test_vmap_runs_over_seeds_of_a_lossy_network():
    problem = laws.quadratic()
    base = cojax.network(laws.ring_with_chords())
    method = cojax.CoOpt(learn=cojax.DIGing(0.03), allocate=cojax.Laplacian(0.2))
    start = laws.start_of(problem)

    def run(key):
        length = dict(num_steps=20, every=20, record=laws.nothing)
        return cojax.solve(problem, cojax.Lossy(base, 0.5, key), method, start, **length).x.cpu

    keys = jax.random.split(jax.random.key(0), 3)
    many = jax.jit(jax.vmap(run))(keys)
    np.testing.assert_array_equal(many[1], run(keys[1]))
    assert (many[0] != many[1]).any()


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_weights_of_16_bits_are_those_numbers_at_every_door(dtype):
    ring = nx.to_numpy_array(nx.cycle_graph(6)) * 0.3
    short, message = ring.astype(dtype), np.random.default_rng(0).normal(size=(6, 2))
    rounded = short.astype(np.float64)  # 0.3 of 11 or 8 bits
    wanted = rounded @ message - rounded.sum(1)[:, None] * message
    made = [
        *(cojax.network(given) for given in (short, jnp.asarray(short), [short], np.stack([short, short]))),
        cojax.network(nx.cycle_graph(6), weights=lambda n, pairs: np.full(pairs.shape[1], 0.3).astype(dtype)),
        *(kind(weights=jnp.asarray(short)) for kind in (cojax.Dense, cojax.Digraph)),
    ]
    for layout in ("neighbors", "split", "edges", "circulant"):
        built = cojax.network(ring, layout=layout)
        made.append(dataclasses.replace(built, weights=built.weights.astype(dtype)))
    for network in made:
        np.testing.assert_allclose(flow(network, jnp.asarray(message)), wanted, atol=1e-6)  # float32 at the least
    directed = cojax.Directed(weights=jnp.asarray(short))
    np.testing.assert_array_equal(np.asarray(directed.weights, np.float64), rounded)
    start = laws.start_of(laws.quadratic(6))
    for layout in (made[0], made[5]):
        ran = cojax.solve(
            laws.quadratic(6), layout, cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.1)), start, num_steps=3
        )
        assert float(ran.x.cpu.sum()) == float(start.cpu.sum())


def test_16_bits_do_not_hide_what_is_wrong_with_weights():
    skewed = np.asarray([[0, 0.5, 0], [0, 0, 0.48], [0.5, 0, 0]])  # out of balance by 4 %, twenty roundings of float16
    for wrong, message in (
        (lambda: cojax.Digraph(weights=jnp.asarray(skewed, jnp.float16)), "Digraph needs balanced weights"),
        (lambda: cojax.Digraph(weights=jnp.asarray(skewed, jnp.bfloat16)), "Digraph needs balanced weights"),
        (
            lambda: cojax.Dense(weights=jnp.asarray(-np.ones((2, 2)), jnp.bfloat16)),
            "Dense needs weights >= 0, got -1 on",
        ),
        (lambda: cojax.network(np.asarray([[0, np.nan], [np.nan, 0]], np.float16)), "weights finite, got nan on edge"),
        (
            lambda: cojax.Directed(weights=jnp.full((3, 3), 1 / 3, jnp.bfloat16)),
            "Directed needs weights that sum to less",
        ),
    ):
        with pytest.raises(cojax.CojaxInputError) as error:
            wrong()
        assert message in str(error.value)
    with pytest.raises((cojax.CojaxInputError, TypeError)):  # the annotations are checked in tests
        cojax.Dense(weights=jnp.ones((2, 2), int))


def edges(weights, pairs):
    return cojax.Edges(weights=jnp.asarray(weights), pairs=jnp.asarray(pairs), size=3)


def table(index, weights=((0.1, 0.1),)):
    index = jnp.asarray(index)
    return cojax.Neighbors(weights=jnp.asarray(weights), index=index, twin=jnp.zeros_like(index))


def shifts(offsets):
    return cojax.Circulant(weights=jnp.full((len(offsets), 1), 0.1), offsets=offsets, size=5)


TWO_PARTS = nx.Graph([(0, 1), (2, 3), (3, 4)])
SKEWED = np.array([[0.0, 0.5, 0.0], [0.25, 0.0, 0.5], [0.0, 0.5, 0.0]])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: cojax.network(TWO_PARTS),
            "The union of the graphs is not connected (2 parts, of 3, 2 nodes; 0 is in the smallest): the nodes can "
            "never agree. Add a link between the parts.",
        ),
        (lambda: cojax.network(nx.DiGraph([(0, 1), (1, 2)])), "strongly connected"),
        (lambda: cojax.network([]), "network needs at least one graph, got an empty sequence."),
        (lambda: cojax.network(nx.Graph()), "network needs at least one node, got an empty graph."),
        (lambda: cojax.network("ring"), "network needs networkx graphs or weight matrices, got str."),
        (lambda: cojax.network(np.ones((2, 3))), "network needs square weight matrices, got shape (2, 3)."),
        (lambda: cojax.network(nx.MultiGraph([(0, 1), (0, 1)])), "without parallel edges, got a networkx multigraph"),
        (lambda: cojax.network(nx.Graph([(0, 1), (1, 1)])), "without self-loops, got one at node 1; remove it."),
        (
            lambda: cojax.network([nx.path_graph(3), nx.path_graph(4)]),
            "network needs the same nodes in every graph and in nodelist: missing [], not wanted ['3'].",
        ),
        (lambda: cojax.network(nx.path_graph(3), nodelist=["a", "b", "c"]), "missing ['a', 'b', 'c'], not wanted"),
        (lambda: cojax.network(nx.path_graph(2), nodelist=[0, 0]), "every node once in nodelist"),
        (lambda: cojax.network(nx.path_graph(3), layout="fast"), "layout to be one of auto, dense, neighbors"),
        (lambda: cojax.network(nx.path_graph(5), layout="circulant"), "network needs a circulant graph"),
        (lambda: cojax.network(nx.MultiDiGraph([(0, 1), (1, 0)])), "collapse them with networkx.DiGraph(graph)."),
        (lambda: cojax.network(nx.DiGraph([(0, 1), (1, 0), (1, 1)])), "without self-loops, got one at node 1"),
        (lambda: cojax.network(np.array(3.0)), "network needs square weight matrices, got shape (1,)."),
        (
            lambda: cojax.network(nx.path_graph(3), weights=lambda n, pairs: np.ones(1)),
            "of shape (2,), one an edge, got (1,)",
        ),
        (lambda: cojax.network(np.array([[0.0, -0.1], [-0.1, 0.0]])), "weights >= 0, got -0.1 on edge (0, 1)."),
        (lambda: cojax.network(np.array([[0.0, np.nan], [np.nan, 0.0]])), "weights finite, got nan on edge (0, 1)."),
        (lambda: cojax.network(SKEWED), "Digraph needs balanced weights (row sum = column sum), got"),
        (lambda: cojax.network(nx.path_graph(3), weights=lambda n, pairs: -np.ones(2)), "weights >= 0, got -1"),
        (
            lambda: cojax.Dense(weights=jnp.asarray(SKEWED)),
            "Dense needs symmetric weights, got w[0, 1] = 0.5 and w[1, 0] = 0.25; use a weight-balanced Digraph",
        ),
        (lambda: cojax.Dense(weights=jnp.asarray([[0.0, -1.0], [-1.0, 0.0]])), "nodes would push apart"),
        (lambda: cojax.Lossy(cojax.network(nx.path_graph(3)), 1.0), "Lossy needs rate >= 0 and rate < 1, got 1."),
        (lambda: cojax.Lossy(cojax.network(nx.DiGraph([(0, 1), (1, 0)])), 0.1), "Lossy needs an undirected network"),
        (lambda: cojax.RandomGraph(5, 0.0), "RandomGraph needs probability > 0 and probability <= 1, got 0."),
        (lambda: cojax.RandomGraph(3.7, 0.5), "RandomGraph needs a whole number size >= 1, got 3.7."),
        (lambda: cojax.Lossy(cojax.Lossy(cojax.network(nx.path_graph(3)), 0.1), 0.1), "for more loss raise the rate"),
        (lambda: cojax.Lossy(nx.path_graph(3), 0.1), "Lossy needs a network, got Graph"),
        (lambda: cojax.Lossy(cojax.network(nx.path_graph(3)), 0.1, key="1"), "a whole number key >= 0, got '1'."),
        (lambda: edges([0.3], [[0], [7]]), "Edges needs pairs of nodes from 0 to 2, got 0 to 7."),
        (lambda: edges([0.3], [[1], [1]]), "Edges needs two ends per edge, got one from node 1 to itself."),
        (lambda: split(twin=[[1, 0, 3, 7]]), "Split needs twin from 0 to 3, got 0 to 7."),
        (lambda: split(owner=[0, 2, 1, 1]), "Split needs owner to name all 3 nodes in order first"),
        (lambda: split(twin=[[1, 0, 1, 2]]), "Split needs twin to lead back, got slot 0 of column 2"),
        (
            lambda: split(weights=[[0.5, 0.4, 0.2, 0.2]]),
            "Split needs one weight per edge, got two for that of nodes 0 and 1.",
        ),
        (lambda: table([[9, 0]]), "Neighbors needs index from 0 to 1, got 0 to 9."),
        (lambda: table([[1, 1]]), "Neighbors needs twin to lead back"),
        (
            lambda: table([[1, 0]], [[0.1, 0.2]]),
            "one weight per edge, got two for that of nodes 0 and 1.",
        ),
        (
            lambda: shifts((1,)),
            "its mirror image at the same weight, got 1 without 4.",
        ),
        (lambda: shifts((1, 9)), "Circulant needs every offset with its mirror image"),
        (lambda: shifts((7,)), "Circulant needs offsets from 1 to 4, got 7."),
    ],
)
def test_a_graph_that_could_not_work_is_refused(build, message):
    with pytest.raises(cojax.CojaxInputError) as error:
        build()
    assert message in str(error.value)


def test_a_union_that_is_only_jointly_connected_is_legal():
    graphs = laws.switching_graphs()
    assert not any(nx.is_connected(graph) for graph in graphs)
    assert cojax.network(graphs).num_graphs == 2


def test_one_node_alone_is_legal_and_optimal_where_it_starts():
    problem = cojax.Problem(lambda x, a: a * x.cpu**2, np.ones(1), 3.0)
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    network = cojax.network(nx.empty_graph(1))
    run = cojax.solve(problem, network, method, problem.start(), num_steps=10, every=10, record=laws.nothing)
    assert run.x.cpu.tolist() == [3.0] and cojax.Status(int(run.status)) is cojax.Status.CONVERGED


def test_a_matrix_that_is_symmetric_up_to_rounding_is_undirected():
    network = cojax.network(np.array([[0.0, 0.1 + 0.2], [0.3, 0.0]]))
    assert isinstance(network, cojax.Dense) and (network.weights == network.weights.T).all()


def test_an_undirected_graph_among_directed_ones_is_heard_both_ways():
    network = cojax.network([nx.path_graph(3), nx.DiGraph([(0, 1), (1, 2), (2, 0)])])
    assert isinstance(network, cojax.Digraph)
    np.testing.assert_allclose(network.weights[0], network.weights[0].T, atol=1e-15)  # a walk on it is reversible


def test_large_prices_that_are_alike_leave_a_total_exact_where_differences_flow_and_round_it_where_amounts_do():
    """What `Digraph` says of itself, in float32, with prices 10 000 times their differences."""

    def cost(x, price):
        return price * x.cpu**2 + 1e4 * x.cpu

    problem = cojax.Problem(cost, np.linspace(1, 2, 6, dtype=np.float32), budget=np.float32(13.75))
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    arcs = nx.DiGraph([(i, (i + jump) % 6) for i in range(6) for jump in (1, 2, 4)])

    def largest_off(graph):
        run = cojax.solve(problem, cojax.network(graph), method, problem.start(), num_steps=100)
        return float(run.trace.imbalance.max())

    assert largest_off(arcs.to_undirected()) == 0
    # 100 steps in which six nodes add up three flows, 500 in all, in and out, each sum rounded twice.
    assert 0 < largest_off(arcs) < 100 * 6 * 4 * 500 * 2.0**-24


@pytest.mark.parametrize("nodelist", [None, [2, 0, 1]], ids=["in order", "in another"])
def test_an_edge_list_among_directed_graphs_is_the_undirected_graph_of_its_edges(nodelist):
    arcs, path = nx.DiGraph([(0, 1), (1, 2), (2, 0)]), cojax.graphs.EdgeList(3, np.array([[0, 1], [1, 2]]))
    network = cojax.network([path, arcs], nodelist=nodelist)
    expected = cojax.network([nx.path_graph(3), arcs], nodelist=nodelist)
    np.testing.assert_array_equal(network.weights, expected.weights)


@pytest.mark.parametrize("layout", ["neighbors", "split"])
@pytest.mark.parametrize("seed", range(3))
def test_a_table_of_neighbours_has_every_edge_at_both_ends_in_the_order_of_its_neighbours(layout, seed):
    """Edges in any order and direction, of nodes with none to many, beside Python lists."""
    random = np.random.default_rng(seed)
    graph = nx.barabasi_albert_graph(30, 2, seed=seed)
    edges = [tuple(random.permutation(edge)) for edge in random.permutation(list(graph.edges))]
    network = cojax.network(cojax.graphs.EdgeList(30, np.array(edges, np.int32).T), layout=layout)
    weight = {frozenset(edge): 1 / (1 + max(graph.degree(edge[0]), graph.degree(edge[1]))) for edge in graph.edges}
    owner = np.asarray(network.owner) if layout == "split" else np.arange(30)
    index, weights, twin = (np.asarray(part) for part in (network.index, network.weights, network.twin))
    for node in range(30):
        held = [
            (index[slot, column], weights[slot, column])
            for column in np.flatnonzero(owner == node)
            for slot in range(len(index))
            if index[slot, column] != node
        ]
        assert [other for other, _ in held] == sorted(graph[node])
        for other, number in held:
            np.testing.assert_allclose(number, weight[frozenset((node, other))], rtol=1e-15)
    for slot, column in np.argwhere(index != owner[None]):
        there = (
            np.unravel_index(twin[slot, column], index.shape)
            if layout == "split"
            else (twin[slot, column], index[slot, column])
        )
        assert (index[there], owner[there[1]]) == (owner[column], index[slot, column])


def test_entries_of_a_matrix_that_are_there_twice_are_summed_and_the_matrix_stays_as_it_was():
    rows, columns, data = [0, 1, 0, 1, 1, 2], [1, 0, 1, 0, 2, 1], [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    wanted = np.zeros((3, 3))
    np.add.at(wanted, (rows, columns), data)
    triples = scipy.sparse.coo_array((data, (rows, columns)), shape=(3, 3))
    by_row = scipy.sparse.csr_array((data, [1, 1, 0, 0, 2, 1], [0, 2, 5, 6]), shape=(3, 3))
    by_row.data[:] = [0.1, 0.2, 0.1, 0.2, 0.3, 0.3]
    for matrix in (triples, by_row):
        before = matrix.copy()
        found = cojax.network(matrix, layout="dense")
        np.testing.assert_allclose(found.weights, wanted, rtol=1e-15)
        assert matrix.nnz == before.nnz == 6 and np.array_equal(matrix.data, before.data)


def test_a_rule_for_weights_cannot_change_the_edges_of_the_caller():
    pairs = np.array([[0, 1, 2], [1, 2, 3]])

    def writes(num_nodes, given):
        given[:] = 0
        return np.full(given.shape[1], 0.1)

    with pytest.raises(ValueError, match="read-only"):
        cojax.network(cojax.graphs.EdgeList(4, pairs), weights=writes)
    np.testing.assert_array_equal(pairs, [[0, 1, 2], [1, 2, 3]])
