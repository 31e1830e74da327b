"""A number with the derivative of another one, in every order of derivatives and inside of every loop."""

from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def straight_through(rounded: Float[Array, "*s"], exact: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`rounded`, with all derivatives of `exact`, which is not computed where nobody asks for them."""
    return _straight.bind(rounded, exact)


# It is a primitive because JAX inlines a `custom_jvp` in the body of a scan when that is differentiated in reverse: a
# second derivative then finds the rounding itself, whose derivative is 0.
_straight = Primitive("cojax_straight_through")


@_straight.def_abstract_eval
def _shape(rounded: Any, exact: Any) -> Any:
    return rounded


def _jvp(primals: tuple, tangents: tuple) -> tuple[Array, Any]:
    return _straight.bind(*primals), tangents[1]


def _batch(args: tuple, axes: tuple) -> tuple[Array, int]:
    size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)

    def runs_first(arg: Array, axis: int | None) -> Array:
        return jnp.broadcast_to(arg, (size, *arg.shape)) if axis is None else jnp.moveaxis(arg, axis, 0)

    return _straight.bind(*map(runs_first, args, axes)), 0


_straight.def_impl(lambda rounded, exact: rounded)
ad.primitive_jvps[_straight] = _jvp
batching.primitive_batchers[_straight] = _batch
mlir.register_lowering(_straight, lambda ctx, rounded, exact: [rounded])
