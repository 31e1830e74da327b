"""The goals of speed on a CPU, each beside what was measured: loops by hand in C, a bound by memory, growth, gradients.

    python benchmarks/speed_goals.py            # all of it; or some of: flows step growth gradients memory

One core, float32. Candidates take turns in one process; of every one the fastest turn counts: other work on the machine
only ever adds. The loops in C are `kernels.c`, compiled here with gcc.
"""

import functools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from support.timing import RESULTS, save, show, take_turns, use_cores

SECONDS = 0.05  # of one turn
LEAST = 16  # sums of one turn: the first ones of a call wait for fresh memory, and a run takes many steps
TURNS = 15
FLOWS = [(n, degree, d) for n in (100_000, 1_000_000) for degree in (4, 10, 30) for d in (10, 100)]
TRIAD_BYTES = 1_500_000_000  # far beyond any cache
REACH = 50  # how far neighbours in a band are apart, about
MOST_NUMBERS = 2.3e8  # of what is heard, its flow and the slots together: 0.9 GB
MEMORY_NODES = int(os.environ.get("NODES", 1_000_000))


def regular(n: int, degree: int, reach: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """A union of random rings, pairs (2, e), and weights (e,): networkx would take minutes for a million nodes.

    With a `reach` neighbours are about so far apart at most, as in an order by reverse Cuthill-McKee.
    """
    random = np.random.default_rng(0)
    if reach < n:
        rings = [np.argsort(np.arange(n) + random.uniform(0, reach, n)) for _ in range(degree // 2)]
    else:
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
    return max(LEAST, 2 * int(SECONDS / max(time.process_time() - begin, 1e-9)))


def flows() -> list[dict[str, Any]]:
    """The neighbour sum beside C and beside a triad, over random graphs and over bands."""
    rows = []
    for graph, reach in (("random", np.inf), ("band", REACH)):
        for n, degree, d in FLOWS:
            if n * (2 * d + 2 * degree) <= MOST_NUMBERS:
                rows.append({"graph": graph} | _flow(n, degree, d, reach))
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _sums(net: Any, heard: np.ndarray) -> Callable[[int], Any]:
    """A function of the number of neighbour sums by cojax, each of the result of the one before."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    from cojax.networks.base import Wire
    from cojax.networks.laws import Weigh

    @jax.jit
    def repeated(net: Any, heard: jax.Array, count: jax.Array) -> jax.Array:
        return lax.fori_loop(0, count, lambda _, heard: heard + net.flow(Wire(heard), Weigh()), heard)

    first = jnp.asarray(heard)
    return lambda count: jax.block_until_ready(repeated(net, first, jnp.int32(count)))


def _flow(n: int, degree: int, d: int, reach: float) -> dict[str, Any]:
    from support import native

    from cojax.networks.build import build
    from cojax.networks.links.links import Ideal

    pairs, weights = regular(n, degree, reach)
    net = build(n, pairs, weights[None], link=Ideal(), layout="neighbors")
    heard = np.random.default_rng(1).standard_normal((n, d), np.float32)
    once = 4 * n * 2 * d + 8 * 2 * weights.size  # rows read and written once; a weight and an index a slot
    fetched = once + 4 * d * 2 * weights.size  # and a row a slot
    table = native.rows_of(n, pairs, weights, np.float32)
    by_hand = native.flow_loop(n, d, table, heard.copy())
    runs = {"cojax": _sums(net, heard)}
    if by_hand is not None:
        runs |= {"C": by_hand, "triad": native.triad_loop(TRIAD_BYTES)}
        checked = heard.copy()
        native.flow_loop(n, d, table, checked)(2)
        assert np.abs(checked - np.asarray(runs["cojax"](2))).max() < 1e-4
    found = fastest(runs, turns=3 if n * d > 2e7 else 5)
    ours = found["cojax"]
    triad = found["triad"] / TRIAD_BYTES if "triad" in found else None
    return {
        "n": n,
        "degree": degree,
        "d": d,
        "cojax us": ours * 1e6,
        "C / cojax (goal 1)": found["C"] / ours if "C" in found else None,
        "of the triad, a row a slot": triad and triad * fetched / ours,
        "of the triad, rows once": triad and triad * once / ours,
        "C, a row a slot": triad and triad * fetched / found["C"],
    }


def step() -> list[dict[str, Any]]:
    """The quantized co-optimisation step, degree 10, d = 10, beside a fused loop in C and two in NumPy and SciPy."""
    return [_step(n) for n in (1_000, 10_000)]


def _step(n: int) -> dict[str, Any]:
    import jax
    from support import native, numpy_step
    from support.job import SHARE_STEP, STEP_SIZE, coopt, graph_of, samples

    import cojax

    rho, graph, data = 1 / 64, graph_of(n), samples(n)
    problem, network, method, start = coopt(graph, data, cojax.LogQuantizer(rho))
    num_steps = 2_000_000 // n

    def ours() -> Any:
        return jax.block_until_ready(cojax.solve(problem, network, method, start, num_steps=num_steps, every=100))

    def levels(like: np.ndarray) -> Any:
        return numpy_step.log_quantizer(rho, like)

    loops = {
        "SciPy": numpy_step.run(graph, data, levels, numpy_step.gradient_by_node),
        "nodes last": numpy_step.run(graph, data, levels, numpy_step.gradient_nodes_last),
    }
    by_hand = native.coopt_run(_metropolis_rows(graph, np.float32), data, rho, STEP_SIZE, SHARE_STEP)
    loops |= {} if by_hand is None else {"C": by_hand}
    runs = {"cojax": ours} | {name: functools.partial(loop, num_steps) for name, loop in loops.items()}
    for run in runs.values():
        run()
    found = {name: min(times.processor) / num_steps for name, times in take_turns(runs, TURNS).items()}
    return {
        "n": n,
        "cojax us": found["cojax"] * 1e6,
        "C / cojax (goal 1)": found["C"] / found["cojax"] if "C" in found else None,
        "SciPy / cojax (goal 3)": found["SciPy"] / found["cojax"],
        "SciPy, nodes last / cojax": found["nodes last"] / found["cojax"],
        "C differs by": _difference_of_c(graph, rho) if by_hand is not None and n == 1_000 else None,
    }


def _metropolis_rows(graph: Any, dtype: Any) -> tuple[np.ndarray, ...]:
    from support import native

    pairs = np.array(graph.edges).T
    degree = np.bincount(pairs.ravel())
    return native.rows_of(degree.size, pairs, 1 / (1 + np.maximum(*degree[pairs])), dtype)


def _difference_of_c(graph: Any, rho: float, num_steps: int = 20) -> float:
    """The largest difference of the loop in C from that in NumPy after some steps in float64."""
    from support import native, numpy_step
    from support.job import SHARE_STEP, STEP_SIZE, samples

    data = samples(graph.number_of_nodes(), np.float64)
    mine = native.coopt_run(_metropolis_rows(graph, np.float64), data, rho, STEP_SIZE, SHARE_STEP)(num_steps)
    loop = numpy_step.run(graph, data, lambda like: numpy_step.log_quantizer(rho, like), numpy_step.gradient_by_node)
    return max(float(np.abs(a - b).max()) for a, b in zip(mine, loop(num_steps), strict=True))


def growth() -> list[dict[str, Any]]:
    """Time a step from 10^3 to 10^6 nodes, CPU shares over log-quantized links and a neighbour sum of rows of 10."""
    return [row for graph, reach in (("random", np.inf), ("band", REACH)) for row in _growth(graph, reach)]


def _growth(graph: str, reach: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"graph": graph} | _grown(n, reach) for n in (1_000, 10_000, 100_000, 1_000_000)]
    for kind in ("neighbour sum us", "share step us"):
        for before, row in zip([None, *rows[:-1]], rows, strict=True):
            times, sizes = (row[kind] / before[kind], row["n"] / before["n"]) if before else (1.0, 10.0)
            row[f"exponent, {kind[:-3]}"] = float(np.log(times) / np.log(sizes)) if before else None
    return rows


def _grown(n: int, reach: float) -> dict[str, Any]:
    import jax

    import cojax
    from cojax.networks.build import build

    pairs, weights = regular(n, 10, reach)
    net = build(n, pairs, weights[None], link=cojax.Quantized(cojax.LogQuantizer(1 / 64)), layout="neighbors")
    price = np.linspace(0.5, 2, n, dtype=np.float32)
    problem = cojax.Problem(lambda x, price: price * x.cpu**2, price, budget=np.float32(n))
    start, method = problem.start(), cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    sums, count = _sums(net, np.random.default_rng(1).standard_normal((n, 10), np.float32)), max(LEAST, 200_000 // n)

    def shares() -> Any:
        return jax.block_until_ready(cojax.solve(problem, net, method, start, num_steps=4 * count, every=4 * count))

    runs = {"sum": functools.partial(sums, count), "step": shares}
    for run in runs.values():
        run()
    found = take_turns(runs, 5)
    return {
        "n": n,
        "neighbour sum us": min(found["sum"].processor) / count * 1e6,
        "share step us": min(found["step"].processor) / (4 * count) * 1e6,
    }


def gradients() -> list[dict[str, Any]]:
    """Reverse mode through 1 000 steps, d = 10: its time over the run's, its memory over a state's."""
    tables = [_gradient("neighbors", 50, link, every) for link in ("ideal", "innovation") for every in (20, 25, 40)]
    hubs = [_gradient(layout, 1_000, link, 25) for layout in ("split", "edges") for link in ("ideal", "innovation")]
    return tables + hubs


def _gradient(layout: str, n: int, link: str, every: int) -> dict[str, Any]:
    import jax
    import networkx as nx
    from support.job import DEGREE, coopt, graph_of, samples

    import cojax

    links = {"ideal": cojax.Ideal(), "innovation": cojax.Innovation(cojax.LogQuantizer(1 / 4))}
    graph = graph_of(n) if layout == "neighbors" else nx.barabasi_albert_graph(n, DEGREE // 2, seed=0)
    problem, _, method, start = coopt(graph, samples(n), cojax.LogQuantizer(1 / 4))
    network = cojax.network(graph, nodelist=range(n), link=links[link], layout=layout)

    def last_cost(method: cojax.Method) -> Any:
        return problem.costs(cojax.solve(problem, network, method, start, num_steps=1_000, every=every).x).mean()

    programs = {
        "primal": jax.jit(last_cost).lower(method).compile(),
        "reverse": jax.jit(jax.grad(last_cost)).lower(method).compile(),
    }
    runs = {name: lambda run=run: jax.block_until_ready(run(method)) for name, run in programs.items()}
    found = {name: min(times.processor) for name, times in take_turns(runs, 25).items()}
    sizes: Any = programs["reverse"].memory_analysis()
    return {
        "layout": layout,
        "n": n,
        "link": link,
        "every": every,
        "primal us a step": found["primal"] * 1e3,
        "reverse / primal (goal 4)": found["reverse"] / found["primal"],
        "memory, states": sizes.temp_size_in_bytes / _bytes(cojax.init(problem, network, method, start)),
        "chunks + every": 1_000 // every + every,
    }


def memory() -> list[dict[str, Any]]:
    """The quantized step at n = MEMORY_NODES, degree 10, d = 10: what it holds beside states, table and data."""
    import jax
    from support.job import FEATURES, SAMPLES, SHARE_STEP, STEP_SIZE, Samples, cost

    import cojax
    from cojax.networks.build import build
    from cojax.runs.loop import _solve
    from cojax.runs.records import standard

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
    analysis: Any = program.memory_analysis()
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
            "imbalance": float(solution.state.imbalance.max()),
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
        save(f"speed_goals_{part}", rows, unit="processor time of one core, float32")
        if part == "growth":
            _draw(rows)


def _draw(rows: list[dict[str, Any]]) -> None:
    """results/growth.png: the curves over n, beside what is proportional to n."""
    from cojax import plots

    kinds = {"shares": "share step us", "sum": "neighbour sum us"}
    graphs = dict.fromkeys(row["graph"] for row in rows)
    curves = {
        f"{kind}, {graph}": [row[key] * 1e-6 for row in rows if row["graph"] == graph]
        for graph in graphs
        for kind, key in kinds.items()
    }
    sizes = sorted({row["n"] for row in rows})
    plots.scaling(sizes, curves).figure.savefig(RESULTS / "growth.png", dpi=150)


if __name__ == "__main__":
    main()
