"""Weights are symmetric by construction; what is tested is how fast they mix and what they refuse."""

import clarabel
import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sparse

from cojax import CojaxInputError, weights

RULES = (weights.metropolis, weights.max_degree, weights.best_constant, weights.fastest)
GRAPHS = {
    "one link": nx.path_graph(2),
    "path": nx.path_graph(9),
    "ring": nx.cycle_graph(8),
    "star": nx.star_graph(6),
    "complete": nx.complete_graph(6),
    "barbell": nx.barbell_graph(4, 1),
    "random": nx.erdos_renyi_graph(12, 0.35, seed=1),
    "hubs": nx.barabasi_albert_graph(14, 2, seed=0),
}


def pairs_of(graph):
    return np.array(graph.edges, dtype=np.int64).reshape(-1, 2).T


def mixing(num_nodes, pairs, chosen):
    """I - L, entry by entry, without the library's own Laplacian."""
    matrix = np.eye(num_nodes)
    for (i, j), weight in zip(pairs.T, chosen, strict=True):
        matrix[i, j] += weight
        matrix[j, i] += weight
        matrix[i, i] -= weight
        matrix[j, j] -= weight
    return matrix


def modulus(graph, chosen):
    """The second-largest modulus of an eigenvalue of a connected graph's mixing matrix."""
    matrix = mixing(len(graph), pairs_of(graph), chosen)
    return np.abs(np.linalg.eigvalsh(matrix - 1 / len(graph))).max()


def curved_modulus(graph, chosen, curvature):
    """The same of I - D^1/2 L D^1/2, whose eigenvalue 1 belongs to D^-1/2 1."""
    laplacian = np.eye(len(graph)) - mixing(len(graph), pairs_of(graph), chosen)
    root = np.sqrt(curvature)
    return np.sort(np.abs(np.linalg.eigvalsh(np.eye(len(graph)) - root[:, None] * laplacian * root)))[-2]


def fastest_by_clarabel(graph, curvature=None):
    """min s subject to -s I <= I - D^1/2 L D^1/2 - P <= s I and w >= 0, as a semidefinite program."""
    curvature = np.ones(len(graph)) if curvature is None else curvature
    root = np.sqrt(curvature)
    num_nodes, pairs = len(graph), pairs_of(graph)
    rows, columns = np.array([(i, j) for j in range(num_nodes) for i in range(j + 1)]).T
    scale = np.where(rows == columns, 1.0, np.sqrt(2.0))
    stacked = [np.zeros((num_nodes, num_nodes)) for _ in pairs.T]
    for plane, (i, j) in zip(stacked, pairs.T, strict=True):
        plane[i, i], plane[j, j] = curvature[i], curvature[j]
        plane[i, j] = plane[j, i] = -root[i] * root[j]
    edges = np.array([scale * plane[rows, columns] for plane in stacked]).T
    identity = (scale * np.eye(num_nodes)[rows, columns])[:, None]
    centre = scale * (np.eye(num_nodes) - np.outer(1 / root, 1 / root) / (1 / curvature).sum())[rows, columns]
    num_edges = pairs.shape[1]
    bounds = np.hstack([np.eye(num_edges), np.zeros((num_edges, 1))])
    matrix = -np.vstack([np.hstack([edges, identity]), np.hstack([-edges, identity]), bounds])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cones = [clarabel.PSDTriangleConeT(num_nodes)] * 2 + [clarabel.NonnegativeConeT(num_edges)]
    objective = np.append(np.zeros(num_edges), 1.0)
    quadratic = sparse.csc_matrix((num_edges + 1, num_edges + 1))
    limits = np.concatenate([-centre, centre, np.zeros(num_edges)])
    solver = clarabel.DefaultSolver(quadratic, objective, sparse.csc_matrix(matrix), limits, cones, settings)
    return solver.solve().obj_val


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", GRAPHS)
def test_repeated_mixing_leads_to_the_mean(rule, name):
    graph = GRAPHS[name]
    chosen = rule(len(graph), pairs_of(graph))
    assert chosen.shape == (graph.number_of_edges(),)
    assert chosen.min() > 0.0
    assert modulus(graph, chosen) < 1.0


def test_metropolis_weights_are_those_of_a_small_graph_by_hand():
    # Degrees 1, 3, 2, 2: the triangle 1-2-3 with a leaf 0.
    pairs = np.array([[0, 1, 1, 2], [1, 2, 3, 3]])
    np.testing.assert_array_equal(weights.metropolis(4, pairs), [1 / 4, 1 / 4, 1 / 4, 1 / 3])


