"""One candidate of `peers.py`, in a process of its own: the same job by a package or by a loop written by hand.

    python -m support.peer_loops CANDIDATE JOB.npz

Prints one line of JSON. All seconds are processor time of this process, from its first moment on.
"""

# pyright: reportMissingImports=false
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FIRST_STEPS = 100
MOST_SECONDS = 30.0
Run = Callable[[int], np.ndarray]  # from the number of steps to the params (n, d)


def clock() -> float:
    """Processor seconds of this process so far, and of compilers that it started."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def numpy_dense(job: Any) -> Run:
    """DIGing by matrix products."""
    return _diging(job, job["weights"])


def scipy_csr(job: Any) -> Run:
    """DIGing with a sparse matrix."""
    from scipy import sparse

    return _diging(job, sparse.csr_array(job["weights"]))


def _diging(job: Any, mixing: Any) -> Run:
    features, labels, step_size = job["features"], job["labels"], float(job["step_size"])

    def gradient(params: np.ndarray) -> np.ndarray:
        scores = labels * np.matmul(features, params[:, :, None])[:, :, 0]
        pulls = -labels / (1 + np.exp(scores)) / labels.shape[1]
        return np.matmul(pulls[:, None, :], features)[:, 0, :]

    def run(num_steps: int) -> np.ndarray:
        params = np.zeros((features.shape[0], features.shape[2]))
        grad = gradient(params)
        tracker = grad
        for _ in range(num_steps):
            params = mixing @ params - step_size * tracker
            after = gradient(params)
            tracker = mixing @ tracker + after - grad
            grad = after
        return params

    return run


def numba_loop(job: Any) -> Run:
    """DIGing as loops over nodes, neighbours and samples."""
    import numba

    first, other, weight = _rows(job)
    features, labels, step_size = job["features"], job["labels"], float(job["step_size"])

    @numba.njit(fastmath=True)
    def loop(params, tracker, grad, num_passes):
        n, m, d = features.shape
        for _ in range(num_passes):
            old_params, old_tracker = params.copy(), tracker.copy()
            for i in range(n):
                for c in range(d):
                    params[i, c] = old_params[i, c] - step_size * old_tracker[i, c]
                for e in range(first[i], first[i + 1]):
                    for c in range(d):
                        params[i, c] += weight[e] * (old_params[other[e], c] - old_params[i, c])
                        tracker[i, c] += weight[e] * (old_tracker[other[e], c] - old_tracker[i, c])
                for c in range(d):
                    tracker[i, c] -= grad[i, c]
                    grad[i, c] = 0.0
                for s in range(m):
                    score = 0.0
                    for c in range(d):
                        score += features[i, s, c] * params[i, c]
                    pull = -labels[i, s] / (1 + np.exp(labels[i, s] * score)) / m
                    for c in range(d):
                        grad[i, c] += pull * features[i, s, c]
                for c in range(d):
                    tracker[i, c] += grad[i, c]

    def run(num_steps: int) -> np.ndarray:
        params, tracker, grad = (np.zeros(features.shape[::2]) for _ in range(3))
        loop(params, tracker, grad, num_steps + 1)
        return params

    return run


def c_loop(job: Any) -> Run:
    """DIGing in C, `kernels.c`."""
    from support import native

    features, labels = np.ascontiguousarray(job["features"]), np.ascontiguousarray(job["labels"])
    n, m, d = features.shape
    library = native.kernels(d, m, np.float64)
    if library is None:
        raise ModuleNotFoundError("gcc is not there", name="gcc")
    params, tracker, grad = (np.zeros((n, d)) for _ in range(3))
    fixed = [n, *_rows(job), features, labels, params, tracker, grad, np.zeros((2, n, d))]
    call = native.caller(library.logistic, [*fixed, float(job["step_size"]), 0.0])

    def run(num_steps: int) -> np.ndarray:
        for array in (params, tracker, grad):
            array.fill(0)
        call(num_steps + 1)
        return params.copy()

    return run


def _rows(job: Any) -> tuple[np.ndarray, ...]:
    from support import native

    pairs = np.stack(np.nonzero(np.triu(job["weights"], 1)))
    return native.rows_of(len(job["weights"]), pairs, job["weights"][tuple(pairs)], np.float64)


def cojax_run(job: Any) -> Run:
    """DIGing by `cojax.solve`."""
    import jax

    import cojax

    jax.config.update("jax_enable_x64", True)  # as the other candidates; the package never does this

    loss = cojax.costs.Logistic()

    def cost(x: cojax.Decision, data: cojax.costs.Samples) -> Any:
        return loss(x.params, data)

    n, m, d = job["features"].shape
    arrays = (jax.numpy.asarray(array) for array in (job["features"], job["labels"], np.full((n, m), 1 / m)))
    problem = cojax.Problem(cost, cojax.costs.Samples(*arrays))
    weights = job["weights"] - np.diag(np.diag(job["weights"]))
    network, method = cojax.network(weights), cojax.CoOpt(learn=cojax.DIGing(float(job["step_size"])))
    start = problem.start(params=np.zeros((n, d)))

    def run(num_steps: int) -> np.ndarray:
        solution = cojax.solve(problem, network, method, start, num_steps=num_steps, every=num_steps)
        return np.asarray(solution.x.params)

    return run


def decent_bench(job: Any) -> Run:
    """SimpleGT, the gradient tracking of decent-bench, with its own logistic cost."""
    import networkx as nx
    from decent_array import interoperability
    from decent_bench.agents import Agent
    from decent_bench.algorithms.p2p import SimpleGT
    from decent_bench.costs import LogisticRegressionCost
    from decent_bench.networks import P2PNetwork

    interoperability.set_backend("numpy", "cpu")
    given = interoperability.from_numpy

    def run(num_steps: int) -> np.ndarray:
        agents = []
        for rows, labels in zip(job["features"], job["labels"], strict=True):
            samples = [
                (given(row), given(np.array([float(label > 0)]))) for row, label in zip(rows, labels, strict=True)
            ]
            agents.append(Agent(LogisticRegressionCost(samples), state_snapshot_period=10**9))
        graph = nx.from_numpy_array(job["weights"] - np.diag(np.diag(job["weights"])))
        network = P2PNetwork(graph, agents)
        SimpleGT(step_size=float(job["step_size"])).run(network, num_steps)
        return np.stack([interoperability.to_numpy(agent.x) for agent in network.agents()])

    return run


def tvopt(job: Any) -> Run:
    """Aug-DGM, the gradient tracking of tvopt, with a gradient in one product: its own loops over samples in Python."""
    from tvopt import costs, distributed_solvers, networks

    class Logistic(costs.LogisticRegression):
        def gradient(self, x: np.ndarray) -> np.ndarray:
            scores = self._Ab @ x
            return self._Ab.T @ (1 / (1 + np.exp(-scores)))

    samples = job["labels"].shape[1]
    parts = [
        Logistic(rows[:, 1:].copy(), labels.copy()) for rows, labels in zip(job["features"], job["labels"], strict=True)
    ]
    network = networks.Network((job["weights"] - np.diag(np.diag(job["weights"])) > 0).astype(float), job["weights"])
    problem = {"f": costs.SeparableCost(parts), "network": network}

    def run(num_steps: int) -> np.ndarray:
        # Its cost is the sum over samples, not the mean.
        step_size = float(job["step_size"]) / samples
        return distributed_solvers.aug_dgm(problem, step_size, num_iter=num_steps)[:, 0, :].T

    return run


def learning(build: Callable[[Any], Run], job: Any) -> dict[str, Any]:
    """Seconds to the accuracy, start-up and compiling included, and microseconds a step without them."""
    run = build(job)
    ready, num_steps = clock(), FIRST_STEPS
    while True:
        begin = clock()
        error = _error(run(num_steps), job)
        seconds = clock() - begin
        if error <= float(job["accuracy"]) or 2 * seconds + begin > MOST_SECONDS:
            break
        num_steps *= 2
    reached = error <= float(job["accuracy"])
    again = []
    while len(again) < 5 and clock() < MOST_SECONDS:
        begin = clock()
        run(num_steps)
        again.append(clock() - begin)
    return {
        "steps": num_steps if reached else None,
        "to accuracy s": ready + seconds if reached else None,
        "us a step": min([*again, seconds]) / num_steps * 1e6,
        "error": error,
    }


def disropt(job: Any, file: str) -> dict[str, Any]:
    """GradientTracking of disropt, a process a node under MPI: `peer_agent.py`. Its steps alone, of all processes."""
    for name, there in (("disropt", importlib.util.find_spec("disropt")), ("mpirun", shutil.which("mpirun"))):
        if there is None:
            raise ModuleNotFoundError(f"{name} is not there", name=name)
    start = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle"]
    agent = [sys.executable, str(Path(__file__).with_name("peer_agent.py")), file, str(FIRST_STEPS)]
    done = subprocess.run(
        [*start, "1", "-n", str(len(job["weights"])), *agent], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    error = _error(np.asarray(found["params"]), job)
    return {"steps": None, "to accuracy s": None, "us a step": found["seconds"] / FIRST_STEPS * 1e6, "error": error}


def _error(params: np.ndarray, job: Any) -> float:
    return float(np.abs(params - job["optimum"]).max() / np.abs(job["optimum"]).max())


def cojax_allocate(job: Any) -> np.ndarray:
    """The certified optimum by `cojax.allocate`."""
    import jax

    import cojax

    jax.config.update("jax_enable_x64", True)
    problem = cojax.Problem(
        _price,
        job["price"],
        budget=float(job["budget"]),
        lower=np.zeros_like(job["upper"]),
        upper=job["upper"],
    )
    return np.asarray(cojax.allocate(problem).cpu)


def _price(x: Any, price: Any) -> Any:
    return price * x.cpu**2


def cvxpy_clarabel(job: Any) -> np.ndarray:
    """CVXPY with Clarabel."""
    return _cvxpy(job, "CLARABEL")


def cvxpy_osqp(job: Any) -> np.ndarray:
    """CVXPY with OSQP at a tolerance of 1e-8."""
    return _cvxpy(job, "OSQP", eps_abs=1e-8, eps_rel=1e-8, max_iter=100_000)


def _cvxpy(job: Any, solver: str, **options: Any) -> np.ndarray:
    import cvxpy

    x = cvxpy.Variable(job["price"].size)
    cost = cvxpy.sum(cvxpy.multiply(job["price"], cvxpy.square(x)))
    bounds = [cvxpy.sum(x) == float(job["budget"]), x >= 0, x <= job["upper"]]
    cvxpy.Problem(cvxpy.Minimize(cost), bounds).solve(solver=solver, **options)
    return np.asarray(x.value)


def numpy_bisection(job: Any) -> np.ndarray:
    """The price of a unit by bisection, in NumPy."""
    shares, low, high = job["upper"], 0.0, float((2 * job["price"] * job["upper"]).max())
    for _ in range(200):
        middle = (low + high) / 2
        shares = np.minimum(middle / (2 * job["price"]), job["upper"])
        low, high = (middle, high) if shares.sum() < float(job["budget"]) else (low, middle)
    return shares


def allocating(solve: Callable[[Any], np.ndarray], job: Any) -> dict[str, Any]:
    """Seconds to the answer, imports and compiling included, and of a second answer."""
    x = solve(job)
    first = clock()
    solve(job)
    again = clock() - first
    cost = float((job["price"] * x**2).sum())
    return {
        "to answer s": first,
        "again s": again,
        "cost above best": cost / float(job["best"]) - 1,
        "imbalance": float(abs(x.sum() - float(job["budget"]))),
        "worst bound": float(max((-x).max(), (x - job["upper"]).max(), 0.0)),
    }


LEARNERS = {
    "cojax": cojax_run,
    "C": c_loop,
    "Numba": numba_loop,
    "NumPy": numpy_dense,
    "SciPy CSR": scipy_csr,
    "decent-bench": decent_bench,
    "tvopt": tvopt,
}
ALLOCATORS = {
    "cojax": cojax_allocate,
    "NumPy bisection": numpy_bisection,
    "CVXPY, Clarabel": cvxpy_clarabel,
    "CVXPY, OSQP": cvxpy_osqp,
}


def main() -> None:
    name, job = sys.argv[1], dict(np.load(sys.argv[2], allow_pickle=False))
    try:
        if name == "disropt":
            found = disropt(job, sys.argv[2])
        else:
            found = learning(LEARNERS[name], job) if "features" in job else allocating(ALLOCATORS[name], job)
        print(json.dumps(found))
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))


if __name__ == "__main__":
    main()
