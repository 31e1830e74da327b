"""A contest over many instances of one plan: another graph, split of the data and draw of the links for each."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ... import plots
from ..._support.checks import CojaxInputError, whole_number
from ...rivals.compare import GAPS
from ...rivals.trials import Over, Trials, trials
from ...runs.fingerprints import differences, fingerprint
from ..cases.cases import Case, build_case
from ..plans.rosters import known_names, title
from .contest import clocked, contender, fields_of, optimum_of
from .sheets import write_csv, write_picture

GAP = 1e-6  # of the profiles


class Ensemble(NamedTuple):
    """What every method came to, by the half that it decides, "learn" and "share"."""

    trials: dict[str, Trials]
    notes: list[str]  # what is left out, and what runs with cautious numbers


def ensemble(case: Case, names: Sequence[str], num_trials: int, folder: Path) -> Ensemble:
    """Every named method, or all that can run on the first instance, on instances of seed, seed + 1, ... of the plan.

    Trials that lie in `folder` already are read, and the others put there. Raises `CojaxInputError` as `contest`, where
    nothing in the plan is drawn, and where the folder holds trials of another plan.
    """
    whole_number("cojax compare", "--trials", num_trials, at_least=1)
    plan = case.plan

    def built(seed: int) -> Case:
        return case if seed == 0 else build_case(msgspec.structs.replace(plan, seed=plan.seed + seed))

    def instance(seed: int) -> tuple:
        one = built(seed)
        return one.running, clocked(one), one.start, optimum_of(one)

    _check_drawn(case, built(1))
    fields, notes = fields_of(case, names)
    meant = {title(name): name for name in known_names()}
    found = {}
    for half, field in fields.items():
        methods = {called: functools.partial(contender, meant[called]) for called in field}
        settings = {"num_steps": plan.steps, "every": plan.every, "folder": folder / f"{half}-trials"}
        found[half] = trials(instance, methods, num_trials=num_trials, **settings)
    return Ensemble(found, notes)


def _check_drawn(*cases: Case) -> None:
    """Refuse a plan of which all instances would be one."""
    one, other = (fingerprint(problem=case.running, network=case.wiring.network) for case in cases)
    if not differences(one, other):
        raise CojaxInputError(
            "cojax compare draws graph, split of the data and failing links anew for --trials, and in this plan $.seed "
            "draws none of them: set $.graph.loss or name a random graph, or leave --trials out."
        )


def text(found: Ensemble) -> str:
    """For each half its tables."""
    titles = {"learn": "Learners", "share": "Allocators"}
    return "\n\n".join(f"{titles[half]}\n\n{each}" for half, each in found.trials.items())


def write_files(folder: Path, found: Ensemble) -> None:
    """By half a row a trial and method, and pictures of gaps and profiles over rounds, bits and a clock's seconds."""
    for half, each in found.trials.items():
        overs: list[Over] = ["steps", "bits", *(["seconds"] if each.seconds is not None else [])]
        taken = [each.taken(over, gap) for over in overs for gap in GAPS]
        header = ["method", "trial", *(f"{over} to {gap:g}" for over in overs for gap in GAPS)]
        rows = [
            [
                name,
                int(seed),
                *("" if np.isinf(amounts[row, place]) else float(amounts[row, place]) for amounts in taken),
            ]
            for place, name in enumerate(each.methods)
            for row, seed in enumerate(each.seeds)
        ]
        write_csv(folder / f"{half}-trials.csv", header, rows)
        for over in overs:
            write_picture(folder / f"{half}-trials-over-{over}.png", plots.trials(each, over=over))
            write_picture(folder / f"{half}-profile-over-{over}.png", plots.profile(each.profile(over, GAP)))
