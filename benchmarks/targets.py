"""The goals of speed on a CPU, each beside what was measured: loops by hand in C, a bound by memory, growth, gradients.

    python benchmarks/targets.py            # all of it; or some of: flows step growth gradients memory

One core, float32. Candidates take turns in one process; of every one the fastest turn counts: other work on the machine
only ever adds. The loops in C are `kernels.c`, compiled here with gcc.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import save, show, take_turns, use_cores

SECONDS = 0.05  # of one turn
TURNS = 15
FLOWS = [(n, degree, d) for n in (100_000, 1_000_000) for degree in (4, 10, 30) for d in (10, 100)]
MOST_NUMBERS = 3e8  # of an (n, d) row table and the slots together: 1.2 GB
MEMORY_NODES = int(os.environ.get("NODES", 1_000_000))


def regular(n: int, degree: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A union of random rings, pairs (2, e), and weights (e,): networkx would take minutes for a million nodes."""
    random = np.random.default_rng(seed)
    rings = [random.permutation(n) for _ in range(degree // 2)]
    ends = np.concatenate([np.sort(np.stack([ring, np.roll(ring, 1)]), axis=0) for ring in rings], axis=1)
    codes = np.unique(ends[0] * n + ends[1])
    return np.stack([codes // n, codes % n]), np.full(codes.size, 1 / (degree + 1))


def fastest(runs: dict[str, Callable[[int], Any]], turns: int = TURNS) -> dict[str, float]:
    """Seconds of processor time of one step, by name."""
    counts = {name: _count(run) for name, run in runs.items()}
    times = take_turns({name: lambda name=name: runs[name](counts[name]) for name in runs}, turns)
    return {name: min(times[name].processor) / counts[name] for name in runs}


def _count(run: Callable[[int], Any]) -> int:
    run(2)
    begin = time.process_time()
    run(2)
    return max(2, 2 * int(SECONDS / max(time.process_time() - begin, 1e-9)))


def flows() -> list[dict[str, Any]]:
    """The neighbour sum beside C, and beside a triad over as many bytes as it must move at least."""
    import jax
    import jax.numpy as jnp
    import native
    from jax import lax

    import cojax
    from cojax.edges import Weigh
    from cojax.links import Ideal, Wire
    from cojax.networks import build

    @jax.jit
    def repeated(net: cojax.Layout, heard: jax.Array, count: jax.Array) -> jax.Array:
        return lax.fori_loop(0, count, lambda _, heard: heard + net.flow(Wire(heard), Weigh()), heard)

    rows = []
    for n, degree, d in FLOWS:
        if n * (2 * d + 2 * degree) > MOST_NUMBERS:
            continue
        pairs, weights = regular(n, degree)
        net = build(n, pairs, weights[None], link=Ideal(), layout="neighbors")
        heard = np.random.default_rng(1).standard_normal((n, d), np.float32)
        first = jnp.asarray(heard)
        moved = 4 * n * 2 * d + 8 * n * degree  # rows read and written once; a weight and an index a slot
        table = native.rows_of(n, pairs, weights, np.float32)
        by_hand = native.flow_loop(n, d, table, heard.copy())
        runs: dict[str, Any] = {
            "cojax": lambda k, net=net, first=first: jax.block_until_ready(repeated(net, first, jnp.int32(k)))
        }
        runs |= {} if by_hand is None else {"C": by_hand, "triad": native.triad_loop(moved)}
        if by_hand is not None:
            checked = heard.copy()
            native.flow_loop(n, d, table, checked)(2)
            assert np.abs(checked - np.asarray(runs["cojax"](2))).max() < 1e-4
        found = fastest(runs, turns=7 if n > 100_000 else TURNS)
        beside = {name: found[name] / found["cojax"] if name in found else None for name in ("C", "triad")}
        rows.append(
            {
                "n": n,
                "degree": degree,
                "d": d,
                "cojax us": found["cojax"] * 1e6,
                "C / cojax (goal 1)": beside["C"],
                "of the triad bound (goal 0.6)": beside["triad"],
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def step() -> list[dict[str, Any]]:
    """The quantized co-optimisation step, degree 10, d = 10, beside a fused loop in C and two in NumPy and SciPy."""
    import jax
    import native
    import numpy_step
    from job import SHARE_STEP, STEP_SIZE, coopt, graph_of, samples

    import cojax

    rho, rows = 1 / 64, []
    for n in (1_000, 10_000):
        graph, data = graph_of(n), samples(n)
        problem, network, method, start = coopt(graph, data, cojax.LogQuantizer(rho))

        def ours(k: int, job: Any = (problem, network, method, start)) -> Any:
            return jax.block_until_ready(cojax.solve(*job, num_steps=100 * k, every=100))

        def levels(like: np.ndarray) -> Any:
            return numpy_step.log_quantizer(rho, like)

        by_node = numpy_step.run(graph, data, levels, numpy_step.gradient_by_node)
        nodes_last = numpy_step.run(graph, data, levels, numpy_step.gradient_nodes_last)
        table = _metropolis_rows(graph, np.float32)
        by_hand = native.coopt_run(table, data, rho, STEP_SIZE, SHARE_STEP)
        repeat = {"cojax": ours, "SciPy": lambda k: by_node(100 * k), "nodes last": lambda k: nodes_last(100 * k)}
        repeat |= {} if by_hand is None else {"C": lambda k, run=by_hand: run(100 * k)}
        counts = {name: 20 if n == 1_000 else 2 for name in repeat}
        for run in repeat.values():
            run(1 if run is not ours else counts["cojax"])
        times = take_turns({name: lambda name=name: repeat[name](counts[name]) for name in repeat}, TURNS)
        found = {name: min(times[name].processor) / counts[name] / 100 for name in repeat}
        rows.append(
            {
                "n": n,
                "cojax us": found["cojax"] * 1e6,
                "C / cojax (goal 1)": found["C"] / found["cojax"] if "C" in found else None,
                "SciPy / cojax (goal 3)": found["SciPy"] / found["cojax"],
                "SciPy, nodes last / cojax": found["nodes last"] / found["cojax"],
                "C differs by": _difference_of_c(graph, rho) if by_hand is not None and n == 1_000 else None,
            }
        )
    return rows


def _metropolis_rows(graph: Any, dtype: Any) -> tuple[np.ndarray, ...]:
    import native

    pairs = np.array(graph.edges).T
    degree = np.bincount(pairs.ravel())
    return native.rows_of(degree.size, pairs, 1 / (1 + np.maximum(*degree[pairs])), dtype)


def _difference_of_c(graph: Any, rho: float, num_steps: int = 20) -> float:
    """The largest difference of the loop in C from that in NumPy after some steps in float64."""
    import native
    import numpy_step
    from job import SHARE_STEP, STEP_SIZE, samples

    data = samples(graph.number_of_nodes(), np.float64)
    mine = native.coopt_run(_metropolis_rows(graph, np.float64), data, rho, STEP_SIZE, SHARE_STEP)(num_steps)
    loop = numpy_step.run(graph, data, lambda like: numpy_step.log_quantizer(rho, like), numpy_step.gradient_by_node)
    return max(float(np.abs(a - b).max()) for a, b in zip(mine, loop(num_steps), strict=True))


def growth() -> list[dict[str, Any]]:
    """Time a step from 10^3 to 10^6 nodes, CPU shares over log-quantized links and a neighbour sum of rows of 10."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    import cojax
    from cojax.edges import Weigh
    from cojax.links import Wire
    from cojax.networks import build

    @jax.jit
    def repeated(net: cojax.Layout, heard: jax.Array, count: jax.Array) -> jax.Array:
        return lax.fori_loop(0, count, lambda _, heard: heard + net.flow(Wire(heard), Weigh()), heard)

    rows: list[dict[str, Any]] = []
    for n in (1_000, 10_000, 100_000, 1_000_000):
        pairs, weights = regular(n, 10)
        net = build(n, pairs, weights[None], link=cojax.Quantized(cojax.LogQuantizer(1 / 64)), layout="neighbors")
        heard = jnp.asarray(np.random.default_rng(1).standard_normal((n, 10), np.float32))
        problem = cojax.Problem(lambda x, price: price * x.cpu**2, np.linspace(0.5, 2, n, dtype=np.float32), budget=n)
        start, method = problem.start(), cojax.CoOpt(allocate=cojax.Laplacian(0.1))
        job = (problem, net, method, start)
        runs = {
            "sum": lambda k, net=net, heard=heard: jax.block_until_ready(repeated(net, heard, jnp.int32(k))),
            "step": lambda k, job=job: jax.block_until_ready(cojax.solve(*job, num_steps=10 * k, every=10)),
        }
        times = {name: [] for name in runs}
        counts = {name: max(1, int(2e5 / n)) for name in runs}
        for name, run in runs.items():
            run(counts[name])
        for name, turns in take_turns({name: lambda name=name: runs[name](counts[name]) for name in runs}, 9).items():
            times[name] = min(turns.processor) / counts[name]
        rows.append({"n": n, "neighbour sum, d = 10, us": times["sum"] * 1e6, "share step us": times["step"] * 1e5})
    for kind in ("neighbour sum, d = 10, us", "share step us"):
        for before, row in zip([None, *rows], rows, strict=False):
            row[f"exponent of {kind[:-4]}"] = before and float(
                np.log(row[kind] / before[kind]) / np.log(row["n"] / before["n"])
            )
    return rows


def gradients() -> list[dict[str, Any]]:
    """Reverse mode through 1 000 steps at n = 50, d = 10: its time over the run's, its memory over a state's."""
    import jax
    from job import coopt, graph_of, samples

    import cojax

    rows = []
    for link in ("ideal", "innovation"):
        problem, network, method, start = coopt(graph_of(50), samples(50), cojax.LogQuantizer(1 / 4))
        kinds = {"ideal": cojax.Ideal(), "innovation": cojax.Innovation(cojax.LogQuantizer(1 / 4))}
        network = cojax.network(graph_of(50), nodelist=range(50), link=kinds[link])
        for every in (20, 25, 40):

            def last_cost(method: cojax.Method, net: Any = network, every: int = every) -> Any:
                x = cojax.solve(problem, net, method, start, num_steps=1_000, every=every).x
                return problem.costs(x).mean()

            primal = jax.jit(last_cost).lower(method).compile()
            reverse = jax.jit(jax.grad(last_cost)).lower(method).compile()
            turns = take_turns(
                {
                    "primal": lambda run=primal: jax.block_until_ready(run(method)),
                    "reverse": lambda run=reverse: jax.block_until_ready(run(method)),
                },
                25,
            )
            state = cojax.init(problem, network, method, start)
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            used = reverse.memory_analysis().temp_size_in_bytes
            rows.append(
                {
                    "link": link,
                    "every": every,
                    "primal us a step": min(turns["primal"].processor) * 1e3,
                    "reverse / primal (goal 4)": min(turns["reverse"].processor) / min(turns["primal"].processor),
                    "memory, states": used / size,
                    "chunks + every": 1_000 // every + every,
                }
            )
    return rows


def memory() -> list[dict[str, Any]]:
    """The quantized step at n = MEMORY_NODES, degree 10, d = 10: what it holds beside states, table and data."""
    import jax
    from job import FEATURES, SAMPLES, SHARE_STEP, STEP_SIZE, Samples, cost

    import cojax
    from cojax.loop import _solve
    from cojax.networks import build
    from cojax.records import standard

    n, random = MEMORY_NODES, np.random.default_rng(0)
    features = random.standard_normal((n, SAMPLES, FEATURES), np.float32)
    price = np.linspace(0.5, 2.0, n, dtype=np.float32)
    data = jax.tree.map(jax.numpy.asarray, Samples(features, features.sum(-1), price))
    del features
    pairs, weights = regular(n, 10)
    link = cojax.Quantized(cojax.LogQuantizer(1 / 64))
    network = build(n, pairs, weights[None], link=link, layout="neighbors")
    problem = cojax.Problem(cost, data, budget=np.float32(n))
    method = cojax.CoOpt(learn=cojax.DIGing(STEP_SIZE), allocate=cojax.Laplacian(SHARE_STEP))
    start = problem.start(params=np.zeros((n, FEATURES), np.float32))
    state = cojax.init(problem, network, method, start)
    size = {name: _bytes(tree) for name, tree in (("state", state), ("network", network), ("data", problem))}
    program = _solve.lower(problem, network, method, state, 1, 10, standard).compile()
    analysis = program.memory_analysis()
    before = _resident()
    begin = time.process_time()
    solution = jax.block_until_ready(program(problem, network, method, state))
    seconds = (time.process_time() - begin) / 10
    held = size["state"] + size["network"] + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    table = size["network"]
    return [
        {
            "n": n,
            "state MB": size["state"] / 1e6,
            "table MB": table / 1e6,
            "data MB": size["data"] / 1e6,
            "new in a call MB": (analysis.output_size_in_bytes + analysis.temp_size_in_bytes) / 1e6,
            "two states and table MB": (2 * size["state"] + table) / 1e6,
            "held / (states + table) (goal 1.5)": held / (2 * size["state"] + table),
            "resident before the steps GB": before,
            "peak GB": _peak(),
            "ms a step": seconds * 1e3,
            "imbalance": float(solution.state.imbalance),
        }
    ]


def _bytes(tree: Any) -> int:
    import jax

    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree) if hasattr(leaf, "nbytes"))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _resident() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9


PARTS = {"flows": flows, "step": step, "growth": growth, "gradients": gradients, "memory": memory}


def in_a_process(part: str) -> list[dict[str, Any]]:
    """The rows of a part, measured in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--rows", part], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    if sys.argv[1:2] == ["--rows"]:
        use_cores(1)
        print(json.dumps(PARTS[sys.argv[2]]()))
        return
    for part in sys.argv[1:] or PARTS:
        rows = in_a_process(part)
        print(f"\n{PARTS[part].__doc__}\n")
        show(rows)
        save(f"targets_{part}", rows, unit="processor time of one core, float32")


if __name__ == "__main__":
    main()
