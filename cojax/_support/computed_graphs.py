"""Graphs that are a function of (seed, node, slot): whoever asks for the neighbours of some nodes gets them, alone."""

import abc
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .checks import CojaxInputError, device_array, is_concrete
from .edge_lists import EdgeList

ROUNDS = 4  # of a shuffle, each of two functions; two rounds are what proofs ask for
PARTS, LEAST_PART = 512, 1024  # of a large random regular graph: how many, and of at least how many nodes
SPARE = 2**14  # random numbers beyond those that one part needs, so that each has its own
FIRST = np.zeros((ROUNDS, 2), np.uint32)  # where the functions of a shuffle begin in their tables
SPACING = 4096  # whole numbers in which places are counted, from one point of a square grid to the next
MOST_NODES = 2**31 - 1  # are numbered in 32 bits
NODES_AT_ONCE = 2**16


@dataclass(frozen=True)
class ComputedGraph(abc.ABC):
    """An undirected, connected graph of which any rows can be computed by themselves; `graphs.computed` makes one.

    `cojax.network(graph)` builds all of it, `cojax.Computed(graph)` leaves that to `cojax.shard`, every device its own.

    Fields: num_nodes; mirror, of every slot that slot in which its neighbour has the node itself.
    """

    num_nodes: int
    mirror: tuple[int, ...]

    def neighbors(self, nodes: Int[Array, " b"]) -> Int[Array, "k b"]:
        """The neighbour of each of `nodes` in every slot, the node itself where the slot is empty; int32.

        In whole numbers alone, so the same on every device and in every block of nodes; k is the length of `mirror`.
        Raises `CojaxInputError` for what is no row of nodes; under jit their range is not checked.
        """
        return self._neighbors(_row_of_nodes(nodes, self.num_nodes))

    @abc.abstractmethod
    def _neighbors(self, nodes: Array) -> Array:
        """What `neighbors` of nodes in int32 are."""

    def edge_list(self) -> EdgeList:
        """The same graph whole, every edge once."""
        blocks = []
        for first in range(0, self.num_nodes, NODES_AT_ONCE):
            nodes = np.arange(first, min(first + NODES_AT_ONCE, self.num_nodes), dtype=np.int32)
            others = np.asarray(neighbors_of(self, jnp.asarray(nodes)))
            slot, place = np.nonzero(others > nodes)
            blocks.append(np.stack([nodes[place], others[slot, place]]).astype(np.int64))
        return EdgeList(self.num_nodes, np.hstack(blocks))


def _row_of_nodes(nodes: Any, num_nodes: int) -> Int[Array, " b"]:
    row = device_array("neighbors", "nodes", nodes)
    if row.ndim != 1 or not jnp.issubdtype(row.dtype, jnp.integer):
        raise CojaxInputError(
            f"neighbors needs whole numbers of nodes in one row, (b,), got {row.dtype} of shape {row.shape}."
        )
    if is_concrete(row):
        known = np.asarray(row)
        outside = known[(known < 0) | (known >= num_nodes)]
        if outside.size:
            raise CojaxInputError(f"neighbors needs nodes from 0 to {num_nodes - 1}, got {outside[0]}.")
    return row.astype(jnp.int32)


def neighbors_of(graph: ComputedGraph, nodes: Array) -> Array:
    """`graph.neighbors(nodes)` on the device of `nodes`; a number from n on is no node, and has itself alone.

    In pieces: what it takes to compute many is more than they.
    """
    size = len(nodes)
    if size <= NODES_AT_ONCE:
        return _neighbors(graph, nodes)
    pieces = [_neighbors(graph, nodes[at : at + NODES_AT_ONCE]) for at in range(0, size - NODES_AT_ONCE, NODES_AT_ONCE)]
    last = _neighbors(graph, nodes[size - NODES_AT_ONCE :])  # as many again, so that one program does for all
    return jnp.concatenate([*pieces, last[:, len(pieces) * NODES_AT_ONCE - size :]], axis=1)


