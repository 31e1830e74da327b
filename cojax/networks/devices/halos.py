"""Which rows of every device travel to which other device, and how: counted on the host, moved inside `shard_map`."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from ..._support.edge_lists import distinct

AXIS = "nodes"  # the axis of the mesh along which nodes are cut
MOST_TO_MATCH = 2**25  # pairs of devices, in all rounds together: one takes 10 to 100 ns
Moves = tuple[tuple[int, int], ...]


class Halo(eqx.Module):
    """The rows that devices need of each other; without one, every device gets all rows.

    Fields: sends, one array (devices, rows) per round: the rows that each device sends, counted on itself, padded to
    the most that any device does; moves, static, the pairs (from, to) of devices, per round; gathers, static, whether
    all rows go everywhere instead.
    """

    sends: tuple[Int[Array, "_ _"], ...] = ()
    moves: tuple[Moves, ...] = eqx.field(static=True, default=())
    gathers: bool = eqx.field(static=True, default=False)

    def extended(self, rows: Array) -> Array:
        """The rows of this device, (n / devices, ...), with those it needs below; called inside `shard_map`."""
        if self.gathers:
            return lax.all_gather(rows, AXIS, tiled=True)
        rounds = zip(self.sends, self.moves, strict=True)
        return jnp.concatenate(
            [rows]
            + [lax.ppermute(rows.at[send[0]].get(mode="promise_in_bounds"), AXIS, moves) for send, moves in rounds]
        )


class Cut(NamedTuple):
    """A table of rows as every device counts them, and what must travel for it."""

    table: np.ndarray  # shaped as what was cut; of every device, into its own rows and those that it gets
    sends: tuple[np.ndarray, ...]
    moves: tuple[Moves, ...]


class Rounds:
    """In which round every device sends to every other, so that in each it sends to one at most and gets from one.

    counts: (devices, devices), how many rows go from one to another. All send as many rows in a round as who has most.

    A round for every number of devices that rows go ahead, which is what borders in order need. Where fewer rounds are
    enough, as many as a device has partners at most, matchings that take the long messages first, if they take less
    and are found in seconds.

    Fields: longest, of every round the rows that a device gets; begins, the first of these among all that it gets;
    moves, the pairs (from, to); received, the rows of all rounds.

    Source: that matchings are enough, Koenig, Math. Ann. 77, 1916, doi 10.1007/BF01456961.
    """

    def __init__(self, counts: np.ndarray):
        sender, getter = np.nonzero(counts)
        number = np.full(counts.shape, -1)
        number[sender, getter] = np.unique((getter - sender) % len(counts), return_inverse=True)[1]
        longest = _longest(counts, number)
        partners = max((counts > 0).sum(0).max(), (counts > 0).sum(1).max())
        if len(longest) > partners and partners * counts.size <= MOST_TO_MATCH:
            matched = _matchings(counts)
            if _longest(counts, matched).sum() < longest.sum():
                number, longest = matched, _longest(counts, matched)
        self.longest, self.received = longest.tolist(), int(longest.sum())
        self.begins = (longest.cumsum() - longest).tolist()
        moves: list[list[tuple[int, int]]] = [[] for _ in self.longest]
        for pair in zip(sender.tolist(), getter.tolist(), strict=True):
            moves[number[pair]].append(pair)
        self.moves: tuple[Moves, ...] = tuple(map(tuple, moves))


def _longest(counts: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The most rows that one device sends to another in every round."""
    longest = np.zeros(number.max() + 1, np.int64)
    np.maximum.at(longest, number[number >= 0], counts[number >= 0])
    return longest


def _matchings(counts: np.ndarray) -> np.ndarray:
    """The rounds if each is a matching of all devices that have most partners left, of the most rows."""
    from scipy.optimize import linear_sum_assignment  # here, because it takes longer to load than all of cojax

    number, left, found = np.full(counts.shape, -1), counts.astype(float), 0
    while left.any():
        partners = (left > 0).sum(1, keepdims=True), (left > 0).sum(0, keepdims=True)
        most = max(each.max() for each in partners)
        urgent = sum((each == most).astype(float) for each in partners)
        worth = np.where(left > 0, left + urgent * (len(counts) * left.max()), 0.0)
        sender, getter = linear_sum_assignment(worth, maximize=True)
        goes = left[sender, getter] > 0
        number[sender[goes], getter[goes]], left[sender[goes], getter[goes]] = found, 0.0
        found += 1
    return number


