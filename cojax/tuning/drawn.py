"""Networks that draw the graph of a step in it: their numbers are chosen on the first graphs that they draw."""

from ..networks.base import Network
from ..networks.build import network as network_of
from ..theory import laplacians

DRAWN = 64


def with_known_graphs(network: Network) -> Network:
    """The same link and faults over the first 64 graphs that the network draws, in turn; itself if it draws none."""
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    bare = network.bare()
    if not bare.draws_graphs:
        return network
    graphs = [laplacians(bare.at(k))[0] for k in range(DRAWN)]
    return network.over(network_of([sparse.diags_array(each.diagonal()) - each for each in graphs], link=bare.link))
