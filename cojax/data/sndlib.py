"""SNDlib keeps the networks of telecommunications in two formats, XML and one of its own; both are read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from .._support.checks import CojaxInputError
from .files import checked_path, number, open_unpacked, tidy, whole_text
from .graphfiles import MAX_BYTES, Drawing, FileLink, GraphFile
from .markup import read_xml

NATIVE = "?SNDlib native format"
TOKEN = re.compile(r"[()]|[^\s()]+")
SECTIONS = ("META", "NODES", "LINKS", "DEMANDS", "ADMISSIBLE_PATHS")


def read_sndlib(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a network of SNDlib, in its XML or its native format.

    Args:
        path: a file of type network. Nodes are named by their ids.
        max_bytes: the largest file that is read.

    Coordinates that are geographical become `longitude` and `latitude`, in degrees; others `x` and `y`. Links are
    undirected; one given both ways is one link, as the notes say. Capacities and costs are not read, demands are
    counted in the notes. Raises `CojaxInputError`, with file and line, for what is neither format.
    """
    path = checked_path(path, max_bytes)
    with open_unpacked(path, max_bytes) as handle:
        is_xml = handle.read(1000).lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<")
    reader = _SndlibReader(path)
    if is_xml:
        read_xml(path, max_bytes, reader.start, reader.end)
    else:
        _native(reader, whole_text(path, max_bytes, "latin-1"))
    return reader.graph()


class _SndlibReader:
    """What has been read so far."""

    def __init__(self, path: Path):
        self.drawing = Drawing(path)
        self.places: dict[str, tuple[float, float]] = {}
        self.geographical: bool | None = None  # where the file says it
        self.num_demands = 0
        self.node, self.said = "", {}

    def start(self, where: str, tags: list[str], attributes: dict[str, str]) -> None:
        if len(tags) == 1 and tags != ["network"]:
            raise CojaxInputError(
                f"{self.drawing.path} is no network of SNDlib: it begins with <{tags[0][:40]}>, not <network>."
            )
        if tags[-1] == "nodes" and "coordinatesType" in attributes:
            self.geographical = attributes["coordinatesType"] == "geographical"
        elif tags[-2:] == ["nodes", "node"]:
            self.drawing.add_node(where, attributes.get("id", ""))
            self.node, self.said = tidy(attributes["id"]), {}
        elif tags[-2:] == ["links", "link"]:
            self.said = {}
        elif tags[-2:] == ["demands", "demand"]:
            self.num_demands += 1

    def end(self, where: str, tags: list[str], text: str) -> None:
        if tags[-2:-1] in (["coordinates"], ["link"]):
            self.said[tags[-1]] = text
        elif tags[-3:] == ["nodes", "node", "coordinates"]:
            self.place(where, self.node, self.said.get("x", ""), self.said.get("y", ""))
        elif tags[-2:] == ["links", "link"]:
            self.link(where, self.said.get("source", ""), self.said.get("target", ""))

    def place(self, where: str, node: str, x: str, y: str) -> None:
        self.places[node] = number(x, where, "x"), number(y, where, "y")

    def link(self, where: str, source: str, target: str) -> None:
        source, target = (self.drawing.named(where, end, "end of a link") for end in (source, target))
        for end in (source, target):
            if end not in self.drawing.nodes:
                raise CojaxInputError(f"{where} has a link to {end!r}, which is no node of the file.")
        self.drawing.links.append(FileLink(source, target))

    def graph(self) -> GraphFile:
        geographical = self.geographical
        if geographical is None:  # the native format means degrees, and does not always give them
            geographical = all(abs(x) <= 180 and abs(y) <= 90 for x, y in self.places.values())
        names = ("longitude", "latitude") if geographical else ("x", "y")
        for node, place in self.places.items():
            self.drawing.nodes[node].update(zip(names, place, strict=True))
        if self.num_demands:
            self.drawing.notes.append(f"The demands between nodes were not read, {self.num_demands} in all.")
        return self.drawing.graph()


class _Tokens:
    """Words and parentheses of the native format, each with its line; comments are dropped."""

    def __init__(self, path: Path, text: str):
        self.path, self.last = path, 1
        self.rest = self._read(text)
        self.next = next(self.rest, None)

    def _read(self, text: str) -> Iterator[tuple[int, str]]:
        is_meta = False
        for count, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if line.startswith(("#", "?")):
                continue
            if is_meta:  # free text, up to a parenthesis that stands alone
                is_meta = line != ")"
                continue
            if re.fullmatch(r"META\s*\(", line):
                is_meta = True
                continue
            for found in TOKEN.finditer(line):
                yield count, found[0]

    @property
    def where(self) -> str:
        return f"{self.path}:{self.next[0] if self.next else self.last}"

    def take(self, wanted: str | None = None) -> str:
        """The next token, which is `wanted`, or a word."""
        where = self.where
        if self.next is None or (self.next[1] != wanted if wanted else self.next[1] in "()"):
            self.refuse(where, wanted or "a name or number")
        token, self.last = self.next[1], self.next[0]
        self.next = next(self.rest, None)
        return token

    def sees(self, token: str) -> bool:
        return self.next is not None and self.next[1] == token

    def refuse(self, where: str, wanted: str) -> NoReturn:
        got = repr(self.next[1][:40]) if self.next else "the end of the file"
        raise CojaxInputError(f"{where} needs {wanted}, got {got}: this is no network of SNDlib.")

    def skip(self) -> None:
        """What is within parentheses."""
        self.take("(")
        depth = 1
        while depth:
            if self.next is None:
                self.refuse(self.where, "')'")
            token = self.next[1]
            depth += (token == "(") - (token == ")")
            self.take(token)


def _native(reader: _SndlibReader, text: str) -> None:
    if not text.lstrip().startswith(NATIVE):
        raise CojaxInputError(
            f"{reader.drawing.path} is no network of SNDlib: it begins neither with '<' nor with '{NATIVE}'."
        )
    tokens = _Tokens(reader.drawing.path, text)
    while tokens.next is not None:
        where, section = tokens.where, tokens.take()
        if section not in SECTIONS:
            raise CojaxInputError(f"{where} begins the section {section[:40]!r}; SNDlib has {', '.join(SECTIONS)}.")
        if section == "ADMISSIBLE_PATHS":
            tokens.skip()
            continue
        tokens.take("(")
        while not tokens.sees(")"):
            where, name = tokens.where, tokens.take()
            if section == "NODES":
                _node(reader, tokens, where, name)
            elif section == "LINKS":
                _link(reader, tokens, where)
            else:
                _demand(reader, tokens)
        tokens.take(")")


def _node(reader: _SndlibReader, tokens: _Tokens, where: str, name: str) -> None:
    reader.drawing.add_node(where, name)
    if tokens.sees("("):
        tokens.take("(")
        reader.place(where, tidy(name), tokens.take(), tokens.take())
        tokens.take(")")


def _link(reader: _SndlibReader, tokens: _Tokens, where: str) -> None:
    tokens.take("(")
    reader.link(where, tokens.take(), tokens.take())
    tokens.take(")")
    for _ in range(4):  # capacity and its cost, of routing, of setup
        number(tokens.take(), where, "a cost or capacity of the link")
    if tokens.sees("("):
        tokens.skip()


def _demand(reader: _SndlibReader, tokens: _Tokens) -> None:
    reader.num_demands += 1
    tokens.skip()
    for _ in range(3):  # unit, value and the longest path, which may be UNLIMITED
        tokens.take()
