"""What cojax reaches on an accelerator: sums beside copies, layouts, steps up to a million nodes, gradients, bfloat16.

    python benchmarks/accelerator.py            # all of it, on the default device of JAX
    python benchmarks/accelerator.py --small    # tiny sizes, a minute on a CPU: whether the script works, no figures

Seconds are waited for, medians of turns, compile time apart; float32 unless said. Every part is written down when it
ends, and after --seconds, 520 if not said, what is left is left out. On a CPU nothing is written.
"""

import os

os.environ.setdefault("XLA_FLAGS", "")  # what `timing` asks for is of CPUs

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from gpu_programs import COMMANDS
from jax import lax
from speed_goals import regular
from support.job import SAMPLES, SHARE_STEP, STEP_SIZE, Samples, cost
from support.timing import RESULTS, save, show

import cojax
from cojax.networks.base import Wire
from cojax.networks.build import build
from cojax.networks.laws import Transfer, Weigh
from cojax.networks.links.links import Ideal
from cojax.runs.loop import _solve
from cojax.runs.records import standard

TURNS = 5
MOST_DENSE = 10_000


class Sizes(NamedTuple):
    """How large everything is."""

    copy: int = 2**28
    flows: tuple = ((100_000, 4), (100_000, 10), (100_000, 30), (1_000_000, 4), (1_000_000, 10), (1_000_000, 30))
    widths: tuple = (10, 64, 100)
    steps: tuple = ((1_000, 10), (10_000, 10), (100_000, 10), (1_000_000, 10), (1_000_000, 64))
    layouts: tuple = (100, 1_000, 10_000, 100_000)
    small: tuple = (20, 100, 1_000)
    runs: int = 1_024  # of them at once
    nodes: int = 1_000  # of gradients, of bfloat16 and of what is exact
    num_steps: int = 1_000
    bytes: float = 2e11  # of one turn


SMALL = Sizes(2**16, ((200, 4), (400, 10)), (2, 3), ((100, 2), (400, 2), (400, 3)), (40,), (20,), 8, 40, 40, 1e6)
REPEATED = tuple[Callable[[], Any], float]  # a call, and the seconds that it took to compile


def compiled(function: Callable, *args: Any) -> REPEATED:
    """A call of `function` that waits for its end."""
    begin = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - begin
    return lambda: jax.block_until_ready(program(*args)), seconds


def median(run: Callable[[], Any], turns: int = TURNS) -> float:
    """Seconds of a call that was warmed up."""
    run()
    times = []
    for _ in range(turns):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def repeated(step: Callable, first: Any, count: int) -> tuple[float, float]:
    """Seconds of one of `count` steps, each of the result of the one before, and seconds to compile."""
    loop, seconds = compiled(lambda first: lax.scan(lambda x, _: (step(x), None), first, length=count)[0], first)
    return median(loop) / count, seconds


def copies(sizes: Sizes) -> Iterator[dict]:
    """Reading and writing an array far beyond any cache: the bandwidth that the others are fractions of."""
    for dtype in (jnp.float32, jnp.bfloat16):
        x = jnp.zeros(sizes.copy, dtype)
        seconds, _ = repeated(lambda x: x + 1, x, 20)
        yield {"dtype": x.dtype.name, "MB": x.nbytes / 1e6, "GB/s": 2 * x.nbytes / seconds / 1e9}


LOG = cojax.Quantized(cojax.LogQuantizer(1 / 64))


@functools.cache
def network_of(n: int, degree: int) -> Any:
    """A table of neighbours of a random graph; a million nodes take many seconds."""
    pairs, weights = regular(n, degree)
    return build(n, pairs, weights[None], link=Ideal(), layout="neighbors")


