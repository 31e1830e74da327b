"""What a tuned run is judged by: a loss with a useful derivative, and a score that counts rounds, bits or seconds."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._support.checks import check_number, floating


class Looks(NamedTuple):
    """The looks at one run."""

    gap: Float[Array, "c h"]  # of every half that moves, relative to the start
    step: Float[Array, " c"]
    bits: Float[Array, " c"]  # told so far by one node to one neighbour
    seconds: Float[Array, " c"] | None = None  # by the clock, when the last node had told what it knew; None without


class Objective(eqx.Module):
    """Both numbers are smaller for a better run; a run that never reaches its target counts as more than all of it."""

    target: eqx.AbstractVar[Any]
    needs_clock: ClassVar[bool] = False  # whether it reads `course.seconds`

    @abc.abstractmethod
    def loss(self, course: Looks) -> Float[Array, ""]:
        """What is differentiated."""

    @abc.abstractmethod
    def score(self, course: Looks) -> Float[Array, ""]:
        """What is selected by and reported."""


class Area(Objective):
    """The mean over looks of log10(gap), floored a hundredth below the target and capped at 10^3, summed over halves.

    Derivatives count decades, everywhere along the run; the floor ends the interest below the goal, the cap makes a
    diverging run cost a constant. The best behaved of all measured. Its score is the rounds to the target.
    """

    target: Any = eqx.field(default=1e-6, converter=floating)

    def __check_init__(self):
        check_number("Area", "target", self.target, above=0.0, below=1.0, shaped=())

    def loss(self, course):
        return _decades(course.gap, 0.01 * self.target).mean(0).sum()

    def score(self, course):
        return rounds(course, self.target)


class Final(Objective):
    """log10 of the gap at the end, summed over halves: for a fixed number of steps, or of bits. Its score is the same.

    Its derivative is tiny where the run converges early and huge where it does not.
    """

    target: Any = eqx.field(default=1e-14, converter=floating)  # below which nothing is gained

    def __check_init__(self):
        check_number("Final", "target", self.target, above=0.0, below=1.0, shaped=())

    def loss(self, course):
        return _decades(course.gap[-1:], 0.01 * self.target).sum()

    def score(self, course):
        return self.loss(course)


class Rounds(Objective):
    """Steps until every half's gap stays at or below the target; its derivative is that of a count smoothed over a
    decade, which says nothing far from the target: `Area` gets further.
    """

    target: Any = eqx.field(default=1e-6, converter=floating)

    def __check_init__(self):
        check_number("Rounds", "target", self.target, above=0.0, below=1.0, shaped=())

    def loss(self, course):
        return _smooth_count(course, self.target, course.step)

    def score(self, course):
        return rounds(course, self.target)


class Bits(Objective):
    """Bits one node tells one neighbour until every half's gap stays at or below the target; smoothed as `Rounds`."""

    target: Any = eqx.field(default=1e-6, converter=floating)

    def __check_init__(self):
        check_number("Bits", "target", self.target, above=0.0, below=1.0, shaped=())

    def loss(self, course):
        return _smooth_count(course, self.target, course.bits)

    def score(self, course):
        return _until(course, self.target, course.bits)


