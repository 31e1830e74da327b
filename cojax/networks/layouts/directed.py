"""Networks whose links have one direction."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..._support.checks import CojaxInputError, is_concrete
from ..._support.trees import spread_over
from ..laws import Pull, Push, Weigh, check_linear
from .checks import check_matrix, check_square
from .dense import Matrix, _matrix_flow


class _Arcs(Matrix):
    """Links of one direction: nothing that needs the two ends of an edge can be had."""

    symmetric: ClassVar[bool] = False

    def ends(self):
        nodes = jnp.arange(self.num_nodes)
        hears, says = jnp.meshgrid(nodes, nodes, indexing="ij")
        return hears, says

    def named_ends(self):
        raise CojaxInputError("A directed network that loses links loses sums: use an undirected network with Lossy.")

    def theirs(self, rows):
        return jnp.broadcast_to(rows[None, :], self.weights.shape)

    def reverse(self, arcs):
        raise CojaxInputError("A directed network has no edges with two ends: use a link without memory per edge.")


class Digraph(_Arcs):
    """A weight-balanced directed graph: every row of the weights sums to what its column sums to.

    weights[i, j] is what node i puts on what it hears from j. Node i gives w_ji m_i to every j and receives w_ij m_j:
    only what is sent by a node may be quantized here, never a difference. So amounts travel where nothing need: where
    marginal costs are thousands of times what their differences are, what flows grows beyond what is added without
    rounding, and the total is kept to rounding only (`trace.imbalance` shows it). Along undirected links, differences
    flow.

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
            most = max(float(weights.sum(axis, dtype=np.float64).max()) for axis in (-1, -2))
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
            return received - spread_over(weights.sum(0), heard) * heard
        raise CojaxInputError(
            f"A Directed network needs a method that pushes or pulls, got the law {type(law).__name__}, which needs "
            "balanced weights; use PushDIGing or PushPull, or a Digraph of cojax.network, which balances them."
        )
