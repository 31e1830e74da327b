"""A table of neighbours is summed slot by slot: one gather and one product a slot, never all of them at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from ..._support import trees
from ..._support.trees import Tree
from ..laws import Along

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
    if num_groups == 0:  # `jax.disable_jit` has no scan of length 0
        return total
    grouped = (num_groups, SLOTS_AT_ONCE, index.shape[1])
    groups = (weights[first:].reshape(grouped), index[first:].reshape(grouped))
    return lax.scan(add_slots, total, groups)[0]


def swap(near: Array, index: Int[Array, "k n"], twin: Int[Array, "k n"]) -> Array:
    """(k, n, ...), the same from the other end of every edge."""
    return near.at[twin, index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _rows(rows: Array, index: Array) -> Array:
    # The index is checked on construction; a bounds check per gather costs as much as the gather.
    return rows.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def compiled_apart(flow: Callable[[], Tree], step: Int[Array, ""]) -> Tree:
    """`flow()`, which XLA does not fuse with what reads it.

    It would fuse what follows into the gathers of a table, and hold all of them at once: two states in memory. The
    condition is always true; XLA compiles the branches of a condition by themselves.
    """
    return lax.cond(step >= 0, flow, lambda: trees.zeros_like(jax.eval_shape(flow)))
