"""What travels between devices is counted right, and a run is the same on 8 devices and on 2 processes as on one."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import laws
from support.processes import TESTS, environment, free_port

import cojax
from cojax.networks.devices.halos import Rounds, arrange_nodes, cut, node_order, rounds_between

pytestmark = pytest.mark.optimised


def both_ways(graph):
    ends = np.array(graph.edges).T
    return np.hstack([ends, ends[::-1]])


@pytest.mark.parametrize("chosen", ["not exhaustive", pytest.param("exhaustive", marks=pytest.mark.exhaustive)])
def test_eight_devices_do_what_one_does(chosen):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", chosen]
    files = [str(TESTS / "programs" / name) for name in ("eight_devices.py", "uneven_devices.py")]
    run = subprocess.run([*command, *files], env=environment(8), capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]


def test_two_processes_do_what_one_does():
    command = [sys.executable, str(TESTS / "programs" / "two_processes.py"), str(free_port())]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(2))
    processes = [subprocess.Popen([*command, str(process)], **pipes) for process in range(2)]
    try:
        for process in processes:
            said = process.communicate(timeout=300)[0]
            assert process.returncode == 0, said
            assert "the same on 4 devices of 2 processes" in said
    finally:
        for process in processes:
            process.kill()


def test_on_one_device_neighbours_come_near_each_other_and_the_caller_does_not_notice():
    names = np.random.default_rng(0).permutation(40)
    graph = nx.relabel_nodes(nx.path_graph(40), dict(enumerate(names.tolist())))
    problem, network = laws.quadratic(40), cojax.network(graph, nodelist=range(40), layout="neighbors")
    method = cojax.CoOpt(cojax.DIGing(0.02), cojax.Laplacian(0.2))
    mesh = jax.make_mesh((1,), ("any",), devices=jax.devices()[:1])
    shards = cojax.shard(problem, network, laws.start_of(problem), mesh)
    order = np.asarray(shards.network.names)
    assert np.abs(np.diff(np.argsort(names)[order])).max() == 1  # along the path
    length = dict(num_steps=20, every=20, record=laws.nothing)
    ordered = cojax.solve(*shards[:2], method, shards.start, **length)
    plain = cojax.solve(problem, network, method, laws.start_of(problem), **length)
    np.testing.assert_array_equal(ordered.x.cpu, plain.x.cpu)
    # The mean of all gradients is not taken: only sums over two neighbours, in another order.
    np.testing.assert_allclose(ordered.x.params, plain.x.params, atol=1e-13)
    # Node by node, its data are not those of the decision that the caller gets.
    for refused in (
        lambda: laws.unchecked(cojax.certificate)(shards.problem, ordered.x),
        lambda: shards.problem.start(ordered.x.params),
    ):
        with pytest.raises(cojax.CojaxInputError, match=r"needs the problem that was given to cojax\.shard"):
            refused()

    def judged(problem, x, state):  # inside of the run both are in its order
        return cojax.certificate(problem, x)

    jax.eval_shape(lambda: cojax.solve(*shards[:2], method, shards.start, num_steps=1, record=judged))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4, 8]), st.integers(1, 6))
def test_every_device_finds_the_rows_that_it_wants(seed, num_devices, num_slots):
    random = np.random.default_rng(seed)
    wanted = random.integers(0, 24, (num_slots, 16))  # 16 nodes that want some of 24 rows
    table, sends, moves = cut(wanted, num_devices, 24)
    blocks = np.arange(24).reshape(num_devices, -1)
    for device, (column, local) in enumerate(
        zip(np.split(wanted, num_devices, 1), np.split(table, num_devices, 1), strict=True)
    ):
        rows = [blocks[device]]
        for send, pairs in zip(sends, moves, strict=True):
            source = {to: sender for sender, to in pairs}
            nothing = np.full(send.shape[1], -1)  # what a device gets that no one sends to
            rows.append(blocks[source[device]][send[source[device]]] if device in source else nothing)
        np.testing.assert_array_equal(np.concatenate(rows)[local], column)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4, 8]))
def test_the_rows_counted_are_the_rows_that_are_sent(seed, num_devices):
    pairs = np.random.default_rng(seed).integers(0, 16, (2, 40))
    by_node = [pairs[1, pairs[0] == node] for node in range(16)]
    wanted = np.stack([np.resize(np.append(others, node), 41) for node, others in enumerate(by_node)], axis=1)
    sends = cut(wanted, num_devices, 16).sends
    assert rounds_between(pairs, num_devices, 16).received == sum(send.shape[1] for send in sends)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.floats(0, 1))
def test_in_a_round_every_device_has_one_partner_at_most_each_way(seed, num_devices, share):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 9, (num_devices, num_devices)) * (random.random((num_devices, num_devices)) < share)
    np.fill_diagonal(counts, 0)
    rounds = Rounds(counts)
    assert sorted(pair for moves in rounds.moves for pair in moves) == sorted(zip(*np.nonzero(counts), strict=True))
    for longest, moves in zip(rounds.longest, rounds.moves, strict=True):
        assert len({sender for sender, _ in moves}) == len({getter for _, getter in moves}) == len(moves)
        assert longest == max(counts[pair] for pair in moves)
    assert rounds.begins == [sum(rounds.longest[:number]) for number in range(len(rounds.longest))]
    assert rounds.received == sum(rounds.longest)
    distances = np.stack([np.diag(np.roll(counts, -ahead, axis=1)) for ahead in range(num_devices)])
    assert rounds.received <= distances.max(1).sum()


def test_devices_with_few_partners_exchange_in_as_many_rounds_wherever_these_are(monkeypatch):
    random = np.random.default_rng(1)
    rings = [random.permutation(64) for _ in range(3)]
    counts = np.zeros((64, 64), int)
    for ring in rings:
        counts[ring, np.roll(ring, 1)] = counts[np.roll(ring, 1), ring] = 7
    partners = (counts > 0).sum(1).max()
    rounds = Rounds(counts)
    assert len(rounds.moves) == partners <= 6 and rounds.received == 7 * partners
    monkeypatch.setattr("cojax.networks.devices.halos.MOST_TO_MATCH", 0)  # too many to match: by how far rows go
    apart = (np.subtract(*np.nonzero(counts)) % 64).tolist()
    assert len(Rounds(counts).moves) == len(set(apart)) > 6


def test_a_scrambled_lattice_is_put_in_order_and_a_random_graph_gathered():
    scrambled = np.random.default_rng(0).permutation(1000)
    lattice = scrambled[both_ways(nx.convert_node_labels_to_integers(nx.grid_2d_graph(10, 100)))]
    order, gathers = arrange_nodes(lattice, 1000, 8)
    assert not gathers
    # A cut across the lattice has 10 nodes on either side; a band of reverse Cuthill-McKee at most twice as many.
    assert rounds_between(np.argsort(order)[lattice], 8, 1000).received <= 2 * 2 * 10
    assert rounds_between(lattice, 8, 1000).received > 5 * 40
    order, gathers = arrange_nodes(both_ways(nx.random_regular_graph(10, 1000, seed=0)), 1000, 8)
    assert gathers
    np.testing.assert_array_equal(order, np.arange(1000))


def test_a_ring_stays_in_the_order_that_it_has():
    pairs = both_ways(nx.cycle_graph(64))
    order, _ = arrange_nodes(pairs, 64, 8)
    np.testing.assert_array_equal(order, np.arange(64))
    assert sorted(node_order(pairs, 64)) == list(range(64))


def test_what_cannot_be_cut_is_refused_in_a_sentence():
    problem = laws.quadratic()
    start = laws.start_of(problem)
    network = cojax.network(laws.ring_with_chords(), layout="neighbors")
    with pytest.raises(cojax.CojaxInputError, match="got 8 in the problem, 9 in the network and 8 at the start"):
        cojax.shard(problem, cojax.network(nx.cycle_graph(9)), start)
    with pytest.raises(cojax.CojaxInputError, match="which nodes are neighbours, got a traced network"):
        jax.jit(lambda net: cojax.shard(problem, net, start).start)(network)
    quiet = cojax.Quantized(cojax.FloatQuantizer(4))
    booked = cojax.network(laws.ring_with_chords(), link=quiet)  # its counters are told in full: a run without differs
    for faulty, name in (
        (cojax.Ledger(booked), "Ledger"),
        (cojax.Ledger(cojax.Lossy(booked, 0.1)), "Ledger"),
        (cojax.Ledger(cojax.Delayed(cojax.LossyOneWay(booked, 0.1), 1)), "LossyOneWay, Delayed, Ledger"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=f"or a RandomGraph, got one with {name}: run it on one device"):
            cojax.shard(problem, faulty, start)
    once = cojax.shard(problem, network, start).network
    with pytest.raises(cojax.CojaxInputError, match="or a RandomGraph, got a ShardedNeighbors"):
        cojax.shard(problem, once, start)


def test_restored_leaves_alone_what_is_in_order():
    network = cojax.network(nx.cycle_graph(8))
    tree = {"by node": jnp.arange(8.0), "one": 3.0}
    assert cojax.restored(network, tree) is tree
