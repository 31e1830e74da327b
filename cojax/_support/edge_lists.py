"""A graph as an array: what holds a million nodes where a networkx graph would take minutes and gigabytes."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from .checks import CojaxInputError


class EdgeList(NamedTuple):
    """An undirected graph over nodes 0 ... num_nodes - 1, for `cojax.network` in place of a networkx graph.

    Fields: num_nodes; pairs (2, e), the two ends of every edge, in any order, every edge once.
    """

    num_nodes: int
    pairs: Int[np.ndarray, "2 e"]

    def to_networkx(self) -> Any:
        """The same graph, which takes some 500 bytes and 2 us an edge there."""
        import networkx as nx

        graph = nx.empty_graph(self.num_nodes)
        graph.add_edges_from(np.asarray(self.pairs).T.tolist())
        return graph

    def __repr__(self) -> str:
        return f"EdgeList({self.num_nodes} nodes, {np.shape(self.pairs)[-1]} edges)"


def sorted_once(num_nodes: int, pairs: Int[np.ndarray, "2 m"]) -> Int[np.ndarray, "2 e"]:
    """Every edge of `pairs` once, lower end first, in order; without loops. What is so already is not copied."""
    if pairs.dtype == np.int64 and are_in_order(pairs):
        return pairs
    codes = distinct(edge_codes(num_nodes, pairs)[pairs[0] != pairs[1]])
    found = np.empty((2, codes.size), np.int64)
    np.floor_divide(codes, num_nodes, out=found[0])
    np.multiply(found[0], -num_nodes, out=found[1])
    found[1] += codes
    return found


def edge_codes(num_nodes: int, pairs: Int[np.ndarray, "2 e"]) -> Int[np.ndarray, " e"]:
    """A number for every edge, in the order of their lower ends, and then of the higher ones."""
    codes = np.minimum(*pairs).astype(np.int64, copy=False)  # in place: of many edges a copy is what takes memory
    codes *= num_nodes
    codes += np.maximum(*pairs).astype(np.int64, copy=False)
    return codes


def are_in_order(pairs: Int[np.ndarray, "2 e"]) -> bool:
    """Whether every edge is there once, lower end first, in the order of these and then of the others."""
    low, high = pairs
    after = (low[1:] > low[:-1]) | ((low[1:] == low[:-1]) & (high[1:] > high[:-1]))
    return bool(after.all() and (low < high).all())


def distinct(codes: Int[np.ndarray, " m"]) -> Int[np.ndarray, " k"]:
    """The numbers of `codes` in order, each once; in NumPy 2.4.6 `np.unique` takes fifty times as long."""
    codes = np.sort(codes)
    return codes[np.concatenate([np.ones(codes[:1].size, bool), codes[1:] != codes[:-1]])]


def connected_parts(
    num_nodes: int, pairs: Int[np.ndarray, "2 e"], *, directed: bool = False
) -> tuple[int, Int[np.ndarray, " n"]]:
    """How many connected parts there are, strongly so if `directed`, and the part of every node."""
    from scipy.sparse import coo_array  # here, because it takes longer to load than all of cojax
    from scipy.sparse.csgraph import connected_components

    ends = tuple(pairs.astype(np.int32))  # SciPy 1.17 keeps those of 64 bits, in all of its copies
    graph = coo_array((np.ones(pairs.shape[1], bool), ends), shape=(num_nodes, num_nodes)).tocsr()
    count, part = connected_components(graph, directed=directed, connection="strong")
    return int(count), part


def check_strongly_connected(needed: str, num_nodes: int, arcs: Int[np.ndarray, "2 a"], why: str) -> None:
    """Refuse a digraph in parts by a sentence that begins with what is `needed`, and ends with `why` and what to do."""
    num_parts, part = connected_parts(num_nodes, arcs, directed=True)
    if num_parts > 1:
        lone = int(np.flatnonzero(part == np.bincount(part).argmin())[0])
        raise CojaxInputError(
            f"{needed}, got {num_parts} parts: no path leads from node {lone} to every other one and back, {why}"
        )
