"""Pictures of a run: every function draws on one matplotlib Axes and returns it, and nothing global is changed."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .._checks import CojaxInputError
from ..loop import Solution
from ..records import Trace
from . import places
from .canvas import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    NAMED_ROWS,
    ORANGE,
    PURPLE,
    QUIET,
    SKY,
    VERMILION,
    Numbers,
    axes,
    column,
    dots,
    finite,
    height,
    legend,
    names_of,
    optima,
    rows_of,
)


def network(
    edges: Numbers,
    cpu: Numbers,
    *,
    upper: Numbers | None = None,
    names: Sequence[str] | None = None,
    positions: Numbers | None = None,
    ax: Any = None,
) -> Any:
    """The network, with the area of a node for its share and the colour for the part of its upper bound in use.

    Args:
        edges: (e, 2), pairs of rows.
        cpu: shares (n,), in units of cpu.
        upper: bounds (n,) in the same unit; without them every node has one colour.
        names: written beside the nodes with the share; beside the twelve largest only above 40 nodes, none above 500.
        positions: (n, 2), degrees east and degrees north; without them linked nodes are drawn close to each other.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide, at `.figure` of what is returned.

    Raises `CojaxInputError` where matplotlib is missing, shapes differ, an edge leads nowhere, or a position is not
    finite. Shares that are not finite are left out.
    """
    cpu = finite("cpu", cpu)
    pairs = np.asarray(edges, dtype=int).reshape(-1, 2)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= cpu.size):
        got = f"{pairs.min()} to {pairs.max()}"
        raise CojaxInputError(f"plots.network needs edges between rows 0 to {cpu.size - 1}, got {got}.")
    points = places.drawn(pairs, cpu.size) if positions is None else np.asarray(positions, dtype=float)
    if points.shape != (cpu.size, 2) or not np.isfinite(points).all():
        raise CojaxInputError(f"plots.network needs finite positions of shape ({cpu.size}, 2), got {points.shape}.")
    with axes(ax, 2.5) as ax:
        # A mean area of 50 square points on a column with 14 nodes; smaller where there are more.
        areas = np.fmax(cpu, 0) / max(np.abs(np.nan_to_num(cpu)).mean(), 1e-300) * min(50.0, 700.0 / cpu.size) + 4.0
        faint = min(1.0, 200 / max(len(pairs), 1)) ** 0.5
        ax.plot(*points[pairs].transpose(2, 1, 0), color=QUIET, linewidth=0.7 * faint, alpha=0.7, zorder=1)
        look: dict[str, Any] = {"color": BLUE}
        if upper is not None:
            bounds = column("upper", upper, cpu.size)
            used = np.where(bounds > 0, cpu / np.where(bounds > 0, bounds, 1), 0.0)
            look = {"c": used, "cmap": "Blues", "vmin": 0.0, "vmax": np.fmax(used, 1.0).max()}
        discs = ax.scatter(*points.T, s=areas, edgecolors=INK, linewidths=0.6 * faint, zorder=2, **look)
        if upper is not None:
            bar = ax.figure.colorbar(discs, ax=ax, location="bottom", shrink=0.6, aspect=30, pad=0.02)
            bar.set_label("share / upper bound", size=8)
            bar.ax.tick_params(labelsize=7, color=QUIET, width=0.6, length=2)
            bar.outline.set_visible(False)
        # One degree east is shorter than one degree north by the cosine of the latitude.
        stretch = 1.0 if positions is None else 1 / max(np.cos(np.radians(points[:, 1].mean())), 0.1)
        ax.set_aspect(stretch, adjustable="datalim")
        ax.margins(0.12)
        ax.set_axis_off()
        if names is not None and cpu.size <= 500:
            texts = [f"{name} {share:.3g}" for name, share in zip(names_of(names, cpu.size), cpu, strict=True)]
            places.label(ax, points, areas, pairs, texts, np.argsort(-cpu)[: 40 if cpu.size <= 40 else 12])
    return ax


def convergence(
    run: Trace | Solution, optimum: float | None = None, *, over: Literal["steps", "bits"] = "steps", ax: Any = None
) -> Any:
    """How far the run was from its goals as it went on, on a logarithmic axis; what is exactly 0 is said in words.

    Args:
        run: a solution, or its standard trace; every field (c,).
        optimum: the cost of the centralised optimum; without it no cost is drawn.
        over: what runs along the other axis: steps, or bits that one node told one neighbour.
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
            _line(ax, steps, np.abs(gap), "cost above optimum (relative)", BLUE, "-")
            if (gap < 0).any():
                ax.lines[-1].set_ydata(np.where(gap > 0, gap, np.nan))
                _line(ax, steps, np.where(gap < 0, -gap, np.nan), "cost below optimum (relative)", BLUE, ":")
        for field, text, colour, dash in (
            ("disagreement", "models apart (largest entry)", VERMILION, "--"),
            ("overload", "shares beyond bounds (CPU units)", ORANGE, "-."),
        ):
            _line(ax, steps, finite(field, getattr(trace, field), steps.size), text, colour, dash)
        imbalance = finite("trace.imbalance", trace.imbalance, steps.size)
        _line(ax, steps, imbalance, "total off budget (CPU units)", GREEN, "-", never="0 at every step")
        ax.set_xlabel(xlabel)
        ax.set_ylabel("distance from the goal")
        ax.set_xlim(0, steps.max(initial=1))
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
    with axes(ax, height(cpu.size)) as ax:
        rows = rows_of(ax, cpu.size, names)
        thick = 6.5 if cpu.size <= NAMED_ROWS else max(150 / cpu.size, 0.3)
        ax.hlines(rows, low, high, color=FAINT, linewidth=thick, label="bounds", zorder=1)
        dots(ax, cpu, rows, ~beyond, "share", color=BLUE, marker="o")
        dots(ax, cpu, rows, beyond, "beyond a soft bound", color=VERMILION, marker="D")
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
    with axes(ax, height(marginal.size)) as ax:
        rows = rows_of(ax, marginal.size, names)
        ax.axvline(price, color=QUIET, linewidth=1.0, label=f"price {price:.4g}".replace("-", "\u2212"), zorder=1)
        dots(ax, marginal, rows, ~low & ~high, "between its bounds", color=BLUE, marker="o")
        dots(ax, marginal, rows, high, "at its upper bound", color=GREEN, marker=">")
        dots(ax, marginal, rows, low & ~high, "at its lower bound", color=ORANGE, marker="<")
        if optimum is not None:
            optima(ax, finite("optimum", optimum, marginal.size), rows)
        # Where all costs meet, an axis that shows their last digits says nothing.
        least, (left, right) = 0.05 * abs(price), ax.get_xlim()
        ax.set_xlim(min(left, price - least), max(right, price + least))
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
    ax.plot(steps, shown, color=color, linestyle=dash, marker=marker, markersize=3, label=text)
