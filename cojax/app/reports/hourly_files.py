"""A plan for every hour as text, as tables, as pictures and as a page."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ... import plots
from ..._support.checks import CojaxInputError
from ...runs.files import replace_file, replace_text
from ..plans.plans import write_plan
from ..results.hours import TOLERANCE, Hourly
from ..results.sheets import write_csv, write_picture
from .hourly_page import page
from .numbers import describe, lay_out, median

MOST_ROWS = 30  # on a terminal; nodes.csv has all


def text(hourly: Hourly) -> str:
    """What the hours came to, and where one more unit of capacity would have been worth most."""
    solved, seconds = hourly.solved, hourly.seconds
    rows, hours, price = len(hourly.labels), float(hourly.lengths.sum()), np.asarray(solved.more.budget)
    word = "hours" if (hourly.lengths == 1).all() else "lines"
    size = f"{rows} hours" if word == "hours" else f"{rows} lines, {hours:g} hours in all,"
    certified = int(solved.certified.sum())
    low, high = int(np.argmin(price)), int(np.argmax(price))
    lines = [
        hourly.plan.title,
        f"{size} x {len(hourly.names)} nodes in one program: {seconds['run']:.2f} s after "
        f"{seconds['compile']:.1f} s of compiling.",
        "",
        *_table(hourly),
        "",
        f"cost           {hourly.cost:.8g} over all hours; one allocation for all of them, the best at the mean",
        f"               prices, costs {hourly.fixed_cost - hourly.cost:.6g} more",
        f"node prices    {hourly.prices.min():.6g} to {hourly.prices.max():.6g}, "
        f"{int((hourly.prices < 0).sum())} of {hourly.prices.size} negative",
        f"price          of one more unit: {price[low]:.6g} in {hourly.labels[low]} to {price[high]:.6g} in "
        f"{hourly.labels[high]}, median {median(price, hourly.lengths):.6g}",
        f"one-sided      {int(solved.one_sided.any(1).sum())} {word} with a node that just touches a bound, "
        f"{int((solved.more.budget != solved.less.budget).sum())} with an interval of prices",
        f"certificate    {certified} of {rows} {word} CERTIFIED to {TOLERANCE:g}",
    ]
    if certified < rows:
        wrong = [hourly.labels[row] for row in np.flatnonzero(~solved.certified)[:5]]
        lines.append(f"               not: {', '.join(wrong)}{', ...' if rows - certified > 5 else ''}")
    return "\n".join(lines) + "\n"


def write_files(folder: Path, hourly: Hourly) -> None:
    """hours.csv, nodes.csv, days.csv, shares.csv, hours.json, plan.toml, three pictures and report.html.

    Raises `CojaxInputError` where matplotlib is missing, or where the folder cannot be written to; the tables are
    written first.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = {"hours": _hour_columns(hourly), "nodes": node_columns(hourly), "days": day_columns(hourly)}
        for name, columns in tables.items():
            write_csv(folder / f"{name}.csv", columns, zip(*columns.values(), strict=True))
        shares = ([label, *row] for label, row in zip(hourly.labels, hourly.solved.cpu.tolist(), strict=True))
        write_csv(folder / "shares.csv", ["hour", *hourly.names], shares)
        summary = msgspec.json.format(msgspec.json.encode(_summary(hourly)), indent=2)
        replace_file(folder / "hours.json", lambda handle: handle.write(summary + b"\n"))
        write_plan(folder / "plan.toml", hourly.plan)
        pictures = _pictures(hourly)
        for name, ax in pictures.items():
            write_picture(folder / f"{name}.png", ax)
        replace_text(folder / "report.html", page(hourly, tables, pictures))
    except OSError as error:
        raise CojaxInputError(f"The results cannot be written to {folder}: {error.strerror}.") from error


def _pictures(hourly: Hourly) -> dict[str, Any]:
    saved = -(hourly.lengths @ hourly.solved.more.upper)
    held, dates, units = hourly.lengths, hourly.begins, hourly.plan.units
    found = {"hours": plots.price_series(hourly.solved.more.budget, hourly.prices, hours=held, dates=dates)}
    found["hours"].set_ylabel(f"{units.money or 'cost'} per unit of {units.cpu}")
    if (np.asarray(hourly.solved.cpu) >= 0).all():
        found["shares"] = plots.stacked(hourly.solved.cpu, names=hourly.names, hours=held, dates=dates)
        found["shares"].set_ylabel(units.cpu)
    return found | {"rents": plots.rents(saved, names=hourly.names)}


