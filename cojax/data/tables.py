"""Tables of nodes and of samples are read from text and plain arrays only, strictly, and nothing in them is run."""

import re
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._support.checks import CojaxInputError, did_you_mean
from .files import MAX_BYTES, NUMBER, PACKED, checked_path, csv_table, number, path_to_read, tidy, unpacked_name
from .libsvm import begins_as_libsvm
from .libsvm import read_libsvm as read_libsvm
from .libsvm import read_sparse_libsvm as read_sparse_libsvm
from .npz import read_npz as read_npz

COLUMNS = {
    "node": "a name, unique in the file",
    "capacity": "the most that the node can give, in units of cpu",
    "demand": "what the node itself would like, in units of cpu",
    "price": "cost of one unit of cpu",
    "curvature": "growth of that price with each unit of cpu",
    "work": "units of work that wait at the node",
    "speed": "work that one unit of cpu does in a second, for the clock of a plan",
    "lower": "the least share, in units of cpu",
    "upper": "the largest share, in units of cpu",
    "pue": "power drawn by the building over power drawn by its machines",
    "latitude": "degrees north",
    "longitude": "degrees east",
    "region": "a name, the column of a series of prices that holds for the node",
}
TEXTS = ("node", "region")
TARGETS = ("targets", "label", "labels", "class", "classes", "y")  # what others call the column target
# Files of these kinds can run code when they are opened.
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt", ".dill")


class Nodes(NamedTuple):
    """What a table says about n nodes: their names, and each numeric column that it has."""

    names: tuple[str, ...]
    columns: dict[str, Float[np.ndarray, " n"]]  # by the names in COLUMNS, in the order of `names`
    regions: tuple[str, ...] | None = None  # of every node


def read_nodes(path: str | Path, *, max_bytes: int = 50_000_000) -> Nodes:
    """The nodes of a CSV file: a header, then one line per node.

    Args:
        path: UTF-8 text, with or without a byte-order mark; columns separated by commas.
        max_bytes: the largest file that is read.

    The column `node` is required; the others in `COLUMNS`, which gives their units, are optional.
    Raises `CojaxInputError`, with file and line, for other columns, a repeated column or node, a wrong number of
    cells, and cells that are empty or no finite number.
    """
    path = checked_path(path, max_bytes)
    header, rows = csv_table(path, max_bytes)
    _check_columns(path, header)
    lines: dict[str, str] = {}
    values = {name: [] for name in header if name not in TEXTS}
    regions: list[str] = []
    for where, cells in rows:
        row = dict(zip(header, cells, strict=True))
        node = tidy(row.pop("node"))
        if node == "" or not node.isprintable():
            raise CojaxInputError(f"{where} needs a printable name for node, got {node[:40]!r}.")
        if node in lines:
            raise CojaxInputError(f"{where} repeats the node {node!r} of {lines[node]}: every node needs one line.")
        lines[node] = where
        if "region" in row:
            regions.append(tidy(row.pop("region")))
            if regions[-1] == "" or not regions[-1].isprintable():
                raise CojaxInputError(f"{where} needs a printable name for region, got {regions[-1][:40]!r}.")
        for name, cell in row.items():
            values[name].append(number(cell, where, name))
    if not lines:
        raise CojaxInputError(f"{path} has a header but no nodes: add one line per node.")
    columns = {name: np.array(column) for name, column in values.items()}
    return Nodes(tuple(lines), columns, tuple(regions) or None)


class Series(NamedTuple):
    """A table of h rows, each with a label such as an hour, and one number in every column."""

    labels: tuple[str, ...]
    names: tuple[str, ...]
    values: Float[np.ndarray, "h n"]


class _Line(NamedTuple):
    where: str
    row: int


TIME, MOST_IN_AN_HOUR = re.compile(r"\d[:.]\d\d|^20\d{8}(?:\d\d){0,2}$"), 12


