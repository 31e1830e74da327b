"""Random bits of a step and an edge, the same in every layout."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray


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
