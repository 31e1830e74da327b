"""What the loop costs beside the gradient: a step at n = 20, records, compiling, and donated buffers.

    python benchmarks/overhead.py

Candidates take turns; of every one the fastest turn counts: other work on the machine only ever adds. Compiling is
processor time, in processes of their own; "warm" is a second process that finds its program in JAX's persistent cache.
"""

import functools
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from support.timing import save, show, take_turns

NODES, STEPS, TURNS = 20, 1_000, 150
# By default JAX keeps only programs that took a second to compile.
CACHE = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def steps() -> list[dict[str, Any]]:
    """Microseconds a step, by graph and link, and what is left of them without the gradient."""
    import jax
    import networkx as nx
    import numpy as np
    from support.job import cost, samples

    import cojax

    problem = cojax.Problem(cost, samples(NODES), budget=np.float32(NODES))
    method = cojax.CoOpt(learn=cojax.DIGing(0.02), allocate=cojax.Laplacian(0.1))
    start = problem.start(params=np.zeros((NODES, 10), np.float32))

    @jax.jit
    def gradients(problem: Any, x: Any) -> Any:
        def descend(x: Any, _: None) -> tuple[Any, None]:
            return jax.tree.map(lambda a, b: a - 1e-3 * b, x, problem.grad(x)), None

        return jax.lax.scan(descend, x, length=STEPS)[0]

    runs: dict[Any, Callable[[], Any]] = {"gradient": lambda: jax.block_until_ready(gradients(problem, start))}
    graphs = {"ring": nx.cycle_graph(NODES), "regular 4": nx.random_regular_graph(4, NODES, seed=0)}
    links = {
        "ideal": cojax.Ideal(),
        "float": cojax.Quantized(cojax.FloatQuantizer(6)),
        "log": cojax.Quantized(cojax.LogQuantizer(1 / 64)),
        "innovation, log": cojax.Innovation(cojax.LogQuantizer(1 / 64)),
    }
    for graph, link in [(graph, link) for graph in graphs for link in links]:
        network = cojax.network(graphs[graph], nodelist=range(NODES), link=links[link])
        for every in (STEPS, 20):
            solve = functools.partial(cojax.solve, problem, network, method, start, num_steps=STEPS, every=every)
            runs[graph, link, every] = lambda solve=solve: jax.block_until_ready(solve())
    for run in runs.values():
        run()
    micro = {name: min(times.wall) / STEPS * 1e6 for name, times in take_turns(runs, TURNS).items()}
    return [
        {
            "graph": graph,
            "link": link,
            "gradient us": micro["gradient"],
            "step us": micro[graph, link, STEPS],
            "overhead us": micro[graph, link, STEPS] - micro["gradient"],
            "records at every=20": f"{100 * (micro[graph, link, 20] / micro[graph, link, STEPS] - 1):.1f} %",
        }
        for graph in graphs
        for link in links
    ]


def compiling() -> dict[str, float]:
    """Processor seconds for the program of the demo, its first state and its chunks of steps; and seconds waited."""
    import jax

    from cojax import init
    from cojax.app.cases import cases
    from cojax.app.plans import demo
    from cojax.runs.loop import _solve
    from cojax.runs.records import standard

    case = cases.build_case(demo.demo_plan(steps=20_000, seed=0))
    network = case.wiring.network
    found: dict[str, float] = {}
    wall, began = time.perf_counter(), time.process_time()
    first = jax.jit(init).lower(case.problem, network, case.method, case.start)
    found["init, lowering"] = time.process_time() - began
    first.compile()
    found["init, XLA"] = time.process_time() - began - found["init, lowering"]
    state = jax.eval_shape(init, case.problem, network, case.method, case.start)
    began = time.process_time()
    lowered = _solve.lower(case.problem, network, case.method, state, 1, 100, standard)
    found["solve, lowering"] = time.process_time() - began
    lowered.compile()
    found["solve, XLA"] = time.process_time() - began - found["solve, lowering"]
    return found | {"together": sum(found.values()), "together, waited": time.perf_counter() - wall}


def donated(n: int = 20_000) -> list[dict[str, Any]]:
    """One call of a few steps at n nodes, with the buffers of the caller's state reused or not."""
    import jax
    from support.job import coopt, graph_of, samples

    import cojax
    from cojax.runs.loop import _solve
    from cojax.runs.records import standard

    problem, network, method, start = coopt(graph_of(n), samples(n), cojax.LogQuantizer(1 / 64))
    state = cojax.init(problem, network, method, start)
    rows = []
    for num_steps in (1, 20):
        programs, states = {}, {}
        for name, given in (("kept", ()), ("donated", (3,))):
            program = jax.jit(inspect.unwrap(_solve), static_argnums=(4, 5, 6), donate_argnums=given)
            programs[name] = program.lower(problem, network, method, state, 1, num_steps, standard).compile()
            states[name] = jax.tree.map(lambda leaf: leaf.copy(), state)

        def call(name: str, programs: Any = programs, states: Any = states) -> None:
            states[name] = jax.block_until_ready(programs[name](problem, network, method, states[name])).state

        turns = take_turns({name: functools.partial(call, name) for name in programs}, 1200 // (num_steps + 19))
        sizes = {name: program.memory_analysis() for name, program in programs.items()}
        held = {
            name: (size.output_size_in_bytes + size.temp_size_in_bytes - size.alias_size_in_bytes) / 1e6
            for name, size in sizes.items()
        }
        rows += [
            {"n": n, "steps a call": num_steps, "state": name, "ms": 1e3 * min(turns[name].wall), "new MB": held[name]}
            for name in programs
        ]
    return rows


def in_a_process(argument: str, **variables: str) -> Any:
    """What this script prints for `argument` in a process of its own, without anybody's cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, __file__, argument],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=kept | {"JAX_PLATFORMS": "cpu"} | variables,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parts = {"steps": steps, "compiling": compiling, "donated": donated}
    if len(sys.argv) > 1:
        print(json.dumps(parts[sys.argv[1]]()))
        return
    # As `docs/faster.md` advises, which `timing` asks for, and as XLA does by itself.
    rows = [
        {"loop": loop} | row
        for loop, variables in (("one kernel", {}), ("as XLA has it", {"XLA_FLAGS": ""}))
        for row in in_a_process("steps", **variables)
    ]
    show(rows)
    with tempfile.TemporaryDirectory() as folder:
        cached = CACHE | {"JAX_COMPILATION_CACHE_DIR": folder}
        seconds = [
            {"cache": name, **in_a_process("compiling", **variables)}
            for name, variables in (("none", {}), ("cold", cached), ("warm", cached))
        ]
    print()
    show(seconds)
    print()
    reuse = in_a_process("donated")
    show(reuse)
    save("overhead", rows, compile_processor_seconds=seconds, donated=reuse, nodes=NODES, steps=STEPS, turns=TURNS)


if __name__ == "__main__":
    main()
