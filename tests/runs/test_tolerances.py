"""A run to a tolerance ends when its certificate says so, and never calls itself converged otherwise."""

import functools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax.problems.penalties import BarrierPenalty

judged = jax.jit(cojax.certificate)
METHOD = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.3))
NETWORK = cojax.network(laws.ring_with_chords())


def ran(tolerance=1e-6, *, problem=None, network=NETWORK, method=METHOD, **settings):
    problem = laws.quadratic() if problem is None else problem
    settings = {"max_steps": 4000, "every": 50} | settings
    return cojax.solve_to(problem, network, method, laws.start_of(problem), tolerance=tolerance, **settings)


def named(run):
    return cojax.Status(int(run.status)).name


@functools.cache
def decisions():
    """Those after every 50 steps."""
    problem = laws.quadratic()
    length = dict(num_steps=4000, every=50, record=cojax.records.decision)
    return cojax.solve(problem, NETWORK, METHOD, laws.start_of(problem), **length).trace


@pytest.mark.parametrize("tolerance", [1e-4, 1e-10])
def test_it_stops_at_the_first_look_whose_certificate_keeps_the_tolerance(tolerance):
    run, problem = ran(tolerance), laws.quadratic()
    assert named(run) == "CONVERGED" and cojax.is_certified(run.certificate, tolerance)
    assert int(run.trace.step[-1]) == int(run.state.step) < 4000
    # One look earlier it was not good enough, by the certificate of a run that knows of no tolerance.
    before = jax.tree.map(lambda leaf: leaf[int(run.state.step) // 50 - 2], decisions())
    assert not cojax.is_certified(judged(problem, before), tolerance)
    params, cpu, _ = laws.optimum(problem)
    # A tolerance on gradients, divided by a curvature of 0.2 at least.
    np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=10 * tolerance)
    np.testing.assert_allclose(run.x.cpu, cpu, atol=20 * tolerance)


def test_a_run_that_almost_made_it_is_told_from_one_that_did_not():
    tight, loose = ran(1e-9, max_steps=450), ran(1e-9, max_steps=100)
    assert named(tight) == "CONVERGED_REDUCED" and named(loose) == "OUT_OF_STEPS"
    assert cojax.is_certified(tight.certificate, 1e-6) and not cojax.is_certified(tight.certificate, 1e-9)


@pytest.mark.parametrize(
    ("method", "link", "every", "status"),
    [
        (METHOD, cojax.Quantized(cojax.LogQuantizer(0.5)), 7, "STALLED"),
        (cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.SingleBit(0.01)), cojax.Ideal(), 7, "LIMIT_CYCLE"),
        (cojax.CoOpt(learn=cojax.DIGing(5.0), allocate=cojax.Laplacian(0.3)), cojax.Ideal(), 50, "DIVERGED"),
    ],
)
def test_what_cannot_reach_the_tolerance_says_why(method, link, every, status):
    network = cojax.network(laws.ring_with_chords(), link=link)
    run = ran(method=method, network=network, max_steps=3500, every=every)
    assert named(run) == status
    assert status != "DIVERGED" or int(run.state.step) < 3500


def test_the_floor_of_rounding_below_the_tolerance_of_solve_is_not_called_converged():
    fine = cojax.network(laws.ring_with_chords(), link=cojax.Quantized(cojax.UniformQuantizer(1e-10)))
    run = ran(1e-13, network=fine, max_steps=6000)
    assert run.state.progress.residual < 1e-8 and named(run) == "STALLED"


def test_links_that_never_connect_all_nodes_are_named_as_the_reason():
    # Made by hand, where nothing checks the union: the link between two pairs of nodes is never up.
    pairs = jnp.asarray([[0, 2, 1], [1, 3, 2]])
    apart = cojax.Edges(weights=jnp.asarray([0.5, 0.5, 0.0]), pairs=pairs, size=4)
    demand = np.array([3.0, 1.0, 0.5, 0.2])
    problem = cojax.Problem(lambda x, want: (x.cpu - want) ** 2 / 2, demand, 4.0)
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.3))
    run = cojax.solve_to(problem, apart, method, problem.start(), tolerance=1e-6, max_steps=400, every=20)
    assert named(run) == "DISCONNECTED"
    whole = cojax.Edges(weights=jnp.full(3, 0.5), pairs=pairs, size=4)
    run = cojax.solve_to(problem, whole, method, problem.start(), tolerance=1e-6, max_steps=400, every=20)
    assert named(run) == "CONVERGED"


