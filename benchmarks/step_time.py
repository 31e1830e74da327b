"""The co-optimisation step of cojax beside the same step in NumPy and SciPy.

    python benchmarks/step_time.py

DIGing and Laplacian over quantized links, degree 10, d = 10, 20 samples a node, float32. The runs take turns in one
process, once kept on one core and once on all; NumPy uses one thread for all of this either way.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from support.timing import median_ratio, save, show, take_turns, use_cores

TURNS = 7
STEPS = {1_000: 2_000, 10_000: 1_000}


def compare(n: int, quantizer_name: str) -> dict[str, Any]:
    """One row: microseconds a step of cojax and of the two NumPy loops, and their ratios."""
    import jax
    from support import numpy_step
    from support.job import coopt, graph_of, samples

    import cojax

    kinds = {
        "log": (cojax.LogQuantizer(1 / 64), lambda like: numpy_step.log_quantizer(1 / 64, like)),
        "float": (cojax.FloatQuantizer(6), lambda like: numpy_step.float_quantizer(6, like)),
    }
    ours, theirs = kinds[quantizer_name]
    steps, graph, data = STEPS[n], graph_of(n), samples(n)
    problem, network, method, start = coopt(graph, data, ours)
    by_node = numpy_step.run(graph, data, theirs, numpy_step.gradient_by_node)
    nodes_last = numpy_step.run(graph, data, theirs, numpy_step.gradient_nodes_last)

    def solve() -> Any:
        return jax.block_until_ready(cojax.solve(problem, network, method, start, num_steps=steps, every=100))

    begin = time.perf_counter()
    solution = solve()
    first = time.perf_counter() - begin
    by_node(1)
    nodes_last(1)
    times = take_turns({"ours": solve, "node": lambda: by_node(steps), "last": lambda: nodes_last(steps)}, TURNS)
    micro = {name: statistics.median(one.processor) / steps * 1e6 for name, one in times.items()}
    return {
        "cores": len(os.sched_getaffinity(0)),
        "n": n,
        "quantizer": quantizer_name,
        "compile s": first - statistics.median(times["ours"].wall),
        "cojax us": statistics.median(times["ours"].wall) / steps * 1e6,
        "NumPy us": statistics.median(times["node"].wall) / steps * 1e6,
        "NumPy nodes last us": statistics.median(times["last"].wall) / steps * 1e6,
        "ratio": median_ratio(times["node"].wall, times["ours"].wall),
        "ratio nodes last": median_ratio(times["last"].wall, times["ours"].wall),
        "cojax processor us": micro["ours"],
        "ratio processor": micro["node"] / micro["ours"],
        "ratio nodes last processor": micro["last"] / micro["ours"],
        "imbalance": float(solution.trace.imbalance[-1]),
    }


def disagreement(num_steps: int = 20, n: int = 1_000) -> dict[str, float]:
    """The largest difference of params and of shares from NumPy, in float64, after `num_steps` steps."""
    import jax
    import numpy as np
    from support import numpy_step
    from support.job import coopt, graph_of, samples

    import cojax

    graph, data = graph_of(n), samples(n, np.float64)
    with jax.enable_x64(True):
        problem, network, method, start = coopt(graph, data, cojax.LogQuantizer(1 / 64))
        x = cojax.solve(problem, network, method, start, num_steps=num_steps).x
        params, cpu = np.asarray(x.params), np.asarray(x.cpu)
    found = {}
    for gradient in (numpy_step.gradient_by_node, numpy_step.gradient_nodes_last):
        loop = numpy_step.run(graph, data, lambda like: numpy_step.log_quantizer(1 / 64, like), gradient)
        other, shares = loop(num_steps)
        found[gradient.__name__] = max(float(np.abs(params - other).max()), float(np.abs(cpu - shares).max()))
    return found


def on_cores(count: int) -> list[dict[str, Any]]:
    """The rows measured in a process of its own, kept on `count` cores."""
    done = subprocess.run([sys.executable, __file__, str(count)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main() -> None:
    if len(sys.argv) > 1:
        use_cores(int(sys.argv[1]))
        print(json.dumps([compare(n, name) for n in STEPS for name in ("log", "float")]))
        return
    agreement = disagreement()
    rows = [row for count in sorted({1, len(os.sched_getaffinity(0))}) for row in on_cores(count)]
    show(rows)
    print(f"\nlargest difference from NumPy after 20 steps in float64, n = 1000: {agreement}")
    save(
        "step_time",
        rows,
        difference_after_20_steps=agreement,
        turns=TURNS,
        steps={str(n): k for n, k in STEPS.items()},
    )


if __name__ == "__main__":
    main()
