"""The page of a plan for every hour: verdict, totals, pictures, a row a day and a row a node."""

from typing import Any

import numpy as np

from ...plots.numerals import number
from ..results.hours import TOLERANCE, Hourly
from .numbers import describe, median
from .pages import inline, render
from .words import Tile

MOST_ROWS = 400  # of a table; a longer one is for a spreadsheet
TABLES = {"Every day": "days", "Every node": "nodes"}
CAPTIONS = {
    "hours": ("Prices", "What one more unit of budget costs, by the day, and the range of prices at the nodes."),
    "shares": ("Who holds how much", "The exact shares on top of each other; of every day the mean."),
    "rents": (
        "Where room is worth most",
        "What one more unit of every upper bound would have saved, all hours together.",
    ),
}


def page(hourly: Hourly, tables: dict[str, dict[str, list]], pictures: dict[str, Any]) -> str:
    """The report: verdict, totals, pictures, and a row a day and a node."""
    return render(
        "hours",
        title=hourly.plan.title,
        certified=bool(hourly.solved.certified.all()),
        tolerance=f"{TOLERANCE:g}",
        notes=hourly.notes,
        units=hourly.plan.units,
        totals=_totals(hourly),
        pictures=[
            (heading, caption, inline(pictures[name].figure, name, f"{heading}: {caption}"))
            for name, (heading, caption) in CAPTIONS.items()
            if name in pictures
        ],
        tables=[_table(heading, f"{name}.csv", tables[name]) for heading, name in TABLES.items()],
    )


def _table(heading: str, file: str, columns: dict[str, list]) -> tuple[str, str, list[str], list[list[str]], int]:
    rows = list(zip(*columns.values(), strict=True))
    cells = [list(map(describe, row)) for row in rows[:MOST_ROWS]]
    return heading, file, [name.replace("_", " ") for name in columns], cells, len(rows)


def _totals(hourly: Hourly) -> list[Tile]:
    """The numbers to remember."""
    solved, held = hourly.solved, hourly.lengths
    more, less = np.asarray(solved.more.budget), np.asarray(solved.less.budget)
    money = f"\u00a0{hourly.plan.units.money}" if hourly.plan.units.money else ""
    low, high = int(np.argmin(more)), int(np.argmax(more))
    saving = number(median(less, held), 5)
    return [
        Tile("Cost", f"{number(hourly.cost, 6)}{money}", f"of all {number(held.sum(), 6)} hours"),
        Tile("One rule for all", f"+{number(hourly.fixed_cost - hourly.cost)}{money}", "the best at the mean prices"),
        Tile("One more unit, most", f"{number(more[high])}{money}", str(hourly.labels[high])),
        Tile("One more unit, least", f"{number(more[low])}{money}", str(hourly.labels[low])),
        Tile("One more unit, median", f"{number(median(more, held))}{money}", f"one unit less saves {saving}"),
        Tile("Certified", f"{int(solved.certified.sum())} of {len(hourly.labels)}", "lines of the series"),
    ]
