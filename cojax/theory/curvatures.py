"""How strongly the costs of a problem curve, measured from their second derivatives."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, is_concrete
from .._support.compiling import compiled
from .._support.trees import Tree
from ..problems.problem import Decision, Problem, check_gradient, check_start

# Up to this many columns, and entries of all nodes together, Hessians are built; above they are only multiplied.
MOST_COLUMNS, MOST_ENTRIES = 64, 20_000_000
# Entries of columns that are found at once.
ENTRIES_AT_ONCE = 2_000_000
# Products for the largest eigenvalue of every node, and for the smallest of their mean, which matters less.
STEPS_OF_NODES, STEPS_OF_MEAN = 40, 120
# Points of the descent along which the curvature of a model is looked at, besides the decision itself.
NUM_POINTS = 12
# Where between its bounds, and a little outside of them, the curvature of a share's cost is looked at.
FRACTIONS = (-0.05, 0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0, 1.05)


class LearnCurvature(NamedTuple):
    """What `learn_curvature` finds."""

    high: float  # the largest absolute eigenvalue of one node's Hessian
    low: float  # the smallest eigenvalue of one node's Hessian
    mean_low: float  # the smallest eigenvalue of the mean over nodes of the Hessians; < 0 where that is not convex
    mean_high: float  # the largest one at the last point, which is nearest to an optimum


class ShareCurvature(NamedTuple):
    """What `share_curvature` finds, of every node; with r kinds of resource the eigenvalues of (r, r) Hessians."""

    here: Float[np.ndarray, " n"]  # the largest at the given shares
    high: Float[np.ndarray, " n"]  # the largest over all samples
    low: Float[np.ndarray, " n"]  # the smallest over the samples inside of the bounds; not below 0
    rates: Float[np.ndarray, " r"]  # of every resource alone: the median over nodes at the given shares


class Curvature(NamedTuple):
    """Both halves; None for one that the problem does not have."""

    learn: LearnCurvature | None
    allocate: ShareCurvature | None


def curvature(problem: Problem, x: Decision) -> Curvature:
    """Bounds of curvature, estimated at and around the decision `x`: nobody need type them.

    See `learn_curvature` and `share_curvature` for where they look. What they find is exact for quadratic costs and
    an estimate from below for others: curvature that lies nowhere near the samples is not seen. Derivatives that mix
    params and cpu are left out. Raises `CojaxInputError` under jit and where no second derivative is finite.
    """
    return Curvature(
        learn_curvature(problem, x) if jax.tree.leaves(x.params) else None,
        share_curvature(problem, x) if x.cpu is not None else None,
    )


def learn_curvature(problem: Problem, x: Decision) -> LearnCurvature:
    """The curvature in params, at `x` and at 12 points of a centralised gradient descent from the mean of its copies.

    The descent shows what a start cannot: a smoothed hinge is nearly flat at zero and curved near its optimum. Exact
    eigenvalues up to 64 parameters and 2e7 entries of the Hessians of all nodes. Above, by Lanczos from Hessian-vector
    products: of the largest a bound from above, and of a node's smallest what it is at most, 40 products at a point; of
    the mean's smallest what 120 products find.
    """
    _check_concrete("theory.learn_curvature", problem, x)
    size = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(x.params))
    built = size <= MOST_COLUMNS and problem.num_nodes * size**2 <= MOST_ENTRIES
    ends_of_nodes, means = (np.asarray(part, np.float64) for part in _along_descent(problem, x, built))
    if not (np.isfinite(ends_of_nodes).all() and np.isfinite(means).all()):
        check_gradient(problem.grad(x))
        raise CojaxInputError(
            "theory.learn_curvature needs costs with finite second derivatives in params, got NaN or infinity; start "
            "elsewhere, or give the method its numbers by hand."
        )
    ends = np.linalg.eigvalsh(means)[:, [0, -1]]
    high, low = float(ends_of_nodes[:, 1].max()), float(ends_of_nodes[:, 0].min())
    return LearnCurvature(high, low, float(ends[:, 0].min()), float(ends[-1, 1]))


@functools.partial(compiled, static_argnums=2, runs_briefly=True)
def _along_descent(problem: Problem, x: Decision, built: bool) -> tuple[Float[Array, "p 2"], Float[Array, "p k k"]]:
    """At `x` and at points of the descent: the least curvature of a node and the largest, and a matrix with the ends
    of the mean."""
    look = _built if built else _multiplied

    def visit(points: tuple[Decision, Decision], _: None) -> tuple[tuple[Decision, Decision], Any]:
        here, below = points
        ends, mean = look(problem, here)
        moved, fell = _descend(problem, below, ends[1])
        ahead = jax.tree.map(lambda new, old: jnp.where(fell, new, old), (moved, moved), points)
        return ahead, (ends, mean)

    together = x._replace(params=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.mean(0), leaf.shape), x.params))
    return jax.lax.scan(visit, (x, together), length=NUM_POINTS + 1)[1]


def _descend(problem: Problem, x: Decision, steepness: Array) -> tuple[Decision, Array]:
    """One step of gradient descent for all copies together, halved until the cost falls, and whether it did."""
    mean = jax.tree.map(lambda leaf: leaf.mean(0), problem.grad(x).params)
    square = sum((leaf.astype(jnp.result_type(float)) ** 2).sum() for leaf in jax.tree.leaves(mean))

    def move(step: Array) -> Decision:
        def along(leaf: Array, slope: Array) -> Array:
            return leaf - step.astype(leaf.dtype) * slope[None]

        return x._replace(params=jax.tree.map(along, x.params, mean))

    def cost_after(step: Array) -> Array:
        return problem.costs(move(step)).mean().astype(jnp.result_type(float))

    def falls(step: Array) -> Array:
        return cost_after(step) < here - 0.25 * step * square

    # Of the first step that every node finds safe on its own; costs that curve more further on make it shorter.
    here, first = cost_after(jnp.zeros(())), 1.0 / steepness.astype(jnp.result_type(float))
    step, fell = jax.lax.while_loop(
        lambda tried: ~tried[1] & (tried[0] > 2.0**-40 * first),
        lambda tried: (tried[0] / 2, falls(tried[0] / 2)),
        (2 * first, jnp.asarray(False)),
    )
    return move(step), fell & (steepness > 0)


def _products(problem: Problem, x: Decision, rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The Hessian of every node in params times its row."""
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], x.params))

    def slopes(params: Tree) -> Tree:
        return problem.grad(x._replace(params=params)).params

    _, products = jax.jvp(slopes, (x.params,), (jax.vmap(unravel)(rows),))
    return jax.vmap(lambda tree: ravel_pytree(tree)[0])(products)


