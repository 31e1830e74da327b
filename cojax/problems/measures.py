"""Sizes of a decision, from the problem's data alone."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._support import trees
from .._support.checks import check_kinds
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


def own_models(problem: Problem, x: Decision) -> Float[Array, ""]:
    """The whole cost, its penalty included, were one node's model everywhere, averaged over nodes; shares as they are.

        cojax.trials(case, methods, num_trials=10, num_steps=500, measure=cojax.own_models)

    No node has the mean of all models, so here disagreement costs: where the cost is convex this is never less than the
    cost of the mean model. It takes n times as much to compute, for every model is asked on the data of all n nodes.
    Differentiable. Raises `CojaxInputError` for what is no plain problem or no decision.
    """
    check_kinds("own_models", ("problem", problem, Problem), ("x", x, Decision))
    soft = problem.softened()

    def whole(one: Any) -> Array:
        everywhere = jax.tree.map(lambda own, leaf: jnp.broadcast_to(own, leaf.shape), one, x.params)
        return soft.costs(x._replace(params=everywhere)).sum()

    return jax.vmap(whole)(x.params).mean() if jax.tree.leaves(x.params) else soft.costs(x).sum()
