"""Graphs come by name, from a file, or typed in here as facts; all are networkx graphs."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._support.checks import CojaxInputError, check_number, whole_number
from .backbones import abilene as abilene
from .backbones import nsfnet as nsfnet
from .files import checked_path, open_unpacked, unpacked_name
from .gml import read_gml as read_gml
from .graphfiles import MAX_BYTES
from .graphfiles import GraphFile as GraphFile
from .graphml import read_graphml as read_graphml
from .linklists import read_edge_list as read_edge_list
from .linklists import read_edges as read_edges
from .sndlib import NATIVE
from .sndlib import read_sndlib as read_sndlib

READERS = {".graphml": read_graphml, ".gml": read_gml, ".csv": read_edges, ".xml": read_sndlib}
# Of graphs that take turns; a node or link of each takes about 500 bytes and 20 us while they are made.
MANY, MOST_PARTS = 1000, 400_000
LISTS = (".txt", ".tsv", ".edges", ".edgelist", ".el", ".mtx")


def read_graph(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a file whose name says what it is.

    Args:
        path: `.graphml`, `.gml`, `.csv` (links, with a header), `.xml` (of SNDlib, or GraphML), or `.txt`, `.tsv`,
            `.edges`, `.edgelist`, `.el`, `.mtx` and KONECT's `out.*` (SNDlib's native format, or a list of links with
            no header); each of them also packed as `.bz2` or `.gz`.
        max_bytes: the most that is read, unpacked included.

    Raises `CojaxInputError` for any other name and for whatever does not fit the format.
    """
    path = Path(path)
    inside = unpacked_name(path)
    kind = inside.suffix.lower()
    if kind in READERS and kind != ".xml":
        return READERS[kind](path, max_bytes=max_bytes)
    if kind not in (".xml", *LISTS) and not inside.name.startswith("out."):
        raise CojaxInputError(
            f"{path} needs the suffix {', '.join(READERS)} or {', '.join(LISTS)} (lists of links), got "
            f"{kind or 'none'}: save the graph in one of these formats."
        )
    with open_unpacked(checked_path(path, max_bytes), max_bytes) as handle:
        begin = handle.read(2000)
    if kind == ".xml":
        return (read_graphml if b"<graphml" in begin else read_sndlib)(path, max_bytes=max_bytes)
    is_native = begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(NATIVE.encode())
    return (read_sndlib if is_native else read_edge_list)(path, max_bytes=max_bytes)


def named(name: str, num_nodes: int | None = None, *, seed: int = 0, **settings: Any) -> Any:
    """The networkx graph of a name, over nodes 0 ... n-1 or, for real networks, over cities.

    Args:
        name: ring, path, complete, star, grid, torus, exponential (i linked to i + 2^k), erdos_renyi, geometric,
            scale_free, nsfnet or abilene.
        num_nodes: n; real networks have their own.
        seed: of the random graphs; the same seed gives the same graph.
        settings: `probability` of a link for erdos_renyi, `radius` on the unit square for geometric, `links` of every
            new node for scale_free. By default the first two are twice, and 1.5 times, what a connected graph needs.

    Random graphs are drawn until one is connected. Raises `CojaxInputError` for other names and settings, sizes that
    the graph does not come in, and random graphs of which 100 draws are not connected.
    """
    if name not in GRAPHS:
        raise CojaxInputError(f"graphs.named knows {', '.join(GRAPHS)}, got {name!r}.")
    maker = GRAPHS[name]
    allowed = [key for key in inspect.signature(maker).parameters if key not in ("num_nodes", "seed")]
    for key, value in settings.items():
        if key not in allowed:
            raise CojaxInputError(f"graphs.named({name!r}) takes {' and '.join(allowed) or 'no settings'}, got {key}.")
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise CojaxInputError(f"graphs.named({name!r}) needs a number > 0 for {key}, got {value!r}.")
    seed = whole_number(f"graphs.named({name!r})", "seed", seed, at_least=0)
    if settings.get("probability", 0) > 1:
        raise CojaxInputError(f"graphs.named({name!r}) needs probability <= 1, got {settings['probability']:g}.")
    if name in ("nsfnet", "abilene"):
        graph = maker()
        if num_nodes not in (None, len(graph)):
            raise CojaxInputError(
                f"graphs.named({name!r}) has {len(graph)} nodes, got num_nodes={num_nodes}; leave it out."
            )
        return graph
    num_nodes = whole_number(f"graphs.named({name!r})", "num_nodes", num_nodes, at_least=1)
    return maker(num_nodes, seed, **settings)


