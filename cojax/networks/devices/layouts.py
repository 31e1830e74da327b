"""Layouts whose nodes lie in equal blocks on the devices of a mesh: what neighbours tell travels, nothing else does."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from ..._support.trees import Tree
from ..base import Layout, Link
from ..laws import Along, Pull, Push, Weigh
from ..layouts.adjoints import flow
from ..layouts.slots import sum_slots
from ..links.links import Ideal
from .halos import AXIS, Halo

WHOLE = PartitionSpec()  # the same on every device
ROWS = PartitionSpec(AXIS)  # the first axis is cut
COLUMNS = PartitionSpec(None, AXIS)  # the second one

# Of what all nodes tell more bytes than these travel in so many pieces, one after the other.
BYTES_AT_ONCE, PIECES = 2**28, 4


def _on_devices(mesh: Mesh, local: Callable, given: tuple[PartitionSpec, ...]) -> Callable:
    """`local` run on the block of every device; what it returns has the nodes, or edges, first."""
    return jax.shard_map(local, mesh=mesh, in_specs=given, out_specs=ROWS)


def reorder(tree: Tree, length: int, order: Array, mesh: Mesh, cut: PartitionSpec) -> Tree:
    """The rows `order` of every leaf that has `length` of them."""

    def leaf_in_order(leaf: Any) -> Any:
        if jnp.shape(leaf)[:1] != (length,):
            return leaf
        return lax.with_sharding_constraint(jnp.asarray(leaf)[order], NamedSharding(mesh, cut))

    return jax.tree.map(leaf_in_order, tree)


class CutLayout(Layout):
    """A layout whose rows lie in blocks on the devices of a mesh."""

    @property
    def is_cut(self) -> bool:
        return True


class OrderedLayout(CutLayout):
    """One whose nodes may be in an order of their own: `names`, the caller's number of every row, and `place`."""

    names: eqx.AbstractVar[Array]
    place: eqx.AbstractVar[Array | None]
    mesh: eqx.AbstractVar[Mesh]

    @property
    def is_reordered(self) -> bool:
        return self.place is not None

    @property
    def numbers(self):
        return self.names

    def to_rows(self, tree):
        return tree if self.place is None else reorder(tree, self.num_nodes, self.names, self.mesh, ROWS)

    def to_nodes(self, tree):
        return tree if self.place is None else reorder(tree, self.num_nodes, self.place, self.mesh, ROWS)


class ShardedNeighbors(OrderedLayout):
    """`Neighbors` over a mesh; `cojax.shard` makes it.

    Nodes are in the order of the devices, which need not be the caller's. Fields: weights (k, n), or (T, k, n) for T
    graphs in turn, differentiable; index (k, n), the neighbour, and twin (k, n), its entry of the edge, as the device
    of the node counts its own rows and those that it gets; node_halo and edge_halo, what it gets; names (n,), the
    caller's number of every node; place (n,), where the caller's nodes are, None where all are in their place.
    """

    weights: Float[Array, "*T k n"]
    index: Int[Array, "k n"]
    twin: Int[Array, "k n"]
    node_halo: Halo
    edge_halo: Halo
    names: Int[Array, " n"]
    place: Int[Array, " n"] | None
    mesh: Mesh = eqx.field(static=True)
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3
    symmetric: ClassVar[bool] = True

    @property
    def num_nodes(self) -> int:
        return self.index.shape[-1]

    def hear(self, law, heard):
        return flow(self, law, heard)

    def sums(self, law: Along, heard: Array) -> Array:
        """The flow by its formula."""

        def local(law: Any, weights: Array, index: Array, halo: Halo, heard: Array) -> Array:
            def of_columns(heard: Array) -> Array:
                return sum_slots(law, weights, index, halo.extended(heard), heard)

            if self.mesh.size * heard.nbytes < BYTES_AT_ONCE or not isinstance(law, Weigh | Pull | Push):
                return of_columns(heard)
            return _in_pieces(of_columns, heard)

        mapped = _on_devices(self.mesh, local, (WHOLE, COLUMNS, COLUMNS, ROWS, ROWS))
        return mapped(law, self.weights, self.index, self.node_halo, heard)

    def turned(self) -> "ShardedNeighbors":
        """This layout with the weight of the other end of every edge."""
        return self.reweighted(self.reverse(self.weights.T).T)

    def edge_weights(self):
        # Nodes first, here and below: the loop flattens what edges hold, and only a first axis stays cut by that.
        return self.weights.T

    def gather(self, rows):
        return jnp.broadcast_to(rows[:, None], (*self.index.shape[::-1], *rows.shape[1:]))

    def reverse(self, arcs):
        def local(twin: Array, halo: Halo, arcs: Array) -> Array:
            edges = halo.extended(arcs.reshape(-1, *arcs.shape[2:]))
            return edges.at[twin.T].get(mode="promise_in_bounds")

        return _on_devices(self.mesh, local, (COLUMNS, ROWS, ROWS))(self.twin, self.edge_halo, arcs)

    def scatter(self, arcs):
        return arcs.sum(1)

    def theirs(self, rows):
        def local(index: Array, halo: Halo, rows: Array) -> Array:
            return _rows(halo.extended(rows), index.T)

        return _on_devices(self.mesh, local, (COLUMNS, ROWS, ROWS))(self.index, self.node_halo, rows)

    def largest(self, arcs):
        return arcs.max(1, initial=-jnp.inf)

    def named_ends(self):
        return self.names[None, :], self.theirs(self.names).T


