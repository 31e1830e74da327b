"""What a network, a layout and a link are: the classes that all of theirs are built on."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._support import trees
from .._support.checks import CojaxInputError, is_concrete
from .._support.names import Names
from .._support.reprs import describe
from .._support.trees import Tree
from .laws import Along, add_arrivals, read_alike, with_laws


def count_on(count: Int[Array, ""], more: Int[Array, ""]) -> Int[Array, ""]:
    """count + more, both >= 0, which stays at the largest whole number where a sum would wrap."""
    return count + jnp.minimum(more, jnp.iinfo(count.dtype).max - count)


class Wire(NamedTuple):
    """What is on the channel between two steps, carried by the loop so that it is computed once per node."""

    heard: Tree  # what the neighbours of every node, and the node itself, take its message to be; nodes first
    near: Tree = None  # by directed edge, what its receiver holds of its sender, where that differs by edge
    scale: Tree = None  # the state of a quantizer that adapts, shaped as what it rounds, or the level of an event
    bits: Any = 0.0  # told so far by one node to one neighbour
    saturated: Any = 0  # numbers so far, of all nodes, that lay beyond the outermost level; 2^31 - 1 of more
    books: Any = None  # what the ends of every edge have written down, where messages may be lost one way or late
    excess: Any = 0.0  # by how much rounding has made bits too large
    unsent: Tree = None  # what a node has not told yet of its message, where the link makes good for it

    def without_bits(self) -> "Wire":
        """This wire, with bits counted from 0 again: a few bits more would be lost in a float that is large."""
        return self._replace(bits=jnp.zeros_like(self.bits))

    def bits_since(self, before: "Wire") -> Array:
        """The bits of the message that was told after `before`, to their last digit."""
        return ((self.bits - before.bits) - self.excess) + before.excess

    def with_bits_of(self, before: "Wire") -> "Wire":
        """This wire, whose bits are those of one message, with all bits up to `before` added.

        The sum is compensated: in float32 it would stand still at 2**24 over a link of one bit.
        Source: Kahan 1965, doi 10.1145/363707.363723.
        """
        added = self.bits - before.excess
        bits = before.bits + added
        return self._replace(bits=bits, excess=(bits - before.bits) - added)

    def flow(self, net: "Layout", along: Tree) -> Tree:
        """What every node of `net` hears of its neighbours, see `Layout.flow`."""
        if self.near is None:
            return with_laws(net.hear, along, self.heard)
        return with_laws(lambda law, near: net.scatter(net.over_edges(law, near)), along, self.near)

    def said(self, net: "Layout", part: int | None = None) -> Tree:
        """What the own end of every directed edge is taken to say, (*edges, ...): all, or one `part` of a message."""
        told = self.heard if self.near is None else self.near
        told = told if part is None else told[part]
        return jax.tree.map(net.gather, told) if self.near is None else told

    def error(self, message: Tree) -> Tree:
        """`message`, which was told, less what is heard of it; None where neighbours hear something of their own."""
        return trees.subtract(message, self.heard) if trees.alike(message, self.heard) else None

    def read_alike(self, along: Tree) -> "Wire":
        """This wire, whose numbers are the same wherever they are read, see `laws.read_alike`."""
        heard, near = (None if part is None else read_alike(part, along) for part in (self.heard, self.near))
        return self._replace(heard=heard, near=near)

    @property
    def has_books(self) -> bool:
        """Whether the ends of edges write down what they gave."""
        return self.books is not None

    def on_the_way(self, along: Tree) -> list[Array]:
        """All shares that are given and not yet received, (m, *r) each; nothing where no books are kept."""
        return [] if self.books is None else self.books.on_the_way(along)

    def in_flight(self) -> Tree:
        """How much is given and not yet received, shaped as the message without nodes; for a wire with books."""
        return self.books.in_flight()

    def map_rows(self, by_node: Any, by_edge: Any, rest: Any) -> "Wire":
        """`by_node` of every array whose rows are nodes, `by_edge` where they are directed edges, `rest` of others."""
        return jax.tree.map(rest, self)._replace(
            heard=jax.tree.map(by_node, self.heard),
            near=jax.tree.map(by_edge, self.near),
            scale=jax.tree.map(by_node if self.near is None else by_edge, self.scale),
            unsent=jax.tree.map(by_node, self.unsent),
        )


class Link(eqx.Module):
    """A channel between neighbours."""

    def __repr__(self) -> str:
        return describe(self)

    @property
    def given(self) -> "Link":
        """This link as the caller gave it."""
        return self

    @property
    def by_edge(self) -> bool:
        """Whether it remembers something of every edge, and not of every node alone."""
        return False

    @property
    def remembers(self) -> bool:
        """Whether what it makes of a message depends on those before."""
        return False

    @abc.abstractmethod
    def open(self, message: Tree, net: "Layout") -> Wire:
        """The wire after the first `message`, told over the graph `net` of the first step."""

    @abc.abstractmethod
    def tell(self, message: Tree, wire: Wire, net: "Layout", step: Int[Array, ""] | int) -> Wire:
        """The wire after `message`, told over the graph `net` of `step` at the end of the step before."""

    @abc.abstractmethod
    def check(self, *, fixed: bool, symmetric: bool) -> None:
        """Refuse, with the way out, a network that this link would be a wrong model on."""


Keep = Callable[[Array, Array], Array]


Flows = TypeVar("Flows", bound="Layout")


class Network(eqx.Module):
    """A graph, or one graph per step, with the link that all its edges are.

    Every network conserves: the flow of any message sums to zero over nodes.
    """

    link: eqx.AbstractVar[Link]

    def __repr__(self) -> str:
        return describe(self)

    @property
    @abc.abstractmethod
    def num_nodes(self) -> int:
        """n."""

    @abc.abstractmethod
    def at(self, k: Int[Array, ""] | int) -> "Layout":
        """The graph in force at step `k`; weights that differ by step repeat after the last."""

    @property
    def node_names(self) -> Names | None:
        """Of all nodes, in the caller's order; None where they have none."""
        return None

    @property
    def keeps_books(self) -> bool:
        """Whether the ends of every edge keep books of what they gave."""
        return False

    @property
    def edges_stay(self) -> bool:
        """Whether one place among the edges is one pair of nodes at every step, so that it can be remembered."""
        return True

    @property
    def draws_graphs(self) -> bool:
        """Whether the graph of a step is drawn in it, as that of `at`, and no list of graphs is known before."""
        return False

    @property
    def period(self) -> int:
        """Nobody talks but in the first of so many steps."""
        return 1

    @property
    def clock(self) -> Any:
        """How long its rounds take, a `Clock`; None where nobody asks."""
        return None

    def bare(self) -> "Network":
        """The graphs with their link alone: no faults, and no rows that hold no node."""
        return self

    def over(self, graphs: "Network") -> "Network":
        """The same faults over other graphs."""
        return graphs

    @property
    def is_cut(self) -> bool:
        """Whether its rows lie in blocks on several devices, so that its nodes may be in an order of their own."""
        return False

    @property
    def is_reordered(self) -> bool:
        """Whether its rows are not in the caller's order of nodes."""
        return False

    @property
    def num_callers(self) -> int:
        """How many nodes the caller has: all rows but those that hold none."""
        return self.num_nodes

    @property
    def has_node(self) -> Bool[Array, " rows"] | None:
        """Which of its rows hold a node; None: all do."""
        return None

    def to_rows(self, tree: Tree) -> Tree:
        """Every leaf (n, ...) of `tree`, in the caller's order of nodes, by row; other leaves as they are."""
        return tree

    def to_nodes(self, tree: Tree) -> Tree:
        """The inverse of `to_rows`: without the rows that hold no node."""
        return tree