@pytest.mark.parametrize("name", GRAPHS)
def test_metropolis_and_max_degree_keep_a_share_at_every_node(name):
    graph = GRAPHS[name]
    for rule in (weights.metropolis, weights.max_degree):
        matrix = mixing(len(graph), pairs_of(graph), rule(len(graph), pairs_of(graph)))
        assert matrix.diagonal().min() > 0.0


@pytest.mark.parametrize("name", GRAPHS)
def test_no_equal_weight_mixes_faster_than_the_best_constant(name):
    graph = GRAPHS[name]
    best = weights.best_constant(len(graph), pairs_of(graph))
    assert np.ptp(best) == 0.0
    reached = modulus(graph, best)
    for factor in np.linspace(0.5, 1.5, 21):
        assert modulus(graph, factor * best) >= reached - 1e-12  # rounding of eigenvalues


@pytest.mark.parametrize("name", GRAPHS)
def test_the_fastest_weights_are_those_of_a_semidefinite_solver(name):
    graph = GRAPHS[name]
    reached = modulus(graph, weights.fastest(len(graph), pairs_of(graph)))
    optimum = fastest_by_clarabel(graph)
    # The rule promises 1 - s within 0.1 %.
    assert 1 - reached >= (1 - 1e-3) * (1 - optimum)


@pytest.mark.parametrize("name", ["path", "barbell", "random", "hubs"])
def test_the_fastest_weights_for_curved_costs_are_those_of_a_semidefinite_solver(name):
    graph = GRAPHS[name]
    curvature = np.random.default_rng(0).uniform(0.05, 0.5, len(graph))
    chosen = weights.fastest(len(graph), pairs_of(graph), curvature)
    reached, optimum = curved_modulus(graph, chosen, curvature), fastest_by_clarabel(graph, curvature)
    assert 1 - reached >= (1 - 1e-3) * (1 - optimum)  # as above
    plain = weights.fastest(len(graph), pairs_of(graph)) / curvature.max()
    assert reached < curved_modulus(graph, plain, curvature)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("curved", [False, True])
def test_no_weights_beat_the_bound_and_the_fastest_are_within_a_thousandth_of_it(name, curved):
    graph = GRAPHS[name]
    size, pairs = len(graph), pairs_of(graph)
    curvature = np.random.default_rng(0).uniform(0.05, 0.5, size) if curved else np.ones(size)
    modulus, least = weights.fastest_bound(size, pairs, weights.fastest(size, pairs, curvature), curvature)
    optimum = fastest_by_clarabel(graph, curvature)
    assert least <= optimum + 1e-7 <= modulus + 2e-7  # the precision of the semidefinite solver
    assert 1 - modulus >= (1 - 1e-3) * (1 - least)


