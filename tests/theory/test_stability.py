"""Loci, directed networks, switching and records: what theory says of stability is what matrices and runs do."""

import logging

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import cojax
from cojax import plots, theory
from cojax.tuning import tuned as defaults

RING = cojax.network(nx.cycle_graph(6), layout="dense")
LAPLACIAN = theory.laplacians(RING)[0].toarray()
HESSIANS = np.array([1.0, 0.5, 0.2, 0.1, 2.0, 0.7])
EXAMPLE = theory.unstable_switching()


def learner(problem, network, method, start, num_steps, record=None):
    return cojax.solve(problem, network, cojax.CoOpt(learn=method), start, num_steps=num_steps, record=record)


def largest(problem, x, state):
    return jnp.abs(x.params).max()


def test_a_root_locus_has_the_eigenvalues_of_the_pencil_at_every_rate_and_starts_at_those_of_the_graph():
    locus = theory.root_locus(LAPLACIAN, HESSIANS)
    for row in (0, 100, -1):
        expected = theory.pencil_eigenvalues(LAPLACIAN, HESSIANS, locus.alphas[row])
        np.testing.assert_array_equal(np.sort_complex(locus.eigenvalues[row]), np.sort_complex(expected))
    start = np.repeat(-np.linalg.eigvalsh(LAPLACIAN)[::-1], 2)
    # Double eigenvalues are found to the square root of the precision.
    np.testing.assert_allclose(np.sort(np.real(locus.eigenvalues[0])), np.sort(start), atol=1e-6)
    assert (locus.abscissa[1:] < 0).all()  # stable at every rate


def test_a_locus_of_losses_that_do_not_curve_up_tells_that_it_is_unstable():
    pair, rates = np.asarray([[1.0, -1.0], [-1.0, 1.0]]), np.asarray([0.0, 1.0, 10.0, 1e4, 1e8])
    for hessians in ([1.0, -3.0], [-1e-3, 0.5], [1.0, 0.5]):
        for d in (1, 2):
            blocks = np.asarray(hessians)[:, None, None] * np.eye(d)
            found = theory.root_locus(pair, blocks, rates).abscissa
            for rate, abscissa in zip(rates[1:], found[1:], strict=True):
                # z^4 + ..., by hand: the determinant of the pencil of two nodes, one of its roots 0.
                a, b = rate * np.asarray(hessians)
                roots = np.roots([1, 4 + a + b, 4 + 2 * (a + b) + a * b, 2 * (a + b)])
                assert abscissa == pytest.approx(roots.real.max(), rel=1e-6, abs=1e-16 * rate)


def test_branches_of_a_locus_go_on_without_jumps_where_rates_are_close():
    locus = theory.root_locus(LAPLACIAN, HESSIANS, np.linspace(0.5, 0.6, 200))
    jumps = np.abs(np.diff(locus.eigenvalues, axis=0))
    # Where two branches meet, they leave each other as fast as the square root of the rate.
    assert jumps.max() < 3 * np.sqrt(0.1 / 200)


def test_rates_that_do_not_grow_are_refused():
    with pytest.raises(cojax.CojaxInputError, match="alphas that grow"):
        theory.root_locus(LAPLACIAN, HESSIANS, [0.2, 0.1])


def test_every_frozen_graph_of_the_counterexample_is_stable_and_their_turn_is_not():
    """Independent of the library: matrices by hand, on all of (y, z) but the one mode that no run can excite."""
    steps = []
    for weights in EXAMPLE.weights:
        assert nx.is_connected(nx.from_numpy_array(weights))
        mixed = np.eye(3) - np.diag(weights.sum(1)) + weights
        curved = np.diag(EXAMPLE.hessians)
        steps.append(np.block([[mixed, -0.5 * np.eye(3)], [curved @ (mixed - np.eye(3)), mixed - 0.5 * curved]]))
    turn = np.linalg.matrix_power(steps[1], 50) @ np.linalg.matrix_power(steps[0], 4)

    def second(matrix):  # an eigenvalue 1 belongs to sum z - sum hessian y, which stays 0
        values = np.linalg.eigvals(matrix)
        return np.abs(np.delete(values, np.argmin(np.abs(values - 1)))).max()

    np.testing.assert_allclose(EXAMPLE.frozen(), [second(step) for step in steps], rtol=1e-9)
    np.testing.assert_allclose(EXAMPLE.growth(), second(turn), rtol=1e-9)
    assert max(EXAMPLE.frozen()) < 1 and EXAMPLE.growth() > 2
    for weights in EXAMPLE.weights:
        alone = theory.tracking_limit(cojax.Dense(weights=jnp.asarray(weights)), 1.0)
        assert alone.kind == "tight" and EXAMPLE.step_size < alone.value


