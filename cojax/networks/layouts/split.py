"""A table of neighbours that one hub does not pad: nodes with many neighbours take several columns of it."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._support.checks import is_concrete
from ..base import Layout, Link
from ..laws import Along
from ..links.links import Ideal
from .adjoints import flow
from .checks import check_split
from .edges import Edges
from .slots import compiled_apart, sum_slots


class Split(Layout):
    """A table of k slots a column, in which a node with more than k neighbours has several columns: for uneven degrees.

    Fields: weights (k, c), or (T, k, c) for T graphs in turn, differentiable; index (k, c), the neighbour in every
    slot of the union graph, the column's own node where a slot is empty; twin (k, c), the slot of the other end of the
    edge, counted along the rows of the table; owner (c,), the node of every column: all n in order, then more of hubs.
    """

    weights: Float[Array, "*T k c"]
    index: Int[Array, "k c"]
    twin: Int[Array, "k c"]
    owner: Int[Array, " c"]
    size: int = eqx.field(static=True)
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3
    symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if is_concrete(self.weights, self.index, self.twin, self.owner):
            weights, index = np.asarray(self.weights), np.asarray(self.index)
            check_split(weights, index, np.asarray(self.twin), np.asarray(self.owner), self.size)

    @property
    def num_nodes(self) -> int:
        return self.size

    def hear(self, law, heard):
        return flow(self, law, heard)

    def flow_alone(self, wire, along, step):
        return compiled_apart(lambda: self.exchange(wire, along, None)[0], step)

    def sums(self, law: Along, heard: Array) -> Array:
        """The flow by its formula."""
        n = self.size
        # The first columns hear as a table does; to hear all of them at once takes a longer copy of what was heard.
        first = sum_slots(law, self.weights[:, :n], self.index[:, :n], heard, heard)
        more = sum_slots(law, self.weights[:, n:], self.index[:, n:], heard, self._more(heard))
        # In any order, on a GPU: shares, multiples of their grid, to the same bits, params to rounding.
        return first.at[self.owner[n:]].add(more, mode="promise_in_bounds")

    def turned(self) -> "Split":
        """This table with the weight of the other end of every edge."""
        return self.reweighted(self.reverse(self.weights))

    def edge_weights(self):
        return self.weights

    def gather(self, rows):
        columns = jnp.concatenate([rows, self._more(rows)])
        return jnp.broadcast_to(columns[None], (*self.index.shape, *rows.shape[1:]))

    def reverse(self, arcs):
        slots = arcs.reshape(self.index.size, *arcs.shape[2:])
        return slots.at[self.twin].get(mode="promise_in_bounds")

    def scatter(self, arcs):
        n, columns = self.size, arcs.sum(0)
        return columns[:n].at[self.owner[n:]].add(columns[n:], mode="promise_in_bounds")

    def theirs(self, rows):
        return rows.at[self.index].get(mode="promise_in_bounds")

    def largest(self, arcs):
        n, columns = self.size, arcs.max(0, initial=-jnp.inf)
        return columns[:n].at[self.owner[n:]].max(columns[n:], mode="promise_in_bounds")

    def named_ends(self):
        return self.owner[None, :], self.index

    def _more(self, message: Array) -> Array:
        """(n, ...) to (c - n, ...): the message of the nodes of all columns after the first n."""
        return message.at[self.owner[self.size :]].get(mode="promise_in_bounds")


def as_edges(network: Split) -> Edges:
    """The same network as a list of edges, its weights differentiable; the index must not be traced."""
    index, owner = np.asarray(network.index), np.asarray(network.owner)
    slot, column = np.nonzero(owner[None, :] < index)
    pairs = np.stack([owner[column], index[slot, column]])
    return Edges(
        weights=network.weights[..., slot, column], pairs=jnp.asarray(pairs), size=network.size, link=network.link
    )
