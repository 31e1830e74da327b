"""Step sizes that nobody need tune: computed from bounds on curvature and from the Laplacians of the graphs."""

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int
from scipy.sparse.linalg import eigsh

from ..costs import Samples

# Up to this many rows all eigenvalues of a dense matrix take less time than the largest one of a sparse matrix.
MOST_DENSE = 400


def laplacian(num_nodes: int, pairs: Int[np.ndarray, "2 e"], weights: Float[np.ndarray, " e"]) -> sparse.csr_array:
    """The weighted Laplacian of one graph."""
    ends = np.concatenate([pairs, pairs[::-1]], axis=1)
    matrix = sparse.coo_array((np.concatenate([weights, weights]), tuple(ends)), shape=(num_nodes, num_nodes)).tocsr()
    return sparse.diags_array(matrix.sum(axis=1)).tocsr() - matrix


def largest_eigenvalue(matrix: sparse.csr_array) -> float:
    """Of a symmetric positive semidefinite matrix; 0 of one without entries."""
    if matrix.nnz == 0:
        return 0.0
    size = matrix.sum(axis=0).size
    if size <= MOST_DENSE:
        return float(np.linalg.eigvalsh(matrix.toarray())[-1])
    start = np.random.default_rng(0).standard_normal(size)
    return float(eigsh(matrix, k=1, which="LA", v0=start, maxiter=10_000, return_eigenvectors=False)[0])


def allocation_step(laplacians: list[sparse.csr_array], curvature: Float[np.ndarray, " n"]) -> float:
    """1 / max_k lambda_max(D^1/2 L_k D^1/2), D the curvatures: half of the largest step at which the cost still falls.

    With one curvature u for all nodes it is the 1 / (u lambda_n) of the paper's siblings. A graph that loses links at
    random has a smaller Laplacian, so the bound covers loss.
    """
    root = sparse.diags_array(np.sqrt(curvature))
    most = max(largest_eigenvalue((root @ matrix @ root).tocsr()) for matrix in laplacians)
    return 1.0 / most if most > 0 else 1.0 / float(curvature.max())  # a single node has no link to move CPU over


def tracking_step(laplacians: list[sparse.csr_array], mixing: float, smoothness: float) -> float:
    """(2 - mixing lambda_n)^2 / (4 smoothness), lambda_n over all graphs: half of the limit of `DIGing`."""
    return max(2.0 - mixing * max(map(largest_eigenvalue, laplacians)), 0.0) ** 2 / (4.0 * smoothness)


def descent_step(laplacians: list[sparse.csr_array], smoothness: float) -> float:
    """(2 - lambda_n) / (2 smoothness), lambda_n over all graphs: half of the limit of `EXTRA` and of `DGD`."""
    return max(2.0 - max(map(largest_eigenvalue, laplacians)), 0.0) / (2.0 * smoothness)


def heavy_ball(matrix: sparse.csr_array, least: float, most: float) -> tuple[float, float]:
    """Step size and momentum that are best on a fixed graph for curvatures in [least, most]; see `HeavyBall`."""
    spectrum = np.linalg.eigvalsh(matrix.toarray())
    if spectrum[-1] <= 0:
        return 1.0 / most, 0.0
    low, high = np.sqrt(max(least * spectrum[1], 0.0)), np.sqrt(most * spectrum[-1])
    return float(4.0 / (low + high) ** 2), float(((high - low) / (high + low)) ** 2)


def samples_curvature(samples: Samples, *, offset: bool) -> float:
    """The largest eigenvalue, over nodes, of sum_j weights_j a_j a_j^T; a_j the features, if `offset` with a -1."""
    features, weights = np.asarray(samples.features, np.float64), np.asarray(samples.weights, np.float64)
    if offset:
        features = np.concatenate([features, -np.ones((*features.shape[:2], 1))], axis=2)
    rows = np.sqrt(weights)[:, :, None] * features
    # The smaller of the two Gram matrices has the same largest eigenvalue.
    wide = rows.shape[2] > rows.shape[1]
    gram = np.einsum("imd,ikd->imk", rows, rows) if wide else np.einsum("imd,ime->ide", rows, rows, optimize=True)
    return float(np.linalg.eigvalsh(gram)[:, -1].max())
