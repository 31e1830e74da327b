"""Who is linked to whom is read from the weights, in every layout and dtype, and never from what rounding leaves."""

import jax
import networkx as nx
import numpy as np
import pytest

import cojax
from cojax import rivals
from cojax.theory.spectra import laplacians

LAYOUTS = ("auto", "dense", "neighbors", "edges", "split")
NUM_NODES = 40  # of a dense graph a product of matrices, which leaves 1e-16 where nothing is


def in_single(network):
    return jax.tree.map(lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, network)


def drawn(seed, num_nodes=NUM_NODES, weighted=False):
    graph = nx.gnp_random_graph(num_nodes, 0.5, seed=seed)
    if weighted:
        random = np.random.default_rng(seed)
        nx.set_edge_attributes(graph, {edge: float(10.0 ** random.uniform(-9, -1)) for edge in graph.edges}, "weight")
    return graph


def there(graph):
    return nx.to_numpy_array(graph, nodelist=range(len(graph)), weight=None) > 0


def seen(network, k=0):
    return np.asarray(jax.jit(rivals.adjacency)(network, k))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_neighbours_are_those_of_networkx_in_every_layout(layout, dtype):
    for graph in (drawn(0), drawn(1, weighted=True)):
        given = nx.to_numpy_array(graph) if nx.is_weighted(graph) else graph
        network = cojax.network(given, layout=layout)
        found = seen(network if dtype == np.float64 else in_single(network))
        np.testing.assert_array_equal(found, there(graph))


def test_of_graphs_that_take_turns_at_every_step_and_of_rings_and_arcs():
    graphs = [drawn(seed, 36) for seed in range(3)]
    for layout in LAYOUTS:
        network = cojax.network(graphs, layout=layout)
        for k in range(4):
            np.testing.assert_array_equal(seen(network, k), there(graphs[k % 3]))
    ring = cojax.network(nx.cycle_graph(NUM_NODES))
    assert isinstance(ring, cojax.Circulant)
    np.testing.assert_array_equal(seen(ring), there(nx.cycle_graph(NUM_NODES)))
    arcs = nx.gnp_random_graph(NUM_NODES, 0.5, seed=1, directed=True)
    # Entry [i, j] of a matrix of networkx is the arc from i to j, which j hears.
    np.testing.assert_array_equal(seen(cojax.network(arcs)), there(arcs).T)


def test_silence_loss_and_chance_leave_only_the_links_that_are_up():
    graph = drawn(0)
    network = cojax.network(graph)
    assert not seen(cojax.Intermittent(network=network, every=2), 1).any()
    lossy = cojax.Lossy(network, 0.4)
    up = seen(lossy, 5)
    assert (up <= there(graph)).all() and (up == up.T).all() and 0.5 < up.sum() / there(graph).sum() < 0.7
    random = cojax.RandomGraph(NUM_NODES, 0.3, key=1)
    np.testing.assert_array_equal(seen(random, 3), np.asarray(random.at(3).weights) > 0)


def test_a_rival_is_as_good_over_a_matrix_as_over_a_list_of_edges():
    random = np.random.default_rng(0)
    curvature, demand = random.uniform(1, 3, NUM_NODES), random.uniform(0, 2, NUM_NODES)
    problem = cojax.Problem(lambda x, data: 0.5 * data[0] * (x.cpu - data[1]) ** 2, (curvature, demand), budget=60.0)
    start, graph = problem.start(), drawn(3)
    price = (60.0 - demand.sum()) / (1 / curvature).sum()
    for layout in ("dense", "edges"):
        network = cojax.network(graph, layout=layout)
        found = rivals.dual_consensus_admm(problem, network, start, 0.02, 150)
        np.testing.assert_allclose(found[-1], demand + price / curvature, atol=1e-7)


def test_what_is_connected_is_told_from_links_and_not_from_an_eigenvalue():
    """Two parts leave an eigenvalue of 1e-17, which is not > 0; weights of 1e-12 leave one of 1e-13, which is."""
    apart = nx.disjoint_union(drawn(0, 20), drawn(1, 20))
    whole = cojax.network([apart, nx.path_graph(40)])
    assert cojax.theory.spectrum(whole).lambda_2 == 0.0
    assert cojax.theory.switching_limit(whole, 1.0, 1.0, mixing=0.5).value == 0.0
    weak = [1e-12 * nx.to_numpy_array(nx.cycle_graph(5)), 1e-12 * nx.to_numpy_array(nx.complete_graph(5))]
    found = cojax.theory.spectrum(cojax.network(weak)).lambda_2
    exact = min(np.linalg.eigvalsh(matrix.toarray() * 1e12)[1] for matrix in laplacians(cojax.network(weak)))
    np.testing.assert_allclose(found, 1e-12 * exact, rtol=1e-9)
