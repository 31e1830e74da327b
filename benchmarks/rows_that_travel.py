"""Rows that travel per cut, counted and read from the compiled program; weak scaling over 1 to 8 devices; gradients.

    python benchmarks/rows_that_travel.py             # cuts and gradients; or some of: cuts gradients many

The devices are virtual, threads of one CPU: what travels is that of real devices, the times are not. `many` compiles
for 2 to 512 devices and runs nothing.
"""

import os
import sys

# The largest number of devices of what is asked for.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={512 if 'many' in sys.argv[1:] else 8}"
)

import math
import re
import statistics
import subprocess
from typing import Any

import jax
import networkx as nx
import numpy as np
from support.growing_graphs import FAMILIES
from support.job import coopt, samples
from support.timing import save, show, take_turns

import cojax
from cojax.networks.devices.halos import arrange_nodes, node_order, rounds_between
from cojax.runs.loop import _solve
from cojax.runs.records import standard

NODES_PER_DEVICE = 1_000
DEVICES = (1, 2, 4, 8)
MANY_DEVICES = (2, 8, 32, 128, 512)
FEW_NODES = 100  # a device, where there are many
COUNTED_NODES = 96_000
COUNTED_DEVICES = (8, 64)
STEPS = 20
TURNS = 5
BYTES_OF_ROW = 84  # params, tracker and price
BYTES = {"f64": 8, "f32": 4, "s32": 4, "u32": 4, "pred": 1}


def both_ways(graph: nx.Graph) -> np.ndarray:
    """(2, 2 e), every edge from both ends."""
    pairs = np.array(graph.edges).T
    return np.hstack([pairs, pairs[::-1]])


def counted(name: str, devices: int, pairs: np.ndarray, n: int) -> dict[str, Any]:
    """Rows that one device receives, as a share of an all-gather."""
    everything = n - n // devices
    ordered = np.argsort(node_order(pairs, n))[pairs]
    return {
        "graph": name,
        "n": n,
        "devices": devices,
        "as given, %": 100 * rounds_between(pairs, devices, n).received / everything,
        "ordered, %": 100 * rounds_between(ordered, devices, n).received / everything,
        "taken": "all-gather" if arrange_nodes(pairs, n, devices)[1] else "halo",
    }


def received(program: str, devices: int) -> int:
    """Bytes that one device receives in a step, read from the loops of a compiled program."""
    total = 0
    pattern = r"= (\w+)\[([\d,]*)\]\S* (all-gather|all-to-all|collective-permute)(?:-start)?\("
    for dtype, shape, kind in re.findall(pattern, program.partition("\nENTRY")[0]):
        size = BYTES[dtype] * math.prod(map(int, filter(None, shape.split(","))))
        total += size if kind == "collective-permute" else size * (devices - 1) // devices
    return total


