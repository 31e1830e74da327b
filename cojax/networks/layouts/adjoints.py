"""The flow over a symmetric graph is its own transpose, and derivatives compute it as one: they sum as the run does."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from ..._support.straight_through import straight_through
from ..._support.trees import spread_over
from ..laws import Along, Pull, Push, Same, Transfer, Weigh


def flow(layout: Any, law: Along, heard: Array) -> Array:
    """`layout.sums(law, heard)`; the derivative of a law that is linear up to rounding is computed as a flow.

    `layout` lists the neighbours of every node, each end of an edge with a weight of its own; the weights are its first
    field, and `layout.turned()` is it with those of the other ends.
    """
    linear = isinstance(law, Weigh | Pull | Push)
    if not linear and not (isinstance(law, Transfer) and isinstance(law.odd, Same)):
        return layout.sums(law, heard)
    bare = eqx.tree_at(lambda net: (net.weights, net.link), layout, (layout.weights.astype(heard.dtype), None))
    turned = bare.turned()
    excess = bare.scatter(turned.edge_weights() - bare.edge_weights())  # none, for the same weight at both ends
    (weights, *table), tree = jax.tree.flatten(bare)
    there, back = (weights, jnp.zeros_like(excess)), (turned.weights, excess)
    moved = _flow.bind(heard, *there, *back, *table, tree=tree, runs=0, apart=False)
    if not isinstance(law, Transfer):
        return moved
    layout, law_now, heard_now = lax.stop_gradient((layout, law, heard))
    return straight_through(layout.sums(law_now, heard_now), spread_over(law.step_size, heard) * moved)


# heard (*runs, n, ...), weights and excess (n,), the same of the transpose, the rest of a layout to
# sum_j w_ij (heard_j - heard_i) + excess_i heard_i. It is a primitive because JAX has no other linear function with a
# transpose of its own that `vmap` and forward mode go through. Both ways are given, so that a loop over steps turns the
# weights before it, once. Not `apart`, as values are computed, the excess is nothing; derivatives are `apart`.
_flow = Primitive("cojax_flow")


def _lower(
    heard: Array,
    weights: Array,
    excess: Array,
    *rest: Array,
    tree: Any,
    runs: int,
    apart: bool,
    on_cpu: bool = False,
) -> Array:
    """What the primitive is; with `apart`, XLA on CPU is kept from fusing it with what comes before and after.

    Else a derivative computes what is heard once per neighbour instead of once per node, and rows number by number
    where it wants their sums flat: 5 times the time (`docs/benchmarks/tried_by_hand.md`).
    """
    layout = tree.unflatten((weights, *rest[2:]))
    if not apart:
        one = functools.partial(layout.sums, Weigh())
        for _ in range(runs):
            one = jax.vmap(one)
        return one(heard)
    rows = _runs_last(heard, runs)
    with set_xla_metadata(inlineable="false" if on_cpu else "true"):
        moved, _ = _exceeding(layout, excess, rows)
    return _runs_last(moved, rows.ndim - runs)


@jax.jit
def _exceeding(layout: Any, excess: Array, rows: Array) -> tuple[Array, Array]:
    # The second result is for nobody: XLA on CPU gives an only one to several threads, and cannot compile that inside
    # of a loop that it makes one kernel of, as `docs/faster.md` advises.
    return layout.sums(Weigh(), rows) + spread_over(excess, rows) * rows, -excess


def _runs_last(rows: Array, runs: int) -> Array:
    return rows.transpose(*range(runs, rows.ndim), *range(runs))


@_flow.def_abstract_eval
def _shape(heard: Any, *rest: Any, tree: Any, runs: int, apart: bool) -> Any:
    return heard


def _jvp(primals: tuple, tangents: tuple, *, tree: Any, runs: int, apart: bool) -> tuple[Array, Any]:
    heard, ways, table = primals[0], primals[1:5], primals[5:]
    heard_dot, ways_dot = tangents[0], tangents[1:5]
    moved = functools.partial(_flow.bind, tree=tree, runs=runs, apart=True)
    parts = [] if type(heard_dot) is ad.Zero else [moved(heard_dot, *ways, *table)]
    if any(type(dot) is not ad.Zero for dot in ways_dot):
        parts.append(moved(heard, *map(ad.instantiate_zeros, ways_dot), *table))
    return moved(*primals), sum(parts[1:], parts[0])


def _transpose(
    cotangent: Any, heard: Any, weights: Any, excess: Any, *rest: Any, tree: Any, runs: int, apart: bool
) -> tuple:
    back, table, nothing = rest[:2], rest[2:], [None] * len(rest)
    if type(cotangent) is ad.Zero:
        return None, None, None, *nothing
    if ad.is_undefined_primal(heard):
        moved = _flow.bind(cotangent, *back, weights, excess, *table, tree=tree, runs=runs, apart=True)
        return moved, None, None, *nothing
    cotangent, heard = _runs_last(cotangent, runs), _runs_last(heard, runs)

    def weighed(weights: Array) -> Array:
        return tree.unflatten((weights, *table)).sums(Weigh(), heard)

    by_weights = jax.linear_transpose(weighed, weights.aval)(cotangent) if ad.is_undefined_primal(weights) else [None]
    by_node = (cotangent * heard).reshape(len(heard), -1).sum(1) if ad.is_undefined_primal(excess) else None
    return None, *by_weights, by_node, *nothing


def _batch(args: tuple, axes: tuple, *, tree: Any, runs: int, apart: bool) -> tuple[Array, int]:
    if axes[0] is not None and all(axis is None for axis in axes[1:]):
        heard = jnp.moveaxis(args[0], axes[0], 0)
        return _flow.bind(heard, *args[1:], tree=tree, runs=runs + 1, apart=apart), 0
    return jax.vmap(functools.partial(_lower, tree=tree, runs=runs, apart=apart), axes)(*args), 0


_flow.def_impl(jax.jit(_lower, static_argnames=("tree", "runs", "apart")))
ad.primitive_jvps[_flow] = _jvp
ad.primitive_transposes[_flow] = _transpose
batching.primitive_batchers[_flow] = _batch
mlir.register_lowering(_flow, mlir.lower_fun(_lower, multiple_results=False))
mlir.register_lowering(
    _flow, mlir.lower_fun(functools.partial(_lower, on_cpu=True), multiple_results=False), platform="cpu"
)
