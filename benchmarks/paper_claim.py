"""Where "over 50 % smaller cost-optimality gap than existing CPU scheduling" (arXiv 2510.25176) holds, and where not.

    python benchmarks/paper_claim.py [part ...] [--folder FOLDER] && python benchmarks/print_tables.py paper_claim

100 random instances of the paper's cost (x - b_i)^2 / (2 kappa_i) over random graphs of 30 nodes, and, where
../shared/data is there, 100 hours of the power prices of 22 regions: the Laplacian flow over ideal, log and innovation
links, and cojax's default, beside equal utilisation and every rival, at equal rounds and at equal bits.
"""

import csv
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support import contenders
from support.contenders import Contender, Group, tuned
from support.timing import asked, save, saved_rows, show

import cojax
from cojax import theory
from cojax.tuning.default_learner import with_link

NUM_NODES, NUM_INSTANCES = 30, 100
ROUNDS, BITS = (100, 1000), 1024
LENGTH: dict[str, Any] = {"num_trials": NUM_INSTANCES, "num_steps": max(ROUNDS), "every": min(ROUNDS)}
SPREADS = (1.0, 0.1, 0.02, 0.0)  # of the demand ratios b_i / kappa_i around their mean; at 0 demand is proportional
PRICES = Path(__file__).parents[2] / "shared" / "data" / "prices_usd_per_mwh_2024_hourly_22regions.csv"
KILOWATTS, PUE = 5.0, 1.2  # of a thousand cores, and of every region: the data have no PUE
SIZES = (20.0, 50.0, 85.0, 110.0)  # thousand cores, in turn
EQUAL = "equal utilisation"
STIFFNESS = 0.1  # of the penalty on shares outside of their bounds, $ per (thousand cores)^2 and hour


def links(memory: str) -> dict[str, cojax.Link]:
    """By name; log alphabets that fit the prices of the random instances."""
    return {
        "ideal": cojax.Ideal(),
        "log 1/4": cojax.Quantized(cojax.LogQuantizer(0.25, smallest=1e-6, largest=16.0)),
        "log 1": cojax.Quantized(cojax.LogQuantizer(1.0, smallest=1e-6, largest=16.0)),
        "innovation log 1": cojax.Innovation(cojax.LogQuantizer(1.0, smallest=2e-12, largest=16.0), memory),
        "innovation 2 bits": cojax.Innovation(cojax.AdaptiveQuantizer(2), memory),
    }


def network_of(setting: str) -> cojax.Network:
    """One random graph, four that take turns, or these with 30 % loss."""
    graphs = [cojax.graphs.named("erdos_renyi", NUM_NODES, seed=seed, probability=0.2) for seed in range(4)]
    network = cojax.network(graphs[:1] if setting == "static" else graphs, layout="dense")
    return cojax.Lossy(network, 0.3) if setting == "lossy" else network


def ours(setting: str) -> Group:
    """The paper's flow over every link, with half of its limit, and the default."""

    def flow(link: cojax.Link) -> Contender:
        def made(problem: cojax.Problem, network: cojax.Network, start: cojax.Decision) -> tuple:
            curvature = 1 / np.asarray(problem.data[1])
            limit = contenders.once(problem, "limit", lambda: theory.allocation_limit(network, curvature).value)
            return with_link(network, link), cojax.CoOpt(allocate=cojax.Laplacian(0.5 * limit))

        return made

    flows = links("node" if setting == "static" else "edge")
    return {f"Laplacian, {name}": flow(link) for name, link in flows.items()} | {"default": contenders.default("dense")}


def rivals() -> dict[str, Group]:
    """Exact ones over floats on the fixed graph, and outsiders with several constants."""
    kinds = (cojax.Laplacian, cojax.FiniteTime, cojax.FixedTime, cojax.Saturated, cojax.SingleBit)
    named = {"heavy ball": cojax.HeavyBall, "Nesterov": cojax.Nesterov} | {kind.__name__: kind for kind in kinds}
    return {name: {f"{name}, floats": tuned(kind)} for name, kind in named.items()} | contenders.outsiders(fixed=True)


def case(setting: str, spread: float) -> Callable[[int], tuple]:
    def made(seed: int) -> tuple:
        problem = contenders.drawn(NUM_NODES, seed, spread)
        return problem, network_of(setting), problem.start()

    return made


