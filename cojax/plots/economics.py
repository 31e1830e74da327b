"""Prices over a year and what more room would have saved: the two pictures of a plan for every hour."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._support.checks import CojaxInputError
from .canvas import BLUE, FAINT, GREEN, ORANGE, QUIET, Numbers, axes, finite, height, legend, names_of, rows_of

DAY = 24


def price_series(price: Numbers, prices: Numbers, *, hours: Numbers | None = None, ax: Any = None) -> Any:
    """The price of one more unit of budget by the day, inside of the range of what it costs at the nodes.

    Args:
        price: (h,), of one more unit of budget, hour by hour.
        hours: (h,), how long each of them holds; by default an hour.
        prices: (h, n), of every node.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Of every day the median is drawn, with a band from the lowest to the highest; the prices of the nodes are the
    paler band behind it. The axis is linear around zero and logarithmic far from it, because prices spike and go
    below zero. Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    price, nodes = finite("price", price), np.asarray(prices, dtype=float)
    if nodes.ndim != 2 or len(nodes) != price.size or price.size == 0:
        raise CojaxInputError(f"plots.price_series needs prices of shape ({price.size}, n), got {nodes.shape}.")
    held = np.ones(price.size) if hours is None else finite("hours", hours, price.size)
    begins = np.cumsum(held) - held
    starts = np.arange(price.size)
    if held.sum() >= 3 * DAY:  # the first line of every day
        starts = np.flatnonzero(np.diff(np.floor(begins / DAY), prepend=-1) > 0)
    days = begins[starts] / DAY
    with axes(ax, 2.8) as ax:
        size = float(np.nanmedian(np.abs(nodes)))
        linear = 10.0 ** np.ceil(np.log10(size if size > 0 else np.nanmax(np.abs(nodes)) or 1.0))
        if np.nanmax(np.abs(nodes)) > linear:  # else it would have no ticks but the ends
            ax.set_yscale("symlog", linthresh=linear)
        low, high = np.minimum.reduceat(nodes.min(1), starts), np.maximum.reduceat(nodes.max(1), starts)
        ax.fill_between(days, low, high, color=FAINT, linewidth=0, label="cheapest to dearest node")
        low, high = np.fmin.reduceat(price, starts), np.fmax.reduceat(price, starts)
        ax.fill_between(days, low, high, color=ORANGE, alpha=0.6, linewidth=0, label="price of one more unit, by day")
        middle = [np.nanmedian(part) for part in np.split(price, starts[1:])]
        ax.plot(days, middle, color=BLUE, linewidth=0.9, label="its median of a day")
        ax.axhline(0, color=QUIET, linewidth=0.6)
        ax.set_xlim(0, max(days[-1], 1e-9))
        ax.set_xlabel("days")
        ax.set_ylabel("cost per CPU unit")
        legend(ax, columns=1)
    return ax


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
    named = None if names is None else names_of(names, saved.size)
    with axes(ax, height(saved.size)) as ax:
        rows = rows_of(ax, saved.size, None if named is None else [named[row] for row in order])
        ax.barh(rows, np.nan_to_num(saved)[order], height=0.7, color=GREEN)
        ax.set_xlim(left=0)
        ax.set_xlabel("saved by one more unit, all hours together")
    return ax
