"""Links that fail at random, for both of their ends."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ..._support.checks import CojaxInputError, as_key, check_number, floating
from .draws import key_words, pair_bits
from .fault import Fault
from .faulty import FaultyNetwork, check_network, faults_of, with_fault


class Loss(Fault):
    """A link is down with probability `rate`, each step anew. Fields: rate, whose derivative is 0; key."""

    made_by: ClassVar[str] = "Lossy"
    rate: Any
    key: PRNGKeyArray

    @property
    def loss(self):
        return self.rate

    def on(self, graph, k):
        low_word, high_word = key_words(self.key, k)
        # Compared as integers, so that the same links fail in float32 and in float64.
        threshold = (jnp.asarray(self.rate, jnp.float32) * 2.0**24).astype(jnp.uint32)

        def keep(i: Array, j: Array) -> Array:
            return (pair_bits(low_word, high_word, i, j) >> 8) >= threshold

        return graph.thinned(keep)


def Lossy(network: Any, rate: Any, key: Any = 0) -> FaultyNetwork:
    """A network whose links fail at random, each step anew, in both directions together.

    Both ends know of the failure (the message was not acknowledged) and neither moves anything, so node sums are kept.
    The draw depends on the key, the step and the two ends only: every layout loses the same links.

    Args: network, not lossy itself; rate, the probability in [0, 1) that a link is down in a step, whose derivative
    is 0; key, a JAX key or an integer seed.
    Raises `CojaxInputError` for a lossy or directed network, another rate, and a link with one memory per node.
    """
    check_number("Lossy", "rate", rate, at_least=0.0, below=1.0, shaped=())
    why = "a lost direction breaks its balance"
    check_network("Lossy", network, why)
    if any(isinstance(fault, Loss) for fault in faults_of(network)):
        raise CojaxInputError("Lossy needs a network that is not lossy, got a lossy one; for more loss raise the rate.")
    return with_fault(network, Loss(floating(rate), as_key("A random network", key)), why)
