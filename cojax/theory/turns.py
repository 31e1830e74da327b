"""Whether a method that keeps a memory of old flows is stable over graphs that take turns."""

import numpy as np

from .._support.checks import CojaxInputError, check_kinds
from ..networks.base import Network
from .spectra import MOST_DENSE, laplacians


def apapc_radius(network: Network, curvature: float, step_size: float, blend: float, gain: float) -> float:
    """The factor by which `APAPC` grows in one whole turn of the graphs, where all nodes have one quadratic cost.

    The spectral radius of the product of its steps, exact; 1 and more is divergence. On one graph it is below 1 for all
    that `apapc_limit` allows. Where nodes wait long for their links it need not be: the dual of a node alone pushes on.

    Args: curvature, of every node's cost; the rest as in `APAPC`, convexity 0. Losses are left out.
    Raises `CojaxInputError` above 400 nodes, and as `laplacians`.
    """
    check_kinds("theory.apapc_radius", ("network", network, Network))
    if network.num_nodes > MOST_DENSE:
        raise CojaxInputError(f"apapc_radius needs at most {MOST_DENSE} nodes, got {network.num_nodes}.")
    size = network.num_nodes
    params, ahead, dual = np.split(np.eye(3 * size), 3)
    turn = np.eye(3 * size)
    at = blend * params + (1 - blend) * ahead
    for laplacian in laplacians(network):
        told = params - step_size * (curvature * at + dual)
        pushed = dual + gain / step_size * (laplacian @ told)
        moved = params - step_size * (curvature * at + pushed)
        turn = np.vstack([moved, at + 2 * blend / (2 - blend) * (moved - params), pushed]) @ turn
    # The sum of the duals stays what it is, 0.
    turn[2 * size :] -= turn[2 * size :].mean(0)
    return float(np.abs(np.linalg.eigvals(turn)).max())
