"""Equal utilisation in whole units, in finite time."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .base import Rival, capacities
from .local import adjacency
from .tokens import pass_tokens

TOKENS = 8  # of a node of average capacity
UNITS = 1024  # in a token


def token_averaging(
    problem: Problem,
    network: Network,
    start: Decision,
    capacity: Int[np.ndarray, " n"] | Int[Array, " n"],
    num_tokens: int,
    num_steps: int,
    unit: Array | float,
    key: PRNGKeyArray,
) -> Float[Array, "steps n"]:
    """Equal utilisation in whole units: capacity_i tokens start at node i and carry its load of start.cpu_i / unit.

    The capacities sum to num_tokens. Tokens are passed as `tokens.pass_tokens` says; x_i = unit * capacity_i * (the
    token that i keeps) ends within unit * capacity_i of its share. Shares do not sum to the budget on the way, nor
    exactly at the end. Fixed graphs.
    Source: Rikos et al., arXiv 2104.03126; random neighbours stand in for its event-triggered rule.
    """
    del problem  # the costs are what this scheduler does not look at
    near = jnp.log(adjacency(network).astype(start.cpu.dtype))
    at = jnp.repeat(jnp.arange(capacity.shape[0]), capacity, total_repeat_length=num_tokens)
    units = jnp.round(start.cpu / unit).astype(at.dtype)

    def step(state, key):
        at, load = state
        at, load, shown = pass_tokens(at, load, near, key)
        return (at, load), unit * (jnp.asarray(capacity) * shown[:, 0]).astype(start.cpu.dtype)

    return lax.scan(step, (at, units[:, None]), jax.random.split(key, num_steps))[1]


def ready(problem: Problem, network: Network, start: Decision) -> Rival:
    """Tokens in proportion to the upper bounds; all but one of every node travel, each to one of its neighbours."""
    capacity = capacities("token_averaging", problem)
    tokens = np.maximum(np.round(TOKENS * capacity / capacity.mean()), 1).astype(int)
    unit = float(np.asarray(problem.budget)) / float(tokens.sum()) / UNITS
    sent = float(tokens.sum() - tokens.size) / float(adjacency(network).sum())
    run = Partial(_run, capacity=tokens, all_tokens=np.zeros(int(tokens.sum()), bool), unit=unit)
    return Rival("share", run, sent * math.ceil(math.log2(TOKENS * UNITS)))


def _run(problem, network, start, num_steps, *, capacity, all_tokens, unit):
    key = jax.random.key(0)
    return token_averaging(problem, network, start, capacity, all_tokens.size, num_steps, unit, key)
