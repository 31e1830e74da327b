"""What a run moves along its links, how fast it must fall, and the whole of it in one figure."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from scipy import optimize
from support import laws

import cojax
from cojax import CojaxInputError, plots, records, theory

SIZE = 8
CURVES = np.linspace(0.5, 3.0, SIZE)
WANTED = np.linspace(0.0, 4.0, SIZE)
GRAPH = nx.cycle_graph(SIZE)
EXTRA = nx.compose(GRAPH, nx.star_graph(SIZE - 1))


def cost(x, data):
    curve, wanted = data
    return 0.5 * curve * (x.cpu - wanted) ** 2


def problem(**bounds):
    return cojax.Problem(cost, (CURVES, WANTED), budget=10.0, **bounds)


@pytest.mark.parametrize("layout", ["neighbors", "edges", "dense", "circulant"])
def test_what_nodes_receive_minus_what_they_give_is_what_a_step_adds(layout):
    network = cojax.network(GRAPH, layout=layout)
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    state = cojax.init(problem(), network, method, problem().start())
    moved = cojax.transfers(network, method, state)
    after = cojax.step(problem(), network, method, state)
    added = np.zeros(SIZE)
    for (giver, taker), cpu in zip(moved.pairs, moved.cpu, strict=True):
        added[giver] -= cpu
        added[taker] += cpu
    np.testing.assert_array_equal(state.method.allocate.cpu + added, after.method.allocate.cpu)
    assert {tuple(pair) for pair in moved.pairs} == {tuple(sorted(edge)) for edge in GRAPH.edges}


def test_links_with_a_memory_of_their_own_and_links_that_are_lost_move_what_the_step_adds():
    link = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
    network = cojax.Lossy(cojax.network(EXTRA, link=link), 0.4, key=1)
    method = cojax.Laplacian(0.1)
    solo = cojax.CoOpt(allocate=method)
    solution = cojax.solve(problem(), network, solo, problem().start(), num_steps=3, record=laws.nothing)
    moved = cojax.transfers(network, solo, solution.state)
    after = cojax.solve(problem(), network, solo, solution.state, num_steps=1, record=laws.nothing)
    added = np.zeros(SIZE)
    np.add.at(added, moved.pairs[:, 1], moved.cpu)
    np.add.at(added, moved.pairs[:, 0], -moved.cpu)
    np.testing.assert_array_equal(np.asarray(solution.x.cpu) + added, after.x.cpu)
    assert 0 < len(moved.pairs) < EXTRA.number_of_edges()


@pytest.mark.parametrize(
    ("network", "method", "message"),
    [
        (cojax.Ledger(cojax.network(GRAPH)), cojax.CoOpt(allocate=cojax.Laplacian(0.1)), "without a ledger"),
        (cojax.network(GRAPH), cojax.CoOpt(learn=cojax.DIGing(0.1)), "needs a method that moves shares"),
        (cojax.network(nx.DiGraph(GRAPH)), cojax.CoOpt(allocate=cojax.Laplacian(0.1)), "an undirected network"),
    ],
)
def test_transfers_that_no_link_could_tell_are_refused(network, method, message):
    allocates = not isinstance(method.allocate, cojax.Hold)
    data = (CURVES, WANTED)
    asked = problem() if allocates else cojax.Problem(lambda x, row: row[0] * x.params**2, data)
    start = asked.start() if allocates else asked.start(params=jnp.ones(SIZE))
    state = cojax.init(asked, network, method, start)
    with pytest.raises(CojaxInputError, match=message):
        cojax.transfers(network, method, state)


def bent(x, data):
    """Second derivatives between the curve and three times the curve."""
    return cost(x, data) + 2 * data[0] * jnp.log(jnp.cosh(x.cpu))


def least_bent_cost():
    def total(cpu):
        return (CURVES * (0.5 * (cpu - WANTED) ** 2 + 2 * np.log(np.cosh(cpu)))).sum()

    split = {"type": "eq", "fun": lambda cpu: cpu.sum() - 10.0}
    return optimize.minimize(total, np.full(SIZE, 10.0 / SIZE), constraints=split, options={"ftol": 1e-13}).fun


def test_no_step_leaves_more_of_the_gap_than_is_proved():
    curved, network = cojax.Problem(bent, (CURVES, WANTED), 10.0), cojax.network(EXTRA)
    start = curved.start(cpu=jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(SIZE)) * 10.0))
    for part in (0.15, 0.5, 0.85):
        step = part * theory.allocation_limit(network, 3 * CURVES).value
        rate = theory.allocation_rate(network, CURVES, 3 * CURVES, step).value
        run = cojax.solve(curved, network, cojax.CoOpt(allocate=cojax.Laplacian(step)), start, num_steps=60)
        gaps = np.r_[curved.costs(start).sum(), run.trace.cost] - least_bent_cost()
        seen = gaps[:-1] > 1e-4  # below, what SLSQP leaves shows
        assert (gaps[1:] <= rate * gaps[:-1])[seen].all() and seen.sum() > 10
        assert 0 < rate < 1


def test_the_proved_rate_is_reached_on_two_equal_nodes():
    # Both eigenvalues are one and the same, so both inequalities are equalities.
    network = cojax.network(nx.path_graph(2))
    pair = cojax.Problem(cost, (jnp.ones(2), jnp.array([0.0, 4.0])), budget=2.0)
    step = theory.allocation_limit(network, 1.0).value / 4
    rate = theory.allocation_rate(network, 1.0, 1.0, step).value
    run = cojax.solve(pair, network, cojax.CoOpt(allocate=cojax.Laplacian(step)), pair.start(), num_steps=1)
    gaps = np.r_[pair.costs(pair.start()).sum(), run.trace.cost] - 1.0  # of the shares -1 and 3
    assert gaps[1] / gaps[0] == pytest.approx(rate, rel=1e-9)  # shares are on a grid of 1e-14


@pytest.mark.parametrize(
    ("network", "step", "message"),
    [
        (cojax.network([GRAPH, EXTRA]), 0.01, "a fixed network"),
        (cojax.network(GRAPH), 100.0, "a step_size below"),
        (cojax.network(GRAPH), 0.0, "step_size > 0"),
    ],
)
def test_a_rate_that_nothing_proves_is_refused(network, step, message):
    with pytest.raises(CojaxInputError, match=message):
        theory.allocation_rate(network, CURVES, CURVES, step)


@pytest.fixture(scope="module")
def solved():
    asked = problem(lower=0.5, upper=2.5, penalty=cojax.penalties.PowerPenalty(5.0))
    network = cojax.network([GRAPH, EXTRA])
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    return asked, network, cojax.solve(asked, network, method, asked.start(), num_steps=100, every=10)


def test_a_whole_run_is_one_figure_of_four_pictures(solved):
    figure = plots.run(*solved, names=[f"node {row}" for row in range(SIZE)])
    figure.canvas.draw()
    assert len([ax for ax in figure.axes if ax.get_subplotspec() is not None]) == 4
    who, how, where, why = figure.axes[:4]
    drawn = {tuple(map(tuple, np.round(line.get_xydata(), 6))) for line in who.lines}
    assert len(drawn) == EXTRA.number_of_edges()  # that of all graphs in turn
    dots = np.concatenate([line.get_xdata() for line in where.lines if line.get_label() != "optimum"])
    np.testing.assert_array_equal(np.sort(dots), np.sort(solved[2].x.cpu))
    own = jax.vmap(jax.grad(lambda cpu, row: cost(cojax.Decision(None, cpu), row)))(solved[2].x.cpu, (CURVES, WANTED))
    dots = np.concatenate([line.get_xdata() for line in why.lines if line.get_label()[0] in "ba"])
    np.testing.assert_allclose(np.sort(dots), np.sort(own), rtol=1e-14)  # one rounding
    assert how.get_yscale() == "log"


def test_names_of_one_picture_do_not_reach_into_another(solved):
    figure = plots.run(*solved, names=["a rather long name"] * SIZE)
    figure.canvas.draw()
    others = [ax.get_tightbbox() for ax in figure.axes[1:4]]
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        assert not any(other.contains(*middle) for other in others)


def test_a_run_that_cannot_be_drawn_whole_is_refused(solved):
    asked, network, solution = solved
    with pytest.raises(CojaxInputError, match="needs a solution with the standard trace, got a Decision"):
        plots.run(asked, network, solution._replace(trace=solution.x))
    learning = cojax.Problem(lambda x, row: row[0] * x.params**2, (CURVES, WANTED))
    with pytest.raises(CojaxInputError, match="needs a problem with one budget"):
        plots.run(learning, network, solution)


def test_what_a_record_holds_is_what_the_pictures_take(solved):
    asked, network, _ = solved

    def record(problem, x, state):
        return records.standard(problem, x, state), state.grad.cpu

    method = cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    trace, marginals = cojax.solve(asked, network, method, asked.start(), num_steps=20, every=5, record=record).trace
    ax = plots.meeting(marginals, 1.0, steps=trace.step)
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[:SIZE]], np.asarray(marginals).T)
