"""The independent solver beside which shares, prices and rents are held: Clarabel, an interior-point method."""

from typing import NamedTuple

import clarabel
import numpy as np
from scipy import sparse


class Optimum(NamedTuple):
    """Of min x'Px/2 + q'x with given sums and bounds."""

    shares: np.ndarray
    prices: np.ndarray  # what one more unit of every sum costs
    floor_rents: np.ndarray
    capacity_rents: np.ndarray


def program(matrix, vector, budget, lower, upper, num_resources=1):
    """Its optimum to 1e-13 by its own measure; entries k, k + num_resources, ... of x sum to budget k."""
    size = len(vector)
    sums = np.tile(np.eye(num_resources), size // num_resources)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-13
    found = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(matrix)),
        vector,
        sparse.csc_matrix(np.vstack([sums, -np.eye(size), np.eye(size)])),
        np.concatenate([np.atleast_1d(budget), -lower, upper]),
        [clarabel.ZeroConeT(num_resources), clarabel.NonnegativeConeT(2 * size)],
        settings,
    ).solve()
    of_sums, of_bounds = np.split(np.array(found.z), [num_resources])
    return Optimum(np.array(found.x), -of_sums, *np.split(of_bounds, 2))
