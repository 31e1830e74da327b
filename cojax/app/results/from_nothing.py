"""A whole run from nothing: how long it takes to build, to compile, to choose every number, and to converge."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ... import plots
from ...data import graphs
from ...networks.build import network as network_of
from ...optimum.certificates import relative
from ...rivals.compare import text_table
from ...runs.solve_to import solve_to
from ...runs.status import Status
from ...tuning.default import default

TOLERANCE = 1e-3  # of the certificate, in float32
EVERY, MOST_STEPS = 50, 5_000
COMPILING = "/jax/core/compile/"  # how the events of JAX begin that tell how long it traced, lowered and compiled


@dataclass(frozen=True)
class WholeRun:
    """One size from nothing to the certificate; seconds of each part, compiling told apart from all others."""

    nodes: int
    edges: int
    build_seconds: float  # graph, network, problem and start
    compile_seconds: float
    tune_seconds: float  # `cojax.default`: weights, links, steps
    run_seconds: float  # `cojax.solve_to`, with a certificate every 50 steps
    steps: int
    status: str
    off: float  # the largest number of the certificate, relative

    @property
    def seconds(self) -> float:
        return self.build_seconds + self.compile_seconds + self.tune_seconds + self.run_seconds


def whole_run(nodes: int, degree: int, make: Callable[[Any], tuple[Any, Any]]) -> WholeRun:
    """A random regular graph and the problem and start that `make(network)` gives, solved to a certificate of 1e-3."""
    build, tune, run = [], [], []
    with _timed(build):
        graph = graphs.named("regular", nodes, links=degree)
        network = network_of(graph)
        problem, start = jax.block_until_ready(make(network))
    edges = graph.pairs.shape[1] if isinstance(graph, graphs.EdgeList) else graph.number_of_edges()
    with _timed(tune):
        network, method = default(problem, network, start)
    with _timed(run):
        found = solve_to(problem, network, method, start, tolerance=TOLERANCE, max_steps=MOST_STEPS, every=EVERY)
        off = max(float(number) for number in relative(found.certificate).values())
    compiled = sum(part[1] for part in (build, tune, run))
    parts = [max(whole - compiling, 0.0) for whole, compiling in (build, tune, run)]
    status = Status(int(found.status)).name
    return WholeRun(nodes, int(edges), parts[0], compiled, parts[1], parts[2], int(found.state.step), status, off)


@contextmanager
def _timed(taken: list[float]) -> Iterator[None]:
    """Writes down the seconds of what is inside, and those of them that JAX traced, lowered and compiled."""
    compiling = [0.0]

    def hear(event: str, duration_secs: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            compiling[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(hear)
    begin = time.perf_counter()
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(hear)
    whole = time.perf_counter() - begin
    taken += [whole, min(compiling[0], whole)]  # what is traced inside of a trace is told twice


def text(rows: Sequence[WholeRun]) -> str:
    """The table."""
    head = ["nodes", "edges", "build s", "compile s", "tune s", "run s", "in all s", "steps", "status", "certified to"]
    table = [head] + [
        [f"{row.nodes}", f"{row.edges}"]
        + [f"{part:.1f}" for part in (row.build_seconds, row.compile_seconds, row.tune_seconds, row.run_seconds)]
        + [f"{row.seconds:.1f}", f"{row.steps}", row.status, f"{row.off:.1g}"]
        for row in rows
    ]
    return text_table(table)


def picture(rows: Sequence[WholeRun]) -> Any:
    """Where the time goes at every size."""
    parts = {
        "build": [row.build_seconds for row in rows],
        "compile": [row.compile_seconds for row in rows],
        "choose constants": [row.tune_seconds for row in rows],
        "run and certify": [row.run_seconds for row in rows],
    }
    return plots.parts([row.nodes for row in rows], {name: np.asarray(part) for name, part in parts.items()})