@functools.partial(jax.jit, static_argnums=0)
def _neighbors(graph: ComputedGraph, nodes: Array) -> Array:
    row = nodes.astype(jnp.int32)
    there = row < graph.num_nodes
    return jnp.where(there, graph.neighbors(jnp.where(there, row, 0)), row)


@dataclass(frozen=True)
class Shifts(ComputedGraph):
    """Every node i linked to i + offset around a ring, for every offset, each there with its mirror image."""

    offsets: tuple[int, ...]

    def _neighbors(self, nodes):
        # Not (nodes + offset) % n, whose sum may pass what 32 bits hold.
        back = [self.num_nodes - offset for offset in self.offsets]
        return jnp.stack([jnp.where(nodes >= less, nodes - less, nodes + (self.num_nodes - less)) for less in back])


@dataclass(frozen=True)
class Rectangle(ComputedGraph):
    """Nodes numbered row by row, linked to the next in row and column; a torus where `periodic`."""

    columns: int
    periodic: bool

    def _neighbors(self, nodes):
        rows, columns = self.num_nodes // self.columns, self.columns
        row, column = jnp.divmod(nodes, columns)
        found = []
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            to_row, to_column = row + down, column + right
            around = (to_row % rows) * columns + to_column % columns
            inside = (to_row >= 0) & (to_row < rows) & (to_column >= 0) & (to_column < columns)
            found.append(around if self.periodic else jnp.where(inside, around, nodes))
        return jnp.stack(found)