def cut(wanted: np.ndarray, num_devices: int, num_rows: int) -> Cut:
    """What must travel so that every device has the rows it wants.

    wanted: (slots, n), column i wanted by the device of node i; rows, num_rows in all, lie on devices in equal blocks.
    """
    block = num_rows // num_devices
    columns = np.split(wanted, num_devices, axis=1)
    needed = []
    for device, column in enumerate(columns):
        rows = np.unique(column)
        needed.append(rows[rows // block != device])
    rounds = Rounds(np.stack([np.bincount(rows // block, minlength=num_devices) for rows in needed], axis=1))
    sends = [np.zeros((num_devices, longest), np.int32) for longest in rounds.longest]
    places = [np.empty(rows.size, np.int64) for rows in needed]
    for number, (begin, moves) in enumerate(zip(rounds.begins, rounds.moves, strict=True)):
        for sender, device in moves:
            here = needed[device] // block == sender
            sends[number][sender, : here.sum()] = needed[device][here] % block
            places[device][here] = block + begin + np.arange(here.sum())
    table = [_renumber(*part, block) for part in zip(range(num_devices), columns, needed, places, strict=True)]
    return Cut(np.concatenate(table, axis=1), tuple(sends), rounds.moves)


def _renumber(device: int, column: np.ndarray, needed: np.ndarray, places: np.ndarray, block: int) -> np.ndarray:
    """Rows of the whole as one device counts them: its own first, then those that it gets."""
    own = column // block == device
    if needed.size == 0:
        return column - device * block
    at = np.minimum(np.searchsorted(needed, column), needed.size - 1)
    return np.where(own, column - device * block, places[at])


def arrange_nodes(pairs: np.ndarray, num_nodes: int, num_devices: int) -> tuple[np.ndarray, bool]:
    """The order in which nodes are cut into equal blocks, and whether all rows are then gathered everywhere.

    Compares how many rows each device would receive in the given order and in reverse Cuthill-McKee order, and takes
    the smaller. Where that is more than half of all rows, all rows are gathered in the given order instead, because a
    halo has to be packed by an index and sent in pieces, and one copy has not. Random graphs are there (degree 10 on 8
    devices: 74 %), lattices and geometric graphs far below, once ordered (1 %). On one device nothing travels. There
    the new order is taken if it halves the distance of neighbours in memory (`benchmarks/worth_of_ordering.py`).

    pairs: (2, e), every edge in both directions.
    """
    given, ordered = np.arange(num_nodes), node_order(pairs, num_nodes)
    if num_devices == 1:
        new, old = (float(np.abs(ends[0] - ends[1]).sum()) for ends in (np.argsort(ordered)[pairs], pairs))
        return (ordered if 2 * new < old else given), False
    received = rounds_between(pairs, num_devices, num_nodes).received
    received_if_ordered = rounds_between(np.argsort(ordered)[pairs], num_devices, num_nodes).received
    order, least = (given, received) if received <= received_if_ordered else (ordered, received_if_ordered)
    all_others = num_nodes - num_nodes // num_devices
    return (order, False) if least <= all_others / 2 else (given, True)


def rounds_between(pairs: np.ndarray, num_devices: int, num_nodes: int) -> Rounds:
    """The rounds of a halo between equal blocks of nodes; pairs (2, e) of who wants the row of whom."""
    block = num_nodes // num_devices
    crossing = pairs[0] // block != pairs[1] // block
    wanted = distinct(pairs[0, crossing] // block * num_nodes + pairs[1, crossing])
    owner, device = wanted % num_nodes // block, wanted // num_nodes
    counts = np.bincount(owner * num_devices + device, minlength=num_devices**2)
    return Rounds(counts.reshape(num_devices, num_devices))


def node_order(pairs: np.ndarray, num_nodes: int) -> np.ndarray:
    """The nodes in reverse Cuthill-McKee order, in which neighbours lie near each other; pairs in both directions.

    Source: Cuthill, McKee 1969, doi 10.1145/800195.805928.
    """
    from scipy import sparse  # here, because it takes longer to load than all of cojax
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    graph = sparse.coo_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(num_nodes, num_nodes))
    return np.asarray(reverse_cuthill_mckee(graph.tocsr(), symmetric_mode=True), np.int64)
