"""The gap of `cojax.default_learner` beside those of others, at equal bits, on every network of `support/families.py`.

Logistic regression, 10 numbers, 20 samples a node, every node's features shifted its own way; medians over instances
that nobody has looked at before: the constants of the default were chosen on seed 0, these are seeds 100 and up.
The gap is the mean over nodes of F(own model) - F*, so that disagreement counts, relative to that of the start. Every
learner takes the numbers of `cojax.tuned` over the link that its source has: plain 64-bit numbers, or innovations for
Choco, LEAD and C-GT. Then the strongest of them again over the champion's own link, with the tuned step and, "in
hindsight", with the best of SHARES of its limit at every budget. Push-DIGing and push-pull are not listed: where every
link has one weight they are ATCTracking and DIGing (tests/rivals/test_rivals.py).
`python benchmarks/which_learner.py [family | family/setting ...] && python benchmarks/print_tables.py learners`
"""

import dataclasses
import functools
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support import families
from support.timing import kept_rows, save

import cojax
from cojax import rivals, theory
from cojax.optimum import Reference
from cojax.theory.limits import SHARE
from cojax.tuning.default_learner import with_link

DIM, NUM_SAMPLES, RIDGE = 10, 20, 0.02
KILOBITS = (2.0, 4.0, 8.0)
BITS_A_STEP = 2 * DIM  # of the champion; all others are looked at as often, in bits
EVERY = 10
EXACT = 1e-14  # rounding of the costs
COARSE = cojax.AdaptiveQuantizer(2)
FIRST_SEED = 100
FEW = ("Geant2012", "Uninett2010", "garr")  # 40 to 91 nodes
SHARES = (0.8, 0.95)  # of its limit, besides the half that `tuned` takes
LOCAL_STEPS = 4
NUM_COMPILED = 3  # instances of rivals that are loops of their own, compiled once for each
HINDSIGHT = "in hindsight"

PLAIN = {
    "DGD": cojax.DGD,
    "EXTRA": cojax.EXTRA,
    "DIGing": cojax.DIGing,
    "ATCTracking": cojax.ATCTracking,
    "NIDS": cojax.NIDS,
    "TrackingMomentum": cojax.TrackingMomentum,
}
INNOVATIVE = {"Choco": cojax.Choco, "LEAD": cojax.LEAD, "C-GT": cojax.DIGing}
STEPS_CHOSEN: dict[str, Any] = {"NIDS": cojax.NIDS, "LEAD": cojax.LEAD, "EXTRA": cojax.EXTRA}
OVER_OUR_LINK = STEPS_CHOSEN | {"DIGing": cojax.DIGing, "TrackingMomentum": cojax.TrackingMomentum}


def cost(x: cojax.Decision, data: Any) -> jax.Array:
    features, labels = data
    return jnp.mean(jnp.logaddexp(0.0, -labels * (features @ x.params))) + RIDGE / 2 * jnp.sum(x.params**2)


def instance(num_nodes: int, seed: int) -> cojax.Problem:
    """Features of scales from 1 to 0.3, shifted by half a deviation at every node, and noisy labels."""
    random = np.random.default_rng(seed)
    scale = np.geomspace(1.0, 0.3, DIM)
    shift = 0.5 * random.normal(size=(num_nodes, 1, DIM))
    features = scale * (random.normal(size=(num_nodes, NUM_SAMPLES, DIM)) + shift)
    scores = features @ random.normal(size=DIM)
    labels = np.sign(scores + 0.5 * random.normal(size=scores.shape))
    return cojax.Problem(cost, (jnp.asarray(features), jnp.asarray(labels)))


def own_cost(problem: cojax.Problem, params: jax.Array) -> jax.Array:
    """The mean over nodes of the whole cost at the node's own model."""

    def whole(one: jax.Array) -> jax.Array:
        return problem.costs(cojax.Decision(jnp.broadcast_to(one, params.shape), None)).sum()

    return jax.vmap(whole)(params).mean()


def told(problem: cojax.Problem, x: cojax.Decision, state: cojax.State) -> tuple[jax.Array, jax.Array]:
    return own_cost(problem, x.params), state.wire.bits


def gaps_of_method(method: cojax.Method, problem, network, start, best: Reference, local: int = 1) -> list[float]:
    """The gap at every budget of `KILOBITS`; `local` steps to a message."""
    one = float(cojax.init(problem, network, cojax.CoOpt(learn=method), start).wire.bits)
    every = max(int(EVERY * BITS_A_STEP / one), 1) * local
    steps = int(1000 * KILOBITS[-1] / one) * local // every * every
    run = cojax.solve(problem, network, cojax.CoOpt(learn=method), start, num_steps=steps, every=every, record=told)
    costs, bits = (np.asarray(part) for part in run.trace)
    return at_budgets(costs, bits, problem, start, best)


def gaps_of_rival(name: str, problem, network, start, best: Reference) -> list[float]:
    rival = rivals.rival(name, problem, network, start)
    steps = max(int(1000 * KILOBITS[-1] / rival.bits), 1)
    decided = jax.jit(rival.run, static_argnums=3)(problem, network, start, steps)
    costs = np.asarray(jax.jit(jax.vmap(functools.partial(own_cost, problem)))(decided))
    return at_budgets(costs, rival.bits * np.arange(1, steps + 1), problem, start, best)


