"""How strongly the costs of a problem curve, measured from their second derivatives."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, is_concrete
from .._support.trees import Tree
from ..problems.problem import Decision, Problem, check_gradient, check_start

# Up to this many entries in the Hessians of all nodes they are built; above they are only multiplied, by Lanczos.
MOST_ENTRIES = 2_000_000
# Points of the descent along which the curvature of a model is looked at, besides the decision itself.
NUM_POINTS = 12
# Where between its bounds, and a little outside of them, the curvature of a share's cost is looked at.
FRACTIONS = (-0.05, 0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0, 1.05)


class LearnCurvature(NamedTuple):
    """What `learn_curvature` finds."""

    high: float  # the largest absolute eigenvalue of one node's Hessian
    mean_low: float  # the smallest eigenvalue of the mean over nodes of the Hessians; < 0 where that is not convex


class ShareCurvature(NamedTuple):
    """What `share_curvature` finds, of every node; with r kinds of resource the eigenvalues of (r, r) Hessians."""

    here: Float[np.ndarray, " n"]  # the largest at the given shares
    high: Float[np.ndarray, " n"]  # the largest over all samples
    low: Float[np.ndarray, " n"]  # the smallest over the samples inside of the bounds; not below 0


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
    eigenvalues where the Hessians of all nodes have up to 2e6 entries, Lanczos on Hessian-vector products above.
    """
    _check_concrete("theory.learn_curvature", problem, x)
    size = sum(leaf[0].size for leaf in jax.tree.leaves(x.params))
    ends = _exact_ends if problem.num_nodes * size**2 <= MOST_ENTRIES else _lanczos_ends
    found = [ends(problem, x)]
    point = x._replace(params=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.mean(0), leaf.shape), x.params))
    for _ in range(NUM_POINTS):
        if (moved := _descend(problem, point, found[-1][0])) is None:
            break
        point = moved
        found.append(ends(problem, point))
    if not np.isfinite(found).all():
        check_gradient(problem.grad(x))
        raise CojaxInputError(
            "theory.learn_curvature needs costs with finite second derivatives in params, got NaN or infinity; start "
            "elsewhere, or give the method its numbers by hand."
        )
    return LearnCurvature(float(max(high for high, _ in found)), float(min(low for _, low in found)))


def _descend(problem: Problem, x: Decision, steepness: float) -> Decision | None:
    """One step of gradient descent for all copies together, halved until the cost falls; None where it cannot."""
    if not steepness > 0:
        return None
    # Of the first step that every node finds safe on its own; costs that curve more further on make it shorter.
    step, here = 1.0 / steepness, float(_mean_cost(problem, x))
    direction, square = _mean_direction(problem, x)
    for _ in range(40):
        moved = _move(x, direction, step)
        if float(_mean_cost(problem, moved)) < here - 0.25 * step * float(square):
            return moved
        step /= 2
    return None


@jax.jit
def _mean_cost(problem: Problem, x: Decision) -> Array:
    return problem.costs(x).mean()


@jax.jit
def _mean_direction(problem: Problem, x: Decision) -> tuple[Tree, Array]:
    """The mean gradient in params, for every copy, and its squared norm."""
    mean = jax.tree.map(lambda leaf: leaf.mean(0), problem.grad(x).params)
    return mean, sum((leaf.astype(jnp.result_type(float)) ** 2).sum() for leaf in jax.tree.leaves(mean))  # pyright: ignore[reportReturnType]


@jax.jit
def _move(x: Decision, direction: Tree, step: Any) -> Decision:
    return x._replace(
        params=jax.tree.map(lambda leaf, slope: leaf - jnp.asarray(step, leaf.dtype) * slope[None], x.params, direction)
    )


