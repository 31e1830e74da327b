"""Many methods on one problem, network and start, judged over rounds and over bits by one optimum."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._checks import CojaxInputError
from .layouts import Network
from .loop import State, solve
from .methods import Method
from .optimum import Reference
from .problems import Decision, Problem
from .records import disagreement, overload

GAPS = (1e-2, 1e-6, 1e-10)


class Course(NamedTuple):
    """How one method fared; row 0 is the start, row c the end of chunk c. Gaps are relative to those of the start."""

    step: Int[np.ndarray, " c"]
    bits: Float[np.ndarray, " c"]  # told so far by one node to one neighbour
    learn_gap: Float[np.ndarray, " c"]  # |cost of the mean params, with the best shares, - optimum|
    share_gap: Float[np.ndarray, " c"]  # |cost of the shares, with the best params, - optimum|
    disagreement: Float[np.ndarray, " c"]  # largest distance of a params entry from its mean over nodes
    imbalance: Float[np.ndarray, " c"]  # largest |sum of cpu - budget| over all steps so far
    overload: Float[np.ndarray, " c"]  # largest distance of a share from its bounds
    seconds_per_step: float  # compile time apart


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
        methods: by name; all see the same graphs, and the same links fail.
        optimum: `cojax.reference(problem.softened(), ...)`: what the runs converge to.
        num_steps, every: as in `solve`.

    Returns: a `Course` per method, in order. Raises `CojaxInputError` where there is no method.
    """
    if not methods:
        raise CojaxInputError("compare needs at least one method, got none.")
    soft, best = problem.softened(), optimum.x

    def gaps(x: Decision) -> tuple[Array, Array]:
        mean = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.mean(0, keepdims=True), leaf.shape), x.params)
        learned, shared = Decision(mean, best.cpu), Decision(best.params, x.cpu)
        # Differences node by node: the costs of a half that is alike cancel exactly.
        floor = soft.costs(best)
        return jnp.abs((soft.costs(learned) - floor).sum()), jnp.abs((soft.costs(shared) - floor).sum())

    def look(problem: Problem, x: Decision, state: State) -> tuple:
        row = state.step, state.wire.bits, *gaps(x), disagreement(x), state.imbalance, overload(problem, x)
        return tuple(jnp.asarray(entry, float) for entry in row)

    zero = jnp.zeros(())
    first = np.asarray([zero, zero, *gaps(start), disagreement(start), zero, overload(problem, start)])
    courses = {}
    for name, method in methods.items():
        jax.block_until_ready(solve(problem, network, method, start, num_steps=num_steps, every=every, record=look))
        began = time.perf_counter()
        run = solve(problem, network, method, start, num_steps=num_steps, every=every, record=look)
        rows = np.column_stack([first, np.asarray(jax.block_until_ready(run.trace))])
        seconds = (time.perf_counter() - began) / max(num_steps, 1)
        scale = np.where(first[2:4] > 0, first[2:4], 1.0)
        courses[name] = Course(
            rows[0].astype(int), rows[1], rows[2] / scale[0], rows[3] / scale[1], rows[4], rows[5], rows[6], seconds
        )
    return courses


def reached(gap: Float[np.ndarray, " c"], target: float) -> int | None:
    """The first row from which a gap stays at or below `target`; None where it does not."""
    above = np.flatnonzero(~(gap <= target))
    row = 0 if above.size == 0 else int(above[-1]) + 1
    return row if row < gap.size else None


def table(courses: Mapping[str, Course], half: str, budget: float) -> list[list[str]]:
    """The courses as rows of text: steps and kilobits to each gap, what is left at the end, and what was kept.

    Args:
        half: "learn" or "share", the gap to judge by.
        budget: the CPU total; all-time feasible means never off by more than 1e-12 of it; 0 is exact.
    """
    rows = [
        ["method", *(f"steps to {gap:.0e}" for gap in GAPS), *(f"kbit to {gap:.0e}" for gap in GAPS)]
        + ["final gap", "models apart", "total off", "beyond bounds", "all-time feasible", "us/step"]
    ]
    for name, course in courses.items():
        gap = getattr(course, f"{half}_gap")
        at = [reached(gap, target) for target in GAPS]
        off = float(course.imbalance.max())
        rows.append(
            [name]
            + ["-" if row is None else f"{course.step[row]}" for row in at]
            + ["-" if row is None else f"{course.bits[row] / 1000:.1f}" for row in at]
            + [f"{gap[-1]:.1e}", f"{course.disagreement[-1]:.1e}", f"{off:.1e}", f"{course.overload[-1]:.1e}"]
            + ["yes" if off <= 1e-12 * max(abs(budget), 1.0) else "no", f"{1e6 * course.seconds_per_step:.1f}"]
        )
    return rows


def aligned(rows: list[list[str]]) -> str:
    """Rows of text as a table, the first column left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