def drawn():
    """Graphs of five kinds, of 20 and of 50 nodes, not all of them connected."""
    for seed in range(10):
        for size in (20, 50):
            yield nx.erdos_renyi_graph(size, 6 / size, seed=seed)
            yield nx.barabasi_albert_graph(size, 2, seed=seed)
            yield nx.random_geometric_graph(size, 1.6 / np.sqrt(size), seed=seed)
            yield nx.random_regular_graph(4, size, seed=seed)
            yield nx.connected_watts_strogatz_graph(size, 4, 0.3, seed=seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_the_fastest_of_a_hundred_graphs_are_within_a_thousandth_of_the_bound(spread):
    left = []
    for graph in drawn():
        size, pairs = len(graph), pairs_of(graph)
        curvature = np.random.default_rng(0).uniform(1.0, spread, size)
        modulus, least = weights.fastest_bound(size, pairs, weights.fastest(size, pairs, curvature), curvature)
        left.append((modulus - least) / (1 - least))
    assert max(left) < 1e-3 and np.median(left) < 4e-4, (max(left), np.median(left))  # as the docstring says


@pytest.mark.parametrize("name", GRAPHS)
def test_the_bound_is_that_of_the_graph_whatever_is_judged(name):
    graph = GRAPHS[name]
    size, pairs = len(graph), pairs_of(graph)
    random = np.random.default_rng(2)
    bounds = []
    for chosen in (*(rule(size, pairs) for rule in RULES[:3]), *random.uniform(0, 0.5, (5, pairs.shape[1]))):
        judged = weights.fastest_bound(size, pairs, chosen)
        np.testing.assert_allclose(judged.modulus, modulus(graph, chosen), atol=1e-12)  # rounding of eigenvalues
        assert judged.least <= judged.modulus
        bounds.append(judged.least)
    assert np.ptp(bounds) == 0.0


@pytest.mark.parametrize("size", [4, 25, 100])
def test_the_bound_of_a_path_is_below_what_is_known_to_be_optimal_on_it(size):
    path = nx.path_graph(size)
    modulus, least = weights.fastest_bound(size, pairs_of(path), np.full(size - 1, 0.5))
    best = np.cos(np.pi / size)  # see `test_the_fastest_weights_of_a_hundred_nodes_beat_every_other_rule`
    np.testing.assert_allclose(modulus, best, atol=1e-12)
    assert (1 - 1e-3) * (1 - least) <= 1 - best <= 1 - least


def test_the_bound_of_parts_is_that_of_the_slowest_part():
    graph = nx.disjoint_union(nx.path_graph(4), nx.complete_graph(3))
    graph.add_node(7)
    chosen = weights.fastest(8, pairs_of(graph))
    modulus, least = weights.fastest_bound(8, pairs_of(graph), chosen)
    best = np.cos(np.pi / 4)  # of the path
    assert (1 - 1e-3) * (1 - least) <= 1 - best <= 1 - least and modulus >= best - 1e-12
    assert weights.fastest_bound(3, np.zeros((2, 0), np.int64), np.zeros(0)) == (0.0, 0.0)


def test_weights_that_fit_no_graph_are_not_judged():
    pairs = np.array([[0, 1], [1, 2]])
    with pytest.raises(CojaxInputError, match=r"fastest_bound needs shape \(2,\) for chosen, got shape \(3,\)"):
        weights.fastest_bound(3, pairs, np.ones(3))
    with pytest.raises(CojaxInputError, match="fastest_bound needs chosen >= 0, got -1"):
        weights.fastest_bound(3, pairs, np.array([-1.0, 1.0]))


@pytest.mark.parametrize("name", GRAPHS)
def test_steepest_weights_keep_every_eigenvalue_between_0_and_2(name):
    graph = GRAPHS[name]
    curvature = np.random.default_rng(1).uniform(0.05, 5.0, len(graph))
    laplacian = np.eye(len(graph)) - mixing(
        len(graph), pairs_of(graph), weights.steepest(len(graph), pairs_of(graph), curvature)
    )
    values = np.linalg.eigvals(curvature[:, None] * laplacian).real
    assert values.min() > -1e-12 and values.max() < 2 + 1e-12  # rounding of eigenvalues of a few units


def test_steepest_weights_are_those_of_a_small_graph_by_hand():
    # Degrees 1, 3, 2, 2 and curvatures 1, 1, 2, 4.
    pairs = np.array([[0, 1, 1, 2], [1, 2, 3, 3]])
    np.testing.assert_array_equal(
        weights.steepest(4, pairs, np.array([1.0, 1.0, 2.0, 4.0])), [1 / 3, 1 / 4, 1 / 8, 1 / 8]
    )


@pytest.mark.parametrize("rule", [weights.fastest, weights.steepest])
def test_curvatures_that_fit_no_node_are_refused(rule):
    pairs = np.array([[0, 1], [1, 2]])
    with pytest.raises(CojaxInputError, match=r"needs curvature of shape \(3,\), got \(2,\)"):
        rule(3, pairs, np.ones(2))
    with pytest.raises(CojaxInputError, match="needs curvature > 0, got 0"):
        rule(3, pairs, np.array([1.0, 0.0, 1.0]))


def test_the_fastest_weights_of_a_hundred_nodes_beat_every_other_rule():
    graph = nx.erdos_renyi_graph(100, 0.06, seed=4)
    assert nx.is_connected(graph)
    reached = [modulus(graph, rule(100, pairs_of(graph))) for rule in RULES]
    assert reached[3] < min(reached[:3])
    # On a path, weights of 1/2 are known to be optimal (Boyd, Diaconis, Sun, Xiao, Am. Math. Monthly 113, 2006).
    path = nx.path_graph(100)
    np.testing.assert_allclose(modulus(path, weights.fastest(100, pairs_of(path))), np.cos(np.pi / 100), atol=1e-6)


@pytest.mark.parametrize("rule", [weights.best_constant, weights.fastest])
def test_in_a_graph_of_two_parts_each_part_agrees(rule):
    # One graph of a sequence may be unconnected: its weights must still mix within the parts.
    graph = nx.disjoint_union(nx.path_graph(4), nx.complete_graph(3))
    graph.add_node(7)
    matrix = mixing(8, pairs_of(graph), rule(8, pairs_of(graph)))
    moduli = np.sort(np.abs(np.linalg.eigvalsh(matrix)))
    np.testing.assert_allclose(moduli[-3:], 1.0, atol=1e-12)
    assert moduli[-4] < 0.9


@pytest.mark.parametrize("rule", RULES)
def test_a_graph_without_links_has_no_weights(rule):
    assert rule(3, np.zeros((2, 0), np.int64)).shape == (0,)


def test_fastest_refuses_a_graph_that_would_take_hours():
    graph = nx.complete_graph(90)
    with pytest.raises(CojaxInputError, match="needs at most 3000 nodes and edges together, got 4095"):
        weights.fastest(90, pairs_of(graph))


def test_balanced_weights_let_out_of_a_node_what_comes_in():
    arcs = np.array([[0, 1, 2, 0, 3, 1], [1, 2, 0, 2, 0, 3]])
    matrix = weights.balanced(4, arcs)
    assert set(zip(*np.nonzero(matrix), strict=True)) == set(map(tuple, arcs.T))
    np.testing.assert_allclose(matrix.sum(0), matrix.sum(1), atol=1e-15)  # a few roundings of numbers below 1
    np.testing.assert_allclose(matrix.sum(1).max(), 0.5, atol=1e-15)


def test_balanced_weights_of_a_directed_ring_are_a_half():
    arcs = np.array([[0, 1, 2], [1, 2, 0]])
    np.testing.assert_allclose(weights.balanced(3, arcs), 0.5 * np.roll(np.eye(3), 1, axis=1), atol=1e-15)


@pytest.mark.parametrize(
    "arcs",
    [[[0, 1], [1, 2]], [[0, 1, 2, 3], [1, 0, 3, 2]], [[0, 1, 2, 2], [1, 0, 0, 1]]],
    ids=["a path", "two parts", "a listener"],
)
def test_balanced_refuses_a_digraph_that_is_not_strongly_connected(arcs):
    with pytest.raises(CojaxInputError, match=r"strongly connected digraph, got \d parts"):
        weights.balanced(1 + int(np.max(arcs)), np.array(arcs))


@pytest.mark.parametrize("rule", [weights.directed, weights.balanced])
@pytest.mark.parametrize(
    ("arcs", "told"),
    [
        ([[0, 1, 2, 0], [1, 2, 0, 1]], r"needs every arc once, got \(0, 1\) more than once"),
        ([[0, 1, 2], [1, 2, 3]], "needs nodes from 0 to 2 in arcs, got 3"),
        ([[0, 1, -1], [1, 2, 0]], "needs nodes from 0 to 2 in arcs, got -1"),
        ([[0.0, 1.0, 2.0], [1.0, 2.0, 0.0]], "whole numbers, got shape"),
        ([[0, 1], [1, 2], [2, 0]], r"shape \(2, a\), whole numbers, got shape \(3, 2\)"),
        ([[0, 1, 2, 2], [1, 2, 0, 2]], "between two nodes, got one from node 2 to itself"),
        (None, "needs real numbers for arcs"),
    ],
)
def test_rules_for_arcs_refuse_what_is_no_digraph(rule, arcs, told):
    with pytest.raises(CojaxInputError, match=told):
        rule(3, arcs if arcs is None else np.array(arcs))


def test_rules_for_arcs_take_a_list():
    arcs = [[0, 1, 2], [1, 2, 0]]
    np.testing.assert_array_equal(weights.directed(3, arcs), 0.5 * np.roll(np.eye(3), 1, axis=1))


def test_balanced_refuses_weights_that_would_vanish():
    # Every node but the last hears node 0 and the next: the walk gets k steps far with probability 2^-k.
    ahead = [(i, i + 1) for i in range(59)] + [(i, 0) for i in range(1, 60)]
    with pytest.raises(CojaxInputError, match="less than once in 1e12 steps"):
        weights.balanced(60, np.array(ahead).T)
