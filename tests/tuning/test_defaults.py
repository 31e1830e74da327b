"""A method whose numbers nobody typed gets where it can get, on fixed, switching and lossy networks."""

import itertools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax import theory
from cojax.tuning import tuned as defaults

PROBLEM = laws.quadratic()
START = laws.start_of(PROBLEM)
PARAMS, SHARES, _ = laws.optimum(PROBLEM)
FIXED = cojax.network(laws.ring_with_chords(), layout="dense")
LOSSY = cojax.Lossy(cojax.network(laws.switching_graphs()), 0.3)
NETWORKS = {"fixed": FIXED, "switching and lossy": LOSSY}
EXACT = [kind for kind in defaults.LEARNERS if kind.__name__ not in laws.BIASED_LEARNERS]
CHATTERING = (cojax.FiniteTime, cojax.FixedTime, cojax.SingleBit)
# Every allocator and every learner at least once; halves never meet inside of CoOpt.
PAIRS = list(zip(EXACT, itertools.cycle(defaults.ALLOCATORS), strict=False))


# By turns over one network or the other; each over both in exhaustive runs.
TURNS = [
    pytest.param(*kinds, name, marks=() if place % 2 == turn else pytest.mark.exhaustive)
    for place, kinds in enumerate(PAIRS)
    for turn, name in enumerate(NETWORKS)
]


def pair(learn, allocate, problem=PROBLEM, network=FIXED, start=START):
    return cojax.CoOpt(cojax.tuned(learn, problem, network, start), cojax.tuned(allocate, problem, network, start))


def test_every_kind_is_run_below():
    assert {allocate for _, allocate in PAIRS} == set(defaults.ALLOCATORS)


@pytest.mark.parametrize(("learn", "allocate", "name"), TURNS)
def test_a_tuned_method_reaches_the_optimum_or_its_cycle(learn, allocate, name):
    network = NETWORKS[name]
    run = cojax.solve(
        PROBLEM, network, pair(learn, allocate, network=network), START, num_steps=6000, every=6000, record=laws.nothing
    )
    # DIGing, which mixes half as fast, has 1e-11 left after 4000 steps over lossy graphs; the others rounding.
    np.testing.assert_allclose(run.x.params, np.broadcast_to(PARAMS, (8, 3)), atol=1e-10)
    if allocate in CHATTERING:
        first, last = (np.ptp(np.asarray(PROBLEM.grad(x).cpu)) for x in (START, run.x))
        assert last < 0.05 * first  # cycles of about 1 % an edge, of which five lie between two nodes at most
    else:
        np.testing.assert_allclose(run.x.cpu, SHARES, atol=1e-11)  # transfers below half a grid step vanish


def test_a_tuned_pair_converges_over_coarse_lossy_links_with_memory():
    link = cojax.Innovation(cojax.LogQuantizer(1.0), "edge")
    network = cojax.Lossy(cojax.network(laws.switching_graphs(), link=link), 0.3)
    run = cojax.solve(
        PROBLEM,
        network,
        pair(cojax.LEAD, cojax.Laplacian, network=network),
        START,
        num_steps=4000,
        every=4000,
        record=laws.nothing,
    )
    np.testing.assert_allclose(run.x.params, np.broadcast_to(PARAMS, (8, 3)), atol=1e-10)
    np.testing.assert_allclose(run.x.cpu, SHARES, atol=1e-11)


def test_tuned_dgd_and_choco_stop_at_the_fixed_points_of_linear_algebra():
    roots, targets, *_ = (np.asarray(leaf) for leaf in PROBLEM.data)
    hessians = np.zeros((24, 24))
    for node in range(8):
        hessians[3 * node : 3 * node + 3, 3 * node : 3 * node + 3] = roots[node].T @ roots[node]
    pulls = np.einsum("nij,ni->nj", roots, targets).ravel()
    weights = np.asarray(FIXED.weights)
    mix = np.kron(np.eye(8) - np.diag(weights.sum(1)) + weights, np.eye(3))
    for kind, pulled in ((cojax.DGD, np.eye(24)), (cojax.Choco, mix)):
        method = cojax.tuned(kind, PROBLEM, FIXED, START)
        run = cojax.solve(
            PROBLEM, FIXED, cojax.CoOpt(learn=method), START, num_steps=2000, every=2000, record=laws.nothing
        )
        step = method.step_size
        expected = np.linalg.solve(np.eye(24) - mix + step * pulled @ hessians, step * pulled @ pulls)
        np.testing.assert_allclose(run.x.params.ravel(), expected, atol=1e-11)


def test_two_tuned_runs_of_a_biased_method_end_together_over_switching_lossy_graphs():
    method = cojax.CoOpt(learn=cojax.tuned(cojax.DGD, PROBLEM, LOSSY, START))

    def last(params):
        length = dict(num_steps=2000, every=2000, record=laws.nothing)
        return cojax.solve(PROBLEM, LOSSY, method, PROBLEM.start(params), **length).x.params

    one, other = jax.jit(jax.vmap(last))(jnp.stack([START.params, 10 * START.params[::-1]]))
    np.testing.assert_allclose(one, other, atol=1e-11)