def compiled(name: str, devices: int, n: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """The program of some steps, what it takes, and what one device receives in each of them."""
    problem, network, method, start = coopt(FAMILIES[name](n), samples(n), cojax.FloatQuantizer(6))
    mesh = jax.make_mesh((devices,), ("nodes",), devices=jax.devices()[:devices])
    cut = cojax.shard(problem, network, start, mesh)
    run = _solve.lower(cut.problem, cut.network, method, cut.start, 1, STEPS, standard).compile()
    travels = received(run.as_text() or "", devices)
    row = {"graph": name, "layout": type(network).__name__, "devices": devices, "n": n, "bytes": travels}
    return run, cut, method, row


def weak_scaling(name: str) -> list[dict[str, Any]]:
    """One family of graphs at as many nodes per device, over 1 to 8 of them."""
    found, rows = {}, []
    for devices in DEVICES:
        run, cut, method, row = compiled(name, devices, NODES_PER_DEVICE * devices)
        found[devices] = lambda run=run, cut=cut, method=method: jax.block_until_ready(
            run(cut.problem, cut.network, method, cut.start)
        )
        found[devices]()
        rows.append(row)
    times = take_turns(found, TURNS)
    for row in rows:
        row["us a step, virtual"] = statistics.median(times[row["devices"]].wall) / STEPS * 1e6
    return rows


def gradient(name: str) -> dict[str, Any]:
    """Reverse mode through 1 000 steps on 8 devices, d = 10, beside the run; in processor time of all of them."""
    n, graph = NODES_PER_DEVICE, FAMILIES[name](NODES_PER_DEVICE)
    problem, _, method, start = coopt(graph, samples(n), cojax.FloatQuantizer(6))
    cut = cojax.shard(problem, cojax.network(graph, nodelist=range(n)), start)

    def last_cost(method: cojax.Method) -> Any:
        solution = cojax.solve(cut.problem, cut.network, method, cut.start, num_steps=1_000, every=25)
        return cut.problem.at(0).costs(cut.network.to_rows(solution.x)).mean()

    programs = {
        "run": jax.jit(last_cost).lower(method).compile(),
        "reverse": jax.jit(jax.grad(last_cost)).lower(method).compile(),
    }
    turns = {kind: lambda run=run: jax.block_until_ready(run(method)) for kind, run in programs.items()}
    found = {kind: min(times.processor) for kind, times in take_turns(turns, TURNS).items()}
    scatters = {kind: (run.as_text() or "").count(" scatter(") for kind, run in programs.items()}
    return {
        "graph": name,
        "layout": type(cut.network).__name__,
        "run us a step, virtual": found["run"] * 1e3,
        "reverse / run": found["reverse"] / found["run"],
        "scatters in the run": scatters["run"],
        "in reverse": scatters["reverse"],
    }


def cuts() -> None:
    rows = [row for name in FAMILIES for row in weak_scaling(name)]
    show(rows)
    shares = []
    for name, make in FAMILIES.items():
        pairs = both_ways(make(COUNTED_NODES))
        shares += [counted(name, devices, pairs, COUNTED_NODES) for devices in COUNTED_DEVICES]
    print()
    show(shares)
    unit = "bytes that one device receives in a step; microseconds a step on virtual devices, which share the cores"
    save("rows_that_travel", rows, devices="8 virtual devices of one CPU", unit=unit, steps=STEPS, cuts=shares)


def gradients() -> None:
    rows = [gradient(name) for name in ("lattice", "random 10", "scale-free")]
    show(rows)
    save(
        "rows_that_travel_gradients",
        rows,
        devices="8 virtual devices of one CPU",
        unit="processor time, all devices together",
    )


def many() -> None:
    """Bytes that one device receives in a step, of 100 nodes a device, at 2 to 512 devices.

    A process for each: all programs together are more than XLA finds room for (`vm.max_map_count`).
    """
    rows = []
    for name in FAMILIES:
        row: dict[str, Any] = {"graph": name}
        for devices in MANY_DEVICES:
            command = [sys.executable, __file__, "many", name, str(devices)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            # None where XLA ends the process, because there is no room for the programs of so many devices in one.
            row[f"{devices} devices"] = None if done.returncode else int(done.stdout.splitlines()[-1])
        print(row, file=sys.stderr, flush=True)
        rows.append(row | {"all-gather at 512": BYTES_OF_ROW * FEW_NODES * (MANY_DEVICES[-1] - 1)})
        save("rows_that_travel_many", rows, unit="bytes that one device receives in a step", nodes_per_device=FEW_NODES)
    show(rows)


PARTS = {"cuts": cuts, "gradients": gradients, "many": many}


def main() -> None:
    if len(sys.argv) == 4:
        name, devices = sys.argv[2], int(sys.argv[3])
        print(compiled(name, devices, FEW_NODES * devices)[-1]["bytes"])
        return
    for part in sys.argv[1:] or ("cuts", "gradients"):
        PARTS[part]()


if __name__ == "__main__":
    main()
