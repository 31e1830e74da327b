"""How the benchmarks measure: candidates take turns in one process, and medians over the turns are compared."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "equinox")
# As `docs/faster.md` advises, unless told otherwise; XLA reads it when it first compiles.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000")


class Times(NamedTuple):
    """Seconds of every turn. Processor seconds are all threads together, and do not grow where others use the cores."""

    wall: list[float]
    processor: list[float]


def use_cores(count: int) -> None:
    """Keep this process, and the threads it starts later, on `count` cores: before NumPy and JAX start theirs."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(count)


def take_turns(runs: dict[Any, Callable[[], Any]], turns: int) -> dict[Any, Times]:
    """Every run `turns` times, one after the other in each turn, so that a busy machine slows all of them alike."""
    times = {name: Times([], []) for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            times[name].wall.append(time.perf_counter() - wall)
            times[name].processor.append(time.process_time() - processor)
    return times


def median_ratio(slow: list[float], fast: list[float]) -> float:
    """The median over turns of slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def machine() -> dict[str, Any]:
    """What a number depends on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": _processor(),
        "cores_of_machine": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def save(name: str, rows: list[dict[str, Any]], **also: Any) -> None:
    """Write results/<name>.json: the machine, what else was fixed, and one object per row of the table."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), **also, "rows": rows}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as a Markdown table, numbers at three digits."""
    header = list(rows[0])
    print("| " + " | ".join(header) + " |")
    print("|" + "--|" * len(header))
    for row in rows:
        print("| " + " | ".join(_cell(row[key]) for key in header) + " |")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "-" if value is None else str(value)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    flags = "AVX-512" if "avx512f" in info.read_text() else "no AVX-512"
    return f"{names[0] if names else platform.processor()}, {flags}"


def asked() -> tuple[list[str], Path | None]:
    """What the command line names, and after --folder where `cojax.trials` keeps its trials; None to keep none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("only", nargs="*")
    parser.add_argument("--folder", type=Path)
    found = parser.parse_args()
    return found.only, found.folder


def saved_rows(name: str) -> list[dict[str, Any]]:
    """The table of a script so far; none before its first run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def kept_rows(name: str, first_seed: int) -> list[dict[str, Any]]:
    """The rows of the same instances."""
    return [line for line in saved_rows(name) if line.get("first seed") == first_seed]
