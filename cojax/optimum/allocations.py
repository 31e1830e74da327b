"""The cheapest way to share the budget out, solved centrally and exactly, with its price and its derivatives."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._checks import CojaxInputError
from .._precision import in_full
from .._shown import shown
from .._tree import Tree
from ..problems import Decision, Problem
from . import prices
from .fits import check_cost_of, check_nodes, check_problem

# One sweep solves separable costs; Newton after each sweep ends the others in a few.
MOST_SWEEPS = 100

Table = Float[Array, "n r"]


class Allocation(NamedTuple):
    """The optimal shares and what they say about prices; marginal cost = price + floor_rent - capacity_rent.

    Fields:
        cpu: (n,) or (n, r), the shares.
        price: () or (r,), the cost of one more unit of budget.
        floor_rent: shaped as cpu, >= 0: the cost of raising a lower bound by one unit; 0 off the bound.
        capacity_rent: shaped as cpu, >= 0: the saving from raising an upper bound by one unit; 0 off the bound.
    """

    cpu: Float[Array, "n *r"]
    price: Float[Array, "*r"]
    floor_rent: Float[Array, "n *r"]
    capacity_rent: Float[Array, "n *r"]

    def __repr__(self) -> str:
        return shown(self)


def allocate(problem: Problem, params: Tree = None) -> Allocation:
    """The exact minimiser of sum_i cost_i(cpu_i) subject to sum_i cpu_i = budget and lower <= cpu <= upper.

    One price per resource, by Newton inside of a bracket; several resources that a cost couples are solved in turn,
    with a Newton step for all of them after each turn. Costs are read strictly inside of the bounds only, without
    the penalty, and must be convex in cpu; linear ones, negative prices, infinite bounds and lower = upper are fine.

    Where every node stands on a bound the price is an interval, of which the middle or the finite end is returned:
    the dearest marginal cost when the budget is the sum of `upper`, the cheapest when it is the sum of `lower`.

    Args:
        problem: with a budget () or (r,).
        params: (n, ...) in every leaf, at which the costs are taken; None where they have none.

    Differentiable, forward and reverse, to any order, in all arrays of `problem` and in `params`, by implicit
    differentiation of the optimality conditions (one-sided where a node just touches a bound). jit and vmap work.
    Nothing is raised while running: a cost that is not finite inside of its bounds gives NaN or a wrong answer,
    which `certificate` shows and `reference` names.

    Raises `CojaxInputError` for a problem without a budget, params with a wrong first axis, and params that the cost
    cannot be computed from.
    """
    return _allocation(problem, _checked(problem, params))


@jax.jit
@in_full
def _allocation(problem: Problem, params: Tree) -> Allocation:
    assert problem.lower is not None
    cpu, price = _optimum(problem, params)
    lower, upper, _ = columns(problem)
    slopes = marginals(problem, params)(prices.pulled_in(cpu, lower, upper))
    can_give, can_take = cpu > lower, cpu < upper
    idle = jax.vmap(prices.idle_price, 1)(slopes, can_give, can_take)
    price = jnp.where(jnp.any(can_give & can_take, 0), price, idle)
    floor_rent = jnp.where(can_give, 0, jnp.maximum(slopes - price[None], 0))
    capacity_rent = jnp.where(can_take, 0, jnp.maximum(price[None] - slopes, 0))
    shape = problem.lower.shape
    return Allocation(
        cpu.reshape(shape), price.reshape(shape[1:]), floor_rent.reshape(shape), capacity_rent.reshape(shape)
    )


def marginals(problem: Problem, params: Tree) -> Callable[[Table], Table]:
    """The derivative of every node's cost with respect to its own shares, as a function of (n, r) shares."""

    def cost(cpu, params, data):
        return problem.cost(Decision(params, cpu), data)

    def slopes(cpu: Table) -> Table:
        assert problem.lower is not None
        own = cpu.reshape(problem.lower.shape)
        return jax.vmap(jax.grad(cost))(own, params, problem.data).astype(own.dtype).reshape(cpu.shape)

    return slopes