def test_runs_on_each_graph_converge_and_between_them_diverge():
    problem, method = EXAMPLE.problem(), cojax.DIGing(EXAMPLE.step_size, EXAMPLE.mixing)
    start = problem.start(jnp.array([1.0, -1.0, 2.0]))
    runs = {
        "first": cojax.Dense(weights=jnp.asarray(EXAMPLE.weights[0])),
        "second": cojax.Dense(weights=jnp.asarray(EXAMPLE.weights[1])),
        "turns": EXAMPLE.network(),
    }
    turns = 20 * sum(EXAMPLE.dwell)
    sizes = {name: learner(problem, network, method, start, turns, largest).trace for name, network in runs.items()}
    assert sizes["first"][-1] < 1e-3 and sizes["second"][-1] < 1e-3
    rates = sizes["turns"][-1] / sizes["turns"][-1 - 5 * sum(EXAMPLE.dwell)]
    np.testing.assert_allclose(rates ** (1 / 5), EXAMPLE.growth(), rtol=1e-3)  # the fastest mode has taken over


def test_a_tuned_step_between_connected_graphs_is_the_one_that_is_proved_and_converges_on_the_counterexample():
    problem, network = EXAMPLE.problem(), EXAMPLE.network()
    start = problem.start(jnp.array([1.0, -1.0, 2.0]))
    limit = defaults.limit(cojax.DIGing, problem, network, start)
    assert limit.kind == "sufficient" and "comparison system" in limit.proof
    method = cojax.tuned(cojax.DIGing, problem, network, start)
    assert method.step_size == limit.value / 2
    sizes = learner(problem, network, method, start, 5400, largest).trace
    assert sizes[-1] < sizes[2700] < sizes[54]


def test_tuned_says_which_proof_its_step_rests_on(caplog):
    problem = cojax.Problem(lambda x, data: data * x.params**2, HESSIANS)
    with caplog.at_level(logging.INFO, "cojax"):
        cojax.tuned(cojax.DIGing, problem, RING, problem.start(jnp.ones(6)))
    assert "tuned(DIGing): step_size" in caplog.text and "tight by the numerical range of the pencil" in caplog.text


def test_the_potential_of_an_allocator_never_rises_over_lossy_switching_graphs_with_soft_bounds():
    def cost(x, data):
        return data * x.cpu**2 / 2

    penalty = cojax.penalties.PowerPenalty(3.0)
    problem = cojax.Problem(cost, HESSIANS, 6.0, lower=0.0, upper=2.0, penalty=penalty)
    network = cojax.Lossy(cojax.network([nx.path_graph(6), nx.star_graph(5)], layout="dense"), 0.3)
    start = problem.start(cpu=jnp.array([6.0, 0, 0, 0, 0, 0]))
    method = cojax.CoOpt(allocate=cojax.tuned(cojax.Laplacian, problem, network, start))
    run = cojax.solve(problem, network, method, start, num_steps=300, record=theory.potential())
    assert np.diff(run.trace).max() <= 1e-14 * run.trace[0]  # rounding of the sum
    expected = (HESSIANS * np.asarray(run.x.cpu) ** 2 / 2).sum()
    expected += 3 * (np.maximum(np.asarray(run.x.cpu) - 2, 0) ** 2 + np.maximum(-np.asarray(run.x.cpu), 0) ** 2).sum()
    np.testing.assert_allclose(run.trace[-1], expected, rtol=1e-12)


def directed(seed, num_graphs=1):
    """Random strongly connected weights that are not balanced."""
    found = []
    while len(found) < num_graphs:
        graph = nx.gnp_random_graph(6, 0.4, seed=seed + 100 * len(found), directed=True)
        graph.add_edges_from((k, (k + 1) % 6) for k in range(6))
        found.append(cojax.weights.directed(6, np.array(list(graph.edges)).T))
    return cojax.Directed(weights=jnp.asarray(found[0] if num_graphs == 1 else np.stack(found)))


