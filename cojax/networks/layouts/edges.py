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

    def ends(self, message):
        return message.at[self.pairs].get(mode="promise_in_bounds")

    def swap(self, near):
        return near[::-1]

    def collect(self, flux):
        return jnp.zeros((self.size, *flux.shape[2:]), flux.dtype).at[self.pairs].add(flux, mode="promise_in_bounds")

    def thin(self, keep):
        return self.reweighted(jnp.where(keep(*self.pairs), self.weights, 0))
