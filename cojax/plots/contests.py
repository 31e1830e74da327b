"""Many methods in one picture: what is left of the gap, over steps or over bits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .canvas import BLUE, FAINT, GREEN, ORANGE, PURPLE, SKY, VERMILION, Numbers, axes, column, counts, finite, legend

LOOKS = [(colour, dash) for dash in ("-", "--", ":") for colour in (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)]


def contest(along: Mapping[str, Numbers], gaps: Mapping[str, Numbers], *, xlabel: str, ax: Any = None) -> Any:
    """The gap of every method, relative to its start, on a logarithmic axis.

    Args:
        along: by method, (c,) steps or bits.
        gaps: by the same names, (c,) gaps; those of 0 are drawn at the bottom.
        xlabel: what `along` counts.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    with axes(ax, 3.2) as ax:
        ax.set_yscale("log")
        for (name, gap), (colour, dash) in zip(gaps.items(), LOOKS, strict=False):
            steps = column(name, along[name])
            drawn = np.clip(finite(name, gap, steps.size), 1e-16, 1e3)
            ax.plot(steps, drawn, color=colour, linestyle=dash, linewidth=1.1, label=name)
        counts(ax, xlabel, max((column(name, along[name]).max(initial=1) for name in gaps), default=1))
        ax.set_ylabel("gap / gap of the start")
        ax.set_ylim(bottom=1e-16)
        ax.grid(True, axis="y", color=FAINT, linewidth=0.5)
        legend(ax, columns=2)
    return ax
