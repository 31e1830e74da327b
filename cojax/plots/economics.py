"""Prices over a year and what more room would have saved: the two pictures of a plan for every hour."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._support.checks import CojaxInputError, real_array
from .canvas import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PURPLE,
    QUIET,
    SKY,
    VERMILION,
    YELLOW,
    Numbers,
    axes,
    finite,
    height,
    hint,
    legend,
    names_of,
    rows_of,
)
from .numerals import number

DAY = 24
LAYERS = (BLUE, ORANGE, GREEN, SKY, VERMILION, PURPLE, YELLOW)
MOST_STACKED = len(LAYERS)


def price_series(
    price: Numbers, prices: Numbers, *, hours: Numbers | None = None, dates: Any = None, ax: Any = None
) -> Any:
    """The price of one more unit of budget by the day, inside of the range of what it costs at the nodes.

    Args:
        price: (h,), of one more unit of budget, hour by hour.
        hours: (h,), how long each of them holds; by default an hour.
        prices: (h, n), of every node.
        dates: (h,), datetime64, when each of them begins, for an axis of dates.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Of every day the median is drawn, with a band from the lowest to the highest; the prices of the nodes are the
    paler band behind it. The axis is linear around zero and logarithmic far from it, because prices spike and go
    below zero. Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    price, nodes = finite("price", price), np.asarray(prices, dtype=float)
    if nodes.ndim != 2 or len(nodes) != price.size or price.size == 0:
        raise CojaxInputError(f"plots.price_series needs prices of shape ({price.size}, n), got {nodes.shape}.")
    held = np.ones(price.size) if hours is None else finite("hours", hours, price.size)
    starts, days = _by_day(held, dates)
    with axes(ax, 2.8) as ax:
        size = float(np.nanmedian(np.abs(nodes)))
        linear = 10.0 ** np.ceil(np.log10(size if size > 0 else np.nanmax(np.abs(nodes)) or 1.0))
        if np.nanmax(np.abs(nodes)) > linear:  # else it would have no ticks but the ends
            ax.set_yscale("symlog", linthresh=linear)
        low, high = np.minimum.reduceat(nodes.min(1), starts), np.maximum.reduceat(nodes.max(1), starts)
        ax.fill_between(days, low, high, color=FAINT, linewidth=0, label="cheapest to dearest node")
        low, high = np.fmin.reduceat(price, starts), np.fmax.reduceat(price, starts)
        ax.fill_between(days, low, high, color=ORANGE, alpha=0.6, linewidth=0, label="price of one more unit, by day")
        middle = [np.nanmedian(part) if np.isfinite(part).any() else np.nan for part in np.split(price, starts[1:])]
        ax.plot(days, middle, color=BLUE, linewidth=0.9, label="its median of a day")
        ax.axhline(0, color=QUIET, linewidth=0.6)
        _days(ax, days, dates)
        ax.set_ylabel("cost per CPU unit")
        legend(ax, columns=1)
    return ax


def stacked(
    shares: Numbers,
    *,
    names: Sequence[str] | None = None,
    hours: Numbers | None = None,
    dates: Any = None,
    ax: Any = None,
) -> Any:
    """Shares over time, on top of each other: the largest seven by name, and all others as one.

    Args:
        shares: (h, n), in units of cpu; of every day the mean is drawn where there are more than three days.
        names: of the nodes.
        hours: (h,), how long each line holds; by default an hour.
        dates: (h,), datetime64, when each line begins, for an axis of dates.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Raises `CojaxInputError` where matplotlib is missing or shapes differ, and for shares < 0, which have no height.
    """
    table = real_array("plots.stacked", "shares", shares).astype(float)
    if table.ndim != 2 or not table.size or not (table >= 0).all():
        least = f" from {table.min():.3g}" if table.size else ""
        raise CojaxInputError(f"plots.stacked needs shares (h, n) >= 0, got shape {table.shape}{least}.")
    held = np.ones(len(table)) if hours is None else finite("hours", hours, len(table))
    starts, days = _by_day(held, dates)
    means = np.add.reduceat(table * held[:, None], starts) / np.add.reduceat(held, starts)[:, None]
    order = np.argsort(-means.sum(0), kind="stable")
    named = names_of(names, table.shape[1])
    shown, others = order[:MOST_STACKED], order[MOST_STACKED:]
    layers = [means[:, row] for row in shown] + ([means[:, others].sum(1)] if others.size else [])
    texts = [named[row] for row in shown] + ([f"{others.size} others"] if others.size else [])
    with axes(ax, 2.8) as ax:
        drawn = ax.stackplot(
            days, layers, labels=texts, colors=LAYERS[: len(shown)] + (FAINT,), linewidth=0.3, edgecolor="white"
        )
        for layer, text, heights in zip(drawn, texts, layers, strict=True):
            hint(layer, [f"{text}: {number(heights.min())} to {number(heights.max())}"])
        _days(ax, days, dates)
        ax.set_ylim(bottom=0)
        ax.set_ylabel("CPU units")
        legend(ax, columns=3)
    return ax


def _by_day(held: np.ndarray, dates: Any) -> tuple[np.ndarray, np.ndarray]:
    """The first line of every day, or every line of at most three days; and where they are on the axis."""
    begins = np.cumsum(held) - held
    starts = np.arange(held.size)
    if held.sum() >= 3 * DAY:
        starts = np.flatnonzero(np.diff(np.floor(begins / DAY), prepend=-1) > 0)
    if dates is None:
        return starts, begins[starts] / DAY
    try:
        dates = np.asarray(dates, "datetime64[s]")
    except (TypeError, ValueError) as error:
        raise CojaxInputError(f"A picture needs dates as datetime64 has them, got {dates!r:.60}.") from error
    if dates.shape != held.shape:
        raise CojaxInputError(f"A picture needs one date per line, {held.size}, got {dates.size}.")
    return starts, dates[starts]


def _days(ax: Any, days: np.ndarray, dates: Any) -> None:
    if dates is None:
        ax.set_xlim(0, max(days[-1], 1e-9))
        ax.set_xlabel("days")
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlim(days[0], days[-1] if len(days) > 1 else days[0] + np.timedelta64(1, "h"))


def rents(saved: Numbers, *, names: Sequence[str] | None = None, ax: Any = None) -> Any:
    """What one more unit of room at every node would have saved over all hours, the most on top.

    Args:
        saved: (n,), in cost per unit of cpu.
        names: of the nodes; left out above 60 rows.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Raises `CojaxInputError` where matplotlib is missing or shapes differ. What is not finite is left out.
    """
    saved = finite("saved", saved)
    order = np.argsort(-np.nan_to_num(saved), kind="stable")
    named = [names_of(names, saved.size)[row] for row in order]
    with axes(ax, height(saved.size)) as ax:
        rows = rows_of(ax, saved.size, None if names is None else named)
        bars = ax.barh(rows, np.nan_to_num(saved)[order], height=0.7, color=GREEN)
        for bar, name, worth in zip(bars, named, saved[order], strict=True):
            hint(bar, [f"{name}: {number(worth)}"])
        ax.set_xlim(left=0)
        ax.set_xlabel("saved by one more unit, all hours together")
    return ax
