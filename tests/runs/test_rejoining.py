"""A node that comes back with an old state is put right from the books of its neighbours."""

from fractions import Fraction

import jax
import numpy as np
import pytest
from support import laws

import cojax

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.03, mixing=0.5), allocate=cojax.Laplacian(0.2))
BASE = cojax.network(laws.ring_with_chords())
# Down from step 60 on; what it kept is from step 35, before demand arrived at it in step 40.
NODE, SAVED, DOWN, BACK = 3, 35, 60, 100
PROBLEM = cojax.Changing(laws.quadratic(), [cojax.Change(40, budget=19.0, node=NODE)])
NETWORK = cojax.Ledger(cojax.Crashing(cojax.LossyOneWay(cojax.Delayed(BASE, 2), 0.2), [NODE], [DOWN], [BACK]))


@jax.jit
def run(state, num_steps):
    """The state after so many steps; their number is traced, so that all runs are one program."""
    return jax.lax.fori_loop(0, num_steps, lambda _, now: cojax.step(PROBLEM, NETWORK, METHOD, now), state)


def first():
    return jax.jit(cojax.init)(PROBLEM, NETWORK, METHOD, laws.start_of(PROBLEM))


def test_after_a_rejoin_every_sum_is_right_and_the_optimum_is_found():
    saved = run(first(), SAVED)
    crashed = run(saved, BACK - SAVED)
    back = jax.jit(cojax.rejoined)(PROBLEM, NETWORK, METHOD, crashed, saved, NODE)
    np.testing.assert_array_equal(back.method.learn.params[NODE], saved.method.learn.params[NODE])
    for state in (back, run(back, 1)):
        books = state.wire.books
        parts = [np.ravel(part) for part in (state.method.allocate.cpu, books.pending[1], books.owed[1])]
        assert sum(Fraction(float(part)) for part in np.concatenate(parts)) == Fraction(float(PROBLEM.at(40).budget))
        trackers = np.asarray(state.method.learn.slack + state.grad.params).mean(0)
        away = np.asarray(books.pending[0].tracker).sum((0, 1)) + np.asarray(books.owed[0].tracker).sum(0)
        missing = trackers + METHOD.learn.mixing * away / 8 - np.asarray(state.grad.params).mean(0)
        assert np.abs(missing).max() < 1e-12  # rounding of numbers of order 10
    end = run(back, 5000)
    assert float(end.imbalance) == 0.0
    mean_tracker = np.asarray(end.method.learn.slack + end.grad.params).mean(0)
    assert np.abs(mean_tracker - np.asarray(end.grad.params).mean(0)).max() < 1e-12
    params, shares, _ = laws.optimum(PROBLEM.at(BACK))
    x = METHOD.query(end.method)
    np.testing.assert_allclose(x.params, np.broadcast_to(params, (8, 3)), atol=1e-11)
    np.testing.assert_allclose(x.cpu, shares, atol=1e-11)


def test_an_old_state_that_nobody_puts_right_is_wrong_for_ever():
    saved = run(first(), SAVED)
    crashed = run(saved, BACK - SAVED)
    slack, cpu = crashed.method.learn.slack, crashed.method.allocate.cpu
    slack = slack.at[NODE].set(saved.method.learn.slack[NODE])
    cpu = cpu.at[NODE].set(saved.method.allocate.cpu[NODE])
    method = cojax.methods.coopt.CoOptState(
        crashed.method.learn._replace(slack=slack), crashed.method.allocate._replace(cpu=cpu)
    )
    end = run(crashed._replace(method=method), 5000)
    params, _, _ = laws.optimum(PROBLEM.at(BACK))
    assert float(end.imbalance) > 0.1
    assert np.abs(np.asarray(end.method.learn.params) - params).max() > 1e-3


def test_without_a_ledger_nobody_knows_what_a_node_missed():
    problem = laws.quadratic()
    state = jax.jit(cojax.init)(problem, BASE, METHOD, laws.start_of(problem))
    with pytest.raises(cojax.CojaxInputError, match="needs a run over a Ledger"):
        cojax.rejoined(problem, BASE, METHOD, state, state, 3)


def test_what_cannot_rejoin_is_refused_in_a_sentence():
    saved = run(first(), 10)
    given = {"problem": PROBLEM, "network": NETWORK, "method": METHOD, "state": run(saved, 10), "stale": saved}
    other = cojax.CoOpt(learn=cojax.NIDS(0.03), allocate=cojax.Laplacian(0.2))
    for words, change in {
        "a cojax Problem for problem, got NoneType": {"problem": None},
        "a cojax State for state, got Decision": {"state": laws.start_of(PROBLEM)},
        "a state of a run with this problem, network and method": {"method": other},
        "not after the state, got one after 20 steps and 10": {"state": saved, "stale": given["state"]},
        "whole number node from 0 to 7, got 8": {"node": 8},
        "whole number node from 0 to 7, got -1": {"node": -1},
        "whole number node from 0 to 7, got 1.5": {"node": 1.5},
        "whole number node from 0 to 7, got True": {"node": True},
        "whole number node from 0 to 7, got '2'": {"node": "2"},
    }.items():
        with pytest.raises(cojax.CojaxInputError, match=words):
            laws.unchecked(cojax.rejoined)(**given | {"node": NODE} | change)
    for node in (np.int64(NODE), jax.numpy.asarray(NODE)):
        assert float(cojax.rejoined(**given, node=node).imbalance) == 0.0
