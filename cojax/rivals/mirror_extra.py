"""EXTRA on the price of CPU."""

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


def mirror_extra(
    problem: Problem, network: Network, start: Decision, step_size: Array | float, num_steps: int
) -> Float[Array, "steps n"]:
    """EXTRA on the prices: w+ = W w - step_size (x - b/n) + c,  c+ = c + (W w - w)/2,  x = argmin f_i(x) - w_i x.

    Stable for step_size < 2 l lambda_min((I + W)/2), l the least curvature of the costs. Fixed graphs. The shares sum
    to the budget in the limit only. Source: Nedic, Olshevsky, Shi, CDC 2018, arXiv 1706.05441.
    """
    even = fair(problem)
    net = network.at(0)

    def step(state, _):
        price, correction, x = state
        flow = net.flow(Wire(price), Weigh())
        price = price + flow + correction - step_size * (x - even)
        x = minimisers(problem, start.params, x, price)
        return (price, correction + flow / 2, x), x

    price = marginals(problem, start.params)(start.cpu[:, None])[:, 0]
    return lax.scan(step, (price, jnp.zeros_like(price), start.cpu), length=num_steps)[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """Half of the limit of its learner: the dual of a share curves as 1 / (the least curvature of a cost)."""
    low, _ = share_curvatures(problem, start)
    step_size = SHARE * theory.extra_limit(network, 1.0 / low).value
    return Rival("share", Partial(_run, step_size=step_size), plain_bits(start.cpu))


def _run(problem, network, start, num_steps, *, step_size):
    return mirror_extra(problem.softened(), network, start, step_size, num_steps)
