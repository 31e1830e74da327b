"""Graphs that are drawn at random at every step, inside the loop."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ._checks import CojaxInputError, as_key, check_number, floating, whole_number
from .layouts import Network, Wrapper, check_two_sided, check_undirected, wrappers
from .links import Ideal, Link
from .matrices import Dense


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

        return self.network.at(k).thin(keep)


def loss_rate(network: Network) -> float:
    """The probability that a link of the graph in force is down; 0 of a network that is not lossy. On the host."""
    return 1.0 - math.prod(1.0 - float(each.rate) for each in wrappers(network) if isinstance(each, Lossy))


class RandomGraph(Network):
    """An Erdos-Renyi graph drawn anew at every step, inside the loop, with Metropolis weights.

    One step may be disconnected; the union over steps connects all nodes with probability one.

    Args:
        size: n, static.
        probability: in (0, 1], that an edge is there in a step.
        key: a JAX key or an integer seed.
    """

    probability: Any
    key: PRNGKeyArray
    size: int = eqx.field(static=True)
    link: Link

    def __init__(self, size: Any, probability: Any, key: Any = 0, *, link: Link | None = None):
        size = whole_number("RandomGraph", "size", size, at_least=1)
        check_number("RandomGraph", "probability", probability, above=0.0, at_most=1.0, shaped=())
        self.size = size
        self.probability = floating(probability)
        self.key = as_key("A random network", key)
        self.link = Ideal() if link is None else link
        self.link.check(fixed=False, symmetric=True)

    @property
    def num_nodes(self) -> int:
        return self.size

    def at(self, k):
        low_word, high_word = key_words(self.key, k)
        nodes = jnp.arange(self.size)
        bits = pair_bits(low_word, high_word, nodes[:, None], nodes[None, :])
        uniform = (bits >> 8).astype(jnp.float32) * 2.0**-24
        there = (uniform < jnp.asarray(self.probability, jnp.float32)) & (nodes[:, None] != nodes[None, :])
        degree = there.sum(1)
        largest = jnp.maximum(degree[:, None], degree[None, :])
        weights = jnp.where(there, 1 / (1 + largest).astype(jnp.result_type(float)), 0)
        return Dense(weights=weights, link=self.link)


def key_words(key: PRNGKeyArray, k: Any) -> tuple[Array, Array]:
    """64 random bits of a key and a step, as two words."""
    data = jax.random.key_data(jax.random.fold_in(key, k)).astype(jnp.uint32)
    return data[0], data[1]


def pair_bits(low_word: Array, high_word: Array, i: Array, j: Array) -> Array:
    """32 random bits of the unordered pair {i, j}, a hash with no table behind it: equal in every layout."""
    i, j = i.astype(jnp.uint32), j.astype(jnp.uint32)
    return arc_bits(low_word, high_word, jnp.minimum(i, j), jnp.maximum(i, j))


def arc_bits(low_word: Array, high_word: Array, i: Array, j: Array) -> Array:
    """32 random bits of the ordered pair (i, j)."""
    i, j = i.astype(jnp.uint32), j.astype(jnp.uint32)
    return mix_bits(mix_bits(i ^ low_word) + j * jnp.uint32(0x9E3779B9) ^ high_word)


def mix_bits(bits: Array) -> Array:
    """A bijection of 32 bits in which every input bit moves every output bit (C. Wellons, "lowbias32")."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)
