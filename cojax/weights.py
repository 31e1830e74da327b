"""From a graph to symmetric weights of its edges, computed once on the host."""

import numpy as np


def metropolis(num_nodes: int, pairs: np.ndarray) -> np.ndarray:
    """1 / (1 + max(deg_i, deg_j)) for every edge: needs only the neighbours' degrees, and I - L is doubly stochastic.

    Args:
        num_nodes: n.
        pairs: (2, e), every undirected edge once.

    Returns: (e,) weights.
    Source: Xiao, Boyd, Lall, IPSN 2005, doi 10.1109/IPSN.2005.1440896.
    """
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    return 1.0 / (1.0 + np.maximum(degree[pairs[0]], degree[pairs[1]]))


def max_degree(num_nodes: int, pairs: np.ndarray) -> np.ndarray:
    """1 / (1 + largest degree) for every edge.

    Args and source as for `metropolis`; the largest degree must be known to all.
    """
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    return np.full(pairs.shape[1], 1.0 / (1.0 + degree.max(initial=0)))


def balanced(num_nodes: int, arcs: np.ndarray) -> np.ndarray:
    """Balanced weights of a strongly connected digraph: pi_i P_ij, scaled so that no row sums to more than 1/2.

    P is the walk that picks one of a node's arcs at random and pi its stationary distribution, so what enters a node
    leaves it: row sum = column sum = pi_i.

    Args:
        num_nodes: n.
        arcs: (2, a); arc (i, j) means that node i hears node j.

    Returns: an (n, n) matrix. Raises `CojaxInputError` where the digraph is not strongly connected.
    """
    from ._checks import CojaxInputError

    hears = np.zeros((num_nodes, num_nodes))
    hears[arcs[0], arcs[1]] = 1.0
    out = hears.sum(1)
    if num_nodes > 1 and (out == 0).any():
        raise CojaxInputError(f"weights.balanced needs a strongly connected digraph: node {out.argmin()} hears nobody.")
    walk = hears / np.maximum(out, 1)[:, None]
    system = np.vstack([walk.T - np.eye(num_nodes), np.ones(num_nodes)])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(num_nodes), 1.0), rcond=None)[0]
    if num_nodes > 1 and stationary.min() <= 1e-12:
        raise CojaxInputError("weights.balanced needs a strongly connected digraph: some nodes are not heard for ever.")
    return stationary[:, None] * walk / (2 * stationary.max())