@dataclass(frozen=True)
class Cycles(ComputedGraph):
    """A random regular graph: rings through all nodes, each in an order of its own; every node has two links a ring.

    A link that two rings share is one link: of about m (m - 1) pairs of nodes, for m rings, whatever n. Of a large
    graph a ring goes in laps (`Laps`), so that the neighbours of a part of the nodes lie in few other parts.
    """

    seed: int

    def _neighbors(self, nodes):
        size = self.num_nodes
        found: list[Array] = []
        for ring in range(len(self.mirror) // 2):
            order = _random_order(size, (self.seed, ring))
            place = order.place(nodes)
            after, before = jnp.where(place == size - 1, 0, place + 1), jnp.where(place == 0, size - 1, place - 1)
            pair = order.node(jnp.stack([after, before]))
            found += [jnp.where(_among(other, found, nodes), nodes, other) for other in pair]
        return jnp.stack(found)


def _random_order(size: int, seed: tuple[int, ...]) -> "Shuffle | Laps":
    if size < PARTS * LEAST_PART:
        return Shuffle.of(size, seed)
    return Laps(size, PARTS, seed)


def _among(other: Array, found: list[Array], nodes: Array) -> Array:
    """Whether a neighbour is one of an earlier ring, as its two ends see alike."""
    return functools.reduce(jnp.logical_or, (other == earlier for earlier in found), jnp.zeros(nodes.shape, bool))


@dataclass(frozen=True)
class Cells(ComputedGraph):
    """Points near those of a square grid, linked where they are at most a radius apart; nodes numbered row by row.

    A point lies anywhere in the middle half of its cell, (1/4, 3/4) of the spacing both ways, so a radius of
    sqrt(10) / 2 links every cell with the next, and all with each other.
    """

    columns: int
    reach: int  # the square of the radius, in `SPACING`s
    seed: int
    offsets: tuple[tuple[int, int], ...]  # of the cells that a link may lead to, by slot: rows down, columns right

    def _neighbors(self, nodes):
        rows, columns = self.num_nodes // self.columns, self.columns
        row, column = (part[None, :] for part in jnp.divmod(nodes, columns))
        down, right = (jnp.asarray(steps, nodes.dtype)[:, None] for steps in zip(*self.offsets, strict=True))
        to_row, to_column = row + down, column + right
        inside = (to_row >= 0) & (to_row < rows) & (to_column >= 0) & (to_column < columns)
        others = jnp.where(inside, to_row * columns + to_column, nodes[None])
        within = self._within(jnp.concatenate([nodes[None], others]))
        apart = [step * SPACING + part[1:] - part[:1] for step, part in zip((down, right), within, strict=True)]
        near = apart[0] * apart[0] + apart[1] * apart[1] <= self.reach
        return jnp.where(inside & near, others, nodes[None])

    def places(self, nodes: Int[Array, " b"]) -> Array:
        """Where the points of some nodes lie, (b, 2): down and right, in spacings of the grid."""
        parts = jnp.stack(jnp.divmod(nodes, self.columns), axis=1), jnp.stack(self._within(nodes), axis=1)
        cells, within = (part.astype(jnp.result_type(float)) for part in parts)
        return cells + within / SPACING

    def _within(self, nodes: Array) -> tuple[Array, Array]:
        """Where in its cell a point is, in whole numbers."""
        drawn = Shuffle(2**32, 2**16, 2**16, (self.seed,)).mixed(nodes.astype(jnp.uint32))
        parts = jnp.divmod(drawn, np.uint32(2**16))
        down, right = (SPACING // 4 + (part % np.uint32(SPACING // 2)).astype(nodes.dtype) for part in parts)
        return down, right


class Shuffle:
    """An order of all nodes in which the node of a place, and the place of a node, is computed and never looked up.

    A number is a pair (high, low), of which by turns one is moved by a random function of the other: that can be undone
    whatever the functions are, and is as good as a random order if they are random. They are tables as long as the
    square root of n. Of the few numbers beyond n one goes on until one below it comes.

    Source: Luby, Rackoff, SIAM J. Comput. 17, 1988, doi 10.1137/0217022; numbers that are no power of two as Black,
    Rogaway, CT-RSA 2002, doi 10.1007/3-540-45760-7_9.
    """

    def __init__(self, size: int, high: int, low: int, seed: tuple[int, ...], spare: int = 0):
        self.size, self.high, self.low = size, high, low
        length = max(high, low) + spare
        drawn = _random_bits(seed).random_raw(ROUNDS * 2 * length).reshape(ROUNDS, 2, -1)
        self.tables = (drawn % np.asarray([[high], [low]], np.uint64)).astype(np.uint32)

    @staticmethod
    def of(size: int, seed: tuple[int, ...], spare: int = 0) -> "Shuffle":
        """The order of `size` nodes that belongs to a seed."""
        high = math.isqrt(size - 1) + 1
        return Shuffle(size, high, -(-size // high), seed, spare)

    def node(self, places: Array) -> Array:
        """Who is at these places."""
        return _below(np.uint32(self.size), self.mixed, places)

    def place(self, nodes: Array) -> Array:
        """Where these nodes are."""
        return _below(np.uint32(self.size), self.unmixed, nodes)

    def mixed(self, numbers: Array, begin: Any = FIRST) -> Array:
        """The pairs after all rounds, as unsigned numbers of any shape, like those before.

        begin: (ROUNDS, 2), or (ROUNDS, 2, ...) for as many numbers, where in the tables their functions begin.
        """
        tables, begin = jnp.asarray(self.tables), jnp.asarray(begin)

        def turn(number: Any, pair: tuple[Array, Array]) -> tuple[Array, Array]:
            high, low = pair
            high = _plus(high, tables[number, 0][begin[number, 0] + low], self.high)
            return high, _plus(low, tables[number, 1][begin[number, 1] + high], self.low)

        return self._joined(jax.lax.fori_loop(0, ROUNDS, turn, self._parted(numbers)))

    def unmixed(self, numbers: Array, begin: Any = FIRST) -> Array:
        """The inverse of `mixed`."""
        tables, begin = jnp.asarray(self.tables), jnp.asarray(begin)

        def turn(number: Any, pair: tuple[Array, Array]) -> tuple[Array, Array]:
            high, low = pair
            back = ROUNDS - 1 - number
            low = _plus(low, self.low - tables[back, 1][begin[back, 1] + high], self.low)
            return _plus(high, self.high - tables[back, 0][begin[back, 0] + low], self.high), low

        return self._joined(jax.lax.fori_loop(0, ROUNDS, turn, self._parted(numbers)))

    def _parted(self, numbers: Array) -> tuple[Array, Array]:
        return jnp.divmod(numbers, np.uint32(self.low))

    def _joined(self, pair: tuple[Array, Array]) -> Array:
        return pair[0] * np.uint32(self.low) + pair[1]


class Laps:
    """An order of all nodes that comes to every part of them in turn, again and again, in a random order of parts.

    Parts are rows of nodes, the first ones longer by one node where they are not all alike. In every lap one node of
    each part comes, in a random order of its own, and in a last one those that are left of the longer parts. So on a
    ring in this order the nodes of a part have their neighbours in two others: what they tell is near in memory, and
    lies on few devices. A graph of several such rings is a random lift of that of the parts, which expands as well.

    Source: of how well lifts expand, Bordenave 2015, arXiv 1502.04482.
    """

    def __init__(self, size: int, parts: int, seed: tuple[int, ...]):
        self.laps, self.longer = divmod(size, parts)
        bits = _random_bits((*seed, parts))
        part_of = np.argsort(bits.random_raw(parts), kind="stable")
        late = part_of[part_of < self.longer]
        # By whether it is the last lap: the part of every turn, and the turn of every part.
        self.part_of = np.zeros((2, parts), np.int32)
        self.part_of[0], self.part_of[1, : late.size] = part_of, late
        self.turn_of = np.zeros((2, parts), np.int32)
        self.turn_of[0, part_of], self.turn_of[1, late] = np.arange(parts), np.arange(late.size)
        self.begin = (bits.random_raw(ROUNDS * 2 * parts) % np.uint64(SPARE)).astype(np.uint32).reshape(ROUNDS, 2, -1)
        self.within = Shuffle.of(self.laps + 1, seed, spare=SPARE)

    def node(self, places: Array) -> Array:
        """Who is at these places."""
        lap, turn = jnp.divmod(places, self.part_of.shape[1])
        part = jnp.asarray(self.part_of)[self._is_last(lap), turn]
        return self._first(part) + self._in_part(part, self.within.mixed, lap)

    def place(self, nodes: Array) -> Array:
        """Where these nodes are."""
        alike = (nodes - self.longer) // self.laps
        part = jnp.where(nodes < self.longer * (self.laps + 1), nodes // (self.laps + 1), alike)
        lap = self._in_part(part, self.within.unmixed, nodes - self._first(part))
        return lap * self.turn_of.shape[1] + jnp.asarray(self.turn_of)[self._is_last(lap), part]

    def _is_last(self, lap: Array) -> Array:
        return (lap == self.laps).astype(jnp.int32)

    def _first(self, part: Array) -> Array:
        """The first node of a part."""
        return part * self.laps + jnp.minimum(part, self.longer)

    def _in_part(self, part: Array, step: Callable[..., Array], numbers: Array) -> Array:
        """Where numbers below the length of their part are led to, each part by functions of its own."""
        begin = jnp.asarray(self.begin)[:, :, part]
        size = jnp.where(part < self.longer, self.laps + 1, self.laps)
        return _below(size.astype(jnp.uint32), lambda walked: step(walked, begin), numbers)


def _random_bits(seed: tuple[int, ...]) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed))  # whose raw bits are the same in all versions


def _below(size: Any, step: Callable[[Array], Array], numbers: Array) -> Array:
    """Numbers below `size` led on by `step`, which knows more than these, until they are below it again."""

    def on(walked: Array) -> Array:
        return jnp.where(walked >= size, step(walked), walked)

    walked = step(numbers.astype(jnp.uint32))
    return jax.lax.while_loop(lambda walked: (walked >= size).any(), on, walked).astype(numbers.dtype)


def _plus(number: Array, more: Array, end: int) -> Array:
    """The sum, around a ring of `end`; both are at most that."""
    total = number + more
    return jnp.where(total >= np.uint32(end), total - np.uint32(end), total)
