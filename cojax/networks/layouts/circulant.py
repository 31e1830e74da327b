"""Graphs in which every node has the same offsets to its neighbours."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..._support.checks import is_concrete
from ..base import Layout, Link
from ..links.links import Ideal
from .checks import check_offsets

# Rows of this many numbers are gathered faster than they are shifted.
LONG_ROW = 20


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
        for weights, other in zip(self.edge_weights(), _shift(heard, self.offsets), strict=True):
            total = total + law(weights, other - heard)
        return total

    def edge_weights(self):
        return jnp.broadcast_to(self.weights, (len(self.offsets), self.size))

    def gather(self, rows):
        return jnp.broadcast_to(rows[None], (len(self.offsets), *rows.shape))

    def reverse(self, arcs):
        mirrored = [self.offsets.index(self.size - offset) for offset in self.offsets]
        rolled = [jnp.roll(arcs[back], -offset, axis=0) for back, offset in zip(mirrored, self.offsets, strict=True)]
        return jnp.stack(rolled)

    def scatter(self, arcs):
        return arcs.sum(0)

    def theirs(self, rows):
        return jnp.stack(_shift(rows, self.offsets))

    def largest(self, arcs):
        return arcs.max(0, initial=-jnp.inf)

    def named_ends(self):
        nodes = jnp.arange(self.size)
        return nodes[None, :], (nodes[None, :] + jnp.asarray(self.offsets)[:, None]) % self.size


def _shift(heard: Array, offsets: tuple[int, ...]) -> list[Array]:
    """heard[(i + offset) % n] for every offset: slices of one copy with its ends wrapped around, or gathers.

    XLA on CPU runs a `jnp.roll` an offset several times slower than either. Slices are up to 6 times as fast as gathers
    where rows are short, gathers up to 1.8 times as fast where they are long (`docs/benchmarks/tried_by_hand.md`).
    """
    size = heard.shape[0]
    if heard.size >= LONG_ROW * size:
        nodes = jnp.arange(size)
        return [heard.at[(nodes + offset) % size].get(mode="promise_in_bounds") for offset in offsets]
    nearest = [offset if 2 * offset <= size else offset - size for offset in offsets]
    reach = max(abs(offset) for offset in nearest)
    wrapped = jnp.concatenate([heard[size - reach :], heard, heard[:reach]])
    return [lax.slice_in_dim(wrapped, reach + offset, reach + offset + size) for offset in nearest]
