"""Ratio consensus, the scheduler that gives every node the same utilisation."""

import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from .. import theory
from ..networks.base import Network, Wire
from ..networks.faults.faulty import loss_rate
from ..networks.laws import Weigh
from ..problems.problem import Decision, Problem
from .base import Rival, capacities, plain_bits
from .local import adjacency

EPSILON = 1e-3  # of a node's capacity


def equal_utilisation(
    problem: Problem,
    network: Network,
    start: Decision,
    capacity: Float[Array, " n"],
    num_steps: int,
    epsilon: Array | float,
    window: Array | int,
) -> Float[Array, "steps n"]:
    """x_i = capacity_i p_i / q_i,  p+ = W p,  q+ = W q,  p0 the shares at the start, q0 the capacities.

    Every node ends at the same utilisation, budget / sum of capacities, whatever its costs. Every `window` rounds all
    nodes start max- and min-consensus of the ratios p / q; a node whose largest and smallest one are within `epsilon`
    when the window ends stops. Where news reaches every node within a window, all stop in the same round. The shares
    sum to the budget in the limit only. Source: Grammenos, Charalambous, Kalyvianaki, arXiv 2101.06139.
    """
    del problem  # the costs are what this scheduler does not look at

    def step(state, k):
        pair, most, least, going = state
        mixed = pair + network.at(k).flow(Wire(pair), Weigh())
        pair = jnp.where(going[:, None], mixed, pair)
        heard = adjacency(network, k) | jnp.eye(capacity.shape[0], dtype=bool)
        most = jnp.where(heard, most, -jnp.inf).max(1)
        least = jnp.where(heard, least, jnp.inf).min(1)
        over, ratio = k % window == window - 1, pair[:, 0] / pair[:, 1]
        going = going & ~(over & (most - least <= epsilon))
        most, least = jnp.where(over, ratio, most), jnp.where(over, ratio, least)
        return (pair, most, least, going), capacity * ratio

    ratio = start.cpu / capacity
    first = (jnp.stack([start.cpu, capacity], axis=1), ratio, ratio, jnp.ones(capacity.shape, bool))
    return lax.scan(step, first, jnp.arange(num_steps))[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """Four numbers a step; capacities are the upper bounds, and every turn of the graphs brings news one node on."""
    capacity = jnp.asarray(capacities("equal_utilisation", problem), start.cpu.dtype)
    window = (network.num_nodes - 1) * len(theory.laplacians(network))
    if loss_rate(network) > 0:
        window *= 4  # without a bound where messages are lost
    return Rival("share", Partial(_run, capacity=capacity, window=window), 4 * plain_bits(start.cpu))


def _run(problem, network, start, num_steps, *, capacity, window):
    return equal_utilisation(problem, network, start, capacity, num_steps, EPSILON, window)
