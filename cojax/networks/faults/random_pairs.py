"""Pairs of nodes that are drawn at random at every step, inside the loop."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from ..._support.checks import CojaxInputError, as_key, whole_number
from ..base import Link, Network
from ..layouts.neighbors import Neighbors
from ..links.links import Ideal
from .draws import key_words


class RandomPairs(Network):
    """Every node has one neighbour, drawn anew at every step, and the weight 1/2: W puts both on their mean.

    The pairs of a step are a round of a round-robin tournament of all nodes, drawn at random: every two nodes meet as
    often as in a perfect matching drawn uniformly, with probability 1/(n - 1). W is a projection, so that the mean
    square of disagreement falls as fast as there, (n - 2)/(2(n - 1)) times in every step. Of an odd number of nodes one
    stays alone, each as often, and two meet with probability 1/n. The pairs follow from the key and the step alone, by
    a few operations a node and no sort.

        network = cojax.Intermittent(cojax.RandomPairs(1000), 50)
        outer = optax.sgd(0.7, momentum=0.5)
        method = cojax.CoOpt(learn=cojax.LocalSteps(inner=optax.adamw(1e-3), outer=outer, every=50))

    This is the optimizer of NoLoCo, with beta = gamma = 0.7 and alpha = 0.5. Links with memory are refused, for a pair
    that parts has nothing to remember, and so is a `Ledger`.

    Args:
        size: n, static.
        key: a JAX key or an integer seed.

    Raises `CojaxInputError` for a size < 2, another key, and a link with memory.
    Source: gossip of random pairs: Boyd, Ghosh, Prabhakar, Shah, IEEE Transactions on Information Theory 2006,
    doi 10.1109/TIT.2006.874516; NoLoCo: Kolehmainen et al., arXiv 2506.10911.
    """

    key: PRNGKeyArray
    size: int = eqx.field(static=True)
    link: Link

    def __init__(self, size: Any, key: Any = 0, *, link: Link | None = None):
        self.size = whole_number("RandomPairs", "size", size, at_least=2)
        self.key = as_key("A random network", key)
        self.link = Ideal() if link is None else link
        if not isinstance(self.link, Link):
            raise CojaxInputError(f"RandomPairs needs a link such as Ideal(), got {link!r}.")
        if self.link.remembers:
            raise CojaxInputError(
                f"RandomPairs needs a link without memory, got {self.link}: a pair that parts has nothing to remember; "
                "use Ideal() or Quantized(quantizer)."
            )

    @property
    def num_nodes(self) -> int:
        return self.size

    @property
    def edges_stay(self) -> bool:
        return False

    @property
    def draws_graphs(self) -> bool:
        return True

    def at(self, k):
        # The circle method: of an odd number m of seats i meets c - i modulo m, and the seat that would meet itself
        # meets the node that has none, the last of an even number, or stays alone.
        seats = self.size - 1 + self.size % 2
        word, _ = key_words(self.key, k)
        sum_of_two = (word % jnp.uint32(seats)).astype(jnp.int32)
        nodes = jnp.arange(self.size, dtype=jnp.int32)
        other = (sum_of_two - nodes) % seats
        if self.size % 2 == 0:
            meets_itself = jnp.where(sum_of_two % 2 == 0, sum_of_two // 2, (sum_of_two + seats) // 2)
            other = jnp.where(nodes == seats, meets_itself, jnp.where(other == nodes, seats, other))
        weights = jnp.where(other == nodes, 0.0, jnp.asarray(0.5, jnp.result_type(float)))
        return Neighbors(weights=weights[None], index=other[None], twin=jnp.zeros_like(other)[None], link=self.link)
