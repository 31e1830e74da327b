"""64 runs at n = 50 by `cojax.sweep`, beside the same runs in turn and beside plain `jax.vmap`.

    python benchmarks/many_runs.py

Microseconds a step of one run, float32: first processor time on one core; then, in a second process, wall time with the
runs dealt out to all cores, beside runs in turn, which use one. Candidates take turns. Ratios of processor time are
medians over turns; microseconds, and the ratio of wall times, which others on the machine lengthen, are of the fastest.
"""

import multiprocessing
from typing import Any

from support.timing import median_ratio, save, show, take_turns, use_cores

NODES, RUNS, STEPS, TURNS = 50, 64, 300, 3


def jobs() -> dict[str, Any]:
    """Problem, start, and the method of a step size: what is swept."""
    import jax.numpy as jnp
    import numpy as np
    from support.job import cost, samples

    import cojax

    data = samples(NODES)
    shares = cojax.Problem(lambda x, price: price * x.cpu**2, data.price, budget=np.float32(NODES))
    target = data.targets[:, :10]
    mean = cojax.Problem(lambda x, target: jnp.sum((x.params - target) ** 2) / 2, target)
    both = cojax.Problem(cost, data, budget=np.float32(NODES))
    zeros = np.zeros((NODES, 10), np.float32)

    def coopt(size: float) -> Any:
        return cojax.CoOpt(learn=cojax.DIGing(size / 5), allocate=cojax.Laplacian(size))

    return {
        "shares": (shares, shares.start(), lambda size: cojax.CoOpt(allocate=cojax.Laplacian(size))),
        "mean, d = 10": (mean, mean.start(params=zeros), lambda size: cojax.CoOpt(learn=cojax.DIGing(size))),
        "20 samples, d = 10, and shares": (both, both.start(params=zeros), coopt),
    }


def compare(name: str, job: tuple, network: Any, link: str, all_cores: bool) -> dict[str, Any]:
    """One row: in turn, by vmap over whole runs, by sweep on one core, and by sweep on all."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import cojax
    from cojax.runs.cores import on_all_cores
    from cojax.runs.records import standard
    from cojax.runs.sweeps import _solve_side_by_side, _solve_stacked, _stack

    problem, start, method = job
    sizes = np.linspace(0.01, 0.1, RUNS, dtype=np.float32)
    many, same = _stack([(problem, network, method(size), start) for size in sizes], [{}] * RUNS)
    alone = [method(jnp.asarray(size)) for size in sizes]
    given = (many, same, RUNS, 1, STEPS, standard)

    def in_turn() -> None:
        for one in alone:
            jax.block_until_ready(cojax.solve(problem, network, one, start, num_steps=STEPS, every=STEPS))

    runs = {
        "turn": in_turn,
        "vmap": lambda: jax.block_until_ready(_solve_stacked(*given)),
        "sweep": lambda: jax.block_until_ready(_solve_side_by_side(*given)),
    }
    if all_cores:
        runs = {"turn": in_turn, "all": lambda: jax.block_until_ready(on_all_cores(_solve_side_by_side, *given))}
    for run in runs.values():
        run()
    times = take_turns(runs, TURNS)
    if all_cores:
        wall = {way: min(one.wall) / STEPS / RUNS * 1e6 for way, one in times.items()}
        return {"turn wall us": wall["turn"], "all cores wall us": wall["all"]} | {
            "wall: turn / all cores": wall["turn"] / wall["all"]
        }
    row = {"job": name, "layout": type(network).__name__, "link": link}
    row |= {f"{way} us": min(one.processor) / STEPS / RUNS * 1e6 for way, one in times.items()}
    turn = times["turn"].processor
    return row | {f"turn / {way}": median_ratio(turn, times[way].processor) for way in ("vmap", "sweep")}


def measure(all_cores: bool) -> list[dict[str, Any]]:
    """All rows, on one core or on all of them: in a process of its own, because JAX counts cores once."""
    if not all_cores:
        use_cores(1)
    import networkx as nx

    import cojax

    graphs = {
        "circulant": nx.cycle_graph(NODES),
        "neighbors": nx.random_regular_graph(4, NODES, seed=0),
        "dense": nx.erdos_renyi_graph(NODES, 0.3, seed=0),
    }
    links = {
        "ideal": cojax.Ideal(),
        "float": cojax.Quantized(cojax.FloatQuantizer(6)),
        "log": cojax.Quantized(cojax.LogQuantizer(1 / 64)),
    }
    rows = []
    for name, job in jobs().items():
        for layout, graph in graphs.items():
            for link, channel in links.items():
                network = cojax.network(graph, nodelist=range(NODES), link=channel, layout=layout)
                rows.append(compare(name, job, network, link, all_cores))
    return rows


def main() -> None:
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        one, every = pool.apply(measure, (False,)), pool.apply(measure, (True,))
    rows = [first | second for first, second in zip(one, every, strict=True)]
    show(rows)
    save("many_runs", rows, nodes=NODES, runs=RUNS, steps=STEPS, turns=TURNS)


if __name__ == "__main__":
    main()
