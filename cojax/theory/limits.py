"""The largest step sizes that theory allows, each with what it assumes and how sure it is."""

import math
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np

from .._support.checks import CojaxInputError, check_number
from ..methods import DGD, EXTRA, NIDS, ATCTracking, Choco, DIGing, TrackingMomentum
from ..methods.facts import KNOWN
from ..networks.base import Network
from ..networks.faults.faulty import loss_rate, members_of
from .spectra import is_fixed, is_undirected, laplacians, largest_eigenvalue, scale_laplacian, second_eigenvalue

# The share of its limit that a step takes: the curvature found is one from below where costs are not quadratic.
SHARE = 0.5
Kind = Literal["tight", "sufficient", "heuristic"]
PENCIL = "the numerical range of the pencil and Jury's test"
COMPARISON = "a comparison system of disagreement, tracking error and distance"
DESCENT = "the descent lemma: the total cost falls at every step"
UNPROVED = "the formula of a simpler case"
ROOTS = "the roots of every mode's polynomial"
NONEXPANSIVE = "averaging and gradient steps that move no two points apart"
SMOOTH = "smooth convex costs, fixed graph, exact links"
TOGETHER = "smooth convex costs, exact links: two runs over one sequence of graphs never move apart"
EQUAL = "equal convex quadratic costs, every other convex quadratic no worse; fixed graph, exact links"


class Limit(NamedTuple):
    """A number below which a method is stable.

    tight: some problem that meets the assumptions is unstable right above it. sufficient: proved, and some or all
    problems allow more. heuristic: the limit of a simpler case, without proof for this one; `proved_steps` finds one of
    linear learners that is proved.
    """

    value: float
    assumptions: str
    kind: Kind
    proof: str = ""  # the argument that the number comes from

    def __str__(self) -> str:
        by = f" by {self.proof}" if self.proof else ""
        return f"{self.value:.6g} ({self.kind}{by}; {self.assumptions})"


def dgd_limit(network: Network, smoothness: float) -> Limit:
    """(1 + lambda_min(W)) / smoothness for `DGD`, W = I - L; smoothness is L_g, the largest curvature of a node.

    Here and below: `network` as `laplacians` takes it, lambda_n the largest over its graphs. Where W is singular or
    worse the limit is 0: the weights must mix on their own. Raises `CojaxInputError` for a curvature <= 0.
    """
    _check("dgd_limit", smoothness)
    return _nonexpansive(network, stable(DGD, network) / smoothness)


def extra_limit(network: Network, smoothness: float) -> Limit:
    """(1 + lambda_min(W)) / smoothness for `EXTRA`; the quadratic worst case allows (5 + 3 lambda_min(W)) / (4 L_g).

    Source: Shi, Ling, Wu, Yin, SIAM J. Optim. 2015, doi 10.1137/14096668X.
    """
    _check("extra_limit", smoothness)
    value = stable(EXTRA, network) / smoothness
    return _for_fixed(network, Limit(value, SMOOTH, "sufficient", "Shi et al. 2015"))


def nids_limit(network: Network, smoothness: float) -> Limit:
    """2 / smoothness for `NIDS`, `ExactDiffusion` and `LEAD`, on every graph with lambda_n < 2; 0 on others.

    Source: Li, Shi, Yan, IEEE TSP 2019, doi 10.1109/TSP.2019.2926022.
    """
    _check("nids_limit", smoothness)
    value = stable(NIDS, network) / smoothness
    return _for_fixed(network, Limit(value, f"{SMOOTH}; tight for {EQUAL}", "tight", "Li et al. 2019"))


def apapc_limit(network: Network, smoothness: float, blend: float) -> Limit:
    """2 (2 - blend)^2 / (blend (6 - 5 blend) smoothness) for `APAPC` with gain <= 1 / lambda_n; 2 / smoothness at 1.

    Where the mean of the models of equal quadratic costs leaves the unit circle, at -1. A quarter of it is proved:
    Kovalev, Salim, Richtarik, NeurIPS 2020, arXiv 2006.11773, take 1 / (4 blend smoothness).
    """
    _check("apapc_limit", smoothness)
    check_number("apapc_limit", "blend", blend, above=0.0, at_most=1.0, shaped=())
    value = 2.0 * (2.0 - blend) ** 2 / (blend * (6.0 - 5.0 * blend) * smoothness)
    return Limit(value, "convex quadratic costs with one Hessian, fixed graph, exact links", "heuristic")


