"""What many paired, partly unfinished measurements show: order statistics alone, without a law of their spread."""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float


def order_statistic(values: Float[np.ndarray, "*s t"], part: float) -> Float[np.ndarray, "*s"]:
    """The least of the values that at least `part` of all do not exceed; never between two, so it may be infinite."""
    count = values.shape[-1]
    place = min(max(math.ceil(part * count - 1e-9), 1), count) - 1
    return np.asarray(np.sort(values, axis=-1)[..., place])


def middle(values: Float[np.ndarray, "*s t"]) -> Float[np.ndarray, "*s"]:
    """The median; infinite where one of the two in the middle is."""
    ordered, count = np.sort(values, axis=-1), values.shape[-1]
    return np.asarray((ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2)


def interval_ranks(count: int, level: float) -> tuple[int, int] | None:
    """The places, from 0, of the two order statistics that hold the median with at least `level`; None where none do.

    Any law of the values will do, ties included: fewer than k of `count` values lie below the median with the
    probability that a fair coin shows fewer than k heads. Conover, Practical Nonparametric Statistics, section 3.2.
    """
    most = Fraction(1 - level) * 2 ** (count - 1)
    rank, below, outcomes = 0, 0, 1  # of 2^count outcomes, those with fewer than `rank` heads and with `rank`
    while below + outcomes <= most:
        below, outcomes, rank = below + outcomes, outcomes * (count - rank) // (rank + 1), rank + 1
    return None if rank == 0 else (rank - 1, count - rank)


def ratios(
    one: Float[np.ndarray, " t"],
    other: Float[np.ndarray, " t"],
    spent: tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]],
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """The least and the largest that one / other can be.

    Args:
        one, other: what each took in every trial; infinite where it never got there.
        spent: what each had used up by its end: one that never got there would have taken more.
    """
    lows = [np.where(np.isfinite(took), took, end) for took, end in zip((one, other), spent, strict=True)]
    return _over(lows[0], other), _over(one, lows[1])


def _over(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """one / other where 0 / 0 is 1; the callers never divide what is infinite on both sides."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(one == other, 1.0, one / other)


def to_the_best(took: Float[np.ndarray, "t m"]) -> Float[np.ndarray, "t m"]:
    """What every method took over what the best took in that trial; infinite for who never got there."""
    best = took.min(axis=1, keepdims=True)
    return np.where(np.isfinite(took), _over(took, np.broadcast_to(best, took.shape)), np.inf)
