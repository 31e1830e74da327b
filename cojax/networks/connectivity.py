"""Whether the links that were up in the steps of a run, taken together, connected all nodes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jaxtyping import Array, Bool, Int

from .base import Layout, Network
from .faults.faulty import members_of

# So many graphs are united between two looks at what they connect; most networks are connected after the first look.
STEPS_AT_ONCE = 64


def connects(network: Network, first: int, last: int) -> bool:
    """Whether every node could hear of every other, along the links that were up in the steps first <= k < last.

    In directed networks along the arcs. True of no steps. On the host; it looks no further once all are connected.
    Where nodes come and go: those who are there in the last step, by the steps since the last change.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links, away = _ends(network, first), network.num_nodes - network.num_callers
    up, linked = np.zeros(links.shape[1], bool), links[:, :0]
    members = members_of(network)
    if members is not None and last > first:
        before = np.asarray(members.steps)
        first = max(first, int(before[before < last].max(initial=0)))
        away = int((~np.asarray(members.there(last - 1))).sum())
    at_once = STEPS_AT_ONCE if network.edges_stay else 1
    for begin in range(first, last, at_once):
        now = _on_host(_up(network, jnp.asarray(begin), jnp.asarray(min(begin + at_once, last)))).ravel()
        if network.edges_stay:
            up |= now
            linked = links[:, up]
        else:
            linked = np.hstack([linked, _ends(network, begin)[:, now]])
        shape = (network.num_nodes, network.num_nodes)
        graph = coo_array((np.ones(linked.shape[1]), (linked[0], linked[1])), shape=shape)
        if connected_components(graph, directed=True, connection="strong")[0] == 1 + away:
            return True
    return last <= first


def _ends(network: Network, k: int) -> np.ndarray:
    """The two nodes of every directed edge of step `k`, (2, edges): the one that hears, and the one that it hears."""
    return np.stack([_on_host(part).ravel() for part in _layout(network.at(k)).ends()])


def _on_host(array: Array) -> np.ndarray:
    """All of an array, of which other processes may have rows: all of them ask together."""
    if not (array.is_fully_addressable or array.is_fully_replicated):
        array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


@jax.jit
def _up(network: Network, begin: Int[Array, ""], last: Int[Array, ""]) -> Bool[Array, "..."]:
    def unite(up: Array, k: Array) -> tuple[Array, None]:
        return up | ((_layout(network.at(k)).edge_weights() > 0) & (k < last)), None

    none = jnp.zeros(jax.eval_shape(lambda: _layout(network.at(begin)).edge_weights()).shape, bool)
    return lax.scan(unite, none, begin + jnp.arange(STEPS_AT_ONCE))[0]


def _layout(net: Any) -> Layout:
    """The graph of a step; that of a network with a `Ledger` is inside of its round."""
    return getattr(net, "graph", net)