def diffusion_limit(network: Network, smoothness: float) -> Limit:
    """2 / smoothness for `Choco` over an exact link, adapt then combine, on graphs with lambda_n < 2; 0 on others."""
    _check("diffusion_limit", smoothness)
    return _nonexpansive(network, stable(Choco, network) / smoothness)


def tracking_limit(network: Network, smoothness: float, mixing: float = 1.0) -> Limit:
    """(2 - mixing lambda_n)^2 / (2 smoothness) for `DIGing`, and for `PushPull` on symmetric networks; 0 if negative.

    By the numerical range of the pencil and Jury's test: stable for all 0 <= H_i <= smoothness with a mean > 0.
    """
    _check("tracking_limit", smoothness, mixing=mixing)
    value = stable(DIGing, network, mixing=mixing) / smoothness
    return _for_fixed(network, Limit(value, f"convex quadratic costs; tight for {EQUAL}", "tight", PENCIL))


def tracking_momentum_limit(network: Network, smoothness: float, momentum: float) -> Limit:
    """(1 + w) (1 + w + 2 momentum) / (2 smoothness), w = lambda_min(W), for `TrackingMomentum`; 0 if negative.

    Exact for equal Hessians: w is the mode that leaves the unit circle first, at -1. Other costs are without proof.
    """
    _check("tracking_momentum_limit", smoothness)
    check_number("tracking_momentum_limit", "momentum", momentum, at_least=0.0, below=1.0, shaped=())
    value = stable(TrackingMomentum, network, momentum=momentum) / smoothness
    return Limit(value, "convex quadratic costs with one Hessian, fixed graph, exact links", "heuristic", ROOTS)


def atc_limit(network: Network, smoothness: float) -> Limit:
    """For `ATCTracking`, and `PushDIGing` on symmetric networks: 2 / smoothness on a fixed graph with lambda_n <= 1.

    Then W is not negative and the pencil z^2/W - z (2 - aH) + W - aH has numerical ranges inside of the unit circle
    for all 0 <= aH < 2. With w = 1 - lambda_n < 0, equal Hessians allow min(2, (1 - w^2) / |w|), others are without
    proof; where graphs take turns or lose links, the limit of `tracking_limit` is taken, without proof either.
    """
    _check("atc_limit", smoothness)
    if not is_fixed(network):
        return tracking_limit(network, smoothness)
    below = stable(ATCTracking, network)
    if _lambda_n(network) <= 1 + 1e-12:  # the eigenvalues of a complete graph are 1 up to rounding
        return Limit(2.0 / smoothness, f"convex quadratic costs; tight for {EQUAL}", "tight", PENCIL)
    return Limit(
        below / smoothness, "convex quadratic costs with one Hessian, fixed graph, exact links", "heuristic", ROOTS
    )


def switching_limit(
    network: Network, smoothness: float, convexity: float, mixing: float = 1.0, rho: float = 0.0
) -> Limit:
    """mixing * alpha for `DIGing` over arbitrary switching among connected graphs, alpha the positive root of

    l^2 - alpha L (l + m) - (alpha L)^2 (1 + L/nu) = 0,  l = exp(-rho/2) lambda_2,  m = exp(rho/2) lambda_n,

    L the smoothness of every node's cost and nu the convexity of their mean. A comparison system for disagreement of
    params and of trackers and for the distance of the mean; the same in steps as in continuous time where
    mixing <= 2 / (l + m), to which `mixing` is held. rho is that of a log quantizer of differences, 0 for exact links.
    0 where a graph is not connected, on lossy networks too.
    """
    _check("switching_limit", smoothness, convexity, mixing)
    check_number("switching_limit", "rho", rho, at_least=0.0, shaped=())
    assumptions = "smooth costs with a strongly convex mean; any switching among the graphs, all of them connected"
    low = math.exp(-rho / 2) * min(map(second_eigenvalue, laplacians(network)))
    high = math.exp(rho / 2) * _lambda_n(network)
    if low <= 0 or loss_rate(network) > 0 or members_of(network) is not None:
        return Limit(0.0, assumptions, "sufficient", COMPARISON)
    if mixing > 2 / (low + high) * (1 + 1e-12):
        raise CojaxInputError(
            f"switching_limit needs mixing <= 2 / (lambda_2 + lambda_n) = {2 / (low + high):.6g}, got {mixing:g}: "
            "disagreement need not shrink as in continuous time above it."
        )
    crowd = 1.0 + smoothness / convexity
    # The root without cancellation: crowd u^2 + (low + high) u - low^2 = 0 with u = alpha L.
    root = 2.0 * low**2 / (low + high + math.sqrt((low + high) ** 2 + 4.0 * crowd * low**2))
    value = min(mixing * root / smoothness, 2.0 / (smoothness + convexity))
    return _for_undirected(network, Limit(value, assumptions, "sufficient", COMPARISON))


