"""The cheapest way to share the budget out, solved centrally and exactly, with its price and its derivatives."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError
from .._support.compiling import compiled
from .._support.precision import in_full
from .._support.reprs import brief
from .._support.trees import Tree
from ..problems.problem import Decision, Problem
from . import prices
from .fits import check_cost_of, check_nodes, check_problem
from .joint import shared_out
from .margins import (
    Margins,
    Slopes,
    Table,
    as_columns,
    ends_of_price,
    exact_margins,
    marginals,
    margins,
    price_of,
    reach_of,
)
from .responses import response


class Allocation(NamedTuple):
    """The optimal shares and what they say about prices; marginal cost = price + floor_rent - capacity_rent.

    Fields:
        cpu: (n,) or (n, r), the shares.
        price: () or (r,), the cost of one more unit of budget.
        floor_rent: shaped as cpu, >= 0: the cost of raising a lower bound by one unit; 0 off the bound.
        capacity_rent: shaped as cpu, >= 0: the saving from raising an upper bound by one unit; 0 off the bound.
        stationarity: (), half of what one unit would still save that moves from the dearest to the cheapest node: 0 to
            rounding at the optimum. A cost that couples several resources and has corners may come to rest before:
            there ask `certificate`, whose gap is large then, or `reference`, which refuses.
    """

    cpu: Float[Array, "n *r"]
    price: Float[Array, "*r"]
    floor_rent: Float[Array, "n *r"]
    capacity_rent: Float[Array, "n *r"]
    stationarity: Float[Array, ""]

    def __repr__(self) -> str:
        return brief(self)


def allocate(problem: Problem, params: Tree = None) -> Allocation:
    """The exact minimiser of sum_i cost_i(cpu_i) subject to sum_i cpu_i = budget and lower <= cpu <= upper.

    One price per resource, by Newton inside of a bracket; several resources that a cost couples are solved together, by
    an interior-point method, for which they must be smooth. Costs are read strictly inside of the bounds only, without
    the penalty, and must be convex in cpu. Linear costs, corners as in tariffs, negative prices, bounds that are
    infinite or huge and lower = upper are fine. The shares sum to the budget without a rounding, as those of a run do;
    so a bound that falls between two points of their grid is met to a rounding of the largest share.

    Where every node stands on a bound or a corner the price is an interval, of which the middle or the finite end is
    returned: the dearest marginal cost when the budget is the sum of `upper`, the cheapest when it is the sum of
    `lower`; `sensitivities` has both ends.

    Args:
        problem: with a budget () or (r,).
        params: (n, ...) in every leaf, at which the costs are taken; None where they have none.

    Differentiable, forward and reverse, to any order, in all arrays of `problem` and in `params`, by implicit
    differentiation of the optimality conditions (one-sided where a node just touches a bound or a corner). A node that
    stands on a corner moves with it. jit and vmap work.
    Nothing is raised while running. A cost that is not finite inside of its bounds gives NaN or a wrong answer, and a
    cost that falls for ever, as linear ones do without bounds, gives huge shares; `certificate` does not certify
    either (their stationarity or gap is large), and `reference` names the reason.

    Raises `CojaxInputError` for a problem without a budget, params with a wrong first axis, and params that the cost
    cannot be computed from.
    """
    return _allocation(problem, _checked(problem, params))


@functools.partial(compiled, runs_briefly=True)
@in_full
def _allocation(problem: Problem, params: Tree) -> Allocation:
    assert problem.lower is not None
    cpu = _optimum(problem, params)
    found = exact_margins(problem, params, cpu)
    price = price_of(found)
    floor_rent = jnp.where(found.can_give, 0, jnp.maximum(found.more - price[None], 0))
    capacity_rent = jnp.where(found.can_take, 0, jnp.maximum(price[None] - found.less, 0))
    dearest, cheapest = ends_of_price(found)
    shape = problem.lower.shape
    return Allocation(
        cpu.reshape(shape),
        price.reshape(shape[1:]),
        floor_rent.reshape(shape),
        capacity_rent.reshape(shape),
        lax.stop_gradient(jnp.maximum(jnp.max(dearest - cheapest), 0) / 2),
    )


@jax.custom_jvp
def _optimum(problem: Problem, params: Tree) -> Table:
    """The shares."""
    lower, upper, budget = as_columns(problem)
    low, high = prices.reachable(lower, upper, budget)
    slopes = marginals(problem, params)
    start, width = prices.inside(low, high, budget)
    start = prices.pulled_in(start, low, high)
    cpu = _swept(slopes, low, high, budget, start, width)
    if start.shape[1] > 1:
        # Beside the marginal costs at the start: those at the optimum may all be 0.
        level = jnp.max(jnp.abs(slopes(start)), 0)
        unrest = functools.partial(_unrest, slopes, lower, upper, level)

        def together(cpu: Table) -> Table:
            shares = shared_out(slopes, low, high, budget, start)
            return jnp.where(unrest(shares) < unrest(cpu), shares, cpu)

        cpu = lax.cond(unrest(cpu) > 1, together, lambda cpu: cpu, cpu)
    return prices.settle(cpu, lower, upper, budget)


@_optimum.defjvp
@in_full
def _optimum_jvp(primals, tangents):
    problem, params = primals
    cpu = _optimum(*primals)
    d_lower, d_upper, d_budget = as_columns(tangents[0])
    found = exact_margins(problem, params, cpu)
    near = prices.pulled_in(cpu, *as_columns(problem)[:2])

    def felt(problem, params):
        """What the arrays of a problem move: marginal costs, and what tells where a corner is."""
        return marginals(problem, params)(near), _fall(problem, params, found)

    _, (d_slope, d_fall) = jax.jvp(felt, primals, tangents)
    # A node with lower = upper moves with the bound that its marginal cost pushes against.
    at_upper = ~found.can_take & (found.can_give | (found.less <= price_of(found)[None]))
    at_lower = ~found.can_give & ~at_upper
    # Left and right of a corner two functions meet: it moves so that they go on having one value there.
    jump = found.more - found.less
    d_corner = d_fall / jnp.where(jump > 0, jump, 1)
    d_pinned = jnp.where(at_upper, d_upper, jnp.where(at_lower, d_lower, jnp.where(found.corner, d_corner, 0)))
    return cpu, response(found.hessian, found.free, d_slope, d_pinned, d_budget)[0]


def _fall(problem: Problem, params: Tree, found: Margins) -> Table:
    """The cost of every node just to the left of its share minus that to the right, a column per resource."""
    assert problem.lower is not None
    shape = problem.lower.shape

    def costs(cpu):
        return problem.costs(Decision(params, cpu.reshape(shape)))

    both = jax.vmap(costs)(jnp.concatenate([found.below, found.above]))
    below, above = jnp.split(both, 2)
    return (below - above).T.astype(problem.lower.dtype)


def _swept(slopes: Slopes, lower: Table, upper: Table, budget: Array, start: Table, width: Table) -> Table:
    """Every resource solved once, the others held: the optimum where costs do not couple them."""

    def solve_one(k, cpu):
        def slope(column):
            return slopes(cpu.at[:, k].set(column))[:, k]

        own = lower[:, k], upper[:, k], budget[k], start[:, k], width[:, k]
        return cpu.at[:, k].set(prices.split(slope, *own))

    return lax.fori_loop(0, start.shape[1], solve_one, start)


def _unrest(slopes: Slopes, lower: Table, upper: Table, level: Float[Array, " r"], cpu: Table) -> Float[Array, ""]:
    """What one unit saves that moves from the dearest to the cheapest node; not more than 1 is rounding."""
    found = margins(slopes, cpu, lower, upper, reach_of(cpu, lower, upper))
    dearest, cheapest = ends_of_price(found)
    level = jnp.maximum(jnp.max(found.steep, 0), level)
    return jnp.max((dearest - cheapest) / (2**10 * jnp.finfo(cpu.dtype).eps * level))


def _checked(problem: Problem, params: Tree) -> Tree:
    check_problem("allocate", problem)
    if problem.budget is None:
        raise CojaxInputError("allocate needs a problem with a budget, got None; pass budget=... to Problem.")
    params = check_nodes("allocate", problem, params)
    check_cost_of("allocate", problem, Decision(params, problem.lower))
    return params
