"""The root of an increasing function, found by Newton inside of a bracket."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Root(NamedTuple):
    """One root per entry, in search."""

    low: Float[Array, "*s"]  # the function is <= 0 here
    high: Float[Array, "*s"]
    at: Float[Array, "*s"]  # where the function is wanted next
    step: Float[Array, "*s"]  # length of the last move
    done: Bool[Array, "*s"]


def newton(root: Root, value: Array, rate: Array, value_noise: Array, noise: Array) -> Root:
    """One step of Newton where it stays in the bracket and halves the last step, else of bisection.

    `value` and `rate` are the function and its derivative at `root.at`. A value within `value_noise` of 0 ends the
    search, after its step, and so does a step or a bracket not wider than `noise`.
    """
    below = value < 0
    low, high = jnp.where(below, root.at, root.low), jnp.where(below, root.high, root.at)
    target = root.at - divide(value, rate)
    trusted = (rate > 0) & (target >= low) & (target <= high) & (jnp.abs(target - root.at) <= root.step / 2)
    stay = (value == 0) | (~trusted & (jnp.abs(value) <= value_noise))
    at = jnp.where(stay, root.at, jnp.where(trusted, target, low + (high - low) / 2))
    step = jnp.abs(at - root.at)
    done = (trusted & (step <= noise)) | (jnp.abs(value) <= value_noise) | (high - low <= noise)
    found = Root(low, high, at, step, done)
    return jax.tree.map(lambda new, old: jnp.where(root.done, old, new), found, root)


def divide(value: Array, by: Array) -> Array:
    """value / by, 0 where `by` is not positive."""
    return jnp.where(by > 0, value / jnp.where(by > 0, by, 1), 0)
