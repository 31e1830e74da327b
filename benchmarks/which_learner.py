"""The gap of `cojax.default_learner` beside those of others, at equal bits, on every network of `support/families.py`.

Logistic regression, 10 numbers, 20 samples a node, every node's features shifted its own way; medians over instances
that nobody has looked at before: the constants of the default were chosen on seed 0, these are seeds 100 and up.
The gap is the mean over nodes of F(own model) - F*, so that disagreement counts, relative to that of the start. Every
learner takes the numbers of `cojax.tuned` over the link that its source has: plain 64-bit numbers, or innovations for
Choco, LEAD and C-GT. Then the strongest of them again over the champion's own link, with the tuned step and, "in
hindsight", with the best of SHARES of its limit at every budget. Push-DIGing and push-pull are not listed: where every
link has one weight they are ATCTracking and DIGing (tests/rivals/test_rivals.py).
`python benchmarks/which_learner.py [family | family/setting ...] [--folder FOLDER]`, then
`python benchmarks/print_tables.py learners`
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support import families
from support.contenders import Contender, once
from support.timing import asked, kept_rows, save

import cojax
from cojax import rivals
from cojax.theory.limits import SHARE
from cojax.tuning.default_learner import with_link

DIM, NUM_SAMPLES, RIDGE = 10, 20, 0.02
KILOBITS = (2.0, 4.0, 8.0)
FEWEST_BITS = 2 * DIM  # of a step
EXACT = 1e-14  # rounding of the costs
COARSE = cojax.AdaptiveQuantizer(2)
FIRST_SEED = 100
FEW = ("Geant2012", "Uninett2010", "garr")  # 40 to 91 nodes
SHARES = (0.8, 0.95)  # of its limit, besides the half that `tuned` takes
LOCAL_STEPS = 4
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


def case(name: str, setting: str, first: int = FIRST_SEED, layout: str = "dense") -> Callable[[int], tuple]:
    """The instances of a network from a seed on; of graphs in one layout, for which one program does."""

    def made(seed: int) -> tuple:
        network = families.network_of(name, setting, first + seed, layout=layout)
        problem = instance(network.num_nodes, first + seed)
        return problem, network, problem.start(params=jnp.zeros((problem.num_nodes, DIM)))

    return made


def champion(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> tuple[Any, cojax.CoOpt]:
    """The default over its own link."""
    linked, method = once(problem, "default", lambda: cojax.default_learner(problem, network, start))
    return linked, cojax.CoOpt(learn=method)


def plain(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> Any:
    """Over 64-bit numbers."""
    return network


def ours(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> Any:
    """Over the champion's link."""
    return champion(problem, network, start)[0]


def coarse(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> Any:
    """Over innovations of two bits with the quantizer as it comes."""
    return with_link(network, cojax.Innovation(COARSE, memory=ours(problem, network, start).link.memory))


def learner(kind: Any, link: Callable[..., cojax.Network], part: float = 1.0, local: int = 1) -> Contender:
    """A learner with a part of the step of `tuned` over a link, and so many steps to a message."""

    def made(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> tuple:
        over = link(problem, network, start)
        try:
            method: Any = once(problem, (kind, link), lambda: cojax.tuned(kind, problem, over, start))
        except cojax.CojaxInputError:  # no step is stable with these weights: it stays where it starts
            return over, cojax.CoOpt()
        method = dataclasses.replace(method, step_size=part * method.step_size)
        # Tracking is exact with local steps too, with the same or smaller steps; DGD drifts from the optimum.
        talks: Any = over if local == 1 else cojax.Intermittent(over, local)
        return talks, cojax.CoOpt(learn=method)

    return made


def field(*, fixed: bool) -> dict[str, Contender]:
    """The champion and all others; those of LEARNERS and local steps on one graph that stands."""
    found = {"champion": champion} | {label: learner(kind, plain) for label, kind in PLAIN.items()}
    found |= {label: learner(kind, coarse) for label, kind in INNOVATIVE.items()}
    found |= {f"{label} over our link": learner(kind, ours) for label, kind in OVER_OUR_LINK.items()}
    for label, kind in STEPS_CHOSEN.items():
        for share in SHARES:
            name = f"{label} over our link, {share:g} of its limit {HINDSIGHT}"
            found[name] = learner(kind, ours, share / SHARE)
    if fixed:
        for part in (1.0, 0.5, 0.25):
            name = f"DIGing over our link, {LOCAL_STEPS} local steps, {part:g} of its step {HINDSIGHT}"
            found[name] = learner(cojax.DIGing, ours, part, LOCAL_STEPS)
        found |= {label: partial(rivals.rival, label) for label in rivals.LEARNERS}
    return found


def contest(name: str, setting: str, folder: Path | None) -> cojax.Trials:
    """All learners on all instances of one network."""
    fixed, bits = setting == "static", 1000 * KILOBITS[-1]
    settings = {"num_trials": 5 if name in FEW else 10, "bits": bits, "measure": cojax.own_models, "folder": folder}
    num_steps = int(bits / FEWEST_BITS) * (LOCAL_STEPS if fixed else 1)
    return cojax.trials(case(name, setting), field(fixed=fixed), num_steps=num_steps, **settings)


def row(name: str, setting: str, found: cojax.Trials) -> dict[str, Any]:
    """Medians over instances of the champion and, with and without hindsight, of the best other at every budget."""
    line: dict[str, Any] = {"network": name, "setting": setting, "instances": len(found.seeds)}
    line["first seed"] = FIRST_SEED
    left = np.median(found.left([1000 * kilobits for kilobits in KILOBITS]), axis=0).tolist()
    medians = dict(zip(found.methods, left, strict=True))
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


def main(only: list[str], folder: Path | None) -> None:
    jax.config.update("jax_enable_x64", True)
    for name, setting in families.cells(only):
        began = time.perf_counter()
        trials = contest(name, setting, folder and folder / name / setting)
        found = {(name, setting): row(name, setting, trials)}
        print(f"{name} {setting}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        rows = {(line["network"], line["setting"]): line for line in kept_rows("which_learner", FIRST_SEED)} | found
        save("which_learner", [rows[cell] for cell in families.cells() if cell in rows], kilobits=KILOBITS)


if __name__ == "__main__":
    main(*asked())
