"""How many rounds and bits tuning saves on instances that it never saw, beside closed forms and honest controls.

    python benchmarks/worth_of_tuning.py [family ...]

Five networks, DIGing and Laplacian over 3-bit innovations. 10 instances to take gradients on, 8 to select by, 12 to
report on. With names, the rows of the other networks stay as they are in results/tune.json. Rounds until the squared
distance from the optimum, of params and of shares, over all nodes, is and stays below 1e-6 of that at the start; mean
over the 12. Where an instance does not get there in five times the steps that are tuned on, it counts with those times
1 + the decades missing. All searches but the grids work in the same free coordinates. The closed form is that of every
single instance; everything else is one method for all.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from support.deployments import BITS, Family, families, instances
from support.timing import RESULTS, save, show

import cojax
from cojax.tuning import Area, Bits, PerNode, distances
from cojax.tuning.ensembles import Instance, RunPlan, course_of, taken
from cojax.tuning.searches import TuningSearch
from cojax.tuning.workbenches import Workbench, workbench

TRAINING, SELECTION, REPORT = 10, 8, 12
FIRST_REPORT = 100  # apart from those that were looked at while margins were chosen
UPDATES, TRIALS = 36, 200
MARGIN = 1.5  # of the limit of theory, whose curvatures are the worst that could occur anywhere
FACTORS = np.geomspace(0.25, 8.0, 24)  # of the grid, times the closed form: 16 % apart
WHAT = (PerNode("learn.step_size"), "learn.mixing", "allocate.step_size", "weights")
AREA, KBIT = Area(), Bits()
Pair = tuple[Any, Any]


class Judge:
    """Rounds and kilobits of methods on some instances, over runs so long that all but the hopeless end."""

    def __init__(self, family: Family, length: int):
        self.plan = RunPlan(length * family.num_steps, family.every, None, distances)
        self._same = jax.jit(jax.vmap(self._one, in_axes=(None, 0)))
        self._each = jax.jit(jax.vmap(self._one, in_axes=((0, None), 0)))

    def _one(self, pair: Pair, instance: Instance) -> tuple:
        course = course_of(self.plan, pair[1], pair[0], instance)
        halves = [AREA.score(course._replace(gap=course.gap[:, place : place + 1])) for place in (0, 1)]
        return AREA.score(course), KBIT.score(course) / 1000, *halves

    def same(self, pair: Pair, on: Instance) -> tuple[float, float, float]:
        """One method for all instances: rounds, kilobits, and the most rounds of any."""
        rounds, kilobits, _, _ = self._same(pair, on)
        return float(rounds.mean()), float(kilobits.mean()), float(rounds.max())

    def each(self, methods: list[Any], network: Any, on: Instance) -> np.ndarray:
        """A method for every instance: rounds, kilobits, rounds of the learner and of the allocator, (4, m)."""
        stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf, float) for leaf in leaves]), *methods)
        return np.asarray(self._each((stacked, network), on))


def pair_of(learner: Any, allocator: Any, ideal: Any, problem: Any, start: Any) -> cojax.CoOpt:
    return cojax.CoOpt(cojax.tuned(learner, problem, ideal, start), cojax.tuned(allocator, problem, ideal, start))


def grid(judge: Judge, method: cojax.CoOpt, network: Any, select: Instance) -> cojax.CoOpt:
    """The best of 24 step sizes of each half, on the instances to select by; the halves do not meet."""
    candidates = [
        cojax.CoOpt(
            cojax.DIGing(method.learn.step_size * factor, method.learn.mixing),
            cojax.Laplacian(method.allocate.step_size * factor),
        )
        for factor in FACTORS
    ]
    count = select.draw.shape[0]
    every = taken(select, np.tile(np.arange(count), len(FACTORS)))
    found = judge.each([one for one in candidates for _ in range(count)], network, every)
    means = found[2:].reshape(2, len(FACTORS), count).mean(2)
    # As for the other searches, a step counts as what it or one a little larger does, whichever is worse.
    learn, allocate = np.maximum(means[:, :-1], means[:, 1:]).argmin(1)
    return cojax.CoOpt(candidates[learn].learn, candidates[allocate].allocate)


def gradient(bench: Workbench, training: Instance, select: Instance, updates: int, quarter: int) -> tuple[Pair, Pair]:
    """What the search of `cojax.tune` returns, and what it had after `quarter` updates."""
    search = TuningSearch(bench, training, select, 1.0, optax.adam(0.1))
    early = search.pair
    for count in range(1, updates + 1):
        search.update()
        if count % 3 == 0 or count == quarter:
            search.look()
        if count == quarter:
            early = search.pair
    return search.pair, early


def best_of(bench: Workbench, found: list[tuple[float, Any]], select: Instance) -> Pair:
    """The best on the instances to select by of the ten that were best in training, what was given included."""
    least, pair = bench.mean_score(bench.given, select), bench.given
    for _, theta in sorted(found, key=lambda entry: entry[0])[:10]:
        score = bench.robust_score(theta, select)
        if score < least:
            least, pair = score, bench.pair(theta)
    return pair


def evolution(bench: Workbench, training: Instance, select: Instance, runs: int) -> Pair:
    """A (1+1) evolution strategy with the one-fifth rule."""
    random, size = np.random.default_rng(0), 0.1
    theta, least, found = bench.first, np.inf, []
    for _ in range(runs):
        moved = _scattered(theta, size, random) if found else theta
        loss = _loss(bench, moved, training)
        better = loss < least
        size *= 1.5 if better else 1.5**-0.25
        if better:
            theta, least = moved, loss
            found.append((loss, moved))
    return best_of(bench, found, select)


def chance(bench: Workbench, training: Instance, select: Instance, trials: int) -> Pair:
    """Random points around what was given, near and far."""
    random, found = np.random.default_rng(0), []
    for _ in range(trials):
        moved = _scattered(bench.first, float(np.exp(random.uniform(np.log(0.05), np.log(2.0)))), random)
        found.append((_loss(bench, moved, training), moved))
    return best_of(bench, found, select)


def _scattered(theta: Any, size: float, random: np.random.Generator) -> Any:
    return jax.tree.map(lambda leaf: leaf + size * jnp.asarray(random.standard_normal(leaf.shape)), theta)


def _loss(bench: Workbench, theta: Any, training: Instance) -> float:
    loss = float(bench.losses(theta, training).mean())
    return loss if np.isfinite(loss) else np.inf


def cost_of_gradient(bench: Workbench, training: Instance) -> float:
    """Processor time of one gradient over that of one evaluation, the median of 3 turns after compiling."""
    calls: dict[str, Callable[[], Any]] = {
        "gradient": lambda: jax.block_until_ready(bench.gradients(bench.first, training)),
        "run": lambda: jax.block_until_ready(bench.losses(bench.first, training)),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(4):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return float(np.median(times["gradient"][1:]) / np.median(times["run"][1:]))


def row_of(name: str, family: Family) -> dict[str, Any]:
    began = time.perf_counter()
    numbers = [*range(TRAINING + SELECTION), *range(FIRST_REPORT, FIRST_REPORT + REPORT)]
    problems, starts = instances(family.num_nodes, numbers)
    network, ideal = family.network(), family.network(ideal=True)
    first = pair_of(cojax.DIGing, cojax.Laplacian, ideal, problems[0], starts[0])
    bench, everything = workbench(
        problems, network, first, starts, what=WHAT, objective=AREA, num_steps=family.num_steps, every=family.every,
        optima=None, margin=MARGIN, inflation=1.1, window=None, gap=distances,
    )  # fmt: skip
    ends = np.cumsum([TRAINING, SELECTION, REPORT])
    training, select, report = (taken(everything, slice(a, b)) for a, b in zip([0, *ends[:2]], ends, strict=True))
    judge, short = Judge(family, 5), Judge(family, 1)
    last = list(zip(problems, starts, strict=True))[-REPORT:]
    closed = judge.each([pair_of(cojax.DIGing, cojax.Laplacian, ideal, *one) for one in last], network, report)
    other = judge.each([pair_of(cojax.NIDS, cojax.Nesterov, ideal, *one) for one in last], network, report)
    ratio = cost_of_gradient(bench, training)
    quarter = max(int(TRIALS / 4 / ratio), 1)
    tuned, early = gradient(bench, training, select, UPDATES, quarter)
    fast, fast_ideal = (family.network(ideal=each, weights=cojax.weights.fastest) for each in (False, True))
    at_fast = pair_of(cojax.DIGing, cojax.Laplacian, fast_ideal, problems[0], starts[0])
    rounds, kilobits, most = judge.same(tuned, report)
    before, before_bits = closed[0].mean(), closed[1].mean()
    row = {
        "network": name,
        "closed form": float(before),
        "grid": judge.same((grid(short, first, network, select), network), report)[0],
        "fastest + grid": judge.same((grid(short, at_fast, fast, select), fast), report)[0],
        "(1+1)-ES": judge.same(evolution(bench, training, select, int(UPDATES * ratio)), report)[0],
        f"random, {TRIALS}": judge.same(chance(bench, training, select, TRIALS), report)[0],
        "tuned, 1/4 of its cost": judge.same(early, report)[0],
        "tuned": rounds,
        "tuned, worst of 12": most,
        "closed form, worst of 12": float(closed[0].max()),
        "rounds saved": float(before / rounds),
        "kbit, closed form": float(before_bits),
        "kbit, tuned": kilobits,
        "bits saved": float(before_bits / kilobits),
        "NIDS + Nesterov, closed form": float(other[0].mean()),
        "gradient / run": ratio,
        "seconds": time.perf_counter() - began,
    }
    print(name, {key: value if isinstance(value, str) else round(value, 2) for key, value in row.items()}, flush=True)
    return row


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    wanted, rows = sys.argv[1:] or list(families()), []
    known = RESULTS / "worth_of_tuning.json"
    for name in wanted:
        row = row_of(name, families()[name])
        rows = json.loads(known.read_text())["rows"] if known.exists() else []
        rows = [*(other for other in rows if other["network"] != name), row]
        rows.sort(key=lambda row: list(families()).index(row["network"]))
        save(
            "worth_of_tuning",
            rows,
            training=TRAINING,
            selection=SELECTION,
            report=REPORT,
            bits_a_number=BITS,
            margin=MARGIN,
        )
    show(rows)
    for row in rows:
        for what in ("rounds saved", "bits saved"):
            print(f"{row['network']}: {what} {row[what]:.2f}, target 2: {'reached' if row[what] >= 2 else 'MISSED'}")
        control = min(("grid", "fastest + grid", "(1+1)-ES"), key=lambda name: row[name])
        print(
            f"{row['network']}: {row[control] / row['tuned']:.2f} times fewer rounds than the best control, {control}"
        )
        other = row["NIDS + Nesterov, closed form"] / row["tuned"]
        print(
            f"{row['network']}: beside NIDS + Nesterov {other:.2f}, target 2: {'reached' if other >= 2 else 'MISSED'}"
        )
        quarter, others = row["tuned, 1/4 of its cost"], row[f"random, {TRIALS}"]
        print(f"{row['network']}: beats random search at 1/4 of its cost: {'yes' if quarter < others else 'NO'}")


if __name__ == "__main__":
    main()
