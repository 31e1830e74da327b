"""The flow over a table of neighbours is its own transpose, and derivatives compute it as one: gathers, no scatters."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

from ._tree import spread
from .edges import Along, Pull, Push, Same, Transfer, Weigh

# The slots of a table are summed in groups of this many, one Python loop each: more compile slowly, fewer run slowly.
SLOTS_AT_ONCE = 16


def sum_slots(law: Along, weights: Array, index: Array, rows: Array, heard: Array) -> Array:
    """What flows to every node over its slots: weights and index (k, n), index into `rows`; heard (n, ...)."""

    def add_slots(total: Array, slots: tuple[Array, Array]) -> tuple[Array, None]:
        for weights, index in zip(*slots, strict=True):
            total = total + law(weights, _rows(rows, index) - heard)
        return total, None

    num_groups, first = divmod(index.shape[0], SLOTS_AT_ONCE)
    total, _ = add_slots(jnp.zeros_like(heard), (weights[:first], index[:first]))
    grouped = (num_groups, SLOTS_AT_ONCE, index.shape[1])
    groups = (weights[first:].reshape(grouped), index[first:].reshape(grouped))
    return lax.scan(add_slots, total, groups)[0]


def table_flow(
    law: Along, weights: Float[Array, "k n"], index: Int[Array, "k n"], twin: Int[Array, "k n"], heard: Array
) -> Array:
    """`sum_slots` over a whole table, with the derivative of a law that is linear up to rounding computed as a flow."""
    linear = functools.partial(_flow.bind, weights.astype(heard.dtype), heard, index, twin, apart=False)
    if isinstance(law, Weigh | Pull | Push):
        return linear()
    if isinstance(law, Transfer) and isinstance(law.odd, Same):
        rounded = sum_slots(*lax.stop_gradient((law, weights, index, heard, heard)))
        return _with_derivative(rounded, spread(law.step_size, heard) * linear())
    return sum_slots(law, weights, index, heard, heard)


def swap(near: Array, index: Int[Array, "k n"], twin: Int[Array, "k n"]) -> Array:
    """(k, n, ...), the same from the other end of every edge."""
    return near.at[twin, index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _rows(rows: Array, index: Array) -> Array:
    # The index is checked on construction; a bounds check per gather costs as much as the gather.
    return rows.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


@jax.custom_jvp
def _with_derivative(rounded: Array, exact: Array) -> Array:
    """`rounded`, with the derivative of `exact`."""
    return rounded


@_with_derivative.defjvp
def _with_derivative_jvp(primals, tangents):
    return primals[0], tangents[1]


# (weights (k, n), heard (n, ...), index, twin) to (n, ...), linear in the first two. It is a primitive because JAX has
# no other linear function with a transpose of its own that `vmap` and forward mode go through as well.
_flow = Primitive("cojax_flow")


@_flow.def_impl
@functools.partial(jax.jit, static_argnames="apart")
def _summed(weights: Array, heard: Array, index: Array, twin: Array, *, apart: bool) -> Array:
    return sum_slots(Weigh(), weights, index, heard, heard)


@_flow.def_abstract_eval
def _shape(weights: Any, heard: Any, index: Any, twin: Any, *, apart: bool) -> Any:
    return heard


def _on_cpu(weights: Array, heard: Array, index: Array, twin: Array, *, apart: bool) -> Array:
    """`_summed`; with `apart`, XLA on CPU is kept from fusing what comes before and after it into every gather.

    Else a derivative computes what is heard once per neighbour instead of once per node, and rows number by number
    where it wants their sums flat: 5 times the time (`benchmarks/README.md`).
    """
    with set_xla_metadata(inlineable="false" if apart else "true"):
        return _summed(weights, heard, index, twin, apart=apart)


def _jvp(primals: tuple, tangents: tuple, *, apart: bool) -> tuple[Array, Any]:
    weights, heard, *table = primals
    # Apart, because what reverse mode keeps of a step has other readers too.
    parts = []
    if type(tangents[0]) is not ad.Zero:
        parts.append(_flow.bind(tangents[0], heard, *table, apart=True))
    if type(tangents[1]) is not ad.Zero:
        parts.append(_flow.bind(weights, tangents[1], *table, apart=True))
    return _flow.bind(*primals, apart=True), sum(parts[1:], parts[0])


def _transpose(cotangent: Any, weights: Any, heard: Any, index: Array, twin: Array, *, apart: bool) -> tuple:
    if type(cotangent) is ad.Zero:
        return None, None, None, None
    if ad.is_undefined_primal(heard):
        others = swap(weights, index, twin)
        flowed = _flow.bind(others, cotangent, index, twin, apart=True)
        # Nothing, for the same weight at both ends of an edge.
        return None, flowed + spread((others - weights).sum(0), cotangent) * cotangent, None, None
    products = [cotangent * (_rows(heard, slot) - heard) for slot in index]
    return jnp.stack([product.reshape(len(product), -1).sum(1) for product in products]), None, None, None


def _batch(args: tuple, axes: tuple, *, apart: bool) -> tuple[Array, int]:
    weights, heard, *table = args
    if axes[0] is None and axes[2] is None and axes[3] is None:  # one graph: longer rows, with the same derivatives
        return _flow.bind(weights, jnp.moveaxis(heard, axes[1], -1), *table, apart=apart), heard.ndim - 1
    return jax.vmap(functools.partial(_summed, apart=apart), axes)(*args), 0


ad.primitive_jvps[_flow] = _jvp
ad.primitive_transposes[_flow] = _transpose
batching.primitive_batchers[_flow] = _batch
mlir.register_lowering(_flow, mlir.lower_fun(_summed, multiple_results=False))
mlir.register_lowering(_flow, mlir.lower_fun(_on_cpu, multiple_results=False), platform="cpu")
