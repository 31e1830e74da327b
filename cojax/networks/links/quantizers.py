"""What rounding does to one message, each quantizer with the sector that its rounding stays in."""

import abc
import dataclasses
import functools
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..._support.checks import CojaxInputError, as_key, check_number, floating, is_concrete, whole_number
from ..._support.reprs import describe
from ..._support.straight_through import straight_through


class Quantizer(eqx.Module):
    """A map of every number of a message to a coarser one, or with `by_row` of the numbers of one node together."""

    by_row: ClassVar[bool] = False  # whether links map it over nodes and edges: it then sees one leaf of one node
    drawn: ClassVar[bool] = False  # of one by row, whether `at` makes another one of it for every node and step

    def __repr__(self) -> str:
        return describe(self)

    def at(self, node: Int[Array, ""] | int, step: Int[Array, ""] | int) -> "Quantizer":
        """The quantizer of what the caller's `node` tells at `step`: this one, unless it is `drawn`."""
        return self

    @abc.abstractmethod
    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """`value` rounded, in its own dtype and shape."""

    @abc.abstractmethod
    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        """How many bits one number of `dtype` that is sent takes on the wire."""

    def message_bits(self, size: int, dtype: Any) -> Float[Array, ""]:
        """How many bits the `size` numbers of one node take; by default all of them are sent."""
        return size * self.num_bits(dtype)

    @abc.abstractmethod
    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        """Which numbers lie beyond the outermost level at `scale`; None where there is no outermost level."""

    def first_scale(self, value: Float[Array, "..."]) -> Any:
        """The state before the first message shaped as `value`; None for a quantizer that does not adapt."""
        return None

    def adapt(self, value: Float[Array, "..."], scale: Any) -> tuple[Float[Array, "..."], Any]:
        """`value` rounded at `scale`, and the next scale, which the receiver knows from what it received."""
        return self(value), scale


class LogQuantizer(Quantizer):
    """q(u) = sgn(u) exp(rho * round(log|u| / rho)), and q(0) = 0.

    The relative error is bounded at every scale: q(u)/u lies in [exp(-rho/2), exp(rho/2)], both ends attained, to the
    rounding of the dtype, 1/256 in bfloat16.
    Derivatives are straight-through in the log domain: dq/du = q/u and dq/drho = q * (round(t) - t), t = log|u|/rho.

    Args:
        rho: the distance of two levels in nats, > 0; differentiable.
        smallest, largest: the ends of a finite alphabet, > 0: its levels are those from the one nearest the smallest,
            below which numbers become 0, to the one nearest the largest, where they saturate. By default the ends of
            the dtype, of which no level is beyond: near its end numbers saturate at the last one that it holds, and are
            not counted as saturated.

    A number takes as many bits as tell the levels of both signs and 0 apart. That is log2(2 m + 1), rounded up, for m
    levels a sign, m within 1 of log(largest/smallest)/rho + 1.

    Raises:
        CojaxInputError: rho is not > 0, or not 0 < smallest < largest.

    Source: Doostmohammadian et al., arXiv 2208.14059; the upper end exp(rho/2) corrects the usual 1 + rho/2.
    """

    rho: Any
    smallest: Any
    largest: Any

    def __init__(self, rho: Any, *, smallest: float | None = None, largest: float | None = None):
        check_number("LogQuantizer", "rho", rho, above=0.0, shaped=())
        self.rho = floating(rho)
        self.smallest, self.largest = _checked_ends("LogQuantizer", smallest, largest)

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        dtype, value = value.dtype, _widen(value)
        rho = _within(value.dtype, self.rho)
        last = _last_log_level(dtype, rho)
        rounded = _log_round(value, rho, last)
        if self.smallest is not None:
            # Between two levels, as two programs may differ in the last bit of one.
            cut = _log_round(jnp.asarray(self.smallest, value.dtype), rho, last) * jnp.exp(-rho / 2)
            rounded = jnp.where(jnp.abs(lax.stop_gradient(rounded)) < lax.stop_gradient(cut), 0, rounded)
        if self.largest is not None:
            top = _log_round(_within(dtype, self.largest), rho, last)
            rounded = _saturated(rounded, top, top * jnp.exp(rho / 2))
        return rounded.astype(dtype)

    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        info, wide = jnp.finfo(dtype), _widen(jnp.zeros((), dtype)).dtype
        rho = _within(wide, self.rho)

        def level(end: Any) -> Array:
            return jnp.round(jnp.log(jnp.asarray(end, wide)) / rho)

        least, tiny = float(info.smallest_subnormal), float(jnp.finfo(wide).tiny)
        if least < tiny:  # XLA takes what is less than `tiny` as 0
            lowest = jnp.ceil(math.log(tiny) / rho)
        else:  # a level from half the least number on is rounded to it
            lowest = jnp.maximum(jnp.ceil(math.log(least / 2) / rho), level(least))
        highest = _last_log_level(dtype, rho)
        if self.smallest is not None:
            lowest = jnp.maximum(lowest, level(self.smallest))
        if self.largest is not None:
            highest = jnp.minimum(highest, level(_within(dtype, self.largest)))
        return _bits_of(2 * (highest - lowest + 1))

    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        if self.largest is None:
            return None
        dtype, value = value.dtype, _widen(value)
        rho = _within(value.dtype, self.rho)
        top = _log_round(_within(dtype, self.largest), rho, _last_log_level(dtype, rho))
        return jnp.abs(value) > top * jnp.exp(rho / 2)