@jax.jit
def _products(problem: Problem, x: Decision, rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The Hessian of every node in params times its row."""
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], x.params))

    def slopes(params: Tree) -> Tree:
        return problem.grad(x._replace(params=params)).params

    _, products = jax.jvp(slopes, (x.params,), (jax.vmap(unravel)(rows),))
    return jax.vmap(lambda tree: ravel_pytree(tree)[0])(products)


@jax.jit
def _hessians(problem: Problem, x: Decision) -> Float[Array, "n d d"]:
    flat, _ = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], x.params))

    def column(direction: Array) -> Array:
        return _products(problem, x, jnp.broadcast_to(direction, (problem.num_nodes, flat.size)))

    return jax.vmap(column, out_axes=-1)(jnp.eye(flat.size, dtype=flat.dtype))


def _exact_ends(problem: Problem, x: Decision) -> tuple[float, float]:
    """The largest absolute eigenvalue over nodes, and the smallest of the mean Hessian."""
    hessians = np.asarray(_hessians(problem, x), np.float64)
    if not np.isfinite(hessians).all():
        return np.nan, np.nan
    hessians = (hessians + hessians.swapaxes(1, 2)) / 2
    return float(np.abs(np.linalg.eigvalsh(hessians)).max()), float(np.linalg.eigvalsh(hessians.mean(0))[0])


def _lanczos_ends(problem: Problem, x: Decision) -> tuple[float, float]:
    """As `_exact_ends`, to a relative 1e-6 of the largest, from products alone."""
    from scipy.sparse import linalg  # here, because it takes longer to load than all of cojax

    lanczos: Any = linalg  # whose stubs do not know a LinearOperator's keywords

    flat, _ = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], x.params))
    nodes, size = problem.num_nodes, flat.size

    def all_nodes(vector: np.ndarray) -> np.ndarray:
        rows = jnp.asarray(vector.reshape(nodes, size), flat.dtype)
        return np.asarray(_products(problem, x, rows), np.float64).ravel()

    def largest(product: Any, size: int, which: str) -> float:
        start = np.random.default_rng(0).standard_normal(size)
        operator = lanczos.LinearOperator((size, size), matvec=product, dtype=np.float64)
        return float(lanczos.eigsh(operator, k=1, which=which, v0=start, tol=1e-6, return_eigenvectors=False)[0])

    high = abs(largest(all_nodes, nodes * size, "LM"))

    def below_high(vector: np.ndarray) -> np.ndarray:
        return high * vector - all_nodes(np.tile(vector, nodes)).reshape(nodes, size).mean(0)

    return high, high - largest(below_high, size, "LA")


def share_curvature(problem: Problem, x: Decision) -> ShareCurvature:
    """The curvature in cpu of cost plus penalty at `x`, and at 9 points of every node's range.

    The range goes from bound to bound and 5 % beyond on either side, where soft bounds let shares go; where there is no
    bound, to the largest |share| of `x` away from the node's own. Samples where it is not finite, on a barrier, are
    left out: a barrier's curvature has no bound, and is seen up to 5 % of the range away from it.
    """
    _check_concrete("theory.share_curvature", problem, x)
    if problem.lower is None or problem.upper is None or x.cpu is None:
        raise CojaxInputError("theory.share_curvature needs a problem with a budget, got None; pass budget=....")
    cpu, lower, upper = (np.asarray(part, np.float64) for part in (x.cpu, problem.lower, problem.upper))
    reach = max(float(np.abs(cpu).max()), np.finfo(np.asarray(x.cpu).dtype).tiny)
    low, high = np.where(np.isfinite(lower), lower, cpu - reach), np.where(np.isfinite(upper), upper, cpu + reach)
    points = np.stack([cpu, *(low + part * (high - low) for part in FRACTIONS)])
    hessians = np.asarray(_share_hessians(problem, x, jnp.asarray(points, x.cpu.dtype)), np.float64)
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
    return ShareCurvature(values[0, :, -1], most, np.maximum(np.where(np.isfinite(least), least, 0.0), 0.0))


@jax.jit
def _share_hessians(problem: Problem, x: Decision, points: Float[Array, "m n *r"]) -> Float[Array, "m n r r"]:
    def slopes(cpu: Array) -> Array:
        return problem.grad(x._replace(cpu=cpu)).cpu

    def at(cpu: Array) -> Array:
        directions = jnp.eye(cpu[0].size, dtype=cpu.dtype).reshape(-1, *cpu.shape[1:])

        def column(direction: Array) -> Array:
            return jax.jvp(slopes, (cpu,), (jnp.broadcast_to(direction, cpu.shape),))[1].reshape(cpu.shape[0], -1)

        return jax.vmap(column, out_axes=-1)(directions)

    return jax.vmap(at)(points)


def _check_concrete(owner: str, problem: Problem, x: Decision) -> None:
    if not is_concrete(problem, x):
        raise CojaxInputError(f"{owner} computes on the host, got traced arrays; call it outside of jit.")
    check_start(owner, problem, x)
