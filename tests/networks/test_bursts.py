"""Links fail in bursts as two-state Markov chains do, in every layout the same ones, at whatever step one looks."""

import functools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from scipy import stats
from support import laws

import cojax
from cojax.networks.faults.bursts import FIRST, last_success
from cojax.networks.faults.draws import arc_bits
from cojax.networks.faults.faulty import loss_rate

NUM_NODES, NUM_STEPS = 40, 4000
METHOD = cojax.CoOpt(learn=cojax.DIGing(0.03, mixing=0.5), allocate=cojax.Laplacian(0.2))
CHAINS = [(0.1, 0.3), (0.02, 0.05), (0.5, 0.5), (0.95, 0.65)]  # the last one turns more often than it stays


def down(network, steps):
    """Which links of a dense network are down, (steps, links)."""
    up = np.asarray(jax.jit(jax.vmap(lambda k: network.at(k).weights > 0))(steps))
    np.testing.assert_array_equal(up, up.swapaxes(1, 2))
    return ~up[:, *np.triu_indices(up.shape[1], 1)]


@functools.cache
def bad_links(to_bad, to_good):
    """The states of 780 links in 4 000 steps."""
    network = cojax.GilbertElliott(cojax.network(nx.complete_graph(NUM_NODES), layout="dense"), to_bad, to_good, key=5)
    return down(network, jnp.arange(NUM_STEPS))


@pytest.mark.parametrize(("to_bad", "to_good"), CHAINS)
def test_a_link_changes_at_its_rates_whatever_came_before(to_bad, to_good):
    bad = bad_links(to_bad, to_good)
    before, now, after = bad[:-2], bad[1:-1], bad[2:]
    for came_from in (False, True):
        for state, rate in ((False, to_bad), (True, to_good)):
            changes = (after != now)[(now == state) & (before == came_from)]
            # Given the states, changes are independent draws: five standard deviations, here and below.
            assert abs(changes.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / changes.size)


@pytest.mark.parametrize(("to_bad", "to_good"), CHAINS)
def test_links_are_stationary_from_the_first_step_on(to_bad, to_good):
    bad = bad_links(to_bad, to_good)
    share, memory = to_bad / (to_bad + to_good), 1 - to_bad - to_good
    variance = share * (1 - share)
    for step in (0, 1, 2, 50):
        assert abs(bad[step].mean() - share) < 5 * np.sqrt(variance / bad.shape[1])
    # The sum of the correlations of a step with all others.
    slowness = (1 + memory) / (1 - memory)
    assert abs(bad.mean() - share) < 5 * np.sqrt(variance * slowness / bad.size)


@pytest.mark.parametrize(("to_bad", "to_good"), CHAINS)
def test_bursts_and_the_gaps_between_them_have_geometric_lengths(to_bad, to_good):
    bad = bad_links(to_bad, to_good)
    bursts, gaps = [], []
    for link in bad.T:
        changes = np.flatnonzero(np.diff(link)) + 1
        lengths = np.diff(changes)  # the first and the last one were cut
        is_burst = link[changes[:-1]]
        bursts.append(lengths[is_burst])
        gaps.append(lengths[~is_burst])
    for lengths, rate in ((np.concatenate(bursts), to_good), (np.concatenate(gaps), to_bad)):
        most = int(np.log(100 / lengths.size) / np.log(1 - rate))  # of each longer length a hundred are expected
        most = min(most, 60)  # cut lengths are long ones: 60 of 4 000 steps keeps this below the noise
        shares = rate * (1 - rate) ** np.arange(most)
        expected = lengths.size * np.append(shares, (1 - rate) ** most)
        found = np.append(np.bincount(lengths, minlength=most + 1)[1 : most + 1], (lengths > most).sum())
        assert stats.chisquare(found, expected).pvalue > 1e-4


@pytest.mark.parametrize(("to_bad", "to_good"), CHAINS)
def test_the_autocorrelation_falls_as_that_of_the_chain(to_bad, to_good):
    bad = bad_links(to_bad, to_good)
    share, memory = to_bad / (to_bad + to_good), 1 - to_bad - to_good
    off = bad - share
    for lag in (1, 2, 3, 5, 10, 40, 200, 1023, 1024):
        found = (off[lag:] * off[:-lag]).mean(0) / (share * (1 - share))
        # Links are independent: the error of the mean over them is told by how they differ.
        assert abs(found.mean() - memory**lag) < 5 * found.std() / np.sqrt(found.size)