def _built(problem: Problem, x: Decision) -> tuple[Float[Array, "2"], Float[Array, "d d"]]:
    """The smallest eigenvalue over nodes and the largest absolute one, and the mean Hessian."""
    flat, _ = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], x.params))

    def column(direction: Array) -> Array:
        return _products(problem, x, jnp.broadcast_to(direction, (problem.num_nodes, flat.size)))

    at_once = max(1, ENTRIES_AT_ONCE // (problem.num_nodes * flat.size))
    columns = jax.lax.map(column, jnp.eye(flat.size, dtype=flat.dtype), batch_size=min(at_once, flat.size))
    # Eigenvalues are not computed in 16 bits.
    hessians = jnp.moveaxis(columns, 0, -1).astype(
        columns.dtype if jnp.finfo(columns.dtype).bits >= 32 else jnp.float32
    )
    hessians = (hessians + hessians.swapaxes(1, 2)) / 2
    values = jnp.linalg.eigvalsh(hessians)
    return jnp.stack([values.min(), jnp.abs(values).max()]), hessians.mean(0)


def _multiplied(problem: Problem, x: Decision) -> tuple[Float[Array, "2"], Float[Array, "k k"]]:
    """Over nodes a number that the smallest eigenvalue is at most and a bound from above of the largest absolute one,
    and a matrix whose ends are near the mean's."""
    flat, _ = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], x.params))
    key, shape = jax.random.key(0), (problem.num_nodes, flat.size)

    def of_mean(row: Float[Array, "1 d"]) -> Float[Array, "1 d"]:
        return _products(problem, x, jnp.broadcast_to(row, shape)).mean(0, keepdims=True)

    start = jax.random.normal(key, shape, flat.dtype)
    matrices, away = _tridiagonal(lambda rows: _products(problem, x, rows), start, min(STEPS_OF_NODES, flat.size))
    values, vectors = jnp.linalg.eigh(matrices)
    # What is left of an equation bounds how far its eigenvalue is from one of the matrix.
    high = (jnp.abs(values) + away[:, None] * jnp.abs(vectors[:, -1])).max()
    mean, _ = _tridiagonal(of_mean, start[:1], min(STEPS_OF_MEAN, flat.size))
    return jnp.stack([values.min(), high]), mean[0]


