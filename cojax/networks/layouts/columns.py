"""Where every edge stands in a table of neighbours, and how many slots its columns have."""

from typing import NamedTuple

import numpy as np

# The price of one more column, in slots: its sum is added to its node by a scatter (`benchmarks/which_layout.py`).
COLUMN_IN_SLOTS = 4.0


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
    place = _ranks(num_nodes, pairs, degree)
    # The column of a part but the first is the one before the first of those that the node has more, and the part.
    before = num_nodes + np.cumsum(more) - more - 1
    for ends, ranks in zip(pairs, place, strict=True):
        part, slot = np.divmod(ranks, max(num_slots, 1))
        column = before[ends]
        column += part
        np.copyto(column, ends, where=part == 0)
        np.multiply(slot, owner.size, out=ranks)
        ranks += column
    other = np.tile(owner, (num_slots, 1))
    for ends, there in zip(pairs[::-1], place, strict=True):
        other.reshape(-1)[there] = ends
    return Columns(other, place, owner)


def _ranks(num_nodes: int, pairs: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """At both ends of every edge (2, e): which of the neighbours, in order, the other end is."""
    codes = np.empty(pairs.shape, np.int64)
    for row, (ends, others) in zip(codes, (pairs, pairs[::-1]), strict=True):
        np.multiply(ends, num_nodes, out=row)
        row += others
    order = np.argsort(codes, axis=None)  # a third of the time of `np.lexsort`
    # 0, 1, 2, ... from every node that has a neighbour on: the sum of ones, less the degree where the next node begins.
    counts, degree = np.ones(order.size, np.int64), degree[degree > 0]
    counts[:1] = 0
    counts[np.cumsum(degree)[:-1]] -= degree[:-1]
    codes.reshape(-1)[order] = np.cumsum(counts, out=counts)
    return codes


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
