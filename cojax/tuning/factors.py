"""One factor for every number of a method, the same on instances whose own numbers differ, by the gradient of runs."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError
from .ensembles import Instance, RunPlan, course_of
from .knobs import PARTS, STEPS
from .known import Known
from .objectives import Objective
from .paths import Pair, put, value_at
from .searches import clipped_mean

INFLATION = 1.1  # of step sizes and mixing while factors are looked for: what is found is that far from a cliff
LENGTH, LONGEST = 0.2, 0.5  # by which a logarithm of a factor moves at first, and at most
GROW, SHRINK = 1.5, 0.5
CLIP = 1.0  # of the slope of one instance


class Factored(NamedTuple):
    """What a program of slopes is compiled for."""

    plan: RunPlan
    objective: Objective
    what: tuple[str, ...]


def has_number(path: str, pair: Pair) -> bool:
    """Whether there is a float at `path` in a method or in the link of its network."""
    try:
        value_at(path, pair)
    except CojaxInputError:
        return False
    return True


def scaled(pair: Pair, what: Sequence[str], logs: Sequence[Array | float], inflation: float = 1.0) -> Pair:
    """A method and a network with the numbers named in `what` times exp(logs), of `PARTS` their odds."""
    for path, log in zip(what, logs, strict=True):
        value, factor = jnp.asarray(value_at(path, pair), float), jnp.exp(jnp.asarray(log, float))
        name = path.split(".")[-1]
        if name in PARTS:  # odds v / (1 - v) are multiplied: any factor leaves the number in (0, 1)
            moved = value * factor / (1 - value + value * factor)
        else:
            moved = value * factor * (inflation if name in STEPS else 1.0)
        pair = put(path, moved, pair)
    return pair


def best_factors(
    pairs: Sequence[Pair],
    instances: Sequence[Instance],
    first: Mapping[str, float],
    *,
    objective: Objective,
    plan: RunPlan,
    num_updates: int,
) -> dict[str, float]:
    """By name the factor with which the mean loss over the instances was least, of `num_updates` that Rprop looked at.

    Every logarithm has a length of its own, that grows while its slope keeps its sign and shrinks when that turns.
    Where the loss is no smaller than the least one, all lengths are halved, and the next look is from there again.

    Every instance has a method and a network of its own; what differs in numbers alone is compiled once. Derivatives
    are carried along with the run: of few numbers that is faster than the way back, and needs no memory of states.

    Args: first, by name the factors to begin with.
    Source: Riedmiller, Braun, ICNN 1993, doi 10.1109/ICNN.1993.298623.
    """
    frame = Known(Factored(plan, objective, tuple(first)))
    logs = np.log(np.asarray(list(first.values()), float))
    good, least = logs, np.inf
    length, sign = np.full(logs.size, LENGTH), np.zeros(logs.size)
    for _ in range(num_updates):
        free = [jnp.asarray(log, float) for log in logs]
        losses, slopes = zip(*(_slope(frame, free, *each) for each in zip(pairs, instances, strict=True)), strict=True)
        losses = jnp.stack(losses)
        mean, fine = clipped_mean(losses, [jnp.stack(each) for each in zip(*slopes, strict=True)], CLIP)
        loss = float(jnp.mean(losses))
        if fine and loss < least:
            turned = sign * np.sign(np.asarray(mean))
            length = np.clip(length * np.where(turned > 0, GROW, np.where(turned < 0, SHRINK, 1.0)), 0.0, LONGEST)
            good, least, sign = logs, loss, np.sign(np.asarray(mean))
        else:
            length = SHRINK * length
        logs = good - length * sign
    return {path: float(np.exp(log)) for path, log in zip(first, good, strict=True)}


@functools.partial(jax.jit, static_argnums=0)
def _slope(frame: Known, logs: list[Array], pair: Pair, instance: Instance) -> tuple[Float[Array, ""], list[Array]]:
    def loss(logs: list[Array]) -> tuple[Array, Array]:
        method, network = scaled(pair, frame.tree.what, logs, INFLATION)
        value = frame.tree.objective.loss(course_of(frame.tree.plan, network, method, instance))
        return value, value

    slopes, value = jax.jacfwd(loss, has_aux=True)(logs)
    return value, slopes