def test_random_graphs_that_did_not_meet_within_the_steps_are_told_from_those_that_did():
    from cojax.networks.connectivity import connects

    network = cojax.RandomGraph(6, 0.05, 3)
    united, graph = [], nx.empty_graph(6)
    for k in range(80):
        graph.add_edges_from(np.argwhere(np.asarray(network.at(k).weights) > 0))
        united.append(nx.is_connected(graph))
    assert not united[5] and united[-1]
    last = united.index(True) + 1
    assert connects(network, 0, last) and not connects(network, 0, last - 1)
    # The other layouts, one graph in turn missing.
    for layout in ("dense", "neighbors", "edges"):
        switching = cojax.network(laws.switching_graphs(), layout=layout)
        assert connects(switching, 0, 2) and not connects(switching, 0, 1)


def test_a_barrier_keeps_its_bounds_in_the_certificate_and_a_soft_bound_does_not():
    demand = np.array([3.0, 1.0, 0.5, 0.2])
    problem = cojax.Problem(
        lambda x, want: (x.cpu - want) ** 2 / 2, demand, 4.0, lower=0.0, upper=1.5, penalty=BarrierPenalty(0.05)
    )
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.01))
    run = cojax.solve_to(
        problem, cojax.network(nx.cycle_graph(4)), method, problem.start(), tolerance=1e-7, max_steps=5000
    )
    assert named(run) == "CONVERGED" and float(run.certificate.gap) < 1e-6
    assert float(run.state.progress.overload) == 0.0


def test_a_tolerance_below_the_rounding_of_float32_is_refused_with_the_one_it_can_reach():
    problem = laws.quadratic(dtype=np.float32)
    with pytest.raises(cojax.CojaxInputError, match=r"numbers in float32 can reach, >= 7.6e-06, got 1e-10"):
        ran(1e-10, problem=problem)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tolerance": 0.0}, "solve_to needs tolerance > 0 and tolerance < 1, got 0."),
        ({"tolerance": 1e-15}, "numbers in float64 can reach, >= 1.4e-14, got 1e-15"),
        ({"max_steps": -1}, "solve_to needs a whole number max_steps >= 0, got -1."),
        ({"max_steps": 75}, "solve_to needs max_steps to be a multiple of every, got 75 and 50."),
        ({"every": 0}, "solve_to needs a whole number every >= 1, got 0."),
    ],
)
def test_what_cannot_be_asked_for_is_refused(settings, message):
    with pytest.raises(cojax.CojaxInputError) as error:
        ran(**settings)
    assert message in str(error.value)


def test_no_steps_return_the_start_with_its_certificate():
    run, problem = ran(max_steps=0), laws.quadratic()
    np.testing.assert_array_equal(run.x.cpu, laws.start_of(problem).cpu)
    assert named(run) == "OUT_OF_STEPS" and run.trace.cost.shape == (0,)
    assert float(run.certificate.consensus) == float(judged(problem, run.x).consensus) > 0
    assert jax.tree.leaves(run.certificate)


def test_a_run_over_a_ledger_that_does_not_make_it_says_so():
    problem = laws.quadratic()
    network = cojax.Ledger(cojax.LossyOneWay(cojax.network(laws.ring_with_chords()), 0.2))
    method = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.1))
    run = cojax.solve_to(problem, network, method, laws.start_of(problem), tolerance=1e-9, max_steps=40, every=20)
    assert int(run.status) == cojax.Status.OUT_OF_STEPS


def test_a_problem_that_changes_is_not_done_before_its_last_change():
    data = jnp.arange(8.0)
    problem = cojax.Problem(lambda x, wanted: (x.cpu - wanted) ** 2, data, budget=16.0)
    changing = cojax.Changing(problem, [cojax.Change(step=400, budget=20.0)])
    network = cojax.network(nx.complete_graph(8))
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.2))
    run = cojax.solve_to(changing, network, method, changing.start(), tolerance=1e-6, max_steps=1000, every=100)
    assert int(run.state.step) >= 400 and int(run.status) == cojax.Status.CONVERGED
    assert laws.exact_imbalance(run.x.cpu, 20.0) == 0
