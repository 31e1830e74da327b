"""The centralised optimum of both halves, against which every decentralised run is measured."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support import trees
from .._support.checks import CojaxInputError, check_number, is_concrete
from .._support.compiling import compiled
from .._support.maxima import with_safe_maxima
from .._support.precision import in_full
from .._support.reprs import brief
from .._support.trees import Tree
from ..problems.problem import Decision, Problem, as_params, check_gradient
from . import prices
from .allocations import Allocation, allocate
from .certificates import Certificate, certificate, relative
from .fits import check_problem
from .margins import as_columns, exact_margins, inside_of, marginals
from .models import MOST_DENSE, widen
from .responses import response
from .sizes import safe_norm
from .soundness import check_finite, check_sound, stack_copies

MOST_CG = 500
MOST_STEPS = 200
MOST_HALVINGS = 40
# Of the cost, that an answer may be off where nobody chose a tolerance; rounding alone leaves far less.
MOST_GAP = 1e-2


class Reference(NamedTuple):
    """The optimum of a problem, certified.

    Fields:
        x: the `Decision` over all nodes: params n times the same, cpu (n,) or (n, r).
        params: one copy of the model; None for a problem without one.
        cost: (), the sum over nodes, without the penalty.
        price: () or (r,), of one more unit of budget; None without a budget.
        allocation: the `Allocation` of the shares; None without a budget.
        certificate: the `Certificate` of x.
    """

    x: Decision
    params: Tree
    cost: Float[Array, ""]
    price: Float[Array, "*r"] | None
    allocation: Allocation | None
    certificate: Certificate

    def __repr__(self) -> str:
        return brief(self)


class Point(NamedTuple):
    params: Any  # one copy, raveled: (d,)
    cpu: Array | None  # the best shares at these params
    value: Array  # least total cost at these params
    slope: Array
    spread: Array  # largest norm of one node's gradient


def reference(problem: Problem, start_params: Tree = None, *, tolerance: float | None = None) -> Reference:
    """min over params of min over feasible cpu of sum_i cost_i: the true problem, hard bounds and no penalty.

    V(params) = sum_i cost_i(params, cpu*(params)) with cpu* from `allocate`; its gradient is the partial one at cpu*
    (Danskin), its Hessian that gradient's derivative through cpu*. Newton with backtracking, |eigenvalues| in place
    of eigenvalues, so that it descends where V is not convex; conjugate gradients above 1000 parameters. For any cost
    that is smooth, convex in cpu, and has a minimum; where V is not convex the point found may be a local one, and
    then the certificate's model_gap is not finite.

    Args:
        problem: coupled in params and cpu or not; with a budget, or params, or both.
        start_params: one node's params, where to start and of what structure; None for a problem without a model.
        tolerance: of the gradient's norm relative to the largest norm of one node's gradient at the start, at the end
            or at params of 0; precision^(2/3) by default, 4e-11 in float64. What rounding forbids is not asked for.

    Not for use under jit: it loops in Python around jitted pieces. Raises `CojaxInputError` where a cost is not finite
    or not convex inside of the bounds, naming node and share, and where no minimum is found.
    """
    check_problem("reference", problem)
    if not is_concrete(problem, start_params):
        raise CojaxInputError("reference loops in Python, got traced arrays; call it outside of jit, or use allocate.")
    if tolerance is not None:
        check_number("reference", "tolerance", tolerance, at_least=0.0, shaped=())
    start_params = as_params("reference", start_params)
    has_model = any(leaf.size for leaf in jax.tree.leaves(start_params))
    if problem.budget is None and not has_model:
        raise CojaxInputError("reference needs something to decide, got no budget and no start_params; pass either.")
    check_sound(problem, start_params)
    params = start_params
    if has_model:
        params = trees.cast_like(_minimise(problem, widen(params), tolerance), params)
    copies = stack_copies(problem, params)
    allocation = None if problem.budget is None else allocate(problem, copies)
    x = Decision(copies, None if allocation is None else allocation.cpu)
    costs = problem.costs(x)
    check_finite(np.asarray(costs), "at the optimum")
    judged = certificate(problem, x)
    if not np.isfinite(judged.model_gap):
        _check_ends(problem, params, x.cpu)
    elif tolerance is None:
        begun = problem.costs(Decision(stack_copies(problem, start_params), x.cpu))
        _check_model(judged, float(np.abs(begun).sum()))
    if allocation is not None:
        _check_bounded(problem, np.asarray(allocation.cpu), float(judged.gap))
        _check_found(judged, allocation)
    price = None if allocation is None else allocation.price
    return Reference(x, params, costs.sum(), price, allocation, judged)


def _check_ends(problem: Problem, params: Tree, cpu: Array | None) -> None:
    """Refuse a model from which the cost falls on as far as one looks: no curvature there shows a minimum."""
    start = widen(params)
    flat = ravel_pytree(start)[0]
    here = Point(flat, cpu, *total_and_slope(problem, start, flat, cpu))
    direction = newton_direction(problem, start, here)
    lengths = [4.0**power for power in range(9)]
    costs = [float(total_and_slope(problem, start, flat + length * direction, cpu)[0]) for length in (0.0, *lengths)]
    rounding = 64 * float(jnp.finfo(flat.dtype).eps) * abs(costs[0])
    with np.errstate(invalid="ignore"):  # of costs that fell to -inf
        falls = np.diff(costs)
    if np.all(~(falls > rounding)) and (costs[-1] < costs[0] - rounding or not np.isfinite(costs[0])):
        raise CojaxInputError(
            f"reference needs a cost with a minimum, got one that still falls at params of norm "
            f"{float(jnp.linalg.norm(flat)):.3g}, and {lengths[-1]:.3g} Newton steps further on: give it a ridge; "
            "without one a classifier of labels that a plane separates has no best model."
        )


def _check_model(judged: Certificate, begun: float) -> None:
    """Refuse a model at which Newton came to rest although its curvature tells of a far better one.

    Beside `begun` too, the cost at the start: where the best model costs nothing, nothing there has a size.
    """
    off = float(judged.model_gap) / max(float(judged.sizes.model_cost), begun, np.finfo(float).tiny)
    if off > MOST_GAP:
        raise CojaxInputError(
            f"reference found a model that may cost {off:.1g} of the cost more than the best: rounding ended its "
            "search; use float64, start nearer, or bring the params to like sizes."
        )


def _check_bounded(problem: Problem, cpu: np.ndarray, gap: float) -> None:
    """Refuse shares far beyond all sizes of the problem from which the cost still falls, as linear ones do for ever."""
    cpu = np.abs(cpu).reshape(len(cpu), -1)
    parts = [np.asarray(part).reshape(-1, cpu.shape[1]) for part in (problem.budget, problem.lower, problem.upper)]
    sizes = np.concatenate(parts)
    size = np.where(np.isfinite(sizes), np.abs(sizes), 0).max(0)  # of every resource, which have units of their own
    far = ~(cpu < size / np.finfo(cpu.dtype).eps)
    if far.any() and not np.isfinite(gap):
        node, resource = np.argwhere(far)[0]
        raise CojaxInputError(
            f"reference needs a cost with a minimum, got shares of {cpu[node, resource]:.3g} at node {node}: the cost "
            "falls for ever without bounds; give Problem lower and upper bounds, or the cost a curvature."
        )


def _check_found(judged: Certificate, allocation: Allocation) -> None:
    """Refuse shares that are far from an optimum's, as where each node's least cost is one without end, and shares of
    several resources that cannot be shown to be the optimum's: their search needs smooth costs."""
    off = float(relative(judged)["gap"])
    if allocation.cpu.ndim == 1 and MOST_GAP < off < np.inf:
        raise CojaxInputError(
            f"reference needs a cost with a minimum, got shares that may cost {off:.1g} of the cost more than it: give "
            "Problem, or at_most, lower and upper bounds, or the cost a curvature."
        )
    if allocation.cpu.ndim > 1 and not off < np.finfo(allocation.cpu.dtype).eps ** 0.5:
        raise CojaxInputError(
            f"reference found shares that may cost {off:.1g} of the cost more than the optimum: costs that couple "
            "several resources are searched by second derivatives; smooth their corners, and keep bounds off points "
            "where they are infinite."
        )


