"""Stability in pictures: where eigenvalues go, and a function that can only fall."""

from typing import Any

import numpy as np

from .._support.checks import CojaxInputError
from ..theory import RootLocus
from .canvas import BLUE, FAINT, GREEN, INK, QUIET, VERMILION, Numbers, axes, colour_bar, column, counts, legend


def root_locus(locus: RootLocus, *, mixing: float | None = None, ax: Any = None) -> Any:
    """The branches of the eigenvalues as alpha grows, from crosses at the smallest, coloured by alpha.

    Args:
        locus: of `cojax.theory.root_locus`.
        mixing: with it, the circle |1 + mixing z| = 1 is drawn too: inside of it the method is stable in steps.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    The half plane on the right, where the flow is unstable, is shaded; branches that leave on the left go on for ever.
    Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    values = np.asarray(locus.eigenvalues)
    alphas = column("alphas", locus.alphas)
    if values.ndim != 2 or len(values) != alphas.size or alphas.size == 0:
        raise CojaxInputError(f"plots.root_locus needs eigenvalues ({alphas.size}, m), got {values.shape}.")
    real, imaginary = np.real(values), np.imag(values)
    # What is at infinity or at the start has no colour of its own on a logarithmic scale.
    shade = np.log10(np.maximum(alphas, np.min(alphas[alphas > 0], initial=alphas.max() or 1.0)))
    reach = 2.2 * np.abs(values[0]).max() or np.abs(values).max(initial=0.0) or 1.0
    tall = 1.25 * max(np.abs(imaginary).max(initial=0.0), 0.15 * reach)
    with axes(ax, 3.1) as ax:
        ax.axvspan(0, reach, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
        ax.axvline(0, color=QUIET, linewidth=0.8)
        colours = np.broadcast_to(shade[:, None], values.shape)
        discs = ax.scatter(real, imaginary, c=colours, s=3, cmap="viridis", linewidths=0, zorder=2)
        ax.plot(real[0], imaginary[0], "x", color=VERMILION, markersize=5, zorder=3, label=f"alpha = {alphas[0]:.3g}")
        if mixing is not None:
            circle = (np.exp(1j * np.linspace(0, 2 * np.pi, 721)) - 1) / mixing
            ax.plot(np.real(circle), np.imag(circle), "--", color=GREEN, linewidth=1.0, label="limit in steps")
        colour_bar(ax, discs, "log10 of alpha", shrink=0.7)
        ax.set_xlim(-reach, 0.12 * reach)
        ax.set_ylim(-tall, tall)
        ax.set_xlabel("real part of the eigenvalue (growth)")
        ax.set_ylabel("imaginary part")
        legend(ax, columns=2)
    return ax


def lyapunov(values: Numbers, *, steps: Numbers | None = None, text: str = "V", ax: Any = None) -> Any:
    """A function along a run that should only fall, on a logarithmic axis, with a mark at every step at which it rises.

    Args:
        values: (c,), of a record such as `cojax.theory.lyapunov`, or `cojax.theory.potential` minus its least value.
        steps: (c,), by default 1, 2, ....
        text: what the function is called.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    A rise of less than 1e-12 of the first value is rounding and not marked.
    Raises `CojaxInputError` where matplotlib is missing or shapes differ.
    """
    seen = column("values", values)
    along = np.arange(1, seen.size + 1.0) if steps is None else column("steps", steps, seen.size)
    rises = np.flatnonzero(np.diff(seen) > 1e-12 * abs(seen[:1]).max(initial=0.0)) + 1
    shown = np.where(np.isfinite(seen) & (seen > 0), seen, np.nan)
    with axes(ax, 2.4) as ax:
        ax.set_yscale("log")
        ax.plot(along, shown, color=BLUE, label=f"{text}: {'never rises' if not rises.size else 'along the run'}")
        if rises.size:
            ax.plot(along[rises], shown[rises], ".", color=VERMILION, markersize=4, label=f"rises {rises.size} times")
        counts(ax, "steps", along.max(initial=1))
        ax.set_ylabel(text, color=INK)
        ax.minorticks_off()
        ax.grid(True, axis="y", color=FAINT, linewidth=0.5)
        legend(ax, columns=1)
    return ax
