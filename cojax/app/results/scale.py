"""A scaling study times one step of a run, on the user's machine, at many sizes."""

import functools
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ... import plots
from ..._support.checks import CojaxInputError, check_number, whole_number
from ..._support.edge_lists import sorted_once
from ...methods import CoOpt, DIGing, Laplacian
from ...networks.base import Link, Network
from ...networks.build import LAYOUTS, build
from ...networks.links.links import Ideal, Quantized
from ...networks.links.quantizers import FloatQuantizer, LogQuantizer
from ...problems.problem import Decision, Problem
from ...rivals.compare import text_table
from ...runs.files import replace_text
from ...runs.solve import solve
from . import from_nothing
from .from_nothing import WholeRun, whole_run
from .sheets import write_csv, write_picture

SAMPLES = 20  # of a node
MOST_DENSE = 3_000  # beyond, a matrix takes seconds a step
TURNS = 3
LINKS: dict[str, Callable[[], Link]] = {
    "ideal": Ideal,
    "log": lambda: Quantized(LogQuantizer(1 / 64)),
    "float": lambda: Quantized(FloatQuantizer(6)),
}


class ScaleSamples(NamedTuple):
    """What every node has."""

    features: jax.Array  # (n, 20, d)
    targets: jax.Array  # (n, 20)
    price: jax.Array  # (n,)


@dataclass(frozen=True)
class Row:
    """What one size, layout and link came to."""

    nodes: int
    layout: str
    link: str
    edges: int
    compile_seconds: float
    step_seconds: float
    imbalance: float


class Study(NamedTuple):
    """The rows that were measured, whole runs first, and what time did not suffice for."""

    rows: list[Row]
    left_out: list[tuple[int, str, str]]
    whole: list[WholeRun]


