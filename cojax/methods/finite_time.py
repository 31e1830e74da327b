"""The Laplacian flow of roots, which ends in finite time."""

from typing import Any

from .._support.checks import check_number
from ..networks.laws import Power
from .facts import CYCLES, known
from .laplacian import Laplacian


@known("allocate", "finite_time", words=CYCLES)
def FiniteTime(step_size: Any, power: float = 0.5) -> Laplacian:
    """x_i+ = x_i + step_size * sum_j w_ij sign(d) |d|**power, d = m_j - m_i, the marginal costs.

    In continuous time the optimum is reached after a finite time; near it the law beats the linear one. In steps it
    ends in a cycle: two nodes of curvature c on one edge swing with |d| = (c step_size w)**(1 / (1 - power)).
    Undirected networks only. The total is exact.

    Args: step_size, > 0; power, in (0, 1), a multiple of 1/16. Raises `CojaxInputError` for another.
    Source: Chen, Ren, Feng, IEEE Trans. Smart Grid 2017, doi 10.1109/TSG.2016.2516017; arXiv 2203.14527.
    """
    check_number("FiniteTime", "power", power, below=1.0)
    return Laplacian(step_size, Power(power))
