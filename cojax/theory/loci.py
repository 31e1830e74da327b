"""How the eigenvalues of the paper's learner move as its rate grows: one branch per eigenvalue."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from .._support.checks import CojaxInputError, check_number
from .flows import pencil_eigenvalues

NUM_RATES = 240


class RootLocus(NamedTuple):
    """Eigenvalues over alpha; a column is one branch, followed from its start."""

    alphas: Float[np.ndarray, " k"]
    eigenvalues: Complex[np.ndarray, "k m"]

    @property
    def abscissa(self) -> Float[np.ndarray, " k"]:
        """The largest real part at every alpha but that of agreement, which stays at 0; stable where it is < 0."""
        sizes = np.abs(self.eigenvalues)
        zeros = int((sizes <= 1e-6 * sizes.max(1, keepdims=True)).sum(1).min())
        # Those are left out that are 0, and not the largest: where a loss is not convex others lie to their right.
        others = np.take_along_axis(self.eigenvalues, np.argsort(sizes, axis=1), 1)[:, min(zeros, sizes.shape[1] - 1) :]
        return np.real(others).max(1)


def root_locus(laplacian: Any, hessians: Any, alphas: Any = None) -> RootLocus:
    """The roots of det(z^2 + z (2 L + alpha H) + L^2) = 0 for every alpha, joined to branches.

    Args:
        laplacian, hessians: as for `pencil_eigenvalues`.
        alphas: (k,), >= 0 and increasing; by default 0 and 239 rates from 1e-3 to 1e3 times lambda_n / L_g, where
            the terms of L and of H in the pencil balance.

    `cojax.plots.root_locus` draws it. Raises `CojaxInputError` for shapes that do not fit, and alphas that do not grow.
    """
    rates = _default_rates(laplacian, hessians) if alphas is None else np.atleast_1d(np.asarray(alphas, np.float64))
    check_number("root_locus", "alphas", rates, at_least=0.0)
    if rates.ndim != 1 or (np.diff(rates) <= 0).any():
        raise CojaxInputError("root_locus needs alphas that grow from one to the next, one axis of them.")
    found = [pencil_eigenvalues(laplacian, hessians, float(rate)) for rate in rates]
    branches = [found[0]]
    for values in found[1:]:
        # Where a branch will be next, if it goes on as it came; meeting branches pass through each other.
        guess = branches[-1] if len(branches) == 1 else 2 * branches[-1] - branches[-2]
        branches.append(_match(guess, branches[-1], values))
    return RootLocus(rates, np.stack(branches))


def _default_rates(laplacian: Any, hessians: Any) -> Float[np.ndarray, " k"]:
    matrix = laplacian.toarray() if hasattr(laplacian, "toarray") else np.asarray(laplacian, np.float64)
    curved = np.asarray(hessians, np.float64)
    high = np.linalg.norm(curved, 2, axis=(-2, -1)).max() if curved.ndim == 3 else np.abs(curved).max()
    middle = np.linalg.eigvalsh(matrix)[-1] / max(high, np.finfo(float).tiny)
    return np.concatenate([[0.0], middle * np.logspace(-3, 3, NUM_RATES - 1)])


def _match(guess: np.ndarray, last: np.ndarray, values: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment  # here, because it takes longer to load than all of cojax

    cost = np.abs(guess[:, None] - values[None]) + np.abs(last[:, None] - values[None])
    return values[linear_sum_assignment(cost)[1]]
