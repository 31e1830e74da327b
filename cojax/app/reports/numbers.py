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


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose first row are its heads: names to the left, all else to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