def test_links_fail_independently_of_each_other():
    bad = bad_links(0.1, 0.3)
    correlation = np.corrcoef(bad.T.astype(float)) - np.eye(bad.shape[1])
    # 4 000 steps, in which the squared correlation in time, 0.6^2, leaves fewer independent ones.
    sd = np.sqrt((1 + 0.36) / (1 - 0.36) / NUM_STEPS)
    assert np.abs(correlation).max() < 6 * sd
    assert abs(correlation.std() - sd) < 0.05 * sd


CHANCES = [0.9, 0.3, 0.01, 1e-4, 1e-7]


def last_of_links(chance, num_links):
    """The last success of so many sequences of trials, by step."""
    links = jnp.arange(num_links, dtype=jnp.uint32)

    def draw(block, what):
        bits = arc_bits(links * 2654435761 + 12345, links, jnp.asarray(block, jnp.uint32), jnp.uint32(what))
        return (bits >> 8).astype(jnp.float32) * 2.0**-24

    return jax.jit(jax.vmap(lambda k: last_success(draw, jnp.float32(chance), k)))


@pytest.mark.parametrize("chance", CHANCES)
def test_whichever_step_asks_for_the_last_success_the_trials_are_the_same(chance):
    num_links, num_steps = 64, 3000
    last = last_of_links(chance, num_links)
    for first in (0, 2**20 - num_steps // 2, FIRST - num_steps):
        found = np.asarray(last(first + jnp.arange(num_steps, dtype=jnp.int32)))
        successes = found == first + np.arange(num_steps)[:, None]
        assert abs(successes.mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / successes.size) + 2.0**-24
        expected = found[0]
        assert first > 0 or set(expected) <= {-1, 0}
        for k in range(num_steps):
            expected = np.where(successes[k], first + k, expected)
            np.testing.assert_array_equal(found[k], expected)


@pytest.mark.parametrize("chance", CHANCES)
def test_the_time_since_the_last_success_is_geometric(chance):
    step, num_links = FIRST - 1, 20_000
    age = step - np.asarray(last_of_links(chance, num_links)(jnp.asarray([step], jnp.int32)))[0]
    mean, sd = (1 - chance) / chance, np.sqrt(1 - chance) / chance
    assert abs(age.mean() - mean) < 5 * sd / np.sqrt(num_links)
    for least in (1, int(mean), int(3 * mean)):
        share = (1 - chance) ** least
        assert abs((age >= least).mean() - share) <= 5 * np.sqrt(share * (1 - share) / num_links) + 2.0**-24


def links_up(network, steps):
    """The edges that are there in every one of some steps."""
    graph = network.at(0)
    i, j = (np.broadcast_to(np.asarray(end), graph.weights.shape) for end in graph.named_ends())
    found = []
    for up in np.asarray(jax.jit(jax.vmap(lambda k: network.at(k).weights > 0))(steps)):
        found.append(set(zip(np.minimum(i, j)[up].tolist(), np.maximum(i, j)[up].tolist(), strict=True)))
    return found


def test_every_layout_loses_the_same_links_and_another_key_loses_others():
    graph, steps = nx.cycle_graph(9), jnp.asarray([0, 1, 2, 7, 1000, 2**31 - 1], jnp.int32)

    def found(layout, key):
        network = cojax.network(graph, nodelist=range(9), layout=layout)
        return links_up(cojax.GilbertElliott(network, 0.3, 0.4, 0.1, 0.8, key=key), steps)

    first, *others = (found(layout, 2) for layout in (*laws.LAYOUTS, "circulant"))
    assert all(other == first for other in others)
    assert max(map(len, first)) < 9 and len(set(map(frozenset, first))) > 1
    assert found("edges", 3) != first


def test_runs_agree_in_two_layouts_keep_their_sums_and_find_the_optimum():
    problem = laws.quadratic()
    link = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
    runs = []
    for layout in ("dense", "split"):
        network = cojax.GilbertElliott(cojax.network(laws.switching_graphs(), link=link, layout=layout), 0.1, 0.3)
        runs.append(cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=60, every=30))
        assert runs[-1].state.imbalance == 0.0
        assert laws.exact_imbalance(runs[-1].x.cpu, problem.budget) == 0
        np.testing.assert_array_equal(runs[-1].x.cpu, runs[0].x.cpu)
        np.testing.assert_allclose(runs[-1].x.params, runs[0].x.params, atol=1e-12)  # orders of sums
    network = cojax.GilbertElliott(cojax.network(laws.ring_with_chords()), 0.1, 0.3)
    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=4000, every=4000)
    params, cpu, _ = laws.optimum(problem)
    np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=1e-12)
    np.testing.assert_allclose(run.x.cpu, cpu, atol=1e-12)
    assert run.state.imbalance == 0.0


