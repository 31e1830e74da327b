"""Numbers of a plan for every hour as they are printed."""

from typing import Any

import numpy as np


def median(values: np.ndarray, weights: np.ndarray) -> float:
    if (weights == weights[0]).all():
        return float(np.median(values))
    return float(np.quantile(values, 0.5, weights=weights, method="inverted_cdf"))


def describe(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