def test_steps_are_half_of_their_limits_and_the_limit_says_what_is_proved():
    limit = defaults.limit(cojax.Laplacian, PROBLEM, FIXED, START)
    assert cojax.tuned(cojax.Laplacian, PROBLEM, FIXED, START).step_size == limit.value / 2
    assert limit == theory.allocation_limit(FIXED, np.asarray(PROBLEM.data[2]))
    assert defaults.limit(cojax.Laplacian, PROBLEM, LOSSY, START).kind == "sufficient"
    assert defaults.limit(cojax.DIGing, PROBLEM, LOSSY, START).kind == "heuristic"
    coarse = cojax.network(laws.ring_with_chords(), link=cojax.Quantized(cojax.LogQuantizer(0.5)))
    found = defaults.limit(cojax.DIGing, PROBLEM, coarse, START)
    assert found.kind == "heuristic" and found.assumptions.endswith("the link taken for an exact one")


def test_a_step_without_a_proof_says_where_one_is(caplog):
    caplog.set_level("INFO", logger="cojax")
    said = {}
    for name, kind, network in (
        ("without", cojax.APAPC, FIXED),
        ("with", cojax.NIDS, FIXED),
        ("lossy", cojax.APAPC, LOSSY),
    ):
        caplog.clear()
        cojax.tuned(kind, PROBLEM, network, START)
        (said[name],) = [record.getMessage() for record in caplog.records if record.name == "cojax"]
    assert "heuristic" in said["without"] and said["without"].endswith(
        "theory.proved_steps says which steps are proved"
    )
    assert "proved_steps" not in said["with"] + said["lossy"]


def test_accelerated_allocators_are_cautious_where_a_cost_does_not_curve():
    data = (np.asarray([0.0, 1.0, 2.0]), np.asarray([1.0, 0.5, 0.2]))
    problem = cojax.Problem(lambda x, data: 0.5 * data[0] * x.cpu**2 + data[1] * x.cpu, data, budget=2.0)
    start = problem.start()
    method = cojax.tuned(cojax.HeavyBall, problem, cojax.network(nx.path_graph(3)), start)
    assert method.momentum == defaults.CAUTIOUS_MOMENTUM
    run = cojax.solve(
        problem,
        cojax.network(nx.path_graph(3)),
        cojax.CoOpt(allocate=method),
        start,
        num_steps=500,
        every=500,
        record=laws.nothing,
    )
    np.testing.assert_allclose(run.state.grad.cpu, 1.0, atol=1e-12)  # the price of the node that is linear


def test_soft_bounds_are_no_surprise_to_a_tuned_allocator():
    penalty = cojax.penalties.PowerPenalty(10.0)
    problem = cojax.Problem(laws.cost, PROBLEM.data, budget=16.0, lower=0.0, upper=2.5, penalty=penalty)
    start = problem.start(START.params)
    run = cojax.solve(
        problem, LOSSY, cojax.CoOpt(allocate=cojax.tuned(cojax.Laplacian, problem, LOSSY, start)), start,
        num_steps=10_000, every=100, record=lambda problem, x, state: (problem.grad(x).cpu, x.cpu),
    )  # fmt: skip
    slopes, shares = map(np.asarray, run.trace)
    assert (shares > 2.5).any()
    assert np.ptp(slopes[-1]) < 1e-6


def test_a_single_node_and_float32_are_tuned_too():
    alone = cojax.Problem(laws.cost, jax.tree.map(lambda leaf: leaf[:1], PROBLEM.data), budget=1.0)
    network = cojax.network(np.zeros((1, 1)))
    assert np.isfinite(cojax.tuned(cojax.HeavyBall, alone, network, laws.start_of(alone)).step_size)
    single = laws.quadratic(dtype=np.float32)
    found = cojax.tuned(cojax.DIGing, single, FIXED, laws.start_of(single))
    expected = cojax.tuned(cojax.DIGing, PROBLEM, FIXED, START)
    np.testing.assert_allclose(found.step_size, expected.step_size, rtol=1e-5)  # Hessians in float32


def test_what_cannot_be_tuned_is_said_in_one_sentence():
    def said(kind, problem=PROBLEM, network=FIXED, start=START):
        with pytest.raises(cojax.CojaxInputError) as caught:
            cojax.tuned(kind, problem, network, start)
        return str(caught.value)

    assert said(cojax.CoOpt).startswith("tuned has no formulas for CoOpt")
    assert "needs a start with cpu" in said(cojax.Laplacian, start=START._replace(cpu=None))
    heavy = cojax.Dense(weights=2 * FIXED.weights)
    assert "finds no stable step" in said(cojax.EXTRA, network=heavy)
    linear = cojax.Problem(lambda x, data: data * x.cpu, np.ones(8), budget=16.0)
    assert "costs that curve in cpu" in said(cojax.Laplacian, linear, start=linear.start())
