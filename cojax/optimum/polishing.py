"""What a run comes to is polished to the exact optimum, which is differentiable in all that defines the problem."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support import trees
from .._support.compiling import compiled
from .._support.precision import in_full
from .._support.trees import Tree
from ..problems.problem import Decision, Problem
from .allocations import Allocation, allocate
from .fits import check_params
from .models import MOST_DENSE, widen
from .references import MOST_CG, Point, look_at, newton_direction
from .sizes import safe_norm
from .soundness import stack_copies

MOST_STEPS = 60
MOST_HALVINGS = 30


def polish(problem: Problem, x: Any = Decision()) -> Decision:
    """The exact optimum near `x`: hard bounds instead of soft ones, the budget to rounding, one model for all nodes.

        exact = cojax.polish(problem, solution.x)

    The mean over nodes of `x.params` is where Newton starts, on the cost without the penalty; the shares are those of
    `allocate` and owe nothing to `x.cpu`. So an `x` without cpu, or `Decision()` for a problem without a model, is
    enough. Where the cost is not convex in params, the optimum is the one that Newton's descent leads to.

    jit and vmap work. Differentiable in every array of `problem`, forward and reverse and to any order, by implicit
    differentiation of the optimality conditions, shares and model together: `jax.jacobian` gives how the optimum moves
    with demand, prices, capacities and data (one-sided where a node just touches a bound: see `sensitivities`). The
    derivative in `x` is 0. Nothing is raised while running: `certificate` tells whether what is returned is optimal.

    Raises `CojaxInputError` for an `x` of other shapes than the problem's, or that the cost cannot be computed of.
    """
    params, allocation = solve_params("polish", problem, x)
    return Decision(params, None if allocation is None else allocation.cpu)


def solve_params(owner: str, problem: Any, x: Any) -> tuple[Tree, Allocation | None]:
    """The optimal params, a copy per node, and the optimal allocation."""
    return _solve_params(problem, check_params(owner, problem, x))


@functools.partial(compiled, runs_briefly=True)
@in_full
def _solve_params(problem: Problem, params: Tree) -> tuple[Tree, Allocation | None]:
    if jax.tree.leaves(params):
        start = jax.tree.map(lambda leaf: lax.stop_gradient(leaf.mean(0)), widen(params))
        best = ravel_pytree(start)[1](_best_params(problem, start))
        params = stack_copies(problem, trees.cast_like(best, params))
    return params, None if problem.budget is None else allocate(problem, params)


class _Search(NamedTuple):
    here: Point
    direction: Array  # of Newton at `here`
    length: Array  # of the next step along it
    halvings: Array
    steps: Array
    done: Array


@jax.custom_jvp
def _best_params(problem: Problem, start: Tree) -> Float[Array, " d"]:
    """One copy, raveled: Newton with halved steps, until neither the gradient nor the cost gets smaller."""
    flat = ravel_pytree(start)[0]
    high, zero = jnp.array(jnp.inf, flat.dtype), jnp.zeros((), jnp.int32)

    def advance(search: _Search) -> _Search:
        # One look at one place in the program: the allocation in it is what takes long to compile.
        there = look_at(problem, start, search.here.params + search.length * search.direction)
        return _accept_or_halve(search, there, lambda here: newton_direction(problem, start, here))

    nowhere = Point(flat, problem.lower, high, jnp.full_like(flat, high), jnp.zeros_like(flat, shape=()))
    search = _Search(nowhere, jnp.zeros_like(flat), jnp.ones_like(high), zero, zero, jnp.asarray(False))
    search = lax.while_loop(lambda s: ~s.done & (s.steps < MOST_STEPS), advance, search)
    return search.here.params


def _accept_or_halve(search: _Search, there: Point, newton: Callable[[Point], Array]) -> _Search:
    """Go on from `there` if enough of the promised descent came, or turn back half of the way."""
    here, eps = search.here, jnp.finfo(there.slope.dtype).eps
    steeper, size = (safe_norm(point.slope).astype(there.slope.dtype) for point in (there, here))
    first = jnp.isinf(here.value)
    noise = 16 * eps * jnp.abs(there.value)
    promise = jnp.where(first, 0, -jnp.vdot(jnp.where(first, 0, here.slope), search.direction))
    fell = there.value <= here.value - 1e-4 * search.length * promise + noise
    # Near the optimum the cost is flat to rounding, and only the gradient shows that a step was good.
    better = fell & jnp.all(jnp.isfinite(there.slope)) & ((steeper < size) | (there.value < here.value - noise))
    settled = better & (steeper <= 4 * eps * there.spread)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), there, here)
    halvings = jnp.where(better, 0, search.halvings + 1)
    return _Search(
        best,
        jnp.where(better, newton(best), search.direction),
        jnp.where(better, jnp.ones_like(search.length), search.length / 2),
        halvings,
        search.steps + better.astype(jnp.int32),
        settled | (halvings > jnp.where(promise <= noise, 0, MOST_HALVINGS)),
    )


@_best_params.defjvp
@in_full
def _best_params_jvp(primals, tangents):
    problem, start = primals
    flat = _best_params(problem, start)

    def slope(problem: Problem, flat: Array) -> Array:
        return look_at(problem, start, flat).slope

    _, felt = jax.linearize(slope, problem, flat)
    pushed = felt(tangents[0], jnp.zeros_like(flat))

    def curve(d_flat: Array) -> Array:
        return felt(jax.tree.map(_still, tangents[0]), d_flat)

    if flat.size > MOST_DENSE:
        moved, _ = jax.scipy.sparse.linalg.cg(curve, pushed, tol=float(jnp.finfo(flat.dtype).eps), maxiter=MOST_CG)
    else:
        hessian = jax.vmap(curve, out_axes=1)(jnp.eye(flat.size, dtype=flat.dtype))
        moved = jnp.linalg.solve((hessian + hessian.T) / 2, pushed)
    return flat, -moved


def _still(tangent: Array) -> Array:
    """No change: whole numbers have tangents of a type of their own, without values."""
    return tangent if tangent.dtype == jax.dtypes.float0 else jnp.zeros_like(tangent)