class Seconds(Objective):
    """Seconds of the network's clock until every half's gap stays at or below the target; the loss is their log10.

    Between two looks the log10 of the larger gap is a straight line over seconds, and the line begins with the gap 1 at
    0 seconds. A run that ends above the target is carried on from its last look at its mean slope, all decades gained
    over all seconds; at one decade over all seconds where it gained less, or lost. So every run says which way is
    faster, but one whose last gap is above 10^3 or not finite: it counts as 10^3.

    Both numbers are differentiable almost everywhere, in all that gaps and seconds depend on. The derivative is that of
    the two looks beside the target, of the last one where it is missed. `tune` raises `CojaxInputError` on a network
    without a clock, `Seconds` for a target outside of (0, 1).
    """

    needs_clock = True
    target: Any = eqx.field(default=1e-6, converter=floating)

    def __check_init__(self):
        check_number("Seconds", "target", self.target, above=0.0, below=1.0, shaped=())

    def loss(self, course):
        seconds = self.score(course)
        return jnp.log10(jnp.maximum(seconds, jnp.finfo(seconds.dtype).tiny))

    def score(self, course):
        gap, seconds = _from_the_start(course)
        # The place of the larger half, not its maximum: XLA may compute that twice, and lose its derivative.
        larger = jnp.argmax(jnp.where(jnp.isfinite(gap), gap, jnp.inf), axis=1)
        # A gap of exactly 0 is no better than a hundredth of the target: it would pull the crossing to its left.
        worst = _decades(jnp.maximum(jnp.take_along_axis(gap, larger[:, None], axis=1)[:, 0], 0.01 * self.target), 0.0)
        goal = jnp.log10(self.target)
        end = worst.size - 1
        last_above = jnp.max(jnp.where(worst > goal, jnp.arange(worst.size), 0))
        reached = last_above < end
        here, there = jnp.where(reached, last_above, 0), jnp.where(reached, last_above + 1, end)
        gained = worst[here] - worst[there]
        gained = jnp.where(reached, gained, jnp.maximum(gained, 1.0))
        part = 1.0 + (worst[there] - goal) / gained
        return seconds[here] + part * (seconds[there] - seconds[here])


class Deadline(Objective):
    """log10 of the gap at `seconds` of the network's clock, summed over halves. Its score is the same.

    Between two looks the log10 of a gap is a straight line over seconds, and the line begins with the gap 1 at 0
    seconds. A run that ends before the deadline has the gap of its last look: give it more steps. Gaps are floored a
    hundredth below the target and capped at 10^3, as those of `Final`.

    Differentiable almost everywhere, in all that gaps and seconds depend on. `tune` raises `CojaxInputError` on a
    network without a clock, `Deadline` for seconds that are not > 0 and a target outside of (0, 1).
    """

    needs_clock = True
    seconds: Any = eqx.field(converter=floating)
    target: Any = eqx.field(default=1e-14, converter=floating)  # below which nothing is gained

    def __check_init__(self):
        check_number("Deadline", "seconds", self.seconds, above=0.0, shaped=())
        check_number("Deadline", "target", self.target, above=0.0, below=1.0, shaped=())

    def loss(self, course):
        gap, seconds = _from_the_start(course)
        decades = _decades(gap, 0.01 * self.target)
        return jax.vmap(lambda half: jnp.interp(self.seconds, seconds, half), in_axes=1)(decades).sum()

    def score(self, course):
        return self.loss(course)


def rounds(course: Looks, target: Any) -> Float[Array, ""]:
    """Steps to the target; where it is missed, the whole run times 1 + the decades that are missing, at most 10."""
    return _until(course, target, course.step)


def _from_the_start(course: Looks) -> tuple[Array, Array]:
    """Gaps and seconds with those of the start before them."""
    assert course.seconds is not None
    gap = jnp.concatenate([jnp.ones_like(course.gap[:1]), course.gap])
    return gap, jnp.concatenate([jnp.zeros_like(course.seconds[:1]), course.seconds])


def _decades(gap: Array, floor: Any) -> Array:
    # A gap that is not finite costs the cap, with the derivative 0.
    safe = jnp.where(jnp.isfinite(gap), gap, 1e9)
    return jnp.minimum(jnp.log10(safe + floor), 3.0)


def _smooth_count(course: Looks, target: Any, count: Array) -> Array:
    missing = _decades(course.gap, 0.01 * target) - jnp.log10(target)
    spent = jnp.diff(count, prepend=jnp.zeros_like(count[:1]))
    return (jax.nn.sigmoid(3.0 * missing.max(1)) * spent).sum() / count[-1]


def _until(course: Looks, target: Any, count: Array) -> Array:
    worst = jnp.max(jnp.where(jnp.isfinite(course.gap), course.gap, jnp.inf), axis=1)
    looks = jnp.arange(worst.size)
    last_above = jnp.max(jnp.where(worst > target, looks, -1))
    missing = jnp.clip(jnp.log10(worst[-1] / target), 0.0, 10.0)
    reached = count[jnp.minimum(last_above + 1, worst.size - 1)]
    return jnp.where(last_above + 1 < worst.size, reached, count[-1] * (1.0 + missing))
