"""Families of graphs that grow with n, numbered at random where an order would help."""

import math
from collections.abc import Callable

import networkx as nx
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree


def _scrambled(pairs: np.ndarray, n: int) -> nx.Graph:
    """A graph whose nodes are numbered at random."""
    graph = nx.empty_graph(n)
    graph.add_edges_from(np.random.default_rng(0).permutation(n)[pairs].T.tolist())
    return graph


def lattice(n: int) -> nx.Graph:
    """25 nodes wide, so that the border of a cut stays as long where n grows."""
    graph = nx.convert_node_labels_to_integers(nx.grid_2d_graph(n // 25, 25))
    return _scrambled(np.array(graph.edges).T, n)


def geometric(n: int) -> nx.Graph:
    """Points at random in a square, linked within the least radius of a series at which all are connected."""
    tree = KDTree(np.random.default_rng(0).uniform(size=(n, 2)))
    degree = 8.0
    while True:
        pairs = tree.query_pairs(math.sqrt(degree / (math.pi * n)), output_type="ndarray").T
        graph = sparse.coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(n, n))
        if connected_components(graph, directed=False)[0] == 1:
            return _scrambled(pairs, n)
        degree *= 1.1


FAMILIES: dict[str, Callable[[int], nx.Graph]] = {
    "ring": nx.cycle_graph,
    "lattice": lattice,
    "geometric": geometric,
    "small world": lambda n: nx.connected_watts_strogatz_graph(n, 10, 0.01, seed=0),
    "random 10": lambda n: nx.random_regular_graph(10, n, seed=0),
    "scale-free": lambda n: nx.barabasi_albert_graph(n, 4, seed=0),
}
