"""Networks that draw the graph of a step in it: their numbers are chosen on the first graphs that they draw."""

import numpy as np

from .._support.checks import CojaxInputError
from .._support.edge_lists import connected_parts
from ..networks.base import Network
from ..networks.build import network as network_of
from ..theory import laplacians

DRAWN = 64


def with_known_graphs(network: Network) -> Network:
    """The same link and faults over the first 64 graphs that the network draws, in turn; itself if it draws none.

    Raises `CojaxInputError` where these do not connect all nodes together: no number can be chosen on them.
    """
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    bare = network.bare()
    if not bare.draws_graphs:
        return network
    graphs = [laplacians(bare.at(k))[0] for k in range(DRAWN)]
    count, _ = connected_parts(network.num_nodes, np.concatenate([np.stack(each.nonzero()) for each in graphs], axis=1))
    if count > 1:
        raise CojaxInputError(
            f"A default needs the first {DRAWN} graphs of a {type(bare).__name__} to connect all nodes together, got "
            f"{count} parts of {network.num_nodes} nodes: draw more links, or give the method its numbers by hand."
        )
    return network.over(network_of([sparse.diags_array(each.diagonal()) - each for each in graphs], link=bare.link))
