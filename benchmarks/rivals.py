"""Rivals that need more of a node than one gradient per step: a local minimiser, a capacity, or tokens.

Each function returns the decision after every step, steps first. Shares are (n,): one kind of resource.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import cojax
from cojax.edges import Weigh
from cojax.links import Wire
from cojax.optimum.allocations import marginals
from cojax.optimum.prices import value_and_rate
from cojax.optimum.roots import Root, newton
from cojax.penalties import BarrierPenalty
from cojax.records import decision

MOST_ROUNDS = 100
NEWTON_STEPS = 12

Shares = Float[Array, " n"]
ShareTrace = Float[Array, "steps n"]


def equal_utilisation(
    problem: cojax.Problem, network: cojax.Network, start: cojax.Decision, capacity: Shares, num_steps: int
) -> ShareTrace:
    """x_i = capacity_i p_i / q_i,  p+ = W p,  q+ = W q,  p0 the shares at the start, q0 the capacities.

    Every node ends at the same utilisation, budget / sum of capacities, whatever its costs. The shares sum to the
    budget in the limit only. Source: Grammenos, Charalambous, Kalyvianaki, arXiv 2101.06139.
    """
    del problem  # the costs are what this scheduler does not look at

    def step(pair, k):
        pair = pair + network.at(k).flow(Wire(pair), Weigh())
        return pair, capacity * pair[:, 0] / pair[:, 1]

    return lax.scan(step, jnp.stack([start.cpu, capacity], axis=1), jnp.arange(num_steps))[1]


def token_averaging(
    problem: cojax.Problem,
    network: cojax.Network,
    start: cojax.Decision,
    capacity: Int[Array, " n"],
    num_steps: int,
    unit: float,
    key: PRNGKeyArray,
) -> ShareTrace:
    """Equal utilisation in whole units: capacity_i tokens start at node i and carry its load of start.cpu_i / unit.

    A node that holds z tokens and y units in all makes them tokens of floor(y / z) and ceil(y / z) units, keeps one and
    sends each of the others to a random neighbour. After finite time no two tokens differ by more than one unit, and
    x_i = unit * capacity_i * (the token that i keeps) is off its share by at most unit * capacity_i. Shares do not sum
    to the budget on the way, nor exactly at the end.
    Source: Rikos et al., arXiv 2104.03126; random neighbours stand in for its event-triggered rule.
    """
    del problem
    num_nodes, num_tokens = capacity.shape[0], int(capacity.sum())
    near = jnp.log(adjacency(network).astype(start.cpu.dtype))
    at = jnp.repeat(jnp.arange(num_nodes), capacity, total_repeat_length=num_tokens)
    units = jnp.round(start.cpu / unit).astype(at.dtype)

    def step(state, key):
        at, load = state
        order = jnp.argsort(at)
        at, count = at[order], jnp.zeros_like(load).at[at].add(1)
        rank = jnp.arange(num_tokens) - (jnp.cumsum(count) - count)[at]
        share = load // jnp.maximum(count, 1)
        value = share[at] + (rank < (load - share * count)[at]).astype(load.dtype)
        # The token kept is the last one of its node: of the smaller kind, if there are two.
        kept = rank == count[at] - 1
        shown = jnp.zeros(num_nodes, value.dtype).at[at].add(jnp.where(kept, value, 0))
        at = jnp.where(kept, at, jax.random.categorical(key, near[at]))
        load = jnp.zeros_like(load).at[at].add(value)
        return (at, load), unit * (capacity * shown).astype(start.cpu.dtype)

    return lax.scan(step, (at, units), jax.random.split(key, num_steps))[1]


def dual_consensus_admm(
    problem: cojax.Problem, network: cojax.Network, start: cojax.Decision, penalty: float, num_steps: int
) -> ShareTrace:
    """Consensus ADMM on the price: with r_i = sum_j (l_i + l_j) - p_i/c, c the penalty, d_i the degree, one step is

    x_i = argmin f_i(x) + (x - b/n + c r_i)^2 / (4 c d_i),  l_i+ = (r_i + (x_i - b/n)/c) / (2 d_i),
    p_i+ = p_i + c sum_j (l_i+ - l_j+); the price is -l. Fixed undirected graphs. The sum is right in the limit only.
    Source: Chang, Hong, Wang, IEEE TSP 2015, doi 10.1109/TSP.2014.2367458, arXiv 1402.6065.
    """
    linked = adjacency(network).astype(start.cpu.dtype)
    degree = linked.sum(1)
    fair = _fair(problem)

    def step(state, _):
        price, dual, x = state
        pull = degree * price + linked @ price - dual / penalty
        x = minimisers(problem, start.params, x, jnp.zeros_like(x), 1 / (2 * penalty * degree), fair - penalty * pull)
        price = (pull + (x - fair) / penalty) / (2 * degree)
        dual = dual + penalty * (degree * price - linked @ price)
        return (price, dual, x), x

    zeros = jnp.zeros_like(start.cpu)
    return lax.scan(step, (zeros, zeros, start.cpu), length=num_steps)[1]


def dual_gradient_tracking(
    problem: cojax.Problem, network: cojax.Network, start: cojax.Decision, step_size: float, num_steps: int
) -> ShareTrace:
    """w+ = W w - step_size s,  x+ = argmin f_i(x) - w_i+ x,  s+ = W s + x+ - x,  s0 = x0 - b/n: a price for every node.

    A price rises where shares are missing. The shares sum to the budget in the limit only.
    Source: Zhang, You, Cai, IEEE TSP 2020, doi 10.1109/TSP.2020.2981762, arXiv 1909.09937.
    """
    price = marginals(problem, start.params)(start.cpu[:, None])[:, 0]

    def step(state, k):
        price, excess, x = state
        flow = network.at(k).flow(Wire(jnp.stack([price, excess], axis=1)), Weigh())
        price = price + flow[:, 0] - step_size * excess
        new = minimisers(problem, start.params, x, price)
        return (price, excess + flow[:, 1] + new - x, new), new

    excess = start.cpu - _fair(problem)
    return lax.scan(step, (price, excess, start.cpu), jnp.arange(num_steps))[1]


def mirror_extra(
    problem: cojax.Problem, network: cojax.Network, start: cojax.Decision, step_size: float, num_steps: int
) -> ShareTrace:
    """EXTRA on the prices: w+ = W w - step_size (x - b/n) + c,  c+ = c + (W w - w)/2,  x = argmin f_i(x) - w_i x.

    Stable for step_size < 2 l lambda_min((I + W)/2), l the least curvature of the costs. Fixed graphs. The shares sum
    to the budget in the limit only. Source: Nedic, Olshevsky, Shi, CDC 2018, arXiv 1706.05441.
    """
    fair = _fair(problem)
    net = network.at(0)

    def step(state, _):
        price, correction, x = state
        flow = net.flow(Wire(price), Weigh())
        price = price + flow + correction - step_size * (x - fair)
        x = minimisers(problem, start.params, x, price)
        return (price, correction + flow / 2, x), x

    price = marginals(problem, start.params)(start.cpu[:, None])[:, 0]
    return lax.scan(step, (price, jnp.zeros_like(price), start.cpu), length=num_steps)[1]


def barrier_method(
    problem: cojax.Problem,
    network: cojax.Network,
    start: cojax.Decision,
    step_size: Array | float,
    num_steps: int,
    epsilon: Array | float,
) -> ShareTrace:
    """The Laplacian flow of f_i - epsilon (log(upper - x) + log(x - lower)): sum and bounds hold at every step.

    Its cost ends at most 2 n epsilon above the optimum. Steps must be small enough for the curvature near the bounds.
    Source: Wu, Magnusson, Johansson, "Distributed safe resource allocation using barrier functions", arXiv 2207.06009.
    """
    bounds = {"lower": problem.lower, "upper": problem.upper}
    fenced = cojax.Problem(problem.cost, problem.data, problem.budget, **bounds, penalty=BarrierPenalty(epsilon))
    method = cojax.CoOpt(allocate=cojax.Laplacian(step_size))
    return cojax.solve(fenced, network, method, start, num_steps=num_steps, record=decision).trace.cpu


def d_admm(
    problem: cojax.Problem, network: cojax.Network, start: cojax.Decision, penalty: float, num_steps: int
) -> Array:
    """Consensus ADMM on the models: with c the penalty and d_i the degree,

    y_i+ solves grad g_i(y) + a_i + 2 c d_i y = c d_i y_i + c sum_j y_j;  a_i+ = a_i + c sum_j (y_i+ - y_j+).
    Exact, one message a step, a local minimisation by Newton in each. Fixed graphs; params one array (n, d).
    Source: Shi, Ling, Yuan, Wu, Yin, IEEE TSP 2014, doi 10.1109/TSP.2014.2304432, arXiv 1307.5561.
    """
    linked = adjacency(network).astype(start.params.dtype)
    degree = linked.sum(1)[:, None]

    def local(y, target, weight, cpu, data):
        def cost(y):
            return problem.cost(cojax.Decision(y, cpu), data) - target @ y + weight * (y @ y)

        def descend(_, y):
            slope = jax.grad(cost)(y)
            move = jnp.linalg.solve(jax.hessian(cost)(y), slope)
            # Halved until the slope shrinks: far away a full step of Newton may overshoot.
            scales = 0.5 ** jnp.arange(8, dtype=y.dtype)
            sizes = jax.vmap(lambda scale: jnp.linalg.norm(jax.grad(cost)(y - scale * move)))(scales)
            return y - scales[jnp.argmax(sizes < jnp.linalg.norm(slope))] * move

        return lax.fori_loop(0, NEWTON_STEPS, descend, y)

    def step(state, _):
        y, dual = state
        target = penalty * (degree * y + linked @ y) - dual
        y = jax.vmap(local)(y, target, penalty * degree[:, 0], start.cpu, problem.data)
        return (y, dual + penalty * (degree * y - linked @ y)), y

    return lax.scan(step, (start.params, jnp.zeros_like(start.params)), length=num_steps)[1]


def _fair(problem: cojax.Problem) -> Array:
    assert problem.budget is not None
    return problem.budget / problem.num_nodes


def adjacency(network: cojax.Network) -> Array:
    """Which nodes hear each other at step 0, (n, n)."""
    flow = network.at(0).flow(Wire(jnp.eye(network.num_nodes)), Weigh())
    return (flow > 0) & ~jnp.eye(network.num_nodes, dtype=bool)


def minimisers(
    problem: cojax.Problem,
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

    low, high = _bracket(slope, jnp.clip(guess, lower, upper), lower, upper)
    start = jnp.clip(guess, low, high)
    at_bound = (slope(low) >= 0) | (slope(high) <= 0)
    bound = jnp.where(slope(low) >= 0, low, high)

    def going_on(state):
        return ~jnp.all(state[0].done) & (state[1] < MOST_ROUNDS)

    def advance(state):
        root, count = state
        value, rate = value_and_rate(slope, root.at)
        eps = jnp.finfo(value.dtype).eps
        noise = 4 * eps * jnp.abs(root.at) + eps**2
        return newton(root, value, rate, 4 * eps * jnp.abs(price), noise), count + 1

    found, _ = lax.while_loop(going_on, advance, (Root(low, high, start, high - low, at_bound), 0))
    return jnp.where(at_bound, bound, found.at)


def _bracket(slope: Callable[[Shares], Shares], guess: Shares, lower: Shares, upper: Shares) -> tuple[Shares, Shares]:
    """Ends on both sides of the root of an increasing `slope`, the bounds themselves where there is none inside."""

    def widen(_, state):
        low, high, width = state
        low = jnp.where(slope(low) > 0, jnp.maximum(low - width, lower), low)
        high = jnp.where(slope(high) < 0, jnp.minimum(high + width, upper), high)
        return low, high, 4 * width

    low, high, _ = lax.fori_loop(0, 20, widen, (guess, guess, 0.01 * (1 + jnp.abs(guess))))
    return low, high
