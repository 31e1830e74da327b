"""Whether derivatives through a run can be trusted, measured through the caller's own set-up."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, check_number, device_array, is_concrete, whole_number
from .._support.compiling import is_traced
from .._support.reprs import brief
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .checks import as_number
from .ensembles import Gap, Instance, distances
from .known import Known
from .objectives import Area, Objective
from .workbenches import Varying, losses, workbench

TRUSTED = 0.9  # the cosine at which a direction is worth following
FIRM = 0.5  # the cosine of two halves of the differences above which they say anything


class GradientCheck(NamedTuple):
    """What `gradient_check` and `slope_check` find; the verdict is its text."""

    cosine: float  # of the derivatives with finite differences
    norm_ratio: float  # of the derivatives over finite differences
    same_sign: float  # part of the directions in which both have one sign
    repeatability: float  # cosine of the differences at half of the points with those at the others
    trusted: bool
    verdict: str

    def __str__(self) -> str:
        return self.verdict


def gradient_check(
    problem: Problem | Sequence[Problem],
    network: Network,
    method: Method,
    start: Decision | Sequence[Decision],
    *,
    what: Any,
    num_steps: int,
    every: int = 10,
    objective: Objective | None = None,
    width: float = 0.05,
    num_points: int = 8,
    num_directions: int = 16,
    margin: float = 1.0,
    window: int | None = None,
    optima: Sequence[Decision] | None = None,
    gap: Gap = distances,
    seed: int = 0,
) -> GradientCheck:
    """Whether the gradients that `tune` would follow are those of the runs, by wide, averaged finite differences.

    Both are averaged over `num_points` points scattered by `width` around what was given, and compared along
    `num_directions` random orthonormal directions of the free coordinates (logarithms of what is positive), or all
    where there are fewer. Differences are central, `width` to either side: through a quantizer a run is a step
    function, whose tiny differences are 0 or noise, so a narrow check refutes nothing and confirms nothing.

    Costs 2 num_directions num_points runs an instance. Compiled once for a network, the knobs, what judges the runs and
    the shapes of all else: a second check of other problems, starts or numbers of the method begins at once. Trusted
    where the cosine is at least 0.9 and the norms are within a factor of 2. Where `repeatability` is below 0.5 the
    differences themselves are noise: the landscape is jagged, and no derivative can be right.

    Args: as of `tune`. Raises `CojaxInputError` as `tune`, and for a width that is not above 0. For numbers of the
    problem, or any others: `slope_check`.
    """
    num_points, num_directions = _check_scatter("gradient_check", width, num_points, num_directions, seed)
    bench, instances = workbench(
        problem, network, method, start, what=what, objective=Area() if objective is None else objective,
        num_steps=num_steps, every=every, optima=optima, margin=margin, inflation=1.0, window=window, gap=gap,
    )  # fmt: skip
    centre, _ = ravel_pytree(bench.first)
    points, directions, moves = _scatter(centre, width, num_points, num_directions, seed)
    values, slopes = _around(bench.frame, bench.varying, bench.first, points, moves, instances)
    return _compare(values, slopes, directions, width)


def slope_check(
    function: Callable[[Any], Any],
    numbers: Any,
    *,
    width: int | float = 0.05,
    num_points: int = 8,
    num_directions: int = 16,
    seed: int = 0,
) -> GradientCheck:
    """Whether the derivative of a function of any numbers can be trusted: of a problem's, by its optimum or a run.

        def at_the_optimum(ridge):                        # what `cojax.tune_problem` follows
            changed = eqx.tree_at(lambda p: p.cost.learn.ridge, problem, ridge)
            return held_out(changed, cojax.polish(changed, start))

        def after_a_run(ridge):
            changed = eqx.tree_at(lambda p: p.cost.learn.ridge, problem, ridge)
            return held_out(changed, cojax.solve(changed, network, method, start, num_steps=300).x)

        print(cojax.slope_check(at_the_optimum, problem.cost.learn.ridge))
        print(cojax.slope_check(after_a_run, problem.cost.learn.ridge))

    `jax.grad(function)` beside central differences, as of `gradient_check`: at `num_points` points scattered by `width`
    around the numbers, along `num_directions` directions, averaged. Moved are logarithms of arrays that are > 0
    everywhere, and others in units of their largest |entry|. A smooth function agrees at any width; where it has steps
    or kinks, as runs over quantizers and optima at bounds have, a narrow width sees noise or one side only.

    Args:
        function: `function(numbers)`, one number, that JAX can compile and differentiate.
        numbers: floats in any tree: a ridge, prices and tariffs, capacities (`upper`), a dict of several.
        width: of the scatter and of differences, > 0.

    Compiled for every call; runs `function` 2 num_directions num_points times. Trusted as `gradient_check` says. Raises
    `CojaxInputError` for numbers that are no finite floats, a function that returns no single number, and traced
    values.
    """
    num_points, num_directions = _check_scatter("slope_check", width, num_points, num_directions, seed)
    if is_traced() or not is_concrete(numbers):
        raise CojaxInputError("slope_check computes on the host, got traced arrays; call it outside of jit and grad.")
    if not callable(function):
        raise CojaxInputError(f"slope_check needs a function of the numbers first, got {type(function).__name__}.")
    leaves, treedef = jax.tree.flatten(numbers)
    leaves = [device_array("slope_check", "numbers", leaf) for leaf in leaves]
    if not any(leaf.size for leaf in leaves) or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise CojaxInputError(f"slope_check needs floats in numbers, got {brief(numbers)}: nothing else has a slope.")
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in leaves):
        raise CojaxInputError(f"slope_check needs finite numbers, got {brief(numbers)}.")
    logarithmic = [bool((leaf > 0).all()) for leaf in leaves]
    units = [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in leaves]
    units = [jnp.where(unit > 0, unit, 1.0) for unit in units]
    first = [jnp.log(leaf) if log else leaf / unit for leaf, log, unit in zip(leaves, logarithmic, units, strict=True)]
    centre, unravel = ravel_pytree(first)

    def value(flat: Array) -> Array:
        parts = zip(unravel(flat), logarithmic, units, strict=True)
        found = function(treedef.unflatten([jnp.exp(free) if log else free * unit for free, log, unit in parts]))
        return as_number("slope_check needs a function that returns one number", found, flat.dtype)

    points, directions, moves = _scatter(centre, width, num_points, num_directions, seed)

    @jax.jit
    def around(points: Array, moves: Array) -> tuple[Array, Array]:
        shifted = (points[:, None] + moves[None]).reshape(-1, points.shape[1])
        return jax.lax.map(value, shifted), jax.lax.map(jax.grad(value), points)

    values, slopes = around(points, moves)
    return _compare(values, slopes, directions, width)


def _check_scatter(owner: str, width: Any, num_points: Any, num_directions: Any, seed: Any) -> tuple[int, int]:
    check_number(owner, "width", width, above=0.0, shaped=())
    whole_number(owner, "seed", seed, at_least=0)
    points = whole_number(owner, "num_points", num_points, at_least=2)
    return points, whole_number(owner, "num_directions", num_directions, at_least=1)


def _scatter(
    centre: Array, width: float | int, num_points: int, num_directions: int, seed: int
) -> tuple[Float[Array, "p d"], Float[np.ndarray, "k d"], Float[Array, "m d"]]:
    """Points around the centre, orthonormal directions, and the moves along them to both sides."""
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.standard_normal((centre.size, min(num_directions, centre.size))))[0].T
    points = centre[None] + width * jnp.asarray(random.standard_normal((num_points, centre.size)), centre.dtype)
    return points, directions, jnp.asarray(width * np.concatenate([directions, -directions]), centre.dtype)


def _compare(values: Any, slopes: Any, directions: Float[np.ndarray, "k d"], width: float | int) -> GradientCheck:
    """Values at every point after every move, and the slopes there, judged."""
    values = np.asarray(values).reshape(len(slopes), 2, len(directions))
    return _judge(np.asarray(slopes) @ directions.T, (values[:, 0] - values[:, 1]) / (2 * width))


@functools.partial(jax.jit, static_argnums=0)
def _around(
    frame: Known,
    varying: Varying,
    first: list[Array],
    points: Float[Array, "p d"],
    moves: Float[Array, "k d"],
    instances: Instance,
) -> tuple[Float[Array, " pk"], Float[Array, "p d"]]:
    """The mean loss at every point after every move, and its gradient at every point; coordinates shaped as `first`."""
    _, unravel = ravel_pytree(first)

    def mean_loss(flat: Array) -> Array:
        return losses(frame, varying, unravel(flat), instances).mean()

    shifted = (points[:, None] + moves[None]).reshape(-1, points.shape[1])
    return jax.lax.map(mean_loss, shifted, batch_size=8), jax.lax.map(jax.grad(mean_loss), points)


def _judge(slopes: Float[np.ndarray, "p k"], differences: Float[np.ndarray, "p k"]) -> GradientCheck:
    derivative, difference = slopes.mean(0), differences.mean(0)
    agree = cosine(derivative, difference)
    halves = cosine(differences[::2].mean(0), differences[1::2].mean(0))
    size = float(np.linalg.norm(difference))
    ratio = float(np.linalg.norm(derivative)) / size if size > 0 else np.inf
    same = float((np.sign(derivative) == np.sign(difference)).mean())
    trusted = bool(agree >= TRUSTED and 0.5 <= ratio <= 2.0)
    figures = f"cosine {agree:.3f} with finite differences, norm {ratio:.3g} of theirs, {same:.0%} of the signs"
    if trusted:
        verdict = f"Trust these gradients: {figures}."
    elif not derivative.any() and not difference.any():
        verdict = (
            "There is nothing to trust: these gradients are 0, and so are finite differences. Either the numbers do "
            "not matter here, or it takes a larger width to see that they do."
        )
    elif not np.isfinite(derivative).all() or not np.isfinite(difference).all():
        verdict = f"Do not trust these gradients: a run diverges nearby ({figures}); start from smaller steps."
    elif halves < FIRM:
        verdict = (
            f"Do not trust these gradients: {figures}. Differences at half of the points have a cosine of {halves:.2f} "
            "with the rest, so the landscape is jagged and no derivative can be right; an Innovation link smooths it."
        )
    elif agree >= TRUSTED:
        verdict = f"Trust the direction of these gradients, not their size: {figures}; Adam does not mind."
    else:
        verdict = f"Do not trust these gradients: {figures}, although differences repeat (cosine {halves:.2f})."
    return GradientCheck(agree, ratio, same, halves, trusted, verdict)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two vectors; 0 where one has no length."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0
