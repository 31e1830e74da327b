"""A graph that is a function of (seed, node, slot): its table is computed where its rows are."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._support.checks import CojaxInputError
from ..._support.computed_graphs import ComputedGraph, Shifts
from ..base import Layout, Link, Network
from ..links.links import Ideal
from .circulant import Circulant
from .neighbors import Neighbors


class Computed(Network):
    """The network of a computed graph, with Metropolis weights, of which nobody has to hold the whole.

        graph = cojax.graphs.computed("regular", 10**8, links=6)
        cut = cojax.shard(problem, cojax.Computed(graph), start)

    `cojax.shard` builds of it, on every device, the rows of that device alone; faults may be put on it before. Run
    without, its table is computed anew in every step; `cojax.network(graph)` builds it once.

    Args:
        graph: of `cojax.graphs.computed`, static.
        link: the channel, `Ideal()` by default.

    Raises `CojaxInputError` for another graph or link.
    Source: of the weights as for `cojax.weights.metropolis`.
    """

    graph: ComputedGraph = eqx.field(static=True)
    link: Link

    def __init__(self, graph: Any, *, link: Any = None):
        if not isinstance(graph, ComputedGraph):
            raise CojaxInputError(
                f"Computed needs a graph of cojax.graphs.computed(...), got {type(graph).__name__}; cojax.network(...) "
                "takes others."
            )
        self.graph = graph
        self.link = Ideal() if link is None else link
        if not isinstance(self.link, Link):
            raise CojaxInputError(f"Computed needs a link such as Ideal(), got {link!r}.")
        self.link.check(fixed=True, symmetric=True)

    @property
    def num_nodes(self) -> int:
        return self.graph.num_nodes

    def at(self, k):
        if isinstance(self.graph, Shifts):
            return shifts_of(self.graph, self.link)
        nodes = jnp.arange(self.num_nodes, dtype=jnp.int32)
        index = self.graph.neighbors(nodes)
        slots = jnp.arange(index.shape[0], dtype=jnp.int32)[:, None]
        mirror = jnp.asarray(self.graph.mirror, jnp.int32)[:, None]
        there = index != nodes[None]
        weights = there.astype(jnp.result_type(float))
        bare = Neighbors(weights=weights, index=index, twin=jnp.where(there, mirror, slots), link=self.link)
        return bare.reweighted(metropolis_over(bare))


def shifts_of(graph: Shifts, link: Link) -> Circulant:
    """The network of a ring with links of the same lengths everywhere, which takes no table."""
    num_links = len(graph.offsets)
    weights = jnp.full((num_links, 1), 1 / (1 + num_links), jnp.result_type(float))
    return Circulant(weights=weights, offsets=graph.offsets, size=graph.num_nodes, link=link)


def metropolis_over(layout: Layout) -> Array:
    """1 / (1 + the larger degree of its two ends) of every edge that a layout has room for, 0 where none is."""
    there = layout.edge_weights() != 0
    degree = layout.scatter(there.astype(jnp.int32))
    largest = jnp.maximum(layout.gather(degree), layout.theirs(degree))
    # Looked up: a quotient need not be rounded alike on all devices.
    weights = jnp.asarray(1 / (1 + np.arange(there.size // degree.size + 1)), jnp.result_type(float))
    return jnp.where(there, weights[largest], 0)
