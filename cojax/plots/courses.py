"""A run from its first look to its last: what is left of the gap, prices that meet, models that agree."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from .._support.checks import CojaxInputError
from ..runs.records import Trace
from ..runs.solutions import Solution
from .canvas import BLUE, FAINT, INK, ORANGE, QUIET, SKY, VERMILION, Numbers, axes, column, counts, finite, legend
from .numerals import number

MOST_LINES = 60  # with more nodes the range of all is drawn instead of every one


def gap(
    run: Trace | Solution,
    optimum: float,
    *,
    over: Literal["steps", "bits"] = "steps",
    floor: float | None = None,
    bound: Numbers | None = None,
    ax: Any = None,
) -> Any:
    """How far the cost of a run is above the optimum, on a logarithmic axis, with what theory says of it.

    Args:
        run: a solution, or its standard trace; every field (c,).
        optimum: the least cost of what the run minimises.
        over: what runs along the other axis: steps, or bits that one node told one neighbour.
        floor: a cost above the optimum at which the run may stop, `theory.stall_floor(...).value` say; dashed.
        bound: (c,), what the gap is proved to stay below at every look, the first gap times a rate of
            `theory.allocation_rate` to the power of the steps since, say; dotted.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    A gap of 0 or below, of rounding or of soft bounds, has no place on that axis: such looks are marked at its bottom,
    and counted. Raises `CojaxInputError` where matplotlib is
    missing or shapes differ.
    """
    trace = run.trace if isinstance(run, Solution) else run
    along = {"steps": ("step", "steps"), "bits": ("bits", "bits told to each neighbour")}
    if over not in along:
        raise CojaxInputError(f"plots.gap draws over steps or over bits, got over={over!r}.")
    steps = column(f"trace.{along[over][0]}", getattr(trace, along[over][0]))
    left = finite("trace.cost", trace.cost, steps.size) - float(optimum)
    with axes(ax, 2.5) as ax:
        ax.set_yscale("log")
        ax.plot(steps, np.where(left > 0, left, np.nan), color=BLUE, label="cost above the optimum", zorder=3)
        below = left <= 0
        if below.any():
            marks = {"transform": ax.get_xaxis_transform(), "clip_on": False, "markersize": 3, "zorder": 3}
            text = f"at or below 0: {int(below.sum())} of {below.size} looks"
            ax.plot(steps[below], np.zeros(int(below.sum())), "v", color=BLUE, label=text, **marks)
        if bound is not None:
            ax.plot(steps, finite("bound", bound, steps.size), ":", color=VERMILION, label="proved: not above")
            _keep_in_sight(ax, left)
        if floor is not None and 0 < floor < np.inf:
            ax.axhline(floor, color=ORANGE, linestyle="--", label=f"may stop below {number(floor, 3)}", zorder=2)
        counts(ax, along[over][1], steps.max(initial=1))
        ax.set_ylabel("cost above the optimum")
        ax.minorticks_off()
        ax.grid(True, axis="y", color=FAINT, linewidth=0.5)
        legend(ax, columns=1)
    return ax


def meeting(marginals: Numbers, price: float, *, steps: Numbers | None = None, ax: Any = None) -> Any:
    """What the next unit of cpu costs at every node over a run, which the price of the optimum should end.

    Args:
        marginals: (c, n), of a record such as `state.grad.cpu`; in cost per unit of cpu, the penalty included.
        price: of the optimum.
        steps: (c,), the steps of the looks, by default 1, 2, ...; logarithmic, because most happens early.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Above 60 nodes their range and their median are drawn. Raises `CojaxInputError` where matplotlib is missing or
    shapes differ.
    """
    seen, along = _rows("plots.meeting", "marginals", marginals, steps)
    with axes(ax, 2.5) as ax:
        _nodes(ax, along, seen, "marginal cost")
        ax.axhline(price, color=INK, linestyle="--", linewidth=1.0, label=f"price {number(price)}", zorder=4)
        _logarithmic(ax, along)
        ax.set_ylabel("cost per CPU unit")
        legend(ax, columns=2)
    return ax


def consensus(params: Any, *, steps: Numbers | None = None, ax: Any = None) -> Any:
    """How far the model of every node is from the mean of all over a run, both axes logarithmic.

    Args:
        params: any pytree of arrays (c, n, ...), of the record `cojax.records.decision` say.
        steps: (c,), the steps of the looks, by default 1, 2, ....
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Drawn is the largest entry of a node's difference from the mean; above 60 nodes the range and the median of all.
    Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    import jax

    leaves = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(params)]
    if not leaves or any(leaf.ndim < 2 or leaf.shape[:2] != leaves[0].shape[:2] for leaf in leaves):
        raise CojaxInputError(f"plots.consensus needs params (c, n, ...), got {[leaf.shape for leaf in leaves]}.")
    apart = [np.abs(leaf - leaf.mean(1, keepdims=True)).reshape(*leaf.shape[:2], -1).max(2) for leaf in leaves]
    seen, along = _rows("plots.consensus", "params", np.max(apart, axis=0), steps)
    with axes(ax, 2.5) as ax:
        ax.set_yscale("log")
        _nodes(ax, along, np.where(seen > 0, seen, np.nan), "model of a node")
        _logarithmic(ax, along)
        ax.set_ylabel("distance from the mean model")
        ax.minorticks_off()
        legend(ax, columns=2)
    return ax


def _rows(owner: str, name: str, values: Any, steps: Numbers | None) -> tuple[np.ndarray, np.ndarray]:
    seen = np.asarray(values, dtype=float)
    if seen.ndim != 2 or not seen.size:
        raise CojaxInputError(f"{owner} needs one row of all nodes per look for {name}, got shape {seen.shape}.")
    along = np.arange(1, len(seen) + 1.0) if steps is None else column("steps", steps, len(seen))
    return np.where(np.isfinite(seen), seen, np.nan), along


def _nodes(ax: Any, along: Float[np.ndarray, " c"], seen: Float[np.ndarray, "c n"], text: str) -> None:
    """A thin line per node; of many nodes their range and their middle."""
    if seen.shape[1] <= MOST_LINES:
        lines = ax.plot(along, seen, color=BLUE, linewidth=0.7, alpha=0.75)
        lines[0].set_label(text)
        return
    # The extremes of a look at which no node has a number are left out as well, and without a warning.
    some = np.isfinite(seen).any(1)
    ax.fill_between(
        along[some], np.nanmin(seen[some], 1), np.nanmax(seen[some], 1), color=SKY, alpha=0.5, label="range"
    )
    ax.plot(along[some], np.nanmedian(seen[some], 1), color=BLUE, label=f"median {text}")


def _logarithmic(ax: Any, along: Float[np.ndarray, " c"]) -> None:
    ax.set_xscale("log")
    first = along[along > 0].min(initial=along.max(initial=1.0))
    ax.set_xlim(first, max(along.max(), first * 1.01))
    ax.set_xlabel("steps")
    ax.tick_params(which="both", width=0.6, color=QUIET)
    ax.grid(True, axis="y", color=FAINT, linewidth=0.5)


def _keep_in_sight(ax: Any, left: Float[np.ndarray, " c"]) -> None:
    """A bound that falls on where rounding has stopped the run would take most of the picture."""
    shown = left[np.isfinite(left) & (left > 0)]
    if shown.size:
        ax.set_ylim(bottom=0.3 * shown.min())
