"""Whether a method that keeps a memory of old flows is stable over graphs that take turns."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from .._support.checks import check_kinds
from ..networks.base import Network
from .spectra import laplacians

States = Float[np.ndarray, "s k"]  # of k runs: params, where the momentum leads, and duals, of all nodes
MOST_EXACT = 100  # nodes, whose eigenvalues all are found in a tenth of a second
MOST_VECTORS, MOST_ENTRIES = 80, 2**27  # of Arnoldi's basis, which takes a gigabyte at most


def apapc_radius(network: Network, curvature: float, step_size: float, blend: float, gain: float) -> float:
    """The factor by which `APAPC` grows in one whole turn of the graphs, where all nodes have one quadratic cost.

    The spectral radius of the product of its steps; 1 and more is divergence. Exact up to 100 nodes; of more the
    largest Ritz value of up to 80 turns (Arnoldi), which is near it: of what decays a little more, at times 1 and more.
    On one graph it is below 1 for all that `apapc_limit` allows. Where nodes wait long for their links it need not be:
    the dual of a node alone pushes on.

    Args: curvature, of every node's cost; the rest as in `APAPC`, convexity 0. Losses are left out.
    Raises `CojaxInputError` as `laplacians`.
    """
    check_kinds("theory.apapc_radius", ("network", network, Network))
    return apapc_radius_of(laplacians(network), curvature, step_size, blend, gain)


def apapc_radius_of(graphs: Sequence[Any], curvature: float, step_size: float, blend: float, gain: float) -> float:
    """`apapc_radius` of Laplacians in turn, as SciPy's sparse matrices."""
    size = graphs[0].shape[0]

    def turn(states: States) -> States:
        params, ahead, dual = np.split(states, 3)
        for laplacian in graphs:
            at = blend * params + (1 - blend) * ahead
            told = params - step_size * (curvature * at + dual)
            dual = dual + gain / step_size * (laplacian @ told)
            moved = params - step_size * (curvature * at + dual)
            params, ahead = moved, at + 2 * blend / (2 - blend) * (moved - params)
        # The sum of the duals stays what it is, 0.
        return np.concatenate([params, ahead, dual - dual.mean(0)])

    if size <= MOST_EXACT:
        return _radius(turn(np.eye(3 * size)))
    return _largest_ritz_value(turn, 3 * size)


def with_losses(graphs: Sequence[Any], loss: float, num_turns: int) -> list[Any]:
    """Laplacians of so many turns, in which every link fails with probability `loss`, both ways, drawn once."""
    random, drawn = np.random.default_rng(0), []
    for laplacian in [*graphs] * num_turns:
        upper: Any = sparse.triu(laplacian, 1)
        weights = upper.multiply(
            sparse.coo_array((random.uniform(size=upper.nnz) >= loss, upper.nonzero()), upper.shape)
        )
        weights = -(weights + weights.T)
        drawn.append((sparse.diags_array(weights.sum(1)) - weights).tocsr())
    return drawn


def _largest_ritz_value(turn: Callable[[States], States], size: int) -> float:
    """By Arnoldi's iteration from a random start, without restarts; Saad 2011, doi 10.1137/1.9781611970739."""
    count = max(min(MOST_VECTORS, MOST_ENTRIES // size), 2)
    basis, factors = np.zeros((count + 1, size)), np.zeros((count + 1, count))
    first = turn(np.random.default_rng(0).normal(size=(size, 1)))[:, 0]
    basis[0] = first / np.linalg.norm(first)
    for place in range(count):
        found, known = turn(basis[place][:, None])[:, 0], basis[: place + 1]
        for _ in range(2):  # once is not enough for float64
            parts = known @ found
            found = found - parts @ known
            factors[: place + 1, place] += parts
        factors[place + 1, place] = left = math.sqrt(found @ found)
        if left < 1e-13 * np.abs(factors).max():  # the basis holds all that a turn can make of the start
            return _radius(factors[: place + 1, : place + 1])
        basis[place + 1] = found / left
    return _radius(factors[:count])


def _radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())
