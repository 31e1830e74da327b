"""Numbers as a person writes them."""

from typing import SupportsFloat

import numpy as np

# Written as escapes: they look too much like other characters.
MINUS, TIMES, DASH = "\u2212", "\u00d7", "\u2013"


def number(value: SupportsFloat, digits: int = 4) -> str:
    """`value` to four digits, as a person writes it: 12 340, 0.0123, or with a power of ten."""
    value = float(value)
    if not np.isfinite(value):
        return DASH if np.isnan(value) else "∞" if value > 0 else MINUS + "∞"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:,.{max(digits - 1 - int(np.floor(np.log10(abs(value) or 1))), 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, exponent = f"{value:.{digits - 2}e}".split("e")
        text = f"{mantissa} {TIMES} 10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return _typeset(text)


def _typeset(text: str) -> str:
    """Thin spaces between thousands, and a minus that is as wide as a digit."""
    return text.replace(",", "\u202f").replace("-", MINUS)


def align_numbers(values: np.ndarray) -> list[str]:
    """One text per value, all with as many decimals as give the largest of them four digits, or fewer if all can."""
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    if not 1e-3 <= largest < 1e6:
        return [number(value) for value in values]
    most = max(3 - int(np.floor(np.log10(largest))), 0)
    shown = np.round(values, most)
    decimals = next(few for few in range(most + 1) if few == most or np.array_equal(np.round(shown, few), shown, True))
    return [_typeset(f"{value:,.{decimals}f}") if np.isfinite(value) else number(value) for value in values]


def of_bytes(bits: float) -> str:
    """A number of bits, in the unit of bytes that is read best."""
    size = bits / 8
    power = min(int(np.log10(max(size, 1)) // 3), 4)
    return f"{number(size / 1000**power, 3)}\u00a0{('B', 'kB', 'MB', 'GB', 'TB')[power]}"
