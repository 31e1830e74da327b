"""How a run ended, told by numbers that survive jit and vmap."""

import enum
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._support import trees
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .progress import grew, precision, stalled, wavers
from .rows import taking_part, update_rows


class Status(enum.IntEnum):
    """How a run ended; `Solution.status` holds the number, `Status(int(solution.status))` the name.

    Converged is judged by the last decision and its gradient, penalty included, relative to their sizes: the params
    agree, their mean gradient vanishes, all marginal costs are equal. `certificate` judges the problem itself.
    """

    OUT_OF_STEPS = 0  # still on its way, or too few looks to tell
    CONVERGED = 1  # to half of the digits, 1.5e-8 in float64, else 3e-4; from `solve_to`, to its tolerance
    DIVERGED = 2  # finite, but the gradient ended a thousand times above that of the start; the budget may be lost too
    INFEASIBLE = 3  # the shares did not sum to the budget at some step, or no shares within the bounds can
    CONVERGED_REDUCED = 4  # to two thirds of those digits (6e-6, 5e-3), and still coming closer
    STALLED = 5  # hardly closer than at half of its steps: the floor of a quantizer, a bias, steps far too small
    LIMIT_CYCLE = 6  # the same, but up and down: a step too large, a sign law, the noise of samples
    NOT_FINITE = 7  # a decision or a gradient is NaN or infinite
    DISCONNECTED = 8  # from `solve_to`: the links that were up in the whole run did not connect all nodes
    INTERRUPTED = 9  # from `solve_to`: a signal came; the state is whole and can be continued
    OUT_OF_TIME = 10  # from `solve_to`: its deadline came first
    STATIONARY = 11  # from `solve_to`: as converged, but nothing shows that the model is an optimum, or that one exists


# A node moves by sums of what several neighbours round: on the floor of a quantizer by a few times what one rounds.
FAR = 4.0


def second_tier(tolerance: Any) -> Any:
    """The second tier of a tolerance: two thirds of its digits, 1e-6 gives 1e-4."""
    return tolerance ** (2 / 3)


def status_of(problem: Problem, x: Decision, state: Any, moves: Bool[Array, ""]) -> Int[Array, ""]:
    """The status of a run that ended at decision `x` in `state`, under `problem`; `moves` as by `moves_on`."""
    problem, x, state = lax.stop_gradient((problem, x, state))
    # Half of the digits of a 16-bit float are one: such a run is held to those of float32, or not called converged.
    tolerance, left = min(precision(x), float(jnp.finfo(jnp.float32).eps)) ** 0.5, state.progress.residual
    circles = wavers(state.progress) & moves
    status = jnp.where(left <= second_tier(tolerance), Status.CONVERGED_REDUCED, Status.OUT_OF_STEPS)
    status = jnp.where(stalled(state.progress), jnp.where(circles, Status.LIMIT_CYCLE, Status.STALLED), status)
    status = jnp.where(grew(state.progress), Status.DIVERGED, status)
    status = jnp.where(left <= tolerance, Status.CONVERGED, status)
    # Shares that grow without end leave their grid, and the budget with it: that is no fault of the problem.
    status = jnp.where(_infeasible(problem, x, state) & ~grew(state.progress), Status.INFEASIBLE, status)
    finite = jnp.asarray(True)
    for leaf in jax.tree.leaves((x, state.grad)):
        finite &= jnp.all(jnp.isfinite(leaf))
    return jnp.where(finite, status, Status.NOT_FINITE).astype(jnp.int32)


def moves_on(network: Network, method: Method, x: Decision, state: Any) -> Bool[Array, ""]:
    """Whether one more step would move the decision by more than the rounding of what is heard explains."""
    network, method, x, state = lax.stop_gradient((network, method, x, state))
    net, later, method = network.at(state.step), method.at(state.step + 1), method.at(state.step)
    flow = net.flow_alone(state.wire, method.along(state.method), state.step)
    rows = taking_part(network, state.step)
    after = later.query(update_rows(rows, method, state.method, state.grad, flow))
    motion = _relative(_by_resource(trees.subtract(after, x)), _by_resource(x))
    message = method.message(state.method, state.grad)
    error = state.wire.error(message)
    return motion > 16 * precision(x) + (0 if error is None else FAR * _relative(error, message))


def is_lost(solution: Any) -> bool:
    """Whether a run has no way back: it overflowed, or it has diverged and nothing fell at its last look; on the host.

    A run from a start that was all but optimal may look diverged after a change, while it comes back.
    """
    status, progress = int(solution.status), solution.state.progress
    away = status == Status.DIVERGED and int(progress.rose) == int(progress.looks)
    return status == Status.NOT_FINITE or away


def _infeasible(problem: Problem, x: Decision, state: Any) -> Bool[Array, ""]:
    budget, lower, upper = problem.budget, problem.lower, problem.upper
    if budget is None or lower is None or upper is None:
        return jnp.asarray(False)
    eps, size = jnp.finfo(budget.dtype).eps, jnp.abs(budget)
    # Construction refuses such a budget, but cannot see a traced one. Its rounding is up to 64 eps of it.
    low, high = (jnp.where(jnp.isfinite(bound), jnp.abs(bound), 0).sum(0) for bound in (lower, upper))
    missing = lower.sum(0) - budget > 128 * eps * jnp.maximum(size, low)
    too_much = budget - upper.sum(0) > 128 * eps * jnp.maximum(size, high)
    off = state.imbalance > 64 * eps * jnp.maximum(size, jnp.max(jnp.abs(x.cpu), 0).astype(budget.dtype))
    return jnp.any(missing | too_much | off)


def _by_resource(x: Decision) -> tuple[Any, Any]:
    """The parts of a decision that have units of their own: params, and the shares of every resource."""
    shares = x.cpu
    return x.params, shares if shares is None or shares.ndim == 1 else list(shares.T)


def _relative(difference: Any, tree: Any) -> Float[Array, ""]:
    """The largest over the leaves of their largest difference beside their largest entry."""
    pairs = zip(jax.tree.leaves(difference), jax.tree.leaves(tree), strict=True)
    tiny = jnp.finfo(jnp.result_type(float)).tiny
    ratios = [trees.largest(part) / (trees.largest(whole) + tiny) for part, whole in pairs]
    return jnp.max(jnp.stack(ratios)) if ratios else jnp.zeros(())
