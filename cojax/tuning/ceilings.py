"""The step sizes that theory allows, as functions of weights, mixing and momentum that have derivatives."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._support.precision import in_full
from ..methods import (
    DGD,
    EXTRA,
    LEAD,
    NIDS,
    ATCTracking,
    Choco,
    DIGing,
    ExactDiffusion,
    HeavyBall,
    Laplacian,
    Method,
    MomentumFlow,
    Nesterov,
    PushDIGing,
    PushPull,
    TrackingMomentum,
)
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
    matrices = laplacians(layout)
    if type(method) in SHARES and curvatures.allocate is not None:
        roots = jnp.sqrt(jnp.asarray(curvatures.allocate, matrices.dtype))
        most = _top(matrices * (roots[:, None] * roots[None])[None])
        return SHARES[type(method)](method) / most
    if type(method) in LEARNERS and curvatures.learn is not None:
        room = jnp.maximum(2.0 - getattr(method, "mixing", 1.0) * _top(matrices), 0.0)
        return LEARNERS[type(method)](method, room, is_fixed(network)) / curvatures.learn
    return None


def laplacians(layout: Layout) -> Float[Array, "T n n"]:
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


def _heavy(method: Any) -> Any:
    return 2.0 * (1.0 + method.momentum)


def _nesterov(method: Any) -> Any:
    return 2.0 * (1.0 + method.momentum) / (1.0 + 2.0 * method.momentum)


def _weighs(method: Any, room: Array, fixed: bool) -> Array:
    return room


def _alone(method: Any, room: Array, fixed: bool) -> Array:
    return jnp.where(room > 0, 2.0, 0.0)


def _tracks(method: Any, room: Array, fixed: bool) -> Array:
    return room**2 / 2.0


def _tracks_with_momentum(method: Any, room: Array, fixed: bool) -> Array:
    return room * (room + 2.0 * method.momentum) / 2.0


def _adapts_then_tracks(method: Any, room: Array, fixed: bool) -> Array:
    if not fixed:
        return _tracks(method, room, fixed)
    lowest = room - 1.0
    below = jnp.minimum(2.0, (1.0 - lowest**2) / jnp.where(lowest < 0, -lowest, 1.0))
    return jnp.where(lowest > -1e-12, 2.0, below)


SHARES: dict[type[Method], Callable[[Any], Any]] = {
    Laplacian: lambda method: 2.0,
    HeavyBall: _heavy,
    MomentumFlow: _heavy,
    Nesterov: _nesterov,
}
LEARNERS: dict[type[Method], Callable[[Any, Array, bool], Array]] = {
    DGD: _weighs,
    EXTRA: _weighs,
    NIDS: _alone,
    ExactDiffusion: _alone,
    LEAD: _alone,
    Choco: _alone,
    DIGing: _tracks,
    PushPull: _tracks,
    TrackingMomentum: _tracks_with_momentum,
    ATCTracking: _adapts_then_tracks,
    PushDIGing: _adapts_then_tracks,
}