def columns(problem: Problem) -> tuple[Table, Table, Float[Array, " r"]]:
    """Lower and upper bounds and the budget with an axis of resources, of length 1 where the budget is a scalar."""
    assert problem.budget is not None and problem.lower is not None and problem.upper is not None
    shape = (problem.lower.shape[0], -1)
    return problem.lower.reshape(shape), problem.upper.reshape(shape), problem.budget.reshape(-1)


def with_curvatures(slopes: Callable[[Table], Table], cpu: Table) -> tuple[Table, Float[Array, "n r r"]]:
    """The marginal costs, and the second derivatives of every node's cost with respect to its own shares."""

    def column(direction):
        return jax.jvp(slopes, (cpu,), (jnp.broadcast_to(direction[None], cpu.shape),))

    return jax.vmap(column, out_axes=(None, -1))(jnp.eye(cpu.shape[1], dtype=cpu.dtype))


@jax.custom_jvp
def _optimum(problem: Problem, params: Tree) -> tuple[Table, Float[Array, " r"]]:
    """The shares, and the price where a node is off its bounds (elsewhere it is an interval: see `allocate`)."""
    lower, upper, budget = columns(problem)
    slopes = marginals(problem, params)
    start, _ = jax.vmap(prices.inside, (1, 1, 0), 1)(lower, upper, budget)
    solver = _sweep if start.shape[1] == 1 else _settled
    cpu = solver(slopes, lower, upper, budget, prices.pulled_in(start, lower, upper))
    slope, hessian = with_curvatures(slopes, prices.pulled_in(cpu, lower, upper))
    rates = jnp.diagonal(hessian, axis1=1, axis2=2)
    return cpu, jax.vmap(prices.price_of, 1)(slope, rates, cpu > lower, cpu < upper)


@_optimum.defjvp
@in_full
def _optimum_jvp(primals, tangents):
    problem, _ = primals
    cpu, price = _optimum(*primals)
    lower, upper, _ = columns(problem)
    d_lower, d_upper, d_budget = columns(tangents[0])
    near = prices.pulled_in(cpu, lower, upper)

    def slopes_here(problem, params):
        return marginals(problem, params)(near)

    _, d_slope = jax.jvp(slopes_here, primals, tangents)
    slope, hessian = with_curvatures(marginals(*primals), near)
    # A node with lower = upper moves with the bound that its marginal cost pushes against.
    at_upper = (cpu >= upper) & ((cpu > lower) | (slope <= price[None]))
    at_lower = (cpu <= lower) & ~at_upper
    d_pinned = jnp.where(at_upper, d_upper, jnp.where(at_lower, d_lower, 0))
    free = ~(at_upper | at_lower)
    return (cpu, price), response(hessian, free, d_slope, d_pinned, d_budget)


def response(
    hessian: Float[Array, "n r r"], free: Bool[Array, "n r"], d_slope: Table, d_pinned: Table, d_budget: Array
) -> tuple[Table, Float[Array, " r"]]:
    """How shares and price move, to first order, when marginal costs, pinned shares and the budget are moved.

    hessian d_cpu + d_slope = d_price on the free shares, d_cpu = d_pinned on the others, sum_i d_cpu = d_budget.
    """
    d_slope = d_slope + _applied(hessian, d_pinned)
    inverse = _free_inverse(hessian, free)
    # Measured from the flattest node, whose own term then cancels exactly instead of swamping the rest.
    flattest = jnp.argmax(jnp.diagonal(inverse, axis1=1, axis2=2), 0)
    level = jnp.take_along_axis(d_slope, flattest[None], 0)
    centred = jnp.where(free, d_slope - level, 0)
    missing = d_budget - d_pinned.sum(0) + _applied(inverse, centred).sum(0)
    stiff = inverse.sum(0) + jnp.diag(1 - jnp.any(free, 0).astype(missing.dtype))
    d_price = missing / stiff[0] if missing.size == 1 else jnp.linalg.solve(stiff, missing)
    d_cpu = _applied(inverse, jnp.where(free, d_price[None] - centred, 0))
    return jnp.where(free, d_cpu, d_pinned), d_price + level[0]


