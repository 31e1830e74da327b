"""What a user waits for around the loop: from nothing to answers, of two checkouts of cojax beside each other.

    python benchmarks/waiting.py CHECKOUT CHECKOUT [rounds]

A checkout is a folder that holds `cojax/`. Every figure is of a fresh process, on all cores, in processor seconds (the
first row in seconds on the clock too); the checkouts take turns, and the table has medians and ratios. "Kept" programs
are those that an earlier process of the same checkout compiled, in a folder of JAX's compilation cache. A row that a
checkout cannot do within 150 seconds is left out there.
"""

import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

SECONDS = 150


def readme(gradient: bool = False) -> dict[str, float]:
    """The program of the README, from its first import on."""
    wall = time.perf_counter()
    import jax
    import networkx as nx
    import numpy as np

    import cojax

    n, d = 16, 8
    features = np.random.default_rng(0).normal(size=(n, 50, d))
    targets = features @ np.arange(d)
    price = np.linspace(0.5, 2.0, n)

    def cost(x, data):
        features, targets, price = data
        return ((features @ x.params - targets) ** 2).mean() + price * x.cpu**2

    problem = cojax.Problem(cost, (features, targets, price), budget=16.0)
    start = problem.start(params=np.zeros((n, d)))
    graphs = [nx.erdos_renyi_graph(n, 0.2, seed=seed) for seed in range(4)]
    network, method = cojax.default(problem, cojax.Lossy(cojax.network(graphs), 0.3), start)
    found: Any = cojax.solve(problem, network, method, start, num_steps=2_000, every=20)
    print(found, cojax.certificate(problem, found.x), cojax.reference(problem, np.zeros(d)))
    spent = {"README program": time.process_time(), "README program, on the clock": time.perf_counter() - wall}
    if gradient:
        begin = time.process_time()

        def final_cost(method):
            return cojax.solve(problem, network, method, start, num_steps=40, every=20).trace.cost[-1]

        jit = getattr(cojax, "quick_jit", jax.jit)  # which older versions of the library lack
        jax.block_until_ready(jit(jax.grad(final_cost))(method))
        spent["its gradient"] = time.process_time() - begin
    return spent


def readme_and_gradient() -> dict[str, float]:
    return readme(gradient=True)


def optimum() -> dict[str, float]:
    """`allocate`, `certificate` and `reference` of 1 000 nodes, each from the start of Python's work on it."""
    import jax
    import numpy as np

    import cojax

    random = np.random.default_rng(0)
    data = random.uniform(0.5, 5, 1000).astype(np.float32), random.uniform(1, 3, 1000).astype(np.float32)
    problem = cojax.Problem(
        lambda x, data: 0.5 * data[0] * (x.cpu - data[1]) ** 2, data, budget=1500.0, lower=0.0, upper=4.0
    )
    found: Any = jax.block_until_ready(cojax.allocate(problem))
    spent = {"allocate, n = 1 000, from the start of Python": time.process_time()}
    verbs: dict[str, Callable[[], Any]] = {
        "certificate after it": lambda: cojax.certificate(problem, cojax.Decision(None, found.cpu)),
        "reference after both": lambda: cojax.reference(problem),
    }
    for name, verb in verbs.items():
        begin = time.process_time()
        jax.block_until_ready(verb().price)
        spent[name] = time.process_time() - begin
    return spent


def _constants(size: int) -> dict[str, float]:
    import numpy as np
    from scipy import sparse

    import cojax

    random = np.random.default_rng(0)
    orders = [random.permutation(size) for _ in range(5)]
    rows, columns = np.concatenate(orders), np.concatenate([np.roll(order, 1) for order in orders])
    ends = np.hstack([rows, columns]), np.hstack([columns, rows])
    graph = sparse.coo_array((np.ones(ends[0].size), ends), shape=(size, size)).tocsr()
    graph.data[:] = 1 / 11
    begin = time.process_time()
    network = cojax.network(graph)
    spent = {f"network of a matrix, n = {size}": time.process_time() - begin}

    def cost(x, data):
        features, targets, demand, steep = data
        return 0.5 * ((features @ x.params - targets) ** 2).sum() + 0.5 * steep * (x.cpu - demand) ** 2

    data = random.normal(size=(size, 6, 5)), random.normal(size=(size, 6)), *random.uniform(1, 3, (2, size))
    problem = cojax.Problem(cost, tuple(part.astype(np.float32) for part in data), budget=2.0 * size)
    start = problem.start(params=np.zeros((size, 5), np.float32))
    begin = time.process_time()
    cojax.default(problem, network, start)
    spent[f"cojax.default, n = {size}"] = time.process_time() - begin
    return spent


def constants_of_1000() -> dict[str, float]:
    return _constants(1_000)


def constants_of_4000() -> dict[str, float]:
    return _constants(4_000)


def constants_of_100000() -> dict[str, float]:
    return _constants(100_000)


def a_named_graph() -> dict[str, float]:
    import cojax

    begin = time.process_time()
    cojax.network(cojax.graphs.named("geometric", 100_000))
    return {"geometric graph and its network, n = 100 000": time.process_time() - begin}


PROGRAMS = (
    readme_and_gradient,
    optimum,
    constants_of_1000,
    constants_of_4000,
    constants_of_100000,
    a_named_graph,
)


def measured(checkout: str, program: str, kept: str | None, folder: str) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"}
    # As for a user: Python reads what it compiled of a module before, wherever this script is run.
    environment |= {"PYTHONPYCACHEPREFIX": os.path.join(folder, "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
    if kept is not None:
        environment |= {"JAX_COMPILATION_CACHE_DIR": kept, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, __file__, "--measure", program]
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {}
    found = json.loads(done.stdout.splitlines()[-1])
    return {f"{name}, programs kept" if kept else name: value for name, value in found.items()}


def main(one: str, other: str, rounds: int = 3) -> None:
    from support.timing import save  # here, because it sets flags of XLA that a user does not have

    taken: dict[str, dict[str, list[float]]] = {one: {}, other: {}}
    slow = set()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for program in [each.__name__ for each in PROGRAMS]:
                for place, checkout in enumerate((one, other)):
                    kept = os.path.join(folder, str(place))
                    for where in [None] if program not in ("readme_and_gradient", "optimum") else [None, kept]:
                        if number == 0:
                            measured(checkout, program, where, folder)  # which fills the folders
                        if (checkout, program) in slow:
                            continue
                        found = measured(checkout, program, where, folder)
                        if not found:
                            slow.add((checkout, program))
                        for name, seconds in found.items():
                            taken[checkout].setdefault(name, []).append(seconds)
                print(f"round {number + 1}: {program}", file=sys.stderr, flush=True)
    rows = []
    for name in dict.fromkeys([*taken[one], *taken[other]]):
        medians = [statistics.median(taken[checkout].get(name) or [float("nan")]) for checkout in (one, other)]
        rows.append({"what": name, "before": medians[0], "now": medians[1], "ratio": medians[1] / medians[0]})
    print("| | before | now | ratio |\n|--|--|--|--|")
    for row in rows:
        before = "more than 150" if row["before"] != row["before"] else f"{row['before']:.3g}"
        ratio = "-" if row["ratio"] != row["ratio"] else f"{row['ratio']:.2f}"
        print(f"| {row['what']} | {before} | {row['now']:.3g} | {ratio} |")
    rows = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    save("waiting", rows, rounds=rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        program = dict(inspect.getmembers(sys.modules[__name__], inspect.isfunction))[sys.argv[2]]
        print(json.dumps(program()))
    else:
        main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
