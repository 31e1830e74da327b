"""The worst rate of a method over all smooth, strongly convex costs, and all graphs with such a spectrum."""

import dataclasses
from typing import Any, NamedTuple

from .._support.checks import CojaxInputError, check_kinds, check_number, is_concrete
from .._support.compiling import is_traced
from ..methods.base import Method
from ..networks.base import Layout, Network
from ..networks.faults.faulty import untimed
from ..networks.layouts.computed import Computed
from .linearized import Linear, linearized
from .proofs import falls
from .spectra import Spectrum, is_fixed, is_undirected, spectrum

DIGITS = 1e-4  # of the rate, and
SHARE, FINEST = 1e-2, 1e-7  # at most this part of what it is below 1, but not less than a solver can tell
LARGEST, SMALLEST = 4.0, 1e-6  # steps that are looked at, times the smoothness


class WorstRate(NamedTuple):
    """What `worst_rate` returns.

    Fields:
        rate: errors fall at least as fast as its powers, up to a constant; infinite where nothing is proved.
        mixing: the largest modulus of an eigenvalue of W = I - L but that of agreement, over all graphs.
    """

    rate: float
    mixing: float


class ProvedSteps(NamedTuple):
    """What `proved_steps` returns.

    Fields:
        limit: a step below which a rate < 1 is proved, to three digits; 0 where none is.
        best: the step whose proved rate is least.
        rate: that rate; 1 where none is proved.
    """

    limit: float
    best: float
    rate: float


def worst_rate(method: Method, network: Network, *, convexity: float, smoothness: float) -> WorstRate:
    """A rate that no run can be slower than, of any learner that is linear in gradients and flows, a user's own too.

        cojax.theory.worst_rate(cojax.NIDS(0.5), network, convexity=0.1, smoothness=1.0).rate  # 0.9500...

    It holds for all costs that are `convexity`-strongly convex with `smoothness`-Lipschitz gradients at every node,
    alike or not, for any number of nodes, and for all symmetric graphs whose Laplacians have no eigenvalues but 0 and
    those from lambda_2 to lambda_n of `network`. Where `network` `is_fixed`, one such graph stands for the whole run;
    where graphs take turns, any sequence of such graphs will do, changing from step to step as they like, which less is
    proved of. Where links fail a graph may be without any, and nothing is proved. Links are `Ideal()`.

    A semidefinite program of the size of one node's state is solved for every guess of the rate, by Clarabel (pip
    install clarabel); that what it found is a proof is checked by eigenvalues. `worst_instance` is a bound from the
    other side.

    Where a method keeps a sum over nodes at zero its class has to say so, `kept = ("slack",)`: else nothing is proved.

    Args:
        method: of params, with constant numbers, such as `cojax.NIDS(0.5)`; or the learner of a `CoOpt`.
        network: undirected, whose spectrum is taken.
        convexity: > 0, the least second derivative of a node's cost in any direction.
        smoothness: >= convexity, the largest.

    Raises `CojaxInputError` for a method that is not linear, has numbers per node, or stops beside the optimum, for a
    network that is directed or that `laplacians` refuses, and where Clarabel is missing.
    Source: of changing graphs A. Sundararajan, B. Van Scoy, L. Lessard, IEEE TCNS 2020, arXiv 1907.05448; of one graph
    that stands S. Colla, J. Hendrickx, arXiv 2203.14781; of two steps A. Taylor, B. Van Scoy, L. Lessard, ICML 2018,
    arXiv 1803.06073.
    """
    learn = check_worst("worst_rate", method, network, convexity, smoothness)
    found = _spectrum("worst_rate", network)
    return WorstRate(
        _rate(_scaled("worst_rate", learn, found, smoothness), found, convexity / smoothness, is_fixed(network)),
        max(abs(1 - found.lambda_2), abs(1 - found.lambda_n)),
    )


