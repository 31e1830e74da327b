"""Small linear matrix inequalities: whether one set of numbers meets them all, by Clarabel, and checked."""

from typing import Any

import numpy as np

from .._support.checks import CojaxInputError

MARGIN = 0.5  # of the 1 by which matrices that have to be definite are asked to be it
ROUNDING = 1e-4  # by which a solver may miss 0; what it adds is far below the margin


class Inequalities:
    """Up to `size` numbers to be found. A matrix that is linear in them is (size, side, side): one matrix for each."""

    def __init__(self, size: int):
        self.size, self.taken = size, 0
        self.parts: list[tuple[np.ndarray, float]] = []  # matrices, and how much they are at least

    def number(self) -> np.ndarray:
        """One of the numbers, (size, 1, 1)."""
        return self._basis(np.ones((1, 1, 1)))

    def symmetric(self, side: int) -> np.ndarray:
        """A symmetric matrix of numbers."""
        return self._basis(_units(side, 0, 1.0))

    def skew(self, side: int) -> np.ndarray:
        """A matrix of numbers that is minus its transpose."""
        return self._basis(_units(side, 1, -1.0))

    def not_negative(self, matrix: np.ndarray) -> None:
        """The matrix is positive semidefinite."""
        self.parts.append((_even(matrix), 0.0))

    def positive(self, matrix: np.ndarray) -> None:
        """The matrix is at least the identity; as all is linear, so as to say positive definite."""
        self.parts.append((_even(matrix), 1.0))

    def is_met(self) -> bool:
        """Whether numbers were found for which the eigenvalues of all parts are what they have to be."""
        clarabel = _clarabel()
        from scipy import sparse

        # The least t with part + t >= floor for all definite parts, t >= -1: met with room to spare or not at all.
        parts = [(part[: self.taken], floor) for part, floor in self.parts]
        rows, limits, cones = [], [], []
        for part, floor in parts:
            side = part.shape[-1]
            slack = -_stacked(np.eye(side)[None]) if floor else np.zeros((side * (side + 1) // 2, 1))
            rows.append(np.hstack([-_stacked(part), slack]))
            limits.append(-floor * _stacked(np.eye(side)[None])[:, 0])
            cones.append(clarabel.PSDTriangleConeT(side))
        cost = np.eye(self.taken + 1)[-1]
        rows, limits = np.vstack([*rows, -cost]), np.concatenate([*limits, [1.0]])
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        none = sparse.csc_matrix((self.taken + 1, self.taken + 1))
        cones.append(clarabel.NonnegativeConeT(1))
        solved = clarabel.DefaultSolver(none, cost, sparse.csc_matrix(rows), limits, cones, settings).solve()
        found = np.asarray(solved.x)[:-1]
        if not np.isfinite(found).all():
            return False
        least = [(np.linalg.eigvalsh(np.tensordot(found, part, 1))[0], floor) for part, floor in parts]
        return all(value > (MARGIN if floor else -ROUNDING) for value, floor in least)

    def _basis(self, matrices: np.ndarray) -> np.ndarray:
        found = np.zeros((self.size, *matrices.shape[1:]))
        found[self.taken : self.taken + len(matrices)] = matrices
        self.taken += len(matrices)
        return found


def _units(side: int, above: int, sign: float) -> np.ndarray:
    """For every place from so far above the diagonal on a matrix with 1 there, and `sign` at its mirror image."""
    rows, columns = np.triu_indices(side, above)
    found = np.zeros((len(rows), side, side))
    found[np.arange(len(rows)), columns, rows] = sign
    found[np.arange(len(rows)), rows, columns] = 1.0
    return found


def _even(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.swapaxes(-1, -2)) / 2


def _stacked(matrices: np.ndarray) -> np.ndarray:
    """A column for each: the upper triangle by columns, off the diagonal times the root of 2, as Clarabel has it."""
    side = matrices.shape[-1]
    columns, rows = np.tril_indices(side)
    return (matrices[:, rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))).T


def _clarabel() -> Any:
    try:
        import clarabel
    except ModuleNotFoundError as error:
        raise CojaxInputError("worst_rate needs Clarabel: pip install clarabel.") from error
    return clarabel