def flows(sizes: Sizes) -> Iterator[dict]:
    """The neighbour sum over random graphs, as a fraction of the copy bandwidth: a row a slot, and rows once."""
    bandwidth = next(copies(sizes))["GB/s"] * 1e9
    for n, degree in sizes.flows:
        net = network_of(n, degree)
        for d in sizes.widths:
            for dtype in (jnp.float32, jnp.bfloat16):
                heard = jax.random.normal(jax.random.key(0), (n, d)).astype(dtype)
                once = 2 * heard.nbytes + 8 * net.index.size  # and a weight and an index a slot
                fetched = once + net.index.size * d * heard.dtype.itemsize
                count = int(np.clip(sizes.bytes / fetched, 4, 500))
                seconds, compile_s = repeated(lambda x, net=net: x + net.flow(Wire(x), Weigh()), heard, count)
                row = {"n": n, "degree": degree, "d": d, "dtype": heard.dtype.name, "us": seconds * 1e6}
                of_copy = {"row a slot": fetched / seconds / bandwidth, "rows once": once / seconds / bandwidth}
                yield row | of_copy | {"compile s": compile_s}


def job_of(n: int, d: int, dtype: Any) -> tuple:
    """The job of `step_time.py` with d features, its data made on the device, params of `dtype`."""
    features = jax.random.normal(jax.random.key(0), (n, SAMPLES, d))
    noise = jax.random.normal(jax.random.key(1), (n, SAMPLES))
    targets = (features * jnp.linspace(0, 1, d)).sum(-1) + 0.1 * noise
    data: Any = (features, targets, jnp.linspace(0.5, 2.0, n))
    problem = cojax.Problem(cost, Samples(*data), budget=np.float32(n))
    method = cojax.CoOpt(learn=cojax.DIGing(STEP_SIZE), allocate=cojax.Laplacian(SHARE_STEP))
    start = problem.start(params=jnp.zeros((n, d), dtype))
    return problem, network_of(n, 10), method, start


def steps(sizes: Sizes) -> Iterator[dict]:
    """The quantized co-optimisation step, degree 10, and how its time grows with the nodes."""
    grown: list[tuple[int, float]] = []
    for n, d in sizes.steps:
        for dtype in (jnp.float32, jnp.bfloat16):
            problem, network, method, start = job_of(n, d, dtype)
            network = eqx.tree_at(lambda net: net.link, network, LOG, is_leaf=lambda node: isinstance(node, Ideal))
            state = cojax.init(problem, network, method, start)
            count = int(np.clip(sizes.bytes / (1_000 * n * d), 20, sizes.num_steps))
            begin = time.perf_counter()
            program = _solve.lower(problem, network, method, state, 1, count, standard).compile()
            compile_s, args = time.perf_counter() - begin, (problem, network, method, state)
            solution = program(*args)
            seconds = median(lambda program=program, args=args: jax.block_until_ready(program(*args))) / count
            row = {"n": n, "d": d, "params": np.dtype(dtype).name, "us a step": seconds * 1e6, "compile s": compile_s}
            row |= {"exponent": None, "exponent from the first": None, "imbalance": float(solution.state.imbalance)}
            if dtype == jnp.float32 and (not grown or n > grown[-1][0]):
                for name, one in {"exponent": -1, "exponent from the first": 0}.items() if grown else ():
                    row[name] = float(np.log(seconds / grown[one][1]) / np.log(n / grown[one][0]))
                grown.append((n, seconds))
            core = _on_a_core(n, d)
            row["one CPU core / this"] = core and core / seconds
            analysis: Any = program.memory_analysis()
            yield row | {"state MB": _bytes(state) / 1e6, "new in a call MB": _new(analysis) / 1e6} | memory()


def small(sizes: Sizes) -> Iterator[dict]:
    """Networks that wait for launches: one run, the same with loops in command buffers, and many runs at once."""
    for n in sizes.small:
        problem, network, method, start = job_of(n, 10, jnp.float32)
        network = eqx.tree_at(lambda net: net.link, network, LOG, is_leaf=lambda node: isinstance(node, Ideal))
        args = problem, network, method, cojax.init(problem, network, method, start)
        row: dict[str, Any] = {"n": n}
        lowered = _solve.lower(*args, 1, sizes.num_steps, standard)
        for name, options in (
            ("us a step", {}),
            ("loops in command buffers", {"xla_gpu_enable_command_buffer": COMMANDS}),
        ):
            program = lowered.compile(compiler_options=options)
            run = median(lambda program=program, args=args: jax.block_until_ready(program(*args)))
            row[name] = run / sizes.num_steps * 1e6

        def build_run(scale: float, given: tuple = (problem, network, method, start)) -> tuple:
            problem, network, method, start = given
            return problem, network, eqx.tree_at(lambda m: m.learn.step_size, method, STEP_SIZE * scale), start

        scales = np.linspace(0.5, 1, sizes.runs).astype(np.float32)
        begin = time.perf_counter()
        many = functools.partial(cojax.sweep, build_run, scale=scales, num_steps=sizes.num_steps, every=sizes.num_steps)
        jax.block_until_ready(many().solution)
        first = time.perf_counter() - begin
        begin = time.perf_counter()
        jax.block_until_ready(many().solution)
        again = time.perf_counter() - begin
        row["runs"], row["us a step of one of them"] = sizes.runs, again / sizes.num_steps / sizes.runs * 1e6
        yield row | {"first call s": first}


