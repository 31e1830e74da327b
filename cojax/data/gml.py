"""GML says `key value` or `key [ ... ]`, again and again; of a graph, nodes and edges count."""

import html
import re
from pathlib import Path
from typing import Any

from .._support.checks import CojaxInputError
from .files import NUMBER, checked_path, whole_text
from .graphfiles import MAX_BYTES, Drawing, FileLink, GraphFile

# Each text fits in one way, so that reading takes time in proportion to its length.
TOKEN = re.compile(r'\s+|#[^\n]*|(?P<text>"[^"]*")|(?P<open>\[)|(?P<close>\])|(?P<word>[^\s"\[\]#]+)')


def read_gml(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a GML file, such as those of the Internet Topology Zoo.

    Args:
        path: GML, in UTF-8 or Latin-1. Nodes are named by their `label`, or by their id where labels are missing or
            repeated.
        max_bytes: the largest file that is read.

    Nodes keep what is said of them in one word; `Latitude` and `Longitude` become `latitude` and `longitude`, in
    degrees. The notes are those of `read_graphml`.
    Raises `CojaxInputError`, with file and line, for what is no GML, edges without ends, and a second graph.
    """
    path = checked_path(path, max_bytes)
    text = whole_text(path, max_bytes, "latin-1")
    reader = _GmlReader(path, text)
    place = 0
    while place < len(text):
        found = TOKEN.match(text, place)
        if found is None:
            raise CojaxInputError(f"{reader.where(place)} has a quotation mark that is never closed.")
        if found.lastgroup:
            reader.take(found.lastgroup, found[0], place)
        place = found.end()
    return reader.graph()


class _GmlReader:
    """Where in the brackets it is, and what was said of the node or edge around."""

    def __init__(self, path: Path, text: str):
        self.path, self.text = path, text
        self.drawing, self.directed, self.num_graphs = Drawing(path), False, 0
        self.inside: list[str] = []  # the keys of the brackets around
        self.key: str | None = None  # that waits for its value
        self.said: dict[str, Any] = {}
        self.begun = 0

    def where(self, place: int) -> str:
        return f"{self.path}:{self.text.count(chr(10), 0, place) + 1}"

    def take(self, kind: str, word: str, place: int) -> None:
        if kind == "close":
            if self.key is not None or not self.inside:
                raise CojaxInputError(f"{self.where(place)} closes a bracket where none can end: this is no GML.")
            self._close(place)
        elif self.key is None:
            if kind != "word":
                raise CojaxInputError(f"{self.where(place)} needs a key, got {word[:40]!r}: this is no GML.")
            self.key = word
        else:
            key, self.key = self.key, None
            if kind == "open":
                self._open(key, place)
            elif self.inside == ["graph"] and key.lower() == "directed":
                self.directed = word == "1"
            elif len(self.inside) == 2:  # of a node or an edge
                self.said.setdefault(key, _value(kind, word))

    def _open(self, key: str, place: int) -> None:
        self.inside.append(key.lower())
        if self.inside == ["graph"]:
            self.num_graphs += 1
            if self.num_graphs > 1:
                raise CojaxInputError(f"{self.where(place)} begins a second graph: keep one graph in a file.")
        elif len(self.inside) == 2:
            self.said, self.begun = {}, place

    def _close(self, place: int) -> None:
        if self.inside == ["graph", "node"]:
            where = self.where(self.begun)
            attributes = self.drawing.add_node(where, str(self.said.pop("id", "")))
            if self.said.get("isGroup") == 1:
                self.drawing.frames.add(next(reversed(self.drawing.nodes)))
            for key, value in self.said.items():
                self.drawing.set(where, attributes, key, value)
        elif self.inside == ["graph", "edge"]:
            where = self.where(self.begun)
            source, target = (
                self.drawing.named(where, str(self.said.pop(end, "")), "edge's " + end) for end in ("source", "target")
            )
            self.drawing.links.append(FileLink(source, target, self.directed, self.said))
        self.inside.pop()

    def graph(self) -> GraphFile:
        if self.inside or self.key is not None:
            raise CojaxInputError(f"{self.where(len(self.text))} ends within a bracket or before a value.")
        if not self.num_graphs:
            raise CojaxInputError(f"{self.path} is no GML: it has no graph [ ... ].")
        links = [link._replace(directed=self.directed) for link in self.drawing.links]
        self.drawing.links = links  # `directed` may come last
        return self.drawing.graph()


def _value(kind: str, word: str) -> Any:
    if kind == "text":
        return html.unescape(word[1:-1])
    if re.fullmatch(r"[+-]?[0-9]{1,18}", word):
        return int(word)
    return float(word) if NUMBER.fullmatch(word) else word
