"""Whether two checkouts of cojax compile the same programs: the lowered text of runs of many kinds, compared.

    python benchmarks/same_programs.py CHECKOUT [CHECKOUT ...]

Each checkout is a folder that holds `cojax/`. For each a process of its own lowers every run and prints its digest;
the table says which are equal to those of the first. Runs: methods, links, layouts, faults, four devices made of one
CPU, sweeps, derivatives. For changes of structure that should change no program.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

NUM_NODES = 12
NUM_STEPS = 20


def runs() -> Iterator[tuple[str, Callable[..., Any], tuple]]:
    """A name, a function to lower and its arguments."""
    import jax
    import jax.numpy as jnp
    import networkx as nx
    import numpy as np

    import cojax

    random = np.random.default_rng(0)
    data = random.normal(size=(NUM_NODES, 3))

    def cost(x: Any, data: Any) -> Any:
        return ((x.params - data) ** 2).sum() + (x.cpu - data[0]) ** 2

    problem = cojax.Problem(cost, data, 6.0, lower=-4.0, upper=5.0, penalty=cojax.penalties.PowerPenalty(1.0, 2.0))
    start = problem.start(params=jnp.zeros((NUM_NODES, 3)))
    graph, digraph = nx.circulant_graph(NUM_NODES, [1, 3]), nx.gnp_random_graph(NUM_NODES, 0.3, 3, directed=True)
    table = nx.random_regular_graph(4, NUM_NODES, 1)
    edge_memory = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
    node_memory = cojax.Innovation(cojax.AdaptiveQuantizer(2))
    both = cojax.CoOpt(cojax.DIGing(0.02), cojax.Laplacian(0.1))

    def solved(problem: Any, network: Any, method: Any, start: Any) -> Any:
        return cojax.solve(problem, network, method, start, num_steps=NUM_STEPS, every=5)

    def case(network: Any, method: Any = both, problem: Any = problem, start: Any = start) -> tuple:
        return solved, (problem, network, method, start)

    for layout in ("dense", "edges", "neighbors", "split", "circulant"):
        yield f"layout {layout}", *case(cojax.network(graph, layout=layout))
    for name, link in {
        "quantized": cojax.Quantized(cojax.LogQuantizer(0.1)),
        "node memory": node_memory,
        "edge memory": edge_memory,
        "one bit": cojax.Innovation(cojax.OneBitQuantizer()),
        "events": cojax.EventTriggered(0.1, 0.9),
    }.items():
        yield f"link {name}", *case(cojax.network(table, link=link))
    learners = (cojax.EXTRA, cojax.NIDS, cojax.ExactDiffusion, cojax.ATCTracking, cojax.DGD)
    for learner in learners:
        yield (
            f"method {learner.__name__}",
            *case(cojax.network(table), cojax.CoOpt(learner(0.02), cojax.HeavyBall(0.1, 0.5))),
        )
    for allocator in (cojax.Nesterov(0.1, 0.5), cojax.MomentumFlow(0.1, 0.5)):
        yield f"method {type(allocator).__name__}", *case(cojax.network(table), cojax.CoOpt(allocate=allocator))
    inner = cojax.network(table, link=edge_memory)
    yield "lossy", *case(cojax.Lossy(inner, 0.3, 1))
    yield "intermittent, lossy", *case(cojax.Lossy(cojax.Intermittent(inner, 2), 0.3, 1))
    yield "one way, with a ledger", *case(cojax.Ledger(cojax.LossyOneWay(cojax.network(table), 0.3, 1)))
    yield "delayed, with a ledger", *case(cojax.Ledger(cojax.Delayed(cojax.network(table), 2, 1)))
    yield "graphs in turn", *case(cojax.network(cojax.graphs.switching(table, 3, seed=0)))
    yield "random graph", *case(cojax.RandomGraph(NUM_NODES, 0.4, 2))
    arcs = cojax.Directed(weights=jnp.asarray(nx.to_numpy_array(digraph)) / 20)
    yield "directed", *case(arcs, cojax.CoOpt(learn=cojax.PushPull(0.02)))
    changed = cojax.Changing(problem, [cojax.Change(10, leaves=3, heir=4), cojax.Change(15, joins=3)])
    members = cojax.Members(cojax.Lossy(inner, 0.2, 1), changed)
    yield "members", *case(members, both, changed, changed.start(start.params))

    def loss(step: Any) -> Any:
        return solved(problem, cojax.network(table), cojax.CoOpt(cojax.DIGing(step), cojax.Laplacian(0.1)), start).x

    yield "forward mode", (lambda step: jax.jvp(loss, (step,), (1.0,))), (0.02,)
    yield "reverse mode", (lambda step: jax.grad(lambda step: (loss(step).params ** 2).sum())(step)), (0.02,)

    def swept(step: Any) -> Any:
        built = {"step_size": jnp.array([0.01, 0.02]) * step}
        return cojax.sweep(
            lambda step_size: (problem, inner, cojax.CoOpt(cojax.DIGing(step_size), cojax.Laplacian(0.1)), start),
            num_steps=NUM_STEPS,
            every=5,
            **built,
        ).solution.x

    yield "sweep", swept, (1.0,)
    for name, network in {"a table": table, "a ring": graph, "unevenly": nx.cycle_graph(NUM_NODES - 1)}.items():
        n = len(network)
        some = cojax.Problem(cost, data[:n], 6.0)
        here = some.start(params=jnp.zeros((n, 3)))
        whole = cojax.shard(some, cojax.Lossy(cojax.network(network, link=edge_memory), 0.2, 1), here)
        yield f"four devices, {name}", *case(whole.network, both, whole.problem, whole.start)


def digests() -> dict[str, str]:
    """What every run lowers to, as a digest; or why it does not."""
    import jax

    found = {}
    for name, function, arguments in runs():
        try:
            text = jax.jit(function).lower(*arguments).as_text()
            found[name] = f"{hashlib.sha256(text.encode()).hexdigest()[:12]} ({len(text.splitlines())} lines)"
        except Exception as error:  # whatever one of the checkouts cannot do
            found[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    return found


def main(checkouts: list[str]) -> None:
    found = []
    for checkout in checkouts:
        flags = "--xla_force_host_platform_device_count=4"
        environment = os.environ | {"PYTHONPATH": checkout, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, __file__, "--digests"], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    first = found[0]
    for name in first:
        verdicts = ["same" if other.get(name) == first[name] else str(other.get(name)) for other in found[1:]]
        print(f"{name:28} {first[name]:32} {' '.join(verdicts)}")
    equal = [sum(other.get(name) == first[name] for name in first) for other in found[1:]]
    print(f"{len(first)} programs; equal to those of the first checkout: {', '.join(map(str, equal))}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--digests"]:
        print(json.dumps(digests()))
    else:
        main(sys.argv[1:])