def paper_limit(network: Network, smoothness: float, rho: float = 0.0) -> Limit:
    """lambda_2 / (L (1 + rho/2)), the bound of arXiv 2510.25176 on alpha, rho of its log quantizer.

    In continuous time every alpha is stable on a fixed undirected graph; in steps (step_size = mixing * alpha) the
    bound may lie above `tracking_limit`, and between switching graphs the frozen spectrum it comes from proves nothing.
    """
    _check("paper_limit", smoothness)
    check_number("paper_limit", "rho", rho, at_least=0.0, shaped=())
    value = min(map(second_eigenvalue, laplacians(network))) / (smoothness * (1.0 + rho / 2.0))
    return _for_fixed(
        network, Limit(value, "continuous time, convex quadratic costs, fixed graph", "sufficient", "arXiv 2510.25176")
    )


def sector_limit(network: Network, smoothness: float, rho: float = 0.0) -> Limit:
    """lambda_2 / (L exp(rho/2)): `paper_limit` with the sector [exp(-rho/2), exp(rho/2)] that log quantizers have."""
    limit = paper_limit(network, smoothness)
    check_number("sector_limit", "rho", rho, at_least=0.0, shaped=())
    return limit._replace(value=limit.value * math.exp(-rho / 2.0))


def allocation_limit(network: Network, curvature: Any, rho: float = 0.0) -> Limit:
    """2 exp(-rho/2) / max_k lambda_max(D^1/2 L_k D^1/2) for `Laplacian` and any odd law with |odd(d)| <= |d|.

    D is the largest second derivative of every node's cost plus penalty, (n,) or one number. Below it the cost falls at
    every step over any sequence of graphs, with any loss; with D the second derivatives at the optimum, right above it
    the optimum of one graph is unstable. rho is that of a log quantizer of differences, 0 for exact links.
    """
    check_number("allocation_limit", "rho", rho, at_least=0.0, shaped=())
    most = largest_scaled_eigenvalue(network, curvature)
    fixed = is_fixed(network) and rho == 0
    assumptions = "convex costs with second derivatives <= D, any sequence of graphs, any loss of links"
    value = 2.0 * math.exp(-rho / 2.0) / most if most > 0 else math.inf
    if fixed:
        return Limit(value, f"{assumptions}; tight for quadratic costs on one graph", "tight", DESCENT)
    return _for_undirected(network, Limit(value, assumptions, "sufficient", DESCENT))


def largest_scaled_eigenvalue(network: Network, curvature: Any) -> float:
    """max_k lambda_max(D^1/2 L_k D^1/2), D the curvatures: how strongly one round of exchange turns back the prices."""
    most = max(largest_eigenvalue(scale_laplacian(matrix, curvature)) for matrix in laplacians(network))
    # A single node has no link to move CPU over, and stands for one with a weight of 1.
    return most or float(np.max(np.asarray(curvature, np.float64)))


def stable(kind: Any, network: Network, **numbers: float) -> float:
    """The step size times the curvature below which the record of a learner says that it is stable."""
    room = max(2.0 - numbers.get("mixing", 1.0) * _lambda_n(network), 0.0)
    bound: Any = KNOWN[kind].bound
    return float(bound(SimpleNamespace(**numbers), np.float64(room), is_fixed(network)))


def _lambda_n(network: Network) -> float:
    return max(map(largest_eigenvalue, laplacians(network)))


def _nonexpansive(network: Network, value: float) -> Limit:
    if not is_fixed(network):
        return _for_undirected(network, Limit(value, TOGETHER, "sufficient", NONEXPANSIVE))
    return Limit(value, f"{TOGETHER}; tight for {EQUAL}", "tight", NONEXPANSIVE)


def _for_fixed(network: Network, limit: Limit) -> Limit:
    """`limit`, or without its proof where the graph is not one and the same undirected graph at every step."""
    return limit if is_fixed(network) else limit._replace(kind="heuristic", proof=UNPROVED)


def _for_undirected(network: Network, limit: Limit) -> Limit:
    """`limit`, or without its proof where the graphs are directed: `laplacians` has their symmetric parts only."""
    return limit if is_undirected(network) else limit._replace(kind="heuristic", proof=UNPROVED)


def _check(owner: str, smoothness: float, convexity: float = 1.0, mixing: float = 1.0) -> None:
    for name, value in (("smoothness", smoothness), ("convexity", convexity), ("mixing", mixing)):
        check_number(owner, name, value, above=0.0, shaped=())
