"""Many methods in one picture: what is left of the gap, over steps, bits or seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._support.checks import CojaxInputError
from .canvas import BLUE, FAINT, GREEN, ORANGE, PURPLE, SKY, VERMILION, axes, column, counts, finite, hint, legend
from .numerals import number

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
        _finish(ax, over, list(along.values()))
    return ax


def trials(trials: Any, *, over: str = "steps", half: str | None = None, ax: Any = None) -> Any:
    """The gap of every method over an ensemble: the median of all trials, in a band that half of them are in.

        cojax.plots.trials(cojax.Trials.read("runs/ring"), over="bits").figure.savefig("ring.pdf")

    Args:
        trials: of `cojax.trials`, or of `cojax.Trials.read(folder)`.
        over: "steps", "bits" or "seconds", those of a clock.
        half: whose gap, "learn" or "share"; by default that of the measure, without one the larger of those that the
            methods decide.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    Where two bands overlap two methods may still differ on every instance: `trials.paired` tells. A line ends where the
    first trial does. Raises `CojaxInputError` where matplotlib is missing, and for what are no trials.
    """
    if not hasattr(trials, "bands"):
        raise CojaxInputError(f"plots.trials needs trials of cojax.trials, got {type(trials).__name__}.")
    bands = {name: np.array(rows) for name, rows in trials.bands(over, half).items()}
    with axes(ax, 3.2) as ax:
        ax.set_yscale("log")
        for (name, (amounts, *gaps)), (colour, dash) in zip(bands.items(), LOOKS, strict=False):
            amounts *= 1e-3 if over == "bits" else 1.0
            low, middle, high = np.clip(gaps, 1e-16, 1e3)
            (line,) = ax.plot(amounts, middle, color=colour, linestyle=dash, linewidth=1.1, label=name)
            hint(line, [f"{name}: median of {len(trials.seeds)} trials"])
            band = ax.fill_between(amounts, low, high, color=colour, alpha=0.18, linewidth=0)
            hint(band, [f"{name}: half of {len(trials.seeds)} trials"])
        _finish(ax, over, [rows[0] for rows in bands.values()])
    return ax


def profile(profile: Any, *, ax: Any = None) -> Any:
    """Performance profiles: which part of all instances every method solves within a factor of the best.

        cojax.plots.profile(trials.profile(over="bits", gap=1e-6))

    Args:
        profile: of `Trials.profile`.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide.

    The higher, the better; the end of a line is the part that is solved at all. Raises `CojaxInputError` where
    matplotlib is missing, and for what is no profile.
    """
    if not hasattr(profile, "factor"):
        raise CojaxInputError(f"plots.profile needs a profile of Trials.profile, got {type(profile).__name__}.")
    short = np.format_float_scientific(profile.gap, trim="-", exp_digits=1)
    last = 1.05 * max(float(profile.factor[-1]), 1.0)
    with axes(ax, 2.6) as ax:
        for name, share, (colour, dash) in zip(profile.methods, profile.share, LOOKS, strict=False):
            at, shares = np.append(profile.factor, last), 100 * np.append(share, share[-1])
            (line,) = ax.step(at, shares, where="post", color=colour, linestyle=dash, linewidth=1.3, label=name)
            hint(line, [name])
        ax.set_xscale("log")
        ax.set_xlim(1, last)
        ax.set_ylim(0, 103)
        spread = last > 10
        ticks = [10.0**power for power in range(17)] if spread else [1, 1.2, 1.5, 2, 3, 4, 6, 8, 10]
        ax.set_xticks([tick for tick in ticks if tick <= last])
        ax.xaxis.set_major_formatter(lambda value, _: number(value))
        ax.minorticks_off()
        ax.set_xlabel(f"factor of the fewest {profile.over} of all, gap {short}")
        ax.set_ylabel("instances solved (%)")
        ax.grid(True, axis="y", color=FAINT, linewidth=0.5)
        legend(ax, columns=2)
    return ax


def _finish(ax: Any, over: str, along: Sequence[np.ndarray]) -> None:
    """Both axes of gaps, and the legend."""
    last = max((steps.max(initial=0) for steps in along), default=0)
    first = min((steps[1] for steps in along if steps.size > 1), default=0)
    if over == "bits" and 0 < first < last:
        ax.set_xscale("log", nonpositive="mask")  # clipped, the start at 0 would draw a level line to the first look
        ax.set_xlim(first, last)
        ax.set_xlabel(ALONG[over])
    else:
        counts(ax, ALONG[over], last)
    ax.set_ylabel("gap / gap of the start")
    ax.set_ylim(bottom=1e-16)
    ax.grid(True, axis="y", color=FAINT, linewidth=0.5)
    legend(ax, columns=2)


def _along(course: Any, over: str) -> np.ndarray:
    if over == "bits":
        return np.median(np.atleast_2d(course.bits), axis=0) / 1000
    if over == "seconds" and course.seconds is not None:
        return np.median(np.atleast_2d(course.seconds), axis=0)
    steps = np.asarray(course.step, dtype=float)
    return steps * course.seconds_per_step if over == "seconds" else steps
