"""Where "over 50 % smaller cost-optimality gap than existing CPU scheduling" (arXiv 2510.25176) holds, and where not.

100 random instances of the paper's cost (x - b_i)^2 / (2 kappa_i) over one random graph of 30 nodes: the Laplacian flow
over three links against equal utilisation (the fixed point of the ratio-consensus schedulers) and against exact
sum-preserving rivals, at equal rounds and at equal bits. `python benchmarks/paper_claim.py`
"""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from timing import save, show

import cojax

NUM_NODES, NUM_INSTANCES = 30, 100
ROUNDS, KILOBITS = (100, 1000), (1.0, 4.0)
LINKS = {
    "ideal": cojax.Ideal(),
    "log 1/4": cojax.Quantized(cojax.LogQuantizer(0.25, smallest=1e-6, largest=16.0)),
    "log 1": cojax.Quantized(cojax.LogQuantizer(1.0, smallest=1e-6, largest=16.0)),
    "innovation log 1": cojax.Innovation(cojax.LogQuantizer(1.0, smallest=1e-12, largest=16.0)),
    "innovation 2 bits": cojax.Innovation(cojax.AdaptiveQuantizer(2)),
}
SPREADS = (1.0, 0.1, 0.02, 0.0)  # of the demand ratios b_i / kappa_i around their mean; at 0 demand is proportional


def instances(spread: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Demands (100, 30), capacities (100, 30), and budgets (100,): all demands and 15 % of the capacity."""
    random = np.random.default_rng(0)
    capacity = random.uniform(2.0, 20.0, (NUM_INSTANCES, NUM_NODES))
    demand = capacity * (0.4 + 0.3 * spread * random.uniform(-1.0, 1.0, capacity.shape))
    budget = demand.sum(1) + 0.15 * capacity.sum(1)
    return jnp.asarray(demand), jnp.asarray(capacity), jnp.asarray(budget)


def cost(x, data):
    demand, capacity = data
    return (x.cpu - demand) ** 2 / (2 * capacity)


def courses(method: cojax.Method, network: cojax.Network, drawn: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaps (100, rounds), bits (rounds,) and the gap of equal utilisation (100,), every instance from an even split."""

    def run(demand, capacity, budget):
        problem = cojax.Problem(cost, (demand, capacity), budget)
        best = problem.costs(cojax.Decision(None, cojax.allocate(problem).cpu)).sum()
        equal = problem.costs(cojax.Decision(None, capacity * problem.budget / capacity.sum())).sum() - best
        solution = cojax.solve(problem, network, cojax.CoOpt(allocate=method), problem.start(), num_steps=max(ROUNDS))
        return jnp.abs(solution.trace.cost - best), solution.trace.bits, equal

    gaps, bits, equal = jax.jit(jax.vmap(run))(*drawn)
    return np.asarray(gaps), np.asarray(bits[0]), np.asarray(equal)


def judged(gap: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How much smaller `gap` is than `other`, in percent: median (-1000 and below as -1000), and instances over 50."""
    smaller = 100 * (1 - gap / np.maximum(other, 1e-300))
    return {"median %": max(float(np.median(smaller)), -1000.0), "over 50 %": float((smaller > 50).mean() * 100)}


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    graph = nx.erdos_renyi_graph(NUM_NODES, 0.2, seed=3)
    rows = []
    for spread in SPREADS:
        drawn = instances(spread)
        reference = cojax.Problem(cost, (drawn[0][0], drawn[1][0]), drawn[2][0])
        ideal = cojax.network(graph)
        flow = cojax.tuned(cojax.Laplacian, reference, ideal, reference.start())
        fast = cojax.tuned(cojax.Nesterov, reference, ideal, reference.start())
        rival, rival_bits, _ = courses(fast, ideal, drawn)
        for name, link in LINKS.items():
            gaps, bits, equal = courses(flow, cojax.network(graph, link=link), drawn)
            for rounds in ROUNDS:
                rows.append(
                    {"spread": spread, "link": name, "at": f"{rounds} rounds", "rival": "equal utilisation"}
                    | judged(gaps[:, rounds - 1], equal)
                )
            for kilobits in KILOBITS:
                row, other = (int(np.searchsorted(told, 1000 * kilobits, "right")) - 1 for told in (bits, rival_bits))
                if row >= 0 and other >= 0:
                    rows.append(
                        {"spread": spread, "link": name, "at": f"{kilobits:g} kbit", "rival": "Nesterov, 64-bit floats"}
                        | judged(gaps[:, row], rival[:, other])
                    )
    show(rows)
    save("paper_claim", rows, nodes=NUM_NODES, instances=NUM_INSTANCES)


if __name__ == "__main__":
    main()
