"""The one look of all pictures, on figures that no global state knows of."""

import functools
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Float, Int

from .._support.checks import CojaxInputError
from . import lettering
from .numerals import number

# The palette of Okabe and Ito, jfly.uni-koeln.de/color: told apart with any kind of colour vision.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
YELLOW = "#F0E442"
INK, QUIET, FAINT = "#222222", "#6B6B6B", "#DADDE1"
Numbers = Array | np.ndarray | Sequence[Any]  # one per row, whatever holds them
WIDTH = 3.5  # inches: one column of a paper
SCALES = ((1e9, "billions"), (1e6, "millions"))
NAMED_ROWS = 60  # more rows than this get no names: they would not be readable
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.4,
    "text.color": INK,
}


@contextmanager
def axes(ax: Any, height: float) -> Iterator[Any]:
    """`ax`, drawn on as it is; or a new one in our style, on a figure that no global state knows of."""
    with styled(ax is None) as figure:
        if ax is None:
            ax = figure(figsize=(WIDTH, height), layout="constrained").add_subplot()
            ticks(ax)
        yield ax


@contextmanager
def styled(ours: bool = True) -> Iterator[Any]:
    """The class of our figures, and our style in force if it is to be."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise CojaxInputError("Pictures need matplotlib: pip install 'cojax[plots]'.") from error
    with matplotlib.rc_context(STYLE if ours else {}):
        yield _figure_class()


def ticks(ax: Any) -> None:
    """Our ticks: they are made when the figure is drawn, and would then take the style in force at that time."""
    ax.tick_params(which="both", labelsize=7, color=QUIET, labelcolor=INK, width=0.6, length=2.5)


@functools.cache
def _figure_class() -> Any:
    """A matplotlib figure that a notebook shows, with or without pyplot."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    class Picture(Figure):
        def savefig(self, *args: Any, **kwargs: Any) -> None:
            # TrueType in PDFs and PostScript: publishers refuse the other kind, and its text cannot be searched.
            with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
                super().savefig(*args, **kwargs)

        def _repr_png_(self) -> bytes:
            data = io.BytesIO()
            self.savefig(data, format="png", dpi=144)
            return data.getvalue()

    return Picture


def column(name: str, values: Any, size: int | None = None) -> Float[np.ndarray, " n"]:
    """`values` as floats in one column, of `size` rows if that is given."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or size not in (None, array.size):
        wanted = "one number per row" if size is None else f"shape ({size},)"
        raise CojaxInputError(f"A picture needs {wanted} for {name}, got shape {array.shape}.")
    return array


def finite(name: str, values: Any, size: int | None = None) -> Float[np.ndarray, " n"]:
    """Numbers that are not finite, of a run that diverged, become NaN: matplotlib leaves them out."""
    array = column(name, values, size)
    return np.where(np.isfinite(array), array, np.nan)


def names_of(names: Sequence[str] | None, size: int) -> list[str]:
    """One line each, short enough to stand beside a row, that can be drawn and told apart; numbers without names."""
    if names is None:
        return [f"node {row}" for row in range(1, size + 1)]
    if len(names) != size:
        raise CojaxInputError(f"A picture needs {size} names, one per node, got {len(names)}.")
    return lettering.node_labels(names)


def height(rows: int) -> float:
    """Inches for a picture with one row per node: a page at most, and half of one where rows have no names."""
    return float(np.clip(0.165 * rows + 0.9, 1.8, 8.0)) if rows <= NAMED_ROWS else 4.0


def rows_of(ax: Any, size: int, names: Sequence[str] | None) -> Int[np.ndarray, " n"]:
    """The first node on top, named where there is room."""
    rows = np.arange(size)
    ax.set_ylim(size - 0.4, -0.6)
    if names is not None and size <= NAMED_ROWS:
        # Without parse_math a dollar in a name would start a formula.
        labels = names_of(names, size)
        ax.set_yticks(rows, labels=labels, parse_math=False, **lettering.fonts(labels))
        ax.tick_params(axis="y", length=0)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{size} nodes")
    ax.grid(True, axis="x", color=FAINT, linewidth=0.5)
    return rows


def dots(
    ax: Any,
    values: np.ndarray,
    rows: np.ndarray,
    chosen: np.ndarray,
    text: str,
    *,
    color: str,
    marker: str,
    hints: list[str],
) -> None:
    """One dot in each chosen row, with a text for those who point at it; none chosen, no entry in the legend."""
    if chosen.any():
        size = 4.5 * _thin(rows.size)
        (line,) = ax.plot(values[chosen], rows[chosen], marker, color=color, markersize=size, label=text, zorder=3)
        drawn = np.flatnonzero(chosen & np.isfinite(values))
        hint(line, [f"{hints[row]} ({text})" for row in drawn])


def hint(artist: Any, texts: Sequence[str]) -> None:
    """Keep with `artist` what a reader who points at it is told: one text for all of it, or one for each mark."""
    artist.hints = list(texts)


def optima(ax: Any, values: np.ndarray, rows: np.ndarray) -> None:
    """A mark in each row where the optimum is."""
    thin = _thin(rows.size)
    ax.plot(values, rows, "|", color=INK, markersize=8 * thin, markeredgewidth=1.1 * thin, label="optimum", zorder=4)


def _thin(rows: int) -> float:
    """The size of a mark, relative to that in a picture whose rows have names."""
    return max(min(1.0, NAMED_ROWS / rows), 0.25)


def legend(ax: Any, *, columns: int, end: Literal["left", "right"] = "left") -> None:
    """Above the axes, where it can hide nothing, from one of their ends on; it may be wider than they are."""
    corner = (0.0, 1.0) if end == "left" else (1.0, 1.0)
    ax.legend(loc=f"lower {end}", bbox_to_anchor=corner, ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def counts(ax: Any, text: str, most: float) -> None:
    """The axis of what is counted from 0 to `most`: few ticks, thin spaces between thousands, and millions by name."""
    unit, word = next((pair for pair in SCALES if most >= pair[0]), (1, ""))
    ax.set_xlim(0, max(most, 1e-300))
    ax.set_xlabel(f"{text} ({word})" if word else text)
    ax.locator_params(axis="x", nbins=5)
    ax.xaxis.set_major_formatter(lambda value, _: number(value / unit))


def colour_bar(ax: Any, discs: Any, text: str, *, shrink: float) -> None:
    """The scale of the colours, below the axes."""
    bar = ax.figure.colorbar(discs, ax=ax, location="bottom", shrink=shrink, aspect=30, pad=0.02)
    bar.set_label(text, size=8)
    bar.ax.tick_params(labelsize=7, color=QUIET, width=0.6, length=2)
    bar.outline.set_visible(False)
