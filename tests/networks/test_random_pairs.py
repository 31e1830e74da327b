"""Pairs that are drawn at every step: a matching each time, every two as often, of the key and the step alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax
from cojax.networks.connectivity import connects

METHOD = cojax.CoOpt(cojax.DIGing(0.03, mixing=0.5), cojax.Laplacian(0.2))


def partners(network, steps):
    return np.asarray(jax.vmap(lambda k: network.at(k).index[0])(jnp.arange(steps)))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 9])
def test_pairs_are_a_matching_and_every_two_meet_as_often(size):
    drawn = partners(cojax.RandomPairs(size, 1), 4000)
    nodes = np.arange(size)
    np.testing.assert_array_equal(np.take_along_axis(drawn, drawn, 1), np.broadcast_to(nodes, drawn.shape))
    assert ((drawn == nodes).sum(1) == size % 2).all()
    met = np.stack([(drawn == other).mean(0) for other in nodes])
    chance = 1 / (size - 1 + size % 2)
    wanted = np.full((size, size), chance) - (1 - size % 2) * chance * np.eye(size)
    # Five standard deviations of a mean of 4000 draws.
    np.testing.assert_allclose(met, wanted, atol=5 * np.sqrt(chance / 4000))


def test_disagreement_falls_as_over_matchings_drawn_uniformly():
    size, steps = 8, 4000
    state = np.random.default_rng(0).normal(size=size)
    state = (state - state.mean()) / np.linalg.norm(state - state.mean())
    drawn = partners(cojax.RandomPairs(size), steps)
    random = np.random.default_rng(1)
    uniform = np.zeros_like(drawn)
    for row in uniform:
        order = random.permutation(size).reshape(-1, 2)
        row[order[:, 0]], row[order[:, 1]] = order[:, 1], order[:, 0]
    left = [(((state + state[pairs]) / 2) ** 2).sum(1) for pairs in (drawn, uniform)]
    for each in left:
        assert abs(each.mean() - (size - 2) / (2 * (size - 1))) < 5 * each.std() / np.sqrt(steps)


def test_the_pairs_of_a_step_follow_from_the_key_and_the_step_alone():
    drawn = partners(cojax.RandomPairs(100, 3), 30)
    np.testing.assert_array_equal(cojax.RandomPairs(100, 3).at(17).index[0], drawn[17])
    assert (drawn[0] != drawn[1]).any() and (partners(cojax.RandomPairs(100, 4), 1)[0] != drawn[0]).any()


def test_a_run_is_exact_keeps_its_total_and_goes_on_as_the_whole_one():
    problem, network = laws.quadratic(), cojax.Lossy(cojax.RandomPairs(8, 2), 0.2)
    start, length = laws.start_of(problem), dict(record=laws.nothing)
    whole = cojax.solve(problem, network, METHOD, start, num_steps=6000, every=3000, **length)
    params, cpu, _ = laws.optimum(problem)
    np.testing.assert_allclose(whole.x.cpu, cpu, atol=1e-10)
    np.testing.assert_allclose(whole.x.params, np.broadcast_to(params, (8, 3)), atol=1e-10)
    assert whole.state.imbalance == 0.0
    assert laws.exact_imbalance(whole.x.cpu, problem.budget) == 0
    half = cojax.solve(problem, network, METHOD, start, num_steps=3000, every=3000, **length)
    rest = cojax.solve(problem, network, METHOD, half.state, num_steps=3000, every=3000, **length)
    for one, other in zip(jax.tree.leaves(rest.x), jax.tree.leaves(whole.x), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "link", [cojax.Ideal(), cojax.Quantized(cojax.RandK(2)), cojax.Quantized(cojax.FloatQuantizer(3))]
)
def test_a_step_is_that_over_a_matrix(link):
    problem, pairs = laws.quadratic(9), cojax.RandomPairs(9, 5, link=link)
    start, matrices = laws.start_of(problem), np.zeros((20, 9, 9))
    for matrix, other in zip(matrices, partners(pairs, 20), strict=True):
        matrix[np.arange(9), other] = 0.5
        np.fill_diagonal(matrix, 0.0)
    dense = cojax.network(matrices, link=link, layout="dense")
    found = [
        cojax.solve(problem, cojax.Intermittent(network, 2), METHOD, start, num_steps=20, every=20).x
        for network in (pairs, dense)
    ]
    np.testing.assert_array_equal(found[0].cpu, found[1].cpu)
    np.testing.assert_allclose(found[0].params, found[1].params, rtol=1e-12, atol=1e-13)


def test_what_connects_is_told_from_the_pairs_of_each_step():
    network = cojax.RandomPairs(4, 1)
    drawn = partners(network, 40)
    for steps in range(1, 6):
        reached = np.eye(4, dtype=bool)
        for pairs in [*drawn[:steps]] * 4:
            reached |= reached[pairs]
        assert connects(network, 0, steps) == reached.all()
    assert not connects(cojax.Intermittent(network, 50), 0, 40) and connects(network, 0, 40)


def test_what_needs_links_that_stay_is_refused():
    pairs = cojax.RandomPairs(8)
    clock = cojax.Clock(1.0, share=1.0, latency=np.ones((8, 8)))
    timed = cojax.Timed(pairs, cojax.Clock(1.0, share=1.0))
    for made, said in (
        (lambda: cojax.RandomPairs(1), "RandomPairs needs a whole number size >= 2, got 1"),
        (lambda: cojax.RandomPairs(8, link=cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")), "without memory"),
        (lambda: cojax.RandomPairs(8, link=cojax.EventTriggered(0.1)), "RandomPairs needs a link without memory"),
        (lambda: cojax.Ledger(pairs), "Ledger cannot keep books of pairs that are drawn anew in every step"),
        (lambda: cojax.LossyOneWay(pairs, 0.1), "LossyOneWay cannot keep books of pairs"),
        (lambda: cojax.Timed(pairs, clock), "Timed needs one latency and one bandwidth for pairs drawn anew"),
        (lambda: cojax.theory.slowest_chain(timed, num_steps=2, bits=1), "slowest_chain needs links that stay"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=said):
            made()


def test_a_clock_waits_for_the_partner_alone():
    network, work = cojax.RandomPairs(6, 2), np.arange(1.0, 7.0)
    problem = laws.quadratic(6)
    timed = cojax.Timed(network, cojax.Clock(work, share=1.0, latency=0.25))
    run = cojax.solve(problem, timed, METHOD, laws.start_of(problem), num_steps=10)
    ready = work.copy()
    for k, other in enumerate(partners(network, 10)):
        ready = np.maximum(ready, ready[other] + 0.25) + work
        assert float(run.trace.seconds[k]) == pytest.approx(ready.max())
