"""Running statistics that tell convergence from a stall, and a stall from a limit cycle."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._support import trees
from .._support.exact_grid import power_of_two, typical_exponent
from ..networks.base import Network
from ..problems.measures import disagreement, overload
from ..problems.problem import Decision, Problem

# Fewer looks than this are never called a stall: the transient of a method with momentum is as long.
LEAST_LOOKS = 16
# A fall is a fifth less, in the mean of the logarithms over a span, than over the span before: less than 1 / sqrt(k).
LOG_FALL = 0.22
# A distance that is not the largest may wander on the floor of a quantizer: it falls where it is halved, and counts
# where it is not far below the largest, whose fall is what more steps are for.
LOG_HALF, LOG_FAR = 0.7, 3.0
# What falls at every single look is on its way, however slowly; a hundredth is more than the approach of a floor.
LOG_CREEP = 0.01
# Gradients that differ, or have a mean, a thousand times above the largest gradient at the start have no way back.
LOG_GROWTH = 7.0
# The three distances, by place in arrays of [3]: disagreement, the mean params gradient, the spread of marginal costs.
PARAMS, GRADIENT, MARGINAL = range(3)


class Progress(NamedTuple):
    """Carried in the state, updated at every look; `[3]` are the three distances at their places, see above.

    Looks are gathered in spans that double: 1, 2, 3-4, 5-8, 9-16, ... A span is compared with the one before it, so a
    stall is one that lasted for about half of the run. The largest distance falls by a fifth, or one near it by half,
    or the largest at every look.
    """

    looks: Int[Array, ""]
    first: Float[Array, "3"]  # the sizes at the start, see `values_and_sizes`
    typical: Float[Array, "*r"]  # a marginal cost at the start, see `_typical`
    residual: Float[Array, ""]  # of the last look, see `residual`
    overload: Float[Array, ""]  # largest distance of a share from its bounds at any look
    last: Float[Array, "3"]  # logarithms of the distances at the last look
    before: Float[Array, "3"]  # the means of the logarithms of the relative distances over the span before this one
    total: Float[Array, "3"]  # their sums over this span
    falling: Bool[Array, ""]  # whether any fell from the last whole span but one to the last
    rose: Int[Array, ""]  # the last look at which the residual had not fallen since the look before
    unfit: Int[Array, "2"]  # the first node whose gradient in params, in cpu was not finite at the start; -1: none


def first_progress(problem: Problem, network: Network, x: Decision, grad: Decision) -> Progress:
    """Before the first look."""
    first = jnp.stack([_first_unfit(network, half) for half in lax.stop_gradient(grad)])
    x, grad = trees.filled(lax.stop_gradient((x, grad)), problem.members)
    typical = _typical(grad.cpu)
    values, sizes = values_and_sizes(x, grad, typical)
    count, beside = jnp.zeros((), jnp.int32), _beside(sizes, sizes)
    left, logs = residual(values, beside), _logs(values, beside, x)
    none = jnp.zeros_like(sizes)
    return Progress(
        looks=count,
        first=sizes,
        typical=typical,
        residual=left,
        overload=jnp.zeros_like(left),
        last=logs,
        before=none,
        total=none,
        falling=jnp.asarray(True),
        rose=count,
        unfit=first,
    )


def take_look(problem: Problem, x: Decision, state: Any) -> Progress:
    """The progress after one more look; nothing of it has a derivative."""
    old, x, grad = lax.stop_gradient((state.progress, x, state.grad))
    outside = overload(problem, x)
    x, grad = trees.filled((x, grad), problem.members)
    values, sizes = values_and_sizes(x, grad, old.typical)
    looks, beside = old.looks + 1, _beside(sizes, old.first)
    logs = _logs(values, beside, x)
    closes, left = looks == _top(looks), residual(values, beside)
    total = old.total + jnp.log(jnp.maximum(_relative(values, beside), 64 * precision(x)))
    mean = total / jnp.maximum(looks // 2, 1).astype(total.dtype)
    rose = jnp.where(left < (1 - 16 * precision(x)) * old.residual, old.rose, looks)
    fell = (looks < LEAST_LOOKS) | _fell(mean, old.before, 2 * rose <= looks)
    return Progress(
        looks=looks,
        first=old.first,
        typical=old.typical,
        residual=left,
        overload=jnp.maximum(old.overload, lax.stop_gradient(outside).astype(old.overload.dtype)),
        last=logs,
        before=jnp.where(closes, mean, old.before),
        total=jnp.where(closes, 0, total),
        falling=jnp.where(closes, fell, old.falling),
        rose=rose,
        unfit=old.unfit,
    )


def stalled(progress: Progress) -> Bool[Array, ""]:
    """Whether nothing fell over about the second half of the run, see `Progress`."""
    count = progress.looks - _top(progress.looks)
    known = (count >= LEAST_LOOKS // 2) & (2 * count >= _top(progress.looks))
    mean = progress.total / jnp.maximum(count, 1).astype(progress.total.dtype)
    return ~jnp.where(known, _fell(mean, progress.before, ~wavers(progress)), progress.falling)


def _fell(mean: Float[Array, "3"], before: Float[Array, "3"], always: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether the logarithms `mean` of a span say so beside those `before`; `always`: at every look of this half."""
    fall, counts = jnp.max(before) - jnp.max(mean), before > jnp.max(before) - LOG_FAR
    least = jnp.where(always, LOG_CREEP, LOG_FALL)
    return (fall > least) | jnp.any(counts & (before - mean > LOG_HALF))


