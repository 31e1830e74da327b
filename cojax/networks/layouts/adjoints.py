"""The flow over a symmetric graph is its own transpose, and derivatives compute it as one: they sum as the run does."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

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

    `layout` lists the neighbours of every node, each end of an edge with a weight of its own; `layout.turned()` is it
    with those of the other ends.
    """
    linear = isinstance(law, Weigh | Pull | Push)
    if not linear and not (isinstance(law, Transfer) and isinstance(law.odd, Same)):
        return layout.sums(law, heard)
    bare = eqx.tree_at(lambda net: (net.weights, net.link), layout, (layout.weights.astype(heard.dtype), None))
    turned = bare.turned()
    excess = bare.scatter(turned.edge_weights() - bare.edge_weights())  # none, for the same weight at both ends
    table, tree = jax.tree.flatten(eqx.tree_at(_weights, bare, None))
    there, back = Way(bare.weights, jnp.zeros_like(excess)), Way(turned.weights, excess)
    moved = Operands(heard, there, back, table).bind(tree=tree, runs=0, apart=False)
    if not isinstance(law, Transfer):
        return moved
    layout, law_now, heard_now = lax.stop_gradient((layout, law, heard))
    return straight_through(layout.sums(law_now, heard_now), spread_over(law.step_size, heard) * moved)


# `Operands` to sum_j w_ij (heard_j - heard_i) + excess_i heard_i. It is a primitive because JAX has no other linear
# function with a transpose of its own that `vmap` and forward mode go through. Both ways are given, so that a loop over
# steps turns the weights before it, once. Not `apart`, as values are computed, the excess is nothing; derivatives are
# `apart`.
_flow = Primitive("cojax_flow")


class Way(NamedTuple):
    """A graph, or its transpose."""

    weights: Any
    excess: Any  # (n,)


class Operands(NamedTuple):
    """What the primitive takes; it is given to JAX as a flat list."""

    heard: Any  # (*runs, n, ...)
    there: Way
    back: Way  # the transpose of `there`
    table: Sequence[Any]  # the leaves of a layout but its weights

    @classmethod
    def of(cls, flat: Sequence[Any]) -> "Operands":
        return cls(flat[0], Way(*flat[1:3]), Way(*flat[3:5]), flat[5:])

    def bind(self, **settings: Any) -> Array:
        return _flow.bind(self.heard, *self.there, *self.back, *self.table, **settings)

    def layout(self, tree: Any, weights: Any) -> Any:
        """The layout whose leaves but its weights are `table`."""
        return eqx.tree_at(_weights, tree.unflatten(self.table), weights, is_leaf=lambda node: node is None)


def _weights(layout: Any) -> Any:
    return layout.weights


def _lower(*flat: Array, tree: Any, runs: int, apart: bool, on_cpu: bool = False) -> Array:
    """What the primitive is; with `apart`, XLA on CPU is kept from fusing it with what comes before and after.

    Else a derivative computes what is heard once per neighbour instead of once per node, and rows number by number
    where it wants their sums flat: 5 times the time (`docs/benchmarks/tried_by_hand.md`).
    """
    given = Operands.of(flat)
    layout = given.layout(tree, given.there.weights)
    if not apart:
        one = functools.partial(layout.sums, Weigh())
        for _ in range(runs):
            one = jax.vmap(one)
        return one(given.heard)
    rows = _runs_last(given.heard, runs)
    with set_xla_metadata(inlineable="false" if on_cpu else "true"):
        moved, _ = _exceeding(layout, given.there.excess, rows)
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
    now, dots, settings = Operands.of(primals), Operands.of(tangents), {"tree": tree, "runs": runs, "apart": True}
    parts = [] if type(dots.heard) is ad.Zero else [now._replace(heard=dots.heard).bind(**settings)]
    if any(type(dot) is not ad.Zero for dot in (*dots.there, *dots.back)):
        there, back = (Way(*map(ad.instantiate_zeros, way)) for way in (dots.there, dots.back))
        parts.append(now._replace(there=there, back=back).bind(**settings))
    return now.bind(**settings), sum(parts[1:], parts[0])


def _transpose(cotangent: Any, *flat: Any, tree: Any, runs: int, apart: bool) -> list:
    given = Operands.of(flat)
    (weights, excess), found = given.there, [None] * len(flat)
    if type(cotangent) is ad.Zero:
        return found
    if ad.is_undefined_primal(given.heard):
        turned = given._replace(heard=cotangent, there=given.back, back=given.there)
        return [turned.bind(tree=tree, runs=runs, apart=True), *found[1:]]
    cotangent, heard = _runs_last(cotangent, runs), _runs_last(given.heard, runs)

    def weighed(weights: Array) -> Array:
        return given.layout(tree, weights).sums(Weigh(), heard)

    by_weights = jax.linear_transpose(weighed, weights.aval)(cotangent) if ad.is_undefined_primal(weights) else [None]
    by_node = (cotangent * heard).reshape(len(heard), -1).sum(1) if ad.is_undefined_primal(excess) else None
    return [None, *by_weights, by_node, *found[3:]]


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
