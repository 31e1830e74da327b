"""Graphs come by name, from a file, or typed in here as facts: networkx graphs, or arrays where they are large."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._support.checks import CojaxInputError, check_number, did_you_mean, whole_number
from .._support.computed_graphs import ComputedGraph as ComputedGraph
from .._support.edge_lists import EdgeList as EdgeList
from .._support.edge_lists import connected_parts
from . import large_graphs
from .backbones import abilene as abilene
from .backbones import nsfnet as nsfnet
from .computed import computed as computed
from .files import checked_path, open_unpacked, path_to_read, unpacked_name
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
# Nodes of a graph that networkx makes in a second or two.
MOST_NETWORKX = 20_000
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
    path = path_to_read(path)
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
    """The graph of a name, over nodes 0 ... n-1 or, for real networks, over cities.

    Args:
        name: ring, path, complete, star, grid, torus, exponential (i linked to i + 2^k), regular, erdos_renyi,
            geometric, scale_free, small_world, nsfnet or abilene.
        num_nodes: n; real networks have their own.
        seed: of the random graphs; the same seed gives the same graph.
        settings: `links` of every node for regular (10), of every new node for scale_free (2), and of every node of the
            ring for small_world (10, an even number; a part of them, `probability` 0.1, is moved); `probability` of a
            link for erdos_renyi, `radius` on the unit square for geometric, by default twice, and 1.5 times, what a
            connected graph needs.

    Up to 20 000 nodes a networkx graph, as networkx draws it. Above, an `EdgeList`, drawn by another program, so that a
    seed gives another graph than networkx would: 10^6 nodes take seconds. `cojax.network` takes both.

    Random graphs are drawn until one is connected. Raises `CojaxInputError` for other names and settings, sizes that
    the graph does not come in, and random graphs of which 100 draws are not connected.
    """
    if not isinstance(name, str) or name not in GRAPHS:
        raise CojaxInputError(
            f"graphs.named knows {', '.join(GRAPHS)}, got {name!r}{did_you_mean(str(name), GRAPHS) or '.'}"
        )
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
    """`num_graphs` graphs over the nodes of `graph`, and of its kind, whose links are random subsets, together all.

    `graph` is one of networkx, or an `EdgeList`; of a computed one take its `edge_list()`.

    Every link is up in one graph drawn at random, and in each other one with probability `share`. A single graph may
    well be unconnected: nodes then agree over several steps, as in Nedić, Olshevsky, Shi, SIAM J. Optim. 27(4), 2017,
    doi 10.1137/16M1084316. Raises `CojaxInputError` for another graph, num_graphs < 1, a share outside [0, 1], and more
    than a thousand graphs that have more than 400 000 nodes and links together.
    """
    num_graphs = whole_number("graphs.switching", "num_graphs", num_graphs, at_least=1)
    seed = whole_number("graphs.switching", "seed", seed, at_least=0)
    check_number("graphs.switching", "share", share, at_least=0.0, at_most=1.0, shaped=())
    rng = np.random.default_rng(seed)
    if isinstance(graph, EdgeList):
        up = _ups(rng, num_graphs, graph.pairs.shape[1], share)
        return [EdgeList(graph.num_nodes, graph.pairs[:, row]) for row in up]
    if not (hasattr(graph, "adjacency") and hasattr(graph, "nodes")):
        raise CojaxInputError(
            f"graphs.switching needs a networkx graph or a graphs.EdgeList, got {type(graph).__name__}; of a computed "
            "graph take its edge_list()."
        )
    links = list(graph.edges)
    check_switching("graphs.switching", "num_graphs", graph, num_graphs)
    up = _ups(rng, num_graphs, len(links), share)
    parts = []
    for row in up:
        part = graph.copy()
        part.remove_edges_from([link for link, keep in zip(links, row, strict=True) if not keep])
        parts.append(part)
    return parts


def _ups(rng: np.random.Generator, num_graphs: int, num_links: int, share: int | float) -> np.ndarray:
    """Which links are up in which graph (T, e)."""
    up = rng.random((num_graphs, num_links)) < share
    up[rng.integers(num_graphs, size=num_links), np.arange(num_links)] = True
    return up


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
    if num_nodes > MOST_NETWORKX:
        return EdgeList(num_nodes, large_graphs.circulant(num_nodes, offsets))
    import networkx as nx

    graph = nx.empty_graph(num_nodes)
    ends = [(node, (node + offset) % num_nodes) for offset in offsets for node in range(num_nodes)]
    graph.add_edges_from((a, b) for a, b in ends if a != b)
    return graph


def _path(num_nodes: int, seed: int) -> Any:
    import networkx as nx

    return _fixed(num_nodes, nx.path_graph, large_graphs.path)


def _complete(num_nodes: int, seed: int) -> Any:
    import networkx as nx

    return _fixed(num_nodes, nx.complete_graph, large_graphs.complete)


def _star(num_nodes: int, seed: int) -> Any:
    import networkx as nx

    return _fixed(num_nodes, lambda size: nx.star_graph(size - 1), large_graphs.star)


def _fixed(num_nodes: int, small: Callable[[int], Any], large: Callable[[int], np.ndarray]) -> Any:
    """The graph of networkx, or where that is large the same by its pairs."""
    return small(num_nodes) if num_nodes <= MOST_NETWORKX else EdgeList(num_nodes, large(num_nodes))


def _grid(num_nodes: int, seed: int) -> Any:
    return _rectangle("grid", num_nodes, least=2, periodic=False)


def _torus(num_nodes: int, seed: int) -> Any:
    return _rectangle("torus", num_nodes, least=3, periodic=True)


def _rectangle(name: str, num_nodes: int, *, least: int, periodic: bool) -> Any:
    """The rectangle closest to a square, its nodes numbered row by row."""
    rows = large_graphs.squarest_rows(num_nodes)
    if rows < least:
        raise CojaxInputError(
            f"graphs.named({name!r}) needs num_nodes = rows * columns with at least {least} of both, got {num_nodes}."
        )
    if num_nodes > MOST_NETWORKX:
        return EdgeList(num_nodes, large_graphs.rectangle(rows, num_nodes // rows, periodic))
    import networkx as nx

    return nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, num_nodes // rows, periodic=periodic))


def _regular(num_nodes: int, seed: int, links: int | float = 10) -> Any:
    links = _whole_links("regular", num_nodes, links)
    if num_nodes * links % 2:
        raise CojaxInputError(
            f"graphs.named('regular') needs an even num_nodes * links, got {num_nodes} * {links}: a link has two ends."
        )
    import networkx as nx

    makers = nx.random_regular_graph, large_graphs.regular
    return _draw_connected("regular", num_nodes, seed, makers, (links, num_nodes), f"links={links}")


def _erdos_renyi(num_nodes: int, seed: int, probability: int | float | None = None) -> Any:
    if probability is None:
        probability = min(1.0, 2 * math.log(max(num_nodes, 2)) / num_nodes)
    import networkx as nx

    makers, given = (nx.gnp_random_graph, large_graphs.erdos_renyi), (num_nodes, probability)
    return _draw_connected("erdos_renyi", num_nodes, seed, makers, given, f"probability={probability:g}")


def _geometric(num_nodes: int, seed: int, radius: int | float | None = None) -> Any:
    if radius is None:
        radius = 1.5 * math.sqrt(math.log(max(num_nodes, 2)) / (math.pi * num_nodes))
    import networkx as nx

    makers = nx.random_geometric_graph, large_graphs.geometric
    return _draw_connected("geometric", num_nodes, seed, makers, (num_nodes, radius), f"radius={radius:g}")


def _scale_free(num_nodes: int, seed: int, links: int | float = 2) -> Any:
    links = _whole_links("scale_free", num_nodes, links)
    if num_nodes > MOST_NETWORKX:
        return EdgeList(num_nodes, large_graphs.scale_free(num_nodes, links, np.random.default_rng(seed)))
    import networkx as nx

    return nx.barabasi_albert_graph(num_nodes, links, seed=seed)


def _small_world(num_nodes: int, seed: int, links: int | float = 10, probability: int | float = 0.1) -> Any:
    links = _whole_links("small_world", num_nodes, links)
    if links % 2:
        nearest = [str(even) for even in (links - 1, links + 1) if 0 < even < num_nodes]
        raise CojaxInputError(
            "graphs.named('small_world') needs an even number of links, half of them to either side of a node, got "
            f"{links}: take {' or '.join(nearest) or 'more nodes, and 2'}."
        )
    import networkx as nx

    makers, given = (nx.watts_strogatz_graph, large_graphs.small_world), (num_nodes, links, probability)
    return _draw_connected("small_world", num_nodes, seed, makers, given, f"links={links}")


def _whole_links(name: str, num_nodes: int, links: int | float) -> int:
    if links != int(links) or links >= num_nodes:
        raise CojaxInputError(f"graphs.named({name!r}) needs whole links < num_nodes={num_nodes}, got {links}.")
    return int(links)


def _draw_connected(
    name: str, num_nodes: int, seed: int, makers: tuple[Callable, Callable], given: tuple, setting: str
) -> Any:
    """The first connected graph of the maker of networkx, or of ours where that takes long."""
    small, large = makers
    for number in np.random.default_rng(seed).integers(2**31, size=100):
        if num_nodes > MOST_NETWORKX:
            graph = EdgeList(num_nodes, large(*given, random=np.random.default_rng(number)))
            connected = connected_parts(num_nodes, graph.pairs)[0] == 1
        else:
            import networkx as nx

            graph = small(*given, seed=int(number))
            connected = nx.is_connected(graph)
        if connected:
            return graph
    raise CojaxInputError(f"graphs.named({name!r}) drew 100 graphs and none is connected: raise {setting}.")


GRAPHS: dict[str, Callable[..., Any]] = {
    "ring": _ring,
    "path": _path,
    "complete": _complete,
    "star": _star,
    "grid": _grid,
    "torus": _torus,
    "exponential": _exponential,
    "regular": _regular,
    "erdos_renyi": _erdos_renyi,
    "geometric": _geometric,
    "scale_free": _scale_free,
    "small_world": _small_world,
    "nsfnet": nsfnet,
    "abilene": abilene,
}
