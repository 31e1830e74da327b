"""The peak memory of the co-optimisation step at 100 000 nodes.

    python benchmarks/peak_memory.py

One process, float32: degree 10, d = 10, 20 samples a node, 1 000 steps over log-quantized links.
"""

import resource
import time

import jax
from support.job import coopt, graph_of, samples
from support.timing import save, show

import cojax

NODES = 100_000
STEPS = 1_000
LIMIT_GB = 4.0


def peak_gb() -> float:
    """The largest resident size of this process so far; Linux counts in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    rows = [{"after": "imports", "peak GB": peak_gb(), "seconds": 0.0}]

    def mark(name: str, start: float) -> None:
        rows.append({"after": name, "peak GB": peak_gb(), "seconds": time.perf_counter() - start})

    start = time.perf_counter()
    graph, data = graph_of(NODES), samples(NODES)
    mark("graph and data made", start)

    start = time.perf_counter()
    problem, network, method, first = coopt(graph, data, cojax.LogQuantizer(1 / 64))
    mark("problem and network made", start)

    start = time.perf_counter()
    solution = jax.block_until_ready(cojax.solve(problem, network, method, first, num_steps=STEPS, every=100))
    mark(f"{STEPS} steps, compile included", start)

    show(rows)
    print(f"\n{type(network).__name__}, imbalance {float(solution.trace.imbalance[-1])}, peak {peak_gb():.2f} GB")
    save(
        "peak_memory", rows, nodes=NODES, steps=STEPS, limit_gb=LIMIT_GB, imbalance=float(solution.trace.imbalance[-1])
    )
    if peak_gb() > LIMIT_GB:
        raise SystemExit(f"peak {peak_gb():.2f} GB is over {LIMIT_GB} GB")


if __name__ == "__main__":
    main()
