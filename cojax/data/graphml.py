"""GraphML as it is published and drawn: nested graphs, defaults, links marked one by one, labels of yEd."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from .._support.checks import CojaxInputError
from .files import NUMBER, checked_path, tidy
from .graphfiles import MAX_BYTES, Drawing, FileLink, GraphFile, some
from .markup import read_xml

OWNERS = ("node", "edge")
TRUE, FALSE = ("true", "1"), ("false", "0")
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")  # Python takes quadratic time to read a number of many digits


class Key(NamedTuple):
    """What a file declares about an attribute."""

    name: str
    kind: str  # int, long, float, double, boolean or string
    owner: str  # node, edge, graph, all ...
    drawn: bool  # whether yEd keeps the picture of a node there


def read_graphml(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a GraphML file, such as those of the Internet Topology Zoo or drawn with yEd.

    Args:
        path: GraphML. Nodes are named by their `label`, or by their id where labels are missing or repeated.
        max_bytes: the largest file that is read.

    Nodes keep their attributes, defaults included, as the type that is declared or else as text; `Latitude` and
    `Longitude` become `latitude` and `longitude`, in degrees. Graphs within nodes are part of the graph. Links have a
    direction where `edgedefault` or their own `directed` says so. The notes say which parallel links were collapsed,
    which loops dropped, why ids are used, what was not read, and that the graph is not connected.
    Raises `CojaxInputError` for what is no GraphML, for hyperedges and a second graph, and for a DOCTYPE: entities can
    blow up or read other files.
    """
    path = checked_path(path, max_bytes)
    reader = _GraphMlReader(Drawing(path))
    read_xml(path, max_bytes, reader.start, reader.end)
    return reader.graph()


class _GraphMlReader:
    """What has been read so far; keys may come after the data that they declare."""

    def __init__(self, drawing: Drawing):
        self.drawing = drawing
        self.keys: dict[str, Key] = {}
        self.defaults: dict[str, str] = {}
        self.said: list[tuple[str, str, dict[str, str]]] = []  # of every node and edge: where, which, data by key
        self.owners: list[dict[str, str]] = []  # the data of the elements around
        self.nodes: list[str] = []  # the nodes around
        self.edgedefaults: list[bool] = []  # whether links are directed in the graphs around
        self.links: list[FileLink] = []
        self.key = ""
        self.num_graphs, self.ports = 0, False
        self.pictures = 0  # how many elements <data> are around

    def start(self, where: str, tags: list[str], attributes: dict[str, str]) -> None:
        tag = tags[-1]
        if len(tags) == 1 and tag != "graphml":
            raise CojaxInputError(f"{self.drawing.path} is no GraphML: it begins with <{tag[:40]}>, not <graphml>.")
        self.pictures += tag == "data"
        if self.pictures > (tag == "data"):
            return  # what yEd keeps in data
        if tag == "key":
            name = attributes.get("attr.name", "")
            owner, drawn = attributes.get("for", "all"), attributes.get("yfiles.type") == "nodegraphics"
            self.key = attributes.get("id", "")
            self.keys[self.key] = Key(name, attributes.get("attr.type", "string"), owner, drawn)
        elif tag == "graph":
            self.num_graphs += len(tags) == 2
            if self.num_graphs > 1:
                raise CojaxInputError(f"{where} begins a second graph: keep one graph in a file.")
            if self.nodes:
                self.drawing.frames.add(self.nodes[-1])
            self.edgedefaults.append(attributes.get("edgedefault") == "directed")
        elif tag == "node":
            node = attributes.get("id", "")
            self.drawing.add_node(where, node)
            self.nodes.append(tidy(node))
            if attributes.get("yfiles.foldertype"):
                self.drawing.frames.add(self.nodes[-1])
            self._owner(where, "node")
        elif tag == "edge":
            self._edge(where, attributes)
            self._owner(where, "edge")
        elif tag == "hyperedge":
            raise CojaxInputError(f"{where} has a hyperedge: draw it as links between two nodes each.")
        elif tag == "port":
            self.ports = True
        elif tag == "data":
            self.key = attributes.get("key", "")

    def end(self, where: str, tags: list[str], text: str) -> None:
        tag = tags[-1]
        self.pictures -= tag == "data"
        if tag == "default" and tags[-2:-1] == ["key"]:
            self.defaults[self.key] = text
        elif self.pictures:
            if tag == "NodeLabel" and self.owners and self.key in self.keys and self.keys[self.key].drawn:
                self.owners[-1].setdefault(self.key, " ".join(text.split()))  # the first label, in one line
        elif tag == "data" and tags[-2:-1] and tags[-2] in OWNERS and self.owners:
            self.owners[-1].setdefault(self.key, text)
        elif tag in OWNERS:
            self.owners.pop()
            if tag == "node":
                self.nodes.pop()
        elif tag == "graph" and self.edgedefaults:
            self.edgedefaults.pop()

    def _owner(self, where: str, what: str) -> None:
        self.owners.append({})
        self.said.append((where, what, self.owners[-1]))

    def _edge(self, where: str, attributes: dict[str, str]) -> None:
        directed = bool(self.edgedefaults and self.edgedefaults[-1])
        own = attributes.get("directed", "").strip().lower()
        directed = own in TRUE or (directed and own not in FALSE)
        ends = []
        for end in ("source", "target"):
            name = tidy(attributes.get(end, ""))
            if not name or not name.isprintable():
                raise CojaxInputError(f"{where} needs a printable {end} of every edge, got {name[:40]!r}.")
            ends.append(name)
        self.links.append(FileLink(ends[0], ends[1], directed))

    def graph(self) -> GraphFile:
        """The graph, once all keys are known."""
        nodes, links = iter(self.drawing.nodes.values()), iter(self.links)
        unknown: dict[str, None] = {}
        for where, what, data in self.said:
            found = next(nodes) if what == "node" else {}
            defaults = {key: text for key, text in self.defaults.items() if self.keys[key].owner in (what, "all")}
            for name, text in (defaults | data).items():
                if name not in self.keys:
                    unknown[name] = None
                elif what == "node" and self.keys[name].drawn:
                    found.setdefault("label", text)
                elif self.keys[name].name:
                    self.drawing.set(where, found, self.keys[name].name, _value(self.keys[name].kind, text))
            if what == "edge":
                self.drawing.links.append(next(links)._replace(attributes=found))
        if unknown:
            told = some(name[:40] if name.isprintable() else repr(name[:40]) for name in unknown)
            self.drawing.notes.append(f"Data whose key is not declared were not read, {len(unknown)} keys: {told}.")
        if self.ports:
            self.drawing.notes.append("Ports were not read: links go from node to node.")
        return self.drawing.graph()


def _value(kind: str, text: str) -> Any:
    """What an attribute says, as what it is declared to be; as text where it says something else."""
    plain = text.strip()
    if kind in ("int", "long") and WHOLE.fullmatch(plain):
        return int(plain)
    if kind in ("int", "long", "float", "double") and NUMBER.fullmatch(plain):
        return float(plain)
    if kind == "boolean" and plain.lower() in (*TRUE, *FALSE):
        return plain.lower() in TRUE
    return text
