"""Tables of computed graphs over a mesh: every device computes its rows, and finds in them what it gets and sends."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from ..._support.blocks_of_rows import told_to_all
from ..._support.checks import CojaxInputError
from ..._support.computed_graphs import neighbors_of
from ..._support.edge_lists import distinct
from ..layouts.computed import Computed, metropolis_over
from .cutting import everywhere
from .halos import Halo, Rounds
from .layouts import COLUMNS, ROWS, ShardedNeighbors
from .padding import link_among, num_rows

Parts = dict[int, Any]  # by the place in the mesh of every device of this process


def compute_table(network: Computed, mesh: Mesh) -> ShardedNeighbors:
    """The table of a computed graph over the mesh, nodes in the caller's order, the last rows without one perhaps.

    An edge is one at both of its ends. So the rows that a device sends to another are those of its own that have a
    neighbour there, in the order in which that device wants them, and neither has to be told.
    """
    graph, size = network.graph, network.num_nodes
    rows = num_rows(size, mesh.size)
    block, slots = rows // mesh.size, len(graph.mirror)
    if 2 * block * slots >= 2**31:
        raise CojaxInputError(
            f"shard counts the edges of a device in 32 bits, got {block} nodes of {slots} neighbours on each: take "
            "more devices."
        )
    tables = by_device(mesh, block, lambda nodes: neighbors_of(graph, nodes))
    others = laid(mesh, tables, COLUMNS)
    mirror = np.asarray(graph.mirror, np.int32)
    borders = {place: _Border.of(np.asarray(table), mirror, place * block) for place, table in tables.items()}
    index, node_halo = _index(mesh, tables, borders)
    twin, edge_halo = _twin(mesh, tables, borders, mirror)
    del borders
    names = laid(mesh, by_device(mesh, block, lambda nodes: nodes), ROWS)
    bare = ShardedNeighbors(
        weights=(others != names[None]).astype(jnp.result_type(float)),
        index=others if index is None else index,
        twin=twin,
        node_halo=node_halo,
        edge_halo=edge_halo,
        names=names,
        place=None,
        mesh=mesh,
        link=everywhere(mesh, link_among(network.link, size, rows)),
    )
    weigh = jax.jit(lambda layout: metropolis_over(layout).T, out_shardings=NamedSharding(mesh, COLUMNS))
    return bare.reweighted(weigh(bare))


def _index(mesh: Mesh, tables: Parts, borders: "dict[int, _Border]") -> tuple[Array | None, Halo]:
    """Of every slot the row of its neighbour, as the device counts its own and those that it gets, and what these are.

    None where that is its number: rows are counted from the first of all.
    """
    if mesh.size == 1:
        return None, Halo()
    slots, block = next(iter(tables.values())).shape
    pairs = {place: (border.device, border.theirs // slots, border.own // slots) for place, border in borders.items()}
    crossing = _Crossing(mesh, block, pairs)
    if crossing.rounds.received > (mesh.size - 1) * block / 2:
        return None, Halo(gathers=True)

    def rows_of(place: int) -> np.ndarray:
        rows = np.asarray(tables[place]) - np.int32(place * block)
        rows[borders[place].there] = crossing.places(place)
        return rows

    return laid(mesh, {place: rows_of(place) for place in tables}, COLUMNS), crossing.halo()


def _twin(mesh: Mesh, tables: Parts, borders: "dict[int, _Border]", mirror: np.ndarray) -> tuple[Array, Halo]:
    """Of every slot that of the other end of its edge, counted so, node by node; of an empty one itself."""
    slots, block = next(iter(tables.values())).shape
    pairs = {place: (border.device, border.theirs, border.own) for place, border in borders.items()}
    crossing = _Crossing(mesh, block * slots, pairs)

    def arcs_of(place: int) -> np.ndarray:
        own, arcs = np.arange(block, dtype=np.int32), np.empty((slots, block), np.int32)
        for slot, others in enumerate(np.asarray(tables[place])):
            rows = others - np.int32(place * block)
            arcs[slot] = np.where(rows == own, np.int32(slot), mirror[slot]) + rows * np.int32(slots)  # may wrap
        arcs[borders[place].there] = crossing.places(place)
        return arcs

    return laid(mesh, {place: arcs_of(place) for place in tables}, COLUMNS), crossing.halo()


def by_device(mesh: Mesh, block: int, make: Callable[[Array], Any]) -> Parts:
    """What `make` makes of the numbers of the `block` nodes of every device of this process, there."""
    places = [place for place, device in enumerate(mesh.devices.ravel()) if device.process_index == jax.process_index()]
    found = {}
    for place in places:
        device = mesh.devices.ravel()[place]
        with jax.default_device(device):
            nodes = np.arange(place * block, (place + 1) * block, dtype=np.int32)
            found[place] = make(jax.device_put(nodes, device))
    return found


def laid(mesh: Mesh, parts: Parts, spec: PartitionSpec) -> Array:
    """The array over the mesh of which every process has the parts of its own devices."""
    axis = len(spec) - 1
    shape = list(np.shape(next(iter(parts.values()))))
    shape[axis] *= mesh.size
    there = [jax.device_put(part, mesh.devices.ravel()[place]) for place, part in parts.items()]
    return jax.make_array_from_single_device_arrays(tuple(shape), NamedSharding(mesh, spec), there)


Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # of edges that leave a device: to which, which row there, which here


class _Border(NamedTuple):
    """The slots of a device whose neighbours lie on others, m of them, as arcs: slots counted node by node."""

    there: np.ndarray  # (k, b), which these are
    device: np.ndarray  # (m,), of the neighbour
    theirs: np.ndarray  # (m,), the arc of the other end, as its device counts it
    own: np.ndarray  # (m,), that of this end

    @staticmethod
    def of(table: np.ndarray, mirror: np.ndarray, first: int) -> "_Border":
        slots, block = table.shape
        there = (table < first) | (table >= first + block)
        ends = np.concatenate([[0], there.sum(1).cumsum()])
        device, theirs, own = (np.empty(ends[-1], np.int32) for _ in range(3))
        for slot in range(slots):  # one after the other, so that little is held twice
            part = slice(ends[slot], ends[slot + 1])
            device[part], row = np.divmod(table[slot, there[slot]], np.int32(block))
            theirs[part] = row * np.int32(slots) + mirror[slot]
            own[part] = np.flatnonzero(there[slot]).astype(np.int32) * np.int32(slots) + np.int32(slot)
        return _Border(there, device, theirs, own)


class _Crossing:
    """What travels between the devices: rows, or arcs, `size` on every device.

    Whatever a device wants of another has an end here that is wanted there, so both count alike.
    """

    def __init__(self, mesh: Mesh, size: int, pairs: dict[int, Pairs]):
        self._mesh, self._size, self._pairs = mesh, size, pairs
        self._sent: dict[int, list[np.ndarray]] = {}
        for place, (device, _, own) in pairs.items():
            self._sent[place] = [distinct(own[device == other]) for other in range(mesh.size)]
        devices = mesh.devices.tolist()
        counts = {devices[place]: np.asarray([[*map(len, sent)]], np.int32) for place, sent in self._sent.items()}
        self.rounds = Rounds(told_to_all(devices, counts))

    def halo(self) -> Halo:
        """What is sent, and where."""
        sends = []
        for longest, moves in zip(self.rounds.longest, self.rounds.moves, strict=True):
            rows = {place: np.zeros((1, longest), np.int32) for place in self._sent}
            for sender, getter in moves:
                if sender in rows:
                    sent = self._sent[sender][getter]
                    rows[sender][0, : len(sent)] = sent
            sends.append(laid(self._mesh, rows, ROWS))
        return Halo(tuple(sends), self.rounds.moves)

    def places(self, place: int) -> np.ndarray:
        """Where a device has what it wants of others, after its own."""
        device, theirs, _ = self._pairs[place]
        found = np.empty(theirs.shape, np.int32)
        rounds = zip(self.rounds.begins, self.rounds.moves, strict=True)
        begins = {sender: begin for begin, moves in rounds for sender, getter in moves if getter == place}
        for sender, begin in begins.items():
            here = device == sender
            rows = theirs[here]
            found[here] = self._size + begin + np.searchsorted(distinct(rows), rows)
        return found
