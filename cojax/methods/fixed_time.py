"""The Laplacian flow of roots and powers, which ends in a time that no start exceeds."""

from typing import Any

from ..networks.laws import Powers
from .facts import CYCLES, known
from .laplacian import Laplacian


@known("allocate", "fixed_time", words=CYCLES)
def FixedTime(step_size: Any, low: float = 0.5, high: float = 1.5) -> Laplacian:
    """x_i+ = x_i + step_size * sum_j w_ij sign(d) (|d|**low + |d|**high), d = m_j - m_i, the marginal costs.

    In continuous time the optimum is reached within a time that does not depend on the start: two nodes of curvature c
    need step_size * steps < (1 / (1 - low) + 1 / (high - 1)) / (2 c w) at most. In steps it ends in the cycle of
    `FiniteTime`, and far from the optimum it is unstable unless c step_size w |d|**(high - 1) < 1: steps must be small.
    Undirected networks only. The total is exact.

    Args: step_size, > 0; low in (0, 1) and high > 1, multiples of 1/16.
    Source: Doostmohammadian, Aghasi, "Accelerated distributed allocation", arXiv 2401.15598; the bound is that of
    Polyakov, IEEE TAC 2012, doi 10.1109/TAC.2011.2179869.
    """
    return Laplacian(step_size, Powers(low, high))
