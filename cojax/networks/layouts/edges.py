"""Every undirected edge once."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._support.checks import is_concrete
from ..base import Layout, Link
from ..links.links import Ideal
from .checks import check_edges


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

    def gather(self, rows):
        return rows.at[self.pairs].get(mode="promise_in_bounds")

    def reverse(self, arcs):
        return arcs[::-1]

    def scatter(self, arcs):
        return jnp.zeros((self.size, *arcs.shape[2:]), arcs.dtype).at[self.pairs].add(arcs, mode="promise_in_bounds")

    def largest(self, arcs):
        none = jnp.full(self.size, -jnp.inf, arcs.dtype)
        return none.at[self.pairs].max(arcs, mode="promise_in_bounds")

    def named_ends(self):
        return self.pairs[0], self.pairs[1]
