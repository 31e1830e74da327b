"""Where every edge stands in a table of neighbours, and how many slots its columns have."""

from typing import NamedTuple

import numpy as np

# The price of one more column, in slots: its sum is added to its node by a scatter (`benchmarks/which_layout.py`).
COLUMN_IN_SLOTS = 4.0


class Columns(NamedTuple):
    """A table of k slots and c columns; of e edges, the first ends and then the second stand at slot and column."""

    other: np.ndarray  # (k, c): the neighbour, the column's own node where the slot is empty
    slot: np.ndarray  # (2 e,)
    column: np.ndarray  # (2 e,)
    owner: np.ndarray  # (c,): the node of every column; every node in order, then those that need more


def columns(num_nodes: int, pairs: np.ndarray, num_slots: int) -> Columns:
    """The table of the edges pairs (2, e), every edge once, in columns of `num_slots`."""
    node, other = np.concatenate([pairs[0], pairs[1]]), np.concatenate([pairs[1], pairs[0]])
    degree = np.bincount(node, minlength=num_nodes)
    order = np.argsort(node.astype(np.int64) * num_nodes + other)  # a third of the time of `np.lexsort`
    place = np.empty(node.size, np.int64)
    place[order] = np.arange(node.size) - np.repeat(np.cumsum(degree) - degree, degree)
    more = _more_columns(degree, num_slots)
    first_more = num_nodes + np.cumsum(more) - more
    part, slot = np.divmod(place, max(num_slots, 1))
    column = np.where(part == 0, node, first_more[node] + part - 1)
    owner = np.concatenate([np.arange(num_nodes), np.repeat(np.arange(num_nodes), more)])
    index = np.tile(owner, (num_slots, 1))
    index[slot, column] = other
    return Columns(index, slot, column, owner)


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
