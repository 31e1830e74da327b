"""The step sizes that theory allows, as functions of weights, mixing and momentum that have derivatives."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._support.precision import in_full
from ..methods.facts import KNOWN
from ..networks.base import Layout, Network
from ..networks.layouts.directed import Digraph, Directed
from ..theory import is_fixed


class Curvatures(NamedTuple):
    """The largest second derivatives that the ensemble shows."""

    learn: float | None  # of any node's cost in its params
    allocate: Any | None  # (n,) of every node's cost plus penalty in its share


def ceiling(method: Any, network: Network, curvatures: Curvatures) -> Float[Array, ""] | None:
    """The limit of `cojax.theory` of the step size of `method`; None where theory has none, or cannot see the graph.

    Differentiable in weights, mixing and momentum.
    """
    layout = _layout(network)
    if layout is None:
        return None
    matrices = dense_laplacians(layout)
    facts: Any = KNOWN.get(type(method))
    if facts is None or facts.bound is None:
        return None
    if facts.half == "allocate" and curvatures.allocate is not None:
        roots = jnp.sqrt(jnp.asarray(curvatures.allocate, matrices.dtype))
        most = _top(matrices * (roots[:, None] * roots[None])[None])
        return facts.bound(method, None, is_fixed(network)) / most
    if facts.half == "learn" and curvatures.learn is not None:
        room = jnp.maximum(2.0 - getattr(method, "mixing", 1.0) * _top(matrices), 0.0)
        return facts.bound(method, room, is_fixed(network)) / curvatures.learn
    return None


def dense_laplacians(layout: Layout) -> Float[Array, "T n n"]:
    """The weighted Laplacian of every graph that takes its turn."""
    size = layout.num_nodes
    one = layout.at(0)
    senders, receivers = one.ends()
    found = []
    for k in range(layout.num_graphs):
        weights = layout.at(k).edge_weights()
        matrix = jnp.zeros((size, size), weights.dtype).at[receivers, senders].add(weights)
        matrix = jnp.where(jnp.eye(size, dtype=bool), 0, matrix)
        found.append(jnp.diag(matrix.sum(1)) - matrix)
    return jnp.stack(found)


def _layout(network: Network) -> Layout | None:
    inner = network.bare()
    return inner if isinstance(inner, Layout) and not isinstance(inner, Digraph | Directed) else None


@in_full
def _top(matrices: Float[Array, "T n n"]) -> Float[Array, ""]:
    """The largest eigenvalue of all; its derivative is that of v' A v, v held: double ones have one too."""
    _, vectors = jnp.linalg.eigh(lax.stop_gradient(matrices))
    top = vectors[:, :, -1]
    return jnp.max(jnp.einsum("ti,tij,tj->t", top, matrices, top))