def day_columns(hourly: Hourly) -> dict[str, list]:
    """One row a day of 24 hours from the first line, or by the calendar where labels are dates."""
    held, solved = hourly.lengths, hourly.solved
    begins = np.cumsum(held) - held
    keys = hourly.days or [f"day {int(day) + 1}" for day in begins // 24]
    starts = np.flatnonzero([key != before for key, before in zip(keys, ["", *keys[:-1]], strict=True)])
    at_lower, at_upper = _sides(hourly)

    def summed(values: Any) -> np.ndarray:
        return np.add.reduceat(np.asarray(values) * held, starts)

    def longest(at: np.ndarray) -> list[str]:
        """Of every day the node that stood at the bound for longest, and for how long; nothing where none did."""
        stood = np.add.reduceat(at * held[:, None], starts)
        best = [(hourly.names[row], hours[row]) for row, hours in zip(stood.argmax(1), stood, strict=True)]
        return [f"{name}, {hours:g} h" if hours > 0 else "" for name, hours in best]

    hours = summed(np.ones(held.size))
    return {
        "day": [keys[start] for start in starts],
        "hours": _whole(hours).tolist(),
        "cost": summed(solved.cost).tolist(),
        "mean_price_of_one_more": (summed(solved.more.budget) / hours).tolist(),
        "mean_saving_of_one_less": (summed(solved.less.budget) / hours).tolist(),
        "dearest_hour": np.maximum.reduceat(solved.more.budget, starts).tolist(),
        "longest_at_upper": longest(at_upper),
        "longest_at_lower": longest(at_lower),
    }


def _sides(hourly: Hourly) -> tuple[np.ndarray, np.ndarray]:
    cpu = np.asarray(hourly.solved.cpu)
    return cpu <= hourly.lower, (cpu >= hourly.upper) & (hourly.upper > hourly.lower)


def _hour_columns(hourly: Hourly) -> dict[str, list]:
    """One row per line of the series; costs and rents are by the hour, rents what the cost would change by."""
    solved = hourly.solved
    rents = 0.0 - solved.more.upper
    at_lower, at_upper = _sides(hourly)
    best = np.argmax(rents, 1)
    columns: dict[str, Any] = {
        "hour": list(hourly.labels),
        "length": _whole(hourly.lengths),
        "cost": solved.cost,
        "price": solved.more.budget,
    }
    columns |= {"price_of_one_less": solved.less.budget, "fixed_allocation_cost": solved.fixed_cost}
    columns |= {"upper_rents": rents.sum(1), "lower_rents": solved.less.lower.sum(1)}
    columns |= {"most_wanted": [hourly.names[row] if rents[hour, row] > 0 else "" for hour, row in enumerate(best)]}
    columns |= {"its_rent": rents.max(1), "at_lower": at_lower.sum(1), "at_upper": at_upper.sum(1)}
    columns |= {"one_sided": solved.one_sided.any(1), "certified": solved.certified}
    return {name: values if isinstance(values, list) else values.tolist() for name, values in columns.items()}


def node_columns(hourly: Hourly) -> dict[str, list]:
    """One row per node, sums and means over all hours, every line weighed by its length."""
    solved, held = hourly.solved, hourly.lengths
    at_lower, at_upper = _sides(hourly)
    columns = {
        "mean_price": np.average(hourly.prices, axis=0, weights=held),
        "mean_share": np.average(solved.cpu, axis=0, weights=held),
        "hours_at_lower": _whole(held @ at_lower),
        "hours_at_upper": _whole(held @ at_upper),
        "upper_plus_1_saves": 0.0 - held @ solved.more.upper,
        "lower_minus_1_saves": held @ solved.less.lower,
        "price_plus_1_costs": held @ solved.cpu,
    }
    return {"node": list(hourly.names)} | {name: values.tolist() for name, values in columns.items()}


def _summary(hourly: Hourly) -> dict[str, Any]:
    solved = hourly.solved
    return {
        "title": hourly.plan.title,
        "lines": len(hourly.labels),
        "hours": float(hourly.lengths.sum()),
        "nodes": len(hourly.names),
        "certified": int(solved.certified.sum()),
        "tolerance": TOLERANCE,
        "cost": hourly.cost,
        "fixed_allocation_cost": hourly.fixed_cost,
        "price": {"least": float(solved.more.budget.min()), "most": float(solved.more.budget.max())},
        "one_sided_hours": int(solved.one_sided.any(1).sum()),
        "interval_hours": int((solved.more.budget != solved.less.budget).sum()),
        "seconds": {name: float(value) for name, value in hourly.seconds.items()},
    }


def _whole(hours: np.ndarray) -> np.ndarray:
    """Hours as whole numbers, where they all are."""
    return hours.astype(int) if (hours == np.round(hours)).all() else hours


def _table(hourly: Hourly) -> list[str]:
    """The nodes, most wanted first."""
    columns = node_columns(hourly)
    heads = {
        "node": "node",
        "mean_price": "mean price",
        "mean_share": "mean share",
        "hours_at_lower": "h at lower",
        "hours_at_upper": "h at upper",
        "upper_plus_1_saves": "upper + 1 saves",
        "price_plus_1_costs": "price + 1 costs",
    }
    order = np.argsort(-np.array(columns["upper_plus_1_saves"]), kind="stable")[:MOST_ROWS]
    rows = [[describe(columns[key][row]) for key in heads] for row in order]
    lines = lay_out([list(heads.values()), *rows])
    left = len(hourly.names) - MOST_ROWS
    return [*lines, f"... and {left} more in nodes.csv"] if left > 0 else lines
