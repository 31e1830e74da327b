"""Stability limits of `cojax.theory` beside the steps at which runs of the loop become unstable.

60 drawn problems a row, of six nodes with two parameters and random weights of connected graphs. Every threshold is
measured by bisection on whole runs: a step is stable if the distance from the optimum is smaller at the end of a run
than in its middle. And, of learners on two graphs of twelve nodes, which steps `cojax.theory.proved_steps` proves, and
from which on `cojax.theory.worst_instance` diverges.

python benchmarks/stability_thresholds.py [limits | proved ...]
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from support.timing import save, show

import cojax
from cojax import theory

NUM_DRAWN, NUM_NODES, NUM_STEPS = 60, 6, 4000
MOST = 64.0  # a threshold is sought up to so many times the limit; more than that is reported as that
ROUNDS = 14  # of bisection: to 0.03 %
START = np.random.default_rng(9).normal(size=(NUM_NODES, 2))  # made an array of JAX where its width is known


def drawn(seed: int, num_graphs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Roots R of Hessians R'R, (60, 6, 2, 2), and weights (60, T, 6, 6) of connected graphs with W = I - L > -1."""
    random = np.random.default_rng(seed)
    roots = random.normal(size=(NUM_DRAWN, NUM_NODES, 2, 2)) * random.uniform(0.1, 1.5, (NUM_DRAWN, NUM_NODES, 1, 1))
    ring = nx.to_numpy_array(nx.cycle_graph(NUM_NODES)) > 0
    there = (random.uniform(size=(NUM_DRAWN, num_graphs, NUM_NODES, NUM_NODES)) < 0.6) | ring
    weights = np.triu(there * random.uniform(0.02, 0.24, there.shape), 1)
    weights = weights + weights.swapaxes(-1, -2)
    return roots, weights / np.maximum(1.0, weights.sum(-1).max((-1, -2)) / 0.95)[:, None, None, None]


def equal(roots: np.ndarray) -> np.ndarray:
    """Every node's Hessian the identity times the largest curvature of the draw."""
    return np.sqrt(highest(roots))[:, None, None, None] * np.broadcast_to(np.eye(2), roots.shape)


def highest(roots: np.ndarray) -> np.ndarray:
    return np.linalg.norm(roots, 2, axis=(-2, -1)).max(-1) ** 2