def _minimise(problem: Problem, start: Tree, tolerance: float | None) -> Tree:
    """Damped Newton until the gradient is small, or so small that rounding hides any further descent."""
    flat, unravel = ravel_pytree(start)
    eps = float(jnp.finfo(flat.dtype).eps)
    wanted = problem.num_nodes * (eps ** (2 / 3) if tolerance is None else tolerance)
    here = _look(problem, start, np.asarray(flat))
    # Where the model fits every sample, and at a start near such an optimum, gradients are nothing but rounding.
    bare = float(total_and_slope(problem, start, np.zeros_like(here.params), here.cpu)[2])
    first = max(float(here.spread), bare if np.isfinite(bare) else 0.0)
    if not np.isfinite(first):
        check_gradient(problem.grad(Decision(stack_copies(problem, start), here.cpu)))
    small = False
    for _ in range(MOST_STEPS):
        slope = _norm(here.slope)
        small = slope <= wanted * max(first, float(here.spread))
        direction = np.asarray(newton_direction(problem, start, here))
        there, promise = _line_search(problem, start, here, direction)
        hidden = promise <= 16 * eps * abs(float(here.value))
        left = _norm(there.slope)
        if (small or hidden) and not left < slope:
            return unravel(jnp.asarray(here.params))
        if not (hidden or there.value < here.value):
            break
        here = there
        # Small beside a start far off need not be small beside the optimum: Newton goes on while it halves the rest.
        if small and left > slope / 2:
            return unravel(jnp.asarray(here.params))
    if small:
        return unravel(jnp.asarray(here.params))
    raise CojaxInputError(
        f"reference needs a cost with a minimum, got a gradient of norm {_norm(here.slope):.3g} and "
        f"params of norm {_norm(here.params):.3g} when Newton stopped; check that the cost is smooth "
        "and bounded below (a small ridge makes it so), start nearer, or pass a larger tolerance."
    )


