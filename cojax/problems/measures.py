"""Two sizes of a decision that a run and its certificate both ask for."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._support import trees
from .problem import Decision, Problem


def overload(problem: Problem, x: Decision) -> Float[Array, ""]:
    """The largest distance of a share from its bounds, 0 inside."""
    if x.cpu is None or problem.lower is None or problem.upper is None:
        return jnp.zeros(())
    outside = jnp.maximum(problem.lower - x.cpu, x.cpu - problem.upper)
    return jnp.maximum(jnp.max(outside), 0)


def disagreement(x: Decision) -> Float[Array, ""]:
    """The largest distance of a params entry from its mean over nodes."""
    return trees.largest(trees.subtract(x.params, trees.node_mean(x.params)))
