"""Rows that hold no node, added so that every device has equally many; nothing happens there."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool

from ..._support.checks import is_concrete
from ..._support.names import Names
from ..._support.reprs import describe
from ..._support.trees import Tree
from ..base import Layout, Link, Network
from ..layouts.circulant import Circulant
from ..layouts.dense import Dense
from ..layouts.directed import Digraph, Directed
from ..layouts.edges import Edges
from ..layouts.neighbors import Neighbors
from ..layouts.split import Split, as_edges
from ..links.links import EventTriggered
from .layouts import ROWS, WHOLE, reorder


class PaddedNetwork(Network):
    """A network with rows that hold no node and have no neighbour; `cojax.shard` makes it.

    Fields: network, of all rows, or one that draws graphs of the nodes alone; there, (rows,), which rows hold a node;
    size, static, how many nodes there are; rows, static, how many rows; mesh, over which they are cut.
    """

    network: Network
    there: Bool[Array, " rows"]
    size: int = eqx.field(static=True)
    rows: int = eqx.field(static=True)
    mesh: Mesh = eqx.field(static=True)

    def __repr__(self) -> str:
        return describe(self, leave_out=("there", "mesh"))

    @property
    def link(self) -> Link:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.network.link

    @property
    def num_nodes(self) -> int:
        return self.rows

    def bare(self):
        return self.network

    @property
    def node_names(self) -> Names | None:
        return self.network.node_names

    @property
    def edges_stay(self) -> bool:
        return self.network.edges_stay

    @property
    def is_cut(self) -> bool:
        return True

    @property
    def is_reordered(self) -> bool:
        return self.network.is_reordered

    @property
    def has_node(self) -> Bool[Array, " rows"]:
        return self.there

    @property
    def num_callers(self) -> int:
        return self.size

    def to_rows(self, tree):
        """Rows that hold no node get copies of the first node's."""
        order = self._order()
        names = jnp.arange(self.rows) if order is None else order.names
        return reorder(tree, self.size, jnp.where(names < self.size, names, 0), self.mesh, ROWS)

    def to_nodes(self, tree):
        """As many nodes as the devices cannot share: every one gets all of them."""
        order = self._order()
        places = jnp.arange(self.size) if order is None else order.place[: self.size]
        return reorder(tree, self.rows, places, self.mesh, WHOLE)

    def _order(self) -> Any:
        """The layout that has its nodes in an order of its own; None where that is the caller's."""
        return self.network if self.is_reordered else None

    def at(self, k) -> Layout:
        now: Any = self.network.at(k)
        return now if now.num_nodes == self.rows else with_rows(now, self.rows)


class _AmongNodes(Link):
    """`link`, which counts the mean of what all rows send, as the mean over nodes: the other rows send nothing."""

    link: EventTriggered
    rows_per_node: float = eqx.field(static=True)

    @property
    def given(self):
        return self.link

    def open(self, message, net):
        return self.link.open(message, net)

    def tell(self, message, wire, net, step):
        told = self.link.tell(message, wire, net, step)
        return told._replace(bits=wire.bits + self.rows_per_node * (told.bits - wire.bits))

    def check(self, *, fixed, symmetric):
        self.link.check(fixed=fixed, symmetric=symmetric)


def num_rows(size: int, num_devices: int) -> int:
    """The least number of rows, `size` at least, that all devices have equally many of."""
    return -(-size // num_devices) * num_devices


def link_among(link: Link, size: int, rows: int) -> Link:
    """A link that counts what `size` nodes send, where there are `rows` rows."""
    return _AmongNodes(link, rows / size) if rows > size and isinstance(link, EventTriggered) else link


def with_copies(tree: Tree, rows: int) -> Tree:
    """Every leaf (n, ...) with its first row again and again, up to `rows`; as it is where it has as many."""
    return _lengthen(tree, rows, lambda first: first)


def with_zeros(tree: Tree, rows: int) -> Tree:
    """Every leaf (n, ...) with zeros up to `rows`; as it is where it has as many."""
    return _lengthen(tree, rows, jnp.zeros_like)


def _lengthen(tree: Tree, rows: int, last: Any) -> Tree:
    def longer(leaf: Any) -> Any:
        if leaf.shape[0] == rows:
            return leaf
        leaf = jnp.asarray(leaf)
        return jnp.concatenate([leaf, jnp.broadcast_to(last(leaf[:1]), (rows - leaf.shape[0], *leaf.shape[1:]))])

    return jax.tree.map(longer, tree)


def with_rows(network: Any, rows: int) -> Any:
    """A layout with nodes that have no neighbour after its own, `rows` in all; what is no layout, as it is.

    Differentiable in the weights; which nodes are neighbours must be known. A `Circulant` becomes a table.
    """
    if isinstance(network, Circulant):
        network = as_table(network)
    if isinstance(network, Split) and is_concrete(network.index, network.owner):
        network = as_edges(network)
    if isinstance(network, Layout):
        network = eqx.tree_at(lambda net: net.link, network, link_among(network.link, network.num_nodes, rows))
    if isinstance(network, Edges):
        return Edges(weights=network.weights, pairs=network.pairs, size=rows, link=network.link)
    if isinstance(network, Dense | Digraph | Directed):
        return type(network)(weights=_zeros_after(network.weights, rows, 2), link=network.link)
    if not isinstance(network, Neighbors):
        return network  # for `shard` to refuse
    more = (network.index.shape[0], rows - network.num_nodes)
    own = np.broadcast_to(np.arange(network.num_nodes, rows), more)
    slot = np.broadcast_to(np.arange(more[0])[:, None], more)
    index, twin = (_longer(part, last) for part, last in ((network.index, own), (network.twin, slot)))
    weights = _zeros_after(network.weights, rows, 1)
    return Neighbors(weights=weights, index=index, twin=twin, link=network.link)


def as_table(network: Circulant) -> Neighbors:
    """The same network as a table of neighbours, its weights differentiable."""
    nodes, offsets = np.arange(network.size), np.asarray(network.offsets, np.int64)[:, None]
    mirrored = [network.offsets.index(network.size - offset) for offset in network.offsets]
    twin = np.broadcast_to(np.asarray(mirrored, np.int64)[:, None], (len(mirrored), network.size))
    weights = jnp.broadcast_to(network.weights, (*network.weights.shape[:-1], network.size))
    index = (nodes + offsets) % network.size
    return Neighbors(weights=weights, index=_whole(index), twin=_whole(twin), link=network.link)


def _zeros_after(weights: Array, rows: int, axes: int) -> Array:
    more = rows - weights.shape[-1]
    return jnp.pad(weights, [(0, 0)] * (weights.ndim - axes) + [(0, more)] * axes)


def _longer(index: Array, last: np.ndarray) -> Array:
    if not is_concrete(index):  # drawn in a step
        return jnp.hstack([index, jnp.asarray(last, index.dtype)])
    return _whole(np.hstack([np.asarray(index), last]))


def _whole(index: np.ndarray) -> Array:
    with jax.ensure_compile_time_eval():  # known under `jax.jit` too, as `shard` needs it
        return jnp.asarray(index, jnp.int32)
