"""From a graph to symmetric weights of its edges, computed once on the host."""

from typing import Any, NamedTuple

import numpy as np

from .._support.checks import CojaxInputError, check_number, real_array
from .._support.edge_lists import check_strongly_connected, connected_parts

LEAST_ROOM = 0.3  # of that between s and the eigenvalues, which a step of Newton's method has to leave
LARGEST_FASTEST = 3000  # nodes and edges; a step factors dense matrices of both sizes


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


def best_constant(num_nodes: int, pairs: np.ndarray) -> np.ndarray:
    """2 / (lambda_2 + lambda_n) for every edge: of all equal weights, those that mix fastest.

    lambda_n is the largest eigenvalue of the graph's Laplacian and lambda_2 its smallest one that is not zero (one zero
    per connected part: every part agrees within itself). Needs the whole spectrum, O(n^3).

    Args as for `metropolis`.
    Source: Xiao, Boyd, Systems & Control Letters 53, 2004, doi 10.1016/j.sysconle.2004.02.022, section 4.1.
    """
    if pairs.shape[1] == 0:
        return np.zeros(0)
    spectrum = np.linalg.eigvalsh(_laplacian(num_nodes, pairs, np.ones(pairs.shape[1])))
    num_parts, _ = connected_parts(num_nodes, pairs)
    return np.full(pairs.shape[1], 2.0 / (spectrum[num_parts] + spectrum[-1]))


def fastest(num_nodes: int, pairs: np.ndarray, curvature: np.ndarray | float = 1.0) -> np.ndarray:
    """The non-negative weights that mix fastest: they minimise s, the largest modulus of an eigenvalue of I - L
    that does not belong to agreement.

    With `curvature`, (n,) > 0, the same for I - D^1/2 L D^1/2, D the second derivatives of the costs in cpu: what the
    marginal costs m are multiplied by when shares move by -L m. Then 1 - s and 1 + s are the ends of the spectrum that
    the steps and the momentum of an allocator are made of, and the step size of `Laplacian` that is best is 1.

    A barrier method on  -s I <= I - L - P <= s I,  w >= 0,  with P the mean over every connected part. It stops when
    1 - s is within 0.1 % of the optimum; weights that are zero there come out small and positive. Some nodes may give
    away more than they have (1 - sum_j w_ij < 0), which mixing does not mind. Costs 40 to 100 solves with e unknowns:
    a few seconds for 100 nodes and 500 edges. `fastest_bound` tells how far from the optimum they can be at most.

    Args as for `metropolis`. Raises `CojaxInputError` above 3000 nodes and edges together.
    Source: Xiao, Boyd, Systems & Control Letters 53, 2004, doi 10.1016/j.sysconle.2004.02.022, section 3, with w >= 0.
    """
    num_edges = pairs.shape[1]
    if num_edges == 0:
        return np.zeros(0)
    mixing, curvature = _mixing_of("fastest", num_nodes, pairs, curvature)
    return _last_centre(mixing, metropolis(num_nodes, pairs) / curvature[pairs].max(0)).weights


class FastestBound(NamedTuple):
    """What `fastest_bound` returns.

    Fields:
        modulus: s of the weights, the largest modulus of an eigenvalue of I - L that does not belong to agreement.
        least: no non-negative weights on this graph have a smaller one.
    """

    modulus: float
    least: float


def fastest_bound(
    num_nodes: int, pairs: np.ndarray, chosen: np.ndarray, curvature: np.ndarray | float = 1.0
) -> FastestBound:
    """How far weights are, at most, from those that mix fastest: what they reach, and what none can go below.

        chosen = cojax.weights.metropolis(num_nodes, pairs)
        modulus, least = cojax.weights.fastest_bound(num_nodes, pairs, chosen)

    `least` is proved by weak duality, whatever finds it: for positive semidefinite Y and Z with a'(Y - Z)a <= 0, a the
    column of any edge, tr (Y - Z) / tr (Y + Z) is a lower bound. Here Y = alpha (s I - M)^-1, Z = (s I + M)^-1 at the
    end of the barrier method of `fastest`, M = I - L without agreement and alpha the largest that the edges allow; what
    arithmetic can round is taken off. Costs what `fastest` costs.

    For the weights of `fastest` 1 - modulus is within 0.1 % of 1 - least, in the median 0.03 %, or 0.04 % with
    curvatures tenfold apart: 100 graphs of five kinds in `tests/networks/test_weights.py`. Where
    rounding ends the barrier method before its end, `least` is smaller, and as right.

    Args:
        num_nodes, pairs, curvature: as for `fastest`.
        chosen: (e,) weights >= 0, of any rule.

    Raises `CojaxInputError` for weights of another shape or negative, and above 3000 nodes and edges together.
    Source: Boyd, Diaconis, Xiao, SIAM Review 46, 2004, doi 10.1137/S0036144503423264, which has the dual problem.
    """
    check_number("weights.fastest_bound", "chosen", chosen, at_least=0.0, shaped=(pairs.shape[1],), why="one an edge")
    if pairs.shape[1] == 0:
        return FastestBound(0.0, 0.0)
    mixing, curvature = _mixing_of("fastest_bound", num_nodes, pairs, curvature)
    least = _dual_bound(mixing, _last_centre(mixing, metropolis(num_nodes, pairs) / curvature[pairs].max(0)))
    modulus = float(np.abs(np.linalg.eigvalsh(mixing(np.asarray(chosen, np.float64)))).max())
    return FastestBound(modulus, least)


