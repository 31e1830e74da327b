"""Numbers and tables as they are printed."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def median(values: np.ndarray, weights: np.ndarray) -> float:
    if (weights == weights[0]).all():
        return float(np.median(values))
    return float(np.quantile(values, 0.5, weights=weights, method="inverted_cdf"))


def describe(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def even(values: np.ndarray) -> list[str]:
    """All with as many decimals as give the largest four digits."""
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    if largest != 0 and not 1e-3 <= largest < 1e7:
        return [f"{value:.3e}" if np.isfinite(value) else "-" for value in values]
    decimals = max(3 - int(np.floor(np.log10(largest))), 0) if largest else 0
    return [f"{value:.{decimals}f}" if np.isfinite(value) else "-" for value in values]


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose first row are its heads: names to the left, all else to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
