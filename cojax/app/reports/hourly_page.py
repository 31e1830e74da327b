"""The page of a plan for every hour: verdict, totals, pictures, a row a day and a row a node."""

from typing import Any

import numpy as np

from ..results.hours import TOLERANCE, Hourly
from .numbers import describe, median
from .pages import inline, render

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


def _totals(hourly: Hourly) -> list[tuple[str, str]]:
    """The numbers to remember, with their names."""
    solved, held = hourly.solved, hourly.lengths
    more, less = np.asarray(solved.more.budget), np.asarray(solved.less.budget)
    money = f" {hourly.plan.units.money}" if hourly.plan.units.money else ""
    low, high = int(np.argmin(more)), int(np.argmax(more))
    return [
        ("Cost of all hours", f"{hourly.cost:.6g}{money}"),
        ("One rule, the best at the mean prices, costs more", f"{hourly.fixed_cost - hourly.cost:.4g}{money}"),
        ("Hours", f"{held.sum():g}"),
        ("Price of one more, least", f"{more[low]:.5g}{money} in {hourly.labels[low]}"),
        ("Price of one more, most", f"{more[high]:.5g}{money} in {hourly.labels[high]}"),
        ("Price of one more and saving of one less, medians", f"{median(more, held):.5g}, {median(less, held):.5g}"),
        ("Certified", f"{int(solved.certified.sum())} of {len(hourly.labels)} lines"),
    ]
