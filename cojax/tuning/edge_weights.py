"""Edge weights from any real numbers: symmetric, not negative, and node sums below a cap."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._support.checks import CojaxInputError
from ..networks.base import Layout
from ..networks.build import build
from ..networks.layouts.circulant import Circulant
from ..networks.layouts.directed import Digraph, Directed
from ..networks.layouts.edges import Edges
from .knobs import Knob
from .paths import Pair, layout_of, with_layout

SHARPNESS = 8.0  # of the smooth maximum of both ends' degrees
MOST_NODES = 500  # up to which eigenvalues of dense Laplacians are cheap beside a run


class EdgeWeights(Knob):
    """One weight for every edge of every graph: w_ij = v_ij (1 + (d_i/D)^8 + (d_j/D)^8)^(-1/8), v = softplus(theta).

    d_i = sum_j v_ij. Whatever theta, weights are symmetric and >= 0, and no node's sum exceeds D, 1 or what it was at
    first: so lambda_n <= 2 D. An edge that is not in the graph stays out. Large theta give Metropolis-like weights.
    """

    order = 0

    def first(self, pair, setting):
        plan = _plan(pair)
        wanted = jnp.asarray(plan.table)
        raw = wanted
        for _ in range(60):  # v = w / factor(v), which contracts away from the cap and creeps at it
            raw = wanted / jnp.maximum(_shrinkage(raw, plan.pairs, plan.cap, setting.num_nodes), 1e-3)
        raw = jnp.clip(raw, 1e-6, 30.0)
        return raw + jnp.log(-jnp.expm1(-raw))

    def turn(self, theta, pair, given, setting):
        # The graph is no unknown: what is said of it is computed while tracing, not in every run.
        with jax.ensure_compile_time_eval():
            plan = _plan(given)
        weights = cap_weights(theta, plan.table > 0, plan.pairs, plan.cap, setting.num_nodes)
        return pair[0], with_layout(pair[1], with_edge_weights(plan, layout_of(pair[1]), weights))


class _Plan(NamedTuple):
    """Where the edges of a network are."""

    pairs: Int[np.ndarray, "2 e"]
    table: Float[np.ndarray, "T e"]  # the weights at first
    cap: float
    layout: Layout  # with a weight of its own for every edge
    slots: Int[np.ndarray, "..."]  # the edge of every entry of its weights, e where there is none


def _plan(pair: Pair) -> _Plan:
    given = layout_of(pair[1])
    _check(given)
    pairs, table = edges_of(given)
    size = given.num_nodes
    layout = given
    if isinstance(given, Circulant):
        built = build(size, pairs, table, link=given.link, layout="neighbors")
        layout = dataclasses.replace(built, node_names=given.node_names)
    ends = layout.pairs if isinstance(layout, Edges) else _both_ends(layout)
    place = np.full((size, size), pairs.shape[1])
    place[pairs[0], pairs[1]] = place[pairs[1], pairs[0]] = np.arange(pairs.shape[1])
    most = max(np.bincount(pairs.ravel(), np.tile(row, 2), size).max(initial=0) for row in table)
    first, second = np.asarray(ends)
    return _Plan(pairs, table, max(1.0, 1.001 * float(most)), layout, place[first, second])


def with_edge_weights(plan: _Plan, layout: Layout, weights: Float[Array, "T e"]) -> Layout:
    """The layout of the plan with these weights on its edges and the link of `layout`."""
    padded = jnp.concatenate([weights, jnp.zeros_like(weights[:, :1])], axis=1)
    laid = padded[:, plan.slots].astype(plan.layout.weights.dtype)
    laid = laid if plan.layout.weights.ndim == plan.layout.turns_ndim else laid[0]
    return dataclasses.replace(plan.layout.reweighted(laid), link=layout.link)


def _both_ends(layout: Layout) -> Int[np.ndarray, "2 ..."]:
    senders, receivers = layout.at(0).ends()
    return np.stack([np.asarray(receivers), np.asarray(senders)])


def edges_of(layout: Layout) -> tuple[Int[np.ndarray, "2 e"], Float[np.ndarray, "T e"]]:
    """Every edge of the union once, and its weight in every graph."""
    size = layout.num_nodes
    receivers, senders = _both_ends(layout).reshape(2, -1)
    turns = [np.asarray(layout.at(k).edge_weights(), np.float64).ravel() for k in range(layout.num_graphs)]
    matrices = np.zeros((len(turns), size, size))
    for matrix, weights in zip(matrices, turns, strict=True):
        matrix[receivers[weights > 0], senders[weights > 0]] = weights[weights > 0]
    pairs = np.argwhere(np.triu(matrices.max(0), 1) > 0).T
    return pairs, matrices[:, pairs[0], pairs[1]]


def cap_weights(
    theta: Float[Array, "T e"], there: Any, pairs: Int[np.ndarray, "2 e"], cap: float, num_nodes: int
) -> Float[Array, "T e"]:
    """The weights that theta stands for, zero where an edge is not there; every node's sum is at most `cap`."""
    raw = jnp.where(there, jax.nn.softplus(theta), 0.0)
    # A hair below: rounding in the sum must not lift it over the cap.
    return (1 - 64 * jnp.finfo(raw.dtype).eps) * raw * _shrinkage(raw, pairs, cap, num_nodes)


def _shrinkage(raw: Array, pairs: np.ndarray, cap: float, num_nodes: int) -> Array:
    degrees = jnp.zeros((raw.shape[0], num_nodes), raw.dtype).at[:, pairs[0]].add(raw).at[:, pairs[1]].add(raw)
    # In logarithms: the eighth power of a large degree has no place in a float.
    logs = SHARPNESS * jnp.log(jnp.maximum(degrees / cap, 1e-12))
    both = jnp.stack([jnp.zeros_like(raw), logs[:, pairs[0]], logs[:, pairs[1]]])
    return jnp.exp(-jax.nn.logsumexp(both, axis=0) / SHARPNESS)


def _check(layout: Layout) -> None:
    if isinstance(layout, Digraph | Directed):
        raise CojaxInputError(
            f"tune needs an undirected network for its edge weights, got a {type(layout).__name__}: a weight that "
            "changes alone breaks the balance; tune the method's numbers only."
        )
    if layout.num_nodes > MOST_NODES:
        raise CojaxInputError(
            f"tune needs at most {MOST_NODES} nodes for edge weights, got {layout.num_nodes}: every gradient takes "
            "eigenvalues of dense Laplacians; use cojax.weights.metropolis or best_constant."
        )
