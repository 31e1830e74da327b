"""From what every node heard to its flow: the weighted sum of differences with its neighbours."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ._checks import CojaxInputError, is_concrete
from ._layout_checks import check_edges, check_offsets, check_table
from ._shown import named
from ._tree import Tree
from .adjoints import flow
from .edges import Along, add_arrivals, is_law
from .links import Ideal, Link, Wire
from .slots import sum_slots, swap

# Rows of this many numbers are gathered faster than they are shifted.
LONG_ROW = 20

Keep = Callable[[Array, Array], Array]
Flows = TypeVar("Flows", bound="Layout")


class Network(eqx.Module):
    """A graph, or one graph per step, with the link that all its edges are.

    Every network conserves: the flow of any message sums to zero over nodes.
    """

    link: eqx.AbstractVar[Link]
    keeps_books: ClassVar[bool] = False  # whether it is a `Ledger`, which no other network may wrap
    fails_one_way: ClassVar[bool] = False  # whether its messages fail in one direction, so that it needs a `Ledger`

    def __repr__(self) -> str:
        return named(self)

    @property
    @abc.abstractmethod
    def num_nodes(self) -> int:
        """n."""

    @abc.abstractmethod
    def at(self, k: Int[Array, ""] | int) -> "Layout":
        """The graph in force at step `k`; weights that differ by step repeat after the last."""


class Wrapper(Network):
    """A network around another, the field `network`: the same nodes and link, with other fates of what they say."""

    network: eqx.AbstractVar[Any]

    @property
    def link(self) -> Link:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.network.link

    @property
    def num_nodes(self) -> int:
        return self.network.num_nodes


def wrappers(network: Network) -> "list[Wrapper]":
    """The wrappers of `network`, the outermost first."""
    return [network, *wrappers(network.network)] if isinstance(network, Wrapper) else []


def innermost(network: Network) -> Network:
    """What all wrappers are around."""
    while isinstance(network, Wrapper):
        network = network.network
    return network


def check_two_sided(owner: str, network: Network) -> None:
    """Refuse a network inside of which links fail in one direction: who silences whole links is inside of that."""
    fault = next((each for each in [network, *wrappers(network)] if each.fails_one_way), None)
    if fault is not None:
        raise CojaxInputError(
            f"{owner} needs a network whose messages do not fail in one direction, got a {type(fault).__name__}, whose "
            "ends do not both know what is lost; wrap it the other way round, with Lossy or Intermittent, if any, "
            "innermost."
        )


def check_undirected(owner: str, network: Network, why: str) -> None:
    """Refuse a directed network, whatever is around it."""
    inside = innermost(network)
    if isinstance(inside, Layout) and not inside.symmetric:
        raise CojaxInputError(f"{owner} needs an undirected network, got a {type(inside).__name__}: {why}.")


def rewrapped(network: Network, change: Callable[[Any], Network]) -> Network:
    """The wrappers of `network`, made anew, and so checked, around `change` of what is inside."""
    if isinstance(network, Wrapper):
        return dataclasses.replace(network, network=rewrapped(network.network, change))
    return change(network)


class Layout(Network):
    """A network whose graph of one step is stored as arrays: where neighbours are, and how flows are summed."""

    weights: eqx.AbstractVar[Array]
    turns_ndim: ClassVar[int]  # how many axes the weights have where graphs take turns
    symmetric: ClassVar[bool]  # whether both ends of an edge put the same weight on it

    def __check_init__(self):
        self.link.check(fixed=self.num_graphs == 1, symmetric=self.symmetric)

    def __repr__(self) -> str:
        try:
            facts = [f"{self.num_nodes} nodes", *self._size()]
        except Exception:  # half made, or with other leaves
            facts = []
        if not facts or self.weights.ndim > self.turns_ndim:  # a batch of networks
            return named(self)
        return named(self, *facts, f"link={self.link}", leave_out=tuple(set(self.__dict__)))

    def _size(self) -> list[str]:
        """How many edges the union of the graphs has, where its weights are numbers now, and how many take turns."""
        turns = [f"{self.num_graphs} graphs in turn"] if self.num_graphs > 1 else []
        if not is_concrete(self.weights) or not self.weights.is_fully_addressable:
            return turns
        union = self.weights if self.weights.ndim < self.turns_ndim else jnp.abs(self.weights).max(0)
        if not self.symmetric:
            return [f"{jnp.count_nonzero(union)} directed edges", *turns]
        return [f"{jnp.count_nonzero(self.reweighted(union).edge_weights()) // 2} edges", *turns]

    @property
    def num_graphs(self) -> int:
        """How many graphs take turns."""
        return 1 if self.weights.ndim < self.turns_ndim else self.weights.shape[0]

    def at(self: Flows, k: Int[Array, ""] | int) -> Flows:
        """The graph in force at step `k`; graphs that take turns start again after the last."""
        if self.weights.ndim < self.turns_ndim:
            return self
        return self.reweighted(self.weights[jnp.asarray(k) % self.weights.shape[0]])

    def reweighted(self: Flows, weights: Array) -> Flows:
        """This network with other weights."""
        return eqx.tree_at(lambda net: net.weights, self, weights)

    def flow(self, wire: Wire, along: Tree) -> Tree:
        """sum_j along(w_ij, heard_j - heard_i) for every node; `along` is a prefix tree of the message."""
        if wire.near is None:
            return _map_along(self.hear, along, wire.heard)

        def recall(law: Along, near: Array) -> Array:
            return self.collect(law(self.edge_weights(), self.swap(near) - near))

        return _map_along(recall, along, wire.near)

    def exchange(self, wire: Wire, along: Tree, arrivals: Array | None) -> tuple[Tree, Wire]:
        """The flow of one step, with what reaches the shares from outside, and the wire after it."""
        return add_arrivals(self.flow(wire, along), along, arrivals), wire

    def awake(self, before: Tree, after: Tree) -> Tree:
        """The state of a method after a step: that before it, at nodes that are down."""
        return after

    @abc.abstractmethod
    def hear(self, law: Along, heard: Array) -> Array:
        """The flow of one array of the message, (n, ...), where all neighbours of a node heard the same of it."""

    @abc.abstractmethod
    def thin(self: Flows, keep: Keep) -> Flows:
        """This network with only the edges {i, j} for which `keep(i, j)`; called on the graph of one step."""

    @abc.abstractmethod
    def edge_weights(self) -> Array:
        """The weights by directed edge, (*edges): the axes that a link with one memory per edge keeps."""

    @abc.abstractmethod
    def ends(self, message: Array) -> Array:
        """(n, ...) to (*edges, ...): for every directed edge, what its sender says."""

    @abc.abstractmethod
    def swap(self, near: Array) -> Array:
        """(*edges, ...), the same from the other end of every edge."""

    @abc.abstractmethod
    def collect(self, flux: Array) -> Array:
        """(*edges, ...) to (n, ...): the sum over the edges of every node."""


def _map_along(flow: Callable[[Along, Array], Array], along: Tree, message: Tree) -> Tree:
    def part(law: Along, message: Tree) -> Tree:
        return jax.tree.map(lambda leaf: flow(law, leaf), message)

    return jax.tree.map(part, along, message, is_leaf=is_law)


class Neighbors(Layout):
    """A padded table of neighbours, one row a slot: for sparse graphs of even degree, the fastest layout.

    Fields: weights (k, n), or (T, k, n) for T graphs in turn, differentiable; index (k, n), the neighbour in every
    slot of the union graph, the node itself where a slot is empty; twin (k, n), my slot in my neighbour's column.
    Slots lead, so that the loop over them reads memory in order.
    """

    weights: Float[Array, "*T k n"]
    index: Int[Array, "k n"]
    twin: Int[Array, "k n"]
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3
    symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if is_concrete(self.weights, self.index, self.twin):
            check_table(np.asarray(self.weights), np.asarray(self.index), np.asarray(self.twin))

    @property
    def num_nodes(self) -> int:
        return self.index.shape[-1]

    def hear(self, law, heard):
        return flow(self, law, heard)

    def sums(self, law: Along, heard: Array) -> Array:
        """The flow by its formula; here and in other layouts, what `flow` differentiates in its own way."""
        return sum_slots(law, self.weights, self.index, heard, heard)

    def turned(self) -> "Neighbors":
        """This table with the weight of the other end of every edge, the same but where a derivative asks."""
        return self.reweighted(self.swap(self.weights))

    def edge_weights(self):
        return self.weights

    def ends(self, message):
        return jnp.broadcast_to(message[None], (*self.index.shape, *message.shape[1:]))

    def swap(self, near):
        return swap(near, self.index, self.twin)

    def collect(self, flux):
        return flux.sum(0)

    def thin(self, keep):
        kept = keep(jnp.arange(self.num_nodes)[None, :], self.index)
        return self.reweighted(jnp.where(kept, self.weights, 0))


class Edges(Layout):
    """Every undirected edge once: no padding for hubs, and the least memory; `Split` is faster.

    Fields: weights (e,), or (T, e) for T graphs in turn, differentiable; pairs (2, e), the two ends of every edge.
    """

    weights: Float[Array, "*T e"]
    pairs: Int[Array, "2 e"]
    size: int = eqx.field(static=True)
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 2
    symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if is_concrete(self.weights, self.pairs):
            check_edges(np.asarray(self.weights), np.asarray(self.pairs), self.size)

    @property
    def num_nodes(self) -> int:
        return self.size

    def hear(self, law, heard):
        first, second = self.pairs
        difference = heard.at[second].get(mode="promise_in_bounds") - heard.at[first].get(mode="promise_in_bounds")
        flux = law(self.weights, difference)
        # A GPU adds these in any order: shares, multiples of their grid, to the same bits, params to rounding.
        received = jnp.zeros_like(heard).at[first].add(flux, mode="promise_in_bounds")
        return received.at[second].add(-flux, mode="promise_in_bounds")

    def edge_weights(self):
        return jnp.broadcast_to(self.weights[None], self.pairs.shape)

    def ends(self, message):
        return message.at[self.pairs].get(mode="promise_in_bounds")

    def swap(self, near):
        return near[::-1]

    def collect(self, flux):
        return jnp.zeros((self.size, *flux.shape[2:]), flux.dtype).at[self.pairs].add(flux, mode="promise_in_bounds")

    def thin(self, keep):
        return self.reweighted(jnp.where(keep(*self.pairs), self.weights, 0))


class Circulant(Layout):
    """Every node i has the neighbours i + offset (mod n): ring, torus rows, exponential graphs; shifts, no gather.

    Fields: weights (s, 1), or (s, n) where links are lost, or with a leading T for T graphs in turn, differentiable;
    offsets, s of them, static, in the order of the weights, each with its mirror image n - offset at the same weight.
    """

    weights: Float[Array, "*T s _"]
    offsets: tuple[int, ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3
    symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if is_concrete(self.weights):
            check_offsets(np.asarray(self.weights), self.offsets, self.size)

    @property
    def num_nodes(self) -> int:
        return self.size

    def hear(self, law, heard):
        total = jnp.zeros_like(heard)
        for weights, other in zip(self.edge_weights(), _shifted(heard, self.offsets), strict=True):
            total = total + law(weights, other - heard)
        return total

    def edge_weights(self):
        return jnp.broadcast_to(self.weights, (len(self.offsets), self.size))

    def ends(self, message):
        return jnp.broadcast_to(message[None], (len(self.offsets), *message.shape))

    def swap(self, near):
        mirrored = [self.offsets.index(self.size - offset) for offset in self.offsets]
        rolled = [jnp.roll(near[back], -offset, axis=0) for back, offset in zip(mirrored, self.offsets, strict=True)]
        return jnp.stack(rolled)

    def collect(self, flux):
        return flux.sum(0)

    def thin(self, keep):
        nodes = jnp.arange(self.size)
        others = (nodes[None, :] + jnp.asarray(self.offsets)[:, None]) % self.size
        kept = keep(nodes[None, :], others)
        return self.reweighted(jnp.where(kept, self.weights, 0))


def _shifted(heard: Array, offsets: tuple[int, ...]) -> list[Array]:
    """heard[(i + offset) % n] for every offset: slices of one copy with its ends wrapped around, or gathers.

    XLA on CPU runs a `jnp.roll` an offset several times slower than either. Slices are up to 6 times as fast as gathers
    where rows are short, gathers up to 1.8 times as fast where they are long (`benchmarks/README.md`).
    """
    size = heard.shape[0]
    if heard.size >= LONG_ROW * size:
        nodes = jnp.arange(size)
        return [heard.at[(nodes + offset) % size].get(mode="promise_in_bounds") for offset in offsets]
    nearest = [offset if 2 * offset <= size else offset - size for offset in offsets]
    reach = max(abs(offset) for offset in nearest)
    wrapped = jnp.concatenate([heard[size - reach :], heard, heard[:reach]])
    return [lax.slice_in_dim(wrapped, reach + offset, reach + offset + size) for offset in nearest]
