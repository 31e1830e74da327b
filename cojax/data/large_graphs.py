"""Graphs of many nodes, in time and memory of the order of their edges."""

import math

import numpy as np
from jaxtyping import Int

from .._support.edge_lists import distinct, edge_codes, sorted_once

Pairs = Int[np.ndarray, "2 e"]


def circulant(num_nodes: int, offsets: list[int]) -> Pairs:
    """Every node i linked to i + offset."""
    nodes = np.arange(num_nodes)
    ends = np.stack([np.tile(nodes, len(offsets)), np.concatenate([(nodes + step) % num_nodes for step in offsets])])
    return sorted_once(num_nodes, ends)


def path(num_nodes: int) -> Pairs:
    nodes = np.arange(num_nodes - 1)
    return np.stack([nodes, nodes + 1])


def star(num_nodes: int) -> Pairs:
    return np.stack([np.zeros(num_nodes - 1, np.int64), np.arange(1, num_nodes)])


def complete(num_nodes: int) -> Pairs:
    return np.stack(np.triu_indices(num_nodes, 1))


def squarest_rows(num_nodes: int) -> int:
    """Of the rectangle closest to a square, no more rows than columns."""
    return next(rows for rows in range(math.isqrt(num_nodes), 0, -1) if num_nodes % rows == 0)


def rectangle(num_rows: int, num_columns: int, periodic: bool) -> Pairs:
    """Nodes numbered row by row, linked to the next in row and column."""
    place = np.arange(num_rows * num_columns).reshape(num_rows, num_columns)
    if periodic:
        ends = [(place, np.roll(place, -1, 0)), (place, np.roll(place, -1, 1))]
    else:
        ends = [(place[:-1], place[1:]), (place[:, :-1], place[:, 1:])]
    pairs = np.hstack([np.stack([one.ravel(), other.ravel()]) for one, other in ends])
    return sorted_once(place.size, pairs)


def erdos_renyi(num_nodes: int, probability: float, random: np.random.Generator) -> Pairs:
    """Each of the n (n - 1) / 2 links with one probability: first how many, then which, all alike.

    Source: Batagelj, Brandes, Phys. Rev. E 71, 2005, doi 10.1103/PhysRevE.71.036113.
    """
    most = num_nodes * (num_nodes - 1) // 2
    wanted = int(random.binomial(most, probability))
    # Distinct numbers below `most`; of a crowded graph the links that are not there.
    few = min(wanted, most - wanted)
    codes = np.zeros(0, np.int64)
    while codes.size < few:
        more = random.integers(most, size=few - codes.size + few // 16 + 16)
        codes = distinct(np.concatenate([codes, more]))
    # Any of those that are too many may go.
    codes = np.delete(codes, random.choice(codes.size, codes.size - few, replace=False))
    if few < wanted:
        codes = np.setdiff1d(np.arange(most), codes)
    # Link number c of node j to a lower one is c = j (j - 1) / 2 + i.
    high = ((1 + np.sqrt(1 + 8 * codes.astype(np.float64))) // 2).astype(np.int64)
    high += high * (high + 1) // 2 <= codes
    high -= high * (high - 1) // 2 > codes
    return sorted_once(num_nodes, np.stack([codes - high * (high - 1) // 2, high]))


def geometric(num_nodes: int, radius: float, random: np.random.Generator) -> Pairs:
    """Points on the unit square, linked where they are at most `radius` apart."""
    from scipy.spatial import KDTree  # here, because it takes longer to load than all of cojax

    points = random.random((num_nodes, 2))
    return sorted_once(num_nodes, KDTree(points).query_pairs(radius, output_type="ndarray").T)


def scale_free(num_nodes: int, links: int, random: np.random.Generator) -> Pairs:
    """Each new node linked to `links` ends of older links, so to nodes in proportion to their links.

    Ends that fall on one node are one link, so that a node may have fewer. The first `links` + 1 nodes are a star.
    Source: Barabasi, Albert, Science 286, 1999, doi 10.1126/science.286.5439.509; drawn at once as by Batagelj,
    Brandes, 2005.
    """
    first = np.stack([np.zeros(links, np.int64), np.arange(1, links + 1)])
    nodes = np.repeat(np.arange(links + 1, num_nodes), links)
    # The ends of all links in a row: link k has its new node at 2 k and an end drawn from those before its node at
    # 2 k + 1. What points to a drawn end means what that means.
    ends = np.empty(2 * (links + nodes.size), np.int64)
    ends[: 2 * links] = first.T.ravel()
    ends[2 * links :: 2] = nodes
    before = 2 * (links + (nodes - links - 1) * links)
    drawn = random.integers(before)
    while True:
        is_drawn = (drawn >= 2 * links) & (drawn % 2 == 1)
        if not is_drawn.any():
            break
        drawn = np.where(is_drawn, drawn[np.where(is_drawn, drawn // 2 - links, 0)], drawn)
    ends[2 * links + 1 :: 2] = ends[drawn]
    return sorted_once(num_nodes, ends.reshape(-1, 2).T)


def small_world(num_nodes: int, links: int, probability: float, random: np.random.Generator) -> Pairs:
    """A ring with `links` neighbours of every node, of whose links a part is given another end at random.

    Links that come to lie on others are one link. Source: Watts, Strogatz, Nature 393, 1998, doi 10.1038/30918.
    """
    nodes = np.arange(num_nodes)
    ends = np.concatenate([(nodes + step) % num_nodes for step in range(1, links // 2 + 1)])
    moved = random.random(ends.size) < probability
    ends = np.where(moved, random.integers(num_nodes, size=ends.size), ends)
    return sorted_once(num_nodes, np.stack([np.tile(nodes, links // 2), ends]))


def regular(links: int, num_nodes: int, random: np.random.Generator) -> Pairs:
    """Ends of links paired at random, `links` at every node; loops and repeated links swap an end with others.

    Source: Bollobas, European J. Combin. 1, 1980, doi 10.1016/S0195-6698(80)80030-8.
    """
    ends = random.permutation(np.repeat(np.arange(num_nodes), links)).reshape(2, -1)
    while True:
        codes = edge_codes(num_nodes, ends)
        wrong = ends[0] == ends[1]
        if distinct(codes).size < codes.size:
            order = np.argsort(codes)
            wrong[order[1:]] |= codes[order[1:]] == codes[order[:-1]]
        wrong = np.flatnonzero(wrong)
        if wrong.size == 0:
            return sorted_once(num_nodes, ends)
        partners = random.integers(codes.size, size=wrong.size)
        for one, other in zip(wrong, partners, strict=True):  # one after the other: partners may be alike
            ends[1, one], ends[1, other] = ends[1, other], ends[1, one]