class ShardedEdges(OrderedLayout):
    """`Edges` over a mesh, every edge at both of its ends; `cojax.shard` makes it.

    Every device has a list of edge ends, one for every neighbour of every node of its, padded to the longest list
    with weights 0: e in all. Fields: weights (e,), or (T, e) for T graphs in turn, differentiable; node (e,), index
    (e,) and twin (e,), the node of the end, its neighbour and the other end, as the device counts them; node_halo and
    edge_halo, what it gets; names, place as `ShardedNeighbors`.
    """

    weights: Float[Array, "*T e"]
    node: Int[Array, " e"]
    index: Int[Array, " e"]
    twin: Int[Array, " e"]
    node_halo: Halo
    edge_halo: Halo
    names: Int[Array, " n"]
    place: Int[Array, " n"] | None
    mesh: Mesh = eqx.field(static=True)
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 2
    symmetric: ClassVar[bool] = True

    @property
    def num_nodes(self) -> int:
        return self.names.shape[0]

    def hear(self, law, heard):
        return flow(self, law, heard)

    def sums(self, law: Along, heard: Array) -> Array:
        """The flow by its formula."""

        def local(law: Any, weights: Array, node: Array, index: Array, halo: Halo, heard: Array) -> Array:
            difference = _rows(halo.extended(heard), index) - _rows(heard, node)
            return jnp.zeros_like(heard).at[node].add(law(weights, difference), mode="promise_in_bounds")

        mapped = _on_devices(self.mesh, local, (WHOLE, ROWS, ROWS, ROWS, ROWS, ROWS))
        return mapped(law, self.weights, self.node, self.index, self.node_halo, heard)

    def turned(self) -> "ShardedEdges":
        """This layout with the weight of the other end of every edge."""
        return self.reweighted(self.reverse(self.weights))

    def edge_weights(self):
        return self.weights

    def gather(self, rows):
        return _on_devices(self.mesh, _rows, (ROWS, ROWS))(rows, self.node)

    def reverse(self, arcs):
        def local(twin: Array, halo: Halo, arcs: Array) -> Array:
            return _rows(halo.extended(arcs), twin)

        return _on_devices(self.mesh, local, (ROWS, ROWS, ROWS))(self.twin, self.edge_halo, arcs)

    def scatter(self, arcs):
        block = self.num_nodes // self.mesh.size

        def local(node: Array, arcs: Array) -> Array:
            return jnp.zeros_like(arcs, shape=(block, *arcs.shape[1:])).at[node].add(arcs, mode="promise_in_bounds")

        return _on_devices(self.mesh, local, (ROWS, ROWS))(self.node, arcs)

    def theirs(self, rows):
        def local(index: Array, halo: Halo, rows: Array) -> Array:
            return _rows(halo.extended(rows), index)

        return _on_devices(self.mesh, local, (ROWS, ROWS, ROWS))(self.index, self.node_halo, rows)

    def largest(self, arcs):
        block = self.num_nodes // self.mesh.size

        def local(node: Array, arcs: Array) -> Array:
            none = jnp.full_like(arcs, -jnp.inf, shape=(block,))
            return none.at[node].max(arcs, mode="promise_in_bounds")

        return _on_devices(self.mesh, local, (ROWS, ROWS))(self.node, arcs)

    def named_ends(self):
        return self.gather(self.names), self.theirs(self.names)


