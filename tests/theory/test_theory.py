"""What theory predicts of spectra, curvature and stability is what NumPy, networkx and the loop measure."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
import scipy.optimize
from support import laws

import cojax
from cojax import theory
from cojax.theory import spectra

RING = laws.ring_with_chords()
DENSE = cojax.network(RING, layout="dense")
NUM_DRAWN = 60


def matrix_of(weights):
    return np.diag(np.asarray(weights).sum(1)) - np.asarray(weights)


LAPLACIAN = matrix_of(DENSE.weights)
LAMBDA_N = np.linalg.eigvalsh(LAPLACIAN)[-1]


@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_the_laplacian_of_every_layout_is_that_of_networkx(layout):
    graph = RING.copy()
    for (a, b), weight in zip(graph.edges, np.linspace(0.1, 0.3, graph.number_of_edges()), strict=True):
        graph.edges[a, b]["weight"] = weight
    weights = nx.to_numpy_array(graph)
    (found,) = theory.laplacians(cojax.network(weights, layout=layout))
    # One addition a neighbour in either order.
    np.testing.assert_allclose(found.toarray(), nx.laplacian_matrix(graph).toarray(), atol=1e-15)


def test_laplacians_are_built_once_where_they_are_kept_and_what_is_done_to_one_stays_there(monkeypatch):
    built, build = [], spectra._laplacian
    monkeypatch.setattr(spectra, "_laplacian", lambda network, k: built.append(k) or build(network, k))
    lossy = cojax.Lossy(dataclasses.replace(DENSE, link=cojax.Quantized(cojax.LogQuantizer(0.5))), 0.2)
    with spectra.laplacians_kept():
        (first,) = theory.laplacians(DENSE)
        first.data[:] = 7.0
        (again,) = theory.laplacians(lossy)  # the same graph with another link, and losses
        (other,) = theory.laplacians(DENSE.reweighted(DENSE.weights / 2))
    assert built == [0, 0]
    np.testing.assert_allclose(again.toarray(), LAPLACIAN, atol=1e-15)
    np.testing.assert_allclose(other.toarray(), LAPLACIAN / 2, atol=1e-15)
    theory.laplacians(DENSE)
    assert len(built) == 3  # nothing outlives the block


def test_a_default_builds_the_laplacian_of_a_graph_once(monkeypatch):
    built, build = [], spectra._laplacian
    monkeypatch.setattr(spectra, "_laplacian", lambda network, k: built.append(k) or build(network, k))
    problem = laws.quadratic()
    cojax.default(problem, DENSE, laws.start_of(problem))
    assert len(built) == 2  # of the graph as it is, and with the weights that fit the costs


def test_the_laplacian_of_a_circulant_graph_is_that_of_networkx():
    graph = nx.circulant_graph(9, [1, 2])
    network = cojax.network(graph, layout="circulant")
    (found,) = theory.laplacians(network)
    np.testing.assert_allclose(found.toarray(), nx.laplacian_matrix(graph).toarray() / 5, atol=1e-15)


def test_a_lossy_network_has_the_laplacians_without_loss_and_an_intermittent_one_zeros_in_between():
    turns = cojax.network(laws.switching_graphs(), layout="dense")
    expected = [matrix_of(weights) for weights in turns.weights]
    for found, matrix in zip(theory.laplacians(cojax.Lossy(turns, 0.5)), expected, strict=True):
        np.testing.assert_array_equal(found.toarray(), matrix)
    found = [matrix.toarray() for matrix in theory.laplacians(cojax.Intermittent(turns, 3))]
    assert len(found) == 6
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[3], expected[1])
    assert not any(found[k].any() for k in (1, 2, 4, 5))


def test_a_digraph_has_the_symmetric_part_of_its_laplacian():
    weights = np.roll(np.eye(5), 1, axis=1) / 4
    (found,) = theory.laplacians(cojax.network(weights))
    np.testing.assert_allclose(found.toarray(), (matrix_of(weights) + matrix_of(weights).T) / 2, atol=1e-16)


def test_the_spectrum_is_that_of_numpy_and_of_a_brute_force_search():
    graphs = [nx.gnp_random_graph(10, 0.17, seed=seed) for seed in (3, 4, 5, 7)]
    network = cojax.network(graphs, layout="dense")
    matrices = [matrix_of(weights) for weights in np.asarray(network.weights)]
    spectra = np.array([np.linalg.eigvalsh(matrix) for matrix in matrices])
    found = theory.spectrum(network)
    expected = (spectra[:, 1].min(), spectra[:, -1].max(), np.linalg.eigvalsh(sum(matrices) / 4)[1])
    np.testing.assert_allclose(found[:3], expected, atol=1e-14)
    unions = {
        length: all(
            nx.is_connected(nx.compose_all([graphs[(first + k) % 4] for k in range(length)])) for first in range(4)
        )
        for length in (1, 2, 3, 4)
    }
    assert found.window == min(length for length, connected in unions.items() if connected) > 1
    product = np.eye(10)
    for matrix in matrices:
        product = (np.eye(10) - matrix) @ product
    second = np.sort(np.abs(np.linalg.eigvals(product)))[-2]  # the largest is 1, of agreement
    np.testing.assert_allclose(found.mixing_rate, second ** (1 / 4), rtol=1e-9)


def test_no_window_is_enough_where_the_union_is_not_connected():
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[1, 0] = 0.5
    found = theory.spectrum(cojax.Dense(weights=jnp.asarray(weights)))
    assert found.window is None and found.mean_lambda_2 == 0


def test_the_spectrum_of_a_large_ring_is_the_cosines():
    found = theory.spectrum(cojax.network(nx.cycle_graph(50_000)))
    least = (2 - 2 * np.cos(2 * np.pi / 50_000)) / 3  # weights are 1/3
    assert 0.99 * least <= found.lambda_2 <= least * (1 + 1e-6)
    assert 4 / 3 <= found.lambda_n <= 1.005 * 4 / 3
    assert found.mixing_rate == 1 - found.lambda_2 and found.window == 1


LARGE = {
    "ring": nx.cycle_graph(600),
    "path": nx.path_graph(600),
    "star": nx.star_graph(599),
    "tree": nx.random_labeled_tree(600, seed=0),
    "ladder": nx.convert_node_labels_to_integers(nx.grid_2d_graph(2, 300)),
    "torus": nx.convert_node_labels_to_integers(nx.grid_2d_graph(24, 25, periodic=True)),
    "expander": nx.random_regular_graph(4, 600, seed=0),
    "geometric": nx.random_geometric_graph(600, 0.12, seed=0),
    "scale free": nx.barabasi_albert_graph(600, 2, seed=0),
    "small world": nx.connected_watts_strogatz_graph(600, 6, 0.1, seed=0),
    "barbell": nx.barbell_graph(250, 100),
    "complete": nx.complete_graph(401),
}


@pytest.mark.parametrize("family", LARGE)
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_eigenvalues_of_large_graphs_are_near_those_of_lapack_on_the_safe_side(family, spread):
    matrix = theory.laplacians(cojax.network(LARGE[family], layout="edges"))[0]
    curvature = spread ** np.random.default_rng(0).random(matrix.shape[0])
    scaled = spectra.scale_laplacian(matrix, curvature)
    exact = np.linalg.eigvalsh(scaled.toarray())
    assert 0.99 * exact[1] <= spectra.second_eigenvalue(matrix, curvature) <= exact[1] * (1 + 1e-9)
    assert exact[-1] * (1 - 1e-9) <= spectra.largest_eigenvalue(scaled) <= 1.005 * exact[-1]


def test_small_eigenvalues_are_found_by_factors_where_lanczos_takes_too_long(monkeypatch):
    monkeypatch.setattr(theory.lanczos, "PATIENCE", 0.1)
    matrix = theory.laplacians(cojax.network(LARGE["torus"]))[0]
    exact = np.linalg.eigvalsh(matrix.toarray())[1]
    assert 0.99 * exact <= spectra.second_eigenvalue(matrix) <= exact * (1 + 1e-9)


def test_a_flat_cost_has_an_eigenvalue_of_its_own_and_two_of_them_share_zero():
    matrix, curvature = theory.laplacians(cojax.network(LARGE["torus"]))[0], np.ones(600)
    curvature[7] = 0.0
    exact = np.linalg.eigvalsh(spectra.scale_laplacian(matrix, curvature).toarray())[1]
    assert 0.99 * exact <= spectra.second_eigenvalue(matrix, curvature) <= exact * (1 + 1e-9)
    curvature[9] = 0.0
    assert spectra.second_eigenvalue(matrix, curvature) == 0.0


def test_graphs_that_take_turns_mix_as_the_product_of_their_steps_says():
    graphs = cojax.graphs.switching(LARGE["expander"], 2, seed=0, share=0.8)
    network = cojax.network(graphs)
    product = np.eye(600) - 1 / 600
    for matrix in theory.laplacians(network):
        product -= matrix @ product
    exact = np.abs(np.linalg.eigvals(product)).max() ** 0.5
    np.testing.assert_allclose(theory.spectrum(network).mixing_rate, exact, rtol=0.005)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (cojax.RandomGraph(5, 0.5), "got a RandomGraph"),
        (cojax.Directed(weights=jnp.asarray(np.roll(np.eye(4), 1, axis=1) / 4)), "got a Directed network"),
    ],
)
def test_graphs_that_no_laplacian_describes_are_refused(network, said):
    with pytest.raises(cojax.CojaxInputError, match=said):
        theory.laplacians(network)


def test_curvature_of_quadratic_costs_is_that_of_their_matrices():
    problem = laws.quadratic()
    roots, _, slopes, _ = (np.asarray(leaf) for leaf in problem.data)
    hessians = np.einsum("nij,nik->njk", roots, roots)
    found = theory.curvature(problem, laws.start_of(problem))
    # Second derivatives by forward over reverse mode, to rounding.
    np.testing.assert_allclose(found.learn.high, np.linalg.eigvalsh(hessians).max(), rtol=1e-12)
    np.testing.assert_allclose(found.learn.low, np.linalg.eigvalsh(hessians).min(), rtol=1e-12, atol=1e-14)
    ends = np.linalg.eigvalsh(hessians.mean(0))[[0, -1]]
    np.testing.assert_allclose([found.learn.mean_low, found.learn.mean_high], ends, rtol=1e-12)
    for part in (found.allocate.here, found.allocate.high, found.allocate.low):
        np.testing.assert_allclose(part, slopes, rtol=1e-12)
    np.testing.assert_allclose(found.allocate.rates, [np.median(slopes)], rtol=1e-12)


def test_curvature_from_products_alone_is_that_of_the_hessians(monkeypatch):
    problem = laws.quadratic(dim=4)
    start = laws.start_of(problem, dim=4)
    start = start._replace(params={"a": start.params[:, :1], "b": start.params[:, 1:].reshape(8, 3, 1)})

    def cost(x, data):
        params = jnp.concatenate([x.params["a"], x.params["b"][:, 0]])
        return laws.cost(cojax.Decision(params, x.cpu), data) + 0.1 * jnp.cos(params).sum()

    problem = cojax.Problem(cost, problem.data, budget=16.0)
    exact = theory.learn_curvature(problem, start)
    monkeypatch.setattr(theory.curvatures, "MOST_ENTRIES", 0)
    # Of four parameters Lanczos finds all.
    np.testing.assert_allclose(theory.learn_curvature(problem, start), exact, atol=1e-5 * exact.high)


def test_curvature_of_many_parameters_is_found_from_products():
    """More parameters than steps of Lanczos, eigenvalues typed in; rows of one curvature end early."""
    random = np.random.default_rng(0)
    turns = np.linalg.qr(random.normal(size=(4, 200, 200)))[0]
    values = np.geomspace(0.01, [[5.0], [7.0], [3.0], [4.0]], 200, axis=-1)[:, 0]
    hessians = np.einsum("nij,nj,nkj->nik", turns, values, turns)
    for matrices in (hessians, np.broadcast_to(2.0 * np.eye(200), (4, 200, 200))):
        problem = cojax.Problem(lambda x, matrix: x.params @ matrix @ x.params / 2, matrices)
        found = theory.learn_curvature(problem, problem.start(params=np.ones((4, 200))))
        ends = np.linalg.eigvalsh(matrices.mean(0))
        high = np.linalg.eigvalsh(matrices).max()
        assert high * (1 - 1e-12) <= found.high <= 1.02 * high
        low = np.linalg.eigvalsh(matrices).min()
        assert low * (1 - 1e-9) <= found.low <= low + 0.01 * high
        np.testing.assert_allclose([found.mean_low, found.mean_high], ends[[0, -1]], rtol=0.02)


@pytest.mark.parametrize("most", [64, 0])
@pytest.mark.parametrize("wide", [True, False])
def test_curvature_in_float32_is_that_in_float64(monkeypatch, most, wide):
    monkeypatch.setattr(theory.curvatures, "MOST_COLUMNS", most)
    random = np.random.default_rng(0)
    roots = random.normal(size=(5, 8, 4)).astype(np.float32)
    with jax.enable_x64(wide):
        problem = cojax.Problem(lambda x, root: jnp.sum((root @ x.params) ** 2) / 2, roots)
        found = theory.learn_curvature(problem, problem.start(params=np.ones((5, 4), np.float32)))
    hessians = np.einsum("nij,nik->njk", roots, roots, dtype=np.float64)
    np.testing.assert_allclose(found.high, np.linalg.eigvalsh(hessians).max(), rtol=1e-5)
    np.testing.assert_allclose(found.mean_low, np.linalg.eigvalsh(hessians.mean(0))[0], rtol=1e-4)


def test_a_hinge_that_is_flat_at_the_start_is_seen_where_it_curves():
    random = np.random.default_rng(0)
    features = random.normal(size=(6, 30, 4))
    labels = np.sign(features @ np.arange(1.0, 5.0) + random.normal(size=(6, 30)))
    samples = cojax.costs.Samples(features, labels, np.full((6, 30), 1 / 30))
    cost = cojax.costs.Separable(cojax.costs.SmoothHinge(0.1, 10.0, 1.0))
    problem = cojax.Problem(cost, (samples, None))
    start = problem.start(jnp.zeros((6, 5)))
    rows = np.concatenate([features, -np.ones((6, 30, 1))], axis=2)

    def steepest(params):
        """By the second derivative of the softplus, typed in."""
        odds = 1 / (1 + np.exp(10 * (1 - labels * (rows @ params))))
        hessians = 10 / 30 * np.einsum("nj,nji,njk->nik", odds * (1 - odds), rows, rows)
        return np.linalg.eigvalsh(hessians + 0.1 * np.diag([1, 1, 1, 1, 0])).max()

    found = theory.learn_curvature(problem, start)

    def mean_cost(params):
        hinges = np.logaddexp(0, 10 * (1 - labels * (rows @ params))) / 10
        return hinges.mean() + 0.05 * (params[:4] ** 2).sum()

    best = scipy.optimize.minimize(mean_cost, np.zeros(5)).x
    assert steepest(np.zeros(5)) < 0.2 * steepest(best)
    assert found.high >= 0.95 * steepest(best)  # the last point of the descent is near, not at, the optimum


def test_the_range_without_bounds_is_that_of_every_resource():
    # In cores and in a millionth of one: c 12 x^2 at shares of 1, and 5 % beyond twice that.
    unit = jnp.asarray([1.0, 1e-6])
    problem = cojax.Problem(lambda x, c: c * jnp.sum((x.cpu / unit) ** 4), np.ones(3), 3 * unit)
    found = theory.share_curvature(problem, problem.start())
    np.testing.assert_allclose(found.here, 12e12, rtol=1e-9)
    np.testing.assert_allclose(found.high, 12e12 * 2.1**2, rtol=1e-9)


@pytest.mark.parametrize("bounds", [{"lower": 0.0}, {"upper": 1.0}])
def test_the_curvature_of_shares_includes_that_of_a_soft_bound_on_either_side(bounds):
    data = (np.asarray([1.0, 2.0]), np.asarray([0.0, 1.0]))
    penalty = cojax.penalties.PowerPenalty(7.0)
    problem = cojax.Problem(lambda x, data: 0.5 * data[0] * x.cpu**2, data, budget=1.0, **bounds, penalty=penalty)
    found = theory.share_curvature(problem, problem.start())
    np.testing.assert_allclose(found.here, [1, 2])
    np.testing.assert_allclose(found.high, [15, 16])
    np.testing.assert_allclose(found.low, [1, 2])


def test_the_curvature_of_coupled_resources_is_the_largest_eigenvalue_of_a_node():
    matrix = np.asarray([[2.0, 1.0], [1.0, 3.0]])
    data = np.asarray([1.0, 2.0, 3.0])
    problem = cojax.Problem(lambda x, scale: 0.5 * scale * x.cpu @ jnp.asarray(matrix) @ x.cpu, data, budget=np.ones(2))
    found = theory.share_curvature(problem, problem.start())
    ends = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(found.high, data * ends[1], rtol=1e-12)
    np.testing.assert_allclose(found.low, data * ends[0], rtol=1e-12)


@pytest.mark.parametrize("fixed", [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
def test_soft_bounds_of_shares_that_are_fixed_are_seen(fixed):
    """The second derivative of x^2 / 2 + 7 max(x - upper, 0)^2 beyond the bound, by hand."""
    bounds, penalty = np.asarray(fixed), cojax.penalties.PowerPenalty(7.0)
    problem = cojax.Problem(
        lambda x, data: 0.5 * data * x.cpu**2,
        np.ones(3),
        budget=sum(fixed),
        lower=bounds,
        upper=bounds,
        penalty=penalty,
    )
    found = theory.share_curvature(problem, cojax.Decision(None, jnp.asarray(bounds)))
    np.testing.assert_allclose(found.high, 1.0 + 2 * 7.0, rtol=1e-9)
    np.testing.assert_allclose(found.low, 1.0, rtol=1e-9)


def test_what_is_infinite_on_a_bound_is_seen_near_it():
    penalty = cojax.penalties.BarrierPenalty(0.1)
    problem = cojax.Problem(
        lambda x, data: 0.5 * data * x.cpu**2, np.ones(2), budget=1.0, lower=0.0, upper=1.0, penalty=penalty
    )
    found = theory.share_curvature(problem, problem.start())
    np.testing.assert_allclose(found.high, 1 + 0.1 / 0.05**2 + 0.1 / 0.95**2, rtol=1e-9)


EQUAL = cojax.Problem(lambda x, data: 0.7 * x.params**2, np.zeros(8))  # the same Hessian 1.4 at every node
EQUAL_START = EQUAL.start(jnp.asarray(np.random.default_rng(0).normal(size=8)))
SMALL = cojax.network(nx.complete_graph(8), layout="dense")  # I - L is not negative
TIGHT = {
    "DGD": (cojax.DGD, theory.dgd_limit, DENSE),
    "DIGing": (cojax.DIGing, theory.tracking_limit, DENSE),
    "DIGing mixing half": (
        lambda step: cojax.DIGing(step, 0.5),
        functools.partial(theory.tracking_limit, mixing=0.5),
        DENSE,
    ),
    "PushPull": (cojax.PushPull, theory.tracking_limit, DENSE),
    "NIDS": (cojax.NIDS, theory.nids_limit, DENSE),
    "ExactDiffusion": (cojax.ExactDiffusion, theory.nids_limit, DENSE),
    "LEAD": (cojax.LEAD, theory.nids_limit, DENSE),
    "Choco": (cojax.Choco, theory.diffusion_limit, DENSE),
    "ATCTracking": (cojax.ATCTracking, theory.atc_limit, SMALL),
    "ATCTracking over a ring": (
        cojax.ATCTracking,
        theory.atc_limit,
        cojax.network(nx.cycle_graph(8)),
    ),
    "TrackingMomentum": (
        lambda step: cojax.TrackingMomentum(step, 0.3),
        functools.partial(theory.tracking_momentum_limit, momentum=0.3),
        DENSE,
    ),
}


def growth(problem, network, method, start, num_steps=2000):
    """The size at the end over the size in the middle of a run whose optimum is zero."""
    run = cojax.solve(
        problem, network, cojax.CoOpt(learn=method), start, num_steps=num_steps, every=num_steps // 2,
        record=lambda problem, x, state: jnp.abs(x.params).max(),
    )  # fmt: skip
    # Rounding of the conserved sums stays behind at 1e-16 of the start.
    return run.trace[1] / jnp.maximum(run.trace[0], 1e-10)


@pytest.mark.parametrize("name", TIGHT)
def test_the_limit_of_a_learner_is_where_equal_costs_become_unstable(name):
    kind, bound, network = TIGHT[name]
    limit = bound(network, 1.4)
    measured = jax.jit(jax.vmap(lambda step: growth(EQUAL, network, kind(step), EQUAL_START)))(
        jnp.asarray([0.99, 1.01]) * limit.value
    )
    assert measured[0] < 1 < measured[1]


def test_the_limit_of_atc_tracking_says_where_it_is_proved():
    assert theory.atc_limit(SMALL, 1.0).kind == "tight"
    assert theory.atc_limit(DENSE, 1.0).kind == "heuristic"


ALLOCATING = {
    "Laplacian": (cojax.Laplacian, theory.allocation_limit),
    "HeavyBall": (lambda step: cojax.HeavyBall(step, 0.6), functools.partial(theory.heavy_ball_limit, momentum=0.6)),
    "Nesterov": (lambda step: cojax.Nesterov(step, 0.6), functools.partial(theory.nesterov_limit, momentum=0.6)),
}


@pytest.mark.parametrize("name", ALLOCATING)
def test_the_limit_of_an_allocator_is_where_shares_leave_the_optimum(name):
    kind, bound = ALLOCATING[name]
    problem = laws.quadratic()
    _, best, _ = laws.optimum(problem)
    limit = bound(DENSE, np.asarray(problem.data[2]))
    assert limit.kind == "tight"

    def distance(step):
        return cojax.solve(
            problem, DENSE, cojax.CoOpt(allocate=kind(step)), laws.start_of(problem), num_steps=1200, every=600,
            record=lambda problem, x, state: jnp.abs(x.cpu - best).max(),
        ).trace  # fmt: skip

    below, above = jax.jit(jax.vmap(distance))(jnp.asarray([0.99, 1.01]) * limit.value)
    # What is stable ends at the rounding of shares, which rises and falls.
    assert below[1] < max(float(below[0]), 1e-10) and above[1] > max(float(above[0]), 1e-6)


def drawn(seed, num_graphs=1, probability=0.6):
    """NUM_DRAWN problems of unlike convex quadratic costs, and random weights of connected graphs for each."""
    random = np.random.default_rng(seed)
    roots = random.normal(size=(NUM_DRAWN, 6, 2, 2)) * random.uniform(0.1, 1.5, (NUM_DRAWN, 6, 1, 1))
    ring = nx.to_numpy_array(nx.cycle_graph(6)) > 0
    there = (random.uniform(size=(NUM_DRAWN, num_graphs, 6, 6)) < probability) | ring
    weights = np.triu(there * random.uniform(0.02, 0.24, there.shape), 1)
    weights = weights + weights.swapaxes(-1, -2)
    return roots, weights[:, 0] if num_graphs == 1 else weights


def highest(roots):
    return np.linalg.norm(roots, 2, axis=(-2, -1)).max(-1) ** 2


def of_roots(roots):
    return cojax.Problem(lambda x, root: 0.5 * jnp.sum((root @ x.params) ** 2), roots)


START = jnp.asarray(np.random.default_rng(9).normal(size=(6, 2)))


def growths(kind, roots, weights, steps, num_steps=2000):
    def one(root, weight, step):
        problem = of_roots(root)
        return growth(problem, cojax.Dense(weights=weight), kind(step), problem.start(START), num_steps)

    return jax.jit(jax.vmap(one))(jnp.asarray(roots), jnp.asarray(weights), jnp.asarray(steps))


@pytest.mark.parametrize(
    ("kind", "bound"),
    [(cojax.DIGing, theory.tracking_limit), (cojax.EXTRA, theory.extra_limit), (cojax.NIDS, theory.nids_limit)],
)
def test_no_drawn_problem_is_unstable_below_the_limit_of_a_learner(kind, bound):
    roots, weights = drawn(0)
    # Weights of which I - L has an eigenvalue below -1 are no weights for these methods.
    weights = weights / np.maximum(1.0, weights.sum(-1).max(-1) / 0.95)[:, None, None]
    networks = [cojax.Dense(weights=jnp.asarray(weight)) for weight in weights]
    limits = [bound(network, smoothness) for network, smoothness in zip(networks, highest(roots), strict=True)]
    assert all(limit.kind in ("tight", "sufficient") for limit in limits)
    steps = np.asarray([0.999 * limit.value for limit in limits])
    assert (np.asarray(growths(kind, roots, weights, steps)) < 1).all()


def test_no_drawn_problem_is_unstable_below_the_limit_for_switching_graphs():
    roots, weights = drawn(1, num_graphs=3)
    smoothness = highest(roots)
    steps, mixings = [], []
    for root, weight, high in zip(roots, weights, smoothness, strict=True):
        network = cojax.Dense(weights=jnp.asarray(weight))
        found = theory.spectrum(network)
        low = np.linalg.eigvalsh(np.einsum("nij,nik->njk", root, root).mean(0))[0]
        mixing = 2 / (found.lambda_2 + found.lambda_n)
        limit = theory.switching_limit(network, high, low, mixing)
        assert limit.kind == "sufficient" and limit.value > 0
        steps.append(limit.value)
        mixings.append(mixing)
    measured = growths(lambda pair: cojax.DIGing(*pair), roots, weights, np.stack([steps, mixings], 1), 4000)
    assert (np.asarray(measured) < 1).all()


def test_the_switching_limit_solves_its_equation_and_shrinks_with_coarse_links():
    network = cojax.network([RING, nx.cycle_graph(8)])
    found = theory.spectrum(network)
    smoothness, convexity, mixing, rho = 3.0, 0.5, 0.3, 0.4
    scaled = theory.switching_limit(network, smoothness, convexity, mixing, rho).value / mixing * smoothness
    low, high = np.exp(-rho / 2) * found.lambda_2, np.exp(rho / 2) * found.lambda_n
    left = low**2 - scaled * (low + high) - scaled**2 * (1 + smoothness / convexity)
    np.testing.assert_allclose(left, 0, atol=1e-15)
    assert theory.switching_limit(network, smoothness, convexity, mixing).value > scaled * mixing / smoothness
    assert theory.switching_limit(cojax.Lossy(network, 0.1), smoothness, convexity, mixing).value == 0
    with pytest.raises(cojax.CojaxInputError, match="needs mixing <="):
        theory.switching_limit(network, smoothness, convexity, 1.5)


def test_the_cost_of_no_drawn_problem_rises_below_the_limit_of_the_allocator_over_lossy_switching_graphs():
    random = np.random.default_rng(2)
    _, weights = drawn(2, num_graphs=3, probability=0.3)
    slopes, demand = random.uniform(0.1, 4, (NUM_DRAWN, 6)), random.normal(size=(NUM_DRAWN, 6)) * 3
    # log cosh has second derivatives up to 1, at its minimum.
    steps = [
        0.999 * theory.allocation_limit(cojax.Lossy(cojax.Dense(weights=jnp.asarray(weight)), 0.3), slope + 1).value
        for weight, slope in zip(weights, slopes, strict=True)
    ]

    def cost(x, data):
        away = x.cpu - data[1]
        return 0.5 * data[0] * away**2 + jax.nn.softplus(2 * away) - away

    def one(weight, step, *data):
        problem = cojax.Problem(cost, data, budget=2.0)
        network = cojax.Lossy(cojax.Dense(weights=weight), 0.3, jax.random.key(0))
        return cojax.solve(
            problem, network, cojax.CoOpt(allocate=cojax.Laplacian(step)), problem.start(), num_steps=300,
            record=lambda problem, x, state: problem.costs(x).sum(),
        ).trace  # fmt: skip

    costs = np.asarray(jax.jit(jax.vmap(one))(*map(jnp.asarray, (weights, steps, slopes, demand))))
    # Six costs of size up to 100 are added.
    assert np.diff(costs, axis=1).max() < 1e-12
    assert (costs[:, -1] < costs[:, 0]).all()


def test_the_published_bounds_are_those_of_the_paper():
    spectrum = np.linalg.eigvalsh(LAPLACIAN)
    np.testing.assert_allclose(theory.paper_limit(DENSE, 2.0, 0.5).value, spectrum[1] / (2 * 1.25), rtol=1e-12)
    np.testing.assert_allclose(theory.sector_limit(DENSE, 2.0, 0.5).value, spectrum[1] / (2 * np.exp(0.25)), rtol=1e-12)


def test_the_constants_of_heavy_ball_are_the_best_around():
    slopes = np.asarray(laws.quadratic().data[2])
    constants = theory.heavy_ball(DENSE, slopes, slopes)

    def radius(step, momentum):
        """Of x+ = x - step L D x + momentum (x - x-) on shares that sum to zero."""
        turn = step * LAPLACIAN * slopes
        top = np.concatenate([(1 + momentum) * np.eye(8) - turn, -momentum * np.eye(8)], 1)
        whole = np.concatenate([top, np.eye(8, 16)])
        values = np.abs(np.linalg.eigvals(whole))
        return np.sort(values)[-2]  # the largest is 1, of the sum

    best = radius(*constants)
    np.testing.assert_allclose(best, np.sqrt(constants.momentum), rtol=1e-6)  # double roots are found to 1e-8
    for factors in ((0.9, 1), (1.1, 1), (1, 0.9), (1, 1.1)):
        assert radius(constants.step_size * factors[0], constants.momentum * factors[1]) > best + 1e-3


@pytest.mark.parametrize("alpha", [0.1, 3.0])
def test_the_pencil_has_the_eigenvalues_of_the_coupled_system(alpha):
    roots = drawn(3)[0][0]
    hessians = np.einsum("nij,nik->njk", roots, roots)
    weights = drawn(3)[1][0]
    spread, curved = np.kron(matrix_of(weights), np.eye(2)), np.zeros((12, 12))
    for node in range(6):
        curved[2 * node : 2 * node + 2, 2 * node : 2 * node + 2] = hessians[node]
    whole = np.block([[-spread, -alpha * np.eye(12)], [-curved @ spread, -spread - alpha * curved]])
    found = theory.pencil_eigenvalues(matrix_of(weights), hessians, alpha)
    left, right = (np.sort_complex(np.round(values, 6)) for values in (found, np.linalg.eigvals(whole)))
    # Multiple zero eigenvalues are found to about the square root of the precision.
    np.testing.assert_allclose(left, right, atol=1e-5)
    assert (np.abs(found) < 1e-6).sum() == 2 and found.real.max() < 1e-6  # stable for every alpha


def test_the_lyapunov_function_never_rises():
    problem = laws.quadratic()
    method = cojax.CoOpt(learn=cojax.DIGing(0.05, mixing=0.02))
    record = theory.lyapunov(DENSE, method)
    run = cojax.solve(problem, DENSE, method, laws.start_of(problem), num_steps=1500, record=record)
    assert (np.diff(run.trace) <= 0).all() and run.trace[-1] < 1e-3 * run.trace[0]
    # Independent: both terms by matrices, at the end.
    pull, tracker = (
        LAPLACIAN @ np.asarray(run.x.params),
        np.asarray(run.state.method.learn.slack + run.state.grad.params),
    )
    expected = 0.5 * ((pull + 2.5 * tracker) ** 2).sum() + 0.5 * (pull**2).sum()
    np.testing.assert_allclose(run.trace[-1], expected, rtol=1e-9)
    with pytest.raises(cojax.CojaxInputError, match="DIGing's state, got EXTRA"):
        theory.lyapunov(DENSE, cojax.EXTRA(0.1))


@pytest.mark.parametrize(
    "quantizer",
    [cojax.LogQuantizer(0.25), cojax.UniformQuantizer(0.25), cojax.FloatQuantizer(2)],
)
def test_a_plain_link_stops_within_the_floor_of_its_cell(quantizer):
    problem = cojax.Problem(laws.cost, laws.quadratic().data, budget=30.0)
    _, best, price = laws.optimum(problem)
    curvature = np.asarray(problem.data[2])
    floor = theory.stall_floor(quantizer, price, curvature).value
    # Started in the price's cell nothing moves; the worst such start reaches the floor but for its sum.
    told = quantizer(jnp.asarray(price))
    grid = price + np.linspace(-0.5, 0.5, 200_001)
    cell = grid[np.asarray(quantizer(jnp.asarray(grid)) == told)]
    half = (cell.max() - cell.min()) / 2
    np.testing.assert_allclose(floor, (half**2 / (2 * curvature)).sum(), rtol=1e-3)  # the grid is that fine
    network = cojax.network(RING, link=cojax.Quantized(quantizer))
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.2))
    run = cojax.solve(problem, network, method, laws.start_of(problem), num_steps=3000, every=3000, record=laws.nothing)
    assert (np.asarray(quantizer(run.state.grad.cpu)) == told).all(), "the run did not settle in the price's cell"
    assert 0 < 0.5 * (curvature * (np.asarray(run.x.cpu) - best) ** 2).sum() <= floor


def test_a_price_beyond_the_alphabet_has_no_floor_and_an_adaptive_link_does_not_stall():
    assert theory.stall_floor(cojax.LogQuantizer(0.5, largest=2.0), 3.0, 1.0).value == np.inf
    # The level nearest to 0.1 is exp(-2.5), and what is half a level below it becomes 0.
    np.testing.assert_allclose(
        theory.stall_floor(cojax.LogQuantizer(0.5, smallest=0.1), 0.0, 1.0).value, np.exp(-2.75) ** 2 / 2
    )
    assert theory.stall_floor(cojax.UniformQuantizer(0.5, largest=1.1), 1.3, 1.0).value == np.inf  # the last level is 1
    assert theory.stall_floor(cojax.LogQuantizer(1.0, largest=4.0), np.exp(1.6), 1.0).value == np.inf  # exp(1)
    with pytest.raises(cojax.CojaxInputError, match="does not stall"):
        theory.stall_floor(cojax.AdaptiveQuantizer(), 1.0, 1.0)


def test_curvatures_that_cannot_be_are_refused_in_a_sentence():
    slopes, wrong = np.linspace(1.0, 2.0, DENSE.num_nodes), np.ones(3)
    for ask, message in (
        (lambda: theory.allocation_rate(DENSE, 5.0, 4.0, 0.01), "rate needs low <= high, got 5 > 4 at node 0"),
        (lambda: theory.heavy_ball(DENSE, 2 * slopes, slopes), "heavy_ball needs low <= high, got 2 > 1 at node 0"),
        (lambda: theory.nesterov(DENSE, 1.5, slopes), "nesterov needs low <= high, got 1.5 > 1 at node 0"),
        (lambda: theory.heavy_ball(DENSE, 0.0, slopes), "heavy_ball needs low > 0 at all nodes but one, got least"),
        (
            lambda: theory.nesterov(DENSE, np.where(np.arange(DENSE.num_nodes) < 2, 0, 0.5), slopes),
            "nesterov needs low > 0 at all nodes",
        ),
        (lambda: theory.allocation_limit(DENSE, wrong), r"one for each of the \d+ nodes, got shape \(3,\)"),
        (lambda: theory.heavy_ball(DENSE, wrong, slopes), r"one for each of the \d+ nodes, got shape \(3,\)"),
        (lambda: theory.heavy_ball_limit(DENSE, slopes[:, None], 0.5), r"one for each of the \d+ nodes, got shape"),
        (lambda: theory.apapc_limit(DENSE, 1.0, 1.5), "apapc_limit needs blend > 0 and blend <= 1, got 1.5"),
        (lambda: laws.unchecked(theory.share_curvature)(None, None), "needs a cojax Problem for problem, got"),
        (lambda: laws.unchecked(theory.learn_curvature)(laws.quadratic(), None), "a cojax Decision for start, got"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            ask()