def _on_a_core(n: int, d: int) -> float | None:
    """Seconds of the same step on one core, float32, as `speed_goals.py` wrote them down."""
    path = RESULTS / "speed_goals_memory.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() and d == 10 else []
    return next((row["ms a step"] / 1e3 for row in rows if row["n"] == n), None)


def gradients(sizes: Sizes) -> Iterator[dict]:
    """Reverse mode through a run beside the run."""
    problem, network, method, start = job_of(sizes.nodes, 10, jnp.float32)
    every = int(sizes.num_steps**0.5)
    num_steps = sizes.num_steps // every * every

    def last_cost(method: cojax.Method) -> Any:
        return problem.costs(cojax.solve(problem, network, method, start, num_steps=num_steps, every=every).x).mean()

    primal, primal_s = compiled(last_cost, method)
    reverse, reverse_s = compiled(jax.grad(last_cost), method)
    times = median(primal), median(reverse)
    row = {"n": sizes.nodes, "steps": num_steps, "primal us a step": times[0] / num_steps * 1e6}
    yield row | {"reverse / primal": times[1] / times[0], "compile s": primal_s + reverse_s} | memory()


def exactness(sizes: Sizes) -> Iterator[dict]:
    """The total in rational arithmetic after a run in every layout, shares beside the first, gradients beside NumPy."""
    n = sizes.nodes
    ring = nx.to_numpy_array(nx.circulant_graph(n, [1, 2])) / 5
    found = None
    for layout in ("neighbors", "dense", "split", "edges", "circulant"):
        problem, _, method, start = job_of(n, 10, jnp.float32)
        net = cojax.network(ring, layout=layout, link=LOG)
        x = cojax.solve(problem, net, method, start, num_steps=sizes.num_steps).x
        off = sum(map(Fraction, np.asarray(x.cpu).tolist())) - Fraction(float(problem.budget))
        found = x.cpu if found is None else found
        features, targets = (np.asarray(part, np.float64) for part in problem.data[:2])
        errors = np.einsum("nmd,nd->nm", features, np.asarray(x.params, np.float64)) - targets
        wanted = 2 * np.einsum("nmd,nm->nd", features, errors) / SAMPLES
        wrong = np.abs(np.asarray(problem.grad(x).params) - wanted).max() / np.abs(wanted).max()
        same = bool((x.cpu == found).all())
        yield {"layout": layout, "total off by": float(off), "shares as the first": same, "gradient off by": wrong}


def floors(sizes: Sizes) -> Iterator[dict]:
    """How near to the optimum params of 32 and of 16 bits come, over an exact link."""
    for dtype in (jnp.float32, jnp.bfloat16):
        problem, network, method, start = job_of(sizes.nodes, 10, dtype)
        every = sizes.num_steps // 20
        solution = cojax.solve(problem, network, method, start, num_steps=80 * every, every=every)
        features, targets = (np.asarray(part, np.float64) for part in problem.data[:2])
        best = np.linalg.lstsq(features.reshape(-1, 10), targets.ravel(), rcond=None)[0]
        far = np.abs(np.asarray(solution.x.params, np.float64) - best).max() / np.abs(best).max()
        row = {"params": np.dtype(dtype).name, "from the optimum": far, "imbalance": float(solution.state.imbalance)}
        apart = float(solution.trace.disagreement[-1]) / np.abs(best).max()
        yield row | {"disagreement": apart, "status": cojax.Status(int(solution.status)).name}


