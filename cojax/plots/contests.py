"""Many methods in one picture: what is left of the gap, over steps, bits or seconds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._support.checks import CojaxInputError
from .canvas import BLUE, FAINT, GREEN, ORANGE, PURPLE, SKY, VERMILION, axes, column, counts, finite, hint, legend

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
# Both change from line to line, so that neighbours in the legend are told apart without colour; 30 before one repeats.
LOOKS = [(COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]) for k in range(len(COLOURS) * len(DASHES))]
ALONG = {"steps": "steps", "bits": "kilobits told to each neighbour", "seconds": "seconds"}


def contest(
    courses: Mapping[str, Any],
    half: str,
    *,
    over: str = "steps",
    ax: Any = None,
) -> Any:
    """The gap of every method, relative to its start, on a logarithmic axis.

        courses = cojax.compare(problem, network, methods, start, optimum=optimum, num_steps=2000)
        cojax.plots.contest(courses, "share", over="bits").figure.savefig("contest.pdf")

    Args:
        courses: by method, a `Course` of `cojax.compare`; gaps of 0 are drawn at the bottom. Of a course with seeds
            the median is drawn, and a band from the least to the largest gap of all seeds.
        half: whose gap, "learn" for that of the model or "share" for that of the shares.
        over: "steps", "bits" or "seconds", what runs along the other axis. That of bits is logarithmic: one method may
            tell 32 times what another does. Seconds are those of the clock of a `Timed` network, else of this machine.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Raises `CojaxInputError` where matplotlib is missing, and for what are no courses.
    """
    if half not in ("learn", "share") or over not in ALONG:
        raise CojaxInputError(
            f'plots.contest needs half "learn" or "share" and over {", ".join(ALONG)}, got {half!r} and {over!r}.'
        )
    for name, course in courses.items():
        if not hasattr(course, f"{half}_gap"):
            raise CojaxInputError(
                f"plots.contest needs courses of cojax.compare, got {type(course).__name__} of {name}."
            )
    along = {name: column(name, _along(course, over)) for name, course in courses.items()}
    with axes(ax, 3.2) as ax:
        ax.set_yscale("log")
        for (name, steps), (colour, dash) in zip(along.items(), LOOKS, strict=False):
            gaps = np.atleast_2d(getattr(courses[name], f"{half}_gap"))
            drawn = np.clip([finite(name, gap, steps.size) for gap in gaps], 1e-16, 1e3)
            (line,) = ax.plot(steps, np.median(drawn, axis=0), color=colour, linestyle=dash, linewidth=1.1, label=name)
            hint(line, [name])
            if len(drawn) > 1:
                band = ax.fill_between(steps, drawn.min(0), drawn.max(0), color=colour, alpha=0.18, linewidth=0)
                hint(band, [f"{name}: all {len(drawn)} seeds"])
        last = max((steps.max(initial=0) for steps in along.values()), default=0)
        first = min((steps[1] for steps in along.values() if steps.size > 1), default=0)
        if over == "bits" and 0 < first < last:
            ax.set_xscale("log")
            ax.set_xlim(first, last)
            ax.set_xlabel(ALONG[over])
        else:
            counts(ax, ALONG[over], last)
        ax.set_ylabel("gap / gap of the start")
        ax.set_ylim(bottom=1e-16)
        ax.grid(True, axis="y", color=FAINT, linewidth=0.5)
        legend(ax, columns=2)
    return ax


def _along(course: Any, over: str) -> np.ndarray:
    if over == "bits":
        return np.median(np.atleast_2d(course.bits), axis=0) / 1000
    if over == "seconds" and course.seconds is not None:
        return np.median(np.atleast_2d(course.seconds), axis=0)
    steps = np.asarray(course.step, dtype=float)
    return steps * course.seconds_per_step if over == "seconds" else steps
