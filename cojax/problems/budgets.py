"""Other constraints than a plain sum, as a plain sum: weighted sums, and budgets of which some may be left."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, check_number, is_concrete
from .._support.trees import Tree
from .curving import AroundCost
from .problem import Decision, Problem, bound_of, check_ends

HALVINGS = 64  # of the shares between which a node's cheapest lies: to rounding
DOUBLINGS = 60  # of the distance in which it is looked for where there is no lower bound


class Weighted(AroundCost):
    """A cost of shares that count by what they take of the budget; data is (its data, weight)."""

    def __call__(self, x: Decision, data: Tree) -> Any:
        return self.cost(self.used(x, data), data[0])

    def used(self, x: Decision, data: Tree) -> Decision:
        """The decision in the unit of the cost."""
        return x._replace(cpu=x.cpu / data[1].astype(x.cpu.dtype))


class Disposable(AroundCost):
    """The least cost of all shares from the lower bound up to the share that is held; data is (its data, low, high).

    It curves in the params as the cost does where that adds up a model and a share: then the share that is used does
    not follow the params.
    """

    def __call__(self, x: Decision, data: Tree) -> Any:
        return self.cost(self._part(x, data), data[0])

    def used(self, x: Decision, data: Tree) -> Decision:
        """The decision with the part of the share that is used, in the unit of the cost."""
        part = self._part(x, data)
        inner = getattr(self.cost, "used", None)
        return part if inner is None else inner(part, data[0])

    def _part(self, x: Decision, data: Tree) -> Decision:
        own, low, high = data
        low, high = low.astype(x.cpu.dtype), high.astype(x.cpu.dtype)

        def slope(params: Tree, cpu: Array) -> Array:
            return jax.grad(lambda cpu: self.cost(Decision(params, cpu), own).astype(cpu.dtype))(cpu)

        held = jnp.minimum(x.cpu, high)
        still = lax.stop_gradient(x.params)
        found = lax.stop_gradient(_cheapest(lambda cpu: slope(still, cpu), lax.stop_gradient(held), low))
        # One Newton step from where the slope is 0 does not move it, and knows how it moves with params and data.
        bend = lax.stop_gradient(jax.grad(lambda cpu: slope(still, cpu))(found))
        inside = (found > low) & (found < held) & (bend > 0)
        cheapest = found - jnp.where(inside, slope(x.params, found) / jnp.where(inside, bend, 1), 0)
        return x._replace(cpu=jnp.where(found < held, cheapest, held))


def _cheapest(slope: Callable[[Array], Array], held: Array, low: Array) -> Float[Array, ""]:
    """The share from `low` to `held` at which a convex cost is least; `held` where it still falls there."""

    def widen(state: tuple[Array, Array]) -> tuple[Array, Array]:
        reach, count = state
        return 2 * reach, count + 1

    def rises(state: tuple[Array, Array]) -> Array:
        reach, count = state
        return jnp.isinf(low) & (slope(held - reach) > 0) & (count < DOUBLINGS)

    first = jnp.where(held == 0, 1, jnp.abs(held)) / 4
    reach, _ = lax.while_loop(rises, widen, (first, jnp.zeros((), jnp.int32)))
    below = jnp.where(jnp.isinf(low), held - reach, low)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        left, right = ends
        middle = left + (right - left) / 2
        falls = slope(middle) < 0
        return jnp.where(falls, middle, left), jnp.where(falls, right, middle)

    left, _ = lax.fori_loop(0, HALVINGS, halve, (below, held))
    return jnp.where(slope(held) <= 0, held, left)


def weighted(
    cost: Callable, data: Tree, budget: Any, weights: Any, *, lower: Any = None, upper: Any = None, penalty: Any = None
) -> Problem:
    """min sum_i cost(x_i, data_i) subject to sum_i weights_i cpu_i = budget, as a problem with a plain sum.

        problem = cojax.weighted(cost, data, 100.0, weights=jnp.array([1.0, 2.0, 0.5]), lower=0.0)
        cojax.used(problem, solution.x).cpu  # shares as the cost sees them

    In the problem that is returned a share is what a node takes of the budget, weights_i cpu_i: so all that holds of a
    plain sum holds of it, to the last bit, for every method, network and link; and prices are of one unit of budget.

    Args:
        cost, data, budget: as for `Problem`; x.cpu, which the cost sees, is in a unit of its own.
        weights: (), (n,), or as the shares, > 0: of the budget for one unit of a node's share.
        lower, upper: in the unit of the cost.
        penalty: as for `Problem`, but of shares and bounds in the unit of the budget.

    Everything is differentiable. Raises `CojaxInputError` for weights <= 0 or of another shape, and as `Problem` does.
    Source: weighted sums in distributed allocation, arXiv 2503.06167.
    """
    part = _parts("weighted", cost, data, budget, lower, upper, weights)
    low, high = part.ends
    return Problem(Weighted(part.cost), (part.data, part.weights), budget, lower=low, upper=high, penalty=penalty)


def at_most(
    cost: Callable, data: Tree, budget: Any, *, lower: Any = None, upper: Any = None, weights: Any = 1.0
) -> Problem:
    """min sum_i cost(x_i, data_i) subject to sum_i weights_i cpu_i <= budget, as a problem with a plain sum.

        problem = cojax.at_most(cost, data, 100.0, lower=0.0, upper=30.0)
        cojax.used(problem, solution.x).cpu  # <= what the nodes hold; the rest is left

    In the problem that is returned nodes share out the whole budget, and each uses of its share what is cheapest for
    it: its cost is the least over all shares within its bounds up to that which it holds, convex and never rising. So
    what is left of the budget is left somewhere, its price is 0 then, and the sum of all that is held is the budget, to
    the last bit. Bounds are kept in every step, by all that is used.

    Args: as for `weighted`, all costs convex in cpu, one resource. Of a node that holds less than its lower bound, the
    lower bound is not kept: a run needs time until all have theirs.

    Everything is differentiable. A cost that couples params and cpu pays for the search of the share in every gradient.
    Raises `CojaxInputError` for several resources, for lower bounds beyond the budget, and as `weighted` does.
    """
    part = _parts("at_most", cost, data, budget, lower, upper, weights)
    if part.lower.ndim != 1:
        raise CojaxInputError(f"at_most needs one resource, got {part.lower.shape[1]}: make a problem of each.")
    low, high = part.ends
    return Problem(Disposable(Weighted(part.cost)), ((part.data, part.weights), low, high), budget, lower=low)


def used(problem: Problem, x: Decision) -> Decision:
    """What nodes use of their shares, in the unit of the cost, of a problem made by `weighted` or `at_most`.

    Args: problem; x, (n,) or (n, r) shares of its budget. Differentiable. Raises `CojaxInputError` for other problems,
    and for shares of another shape.
    """
    inner = getattr(getattr(problem, "cost", None), "used", None)
    if inner is None:
        raise CojaxInputError(
            f"used needs a problem made by cojax.weighted or cojax.at_most, got {type(problem).__name__} of another "
            "cost: what it holds is what it uses."
        )
    assert problem.lower is not None  # a budget comes with bounds
    if not isinstance(x, Decision) or np.shape(x.cpu) != problem.lower.shape:
        got = f"shape {np.shape(x.cpu)}" if isinstance(x, Decision) and x.cpu is not None else f"{x!r:.60}"
        raise CojaxInputError(
            f"used needs a Decision with cpu of shape {problem.lower.shape}, one share a node, got {got}; a "
            "solution has its own at .x."
        )
    return jax.vmap(inner)(x, problem.data)


class _Parts(NamedTuple):
    cost: Callable
    data: Tree
    lower: Array
    upper: Array
    weights: Array

    @property
    def ends(self) -> tuple[Array, Array]:
        """The bounds in the unit of the budget; where there is none, no derivative either: 0 times inf is NaN."""
        bounds = (self.lower, self.upper)
        low, high = (jnp.where(jnp.isinf(end), end, jnp.where(jnp.isinf(end), 0, end) * self.weights) for end in bounds)
        return low, high


def _parts(owner: str, cost: Callable, data: Tree, budget: Any, lower: Any, upper: Any, weights: Any) -> _Parts:
    """Cost, data, bounds and weights as `Problem` has them, (n,) or (n, r), whatever the budget beside their sum."""
    if budget is None:
        raise CojaxInputError(f"{owner} needs a budget, got None.")
    plain = Problem(cost, data, budget)
    assert plain.budget is not None
    low = bound_of("lower", lower, -jnp.inf, plain.num_nodes, plain.budget)
    high = bound_of("upper", upper, jnp.inf, plain.num_nodes, plain.budget)
    if is_concrete(low, high):
        check_ends(np.asarray(low), np.asarray(high))
    check_number(owner, "weights", weights, above=0.0)
    ours = bound_of("weights", weights, 1.0, plain.num_nodes, plain.budget)
    return _Parts(plain.cost, plain.data, low, high, ours)
