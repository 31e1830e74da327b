"""A share is at a bound where it is near it, beside what it could hold."""

import numpy as np
from jaxtyping import Bool, Float


def at_bounds(
    cpu: Float[np.ndarray, " n"], lower: Float[np.ndarray, " n"], upper: Float[np.ndarray, " n"], part: float
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Who is at the lower and who at the upper bound: up to a `part` of the room between, or of the largest share."""
    touch = part * np.minimum(np.nan_to_num(np.abs(cpu)).max(initial=0.0), upper - lower)
    return cpu <= lower + touch, cpu >= upper - touch
