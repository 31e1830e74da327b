"""The Laplacian flow that asks only which end of an edge is dearer."""

from typing import Any

from ..networks.laws import Sign
from .facts import CYCLES, known
from .laplacian import Laplacian


@known("allocate", "single_bit", words=CYCLES)
def SingleBit(step_size: Any) -> Laplacian:
    """x_i+ = x_i + step_size * sum_j w_ij sign(m_j - m_i), m the marginal costs.

    Robust to any increasing distortion of the marginal costs that all nodes share. It chatters: two nodes of curvature
    c on one edge end within |m_j - m_i| <= 2 c step_size w, and no closer. One bit is what the law needs of an edge;
    what travels, and is counted, is still what the link sends. Undirected networks only. The total is exact.

    Args: step_size, > 0, in units of cpu.
    Source: Doostmohammadian et al., arXiv 2203.14527.
    """
    return Laplacian(step_size, Sign())