def study(
    sizes: Sequence[int],
    layouts: Sequence[str],
    links: Sequence[str],
    *,
    degree: int = 10,
    features: int = 10,
    seconds: float = 60.0,
    say: Callable[[str], Any] = lambda case: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Study:
    """Every size from nothing, then with every layout and link; nothing new begins once `seconds` are over.

    The job: gradient tracking on least squares, 20 samples a node, and CPU shares beside it, in float32, over a union
    of random rings of about `degree` neighbours a node. A step is the fastest of three turns. Circulant graphs are no
    random ones, and have no row; matrices have none above 3 000 nodes. `say` is told what is measured next.

    Raises `CojaxInputError` for a layout or link that is not known, and for sizes too small for the degree.
    """
    _check(sizes, layouts, links, degree, features)
    check_number("cojax scale", "--seconds", seconds, above=0.0)
    begin, rows, left_out, whole = clock(), [], [], []
    for nodes in sorted(set(sizes)):
        if clock() - begin > seconds:
            left_out.append((nodes, "from nothing", "default"))
            continue
        say(f"{nodes} nodes, from nothing")
        whole.append(whole_run(nodes, degree, functools.partial(_job, nodes, features)))
    for nodes in sorted(set(sizes)):
        pairs = rings(nodes, degree)
        for layout, link in [(layout, link) for layout in layouts for link in links]:
            if layout == "dense" and nodes > MOST_DENSE:
                continue
            if clock() - begin > seconds:
                left_out.append((nodes, layout, link))
                continue
            say(f"{nodes} nodes, {layout}, {link}")
            rows.append(_measure(nodes, pairs, layout, link, features))
    return Study(rows, left_out, whole)


def rings(nodes: int, degree: int) -> np.ndarray:
    """The edges (2, e) of a union of degree / 2 rings through all nodes in random order."""
    random = np.random.default_rng(0)
    orders = [random.permutation(nodes) for _ in range(degree // 2)]
    ends = np.concatenate([np.sort(np.stack([order, np.roll(order, 1)]), axis=0) for order in orders], axis=1)
    return sorted_once(nodes, ends)


def _check(sizes: Sequence[int], layouts: Sequence[str], links: Sequence[str], degree: int, features: int) -> None:
    for name, given, known in (("--layouts", layouts, LAYOUTS), ("--links", links, tuple(LINKS))):
        wrong = sorted(set(given) - set(known) | ({"circulant"} & set(given)))
        if wrong or not given:
            usable = [choice for choice in known if choice != "circulant"]
            raise CojaxInputError(f"{name} takes some of {', '.join(usable)}, got {', '.join(wrong) or 'none'}.")
    if degree < 2 or degree % 2:
        raise CojaxInputError(f"--degree needs an even number from 2, two for each random ring, got {degree}.")
    whole_number("cojax scale", "--features", features, at_least=1)
    if not sizes:
        raise CojaxInputError("--sizes needs at least one number of nodes, got none.")
    for nodes in sizes:
        whole_number("cojax scale", "every number of --sizes", nodes, at_least=degree + 1)


def _measure(nodes: int, pairs: np.ndarray, layout: str, link: str, features: int) -> Row:
    weights = np.full((1, pairs.shape[1]), 1 / (1 + np.bincount(pairs.ravel()).max()))
    network = build(nodes, pairs, weights, link=LINKS[link](), layout=layout)
    job = (*_job(nodes, features, network), CoOpt(DIGing(0.02), Laplacian(0.1)))
    num_steps = int(np.clip(3e5 / nodes, 20, 2_000))

    def timed() -> tuple[float, float]:
        begin, (problem, start, method) = time.perf_counter(), job
        solution = jax.block_until_ready(solve(problem, network, method, start, num_steps=num_steps, every=num_steps))
        return time.perf_counter() - begin, float(solution.state.imbalance.max())

    (first, imbalance), *turns = [timed() for _ in range(1 + TURNS)]
    fastest = min(taken for taken, _ in turns)
    shown = type(network).__name__.lower() if layout == "auto" else layout
    return Row(nodes, shown, link, pairs.shape[1], first - fastest, fastest / num_steps, imbalance)


def _job(nodes: int, features: int, network: Network) -> tuple[Problem, Decision]:
    random = np.random.default_rng(0)
    table = random.standard_normal((nodes, SAMPLES, features), np.float32)
    data = ScaleSamples(*map(jnp.asarray, (table, table.sum(-1), np.linspace(0.5, 2.0, nodes, dtype=np.float32))))
    problem = Problem(_cost, data, budget=np.float32(nodes))
    return problem, problem.start(params=np.zeros((nodes, features), np.float32))


def _cost(x: Decision, data: ScaleSamples) -> jax.Array:
    return jnp.mean((data.features @ x.params - data.targets) ** 2) + data.price * x.cpu**2


def growth(rows: Sequence[Row]) -> float | None:
    """The exponent p of step time ~ n^p between the smallest and the largest size of one layout and link."""
    ends = min(rows, key=lambda row: row.nodes), max(rows, key=lambda row: row.nodes)
    if ends[0].nodes == ends[1].nodes:
        return None
    return float(np.log(ends[1].step_seconds / ends[0].step_seconds) / np.log(ends[1].nodes / ends[0].nodes))


def text(found: Study) -> str:
    """The table, the growth of every curve, and what was left out."""
    head = ["nodes", "edges", "layout", "link", "compile s", "us a step", "ns a node", "imbalance"]
    table = [head] + [
        [
            f"{row.nodes}",
            f"{row.edges}",
            row.layout,
            row.link,
            f"{row.compile_seconds:.1f}",
            _short(row.step_seconds * 1e6),
            _short(row.step_seconds / row.nodes * 1e9),
            f"{row.imbalance:g}",
        ]
        for row in found.rows
    ]
    lines = [from_nothing.text(found.whole), ""] if found.whole else []
    lines += [text_table(table), ""] if found.rows else []
    for name, rows in curves(found).items():
        exponent = growth(rows)
        if exponent is not None:
            lines.append(
                f"{name}: time a step grows as n^{exponent:.2f} from {rows[0].nodes} to {rows[-1].nodes} nodes"
            )
    if found.left_out:
        missing = ", ".join(f"{nodes} {layout} {link}" for nodes, layout, link in found.left_out)
        lines.append(f"Not measured, time was over (--seconds gives more): {missing}")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def curves(found: Study) -> dict[str, list[Row]]:
    """The rows by layout and link, sizes ascending."""
    by_name: dict[str, list[Row]] = {}
    for row in found.rows:
        by_name.setdefault(f"{row.layout}, {row.link}", []).append(row)
    return by_name


def write_files(folder: Path, found: Study) -> None:
    """scale.csv, scale.json with the machine, scale.png, and parts.png of the whole runs."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(row) for row in found.rows]
    write_csv(folder / "scale.csv", Row.__dataclass_fields__, (row.values() for row in rows))
    left_out = [dict(zip(("nodes", "layout", "link"), case, strict=True)) for case in found.left_out]
    content = {"machine": machine(), "rows": rows, "left_out": left_out}
    content["whole"] = [asdict(row) for row in found.whole]
    replace_text(folder / "scale.json", json.dumps(content, indent=1) + "\n")
    sizes = sorted({row.nodes for row in found.rows})
    seconds = {
        name: [next((row.step_seconds for row in rows if row.nodes == nodes), np.nan) for nodes in sizes]
        for name, rows in curves(found).items()
    }
    if found.rows:
        write_picture(folder / "scale.png", plots.scaling(sizes, seconds), dpi=200)
    if found.whole:
        write_picture(folder / "parts.png", from_nothing.picture(found.whole), dpi=200)


def machine() -> dict[str, Any]:
    """What the seconds depend on."""
    device = jax.devices()[0]
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "device": f"{device.platform}: {device.device_kind}",
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }
