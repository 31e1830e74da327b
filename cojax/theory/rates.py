"""How fast the cost of an allocation falls, proved before the run."""

from typing import Any

from .._support.checks import CojaxInputError, check_number
from ..networks.base import Network
from .limits import Limit, largest_scaled_eigenvalue
from .spectra import check_curvatures, is_fixed, laplacians, second_eigenvalue


def allocation_rate(network: Network, low: Any, high: Any, step_size: float) -> Limit:
    """1 - 2 s l (1 - s m / 2): no step of `Laplacian(s)` leaves more of the gap to the least cost than this part.

    l is lambda_2(D_low^1/2 L D_low^1/2), m is lambda_max(D_high^1/2 L D_high^1/2). By the descent lemma a step saves at
    least s (1 - s m / 2) g'Lg, and by strong convexity g'Lg is at least 2 l times the gap. For costs without bounds, or
    with their penalty, on one graph without loss, over exact links.

    Args:
        network: fixed and undirected.
        low, high: (n,) or one number, > 0, the least and the largest second derivatives of the nodes' costs in cpu.
        step_size: below 2 / m, `allocation_limit`; 1 / m is best.

    Raises `CojaxInputError` for a network that switches or loses links, a step at or above 2 / m, numbers <= 0,
    and low > high.
    """
    check_number("allocation_rate", "low", low, above=0.0)
    check_number("allocation_rate", "high", high, above=0.0)
    check_curvatures("allocation_rate", low, high)
    check_number("allocation_rate", "step_size", step_size, above=0.0, shaped=())
    if not is_fixed(network):
        raise CojaxInputError(
            "theory.allocation_rate needs a fixed network without loss, got one that changes: a step on a graph that "
            "is not connected need not save anything."
        )
    most, matrix = largest_scaled_eigenvalue(network, high), laplacians(network)[0]
    if not step_size < 2.0 / most:
        raise CojaxInputError(
            f"theory.allocation_rate needs a step_size below {2.0 / most:.4g}, got {step_size:g}, where the cost may "
            "rise; see allocation_limit."
        )
    least = second_eigenvalue(matrix, low) if matrix.nnz else 0.0
    value = 1.0 - 2.0 * step_size * least * (1.0 - step_size * most / 2.0)
    said = "second derivatives between low and high, one graph without loss, exact links"
    return Limit(max(value, 0.0), said, "sufficient", "the descent lemma and strong convexity")
