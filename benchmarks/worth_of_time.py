"""What a price of time changes about shares, and what the clock costs a step.

    python benchmarks/worth_of_time.py

The demo's fourteen centres on NSFNET share 400 kilo-cores and train its support vector machine, as if it were a large
one: a gradient is 3 kilo-core-seconds a sample, a message 2 Gbit over links of 10 Gbit/s and at the speed of light in
glass. Total = cost of the shares + value x hours until the model's gap is a thousandth of that at the start. Beside
each other: the cheapest shares, which ignore time; equal utilisation; `cojax.timely_shares`; and projected gradient
descent on the total, by derivatives through the whole run and its clock (temperature falling from 0.05 s to 0.5 ms).

The cost of the clock is the time of a step with one beside the same step without, medians over turns, at n = 20 to a
million.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from support.job import FEATURES, SHARE_STEP, STEP_SIZE, cost, samples
from support.timing import median_ratio, save, show, take_turns

import cojax
from cojax.app.cases import cases
from cojax.app.plans.demo import demo_plan
from cojax.app.results.runs import shares_only
from cojax.plots import canvas

jax.config.update("jax_enable_x64", True)

VALUES = (0.0, 1.0, 3.0, 10.0)  # of an hour, in the unit of the demo's cost
WORK, BITS, BANDWIDTH = 3.0, 2e9, 1e10
GLASS, EARTH = 2e8, 6.371e6  # metres a second, and metres
GAP, ROUNDS = 1e-3, 400  # rounds through which derivatives are taken
DESCENT = 400
PICTURE = Path(__file__).parents[1] / "docs" / "benchmarks" / "worth_of_time.png"


def latencies(names: tuple[str, ...], places: dict[str, tuple[float, float]]) -> np.ndarray:
    """Seconds between all pairs along great circles."""
    east, north = np.radians([places[name] for name in names]).T
    half = np.sin((north[:, None] - north) / 2) ** 2
    half = half + np.cos(north[:, None]) * np.cos(north) * np.sin((east[:, None] - east) / 2) ** 2
    return 2 * EARTH * np.arcsin(np.sqrt(half)) / GLASS


def project(shares: np.ndarray, low: np.ndarray, high: np.ndarray, budget: float) -> np.ndarray:
    """The nearest shares within bounds that sum to the budget."""
    least, most = (low - shares).min(), (high - shares).max()
    for _ in range(100):
        level = (least + most) / 2
        least, most = (level, most) if np.clip(shares + level, low, high).sum() < budget else (least, level)
    return np.clip(shares + most, low, high)


class Training(NamedTuple):
    """The demo's shares and its model, and what a round costs."""

    problem: cojax.Problem  # of shares
    model: cojax.Problem
    network: cojax.Network
    method: cojax.Method
    start: cojax.Decision
    numbers: dict[str, Any]  # of a clock
    bits: float  # of a message of the run
    rounds: int  # to the gap
    even: np.ndarray  # shares of equal utilisation

    def timed(self, **settings: Any) -> cojax.Network:
        return cojax.Timed(self.network, cojax.Clock(**self.numbers, **settings))

    def hours(self, barrier: str, shares: Any) -> float:
        seconds = cojax.theory.round_time(self.timed(barrier=barrier), bits=self.bits, share=shares)
        return float(seconds) * self.rounds / 3600

    def cost(self, shares: Any) -> Any:
        return self.problem.costs(cojax.Decision(None, jnp.asarray(shares))).sum()


def prepare() -> Training:
    case = cases.build_case(demo_plan(steps=1000, seed=0))
    graph, names = cojax.graphs.nsfnet(), case.names
    counts = np.asarray((np.asarray(case.problem.data[0].weights) > 0).sum(1), float)
    network = cojax.network(graph, nodelist=names)
    cost_of_model = cojax.costs.Separable(cases.model_cost(case.plan), None)
    model = cojax.Problem(cost_of_model, (case.problem.data[0], None))
    start = model.start(case.start.params)
    method = cojax.CoOpt(learn=cojax.tuned(cojax.DIGing, model, network, start))
    optimum = cojax.reference(model, jax.tree.map(lambda leaf: leaf[0], start.params))
    courses = cojax.compare(model, network, {"DIGing": method}, start, optimum=optimum, num_steps=20_000, every=10)
    course = courses["DIGing"]
    rounds = int(course.step[np.flatnonzero(~(course.learn_gap <= GAP))[-1] + 1])
    places = {name: (node["longitude"], node["latitude"]) for name, node in graph.nodes(data=True)}
    own = 64.0 * 2 * start.params.shape[-1]
    # The run's own messages, over links so much slower that they take as long as those of the large model.
    numbers = {"work": WORK * counts, "latency": latencies(names, places), "bandwidth": BANDWIDTH * own / BITS}
    capacity = np.asarray(case.centres.columns["capacity"])
    even = float(np.asarray(case.problem.budget)) * capacity / capacity.sum()
    return Training(shares_only(case), model, network, method, start, numbers, own, rounds, even)


