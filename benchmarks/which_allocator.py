"""The default allocator beside every rival at equal bits, on every network of `support/families.py`.

    python benchmarks/which_allocator.py [family | family/setting ...] && python benchmarks/print_tables.py allocators

Instances of the paper's cost: twelve of the networks made here, ten of the real ones, five of the large. The bits are
those after which the default has 1e-2, 1e-4 and 1e-8 of its first gap left, in the median; 1 - its gap / the rival's
gap is the improvement, instance by instance. Rivals have the constants of `cojax.tuned` over Metropolis weights; those
without formulas, and "in hindsight", the best of several, chosen after the fact on these instances, which no user can.
"""

import sys
import time
from typing import Any

import jax
import numpy as np
from support import contenders, families
from support.contenders import Course, Instances
from support.timing import save, saved_rows

import cojax
from cojax.tuning.default_learner import with_link

LARGE = ("Geant2012", "Uninett2010", "garr")  # 40 to 91 nodes
LEVELS = (1e-2, 1e-4, 1e-8)
ROUNDS = {"garr": 4096}  # its graphs are connected over many steps only
TUNED = (cojax.Laplacian, cojax.HeavyBall, cojax.Nesterov, cojax.FiniteTime, cojax.FixedTime, cojax.Saturated)
PAPER = cojax.Quantized(cojax.LogQuantizer(0.25, smallest=1e-6, largest=16.0))  # of the link of arXiv 2510.25176
UNIFORM = cojax.Quantized(cojax.UniformQuantizer(1 / 64, largest=2.0))  # of arXiv 2208.14059
HINDSIGHT = "Nesterov, 1 bit, in hindsight"


def defaults(name: str, setting: str) -> tuple[Instances, list, Course]:
    """The instances of a cell, their networks as a rival takes them, and the course of the default."""
    seeds = range(12 if name in families.SYNTHETIC else 5 if name in LARGE else 10)
    layout = "dense" if name in families.SYNTHETIC else "edges"
    networks = [families.network_of(name, setting, seed, layout=layout) for seed in seeds]
    instances = contenders.drawn(networks[0].num_nodes, seeds)
    chosen = [
        cojax.default_allocator(problem, network, problem.start())
        for problem, network in zip(contenders.problems(instances), networks, strict=True)
    ]
    own = [contenders.relaid(network, layout) for network, _ in chosen]
    return instances, networks, contenders.course(instances, own, [each for _, each in chosen], ROUNDS.get(name, 512))


def rivals_of(setting: str, instances: Instances, networks: list, most: float) -> dict[str, list[Course]]:
    """Every rival's courses up to `most` bits, several where its constants are chosen in hindsight."""
    fixed = setting == "static"
    memory = "node" if fixed else "edge"
    one_bit = cojax.Innovation(cojax.OneBitQuantizer(first=0.15), memory)  # a quarter of the spread of the prices
    two_bits = cojax.Innovation(cojax.AdaptiveQuantizer(2, first=0.15), memory)
    starts = [(problem, problem.start()) for problem in contenders.problems(instances)]

    def tuned(kind: Any) -> list:
        return [cojax.tuned(kind, *pair[:1], net, pair[1]) for pair, net in zip(starts, networks, strict=True)]

    def over(link: cojax.Link | None) -> list:
        return networks if link is None else [with_link(network, link) for network in networks]

    def run(methods: list, link: cojax.Link | None, bits: int) -> list[Course]:
        return [contenders.course(instances, over(link), methods, power_of_two(most / bits))]

    known = {kind.__name__: tuned(kind) for kind in TUNED}
    known["SingleBit"] = tuned(cojax.SingleBit)
    found = {f"{kind}, floats": run(methods, None, 64) for kind, methods in known.items()}
    found["Laplacian, log 1/4 (the paper)"] = run(known["Laplacian"], PAPER, 8)
    found["Laplacian, uniform"] = run(known["Laplacian"], UNIFORM, 9)
    momentum = [cojax.MomentumFlow(each.step_size, each.momentum) for each in known["HeavyBall"]]
    found["MomentumFlow, log 1/4"] = run(momentum, PAPER, 8)
    if fixed:
        found["Laplacian, events"] = run(known["Laplacian"], cojax.EventTriggered(0.05, 0.95), 4)
    for kind in ("Laplacian", "HeavyBall", "Nesterov"):
        found[f"{kind}, 2 bits"] = run(known[kind], two_bits, 2)
        found[f"{kind}, 1 bit"] = run(known[kind], one_bit, 1)
    found[HINDSIGHT] = contenders.chosen_in_hindsight(instances, over(one_bit), power_of_two(most))
    found |= contenders.outsiders(instances, networks, power_of_two(most / 64), fixed=fixed)
    found["equal utilisation at once"] = [contenders.equal_utilisation_at_once(instances)]
    return found


def power_of_two(rounds: float) -> int:
    """Few different lengths, so that few programs are compiled."""
    return 2 ** max(int(np.ceil(np.log2(max(rounds, 1)))), 3)


def bits_to(course: Course, level: float) -> float | None:
    """The bits from which the median gap stays at or below `level`."""
    above = np.flatnonzero(~(np.median(course.gap, 0) <= level))
    row = int(above[-1]) + 1 if above.size else 0
    return float(course.bits[row]) if row < course.bits.size else None


def judged(name: str, setting: str) -> list[dict]:
    """One row a rival and level."""
    instances, networks, own = defaults(name, setting)
    budgets = {level: bits for level in LEVELS if (bits := bits_to(own, level)) is not None}
    if not budgets:  # no level is reached: what is left at the end
        budgets = {float(np.median(own.gap[:, -1])): float(own.bits[-1])}
    rows = []
    for rival, courses in rivals_of(setting, instances, networks, max(budgets.values())).items():
        for level, bits in budgets.items():
            left = min((course.at(bits) for course in courses), key=lambda gap: float(np.median(gap)))
            smaller = 1 - own.at(bits) / np.maximum(left, 1e-300)
            rows.append(
                {"network": name, "setting": setting, "level": level, "bits": bits, "rival": rival}
                | {"rival gap": min(float(np.median(left)), 1e300), "improvement %": 100 * float(np.median(smaller))}
                | {"over 50 %": 100 * float((smaller > 0.5).mean()), "instances": smaller.size}
            )
    return rows


def main(only: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    for name, setting in families.cells(only):
        began = time.perf_counter()
        found = {(name, setting): judged(name, setting)}
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
    main(sys.argv[1:])