def _checked_ends(owner: str, smallest: Any, largest: Any) -> tuple[Any, Any]:
    for name, end in (("smallest", smallest), ("largest", largest)):
        if end is not None:
            check_number(owner, name, end, above=0.0, shaped=())
    if smallest is not None and largest is not None:
        check_number(owner, "largest / smallest", largest / smallest, above=1.0)
    return floating(smallest), floating(largest)


def _saturated(rounded: Array, top: Array, beyond: Array) -> Array:
    """`top`, with the sign, for higher levels, which are above `beyond`; `jnp.clip` would halve the slopes at `top`."""
    return jnp.where(jnp.abs(lax.stop_gradient(rounded)) > beyond, jnp.copysign(top, rounded), rounded)


def _bits_of(last: Array) -> Float[Array, ""]:
    """The bits of the whole numbers from 0 to `last`."""
    return jnp.frexp(last)[1].astype(jnp.result_type(float))


def _widen(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """16-bit floats as float32: theirs are too few bits to count levels, and their logarithm is off by several."""
    return value if jnp.finfo(value.dtype).bits >= 32 else value.astype(jnp.float32)


def _within(dtype: Any, number: Any) -> Array:
    """A number of a quantizer, at most the end of `dtype`, in the precision in which that one's numbers are rounded."""
    wide, end = _widen(jnp.zeros((), dtype)).dtype, float(jnp.finfo(dtype).max)
    if isinstance(number, float):
        return jnp.asarray(min(number, end), wide)
    return jnp.minimum(jnp.asarray(number, wide), jnp.asarray(end, wide))


def _last_log_level(dtype: Any, rho: Array) -> Array:
    """The number of the last level that `dtype` holds, with room for the rounding of its exponential."""
    room = 1 - 4 * float(jnp.finfo(rho.dtype).eps)
    return jnp.floor(math.log(float(jnp.finfo(dtype).max)) * room / lax.stop_gradient(rho))


def _log_round(value: Array, rho: Array, last: Array) -> Array:
    # The inner where keeps log away from 0, where its value and its derivative are not finite.
    size = jnp.where(value == 0, 1.0, jnp.abs(value))
    place = jnp.log(size) / rho
    level = jnp.where((place > last) & (size < jnp.inf), last, jnp.round(place))  # an infinite message is told as one
    rounded = jnp.where(value == 0, 0.0, jnp.copysign(jnp.exp(rho * level), value))
    # q(u) = u exp(rho off), where off, how far u is from its level, stays as it is. A division is cheaper than an exp.
    off = lax.stop_gradient(level - place)
    ratio = jnp.where(value == 0, 1.0, rounded / jnp.where(value == 0, 1.0, value))
    return straight_through(rounded, value * straight_through(ratio, jnp.exp(rho * off)))


class UniformQuantizer(Quantizer):
    """q(u) = delta * round(u / delta).

    The absolute error is at most delta/2; numbers below delta/2 become 0, so it is not sector-bounded from below.
    Derivatives are straight-through: dq/du = 1 and dq/ddelta = round(u/delta) - u/delta.

    Args:
        delta: the distance of two levels in the unit of the message, > 0; differentiable.
        largest: the end of a finite alphabet, > 0: numbers beyond the level nearest to it saturate there. By default
            the end of the dtype, at the last level that it holds, where nothing is counted as saturated.

    A number takes log2(2 m + 1) bits, rounded up, where the last level is m delta.

    Raises:
        CojaxInputError: delta or largest is not > 0.
    """

    delta: Any
    largest: Any

    def __init__(self, delta: Any, *, largest: float | None = None):
        check_number("UniformQuantizer", "delta", delta, above=0.0, shaped=())
        self.delta = floating(delta)
        self.largest = _checked_ends("UniformQuantizer", None, largest)[1]

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        dtype, value = value.dtype, _widen(value)
        delta = _within(value.dtype, self.delta)
        last = _last_level(dtype, delta)
        rounded = _uniform_round(value, delta, last)
        if self.largest is not None:
            top = _uniform_round(_within(dtype, self.largest), delta, last)
            rounded = _saturated(rounded, top, top + delta / 2)
        return rounded.astype(dtype)

    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        wide = _widen(jnp.zeros((), dtype)).dtype
        delta = _within(wide, self.delta)
        levels = _last_level(dtype, delta)
        if self.largest is None:
            mantissa, exponent = math.frexp(float(jnp.finfo(dtype).max))
        else:
            largest = _within(dtype, self.largest)
            levels = jnp.minimum(levels, jnp.round(largest / delta))
            mantissa, exponent = jnp.frexp(largest)
        # Very many have no place in the dtype, but their exponent has.
        less, last = jnp.frexp(delta)
        of_many = (1 + exponent - last + jnp.where(less <= mantissa, 1, 0)).astype(jnp.result_type(float))
        return jnp.where(levels < 2**20, _bits_of(2 * levels), jnp.maximum(of_many, 0))

    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        if self.largest is None:
            return None
        dtype, value = value.dtype, _widen(value)
        delta = _within(value.dtype, self.delta)
        top = _uniform_round(_within(dtype, self.largest), delta, _last_level(dtype, delta))
        return jnp.abs(value) > top + delta / 2


def _last_level(dtype: Any, delta: Array) -> Array:
    """The number of the last level that `dtype` holds; infinite where levels are too many to be counted in it."""
    delta = lax.stop_gradient(delta)
    last = jnp.floor(jnp.asarray(jnp.finfo(dtype).max, delta.dtype) / delta)
    return jnp.where(jnp.isinf(delta * last), last - 1, last)  # one more where the division was rounded up


def _uniform_round(value: Array, delta: Array, last: Array) -> Array:
    place = value / delta
    # Where numbers of the dtype lie further apart than levels, each is its own level, and its place may be infinite.
    apart = 1 / jnp.finfo(value.dtype).eps
    beyond = jnp.abs(place) >= jnp.minimum(last + 0.5, apart)
    end = jnp.where(last < apart, jnp.copysign(delta * last, value), value)
    rounded = jnp.where(beyond, end, delta * jnp.round(place))
    off = lax.stop_gradient(jnp.where(beyond, 0, jnp.round(place) - place))
    return straight_through(rounded, value + delta * off)


class FloatQuantizer(Quantizer):
    """The nearest number with `mantissa_bits` bits after the leading one, as a short float format sends it.

    q(u)/u lies in [1 - 2**-(b+1), 1 + 2**-(b+1)], b = mantissa_bits: as fine as a log quantizer of
    rho = 2**-b, at a tenth of its cost (one rounding of the bits, no exp and no log). Numbers beyond the largest one of
    that format become it.
    The derivative is straight-through: dq/du = 1.

    Args:
        mantissa_bits: from 0 to 52, static.

    Raises:
        CojaxInputError: mantissa_bits is not a whole number from 0 to 52.
    """

    mantissa_bits: int = eqx.field(
        static=True,
        converter=functools.partial(whole_number, "FloatQuantizer", "mantissa_bits", at_least=0, at_most=52),
    )

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        info = jnp.finfo(value.dtype)
        if self.mantissa_bits >= info.nmant:
            return value
        rounded = lax.reduce_precision(value, info.nexp, self.mantissa_bits)
        # The largest number of the short format: those above it would be rounded up, to infinity.
        top = float(info.max) * ((2 - 2.0**-self.mantissa_bits) / (2 - 2.0**-info.nmant))
        return straight_through(jnp.where(jnp.isinf(value), value, jnp.clip(rounded, -top, top)), value)

    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        info = jnp.finfo(dtype)
        return jnp.asarray(1.0 + info.nexp + min(self.mantissa_bits, info.nmant))

    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        return None


class AdaptiveQuantizer(Quantizer):
    """2**bits equal levels around 0 whose distance follows the message: wider after an outer level, else narrower.

    With d the distance and j = 0 ... 2**(bits-1) - 1 the level of |u|/d rounded down (the last one saturates),
    q(u) = sgn(u) (j + 1/2) d, and d+ = d * shrink**(1-t) * grow**t with t = j / (2**(bits-1) - 1).
    The receiver knows the next distance from what it received, so only the level travels, at exactly `bits` bits a
    number. For links with memory only: distances are per number and per channel. Innovations that shrink are
    followed down at any rate slower than `shrink` per message; two bits are enough for convergence to machine
    precision. The derivative is straight-through: dq/du = 1.

    Args:
        bits: from 2 to 16, static.
        shrink, grow: factors in (0, 1) and > 1; an outer level must undo an inner one: shrink * grow >= 1.
        first: the distance before the first message, > 0, in the unit of the message: set it to the size of your first
            messages, as `cojax.default` does; from too small a one it takes steps to grow.

    Raises:
        CojaxInputError: a constant out of its range.

    Source: Jayant, Bell System Technical Journal 1973, doi 10.1002/j.1538-7305.1973.tb02008.x.
    """

    bits: int = eqx.field(
        static=True,
        default=3,
        converter=functools.partial(whole_number, "AdaptiveQuantizer", "bits", at_least=2, at_most=16),
    )
    shrink: Any = eqx.field(default=0.8, converter=floating)
    grow: Any = eqx.field(default=1.6, converter=floating)
    first: Any = eqx.field(default=1.0, converter=floating)

    def __check_init__(self):
        _check_factors("AdaptiveQuantizer", self.shrink, self.grow, "an outer level must undo an inner one")
        check_number("AdaptiveQuantizer", "first", self.first, above=0.0, shaped=())

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        raise CojaxInputError(
            "AdaptiveQuantizer needs a link with memory, its distances being per channel; use Innovation(...)."
        )

    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        return jnp.asarray(float(self.bits))

    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        return jnp.abs(value) > 2 ** (self.bits - 1) * scale

    def first_scale(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _first_scale(value, self.first)

    def adapt(self, value: Float[Array, "..."], scale: Any) -> tuple[Float[Array, "..."], Any]:
        still, scale = lax.stop_gradient((value, scale))
        top = 2 ** (self.bits - 1) - 1
        level = jnp.clip(jnp.floor(jnp.abs(still) / scale), 0, top)
        size = jnp.minimum((level + 0.5) * scale, jnp.finfo(scale.dtype).max)
        rounded = jnp.copysign(size, still)
        low, high = (jnp.log(jnp.asarray(factor, scale.dtype)) for factor in (self.shrink, self.grow))
        after = _kept_away(scale * jnp.exp(low + (high - low) * level / top))
        return straight_through(rounded, value), after


class OneBitQuantizer(Quantizer):
    """The sign, times a size that grows while signs repeat and shrinks when they change: one bit a number.

    q(u) = sgn(u) d, then d+ = grow d if the last sign was the same, else shrink d. The receiver knows both from what it
    received. For links with memory only: sizes are per number and per channel. It follows what moves by less than its
    size a message, and shrinks no faster than what it follows: methods over it take smaller steps, each at a half or
    less of the bits of `AdaptiveQuantizer`. The derivative is straight-through: dq/du = 1.

    Args:
        shrink, grow: factors in (0, 1) and > 1; a repetition must undo a change: shrink * grow >= 1.
        first: the size before the first message, > 0, in the unit of the message; see `AdaptiveQuantizer`.

    Raises:
        CojaxInputError: a constant out of its range.

    Source: Jayant, "Adaptive delta modulation with a one-bit memory", Bell System Technical Journal 1970.
    """

    shrink: Any = eqx.field(default=0.6, converter=floating)
    grow: Any = eqx.field(default=5 / 3, converter=floating)
    first: Any = eqx.field(default=1.0, converter=floating)

    def __check_init__(self):
        _check_factors("OneBitQuantizer", self.shrink, self.grow, "a repetition must undo a change")
        check_number("OneBitQuantizer", "first", self.first, above=0.0, shaped=())

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        raise CojaxInputError(
            "OneBitQuantizer needs a link with memory, its sizes being per channel; use Innovation(...)."
        )

    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        return jnp.ones(())

    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        return jnp.abs(value) > 2 * jnp.abs(scale)

    def first_scale(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _first_scale(value, self.first)

    def adapt(self, value: Float[Array, "..."], scale: Any) -> tuple[Float[Array, "..."], Any]:
        still, scale = lax.stop_gradient((value, scale))  # the sign of a scale is the last sign that was sent
        rounded = jnp.where(still < 0, -jnp.abs(scale), jnp.abs(scale))
        shrink, grow = (jnp.asarray(factor, scale.dtype) for factor in (self.shrink, self.grow))
        after = rounded * jnp.where((rounded < 0) == (scale < 0), grow, shrink)
        return straight_through(rounded, value), jnp.copysign(_kept_away(jnp.abs(after)), after)


class TopK(Quantizer):
    """The k numbers of a node's message leaf that are largest in size, as they are, and 0 for the others.

    Of equal ones the first are kept. It is odd and idempotent, and |q(u) - u|^2 <= (1 - k/d) |u|^2 for d numbers, but
    what is not sent is lost: `Quantized(TopK(k))` does not converge. Over `Innovation` what was not sent yet stays in
    the difference, which is error feedback, and methods are exact with smaller steps; over `ErrorFeedback` it is added
    to the next message. Leaves of k numbers or fewer,
    such as the one marginal cost of a node, pass whole. The derivative is exact: 1 for what is kept, else 0.

    Args:
        k: >= 1, static.

    A number that is sent takes the bits of its dtype, and log2(d) bits, rounded up, for its place; none where d <= k.

    Raises:
        CojaxInputError: k is not a whole number >= 1.

    Source: Stich, Cordonnier, Jaggi, NeurIPS 2018, arXiv 1809.07599.
    """

    by_row: ClassVar[bool] = True
    k: int = eqx.field(static=True, converter=functools.partial(whole_number, "TopK", "k", at_least=1))

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        if self.k >= value.size:
            return value
        entries = value.ravel()
        _, places = lax.top_k(jnp.abs(lax.stop_gradient(entries)), self.k)
        kept = jnp.zeros(entries.shape, bool).at[places].set(True)
        return jnp.where(kept, entries, 0).reshape(value.shape)

    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        return jnp.asarray(float(jnp.finfo(dtype).bits))

    def message_bits(self, size: int, dtype: Any) -> Float[Array, ""]:
        place = (size - 1).bit_length() if size > self.k else 0
        return min(self.k, size) * (self.num_bits(dtype) + place)

    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        return None


class RandK(Quantizer):
    """k numbers of a node's message leaf, chosen at random anew in every step, and 0 for the others.

    The choice follows from the key, the caller's number of the node, and the step alone, so that both ends of a link
    know it: places cost no bits, every layout and device chooses the same, and a run that goes on later goes on with
    it. Over `Innovation` what was not chosen waits in the difference, which is error feedback: the numbers travel as
    they are, E |q(u) - u|^2 = (1 - k/d) |u|^2 for d numbers, and methods are exact with smaller steps. A link without
    memory multiplies them by d/k, so that what is heard is right on average, E q(u) = u; but E |q(u) - u|^2 =
    (d/k - 1) |u|^2 stays where messages do, so `Quantized(RandK(k))` does not converge; what d/k would make infinite
    becomes the largest number of the dtype. Leaves of k numbers or fewer, such as the one marginal cost of a node, pass
    whole. The derivative is exact.

    Args:
        k: >= 1, static.
        key: a JAX key or an integer seed.

    A number that is sent takes the bits of its dtype. Leaves of one size are chosen from alike.

    Raises:
        CojaxInputError: k is not a whole number >= 1, or key no key and no seed.

    Source: Stich, Cordonnier, Jaggi, NeurIPS 2018, arXiv 1809.07599: with memory as it is, without it unbiased.
    """

    by_row: ClassVar[bool] = True
    drawn: ClassVar[bool] = True
    k: int = eqx.field(static=True, converter=functools.partial(whole_number, "RandK", "k", at_least=1))
    key: PRNGKeyArray = eqx.field(converter=functools.partial(as_key, "RandK"), default=0)

    def at(self, node: Int[Array, ""] | int, step: Int[Array, ""] | int) -> "RandK":
        return dataclasses.replace(self, key=jax.random.fold_in(jax.random.fold_in(self.key, step), node))

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        chosen, _ = self.adapt(value, None)
        end = float(jnp.finfo(value.dtype).max)
        grown = chosen * jnp.asarray(min(max(value.size / self.k, 1.0), end), value.dtype)
        return jnp.where(jnp.isinf(chosen), chosen, jnp.clip(grown, -end, end))

    def adapt(self, value: Float[Array, "..."], scale: Any) -> tuple[Float[Array, "..."], Any]:
        if self.k >= value.size:
            return value, scale
        _, places = lax.top_k(jax.random.uniform(self.key, (value.size,), jnp.float32), self.k)
        chosen = jnp.zeros(value.size, bool).at[places].set(True)
        return jnp.where(chosen.reshape(value.shape), value, 0), scale

    def num_bits(self, dtype: Any) -> Float[Array, ""]:
        return jnp.asarray(float(jnp.finfo(dtype).bits))

    def message_bits(self, size: int, dtype: Any) -> Float[Array, ""]:
        return min(self.k, size) * self.num_bits(dtype)

    def saturates(self, value: Float[Array, "..."], scale: Any) -> Bool[Array, "..."] | None:
        return None


def _check_factors(owner: str, shrink: Any, grow: Any, why: str) -> None:
    check_number(owner, "shrink", shrink, above=0.0, below=1.0, shaped=())
    check_number(owner, "grow", grow, above=1.0, shaped=())
    if is_concrete(shrink, grow):
        check_number(owner, "shrink * grow", float(shrink) * float(grow), at_least=1.0, why=why)


def _first_scale(value: Array, first: Any) -> Array:
    """`first` for every number, as near as their dtype has it: at 0 and at infinity nothing could be rounded."""
    info = jnp.finfo(value.dtype)
    return jnp.full_like(value, jnp.clip(first, float(info.tiny), float(info.max)))


def _kept_away(scale: Array) -> Array:
    """`scale` away from 0 and infinity, from which no factor leads back."""
    info = jnp.finfo(scale.dtype)
    return jnp.clip(scale, info.tiny / info.eps, info.max * info.eps)