def _line_search(problem: Problem, start: Tree, here: Point, direction: np.ndarray) -> tuple[Point, float]:
    """The first of 1, 1/2, 1/4, ... steps that keeps a part of the promised descent; and the promise."""
    promise = -float(np.vdot(np.asarray(here.slope, np.float64), direction))  # may be too large for float32
    noise = 8 * float(np.finfo(direction.dtype).eps) * abs(float(here.value))
    length = 1.0
    for _ in range(MOST_HALVINGS):
        there = _look(problem, start, here.params + length * direction)
        fallen = float(there.value) <= float(here.value) - 1e-4 * length * promise + noise
        if fallen and np.isfinite(there.slope).all():
            return there, promise
        length /= 2
    return here, promise


def _norm(vector: Any) -> float:
    """In 64 bits: of large entries the squares may be too large for 32, and of small ones too small."""
    return float(np.linalg.norm(np.asarray(vector, np.float64)))


def _look(problem: Problem, start: Tree, flat: Any) -> Point:
    """`look_at` from the host, where JAX would compile a program for every operation between its calls."""
    return jax.tree.map(np.asarray, look_at(problem, start, flat))


@functools.partial(compiled, runs_briefly=True)
def _copies_of(problem: Problem, start: Tree, flat: Array) -> Tree:
    """n copies of the params that `flat` holds, of the structure of `start`."""
    return stack_copies(problem, ravel_pytree(start)[1](flat))


def look_at(problem: Problem, start: Tree, flat: Any) -> Point:
    copies = _copies_of(problem, start, flat)
    cpu = None if problem.budget is None else allocate(problem, copies).cpu
    return Point(flat, cpu, *total_and_slope(problem, start, flat, cpu))


@functools.partial(compiled, runs_briefly=True)
@in_full
def total_and_slope(problem: Problem, start: Tree, flat: Array, cpu: Array | None) -> tuple[Array, Array, Array]:
    """The total cost, its gradient in the params, and the largest norm of one node's gradient."""

    def cost(params, cpu, data):
        return problem.cost(Decision(params, cpu), data)

    copies = _copies_of(problem, start, flat)
    values, slopes = jax.vmap(jax.value_and_grad(with_safe_maxima(cost)))(copies, inside_of(problem, cpu), problem.data)
    rows = jax.vmap(lambda tree: ravel_pytree(tree)[0])(slopes)
    return values.sum().astype(flat.dtype), rows.sum(0), jnp.max(jax.vmap(safe_norm)(rows)).astype(flat.dtype)