def test_a_run_that_goes_on_loses_the_links_of_the_whole_run():
    problem = laws.quadratic()
    network = cojax.GilbertElliott(cojax.network(laws.ring_with_chords()), 0.05, 0.2, key=3)
    start, length = laws.start_of(problem), dict(every=20, record=laws.nothing)
    whole = cojax.solve(problem, network, METHOD, start, num_steps=60, **length)
    half = cojax.solve(problem, network, METHOD, start, num_steps=20, **length)
    rest = cojax.solve(problem, network, METHOD, half.state, num_steps=40, **length)
    for one, other in zip(jax.tree.leaves(whole.x), jax.tree.leaves(rest.x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_good_and_bad_links_have_losses_of_their_own():
    base = cojax.network(nx.complete_graph(NUM_NODES), layout="dense")
    to_bad, to_good, losses = 0.1, 0.3, (0.05, 0.8)
    network = cojax.GilbertElliott(base, to_bad, to_good, *losses, key=5)
    lost = down(network, jnp.arange(1000))
    bad = bad_links(to_bad, to_good)[:1000]  # the same key: the same states
    for state, loss in ((False, losses[0]), (True, losses[1])):
        found = lost[bad == state]
        assert abs(found.mean() - loss) < 5 * np.sqrt(loss * (1 - loss) / found.size)
        again = (lost[1:] & lost[:-1])[(bad[1:] == state) & (bad[:-1] == state)]  # each step anew
        assert abs(again.mean() - loss**2) < 5 * np.sqrt(loss**2 / again.size)
    share = to_bad / (to_bad + to_good)
    np.testing.assert_allclose(loss_rate(network), (1 - share) * losses[0] + share * losses[1], rtol=1e-12)
    both = cojax.Lossy(network, 0.5)
    np.testing.assert_allclose(loss_rate(both), 1 - 0.5 * (1 - loss_rate(network)), rtol=1e-12)


def test_the_draw_is_that_of_float32_and_of_traced_rates():
    graph = nx.cycle_graph(9)

    def lost(*rates):
        network = cojax.GilbertElliott(cojax.network(graph, layout="edges"), *rates, key=1)
        return jax.vmap(lambda k: network.at(k).weights > 0)(jnp.arange(500))

    wide = np.asarray(lost(0.1, 0.3, 0.1, 0.9))
    np.testing.assert_array_equal(jax.jit(lost)(0.1, 0.3, 0.1, 0.9), wide)
    with jax.enable_x64(False):
        np.testing.assert_array_equal(lost(0.1, 0.3, 0.1, 0.9), wide)


def test_runs_are_differentiable_beside_bursts_whose_own_derivatives_are_zero():
    problem, base = laws.quadratic(), cojax.network(laws.ring_with_chords())
    start = laws.start_of(problem)

    def gap(step_size, to_bad):
        method = cojax.CoOpt(cojax.DIGing(step_size, mixing=0.5), cojax.Laplacian(0.2))
        network = cojax.GilbertElliott(base, to_bad, 0.3)
        run = cojax.solve(problem, network, method, start, num_steps=20, every=20, record=laws.nothing)
        return (run.x.params**2).sum()

    slope, none = jax.jit(jax.grad(gap, argnums=(0, 1)))(0.02, 0.1)
    near = jax.jit(gap)
    np.testing.assert_allclose(slope, (near(0.02 + 1e-6, 0.1) - near(0.02 - 1e-6, 0.1)) / 2e-6, rtol=1e-6)
    assert none == 0.0
