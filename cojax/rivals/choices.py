"""Which of many methods, links and numbers to take: all are tried a little, and the better ones longer."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._support.checks import CojaxInputError, as_path, check_number, whole_number
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from ..tuning.ensembles import Instance, RunPlan, distances, optimum_of
from ..tuning.factors import best_factors, has_number, scaled
from ..tuning.objectives import Area, Seconds
from . import Rival
from .compare import Measure, text_table
from .trials import DIVERGED, Over, Paired, Refused, Trials, instance_of, made_of, named, trials

MISSED = 10.0  # times the most that any run of the trial took: what not getting there counts as, and up to twice that
MOST_DECADES = 10.0  # above the gap at the end, at which it is twice that
TUNED = "{}, tuned"  # the name of a candidate whose numbers were tuned


class Choice(NamedTuple):
    """What `choose` returns.

        best = cojax.choose(case, candidates, default="default", num_trials=16, num_steps=500, every=5)
        print(best)                                                   # every candidate, and how far it came
        network, method = best.candidate(problem, network, start)     # as you wrote it

    Fields:
        name: of the candidate to take; the default, where nothing was better on the held-out trials.
        candidate: what was given under that name; of "NAME, tuned" a function of (problem, network, start) that makes
            of any instance what NAME makes of it, with the numbers named in `tuned` times their factors.
        factors: by name, what a candidate took beside the default, or what gap it had left at the amount, geometric
            mean over the trials that it was in.
        num_trials: by name, how many trials it was in; what was tuned with the last factors that it got.
        tuned: by name the factors that gradients found, by the name of the number; of momentum, blend, decay, keep and
            shrink that of the odds v / (1 - v).
        dropped: by name why a candidate was taken out.
        held_out: `Trials` that had no part in the choice, of the best candidate and the default.
        paired: the best candidate beside the default on them; None where that is the default.
        num_runs: runs in all; a gradient of k numbers, carried along with its run, counts as 1 + k of them.
        num_all: those that every candidate given on every trial would have taken.
    """

    name: str
    candidate: Any
    factors: dict[str, float]
    num_trials: dict[str, int]
    tuned: dict[str, dict[str, float]]
    dropped: dict[str, str]
    held_out: Trials
    paired: Paired | None
    num_runs: int
    num_all: int

    def __repr__(self) -> str:
        rows = [["candidate", "beside the default", "trials"]]
        order = sorted(self.factors, key=lambda name: (-self.num_trials[name], self.factors[name]))
        rows += [[name, f"{self.factors[name]:.3g}", str(self.num_trials[name])] for name in order]
        runs = f"{self.num_runs} runs of the {self.num_all} that all on all would take"
        said = "on held-out trials nothing was better than the default"
        if self.paired is not None:
            said = f"on {self.paired.num_trials} held-out trials: {self.paired}"
        tuned = [
            f"{name}: {', '.join(f'{path} times {factor:.3g}' for path, factor in found.items())}"
            for name, found in self.tuned.items()
        ]
        dropped = [f"{name} was dropped: {reason}" for name, reason in self.dropped.items()]
        return "\n".join([f"Take {self.name!r}; {said}", text_table(rows), *tuned, *dropped, runs])


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A candidate whose numbers are multiplied by factors, on whatever instance."""

    candidate: Any
    factors: dict[str, float]

    def __call__(self, problem: Problem, network: Network, start: Decision) -> tuple[Network, Any]:
        _, (linked, method) = made_of(self.candidate, problem, network, start)
        method, linked = scaled((method, linked), list(self.factors), [*map(math.log, self.factors.values())])
        return linked, method


