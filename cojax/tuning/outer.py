"""Numbers of a problem, tuned by what its optimum is worth by another measure."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support import exact_grid
from .._support.checks import CojaxInputError, check_number, is_concrete, whole_number
from .._support.compiling import compiled, is_traced
from .._support.reprs import brief
from ..optimum.polishing import polish
from ..problems.problem import Decision, Problem, check_plain
from .checks import as_number
from .gradients import TRUSTED, cosine

STEP = 1e-4  # of a finite difference, in the free coordinates


class OuterTuning(NamedTuple):
    """What `tune_problem` returns.

    Fields:
        problem: with the numbers that were found.
        x: its optimum, a `Decision`.
        values: by name, the numbers that were found.
        before, after: the outer loss at the optimum of what was given, and at `x`; the second is never larger.
        num_looks: how many optima were computed.
        cosine: of the derivatives at what was given with central differences of the optimum; 1 where they agree.
    """

    problem: Problem
    x: Decision
    values: dict[str, Float[np.ndarray, "..."]]
    before: float
    after: float
    num_looks: int
    cosine: float

    def __repr__(self) -> str:
        found = ", ".join(f"{name} = {brief(value)}" for name, value in self.values.items())
        trust = "" if self.cosine >= TRUSTED else f"; its derivatives are not to be trusted (cosine {self.cosine:.2f})"
        return f"OuterTuning: loss {self.before:.6g} to {self.after:.6g} with {found}{trust}"


def tune_problem(
    problem: Problem,
    x: Decision,
    loss: Callable[[Problem, Decision], Any],
    *,
    what: Sequence[str],
    max_looks: int = 100,
    tolerance: int | float = 1e-8,
) -> OuterTuning:
    """The numbers of a problem at which its optimum makes an outer loss least: bilevel optimisation, by exact slopes.

        def held_out(problem, x):  # of samples that the problem does not train on
            return jnp.mean((test_features @ x.params[0] - test_targets) ** 2)

        found = cojax.tune_problem(problem, start, held_out, what=["cost.learn.ridge"])
        found.problem.cost.learn.ridge

    min over theta of loss(problem(theta), x*(theta)), x* the exact optimum within hard bounds, by `polish`, whose
    derivative is that of the optimality conditions. So the loss may look at shares, model, prices (through `allocate`
    of the problem that it is given) and the numbers themselves, and no run and no step size has a part in it. L-BFGS
    (SciPy), in logarithms of numbers that are all > 0; numbers that are all >= 0 stay so. It finds a local minimum;
    where the optimum has kinks in theta, as where a bound begins to bind, it may stop at one. A budget beyond its
    bounds is never returned.

    Args:
        problem: plain, with a cost that is convex; what is tuned has to stand in it as floats.
        x: a decision to start the optimum from, such as `problem.start(...)`, as for `polish`.
        loss: `loss(problem, x)`, a scalar that JAX can differentiate; x has one copy of the params a node.
        what: names inside of the problem, "cost.learn.ridge", "upper", "budget", "cost.price" ...: all floats of what a
            name holds are tuned.
        max_looks: optima to compute at most; the start, the eight at most that check its derivatives, and one more
            are computed in any case.
        tolerance: of the norm of the slope in the free coordinates, beside 1 + |loss|.

    Loops on the host. Raises `CojaxInputError` for names that are not there or hold no floats, for a loss that is no
    finite scalar at what was given, and for a problem that changes. To tune through a run instead of the optimum let
    the loss make one, as `held_out(problem, cojax.solve(problem, network, method, start, num_steps=300).x)`: slopes are
    those of the run then. `slope_check` says whether to trust either; the numbers of methods: `tune`.
    Source: L-BFGS: Liu, Nocedal, Math. Program. 1989, doi 10.1007/BF01589116.
    """
    from scipy.optimize import minimize

    check_plain("tune_problem", problem)
    max_looks = whole_number("tune_problem", "max_looks", max_looks, at_least=1)
    check_number("tune_problem", "tolerance", tolerance, above=0.0, shaped=())
    if is_traced() or not is_concrete(problem, x):
        raise CojaxInputError("tune_problem loops on the host, got traced arrays; call it outside of jit and grad.")
    if isinstance(what, str) or not what or not all(isinstance(name, str) for name in what):
        raise CojaxInputError(f'tune_problem needs names, such as ["cost.learn.ridge"], for what, got {what!r}.')
    if not callable(loss):
        raise CojaxInputError(f"tune_problem needs a function loss(problem, x), got {type(loss).__name__}.")
    given = {name: _held(problem, name) for name in what}
    free = {name: all(bool((leaf > 0).all()) for leaf in jax.tree.leaves(part)) for name, part in given.items()}
    first = {name: jax.tree.map(jnp.log, part) if free[name] else part for name, part in given.items()}
    start, unravel = ravel_pytree(first)
    floors = {
        name: jax.tree.map(lambda leaf, name=name: jnp.full_like(leaf, _floor(given[name], free[name])), part)
        for name, part in first.items()
    }
    least = np.asarray(ravel_pytree(floors)[0], float)

    def made(flat: Array) -> Problem:
        changed = problem
        for name, part in unravel(flat).items():
            changed = _with(changed, name, jax.tree.map(jnp.exp, part) if free[name] else part)
        return changed

    @compiled
    @jax.value_and_grad
    def look(flat: Array) -> Array:
        now = made(flat)
        return as_number("tune_problem needs a loss that is one number", loss(now, polish(now, x)), flat.dtype)

    looks: list[tuple[float, np.ndarray]] = []

    def told(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = look(jnp.asarray(flat, start.dtype))
        value = float(value) if np.isfinite(value) and _is_sound(made(jnp.asarray(flat, start.dtype))) else np.inf
        looks.append((value, np.asarray(flat)))
        if np.isinf(value) and len(looks) > 1:  # a search along a line finds its way back from a number alone
            worst = max(abs(known) for known, _ in looks if np.isfinite(known))
            return 10 * (1 + worst), np.zeros(start.size)
        return value, np.nan_to_num(np.asarray(slope, float), nan=0.0, posinf=0.0, neginf=0.0)

    before, slope = told(np.asarray(start, float))
    if not np.isfinite(before):
        raise CojaxInputError("tune_problem needs a loss that is finite at what was given, got NaN or infinity.")
    rounding = 8 * float(jnp.finfo(start.dtype).eps)
    agreement = _agreement(lambda flat: told(flat)[0], np.asarray(start, float), slope, rounding)
    checked = looks[1:]  # which may lie where no search would go, as a ridge below 0
    del looks[1:]
    options = {"maxfun": max(max_looks - len(checked) - 1, 1), "gtol": tolerance * (1 + abs(before)), "ftol": 0.0}
    bounds = [(floor, np.inf) for floor in least]
    minimize(told, np.asarray(start, float), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    after, best = min(looks, key=lambda one: one[0])
    final = made(jnp.asarray(best, start.dtype))
    if final.budget is not None:
        final = _with(final, "budget", exact_grid.round_budget(final.budget))
    values = {name: jax.tree.map(np.asarray, _at(final, name)) for name in what}
    return OuterTuning(final, polish(final, x), values, before, after, len(checked) + len(looks), agreement)


def _floor(part: Any, in_logarithms: bool) -> float:
    """Below which the free coordinates may not fall: numbers that are all >= 0 stay so, as a ridge has to."""
    stays = not in_logarithms and all(bool((leaf >= 0).all()) for leaf in jax.tree.leaves(part))
    return 0.0 if stays else -np.inf


def _is_sound(problem: Problem) -> bool:
    """Whether there are shares within the bounds that sum to the budget."""
    try:
        Problem(problem.cost, problem.data, problem.budget, lower=problem.lower, upper=problem.upper)
    except CojaxInputError:
        return False
    return True


def _agreement(value: Callable[[np.ndarray], float], at: np.ndarray, slope: np.ndarray, rounding: float) -> float:
    """The cosine of a slope with central differences along up to four directions, itself among them.

    It is 1 where both are no larger than what differences are off by where a value is by its `rounding`.
    """
    size = float(np.linalg.norm(slope))
    random = np.random.default_rng(0)
    own = slope if size > 0 else random.standard_normal(at.size)
    drawn = np.column_stack([own / np.linalg.norm(own), random.standard_normal((at.size, min(3, at.size - 1)))])
    directions = np.linalg.qr(drawn)[0].T
    ends = np.array([[value(at + STEP * way), value(at - STEP * way)] for way in directions])
    differences = (ends[:, 0] - ends[:, 1]) / (2 * STEP)
    if max(size, np.abs(differences).max()) <= (rounding / STEP + STEP**2) * np.abs(ends).max():
        return 1.0
    return cosine(differences, directions @ slope)


def _at(problem: Problem, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), problem)


def _held(problem: Problem, name: str) -> Any:
    """The floats at a name; refuses what is none."""
    try:
        found = _at(problem, name)
    except AttributeError as error:
        raise CojaxInputError(
            f'tune_problem needs names inside of the problem, such as "cost.learn.ridge" or "upper", got {name!r}: '
            f"{error}."
        ) from error
    leaves = [] if callable(found) else jax.tree.leaves(found)
    if not leaves or not all(isinstance(leaf, float) or eqx.is_inexact_array(leaf) for leaf in leaves):
        raise CojaxInputError(
            f"tune_problem needs floats at {name!r}, got {type(found).__name__}: nothing else has a slope."
        )
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in leaves):
        raise CojaxInputError(f"tune_problem needs finite numbers at {name!r}, got {brief(found)}.")
    return jax.tree.map(jnp.asarray, found)


def _with(problem: Problem, name: str, value: Any) -> Problem:
    return eqx.tree_at(lambda tree: _at(tree, name), problem, value)
