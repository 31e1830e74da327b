"""Whether a method that keeps a memory of old flows is stable over graphs that take turns."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .._support.checks import check_kinds
from ..networks.base import Network
from .spectra import laplacians

States = Float[np.ndarray, "s k"]  # of k runs: params, where the momentum leads, and duals, of all nodes
MOST_EXACT = 100  # nodes, whose eigenvalues all are found in a tenth of a second
MOST_VECTORS, MOST_ENTRIES = 80, 2**27  # of Arnoldi's basis, which takes a gigabyte at most
SHOWN = 25  # turns in which a mode shows how it grows


def apapc_radius(network: Network, curvature: float, step_size: float, blend: float, gain: float) -> float:
    """The factor by which `APAPC` grows in one whole turn of the graphs, where all nodes have one quadratic cost.

    The spectral radius of the product of its steps; 1 and more is divergence. Exact up to 100 nodes; of more it is how
    the largest mode that 80 turns show (Arnoldi) grows in 25 more, to about 1 %. On one graph it is below 1 for all
    that `apapc_limit` allows. Where nodes wait long for their links it need not be: the dual of a node alone pushes on.

    Args: curvature, of every node's cost; the rest as in `APAPC`, convexity 0. Losses are left out.
    Raises `CojaxInputError` as `laplacians`.
    """
    check_kinds("theory.apapc_radius", ("network", network, Network))
    graphs = laplacians(network)
    # Without flows, as all nodes together: params, and where the momentum leads.
    at, push = np.asarray([blend, 1 - blend]), 2 * blend / (2 - blend)
    moved = np.asarray([1.0, 0.0]) - step_size * curvature * at
    together = _radius(np.stack([moved, at + push * (moved - [1.0, 0.0])])) ** len(graphs)
    return max(together, disagreement_radius(graphs, curvature, step_size, blend, gain))


def disagreement_radius(graphs: Sequence[Any], curvature: float, step_size: float, blend: float, gain: float) -> float:
    """`apapc_radius` of what nodes differ by, of Laplacians in turn, as SciPy's sparse matrices; of a node alone 0.

    Infinite where one turn makes numbers that float64 does not hold.
    """
    size = graphs[0].shape[0]

    def turn(states: States) -> States:
        params, ahead, dual = np.split(states, 3)
        for laplacian in graphs:
            at = blend * params + (1 - blend) * ahead
            told = params - step_size * (curvature * at + dual)
            dual = dual + gain / step_size * (laplacian @ told)
            moved = params - step_size * (curvature * at + dual)
            params, ahead = moved, at + 2 * blend / (2 - blend) * (moved - params)
        return np.concatenate([each - each.mean(0) for each in (params, ahead, dual)])

    with np.errstate(over="ignore", invalid="ignore"):
        return _radius(turn(np.eye(3 * size))) if size <= MOST_EXACT else _largest_mode(turn, 3 * size)


def with_losses(graphs: Sequence[Any], loss: float, num_turns: int) -> list[Any]:
    """Laplacians of so many turns, in which every link fails with probability `loss`, both ways, drawn once."""
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    random, drawn = np.random.default_rng(0), []
    for laplacian in [*graphs] * num_turns:
        upper: Any = sparse.triu(laplacian, 1)
        weights = upper.multiply(
            sparse.coo_array((random.uniform(size=upper.nnz) >= loss, upper.nonzero()), upper.shape)
        )
        weights = -(weights + weights.T)
        drawn.append((sparse.diags_array(weights.sum(1)) - weights).tocsr())
    return drawn


def _largest_mode(turn: Callable[[States], States], size: int) -> float:
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
        if not math.isfinite(left):
            return math.inf
        if left < 1e-13 * np.abs(factors).max():  # the basis holds all that a turn can make of the start
            count = place + 1
            break
        basis[place + 1] = found / left
    values, vectors = np.linalg.eig(factors[:count, :count])
    vector = vectors[:, np.abs(values).argmax()] @ basis[:count]
    # A basis so small takes some modes for larger than they are: on its own the largest soon shows what it is.
    states, growths = np.stack([vector.real, vector.imag], axis=1), []
    for _ in range(2 * SHOWN):
        states = turn(states)
        growths.append(np.linalg.norm(states))
        states = states / (growths[-1] or 1.0)
    return float(np.exp(np.log(growths[SHOWN:]).mean())) if all(growths) else 0.0


def _radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max()) if np.isfinite(matrix).all() else math.inf
