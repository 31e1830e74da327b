"""The Laplacian flow that moves a limited share along every edge."""

from typing import Any

from ..networks.laws import Clip
from .facts import known
from .laplacian import Laplacian


@known("allocate", "saturated", numbers=("level",))
def Saturated(step_size: Any, level: Any) -> Laplacian:
    """x_i+ = x_i + step_size * sum_j w_ij clip(m_j - m_i, -level, level), m the marginal costs.

    No step moves more than step_size * w_ij * level along an edge, as ramp limits of generators or of migrations
    want; far from the optimum it is slower, and from where all differences are within the level it is `Laplacian`.
    Undirected networks only. The total is exact.

    Args: step_size, > 0, of the range of `Laplacian`; level, > 0, in units of marginal cost.
    Source: Doostmohammadian et al., arXiv 2203.14527.
    """
    return Laplacian(step_size, Clip(level))
