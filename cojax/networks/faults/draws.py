"""Random bits of a step and an edge, the same in every layout."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

T = TypeVar("T")


def has_keys(tree: Any) -> bool:
    """Whether anything in a network or a problem is drawn."""
    return any(map(_is_key, jax.tree.leaves(tree)))


def reseed(tree: T, seed: Any) -> T:
    """`tree` with `seed` folded into each of its keys: other draws of the same kind."""
    return jax.tree.map(lambda leaf: jax.random.fold_in(leaf, seed) if _is_key(leaf) else leaf, tree)


def key_axes(tree: Any) -> Any:
    """What `jax.vmap` maps of a tree that has its keys alone stacked."""
    return jax.tree.map(lambda leaf: 0 if _is_key(leaf) else None, tree)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def key_words(key: PRNGKeyArray, k: Any) -> tuple[Array, Array]:
    """64 random bits of a key and a step, as two words."""
    data = jax.random.key_data(jax.random.fold_in(key, k)).astype(jnp.uint32)
    return data[0], data[1]


def pair_bits(low_word: Array, high_word: Array, i: Array, j: Array) -> Array:
    """32 random bits of the unordered pair {i, j}, a hash with no table behind it: equal in every layout."""
    i, j = i.astype(jnp.uint32), j.astype(jnp.uint32)
    return arc_bits(low_word, high_word, jnp.minimum(i, j), jnp.maximum(i, j))


def arc_bits(low_word: Array, high_word: Array, i: Array, j: Array) -> Array:
    """32 random bits of the ordered pair (i, j)."""
    i, j = i.astype(jnp.uint32), j.astype(jnp.uint32)
    return mix_bits(mix_bits(i ^ low_word) + j * jnp.uint32(0x9E3779B9) ^ high_word)


def mix_bits(bits: Array) -> Array:
    """A bijection of 32 bits in which every input bit moves every output bit (C. Wellons, "lowbias32")."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)
