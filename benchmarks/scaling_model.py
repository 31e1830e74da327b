"""What a step would take on 8 GPUs and on 512 hosts, by a model: nothing here was run there.

    python benchmarks/scaling_model.py

A device first computes, then exchanges rows: seconds = bytes read and written / bandwidth + launches of kernels +
messages x latency + bytes received / speed of the link (the last two after Hockney 1994, doi
10.1016/S0167-8191(06)80021-9). The rows that a device receives are counted on the graphs themselves, cut as
`cojax.shard` cuts them; all else is an assumption, written down below. The job is that of `step_time.py`, d = 10,
float32, one million nodes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from support.timing import save, show

import cojax
from cojax.networks.devices.halos import arrange_nodes, rounds_between

NODES = 1_024_000
BYTES_OF_ROW = 84  # params, tracker and price, as `rows_that_travel.py` reads them from compiled programs
# Of a node in a step: samples, rows of ten neighbours, the state read and written, and the table (`gpu_programs.py`).
BYTES_OF_NODE = 880 + 10 * BYTES_OF_ROW + 2 * 212 + 120


class Machine(NamedTuple):
    """One device, and what joins it to the others."""

    name: str
    devices: int
    bandwidth: float  # of memory, in bytes a second that a step reaches
    launches: float  # seconds a step, of kernels
    latency: float  # seconds a message
    link: float  # bytes a second that a device receives
    pieces: int  # messages in turn of an all-gather


# H200: 4.8 TB/s and 450 GB/s a direction by NVLink (NVIDIA's data sheet), of which 60 % and 70 % are taken; 15 kernels
# of 3 us; 10 us a collective. Hosts: one core as measured here (`scaling.py`: 37 ms at 100 000 nodes), 25 Gbit/s, 30 us
# a message, 9 in turn for an all-gather of 512.
GPUS = Machine("8 H200", 8, 0.6 * 4.8e12, 15 * 3e-6, 10e-6, 0.7 * 450e9, 1)
HOSTS = Machine("512 hosts, a core each", 512, BYTES_OF_NODE * 100_000 / 0.037, 0.0, 30e-6, 25e9 / 8, 9)

GRAPHS: dict[str, Callable[[], Any]] = {
    "lattice": lambda: cojax.graphs.named("grid", NODES),
    "geometric": lambda: cojax.graphs.named("geometric", NODES),
    "random 10": lambda: cojax.graphs.named("regular", NODES, links=10),
    "random 10, computed": lambda: cojax.graphs.computed("regular", NODES, links=10).edge_list(),
}


def rows_received(pairs: np.ndarray, devices: int) -> tuple[int, int, bool]:
    """The rows and messages that one device receives in a step, and whether it is an all-gather."""
    order, gathers = arrange_nodes(pairs, NODES, devices)
    if gathers:
        return NODES - NODES // devices, 0, True
    rounds = rounds_between(np.argsort(order)[pairs], devices, NODES)
    return rounds.received, len(rounds.moves), False


def modelled(graph: str, pairs: np.ndarray, machine: Machine) -> dict[str, Any]:
    alone = NODES * BYTES_OF_NODE / machine.bandwidth + machine.launches
    computes = NODES / machine.devices * BYTES_OF_NODE / machine.bandwidth + machine.launches
    rows, messages, gathers = rows_received(pairs, machine.devices)
    exchanges = (machine.pieces if gathers else messages) * machine.latency + rows * BYTES_OF_ROW / machine.link
    return {
        "graph": graph,
        "devices": machine.name,
        "exchange": "all-gather" if gathers else f"{messages} messages",
        "MB received": rows * BYTES_OF_ROW / 1e6,
        "us computing": computes * 1e6,
        "us exchanging": exchanges * 1e6,
        "one device / these": alone / (computes + exchanges),
    }


def main() -> None:
    rows = []
    for name, make in GRAPHS.items():
        one_way = make().pairs
        pairs = np.hstack([one_way, one_way[::-1]])
        rows += [modelled(name, pairs, machine) for machine in (GPUS, HOSTS)]
    show(rows)
    assumed = {machine.name: machine._asdict() for machine in (GPUS, HOSTS)}
    save("scaling_model", rows, unit="microseconds a step by a model, not measured", nodes=NODES, assumed=assumed)


if __name__ == "__main__":
    main()
