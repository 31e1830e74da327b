"""Stability in pictures: where eigenvalues go, and a function that can only fall."""

from typing import Any

import numpy as np

from .._checks import CojaxInputError
from ..theory import RootLocus
from .canvas import BLUE, FAINT, GREEN, INK, ORANGE, QUIET, VERMILION, Numbers, axes, column, legend


def root_locus(locus: RootLocus, *, mixing: float | None = None, ax: Any = None) -> Any:
    """The branches of the eigenvalues as alpha grows, from a cross at the smallest to a dot at the largest.

    Args:
        locus: of `cojax.theory.root_locus`.
        mixing: with it, the circle |1 + mixing z| = 1 is drawn too: inside of it the method is stable in steps.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    The half plane on the right, where the flow is unstable, is shaded. Both axes are linear around zero and logarithmic
    far from it. Raises `CojaxInputError` where matplotlib is missing.
    """
    values = np.asarray(locus.eigenvalues)
    if values.ndim != 2 or len(values) != len(locus.alphas):
        raise CojaxInputError(f"plots.root_locus needs eigenvalues (k, m), one row per alpha, got {values.shape}.")
    shown = np.abs(values[np.abs(values) > 1e-9 * np.abs(values).max(initial=0.0)])
    scale = 10.0 ** np.floor(np.log10(np.median(shown))) if shown.size else 1.0
    real, imaginary = np.real(values), np.imag(values)
    with axes(ax, 2.9) as ax:
        ax.set_xscale("symlog", linthresh=scale)
        ax.set_yscale("symlog", linthresh=scale)
        ax.axvspan(0, 1e9 * scale, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
        ax.axvline(0, color=QUIET, linewidth=0.8)
        ax.plot(real, imaginary, color=BLUE, linewidth=1.0, alpha=0.7)
        for row, marker, text in ((0, "x", "smallest"), (-1, "o", "largest")):
            colour = ORANGE if row == 0 else VERMILION
            label = f"{text} alpha, {locus.alphas[row]:.3g}"
            ax.plot(real[row], imaginary[row], marker, color=colour, markersize=4, label=label, zorder=3)
        if mixing is not None:
            turn = np.exp(1j * np.linspace(0, 2 * np.pi, 721))
            circle = (turn - 1) / mixing
            ax.plot(np.real(circle), np.imag(circle), "--", color=GREEN, linewidth=1.0, label="limit in steps")
        reach = 1.3 * np.abs(values).max(initial=scale)
        ax.set_xlim(-reach, max(0.3 * scale, 1.3 * real.max(initial=0.0)))
        tall = max(1.3 * np.abs(imaginary).max(initial=0.0), 1.5 * scale)
        ax.set_ylim(-tall, tall)
        ax.minorticks_off()
        ax.set_xlabel("real part of the eigenvalue (growth)")
        ax.set_ylabel("imaginary part")
        legend(ax, columns=1)
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
        ax.set_xlabel("steps")
        ax.set_ylabel(text, color=INK)
        ax.set_xlim(left=0)
        ax.minorticks_off()
        ax.grid(True, axis="y", color=FAINT, linewidth=0.5)
        legend(ax, columns=2)
    return ax
