"""A line of a series holds until the next one begins: quarters of an hour are not taken for hours."""

import itertools
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CLOCK = r"\d{1,2}[:.]\d\d(?:[:.]\d\d)?"
UNTIL = r"\s*(?:[-\u2013\u2014/]|\bto\b)\s*"
RANGE = re.compile(rf"(?P<day>|.*[\sT])(?P<first>{CLOCK}){UNTIL}(?P<last>{CLOCK})")
LIKE_TIMES = re.compile(rf"\d[:.]\d\d|\d{UNTIL}\d|\d{{8}}")
EPOCH = (10**8, 10**10)  # labels between these are seconds since 1970, or between a thousand times them milliseconds
MOST_HOLES = 1 / 6  # of all gaps
SHORTEST = 1 / 60  # hours: lines closer to each other are no seconds since 1970, for no market has prices by the second


class Lengths(NamedTuple):
    """How long every line holds, in hours, and what there is to say about it."""

    hours: Float[np.ndarray, " h"]
    notes: list[str]
    begins: Float[np.ndarray, " h"] | None = None  # in hours from the first; None where labels are no times
    times: list[datetime] | None = None  # the labels as the clock showed them; None where they have no day


class _Reading(NamedTuple):
    """Labels as times, in one way to read them."""

    how: str
    times: list[datetime]
    begins: Float[np.ndarray, " h"]  # in hours from the first, as the clock showed them


def lengths(labels: Sequence[str]) -> Lengths:
    """From each label to the next, where labels are times in order; else, and of a single line, one hour.

    Now and then a gap twice as long as both beside it is a hole: the line before it holds as long as its neighbours.
    The last line holds as long as the one before. Of 01/02/2024 the day is first or the month, by which of them the
    lines are evener.
    """
    ones = np.ones(len(labels))
    reading, notes = _read(labels)
    if reading is None:
        looks = any(LIKE_TIMES.search(label) for label in labels) and len(labels) > 1
        note = "The labels are no times that can be read, or not in order: every line is counted as one hour."
        return Lengths(ones, [note] if looks else [])
    times = reading.times if reading.times[0].year > 1900 else None
    begins, back = _forward(reading.begins)
    notes += [f"The clock is set back at {labels[row]!r}, the second time: the hour counts twice." for row in back]
    held, holes = _held(begins)
    if holes.size:
        notes.append(
            f"Lines are missing after {holes.size} labels, such as {labels[holes[0]]!r}; the time without lines counts "
            "for nothing."
        )
    if (held != 1).any():
        least, most = f"{held.min():g}", f"{held.max():g}"
        notes.append(
            f"By their labels lines are {least if least == most else f'{least} to {most}'} hours long: prices are by "
            f"the hour, and every sum weighs a line by its length, {held.sum():g} hours in all."
        )
    return Lengths(held, notes, begins, times)


def _held(begins: Float[np.ndarray, " h"]) -> tuple[Float[np.ndarray, " h"], np.ndarray]:
    """How long each line holds, one hour where it is alone, and those after which lines are missing."""
    gaps = np.diff(begins)
    if gaps.size == 0:
        return np.ones(1), np.zeros(0, int)
    beside = np.maximum(np.append(gaps[1:], 0.0), np.insert(gaps[:-1], 0, 0.0))
    beside[[0, -1]] = np.maximum(beside[[0, -1]], gaps[[0, -1]])  # at the ends there is no telling
    holes = np.flatnonzero(gaps > 1.99 * beside)  # a line as long as those beside may be missing; hours are rounded
    if holes.size > max(1, MOST_HOLES * gaps.size):  # so often it is the way of the series, such as day and night
        holes = holes[:0]
    held = gaps.copy()
    held[holes] = beside[holes]
    return np.append(held, held[-1]), holes


def _forward(begins: Float[np.ndarray, " h"]) -> tuple[Float[np.ndarray, " h"], list[int]]:
    """Times that go on where a clock was set back by an hour, and the lines from which it was."""
    back = [int(row) + 1 for row in np.flatnonzero(np.diff(begins) <= 0)]
    forward = begins.copy()
    for row in back:
        forward[row:] += 1.0
    return forward, back


def _read(labels: Sequence[str]) -> tuple[_Reading | None, list[str]]:
    """The labels as times, and what there is to say of how they are read."""
    texts, by_clock = labels, False
    ranges = _ranges(labels)
    if ranges is not None:
        texts = [day + first for day, first, _ in ranges]
        by_clock = not any(day for day, _, _ in ranges)
    texts = [text.partition(" - ")[0].strip() for text in texts]
    for ways in WAYS:
        found = [reading for how, read in ways for reading in [_in_order(texts, how, read, by_clock)] if reading]
        if found:
            found.sort(key=_unevenness)  # of the same unevenness, the first way stays the first
            return found[0], _doubts(labels, found)
    return None, []