def co_optimise(training: Training) -> list[dict[str, Any]]:
    rows = []
    cheapest = np.asarray(cojax.allocate(training.problem).cpu)
    for barrier in ("all", "neighbours"):
        for value in VALUES:
            ask = {"rounds": training.rounds, "value": value / 3600, "bits": training.bits}
            closed = cojax.timely_shares(training.problem, training.timed(barrier=barrier), **ask)
            candidates = {
                "cheapest": cheapest,
                "equal utilisation": training.even,
                "timely_shares": np.asarray(closed.cpu),
                "by gradient": descend(training, barrier, value, cheapest),
            }
            for name, shares in candidates.items():
                paid, hours = float(training.cost(shares)), training.hours(barrier, shares)
                numbers = {"cost": round(paid, 4), "hours": round(hours, 4), "total": round(paid + value * hours, 4)}
                rows.append({"barrier": barrier, "value of an hour": value, "shares": name, **numbers})
    return rows


def descend(training: Training, barrier: str, value: float, shares: np.ndarray) -> np.ndarray:
    """The best shares that projected gradient descent meets, its steps and its temperature falling."""
    low, high = np.asarray(training.problem.lower), np.asarray(training.problem.upper)
    model, method, start = training.model, training.method, training.start

    @jax.jit
    @jax.value_and_grad
    def total(shares: Any, temperature: Any) -> Any:
        network = training.timed(barrier=barrier, share=shares, temperature=temperature)
        run = cojax.solve(model, network, method, start, num_steps=ROUNDS, every=ROUNDS)
        hours = run.trace.seconds[-1] / (ROUNDS + 1) * training.rounds / 3600
        return training.cost(shares) + value * hours

    best, least = shares, float(training.cost(shares)) + value * training.hours(barrier, shares)
    for turn in range(DESCENT if value else 0):
        part = turn / DESCENT
        slope = np.asarray(total(jnp.asarray(shares), 0.05 * 0.01**part)[1])
        slope = slope - slope.mean()
        moved = shares - 2.0 * 0.003**part * slope / np.linalg.norm(slope)
        shares = project(moved, low, high, float(np.asarray(training.problem.budget)))
        found = float(training.cost(shares)) + value * training.hours(barrier, shares)
        best, least = (shares, found) if found < least else (best, least)
    return best


def cost_of_the_clock() -> list[dict[str, Any]]:
    rows = []
    for n, steps, turns in ((20, 5000, 9), (1_000, 500, 9), (100_000, 10, 9), (1_000_000, 5, 5)):
        graph = cojax.graphs.named("regular", n, seed=0, links=4 if n == 20 else 10)
        clocks: dict[str, Any] = {"none": None, "one for all links": cojax.Clock(1.0, latency=0.01, bandwidth=1e6)}
        if n <= 1000:
            table = np.random.default_rng(0).uniform(0.01, 0.1, (n, n))
            clocks["one a link"] = cojax.Clock(np.ones(n), latency=table + table.T, bandwidth=1e6)
        runs = {name: _steps(n, steps, cojax.network(graph), clock) for name, clock in clocks.items()}
        for run in runs.values():
            run()
        times = take_turns(runs, turns)
        for name, turn in times.items():
            ratio = median_ratio(turn.wall, times["none"].wall)
            micros = 1e6 * statistics.median(turn.wall) / steps
            rows.append({"n": n, "clock": name, "us a step": round(micros, 2), "beside none": round(ratio, 3)})
    return rows


def _steps(n: int, steps: int, network: cojax.Network, clock: cojax.Clock | None) -> Callable[[], Any]:
    """A run of the job that all benchmarks of steps have, with a clock or without."""
    problem = cojax.Problem(cost, samples(n), budget=float(n))
    start = problem.start(params=np.zeros((n, FEATURES), np.float32))
    method = cojax.CoOpt(learn=cojax.DIGing(STEP_SIZE), allocate=cojax.Laplacian(SHARE_STEP))
    network = network if clock is None else cojax.Timed(network, clock)
    return lambda: jax.block_until_ready(cojax.solve(problem, network, method, start, num_steps=steps, every=steps).x)


def draw(training: Training) -> None:
    """The total over the value of an hour, of the three kinds of shares that need no run."""
    values = np.linspace(0, 10, 41)
    kinds = {"cheapest": np.asarray(cojax.allocate(training.problem).cpu), "equal utilisation": training.even}
    timed = training.timed(barrier="all")
    curves = {
        name: [float(training.cost(shares)) + value * training.hours("all", shares) for value in values]
        for name, shares in kinds.items()
    }
    ask = {"rounds": training.rounds, "bits": training.bits}
    found = [cojax.timely_shares(training.problem, timed, value=value / 3600, **ask) for value in values]
    curves["timely_shares"] = [float(one.total) for one in found]
    with canvas.axes(None, 2.5) as ax:
        looks = ((canvas.BLUE, "--"), (canvas.ORANGE, "-."), (canvas.GREEN, "-"))
        for (name, totals), (colour, dash) in zip(curves.items(), looks, strict=True):
            ax.plot(values, totals, color=colour, linestyle=dash, label=name)
        ax.set_xlabel("value of an hour (cost units)")
        ax.set_ylabel("cost of shares + value x hours")
        ax.set_xlim(0, 10)
        canvas.legend(ax, columns=3)
    ax.figure.savefig(PICTURE, dpi=200)


def main() -> None:
    clock, training = cost_of_the_clock(), prepare()
    time = co_optimise(training)
    show(clock)
    show(time)
    print(f"{training.rounds} rounds to a gap of {GAP:g}")
    save("worth_of_time", time, clock=clock, rounds_to_gap=training.rounds)
    draw(training)


if __name__ == "__main__":
    main()
