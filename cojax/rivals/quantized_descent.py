"""Gradient descent whose averages are taken by tokens, in whole units and finitely many rounds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, PRNGKeyArray

from .. import theory
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .base import Rival
from .local import adjacency
from .tokens import pass_tokens

UNIT = 2.0**-10  # of the longest first step of a node
LEVELS = 16  # bits of a number: 64 first steps, with its sign


def quantized_descent(
    problem: Problem,
    network: Network,
    start: Decision,
    step_size: Array | float,
    num_steps: int,
    rounds: Array | int,
    unit: Array | float,
    key: PRNGKeyArray,
) -> Array:
    """Every `rounds` steps y+ = the average over nodes of y - step_size * g_i(y), in whole units.

    Two tokens start at every node and carry its units; after `rounds` rounds of `tokens.pass_tokens` it takes over the
    one that it keeps. With enough rounds all nodes are within one unit of the average, so the models move as
    centralised descent with an error of a unit a time and end within the order of unit / (step_size * curvature) of
    the optimum. Fixed graphs; params one array (n, d). Returns the params after every step.
    Source: Rikos, Jiang, Charalambous, Johansson, arXiv 2211.10855, with step_size < 2 / (l + L); it stops a round of
    averaging by max- and min-consensus, for which a fixed number of rounds stands in, as random neighbours do for its
    event-triggered rule.
    """
    near = jnp.log(adjacency(network).astype(start.params.dtype))
    home = jnp.repeat(jnp.arange(problem.num_nodes), 2)

    def in_units(y):
        moved = y - step_size * problem.grad(Decision(y, start.cpu)).params
        return 2 * jnp.round(moved / unit).astype(home.dtype)

    def step(state, now):
        y, at, load = state
        k, key = now
        first = k % rounds == 0
        at, load = jnp.where(first, home, at), lax.cond(first, in_units, lambda _: load, y)
        at, load, shown = pass_tokens(at, load, near, key)
        y = jnp.where(k % rounds == rounds - 1, unit * shown.astype(y.dtype), y)
        return (y, at, load), y

    keys = jax.random.split(key, num_steps)
    zero = jnp.zeros_like(start.params, home.dtype)
    return lax.scan(step, (start.params, home, zero), (jnp.arange(num_steps), keys))[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """As many rounds as an exact average takes to shrink disagreement to a unit; one token of two travels."""
    curvature = theory.learn_curvature(problem, start)
    step_size = 2.0 / (max(curvature.mean_low, 0.0) + curvature.high)
    unit = UNIT * step_size * float(np.abs(np.asarray(problem.grad(start).params)).max() or 1.0)
    mixing = theory.spectrum(network).mixing_rate
    rounds = max(math.ceil(math.log(UNIT) / math.log(max(mixing, 1e-3))), 1)
    degree = float(adjacency(network).sum(1).mean())
    run = Partial(_run, step_size=step_size, rounds=rounds, unit=unit)
    return Rival("learn", run, LEVELS * start.params[0].size / degree)


def _run(problem, network, start, num_steps, *, step_size, rounds, unit):
    key = jax.random.key(0)
    return quantized_descent(problem, network, start, step_size, num_steps, rounds, unit, key)
