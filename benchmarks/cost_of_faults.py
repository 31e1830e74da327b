# pyright: reportCallIssue=false
"""What loss and delay cost over a ledger, and over a network whose two ends both see a loss.

DIGing and Laplacian on one random graph of 20 nodes, quadratic costs, float64; step sizes and mixing tuned for the
network without faults, divided by the best of 1, 2, 4, 8, 16 in hindsight. `python benchmarks/cost_of_faults.py`
"""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from support.timing import save, show

import cojax

NUM_NODES, DIM, BUDGET, NUM_STEPS = 20, 5, 40.0, 4000
LOSSES, DELAYS, DIVISORS = (0.0, 0.01, 0.1, 0.3), (0, 5, 20), (1.0, 2.0, 4.0, 8.0, 16.0)
LOG = cojax.LogQuantizer(1 / 4, smallest=1e-9, largest=64.0)
LINKS = {"ideal": cojax.Ideal(), "log 1/4": cojax.Quantized(LOG)}
EDGE_MEMORY = {"innovation log 1/4": cojax.Innovation(LOG, memory="edge")}


def cost(x, data):
    roots, targets, curvature, demand = data
    return 0.5 * jnp.mean((roots @ x.params - targets) ** 2) + 0.5 * curvature * (x.cpu - demand) ** 2


def drawn() -> cojax.Problem:
    random = np.random.default_rng(0)
    data = (
        random.normal(size=(NUM_NODES, 10, DIM)),
        random.normal(size=(NUM_NODES, 10)),
        random.uniform(0.5, 2.0, NUM_NODES),
        random.uniform(0.0, 4.0, NUM_NODES),
    )
    return cojax.Problem(cost, data, BUDGET)


def optimum(problem: cojax.Problem) -> tuple[np.ndarray, np.ndarray]:
    """Params and shares, by linear algebra."""
    roots, targets, curvature, demand = map(np.asarray, problem.data)
    params = np.linalg.lstsq(roots.reshape(-1, DIM), targets.ravel(), rcond=None)[0]
    price = (BUDGET - demand.sum()) / (1 / curvature).sum()
    return params, demand + price / curvature


def look(problem, x, state):
    away = jnp.zeros(()) if state.wire.books is None else cojax.records.in_flight(problem, x, state)[1]
    return x.params, x.cpu, away, state.imbalance


def judged(problem: cojax.Problem, network, tuned: cojax.CoOpt) -> list[dict[str, float]]:
    """Distances from the optimum and what was on its way, one row a rate of loss."""
    start = problem.start(params=jnp.zeros((NUM_NODES, DIM)))

    def run(rate, divisor):
        method = cojax.CoOpt(
            learn=cojax.DIGing(tuned.learn.step_size / divisor, tuned.learn.mixing / divisor),
            allocate=cojax.Laplacian(tuned.allocate.step_size / divisor),
        )
        return cojax.solve(problem, network(rate), method, start, num_steps=NUM_STEPS, record=look).trace

    rates, divisors = (part.ravel() for part in jnp.meshgrid(jnp.asarray(LOSSES), jnp.asarray(DIVISORS), indexing="ij"))
    params, cpu, away, imbalance = (np.asarray(part) for part in jax.jit(jax.vmap(run))(rates, divisors))
    best_params, best_cpu = optimum(problem)
    params_error = np.abs(params[:, -1] - best_params).max((1, 2)).reshape(len(LOSSES), -1)
    share_error = np.abs(cpu[:, -1] - best_cpu).max(1).reshape(len(LOSSES), -1)
    chosen = np.nan_to_num(params_error + share_error, nan=np.inf).argmin(1)
    rows = []
    for place, best in enumerate(chosen):
        row = place * len(DIVISORS) + best
        rows.append(
            {
                "loss %": 100 * LOSSES[place],
                "divided by": DIVISORS[best],
                "params error": params_error[place, best],
                "share error": share_error[place, best],
                "most on its way, % of budget": 100 * away[row].max() / BUDGET,
                "on its way at the end": away[row, -1],
                # Of all divisors, the unstable ones too while they are finite.
                "total off": np.nanmax(imbalance[place * len(DIVISORS) : (place + 1) * len(DIVISORS)]),
            }
        )
    return [{name: float(value) for name, value in row.items()} for row in rows]


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    problem, graph = drawn(), nx.erdos_renyi_graph(NUM_NODES, 0.25, seed=2)
    plain, start = cojax.network(graph), problem.start(params=jnp.zeros((NUM_NODES, DIM)))
    learn = cojax.tuned(cojax.DIGing, problem, plain, start)
    allocate = cojax.tuned(cojax.Laplacian, problem, plain, start)
    assert isinstance(learn, cojax.DIGing) and isinstance(allocate, cojax.Laplacian)
    rows = []

    def add(ledger: str, link: str, delay: int, network) -> None:
        for row in judged(problem, network, cojax.CoOpt(learn=learn, allocate=allocate)):
            rows.append({"ledger": ledger, "link": link, "delay up to": delay} | row)

    for name, link in (LINKS | EDGE_MEMORY).items():
        base = cojax.network(graph, link=link)
        add("off, both ends see the loss", name, 0, lambda rate, base=base: cojax.Lossy(base, rate))
    for name, link in LINKS.items():
        base = cojax.network(graph, link=link)
        for delay in DELAYS:
            late = cojax.Delayed(network=base, most=delay)
            add(
                "on, one way",
                name,
                delay,
                lambda rate, late=late: cojax.Ledger(network=cojax.LossyOneWay(network=late, rate=rate)),
            )
    show(rows)
    save("cost_of_faults", rows, nodes=NUM_NODES, steps=NUM_STEPS, budget=BUDGET)


if __name__ == "__main__":
    main()
