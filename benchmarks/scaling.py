"""Time a step on one device on one core, beside two devices on two cores: of twice the nodes, and of the same nodes.

    python benchmarks/scaling.py             # all of it; or some of: weak strong

Weak scaling doubles nodes and cores together; strong scaling cuts the same nodes. The two devices are those of one
process, or of two processes that talk over loopback by gloo, as machines would. Every setup is a program of its own, on
as many cores as it has devices; of each the fastest of some runs counts, in wall time. float32, the job of
`step_time.py` over a link of 6 mantissa bits, d = 10.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from support.processes import free_port, meet
from support.timing import save, show

GRAPHS = "lattice", "random 10"
NODES = {"weak": (1_000, 10_000, 100_000), "strong": (2_000, 20_000, 200_000)}  # a device, and in all
SETUPS = {"one device": (1, 1), "two devices": (1, 2), "two processes": (2, 2)}  # processes, and devices of them all
RUNS = 5


def seconds(graph: str, n: int, cores: list[int], processes: int, process: int, port: int) -> float:
    """Of one step on this process's devices, one on each of `cores`."""
    os.sched_setaffinity(0, cores)
    os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={len(cores)}"
    import jax

    meet(processes, process, port)
    from support.growing_graphs import FAMILIES
    from support.job import coopt, samples

    import cojax

    problem, network, method, start = coopt(FAMILIES[graph](n), samples(n), cojax.FloatQuantizer(6))
    if jax.device_count() > 1:
        problem, network, start = cojax.shard(problem, network, start)
    assert jax.local_device_count() == len(cores)
    num_steps = max(20, 2_000_000 // n)
    found = []
    for _ in range(1 + RUNS):
        began = time.perf_counter()
        jax.block_until_ready(cojax.solve(problem, network, method, start, num_steps=num_steps, every=num_steps))
        found.append((time.perf_counter() - began) / num_steps)
    return min(found[1:])


def measured(graph: str, n: int, processes: int, devices: int) -> float:
    """Of one step of n nodes, by programs that this one starts."""
    cores = sorted(os.sched_getaffinity(0))[:devices]
    each = devices // processes
    port = free_port()
    asked = [[graph, n, cores[i * each : (i + 1) * each], processes, i, port] for i in range(processes)]
    running = [
        subprocess.Popen([sys.executable, __file__, json.dumps(one)], stdout=subprocess.PIPE, text=True)
        for one in asked
    ]
    told = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{graph}, {processes} processes, {devices} devices: a process failed, see above")
    return max(float(one.splitlines()[-1]) for one in told)


def table(kind: str) -> list[dict[str, Any]]:
    """Of weak or strong scaling; the ratios are 1 and 2 where nothing is lost."""
    rows: list[dict[str, Any]] = []
    for graph in GRAPHS:
        for n in NODES[kind]:
            found = {
                name: measured(graph, n * devices if kind == "weak" else n, processes, devices)
                for name, (processes, devices) in SETUPS.items()
            }
            row = {"graph": graph, "nodes a device" if kind == "weak" else "nodes": n}
            row |= {f"{name} us": found[name] * 1e6 for name in SETUPS}
            rows.append(row | {f"one / {name}": found["one device"] / found[name] for name in list(SETUPS)[1:]})
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    if sys.argv[1:] and sys.argv[1] not in NODES:
        print(seconds(*json.loads(sys.argv[1])))
        return
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("this needs two cores")
    for kind in sys.argv[1:] or NODES:
        rows = table(kind)
        show(rows)
        save(f"{kind}_scaling", rows, unit="microseconds of wall time a step", runs=RUNS)


if __name__ == "__main__":
    main()