def read_series(path: str | Path, *, max_bytes: int = 200_000_000) -> Series:
    """The series of a CSV file: a header, then one line per hour; its first column labels the lines.

    Args:
        path: UTF-8 text, with or without a byte-order mark; columns separated by commas.
        max_bytes: the largest file that is read.

    A label that shows a time may be there twice within twelve lines: the hour that clocks show twice in autumn.
    Raises `CojaxInputError`, with file and line, for a file without a second column or a line, a repeated column or
    another repeated label, a wrong number of cells, labels that are empty or not printable, and cells that are no
    finite number.
    """
    path = checked_path(path, max_bytes)
    header, rows = csv_table(path, max_bytes)
    if len(header) < 2:
        raise CojaxInputError(f"{path} needs a column of labels and at least one of numbers, got {header[0]!r} only.")
    lines: dict[str, _Line] = {}
    labels: list[str] = []
    values = array("d")
    for where, (label, *cells) in rows:
        if not labels and len(header) == 3 and not NUMBER.fullmatch(cells[0].strip()) and cells[0].strip():
            raise CojaxInputError(
                f"{where} holds a name in the column {header[1]!r}: this looks like one line per time and node; make "
                f"it one line per time with a column per node, in pandas table.pivot(index={header[0]!r}, "
                f"columns={header[1]!r}, values={header[2]!r})."
            )
        label = label.strip()
        if label == "" or not label.isprintable():
            raise CojaxInputError(f"{where} needs a printable label in {header[0]}, got {label[:40]!r}.")
        first = lines.get(label)
        # In autumn a clock without a zone shows one hour twice.
        if first is not None and not (TIME.search(label) and len(labels) - first.row <= MOST_IN_AN_HOUR):
            raise CojaxInputError(f"{where} repeats the label {label!r} of {first.where}: every line needs its own.")
        lines[label] = _Line(where, -MOST_IN_AN_HOUR if first else len(labels))
        labels.append(label)
        values.extend(number(cell, where, name) for cell, name in zip(cells, header[1:], strict=True))
    if not lines:
        raise CojaxInputError(f"{path} has a header but no lines of numbers: add one line per hour.")
    return Series(tuple(labels), tuple(header[1:]), np.array(values).reshape(len(labels), -1))


def read_samples(
    path: str | Path, *, first_index: int = 1, max_bytes: int = MAX_BYTES
) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, " N"]]:
    """Features (N, d) and targets (N,) from a file whose suffix says what it is.

    Args:
        path: `.csv` (a header; the targets are the column `target`, or the last one), `.libsvm` or `.svm`, or any of
            them packed as `.bz2` or `.gz`; or `.npz` (arrays `features` and `targets`). Files with another suffix, or
            none, are read as LIBSVM where their first line is one.
        first_index: of features in LIBSVM, see `read_libsvm`.
        max_bytes: the most that is read, unpacked included.

    Raises `CojaxInputError`, with file and line, for any other suffix and for whatever does not fit the format.
    """
    path = path_to_read(path)
    kinds = [suffix.lower() for suffix in path.suffixes]
    if any(kind in PICKLES for kind in kinds):
        raise CojaxInputError(
            f"{path} could run code when opened: save the arrays with numpy.savez(path, features=..., targets=...), "
            "and models as safetensors."
        )
    kind = unpacked_name(path).suffix.lower()
    if kind == ".csv":
        return read_csv(path, max_bytes=max_bytes)
    if kind == ".npz":
        return read_npz(path, max_bytes=max_bytes)
    if is_libsvm(path, max_bytes=max_bytes):
        return read_libsvm(path, first_index=first_index, max_bytes=max_bytes)
    raise CojaxInputError(
        f"{path} needs the suffix .csv, .libsvm, .svm, .bz2 or .npz, got {kind or 'none'}: its first line is none of "
        "LIBSVM."
    )


def is_libsvm(path: str | Path, *, max_bytes: int = MAX_BYTES) -> bool:
    """Whether `read_samples` takes a file for LIBSVM: by its suffix, or else by its first line."""
    path = path_to_read(path)
    kind = unpacked_name(path).suffix.lower()
    if kind in (".csv", ".npz"):
        return False
    named = kind in (".libsvm", ".svm") or path.suffix.lower() in PACKED
    return named or begins_as_libsvm(path, max_bytes)


def read_csv(
    path: str | Path, *, max_bytes: int = MAX_BYTES
) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, " N"]]:
    """Samples from a CSV file of numbers with a header; targets are the column `target`, or the last one.

    Args, errors as for `read_samples`.
    """
    path = checked_path(path, max_bytes)
    header, rows = csv_table(path, max_bytes, ("target",))
    _check_target(path, header)
    if len(header) < 2:
        raise CojaxInputError(f"{path} needs at least one feature and a target, got the one column {header[0]!r}.")
    values = array("d")
    for where, cells in rows:
        values.extend(number(cell, where, name) for cell, name in zip(cells, header, strict=True))
    if not values:
        raise CojaxInputError(f"{path} has a header but no samples: add one line per sample.")
    table = np.array(values).reshape(-1, len(header))
    place = header.index("target") if "target" in header else len(header) - 1
    return np.delete(table, place, axis=1), table[:, place].copy()


def _check_target(path: Path, header: list[str]) -> None:
    """Refuse to guess where no column is called target, and another than the last may be meant."""
    meant = [name for name in header[:-1] if name.lower() in TARGETS]
    if meant and "target" not in header:
        raise CojaxInputError(
            f"{path}:1 has the column {meant[0]!r}, but the last one, {header[-1]!r}, would be learned: call the "
            "column that is meant target."
        )


def _check_columns(path: Path, header: list[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        raise CojaxInputError(
            f"{path}:1 has the column {unknown[0]!r}, which is unknown; the known ones are {', '.join(COLUMNS)}"
            f"{did_you_mean(unknown[0], COLUMNS) or '.'}"
        )
    if "node" not in header:
        raise CojaxInputError(f"{path}:1 needs a column node with the names of the nodes, got {', '.join(header)}.")
