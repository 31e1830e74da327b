"""Many methods on one problem, network and start, judged over rounds and over bits by one optimum."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ._checks import CojaxInputError
from .layouts import Network
from .loop import State, solve
from .methods import Method
from .optimum import Reference
from .problems import Decision, Problem
from .records import disagreement, overload


class Course(NamedTuple):
    """How one method fared; row 0 is the start, row c the end of chunk c."""

    step: Int[np.ndarray, " c"]
    bits: Float[np.ndarray, " c"]  # told so far by one node to one neighbour
    gap: Float[np.ndarray, " c"]  # |cost at the mean params - optimum| / (that at the start)
    disagreement: Float[np.ndarray, " c"]  # largest distance of a params entry from its mean over nodes
    imbalance: Float[np.ndarray, " c"]  # largest |sum of cpu - budget| over all steps so far
    overload: Float[np.ndarray, " c"]  # largest distance of a share from its bounds
    seconds_per_step: float  # compile apart

    def reached(self, gap: float) -> int | None:
        """The first row after which the gap stays at or below `gap`; None where it does not."""
        above = np.flatnonzero(~(self.gap <= gap))
        row = 0 if above.size == 0 else int(above[-1]) + 1
        return row if row < self.gap.size else None


def compare(
    problem: Problem,
    network: Network,
    methods: Mapping[str, Method],
    start: Decision,
    *,
    optimum: Reference,
    num_steps: int,
    every: int = 1,
) -> dict[str, Course]:
    """Run every method from the same start over the same network, one compiled program each.

    Args:
        problem: what the methods minimise: its cost with its penalty.
        methods: by name; all see the same links, and the same links fail.
        optimum: of `problem.softened()`, from `cojax.reference`: what the runs converge to.
        num_steps, every: as in `solve`.

    Returns: a `Course` per method, in order. Raises `CojaxInputError` where there is no method.
    """
    if not methods:
        raise CojaxInputError("compare needs at least one method, got none.")
    soft = problem.softened()
    best = jnp.asarray(optimum.cost)

    def gap_at(x: Decision) -> jax.Array:
        mean = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.mean(0, keepdims=True), leaf.shape), x.params)
        return jnp.abs(soft.costs(x._replace(params=mean)).sum() - best)

    def look(problem: Problem, x: Decision, state: State) -> tuple:
        return state.step, state.wire.bits, gap_at(x), disagreement(x), state.imbalance, overload(problem, x)

    first = gap_at(start), disagreement(start), overload(problem, start)
    courses = {}
    for name, method in methods.items():
        run = jax.block_until_ready(
            solve(problem, network, method, start, num_steps=num_steps, every=every, record=look)
        )
        began = time.perf_counter()
        jax.block_until_ready(solve(problem, network, method, start, num_steps=num_steps, every=every, record=look))
        seconds = (time.perf_counter() - began) / max(num_steps, 1)
        step, bits, gap, apart, imbalance, over = (np.asarray(column) for column in run.trace)
        courses[name] = Course(
            step=np.append(0, step),
            bits=np.append(0.0, bits),
            gap=np.append(first[0], gap) / max(float(first[0]), np.finfo(float).tiny),
            disagreement=np.append(first[1], apart),
            imbalance=np.append(0.0, imbalance),
            overload=np.append(first[2], over),
            seconds_per_step=seconds,
        )
    return courses


def table(courses: Mapping[str, Course], budget: float, gaps: tuple[float, ...] = (1e-2, 1e-6, 1e-10)) -> str:
    """The courses as a text table: steps and kilobits to each gap, what is left at the end, and what was kept.

    All-time feasible means that the largest imbalance over all steps is below 1e-9 of the budget; 0 is exact.
    """
    header = ["method", *(f"steps to {gap:.0e}" for gap in gaps), *(f"kbit to {gap:.0e}" for gap in gaps)]
    header += ["final gap", "models apart", "largest imbalance", "beyond bounds", "all-time feasible", "us/step"]
    rows = [header]
    for name, course in courses.items():
        at = [course.reached(gap) for gap in gaps]
        steps = ["-" if row is None else f"{course.step[row]}" for row in at]
        bits = ["-" if row is None else f"{course.bits[row] / 1000:.1f}" for row in at]
        imbalance = float(course.imbalance.max())
        kept = "yes" if imbalance <= 1e-9 * max(abs(budget), 1.0) else "no"
        last = [f"{column[-1]:.1e}" for column in (course.gap, course.disagreement)]
        rows.append(
            [name, *steps, *bits, *last, f"{imbalance:.1e}", f"{course.overload[-1]:.1e}", kept]
            + [f"{1e6 * course.seconds_per_step:.1f}"]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
