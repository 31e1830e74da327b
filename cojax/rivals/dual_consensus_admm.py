"""Consensus ADMM on the price of CPU."""

import math

import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from .._support.precision import in_full
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .base import Rival, plain_bits, share_curvatures
from .local import adjacency, fair, minimisers, unlike


@in_full
def dual_consensus_admm(
    problem: Problem, network: Network, start: Decision, penalty: Array | float, num_steps: int
) -> Float[Array, "steps n"]:
    """Consensus ADMM on the price: with r_i = sum_j (l_i + l_j) - p_i/c, c the penalty, d_i the degree, one step is

    x_i = argmin f_i(x) + (x - b/n + c r_i)^2 / (4 c d_i),  l_i+ = (r_i + (x_i - b/n)/c) / (2 d_i),
    p_i+ = p_i + c sum_j (l_i+ - l_j+); the price is -l. Fixed undirected graphs. The sum is right in the limit only.
    Source: Chang, Hong, Wang, IEEE TSP 2015, doi 10.1109/TSP.2014.2367458, arXiv 1402.6065.
    """
    linked = adjacency(network).astype(start.cpu.dtype)
    degree = linked.sum(1)
    even = fair(problem)

    def step(state, _):
        price, dual, x = state
        pull = degree * price + linked @ price - dual / penalty
        x = minimisers(problem, start.params, x, jnp.zeros_like(x), 1 / (2 * penalty * degree), even - penalty * pull)
        price = (pull + (x - even) / penalty) / (2 * degree)
        dual = dual + penalty * unlike(linked, price)
        return (price, dual, x), x

    zeros = jnp.zeros_like(start.cpu)
    return lax.scan(step, (zeros, zeros, start.cpu), length=num_steps)[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """The penalty under which a neighbourhood pulls as strongly as the geometric mean of the curvatures."""
    low, high = share_curvatures(problem, start)
    penalty = 1.0 / (2.0 * math.sqrt(low * high) * float(adjacency(network).sum(1).mean()))
    return Rival("share", Partial(_run, penalty=penalty), plain_bits(start.cpu))


def _run(problem, network, start, num_steps, *, penalty):
    return dual_consensus_admm(problem.softened(), network, start, penalty, num_steps)