def switching(graph: Any, num_graphs: int, *, seed: int, share: int | float = 0.5) -> list[Any]:
    """`num_graphs` graphs over the nodes of `graph`; the links of each are a random subset, and together they are all.

    Every link is up in one graph drawn at random, and in each other one with probability `share`. A single graph may
    well be unconnected: nodes then agree over several steps, as in Nedić, Olshevsky, Shi, SIAM J. Optim. 27(4), 2017,
    doi 10.1137/16M1084316. Raises `CojaxInputError` for num_graphs < 1, a share outside [0, 1], and more than a
    thousand graphs that have more than 400 000 nodes and links together.
    """
    num_graphs = whole_number("graphs.switching", "num_graphs", num_graphs, at_least=1)
    seed = whole_number("graphs.switching", "seed", seed, at_least=0)
    check_number("graphs.switching", "share", share, at_least=0.0, at_most=1.0, shaped=())
    rng = np.random.default_rng(seed)
    links = list(graph.edges)
    check_switching("graphs.switching", "num_graphs", graph, num_graphs)
    up = rng.random((num_graphs, len(links))) < share
    up[rng.integers(num_graphs, size=len(links)), np.arange(len(links))] = True
    parts = []
    for row in up:
        part = graph.copy()
        part.remove_edges_from([link for link, keep in zip(links, row, strict=True) if not keep])
        parts.append(part)
    return parts


def check_switching(owner: str, name: str, graph: Any, num_graphs: int) -> None:
    """Refuse so many graphs that making them takes minutes and gigabytes."""
    size = len(graph) + graph.number_of_edges()
    most = max(MANY, MOST_PARTS // max(size, 1))
    if num_graphs > most:
        raise CojaxInputError(
            f"{owner} needs {name} <= {most} for a graph of {len(graph)} nodes and {graph.number_of_edges()} links, "
            f"got {num_graphs}, which takes about {num_graphs * size * 500 / 1e9:.2g} GB to make: they take turns, so "
            "fewer serve as well."
        )


def _ring(num_nodes: int, seed: int) -> Any:
    return _circulant(num_nodes, [1])


def _exponential(num_nodes: int, seed: int) -> Any:
    # Source: Ying et al., NeurIPS 2021, arXiv 2110.13363; made undirected.
    return _circulant(num_nodes, [2**k for k in range(max(num_nodes - 1, 1).bit_length())])


def _circulant(num_nodes: int, offsets: list[int]) -> Any:
    import networkx as nx

    graph = nx.empty_graph(num_nodes)
    ends = [(node, (node + offset) % num_nodes) for offset in offsets for node in range(num_nodes)]
    graph.add_edges_from((a, b) for a, b in ends if a != b)
    return graph


def _path(num_nodes: int, seed: int) -> Any:
    import networkx as nx

    return nx.path_graph(num_nodes)


def _complete(num_nodes: int, seed: int) -> Any:
    import networkx as nx

    return nx.complete_graph(num_nodes)


def _star(num_nodes: int, seed: int) -> Any:
    import networkx as nx

    return nx.star_graph(num_nodes - 1)


def _grid(num_nodes: int, seed: int) -> Any:
    return _rectangle("grid", num_nodes, least=2, periodic=False)


def _torus(num_nodes: int, seed: int) -> Any:
    return _rectangle("torus", num_nodes, least=3, periodic=True)


def _rectangle(name: str, num_nodes: int, *, least: int, periodic: bool) -> Any:
    """The rectangle closest to a square, its nodes numbered row by row."""
    import networkx as nx

    rows = next(rows for rows in range(math.isqrt(num_nodes), 0, -1) if num_nodes % rows == 0)
    if rows < least:
        raise CojaxInputError(
            f"graphs.named({name!r}) needs num_nodes = rows * columns with at least {least} of both, got {num_nodes}."
        )
    return nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, num_nodes // rows, periodic=periodic))


def _erdos_renyi(num_nodes: int, seed: int, probability: int | float | None = None) -> Any:
    import networkx as nx

    if probability is None:
        probability = min(1.0, 2 * math.log(max(num_nodes, 2)) / num_nodes)
    return _draw_connected(
        "erdos_renyi",
        seed,
        "probability",
        probability,
        lambda draw: nx.gnp_random_graph(num_nodes, probability, seed=draw),
    )


def _geometric(num_nodes: int, seed: int, radius: int | float | None = None) -> Any:
    import networkx as nx

    if radius is None:
        radius = 1.5 * math.sqrt(math.log(max(num_nodes, 2)) / (math.pi * num_nodes))
    return _draw_connected(
        "geometric", seed, "radius", radius, lambda draw: nx.random_geometric_graph(num_nodes, radius, seed=draw)
    )


def _scale_free(num_nodes: int, seed: int, links: int | float = 2) -> Any:
    import networkx as nx

    if links != int(links) or links >= num_nodes:
        raise CojaxInputError(f"graphs.named('scale_free') needs whole links < num_nodes={num_nodes}, got {links}.")
    return nx.barabasi_albert_graph(num_nodes, int(links), seed=seed)


def _draw_connected(name: str, seed: int, setting: str, value: int | float, draw: Callable[[int], Any]) -> Any:
    import networkx as nx

    for number in np.random.default_rng(seed).integers(2**31, size=100):
        graph = draw(int(number))
        if nx.is_connected(graph):
            return graph
    raise CojaxInputError(f"graphs.named({name!r}) drew 100 graphs and none is connected: raise {setting}={value:g}.")


GRAPHS: dict[str, Callable[..., Any]] = {
    "ring": _ring,
    "path": _path,
    "complete": _complete,
    "star": _star,
    "grid": _grid,
    "torus": _torus,
    "exponential": _exponential,
    "erdos_renyi": _erdos_renyi,
    "geometric": _geometric,
    "scale_free": _scale_free,
    "nsfnet": nsfnet,
    "abilene": abilene,
}