def _in_order(texts: Sequence[str], how: str, read: Callable[[str], datetime], by_clock: bool) -> _Reading | None:
    """All labels in one way to read them; None where one is no time, or they are not in order."""
    try:
        times = [read(text) for text in texts]
        begins = np.array([(time - times[0]).total_seconds() for time in times]) / 3600
    except (ValueError, TypeError, OverflowError, OSError):  # no time, or some with a zone and some without
        return None
    if by_clock:
        begins = np.unwrap(begins, period=24)  # after the range that ends at midnight comes the next day
    gaps = np.diff(begins)
    back = np.flatnonzero(gaps <= 0)
    if how == SECONDS and gaps.size and np.median(gaps) < SHORTEST:
        return None
    # Clocks are set back by an hour, and not again within half a year.
    if (gaps > -1).all() and (np.diff(begins[back]) > 24 * 180).all() and (np.diff(_forward(begins)[0]) > 0).all():
        return _Reading(how, times, begins)
    return None


def _unevenness(reading: _Reading) -> tuple[int, int]:
    """How many holes there are in a series, and how many lengths its lines have."""
    held, holes = _held(_forward(reading.begins)[0])
    return holes.size, np.unique(np.round(held * 3600)).size


def _doubts(labels: Sequence[str], found: Sequence[_Reading]) -> list[str]:
    """A note where labels may be read in another way that is as even, or makes lines as long as they are not."""
    taken, notes = found[0], []
    for other in found[1:]:
        row = next((k for k, time in enumerate(taken.times) if time != other.times[k]), None)
        if row is None:
            continue
        as_long = np.array_equal(_held(_forward(taken.begins)[0])[0], _held(_forward(other.begins)[0])[0])
        if _unevenness(taken) == _unevenness(other) or not as_long:
            notes.append(
                f"Labels such as {labels[row]!r} are read {taken.how} first, as {taken.times[row]:%Y-%m-%d}, and could "
                f"be read {other.how} first, as {other.times[row]:%Y-%m-%d}: write 2024-02-01 to leave no doubt."
            )
    return notes


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


def _iso(text: str) -> datetime:
    if text.isdigit():
        raise ValueError("digits alone are for _compact")
    return datetime.fromisoformat(text.partition("/")[0])


def _compact(text: str) -> datetime:
    """Of 20240131, 2024013123, 202401312345 and 20240131234500; hour 24 is the end of the day."""
    digits = _digits(text)
    day = datetime.strptime(digits[:8], "%Y%m%d")
    # Seconds since 1970 look like years before 1900, until 2030.
    if len(digits) not in (8, 10, 12, 14) or day.year < 1900:
        raise ValueError("no date")
    hour, minute, second = [*(int(digits[k : k + 2]) for k in range(8, len(digits), 2)), 0, 0, 0][:3]
    clock = timedelta(hours=hour, minutes=minute, seconds=second)
    if minute > 59 or second > 59 or clock > timedelta(hours=24):
        raise ValueError("no time of the day")
    return day + clock


def _since_1970(text: str) -> datetime:
    """Of seconds, or what is counted in thousandths, millionths or billionths of them."""
    number = int(_digits(text))
    for unit in (1, 10**3, 10**6, 10**9):
        if EPOCH[0] * unit <= number < EPOCH[1] * unit:
            return datetime.fromtimestamp(number / unit, UTC)
    raise ValueError("no time after 1970")


def _digits(text: str) -> str:
    text = text.partition("/")[0].strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ValueError("no digits")
    return text


def _formatted(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form)


def _ways(*days: tuple[str, str]) -> list[list[tuple[str, Callable[[str], datetime]]]]:
    """Ways to read a day, each with a clock or none."""
    return [
        [(how, _formatted(f"{day} {clock}".strip())) for how, day in days]
        for clock in ("%H:%M", "%H:%M:%S", *([""] if days[0][1] else []))
    ]


SECONDS = "seconds since 1970"
# The first entry that has a way to read all labels is taken, and the evenest of its ways.
WAYS = [
    [("ISO 8601", _iso)],
    [("dates", _compact)],
    [(SECONDS, _since_1970)],
    *_ways(("year", "%Y-%m-%d")),
    *_ways(("year", "%Y/%m/%d")),
    *_ways(("day", "%d.%m.%Y")),
    *_ways(("day", "%d/%m/%Y"), ("month", "%m/%d/%Y")),
    *_ways(("clock", "")),
]
