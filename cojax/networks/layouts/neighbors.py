"""From what every node heard to its flow: the weighted sum of differences with its neighbours."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._support.checks import is_concrete
from ..base import Layout, Link
from ..laws import Along
from ..links.links import Ideal
from .adjoints import flow
from .checks import check_table
from .slots import compiled_apart, sum_slots, swap


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

    def flow_alone(self, wire, along, step):
        return compiled_apart(lambda: self.exchange(wire, along, None)[0], step)

    def sums(self, law: Along, heard: Array) -> Array:
        """The flow by its formula; here and in other layouts, what `flow` differentiates in its own way."""
        return sum_slots(law, self.weights, self.index, heard, heard)

    def turned(self) -> "Neighbors":
        """This table with the weight of the other end of every edge, the same but where a derivative asks."""
        return self.reweighted(self.reverse(self.weights))

    def edge_weights(self):
        return self.weights

    def gather(self, rows):
        return jnp.broadcast_to(rows[None], (*self.index.shape, *rows.shape[1:]))

    def reverse(self, arcs):
        return swap(arcs, self.index, self.twin)

    def scatter(self, arcs):
        return arcs.sum(0)

    def theirs(self, rows):
        return rows.at[self.index].get(mode="promise_in_bounds", wrap_negative_indices=False)

    def largest(self, arcs):
        return arcs.max(0, initial=-jnp.inf)

    def named_ends(self):
        return jnp.arange(self.num_nodes)[None, :], self.index
