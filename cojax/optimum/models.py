"""How much a model costs above the best one at most: what its curvature around the model proves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support import trees
from .._support.compiling import count_numbers
from .._support.maxima import with_safe_maxima
from .._support.trees import Tree
from ..problems.curving import told
from ..problems.problem import Decision, Problem

# A Hessian of this many rows is built and factorised; larger ones are only multiplied.
MOST_DENSE = 1000
# Numbers of data that are looked at at once for the columns of a Hessian.
NUMBERS_AT_ONCE = 2_000_000
# Within this many Newton steps the curvature may not fall below half of its own: there the minimum has to be.
REACH = 4.0
# Of u below: rounding moves it by a thirtieth at most, see `_decompose`, and a cost without a minimum has 1 or more.
MOST_TURN = 0.75


class Eigenvectors(NamedTuple):
    """The eigenvectors of a Hessian, in units of the params in which its diagonal is 1."""

    vectors: Float[Array, "d d"]  # by column, each as long as raises the cost by 1/2; 0 where flat
    flat_vectors: Float[Array, "d d"]  # by column, of length 1, where the cost does not curve; 0 elsewhere
    units: Float[Array, " d"]
    top: Float[Array, ""]  # the largest eigenvalue
    convex: Array


def model_gap(problem: Problem, x: Decision) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The cost of the model at `x`, all copies of which are the same, above the best model's at most; and its size.

    f the sum of the costs by the params, g and H its gradient and Hessian at x, v'Hv the square of the length |v| of v,
    and s = -H^-1 g.

    - Proved, where the cost tells by `self_concordance` that along v the logarithm of H changes by R |v| at most: then
      f(x + v) - f(x) >= -|s| |v| + (exp(-R |v|) + R |v| - 1) / R**2, and for u = R |s| < 1 the least of that is
      -|s|**2 (u + (1 - u) log(1 - u)) / u**2. A cost that falls for ever has u >= 1 everywhere.
    - Measured, at x + 4 s and x - 4 s, for other costs: if c H, c >= 1/2, is left of H within 4 |s| of x, f is higher
      at that distance than at x. As it is convex, its minimum lies inside, and the gap is |s|**2 / (2 c) at most.

    Where neither holds nothing is shown, and the gap infinite. It is NaN where f is not convex at x, and above 1000
    params for costs without a `strong_convexity` m; of those with one it is |g|**2 / (2 m).

    The size is what the cost of the params alone is: half of x'Hx. Neither has a derivative.
    Source: Bach, doi 10.1214/09-EJS521; Sun, Tran-Dinh, arXiv 1703.04599; Boyd, Vandenberghe, section 9.1.2.
    """
    problem, x = lax.stop_gradient((problem, x))  # equal eigenvalues have no derivatives
    start = widen(jax.tree.map(lambda leaf: leaf[0], x.params))
    flat, unravel = ravel_pytree(start)
    if not flat.size:
        return jnp.zeros(()), jnp.zeros(())

    def slopes(flat: Array) -> Float[Array, "n d"]:
        def cost(params: Tree, cpu: Any, data: Tree) -> Array:
            return problem.cost(Decision(params, cpu), data)

        one = jax.vmap(jax.grad(with_safe_maxima(cost)), (None, 0, 0))(unravel(flat), x.cpu, problem.data)
        rows = jax.vmap(lambda tree: ravel_pytree(tree)[0])(one)
        return rows if problem.members is None else jnp.where(problem.members[:, None], rows, 0)

    if flat.size > MOST_DENSE:
        return _by_convexity(problem, slopes(flat)), jnp.zeros((), flat.dtype)
    rows = slopes(flat)
    slope, rounding = rows.sum(0), jnp.finfo(flat.dtype).eps * jnp.abs(rows).sum(0)
    hessian = _hessians(problem, slopes, flat[None])[0]
    eigen = _decompose(hessian)
    along = eigen.vectors.T @ slope  # of the gradient, for every eigenvector
    square = (along**2).sum()
    step = -eigen.vectors @ along
    sharpest = _sharpest(problem, unravel, eigen)
    if sharpest is None:
        part = _measured(problem, slopes, flat, step, eigen)
    else:
        part = _proved(jnp.sqrt(square) * sharpest)
    shown = jnp.isfinite(part) & _is_level(slopes, flat, slope, rounding, eigen)
    gap = jnp.where(shown, square * jnp.where(shown, part, 1), jnp.inf)
    convex = eigen.convex | (sharpest is not None)  # what tells its curvature is, whatever rounding says
    return jnp.where(convex, gap, jnp.nan), flat @ (hessian @ flat) / 2


def _by_convexity(problem: Problem, rows: Float[Array, "n d"]) -> Float[Array, ""]:
    least = jax.vmap(lambda data: told(problem.cost, "strong_convexity", data))(problem.data)
    if least is None:
        return jnp.full((), jnp.nan, rows.dtype)
    least = (least if problem.members is None else jnp.where(problem.members, least, 0)).sum().astype(rows.dtype)
    square = (rows.sum(0) ** 2).sum()
    return jnp.where(square == 0, 0, square / (2 * jnp.maximum(least, 0)))


