"""Ratio consensus, the scheduler that gives every node the same utilisation."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..edges import Weigh
from ..layouts import Network
from ..links import Wire
from ..problems import Decision, Problem
from .base import Rival, capacities, plain_bits


def equal_utilisation(
    problem: Problem, network: Network, start: Decision, capacity: Float[Array, " n"], num_steps: int
) -> Float[Array, "steps n"]:
    """x_i = capacity_i p_i / q_i,  p+ = W p,  q+ = W q,  p0 the shares at the start, q0 the capacities.

    Every node ends at the same utilisation, budget / sum of capacities, whatever its costs. The shares sum to the
    budget in the limit only. Source: Grammenos, Charalambous, Kalyvianaki, arXiv 2101.06139.
    """
    del problem  # the costs are what this scheduler does not look at

    def step(pair, k):
        pair = pair + network.at(k).flow(Wire(pair), Weigh())
        return pair, capacity * pair[:, 0] / pair[:, 1]

    return lax.scan(step, jnp.stack([start.cpu, capacity], axis=1), jnp.arange(num_steps))[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """Two numbers a step; capacities are the upper bounds."""
    capacity = jnp.asarray(capacities("equal_utilisation", problem), start.cpu.dtype)

    def run(problem, network, start, num_steps):
        return equal_utilisation(problem, network, start, capacity, num_steps)

    return Rival("share", run, 2 * plain_bits(start.cpu))
