"""What a unit less saves and a unit more costs at every node: the two differ where a cost has a corner."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._support.maxima import with_safe_maxima
from .._support.trees import Tree
from ..problems.problem import Decision, Problem
from . import prices

Table = Float[Array, "n r"]
Mask = Bool[Array, "n r"]
Slopes = Callable[[Table], Table]

# A derivative jumps where it grows by more than this many times what the curvatures on both sides explain.
UNEXPLAINED = 4
ROUNDINGS = 32


class Margins(NamedTuple):
    """Of shares within their bounds, one row per node and one column per resource."""

    less: Table  # the derivative of the cost from the left: what one unit less saves; of a fixed share from the right
    more: Table  # from the right; the same number where there is no corner
    hessian: Float[Array, "n r r"]
    can_give: Mask  # off the lower bound
    can_take: Mask  # off the upper bound
    corner: Mask
    below: Float[Array, "r n r"]  # the shares, those of one resource moved to the left of a corner
    above: Float[Array, "r n r"]

    @property
    def free(self) -> Mask:
        """Whose shares move with the price, however little that moves."""
        return self.can_give & self.can_take & ~self.corner

    @property
    def steep(self) -> Table:
        """The size of the marginal cost, on the steeper side of a corner."""
        return jnp.maximum(jnp.abs(self.less), jnp.abs(self.more))


def inside_of(problem: Problem, cpu: Array | None) -> Array | None:
    """Shares just inside of their bounds, on which a cost may be infinite."""
    if cpu is None or problem.budget is None:
        return cpu
    lower, upper, _ = as_columns(problem)
    return prices.pulled_in(cpu.reshape(lower.shape), lower, upper).reshape(cpu.shape)


def margins(slopes: Slopes, cpu: Table, lower: Table, upper: Table, reach: Float[Array, " r"]) -> Margins:
    """The margins of `cpu`; what lies within `reach`, a bound or a corner, counts as met.

    A cost is smooth here where its marginal costs `reach` to the left and to the right differ by no more than its
    curvatures explain. Else both are kept: the marginal cost at a corner itself is a number in between.
    """
    near = prices.pulled_in(cpu, lower, upper)
    columns = jnp.eye(cpu.shape[1], dtype=cpu.dtype)[:, None, :] * reach[None, None]
    sides = jnp.concatenate([near[None] - columns, near[None] + columns])
    below, above = jnp.split(prices.pulled_in(sides, lower, upper), 2)
    # A share that cannot move has no inside: what one more costs is read beside it.
    fixed = upper - lower <= reach[None]
    above = jnp.where(fixed[None], near[None] + columns, above)
    # One copy of the cost in the program, for all places where it is read.
    looked = jax.vmap(lambda shares: with_curvatures(slopes, shares))(jnp.concatenate([near[None], below, above]))
    count = cpu.shape[1]
    own = jnp.arange(count)
    slope, hessian = looked[0][0], looked[1][0]
    left, right = (looked[0][1 + k * count :][own, :, own].T for k in (0, 1))
    left_rate, right_rate = (looked[1][1 + k * count :][own, :, own, own].T for k in (0, 1))
    moved = (above - below)[own, :, own].T
    eps = jnp.finfo(cpu.dtype).eps
    noise = 64 * eps * jnp.maximum(jnp.abs(left), jnp.abs(right))
    corner = right - left > UNEXPLAINED * (left_rate + right_rate) / 2 * moved + noise
    ends = jnp.stack([lower, upper])
    touch = reach[None, None] + 2 * eps * jnp.where(jnp.isinf(ends), 0, jnp.abs(ends))
    return Margins(
        jnp.where(corner, jnp.where(fixed, right, left), slope),
        jnp.where(corner, right, slope),
        hessian,
        can_give=~(cpu - lower <= touch[0]),
        can_take=~(upper - cpu <= touch[1]),
        corner=corner,
        below=below,
        above=above,
    )


def exact_margins(problem: Problem, params: Tree, cpu: Table) -> Margins:
    """The margins of shares that `allocate` has found, which are at bounds and corners to a few roundings."""
    lower, upper, _ = as_columns(problem)
    return margins(marginals(problem, params), cpu, lower, upper, reach_of(cpu, lower, upper))


def reach_of(cpu: Table, lower: Table, upper: Table) -> Float[Array, " r"]:
    """How far shares that are exact can be off a bound or a corner: some roundings of the largest of their resource."""
    return jax.lax.stop_gradient(ROUNDINGS * jnp.finfo(cpu.dtype).eps * prices.sizes_of(cpu, lower, upper))


def ends_of_price(margins: Margins) -> tuple[Float[Array, " r"], Float[Array, " r"]]:
    """What the dearest node that can give would save, and the cheapest that can take would cost, per unit.

    At the optimum they come in this order, and every number between them is a price: the derivatives of the least cost
    to the left and to the right in the budget.
    """
    dearest = jnp.max(jnp.where(margins.can_give, margins.less, -jnp.inf), 0)
    return dearest, jnp.min(jnp.where(margins.can_take, margins.more, jnp.inf), 0)


def price_of(margins: Margins) -> Float[Array, " r"]:
    """The price that marginal costs reveal: their mean over free nodes, flattest costs first; else an idle price."""
    rates = jnp.diagonal(jax.lax.stop_gradient(margins.hessian), axis1=1, axis2=2)
    # As the shares move all marginal costs move as the price does, whatever weighs them.
    weights = flatness(rates, margins.free)
    mean = (weights * jnp.where(margins.free, margins.less, 0)).sum(0)
    return jnp.where(jnp.any(margins.free, 0), mean, idle_price(margins))


def idle_price(margins: Margins) -> Float[Array, " r"]:
    """The middle, or the one finite end, of the prices at which no node wants to give or to take."""
    dearest, cheapest = ends_of_price(margins)
    gives, takes = jnp.any(margins.can_give, 0), jnp.any(margins.can_take, 0)
    dearest = jnp.where(gives, dearest, jnp.where(takes, cheapest, margins.less.max(0)))
    # Half of a sum, which keeps equal ends as they are; of a difference it would round.
    return dearest / 2 + jnp.where(takes, cheapest, dearest) / 2


def flatness(rate: Table, free: Mask) -> Table:
    """1 / curvature of the free nodes, summing to 1: how the next unit of budget splits; linear costs take it all."""
    info = jnp.finfo(rate.dtype)
    rate = jnp.where(free, rate, 0)
    least = jnp.maximum(jnp.max(rate, 0, keepdims=True) * info.eps**2, info.tiny**0.5)
    weights = jnp.where(free, 1 / jnp.maximum(rate, least), 0)
    return prices.divide(weights, weights.sum(0, keepdims=True))


def marginals(problem: Problem, params: Tree) -> Slopes:
    """The derivative of every node's cost with respect to its own shares, as a function of (n, r) shares."""

    def cost(cpu, params, data):
        return problem.cost(Decision(params, cpu), data)

    def slopes(cpu: Table) -> Table:
        assert problem.lower is not None
        own = cpu.reshape(problem.lower.shape)
        return (
            jax.vmap(jax.grad(with_safe_maxima(cost)))(own, params, problem.data).astype(own.dtype).reshape(cpu.shape)
        )

    return slopes


def as_columns(problem: Problem) -> tuple[Table, Table, Float[Array, " r"]]:
    """Lower and upper bounds and the budget with an axis of resources, of length 1 where the budget is a scalar."""
    assert problem.budget is not None and problem.lower is not None and problem.upper is not None
    shape = (problem.lower.shape[0], -1)
    return problem.lower.reshape(shape), problem.upper.reshape(shape), problem.budget.reshape(-1)


def with_curvatures(slopes: Slopes, cpu: Table) -> tuple[Table, Float[Array, "n r r"]]:
    """The marginal costs, and the second derivatives of every node's cost with respect to its own shares."""

    def column(direction):
        return jax.jvp(slopes, (cpu,), (jnp.broadcast_to(direction[None], cpu.shape),))

    return jax.vmap(column, out_axes=(None, -1))(jnp.eye(cpu.shape[1], dtype=cpu.dtype))
