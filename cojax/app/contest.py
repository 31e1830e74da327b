"""A contest runs every method, its numbers computed, on the problem and the network of one plan."""

import csv
from pathlib import Path

import jax.numpy as jnp

from .. import comparisons, methods, plots
from .._checks import CojaxInputError
from ..comparisons import Course
from ..defaults import tuned
from ..methods import CoOpt
from ..optimum import reference
from .cases import Case
from .runs import as_run

LEARNERS = ["DIGing", "DGD", "EXTRA", "NIDS", "ExactDiffusion", "ATCTracking", "Choco", "LEAD", "TrackingMomentum"]
ALLOCATORS = ["Laplacian", "HeavyBall", "Nesterov", "MomentumFlow", "FiniteTime", "FixedTime", "Saturated", "SingleBit"]


def contest(case: Case, names: list[str]) -> dict[str, dict[str, Course]]:
    """Every named method, or all, by the half that it decides: "learn" and "share".

    Learners run beside the allocator of the plan, allocators beside its learner. Raises `CojaxInputError` for a name
    that is no method.
    """
    unknown = sorted(set(names) - {*LEARNERS, *ALLOCATORS})
    if unknown:
        raise CojaxInputError(f"--methods knows {', '.join(LEARNERS + ALLOCATORS)}, not {', '.join(unknown)}.")
    problem, network, start = case.problem, case.wiring.network, case.start
    pair = case.method
    assert isinstance(pair, CoOpt)

    def built(name: str):
        return tuned(getattr(methods, name), problem, network, start)

    wanted = set(names) or {*LEARNERS, *ALLOCATORS}
    learners = [name for name in LEARNERS if name in wanted and case.dataset is not None]
    fields: dict[str, dict[str, CoOpt]] = {
        "learn": {name: CoOpt(built(name), pair.allocate) for name in learners},
        "share": {name: CoOpt(pair.learn, built(name)) for name in ALLOCATORS if name in wanted},
    }
    best = reference(as_run(case), None if case.dataset is None else jnp.asarray(start.params)[0])
    settings = {"optimum": best, "num_steps": case.plan.steps, "every": case.plan.every}
    return {
        half: comparisons.compare(problem, network, field, start, **settings) for half, field in fields.items() if field
    }


def text(courses: dict[str, dict[str, Course]], budget: float) -> str:
    """A table for each half."""
    titles = {"learn": "Learners, by the gap of the mean model", "share": "Allocators, by the gap of the shares"}
    return "\n\n".join(
        f"{titles[half]}\n{comparisons.aligned(comparisons.table(field, half, budget))}"
        for half, field in courses.items()
    )


def write_files(folder: Path, courses: dict[str, dict[str, Course]], budget: float) -> None:
    """learn.csv and share.csv with the tables, and a picture of each half over rounds and over bits."""
    folder.mkdir(parents=True, exist_ok=True)
    for half, field in courses.items():
        with (folder / f"{half}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(comparisons.table(field, half, budget))
    for half, field in courses.items():
        gaps = {name: getattr(course, f"{half}_gap") for name, course in field.items()}
        for over, unit, xlabel in (("step", 1, "steps"), ("bits", 1000, "kilobits told to each neighbour")):
            along = {name: getattr(course, over) / unit for name, course in field.items()}
            ax = plots.contest(along, gaps, xlabel=xlabel)
            ax.figure.savefig(folder / f"{half}-over-{over}.png", dpi=300)