def proved_steps(method: Method, network: Network, *, convexity: float, smoothness: float) -> ProvedSteps:
    """Which steps are safe over all costs and graphs of `worst_rate`, and which of them has the best proved rate.

        found = cojax.theory.proved_steps(cojax.DIGing(0.1), network, convexity=0.1, smoothness=1.0)
        method = cojax.DIGing(found.best)  # no run over such graphs is slower than found.rate

    Such steps hold however unlike the costs are, and need not be quadratic; the limits of `cojax.theory` by formula are
    of quadratic costs for some methods, and heuristic for others. The step is looked for where it is proved from 0 on.

    Args: as of `worst_rate`; all numbers of `method` but its step_size stay as they are.
    Raises `CojaxInputError` as `worst_rate` does, and for a method without a step_size.
    """
    from scipy.optimize import minimize_scalar

    learn = check_worst("proved_steps", method, network, convexity, smoothness)
    if not hasattr(learn, "step_size"):
        raise CojaxInputError(f"proved_steps needs a learner with a step_size, got {type(learn).__name__}.")
    found, fixed = _spectrum("proved_steps", network), is_fixed(network)

    def scaled(step: float) -> Linear:
        return _scaled("proved_steps", dataclasses.replace(learn, step_size=step), found, smoothness)

    def is_safe(step: float) -> bool:
        return _falls(scaled(step), found, convexity / smoothness, 1.0, fixed)

    def rate(step: float) -> float:
        return _rate(scaled(step), found, convexity / smoothness, fixed)

    high = LARGEST / smoothness
    low = high
    while not is_safe(low):
        low, high = low / 2, low
        if low < SMALLEST / smoothness:
            return ProvedSteps(0.0, 0.0, 1.0)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if is_safe(middle) else (low, middle)
    best = minimize_scalar(rate, bounds=(0.0, low), method="bounded", options={"xatol": 1e-3 * low})
    return ProvedSteps(low, float(best.x), float(best.fun))


def check_worst(owner: str, method: Method, network: Network, convexity: float, smoothness: float) -> Any:
    """The learner of a method; refuses what is no method, network or pair of curvatures."""
    check_kinds(owner, ("method", method, Method), ("network", network, Network))
    if is_traced() or not is_concrete(method, network, convexity, smoothness):
        raise CojaxInputError(f"{owner} computes on the host, got traced values; call it outside of jit.")
    if network.num_nodes < 2:
        raise CojaxInputError(f"{owner} needs a network of at least two nodes, got one: alone it agrees with all.")
    check_number(owner, "convexity", convexity, above=0.0, shaped=())
    check_number(owner, "smoothness", smoothness, at_least=float(convexity), shaped=())
    learn = method.halves[0]
    if type(learn).at is not Method.at:
        raise CojaxInputError(
            f"{owner} needs a learner whose numbers stay, got {type(learn).__name__}, which changes them by step: ask "
            "of each of its turns."
        )
    return learn


def _spectrum(owner: str, network: Network) -> Spectrum:
    """That of all graphs that may be in force: where links fail, of a graph without links too."""
    if not is_undirected(network):
        raise CojaxInputError(
            f"{owner} needs an undirected network, got a {type(network.bare()).__name__}, of which no eigenvalues tell "
            "how it mixes; use the Laplacian of an undirected one."
        )
    found = spectrum(network)
    return found if isinstance(untimed(network), Layout | Computed) else found._replace(lambda_2=0.0)


def _scaled(owner: str, method: Method, found: Spectrum, smoothness: float) -> Linear:
    return linearized(owner, method).scaled(smoothness, found.lambda_n)


def _falls(linear: Linear, found: Spectrum, convexity: float, rate: float, fixed: bool) -> bool:
    return found.lambda_2 > 0 and falls(linear, found.lambda_2 / found.lambda_n, convexity, rate, fixed)


def _rate(linear: Linear, found: Spectrum, convexity: float, fixed: bool) -> float:
    """The least rate that is proved; infinite where none is."""
    if not _falls(linear, found, convexity, 1.0, fixed):
        return float("inf")
    low, high = 0.0, 1.0
    while high - low > max(FINEST, min(DIGITS, SHARE * (1 - high))):
        middle = (low + high) / 2
        low, high = (low, middle) if _falls(linear, found, convexity, middle, fixed) else (middle, high)
    return high
