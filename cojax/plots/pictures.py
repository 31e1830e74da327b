"""Where a run ended and how it got there: every function draws on one matplotlib Axes and returns it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .._support.checks import CojaxInputError
from ..runs.records import Trace
from ..runs.solutions import Solution
from .canvas import (
    BLUE,
    FAINT,
    GREEN,
    NAMED_ROWS,
    ORANGE,
    PURPLE,
    QUIET,
    SKY,
    VERMILION,
    Numbers,
    axes,
    column,
    counts,
    dots,
    finite,
    height,
    hint,
    legend,
    names_of,
    optima,
    rows_of,
)
from .numerals import number


def convergence(
    run: Trace | Solution,
    optimum: float | None = None,
    *,
    over: Literal["steps", "bits"] = "steps",
    unit: str = "CPU units",
    ax: Any = None,
) -> Any:
    """How far the run was from its goals as it went on, on a logarithmic axis; what is exactly 0 is said in words.

    Args:
        run: a solution, or its standard trace; every field (c,).
        optimum: the cost of the centralised optimum; without it no cost is drawn.
        over: what runs along the other axis: steps, or bits that one node told one neighbour.
        unit: of shares, for the legend.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    The cost's distance from the optimum is relative to the optimum, and dotted where the cost is *below*: soft bounds
    let it. Raises `CojaxInputError` where matplotlib is missing or the trace is not that of one run.
    """
    trace = run.trace if isinstance(run, Solution) else run
    along = {
        "steps": ("step", "steps (one exchange with the neighbours each)"),
        "bits": ("bits", "bits told to each neighbour"),
    }
    if over not in along:
        raise CojaxInputError(f"plots.convergence draws over steps or over bits, got over={over!r}.")
    field, xlabel = along[over]
    steps = column(f"trace.{field}", getattr(trace, field))
    with axes(ax, 3.0) as ax:
        ax.set_yscale("log")
        if optimum is not None:
            gap = (finite("trace.cost", trace.cost, steps.size) - optimum) / (abs(optimum) or 1.0)
            below = (gap < 0).any()
            above = np.where(gap > 0, gap, np.nan) if below else np.abs(gap)
            _line(ax, steps, above, "cost above optimum (relative)", BLUE, "-")
            if below:
                _line(ax, steps, np.where(gap < 0, -gap, np.nan), "cost below optimum (relative)", BLUE, ":")
        for field, text, colour, dash in (
            ("disagreement", "models apart (largest entry)", VERMILION, "--"),
            ("overload", f"shares beyond bounds ({unit})", ORANGE, "-."),
        ):
            _line(ax, steps, finite(field, getattr(trace, field), steps.size), text, colour, dash)
        imbalance = finite("trace.imbalance", trace.imbalance, steps.size)
        _line(ax, steps, imbalance, f"total off budget ({unit})", GREEN, "-", never="0 at every step")
        counts(ax, xlabel, steps.max(initial=1))
        ax.set_ylabel("distance from the goal")
        ax.minorticks_off()
        legend(ax, columns=1)
    return ax


def shares(
    cpu: Numbers,
    lower: Numbers,
    upper: Numbers,
    *,
    optimum: Numbers | None = None,
    names: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """Every node's share between its bounds, one row per node, with a mark where the optimum is.

    Args:
        cpu, lower, upper: (n,), in units of cpu; bounds may be infinite.
        optimum: the shares (n,) of the optimum, in the same unit.
        names: of the rows; left out above 60 rows.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    A share beyond its bounds by more than a thousandth of their distance is drawn as a diamond.
    Raises `CojaxInputError` where matplotlib is missing or shapes differ. Shares that are not finite are left out.
    """
    cpu = finite("cpu", cpu)
    marks = cpu if optimum is None else finite("optimum", optimum, cpu.size)
    bounds = [column(name, bound, cpu.size) for name, bound in (("lower", lower), ("upper", upper))]
    seen = np.concatenate([cpu, marks, *bounds])
    seen = seen[np.isfinite(seen)]
    low, high = np.clip(bounds, seen.min(), seen.max()) if seen.size else bounds
    beyond = np.maximum(low - cpu, cpu - high) > 1e-3 * (high - low)
    named = names_of(names, cpu.size)
    sides = zip(named, cpu, *bounds, strict=True)
    hints = [f"{name}: {number(x)}, bounds {number(low)} to {number(high)}" for name, x, low, high in sides]
    with axes(ax, height(cpu.size)) as ax:
        rows = rows_of(ax, cpu.size, names)
        thick = 6.5 if cpu.size <= NAMED_ROWS else max(150 / cpu.size, 0.3)
        ax.hlines(rows, low, high, color=FAINT, linewidth=thick, label="bounds", zorder=1)
        dots(ax, cpu, rows, ~beyond, "share", color=BLUE, marker="o", hints=hints)
        dots(ax, cpu, rows, beyond, "beyond a soft bound", color=VERMILION, marker="D", hints=hints)
        if optimum is not None:
            optima(ax, marks, rows)
        ax.set_xlabel("CPU units")
        legend(ax, columns=2, end="right")
    return ax


def prices(
    marginal: Numbers,
    price: float,
    *,
    optimum: Numbers | None = None,
    at_lower: Numbers | None = None,
    at_upper: Numbers | None = None,
    names: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """What the next unit of cpu costs at every node, one row per node, against the price of the optimum.

    Args:
        marginal: (n,), cost per unit of cpu at the node's share.
        price: of one more unit of budget; at an optimum every node between its bounds has this marginal cost.
        optimum: the marginal costs (n,) at the optimum.
        at_lower, at_upper: (n,), whether a node is at a bound, where its cost may be above, or below, the price.
        names: of the rows; left out above 60 rows.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Raises `CojaxInputError` where matplotlib is missing or shapes differ. What is not finite is left out.
    """
    marginal = finite("marginal", marginal)
    none = np.zeros(marginal.size)
    low = column("at_lower", none if at_lower is None else at_lower, marginal.size) > 0
    high = column("at_upper", none if at_upper is None else at_upper, marginal.size) > 0
    named = names_of(names, marginal.size)
    hints = [f"{name}: {number(cost)}, price {number(price)}" for name, cost in zip(named, marginal, strict=True)]
    with axes(ax, height(marginal.size)) as ax:
        rows = rows_of(ax, marginal.size, names)
        ax.axvline(price, color=QUIET, linewidth=1.0, label=f"price {price:.4g}".replace("-", "\u2212"), zorder=1)
        dots(ax, marginal, rows, ~low & ~high, "between its bounds", color=BLUE, marker="o", hints=hints)
        dots(ax, marginal, rows, high, "at its upper bound", color=GREEN, marker=">", hints=hints)
        dots(ax, marginal, rows, low & ~high, "at its lower bound", color=ORANGE, marker="<", hints=hints)
        if optimum is not None:
            optima(ax, finite("optimum", optimum, marginal.size), rows)
        # Where all costs meet, an axis that shows their last digits says nothing.
        least, (left, right) = 0.05 * abs(price), ax.get_xlim()
        ax.set_xlim(min(left, price - least), max(right, price + least))
        ax.locator_params(axis="x", nbins=5)
        ax.set_xlabel("marginal cost (cost per CPU unit)")
        legend(ax, columns=2, end="right")
    return ax


def scaling(
    sizes: Numbers,
    seconds: Mapping[str, Numbers],
    *,
    time_of: str = "one step",
    ax: Any = None,
) -> Any:
    """Seconds over the number of nodes, both logarithmic, with a dotted line of what is proportional to n.

    Args:
        sizes: (s,), numbers of nodes.
        seconds: by name, one curve (s,) each; NaN where a size was not measured.
        time_of: what took so long, for the axis.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    sizes = column("sizes", sizes)
    looks = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (ORANGE, "D"), (PURPLE, "v"), (SKY, "P"))
    with axes(ax, 2.6) as ax:
        ax.set_xscale("log")
        ax.set_yscale("log")
        for number, (name, times) in enumerate(seconds.items()):
            colour, marker = looks[number % len(looks)]
            times = finite(name, times, sizes.size)
            ax.plot(sizes, times, color=colour, marker=marker, markersize=3.5, label=name)
            if number == 0 and np.isfinite(times).any():
                last = np.flatnonzero(np.isfinite(times))[-1]
                guide = sizes * times[last] / sizes[last]
                ax.plot(sizes, guide, ":", color=QUIET, linewidth=1.0, label="proportional to n", zorder=1)
        ax.set_xlabel("nodes n")
        ax.set_ylabel(f"seconds for {time_of}")
        ax.grid(True, color=FAINT, linewidth=0.5)
        legend(ax, columns=2)
    return ax


