"""A report is one HTML file that asks for nothing from anywhere: its pictures are inside and it runs no script."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ... import plots
from ..._support.checks import CojaxInputError
from ...plots import lettering, numerals
from ...runs.files import replace_text
from ..results.outcome import Outcome
from ..results.sheets import write_picture
from . import captions, meanings, words
from .pages import inline, render

MOST_LISTED = 12  # of what the training waits for
MOST_ROWS = 200  # of the node table; a longer one is for a spreadsheet


class Picture(NamedTuple):
    """One figure of the report; `alt` says in words what it shows."""

    name: str
    heading: str
    caption: str
    alt: str
    ax: Any


class Column(NamedTuple):
    """One column of the node table; `cells` are text."""

    head: str
    cells: list[str]


def write_report(folder: str | Path, outcome: Outcome) -> Path:
    """Write `report.html`, and its pictures as PNG files of 1 050 pixels' width, into `folder`; return the HTML's path.

    A file `plan.toml` that is there already is shown in the report, as what runs it again.
    Raises `CojaxInputError` where matplotlib or jinja2 is missing, or where `folder` cannot be written to.
    """
    folder = Path(folder)
    path, plan = folder / "report.html", folder / "plan.toml"
    pictures = _pictures(outcome)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            write_picture(folder / f"{picture.name}.png", picture.ax)
        html = render(
            "report",
            outcome=outcome,
            lead=words.lead(outcome),
            answers=words.answers(outcome),
            key_numbers=words.key_numbers(outcome),
            pictures=[(picture, inline(picture.ax.figure, picture.name, picture.alt)) for picture in pictures],
            columns=_columns(outcome),
            num_rows=min(len(outcome.names), MOST_ROWS),
            worth=words.worth(outcome),
            worth_columns=_worth_columns(outcome),
            soft=words.soft(outcome),
            soft_rows=words.soft_and_exact(outcome),
            training=words.training(outcome),
            training_rows=_training_rows(outcome),
            certificate=meanings.certificate(outcome),
            settings=[("status", f"{outcome.status}: the run {words.ENDS[outcome.status]}"), *_flat(outcome.settings)],
            plan=plan.read_text(encoding="utf-8", errors="replace") if plan.is_file() else None,
        )
        replace_text(path, html)
    except OSError as error:
        raise CojaxInputError(f"The report cannot be written to {folder}: {error.strerror}.") from error
    return path


def _pictures(outcome: Outcome) -> list[Picture]:
    """All figures; rows go from the largest share to the smallest."""
    order = np.argsort(-outcome.exact_cpu)
    shown = lettering.node_labels(outcome.names)
    names = [shown[row] for row in order]
    at_lower, at_upper = words.at_bounds(outcome)
    known = outcome.positions or {}
    places = np.array([known[name] for name in outcome.names]) if set(outcome.names) <= set(known) else None
    upper = outcome.upper if np.isfinite(outcome.upper).all() else None
    axes = {
        "network": plots.network(outcome.edges, outcome.exact_cpu, upper=upper, names=shown, positions=places),
        "convergence": plots.convergence(outcome.trace, outcome.reference_cost, unit=outcome.cpu_unit),
        "shares": plots.shares(
            outcome.cpu[order],
            outcome.lower[order],
            outcome.upper[order],
            optimum=outcome.exact_cpu[order],
            names=names,
        ),
        "prices": plots.prices(
            outcome.marginal[order],
            outcome.price,
            optimum=outcome.exact_marginal[order],
            at_lower=at_lower[order],
            at_upper=at_upper[order],
            names=names,
        ),
    }
    axes["shares"].set_xlabel(outcome.cpu_unit)
    axes["prices"].set_xlabel(f"marginal cost ({outcome.money or 'cost'} per unit of {outcome.cpu_unit})")
    return [Picture(name, *captions.picture(name, outcome), ax) for name, ax in axes.items()]


def _columns(outcome: Outcome) -> list[Column]:
    """The node table by columns, cut to as many rows as a reader looks at."""
    at_lower, at_upper = words.at_bounds(outcome)
    numbers = {"Exact share": outcome.exact_cpu, "Run's share": outcome.cpu}
    numbers |= {"Lower bound": outcome.lower, "Upper bound": outcome.upper}
    numbers |= {"Marginal cost": outcome.exact_marginal, "Run's marginal": outcome.marginal}
    numbers |= {name.capitalize(): values for name, values in outcome.columns.items() if name not in ("lower", "upper")}
    columns = [Column("Node", _label_names(outcome.names))]
    columns += [Column(head, numerals.align_numbers(np.asarray(values))) for head, values in numbers.items()]
    at = np.where(at_upper, "upper", np.where(at_lower, "lower", numerals.DASH))
    columns.insert(5, Column("At bound", [str(side) for side in at]))
    if outcome.learned is not None:
        columns.append(Column("Samples", numerals.align_numbers(outcome.learned.num_samples)))
        own = [words.score(outcome.learned, float(value)) for value in outcome.learned.local_scores]
        columns.append(Column(f"Own {outcome.learned.score}", own))
    return [Column(head, cells[:MOST_ROWS]) for head, cells in columns]


def _worth_columns(outcome: Outcome) -> list[Column]:
    """What one more unit would be worth at every node, cut as the node table is."""
    found = outcome.worth
    numbers = {"Part of the next unit": found.next_unit}
    numbers |= {"Upper bound + 1 saves": found.upper, f"Lower bound {numerals.MINUS} 1 saves": found.lower}
    numbers |= {f"{name.capitalize()} + 1 costs": slopes for name, slopes in found.columns.items()}
    columns = [Column("Node", _label_names(outcome.names))]
    columns += [Column(head, _without_zeros(np.asarray(values))) for head, values in numbers.items()]
    if found.one_sided.any():
        columns.append(Column("One way only", ["yes" if flag else numerals.DASH for flag in found.one_sided]))
    return [Column(head, cells[:MOST_ROWS]) for head, cells in columns]


def _training_rows(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    """What the slowest chain waits for, longest first: name, time, part of all, and what one more would save."""
    found = outcome.training
    if found is None:
        return []
    nodes = zip(outcome.names, found.working, found.saved, strict=True)
    rows = [(name, took, saved) for name, took, saved in nodes if took > 0]
    rows += [(" - ".join(link.ends), link.seconds, link.saved) for link in found.links if link.seconds > 0]
    rows.sort(key=lambda row: -row[1])
    return [
        (name, words.of_seconds(took), words.percent(took, found.seconds), words.of_seconds(saved))
        for name, took, saved in rows[:MOST_LISTED]
    ]


def _label_names(names: tuple[str, ...]) -> list[str]:
    """Every name, with the number that pictures give a node whose name they cannot show."""
    shown = lettering.node_labels(names)
    return [
        f"{name} ({label})" if label == f"node {row}" != name else name
        for row, (name, label) in enumerate(zip(names, shown, strict=True), 1)
    ]


def _without_zeros(values: np.ndarray) -> list[str]:
    """Aligned numbers; a plain 0 where nothing would change, so that the eye finds where something would."""
    return ["0" if value == 0 else text for value, text in zip(values, numerals.align_numbers(values), strict=True)]


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
