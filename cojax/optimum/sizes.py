"""No unit decides a verdict: what must be small is held beside sizes that problem and decision have themselves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._support import exact_grid, trees
from .._support.maxima import with_safe_maxima
from .._support.trees import Tree
from ..problems.problem import Decision, Problem

Numbers = Array | np.ndarray  # traced, or on the host


class Sizes(NamedTuple):
    """What "small" is measured against in `is_certified`; each scales as what it is held beside, in every unit.

    A size of the decision alone may vanish at the optimum: the marginal costs where the price is 0, all costs where
    every demand is met, all gradients where a model fits every sample. So there is a second one, of the problem's
    curvature, and the larger counts. Both are 0 only where nothing in the problem has a size; then only 0 is small.

    Fields:
        cpu: the largest share.
        price: the largest marginal cost; or what the price would change by if all shares were bought anew, which is
            their sum divided by the sum of 1 / curvature.
        cost: the sum of the absolute costs of all nodes; or all shares at that change of the price.
        params: the largest entry of the params; or how far a node's own gradient, at its curvature, would move it.
        gradient: the largest norm of one node's params gradient; or what a node's changes by where its params move
            down along it by their own length.
        model_cost: the sum of the absolute costs of all nodes; or half of the params times the curvature times them.
    """

    cpu: Float[Array, ""]
    price: Float[Array, ""]
    cost: Float[Array, ""]
    params: Float[Array, ""]
    gradient: Float[Array, ""]
    model_cost: Float[Array, ""]


class Slopes(NamedTuple):
    """Of the params, at their mean."""

    mean: Array  # norm of the mean gradient
    params: Array  # see `Sizes`
    gradient: Array


def beside(value: Numbers, size: Numbers) -> Numbers:
    """value / size, and 0 where the value is; NaN and infinite where no size makes it small."""
    kind = value.__array_namespace__()
    with np.errstate(divide="ignore", invalid="ignore"):
        return kind.where(value == 0, 0, value / size.astype(value.dtype))


def balance(problem: Problem, cpu: Array) -> Float[Array, ""]:
    """How far the shares are off the budget beside it, or beside the largest share where that is larger."""
    assert problem.budget is not None
    shares, budget = cpu.reshape(cpu.shape[0], -1), problem.budget.reshape(-1)
    off = exact_grid.imbalance(shares, budget)
    return lax.stop_gradient(jnp.max(beside(off, jnp.maximum(jnp.abs(budget), jnp.abs(shares).max(0)))))


def box(problem: Problem, cpu: Array | None) -> tuple[Array, Array]:
    """The largest distance of a share from its bounds, and the largest share, of the resource that is furthest off."""
    if cpu is None or problem.lower is None or problem.upper is None:
        return jnp.zeros(()), trees.largest(cpu)
    shares, lower, upper = (part.reshape(cpu.shape[0], -1) for part in (cpu, problem.lower, problem.upper))
    outside = jnp.maximum(jnp.maximum(lower - shares, shares - upper), 0).max(0)
    return furthest(outside, jnp.abs(shares).max(0))


def furthest(values: Float[Array, " r"], sizes: Float[Array, " r"]) -> tuple[Array, Array]:
    """The pair with the largest ratio: resources have units of their own."""
    worst = jnp.argmax(beside(values, sizes))
    return values[worst], sizes[worst]


def market(
    slope: Float[Array, "n r"], hessian: Float[Array, "n r r"], shares: Float[Array, "n r"]
) -> tuple[Float[Array, " r"], Array]:
    """The size of the price of every resource, and the cost that all shares have by curvature alone; see `Sizes`."""
    rates = jnp.diagonal(hessian, axis1=1, axis2=2)
    curved = (rates > 0) & jnp.isfinite(rates)
    # The flattest nodes count most: beside the stiffest one a wrong price at all the others would look small.
    yields = jnp.where(curved, 1 / jnp.where(curved, rates, 1), 0).sum(0)
    total = jnp.abs(shares).sum(0)
    swing = jnp.where(yields > 0, total / jnp.where(yields > 0, yields, 1), 0)
    return jnp.maximum(jnp.abs(slope).max(0), swing), (swing * total).sum()


def learning(problem: Problem, x: Decision) -> Slopes:
    """The gradient of the params at `x`, all copies of which are the same, and the sizes of it and of them."""
    largest = trees.largest(x.params)
    if not jax.tree.leaves(x.params):
        return Slopes(jnp.zeros(()), largest, jnp.zeros(()))
    length = jnp.max(jax.vmap(safe_norm)(x.params))

    def cost(params, cpu, data):
        return problem.cost(Decision(params, cpu), data)

    def look(state: tuple[Tree, Tree], _: None) -> tuple[tuple[Tree, Tree], tuple[Array, ...]]:
        params, before = state
        slopes = trees.filled(jax.vmap(jax.grad(with_safe_maxima(cost)))(params, x.cpu, problem.data), problem.members)
        own, change = (jax.vmap(safe_norm)(tree) for tree in (slopes, trees.subtract(slopes, before)))
        down = trees.add_scaled(x.params, -jnp.where(own > 0, length / jnp.where(own > 0, own, 1), 0), slopes)
        # Where a step of that length leaves the cost's domain, it tells nothing.
        known = jnp.max(jnp.where(jnp.isfinite(change), change, 0))
        return (down, slopes), (safe_norm(trees.node_mean(slopes)), jnp.max(own), known)

    # A loop, so that the gradient is compiled once.
    start = x.params, trees.zeros_like(x.params)
    (mean, _), (own, _), (_, change) = lax.scan(look, start, None, length=2)[1]
    told = change > 16 * jnp.finfo(change.dtype).eps * own
    moves = jnp.where(told, jnp.maximum(own / jnp.where(told, change, 1), 1), 1)
    return Slopes(mean, largest * moves, jnp.maximum(own, change))


def safe_norm(tree: Tree) -> Float[Array, ""]:
    """As `trees.norm`, also of entries whose squares are too small or too large for their dtype.

    Where all entries are 0 its derivative is 0, and not 0 / 0.
    """
    largest = lax.stop_gradient(trees.largest(tree))
    top, nothing = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1), largest == 0
    scaled = jax.tree.map(lambda leaf: jnp.where(nothing, 1, leaf.astype(top.dtype) / top), tree)
    return jnp.where(nothing, 0, top) * trees.norm(scaled)
