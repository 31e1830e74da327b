"""What a receiver can see of damage done on the way: a sum over the bits of a message that no longer fits."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, UInt32

from ..._support.trees import Tree
from .draws import mix_bits

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}


def spoil(message: Tree, how: UInt32[Array, "*edges"]) -> Tree:
    """`message`, (*edges, ...) in every leaf, damaged where `how` is not 0: a flipped bit, NaN, or 1e300."""
    return jax.tree.map(lambda leaf: _spoil(leaf, how), message)


def intact(sent: Tree, arrived: Tree, axes: int) -> Bool[Array, "*edges"]:
    """Where the checksum sent along fits what arrived, and all of that is finite; `axes` of every leaf are edges."""
    fits = checksum(sent, axes) == checksum(arrived, axes)
    for leaf in jax.tree.leaves(arrived):
        fits &= jnp.isfinite(leaf).all(tuple(range(axes, leaf.ndim)))
    return fits


def checksum(message: Tree, axes: int) -> UInt32[Array, "*edges"]:
    """32 bits of every message; damage to one word of it always changes them, other damage but for 1 in 2**32."""
    leaves = jax.tree.leaves(message)
    total = jnp.zeros(leaves[0].shape[:axes] if leaves else (1,) * axes, jnp.uint32)
    for place, leaf in enumerate(leaves):
        words = _words(leaf, axes).astype(jnp.uint32)
        salt = jnp.arange(words.shape[-1], dtype=jnp.uint32) * jnp.uint32(0x9E3779B9) + jnp.uint32(place)
        total = total + mix_bits(words ^ mix_bits(salt).reshape(*[1] * axes, -1)).sum(-1, dtype=jnp.uint32)
    return total


def _words(leaf: Array, axes: int) -> Array:
    words = lax.bitcast_convert_type(lax.stop_gradient(leaf), _WORDS[leaf.dtype.itemsize])
    return words.reshape(*leaf.shape[:axes], math.prod(words.shape[axes:]))  # -1 says nothing where there is no edge


def _spoil(leaf: Array, how: Array) -> Array:
    flat = leaf.reshape(*how.shape, math.prod(leaf.shape[how.ndim :]))
    if flat.shape[-1] == 0:
        return leaf
    bits = mix_bits(how)
    entries = jnp.arange(flat.shape[-1], dtype=jnp.uint32).reshape(*[1] * how.ndim, -1)
    hit = (entries == (bits % flat.shape[-1])[..., None]) & (how != 0)[..., None]
    whole = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}[leaf.dtype.itemsize]
    place = (bits >> 8) % (8 * leaf.dtype.itemsize)
    flipped = lax.bitcast_convert_type(flat, whole) ^ (jnp.ones((), whole) << place.astype(whole))[..., None]
    huge = jnp.full_like(flat, 1e300 if float(jnp.finfo(leaf.dtype).max) > 1e300 else jnp.inf)
    damage = jnp.stack([lax.bitcast_convert_type(flipped, leaf.dtype), jnp.full_like(flat, jnp.nan), huge])
    kind = jnp.broadcast_to(((bits >> 16) % 3).astype(jnp.int32)[None, ..., None], (1, *flat.shape))
    damaged = jnp.take_along_axis(damage, kind, axis=0)[0]
    return jnp.where(hit, damaged, flat).reshape(leaf.shape)