class ShardedCirculant(CutLayout):
    """`Circulant` over a mesh, in the caller's order of nodes; `cojax.shard` makes it.

    Fields: weights (s, 1), or (s, n) where links are lost, or with a leading T for T graphs in turn, differentiable;
    offsets, static, as those of `Circulant`.
    """

    weights: Float[Array, "*T s _"]
    offsets: tuple[int, ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)
    mesh: Mesh = eqx.field(static=True)
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3
    symmetric: ClassVar[bool] = True

    @property
    def num_nodes(self) -> int:
        return self.size

    def hear(self, law, heard):
        def local(law: Any, weights: Array, heard: Array) -> Array:
            weights = jnp.broadcast_to(weights, (len(self.offsets), heard.shape[0]))
            total = jnp.zeros_like(heard)
            for weight, offset in zip(weights, self.offsets, strict=True):
                total = total + law(weight, _ahead(heard, offset, self.mesh.size) - heard)
            return total

        weighed = WHOLE if self.weights.shape[-1] == 1 else COLUMNS
        return _on_devices(self.mesh, local, (WHOLE, weighed, ROWS))(law, self.weights, heard)

    def edge_weights(self):
        return jnp.broadcast_to(self.weights, (len(self.offsets), self.size)).T

    def gather(self, rows):
        return jnp.broadcast_to(rows[:, None], (self.size, len(self.offsets), *rows.shape[1:]))

    def reverse(self, arcs):
        def local(arcs: Array) -> Array:
            mirrored = [self.offsets.index(self.size - offset) for offset in self.offsets]
            others = zip(mirrored, self.offsets, strict=True)
            return jnp.stack([_ahead(arcs[:, back], offset, self.mesh.size) for back, offset in others], axis=1)

        return _on_devices(self.mesh, local, (ROWS,))(arcs)

    def scatter(self, arcs):
        return arcs.sum(1)

    def largest(self, arcs):
        return arcs.max(1, initial=-jnp.inf)

    def named_ends(self):
        nodes = jnp.arange(self.size)
        return nodes[None, :], (nodes[None, :] + jnp.asarray(self.offsets)[:, None]) % self.size


def _in_pieces(function: Callable[[Array], Array], rows: Array) -> Array:
    """`function(rows)`, which does the same to every column, of a few columns at a time: what it holds is less."""
    flat = rows.reshape(len(rows), -1)
    width = -(-flat.shape[1] // PIECES)

    def add_piece(piece: Any, done: Array) -> Array:
        begin = piece * width  # the last one begins sooner, if it would be shorter
        found = function(lax.dynamic_slice_in_dim(flat, begin, width, axis=1))
        return lax.dynamic_update_slice_in_dim(done, found, begin, axis=1)

    return lax.fori_loop(0, -(-flat.shape[1] // width), add_piece, jnp.zeros_like(flat)).reshape(rows.shape)


def _rows(rows: Array, index: Array) -> Array:
    return rows.at[index].get(mode="promise_in_bounds")


def _ahead(rows: Array, offset: int, num_devices: int) -> Array:
    """The rows that lie `offset` ahead of those of this device, around the ring of all; inside `shard_map`."""
    devices, rest = divmod(offset, rows.shape[0])
    first, last = _from_ahead(rows[rest:], devices, num_devices), rows[:rest]
    return jnp.concatenate([first, _from_ahead(last, devices + 1, num_devices)]) if rest else first


def _from_ahead(rows: Array, distance: int, num_devices: int) -> Array:
    if distance % num_devices == 0:
        return rows
    return lax.ppermute(rows, AXIS, [((to + distance) % num_devices, to) for to in range(num_devices)])