def steepest(num_nodes: int, pairs: np.ndarray, curvature: np.ndarray | float = 1.0) -> np.ndarray:
    """min(1 / (deg_i c_i), 1 / (deg_j c_j)) for every edge, c the `curvature`: a rule of the two ends of an edge.

    What both ends can take if every neighbour does the same: the eigenvalues of D^1/2 L D^1/2 are at most 2, so
    steps below 1 are stable for `Laplacian` over any sequence of graphs. No other node need be asked.

    Args:
        num_nodes, pairs: as for `metropolis`.
        curvature: (n,) or one number, > 0, the largest second derivative of every node's cost in cpu.

    Returns: (e,) weights, in cpu per unit of marginal cost.
    Source: Xiao, Boyd, JOTA 2006, doi 10.1007/s10957-006-9080-1, section 3.
    """
    curvature = _checked_curvature("steepest", num_nodes, curvature)
    steepness = np.bincount(pairs.ravel(), minlength=num_nodes) * curvature
    return 1.0 / np.maximum(steepness[pairs[0]], steepness[pairs[1]])


def directed(num_nodes: int, arcs: Any) -> np.ndarray:
    """w_ij = 1 / (1 + max(in-degree of i, out-degree of j)) for every arc j -> i, for `cojax.Directed`.

    A rule of the two ends, as `metropolis`: rows and columns sum to less than 1, and are not balanced.

    Args:
        num_nodes: n.
        arcs: (2, a), each once; arc (i, j) means that node i hears node j.

    Returns: an (n, n) matrix. Raises `CojaxInputError` for arcs that are doubled, loops, or no numbers of nodes.
    Source: Pu, Shi, Xu, Nedic, arXiv 1810.06653, where each end may choose its own.
    """
    receivers, senders = _checked_arcs("directed", num_nodes, arcs)
    coming = np.bincount(receivers, minlength=num_nodes)
    going = np.bincount(senders, minlength=num_nodes)
    weights = np.zeros((num_nodes, num_nodes))
    weights[receivers, senders] = 1 / (1 + np.maximum(coming[receivers], going[senders]))
    return weights


def balanced(num_nodes: int, arcs: Any) -> np.ndarray:
    """Balanced weights of a strongly connected digraph: pi_i P_ij, scaled so that no row sums to more than 1/2.

    P is the walk that picks one of a node's arcs at random and pi its stationary distribution, so what enters a node
    leaves it: row sum = column sum = pi_i.

    Args:
        num_nodes: n.
        arcs: (2, a), each once; arc (i, j) means that node i hears node j.

    Returns: an (n, n) matrix. Raises `CojaxInputError` where the digraph is not strongly connected, and for arcs that
    are doubled, loops, or no numbers of nodes.
    """
    arcs = _checked_arcs("balanced", num_nodes, arcs)
    if num_nodes == 1:
        return np.zeros((1, 1))
    check_strongly_connected(
        "weights.balanced needs a strongly connected digraph",
        num_nodes,
        arcs,
        "so that its weights would be zero; add the arcs that are missing.",
    )
    hears = np.zeros((num_nodes, num_nodes))
    hears[arcs[0], arcs[1]] = 1.0
    walk = hears / hears.sum(1, keepdims=True)
    system = np.vstack([walk.T - np.eye(num_nodes), np.ones(num_nodes)])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(num_nodes), 1.0), rcond=None)[0]
    if stationary.min() <= 1e-12:
        raise CojaxInputError(
            f"weights.balanced needs a digraph whose random walk visits every node, got one that is at node "
            f"{stationary.argmin()} less than once in 1e12 steps: its weights would vanish; hand in a weight matrix."
        )
    return stationary[:, None] * walk / (2 * stationary.max())


