"""Where every edge stands in a table of neighbours, and how many slots its columns have."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..._support.edge_lists import are_in_order, edge_codes

# The price of one more column, in slots: its sum is added to its node by a scatter (`benchmarks/which_layout.py`).
COLUMN_IN_SLOTS = 4.0
EDGES_AT_ONCE = 2**18


class Columns(NamedTuple):
    """A table of k slots and c columns, and where in it each of e edges stands at its two ends."""

    other: np.ndarray  # (k, c): the neighbour, the column's own node where the slot is empty
    place: np.ndarray  # (2, e), slot * c + column
    owner: np.ndarray  # (c,): the node of every column; every node in order, then those that need more


def columns(num_nodes: int, pairs: np.ndarray, num_slots: int) -> Columns:
    """The table of the edges pairs (2, e), every edge once, in columns of `num_slots`."""
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    more = _more_columns(degree, num_slots)
    nodes = np.arange(num_nodes, dtype=np.int32)
    owner = np.concatenate([nodes, np.repeat(nodes, more)])
    places = np.int32 if num_slots * owner.size < 2**31 else np.int64
    place = _ranks(num_nodes, pairs).astype(places, copy=False)
    # The column of a part but the first is the one before the first of those that the node has more, and the part.
    before = (num_nodes + np.cumsum(more) - more - 1).astype(places)
    for ends, ranks in zip(pairs, place, strict=True):
        part, slot = np.divmod(ranks, max(num_slots, 1))
        column = before[ends]
        column += part
        np.copyto(column, ends, where=part == 0)
        np.multiply(slot, owner.size, out=ranks)
        ranks += column
    other = np.tile(owner, (num_slots, 1))
    for part in blocks(pairs.shape[1]):
        for ends, there in zip(pairs[::-1, part], place[:, part], strict=True):
            other.reshape(-1)[there] = ends
    return Columns(other, place, owner)


def blocks(num_edges: int) -> Iterator[slice]:
    """Some edges after the other: NumPy turns an index of 32 bits into one of 64, and need not turn all at once."""
    for first in range(0, num_edges, EDGES_AT_ONCE):
        yield slice(first, first + EDGES_AT_ONCE)


def _ranks(num_nodes: int, pairs: np.ndarray) -> np.ndarray:
    """At both ends of every edge (2, e): which of the neighbours, in order, the other end is."""
    if are_in_order(pairs):
        return _ranks_in_order(num_nodes, pairs)
    order = np.argsort(edge_codes(num_nodes, pairs))
    ranks = np.empty(pairs.shape, np.int32)
    ranks[:, order] = _ranks_in_order(num_nodes, np.sort(pairs, axis=0)[:, order])
    return np.where(pairs[0] > pairs[1], ranks[::-1], ranks)


def _ranks_in_order(num_nodes: int, pairs: np.ndarray) -> np.ndarray:
    """The same of edges with their lower ends first, in the order of these and then of the others: nothing is sorted.

    So the neighbours of a node that are above it come one after the other, after all that are below it.
    """
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    low, high = pairs
    below, above = (np.bincount(ends, minlength=num_nodes) for ends in (high, low))
    begins = np.concatenate([[0], np.cumsum(above)]).astype(np.int32)
    edges = np.arange(low.size, dtype=np.int32)
    by_low = sparse.csr_array((edges, high.astype(np.int32), begins), shape=(num_nodes, num_nodes))
    by_high: Any = by_low.tocsc().data  # the edges in the order of their higher ends
    del by_low
    ranks = np.empty(pairs.shape, np.int32)
    ranks[1, by_high] = edges - np.repeat((np.cumsum(below) - below).astype(np.int32), below)
    np.subtract(edges, (begins[:-1] - below.astype(np.int32))[low], out=ranks[0])
    return ranks


def split_cost(degree: np.ndarray) -> tuple[int, float]:
    """The number of slots of the cheapest split table for nodes of these degrees, and its price in slots."""
    choices = [int(size) for size in np.unique(np.geomspace(1, degree.max(initial=1), 40).round())]

    def price(num_slots: int) -> float:
        more = int(_more_columns(degree, num_slots).sum())
        return num_slots * (degree.size + more) + COLUMN_IN_SLOTS * more

    best = min(choices, key=price)
    return best, price(best)


def _more_columns(degree: np.ndarray, num_slots: int) -> np.ndarray:
    return np.maximum(-(-degree // max(num_slots, 1)) - 1, 0)
