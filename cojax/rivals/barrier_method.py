"""The Laplacian flow inside of a barrier, which never leaves the bounds."""

import numpy as np
from jaxtyping import Array, Float

from .. import theory
from .._checks import CojaxInputError
from ..layouts import Network
from ..loop import init, solve
from ..methods import CoOpt, Laplacian
from ..penalties import BarrierPenalty
from ..problems import Decision, Problem
from ..records import decision
from .base import Rival

EPSILON = 1e-3  # times the mean share and the largest marginal cost at the start
NEAR_BOUND = 0.1  # of the limit: curvature grows without end towards a bound


def barrier_method(
    problem: Problem,
    network: Network,
    start: Decision,
    step_size: Array | float,
    num_steps: int,
    epsilon: Array | float,
) -> Float[Array, "steps n"]:
    """The Laplacian flow of f_i - epsilon (log(upper - x) + log(x - lower)): sum and bounds hold at every step.

    Its cost ends at most 2 n epsilon above the optimum. Steps must be small enough for the curvature near the bounds.
    Source: Wu, Magnusson, Johansson, "Distributed safe resource allocation using barrier functions", arXiv 2207.06009.
    """
    bounds = {"lower": problem.lower, "upper": problem.upper}
    fenced = Problem(problem.cost, problem.data, problem.budget, **bounds, penalty=BarrierPenalty(epsilon))
    method = CoOpt(allocate=Laplacian(step_size))
    return solve(fenced, network, method, start, num_steps=num_steps, record=decision).trace.cpu


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """A tenth of the limit at 5 % of the range away from the bounds; from an even level between them."""
    lower, upper = np.asarray(problem.lower), np.asarray(problem.upper)
    if not np.isfinite(upper - lower).all():
        raise CojaxInputError("barrier_method stays between bounds, and needs both of every share; give them.")
    level = (float(np.asarray(problem.budget)) - lower.sum()) / (upper - lower).sum()
    inside = problem.start(start.params, lower + level * (upper - lower))
    price = np.abs(np.asarray(problem.grad(inside).cpu)).max()
    epsilon = EPSILON * float(price * np.abs(np.asarray(inside.cpu)).mean())
    bounds = {"lower": lower, "upper": upper, "penalty": BarrierPenalty(epsilon)}
    fenced = Problem(problem.cost, problem.data, problem.budget, **bounds)
    limit = theory.allocation_limit(network, theory.share_curvature(fenced, inside).high).value

    def run(problem, network, start, num_steps):
        return barrier_method(problem, network, inside, NEAR_BOUND * limit, num_steps, epsilon)

    bits = init(problem, network, CoOpt(allocate=Laplacian(limit)), start).wire.bits
    return Rival("share", run, float(bits))