class _Mixing(NamedTuple):
    """I - sum_k w_k a_k a_k' - P as a function of the weights."""

    incidence: np.ndarray  # (n, e), a column a_k an edge
    rest: np.ndarray  # (n, n), I - P

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return self.rest - (self.incidence * weights) @ self.incidence.T


def _mixing_of(
    rule: str, num_nodes: int, pairs: np.ndarray, curvature: np.ndarray | float
) -> tuple[_Mixing, np.ndarray]:
    """The matrix as a function of the weights, and the curvature of every node."""
    num_edges = pairs.shape[1]
    if num_nodes + num_edges > LARGEST_FASTEST:
        raise CojaxInputError(
            f"weights.{rule} needs at most {LARGEST_FASTEST} nodes and edges together, got {num_nodes + num_edges}: "
            "its time grows with their cube; use best_constant or metropolis."
        )
    curvature = _checked_curvature(rule, num_nodes, curvature)
    _, part = connected_parts(num_nodes, pairs)
    rest = 1.0 / np.sqrt(curvature)  # D^1/2 L D^1/2 does not move it, nor what is it on one part and 0 on others
    together = (part[:, None] == part) * np.outer(rest, rest) / np.bincount(part, rest**2)[part]
    incidence = np.zeros((num_nodes, num_edges))
    incidence[pairs[0], np.arange(num_edges)] = np.sqrt(curvature[pairs[0]])
    incidence[pairs[1], np.arange(num_edges)] = -np.sqrt(curvature[pairs[1]])
    return _Mixing(incidence, np.eye(num_nodes) - together), curvature


class _Centre(NamedTuple):
    """Where the barrier method ends, close to the centre of its sharpness."""

    weights: np.ndarray
    bound: float
    sharpness: float


def _last_centre(mixing: _Mixing, weights: np.ndarray) -> _Centre:
    """From weights that put every eigenvalue inside (-1, 1), so that s = 2 is well inside the cone, to the optimum."""
    num_constraints = 2 * len(mixing.rest) + weights.size
    bound, sharpness = 2.0, float(num_constraints)
    while num_constraints / sharpness > 1e-3 * max(1.0 - bound, 1e-9):
        sharpness *= 5.0  # larger factors leave Newton's method short of the centre
        weights, bound = _centre(weights, bound, sharpness, mixing)
    return _Centre(weights, bound, sharpness)


def _dual_bound(mixing: _Mixing, centre: _Centre) -> float:
    """A lower bound of s over all weights >= 0: see `fastest_bound`."""
    weights, bound, sharpness = centre
    for _ in range(2):  # undamped, to the centre itself: the dual point is as near to what the edges allow
        step, _ = _newton_step(weights, bound, sharpness, mixing)
        if np.isfinite(_barrier(weights + step[:-1], bound + step[-1], sharpness, mixing)):
            weights, bound = weights + step[:-1], float(bound + step[-1])
    values, vectors = np.linalg.eigh(mixing.rest)  # 0 for agreement, 1 for the rest
    basis = vectors[:, values > 0.5]
    moduli, vectors = np.linalg.eigh(basis.T @ mixing(weights) @ basis)
    along = (mixing.incidence.T @ basis @ vectors) ** 2
    rounded = 16 * len(values) * np.finfo(float).eps
    y, z = (1.0 / np.maximum(bound - sign * moduli, rounded) for sign in (1.0, -1.0))
    noise = rounded * (mixing.incidence**2).sum(0)
    alpha = ((along @ z / z.sum() - noise) / (along @ y / y.sum() + noise)).min()
    return max(float((alpha - 1) / (alpha + 1) - rounded), 0.0)


def _checked_curvature(rule: str, num_nodes: int, curvature: Any) -> np.ndarray:
    check_number(f"weights.{rule}", "curvature", curvature, above=0.0)
    curvature = np.asarray(curvature, np.float64)
    if curvature.shape not in ((), (num_nodes,)):
        raise CojaxInputError(f"weights.{rule} needs curvature of shape ({num_nodes},), got {curvature.shape}.")
    return np.broadcast_to(curvature, (num_nodes,))


def _checked_arcs(rule: str, num_nodes: int, arcs: Any) -> np.ndarray:
    found = real_array(f"weights.{rule}", "arcs", arcs)
    if found.ndim != 2 or len(found) != 2 or not (np.issubdtype(found.dtype, np.integer) or found.size == 0):
        raise CojaxInputError(
            f"weights.{rule} needs arcs of shape (2, a), whole numbers, got shape {found.shape}, {found.dtype}."
        )
    found = found.astype(np.int64)
    if found.size and not (found.min() >= 0 and found.max() < num_nodes):
        wrong = found[(found < 0) | (found >= num_nodes)][0]
        raise CojaxInputError(f"weights.{rule} needs nodes from 0 to {num_nodes - 1} in arcs, got {wrong}.")
    if (found[0] == found[1]).any():
        node = found[0][found[0] == found[1]][0]
        raise CojaxInputError(f"weights.{rule} needs arcs between two nodes, got one from node {node} to itself.")
    order = np.lexsort(found)
    again = order[1:][(found[:, order[1:]] == found[:, order[:-1]]).all(0)]
    if again.size:
        receiver, sender = found[:, again[0]]
        raise CojaxInputError(
            f"weights.{rule} needs every arc once, got ({receiver}, {sender}) more than once: its weight would be "
            "counted for one arc."
        )
    return found


