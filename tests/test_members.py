"""Nodes leave and join inside one run: the total, the trackers and the optimum are those of who is there."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import laws
import networkx as nx
import numpy as np
import pytest

import cojax

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.03, mixing=0.5), allocate=cojax.Laplacian(0.2))
RING = cojax.network(laws.ring_with_chords(), layout="neighbors")
CHANGES = [
    cojax.Change(10, joins=7),
    cojax.Change(20, leaves=2, heir=3, budget=13.0),
    cojax.Change(30, leaves=3, heir=7),
    cojax.Change(40, joins=2, data=laws.quadratic(seed=5).data),
    cojax.Change(45, budget=19.0),
]
AWAY = [(0, {7}), (10, set()), (20, {2}), (30, {2, 3}), (40, {3})]  # from which step on


def changing(dtype=np.float64, changes=CHANGES):
    return cojax.Changing(laws.quadratic(dtype=dtype), changes)


def start_of(problem):
    """Params at random, and uneven shares that sum to the budget, 0 at node 7."""
    random = np.random.default_rng(1)
    shares = np.append(random.uniform(0.5, 1.5, 7), 0.0) if problem.at(0).members is not None else None
    dtype = problem.budget.dtype
    cpu = (shares * float(problem.budget) / shares.sum()).astype(dtype)
    return problem.start(jnp.asarray(random.normal(size=(8, 3)), dtype), cpu)


def away_after(k):
    return sorted([away for first, away in AWAY if first <= k][-1])


def seen(problem, x, state):
    return x.cpu, problem.budget, state.imbalance, state.method.learn.slack, state.grad.params


def without(problem, nodes):
    """The problem of the other nodes alone."""
    data = jax.tree.map(lambda leaf: np.delete(leaf, nodes, axis=0), problem.whole.data)
    return cojax.Problem(laws.cost, data, problem.budget)


NETWORKS = {
    "one graph, float64": (RING, np.float64),
    "one graph, float32": (RING, np.float32),
    "quantized and lossy": (
        cojax.Lossy(cojax.network(laws.ring_with_chords(), link=cojax.Quantized(cojax.LogQuantizer(0.25))), 0.3),
        np.float32,
    ),
    "switching, with a memory by edge": (
        cojax.network(
            laws.switching_graphs(), link=cojax.Innovation(cojax.LogQuantizer(0.25), memory="edge"), layout="edges"
        ),
        np.float64,
    ),
    "drawn at random": (cojax.RandomGraph(8, 0.4), np.float64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_total_is_the_budget_at_every_step_and_who_is_away_holds_nothing(name):
    network, dtype = NETWORKS[name]
    problem = changing(dtype)
    run = cojax.solve(problem, cojax.Members(network, problem), METHOD, start_of(problem), num_steps=60, record=seen)
    cpu, budget, imbalance, slack, gradient = map(np.asarray, run.trace)
    assert cpu.dtype == dtype and imbalance.max() == 0.0
    for k in range(1, 61):
        away = away_after(k)
        assert laws.exact_imbalance(cpu[k - 1], budget[k - 1]) == Fraction(0)
        for rows in (cpu, slack, gradient):
            assert not rows[k - 1, away].any()
        # Trackers minus gradients: a few roundings of numbers of order 10 a step.
        assert np.abs(slack[k - 1].mean(0)).max() < (1e-12 if dtype == np.float64 else 1e-5)
        assert (np.abs(gradient[k - 1]).sum(1) > 0).sum() == 8 - len(away)


def test_a_share_is_handed_over_to_the_last_bit():
    problem = changing()
    network = cojax.Members(RING, problem)
    plain = cojax.Changing(laws.quadratic(), [CHANGES[0]])
    first = start_of(problem)
    before = cojax.solve(problem, network, METHOD, first, num_steps=19)
    after = cojax.solve(problem, network, METHOD, before.state, num_steps=1)
    stayed = cojax.solve(plain, cojax.Members(RING, plain), METHOD, before.state, num_steps=1).x.cpu
    # In the same step 3 is taken from the budget, in equal parts from the seven who stay.
    taken = Fraction(float(stayed[0])) - Fraction(float(after.x.cpu[0]))
    assert abs(float(taken) - 3 / 7) < 1e-10  # one step of the grid
    together = Fraction(float(stayed[2])) + Fraction(float(stayed[3]))
    assert abs(float(together - taken - Fraction(float(after.x.cpu[3])))) < 1e-10
    np.testing.assert_array_equal(after.x.params[2], after.state.method.learn.params[2])


def test_the_run_ends_at_the_optimum_of_those_who_are_there():
    problem = changing(
        changes=[cojax.Change(10, joins=7), cojax.Change(20, leaves=2, heir=3), cojax.Change(4001, joins=2)]
    )
    network = cojax.Members(RING, problem)
    first = cojax.solve(problem, network, METHOD, start_of(problem), num_steps=4000, every=100)
    second = cojax.solve(problem, network, METHOD, first.state, num_steps=4000, every=100)
    for run, away in ((first, [2]), (second, [])):
        assert int(run.status) == cojax.Status.CONVERGED
        now = problem.at(run.state.step)
        params, shares, price = laws.optimum(without(now, away))
        there = np.delete(np.arange(8), away)
        np.testing.assert_allclose(np.asarray(run.x.params)[there], np.broadcast_to(params, (len(there), 3)), atol=1e-11)
        np.testing.assert_allclose(np.asarray(run.x.cpu)[there], shares, atol=1e-11)
        judged = cojax.certificate(now, run.x)
        assert bool(cojax.is_certified(judged, 1e-10))
        np.testing.assert_allclose(judged.price, price, atol=1e-10)
        best = cojax.reference(now, jnp.zeros(3))
        np.testing.assert_allclose(best.params, params, atol=1e-10)
        np.testing.assert_allclose(np.asarray(best.x.cpu)[there], shares, atol=1e-10)
        np.testing.assert_allclose(run.trace.cost[-1], best.cost, rtol=1e-12)
        assert not np.asarray(best.x.cpu)[away].any()


def test_a_run_continued_at_any_step_is_bitwise_the_whole_run():
    problem = changing()
    network = cojax.Members(RING, problem)
    whole = cojax.solve(problem, network, METHOD, start_of(problem), num_steps=60, every=20)
    part = cojax.solve(problem, network, METHOD, start_of(problem), num_steps=20, every=20)
    for _ in range(2):
        part = cojax.solve(problem, network, METHOD, part.state, num_steps=20, every=20)
    for mine, yours in zip(jax.tree.leaves((part.x, part.state)), jax.tree.leaves((whole.x, whole.state)), strict=True):
        np.testing.assert_array_equal(mine, yours)
