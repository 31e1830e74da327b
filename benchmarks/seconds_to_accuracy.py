"""Seconds by a clock until a gap is reached, for `cojax.default_learner` and others, on three kinds of hardware.

    python benchmarks/seconds_to_accuracy.py [family | family/setting ...] && python benchmarks/print_tables.py seconds

The job, the networks and the contenders are those of `which_learner.py`; beside them APAPC over plain numbers and over
4 bits, and steps in hindsight over plain numbers. Rivals that are loops of their own are left out: their rounds are
more than one gradient. A second is what one gradient takes on a slow core. A run does not depend on the clock, so
every one is computed once, and the clock counts its rounds and its messages on each kind of hardware afterwards.
Medians over three instances of fresh seeds, one of the networks of 40 nodes and more; a run that does not get there in
MOST_ROUNDS never does.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from support import families
from support.timing import kept_rows, save
from which_learner import (
    COARSE,
    DIM,
    FEW,
    HINDSIGHT,
    INNOVATIVE,
    LOCAL_STEPS,
    OVER_OUR_LINK,
    PLAIN,
    SHARES,
    STEPS_CHOSEN,
    instance,
)

import cojax
from cojax import theory
from cojax.networks.clocks import schedule
from cojax.rivals.compare import first_row_at
from cojax.tuning.default_learner import with_link
from cojax.tuning.tuned import tuned_with_limit

GAPS = (1e-3, 1e-6)
FIRST_SEED = 300  # FOUR_BITS was found on seed 200
MOST_ROUNDS, PIECE = 2000, 250  # pieces end a run once it is well below the smallest gap
WELL_BELOW = 0.1
SMALL, EVERY = 25, (2, 10)  # rounds between looks, up to so many nodes and beyond
PLAIN_BITS = 64.0 * DIM  # one model in plain numbers
PLAIN_TOO: dict[str, Any] = PLAIN | {"APAPC": cojax.APAPC}
FOUR_BITS = cojax.AdaptiveQuantizer(4, 0.5, 2.0)
ALSO_CHOSEN: dict[str, Any] = {"NIDS": cojax.NIDS, "APAPC": cojax.APAPC}


def slow_cores(n: int, seed: int) -> cojax.Clock:
    """A plain model is told in a hundredth of a gradient's time."""
    return cojax.Clock(work=1.0, share=1.0, latency=1e-3, bandwidth=PLAIN_BITS / 0.01)


def slow_links(n: int, seed: int) -> cojax.Clock:
    """A gradient takes a hundredth of the time in which a plain model is told."""
    return cojax.Clock(work=0.01, share=1.0, latency=1e-3, bandwidth=PLAIN_BITS)


def unlike(n: int, seed: int) -> cojax.Clock:
    """Speeds over a factor of 30, bandwidths of 1000 and latencies of 50, all with even logarithms."""
    random = np.random.default_rng(seed)

    def between(low: float, high: float, shape: Any) -> np.ndarray:
        return np.exp(random.uniform(np.log(low), np.log(high), shape))

    def of_links(low: float, high: float) -> np.ndarray:
        table = np.triu(between(low, high, (n, n)), 1)
        return table + table.T + np.eye(n)

    speed = between(1.0, 30.0, n)
    bandwidth, latency = PLAIN_BITS / of_links(0.01, 10.0), of_links(1e-3, 0.05)
    return cojax.Clock(work=1.0, speed=speed, share=1.0, latency=latency, bandwidth=bandwidth)


HARDWARE: dict[str, Callable[[int, int], cojax.Clock]] = {
    "slow cores": slow_cores,
    "slow links": slow_links,
    "unlike": unlike,
}


def told(problem: cojax.Problem, x: cojax.Decision, state: cojax.State) -> tuple[jax.Array, jax.Array]:
    return cojax.own_models(problem, x), state.wire.bits


class Reached(NamedTuple):
    """Rounds to every gap, inf where a run does not get there, and the bits of a message."""

    rounds: list[float]
    bits: float


def reached(method: cojax.Method, problem: cojax.Problem, network: cojax.Network, start: cojax.Decision, floor: float):
    """When one run first stays at or below every gap."""
    coopt = cojax.CoOpt(learn=method)
    state = jax.jit(cojax.init)(problem, network, coopt, start)
    bits, first = float(state.wire.bits), float(cojax.own_models(problem, start)) - floor
    every = EVERY[problem.num_nodes > SMALL]
    gaps = np.ones(1)
    while every * (gaps.size - 1) < MOST_ROUNDS and np.isfinite(gaps[-1]) and gaps[-1] > WELL_BELOW * GAPS[-1]:
        run = cojax.solve(problem, network, coopt, state, num_steps=PIECE, every=every, record=told)
        gaps = np.append(gaps, np.abs(np.asarray(run.trace[0]) - floor) / first)
        state = run.state
    rows = [first_row_at(gaps, gap) for gap in GAPS]
    return Reached([np.inf if row is None else float(every * row) for row in rows], bits)


@jax.jit
def by_the_clock(network: cojax.Network, bits: float) -> jax.Array:
    """When the last node had told what it knew, after every round."""
    return schedule(network, None, None, bits, MOST_ROUNDS)


