"""Files come from others: they are bounded before they are read, and every complaint names the file and the line."""

import csv
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .._checks import CojaxInputError, check_number

MAX_BYTES = 2_000_000_000
# Every text fits it in one way at most: with two, a long one that fits in none takes quadratic time to refuse.
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def checked_path(path: str | Path, max_bytes: int) -> Path:
    """`path`, if it is a file of at most `max_bytes`."""
    if not isinstance(path, str | os.PathLike):
        raise CojaxInputError(f"A file needs a path to be read from, got an object of type {type(path).__name__}.")
    path = Path(path)
    check_number(str(path), "max_bytes", max_bytes, at_least=0, shaped=())
    # Of a name that is too long for a file, pathlib asks the system, which complains.
    if not os.path.isfile(path):
        raise CojaxInputError(f"{path} is not a file: give the path of an existing one.")
    size = path.stat().st_size
    if size > max_bytes:
        raise CojaxInputError(f"{path} holds {size} bytes, more than max_bytes={max_bytes}: raise it to read the file.")
    return path


def number(cell: str, where: str, name: str) -> float:
    """The finite number that a cell spells in ASCII; `float` alone would take nan, 1_000 and other scripts' digits."""
    text = cell.strip()
    if text == "":
        raise CojaxInputError(f"{where} needs a number for {name}, got an empty cell: fill it in or drop the line.")
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity", "na", "null", "none"):
        raise CojaxInputError(f"{where} needs a finite number for {name}, got {text!r}: fill it in or drop the line.")
    if not NUMBER.fullmatch(text):
        raise CojaxInputError(f"{where} needs a number for {name}, got {text[:40]!r}: write it like 12.5 or 1e-3.")
    value = float(text)
    if not math.isfinite(value):
        raise CojaxInputError(f"{where} needs a finite number for {name}, got {text[:40]!r}: it overflows.")
    return value


def csv_table(path: Path) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The header of a CSV file and its rows, each with its `path:line`; blank lines are skipped."""
    rows = _csv_rows(path)
    first = next(rows, None)
    if first is None:
        raise CojaxInputError(f"{path} is empty: its first line must name the columns.")
    where, cells = first
    header = [cell.strip() for cell in cells]
    seen = set()
    for place, name in enumerate(header):
        if name == "":
            raise CojaxInputError(f"{where} has no name for column {place + 1}: name it or remove the column.")
        if not name.isprintable():
            raise CojaxInputError(f"{where} needs a printable name for column {place + 1}, got {name[:40]!r}.")
        if name in seen:
            raise CojaxInputError(
                f"{where} names the column {name!r} twice: nobody knows which one counts; rename one."
            )
        if NUMBER.fullmatch(name):
            raise CojaxInputError(f"{where} must name the columns, got the number {name}: add a header line.")
        seen.add(name)
    return header, _whole_rows(rows, len(header))


def _csv_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    # utf-8-sig drops the byte-order mark that spreadsheets write.
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.reader(handle, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield f"{path}:{reader.line_num}", cells
        except csv.Error as error:
            raise CojaxInputError(f"{path}:{reader.line_num} is no line of CSV: {error}.") from error
        except UnicodeDecodeError as error:
            raise CojaxInputError(f"{path} is no UTF-8 text ({error.reason}): save it as UTF-8.") from error


def _whole_rows(rows: Iterator[tuple[str, list[str]]], width: int) -> Iterator[tuple[str, list[str]]]:
    for where, cells in rows:
        if len(cells) != width:
            raise CojaxInputError(f"{where} has {len(cells)} cells, but the header names {width} columns.")
        yield where, cells
