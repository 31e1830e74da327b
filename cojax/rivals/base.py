"""What a rival is: a loop of its own, with its numbers chosen."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from .. import theory
from .._support.checks import CojaxInputError
from ..networks.base import Network
from ..problems.problem import Decision, Problem


class Rival(NamedTuple):
    """One method that is a loop of its own, ready for `cojax.compare` and `cojax.trials`.

        Rival("share", jax.tree_util.Partial(my_loop, step_size=0.1), bits=64.0)

    Fields:
        half: what it decides; the other half stays where it starts.
        run: `run(problem, network, start, num_steps)`, the params or shares after every step, steps first. A
            `jax.tree_util.Partial` of a function that is defined once, and of its numbers, is compiled once for all
            numbers; any other function is compiled anew for every instance.
        bits: told by one node to one neighbour in a step.
    """

    half: Literal["learn", "share"]
    run: Callable[[Problem, Network, Decision, int], Array]
    bits: float


def plain_bits(message: Array) -> float:
    """The bits of one node's part of a message in full precision."""
    return float(message[0].size * message.dtype.itemsize * 8)


def capacities(owner: str, problem: Problem) -> Float[np.ndarray, " n"]:
    """The upper bounds, where there are any."""
    upper = np.asarray(problem.upper, np.float64)
    if not np.isfinite(upper).all() or not (upper > 0).all():
        raise CojaxInputError(f"{owner} fills every node to one part of its capacity, and needs upper bounds > 0.")
    return upper


def share_curvatures(problem: Problem, start: Decision) -> tuple[float, float]:
    """The least second derivative of a node's cost of its share, held away from 0, and the largest."""
    found = theory.share_curvature(problem, start)
    high = float(found.high.max())
    return max(float(found.low.min()), 1e-3 * high), high