class Stopwatch:
    """Seconds of rounds on every kind of hardware; messages of one size take the same in every run."""

    def __init__(self, network: cojax.Network, seed: int):
        n = network.num_nodes
        self.timed = {name: cojax.Timed(network, clock(n, seed)) for name, clock in HARDWARE.items()}
        self.known: dict[float, dict[str, np.ndarray]] = {}

    def seconds(self, found: Reached) -> dict[str, list[float]]:
        if found.bits not in self.known:
            self.known[found.bits] = {
                name: np.asarray(by_the_clock(timed, found.bits)) for name, timed in self.timed.items()
            }
        return {
            name: [np.inf if np.isinf(rounds) else float(after[int(rounds) - 1]) for rounds in found.rounds]
            for name, after in self.known[found.bits].items()
        }


def contest(name: str, setting: str, seed: int) -> dict[str, dict[str, list[float]]]:
    """Rounds and seconds to every gap of all learners on one network and one instance."""
    layout = "auto" if name in FEW else "dense"  # of which one program does for all graphs of a size
    network = families.network_of(name, setting, seed, layout=layout)
    problem = instance(network.num_nodes, seed)
    start = problem.start(params=jnp.zeros((problem.num_nodes, DIM)))
    floor = float(cojax.reference(problem, jnp.zeros(DIM)).cost)
    ours, champion = cojax.default_learner(problem, network, start)
    link: Any = ours.link
    coarse = with_link(network, cojax.Innovation(COARSE, memory=link.memory))
    always = Stopwatch(network, seed)
    found: dict[str, dict[str, list[float]]] = {}

    def judged(
        label: str, method: cojax.Method, over: cojax.Network, watch: Stopwatch = always, every: int = 1
    ) -> None:
        one = reached(method, problem, over, start, floor)
        found[label] = {"rounds": one.rounds, "bits": [one.bits / every] * len(GAPS)} | watch.seconds(one)

    def tuned(label: str, kind: Any, over: cojax.Network, share: float | None = None) -> None:
        """With the step that `cojax.tuned` takes, or a share of its limit."""
        method: Any
        try:
            method, limit = tuned_with_limit(kind, problem, over, start)
        except cojax.CojaxInputError:  # no step is stable with these weights
            return
        step_size = method.step_size if share is None else share * limit.value
        judged(label, dataclasses.replace(method, step_size=step_size), over)

    judged("default", champion, ours)
    finer = dataclasses.replace(FOUR_BITS, first=link.quantizer.first)
    judged("APAPC, 4 bits", champion, with_link(network, cojax.Innovation(finer, memory=link.memory)))
    for label, kind in PLAIN_TOO.items():
        tuned(label, kind, network)
    for label, kind in INNOVATIVE.items():
        tuned(label, kind, coarse)
    for label, kind in OVER_OUR_LINK.items():
        tuned(f"{label} over our link", kind, ours)
    for where, kinds, over in (("", ALSO_CHOSEN, network), (" over our link", STEPS_CHOSEN | ALSO_CHOSEN, ours)):
        for label, kind in kinds.items():
            for share in SHARES:
                tuned(f"{label}{where}, {share:g} of its limit {HINDSIGHT}", kind, over, share)
    if theory.is_fixed(network):
        pausing = Stopwatch(cojax.Intermittent(network, LOCAL_STEPS), seed)
        for where, over in (("", network), (" over our link", ours)):
            method: Any = cojax.tuned(cojax.DIGing, problem, over, start)
            for part in (1.0, 0.5, 0.25):
                shorter = dataclasses.replace(method, step_size=part * method.step_size)
                label = f"DIGing{where}, {LOCAL_STEPS} local steps, {part:g} of its step {HINDSIGHT}"
                judged(label, shorter, cojax.Intermittent(over, LOCAL_STEPS), pausing, LOCAL_STEPS)
    return found


def row(name: str, setting: str, runs: list[dict[str, dict[str, list[float]]]]) -> dict[str, Any]:
    """Medians over instances, by learner: at every gap the rounds, bits a round, and seconds by hardware."""
    learners = {
        label: {
            what: [plain(np.median([run[label][what][place] for run in runs])) for place in range(len(GAPS))]
            for what in ("rounds", "bits", *HARDWARE)
        }
        for label in runs[0]
        if all(label in run for run in runs)
    }
    return {"network": name, "setting": setting, "instances": len(runs), "first seed": FIRST_SEED, "learners": learners}


def plain(value: Any) -> float | None:
    """Four digits; None for what never comes."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def main(only: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    for name, setting in families.cells(only):
        began = time.perf_counter()
        if name not in families.SYNTHETIC:
            jax.clear_caches()  # no other network has its programs, and a process has room for so many
        runs = [contest(name, setting, FIRST_SEED + turn) for turn in range(1 if name in FEW else 3)]
        found = {(name, setting): row(name, setting, runs)}
        print(f"{name} {setting}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        rows = {
            (line["network"], line["setting"]): line for line in kept_rows("seconds_to_accuracy", FIRST_SEED)
        } | found
        save("seconds_to_accuracy", [rows[cell] for cell in families.cells() if cell in rows], gaps=GAPS)


if __name__ == "__main__":
    main(sys.argv[1:])
