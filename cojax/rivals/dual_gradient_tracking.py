"""Gradient tracking on the price of CPU."""

import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from .. import theory
from ..networks.base import Network, Wire
from ..networks.laws import Weigh
from ..optimum.margins import marginals
from ..problems.problem import Decision, Problem
from ..theory.limits import SHARE
from .base import Rival, plain_bits, share_curvatures
from .local import fair, minimisers


def dual_gradient_tracking(
    problem: Problem, network: Network, start: Decision, step_size: Array | float, num_steps: int
) -> Float[Array, "steps n"]:
    """w+ = W w - step_size s,  x+ = argmin f_i(x) - w_i+ x,  s+ = W s + x+ - x,  s0 = x0 - b/n: a price for every node.

    A price rises where shares are missing. The shares sum to the budget in the limit only.
    Source: Zhang, You, Cai, IEEE TSP 2020, doi 10.1109/TSP.2020.2981762, arXiv 1909.09937.
    """
    price, even = marginals(problem, start.params)(start.cpu[:, None])[:, 0], fair(problem)

    def step(state, k):
        price, slack, x = state
        excess = slack + (x - even)  # carried itself, it would add up the rounding of every move
        flow = network.at(k).flow(Wire(jnp.stack([price, excess], axis=1)), Weigh())
        price = price + flow[:, 0] - step_size * excess
        new = minimisers(problem, start.params, x, price)
        return (price, slack + flow[:, 1], new), new

    return lax.scan(step, (price, jnp.zeros_like(start.cpu), start.cpu), jnp.arange(num_steps))[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """Half of the limit of its learner: the dual of a share curves as 1 / (the least curvature of a cost)."""
    low, _ = share_curvatures(problem, start)
    step_size = SHARE * theory.tracking_limit(network, 1.0 / low).value
    return Rival("share", Partial(_run, step_size=step_size), 2 * plain_bits(start.cpu))


def _run(problem, network, start, num_steps, *, step_size):
    return dual_gradient_tracking(problem.softened(), network, start, step_size, num_steps)
