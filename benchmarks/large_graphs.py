"""From a name to a network of a million nodes: seconds, and memory beside that of the network itself.

    python benchmarks/large_graphs.py [CHECKOUT ...]

Every graph is drawn and made a network in a fresh process; with folders that hold `cojax/`, by each of them in turn.
Degree 10, but for Erdos-Renyi and geometric graphs, which need more to be connected and have their own defaults. Peaks
are those of the resident memory beyond what the process held before, by the kernel's own mark. Medians of three.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.processes import resident
from support.timing import save, show

NODES, TURNS = 1_000_000, 3
GRAPHS: dict[str, dict[str, Any]] = {
    "regular": {"links": 10},
    "scale_free": {"links": 5},
    "small_world": {"links": 10},
    "erdos_renyi": {},
    "geometric": {},
}
HERE = str(Path(__file__).parents[1])


def measure(name: str) -> dict[str, float]:
    import jax

    import cojax

    cojax.network(cojax.graphs.named(name, 30_000, seed=0))  # what is loaded when it is first asked for
    Path("/proc/self/clear_refs").write_text("5")
    held, began = resident("VmRSS"), time.perf_counter()
    graph = cojax.graphs.named(name, NODES, seed=0, **GRAPHS[name])
    found = {"graph s": time.perf_counter() - began, "graph peak": resident("VmHWM") - held}
    began = time.perf_counter()
    network = jax.block_until_ready(cojax.network(graph))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(network))
    found |= {"network s": time.perf_counter() - began, "network": size, "peak": resident("VmHWM") - held}
    return found | {"degree": 2 * graph.pairs.shape[1] / NODES}


def main(checkouts: list[str]) -> None:
    rows = []
    for name in GRAPHS:
        taken: dict[str, list[dict[str, float]]] = {checkout: [] for checkout in checkouts}
        for _ in range(TURNS):
            for checkout in checkouts:
                command = [sys.executable, __file__, "--measure", name]
                environment = os.environ | {"PYTHONPATH": checkout}
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                taken[checkout].append(json.loads(done.stdout.splitlines()[-1]))
        for checkout, turns in taken.items():
            found = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
            row: dict[str, Any] = {"graph": name, "checkout": Path(checkout).name, "degree": found["degree"]}
            row |= {"graph s": found["graph s"], "network s": found["network s"]}
            row |= {"in all s": found["graph s"] + found["network s"], "network MB": found["network"] / 1e6}
            rows.append(row | {"peak MB": found["peak"] / 1e6, "peak / network": found["peak"] / found["network"]})
            print(row["graph"], row["checkout"], f"{row['in all s']:.1f} s", file=sys.stderr, flush=True)
    save("large_graphs", rows, nodes=NODES)
    show(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(sys.argv[1:] or [HERE])
