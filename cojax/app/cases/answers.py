"""An answer that something else has found: a share for every node of a plan, from a table of names and numbers."""

import math
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..._support.checks import CojaxInputError, did_you_mean
from ...data.files import checked_path, csv_table, number, tidy
from .centres import LARGEST

MAX_BYTES = 200_000_000
NAMES, SHARES = "node", "share"  # as allocation.csv calls its columns
UNIT = re.compile(r"\[([^\[\]]*)\]$")
# Of a total to the budget: hundredths, and the prefixes of units; a total of 1 or 100 is parts of the whole.
FACTORS = (1e2, 1e3, 1e6, 1e9, 2.0**10, 2.0**20, 2.0**30)
ALIKE, FAR = 1e-3, 10.0


def read_answer(path: Path, names: tuple[str, ...], budget: float, unit: str) -> Float[np.ndarray, " n"]:
    """The shares in a CSV file, in the order of `names`; its lines may have any order.

    Its columns are `node` and `share` among any others, as in allocation.csv; or it has two columns, names first.
    Raises `CojaxInputError`, with file, line and column, for a node that is not in `names`, missing or there twice, for
    a share that is no finite number, and for shares in another unit: said in brackets, or plain from their total.
    """
    path = checked_path(path, MAX_BYTES)
    header, rows = csv_table(path, MAX_BYTES)
    name_column, share_column = _columns(path, header)
    said = UNIT.search(share_column)
    if said is not None and said[1].strip() != unit:
        raise CojaxInputError(
            f"{path}:1 has shares in {said[1].strip()!r} in the column {share_column!r}, but those of the plan are in "
            f"{unit!r} ($.units.cpu): convert them, or name the unit that is meant."
        )
    places = {f"'{name}": row for row, name in enumerate(names)}  # as tables for spreadsheets defuse a name
    places |= {name: row for row, name in enumerate(names)}
    lines: dict[int, str] = {}
    shares = np.full(len(names), np.nan)
    for where, cells in rows:
        name, cell = tidy(cells[header.index(name_column)]), cells[header.index(share_column)]
        if name not in places:
            raise CojaxInputError(
                f"{where} names the node {name[:40]!r} in the column {name_column!r}, which the plan does not have"
                f"{did_you_mean(name[:40], names) or ': write its names as the plan does.'}"
            )
        row = places[name]
        if row in lines:
            raise CojaxInputError(
                f"{where} repeats the node {names[row]!r} of {lines[row]} in the column {name_column!r}: every node "
                "needs one line."
            )
        lines[row] = where
        shares[row] = number(cell, where, f"the column {share_column!r}")
        if abs(shares[row]) > LARGEST:
            raise CojaxInputError(
                f"{where} needs a share of at most {LARGEST:g} in the column {share_column!r}, got {shares[row]:g}: "
                "sums and products of larger ones overflow."
            )
    missing = [name for row, name in enumerate(names) if row not in lines]
    if missing:
        raise CojaxInputError(
            f"{path} has no line for {', '.join(map(repr, missing[:5]))}{', ...' if len(missing) > 5 else ''} in the "
            f"column {name_column!r}: every node of the plan needs one, 0 for a node that gets nothing."
        )
    _check_total(path, share_column, math.fsum(shares), budget, unit)
    return shares


def _columns(path: Path, header: list[str]) -> tuple[str, str]:
    """The columns of the names and of the shares."""
    bare: dict[str, str] = {}
    for name in header:
        plain = UNIT.sub("", name).strip().lower()
        if plain in (NAMES, SHARES) and plain in bare:
            raise CojaxInputError(
                f"{path}:1 has the columns {bare[plain]!r} and {name!r}: nobody knows which one counts; rename one."
            )
        bare[plain] = name
    if NAMES in bare and SHARES in bare:
        return bare[NAMES], bare[SHARES]
    if "hour" in bare:
        raise CojaxInputError(
            f"{path}:1 has the column {bare['hour']!r}: these are shares by the hour, and one share a node is judged "
            "here; `cojax plan --hours` certifies every hour that it writes."
        )
    if len(header) == 2:
        names, shares = header
        swapped = shares == bare.get(NAMES) or names == bare.get(SHARES)
        return (shares, names) if swapped else (names, shares)
    raise CojaxInputError(
        f"{path}:1 needs a column {NAMES} and a column {SHARES}, or two columns only, names and shares; got "
        f"{', '.join(header[:8])}{', ...' if len(header) > 8 else ''}."
    )


def _check_total(path: Path, column: str, total: float, budget: float, unit: str) -> None:
    """Refuse a total that is off the budget by what tells two units apart."""
    if budget == 0 or total / budget <= 0:
        return
    ratio = total / budget
    factors = [factor for each in FACTORS for factor in (each, 1 / each) if abs(ratio / factor - 1) < ALIKE]
    parts = [whole for whole in (1.0, 100.0) if abs(total / whole - 1) < ALIKE and not 1 / FAR < ratio < FAR]
    if factors or parts:
        raise CojaxInputError(
            f"{path} has shares that sum to {total:g} in the column {column!r}, {ratio:.4g} times the budget of "
            f"{budget:g} {unit}: they look like another unit; write them in {unit}."
        )
