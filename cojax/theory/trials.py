"""A run of `Nesterov` over one-bit memories per edge, in NumPy and for quadratic costs: whether it settles."""

from typing import Any

import numpy as np
from jaxtyping import Float

NUM_STEPS = 1200


def settles(
    laplacians: list[Any],
    loss: float,
    curvature: Float[np.ndarray, " n"],
    numbers: tuple[float, float],
    first: float,
    factors: tuple[float, float],
) -> bool:
    """Whether the cost falls, and goes on falling, over graphs that take turns and links that fail.

    What rounding to one bit feeds back depends on how long every link is silent, and no bound is known for it. The
    numbers of a method are looked for only once, so it is tried: 1200 steps from shares drawn at random, whose marginal
    costs differ by four of the first signs. Settled is a run that in its last quarter never costs more than in its
    second, nor than at the start.

    Args: laplacians, SciPy matrices, zeros in a silent step; loss, the rate; curvature of every node; numbers, the step
    size and momentum; first, the size of the first sign; factors, shrink and grow.
    """
    size, random = curvature.size, np.random.default_rng(0)
    together: Any = sum(map(abs, laplacians))
    union = together.tocoo()
    apart = union.row != union.col
    hears, says = union.row[apart], union.col[apart]
    if hears.size == 0:
        return True
    # Both ends of a link, next to each other where both are numbered by the pair, fail together.
    pair = np.minimum(hears, says) * size + np.maximum(hears, says)
    order = np.lexsort((hears, pair))
    hears, says = hears[order], says[order]
    other = np.arange(hears.size) ^ 1
    weights = [-np.asarray(matrix.toarray()[hears, says]) for matrix in laplacians]
    step_size, momentum = numbers

    shares = random.normal(size=size)
    shares -= shares.mean()
    shares *= 4 * first / np.ptp(curvature * shares)
    prices, held, scale, costs = np.zeros(size), np.zeros(hears.size), np.full(hears.size, first), []
    for k in range(NUM_STEPS):
        slopes = curvature * shares
        costs.append(float(slopes @ shares))
        if not costs[-1] < 1e9 * costs[0]:
            return False
        prices = momentum * prices + slopes
        up = weights[k % len(weights)]
        if loss > 0:
            up = up * np.repeat(random.random(hears.size // 2) >= loss, 2)
        # As `OneBitQuantizer`: the sign of a scale is the last sign that was sent. `held` is of the node that says it.
        told = (slopes + momentum * prices)[says] - held
        rounded = np.where(told < 0, -np.abs(scale), np.abs(scale))
        after = rounded * np.where((rounded < 0) == (scale < 0), factors[1], factors[0])
        held, scale = np.where(up > 0, held + rounded, held), np.where(up > 0, after, scale)
        shares = shares + step_size * np.bincount(hears, up * (held - held[other]), size)
    quarter = NUM_STEPS // 4
    return max(costs[-quarter:]) <= min(max(costs[quarter : 2 * quarter]), costs[0])