class Layout(Network):
    """A network whose graph of one step is stored as arrays: where neighbours are, and how flows are summed."""

    weights: eqx.AbstractVar[Array]
    node_names: Names | None = eqx.field(default=None, kw_only=True)  # pyright: ignore[reportIncompatibleMethodOverride]
    turns_ndim: ClassVar[int]  # how many axes the weights have where graphs take turns
    symmetric: ClassVar[bool]  # whether both ends of an edge put the same weight on it

    def __check_init__(self):
        if not hasattr(self.weights, "ndim"):
            got = type(self.weights).__name__
            raise CojaxInputError(f"{type(self).__name__} needs an array of weights, got a {got}.")
        self.link.check(fixed=self.num_graphs == 1, symmetric=self.symmetric)

    def __repr__(self) -> str:
        try:
            facts = [f"{self.num_nodes} nodes", *self._size()]
        except Exception:  # half made, or with other leaves
            facts = []
        if not facts or self.weights.ndim > self.turns_ndim:  # a batch of networks
            return describe(self)
        return describe(self, *facts, f"link={self.link}", leave_out=tuple(set(self.__dict__)))

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
        return wire.flow(self, along)

    def over_edges(self, law: Along, said: Array) -> Array:
        """What every directed edge brings of one array of a message, (*edges, ...), from what its own end `said`."""
        return law(self.edge_weights(), self.reverse(said) - said)

    def exchange(self, wire: Wire, along: Tree, arrivals: Array | None) -> tuple[Tree, Wire]:
        """The flow of one step, with what reaches the shares from outside, and the wire after it."""
        return add_arrivals(self.flow(wire, along), along, arrivals), wire

    def open(self, message: Tree) -> Wire:
        """The wire after the first message, told over the graph of the first step."""
        return self.link.open(message, self)

    def tell(self, message: Tree, wire: Wire, step: Int[Array, ""] | int) -> Wire:
        """The wire after `message`, told over this graph, that of `step`, at the end of the step before."""
        return self.link.tell(message, wire, self, step)

    def flow_alone(self, wire: Wire, along: Tree, step: Int[Array, ""]) -> Tree:
        """The flow of a step in which nothing arrives from outside, compiled apart from what reads it."""
        return self.exchange(wire, along, None)[0]

    @property
    def is_up(self) -> Bool[Array, " n"] | None:
        """Which nodes are up in this step; None: all are."""
        return None

    @abc.abstractmethod
    def hear(self, law: Along, heard: Array) -> Array:
        """The flow of one array of the message, (n, ...), where all neighbours of a node heard the same of it."""

    def thinned(self: Flows, keep: Keep) -> Flows:
        """This network with only the edges {i, j} for which `keep(i, j)`; called on the graph of one step."""
        return self.reweighted(jnp.where(keep(*self.named_ends()), self.weights, 0))

    @abc.abstractmethod
    def named_ends(self) -> tuple[Array, Array]:
        """The caller's numbers of the two nodes of every entry of the weights of one graph, shaped so or broadcast."""

    @abc.abstractmethod
    def edge_weights(self) -> Array:
        """The weight of every directed edge that there is room for, (*edges); 0 where there is none."""

    @property
    def numbers(self) -> Int[Array, " n"]:
        """The caller's number of the node in every row."""
        return jnp.arange(self.num_nodes, dtype=jnp.int32)

    def ends(self) -> tuple[Array, Array]:
        """The two nodes of every directed edge, (*edges), by row: the one that hears, and the one that it hears."""
        own = self.gather(jnp.arange(self.num_nodes, dtype=jnp.int32))
        return own, self.reverse(own)

    @abc.abstractmethod
    def gather(self, rows: Array) -> Array:
        """(n, ...) to (*edges, ...): for every directed edge, what its own end holds."""

    @abc.abstractmethod
    def reverse(self, arcs: Array) -> Array:
        """(*edges, ...), the same from the other end of every edge."""

    @abc.abstractmethod
    def scatter(self, arcs: Array) -> Array:
        """(*edges, ...) to (n, ...): the sum over the edges of every node."""

    def theirs(self, rows: Array) -> Array:
        """(n, ...) to (*edges, ...): for every directed edge, what its other end holds."""
        return self.reverse(self.gather(rows))

    @abc.abstractmethod
    def largest(self, arcs: Array) -> Array:
        """(*edges) to (n,): the largest over the edges of every node, -inf where it has none."""
