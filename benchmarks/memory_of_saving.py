"""What a process needs to save and to read its part of a checkpoint at a million nodes, of 1, 2 and 4 processes.

    python benchmarks/memory_of_saving.py

Every process has one device and is a program of its own; they talk over loopback by gloo. float32, degree 10, d = 10,
memory by node over log-quantized links. Peaks are those of the resident memory beyond what the process held when it
began, by the kernel's own mark, which is set back before.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.processes import answer, launched, meet, resident
from support.timing import save, show

NODES, FEATURES, DEGREE = 1_000_000, 10, 10


@contextmanager
def measured(found: dict[str, float], what: str) -> Iterator[None]:
    """The seconds and the peak of what is done inside."""
    Path("/proc/self/clear_refs").write_text("5")
    held, began = resident("VmRSS"), time.perf_counter()
    yield
    found |= {f"{what} s": time.perf_counter() - began, f"{what} peak MB": (resident("VmHWM") - held) / 1e6}


def one_process(processes: int, process: int, port: int, folder: str) -> dict[str, float]:
    """What it took to tell what the run is, to write the part of this process, and to read it."""
    import jax

    meet(processes, process, port)
    import jax.numpy as jnp
    import numpy as np

    import cojax
    from cojax.runs.blocks import Blocks
    from cojax.runs.checkpoints import Saved, load
    from cojax.runs.checkpoints import save as write
    from cojax.runs.prints import prints_of
    from cojax.runs.records import standard

    random = np.random.default_rng(0)
    data = random.normal(size=(NODES, FEATURES)).astype(np.float32), np.linspace(0.5, 2.0, NODES, dtype=np.float32)
    problem = cojax.Problem(cost, data, budget=np.float32(NODES))
    link = cojax.Innovation(cojax.LogQuantizer(1 / 64))
    offsets = tuple(sign * step % NODES for step in range(1, DEGREE // 2 + 1) for sign in (1, -1))
    weights = np.full((DEGREE, 1), 1 / (DEGREE + 1), np.float32)
    network = cojax.Circulant(weights=jnp.asarray(weights), offsets=offsets, size=NODES, link=link)
    method = cojax.CoOpt(learn=cojax.DIGing(0.02), allocate=cojax.Laplacian(0.1))
    start = problem.start(params=np.zeros((NODES, FEATURES), np.float32))
    if processes > 1:
        problem, network, start = cojax.shard(problem, network, start)
    solution = jax.block_until_ready(cojax.solve(problem, network, method, start, num_steps=2, every=2))
    saved = Saved(solution.state, solution.trace)
    mine = sum(shard.data.nbytes for leaf in jax.tree.leaves(saved) for shard in leaf.addressable_shards)
    found: dict[str, float] = {"its state MB": mine / 1e6}
    path, blocks = Path(folder) / "run.npz", Blocks(network, problem, start)
    with measured(found, "fingerprint"):
        prints = prints_of(blocks, problem, network, method, start, 2, standard)
    with measured(found, "save"):
        write(path, saved, prints, blocks)
    with measured(found, "load"):
        load(path, saved, prints, blocks)
    return found


def cost(x: Any, data: Any) -> Any:
    """Of one node: the distance of its params from its own, and the price of its CPU."""
    target, price = data
    return ((x.params - target) ** 2).sum() + price * x.cpu**2


def main() -> None:
    rows = []
    for processes in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            found = launched(__file__, processes, folder)
            files = sorted(path.stat().st_size / 1e6 for path in Path(folder).iterdir())
        most = {name: max(one[name] for one in found) for name in found[0]}
        rows.append({"processes": processes, "largest file MB": files[-1], **most})
        show(rows)
    save("memory_of_saving", rows, nodes=NODES)


if __name__ == "__main__":
    if not answer(one_process):
        main()
