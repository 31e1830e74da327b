"""Columns of samples with mean 0 and deviation 1, however large or small their numbers are."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# Below 2^this a coefficient of the column as it is would overflow.
SMALLEST = -1000


class Columns(NamedTuple):
    """What standardises the columns of a table: mean and deviation of X / 2^exponent, of which squares are in range."""

    exponent: Int[np.ndarray, " d"]
    mean: Float[np.ndarray, " d"]
    deviation: Float[np.ndarray, " d"]  # infinite of a constant column, which tells nothing

    def standardised(self, features: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d"]:
        """Features with mean 0 and deviation 1 where these columns are their own; constant columns are 0."""
        return (np.ldexp(features, -self.exponent) - self.mean) / self.deviation


def columns_of(features: Float[np.ndarray, "N d"]) -> Columns:
    """The columns of a table; one is constant where its deviation is not more than rounding makes of equal numbers."""
    features = features.astype(np.float64, copy=False)
    exponent = np.frexp(np.abs(features).max(0))[1]
    scaled = np.ldexp(features, -exponent)  # exact, for it is by a power of two
    mean, variance = scaled.mean(0), scaled.var(0)
    constant = _is_rounding(len(features), mean, variance) | (exponent < SMALLEST)
    return Columns(np.where(constant, 0, exponent), mean, np.where(constant, np.inf, np.sqrt(variance)))


def _is_rounding(
    num_samples: int, mean: Float[np.ndarray, " d"], variance: Float[np.ndarray, " d"]
) -> Bool[np.ndarray, " d"]:
    """Whether variances found in two passes are within their own bound of error.

    Source: Chan, Golub, LeVeque, The American Statistician 37(3), 1983, doi 10.1080/00031305.1983.10483115, by which
    scikit-learn's `StandardScaler` judges too.
    """
    eps = np.finfo(np.float64).eps
    return variance <= num_samples * eps * variance + (num_samples * eps * mean) ** 2
