"""What rivals need of a node besides its gradient: the minimiser of its own cost, and who its neighbours are."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ..networks.base import Network
from ..optimum.margins import marginals
from ..optimum.prices import value_and_rate
from ..optimum.roots import Root, newton
from ..problems.problem import Problem

MOST_ROUNDS = 100

Shares = Float[Array, " n"]


def fair(problem: Problem) -> Array:
    """The budget over the number of nodes."""
    assert problem.budget is not None
    return problem.budget / problem.num_nodes


def adjacency(network: Network, k: Array | int = 0) -> Bool[Array, "n n"]:
    """Which nodes hear each other at step k: [i, j] where node i hears node j.

    Read from the weights. A flow would tell it by what rounding leaves of a product.
    """
    net = network.at(k)
    hears, says = net.ends()
    near = jnp.zeros((net.num_nodes, net.num_nodes), bool).at[hears, says].max(net.edge_weights() > 0)
    return near & ~jnp.eye(net.num_nodes, dtype=bool)


def unlike(linked: Array, value: Array) -> Array:
    """sum_j (value_i - value_j) over the neighbours of every node, exactly 0 where all are equal: what duals add up."""
    centred = value - value[:1]
    degree = linked.sum(1).reshape(-1, *[1] * (value.ndim - 1))
    return degree * centred - linked @ centred


def minimisers(
    problem: Problem,
    params: Array | None,
    guess: Shares,
    price: Shares,
    pull: Array | float = 0.0,
    anchor: Array | float = 0.0,
) -> Shares:
    """argmin over [lower, upper] of f_i(x) - price_i x + pull_i/2 (x - anchor_i)^2 at every node, without a penalty."""
    lower, upper = problem.lower, problem.upper
    assert lower is not None and upper is not None
    own = marginals(problem, params)

    def slope(x: Shares) -> Shares:
        return own(x[:, None])[:, 0] - price + pull * (x - anchor)

    near = jnp.clip(guess, lower, upper)
    most = jnp.maximum(jnp.abs(fair(problem)), jnp.max(jnp.abs(near)))
    size = jnp.where(most > 0, most, 1)  # of a share; where none has one, any will do
    low, high = _bracket(slope, near, lower, upper, size)
    start = jnp.clip(guess, low, high)
    at_bound = (slope(low) >= 0) | (slope(high) <= 0)
    bound = jnp.where(slope(low) >= 0, low, high)

    def going_on(state):
        return ~jnp.all(state[0].done) & (state[1] < MOST_ROUNDS)

    def advance(state):
        root, count = state
        value, rate = value_and_rate(slope, root.at)
        eps = jnp.finfo(value.dtype).eps
        noise = 4 * eps * jnp.abs(root.at) + eps**2 * size
        return newton(root, value, rate, 4 * eps * jnp.abs(price), noise), count + 1

    found, _ = lax.while_loop(going_on, advance, (Root(low, high, start, high - low, at_bound), 0))
    return jnp.where(at_bound, bound, found.at)


def _bracket(
    slope: Callable[[Shares], Shares], guess: Shares, lower: Shares, upper: Shares, size: Array
) -> tuple[Shares, Shares]:
    """Ends on both sides of the root of an increasing `slope`, the bounds themselves where there is none inside."""

    def widen(_, state):
        low, high, width = state
        low = jnp.where(slope(low) > 0, jnp.maximum(low - width, lower), low)
        high = jnp.where(slope(high) < 0, jnp.minimum(high + width, upper), high)
        return low, high, 4 * width

    low, high, _ = lax.fori_loop(0, 20, widen, (guess, guess, 0.01 * (size + jnp.abs(guess))))
    return low, high
