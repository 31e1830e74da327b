"""What a tuned run is judged by: a loss with a useful derivative, and a score that counts rounds or bits."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._support.checks import check_number, floating


class Course(NamedTuple):
    """The looks at one run."""

    gap: Float[Array, "c h"]  # of every half that moves, relative to the start
    step: Float[Array, " c"]
    bits: Float[Array, " c"]  # told so far by one node to one neighbour


class Objective(eqx.Module):
    """Both numbers are smaller for a better run; a run that never reaches its target counts as more than all of it."""

    target: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def loss(self, course: Course) -> Float[Array, ""]:
        """What is differentiated."""

    @abc.abstractmethod
    def score(self, course: Course) -> Float[Array, ""]:
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
        return _decades(course.gap, self.target).mean(0).sum()

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
        return _decades(course.gap[-1:], self.target).sum()

    def score(self, course):
        return _decades(course.gap[-1:], self.target).sum()


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


def rounds(course: Course, target: Any) -> Float[Array, ""]:
    """Steps to the target; where it is missed, the whole run times 1 + the decades that are missing, at most 10."""
    return _until(course, target, course.step)


def _decades(gap: Array, target: Any) -> Array:
    # A gap that is not finite costs the cap, with the derivative 0.
    safe = jnp.where(jnp.isfinite(gap), gap, 1e9)
    return jnp.minimum(jnp.log10(safe + 0.01 * target), 3.0)


def _smooth_count(course: Course, target: Any, count: Array) -> Array:
    missing = _decades(course.gap, target) - jnp.log10(target)
    spent = jnp.diff(count, prepend=jnp.zeros_like(count[:1]))
    return (jax.nn.sigmoid(3.0 * missing.max(1)) * spent).sum() / count[-1]


def _until(course: Course, target: Any, count: Array) -> Array:
    worst = jnp.max(jnp.where(jnp.isfinite(course.gap), course.gap, jnp.inf), axis=1)
    looks = jnp.arange(worst.size)
    last_above = jnp.max(jnp.where(worst > target, looks, -1))
    missing = jnp.clip(jnp.log10(worst[-1] / target), 0.0, 10.0)
    reached = count[jnp.minimum(last_above + 1, worst.size - 1)]
    return jnp.where(last_above + 1 < worst.size, reached, count[-1] * (1.0 + missing))