def at_budgets(costs, bits, problem, start, best: Reference) -> list[float]:
    floor, first = float(best.cost), float(own_cost(problem, start.params))
    told_last = [int(np.searchsorted(bits, 1000 * kilobits, "right")) - 1 for kilobits in KILOBITS]
    costs = np.append(costs, first)  # row -1: nothing was told yet
    gaps = [abs(float(costs[row]) - floor) / (first - floor) for row in told_last]
    return [gap if np.isfinite(gap) else np.inf for gap in gaps]


def contest(name: str, setting: str, seed: int) -> dict[str, list[float]]:
    """The gaps of all learners on one network and one instance."""
    network = families.network_of(name, setting, seed, layout="dense")  # one program for all graphs
    problem = instance(network.num_nodes, seed)
    start = problem.start(params=jnp.zeros((problem.num_nodes, DIM)))
    best = cojax.reference(problem, jnp.zeros(DIM))
    linked, champion = cojax.default_learner(problem, network, start)
    ours: Any = linked
    coarse = with_link(network, cojax.Innovation(COARSE, memory=ours.link.memory))
    found = {"champion": gaps_of_method(champion, problem, ours, start, best)}

    def judged(label: str, kind: Any, over: cojax.Network, part: float = 1.0) -> None:
        try:
            method: Any = cojax.tuned(kind, problem, over, start)
            method = dataclasses.replace(method, step_size=part * method.step_size)
            found[label] = gaps_of_method(method, problem, over, start, best)
        except cojax.CojaxInputError:  # no step is stable with these weights
            found[label] = [np.inf] * len(KILOBITS)

    for label, kind in PLAIN.items():
        judged(label, kind, network)
    for label, kind in INNOVATIVE.items():
        judged(label, kind, coarse)
    for label, kind in OVER_OUR_LINK.items():
        judged(f"{label} over our link", kind, ours)
    for label, kind in STEPS_CHOSEN.items():
        for share in SHARES:
            judged(f"{label} over our link, {share:g} of its limit {HINDSIGHT}", kind, ours, share / SHARE)
    if theory.is_fixed(network):
        found |= with_local_steps(problem, ours, start, best)
        for label in rivals.LEARNERS if seed < FIRST_SEED + NUM_COMPILED else ():
            found[label] = gaps_of_rival(label, problem, network, start, best)
    return found


def with_local_steps(problem, network, start, best: Reference) -> dict[str, list[float]]:
    """Tracking is exact with local steps too, with the same or smaller steps; DGD drifts from the optimum."""
    method: Any = cojax.tuned(cojax.DIGing, problem, network, start)
    talks: Any = cojax.Intermittent(network, LOCAL_STEPS)  # pyright: ignore[reportCallIssue]
    found = {}
    for part in (1.0, 0.5, 0.25):
        shorter = dataclasses.replace(method, step_size=part * method.step_size)
        label = f"DIGing over our link, {LOCAL_STEPS} local steps, {part:g} of its step {HINDSIGHT}"
        found[label] = gaps_of_method(shorter, problem, talks, start, best, LOCAL_STEPS)
    return found


def row(name: str, setting: str, runs: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Medians over instances of the champion and, with and without hindsight, of the best other at every budget."""
    line: dict[str, Any] = {"network": name, "setting": setting, "instances": len(runs), "first seed": FIRST_SEED}
    every = {label: np.asarray([run[label] for run in runs if label in run]) for label in runs[0]}
    medians = {label: np.median(found, axis=0).tolist() for label, found in every.items()}
    mine = medians.pop("champion")
    tuned = {label: gaps for label, gaps in medians.items() if HINDSIGHT not in label}
    for place, kilobits in enumerate(KILOBITS):
        line[f"{kilobits:g} kbit"] = mine[place]
        for kind, others in (("tuned", tuned), (HINDSIGHT, medians)):
            best = min(others, key=lambda label: others[label][place])
            line[f"best {kind}, {kilobits:g}"] = best
            line[f"its gap, {kind}, {kilobits:g}"] = others[best][place]
            line[f"smaller by %, {kind}, {kilobits:g}"] = smaller(mine[place], others[best][place])
    return line


def smaller(mine: float, other: float) -> float | None:
    """How much smaller a gap is, in percent; None where rounding is all that is left of both."""
    return None if max(mine, other) < EXACT else 100 * (1 - mine / other)


def main(only: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    for name, setting in families.cells(only):
        began = time.perf_counter()
        seeds = range(FIRST_SEED, FIRST_SEED + (5 if name in FEW else 10))
        found = {(name, setting): row(name, setting, [contest(name, setting, seed) for seed in seeds])}
        print(f"{name} {setting}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        rows = {(line["network"], line["setting"]): line for line in kept_rows("which_learner", FIRST_SEED)} | found
        save("which_learner", [rows[cell] for cell in families.cells() if cell in rows], kilobits=KILOBITS)


if __name__ == "__main__":
    main(sys.argv[1:])
