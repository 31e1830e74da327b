"""How a run ended, told by numbers that survive jit and vmap."""

import enum
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from . import _tree
from .problems import Decision, Problem
from .records import disagreement


class Status(enum.IntEnum):
    """How a run ended; `Solution.status` holds the number, `Status(int(solution.status))` the name."""

    OUT_OF_STEPS = 0  # neither converged nor broken
    CONVERGED = 1  # stationary for the cost with its penalty; `certificate` judges the problem itself
    DIVERGED = 2  # a decision is not finite
    INFEASIBLE = 3  # the shares did not sum to the budget at some step


def status_of(problem: Problem, x: Decision, state: Any) -> Int[Array, ""]:
    """The status of a run that ended at decision `x` in `state`.

    Converged means, relative to the square root of the precision: the params agree, their mean gradient is small
    beside the largest gradient of one node, and the marginal costs (penalty included) of all nodes are equal.
    Where the gradient of every single node vanishes at the optimum, as for one node alone, there is nothing to be small
    beside, and a converged run may be called out of steps; the certificate is then the judge.
    """
    finite = jnp.asarray(True)
    for leaf in jax.tree.leaves((x, state.grad)):
        finite &= jnp.all(jnp.isfinite(leaf))
    status = jnp.where(_settled(x, state.grad), Status.CONVERGED, Status.OUT_OF_STEPS)
    if problem.budget is not None:
        allowed = 64 * jnp.finfo(problem.budget.dtype).eps * jnp.maximum(jnp.max(jnp.abs(problem.budget)), 1)
        status = jnp.where(state.imbalance > allowed, Status.INFEASIBLE, status)
    return jnp.where(finite, status, Status.DIVERGED).astype(jnp.int32)


def _settled(x: Decision, grad: Decision) -> Array:
    def small(value: Float[Array, ""], scale: Float[Array, ""], tree: Any) -> Array:
        leaves = jax.tree.leaves(tree)
        eps = max((float(jnp.finfo(leaf.dtype).eps) for leaf in leaves), default=0.0)
        return value <= eps**0.5 * (scale + eps)

    agree = small(disagreement(x), _tree.largest(x.params), x.params)
    mean_grad = _tree.largest(_tree.node_mean(grad.params))
    flat = small(mean_grad, _tree.largest(grad.params), grad.params)
    spread = _tree.subtract(grad.cpu, _tree.node_mean(grad.cpu))
    level = small(_tree.largest(spread), _tree.largest(grad.cpu), grad.cpu)
    return agree & flat & level
