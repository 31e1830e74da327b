"""Tables and pictures are put in place whole; in a table for a spreadsheet names are text, whatever they begin with."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from ...runs.files import replace_file

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    """A CSV file; numbers in full, so that nothing is lost, and names defused."""

    def write(handle: IO[bytes]) -> None:
        text = io.TextIOWrapper(handle, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(map(defuse, header))
        writer.writerows(map(defuse, row) for row in rows)
        text.detach()

    replace_file(path, write)


def write_picture(path: Path, ax: Any, *, dpi: int = 300) -> None:
    """The figure of `ax` as a PNG file."""
    replace_file(path, lambda handle: ax.figure.savefig(handle, format="png", dpi=dpi))


def defuse(cell: Any) -> Any:
    """A name that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay as they are."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell


def armed(cell: str) -> str:
    """A name as it was before `defuse`."""
    return cell[1:] if cell.startswith("'") and defuse(cell[1:]) == cell else cell