def _laplacian(num_nodes: int, pairs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    matrix = np.zeros((num_nodes, num_nodes))
    np.add.at(matrix, (pairs[0], pairs[1]), -weights)
    matrix += matrix.T
    matrix[np.diag_indices(num_nodes)] = -matrix.sum(1)
    return matrix


def _centre(weights: np.ndarray, bound: float, sharpness: float, mixing: _Mixing) -> tuple[np.ndarray, float]:
    """Newton's method on  sharpness * s - logdet(s I - M) - logdet(s I + M) - sum log w,  M = I - L - P."""
    for _ in range(50):
        step, decrease = _newton_step(weights, bound, sharpness, mixing)
        if decrease < 1e-3:  # the gap is then within a few per cent of its value at the centre
            break
        here, size = _barrier(weights, bound, sharpness, mixing), 1.0
        # Steps that end close to the edge of the cone get away from there only by many small ones.
        room = LEAST_ROOM * (bound - np.abs(np.linalg.eigvalsh(mixing(weights))).max())
        while _barrier(weights + size * step[:-1], bound + size * step[-1], sharpness, mixing, room) > (
            here - 0.1 * size * decrease
        ):
            size *= 0.5
            if size < 1e-10:  # rounding hides any further decrease
                return weights, bound
        weights, bound = weights + size * step[:-1], float(bound + size * step[-1])
    return weights, bound


def _newton_step(weights: np.ndarray, bound: float, sharpness: float, mixing: _Mixing) -> tuple[np.ndarray, float]:
    """The step in (w, s), and twice what it promises to take off the barrier; zeros where rounding leaves none."""
    from scipy.linalg import cho_factor, cho_solve

    gradient, hessian = _barrier_slopes(weights, bound, sharpness, mixing)
    # Scaled to a unit diagonal: near the optimum the raw entries span 1e16.
    scale = 1.0 / np.sqrt(hessian.diagonal())
    try:
        scaled = cho_factor(scale[:, None] * hessian * scale, overwrite_a=True)
    except np.linalg.LinAlgError:  # of 200 nodes of unlike curvatures rounding leaves no step; these weights serve
        return np.zeros(gradient.size), 0.0
    step = -scale * cho_solve(scaled, scale * gradient)
    return step, float(-gradient @ step)


def _barrier(weights: np.ndarray, bound: float, sharpness: float, mixing: _Mixing, room: float = 0.0) -> float:
    """The centring objective, infinite outside the feasible set, and where s is within `room` of an eigenvalue."""
    if weights.min() <= 0.0:
        return np.inf
    values = np.linalg.eigvalsh(mixing(weights))
    moduli = bound**2 - values**2
    if bound - np.abs(values).max() < room or bound <= 0.0 or moduli.min() <= 0.0:
        return np.inf
    return float(sharpness * bound - np.log(moduli).sum() - np.log(weights).sum())


def _barrier_slopes(
    weights: np.ndarray, bound: float, sharpness: float, mixing: _Mixing
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of `_barrier` in (w, s)."""
    num_edges = weights.size
    values, vectors = np.linalg.eigh(mixing(weights))
    along = mixing.incidence.T @ vectors  # (e, n): every edge's difference, in the eigenvectors
    gradient, hessian = np.empty(num_edges + 1), np.zeros((num_edges + 1, num_edges + 1))
    gradient[:-1], gradient[-1] = -1.0 / weights, sharpness
    hessian[np.arange(num_edges), np.arange(num_edges)] = weights**-2.0
    for sign in (1.0, -1.0):  # s I - M, then s I + M
        inverse = 1.0 / (bound - sign * values)
        gradient[:-1] -= sign * (along**2 @ inverse)
        gradient[-1] -= inverse.sum()
        hessian[:-1, :-1] += ((along * inverse) @ along.T) ** 2
        hessian[:-1, -1] += sign * (along**2 @ inverse**2)
        hessian[-1, -1] += (inverse**2).sum()
    hessian[-1, :-1] = hessian[:-1, -1]
    return gradient, hessian
