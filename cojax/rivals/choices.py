"""Which of many methods, links and numbers to take: all are tried a little, and the better ones longer."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._support.checks import CojaxInputError, check_number, whole_number
from .compare import text_table
from .trials import Over, Paired, Trials, trials

MISSED = 10.0  # times the most that any run of the trial took: what not getting there counts as


class Choice(NamedTuple):
    """What `choose` returns.

        best = cojax.choose(case, candidates, default="default", num_trials=16, num_steps=500, every=5)
        print(best)                                                   # every candidate, and how far it came
        network, method = best.candidate(problem, network, start)     # as you wrote it

    Fields:
        name: of the candidate to take; the default, where nothing was better on the held-out trials.
        candidate: what was given under that name.
        factors: by name, what a candidate took beside the default, geometric mean over the trials that it was in.
        num_trials: by name, how many trials it was in.
        held_out: `Trials` that had no part in the choice, of the best candidate and the default.
        paired: the best candidate beside the default on them; None where that is the default.
        num_runs: runs in all; num_all: those that every candidate on every trial would have taken.
    """

    name: str
    candidate: Any
    factors: dict[str, float]
    num_trials: dict[str, int]
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
        return f"Take {self.name!r}; {said}\n{text_table(rows)}\n{runs}"


def choose(
    case: Callable[[int], tuple],
    candidates: Mapping[str, Any],
    *,
    default: str,
    num_trials: int,
    num_steps: int,
    every: int = 1,
    over: Over = "bits",
    gap: float = 1e-6,
    num_held_out: int | None = None,
    folder: str | Path | None = None,
) -> Choice:
    """The candidate that takes least to a gap on problems like these, by successive halving.

        def learner(kind, bits):                          # a candidate: of an instance to a network and a method
            def made(problem, network, start):
                network = network.over(dataclasses.replace(network.bare(), link=link_of(bits)))
                return network, cojax.CoOpt(learn=cojax.tuned(kind, problem, network, start))
            return made

        candidates = {f"{kind.__name__}, {bits} bits": learner(kind, bits) for kind in kinds for bits in (2, 4, 8)}
        best = cojax.choose(case, candidates | {"default": cojax.default}, default="default", num_trials=16, ...)

    All candidates are run on a few instances; the better half of those that are not the default goes on, to twice as
    many new ones, until one is left beside the default, which always goes on. So of c candidates and t trials about
    2 t log2(c) runs are made, not t c. What counts is the geometric mean of steps, bits or seconds; a run that does not
    get there counts as ten times the most that any run of that trial took in all: to tell little is no way to win. The
    last two meet on instances of their own, and the default is returned where it takes no more there. Models are judged
    by their mean over nodes: `held_out.disagreement` tells how far copies are apart. A candidate may be whatever
    `trials` takes: methods, rivals, links, edge weights, numbers of local steps, or what `tune` makes of an instance.

    Args:
        case, num_steps, every, folder: as of `trials`; seeds 0, 1, ... are used once each.
        candidates: by name, as the methods of `trials`.
        default: the name of the one to beat.
        num_trials: of the last round of halving.
        over, gap: what is counted, and until which gap.
        num_held_out: trials of the last two; as many as num_trials by default.

    Raises `CojaxInputError` for fewer than two candidates, a default that is none of them, and as `trials` does.
    Source: Jamieson, Talwalkar, "Non-stochastic best arm identification", AISTATS 2016, arXiv 1502.07943.
    """
    if not isinstance(candidates, Mapping) or len(candidates) < 2:
        raise CojaxInputError(
            f"choose needs candidates by name, at least two, got {type(candidates).__name__} {candidates!r:.60}."
        )
    if default not in candidates:
        raise CojaxInputError(f"choose needs a default among {', '.join(map(str, candidates))}, got {default!r}.")
    num_trials = whole_number("choose", "num_trials", num_trials, at_least=1)
    last = num_trials if num_held_out is None else num_held_out
    last = whole_number("choose", "num_held_out", last, at_least=1)
    check_number("choose", "gap", gap, above=0.0, below=1.0, shaped=())

    def run(names: list[str], first: int, count: int, part: str) -> Trials:
        def later(seed: int) -> tuple:
            return case(first + seed)

        chosen = {name: candidates[name] for name in names}
        place = None if folder is None else Path(folder) / part
        return trials(later, chosen, num_trials=count, num_steps=num_steps, every=every, folder=place)

    names, begun, num_runs = list(candidates), 0, 0
    logs: dict[str, list[np.ndarray]] = {name: [] for name in names}
    halvings = max(math.ceil(math.log2(len(names) - 1)), 1)
    for turn in range(halvings):
        count = max(math.ceil(num_trials * 2.0 ** (turn + 1 - halvings)), 1)
        found = run(names, begun, count, f"round-{turn}")
        begun, num_runs = begun + count, num_runs + count * len(names)
        for name, row in zip(names, spent(found, over, gap).T, strict=True):
            logs[name].append(np.log(row))
        kept = sorted(names, key=lambda name: float(np.concatenate(logs[name]).mean()))
        names = [name for name in kept if name != default][: len(names) // 2] + [default]
    mean = {name: float(np.concatenate(rows).mean()) for name, rows in logs.items()}
    best = min(names, key=lambda name: mean[name])
    finals = [best] if best == default else [best, default]
    held_out = run(finals, begun, last, "held-out")
    held_out = held_out._replace(seeds=held_out.seeds + begun)  # what `case` was called with
    num_runs += last * len(finals)
    paired = None
    if best != default:
        took = np.log(spent(held_out, over, gap)).mean(0)
        if took[0] < took[1]:
            paired = held_out.paired(best, default, over, gap)
        else:
            best = default
    against = {name: np.concatenate(logs[default])[: sum(map(len, logs[name]))].mean() for name in logs}
    return Choice(
        name=best,
        candidate=candidates[best],
        factors={name: float(np.exp(mean[name] - against[name])) for name in logs},
        num_trials={name: sum(map(len, rows)) for name, rows in logs.items()},
        held_out=held_out,
        paired=paired,
        num_runs=num_runs,
        num_all=(begun + last) * len(candidates),
    )


def spent(found: Trials, over: Over, gap: float) -> Float[np.ndarray, "t m"]:
    """What every method took in every trial; of one that did not get there ten times the most that any took in all."""
    took = found.taken(over, gap)
    most = found.along(over)[:, :, -1].max(axis=1, keepdims=True)
    return np.maximum(np.where(np.isfinite(took), took, MISSED * most), 1e-300)
