"""Graphs that are drawn at random at every step, inside the loop."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ..._support.checks import CojaxInputError, as_key, check_number, floating
from ..base import Network, Wrapper, check_two_sided, check_undirected, wrappers
from .draws import key_words, pair_bits


class Lossy(Wrapper):
    """A network whose links fail at random, each step anew, in both directions together.

    Both ends know of the failure (the message was not acknowledged) and neither moves anything, so node sums are kept.
    The draw depends on the key, the step and the two ends only: every layout loses the same links.

    Args: network, not lossy itself; rate, the probability in [0, 1) that a link is down in a step, whose derivative
    is 0; key, a JAX key or an integer seed.
    """

    network: Network
    rate: Any
    key: PRNGKeyArray

    def __init__(self, network: Any, rate: Any, key: Any = 0):
        check_number("Lossy", "rate", rate, at_least=0.0, below=1.0, shaped=())
        if not isinstance(network, Network) or isinstance(network, Lossy):
            raise CojaxInputError(
                f"Lossy needs a network that is not lossy, got {type(network).__name__}; for more loss raise the rate."
            )
        check_undirected("Lossy", network, "a lost direction breaks its balance")
        check_two_sided("Lossy", network)
        if network.keeps_books:
            raise CojaxInputError("Lossy needs a network without a ledger, got one with it; put the Ledger outermost.")
        network.link.check(fixed=False, symmetric=True)
        self.network = network
        self.rate = floating(rate)
        self.key = as_key("A random network", key)

    def at(self, k):
        low_word, high_word = key_words(self.key, k)
        # Compared as integers, so that the same links fail in float32 and in float64.
        threshold = (jnp.asarray(self.rate, jnp.float32) * 2.0**24).astype(jnp.uint32)

        def keep(i: Array, j: Array) -> Array:
            return (pair_bits(low_word, high_word, i, j) >> 8) >= threshold

        return self.network.at(k).thinned(keep)


def loss_rate(network: Network) -> float:
    """The probability that a link of the graph in force is down; 0 of a network that is not lossy. On the host."""
    return 1.0 - math.prod(1.0 - float(each.rate) for each in wrappers(network) if isinstance(each, Lossy))
