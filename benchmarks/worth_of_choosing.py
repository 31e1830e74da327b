"""What `cojax.choose` finds beside `cojax.default_learner`, on every network of `support/families.py`, by bits.

    python benchmarks/worth_of_choosing.py [within] [setting | family | family/setting ...]
    python benchmarks/print_tables.py choosing [choosing_within]

The job is that of `which_learner.py`. `choose` tries the default and CANDIDATES, learners over links with parts of
their limits and of their gains, on instances of fresh seeds, and judges by bits until nodes' own models are at GAP.
Then all candidates run on its held-out instances: so the best of them in hindsight is known, chosen on the very
instances that it is judged on. Last, the default, the chosen one and the rivals of `which_learner.py` over the
default's link are judged as there, by the mean over nodes of F(own model) - F* at equal bits. With `within` the rivals
are candidates too, and `choose` judges by what is judged last: the gap that is left after the first budget. Standing
networks come first, then switching and lossy ones; every network is saved when it is done, and one that is saved is not
run again.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support import families
from support.timing import kept_rows, save
from which_learner import EXACT, FEW, case

import cojax
from cojax.rivals.choices import spent
from cojax.tuning.default_learner import with_link
from cojax.tuning.tuned import tuned_with_limit

GAP = 1e-6
FIRST_SEED = 1000  # the candidates were found on seeds 500 and 900 and the next few
NUM_STEPS, EVERY = 600, 2
NUM_TRIALS, NUM_HELD_OUT = (8, 4), (5, 3)  # of networks of 25 nodes or fewer, and of larger ones
DEFAULT = "default"
OURS = "its link"  # the default's: 2 bits, 0.7 and 1.6; where graphs take turns and links fail, 3 bits, 0.6 and 2
LINKS: dict[str, cojax.AdaptiveQuantizer | cojax.OneBitQuantizer | None] = {
    OURS: None,
    "1 bit": cojax.OneBitQuantizer(0.7, 1.45),
    "1 bit slow": cojax.OneBitQuantizer(0.85, 1.2),
    "2 bits fast": cojax.AdaptiveQuantizer(2, 0.6, 2.0),
    "3 bits": cojax.AdaptiveQuantizer(3, 0.5, 2.0),
    "4 bits": cojax.AdaptiveQuantizer(4, 0.5, 2.0),
}
# Learner, link, the part of its limit that a step takes, and the part of its computed gain.
GRID: list[tuple[Any, str, float, float]] = [
    (cojax.APAPC, OURS, 0.95, 1.0),
    (cojax.APAPC, OURS, 1.1, 0.7),
    (cojax.APAPC, OURS, 1.2, 1.0),
    (cojax.APAPC, "2 bits fast", 0.95, 1.0),
    (cojax.APAPC, "1 bit", 0.95, 0.25),
    (cojax.APAPC, "1 bit", 0.95, 0.4),
    (cojax.APAPC, "1 bit", 0.8, 0.5),
    (cojax.APAPC, "1 bit slow", 0.95, 0.3),
    (cojax.APAPC, "1 bit slow", 0.8, 0.5),
    (cojax.APAPC, "1 bit slow", 0.95, 0.5),
    (cojax.APAPC, "1 bit slow", 1.2, 0.5),
    (cojax.APAPC, "1 bit slow", 0.8, 0.7),
    (cojax.APAPC, "1 bit slow", 0.95, 0.7),
    (cojax.APAPC, "1 bit slow", 1.2, 0.7),
    (cojax.APAPC, "3 bits", 0.95, 1.0),
    (cojax.APAPC, "4 bits", 0.95, 1.0),
    (cojax.NIDS, OURS, 0.8, 1.0),
    (cojax.NIDS, OURS, 0.95, 1.0),
    (cojax.NIDS, OURS, 1.2, 1.0),
    (cojax.LEAD, OURS, 0.95, 1.0),
    (cojax.LEAD, "1 bit slow", 0.8, 1.0),
    (cojax.EXTRA, OURS, 0.95, 1.0),
    (cojax.DIGing, OURS, 0.5, 1.0),
]
# Of `which_learner.py`, over the default's link, tuned and in hindsight.
KINDS, PARTS = (cojax.NIDS, cojax.LEAD, cojax.EXTRA), (0.5, 0.8, 0.95)
LAST: dict[str, Any] = {}  # the instance that numbers were computed of last, and they


def numbers(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> dict[Any, Any]:
    """The default of an instance and its link, and by learner what `tuned` gives over such links, and its limit."""
    if LAST.get("problem") is not problem:
        linked, default = cojax.default_learner(problem, network, start)
        kinds = (cojax.APAPC, *KINDS, cojax.DIGing)
        found: dict[Any, Any] = {kind: tuned_with_limit(kind, problem, linked, start) for kind in kinds}
        LAST.update(problem=problem, found=found | {DEFAULT: (linked, default)})
    return LAST["found"]


def default(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> tuple[Any, cojax.CoOpt]:
    linked, method = numbers(problem, network, start)[DEFAULT]
    return linked, cojax.CoOpt(learn=method)


def candidate(kind: Any, link: str, part: float, gain: float = 1.0) -> Callable[..., tuple[Any, cojax.CoOpt]]:
    def made(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> tuple[Any, cojax.CoOpt]:
        found = numbers(problem, network, start)
        (linked, _), (method, limit) = found[DEFAULT], found[kind]
        method = dataclasses.replace(method, step_size=part * limit.value)
        if gain != 1.0:
            method = dataclasses.replace(method, gain=gain * method.gain)
        quantizer = LINKS[link]
        if quantizer is not None:
            most = 2.0 * linked.link.quantizer.first  # the largest number of the first message
            levels = 2 ** (max(int(quantizer.num_bits(jnp.float64)), 2) - 1)
            quantizer = dataclasses.replace(quantizer, first=most / levels)
            linked = with_link(network, cojax.Innovation(quantizer, memory=linked.link.memory))
        return linked, cojax.CoOpt(learn=method)

    return made


def named(kind: Any, link: str, part: float, gain: float = 1.0) -> str:
    return f"{kind.__name__}, {link}, {part:g}" + ("" if gain == 1.0 else f", gain {gain:g}")


CANDIDATES = {DEFAULT: default} | {named(*each): candidate(*each) for each in GRID}
RIVALS = {named(kind, OURS, part): candidate(kind, OURS, part) for kind in KINDS for part in PARTS}
RIVALS |= {named(cojax.DIGing, OURS, 0.5): candidate(cojax.DIGing, OURS, 0.5)}
KILOBITS = (2.0, 4.0)
# Everybody is judged by the mean over nodes of F(own model) - F*.
LOOKS: dict[str, Any] = {"num_steps": NUM_STEPS, "every": EVERY, "measure": cojax.own_models}


def cases(name: str, setting: str, first: int) -> Callable[[int], tuple]:
    """The instances of a network from a seed on."""
    return case(name, setting, first, "auto" if name in FEW else "dense")


def own_gaps(names: list[str], case: Callable[[int], tuple], num_trials: int) -> dict[str, list[float]]:
    """By name the medians over instances of the gap of nodes' own models at every budget, relative to the start's."""
    field = {name: (CANDIDATES | RIVALS)[name] for name in names}
    budgets = [1000 * kilobits for kilobits in KILOBITS]
    found = cojax.trials(case, field, num_trials=num_trials, bits=budgets[-1], **LOOKS)
    left = np.median(found.left(budgets), axis=0).tolist()
    return {one: [float(f"{gap:.3g}") for gap in gaps] for one, gaps in zip(found.methods, left, strict=True)}


def chosen(name: str, setting: str, field: dict[str, Any], **goal: Any) -> tuple[cojax.Choice, Any, dict[str, Any]]:
    """What `choose` takes of a field on one network, its held-out instances, and what both kinds of row tell."""
    large = name in FEW
    last = NUM_HELD_OUT[large]
    began = time.perf_counter()
    best = cojax.choose(
        cases(name, setting, FIRST_SEED),
        field,
        default=DEFAULT,
        num_trials=NUM_TRIALS[large],
        num_held_out=last,
        **goal,
        **LOOKS,
    )
    told = {
        "network": name,
        "setting": setting,
        "first seed": FIRST_SEED,
        "chosen": best.name,
        "runs": best.num_runs,
        "runs of all": best.num_all,
        "seconds of choosing": round(time.perf_counter() - began, 1),
        "held out": last,
        "beside the default while choosing": {one: float(f"{value:.4g}") for one, value in best.factors.items()},
    }
    return best, cases(name, setting, FIRST_SEED + int(best.held_out.seeds[0])), told


def row(name: str, setting: str) -> dict[str, Any]:
    """What was chosen on one network, and how it fares on the held-out instances beside all others."""
    best, held_out, told = chosen(name, setting, CANDIDATES, gap=GAP)
    last = told["held out"]
    everything = cojax.trials(held_out, CANDIDATES, num_trials=last, **LOOKS)
    bits = np.exp(np.log(spent(everything, "bits", GAP)).mean(0))
    solved = np.isfinite(everything.taken("bits", GAP)).sum(0)
    of_all = dict(zip(everything.methods, bits.tolist(), strict=True))
    tried = [one for one in best.factors if one != DEFAULT]
    return told | {
        "last beside the default": min(tried, key=lambda one: (-best.num_trials[one], best.factors[one])),
        "bits to the gap": {one: float(f"{value:.4g}") for one, value in of_all.items()},
        "solved": dict(zip(everything.methods, solved.tolist(), strict=True)),
        "own gaps": own_gaps(list(dict.fromkeys([DEFAULT, best.name, *RIVALS])), held_out, last),
    }


def row_within(name: str, setting: str) -> dict[str, Any]:
    """What was chosen for the first budget on one network, and how it fares on the held-out instances beside all."""
    _, held_out, told = chosen(name, setting, CANDIDATES | RIVALS, amount=1000 * KILOBITS[0], gap=EXACT)
    return told | {"own gaps": own_gaps([*(CANDIDATES | RIVALS)], held_out, told["held out"])}


def main(only: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    within = "within" in only
    only = [word for word in only if word != "within"]
    table, measured = ("worth_of_choosing_within", row_within) if within else ("worth_of_choosing", row)
    asked = [cell for cell in families.cells() if not only or {*cell, "/".join(cell)} & set(only)]
    for name, setting in sorted(asked, key=lambda cell: families.SETTINGS.index(cell[1])):
        rows = {(line["network"], line["setting"]): line for line in kept_rows(table, FIRST_SEED)}
        if (name, setting) in rows:
            continue
        if name not in families.SYNTHETIC:
            jax.clear_caches()  # no other network has its programs, and a process has room for so many
        began = time.perf_counter()
        rows[name, setting] = measured(name, setting)
        print(f"{name} {setting}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        kept = [rows[cell] for cell in families.cells() if cell in rows]
        save(table, kept, gap=GAP, kilobits=KILOBITS, rivals=list(RIVALS))


if __name__ == "__main__":
    main(sys.argv[1:])
