"""Arithmetic on pytrees whose leaves carry the nodes on their first axis."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .checks import CojaxInputError
from .modules import is_number, part_module

Tree = Any  # a pytree of arrays


def add(*trees: Tree) -> Tree:
    """The sum of trees of one structure."""
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *trees)


def add_scaled(tree: Tree, scale: Any, other: Tree) -> Tree:
    """tree + scale * other, in the dtype of `tree`; `scale` is one number, or one per node."""
    return jax.tree.map(lambda a, b: a + spread_over(scale, a) * b.astype(a.dtype), tree, other)


def subtract(tree: Tree, other: Tree) -> Tree:
    """tree - other."""
    return jax.tree.map(jnp.subtract, tree, other)


def scale(tree: Tree, factor: Any) -> Tree:
    """factor * tree, in the dtype of `tree`; `factor` is one number, or one per node."""
    return jax.tree.map(lambda leaf: spread_over(factor, leaf) * leaf, tree)


def zeros_like(tree: Tree) -> Tree:
    """Zeros shaped as `tree`."""
    return jax.tree.map(jnp.zeros_like, tree)


def cast_like(tree: Tree, other: Tree) -> Tree:
    """`tree` in the dtypes of `other`, so that a state keeps its dtype from step to step."""
    return jax.tree.map(lambda a, b: a.astype(b.dtype), tree, other)


def spread_over(factor: Any, leaf: Array) -> Array:
    """`factor` in the dtype of `leaf`, one number or one per node, shaped to multiply it."""
    factor = jnp.asarray(factor, leaf.dtype)
    return factor.reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim)) if factor.ndim else factor


def choose_rows(mask: Bool[Array, " n"] | None, first: Tree, second: Tree) -> Tree:
    """The rows of `first` where the mask says so and those of `second` elsewhere; what has no nodes, of `first`.

    None is a mask of all rows.
    """
    if mask is None:
        return first

    def rows(one: Array, other: Array) -> Array:
        by_node = jnp.ndim(one) > 0 and one.shape[0] == mask.shape[0]
        return jnp.where(wide(mask, one), one, other) if by_node else one

    return jax.tree.map(rows, first, second)


def wide(mask: Array, leaf: Array) -> Array:
    """A mask of leading axes, shaped to choose in `leaf`."""
    return mask.reshape(mask.shape + (1,) * (leaf.ndim - mask.ndim))


def filled(tree: Tree, members: Bool[Array, " n"] | None) -> Tree:
    """`tree` with the rows of those who are no members set to the mean of the others; None: all are members."""
    if members is None:
        return tree

    def fill(leaf: Array) -> Array:
        there = wide(members, leaf)
        mean = jnp.where(there, leaf, 0).sum(0, keepdims=True) / members.sum().astype(leaf.dtype)
        return jnp.where(there, leaf, mean)

    return jax.tree.map(fill, tree)


def node_mean(tree: Tree) -> Tree:
    """The mean over nodes of every leaf, its node axis kept with length 1."""
    return jax.tree.map(lambda leaf: leaf.mean(0, keepdims=True), tree)


def largest(tree: Tree) -> Array:
    """The largest absolute entry of a tree; 0 of an empty one."""
    entries = [jnp.max(jnp.abs(leaf)).astype(jnp.result_type(float)) for leaf in jax.tree.leaves(tree) if leaf.size]
    return jnp.max(jnp.stack(entries)) if entries else jnp.zeros(())


def norm(tree: Tree) -> Array:
    """The Euclidean norm of all entries of a tree, in the default float; 0 of an empty one."""
    widest = jnp.result_type(float)
    return jnp.sqrt(sum((jnp.sum(leaf.astype(widest) ** 2) for leaf in jax.tree.leaves(tree)), jnp.zeros((), widest)))


def alike(tree: Tree, other: Tree) -> bool:
    """Whether two trees have one structure and the same shapes."""
    (leaves, kind), (others, other_kind) = jax.tree.flatten(tree), jax.tree.flatten(other)
    return kind == other_kind and list(map(jnp.shape, leaves)) == list(map(jnp.shape, others))


def num_nodes(tree: Tree) -> int | None:
    """The length of the first axis that all leaves share; None of an empty tree."""
    leaves = jax.tree.leaves(tree)
    return leaves[0].shape[0] if leaves else None


def as_pytree(function: Any) -> Callable:
    """A function wrapped so that jax.jit takes it as part of a pytree; a Module of numbers alone is one already.

    Its numbers are leaves; where it holds functions and flags too, see `Parted`.
    """
    if not callable(function):
        raise CojaxInputError(
            f"A cost or a penalty needs to be a function, or a Module with __call__, got {function!r}."
        )
    if jax.tree_util.all_leaves([function]):
        return jax.tree_util.Partial(function)
    return part_module("Problem", function, is_number)
