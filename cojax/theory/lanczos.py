"""Both ends of the spectrum of a large symmetric matrix, from products with vectors alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

# What is left of an eigenvalue, relative to it, when it is taken as found.
TOLERANCE = 5e-3
# A graph is thin that has hardly more links than a tree, or, with its nodes in a good order, short ones only.
MORE_LINKS, MOST_WIDTH = 1.1, 50
# After this many steps a small eigenvalue is given up, times the root of the size: flat graphs need ten times it.
PATIENCE = 50.0

Product = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]


def largest(product: Product, size: int, null: Any = None) -> tuple[float, float]:
    """The largest eigenvalue, as the largest of what the steps have seen, and the norm of what is left, a bound of how
    far it is from an eigenvalue."""
    found = _end(product, size, null, last=True, most_steps=size)
    assert found is not None
    return found


def second_smallest(matrix: Any, null: Float[np.ndarray, " n"]) -> float:
    """The smallest positive eigenvalue of a positive semidefinite matrix that maps `null`, and no other, to 0.

    A bound from below. `matrix` is sparse, of a connected graph.
    """
    size = matrix.shape[0]
    if not is_thin(matrix):
        most_steps = int(PATIENCE * size**0.5)
        found = _end(lambda vector: matrix @ vector, size, null, last=False, most_steps=most_steps)
        if found is not None:
            return max(found[0] - found[1], 0.0)
    # The inverse on what is orthogonal to `null`: its eigenvalues lie far apart where these lie close together.
    return 1.0 / sum(largest(_inverse(matrix, null), size, null))


def is_thin(matrix: Any) -> bool:
    """Whether the factors of a symmetric sparse matrix have about as few entries as it has."""
    from scipy.sparse import csgraph  # here, because it takes longer to load than all of cojax

    size = matrix.shape[0]
    if matrix.nnz - size <= 2 * MORE_LINKS * size:
        return True
    order = csgraph.reverse_cuthill_mckee(matrix.tocsr(), symmetric_mode=True)
    place = np.empty(size, np.int64)
    place[order] = np.arange(size)
    entries = matrix.tocoo()
    return int(np.abs(place[entries.row] - place[entries.col]).max()) <= MOST_WIDTH


def _inverse(matrix: Any, null: Float[np.ndarray, " n"]) -> Product:
    """The solution of matrix @ x = b, x and b orthogonal to `null`, by factors of the matrix without one node."""
    from scipy.sparse import linalg

    rest = np.delete(np.arange(matrix.shape[0]), np.argmax(np.abs(null)))
    held: Any = matrix.tocsc()[rest][:, rest]
    factors = linalg.splu(held, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solve(vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        found = np.zeros_like(vector)
        found[rest] = factors.solve(vector[rest])
        return found

    return solve


def _end(product: Product, size: int, null: Any, *, last: bool, most_steps: int) -> tuple[float, float] | None:
    """The last or the first eigenvalue on what is orthogonal to `null`, and the norm of what is left of its equation.

    Plain Lanczos in O(size) memory. Rounding makes copies of eigenvalues that were found, which moves neither end; it
    also brings `null` back, so that it is taken out at every step. None where `most_steps` do not suffice.

    Source: Paige, J. Inst. Maths Applics 1976, doi 10.1093/imamat/18.3.341.
    """
    from scipy.linalg import eigh_tridiagonal

    def without_null(vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return vector if null is None else vector - (null @ vector) * null

    here = without_null(np.random.default_rng(0).standard_normal(size))
    here /= np.linalg.norm(here)
    before, away = np.zeros(size), 0.0
    diagonal, beside = [], []
    look = 8
    for step in range(1, most_steps + 1):
        ahead = product(here)
        ahead -= away * before
        diagonal.append(float(here @ ahead))
        ahead -= diagonal[-1] * here
        ahead = without_null(ahead)
        away = float(np.linalg.norm(ahead))
        whole = away <= 1e-14 * max(map(abs, diagonal))  # all that the start can reach
        if step >= look or whole or step == most_steps:
            look = step + max(8, step // 8)
            place = step - 1 if last else 0
            values, vectors = eigh_tridiagonal(diagonal, beside, select="i", select_range=(place, place))
            value, left = float(values[0]), 0.0 if whole else away * abs(float(vectors[-1, 0]))
            if left <= TOLERANCE * abs(value) or whole:
                return value, left
        beside.append(away)
        before, here = here, ahead / away
    return None
