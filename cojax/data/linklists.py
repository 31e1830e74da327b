"""Lists of links: a CSV file with a header, or lines of two names as SNAP, KONECT and others publish them."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .._support.checks import CojaxInputError
from .files import NUMBER, checked_path, csv_table, number, open_unpacked, tidy
from .graphfiles import MAX_BYTES, Drawing, FileLink, GraphFile, note_links, note_parts
from .quantities import bits_per_second, seconds

COLUMNS = ("source", "target", "weight", "latency", "bandwidth")
COMMENTS = ("#", "%", "//")
HEADS = ("source", "from", "fromnodeid", "node1", "node_1", "id_1")
CLAIM = re.compile(r"Nodes:\s*([0-9]{1,15})\s+Edges:\s*([0-9]{1,15})")
LONGEST_LINE = 1 << 16


def read_edges(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a CSV file with one undirected link per line.

    Args:
        path: UTF-8 text with the columns source and target, and perhaps weight, latency ("12 ms") and bandwidth
            ("10 Gbit/s"; numbers are seconds and bits per second); nodes are named by text.
        max_bytes: the largest file that is read.

    Attributes of links are named as their columns, in seconds and bits per second; an empty cell of these is left out.
    `cojax.network` chooses its own weights for a graph, so hand it `networkx.to_scipy_sparse_array(graph)` to use those
    of the file. Loops are dropped and noted.
    Raises `CojaxInputError`, with file and line, for other columns, empty names, a link that occurs twice, in
    whichever direction, and weights, latencies and bandwidths that cannot be.
    """
    import networkx as nx

    path = checked_path(path, max_bytes)
    header, rows = csv_table(path, max_bytes, COLUMNS)
    if not {"source", "target"} <= set(header) or not set(header) <= set(COLUMNS):
        raise CojaxInputError(
            f"{path}:1 needs the columns source,target and perhaps {', '.join(COLUMNS[2:])}, got {','.join(header)}."
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
        told = {name: cell for name, cell in row.items() if name in READ and (cell.strip() or name == "weight")}
        attributes = {name: READ[name](cell, where) for name, cell in told.items()}
        if source == target:
            loops.append(source)
        else:
            graph.add_edge(source, target, **attributes)
    if len(graph) == 0:
        raise CojaxInputError(f"{path} has a header but no links: add one line per link.")
    notes: list[str] = []
    note_links(Counter({(node, node): 1 for node in loops}), notes)
    note_parts(graph, notes)
    return GraphFile(graph, notes)


def read_edge_list(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GraphFile:
    """The graph of a list of links as published: two names a line, and a weight where there is one.

    Args:
        path: UTF-8 text, or text packed by bzip2 or gzip if it ends in `.bz2` or `.gz`; names are separated by blanks,
            tabs or commas, lines that begin with `#`, `%` or `//` are comments. A Matrix Market file of coordinates is
            such a list too.
        max_bytes: the most that is read, unpacked included.

    The graph is undirected: a link given both ways, or twice, is one. A third number becomes the attribute `weight`.
    The notes say what was collapsed, dropped or not read, whether the header calls the links directed, and where it
    counts other nodes or links than there are.
    Raises `CojaxInputError`, with file and line, for lines of another form, weights that are not > 0, and KONECT's
    bipartite lists, where one name means two nodes.
    """
    path = checked_path(path, max_bytes)
    drawing, claims, count, others, directed = Drawing(path), None, 0, 0, False
    matrix, konect, name = False, False, str(path)
    with open_unpacked(path, max_bytes) as handle, io.TextIOWrapper(handle, encoding="utf-8-sig") as text:
        for number_of_line, line in enumerate(_lines(text, path), 1):
            where, line = f"{name}:{number_of_line}", line.strip()
            if line.startswith(COMMENTS):
                words = line.lstrip("#%/").lower().split()
                if not words:
                    continue
                matrix = matrix or line.startswith("%%MatrixMarket")
                konect = konect or words[:1] in (["sym"], ["asym"])
                directed = directed or words[:1] in (["asym"], ["directed"]) or (matrix and words[-1:] == ["general"])
                claims = claims or _claims(line, where, words, konect)
                continue
            cells = [tidy(cell) for cell in line.split("," if "," in line else None)]
            if not any(cells) or (count == 0 and not drawing.nodes and cells[0].lower() in HEADS):
                continue
            if matrix and claims is None:
                claims = _sizes(cells, where)
                continue
            count += 1
            others += _add(drawing, cells, where)
    if not drawing.links:
        raise CojaxInputError(f"{path} has no links: add one line with two names per link.")
    if directed:
        drawing.notes.append("The header says that links are directed; they are taken both ways.")
    if others:
        drawing.notes.append(f"More than names and a weight was not read, on {others} lines.")
    found = drawing.graph()
    for what, said, there in zip(("nodes", "links"), claims or (), (len(found.graph), count), strict=False):
        if said != there:
            found.notes.append(f"The header counts {said} {what}, the file lists {there}.")
    return found


def _add(drawing: Drawing, cells: list[str], where: str) -> bool:
    """A line of a list; whether it says more than was read."""
    if len(cells) < 2 or not all(name and name.isprintable() for name in cells[:2]):
        raise CojaxInputError(f"{where} needs two printable names, the ends of a link, got {' '.join(cells)[:40]!r}.")
    rest = cells[2:]
    attributes = {}
    if rest and not rest[0].startswith("{"):  # where networkx keeps a Python dict
        attributes["weight"], rest = _weight(rest[0], where), rest[1:]
    for name in cells[:2]:
        drawing.nodes.setdefault(name, {})
    drawing.links.append(FileLink(cells[0], cells[1], attributes=attributes))
    return any(cell not in ("{}", "") for cell in rest)


def _claims(line: str, where: str, words: list[str], konect: bool) -> tuple[int, int] | None:
    """The numbers of nodes and of links that a comment of SNAP or KONECT counts."""
    if words[:1] == ["bip"]:
        raise CojaxInputError(
            f"{where} says that the links lead from one kind of node to another, numbered alike: give them names that "
            "differ."
        )
    if konect and 2 <= len(words) <= 4 and all(re.fullmatch("[0-9]{1,15}", word) for word in words):
        return int(words[1]), int(words[0])
    found = CLAIM.search(line)
    return (int(found[1]), int(found[2])) if found else None


def _sizes(cells: list[str], where: str) -> tuple[int, int]:
    """Those that the first line of a Matrix Market file counts."""
    if len(cells) != 3 or cells[0] != cells[1] or not all(re.fullmatch("[0-9]{1,15}", cell) for cell in cells):
        raise CojaxInputError(f"{where} needs the sizes of a square sparse matrix, got {' '.join(cells)[:40]!r}.")
    return int(cells[0]), int(cells[2])


def _lines(text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    try:
        while line := text.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise CojaxInputError(f"{path} has a line longer than {LONGEST_LINE} characters: it lists no links.")
            yield line
    except UnicodeDecodeError as error:
        raise CojaxInputError(f"{path} is no UTF-8 text ({error.reason}): save it as UTF-8.") from error


def _end(cell: str, where: str) -> str:
    name = tidy(cell)
    if name == "" or not name.isprintable():
        raise CojaxInputError(f"{where} needs a printable name at both ends of the link, got {name[:40]!r}.")
    return name


def _weight(cell: str, where: str) -> float:
    weight = number(cell, where, "weight")
    if weight <= 0:
        raise CojaxInputError(f"{where} needs weight > 0, got {weight:g}: drop the line where there is no link.")
    return weight


def _latency(cell: str, where: str) -> float:
    return seconds(_plain(cell), f"{where}, in the column latency,")


def _bandwidth(cell: str, where: str) -> float:
    return bits_per_second(_plain(cell), f"{where}, in the column bandwidth,")


def _plain(cell: str) -> str | float:
    """A number where the cell is one, else its text with a unit."""
    return float(cell) if NUMBER.fullmatch(cell.strip()) else cell


READ = {"weight": _weight, "latency": _latency, "bandwidth": _bandwidth}
