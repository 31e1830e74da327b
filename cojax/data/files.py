"""Files come from others: they are bounded before they are read, and every complaint names the file and the line."""

import bz2
import csv
import gzip
import io
import math
import os
import re
import unicodedata
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .._support.checks import CojaxInputError, as_path, check_number

MAX_BYTES = 2_000_000_000
# Every text fits it in one way at most: with two, a long one that fits in none takes quadratic time to refuse.
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def path_to_read(path: Any) -> Path:
    """What names a file as a path; refused where it is no name."""
    return as_path("A file needs a path to be read from", path)


def checked_path(path: str | Path, max_bytes: int) -> Path:
    """`path`, if it is a file of at most `max_bytes`."""
    path = path_to_read(path)
    check_number(str(path), "max_bytes", max_bytes, at_least=0, shaped=())
    # Of a name that is too long for a file, pathlib asks the system, which complains.
    if not os.path.isfile(path):
        raise CojaxInputError(f"{path} is not a file: give the path of an existing one.")
    size = path.stat().st_size
    if size > max_bytes:
        raise CojaxInputError(f"{path} holds {size} bytes, more than max_bytes={max_bytes}: raise it to read the file.")
    return path


PACKED = {".bz2": bz2.open, ".gz": gzip.open}
# A packed file may unpack to this much whatever its size, and beyond that to this many times its size.
MODEST_BYTES, LARGEST_RATIO = 1 << 22, 200
AHEAD = 1 << 16  # bytes that are unpacked before they are asked for


def unpacked_name(path: Path) -> Path:
    """The name of what is in a file: `links.csv` of `links.csv.bz2`."""
    return path.with_suffix("") if path.suffix.lower() in PACKED else path


@contextmanager
def open_unpacked(path: Path, max_bytes: int) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if it ends in .bz2 or .gz, and never more of them than allowed."""
    unpack = PACKED.get(path.suffix.lower())
    if unpack is None:
        with path.open("rb") as handle:
            yield handle
        return
    with unpack(path) as packed, io.BufferedReader(_Unpacked(packed, path, max_bytes), AHEAD) as handle:
        yield handle


def most_bytes(path: Path, max_bytes: int) -> int:
    """What a file may hold, unpacked."""
    if path.suffix.lower() not in PACKED:
        return max_bytes
    return min(max_bytes, max(MODEST_BYTES, LARGEST_RATIO * path.stat().st_size))


class _Unpacked(io.RawIOBase):
    """What comes out of a packed file, up to a limit."""

    def __init__(self, packed: Any, path: Path, max_bytes: int):
        self._packed, self._path, self._most = packed, path, most_bytes(path, max_bytes)
        self._left = self._most + AHEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            part = self._packed.read(len(buffer))
        except (EOFError, OSError, zlib.error) as error:
            raise CojaxInputError(
                f"{self._path} cannot be unpacked, the file is truncated or damaged: {error}."
            ) from error
        self._left -= len(part)
        if self._left < 0:
            raise CojaxInputError(
                f"{self._path} is beyond the {self._most} bytes that this file may unpack to: unpack it first."
            )
        buffer[: len(part)] = part
        return len(part)


def whole_text(path: Path, max_bytes: int, other: str | None = None) -> str:
    """The text of a file in UTF-8, or in the encoding `other` where it is not."""
    with open_unpacked(path, max_bytes) as handle:
        content = handle.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if other is not None:
            return content.decode(other)
        raise CojaxInputError(f"{path} is no UTF-8 text ({error.reason}): save it as UTF-8.") from error


def tidy(name: str) -> str:
    """A name as it is compared: an accent is one character with its letter, whichever machine it was typed on."""
    return unicodedata.normalize("NFC", name).strip()


def number(cell: str, where: str, name: str) -> float:
    """The finite number that a cell spells in ASCII; `float` alone would take nan, 1_000 and other scripts' digits."""
    text = cell.strip()
    if text == "":
        raise CojaxInputError(f"{where} needs a number for {name}, got an empty cell: fill it in.")
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity", "na", "null", "none"):
        raise CojaxInputError(f"{where} needs a finite number for {name}, got {text!r}: fill it in.")
    if not NUMBER.fullmatch(text):
        raise CojaxInputError(f"{where} needs a number for {name}, got {text[:40]!r}: write it like 12.5 or 1e-3.")
    value = float(text)
    if not math.isfinite(value):
        raise CojaxInputError(f"{where} needs a finite number for {name}, got {text[:40]!r}: it overflows.")
    return value


def csv_table(
    path: Path, max_bytes: int, known: Collection[str] = ()
) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The header of a CSV file and its rows, each with its `path:line`; lines of nothing but commas are skipped.

    Columns in `known` are known in capitals too.
    """
    rows = _csv_rows(path, max_bytes)
    first = next(rows, None)
    if first is None:
        raise CojaxInputError(f"{path} is empty: its first line must name the columns.")
    where, cells = first
    marks = {"\t": "tabs", ";": "semicolons"}
    mark = next((mark for mark in marks if len(cells) == 1 and mark in cells[0]), None)
    if mark is not None:
        raise CojaxInputError(f"{where} separates columns by {marks[mark]}: save it with commas.")
    header = [tidy(cell) for cell in cells]
    header = [name.lower() if name.lower() in known else name for name in header]
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


def _csv_rows(path: Path, max_bytes: int) -> Iterator[tuple[str, list[str]]]:
    # utf-8-sig drops the byte-order mark that spreadsheets write.
    with open_unpacked(path, max_bytes) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as handle:
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
        if not any(map(str.strip, cells)):  # the rows below a table, as spreadsheets write them
            continue
        if len(cells) != width:
            raise CojaxInputError(f"{where} has {len(cells)} cells, but the header names {width} columns.")
        yield where, cells