def wavers(progress: Progress) -> Bool[Array, ""]:
    """Whether in the second half of the run there was a look at which it came no closer: no descent has one."""
    return 2 * progress.rose > progress.looks


def grew(progress: Progress) -> Bool[Array, ""]:
    """Whether the last look found gradients of another size than the start had."""
    first = progress.first[GRADIENT:]
    return jnp.any((first > 0) & (progress.last[GRADIENT:] > LOG_GROWTH + jnp.log(first)))


def residual(values: Float[Array, "3"], beside: Float[Array, "3"]) -> Float[Array, ""]:
    """How far from optimal: the largest of the distances, each relative to its size; see `_beside`."""
    return jnp.max(_relative(values, beside))


def _relative(values: Float[Array, "3"], beside: Float[Array, "3"]) -> Float[Array, "3"]:
    return jnp.where(values == 0, 0, values / beside)


def values_and_sizes(
    x: Decision, grad: Decision, typical: Float[Array, "*r"]
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """How far a decision is from optimal, from the decision and its gradient alone, and what that is to be held beside.

    The distance of params from their mean, beside the largest of them; the norm of the mean params gradient, beside the
    largest norm of one node's; half of the spread of the marginal costs, beside the largest of them, both as multiples
    of `typical` ones: every resource has a unit of its own, and the largest counts.
    """
    own = jax.vmap(trees.norm)(grad.params) if jax.tree.leaves(grad.params) else jnp.zeros(1)
    marginal = None if grad.cpu is None else grad.cpu.astype(typical.dtype) / typical[None]
    above = jax.tree.map(lambda leaf: leaf.max(0) - leaf.min(0), marginal)
    values = disagreement(x), trees.norm(trees.node_mean(grad.params)), trees.largest(above) / 2
    sizes = trees.largest(x.params), own.max(), trees.largest(marginal)
    return jnp.stack(values), jnp.stack(sizes)


def precision(x: Decision) -> float:
    """The distance from 1 to the next number, of the coarsest float in a decision."""
    return max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(x))


def _first_unfit(network: Network, grad: Any) -> Int[Array, ""]:
    """The first node, in the caller's order, of which an entry is not finite; -1 where there is none."""
    rows = [~jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(1) for leaf in jax.tree.leaves(grad)]
    if not rows:
        return jnp.asarray(-1, jnp.int32)
    unfit = network.to_nodes(jnp.stack(rows).any(0))
    # The least of numbers, which devices reduce; for the place of a maximum they would gather rows.
    count = unfit.shape[0]
    first = jnp.min(jnp.where(unfit, jnp.arange(count, dtype=jnp.int32), count))
    return jnp.where(first < count, first, -1)


def _logs(values: Float[Array, "3"], beside: Float[Array, "3"], x: Decision) -> Array:
    # What is below rounding is as good as any other number below it.
    noise = 64 * precision(x) * beside
    return jnp.log(jnp.maximum(values, noise) + jnp.finfo(values.dtype).tiny)


def _beside(sizes: Float[Array, "3"], first: Float[Array, "3"]) -> Float[Array, "3"]:
    """What the distances are small against, in their units: their sizes now, or what the start says of the problem.

    A size may vanish at the optimum: the gradients of all nodes where a model fits every sample, the params where the
    best are 0, the marginal costs where the price is 0. A start tells how gradients follow params, so that either size
    can be told from the other, however far off the start was. Of the marginal costs it is a sixteenth of a typical one
    at the start: seldom more than what the curvature of the flattest nodes makes of their shares.
    """
    ratio = jnp.where(first > 0, sizes / jnp.where(first > 0, sizes + first, 1), 0)
    params = first[PARAMS] * ratio[GRADIENT]
    # At params of 0 the gradients are what the best params, times the curvature, leave of them.
    gradient = jnp.where(first[PARAMS] > 0, first[GRADIENT] * ratio[PARAMS], first[GRADIENT])
    return jnp.maximum(sizes, jnp.stack([params, gradient, jnp.where(first[MARGINAL] > 0, 1 / 16, 0.0)]))


def _typical(marginal: Array | None) -> Float[Array, "*r"]:
    """The geometric mean of the absolute marginal costs that are not 0, to a factor of 2; 1 where all are."""
    if marginal is None:
        return jnp.ones(())
    sizes = jnp.abs(marginal).astype(jnp.result_type(float))
    return power_of_two(typical_exponent(sizes), sizes.dtype)


def _top(looks: Int[Array, ""]) -> Int[Array, ""]:
    """The largest power of two that is not above `looks`; 1 of 0."""
    return jnp.left_shift(jnp.ones_like(looks), 31 - lax.clz(jnp.maximum(looks, 1)))