def judged(gap: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How much smaller `gap` is than `other`, in percent: median (-1000 and below as -1000), and instances over 50."""
    smaller = 100 * (1 - gap / np.maximum(other, 1e-300))
    return {"median %": max(float(np.median(smaller)), -1000.0), "over 50 %": float((smaller > 50).mean() * 100)}


def by_rounds(setting: str, spread: float | None, found: cojax.Trials, equal: np.ndarray) -> list[dict]:
    """What every method has left after ROUNDS beside what equal utilisation (t,) has."""
    left = found.left(ROUNDS, "steps")
    return [
        {"setting": setting, "spread": spread, "ours": each, "rival": "equal utilisation", "at": f"{rounds} rounds"}
        | judged(left[:, row, column], equal)
        for row, each in enumerate(found.methods)
        if each != EQUAL
        for column, rounds in enumerate(ROUNDS)
    ]


def against_equal_utilisation(setting: str, spread: float, folder: Path | None) -> list[dict]:
    """The claim itself: every link after 100 and 1000 rounds beside where equal utilisation ends."""
    field = ours(setting) | {EQUAL: contenders.equal_utilisation_at_once}
    found = contenders.trials(case(setting, spread), field, folder=folder, **LENGTH)
    return by_rounds(setting, spread, found, found.gaps()[:, -1, -1])


def against_every_rival(folder: Path | None) -> list[dict]:
    """Spread 1 on the fixed graph, at 100 rounds and at 1024 bits; constants of outsiders chosen in hindsight."""
    mine, groups = {name: {name: one} for name, one in ours("static").items()}, rivals()
    everybody, left = mine | groups, {}
    lengths = {
        f"{ROUNDS[0]} rounds": ("steps", ROUNDS[0], {"num_steps": ROUNDS[0], "every": ROUNDS[0]}),
        f"{BITS} bits": ("bits", BITS, {"num_steps": BITS, "bits": BITS}),
    }
    for at, (over, amount, length) in lengths.items():
        settings = {"num_trials": NUM_INSTANCES, "folder": folder and folder / over} | length
        found = contenders.trials(case("static", 1.0), contenders.field(everybody), **settings)
        left[at] = contenders.best_left(found, everybody, amount, over)
    return [
        {"setting": "static", "spread": 1.0, "ours": name, "rival": rival, "at": at}
        | judged(left[at][name], left[at][rival])
        for name in mine
        for rival in groups
        for at in lengths
    ]


def savings() -> list[dict]:
    """1 - F*/F_bal of the total cost, beside Var(r) / (Var(r) + (z - mean r)^2), weighed by capacity."""
    rows = []
    for spread in SPREADS:
        drawn = [contenders.drawn(NUM_NODES, seed, spread) for seed in range(NUM_INSTANCES)]
        demand, capacity = (np.stack([np.asarray(each.data[place]) for each in drawn]) for place in (0, 1))
        budget = np.asarray([np.asarray(each.budget) for each in drawn])
        total = capacity.sum(1)
        best = (budget - demand.sum(1)) ** 2 / (2 * total)
        level = (budget / total)[:, None]
        balanced = ((capacity * level - demand) ** 2 / (2 * capacity)).sum(1)
        ratio, mean = demand / capacity, (demand.sum(1) / total)[:, None]
        variance = (capacity * (ratio - mean) ** 2).sum(1) / total
        formula = variance / (variance + (level - mean)[:, 0] ** 2)
        saved = 1 - best / balanced
        rows.append(
            {"spread": spread, "saving, median %": 100 * float(np.median(saved))}
            | {"over 50 %": 100 * float((saved > 0.5).mean()), "off the formula": float(abs(saved - formula).max())}
        )
    return rows


def real_cost(x: cojax.Decision, data: tuple) -> jax.Array:
    """$ an hour: power, and a congestion of 1/4 x^2 / capacity."""
    price, capacity = data
    return price * x.cpu + 0.25 * x.cpu**2 / capacity


def regional_problem(price: jax.Array, capacity: jax.Array) -> cojax.Problem:
    """One hour: 60 % of the capacity to give away, soft bounds."""
    penalty = cojax.penalties.PowerPenalty(STIFFNESS)
    budget = 0.6 * capacity.sum()
    return cojax.Problem(real_cost, (price, capacity), budget, lower=0.0, upper=capacity, penalty=penalty)


def real(folder: Path | None) -> list[dict]:
    """100 hours of 2024 over a random graph of the 22 regions, beside 60 % everywhere, soft bounds [0, capacity]."""
    with PRICES.open() as file:
        table = np.asarray([[float(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]])
    prices = KILOWATTS * PUE * table[np.linspace(0, len(table) - 1, NUM_INSTANCES).astype(int)] / 1000.0
    capacity = np.resize(SIZES, prices.shape[1])
    graph = cojax.graphs.named("erdos_renyi", prices.shape[1], seed=3)

    network = cojax.network(graph, layout="dense")

    def hour(seed: int) -> tuple:
        problem = regional_problem(jnp.asarray(prices[seed]), jnp.asarray(capacity))
        return problem, network, problem.start(cpu=0.6 * capacity)

    flows = {f"Laplacian, {name}": tuned(cojax.Laplacian, link) for name, link in links("node").items()}
    found = cojax.trials(hour, flows | {"default": contenders.default("dense")}, folder=folder, **LENGTH)
    return by_rounds("22 regions", None, found, np.ones(NUM_INSTANCES))  # where all hours start


def parts() -> dict[str, Callable[[Path | None], list[dict]]]:
    """What can be measured by itself, by name."""
    found: dict[str, Callable[[Path | None], list[dict]]] = {
        f"static {spread:g}": partial(against_equal_utilisation, "static", spread) for spread in SPREADS
    }
    found |= {f"{each} 1": partial(against_equal_utilisation, each, 1.0) for each in ("switching", "lossy")}
    return found | ({"22 regions": real} if PRICES.is_file() else {}) | {"every rival": against_every_rival}


def part_of(row: dict) -> str:
    """The part that measured a row."""
    if row["rival"] != "equal utilisation":
        return "every rival"
    return row["setting"] if row["spread"] is None else f"{row['setting']} {row['spread']:g}"


def main(only: list[str], folder: Path | None) -> None:
    jax.config.update("jax_enable_x64", True)
    saved, known = savings(), parts()
    for name in only or known:
        began = time.perf_counter()
        found = known[name](folder and folder / name)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        rows = [row for row in saved_rows("paper_claim") if part_of(row) != name] + found
        order = [*known, "22 regions"]
        rows.sort(key=lambda row: order.index(part_of(row)))
        save("paper_claim", rows, savings=saved, nodes=NUM_NODES, instances=NUM_INSTANCES)
    show(saved)


if __name__ == "__main__":
    main(*asked())
