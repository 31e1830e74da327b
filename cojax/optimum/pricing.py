"""What one more unit of anything would be worth, and how the optimum answers a change."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._support.checks import CojaxInputError, device_array
from .._support.compiling import compiled
from .._support.precision import in_full
from .._support.reprs import brief
from .._support.trees import Tree
from ..problems.problem import Decision, Problem
from .allocations import Allocation
from .fits import check_params
from .margins import as_columns, ends_of_price, exact_margins, inside_of
from .polishing import solve_params


class Worth(NamedTuple):
    """Derivatives of the least cost in one direction, in cost per unit of cpu."""

    budget: Float[Array, "*r"]  # of what there is to share out
    lower: Float[Array, "n *r"]  # of every node's lower bound: >= 0
    upper: Float[Array, "n *r"]  # of every node's upper bound: <= 0

    def __repr__(self) -> str:
        return brief(self)


class Sensitivities(NamedTuple):
    """The optimum, and the derivatives of its cost; None for budget and bounds that the problem does not have.

    `more` and `less` are the derivatives when a number grows and when it shrinks. They are equal but where a price is
    an interval: every node stands on a bound or on a corner of its cost, such as the end of a tariff's tier, and the
    next unit of budget costs more than the last one saves. There a derivative is infinite where no shares would fit any
    more.

    Fields:
        x: the optimal `Decision`.
        cost: (), the least cost, of all nodes.
        allocation: with the price and the rents.
        more, less: derivatives in cost per unit: budget () or (r,), lower >= 0 and upper <= 0 shaped as cpu.
        data: shaped as the problem's data, None for leaves that are no floats.
        own: shaped as the problem's cost: of arrays that the cost itself holds.
        touching: shaped as cpu: on a bound without rent, or on a corner of the cost that the price just reaches, so how
            shares move holds for changes in one direction.
        tied: shaped as cpu: one of several without curvature at the price; which of them moves is open.
        is_interval: () or (r,), of the price: `more` and `less` differ.
    """

    x: Decision
    cost: Float[Array, ""]
    allocation: Allocation | None
    more: Worth | None
    less: Worth | None
    data: Tree
    own: Any
    touching: Bool[Array, "n *r"] | None
    tied: Bool[Array, "n *r"] | None
    is_interval: Bool[Array, "*r"] | None

    def __repr__(self) -> str:
        return brief(self)


class Shift(NamedTuple):
    """How the optimum moves, to first order; None for a half that the problem does not have.

    Fields: params, one copy; cpu, (n,) or (n, r); price, () or (r,).
    """

    params: Tree
    cpu: Float[Array, "n *r"] | None
    price: Float[Array, "*r"] | None

    def __repr__(self) -> str:
        return brief(self)


def sensitivities(problem: Problem, x: Any = Decision()) -> Sensitivities:
    """The least cost and its derivatives in budget, bounds, data and the cost's own arrays: all exact.

        found = cojax.sensitivities(problem)          # no model to learn
        found = cojax.sensitivities(problem, run.x)   # the model of a run, polished first
        found.more.budget, found.data, -found.more.upper

    By the envelope theorem they are the partial derivatives at the optimum: the price of the budget, the rents of the
    bounds, the gradient of every node's cost in its data. `polish` finds the optimum; see there for `x`, and for
    what is differentiable. jit works, and vmap over hours or scenarios; see `shift` for derivatives of the optimum
    itself.

    Source: Milgrom, Segal, Econometrica 2002, doi 10.1111/1468-0262.00296; Fiacco, Introduction to Sensitivity and
    Stability Analysis in Nonlinear Programming, 1983.
    Raises `CojaxInputError` for an `x` of other shapes than the problem's, or that the cost cannot be computed of.
    """
    return _sensitivities(problem, *solve_params("sensitivities", problem, x))


@functools.partial(compiled, runs_briefly=True)
@in_full
def _sensitivities(problem: Problem, params: Tree, allocation: Allocation | None) -> Sensitivities:
    best = Decision(params, None if allocation is None else allocation.cpu)
    near = best if allocation is None else best._replace(cpu=inside_of(problem, allocation.cpu))

    def total(cost, data):
        return eqx.tree_at(lambda p: (p.cost, p.data), problem, (cost, data)).costs(near).sum()

    own, data = eqx.filter_grad(lambda parts: total(*parts))((problem.cost, problem.data))
    cost = problem.costs(best).sum()
    if allocation is None:
        return Sensitivities(best, cost, None, None, None, data, own, None, None, None)
    more, less, is_interval = _worths(problem, params, allocation)
    touching, tied = _open_ends(problem, params, allocation)
    return Sensitivities(best, cost, allocation, more, less, data, own, touching, tied, is_interval)


def shift(
    problem: Problem,
    x: Any = Decision(),
    *,
    budget: Any = None,
    lower: Any = None,
    upper: Any = None,
    data: Tree = None,
) -> Shift:
    """The derivative of the optimal model, shares and price when the problem changes in one direction.

        cojax.shift(problem, budget=1.0).cpu              # who takes the next unit
        jax.vmap(lambda row: cojax.shift(problem, upper=row).cpu)(jnp.eye(n))   # a Jacobian, row by row

    Args:
        problem, x: as for `sensitivities`.
        budget, lower, upper: how fast these change, broadcast to their shapes; None where they stay.
        data: how fast the data change, a pytree of the data's structure and shapes; what is in place of leaves that
            are no floats is ignored.

    At a node that `sensitivities` calls touching, this is the derivative in directions that keep it on its bound.
    Raises `CojaxInputError` for directions that do not fit, and as `sensitivities`.
    """
    bounds = {"budget": budget, "lower": lower, "upper": upper}
    given = {name: value for name, value in bounds.items() if value is not None}
    if given and problem.budget is None:
        raise CojaxInputError(f"shift got a change of {' and '.join(given)}, but the problem has no budget to share.")
    moves = tuple(_move(name, value, getattr(problem, name)) for name, value in bounds.items())
    params = check_params("shift", problem, x)
    return _shift(problem, Decision(params), moves, _data_move(problem.data, data))


@functools.partial(compiled, runs_briefly=True)
@in_full
def _shift(problem: Problem, x: Decision, moves: tuple, data_move: Tree) -> Shift:
    floats, rest = eqx.partition(problem.data, eqx.is_inexact_array)

    def optimum(budget, lower, upper, floats):
        whole = eqx.tree_at(
            lambda p: (p.budget, p.lower, p.upper, p.data),
            problem,
            (budget, lower, upper, eqx.combine(floats, rest)),
            is_leaf=lambda leaf: leaf is None,
        )
        params, allocation = solve_params("shift", whole, x)
        one = jax.tree.map(lambda leaf: leaf[0], params)
        return Shift(one, *((None, None) if allocation is None else (allocation.cpu, allocation.price)))

    return jax.jvp(optimum, (problem.budget, problem.lower, problem.upper, floats), (*moves, data_move))[1]


def _worths(problem: Problem, params: Tree, allocation: Allocation) -> tuple[Worth, Worth, Array]:
    """The prices and rents at both ends of the interval of prices, and whether there is one."""
    lower, _, _ = as_columns(problem)
    cpu, price = allocation.cpu.reshape(lower.shape), allocation.price.reshape(-1)
    found = exact_margins(problem, params, cpu)
    least, most = ends_of_price(found)
    rounding = 64 * jnp.finfo(price.dtype).eps * jnp.maximum(jnp.abs(least), jnp.abs(most))
    is_one = jnp.isfinite(rounding) & (most - least <= rounding)
    is_interval = ~jnp.any(found.free, 0) & ~is_one
    least, most = jnp.where(is_interval, least, price), jnp.where(is_interval, most, price)

    def worth(budget, bound):
        # Where nothing can be given away a bound that moves finds no partner, and its own node has no rent to lose.
        floor = jnp.where(found.can_give, 0, jnp.maximum(found.more - bound[None], 0))
        ceiling = jnp.where(found.can_take, 0, jnp.minimum(found.less - bound[None], 0))
        shape = allocation.cpu.shape
        return Worth(budget.reshape(shape[1:]), floor.reshape(shape), ceiling.reshape(shape))

    # One more unit of room is filled from the dearest node; one unit less is taken in by the cheapest.
    return worth(most, least), worth(least, most), is_interval.reshape(allocation.price.shape)


def _open_ends(problem: Problem, params: Tree, allocation: Allocation) -> tuple[Array, Array]:
    """Where shares have no derivative, or none but in one direction; both to about half of the digits."""
    lower, upper, _ = as_columns(problem)
    cpu, price = allocation.cpu.reshape(lower.shape), allocation.price.reshape(1, -1)
    found = exact_margins(problem, params, cpu)
    half = jnp.finfo(cpu.dtype).eps ** 0.5
    size = jnp.max(jnp.abs(cpu), 0)
    level = jnp.max(found.steep, 0)
    near = (cpu - lower <= half * size[None]) | (upper - cpu <= half * size[None]) | found.corner
    rentless = jnp.minimum(jnp.abs(found.less - price), jnp.abs(found.more - price)) <= half * level[None]
    rates = jnp.diagonal(found.hessian, axis1=1, axis2=2)
    flat = found.free & (jnp.abs(rates) * size[None] <= half * level[None])
    tied = flat & (flat.sum(0, keepdims=True) > 1)
    shape = allocation.cpu.shape
    return (near & rentless & (lower < upper)).reshape(shape), tied.reshape(shape)


def _move(name: str, value: Any, current: Array | None) -> Array | None:
    if current is None:
        return None
    if value is None:
        return jnp.zeros_like(current)
    change = device_array("shift", f"the change of {name}", value)
    try:
        return jnp.broadcast_to(change.astype(current.dtype), current.shape)
    except (TypeError, ValueError) as error:
        raise CojaxInputError(
            f"shift needs a change of {name} of shape {current.shape}, got {np.shape(value)}."
        ) from error


def _data_move(data: Tree, change: Tree) -> Tree:
    if change is None:
        change = jax.tree.map(jnp.zeros_like, data)
    shapes, wanted = ([np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (change, data))
    if jax.tree.structure(change) != jax.tree.structure(data) or shapes != wanted:
        raise CojaxInputError(
            f"shift needs a change of data with the structure and the shapes of the problem's data, got {shapes} for "
            f"{wanted}; put zeros where nothing changes."
        )
    return jax.tree.map(
        lambda leaf, move: jnp.asarray(move, leaf.dtype) if eqx.is_inexact_array(leaf) else None, data, change
    )
