"""Networks stored as weight matrices: small, really dense, or directed ones."""

import functools
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ._checks import CojaxInputError, is_concrete
from ._layout_checks import check_matrix, check_square
from ._straight import straight_through
from ._tree import spread
from .edges import Along, Pull, Push, Same, Transfer, Weigh, check_linear
from .layouts import Layout
from .links import Ideal, Link
from .slots import SLOTS_AT_ONCE

# Fewer numbers are heard faster as one block.
LEAST_HEARD = 64


class Dense(Layout):
    """A symmetric weight matrix: for small or really dense graphs.

    Fields: weights (n, n), or (T, n, n) for T graphs in turn; differentiable.
    """

    weights: Float[Array, "*T n n"]
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3
    symmetric: ClassVar[bool] = True

    def __check_init__(self):
        if is_concrete(self.weights):
            check_matrix("Dense", np.asarray(self.weights), symmetric=True)

    @property
    def num_nodes(self) -> int:
        return self.weights.shape[-1]

    def hear(self, law, heard):
        if isinstance(law, Weigh):
            return _matrix_flow(self.weights, self.weights.sum(1), heard)
        # Rows stand for columns, in derivatives too: they are the same numbers, and need no turning in every step.
        if not (isinstance(law, Transfer) and isinstance(law.odd, Same)):
            return _law_flow(law, self.weights, heard)
        rounded = _law_flow(*lax.stop_gradient((law, self.weights, heard)))
        exact = spread(law.step_size, heard) * _matrix_flow(self.weights.T, self.weights.sum(0), heard)
        return straight_through(rounded, exact)

    def edge_weights(self):
        return self.weights

    def ends(self, message):
        return jnp.broadcast_to(message[:, None], (*self.weights.shape, *message.shape[1:]))

    def swap(self, near):
        return near.swapaxes(0, 1)

    def collect(self, flux):
        return flux.sum(1)

    def thin(self, keep):
        nodes = jnp.arange(self.num_nodes)
        kept = keep(nodes[:, None], nodes[None, :])
        return self.reweighted(jnp.where(kept, self.weights, 0))


class _Arcs(Layout):
    """Links of one direction: nothing that needs the two ends of an edge can be had."""

    weights: Float[Array, "*T n n"]
    link: Link = Ideal()
    turns_ndim: ClassVar[int] = 3
    symmetric: ClassVar[bool] = False

    @property
    def num_nodes(self) -> int:
        return self.weights.shape[-1]

    def thin(self, keep):
        raise CojaxInputError("A directed network that loses links loses sums: use an undirected network with Lossy.")

    def edge_weights(self):
        raise CojaxInputError("A directed network has no edges with two ends: use a link without memory per edge.")

    def ends(self, message):
        return self.edge_weights()

    def swap(self, near):
        return self.edge_weights()

    def collect(self, flux):
        return self.edge_weights()


class Digraph(_Arcs):
    """A weight-balanced directed graph: every row of the weights sums to what its column sums to.

    weights[i, j] is what node i puts on what it hears from j. Node i gives w_ji m_i to every j and receives w_ij m_j:
    only what is sent by a node may be quantized here, never a difference.

    Fields: weights (n, n), or (T, n, n) for T graphs in turn; differentiable.
    Source: weight-balanced consensus without stochasticity, arXiv 2104.00399.
    """

    def __check_init__(self):
        if is_concrete(self.weights):
            check_matrix("Digraph", np.asarray(self.weights), symmetric=False)

    def hear(self, law, heard):
        if isinstance(law, Weigh | Push | Pull):
            return _matrix_flow(self.weights, self.weights.sum(0), heard)
        check_linear("A digraph", law)
        # What j gives to i is rounded once and subtracted at j: exact, although the weights are not symmetric.
        given = law(self.weights, jnp.broadcast_to(heard[None], (*self.weights.shape, *heard.shape[1:])))
        return given.sum(1) - given.sum(0)


class Directed(_Arcs):
    """A directed graph with weights that need not be balanced, for the methods made for it: `PushDIGing`, `PushPull`.

    weights[i, j] is what node i puts on what it hears from j; `cojax.weights.directed` makes them from arcs. Rows and
    columns sum to less than 1, so that what `Pull` and `Push` make of messages is stochastic with a positive diagonal.

    Fields: weights (n, n), or (T, n, n) for T graphs in turn; differentiable.
    Raises `CojaxInputError` for weights that are negative, not finite, or sum to 1 or more.
    """

    def __check_init__(self):
        if is_concrete(self.weights):
            weights = np.asarray(self.weights)
            check_square("Directed", weights)
            most = float(max(weights.sum(-1).max(), weights.sum(-2).max()))
            if most >= 1:
                raise CojaxInputError(
                    f"Directed needs weights that sum to less than 1 over every row and column, got {most:g}: a node "
                    "that keeps nothing of its own need not settle; use cojax.weights.directed."
                )

    def hear(self, law, heard):
        if isinstance(law, Pull):
            return _matrix_flow(self.weights, self.weights.sum(1), heard)
        if isinstance(law, Push):
            # Not centred: where weights are not balanced, equal messages flow too.
            weights = self.weights.astype(heard.dtype)
            received = jnp.tensordot(weights, heard, axes=1, precision=lax.Precision.HIGHEST)
            return received - spread(weights.sum(0), heard) * heard
        raise CojaxInputError(
            f"A Directed network needs a method that pushes or pulls, got the law {type(law).__name__}, which needs "
            "balanced weights; use PushDIGing or PushPull, or a Digraph of cojax.network, which balances them."
        )


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
    return _product(weights, centred) - spread(given, heard) * centred


def _product(weights: Array, rows: Array) -> Array:
    """weights @ rows; of few short rows column by column, because calling a product takes 0.3 us on a CPU."""
    num_nodes, width = weights.shape[0], rows.size // rows.shape[0]
    whole = jnp.tensordot(weights, rows, axes=1, precision=lax.Precision.HIGHEST)
    if width == 1 or num_nodes > 32 or num_nodes**3 * width > 420_000:
        return whole
    columns, heard = lax.stop_gradient((weights.T, rows))
    parts = (spread(column, heard) * row[None] for column, row in zip(columns, heard, strict=True))
    return straight_through(functools.reduce(jnp.add, parts), whole)
