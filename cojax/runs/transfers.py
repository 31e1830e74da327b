"""What one step moves along every link, before any node sums it up."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from .._support.checks import CojaxInputError, check_kinds, is_concrete
from ..methods import Method
from ..networks.base import Network
from ..networks.laws import Along, Transfer
from .solutions import State


class Transfers(NamedTuple):
    """What the links of one graph carry; a link is in it once, from its smaller row to its larger one.

    Fields:
        pairs: (e, 2), the rows of the two ends of every link.
        cpu: (e,) or (e, r), given by the first of the pair to the second, in units of cpu; negative backwards.
    """

    pairs: Int[np.ndarray, "e 2"]
    cpu: Float[np.ndarray, "e *r"]


def transfers(network: Network, method: Method, state: Any) -> Transfers:
    """The CPU that the next step after `state` moves along every link that is up; on the host, not under jit.

    Args: network, method and the `state` of a run, `solution.state` say. What a node receives minus what it gives is
    what `Laplacian`, alone or in a `CoOpt`, adds to its share, bit for bit; the accelerated allocators add a memory
    of former steps, which is at the nodes and not on the links (`MomentumFlow` moves at once what its shares will have
    moved in the end).

    Raises `CojaxInputError` for a method without shares, a state of another run, a directed network, and a `Ledger`,
    where CPU may be on its way for more than one step.
    """
    check_kinds("transfers", ("network", network, Network), ("method", method, Method), ("state", state, State))
    if not is_concrete(network, method, state):
        raise CojaxInputError("transfers computes on the host, got traced values; call it outside of jit.")
    if network.keeps_books:
        raise CojaxInputError("transfers needs a network without a ledger, got one with it; see records.in_flight.")
    net = network.at(state.step)
    if not net.symmetric:
        raise CojaxInputError(f"transfers needs an undirected network, got a {type(net).__name__}: draw its cpu alone.")
    along: Any = _laws_of(network, method, state)
    part = 1 if isinstance(along, tuple) else None  # the allocator is the second half of a CoOpt
    law = along if part is None else along[part]
    if not isinstance(law, Transfer):
        got = type(law).__name__ if isinstance(law, Along) else "no law of its own"
        raise CojaxInputError(f"transfers needs a method that moves shares, Laplacian say, got one with {got}.")
    received = np.asarray(net.over_edges(law, state.wire.said(net, part)))
    nodes, others = net.ends()
    taker, giver = np.asarray(nodes).ravel(), np.asarray(others).ravel()
    up = (np.asarray(net.edge_weights()).ravel() != 0) & (giver < taker)
    received = received.reshape(giver.size, *received.shape[nodes.ndim :])
    return Transfers(np.stack([giver[up], taker[up]], axis=1), received[up])


def _laws_of(network: Network, method: Method, state: Any) -> Any:
    """The laws of the message, if `state` is one of this method with as many rows as the network has."""
    try:
        here = method.at(state.step)
        along, (params, cpu) = here.along(state.method), here.query(state.method)
    except Exception:  # whatever a method raises on another one's state
        fits, along = False, None
    else:
        fits = all(len(leaf) == network.num_nodes for leaf in jax.tree.leaves((params, cpu)))
    if not fits:
        raise CojaxInputError("transfers needs a state of a run with this network and method, got another's.")
    return along
