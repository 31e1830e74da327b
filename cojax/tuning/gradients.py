"""Whether derivatives through a run can be trusted, measured through the caller's own set-up."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._support.checks import check_number, whole_number
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .ensembles import Gap, Instance, distances
from .known import Known
from .objectives import Area, Objective
from .workbenches import Varying, losses, workbench

TRUSTED = 0.9  # the cosine at which a direction is worth following
FIRM = 0.5  # the cosine of two halves of the differences above which they say anything


class GradientCheck(NamedTuple):
    """What `gradient_check` finds; the verdict is its text."""

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

    Args: as of `tune`. Raises `CojaxInputError` as `tune`, and for a width that is not above 0.
    """
    check_number("gradient_check", "width", width, above=0.0, shaped=())
    num_points = whole_number("gradient_check", "num_points", num_points, at_least=2)
    num_directions = whole_number("gradient_check", "num_directions", num_directions, at_least=1)
    bench, instances = workbench(
        problem, network, method, start, what=what, objective=Area() if objective is None else objective,
        num_steps=num_steps, every=every, optima=optima, margin=margin, inflation=1.0, window=window, gap=gap,
    )  # fmt: skip
    centre, _ = ravel_pytree(bench.first)
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.standard_normal((centre.size, min(num_directions, centre.size))))[0].T
    points = centre[None] + width * jnp.asarray(random.standard_normal((num_points, centre.size)))
    moves = jnp.asarray(width * np.concatenate([directions, -directions]))
    values, slopes = _around(bench.frame, bench.varying, bench.first, points, moves, instances)
    values = np.asarray(values).reshape(num_points, 2, len(directions))
    differences = (values[:, 0] - values[:, 1]) / (2 * width)
    return _judge(np.asarray(slopes) @ directions.T, differences)


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
