"""Many methods on one problem, network and start, judged over rounds, bits and time by one optimum."""

import functools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._support import exact_grid
from .._support.checks import CojaxInputError, check_leaves, check_number, whole_number
from .._support.reprs import brief
from ..methods import Method
from ..networks.base import Network
from ..optimum import Reference
from ..problems.measures import disagreement, overload
from ..problems.problem import Decision, Problem, check_gradient, check_plain, check_start
from ..runs.labels import Labelled, dataset, frame
from ..runs.solutions import State
from ..runs.solve import solve
from . import Rival

if TYPE_CHECKING:
    import pandas
    import xarray

GAPS = (1e-2, 1e-6, 1e-10)
MOST_KEPT = 2**32  # bytes of the decisions of one rival


class Course(NamedTuple):
    """How one method fared, by row: row 0 is the start, row c the end of chunk c. NumPy arrays, without derivatives.

        courses = cojax.compare(problem, network, methods, start, optimum=optimum, num_steps=2000, every=10)
        course = courses["NIDS"]
        course.step[course.learn_gap <= 1e-6][0]  # when the gap was first a millionth of that at the start

    Gaps are relative to that of the start, so row 0 is 1 and they have no unit (to the optimal cost, where the start
    is the optimum of that half); they are measured on the problem that the methods solve, its penalty included.

    Fields:
        step: (c,), steps done: 0, every, 2 every, ...
        bits: (c,), told so far by one node to one neighbour.
        learn_gap: (c,), |cost of the mean params, with the best shares, - optimum|, relative.
        share_gap: (c,), |cost of the shares, with the best params, - optimum|, relative.
        disagreement: (c,), the largest distance of a params entry from its mean over nodes.
        imbalance: (c,), the largest |sum of cpu - budget| over all steps so far, in the unit of cpu.
        overload: (c,), the largest distance of a share from its bounds at that row, in the unit of cpu.
        seconds_per_step: compile time apart.
    """

    step: Int[np.ndarray, " c"]
    bits: Float[np.ndarray, " c"]
    learn_gap: Float[np.ndarray, " c"]
    share_gap: Float[np.ndarray, " c"]
    disagreement: Float[np.ndarray, " c"]
    imbalance: Float[np.ndarray, " c"]
    overload: Float[np.ndarray, " c"]
    seconds_per_step: float

    def __repr__(self) -> str:
        return brief(self)

    def to_pandas(self) -> "pandas.DataFrame":
        """The course as a table, a row a look, indexed by `step`; raises `CojaxInputError` where pandas is missing.

        `pandas.concat({name: course.to_pandas() for name, course in courses.items()}, names=["method"])` joins many.
        """
        return frame("Course.to_pandas", self._columns(), self.step, "step")

    def to_xarray(self) -> "xarray.Dataset":
        """The course as a dataset by `step`; raises `CojaxInputError` where xarray is missing."""
        named: Labelled = {name: (("step",), rows) for name, rows in self._columns().items()}
        named["seconds_per_step"] = (), np.asarray(self.seconds_per_step)
        return dataset("Course.to_xarray", named, {"step": self.step}, None)

    def _columns(self) -> dict[str, np.ndarray]:
        return {name: rows for name, rows in self._asdict().items() if name not in ("step", "seconds_per_step")}


