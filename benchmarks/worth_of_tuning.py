"""How many rounds and bits tuning saves on instances that it never saw, beside closed forms and honest controls.

    python benchmarks/worth_of_tuning.py [family ...]
    python benchmarks/worth_of_tuning.py choose [family ...]

Five networks, DIGing and Laplacian over 3-bit innovations. 10 instances to take gradients on, 8 to select by, 12 to
report on. With names, the rows of the other networks stay as they are in results/tune.json. Rounds until the squared
distance from the optimum, of params and of shares, over all nodes, is and stays below 1e-6 of that at the start; mean
over the 12. Where an instance does not get there in five times the steps that are tuned on, it counts with those times
1 + the decades missing. All searches but the grids work in the same free coordinates. The closed form is that of every
single instance; everything else is one method for all.

With `choose`, into results/worth_of_tuning_choose.json: `cojax.choose` with numbers by gradient, for each half alone,
over LEARNERS and ALLOCATORS in closed form with Metropolis and fastest weights; defaults are DIGing and Laplacian as
above. It is judged on 48 instances, the 12 and 36 more, beside all candidates as they are, beside the best of 24 steps
of every candidate, selected on the 8 instances, and beside the search of `cojax.tune` from the pair whose grid is best,
with its edge weights. Of closed forms and grids the best candidate is taken in hindsight, on the same 48 instances.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from support.deployments import BITS, Family, families, instances
from support.timing import save, saved_rows, show

import cojax
from cojax.networks.faults.draws import reseed
from cojax.rivals.choices import Scaled
from cojax.tuning import Area, Bits, PerNode, distances
from cojax.tuning.default_learner import with_link
from cojax.tuning.ensembles import Instance, RunPlan, course_of, stack_instances, taken
from cojax.tuning.factors import scaled
from cojax.tuning.searches import TuningSearch
from cojax.tuning.workbenches import Workbench, workbench

TRAINING, SELECTION, REPORT = 10, 8, 12
CHOSEN_REPORT = 48  # rounds of methods that are even differ by 2 % on 12
FIRST_REPORT = 100  # apart from those that were looked at while margins were chosen
UPDATES, TRIALS = 36, 200
MARGIN = 1.5  # of the limit of theory, whose curvatures are the worst that could occur anywhere
FACTORS = np.geomspace(0.25, 8.0, 24)  # of the grid, times the closed form: 16 % apart
WHAT = (PerNode("learn.step_size"), "learn.mixing", "allocate.step_size", "weights")
AREA, KBIT = Area(), Bits()
LEARNERS = (cojax.DIGing, cojax.EXTRA, cojax.NIDS, cojax.ATCTracking, cojax.LEAD, cojax.APAPC)
ALLOCATORS = (cojax.Laplacian, cojax.HeavyBall, cojax.Nesterov)
KINDS = {"learn": LEARNERS, "allocate": ALLOCATORS}
WEIGHTS = {"": cojax.weights.metropolis, ", fastest": cojax.weights.fastest}
SAME = ("",)  # the link of the job: 3 bits, 0.8 and 1.6
LINKS = {"": {}, ", quick link": {"shrink": 0.6, "grow": 2.0}}  # of as many bits
CHOSEN_TRIALS, CHOSEN_UPDATES = 6, 3
LENGTH = 5  # times the steps that are tuned on: the runs that all are judged by
QUICK = "{}, links too"  # of controls that have the quick link as well
CHOSEN_WHAT = {
    "learn": ["learn.step_size", "learn.mixing", "learn.gain", "learn.blend"],
    "allocate": ["allocate.step_size", "allocate.momentum"],
}
Pair = tuple[Any, Any]


class Judge:
    """Rounds and kilobits of methods on some instances, over runs so long that all but the hopeless end."""

    def __init__(self, family: Family, length: int):
        self.plan = RunPlan(length * family.num_steps, family.every, None, distances)
        self._same = jax.jit(jax.vmap(self._one, in_axes=(None, 0)))
        self._each = jax.jit(jax.vmap(self._one, in_axes=((0, None), 0)))

    def _one(self, pair: Pair, instance: Instance) -> tuple:
        course = course_of(self.plan, pair[1], pair[0], instance)
        halves = [
            AREA.score(course._replace(gap=course.gap[:, place : place + 1])) for place in range(course.gap.shape[1])
        ]
        return AREA.score(course), KBIT.score(course) / 1000, *halves

    def same(self, pair: Pair, on: Instance) -> tuple[float, float, float]:
        """One method for all instances: rounds, kilobits, and the most rounds of any."""
        rounds, kilobits, _, _ = self._same(pair, on)
        return float(rounds.mean()), float(kilobits.mean()), float(rounds.max())

    def each(self, methods: list[Any], network: Any, on: Instance) -> np.ndarray:
        """A method for every instance: rounds, kilobits, rounds of the halves that move, (3, m) or (4, m)."""
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
    judge, short = Judge(family, LENGTH), Judge(family, 1)
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


def with_numbers(network: cojax.Network, numbers: dict[str, float]) -> cojax.Network:
    """A network whose quantizer has these numbers."""
    link: Any = network.link
    return with_link(network, cojax.Innovation(dataclasses.replace(link.quantizer, **numbers), memory=link.memory))


class Candidates:
    """Closed forms of one network: by half and name a function of an instance, computed once for each."""

    def __init__(self, family: Family, links: Iterable[str]):
        self.family = family
        self.networks = {
            (name, link): with_numbers(family.network(weights=rule), LINKS[link])
            for name, rule in WEIGHTS.items()
            for link in links
        }
        self.ideal = {name: family.network(ideal=True, weights=rule) for name, rule in WEIGHTS.items()}
        self.known: dict[Any, Any] = {}
        self.by_name = {
            half: {
                kind.__name__ + words + link: self._candidate(half, kind, words, link)
                for kind in kinds
                for words, link in self.networks
            }
            for half, kinds in KINDS.items()
        }

    def _candidate(self, half: str, kind: Any, words: str, link: str) -> Callable[..., Pair]:
        def made(problem: Any, network: Any, start: Any) -> Pair:
            key = half, kind, words, np.asarray(problem.data[0]).tobytes()
            if key not in self.known:
                self.known[key] = cojax.CoOpt(**{half: cojax.tuned(kind, problem, self.ideal[words], start)})
            return network.over(self.networks[words, link].bare()), self.known[key]

        return made

    def case(self, seed: int) -> tuple:
        """The instances that other searches have too, and some after them."""
        (problem,), (start,) = instances(self.family.num_nodes, [seed])
        return problem, reseed(self.networks["", ""], seed), start


def judged(judge: Judge, half: str, given: Callable[..., Pair], ones: list[Any], network: Any, on: Instance) -> Any:
    """Rounds of one half of a candidate on some instances; infinite where it has no closed form."""
    try:
        pairs = [given(problem, network, start) for problem, start in ones]
    except cojax.CojaxInputError:
        return np.full(len(ones), np.inf)
    return judge.each([method for _, method in pairs], pairs[0][0], on)[0]


def best_step(judge: Judge, half: str, given: Any, ones: list[Any], network: Any, select: Instance) -> Scaled | None:
    """The candidate with the best of 24 factors of its step, as `grid` selects."""
    paths = [f"{half}.step_size"]
    try:
        pairs = [given(problem, network, start) for problem, start in ones]
    except cojax.CojaxInputError:
        return None
    scaled_ones = [
        scaled((method, linked), paths, [float(np.log(factor))])[0] for factor in FACTORS for linked, method in pairs
    ]
    count = len(ones)
    found = judge.each(scaled_ones, pairs[0][0], taken(select, np.tile(np.arange(count), len(FACTORS))))
    means = found[0].reshape(len(FACTORS), count).mean(1)
    return Scaled(given, {paths[0]: float(FACTORS[np.maximum(means[:-1], means[1:]).argmin()])})


class Ensemble:
    """The instances of one network, and who judges there."""

    def __init__(self, family: Family):
        self.family = family
        self.network = family.network()
        numbers = [*range(TRAINING + SELECTION), *range(FIRST_REPORT, FIRST_REPORT + CHOSEN_REPORT)]
        self.problems, self.starts = instances(family.num_nodes, numbers)
        self.ones = list(zip(self.problems, self.starts, strict=True))
        self.judge = Judge(family, LENGTH)
        everything = stack_instances(self.problems, self.starts, None)
        ends = np.cumsum([TRAINING, SELECTION, CHOSEN_REPORT])
        parts = (taken(everything, slice(a, b)) for a, b in zip([0, *ends[:2]], ends, strict=True))
        self.training, self.select, self.report = parts

    def rounds(self, half: str, given: Callable[..., Pair]) -> np.ndarray:
        """Of one half of a candidate, on the instances to report on."""
        return judged(self.judge, half, given, self.ones[-CHOSEN_REPORT:], self.network, self.report)


def slower(learn: np.ndarray, allocate: np.ndarray) -> list[float]:
    """Rounds of both halves together, instance by instance."""
    return np.maximum(learn, allocate).tolist()


def controls(on: Ensemble, links: Iterable[str]) -> dict[str, Any]:
    """Rounds of the default, and of the best of closed forms, of grids and of tuning, and what these cost.

    Lists have the rounds of every instance.
    """
    family, select = on.family, on.ones[TRAINING:-CHOSEN_REPORT]
    candidates = Candidates(family, links)
    short, row = Judge(family, 1), {}
    rounds: dict[str, dict[str, np.ndarray]] = {}
    pair: dict[str, Any] = {}
    for half, fields in candidates.by_name.items():
        closed = {each: on.rounds(half, given) for each, given in fields.items()}
        made = {each: best_step(short, half, given, select, on.network, on.select) for each, given in fields.items()}
        grids = {each: given for each, given in made.items() if given is not None}
        searched = {each: on.rounds(half, given) for each, given in grids.items()}
        hindsight = min(closed, key=lambda each: closed[each].mean())
        favourite = min(searched, key=lambda each: searched[each].mean())
        row |= {f"{half}: best closed form": hindsight, f"{half}: best grid": favourite}
        first = closed[next(iter(fields))]
        rounds[half] = {"default": first, "closed forms": closed[hindsight], "grids": searched[favourite]}
        row |= {f"{half}: rounds of {who}": float(found.mean()) for who, found in rounds[half].items()}
        pair[half] = grids[favourite](on.problems[0], on.network, on.starts[0])
    row |= {who: slower(rounds["learn"][who], rounds["allocate"][who]) for who in ("default", "closed forms", "grids")}
    (linked, learn), (_, allocate) = pair["learn"], pair["allocate"]
    bench, _ = workbench(
        on.problems[:1], linked, cojax.CoOpt(learn.learn, allocate.allocate), on.starts[:1],
        what=("learn.step_size", "allocate.step_size", "weights"), objective=AREA, num_steps=family.num_steps,
        every=family.every, optima=None, margin=MARGIN, inflation=1.1, window=None, gap=distances,
    )  # fmt: skip
    tuned, _ = gradient(bench, on.training, on.select, UPDATES, UPDATES)
    row["tuned from the best grid"] = on.judge.each([tuned[0]] * CHOSEN_REPORT, tuned[1], on.report)[0].tolist()
    count = sum(map(len, candidates.by_name.values()))
    return row | {
        "runs of closed forms": count * (TRAINING + SELECTION),
        "runs of grids": count * len(FACTORS) * SELECTION,
        "runs of one tuning": UPDATES * TRAINING * 4,
    }


def chosen(name: str, on: Ensemble) -> dict[str, Any]:
    """Rounds of what `choose` takes for both halves, and what that cost."""
    began, runs, rounds, row = time.perf_counter(), 0, [], {}
    candidates = Candidates(on.family, LINKS)
    for half, fields in candidates.by_name.items():
        best = cojax.choose(
            candidates.case,
            fields,
            default=next(iter(fields)),
            num_trials=CHOSEN_TRIALS,
            num_steps=LENGTH * on.family.num_steps,
            every=on.family.every,
            over="steps",
            what=CHOSEN_WHAT[half],
            num_updates=CHOSEN_UPDATES,
        )
        print(f"{name}, {half}\n{best}", flush=True)
        runs += best.num_runs
        rounds.append(on.rounds(half, best.candidate))
        row |= {f"{half}: chosen": best.name, f"{half}: rounds of chosen": float(rounds[-1].mean())}
    row |= {"chosen": slower(*rounds), "runs of choosing": runs}
    return row | {"seconds of choosing": time.perf_counter() - began}


def choosing(names: list[str]) -> None:
    """Controls that are saved are not run again."""
    order = list(families())
    rows = {row["network"]: row for row in saved_rows("worth_of_tuning_choose")}
    for name in names or order:
        on = Ensemble(families()[name])
        known = rows.get(name) or {"network": name} | controls(on, SAME)
        if QUICK.format("grids") not in known:
            known |= {QUICK.format(key): value for key, value in controls(on, LINKS).items()}
        rows[name] = known | chosen(name, on)
        kept = [rows[each] for each in order if each in rows]
        save("worth_of_tuning_choose", kept, trials=CHOSEN_TRIALS, updates=CHOSEN_UPDATES, bits_a_number=BITS)
    others = ("closed forms", "grids", "tuned from the best grid")
    told = ("default", *others, *map(QUICK.format, others), "chosen")
    show(
        [
            {"network": name}
            | {key: float(np.mean(row[key])) for key in told}
            | {f"chosen, worst of {CHOSEN_REPORT}": max(row["chosen"])}
            | {key: row[key] for key in ("learn: chosen", "allocate: chosen")}
            for name, row in rows.items()
        ]
    )
    for name, row in rows.items():
        for words in ("{}", QUICK):
            best = min(map(words.format, others), key=lambda each: np.mean(row[each]))
            ratio, error = beside(row["chosen"], row[best])
            kinds = ("runs of closed forms", "runs of grids", "runs of one tuning", "runs of one tuning")
            runs = sum(row[words.format(kind)] for kind in kinds)
            print(
                f"{name}: {ratio:.3f} times the rounds of the best, {best}, standard error {error:.3f}, target 1; "
                f"{row['runs of choosing']} runs, {row['runs of choosing'] / runs:.2f} of trying all, target 0.25; "
                f"{row['seconds of choosing']:.0f} s"
            )


def beside(one: list[float], other: list[float]) -> tuple[float, float]:
    """The mean of one over the mean of the other, and the standard error of that, instance by instance in pairs."""
    first, second = np.array(one), np.array(other)
    ratio = first.mean() / second.mean()
    return float(ratio), float((first - ratio * second).std(ddof=1) / np.sqrt(first.size) / second.mean())


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    if sys.argv[1:2] == ["choose"]:
        choosing(sys.argv[2:])
        return
    wanted, rows = sys.argv[1:] or list(families()), []
    for name in wanted:
        row = row_of(name, families()[name])
        rows = [*(other for other in saved_rows("worth_of_tuning") if other["network"] != name), row]
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