def _free_inverse(hessian: Float[Array, "n r r"], free: Bool[Array, "n r"]) -> Float[Array, "n r r"]:
    """The inverse of every node's Hessian over its free shares, 0 elsewhere; flat costs get a tiny curvature."""
    info = jnp.finfo(hessian.dtype)
    both = free[:, :, None] & free[:, None, :]
    hessian = jnp.where(both, hessian, 0)
    least = jnp.maximum(info.eps**2 * jnp.max(jnp.abs(hessian)), info.tiny**0.5)
    if hessian.shape[-1] == 1:
        return jnp.where(both, 1 / jnp.maximum(hessian, least), 0)
    fill = jnp.where(free, least, 1)
    eye = jnp.eye(free.shape[1], dtype=hessian.dtype)
    return jnp.where(both, jnp.linalg.inv(hessian + fill[:, :, None] * eye[None]), 0)


def _applied(matrices: Float[Array, "n r r"], vectors: Table) -> Table:
    return (matrices * vectors[:, None, :]).sum(-1)


def _sweep(slopes: Callable, lower: Table, upper: Table, budget: Array, cpu: Table) -> Table:
    """Every resource solved once, the others held."""

    def solve_one(k, cpu):
        def slope(column):
            return slopes(cpu.at[:, k].set(column))[:, k]

        return cpu.at[:, k].set(prices.split(slope, lower[:, k], upper[:, k], budget[k]))

    return lax.fori_loop(0, cpu.shape[1], solve_one, cpu)


def _settled(slopes: Callable, lower: Table, upper: Table, budget: Array, cpu: Table) -> Table:
    """Sweeps, each followed by a Newton step for all resources where it helps, until no node gains by trading."""
    eps = jnp.finfo(cpu.dtype).eps

    def unrest(cpu):
        slope = slopes(prices.pulled_in(cpu, lower, upper))
        dearest, cheapest = jax.vmap(prices.ends_of_price, 1)(slope, cpu > lower, cpu < upper)
        return jnp.max(dearest - cheapest) / (2**10 * eps * jnp.max(jnp.abs(slope)))

    def advance(state):
        cpu, _, _, rounds = state
        swept = _sweep(slopes, lower, upper, budget, cpu)
        free = (swept > lower) & (swept < upper)
        slope, hessian = with_curvatures(slopes, prices.pulled_in(swept, lower, upper))
        step, _ = response(hessian, free, slope, jnp.zeros_like(cpu), jnp.zeros_like(budget))
        jumped = swept + step
        within = jnp.all((jumped >= lower) & (jumped <= upper))
        before, after = jax.vmap(unrest)(jnp.stack([swept, jumped]))
        helps = within & (after < before)
        found = jnp.where(helps, jumped, swept)
        return found, jnp.max(jnp.abs(found - cpu)), jnp.where(helps, after, before), rounds + 1

    def going_on(state):
        cpu, move, unrest, rounds = state
        return (unrest > 1) & (move > 4 * eps * jnp.max(jnp.abs(cpu))) & (rounds < MOST_SWEEPS)

    high = jnp.array(jnp.inf, cpu.dtype)
    return lax.while_loop(going_on, advance, (cpu, high, high, jnp.zeros((), jnp.int32)))[0]


def _checked(problem: Problem, params: Tree) -> Tree:
    check_problem("allocate", problem)
    if problem.budget is None:
        raise CojaxInputError("allocate needs a problem with a budget, got None; pass budget=... to Problem.")
    params = check_nodes("allocate", problem, params)
    check_cost_of("allocate", problem, Decision(params, problem.lower))
    return params