def lowest_of_mean(roots: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(np.einsum("mnij,mnik->mnjk", roots, roots).mean(1))[:, 0]


def networks(weights: np.ndarray) -> list[cojax.Dense]:
    return [cojax.Dense(weights=jnp.asarray(turn)) for turn in weights]


def quadratic(x: Any, root: Any) -> Any:
    return 0.5 * jnp.sum((root @ x.params) ** 2)


def learner_grows(kind: Callable[[Any], cojax.Method], roots: np.ndarray, weights: np.ndarray) -> Callable:
    """Whether the run of every draw grows at its step."""

    def one(root, turn, step):
        problem = cojax.Problem(quadratic, root)
        network = cojax.Dense(weights=turn)
        run = cojax.solve(
            problem, network, cojax.CoOpt(learn=kind(step)), problem.start(START), num_steps=NUM_STEPS,
            every=NUM_STEPS // 2, record=lambda problem, x, state: jnp.abs(x.params).max(),
        )  # fmt: skip
        # Rounding of the conserved sums stays behind at 1e-16 of the start; NaN has grown.
        return ~(run.trace[1] < jnp.maximum(run.trace[0], 1e-10))

    grows = jax.jit(jax.vmap(one))
    return lambda steps: np.asarray(grows(jnp.asarray(roots), jnp.asarray(weights), jnp.asarray(steps)))


def allocator_grows(kind: Callable[[Any], cojax.Method], slopes: np.ndarray, weights: np.ndarray, loss: float):
    """The same for shares of costs slope (cpu - demand)^2 / 2, whose optimum is known."""
    demand = np.random.default_rng(4).normal(size=slopes.shape) * 3

    def one(slope, wanted, turn, step):
        problem = cojax.Problem(lambda x, data: data[0] * (x.cpu - data[1]) ** 2 / 2, (slope, wanted), 2.0)
        best = cojax.allocate(problem).cpu
        network = cojax.Dense(weights=turn)
        network = cojax.Lossy(network, loss, jax.random.key(0)) if loss else network
        start = problem.start()
        run = cojax.solve(
            problem, network, cojax.CoOpt(allocate=kind(step)), start, num_steps=NUM_STEPS, every=NUM_STEPS // 2,
            record=lambda problem, x, state: jnp.abs(x.cpu - best).max(),
        )  # fmt: skip
        return ~(run.trace[1] < jnp.maximum(run.trace[0], 1e-8))

    grows = jax.jit(jax.vmap(one))
    return lambda steps: np.asarray(grows(*map(jnp.asarray, (slopes, demand, weights, steps))))


def measured(grows: Callable[[np.ndarray], np.ndarray], limits: np.ndarray) -> np.ndarray:
    """The step at which every draw becomes unstable, over its limit; by bisection of its logarithm."""
    low, high = np.full(NUM_DRAWN, np.log(0.5)), np.full(NUM_DRAWN, np.log(MOST))
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        unstable = grows(np.exp(middle) * limits)
        low, high = np.where(unstable, low, middle), np.where(unstable, middle, high)
    return np.exp((low + high) / 2)


def row(name: str, costs: str, limits: list[theory.Limit], grows: Callable) -> dict[str, Any]:
    """One line of the table."""
    ratio = measured(grows, np.array([limit.value for limit in limits]))
    (kind,) = {limit.kind for limit in limits}
    return {
        "limit": name, "costs": costs, "kind": kind, "proof": limits[0].proof, "draws": NUM_DRAWN,
        "least": float(ratio.min()), "median": float(np.median(ratio)), "most": float(ratio.max()),
        "within 1 %": int((np.abs(ratio - 1) < 0.01).sum()), "violated": int((ratio < 0.995).sum()),
    }  # fmt: skip


LEARNERS = {
    "tracking_limit (DIGing)": (cojax.DIGing, theory.tracking_limit),
    "extra_limit (EXTRA)": (cojax.EXTRA, theory.extra_limit),
    "nids_limit (NIDS)": (cojax.NIDS, theory.nids_limit),
    "dgd_limit (DGD)": (cojax.DGD, theory.dgd_limit),
}


def learners() -> list[dict[str, Any]]:
    roots, weights = drawn(0)
    rows = []
    for name, (kind, bound) in LEARNERS.items():
        limits = [bound(net, high) for net, high in zip(networks(weights), highest(roots), strict=True)]
        for costs, own in (("equal", equal(roots)), ("unlike", roots)):
            rows.append(row(name, costs, limits, learner_grows(kind, own, weights)))
    return rows


def switching() -> list[dict[str, Any]]:
    """Three connected graphs in turn; the mixing that the limit allows."""
    roots, weights = drawn(1, num_graphs=3)
    found = [theory.spectrum(net) for net in networks(weights)]
    mixings = np.array([2 / (one.lambda_2 + one.lambda_n) for one in found])
    ends = zip(networks(weights), highest(roots), lowest_of_mean(roots), mixings, strict=True)
    limits = [theory.switching_limit(*each) for each in ends]
    stepped = learner_grows(lambda pair: cojax.DIGing(pair[0], pair[1]), roots, weights)
    return [
        row(
            "switching_limit (DIGing)",
            "unlike",
            limits,
            lambda steps: stepped(np.stack([steps, mixings], 1)),
        )
    ]


def allocators() -> list[dict[str, Any]]:
    slopes = np.random.default_rng(2).uniform(0.1, 4, (NUM_DRAWN, NUM_NODES))
    rows = []
    for name, kind, bound, momentum in (
        ("allocation_limit (Laplacian)", cojax.Laplacian, theory.allocation_limit, None),
        ("heavy_ball_limit (HeavyBall 0.5)", lambda s: cojax.HeavyBall(s, 0.5), theory.heavy_ball_limit, 0.5),
        ("nesterov_limit (Nesterov 0.5)", lambda s: cojax.Nesterov(s, 0.5), theory.nesterov_limit, 0.5),
    ):
        _, weights = drawn(2)
        more = () if momentum is None else (momentum,)
        limits = [bound(net, slope, *more) for net, slope in zip(networks(weights), slopes, strict=True)]
        rows.append(row(name, "unlike", limits, allocator_grows(kind, slopes, weights, 0.0)))
    _, weights = drawn(3, num_graphs=3)
    lossy = [
        theory.allocation_limit(cojax.Lossy(net, 0.3), s) for net, s in zip(networks(weights), slopes, strict=True)
    ]
    grows = allocator_grows(cojax.Laplacian, slopes, weights, 0.3)
    return [*rows, row("allocation_limit (Laplacian, 3 lossy graphs)", "unlike", lossy, grows)]


ENDS = {"convexity": 0.01, "smoothness": 1.0}
GRAPHS = {"ring": nx.cycle_graph(12), "random": nx.erdos_renyi_graph(12, 0.35, seed=1)}


def known(most: float) -> dict[str, tuple[Callable[[float], cojax.Method], Callable[[Any], theory.Limit]]]:
    """Learners on a graph with lambda_n = most, and their limits by formula."""
    return {
        "NIDS": (cojax.NIDS, lambda net: theory.nids_limit(net, 1.0)),
        "LEAD": (cojax.LEAD, lambda net: theory.nids_limit(net, 1.0)),
        "EXTRA": (cojax.EXTRA, lambda net: theory.extra_limit(net, 1.0)),
        "DIGing": (cojax.DIGing, lambda net: theory.tracking_limit(net, 1.0)),
        "ATCTracking": (cojax.ATCTracking, lambda net: theory.atc_limit(net, 1.0)),
        "TrackingMomentum, momentum 0.3": (
            lambda step: cojax.TrackingMomentum(step, 0.3),
            lambda net: theory.tracking_momentum_limit(net, 1.0, 0.3),
        ),
        "APAPC, blend 0.5": (
            lambda step: cojax.APAPC(step, 0.5, gain=1 / most),
            lambda net: theory.apapc_limit(net, 1.0, 0.5),
        ),
    }


def instance_limit(kind: Callable[[float], cojax.Method], network: cojax.Network) -> float:
    """The step from which on the worst instance grows, to 0.1 %."""
    low, high = 0.0, 4.0
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        stable = theory.worst_instance(kind(middle), network, **ENDS).rate < 1
        low, high = (middle, high) if stable else (low, middle)
    return low


def proved() -> list[dict[str, Any]]:
    """By formula, by proof for all smooth strongly convex costs, and by an instance that diverges."""
    rows = []
    for graph, edges in GRAPHS.items():
        network = cojax.network(edges)
        for name, (kind, bound) in known(theory.spectrum(network).lambda_n).items():
            limit, found = bound(network), theory.proved_steps(kind(0.1), network, **ENDS)
            slowest = theory.worst_instance(kind(found.best), network, **ENDS)
            rows.append({
                "graph": graph, "learner": name, "by formula": limit.value, "kind": limit.kind, "proved": found.limit,
                "an instance diverges from": instance_limit(kind, network), "best proved step": found.best,
                "proved rate": f"{found.rate:.5f}", "rate of its worst instance": f"{slowest.rate:.5f}",
            })  # fmt: skip
            print(name, graph, flush=True)
    return rows


def limits() -> None:
    example = theory.unstable_switching()
    rows = [*learners(), *switching(), *allocators()]
    show(rows)
    print(f"\nunstable_switching: each graph alone {example.frozen()}, one turn {example.growth():.4g}")
    turns = {"alone": example.frozen(), "turn": example.growth()}
    save("stability_thresholds", rows, draws=NUM_DRAWN, steps=NUM_STEPS, unstable_switching=turns)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    parts = sys.argv[1:] or ["limits", "proved"]
    if "limits" in parts:
        limits()
    if "proved" in parts:
        rows = proved()
        show(rows)
        save("proved_steps", rows, **ENDS)


if __name__ == "__main__":
    main()
