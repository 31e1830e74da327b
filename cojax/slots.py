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

from ._straight import straight_through
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
    """`sum_slots` over a whole table; the derivative of a law that is linear up to rounding is computed as a flow."""
    linear = isinstance(law, Weigh | Pull | Push)
    if not linear and not (isinstance(law, Transfer) and isinstance(law.odd, Same)):
        return sum_slots(law, weights, index, heard, heard)
    nothing = jnp.zeros(heard.shape[0], heard.dtype)
    flow = _flow.bind(weights.astype(heard.dtype), nothing, heard, index, twin, runs=0, apart=False)
    if not isinstance(law, Transfer):
        return flow
    rounded = sum_slots(*lax.stop_gradient((law, weights, index, heard, heard)))
    return straight_through(rounded, spread(law.step_size, heard) * flow)


def swap(near: Array, index: Int[Array, "k n"], twin: Int[Array, "k n"]) -> Array:
    """(k, n, ...), the same from the other end of every edge."""
    return near.at[twin, index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _rows(rows: Array, index: Array) -> Array:
    # The index is checked on construction; a bounds check per gather costs as much as the gather.
    return rows.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


# weights (k, n), excess (n,), heard (*runs, n, ...), index, twin to sum_j w_ij (heard_j - heard_i) + excess_i heard_i.
# It is a primitive because JAX has no other linear function with a transpose of its own that `vmap` and forward mode go
# through. Not `apart`, as values are computed, the excess is nothing; derivatives are `apart`.
_flow = Primitive("cojax_flow")


def _lowered(
    weights: Array,
    excess: Array,
    heard: Array,
    index: Array,
    twin: Array,
    *,
    runs: int,
    apart: bool,
    on_cpu: bool = False,
) -> Array:
    """What the primitive is; with `apart`, XLA on CPU is kept from fusing it with what comes before and after.

    Else a derivative computes what is heard once per neighbour instead of once per node, and rows number by number
    where it wants their sums flat: 5 times the time (`benchmarks/README.md`).
    """
    if not apart:

        def one(heard: Array) -> Array:
            return sum_slots(Weigh(), weights, index, heard, heard)

        for _ in range(runs):
            one = jax.vmap(one)
        return one(heard)
    rows = _runs_last(heard, runs)
    with set_xla_metadata(inlineable="false" if on_cpu else "true"):
        flow = _exceeding(weights, excess, rows, index)
    return _runs_last(flow, flow.ndim - runs)


@jax.jit
def _exceeding(weights: Array, excess: Array, rows: Array, index: Array) -> Array:
    return sum_slots(Weigh(), weights, index, rows, rows) + spread(excess, rows) * rows


def _runs_last(rows: Array, runs: int) -> Array:
    return rows.transpose(*range(runs, rows.ndim), *range(runs))


@_flow.def_abstract_eval
def _shape(weights: Any, excess: Any, heard: Any, index: Any, twin: Any, *, runs: int, apart: bool) -> Any:
    return heard


def _jvp(primals: tuple, tangents: tuple, *, runs: int, apart: bool) -> tuple[Array, Any]:
    weights, excess, heard, *table = primals
    weights_dot, excess_dot, heard_dot, *_ = tangents
    flow = functools.partial(_flow.bind, runs=runs, apart=True)
    parts = [] if type(heard_dot) is ad.Zero else [flow(weights, excess, heard_dot, *table)]
    if not (type(weights_dot) is ad.Zero and type(excess_dot) is ad.Zero):
        parts.append(flow(ad.instantiate_zeros(weights_dot), ad.instantiate_zeros(excess_dot), heard, *table))
    return flow(*primals), sum(parts[1:], parts[0])


def _transpose(
    cotangent: Any, weights: Any, excess: Any, heard: Any, index: Array, twin: Array, *, runs: int, apart: bool
) -> tuple:
    if type(cotangent) is ad.Zero:
        return None, None, None, None, None
    if ad.is_undefined_primal(heard):
        others = swap(weights, index, twin)
        more = excess + (others - weights).sum(0)  # none, for the same weight at both ends of an edge
        return None, None, _flow.bind(others, more, cotangent, index, twin, runs=runs, apart=True), None, None
    cotangent, heard = _runs_last(cotangent, runs), _runs_last(heard, runs)

    def by_node(rows: Array) -> Array:
        return (cotangent * rows).reshape(len(rows), -1).sum(1)

    slots = [by_node(_rows(heard, slot) - heard) for slot in index]
    by_slot = jnp.stack(slots) if slots else jnp.zeros(index.shape, heard.dtype)
    return by_slot, by_node(heard) if ad.is_undefined_primal(excess) else None, None, None, None


def _batch(args: tuple, axes: tuple, *, runs: int, apart: bool) -> tuple[Array, int]:
    weights, excess, heard, *table = args
    if [axis for axis in axes if axis is not None] == [axes[2]]:
        return _flow.bind(weights, excess, jnp.moveaxis(heard, axes[2], 0), *table, runs=runs + 1, apart=apart), 0
    return jax.vmap(functools.partial(_lowered, runs=runs, apart=apart), axes)(*args), 0


_flow.def_impl(jax.jit(_lowered, static_argnames=("runs", "apart")))
ad.primitive_jvps[_flow] = _jvp
ad.primitive_transposes[_flow] = _transpose
batching.primitive_batchers[_flow] = _batch
mlir.register_lowering(_flow, mlir.lower_fun(_lowered, multiple_results=False))
mlir.register_lowering(
    _flow, mlir.lower_fun(functools.partial(_lowered, on_cpu=True), multiple_results=False), platform="cpu"
)
