"""Real networks are kept in files with parallel links, repeated labels and loops: all is read, and all is said."""

import io
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

from .._checks import CojaxInputError
from .files import checked_path, csv_table, number

MAX_BYTES = 50_000_000
NAMED = {"node": ("id",), "edge": ("source", "target")}
LOWERED = {"Latitude": "latitude", "Longitude": "longitude"}


class GraphFile(NamedTuple):
    """A networkx graph without loops and parallel links, and one sentence on everything that was not as in the file."""

    graph: Any  # networkx.Graph, or networkx.DiGraph where the file's links have a direction
    notes: list[str]


def read_graphml(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a GraphML file, such as those of the Internet Topology Zoo.

    Args:
        path: GraphML. Nodes are named by their `label`, or by their id where labels are missing or repeated.
        max_bytes: the largest file that is read.

    Nodes keep their attributes; `Latitude` and `Longitude` become `latitude` and `longitude`, in degrees. The notes
    say which parallel links were collapsed, which loops dropped, why ids are used, and that the graph is not connected.
    Raises `CojaxInputError` for what is no GraphML and for a DOCTYPE: entities can blow up or read other files.
    """
    import networkx as nx

    path = checked_path(path, max_bytes)
    text = path.read_bytes()
    _check_xml(path, text)
    try:
        found = nx.read_graphml(io.BytesIO(text))
    except Exception as error:  # networkx raises its own errors, KeyError, ValueError and others on odd files
        raise CojaxInputError(f"{path} is no GraphML that networkx can read: {error!r}.") from error
    if len(found) == 0:
        raise CojaxInputError(f"{path} has no nodes.")
    notes: list[str] = []
    names = _names(found, notes)
    graph = nx.DiGraph() if found.is_directed() else nx.Graph()
    for node, attributes in found.nodes(data=True):
        graph.add_node(names[node])
        graph.nodes[names[node]].update((LOWERED.get(str(key), str(key)), value) for key, value in attributes.items())
    copies: Counter[tuple[str, str]] = Counter()
    for a, b, attributes in found.edges(data=True):
        link = (names[a], names[b])
        copies[link if found.is_directed() else (min(link), max(link))] += 1
        if a != b and not graph.has_edge(*link):
            graph.add_edge(*link)
            graph.edges[link].update(attributes)  # which may be named as an argument of add_edge
    _note_links(copies, notes)
    _note_parts(graph, notes)
    return GraphFile(graph, notes)


def read_edges(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a CSV file with one undirected link per line.

    Args:
        path: UTF-8 text with the header `source,target` or `source,target,weight`; nodes are named by text.
        max_bytes: the largest file that is read.

    A weight becomes the attribute `weight`; `cojax.network` chooses its own weights for a graph, so hand it
    `networkx.to_scipy_sparse_array(graph)` to use those of the file. Loops are dropped and noted.
    Raises `CojaxInputError`, with file and line, for other columns, empty names, a link that occurs twice, in
    whichever direction, and weights that are not > 0.
    """
    import networkx as nx

    path = checked_path(path, max_bytes)
    header, rows = csv_table(path)
    if sorted(header) not in (["source", "target"], ["source", "target", "weight"]):
        raise CojaxInputError(
            f"{path}:1 needs the columns source,target or source,target,weight, got {','.join(header)}."
        )
    graph, lines, loops = nx.Graph(), {}, []
    for where, cells in rows:
        row = dict(zip(header, cells, strict=True))
        source, target = _end(row["source"], where), _end(row["target"], where)
        graph.add_nodes_from([source, target])
        link = frozenset((source, target))
        if link in lines:
            raise CojaxInputError(f"{where} repeats the link {source} - {target} of {lines[link]}: keep one of them.")
        lines[link] = where
        attributes = {"weight": _weight(row["weight"], where)} if "weight" in row else {}
        if source == target:
            loops.append(source)
        else:
            graph.add_edge(source, target, **attributes)
    if len(graph) == 0:
        raise CojaxInputError(f"{path} has a header but no links: add one line per link.")
    notes: list[str] = []
    _note_links(Counter({(node, node): 1 for node in loops}), notes)
    _note_parts(graph, notes)
    return GraphFile(graph, notes)


def _end(cell: str, where: str) -> str:
    name = cell.strip()
    if name == "" or not name.isprintable():
        raise CojaxInputError(f"{where} needs a printable name at both ends of the link, got {name[:40]!r}.")
    return name


def _weight(cell: str, where: str) -> float:
    weight = number(cell, where, "weight")
    if weight <= 0:
        raise CojaxInputError(f"{where} needs weight > 0, got {weight:g}: drop the line where there is no link.")
    return weight


def _check_xml(path: Path, text: bytes) -> None:
    """Whether the file is XML without a DOCTYPE, whose nodes and ends of edges have names.

    The parser itself looks, so that no encoding can hide one.
    """

    def refuse(*_: Any) -> None:
        raise CojaxInputError(
            f"{path}:{parser.CurrentLineNumber} has a DOCTYPE: its entities can blow up or read other files; remove it."
        )

    def look(tag: str, attributes: dict[str, str]) -> None:
        for key in NAMED.get(tag.rpartition(":")[2], ()):
            name = attributes.get(key, "")
            if not name.strip() or not name.isprintable():
                raise CojaxInputError(
                    f"{path}:{parser.CurrentLineNumber} needs a printable {key} of every {tag}, got {name[:40]!r}."
                )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = look
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise CojaxInputError(
            f"{path}:{error.lineno} is no well-formed XML: {expat.ErrorString(error.code)}."
        ) from error
    except (ValueError, LookupError) as error:
        if isinstance(error, CojaxInputError):
            raise
        raise CojaxInputError(f"{path} is in an encoding that cannot be read ({error}): save it as UTF-8.") from error


def _names(found: Any, notes: list[str]) -> dict[Any, str]:
    """The name of every node: its label, or its id if labels cannot tell the nodes apart."""
    labels = {node: str(attributes.get("label", "")).strip() for node, attributes in found.nodes(data=True)}
    if not any(labels.values()):
        return {node: str(node) for node in found}
    repeated = sorted(label for label, count in Counter(labels.values()).items() if count > 1 and label)
    missing = sum(label == "" or not label.isprintable() for label in labels.values())
    if repeated:
        notes.append(
            f"Nodes are named by their ids, because labels are repeated, {len(repeated)} in all: {_some(repeated)}."
        )
    elif missing:
        notes.append(f"Nodes are named by their ids, because labels are missing or unprintable, {missing} in all.")
    return {node: str(node) for node in found} if repeated or missing else labels


def _note_links(copies: Counter[tuple[str, str]], notes: list[str]) -> None:
    loops = [a for a, b in copies if a == b]
    if loops:
        notes.append(f"Links of a node to itself were dropped, {len(loops)} in all: {_some(loops)}.")
    parallel = [f"{a} - {b} ({count})" for (a, b), count in copies.items() if count > 1 and a != b]
    if parallel:
        notes.append(f"Parallel links were collapsed to one, at {len(parallel)} pairs of nodes: {_some(parallel)}.")


def _note_parts(graph: Any, notes: list[str]) -> None:
    import networkx as nx

    parts = nx.strongly_connected_components(graph) if graph.is_directed() else nx.connected_components(graph)
    sizes = sorted((len(part) for part in parts), reverse=True)
    if len(sizes) > 1:
        notes.append(
            f"The graph is not connected: its {len(sizes)} parts have this many nodes: {_some(map(str, sizes))}."
        )


def _some(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
