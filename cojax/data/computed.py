"""Graphs by name of which every device computes its own part."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from .._support.checks import CojaxInputError, check_number, did_you_mean, is_concrete, whole_number
from .._support.computed_graphs import MOST_NODES, SPACING, Cells, ComputedGraph, Cycles, Rectangle, Shifts
from .large_graphs import squarest_rows

# Of a point from the middle of its cell, in `SPACING`s: less than a quarter of the spacing either way.
MOST_ASIDE = SPACING // 4
LEAST_RADIUS, MOST_RADIUS = math.sqrt(10) / 2, 7


def computed(name: str, num_nodes: int, *, seed: int = 0, **settings: Any) -> ComputedGraph:
    """The graph of a name, of which the neighbours of any nodes are computed alone: nobody has to hold it whole.

        graph = cojax.graphs.computed("regular", 10**8, links=6, seed=1)
        network = cojax.Computed(graph, link=link)      # for `cojax.shard`: every device builds its own rows
        graph.neighbors(jnp.arange(100))                # (6, 100), of the first 100 nodes

    All of these are connected. `cojax.network(graph)` takes them too, and builds them whole.

    Args:
        name: ring; circulant, with `offsets`, of every node to neighbours on one side; grid and torus, the rectangle
            closest to a square; regular, `links` of every node (10), an even number: the links of links / 2 random
            rings through all nodes, of which two share a few, so that a few nodes have less; geometric, points near
            those of a square grid, linked where they are at most `radius` apart, in spacings of the grid (sqrt(10) / 2,
            the least that links all), so that a node has about pi radius^2 - 1 neighbours, and fewer at the edge.
            From 2^19 nodes on a ring of a regular graph comes to 512 parts of the nodes in turn, again and again: the
            neighbours of a part are in `links` others, and a few elsewhere if 512 does not divide n, near in memory and
            on few devices. The graph expands as well.
        num_nodes: n, below 2^31.
        seed: of the random graphs, below 2^32; the same seed gives the same graph, on every machine.

    Raises `CojaxInputError` for other names and settings, sizes that the graph does not come in, and offsets or a
    radius that would leave nodes unconnected.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        raise CojaxInputError(
            f"graphs.computed knows {', '.join(FAMILIES)}, got {name!r}{did_you_mean(str(name), FAMILIES) or '.'}"
        )
    maker = FAMILIES[name]
    owner = f"graphs.computed({name!r})"
    allowed = [key for key in inspect.signature(maker).parameters if key not in ("owner", "num_nodes", "seed")]
    for key in settings:
        if key not in allowed:
            raise CojaxInputError(f"{owner} takes {' and '.join(allowed) or 'no settings'}, got {key}.")
    num_nodes = whole_number(owner, "num_nodes", num_nodes, at_least=3, at_most=MOST_NODES)
    seed = whole_number(owner, "seed", seed, at_least=0, at_most=2**32 - 1)  # beyond, seeds of rings would meet
    return maker(owner, num_nodes, seed, **settings)


def _ring(owner: str, num_nodes: int, seed: int) -> ComputedGraph:
    return _circulant(owner, num_nodes, seed, (1,))


def _circulant(owner: str, num_nodes: int, seed: int, offsets: Any = (1,)) -> ComputedGraph:
    if not isinstance(offsets, Sequence) or isinstance(offsets, str) or not offsets:
        raise CojaxInputError(f"{owner} needs a sequence of offsets such as (1, 5), got {offsets!r}.")
    given = [whole_number(owner, "offset", offset, at_least=1, at_most=num_nodes - 1) for offset in offsets]
    common = math.gcd(num_nodes, *given)
    if common > 1:
        raise CojaxInputError(
            f"{owner} needs offsets that lead to all of {num_nodes} nodes, got {tuple(given)}, all multiples of "
            f"{common} as that is: the nodes can never agree. Add the offset 1."
        )
    both = tuple(dict.fromkeys(way for offset in given for way in (offset, num_nodes - offset)))
    mirror = tuple(both.index(num_nodes - offset) for offset in both)
    return Shifts(num_nodes, mirror, both)


def _grid(owner: str, num_nodes: int, seed: int) -> ComputedGraph:
    return Rectangle(num_nodes, (1, 0, 3, 2), _columns(owner, num_nodes, least=2), periodic=False)


def _torus(owner: str, num_nodes: int, seed: int) -> ComputedGraph:
    return Rectangle(num_nodes, (1, 0, 3, 2), _columns(owner, num_nodes, least=3), periodic=True)


def _columns(owner: str, num_nodes: int, *, least: int) -> int:
    rows = squarest_rows(num_nodes)
    if rows < least:
        raise CojaxInputError(
            f"{owner} needs num_nodes = rows * columns with at least {least} of both, got {num_nodes}."
        )
    return num_nodes // rows


def _regular(owner: str, num_nodes: int, seed: int, links: Any = 10) -> ComputedGraph:
    links = whole_number(owner, "links", links, at_least=2, at_most=num_nodes - 1)
    if links % 2:
        raise CojaxInputError(f"{owner} needs an even number of links, two for every ring, got {links}.")
    return Cycles(num_nodes, tuple(slot ^ 1 for slot in range(links)), seed)


def _geometric(owner: str, num_nodes: int, seed: int, radius: Any = LEAST_RADIUS) -> ComputedGraph:
    if not is_concrete(radius):
        raise CojaxInputError(f"{owner} needs a radius that is known, got a traced one; make the graph outside of jit.")
    check_number(owner, "radius", radius, shaped=())
    if not LEAST_RADIUS <= radius <= MOST_RADIUS:
        raise CojaxInputError(
            f"{owner} needs a radius from sqrt(10) / 2 = 1.58114, below which nodes may be alone, to {MOST_RADIUS}, in "
            f"spacings of the grid, got {radius:g}."
        )
    columns = _columns(owner, num_nodes, least=2)
    reach, farthest = int((radius * SPACING) ** 2), math.ceil(radius) + 1
    steps = range(-farthest, farthest + 1)
    offsets = tuple((down, right) for down in steps for right in steps if 0 < _least_square(down, right) <= reach)
    mirror = tuple(offsets.index((-down, -right)) for down, right in offsets)
    return Cells(num_nodes, mirror, columns, reach, seed, offsets)


def _least_square(*steps: int) -> int:
    """The square of how near the points of two cells can be, so many cells apart; 0 of a cell and itself."""
    return sum(max(abs(step) * SPACING - 2 * MOST_ASIDE + 1, 0) ** 2 for step in steps)


FAMILIES: dict[str, Callable[..., ComputedGraph]] = {
    "ring": _ring,
    "circulant": _circulant,
    "grid": _grid,
    "torus": _torus,
    "regular": _regular,
    "geometric": _geometric,
}
