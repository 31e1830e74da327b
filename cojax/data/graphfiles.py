"""Graphs are kept in files with parallel links, repeated labels and loops: all is read, and all is said."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .._support.checks import CojaxInputError
from .files import number, tidy

MAX_BYTES = 50_000_000
PLACES = ("latitude", "longitude")


class GraphFile(NamedTuple):
    """A networkx graph without loops and parallel links, and one sentence on everything that was not as in the file."""

    graph: Any  # networkx.Graph, or networkx.DiGraph where the file's links have a direction
    notes: list[str]


class FileLink(NamedTuple):
    """One link of a file; its ends are ids of nodes."""

    source: str
    target: str
    directed: bool = False
    attributes: dict[str, Any] | None = None


@dataclass
class Drawing:
    """What a file says, as it says it: nodes by their ids, every link, and which nodes are frames around others."""

    path: Path
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: list[FileLink] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add_node(self, where: str, name: str) -> dict[str, Any]:
        """The attributes of a new node, to be filled in."""
        name = self.named(where, name, "node")
        if name in self.nodes:
            raise CojaxInputError(f"{where} repeats the node {name!r}: every node needs its own id.")
        return self.nodes.setdefault(name, {})

    def named(self, where: str, name: str, what: str) -> str:
        """An id, if it can be printed."""
        name = tidy(name)
        if not name or not name.isprintable():
            raise CojaxInputError(f"{where} needs a printable id of every {what}, got {name[:40]!r}.")
        return name

    def set(self, where: str, attributes: dict[str, Any], key: str, value: Any) -> None:
        """Keep an attribute of a node; places become numbers in degrees."""
        if key.lower() in PLACES:
            if str(value).strip():
                attributes[key.lower()] = number(str(value), where, key)
        else:
            attributes[key] = value

    def graph(self) -> GraphFile:
        """The graph of all links, over nodes named by their `label`, or by id where labels are missing or repeated."""
        import networkx as nx

        if not self.nodes and not self.links:
            raise CojaxInputError(f"{self.path} has no nodes.")
        notes = [*self.notes]
        self._add_unnamed(notes)
        self._drop_frames(notes)
        names = _names(self.nodes, notes)
        directed = any(link.directed for link in self.links)
        graph = nx.DiGraph() if directed else nx.Graph()
        for node, attributes in self.nodes.items():
            graph.add_node(names[node])
            graph.nodes[names[node]].update(attributes)  # which may be named as an argument of add_node
        copies: Counter[tuple[str, str]] = Counter()
        for link in self.links:
            ends = (names[link.source], names[link.target])
            ways = [ends, ends[::-1]] if directed and not link.directed and ends[0] != ends[1] else [ends]
            for a, b in ways:
                copies[(a, b) if directed else (min(a, b), max(a, b))] += 1
                if a != b and not graph.has_edge(a, b):
                    graph.add_edge(a, b)
                    graph.edges[a, b].update(link.attributes or {})
        note_links(copies, notes)
        note_parts(graph, notes)
        return GraphFile(graph, notes)

    def _add_unnamed(self, notes: list[str]) -> None:
        ends = dict.fromkeys(end for link in self.links for end in (link.source, link.target))
        missing = [end for end in ends if end not in self.nodes]
        self.nodes.update((end, {}) for end in missing)
        if missing:
            notes.append(f"Links name nodes that the file does not list, {len(missing)} in all: {some(missing)}.")

    def _drop_frames(self, notes: list[str]) -> None:
        """A frame that no link leads to is drawn around nodes, and is none itself."""
        linked = {end for link in self.links for end in (link.source, link.target)}
        kept = [node for node in self.nodes if node in self.frames and node in linked]
        dropped = [node for node in self.nodes if node in self.frames and node not in linked]
        for node in dropped:
            del self.nodes[node]
        if dropped:
            notes.append(f"Groups that no link leads to are no nodes, {len(dropped)} in all: {some(dropped)}.")
        if kept:
            notes.append(
                f"Nodes with a graph of their own are nodes beside those in it, {len(kept)} in all: {some(kept)}."
            )


def _names(nodes: dict[str, dict[str, Any]], notes: list[str]) -> dict[str, str]:
    """The name of every node: its label, or its id if labels cannot tell the nodes apart."""
    labels = {node: tidy(str(attributes.get("label", ""))) for node, attributes in nodes.items()}
    if not any(labels.values()):
        return {node: node for node in nodes}
    repeated = sorted(label for label, count in Counter(labels.values()).items() if count > 1 and label)
    missing = sum(label == "" or not label.isprintable() for label in labels.values())
    if repeated:
        notes.append(
            f"Nodes are named by their ids, because labels are repeated, {len(repeated)} in all: {some(repeated)}."
        )
    elif missing:
        notes.append(f"Nodes are named by their ids, because labels are missing or unprintable, {missing} in all.")
    return {node: node for node in nodes} if repeated or missing else labels


def note_links(copies: Counter[tuple[str, str]], notes: list[str]) -> None:
    """Say which links were dropped or collapsed."""
    loops = [a for a, b in copies if a == b]
    if loops:
        notes.append(f"Links of a node to itself were dropped, {len(loops)} in all: {some(loops)}.")
    parallel = [f"{a} - {b} ({count})" for (a, b), count in copies.items() if count > 1 and a != b]
    if parallel:
        notes.append(f"Parallel links were collapsed to one, at {len(parallel)} pairs of nodes: {some(parallel)}.")


def note_parts(graph: Any, notes: list[str]) -> None:
    """Say that a graph is not connected."""
    import networkx as nx

    parts = nx.strongly_connected_components(graph) if graph.is_directed() else nx.connected_components(graph)
    sizes = sorted((len(part) for part in parts), reverse=True)
    if len(sizes) > 1:
        notes.append(
            f"The graph is not connected: its {len(sizes)} parts have this many nodes: {some(map(str, sizes))}."
        )


def some(names: Iterable[str]) -> str:
    """The first few of many names."""
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