def parts(sizes: Numbers, seconds: Mapping[str, Numbers], *, ax: Any = None) -> Any:
    """Where the time of a run goes: one bar a size, its parts on top of each other.

    Args:
        sizes: (s,), numbers of nodes.
        seconds: by name of the part, (s,) each, >= 0; at most six parts.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    sizes = column("sizes", sizes)
    colours = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
    if len(seconds) > len(colours):
        raise CojaxInputError(f"plots.parts needs at most {len(colours)} parts in seconds, got {len(seconds)}.")
    places, bottom = np.arange(sizes.size), np.zeros(sizes.size)
    with axes(ax, 2.6) as ax:
        for colour, (name, times) in zip(colours, seconds.items(), strict=False):
            times = finite(name, times, sizes.size)
            ax.bar(places, times, bottom=bottom, color=colour, width=0.6, label=name)
            bottom = bottom + times
        for place, whole in zip(places, bottom, strict=True):
            ax.annotate(f"{whole:.3g} s", (place, whole), (0, 2), textcoords="offset points", ha="center", fontsize=7)
        ax.set_xticks(places, [f"{int(size):,}".replace(",", "\u202f") for size in sizes])
        ax.set_xlabel("nodes n")
        ax.set_ylabel("seconds")
        ax.set_ylim(0, 1.12 * max(bottom.max(initial=0), 1e-9))
        legend(ax, columns=2)
    return ax


def _line(
    ax: Any, steps: np.ndarray, values: np.ndarray, text: str, color: str, dash: str, never: str = "0 throughout"
):
    """A curve; one of zeros has no place on a logarithmic axis and runs along its bottom, as the legend says."""
    if not np.asarray(values != 0).any():
        floor = {"transform": ax.get_xaxis_transform(), "clip_on": False, "zorder": 3, "linewidth": 2.5}
        ax.plot([0, steps.max(initial=1)], [0, 0], color=color, linestyle=dash, label=f"{text}: {never}", **floor)
        return
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    # A single point has no line.
    marker = "o" if np.isfinite(shown).sum() == 1 else None
    (line,) = ax.plot(steps, shown, color=color, linestyle=dash, marker=marker, markersize=3, label=text)
    there = np.flatnonzero(np.isfinite(shown))
    if there.size:
        hint(line, [f"{text}: {number(shown[there[-1]], 3)} at step {number(steps[there[-1]])}"])
