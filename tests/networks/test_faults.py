"""Messages fail at their rate, each direction by itself; a checksum sees damage; what cannot be right is refused."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax.networks.faults.checksums import checksum, intact, spoil
from cojax.networks.faults.fault import Sending, fates

COMPLETE = cojax.network(nx.complete_graph(12), layout="dense")
STEPS = 500


def copies(network):
    """Every copy of the messages of 500 steps between 12 nodes, (500, 12, 12) each."""
    here = jnp.broadcast_to(jnp.arange(12)[:, None], (12, 12))
    return fates(network.faults, Sending(jnp.arange(STEPS).reshape(-1, 1, 1), here[None], here.T[None]))


def test_messages_are_lost_at_their_rate_in_each_direction_by_itself():
    (copy,) = copies(cojax.LossyOneWay(COMPLETE, 0.3))
    there = np.asarray(copy.there)
    # 72 000 draws: six standard deviations; the same for the share of pairs that agree.
    assert abs(there.mean() - 0.7) < 6 * np.sqrt(0.21 / there.size)
    both = (there == there.swapaxes(1, 2))[:, *np.triu_indices(12, 1)]
    assert abs(both.mean() - 0.58) < 6 * np.sqrt(0.25 / both.size)
    in_time = np.corrcoef(there[1:].ravel(), there[:-1].ravel())[0, 1]
    assert abs(in_time) < 6 / np.sqrt(there.size)


def test_delays_are_uniform_and_reordering_and_doubles_come_at_their_rate():
    (late,) = copies(cojax.Delayed(COMPLETE, 3))
    shares = np.bincount(np.asarray(late.late).ravel(), minlength=4) / late.late.size
    np.testing.assert_allclose(shares, 0.25, atol=6 * np.sqrt(0.1875 / late.late.size))
    (overtaken,) = copies(cojax.Reordered(COMPLETE, 0.2))
    assert set(np.unique(overtaken.late)) == {0, 2}
    np.testing.assert_allclose(np.mean(overtaken.late) / 2, 0.2, atol=6 * np.sqrt(0.16 / overtaken.late.size))
    once, twice = copies(cojax.Duplicated(COMPLETE, 0.4, 3))
    assert np.asarray(once.there).all() and (np.asarray(twice.late) == 3).all()
    np.testing.assert_allclose(np.mean(twice.there), 0.4, atol=6 * np.sqrt(0.24 / twice.there.size))


def test_two_faults_with_one_key_strike_different_messages():
    (copy,) = copies(cojax.LossyOneWay(cojax.LossyOneWay(COMPLETE, 0.5), 0.5))
    np.testing.assert_allclose(np.mean(copy.there), 0.25, atol=6 * np.sqrt(0.1875 / copy.there.size))


def test_a_node_is_down_as_long_as_it_is_written_down():
    network = cojax.Crashing(COMPLETE, [2, 2, 5], [3, 8, 4], [5, 9, 6])
    up = np.asarray(
        network.faults[0].up(jnp.arange(10, dtype=jnp.int32)[:, None], jnp.arange(12, dtype=jnp.int32)[None])
    )
    down = {(int(k), int(node)) for k, node in np.argwhere(~up)}
    assert down == {(3, 2), (4, 2), (8, 2), (4, 5), (5, 5)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_checksum_sees_every_damage_and_nothing_else(dtype):
    random = np.random.default_rng(0)
    message = {
        "a": jnp.asarray(random.normal(size=(4000, 3)), dtype),
        "b": jnp.asarray(random.normal(size=4000), dtype),
    }
    how = jnp.asarray(random.integers(0, 2**32, 4000), jnp.uint32).at[:1000].set(0)
    arrived = jax.device_get(jax.jit(spoil)(message, how))
    same = np.all([(arrived[k] == np.asarray(message[k])).reshape(4000, -1).all(1) for k in message], axis=0)
    assert same[:1000].all() and not same[1000:].any()
    np.testing.assert_array_equal(jax.jit(intact, static_argnums=2)(message, arrived, 1), same)
    spoiled = np.asarray(arrived["a"])[1000:]
    assert np.isnan(spoiled).any() and (spoiled > 1e38).any()
    assert (np.isfinite(spoiled).all(1) & (np.abs(spoiled).max(1) < 10)).any()


def test_each_single_flipped_bit_changes_the_checksum():
    message = jnp.asarray([[0.0, -1.5, 3e-310]])
    bits = jax.lax.bitcast_convert_type(message, jnp.uint64)
    flips = np.concatenate([np.eye(3, dtype=np.uint64) << np.uint64(bit) for bit in range(64)])[:, None]
    damaged = jax.lax.bitcast_convert_type(bits[None] ^ jnp.asarray(flips), jnp.float64)
    sums = jax.vmap(lambda one: checksum(one, 1))(damaged)
    assert sums.shape == (192, 1) and (np.asarray(sums) != np.asarray(checksum(message, 1))).all()


BASE = cojax.network(laws.ring_with_chords())
EDGE_MEMORY = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")


def _solved(network, allocator=None):
    problem = laws.quadratic()
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.1) if allocator is None else allocator)
    return cojax.solve(problem, network, method, laws.start_of(problem), num_steps=1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: _solved(cojax.LossyOneWay(BASE, 0.1)), r"keep books of it, by cojax.Ledger\(network\)"),
        (lambda: cojax.Lossy(cojax.Ledger(cojax.Lossy(BASE, 0.1)), 0.1), "needs a network that is not lossy"),
        (lambda: cojax.Ledger(laws.ring_with_chords()), "Ledger needs a network, got Graph"),
        (lambda: cojax.Delayed(cojax.network(nx.DiGraph([(0, 1), (1, 0)])), 2), "needs an undirected network"),
        (lambda: cojax.Ledger(cojax.network(laws.ring_with_chords(), link=EDGE_MEMORY)), "cannot carry Innovation"),
        (
            lambda: cojax.Ledger(cojax.network(laws.ring_with_chords(), link=cojax.EventTriggered(0.1))),
            "needs a fixed network without loss",
        ),
        (lambda: cojax.LossyOneWay(BASE, 1.0), "LossyOneWay needs rate >= 0 and rate < 1, got 1"),
        (lambda: cojax.Corrupted(BASE, float("nan")), "Corrupted needs rate"),
        (lambda: cojax.GilbertElliott(BASE, 0.0, 0.5), "GilbertElliott needs to_bad > 0 and to_bad <= 1, got 0"),
        (lambda: cojax.GilbertElliott(BASE, 0.5, 1.5), "needs to_good > 0 and to_good <= 1, got 1.5"),
        (lambda: cojax.GilbertElliott(BASE, 0.5, 0.5, 1.0), "needs loss_good >= 0 and loss_good < 1, got 1"),
        (lambda: cojax.GilbertElliott(BASE, 0.5, 0.5, 0.1, -0.5), "needs loss_bad >= 0 and loss_bad <= 1, got -0.5"),
        (lambda: cojax.GilbertElliott(cojax.GilbertElliott(BASE, 0.1, 0.5), 0.1, 0.5), "lower to_good"),
        (lambda: cojax.GilbertElliott(cojax.network(nx.DiGraph([(0, 1), (1, 0)])), 0.1, 0.5), "undirected network"),
        (lambda: cojax.GilbertElliott(nx.path_graph(3), 0.1, 0.5), "GilbertElliott needs a network, got Graph"),
        (
            lambda: cojax.GilbertElliott(
                cojax.network(laws.ring_with_chords(), link=cojax.Innovation(cojax.TopK(1))), 0.1, 0.5
            ),
            'use memory="edge"',
        ),
        (lambda: cojax.Delayed(BASE, -1), "whole number most >= 0, got -1"),
        (lambda: cojax.Duplicated(BASE, 0.1, 0), "whole number lag >= 1, got 0"),
        (lambda: cojax.Scripted(BASE, np.zeros((3, 1, 8, 8), int), 3), "needs more than most = 3 rows"),
        (lambda: cojax.Scripted(BASE, np.zeros((3, 1, 8, 8)), 1), "need to be whole numbers"),
        (lambda: cojax.Scripted(BASE, np.zeros((3, 1, 7, 7), int), 1), "needs late of shape"),
        (lambda: cojax.Crashing(BASE, [8], [0], [1]), "nodes from 0 to 7, got 8"),
        (lambda: cojax.Crashing(BASE, [1, 2], [0], [1]), "lists of nodes, first and until of one length"),
        (lambda: cojax.Crashing(BASE, 1, 0, 2), "lists of nodes, first and until of one length"),
        (lambda: _solved(cojax.Ledger(BASE), cojax.MomentumFlow(0.1, 0.5)), "use HeavyBall or Nesterov"),
    ],
)
def test_what_cannot_be_right_is_refused_with_the_way_out(build, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        build()