def _hessians(problem: Problem, slopes: Callable, points: Float[Array, "p d"]) -> Float[Array, "p d d"]:
    """The Hessian of the sum of the costs at every point."""
    at_once = max(1, min(64, NUMBERS_AT_ONCE // max(count_numbers(problem.data), 1)))

    def one(point: Array) -> Array:
        curve = jax.linearize(lambda flat: slopes(flat).sum(0), point)[1]
        hessian = lax.map(curve, jnp.eye(point.size, dtype=point.dtype), batch_size=at_once)
        return (hessian + hessian.T) / 2

    return lax.map(one, points)


def _decompose(hessian: Float[Array, "d d"]) -> Eigenvectors:
    """Eigenvectors; those count as flat whose eigenvalue is rounding."""
    diagonal = jnp.diagonal(hessian)
    units = jnp.where(diagonal > 0, 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
    values, vectors = jnp.linalg.eigh(hessian * units[:, None] * units[None])
    top = jnp.abs(values).max()
    least = 32 * values.size * jnp.finfo(values.dtype).eps * top
    curved = values > least
    lengths = jnp.where(curved, 1 / jnp.sqrt(jnp.where(curved, values, 1)), 0)
    flat_vectors = units[:, None] * vectors * jnp.where(curved, 0, 1)[None].astype(vectors.dtype)
    return Eigenvectors(units[:, None] * vectors * lengths[None], flat_vectors, units, top, jnp.all(values >= -least))


def _sharpest(problem: Problem, unravel: Callable, eigen: Eigenvectors) -> Float[Array, ""] | None:
    """By what the logarithm of the curvature can change at most along a vector of length 1, where the cost tells it."""

    def rates(vector: Array) -> Array | None:
        direction = unravel(vector)
        return jax.vmap(lambda data: told(problem.cost, "self_concordance", direction, data))(problem.data)

    def add(total: Array, vector: Array) -> tuple[Array, None]:
        found = rates(vector)
        assert found is not None
        return total + found.astype(total.dtype) ** 2, None

    known = jax.eval_shape(rates, eigen.units)
    if known is None:
        return None
    total = lax.scan(add, jnp.zeros(known.shape, eigen.units.dtype), eigen.vectors.T)[0]
    total = total if problem.members is None else jnp.where(trees.wide(problem.members, total), total, 0)
    return jnp.sqrt(total.max(initial=0))


def _proved(turn: Float[Array, ""]) -> Float[Array, ""]:
    """The gap beside the square of the Newton step, along which the logarithm of the curvature changes by `turn`."""
    some = jnp.clip(turn, 1e-3, MOST_TURN)
    part = (some + (1 - some) * jnp.log1p(-some)) / some**2
    # Of less it is so close to 1/2 that the difference of two terms would be rounding.
    part = jnp.where(turn < 1e-3, 0.5 + turn / 3, part)
    return jnp.where(turn <= MOST_TURN, part, jnp.inf)


def _measured(problem: Problem, slopes: Callable, flat: Array, step: Array, eigen: Eigenvectors) -> Float[Array, ""]:
    """The gap beside the square of the Newton step, from the curvature as far from `flat` as the minimum can be."""
    hessians = _hessians(problem, slopes, jnp.stack([flat + REACH * step, flat - REACH * step]))
    level = jnp.diag((eigen.vectors == 0).all(0).astype(flat.dtype))
    beside = jax.vmap(lambda hessian: eigen.vectors.T @ hessian @ eigen.vectors + level)(hessians)
    kept = jnp.minimum(jnp.linalg.eigvalsh(beside).min(), 1)
    return jnp.where(kept >= 0.5, 1 / (2 * jnp.where(kept >= 0.5, kept, 1)), jnp.inf)


def _is_level(slopes: Callable, flat: Array, slope: Array, rounding: Array, eigen: Eigenvectors) -> Array:
    """Whether the cost is the same along all flat directions, not flat here only: looked at far along their mean.

    So it is where no sample tells two models apart. A cost that has all but ended its fall is flat here too.
    """
    mixed = eigen.flat_vectors @ jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)
    length = jnp.linalg.norm(mixed / eigen.units)
    some = length > 0
    size = jnp.abs(slope) + rounding / jnp.finfo(flat.dtype).eps
    far = jnp.linalg.norm(flat / eigen.units) + jnp.where(
        eigen.top > 0, jnp.linalg.norm(eigen.units * size) / jnp.where(eigen.top > 0, eigen.top, 1), 0
    )
    unit = mixed / jnp.where(some, length, 1)
    reaches = jnp.asarray([1.0, -1.0, 16.0, -16.0], flat.dtype) * far
    changes = lax.map(lambda reach: slopes(flat + reach * unit).sum(0) - slope, reaches) * eigen.units[None]
    allowed = 64 * flat.size * (jnp.finfo(flat.dtype).eps * eigen.top * jnp.abs(reaches))
    allowed = allowed + 64 * flat.size * jnp.linalg.norm(eigen.units * rounding)
    same = jnp.all(jnp.linalg.norm(changes, axis=1) <= allowed)
    left = jnp.linalg.norm(eigen.flat_vectors.T @ slope)
    return ~some | (same & (left <= 64 * flat.size * jnp.linalg.norm(eigen.units * rounding)))


def widen(tree: Tree) -> Tree:
    """`tree` in the widest of its dtypes, float32 at least: Newton wants one dtype, of more digits than 16 bits."""
    dtype = max((leaf.dtype for leaf in jax.tree.leaves(tree)), key=lambda dtype: dtype.itemsize, default=jnp.float32)
    dtype = dtype if jnp.finfo(dtype).bits > 32 else jnp.float32
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
