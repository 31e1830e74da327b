"""Step sizes and momenta of the accelerated allocators, from both ends of one spectrum."""

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from .._support.checks import CojaxInputError, check_number
from ..methods import HeavyBall, Nesterov
from ..methods.facts import KNOWN
from ..networks.base import Network
from .limits import ROOTS, UNPROVED, Limit, largest_scaled_eigenvalue
from .spectra import check_curvatures, is_fixed, laplacians, second_eigenvalue


class Momentum(NamedTuple):
    """The two numbers of an accelerated method."""

    step_size: float
    momentum: float


def heavy_ball(network: Network, low: Any, high: Any) -> Momentum:
    """The constants of `HeavyBall` and `MomentumFlow` that are best for quadratic costs on a fixed graph.

    4 / (sqrt(m) + sqrt(l))^2 and ((sqrt(m) - sqrt(l)) / (sqrt(m) + sqrt(l)))^2 with l = lambda_2(D_low^1/2 L D_low^1/2)
    and m = lambda_max(D_high^1/2 L D_high^1/2); low and high, (n,) or one number, bound the second derivatives.

    Raises `CojaxInputError` for a network that switches or loses links, where they need not be stable, for low > high,
    and for low = 0 at more than one node.
    Source: Ghadimi, Shames, Johansson, IEEE TSP 2013, arXiv 1211.2132.
    """
    least, most = _ends("heavy_ball", network, low, high)
    return Momentum(4.0 / (most + least) ** 2, ((most - least) / (most + least)) ** 2)


def nesterov(network: Network, low: Any, high: Any) -> Momentum:
    """1 / m and (sqrt(m) - sqrt(l)) / (sqrt(m) + sqrt(l)) for `Nesterov`; l, m, arguments and errors of `heavy_ball`.

    Source: Nesterov, Lectures on Convex Optimization 2018, doi 10.1007/978-3-319-91578-4, section 2.2.
    """
    least, most = _ends("nesterov", network, low, high)
    return Momentum(1.0 / most**2, (most - least) / (most + least))


def heavy_ball_limit(network: Network, curvature: Any, momentum: float) -> Limit:
    """2 (1 + momentum) / lambda_max(D^1/2 L D^1/2), the limit of `HeavyBall` for quadratic costs on a fixed graph.

    Costs that are not quadratic may cycle below it (Lessard, Recht, Packard, SIAM J. Optim. 2016, arXiv 1408.3595).
    """
    check_number("heavy_ball_limit", "momentum", momentum, at_least=0.0, below=1.0, shaped=())
    return _limit(HeavyBall, network, curvature, momentum)


def nesterov_limit(network: Network, curvature: Any, momentum: float) -> Limit:
    """(2 + 2 momentum) / (1 + 2 momentum) / lambda_max(D^1/2 L D^1/2), that of `Nesterov` for quadratic costs."""
    check_number("nesterov_limit", "momentum", momentum, at_least=0.0, below=1.0, shaped=())
    return _limit(Nesterov, network, curvature, momentum)


def _limit(kind: Any, network: Network, curvature: Any, momentum: float) -> Limit:
    bound: Any = KNOWN[kind].bound
    fixed = is_fixed(network)
    factor = float(bound(SimpleNamespace(momentum=momentum), None, fixed))
    most = largest_scaled_eigenvalue(network, curvature)
    level, proof = ("tight", ROOTS) if fixed else ("heuristic", UNPROVED)
    return Limit(factor / most if most > 0 else math.inf, "quadratic costs, fixed graph, exact links", level, proof)


def _ends(owner: str, network: Network, low: Any, high: Any) -> tuple[float, float]:
    """The square roots of both ends of the spectrum, equal ones of a graph without links."""
    check_curvatures(f"theory.{owner}", low, high)
    if not is_fixed(network):
        raise CojaxInputError(
            f"theory.{owner} needs a fixed network without loss, got one that changes: momentum that is best on each "
            "graph can build up from one to the next; use Laplacian, or less momentum by hand."
        )
    matrix = laplacians(network)[0]
    most = largest_scaled_eigenvalue(network, high)
    if not most > 0:
        raise CojaxInputError(f"theory.{owner} needs costs that curve, got second derivatives of 0: no step is best.")
    least = second_eigenvalue(matrix, low) if matrix.nnz else most
    if np.count_nonzero(np.broadcast_to(low, network.num_nodes) == 0) > 1:  # what moves between those never settles
        raise CojaxInputError(
            f"theory.{owner} needs low > 0 at all nodes but one, got least second derivatives of 0 at more: there a "
            "momentum of 1 would be best, which never comes to rest; use Laplacian, or a momentum by hand."
        )
    return math.sqrt(min(least, most)), math.sqrt(most)
