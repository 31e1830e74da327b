"""The flow of one step in every layout, over graphs of many sizes and degrees, and what `layout="auto"` picks.

    python benchmarks/which_layout.py

One core, float32. The message is that of a step: params (n, d) weighed, and a price (n,) moved exactly.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from jax import lax
from support.timing import save, show, take_turns, use_cores

import cojax
from cojax.networks.base import Wire
from cojax.networks.laws import Transfer, Weigh

SIZES = (16, 32, 64, 128, 256, 512, 1_000, 3_000, 10_000)
WIDTHS = (1, 10, 100)
DENSE_UP_TO = 3_000  # beyond, a matrix takes seconds a step and hundreds of megabytes
SECONDS = 0.02  # of one turn
TURNS = 7


def graphs(n: int) -> dict[str, nx.Graph]:
    """Graphs of n nodes by name: even degrees, uneven ones, hubs, and one that is circulant."""
    found = {f"regular {degree}": nx.random_regular_graph(degree, n, seed=0) for degree in (4, 10, 30) if degree < n}
    if n <= 1_000:
        found["regular n/4"] = nx.random_regular_graph(n // 4, n, seed=0)
        found["complete less one edge"] = nx.complete_graph(n)
        found["complete less one edge"].remove_edge(0, 1)
    if n <= 64:
        found["complete"] = nx.complete_graph(n)
    found["random 10"] = _connected(nx.gnp_random_graph(n, min(10 / n, 0.5), seed=0))
    found["scale-free 4"] = nx.barabasi_albert_graph(n, 4, seed=0)
    found["star"] = nx.star_graph(n - 1)
    found["ring 4"] = nx.circulant_graph(n, [1, 2])
    return found


def _connected(graph: nx.Graph) -> nx.Graph:
    graph.add_edges_from(zip(range(graph.number_of_nodes() - 1), range(1, graph.number_of_nodes()), strict=True))
    return graph


def layouts_for(name: str, n: int) -> list[str]:
    """The layouts that this graph fits in."""
    table = [] if name == "star" and n > 300 else ["neighbors"]
    circulant = ["circulant"] if name in ("ring 4", "complete") else []
    return (["dense"] if n <= DENSE_UP_TO else []) + table + ["split", "edges"] + circulant


def flow_loop(graph: nx.Graph, layout: str, width: int) -> Callable[[int], Any]:
    """A function of the number of flows to compute, each from the result of the one before."""
    n = graph.number_of_nodes()
    net = cojax.network(graph, nodelist=range(n), layout=layout)
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=(n, width)), jnp.float32)
    price = jnp.round(jnp.asarray(rng.uniform(1, 2, size=n), jnp.float32) * 2.0**18) / 2.0**18

    @jax.jit
    def run(net: cojax.Layout, heard: Any, count: jax.Array) -> Any:
        laws = (Weigh(), Transfer(jnp.float32(0.1), jnp.float32(2.0**-18)))

        def one(_: Any, heard: Any) -> Any:
            return jax.tree.map(jnp.add, heard, net.flow(Wire(heard), laws))

        return lax.fori_loop(0, count, one, heard)

    return lambda count: jax.block_until_ready(run(net, (params, price), jnp.int32(count)))


def measure(graph: nx.Graph, name: str, width: int) -> dict[str, float]:
    """Microseconds of processor time per flow, by layout."""
    loops = {layout: flow_loop(graph, layout, width) for layout in layouts_for(name, graph.number_of_nodes())}
    counts = {layout: _count(loop) for layout, loop in loops.items()}
    runs = {layout: lambda loop=loop, layout=layout: loop(counts[layout]) for layout, loop in loops.items()}
    times = take_turns(runs, TURNS)
    return {layout: statistics.median(times[layout].processor) / counts[layout] * 1e6 for layout in loops}


def _count(loop: Callable[[int], Any]) -> int:
    """How many flows fill a turn."""
    loop(1)
    count = 1
    while True:
        start = time.process_time()
        loop(count)
        seconds = time.process_time() - start
        if seconds > SECONDS / 4 or count >= 100_000:
            return max(1, int(count * SECONDS / max(seconds, 1e-9)))
        count *= 4


def main() -> None:
    use_cores(1)
    rows = []
    for n in SIZES:
        for name, graph in graphs(n).items():
            picked = type(cojax.network(graph, nodelist=range(n))).__name__.lower()
            for width in WIDTHS:
                if n * width > 300_000:
                    continue
                found = measure(graph, name, width)
                row: dict[str, Any] = {"n": n, "graph": name, "d": width}
                row |= {layout: found.get(layout) for layout in ("dense", "neighbors", "split", "edges", "circulant")}
                row |= {"auto": picked, "auto / best": found[picked] / min(found.values())}
                rows.append(row)
    show(rows)
    worst = max(row["auto / best"] for row in rows)
    over = sum(row["auto / best"] > 1.3 for row in rows)
    print(f"\nauto / best: at most {worst:.2f}, above 1.3 in {over} of {len(rows)} cases; microseconds per flow")
    save("which_layout", rows, unit="microseconds of processor time per flow, one core, float32")


if __name__ == "__main__":
    main()