def layouts(sizes: Sizes) -> Iterator[dict]:
    """Microseconds of the flow of one step, params weighed and prices moved, in every layout, and what "auto" picks."""
    for n in sizes.layouts:
        for name, pairs in graphs(n).items():
            weights = np.full((1, pairs.shape[1]), 0.5 * n / pairs.shape[1])
            make = functools.partial(build, n, pairs, weights, link=Ideal())
            picked = type(make()).__name__.lower()
            kinds = ["neighbors", "split", "edges"] + ["dense"] * (n <= MOST_DENSE) + ["circulant"] * (name == "ring 4")
            for d in (10, 100) if n <= MOST_DENSE else (10,):
                row: dict[str, Any] = {"n": n, "graph": name, "d": d}
                row |= dict.fromkeys(("dense", "neighbors", "split", "edges", "circulant"))
                row |= {kind: _flow_us(make(layout=kind), n, d, sizes) for kind in kinds}
                yield row | {"auto": picked, "auto / best": row[picked] / min(row[kind] for kind in kinds)}


def graphs(n: int) -> dict[str, np.ndarray]:
    """Pairs (2, e) by name: even degrees, many neighbours, hubs, and one that is circulant."""
    found = {"regular 10": regular(n, 10)[0]}
    if n <= 1_000:
        found["regular n/4"] = regular(n, n // 4)[0]
    found["scale-free 4"] = np.sort(np.array(nx.barabasi_albert_graph(n, 4, seed=0).edges).T, axis=0)
    found["ring 4"] = np.sort(np.array(nx.circulant_graph(n, [1, 2]).edges).T, axis=0)
    return found


def _flow_us(net: Any, n: int, d: int, sizes: Sizes) -> float:
    laws = (Weigh(), Transfer(jnp.float32(0.1), jnp.float32(2.0**-18)))
    price = jnp.round(jax.random.uniform(jax.random.key(1), (n,), minval=1, maxval=2) * 2.0**18) / 2.0**18
    heard = jax.random.normal(jax.random.key(0), (n, d)), price

    def step(heard: Any) -> Any:
        return jax.tree.map(jnp.add, heard, net.flow(Wire(heard), laws))

    return repeated(step, heard, min(sizes.num_steps, 200))[0] * 1e6


def memory() -> dict[str, Any]:
    """What is and was held on the device; nothing on a CPU."""
    found = jax.devices()[0].memory_stats() or {}
    return {f"{name} GB": found[key] / 1e9 if key in found else None for name, key in MEMORY.items()}


MEMORY = {"in use": "bytes_in_use", "peak so far": "peak_bytes_in_use"}


def _new(analysis: Any) -> int:
    return analysis.output_size_in_bytes + analysis.temp_size_in_bytes


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree) if hasattr(leaf, "nbytes"))


PARTS = (copies, exactness, flows, steps, small, gradients, floors, layouts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes")
    parser.add_argument("--seconds", type=float, default=520, help="after these, what is left is left out")
    parser.add_argument("--parts", nargs="+", default=[part.__name__ for part in PARTS], help="some of the parts")
    given = parser.parse_args()
    device, begin, found = jax.devices()[0], time.perf_counter(), {}
    facts = {"device": device.device_kind, "platform": jax.default_backend(), "driver": device.client.platform_version}
    facts |= {"memory GB": (device.memory_stats() or {}).get("bytes_limit", 0) / 1e9, "left_out": []}
    print(facts)

    def write() -> None:
        if jax.default_backend() != "cpu" and not given.small:
            save("accelerator", [], **facts, turns=TURNS, seconds=time.perf_counter() - begin, **found)

    for part in PARTS:
        rows = []
        if part.__name__ not in given.parts:
            continue
        if time.perf_counter() - begin > given.seconds:
            facts["left_out"].append(part.__name__)
            continue
        for row in part(SMALL if given.small else Sizes()):
            rows.append(row)
            if time.perf_counter() - begin > given.seconds:
                facts["left_out"].append(f"{part.__name__} after {len(rows)} rows")
                break
        print(f"\n{part.__doc__}\n")
        show(rows)
        found[part.__name__] = rows
        write()
    write()
    print(f"\n{time.perf_counter() - begin:.0f} s; left out: {', '.join(facts['left_out']) or 'nothing'}")


if __name__ == "__main__":
    main()
