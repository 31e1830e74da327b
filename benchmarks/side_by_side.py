"""Two checkouts of cojax beside each other: importing, compiling a run, and a step at 20, 1 000 and 100 000 nodes.

    python benchmarks/side_by_side.py CHECKOUT CHECKOUT [rounds]

A checkout is a folder that holds `cojax/`. Every figure is processor time of a fresh process, the checkouts take turns,
and the table has medians over the rounds and the ratio of the second to the first: above 1 the second is slower. The
job is least squares and CPU shares over a quantized link of random regular graphs, degree 10. No compilation cache.
"""

import json
import os
import statistics
import subprocess
import sys
import time

STEPS = {20: 20_000, 1_000: 1_000, 100_000: 10}
DEGREE = 10


def measure() -> dict[str, float]:
    """Seconds of processor time, by what they were for."""
    begin = time.process_time()
    import cojax

    found = {"import": time.process_time() - begin}
    import jax
    import jax.numpy as jnp
    import networkx as nx
    import numpy as np

    def cost(x, data):
        features, targets = data
        return ((features @ x.params - targets) ** 2).mean() + x.cpu**2

    def nothing(problem, x, state):
        return ()

    for size, steps in STEPS.items():
        random = np.random.default_rng(0)
        data = random.normal(size=(size, 8, 5)).astype(np.float32), random.normal(size=(size, 8)).astype(np.float32)
        problem = cojax.Problem(cost, data, float(size))
        start = problem.start(params=jnp.zeros((size, 5)))
        link = cojax.Innovation(cojax.LogQuantizer(0.1))
        network = cojax.network(nx.random_regular_graph(min(DEGREE, size - 1), size, seed=1), link=link)
        method = cojax.CoOpt(cojax.DIGing(0.01), cojax.Laplacian(0.01))

        def run(steps: int, given: tuple = (problem, network, method, start)) -> float:
            began = time.process_time()
            jax.block_until_ready(cojax.solve(*given, num_steps=steps, every=steps, record=nothing).x)
            return time.process_time() - began

        first = run(steps)
        again = min(run(steps) for _ in range(3))
        found[f"compile, n = {size}"] = first - again
        found[f"us a step, n = {size}"] = again / steps * 1e6
    return found


def main(one: str, other: str, rounds: int = 5) -> None:
    taken: dict[str, list[dict[str, float]]] = {one: [], other: []}
    for _ in range(rounds):
        for checkout in (one, other):
            environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
            environment |= {"PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"}
            command = ["taskset", "-c", "0", sys.executable, __file__, "--measure"]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            taken[checkout].append(json.loads(done.stdout))
    print(f"| | {one} | {other} | ratio |\n|--|--|--|--|")
    for name in taken[one][0]:
        first, second = (statistics.median(each[name] for each in taken[checkout]) for checkout in (one, other))
        ratio = statistics.median(b[name] / a[name] for a, b in zip(taken[one], taken[other], strict=True))
        print(f"| {name} | {first:.4g} | {second:.4g} | {ratio:.3f} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measure()))
    else:
        main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