def compare(
    problem: Problem,
    network: Network,
    methods: Mapping[str, Method | Rival],
    start: Decision,
    *,
    optimum: Reference,
    num_steps: int,
    every: int = 1,
    bits: float | None = None,
) -> dict[str, Course]:
    """Run every method from the same start over the same network, one compiled program each.

    Args:
        problem: what the methods minimise: its cost with its penalty.
        methods: by name, methods of cojax or `cojax.rivals`; all see the same graphs, and the same links fail.
        optimum: `cojax.reference(problem.softened(), ...)`: what the runs converge to.
        num_steps, every: as in `solve`.
        bits: a budget of messages, what one node may tell one neighbour; a course ends at the last look within it.
            Take num_steps so large that the method that tells least uses it up. None for no budget.

    Returns: a `Course` per method, in order. Raises `CojaxInputError` where there is no method, for bits < 0, and for
    more steps than their decisions have room.
    """
    if not methods:
        raise CojaxInputError("compare needs at least one method, got none.")
    check_plain("compare", problem)
    check_start("compare", problem, start)
    check_leaves("compare", network=network, methods=methods, optimum=optimum)
    if bits is not None:
        check_number("compare", "bits", bits, at_least=0.0)
    every = whole_number("compare", "every", every, at_least=1)
    if whole_number("compare", "num_steps", num_steps, at_least=0) % every:
        raise CojaxInputError(f"compare needs num_steps to be a multiple of every, got {num_steps} and {every}.")
    for name, method in methods.items():
        if isinstance(method, Rival):
            _check_room(name, method, start, num_steps)
    look = _Look(problem.softened(), optimum.x)
    courses = {}
    for name, method in methods.items():
        run = _rows_of_rival if isinstance(method, Rival) else _rows_of_method
        rows, seconds = run(problem, network, method, start, num_steps, every, look)
        if np.isnan(rows).any():  # of a run that diverged, or of one that never could begin
            check_gradient(look.soft.grad(start))
        courses[name] = _course(rows, seconds / max(num_steps, 1), bits, abs(float(optimum.cost)))
    return courses


def _check_room(name: str, method: Rival, start: Decision, num_steps: int) -> None:
    half = jax.tree.leaves(start.params if method.half == "learn" else start.cpu)
    size = num_steps * sum(np.size(leaf) * jnp.result_type(leaf).itemsize for leaf in half)
    if size > MOST_KEPT:
        raise CojaxInputError(
            f"compare would keep {size / 1e9:.3g} GB for {name}, a rival, which returns the decision of each of its "
            f"{num_steps} steps: take fewer, or leave it out."
        )


class _Look(NamedTuple):
    """What is judged of a decision."""

    soft: Problem
    best: Decision

    def __call__(self, problem: Problem, x: Decision) -> tuple[Array, ...]:
        mean = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.mean(0, keepdims=True), leaf.shape), x.params)
        learned, shared = Decision(mean, self.best.cpu), Decision(self.best.params, x.cpu)
        # Differences node by node: the costs of a half that is alike cancel exactly.
        floor = self.soft.costs(self.best)
        gaps = (jnp.abs((self.soft.costs(half) - floor).sum()) for half in (learned, shared))
        return *gaps, disagreement(x), overload(problem, x)


class _Rows(NamedTuple):
    """What is known of a run, by row; gaps are not relative yet."""

    step: Any
    bits: Any
    learn_gap: Any
    share_gap: Any
    disagreement: Any
    overload: Any
    imbalance: Any


def _rows_of_method(problem, network, method, start, num_steps, every, look) -> tuple[_Rows, float]:
    """Every row of a run of ours, each (c,), and its seconds."""

    def record(problem: Problem, x: Decision, state: State) -> _Rows:
        row = _Rows(state.step, state.wire.bits, *look(problem, x), imbalance=state.imbalance)
        return _Rows(*(jnp.asarray(entry, float) for entry in row))

    run = functools.partial(solve, num_steps=num_steps, every=every, record=record)
    jax.block_until_ready(run(problem, network, method, start))
    began = time.perf_counter()
    trace = jax.block_until_ready(run(problem, network, method, start).trace)
    seconds = time.perf_counter() - began
    first = _Rows(0.0, 0.0, *look(problem, start), imbalance=0.0)
    return _Rows(*(np.append(float(one), np.asarray(rest)) for one, rest in zip(first, trace, strict=True))), seconds