def _curve(problem: Problem, start: Tree, here: Point) -> Callable[[Array], Array]:
    """The Hessian of V as a product: the params move, the best shares follow, and the gradient feels both."""
    if here.cpu is None:
        return jax.linearize(lambda flat: total_and_slope(problem, start, flat, None)[1], here.params)[1]
    unravel = ravel_pytree(start)[1]
    lower, upper, budget = as_columns(problem)
    cpu, shape = here.cpu.reshape(lower.shape), here.cpu.shape
    near = prices.pulled_in(cpu, lower, upper)

    def slopes(flat):
        return marginals(problem, stack_copies(problem, unravel(flat)))

    found = exact_margins(problem, stack_copies(problem, unravel(here.params)), cpu)
    felt = jax.linearize(lambda flat, cpu: total_and_slope(problem, start, flat, cpu)[1], here.params, here.cpu)[1]
    pushed = jax.linearize(lambda flat: slopes(flat)(near), here.params)[1]

    def curve(d_flat):
        d_cpu, _ = response(found.hessian, found.free, pushed(d_flat), jnp.zeros_like(cpu), jnp.zeros_like(budget))
        return felt(d_flat, d_cpu.reshape(shape))

    return curve


@functools.partial(compiled, runs_briefly=True)
@in_full
def newton_direction(problem: Problem, start: Tree, here: Point) -> Array:
    """The Newton direction, with the Hessian's eigenvalues made positive."""
    flat, slope, curve = here.params, here.slope, _curve(problem, start, here)
    if flat.size > MOST_DENSE:
        return _conjugate_gradients(curve, slope)
    hessian = lax.map(curve, jnp.eye(flat.size, dtype=flat.dtype), batch_size=64)
    # In units in which every param curves by 1: beside a feature in bytes one in seconds would look flat.
    rates = jnp.abs(jnp.diagonal(hessian))
    most = jnp.where(jnp.max(rates) > 0, jnp.max(rates), 1)
    units = 1 / jnp.sqrt(jnp.where(rates > 0, rates, most))
    values, vectors = jnp.linalg.eigh((hessian + hessian.T) / 2 * units[:, None] * units[None])
    size = jnp.abs(values)
    # Where V is flat to rounding the gradient is rounding too, or V is linear: a short step along it suits both.
    eps = jnp.finfo(flat.dtype).eps
    top = jnp.where(jnp.max(size) > 0, jnp.max(size), 1)
    size = jnp.where(size > flat.size * eps * top, size, eps**0.5 * top)
    return -units * (vectors @ ((vectors.T @ (units * slope)) / size))


def _conjugate_gradients(curve: Any, slope: Array) -> Array:
    """-H^-1 slope, cut off where H is not positive or the residual is small beside the gradient."""
    goal = jnp.vdot(slope, slope) * jnp.finfo(slope.dtype).eps

    def advance(state):
        found, residual, direction, _, count = state
        curved = curve(direction)
        bend = jnp.vdot(direction, curved)
        positive = bend > 0
        length = jnp.where(positive, jnp.vdot(residual, residual) / jnp.where(positive, bend, 1), 0)
        left = residual - length * curved
        turn = jnp.vdot(left, left) / jnp.vdot(residual, residual)
        return found + length * direction, left, left + turn * direction, positive, count + 1

    def going_on(state):
        _, residual, _, positive, count = state
        return positive & (jnp.vdot(residual, residual) > goal) & (count < MOST_CG)

    start = (jnp.zeros_like(slope), -slope, -slope, jnp.asarray(True), jnp.zeros((), jnp.int32))
    found, _, _, _, count = lax.while_loop(going_on, advance, start)
    return jnp.where(jnp.any(found != 0) | (count == 0), found, -slope)