def test_a_directed_spectrum_is_what_powers_of_both_matrices_tend_to():
    network = directed(1)
    weights = np.asarray(network.weights)
    pull, push = np.eye(6) - np.diag(weights.sum(1)) + weights, np.eye(6) - np.diag(weights.sum(0)) + weights
    found = theory.directed_spectrum(network)
    # 400 steps forget what rates below 0.9 forget.
    np.testing.assert_allclose(np.linalg.matrix_power(pull, 400), np.tile(found.influence, (6, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.matrix_power(push, 400), np.tile(found.mass, (6, 1)).T, atol=1e-12)
    for rate, matrix, end in (
        (found.pull_rate, pull, np.tile(found.influence, (6, 1))),
        (found.push_rate, push, np.tile(found.mass, (6, 1)).T),
    ):
        left = [np.linalg.norm(np.linalg.matrix_power(matrix, power) - end, 2) for power in (10, 26)]
        np.testing.assert_allclose((left[1] / left[0]) ** (1 / 16), rate, rtol=0.05)  # other modes die out meanwhile


@pytest.mark.parametrize("num_graphs", [1, 2])
@pytest.mark.parametrize(
    ("kind", "bound"), [(cojax.PushPull, theory.push_pull_limit), (cojax.PushDIGing, theory.push_diging_limit)]
)
def test_the_limit_over_a_directed_network_is_where_equal_costs_become_unstable(kind, bound, num_graphs):
    problem = cojax.Problem(lambda x, data: 0.7 * data * x.params**2, np.ones(6))
    start = problem.start(jnp.asarray(np.random.default_rng(0).normal(size=6)))
    for seed in (1, 5):
        network = directed(seed, num_graphs)
        limit = bound(network, 1.4).value

        def growth(step, network=network):
            sizes = learner(problem, network, kind(step), start, 3000, largest).trace
            return sizes[-1] / jnp.maximum(sizes[1500], 1e-10)

        below, above = jax.jit(jax.vmap(growth))(jnp.asarray([0.99, 1.01]) * limit)
        assert below < 1 < above
        assert cojax.tuned(kind, problem, network, start).step_size == pytest.approx(limit / 2, rel=1e-9)


def test_what_has_no_directed_spectrum_says_why():
    with pytest.raises(cojax.CojaxInputError, match="for a Directed network or a Digraph, got a Dense"):
        theory.push_pull_limit(RING, 1.0)
    with pytest.raises(cojax.CojaxInputError, match="smoothness > 0"):
        theory.push_pull_limit(directed(1), 0.0)
    chain = cojax.Directed(weights=jnp.asarray(cojax.weights.directed(4, np.asarray([[1, 2, 3], [0, 1, 2]]))))
    problem = cojax.Problem(lambda x, data: data * x.params**2, np.ones(4))
    for verb in (
        lambda: theory.directed_spectrum(chain),
        lambda: theory.push_pull_limit(chain, 1.0),
        lambda: theory.push_diging_limit(chain, 1.0),
        lambda: cojax.tuned(cojax.PushDIGing, problem, chain, problem.start(jnp.zeros(4))),
    ):
        with pytest.raises(cojax.CojaxInputError, match=r"strongly connected network.*got 4 parts: no path leads from"):
            verb()
    # Two halves of a ring in turn: neither is strongly connected alone.
    halves = [cojax.weights.directed(4, np.asarray(arcs)) for arcs in ([[1, 2], [0, 1]], [[3, 0], [2, 3]])]
    assert theory.push_pull_limit(cojax.Directed(weights=jnp.asarray(np.stack(halves))), 1.0).value > 0.01


def test_pictures_of_stability_are_drawn_and_mark_every_rise():
    ax = plots.root_locus(theory.root_locus(LAPLACIAN, HESSIANS), mixing=0.5)
    assert ax.get_xlabel() and ax.get_ylabel() and len(ax.lines) == 3  # the axis, the starts, the circle
    assert "never rises" in plots.lyapunov([3.0, 2.0, 1.0]).get_legend().get_texts()[0].get_text()
    risen = plots.lyapunov([3.0, 1.0, 2.0, 0.5]).lines[1]
    np.testing.assert_array_equal(risen.get_xydata(), [[3.0, 2.0]])
    with pytest.raises(cojax.CojaxInputError, match="needs eigenvalues"):
        plots.root_locus(theory.RootLocus(np.ones(2), np.ones((3, 2), complex)))


def test_pictures_of_prices_are_drawn_below_zero_and_at_spikes():
    random = np.random.default_rng(0)
    prices = random.normal(50, 40, (100, 4))
    prices[7, 2] = 15_637.0
    ax = plots.price_series(prices.mean(1), prices)
    assert ax.get_xlabel() and ax.get_ylabel() and ax.get_ylim()[0] < prices.min() < 15_637 < ax.get_ylim()[1]
    bars = plots.rents([1.0, 3.0, 2.0], names=["a", "b", "c"])
    assert [label.get_text() for label in bars.get_yticklabels()] == ["b", "c", "a"]
    with pytest.raises(cojax.CojaxInputError, match="needs prices of shape"):
        plots.price_series(prices.mean(1), prices[:5])