def choose(
    case: Callable[[int], tuple],
    candidates: Mapping[Any, Any],
    *,
    default: Any,
    num_trials: int,
    num_steps: int,
    every: int = 1,
    over: Over = "bits",
    gap: float = 1e-6,
    amount: float | int | None = None,
    num_held_out: int | None = None,
    what: Sequence[str] = (),
    num_updates: int = 4,
    measure: Measure | None = None,
    folder: str | Path | None = None,
) -> Choice:
    """The candidate that takes least to a gap, or comes farthest with an amount, by successive halving and gradients.

        def learner(kind, bits):                          # a candidate: of an instance to a network and a method
            def made(problem, network, start):
                network = network.over(dataclasses.replace(network.bare(), link=link_of(bits)))
                return network, cojax.CoOpt(learn=cojax.tuned(kind, problem, network, start))
            return made

        candidates = {f"{kind.__name__}, {bits} bits": learner(kind, bits) for kind in kinds for bits in (2, 4, 8)}
        best = cojax.choose(case, candidates | {"default": cojax.default}, default="default", num_trials=16, ...)

    All candidates are run on a few instances; the better half of those that are not the default goes on, to twice as
    many new ones, until one is left beside the default, which always goes on. So of c candidates and t trials about 2 t
    log2(c) runs are made, not t c. What counts is the geometric mean of steps, bits or seconds; a run that does not get
    there counts as ten times the most that any run of that trial took in all, and up to twenty times where it ends far
    from the gap: to tell little is no way to win. The last two meet on instances of their own, and the default is
    returned where it takes no more there. With `amount=2000.0` what counts is how small the gap is once 2000 bits (or
    steps, or seconds) are spent: who is ahead then need not be the first at 1e-6. Models are judged by their mean over
    nodes, and `held_out.disagreement` tells how far copies are apart; `measure=cojax.own_models` judges by the models
    that nodes have. What happens after `num_steps` nobody sees: take as many as you will run. A candidate may be
    whatever `trials` takes: methods, rivals, links, edge weights, numbers of local steps, or what `tune` makes of an
    instance. One that raises `CojaxInputError` for an instance is taken out, with its reason; the default may not.

    With `what=["learn.step_size", "learn.gain"]` numbers are tuned inside of every round by the gradient of whole runs:
    one factor for each number of a candidate, the same on all instances, of which every one computes its own numbers.
    Rprop looks at `num_updates` of them on the instances of the round, on from where they stood;
    `cojax.tuning.Area` until the gap is differentiated (`Seconds` over seconds), of the squared distance from the
    optimum over all nodes, so that models have to agree too; steps and mixing are 10 % larger meanwhile, to stay off
    cliffs. The tuned version is one more candidate, "NAME, tuned"; the better of both on the same instances counts.

    Args:
        case, num_steps, every, folder: as of `trials`; seeds 0, 1, ... are used once each. Gradients are not kept in
            the folder: they are computed again.
        candidates: by name, as the methods of `trials`.
        default: the name of the one to beat.
        num_trials: of the last round of halving.
        over, gap: what is counted, and until which gap.
        amount: of what is counted, to be spent; smaller gaps than `gap` then count as `gap`, larger ones than a million
            million times that of the start as that.
        num_held_out: trials of the last two; as many as num_trials by default.
        what: names of floats > 0 in methods or links, as of `tune`; a candidate's are those that it has, rivals have
            none.
        num_updates: looks at factors in a round; logarithms move by 0.2 at first, by 0.5 at most.
        measure: as of `trials`, what candidates are judged by; numbers are tuned by the distance from the optimum
            all the same.

    Raises `CojaxInputError` for fewer than two candidates, a default that is none of them or cannot be run, a name in
    `what` that no candidate has, and as `trials` does for what is no case.
    Source: Jamieson, Talwalkar, "Non-stochastic best arm identification", AISTATS 2016, arXiv 1502.07943;
    Rprop: Riedmiller, Braun, ICNN 1993, doi 10.1109/ICNN.1993.298623.
    """
    if not isinstance(candidates, Mapping) or len(candidates) < 2:
        raise CojaxInputError(
            f"choose needs candidates by name, at least two, got {type(candidates).__name__} {candidates!r:.60}."
        )
    candidates, default = named("choose", "candidates", candidates), str(default)
    if default not in candidates:
        raise CojaxInputError(f"choose needs a default among {', '.join(candidates)}, got {default!r}.")
    num_trials = whole_number("choose", "num_trials", num_trials, at_least=1)
    num_updates = whole_number("choose", "num_updates", num_updates, at_least=1)
    last = num_trials if num_held_out is None else num_held_out
    last = whole_number("choose", "num_held_out", last, at_least=1)
    check_number("choose", "gap", gap, above=0.0, below=1.0, shaped=())
    if amount is not None:
        check_number("choose", "amount", amount, above=0.0, shaped=())
    folder = None if folder is None else as_path("choose needs a path for folder", folder)
    what = _checked_names(what, candidates, case)
    contest = _Contest(case, dict(candidates), default, num_steps, every, over, gap, amount, measure, folder)
    names, begun = list(candidates), 0
    halvings = max(math.ceil(math.log2(len(names) - 1)), 1)
    for turn in range(halvings):
        count = max(math.ceil(num_trials * 2.0 ** (turn + 1 - halvings)), 1)
        contest.compete(names, begun, count, f"round-{turn}")
        names = [name for name in names if name not in contest.dropped]
        contest.tune(names, range(begun, begun + count), what, num_updates)
        versions = [TUNED.format(name) for name in names if TUNED.format(name) in contest.tuned]
        if versions:
            contest.compete([default, *versions], begun, count, f"round-{turn}-tuned")
        begun += count
        kept = sorted((name for name in names if name != default), key=contest.level)
        names = [*kept[: len(names) // 2], default]
    _, best = min(map(contest.level, names))
    held_out = contest.run([best] if best == default else [best, default], begun, last, "held-out")
    paired = None
    if len(held_out.methods) == 2:
        scores = contest.scores(held_out, 0.0).mean(0)
        if scores[0] < scores[1]:
            paired = held_out.paired(best, default, over, gap, amount=amount)
    best = default if paired is None else best
    return Choice(
        name=best,
        candidate=contest.field[best],
        factors={name: float(np.exp(contest.beside(name))) for name in contest.logs},
        num_trials={name: len(rows) for name, rows in contest.logs.items()},
        tuned=contest.tuned,
        dropped=contest.dropped,
        held_out=held_out,
        paired=paired,
        num_runs=contest.num_runs,
        num_all=(begun + last) * len(candidates),
    )


@dataclasses.dataclass
class _Contest:
    """All candidates and what is known of them so far."""

    case: Callable[[int], tuple]
    field: dict[str, Any]
    default: str
    num_steps: int
    every: int
    over: Over
    gap: float
    amount: float | int | None
    measure: Measure | None
    folder: Path | None
    logs: dict[str, dict[int, float]] = dataclasses.field(default_factory=dict)  # `scores`, by name and seed
    tuned: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)  # factors, by the name of the version
    dropped: dict[str, str] = dataclasses.field(default_factory=dict)
    most: dict[int, float] = dataclasses.field(default_factory=dict)  # that any run of a trial took, by seed
    num_runs: int = 0

    def run(self, names: list[str], first: int, count: int, part: str) -> Trials:
        """The trials, from the seed `first` on, of those of the names that can be run; the default has to."""
        case = self.case  # alone: a folder's trials are compared by all that the function below closes over

        def later(seed: int) -> tuple:
            return case(first + seed)

        found, attempt = None, 0
        while found is None:
            able = {name: self.field[name] for name in names if name not in self.dropped}
            place = None if self.folder is None else self.folder / (f"{part}-{attempt}" if attempt else part)
            try:
                found = trials(
                    later,
                    able,
                    num_trials=count,
                    num_steps=self.num_steps,
                    every=self.every,
                    bits=self.amount if self.over == "bits" else None,
                    measure=self.measure,
                    folder=place,
                )
                self.num_runs += count * len(able)
            except Refused as refused:
                if self.default in refused.reasons:
                    raise refused.reasons[self.default] from None
                self.dropped |= {name: str(reason) for name, reason in refused.reasons.items()}
                self.num_runs += refused.seed * len(able)
                attempt += 1
        return found._replace(seeds=found.seeds + first)  # what `case` was called with

    def compete(self, names: list[str], first: int, count: int, part: str) -> None:
        """Runs the trials and keeps their scores; not to get there costs all the same in versions that come later."""
        found = self.run(names, first, count, part)
        seeds = found.seeds.tolist()
        most = np.array([[self.most.get(seed, 0.0)] for seed in seeds])
        self.most |= zip(seeds, np.maximum(most, most_of(found, self.over))[:, 0].tolist(), strict=True)
        for name, row in zip(found.methods, self.scores(found, most).T, strict=True):
            self.logs.setdefault(name, {}).update(zip(seeds, row.tolist(), strict=True))

    def scores(self, found: Trials, most: Any) -> Float[np.ndarray, "t m"]:
        """The logarithm of what every method is judged by in every trial: the less, the better."""
        if self.amount is None:
            return np.log(spent(found, self.over, self.gap, most))
        return np.log(np.clip(found.left(self.amount, self.over), self.gap, DIVERGED))

    def beside(self, name: str, other: str | None = None) -> float:
        """The mean score of one above that of another, the default, on all trials that one was in."""
        against = self.logs[self.default if other is None else other]
        return float(np.mean([log - against[seed] for seed, log in self.logs[name].items()]))

    def level(self, name: str) -> tuple[float, str]:
        """`beside` of the better version of a candidate, and which that is: as given, or as tuned in the last round."""
        given, new = self.beside(name), TUNED.format(name)
        gain = self.beside(new, name) if new in self.logs and new not in self.dropped else 0.0
        return (given + gain, new) if gain < 0 else (given, name)

    def tune(self, names: list[str], seeds: range, what: tuple[str, ...], num_updates: int) -> None:
        """Moves the factors of those that have such numbers on, from where they stand."""
        if not what:
            return
        objective = Seconds(self.gap) if self.over == "seconds" else Area(self.gap)
        plan = RunPlan(self.num_steps, self.every, None, distances)
        made = [instance_of(self.case, seed) for seed in seeds]
        instances = [
            Instance(problem, start, optimum_of(problem, start) if best is None else best.x, jnp.asarray(0))
            for problem, _, start, best in made
        ]
        for name in names:
            new = TUNED.format(name)
            pairs = [made_of(self.field[name], *instance[:3])[1][::-1] for instance in made]
            first = self.tuned.get(new, {path: 1.0 for path in what if _has(path, pairs[0])})
            if first and new not in self.dropped:
                found = best_factors(pairs, instances, first, objective=objective, plan=plan, num_updates=num_updates)
                self.num_runs += num_updates * len(pairs) * (1 + len(first))
                self.tuned[new], self.field[new] = found, Scaled(self.field[name], found)
                self.logs.pop(new, None)  # of the factors before


def _checked_names(what: Any, candidates: Mapping[str, Any], case: Callable[[int], tuple]) -> tuple[str, ...]:
    """The names of numbers to tune; refuses what no candidate has."""
    if isinstance(what, str) or not isinstance(what, Sequence) or not all(isinstance(name, str) for name in what):
        raise CojaxInputError(f'choose needs names of numbers, such as ["learn.step_size"], for what, got {what!r}.')
    if len(set(what)) < len(what):
        raise CojaxInputError(f"choose needs every number once in what, got {list(what)}.")
    if not what:
        return ()
    if any(TUNED.format(name) in candidates for name in candidates):
        raise CojaxInputError('choose adds ", tuned" to names of candidates, got two that then are one: rename them.')
    problem, network, start, _ = instance_of(case, 0)
    missing = list(what)
    for given in candidates.values():
        try:
            _, (linked, method) = made_of(given, problem, network, start)
        except ValueError:  # it is dropped later, or refused by `trials`
            continue
        missing = [name for name in missing if not _has(name, (method, linked))]
        if not missing:
            return tuple(what)
    raise CojaxInputError(
        f"choose needs names in what that are floats of a candidate's method or link, such as "
        f'"learn.step_size", got {", ".join(map(repr, missing))}, which none of them has.'
    )


def _has(path: str, pair: tuple) -> bool:
    return not isinstance(pair[0], Rival) and has_number(path, pair)


def spent(found: Trials, over: Over, gap: float, most: Any = 0.0) -> Float[np.ndarray, "t m"]:
    """What every method took in every trial.

    Of one that did not get there ten times the most that any took in all, and up to twenty the farther its end is off.

    Args: most, (t, 1), that others took in all in the same trials.
    """
    took, ends = found.taken(over, gap), found.gaps()[:, :, -1]
    decades = np.log10(np.where(np.isfinite(ends), np.maximum(ends, gap), np.inf) / gap)
    missed = MISSED * np.maximum(most_of(found, over), most) * (1 + np.minimum(decades / MOST_DECADES, 1.0))
    return np.maximum(np.where(np.isfinite(took), took, missed), 1e-300)


def most_of(found: Trials, over: Over) -> Float[np.ndarray, "t 1"]:
    """The most that any run of a trial took from its start to its end, or until its clock stood still for ever."""
    along = found.along(over)
    return np.where(np.isfinite(along), along, 0.0).max(axis=(1, 2))[:, None]
