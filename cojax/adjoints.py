"""The flow over a symmetric graph is its own transpose, and derivatives compute it as one: they sum as the run does."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from ._straight import straight_through
from ._tree import spread
from .edges import Along, Pull, Push, Same, Transfer, Weigh


def flow(layout: Any, law: Along, heard: Array) -> Array:
    """`layout.sums(law, heard)`; the derivative of a law that is linear up to rounding is computed as a flow.

    `layout` lists the neighbours of every node, each end of an edge with a weight of its own; the weights are its first
    field, and `layout.turned()` is it with those of the other ends.
    """
    linear = isinstance(law, Weigh | Pull | Push)
    if not linear and not (isinstance(law, Transfer) and isinstance(law.odd, Same)):
        return layout.sums(law, heard)
    bare = eqx.tree_at(lambda net: (net.weights, net.link), layout, (layout.weights.astype(heard.dtype), None))
    table, tree = jax.tree.flatten(bare)
    linear_flow = _flow.bind(jnp.zeros(heard.shape[0], heard.dtype), heard, *table, tree=tree, runs=0, apart=False)
    if not isinstance(law, Transfer):
        return linear_flow
    stopped = jax.lax.stop_gradient((layout, law, heard))
    return straight_through(stopped[0].sums(*stopped[1:]), spread(law.step_size, heard) * linear_flow)


# excess (n,), heard (*runs, n, ...), weights and the rest of a layout to sum_j w_ij (heard_j - heard_i) + excess_i
# heard_i. It is a primitive because JAX has no other linear function with a transpose of its own that `vmap` and forward
# mode go through. Not `apart`, as values are computed, the excess is nothing; derivatives are `apart`.
_flow = Primitive("cojax_flow")


def _lowered(
    excess: Array, heard: Array, *table: Array, tree: Any, runs: int, apart: bool, on_cpu: bool = False
) -> Array:
    """What the primitive is; with `apart`, XLA on CPU is kept from fusing it with what comes before and after.

    Else a derivative computes what is heard once per neighbour instead of once per node, and rows number by number
    where it wants their sums flat: 5 times the time (`benchmarks/README.md`).
    """
    if not apart:
        one = functools.partial(tree.unflatten(table).sums, Weigh())
        for _ in range(runs):
            one = jax.vmap(one)
        return one(heard)
    rows = _runs_last(heard, runs)
    with set_xla_metadata(inlineable="false" if on_cpu else "true"):
        exceeding = _exceeding(tree.unflatten(table), excess, rows)
    return _runs_last(exceeding, rows.ndim - runs)


@jax.jit
def _exceeding(layout: Any, excess: Array, rows: Array) -> Array:
    return layout.sums(Weigh(), rows) + spread(excess, rows) * rows


def _runs_last(rows: Array, runs: int) -> Array:
    return rows.transpose(*range(runs, rows.ndim), *range(runs))


@_flow.def_abstract_eval
def _shape(excess: Any, heard: Any, *table: Any, tree: Any, runs: int, apart: bool) -> Any:
    return heard


def _jvp(primals: tuple, tangents: tuple, *, tree: Any, runs: int, apart: bool) -> tuple[Array, Any]:
    excess, heard, weights, *table = primals
    excess_dot, heard_dot, weights_dot, *_ = tangents
    moved = functools.partial(_flow.bind, tree=tree, runs=runs, apart=True)
    parts = [] if type(heard_dot) is ad.Zero else [moved(excess, heard_dot, weights, *table)]
    if not (type(weights_dot) is ad.Zero and type(excess_dot) is ad.Zero):
        parts.append(moved(ad.instantiate_zeros(excess_dot), heard, ad.instantiate_zeros(weights_dot), *table))
    return moved(*primals), sum(parts[1:], parts[0])


def _transpose(
    cotangent: Any, excess: Any, heard: Any, weights: Any, *table: Array, tree: Any, runs: int, apart: bool
) -> tuple:
    nothing = [None] * len(table)
    if type(cotangent) is ad.Zero:
        return None, None, None, *nothing
    if ad.is_undefined_primal(heard):
        layout = tree.unflatten([weights, *table])
        turned = layout.turned()
        more = excess + layout.collect(turned.edge_weights() - layout.edge_weights())  # none, for the same weights
        back = _flow.bind(more, cotangent, *jax.tree.leaves(turned), tree=tree, runs=runs, apart=True)
        return None, back, None, *nothing
    cotangent, heard = _runs_last(cotangent, runs), _runs_last(heard, runs)

    def weighed(weights: Array) -> Array:
        return tree.unflatten([weights, *table]).sums(Weigh(), heard)

    by_weights = jax.linear_transpose(weighed, weights.aval if ad.is_undefined_primal(weights) else weights)(cotangent)
    by_node = (cotangent * heard).reshape(len(heard), -1).sum(1) if ad.is_undefined_primal(excess) else None
    return by_node, None, *by_weights, *nothing


def _batch(args: tuple, axes: tuple, *, tree: Any, runs: int, apart: bool) -> tuple[Array, int]:
    excess, heard, *table = args
    if [axis for axis in axes if axis is not None] == [axes[1]]:
        heard = jnp.moveaxis(heard, axes[1], 0)
        return _flow.bind(excess, heard, *table, tree=tree, runs=runs + 1, apart=apart), 0
    return jax.vmap(functools.partial(_lowered, tree=tree, runs=runs, apart=apart), axes)(*args), 0


_flow.def_impl(jax.jit(_lowered, static_argnames=("tree", "runs", "apart")))
ad.primitive_jvps[_flow] = _jvp
ad.primitive_transposes[_flow] = _transpose
batching.primitive_batchers[_flow] = _batch
mlir.register_lowering(_flow, mlir.lower_fun(_lowered, multiple_results=False))
mlir.register_lowering(
    _flow, mlir.lower_fun(functools.partial(_lowered, on_cpu=True), multiple_results=False), platform="cpu"
)
