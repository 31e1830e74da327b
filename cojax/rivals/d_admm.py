"""Consensus ADMM on the models."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array

from .. import theory
from .._support.maxima import with_safe_maxima
from .._support.precision import in_full
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .base import Rival, plain_bits
from .local import adjacency, unlike

NEWTON_STEPS = 12


@in_full
def d_admm(problem: Problem, network: Network, start: Decision, penalty: Array | float, num_steps: int) -> Array:
    """Consensus ADMM on the models: with c the penalty and d_i the degree,

    y_i+ solves grad g_i(y) + a_i + 2 c d_i y = c d_i y_i + c sum_j y_j;  a_i+ = a_i + c sum_j (y_i+ - y_j+).
    Exact, one message a step, a local minimisation by Newton in each. Fixed graphs; params one array (n, d).
    Source: Shi, Ling, Yuan, Wu, Yin, IEEE TSP 2014, doi 10.1109/TSP.2014.2304432, arXiv 1307.5561.
    """
    linked = adjacency(network).astype(start.params.dtype)
    degree = linked.sum(1)[:, None]

    def local(y, target, weight, cpu, data):
        def cost(y):
            return problem.cost(Decision(y, cpu), data) - target @ y + weight * (y @ y)

        def descend(_, y):
            slope = jax.grad(with_safe_maxima(cost))(y)
            move = jnp.linalg.solve(jax.hessian(cost)(y), slope)
            # Halved until the slope shrinks: far away a full step of Newton may overshoot.
            scales = 0.5 ** jnp.arange(8, dtype=y.dtype)
            sizes = jax.vmap(lambda scale: jnp.linalg.norm(jax.grad(with_safe_maxima(cost))(y - scale * move)))(scales)
            return y - scales[jnp.argmax(sizes < jnp.linalg.norm(slope))] * move

        return lax.fori_loop(0, NEWTON_STEPS, descend, y)

    def step(state, _):
        y, dual = state
        target = penalty * (degree * y + linked @ y) - dual
        y = jax.vmap(local)(y, target, penalty * degree[:, 0], start.cpu, problem.data)
        return (y, dual + penalty * unlike(linked, y)), y

    return lax.scan(step, (start.params, jnp.zeros_like(start.params)), length=num_steps)[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """The penalty under which a neighbourhood pulls as strongly as the geometric mean of the curvatures."""
    curvature = theory.learn_curvature(problem, start)
    low = max(curvature.mean_low, 1e-3 * curvature.high)
    penalty = math.sqrt(low * curvature.high) / float(adjacency(network).sum(1).mean())
    return Rival("learn", Partial(_run, penalty=penalty), plain_bits(start.params))


def _run(problem, network, start, num_steps, *, penalty):
    return d_admm(problem, network, start, penalty, num_steps)
