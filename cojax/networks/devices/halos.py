"""Which rows of every device travel to which other device, and how: counted on the host, moved inside `shard_map`."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from ..._support.edge_lists import distinct

AXIS = "nodes"  # the axis of the mesh along which nodes are cut
Moves = tuple[tuple[int, int], ...]


class Halo(eqx.Module):
    """The rows that devices need of each other; without one, every device gets all rows.

    Fields: sends, one array (devices, rows) per distance between devices: the rows, counted on their own device, that
    go that many devices ahead, padded to the most that any device sends; moves, static, the pairs (from, to) of
    devices that need it, per distance; gathers, static, whether all rows go everywhere instead.
    """

    sends: tuple[Int[Array, "_ _"], ...] = ()
    moves: tuple[Moves, ...] = eqx.field(static=True, default=())
    gathers: bool = eqx.field(static=True, default=False)

    def extended(self, rows: Array) -> Array:
        """The rows of this device, (n / devices, ...), with those it needs below; called inside `shard_map`."""
        if self.gathers:
            return lax.all_gather(rows, AXIS, tiled=True)
        ahead = zip(self.sends, self.moves, strict=True)
        return jnp.concatenate(
            [rows]
            + [lax.ppermute(rows.at[send[0]].get(mode="promise_in_bounds"), AXIS, moves) for send, moves in ahead]
        )


class Cut(NamedTuple):
    """A table of rows as every device counts them, and what must travel for it."""

    table: np.ndarray  # shaped as what was cut; of every device, into its own rows and those that it gets
    sends: tuple[np.ndarray, ...]
    moves: tuple[Moves, ...]


def cut(wanted: np.ndarray, num_devices: int, num_rows: int) -> Cut:
    """What must travel so that every device has the rows it wants.

    wanted: (slots, n), column i wanted by the device of node i; rows, num_rows in all, lie on devices in equal blocks.
    """
    block = num_rows // num_devices
    columns = np.split(wanted, num_devices, axis=1)
    needed, foreign = [], []
    for device, column in enumerate(columns):
        rows = np.unique(column)
        needed.append(rows[rows // block != device])
    for device, rows in enumerate(needed):
        foreign.append((device - rows // block) % num_devices)
    sends, moves, place = [], [], block
    places = [np.empty(rows.size, np.int64) for rows in needed]
    for distance in range(1, num_devices):
        counts = np.asarray([(ahead == distance).sum() for ahead in foreign])
        if counts.max() == 0:
            continue
        send = np.zeros((num_devices, counts.max()), np.int32)
        for device in np.flatnonzero(counts):
            rows = needed[device][foreign[device] == distance]
            send[(device - distance) % num_devices, : rows.size] = rows % block
            places[device][foreign[device] == distance] = place + np.arange(rows.size)
        sends.append(send)
        moves.append(tuple((int(to - distance) % num_devices, int(to)) for to in np.flatnonzero(counts)))
        place += int(counts.max())
    table = [_renumber(*part, block) for part in zip(range(num_devices), columns, needed, places, strict=True)]
    return Cut(np.concatenate(table, axis=1), tuple(sends), tuple(moves))


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
    received = num_received(pairs, num_devices, num_nodes)
    received_if_ordered = num_received(np.argsort(ordered)[pairs], num_devices, num_nodes)
    order, least = (given, received) if received <= received_if_ordered else (ordered, received_if_ordered)
    all_others = num_nodes - num_nodes // num_devices
    return (order, False) if least <= all_others / 2 else (given, True)


def num_received(pairs: np.ndarray, num_devices: int, num_nodes: int) -> int:
    """The rows that a device receives by a halo, padding included; pairs (2, e) of who wants the row of whom."""
    block = num_nodes // num_devices
    crossing = pairs[0] // block != pairs[1] // block
    wanted = distinct(pairs[0, crossing] // block * num_nodes + pairs[1, crossing])
    device, owner = wanted // num_nodes, wanted % num_nodes // block
    counts = np.bincount(device * num_devices + (device - owner) % num_devices, minlength=num_devices**2)
    return int(counts.reshape(num_devices, num_devices).max(0).sum())


def node_order(pairs: np.ndarray, num_nodes: int) -> np.ndarray:
    """The nodes in reverse Cuthill-McKee order, in which neighbours lie near each other; pairs in both directions.

    Source: Cuthill, McKee 1969, doi 10.1145/800195.805928.
    """
    from scipy import sparse  # here, because it takes longer to load than all of cojax
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    graph = sparse.coo_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(num_nodes, num_nodes))
    return np.asarray(reverse_cuthill_mckee(graph.tocsr(), symmetric_mode=True), np.int64)
