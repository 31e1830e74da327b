"""Times and bandwidths as people write them: "12 ms", "10 Gbit/s"."""

import math
import re

from .._support.checks import CojaxInputError, did_you_mean

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BITS = {f"{prefix}bit/s": size for prefix, size in PREFIXES.items()}
BITS |= {f"{prefix}bps": size for prefix, size in PREFIXES.items()}
BITS |= {f"{prefix}B/s": 8 * size for prefix, size in PREFIXES.items()}
FORM = re.compile(r"((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*([^\s0-9]\S*)", re.ASCII)


def seconds(text: str | float, where: str) -> float:
    """A time, >= 0: a number of seconds, or a text with its unit; `where` begins the sentence of an error."""
    return _quantity(text, where, SECONDS, "seconds", '"12 ms"')


def bits_per_second(text: str | float, where: str) -> float:
    """A bandwidth, > 0: a number of bits per second, or a text with its unit."""
    value = _quantity(text, where, BITS, "bits per second", '"10 Gbit/s"')
    if value == 0:
        raise CojaxInputError(f"{where} needs more than 0: over such a link nothing ever arrives.")
    return value


def _quantity(text: str | float, where: str, units: dict[str, float], plain: str, example: str) -> float:
    if isinstance(text, str):
        found = FORM.fullmatch(text.strip())
        if found is None:
            raise CojaxInputError(f"{where} needs a number with a unit, such as {example}, got {text[:40]!r}.")
        number, unit = found.groups()
        if unit not in units:
            hint = did_you_mean(unit, list(units)) or f"; known are {', '.join(units)}."
            raise CojaxInputError(f"{where} has a unit that is not known, {unit[:20]!r}{hint}")
        value = float(number) * units[unit]
    else:
        value = float(text)
    if not math.isfinite(value) or value < 0:
        raise CojaxInputError(f"{where} needs {plain} >= 0, such as {example}, got {text!r}.")
    return value
