"""cojax beside other packages and beside loops written by hand, on one checked job each.

    python benchmarks/peers.py                     # what this Python has; the rest is skipped, and named
    python benchmarks/peers.py --python PATH ...   # candidates that this Python lacks are run by those at PATH ...
    python benchmarks/peers.py --make FOLDER       # makes that Python first: a virtual environment in FOLDER, by pip

Learning: gradient tracking on logistic regression, float64, 20 samples a node, one step size for all, until every node
is within 1e-4 of the optimum that Newton's method finds. Allocation: n quadratic costs, one budget, bounds. Every
candidate has a process of its own, on one core; seconds are its processor time, start-up and compiling included.
disropt has a process a node, by mpirun (Debian: openmpi-bin, libopenmpi-dev): of them all, its steps alone count.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from support.peer_loops import ALLOCATORS, LEARNERS
from support.timing import save, show, use_cores

PACKAGES = ["networkx", "scipy", "numba", "cvxpy", "clarabel", "osqp", "decent-bench", "tvopt", "mpi4py", "disropt"]
SIZES, SHARES = (20, 100, 1_000), (1_000, 100_000)
# Beyond, these take minutes.
LARGEST = {"NumPy": 100, "decent-bench": 100, "tvopt": 100, "disropt": 20}
ACCURACY, STEP_SIZE = 1e-4, 0.2
SAMPLES, FEATURES = 20, 10


def learning_job(n: int) -> dict[str, Any]:
    """Data, Metropolis weights of a random graph, and the optimum by Newton's method."""
    random = np.random.default_rng(0)
    features = random.normal(size=(n, SAMPLES, FEATURES))
    features[:, :, 0] = 1.0  # tvopt's cost has it so
    truth = random.normal(size=FEATURES)
    labels = np.where(random.uniform(size=(n, SAMPLES)) < 1 / (1 + np.exp(-features @ truth)), 1.0, -1.0)
    labels[:, :2] = 1.0, -1.0  # decent-bench and tvopt need both on every node
    rows, signs, best = features.reshape(-1, FEATURES), labels.ravel(), np.zeros(FEATURES)
    for _ in range(50):
        chance = 1 / (1 + np.exp(signs * (rows @ best)))
        hessian = (rows * (chance * (1 - chance))[:, None]).T @ rows
        best = best + np.linalg.solve(hessian, rows.T @ (signs * chance))
    graph = nx.gnp_random_graph(n, min(2 * np.log(n), n / 2) / n, seed=1)
    graph.add_edges_from((i, (i + 1) % n) for i in range(n))
    adjacency = nx.to_numpy_array(graph)
    degree = adjacency.sum(1)
    weights = adjacency / (1 + np.maximum(degree[:, None], degree))
    weights += np.diag(1 - weights.sum(1))
    fixed = {"optimum": best, "accuracy": ACCURACY, "step_size": STEP_SIZE}
    return {"features": features, "labels": labels, "weights": weights, **fixed}


def allocation_job(n: int) -> dict[str, Any]:
    """Prices, upper bounds of which some are active, and the least cost by bisection to the last bit."""
    random = np.random.default_rng(0)
    price, upper = random.uniform(0.5, 2.0, n), random.uniform(0.5, 2.0, n)
    job = {"price": price, "upper": upper, "budget": 0.6 * n}
    x = ALLOCATORS["NumPy bisection"](job)
    return {**job, "best": float((price * x**2).sum())}


def measured(name: str, job: Path, pythons: list[str]) -> dict[str, Any]:
    """What a candidate prints, by the first Python that has it; why the first one has it not, where none does."""
    missing: list[dict[str, Any]] = []
    for python in pythons:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
        if python != sys.executable:
            environment.pop("PYTHONPATH", None)
        command = [python, "-m", "support.peer_loops", name, str(job)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent)
        if done.returncode:
            missing.append({"missing": f"it failed: {done.stderr.strip().splitlines()[-1]}"})
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        if "missing" not in found:
            return found
        missing.append(found)
    return missing[0]


def table(candidates: Any, jobs: dict[int, dict[str, Any]], pythons: list[str]) -> tuple[list, list[str]]:
    """The rows of all candidates and sizes, cojax first, and sentences on those that are missing."""
    rows, missing = [], []
    with tempfile.TemporaryDirectory() as folder:
        for n, job in jobs.items():
            file = Path(folder) / f"job{n}.npz"
            np.savez(file, **job)
            for name in candidates:
                if n > LARGEST.get(name, n):
                    missing.append(f"{name} at n = {n}: it would take minutes")
                    continue
                found = measured(name, file, pythons)
                if "missing" in found:
                    missing.append(f"{name} at n = {n}: {found['missing']}")
                    continue
                rows.append({"n": n, "candidate": name, **found})
                print(rows[-1], file=sys.stderr, flush=True)
    return rows, missing


def beside_cojax(rows: list[dict[str, Any]], key: str, what: str) -> None:
    """Add to every row how many times what cojax takes the candidate takes."""
    ours = {row["n"]: row[key] for row in rows if row["candidate"] == "cojax"}
    for row in rows:
        row[what] = row[key] / ours[row["n"]] if row[key] is not None and ours.get(row["n"]) else None


def main() -> None:
    use_cores(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=[], metavar="PATH")
    parser.add_argument("--make", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    pythons = [sys.executable, *given.python]
    if given.make:
        subprocess.run([sys.executable, "-m", "venv", str(given.make)], check=True)
        pythons.append(str(given.make / "bin" / "python"))
        for package in PACKAGES:  # one by one: what does not fit this Python is left out
            subprocess.run([pythons[-1], "-m", "pip", "install", "-q", package], check=False)
    learning, missing = table([*LEARNERS, "disropt"], {n: learning_job(n) for n in SIZES}, pythons)
    beside_cojax(learning, "us a step", "step / cojax")
    beside_cojax(learning, "to accuracy s", "to accuracy / cojax")
    show(learning)
    print()
    shares, also = table(ALLOCATORS, {n: allocation_job(n) for n in SHARES}, pythons)
    beside_cojax(shares, "to answer s", "to answer / cojax")
    show(shares)
    skipped = [*missing, *also]
    print("\nSkipped: " + "; ".join(skipped))
    save("peers", learning, allocation=shares, skipped=skipped)


if __name__ == "__main__":
    main()
