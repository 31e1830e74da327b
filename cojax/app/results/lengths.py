"""A line of a series holds until the next one begins: quarters of an hour are not taken for hours."""

import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

DAYS = ("%Y-%m-%d ", "%Y/%m/%d ", "%d.%m.%Y ", "%d/%m/%Y ", "%m/%d/%Y ", "")
FORMATS = (None, *(day + clock for day in DAYS for clock in ("%H:%M", "%H:%M:%S")))  # the first is ISO 8601
CLOCK = r"\d{1,2}[:.]\d\d(?:[:.]\d\d)?"
UNTIL = r"\s*(?:[-\u2013\u2014/]|\bto\b)\s*"
RANGE = re.compile(rf"(?P<day>|.*[\sT])(?P<first>{CLOCK}){UNTIL}(?P<last>{CLOCK})")
LIKE_TIMES = re.compile(rf"\d[:.]\d\d|\d{UNTIL}\d")
EPOCH = (10**8, 10**10)  # labels between these are seconds since 1970


class Lengths(NamedTuple):
    """How long every line holds, in hours, and what there is to say about it."""

    hours: Float[np.ndarray, " h"]
    notes: list[str]
    begins: Float[np.ndarray, " h"] | None = None  # in hours from the first; None where labels are no times
    first: datetime | None = None  # the time of the first label


def lengths(labels: Sequence[str]) -> Lengths:
    """From each label to the next, where labels are times in order; else, and of a single line, one hour.

    A gap longer than both beside it is a hole: the line before it holds as long as its neighbours. The last line holds
    as long as the one before.
    """
    ones = np.ones(len(labels))
    begins, first = _begins(labels)
    if begins is None:
        looks = any(LIKE_TIMES.search(label) for label in labels) and len(labels) > 1
        note = "The labels are no times that can be read, or not in order: every line is counted as one hour."
        return Lengths(ones, [note] if looks else [])
    begins, back = _forward(begins)
    gaps = np.diff(begins)
    if gaps.size == 0:
        return Lengths(ones, [], begins, first)
    beside = np.maximum(np.append(gaps[1:], 0.0), np.insert(gaps[:-1], 0, 0.0))
    beside[[0, -1]] = np.maximum(beside[[0, -1]], gaps[[0, -1]])  # at the ends there is no telling
    held = np.minimum(gaps, beside)
    notes = [f"The clock is set back at {labels[row]!r}, the second time: the hour counts twice." for row in back]
    holes = np.flatnonzero(held < gaps)
    if holes.size:
        notes.append(
            f"Lines are missing after {holes.size} labels, such as {labels[holes[0]]!r}; the time without lines counts "
            "for nothing."
        )
    held = np.append(held, held[-1])
    if (held != 1).any():
        least, most = f"{held.min():g}", f"{held.max():g}"
        notes.append(
            f"By their labels lines are {least if least == most else f'{least} to {most}'} hours long: prices are by "
            f"the hour, and every sum weighs a line by its length, {held.sum():g} hours in all."
        )
    return Lengths(held, notes, begins, first)


def _forward(begins: Float[np.ndarray, " h"]) -> tuple[Float[np.ndarray, " h"], list[int]]:
    """Times that go on where a clock was set back by an hour, and the lines from which it was."""
    back = [int(row) + 1 for row in np.flatnonzero(np.diff(begins) <= 0)]
    forward = begins.copy()
    for row in back:
        forward[row:] += 1.0
    return forward, back


def _begins(labels: Sequence[str]) -> tuple[Float[np.ndarray, " h"] | None, datetime | None]:
    """When each line begins, in hours from the first; of `from - to` and `from/to` it is the first time."""
    ranges = _ranges(labels)
    if ranges is not None:
        labels = [day + first for day, first, _ in ranges]
    for form in FORMATS:
        try:
            times = [_time(label, form) for label in labels]
            begins = np.array([(time - times[0]).total_seconds() for time in times]) / 3600
        except (ValueError, TypeError, OverflowError):  # no time, or some with a zone and some without
            continue
        if ranges is not None and not any(day for day, _, _ in ranges):
            begins = np.unwrap(begins, period=24)  # after the range that ends at midnight comes the next day
        gaps = np.diff(begins)
        back = np.flatnonzero(gaps <= 0)
        # Clocks are set back by an hour, and not again within half a year.
        if (gaps > -1).all() and (np.diff(begins[back]) > 24 * 180).all() and (np.diff(_forward(begins)[0]) > 0).all():
            return begins, times[0] if times[0].year > 1900 else None
    return None, None


def _ranges(labels: Sequence[str]) -> list[tuple[str, str, str]] | None:
    """Day, first and last time of labels such as `00:00-00:15`, where each range ends as the next begins; else None.

    `2024-01-01 00:00-05:00` may be a time with its zone: zones do not follow the clock.
    """
    found = [RANGE.fullmatch(label.strip()) for label in labels]
    if len(labels) < 2 or None in found:
        return None
    ranges = [
        (match["day"], match["first"].replace(".", ":"), match["last"].replace(".", ":"))
        for match in found
        if match is not None
    ]
    follows = sum(later[1] == earlier[2] for earlier, later in itertools.pairwise(ranges))
    return ranges if 2 * follows >= len(ranges) - 1 else None


def _time(label: str, form: str | None) -> datetime:
    first = label.partition(" - ")[0].strip()
    if form is None:
        if first.isascii() and first.isdigit() and EPOCH[0] <= int(first[:12]) < EPOCH[1]:
            return datetime.fromtimestamp(int(first), UTC)
        return datetime.fromisoformat(first.partition("/")[0])
    return datetime.strptime(first, form)
