"""Networks stored as weight matrices: small, really dense, or directed ones."""

import functools
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..._support.checks import is_concrete
from ..._support.straight_through import straight_through
from ..._support.trees import spread_over
from ..base import Layout, Link
from ..laws import Along, Same, Transfer, Weigh
from ..links.links import Ideal
from .checks import check_matrix
from .slots import SLOTS_AT_ONCE

# Fewer numbers are heard faster as one block.
LEAST_HEARD = 64
# Up to so many nodes, and so many products in all, columns are added one by one (`benchmarks/which_layout.py`).
MOST_COLUMNS, MOST_PRODUCTS = 32, 420_000


class Matrix(Layout):
    """Weights of which row i is what node i puts on what it hears, entry by entry."""

    weights: Float[Array, "*T n n"]
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3

    @property
    def num_nodes(self) -> int:
        return self.weights.shape[-1]

    def edge_weights(self):
        return self.weights

    def gather(self, rows):
        return jnp.broadcast_to(rows[:, None], (*self.weights.shape, *rows.shape[1:]))

    def scatter(self, arcs):
        return arcs.sum(1)

    def largest(self, arcs):
        return arcs.max(1, initial=-jnp.inf)


class Dense(Matrix):
    """A symmetric weight matrix: for small or really dense graphs.

    Fields: weights (n, n), or (T, n, n) for T graphs in turn; differentiable.
    """

    symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if is_concrete(self.weights):
            check_matrix("Dense", np.asarray(self.weights), symmetric=True)

    def hear(self, law, heard):
        if isinstance(law, Weigh):
            return _matrix_flow(self.weights, self.weights.sum(1), heard)
        # Rows stand for columns, in derivatives too: they are the same numbers, and need no turning in every step.
        if not (isinstance(law, Transfer) and isinstance(law.odd, Same)):
            return _law_flow(law, self.weights, heard)
        rounded = _law_flow(*lax.stop_gradient((law, self.weights, heard)))
        exact = spread_over(law.step_size, heard) * _matrix_flow(self.weights.T, self.weights.sum(0), heard)
        return straight_through(rounded, exact)

    def reverse(self, arcs):
        return arcs.swapaxes(0, 1)

    def named_ends(self):
        nodes = jnp.arange(self.num_nodes)
        return nodes[:, None], nodes[None, :]


def _law_flow(law: Along, columns: Array, heard: Array) -> Array:
    """sum_j law(w_ij, heard_j - heard_i); on CPUs some j at a time, as XLA sums a block (n, n, ...) there slowly."""
    if heard.size < LEAST_HEARD:
        return _at_once(law, columns, heard)
    return lax.platform_dependent(law, columns, heard, cpu=_by_columns, default=_at_once)


def _at_once(law: Along, columns: Array, heard: Array) -> Array:
    return law(columns, heard[:, None] - heard[None]).sum(0)


def _by_columns(law: Along, columns: Array, heard: Array) -> Array:
    def add_nodes(total: Array, nodes: tuple[Array, Array]) -> tuple[Array, None]:
        for column, other in zip(*nodes, strict=True):
            total = total + law(column, other[None] - heard)
        return total, None

    num_groups, first = divmod(len(heard), SLOTS_AT_ONCE)
    total, _ = add_nodes(jnp.zeros_like(heard), (columns[:first], heard[:first]))
    if not num_groups:
        return total

    def grouped(nodes: Array) -> Array:
        return nodes[first:].reshape(num_groups, SLOTS_AT_ONCE, *nodes.shape[1:])

    return lax.scan(add_nodes, total, (grouped(columns), grouped(heard)))[0]


def _matrix_flow(weights: Array, given: Array, heard: Array) -> Array:
    # Centring makes equal messages cancel exactly; otherwise rounding leaks what should be conserved.
    centred = heard - heard[:1]
    weights, given = weights.astype(heard.dtype), given.astype(heard.dtype)
    return _product(weights, centred) - spread_over(given, heard) * centred


def _product(weights: Array, rows: Array) -> Array:
    """weights @ rows; of few short rows column by column, because calling a product takes 0.3 us on a CPU."""
    num_nodes, width = weights.shape[0], rows.size // rows.shape[0]
    whole = jnp.tensordot(weights, rows, axes=1, precision=lax.Precision.HIGHEST)
    if width == 1 or num_nodes > MOST_COLUMNS or num_nodes**3 * width > MOST_PRODUCTS:
        return whole
    columns, heard = lax.stop_gradient((weights.T, rows))
    parts = (spread_over(column, heard) * row[None] for column, row in zip(columns, heard, strict=True))
    return straight_through(functools.reduce(jnp.add, parts), whole)
