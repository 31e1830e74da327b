"""A graph that is drawn at random at every step, inside the loop."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from ..._support.checks import CojaxInputError, as_key, check_number, floating, whole_number
from ..base import Link, Network
from ..layouts.dense import Dense
from ..links.links import Ideal
from .draws import key_words, pair_bits


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
        if not isinstance(self.link, Link):
            raise CojaxInputError(f"RandomGraph needs a link such as Ideal(), got {link!r}.")
        self.link.check(fixed=False, symmetric=True)

    @property
    def num_nodes(self) -> int:
        return self.size

    @property
    def draws_graphs(self) -> bool:
        return True

    def at(self, k):
        low_word, high_word = key_words(self.key, k)
        nodes = jnp.arange(self.size)
        # Words the other way round than in `Lossy`: with one key for both, whatever is drawn would be lost.
        bits = pair_bits(high_word, low_word, nodes[:, None], nodes[None, :])
        uniform = (bits >> 8).astype(jnp.float32) * 2.0**-24
        there = (uniform < jnp.asarray(self.probability, jnp.float32)) & (nodes[:, None] != nodes[None, :])
        degree = there.sum(1)
        largest = jnp.maximum(degree[:, None], degree[None, :])
        weights = jnp.where(there, 1 / (1 + largest).astype(jnp.result_type(float)), 0)
        return Dense(weights=weights, link=self.link)
