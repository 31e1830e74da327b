"""A table for a spreadsheet: names are text there, whatever they begin with."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    """A CSV file; numbers in full, so that nothing is lost, and names defused."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(map(defused, header))
        writer.writerows(map(defused, row) for row in rows)


def defused(cell: Any) -> Any:
    """A name that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay as they are."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell
