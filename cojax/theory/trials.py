"""Runs of `Nesterov` over one-bit memories per edge, in NumPy and for quadratic costs: how soon they settle."""

from typing import Any

import numpy as np
from jaxtyping import Float

NUM_STEPS = 1200
GAP = 1e-10  # of the cost of the start
LEAST = -1e-9  # the logarithm of what is left where nothing falls, as nothing is heard


def steps_to_fall(
    laplacians: list[Any],
    loss: float,
    curvature: Float[np.ndarray, " n"],
    numbers: tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]],
    first: float,
    factors: tuple[float, float],
    seed: int = 0,
) -> Float[np.ndarray, " c"]:
    """Steps until the cost is, and stays, below 1e-10 of that at the start, over graphs in turn and links that fail.

    What rounding to one bit feeds back depends on how long every link is silent, and no bound is known for it. The
    numbers of a method are looked for only once, so they are tried: 1200 steps from shares drawn at random, whose
    marginal costs differ by four of the first signs. Settled is a run that in its last quarter never costs more than in
    its second, nor than at the start; one that has settled and is not that far down by then is taken to fall on as it
    did. Infinite for one that has not settled.

    Args: laplacians, SciPy matrices, zeros in a silent step; loss, the rate; curvature of every node; numbers, the step
    sizes and momenta that are tried; first, the size of the first sign; factors, shrink and grow; seed of the shares
    and of what is lost.
    """
    size, random = curvature.size, np.random.default_rng(seed)
    step_sizes, momenta = numbers
    together: Any = sum(map(abs, laplacians))
    union = together.tocoo()
    apart = union.row != union.col
    hears, says = union.row[apart], union.col[apart]
    if hears.size == 0:
        return np.zeros(step_sizes.size)
    # Both ends of a link, next to each other where both are numbered by the pair, fail together.
    pair = np.minimum(hears, says) * size + np.maximum(hears, says)
    order = np.lexsort((hears, pair))
    hears, says = hears[order], says[order]
    graphs = [_links_up(matrix, hears, says) for matrix in laplacians]

    shares = random.normal(size=size)
    shares -= shares.mean()
    shares *= 4 * first / np.ptp(curvature * shares)
    shares = np.repeat(shares[:, None], step_sizes.size, axis=1)
    prices, curved = np.zeros_like(shares), curvature[:, None]
    held, scale = np.zeros((hears.size, step_sizes.size)), np.full((hears.size, step_sizes.size), first)
    costs = np.full((NUM_STEPS, step_sizes.size), np.inf)
    with np.errstate(all="ignore"):  # what diverges overflows
        for k in range(NUM_STEPS):
            slopes = curved * shares
            costs[k] = (slopes * shares).sum(axis=0)
            if not (costs[k] < 1e9 * costs[0]).any():
                break
            prices = momenta * prices + slopes
            up, weights, into = graphs[k % len(graphs)]
            heard = np.ones((up.size, 1), bool)
            if loss > 0:
                heard = np.repeat(random.random(hears.size // 2) >= loss, 2)[up, None]
            # As `OneBitQuantizer`: the sign of a scale is the last sign sent. `held` is of the node that says it.
            told, before = (slopes + momenta * prices)[says[up]] - held[up], scale[up]
            rounded = np.where(told < 0, -np.abs(before), np.abs(before))
            after = rounded * np.where((rounded < 0) == (before < 0), factors[1], factors[0])
            held[up], scale[up] = held[up] + heard * rounded, np.where(heard, after, before)
            shares = shares + step_sizes * (into @ (heard * weights * (held[up] - held[up ^ 1])))
        costs = np.where(np.isfinite(costs), costs / costs[0], np.inf)
        quarter = NUM_STEPS // 4
        end = costs[-quarter:].max(axis=0)
        settled = end <= np.minimum(costs[quarter : 2 * quarter].max(axis=0), 1.0)
        above = np.maximum.accumulate(costs[::-1])[::-1] > GAP
        slowest = NUM_STEPS * np.log(GAP) / np.minimum(np.log(end), LEAST)
        took = np.where(costs[-1] > GAP, slowest, above.sum(axis=0))
    return np.where(settled, took, np.inf)


def _links_up(laplacian: Any, hears: np.ndarray, says: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
    """The places of the links that are up in a graph, their weights, (u, 1), and the sum over them by node, (n, u)."""
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    weights = -np.asarray(laplacian.toarray()[hears, says])
    up = np.flatnonzero(weights)
    into = sparse.csr_array((np.ones(up.size), (hears[up], np.arange(up.size))), shape=(laplacian.shape[0], up.size))
    return up, weights[up, None], into
