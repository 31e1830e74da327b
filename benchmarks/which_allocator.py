"""The default allocator beside every rival at equal bits, on every network of `support/families.py`.

    python benchmarks/which_allocator.py [family | family/setting ...] [--folder FOLDER]
    python benchmarks/print_tables.py allocators

Instances of the paper's cost: twelve of the networks made here, ten of the real ones, five of the large. The bits are
those after which the default has 1e-2, 1e-4 and 1e-8 of its first gap left, in the median; 1 - its gap / the rival's
gap is the improvement, instance by instance. Rivals have the constants of `cojax.tuned` over Metropolis weights; those
without formulas, and "in hindsight", the best of several, chosen after the fact on these instances, which no user can.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from support import contenders, families
from support.contenders import Group, field, tuned
from support.timing import asked, save, saved_rows

import cojax
from cojax.rivals.compare import first_row_at
from cojax.rivals.evidence import middle

LARGE = ("Geant2012", "Uninett2010", "garr")  # 40 to 91 nodes
LEVELS = (1e-2, 1e-4, 1e-8)
ROUNDS = {"garr": 4096}  # its graphs are connected over many steps only
TUNED = (cojax.Laplacian, cojax.HeavyBall, cojax.Nesterov, cojax.FiniteTime, cojax.FixedTime, cojax.Saturated)
PAPER = cojax.Quantized(cojax.LogQuantizer(0.25, smallest=1e-6, largest=16.0))  # of the link of arXiv 2510.25176
UNIFORM = cojax.Quantized(cojax.UniformQuantizer(1 / 64, largest=2.0))  # of arXiv 2208.14059
HINDSIGHT, AT_ONCE, DEFAULT = "Nesterov, 1 bit, in hindsight", "equal utilisation at once", "default"


def layout_of(name: str) -> str:
    return "dense" if name in families.SYNTHETIC else "edges"


def case(name: str, setting: str) -> Callable[[int], tuple]:
    """The instances of a network."""

    def made(seed: int) -> tuple:
        network = families.network_of(name, setting, seed, layout=layout_of(name))
        problem = contenders.drawn(network.num_nodes, seed)
        return problem, network, problem.start()

    return made


def defaults(name: str, setting: str, folder: Path | None) -> cojax.Trials:
    """The default alone."""
    field, num_steps = {DEFAULT: contenders.default(layout_of(name))}, ROUNDS.get(name, 512)
    return run(name, setting, field, num_steps=num_steps, folder=folder)


def run(name: str, setting: str, field: Group, **settings: Any) -> cojax.Trials:
    num_trials = 12 if name in families.SYNTHETIC else 5 if name in LARGE else 10
    return contenders.trials(case(name, setting), field, num_trials=num_trials, **settings)


def rivals_of(setting: str) -> dict[str, Group]:
    """Every rival, with several constants where they are chosen in hindsight."""
    fixed = setting == "static"
    memory = "node" if fixed else "edge"
    one_bit = cojax.Innovation(cojax.OneBitQuantizer(first=0.15), memory)  # a quarter of the spread of the prices
    two_bits = cojax.Innovation(cojax.AdaptiveQuantizer(2, first=0.15), memory)
    found = {f"{kind.__name__}, floats": tuned(kind) for kind in (*TUNED, cojax.SingleBit)}
    found["Laplacian, log 1/4 (the paper)"] = tuned(cojax.Laplacian, PAPER)
    found["Laplacian, uniform"] = tuned(cojax.Laplacian, UNIFORM)
    found["MomentumFlow, log 1/4"] = contenders.momentum_flow(PAPER)
    if fixed:
        found["Laplacian, events"] = tuned(cojax.Laplacian, cojax.EventTriggered(0.05, 0.95))
    for kind in (cojax.Laplacian, cojax.HeavyBall, cojax.Nesterov):
        found[f"{kind.__name__}, 2 bits"] = tuned(kind, two_bits)
        found[f"{kind.__name__}, 1 bit"] = tuned(kind, one_bit)
    groups = {name: {name: one} for name, one in found.items()} | {HINDSIGHT: contenders.in_hindsight(one_bit)}
    groups |= contenders.outsiders(fixed=fixed)
    return groups | {AT_ONCE: {AT_ONCE: contenders.equal_utilisation_at_once}}


def power_of_two(rounds: float) -> int:
    """Few different lengths, so that few programs are compiled."""
    return 2 ** max(int(np.ceil(np.log2(max(rounds, 1)))), 3)


def bits_to(own: cojax.Trials, level: float) -> float | None:
    """The bits from which the median gap stays at or below `level`."""
    row = first_row_at(middle(own.gaps()[:, 0].T), level)
    return None if row is None else float(own.bits[0, 0, row])


def judged(name: str, setting: str, folder: Path | None) -> list[dict]:
    """One row a rival and level."""
    folder = folder and folder / name / setting
    own = defaults(name, setting, folder and folder / "default")
    budgets = {level: bits for level in LEVELS if (bits := bits_to(own, level)) is not None}
    if not budgets:  # no level is reached: what is left at the end
        budgets = {float(np.median(own.gaps()[:, 0, -1])): float(own.bits[0, 0, -1])}
    most, groups = max(budgets.values()), rivals_of(setting)
    settings = {"num_steps": power_of_two(most), "bits": most, "folder": folder and folder / "rivals"}
    others = run(name, setting, field(groups), **settings)
    left = {level: contenders.best_left(others, groups, bits) for level, bits in budgets.items()}
    rows = []
    for rival in groups:
        for level, bits in budgets.items():
            theirs = left[level][rival]
            smaller = 1 - own.left(bits)[:, 0] / np.maximum(theirs, 1e-300)
            rows.append(
                {"network": name, "setting": setting, "level": level, "bits": bits, "rival": rival}
                | {"rival gap": min(float(np.median(theirs)), 1e300), "improvement %": 100 * float(np.median(smaller))}
                | {"over 50 %": 100 * float((smaller > 0.5).mean()), "instances": smaller.size}
            )
    return rows


def main(only: list[str], folder: Path | None) -> None:
    jax.config.update("jax_enable_x64", True)
    for name, setting in families.cells(only):
        began = time.perf_counter()
        found = {(name, setting): judged(name, setting, folder)}
        print(f"{name} {setting}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        cells = last_rows() | found
        rows = [row for cell in families.cells() for row in cells.get(cell, [])]
        save("which_allocator", rows, nodes=families.NUM_NODES, loss=families.LOSS)


def last_rows() -> dict[tuple[str, str], list[dict]]:
    """The rows so far, by network and setting."""
    cells: dict[tuple[str, str], list[dict]] = {}
    for row in saved_rows("which_allocator"):
        cells.setdefault((row["network"], row["setting"]), []).append(row)
    return cells


if __name__ == "__main__":
    main(*asked())
