"""A penalty makes the bounds of a share soft: what the dynamics add to the cost near or outside of them."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, check_number, floating


class PowerPenalty(eqx.Module):
    """weight * ([cpu - upper]^+ ** power + [lower - cpu]^+ ** power), [u]^+ = max(u, 0).

    With power 2 a share passes its bound by its multiplier / (2 weight), and the curvature grows by 2 weight, so steps
    shrink as the weight grows. Power 1 is exact for a weight above the multiplier but has a kink, where steps rattle.

    Here and in the other penalties, called `penalty(cpu, lower, upper)`: cpu is () or (r,), bounds as cpu or (), summed
    over resources; an infinite bound adds 0, with derivative 0; cpu, bounds, and float fields are differentiable.

    Fields: weight, > 0, in cost per unit of cpu ** power; power, >= 1, static.
    Raises `CojaxInputError` outside of these ranges, and where shapes do not fit.
    """

    weight: Any = eqx.field(converter=floating)
    power: float | int = eqx.field(default=2, static=True)

    def __check_init__(self):
        check_number("PowerPenalty", "weight", self.weight, above=0.0, shaped=())
        if isinstance(self.power, bool) or not isinstance(self.power, int | float):
            raise CojaxInputError(f"PowerPenalty needs a Python number for power, got {self.power!r}: it is static.")
        check_number("PowerPenalty", "power", self.power, at_least=1.0)

    def __call__(self, cpu: Any, lower: Any, upper: Any) -> Float[Array, ""]:
        def side(room: Array) -> Array:
            # The inner where keeps the power away from 0, where a second derivative may not be finite.
            excess = jnp.where(room < 0, -room, 1)
            return jnp.where(room < 0, jnp.asarray(self.weight, room.dtype) * excess**self.power, 0)

        return _both(side, "PowerPenalty", cpu, lower, upper)


class SoftplusPenalty(eqx.Module):
    """weight/sharpness * (log(1 + exp(sharpness (cpu - upper))) + the mirror image at lower).

    Smooth; exceeds weight * [cpu - upper]^+ by 0 to weight log(2)/sharpness, the most at the bound, and acts inside
    the bounds too. Curvature <= weight sharpness / 4. The weight must exceed the multiplier, or the bound gives way.

    Fields: weight, > 0, in cost per unit of cpu; sharpness, > 0, in 1 / unit of cpu. Raises as `PowerPenalty`.
    """

    weight: Any = eqx.field(converter=floating)
    sharpness: Any = eqx.field(converter=floating)

    def __check_init__(self):
        check_number("SoftplusPenalty", "weight", self.weight, above=0.0, shaped=())
        check_number("SoftplusPenalty", "sharpness", self.sharpness, above=0.0, shaped=())

    def __call__(self, cpu: Any, lower: Any, upper: Any) -> Float[Array, ""]:
        def side(room: Array) -> Array:
            weight, sharpness = (jnp.asarray(value, room.dtype) for value in (self.weight, self.sharpness))
            return weight * jax.nn.softplus(-sharpness * room) / sharpness

        return _both(side, "SoftplusPenalty", cpu, lower, upper)


class BarrierPenalty(eqx.Module):
    """-epsilon (log(upper - cpu) + log(cpu - lower)).

    A share stays epsilon / multiplier inside of its bound, strictly, as long as no step jumps over the bound: the
    curvature epsilon / distance**2 has no limit, so a constant step must suit the smallest distance on the way. At the
    bound and beyond, the value is inf and the gradient is not finite, so that a run which gets there ends as DIVERGED.
    Start strictly inside: the even split sits on a bound that it would exceed.

    Fields: epsilon, > 0, in units of cost. Raises as `PowerPenalty`.
    """

    epsilon: Any = eqx.field(converter=floating)
    keeps_bounds: ClassVar = True  # no run passes them, and outside of them the cost is infinite

    def __check_init__(self):
        check_number("BarrierPenalty", "epsilon", self.epsilon, above=0.0, shaped=())

    def __call__(self, cpu: Any, lower: Any, upper: Any) -> Float[Array, ""]:
        def side(room: Array) -> Array:
            return -jnp.asarray(self.epsilon, room.dtype) * jnp.log(jnp.maximum(room, 0))

        return _both(side, "BarrierPenalty", cpu, lower, upper)


def _both(side: Any, owner: str, cpu: Any, lower: Any, upper: Any) -> Float[Array, ""]:
    """`side` of the room above cpu plus `side` of the room below, over all resources; 0 where there is no bound."""
    cpu = jnp.asarray(cpu)
    if not jnp.issubdtype(cpu.dtype, jnp.floating):
        cpu = cpu.astype(jnp.result_type(float))
    total = jnp.zeros((), cpu.dtype)
    for name, bound, sign in (("upper", upper, 1), ("lower", lower, -1)):
        bound = jnp.asarray(bound, cpu.dtype)
        if bound.shape not in ((), cpu.shape):
            raise CojaxInputError(f"{owner} needs {name} of shape {cpu.shape}, as cpu, got {bound.shape}.")
        bounded = jnp.isfinite(bound)
        # The inner where keeps infinity out of `side`: its derivative there would be NaN.
        room = jnp.where(bounded, sign * (bound - cpu), 1)
        total = total + jnp.sum(jnp.where(bounded, side(room), 0))
    return total
