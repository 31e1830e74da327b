"""Averaging by tokens that carry whole units, which is over after finitely many rounds."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


def pass_tokens(
    at: Int[Array, " t"], load: Int[Array, "n d"], near: Float[Array, "n n"], key: PRNGKeyArray
) -> tuple[Int[Array, " t"], Int[Array, "n d"], Int[Array, "n d"]]:
    """One round: a node with z tokens and y units in all makes them tokens of floor(y / z) and ceil(y / z) units.

    It keeps one of the smaller and sends each of the others to a random neighbour. Every column of the load is carried
    by the same tokens. After finitely many rounds no two tokens differ by more than one unit.

    Args:
        at: where every token is, at least one at every node.
        load: the units at every node, by column.
        near: logarithms of the chances that a node sends to each other one.

    Returns: where the tokens are then, the loads, and the token that every node kept.
    Source: Rikos et al., arXiv 2104.03126; random neighbours stand in for its event-triggered rule.
    """
    order = jnp.argsort(at)
    at, count = at[order], jnp.zeros(load.shape[0], load.dtype).at[at].add(1)
    rank = jnp.arange(at.shape[0], dtype=load.dtype) - (jnp.cumsum(count) - count)[at]
    share = load // jnp.maximum(count, 1)[:, None]
    value = share[at] + (rank[:, None] < (load - share * count[:, None])[at]).astype(load.dtype)
    # The token kept is the last one of its node: of the smaller kind, if there are two.
    kept = rank == count[at] - 1
    shown = jnp.zeros_like(load).at[at].add(jnp.where(kept[:, None], value, 0))
    at = jnp.where(kept, at, jax.random.categorical(key, near[at]))
    return at, jnp.zeros_like(load).at[at].add(value), shown
