"""The Laplacian flow inside of a barrier, which never leaves the bounds."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from .. import theory
from .._support.checks import CojaxInputError, is_concrete
from ..networks.base import Network, Wire
from ..networks.laws import Weigh
from ..problems.penalties import BarrierPenalty
from ..problems.problem import Decision, Problem
from ..theory.limits import SHARE
from .base import Rival, plain_bits

EPSILON = 1e-3  # times the mean share and the largest marginal cost at the start
HALVINGS = 24  # of a step that would leave the bounds or let the cost grow, before it is left out
DECREASE = 0.1  # of what the slope promises, which a step has to bring


def barrier_method(
    problem: Problem,
    network: Network,
    start: Decision,
    step_size: Array | float,
    num_steps: int,
    epsilon: Array | float,
) -> Float[Array, "steps n"]:
    """The Laplacian flow of f_i - epsilon (log(upper - x) + log(x - lower)): bounds hold strictly at every step.

    The curvature of the barrier has no limit, so every step is halved until all shares are inside and the cost falls by
    a tenth of what its slope promises. All nodes halve alike; what they tell each other to agree on that is not
    counted. The sum is kept to rounding. The cost ends at most 2 n epsilon above the optimum. Start strictly inside.
    Source: Wu, Magnusson, Johansson, "Distributed safe resource allocation using barrier functions", arXiv 2207.06009,
    which is feasible at every iterate; backtracking stands in for its step sizes.
    """
    _check_inside(problem, start)
    bounds = {"lower": problem.lower, "upper": problem.upper}
    fenced = Problem(problem.cost, problem.data, problem.budget, **bounds, penalty=BarrierPenalty(epsilon))
    softened = fenced.softened()

    def whole(cpu: Array) -> Array:
        return softened.costs(Decision(start.params, cpu)).sum()

    def step(cpu: Array, k: Array) -> tuple[Array, Array]:
        price = fenced.grad(Decision(start.params, cpu)).cpu
        move = step_size * network.at(k).flow(Wire(price), Weigh())
        scales = 0.5 ** jnp.arange(HALVINGS, dtype=cpu.dtype)
        allowed = whole(cpu) + DECREASE * scales * (price * move).sum()
        good = jax.vmap(lambda scale: whole(cpu + scale * move))(scales) <= allowed  # beyond a bound the cost is inf
        cpu = cpu + jnp.where(good.any(), scales[jnp.argmax(good)], 0) * move
        return cpu, cpu

    return lax.scan(step, start.cpu, jnp.arange(num_steps))[1]


def _check_inside(problem: Problem, start: Decision) -> None:
    if not is_concrete((problem.lower, problem.upper, start.cpu)):
        return
    lower, upper, cpu = (np.asarray(each) for each in (problem.lower, problem.upper, start.cpu))
    if not ((cpu > lower) & (cpu < upper)).all():
        raise CojaxInputError(
            "barrier_method needs a start strictly between the bounds, got a share on or beyond one, where the barrier "
            "is infinite; start from a level between them that sums to the budget, as rivals.rival does."
        )


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """Half of the limit at the start, which is an even level between the bounds."""
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
    run = Partial(_run, inside=inside, step_size=SHARE * limit, epsilon=epsilon)
    return Rival("share", run, plain_bits(start.cpu))


def _run(problem, network, start, num_steps, *, inside, step_size, epsilon):
    del start  # which may lie on a bound
    return barrier_method(problem, network, inside, step_size, num_steps, epsilon)
