"""What rounding does to one message, each quantizer with the sector that its rounding stays in."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._checks import check_number


class Quantizer(eqx.Module):
    """A map of every number of a message to a coarser one: odd, idempotent, and 0 at 0."""

    @abc.abstractmethod
    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """`value` rounded, in its own dtype and shape."""


class LogQuantizer(Quantizer):
    """q(u) = sgn(u) exp(rho * round(log|u| / rho)), and q(0) = 0.

    The relative error is bounded at every scale: q(u)/u lies in [exp(-rho/2), exp(rho/2)], both ends attained.
    Derivatives are straight-through in the log domain: dq/du = q/u and dq/drho = q * (round(t) - t), t = log|u|/rho.

    Args:
        rho: the distance of two levels in nats, > 0; differentiable.

    Raises:
        CojaxInputError: rho is not > 0.

    Source: Doostmohammadian et al., arXiv 2208.14059; the upper end exp(rho/2) corrects the usual 1 + rho/2.
    """

    rho: Any

    def __init__(self, rho: Any):
        check_number("LogQuantizer", "rho", rho, above=0.0, shaped=())
        self.rho = rho

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _log_round(value, jnp.asarray(self.rho, value.dtype))


@jax.custom_jvp
def _log_round(value: Array, rho: Array) -> Array:
    # The inner where keeps log away from 0, where its value and its derivative are not finite.
    size = jnp.where(value == 0, 1.0, jnp.abs(value))
    rounded = jnp.exp(rho * jnp.round(jnp.log(size) / rho))
    return jnp.where(value == 0, 0.0, jnp.copysign(rounded, value))


@_log_round.defjvp
def _log_round_jvp(primals, tangents):
    value, rho = primals
    value_dot, rho_dot = tangents
    out = _log_round(value, rho)
    safe = jnp.where(value == 0, 1.0, value)
    ratio = jnp.where(value == 0, 1.0, out / safe)
    t = jnp.log(jnp.abs(safe)) / rho
    return out, ratio * value_dot + out * (jnp.round(t) - t) * rho_dot


class UniformQuantizer(Quantizer):
    """q(u) = delta * round(u / delta).

    The absolute error is at most delta/2; numbers below delta/2 become 0, so it is not sector-bounded from below.
    Derivatives are straight-through: dq/du = 1 and dq/ddelta = round(u/delta) - u/delta.

    Args:
        delta: the distance of two levels in the unit of the message, > 0; differentiable.

    Raises:
        CojaxInputError: delta is not > 0.
    """

    delta: Any

    def __init__(self, delta: Any):
        check_number("UniformQuantizer", "delta", delta, above=0.0, shaped=())
        self.delta = delta

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _uniform_round(value, jnp.asarray(self.delta, value.dtype))


@jax.custom_jvp
def _uniform_round(value: Array, delta: Array) -> Array:
    return delta * jnp.round(value / delta)


@_uniform_round.defjvp
def _uniform_round_jvp(primals, tangents):
    value, delta = primals
    value_dot, delta_dot = tangents
    t = value / delta
    return _uniform_round(value, delta), value_dot + (jnp.round(t) - t) * delta_dot


class FloatQuantizer(Quantizer):
    """The nearest number with `mantissa_bits` bits after the leading one, as a short float format sends it.

    q(u)/u lies in [1 - 2**-(b+1), 1 + 2**-(b+1)], b = mantissa_bits: as fine as a log quantizer of
    rho = 2**-b, at a tenth of its cost (one rounding of the bits, no exp and no log).
    The derivative is straight-through: dq/du = 1.

    Args:
        mantissa_bits: from 0 to 52, static.

    Raises:
        CojaxInputError: mantissa_bits is not a whole number from 0 to 52.
    """

    mantissa_bits: int = eqx.field(static=True)

    def __check_init__(self):
        if isinstance(self.mantissa_bits, bool) or not isinstance(self.mantissa_bits, int):
            check_number("FloatQuantizer", "mantissa_bits", "a whole number is wanted")
        check_number("FloatQuantizer", "mantissa_bits", self.mantissa_bits, at_least=0, below=53)

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        info = jnp.finfo(value.dtype)
        rounded = lax.reduce_precision(value, info.nexp, min(self.mantissa_bits, info.nmant))
        return _straight_through(value, rounded)


@jax.custom_jvp
def _straight_through(value: Array, rounded: Array) -> Array:
    return rounded


@_straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    return primals[1], tangents[0]
