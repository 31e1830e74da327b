"""The gap of `cojax.default_learner` beside those of others, at equal bits, on every network of `families.py`.

Logistic regression, 10 numbers, 20 samples a node, every node's features shifted its own way; medians over instances.
The gap is the mean over nodes of F(own model) - F*, so that disagreement counts, relative to that of the start. Every
learner takes the numbers of `cojax.tuned` over the link that its source has: plain 64-bit numbers, or innovations for
Choco, LEAD and C-GT. Then the strongest of them again over the champion's own 2-bit link.
`python benchmarks/learners.py [instances] [family ...]`
"""

import functools
import json
import sys
from typing import Any

import families
import jax
import jax.numpy as jnp
import numpy as np
from timing import RESULTS, save, show

import cojax
from cojax import rivals, theory
from cojax.default_learners import relinked
from cojax.optimum import Reference

DIM, NUM_SAMPLES, RIDGE = 10, 20, 0.02
KILOBITS = (2.0, 4.0, 8.0)
BITS_A_STEP = 2 * DIM  # of the champion; all others are looked at as often, in bits
EVERY = 10
EXACT = 1e-14  # rounding of the costs
COARSE = cojax.AdaptiveQuantizer(2)

PLAIN = {
    "DGD": cojax.DGD,
    "EXTRA": cojax.EXTRA,
    "DIGing": cojax.DIGing,
    "ATCTracking": cojax.ATCTracking,
    "NIDS": cojax.NIDS,
    "TrackingMomentum": cojax.TrackingMomentum,
}
INNOVATIVE = {"Choco": cojax.Choco, "LEAD": cojax.LEAD, "C-GT": cojax.DIGing}
OVER_OUR_LINK = {
    "NIDS": cojax.NIDS,
    "EXTRA": cojax.EXTRA,
    "DIGing": cojax.DIGing,
    "TrackingMomentum": cojax.TrackingMomentum,
}


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


def gaps_of_method(method: cojax.Method, problem, network, start, best: Reference) -> list[float]:
    """The gap at every budget of `KILOBITS`."""
    one = float(cojax.init(problem, network, cojax.CoOpt(learn=method), start).wire.bits)
    every = max(int(EVERY * BITS_A_STEP / one), 1)
    steps = int(1000 * KILOBITS[-1] / one) // every * every
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
    memory = ours.link.memory
    coarse = relinked(network, cojax.Innovation(COARSE, memory=memory))
    found = {"champion": gaps_of_method(champion, problem, ours, start, best)}

    def judged(label: str, kind: Any, over: cojax.Network) -> None:
        try:
            found[label] = gaps_of_method(cojax.tuned(kind, problem, over, start), problem, over, start, best)
        except cojax.CojaxInputError:  # no step is stable with these weights
            found[label] = [np.inf] * len(KILOBITS)

    for label, kind in PLAIN.items():
        judged(label, kind, network)
    for label, kind in INNOVATIVE.items():
        judged(label, kind, coarse)
    for label, kind in OVER_OUR_LINK.items():
        judged(f"{label} over our link", kind, ours)
    for label in rivals.LEARNERS:
        if theory.is_fixed(network):
            found[label] = gaps_of_rival(label, problem, network, start, best)
    return found


def smaller(mine: float, other: float) -> str:
    """How much smaller a gap is, in percent; "both exact" where rounding is all that is left of both."""
    if max(mine, other) < EXACT:
        return "both exact"
    return f"{100 * (1 - mine / other):.1f} %" if mine < other else f"worse, {mine / other:.2g} times"


def row(name: str, setting: str, gaps: dict[str, np.ndarray]) -> dict[str, Any]:
    """Medians over instances of the champion and of the best other, and how much smaller the champion's gap is."""
    line: dict[str, Any] = {"network": name, "setting": setting}
    medians = {label: np.median(found, axis=0) for label, found in gaps.items()}
    for place, kilobits in enumerate(KILOBITS):
        others = {label: found[place] for label, found in medians.items() if label != "champion"}
        best = min(others, key=lambda label: others[label])
        mine = float(medians["champion"][place])
        line |= {
            f"{kilobits:g} kbit": mine,
            f"best other at {kilobits:g}": f"{best}, {others[best]:.1e}",
            f"smaller by, {kilobits:g}": smaller(mine, others[best]),
        }
    return line


def main(num_instances: int, only: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    for name in only or families.names():
        rows = []
        for setting in families.SETTINGS:
            runs = [contest(name, setting, seed) for seed in range(num_instances)]
            gaps = {label: np.asarray([run[label] for run in runs]) for label in runs[0]}
            rows.append(row(name, setting, gaps) | {"instances": num_instances})
            print(rows[-1], file=sys.stderr, flush=True)
        # After every family: the whole table takes half an hour.
        others = {(line["network"], line["setting"]): line for line in last_rows()}
        others |= {(line["network"], line["setting"]): line for line in rows}
        save("learners", [others[cell] for cell in families.cells() if cell in others], kilobits=KILOBITS)
    show(last_rows())


def last_rows() -> list[dict[str, Any]]:
    """The table so far."""
    path = RESULTS / "learners.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:])