def _tridiagonal(
    product: Callable[[Float[Array, "n d"]], Float[Array, "n d"]], start: Float[Array, "n d"], num_steps: int
) -> tuple[Float[Array, "n k k"], Float[Array, " n"]]:
    """Lanczos for every row at once: matrices whose ends are near those of each, and how far the last step reached."""

    def step(carried: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], Any]:
        before, here, away = carried
        ahead = product(here) - away[:, None] * before
        along = (here * ahead).sum(1)
        ahead = ahead - along[:, None] * here
        length = jnp.linalg.norm(ahead, axis=1)
        # Where nothing is left all that the start reaches is found; from there on there are zeros.
        ended = length <= 8 * jnp.finfo(length.dtype).eps * jnp.abs(along)
        length = jnp.where(ended, 0, length)
        unit = jnp.where(ended[:, None], 0, ahead / jnp.where(ended, 1, length)[:, None])
        return (here, unit, length), (along, length)

    begun = start / jnp.linalg.norm(start, axis=1, keepdims=True)
    state = jnp.zeros_like(begun), begun, jnp.zeros_like(begun[:, 0])
    (_, _, away), (along, lengths) = jax.lax.scan(step, state, length=num_steps)
    # In place of those what moves neither end.
    goes_on = jnp.cumprod(jnp.concatenate([jnp.ones_like(lengths[:1]), jnp.sign(lengths[:-1])]), axis=0)
    along = jnp.where(goes_on > 0, along, along[:1])
    beside = jax.vmap(lambda each: jnp.diag(each, 1) + jnp.diag(each, -1))(lengths[:-1].T)
    return jax.vmap(jnp.diag)(along.T) + beside, away


def share_curvature(problem: Problem, x: Decision) -> ShareCurvature:
    """The curvature in cpu of cost plus penalty at `x`, and at 9 points of every node's range.

    The range goes from bound to bound and 5 % beyond on either side, where soft bounds let shares go; where there is no
    bound, to the largest |share| in `x` of that resource away from the node's own; of a share that is fixed, 5 % of
    that largest beyond. Samples where it is not finite, on a barrier, are left out: a barrier's curvature has no bound,
    and is seen up to 5 % of the range away from it.
    """
    _check_concrete("theory.share_curvature", problem, x)
    if problem.lower is None or problem.upper is None or x.cpu is None:
        raise CojaxInputError("theory.share_curvature needs a problem with a budget, got None; pass budget=....")
    cpu, lower, upper = (np.asarray(part, np.float64) for part in (x.cpu, problem.lower, problem.upper))
    reach = np.maximum(np.abs(cpu).max(0), np.finfo(np.asarray(x.cpu).dtype).tiny)
    low, high = np.where(np.isfinite(lower), lower, cpu - reach), np.where(np.isfinite(upper), upper, cpu + reach)
    # Of a share that is fixed the range has no length of its own to go beyond.
    fixed, far = high == low, np.where(np.abs(cpu).max(0) > 0, reach, 1.0)
    beyond = [low + np.where(fixed, (part - np.clip(part, 0, 1)) * far, part * (high - low)) for part in FRACTIONS]
    points = np.stack([cpu, *beyond])
    hessians = np.asarray(_share_hessians(problem, x, points.astype(x.cpu.dtype)), np.float64)
    finite = np.all(np.isfinite(hessians), axis=(2, 3))
    values = np.linalg.eigvalsh(np.where(finite[:, :, None, None], hessians, 0.0))
    inside = finite & np.asarray([True, *(0 <= part <= 1 for part in FRACTIONS)])[:, None]
    most = np.where(finite, values[:, :, -1], -np.inf).max(0)
    if not np.isfinite(most).all():
        node = int(np.flatnonzero(~np.isfinite(most))[0])
        raise CojaxInputError(
            f"theory.share_curvature needs a cost with a finite second derivative in cpu, got none at node {node}."
        )
    least = np.where(inside, values[:, :, 0], np.inf).min(0)
    own = np.where(finite[0][:, None], np.diagonal(hessians[0], axis1=1, axis2=2), np.nan)
    rates = np.nanmedian(own, axis=0) if finite[0].any() else np.full(own.shape[1], np.nan)
    least = np.maximum(np.where(np.isfinite(least), least, 0.0), 0.0)
    return ShareCurvature(values[0, :, -1], most, least, rates)


@functools.partial(compiled, runs_briefly=True)
def _share_hessians(problem: Problem, x: Decision, points: Float[Array, "m n *r"]) -> Float[Array, "m n r r"]:
    def slopes(cpu: Array) -> Array:
        return problem.grad(x._replace(cpu=cpu)).cpu

    def at(cpu: Array) -> Array:
        directions = jnp.eye(cpu[0].size, dtype=cpu.dtype).reshape(-1, *cpu.shape[1:])

        def column(direction: Array) -> Array:
            return jax.jvp(slopes, (cpu,), (jnp.broadcast_to(direction, cpu.shape),))[1].reshape(cpu.shape[0], -1)

        return jax.vmap(column, out_axes=-1)(directions)

    return jax.vmap(at)(points)


def _check_concrete(owner: str, problem: Any, x: Any) -> None:
    if not is_concrete(problem, x):
        raise CojaxInputError(f"{owner} computes on the host, got traced arrays; call it outside of jit.")
    check_start(owner, problem, x)