def _rows_of_rival(problem, network, rival, start, num_steps, every, look) -> tuple[_Rows, float]:
    """As `_rows_of_method`; the half that a rival does not decide stays at the start."""
    run = jax.jit(rival.run, static_argnums=3)
    jax.block_until_ready(run(problem, network, start, num_steps))
    began = time.perf_counter()
    decided = jax.block_until_ready(run(problem, network, start, num_steps))
    seconds = time.perf_counter() - began
    seen = decided[every - 1 :: every]

    def judged(half: Array) -> tuple:
        return look(problem, start._replace(**{"params" if rival.half == "learn" else "cpu": half}))

    steps = every * np.arange(len(seen) + 1.0)
    after = jax.jit(jax.vmap(judged))(seen)
    parts = [
        np.append(np.asarray(one), np.asarray(rest)) for one, rest in zip(look(problem, start), after, strict=True)
    ]
    off = np.zeros(num_steps + 1)
    if rival.half == "share":
        off[1:] = np.maximum.accumulate(
            np.asarray(jax.vmap(lambda cpu: exact_grid.imbalance(cpu, problem.budget))(decided))
        )
    return _Rows(steps, rival.bits * steps, *parts, imbalance=off[::every]), seconds


def _course(rows: _Rows, seconds_per_step: float, bits: float | None, size: float) -> Course:
    """`size` is that of the optimal cost, beside which gaps are told where the start has none."""
    kept = _Rows(*(row if bits is None else row[rows.bits <= bits] for row in rows))

    def relative(gap: np.ndarray, first: float) -> np.ndarray:
        return gap / (first if first > 0 else size if size > 0 else 1.0)

    return Course(
        step=kept.step.astype(int),
        bits=kept.bits,
        learn_gap=relative(kept.learn_gap, rows.learn_gap[0]),
        share_gap=relative(kept.share_gap, rows.share_gap[0]),
        disagreement=kept.disagreement,
        imbalance=kept.imbalance,
        overload=kept.overload,
        seconds_per_step=seconds_per_step,
    )


def first_row_at(gap: Float[np.ndarray, " c"], target: float) -> int | None:
    """The first row from which a gap stays at or below `target`; None where it does not."""
    above = np.flatnonzero(~(gap <= target))
    row = 0 if above.size == 0 else int(above[-1]) + 1
    return row if row < gap.size else None


def table(courses: Mapping[str, Course], half: str, budget: float) -> list[list[str]]:
    """The courses as rows of text: steps, kilobits and seconds to each gap, what is left at the end, what was kept.

    Args:
        half: "learn" or "share", the gap to judge by.
        budget: the CPU total; all-time feasible (total) means never off by more than 1e-12 of it; 0 is exact, and of a
            budget of 0 nothing else will do. It says nothing of bounds: the column before it tells how far the last
            share is beyond one.

    Seconds are the measured time of a step times the steps, compiling apart; on a machine that does other things too
    they say little.
    """
    names = [f"{gap:.0e}".replace("e-0", "e-") for gap in GAPS]
    rows = [
        ["method", *(f"{what} to {name}" for what in ("steps", "kbit", "s") for name in names)]
        + ["final gap", "models apart", "total off", "beyond bounds (end)", "all-time feasible (total)", "us/step"]
    ]
    for name, course in courses.items():
        gap = getattr(course, f"{half}_gap")
        at = [first_row_at(gap, target) for target in GAPS]
        off = float(course.imbalance.max())
        rows.append(
            [name]
            + ["-" if row is None else f"{course.step[row]}" for row in at]
            + ["-" if row is None else f"{course.bits[row] / 1000:.3g}" for row in at]
            + ["-" if row is None else f"{course.step[row] * course.seconds_per_step:.2g}" for row in at]
            + [f"{gap[-1]:.1e}", f"{course.disagreement[-1]:.1e}", f"{off:.1e}", f"{course.overload[-1]:.1e}"]
            + ["yes" if off <= 1e-12 * abs(budget) else "no", f"{1e6 * course.seconds_per_step:.1f}"]
        )
    return rows


def text_table(rows: list[list[str]]) -> str:
    """Rows of text as a table, the first column left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
