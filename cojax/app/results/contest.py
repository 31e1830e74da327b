"""A contest runs every method, its numbers computed, on the problem and the network of one plan."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ... import plots, rivals
from ..._support.checks import CojaxInputError, check_number, whole_number
from ...methods import CoOpt, Hold, Method
from ...networks.base import Network
from ...networks.faults.timed import Timed
from ...optimum import Reference, reference
from ...optimum.allocations import allocate
from ...problems.problem import Decision, Problem
from ...rivals import compare as comparisons
from ...rivals.compare import Course
from ...runs.files import replace_text
from ...tuning.tuned import CAUTIOUS_MOMENTUM, tuned
from ..cases.cases import Case
from ..plans.rosters import ALLOCATORS, LEARNERS, known_names, match_names, title
from .runs import as_run, shares_only
from .sheets import write_picture
from .training import clock_of

Field = dict[str, Method | rivals.Rival]
ALONG = {"steps": "step", "bits": "bits", "seconds": "seconds"}  # what a picture runs over, and how its file calls that


class Contest(NamedTuple):
    """What every method came to, by the half that it decides, "learn" and "share"."""

    courses: dict[str, dict[str, Course]]
    fields: dict[str, Field]  # what ran, with its numbers
    notes: list[str]  # what is left out, and what runs with cautious numbers


def contest(case: Case, names: Sequence[str], kilobits: float | None, num_seeds: int = 0) -> Contest:
    """Every named method, or all.

    Each half runs alone, which changes nothing: the cost of a plan is a plain sum. Raises `CojaxInputError` for a name
    that is no method, and for a named method that cannot run here; of all methods those are left out with a note.
    """
    if whole_number("cojax compare", "--seeds", num_seeds, at_least=0) and not case.plan.graph.loss:
        raise CojaxInputError(
            "cojax compare draws the links that fail anew for --seeds, and in this plan none does: set $.graph.loss, "
            "or leave --seeds out."
        )
    if kilobits is not None:
        check_number("cojax compare", "--kilobits", kilobits, at_least=0.0)
    network = clocked(case)  # what a clock lacks is said before any run
    fields, notes = fields_of(case, names)
    bits = None if kilobits is None else 1000.0 * kilobits
    settings = {"optimum": optimum_of(case), "num_steps": case.plan.steps, "every": case.plan.every, "bits": bits}
    settings |= {"seeds": range(num_seeds)} if num_seeds else {}
    problem = case.running
    courses = {
        half: comparisons.compare(problem, network, field, case.start, **settings) for half, field in fields.items()
    }
    return Contest(courses, fields, notes)


def optimum_of(case: Case) -> Reference:
    """That of what the runs minimise."""
    return reference(as_run(case), None if case.dataset is None else jnp.asarray(case.start.params)[0])


def fields_of(case: Case, names: Sequence[str]) -> tuple[dict[str, Field], list[str]]:
    """By half every named method, or all, with its numbers; and notes on what is left out and what is cautious."""
    fields: dict[str, Field] = {"learn": {}, "share": {}}
    reasons: dict[str, list[str]] = {}
    for name in match_names(names) if names else known_names():
        half = "learn" if name in LEARNERS or name in rivals.LEARNERS else "share"
        if half == "learn" and case.dataset is None:
            if names:
                raise CojaxInputError(
                    f"{title(name)} learns a model, and the plan has none to learn: add $.data and $.model, or name "
                    "allocators only."
                )
            continue
        try:
            fields[half][title(name)] = contender(name, case.running, case.wiring.network, case.start)
        except CojaxInputError as error:
            if names:
                raise
            reasons.setdefault(str(error).removeprefix(f"{name} "), []).append(title(name))
    fields = {half: field for half, field in fields.items() if field}
    return fields, _left_out(reasons) + _cautions(fields.get("share", {}))


def clocked(case: Case) -> Network:
    """The network of a plan; with its clock, where it has one, and the shares to use, as `cojax plan` counts."""
    network = case.wiring.network
    if case.plan.clock is None:
        return network
    return Timed(network, clock_of(case, np.asarray(allocate(shares_only(case)).cpu)))


def _left_out(reasons: dict[str, list[str]]) -> list[str]:
    return [f"without {', '.join(names)}: each {reason}" for reason, names in reasons.items()]


def _cautions(field: Field) -> list[str]:
    """Why methods with momentum are no faster than the one without, where they are not."""
    allocators = {name: method.halves[1] for name, method in field.items() if isinstance(method, Method)}
    momenta = {name: vars(allocator).get("momentum") for name, allocator in allocators.items()}
    slowed = [name for name, momentum in momenta.items() if momentum == CAUTIOUS_MOMENTUM]
    if not slowed:
        return []
    return [
        f"{', '.join(slowed)} ran with momentum {CAUTIOUS_MOMENTUM:g} and a step shorter by what that adds, so about "
        "as fast as Laplacian: where graphs change, a link rounds, or a cost does not curve, theory knows no better "
        "momentum. cojax.default_allocator searches one."
    ]


def contender(name: str, problem: Problem, network: Network, start: Decision) -> Method | rivals.Rival:
    """The method of that name with its numbers."""
    if name in LEARNERS:
        return CoOpt(learn=tuned(LEARNERS[name], problem, network, start))
    if name in ALLOCATORS:
        return CoOpt(allocate=tuned(ALLOCATORS[name], problem, network, start))
    return rivals.rival(name, problem, network, start)


def text(found: Contest, budget: float) -> str:
    """For each half a table of how fast its methods are, one of what they keep and leave, and their numbers."""
    titles = {"learn": "Learners, by the gap of the mean model", "share": "Allocators, by the gap of the shares"}
    parts = []
    for half, courses in found.courses.items():
        rows = comparisons.table(courses, half, budget)
        fast = 1 + 3 * len(comparisons.GAPS)
        kept = [row[:1] + row[fast:] for row in rows]
        looks = next(iter(courses.values())).step
        title = titles[half] if looks.size < 2 else f"{titles[half]}, looked at every {looks[1] - looks[0]:g} steps"
        seeds = next(iter(courses.values())).seeds
        title += "" if seeds is None else f", medians over {seeds.size} draws of the links that fail"
        title += ", seconds by the clock of the plan" if _are_timed(courses) else ""
        parts += [f"{title}\n{comparisons.text_table([row[:fast] for row in rows])}", comparisons.text_table(kept)]
        parts.append("\n".join(["Ran with, computed from the theory:", *_numbers(found.fields[half])]))
    return "\n\n".join(parts)


def _are_timed(courses: dict[str, Course]) -> bool:
    return next(iter(courses.values())).seconds is not None


def _numbers(field: Field) -> list[str]:
    """Every method of cojax with its numbers; a rival keeps its own to itself."""
    own = {name: method for name, method in field.items() if isinstance(method, CoOpt)}
    said = {
        name: str(method.allocate if isinstance(method.learn, Hold) else method.learn) for name, method in own.items()
    }
    return [f"  {text}" if text.startswith(f"{name}(") else f"  {name}: {text}" for name, text in said.items()]


def write_files(folder: Path, courses: dict[str, dict[str, Course]], budget: float) -> None:
    """learn.csv and share.csv with the tables, and pictures of each half over rounds, bits and a clock's seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        f"{half}-over-{name}.png": (half, over)
        for half, field in courses.items()
        for over, name in ALONG.items()
        if over != "seconds" or _are_timed(field)
    }
    written = {f"{half}.csv" for half in courses} | set(pictures)
    for half in ("learn", "share"):  # of an earlier contest: they are no part of this one
        for name in {f"{half}.csv", *(f"{half}-over-{name}.png" for name in ALONG.values())} - written:
            (folder / name).unlink(missing_ok=True)
    for half, field in courses.items():
        sheet = io.StringIO(newline="")
        csv.writer(sheet).writerows(comparisons.table(field, half, budget))
        replace_text(folder / f"{half}.csv", sheet.getvalue())
    for name, (half, over) in pictures.items():
        write_picture(folder / name, plots.contest(courses[half], half, over=over))
