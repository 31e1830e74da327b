"""What a process needs for its part of a network that no process has whole: 34 million nodes in 1, 2, 4.

    python benchmarks/memory_of_building.py

Graph and data are functions of the node (`cojax.graphs.computed`, `cojax.spread`); every process has one device and is
a program of its own; they talk over loopback by gloo. float32, d = 4, CoOpt of DIGing and Laplacian over ideal links.
Peaks are those of the resident memory, by the kernel's own mark; "empty" is a process that has imported cojax and met
the others, "small" one that has then compiled and run the same programs for 1 024 nodes a process.
"""

import time
from typing import Any

from support.processes import answer, launched, meet, resident
from support.timing import save, show

NODES, FEATURES, STEPS = 34_000_000, 4, 5
FAMILIES = {"ring": {}, "torus": {}, "geometric": {}, "regular": {"links": 6}}


def peak() -> float:
    """The most resident memory of this process so far, in MB of 2^20 bytes."""
    return resident("VmHWM") / 2**20


def one_process(processes: int, process: int, port: int, name: str) -> dict[str, float]:
    """What it took to build the part of this process, and to run it."""
    meet(processes, process, port)
    import cojax

    cojax.spread(lambda nodes: nodes, processes)
    found = {"empty MB": peak()}
    run(name, FAMILIES[name], 1024 * processes, found)
    found |= {"small MB": peak()}
    run(name, FAMILIES[name], NODES, found)
    return found


def run(name: str, settings: dict[str, Any], num_nodes: int, found: dict[str, float]) -> None:
    """A network built, its seconds and the peak kept in `found`, and a few steps on it."""
    import jax
    import jax.numpy as jnp

    import cojax

    began = time.perf_counter()
    problem = cojax.Problem(cost, cojax.spread(data, num_nodes), budget=float(num_nodes))
    start = problem.start(params=cojax.spread(lambda nodes: jnp.zeros((len(nodes), FEATURES)), num_nodes))
    graph = cojax.graphs.computed(name, num_nodes, **settings)
    problem, network, start = jax.block_until_ready(cojax.shard(problem, cojax.Computed(graph), start))
    found |= {"build s": time.perf_counter() - began, "built peak MB": peak()}
    method = cojax.CoOpt(learn=cojax.DIGing(0.02), allocate=cojax.Laplacian(0.1))
    began = time.perf_counter()
    solution = cojax.solve(problem, network, method, start, num_steps=STEPS, every=STEPS)
    imbalance = float(solution.trace.imbalance[-1])
    found |= {"run s": time.perf_counter() - began, "run peak MB": peak(), "imbalance": imbalance}


def data(nodes: Any) -> Any:
    """Of some nodes: what each wants of the model, and its price."""
    import jax

    def of_one(node: Any) -> Any:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), node))
        return jax.random.normal(keys[0], (FEATURES,)), jax.random.uniform(keys[1], minval=0.5, maxval=2.0)

    return jax.jit(jax.vmap(of_one))(nodes)


def cost(x: Any, data: Any) -> Any:
    """Of one node: the distance of its params from its own, and the price of its CPU."""
    target, price = data
    return ((x.params - target) ** 2).sum() + price * x.cpu**2


def main() -> None:
    rows: list[dict[str, Any]] = []
    for name in FAMILIES:
        alone: dict[str, float] = {}
        for processes in (1, 2, 4):
            found = launched(__file__, processes, name)
            most: dict[str, Any] = {key: max(one[key] for one in found) for key in found[0]}
            for base in ("empty", "small"):
                more = max(one["run peak MB"] - one[f"{base} MB"] for one in found)
                most[f"beyond {base} MB"] = more
                most[f"beyond {base}, of one"] = more / alone.setdefault(base, more)
            rows.append({"graph": name, "processes": processes, **most})
            show(rows)
            save("memory_of_building", rows, nodes=NODES)


if __name__ == "__main__":
    if not answer(one_process):
        main()
