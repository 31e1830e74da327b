"""Whether what is computed is stable: the worst of what is left of the first gap, over families, spreads and networks.

    python benchmarks/stability.py [setting | method ...]

Quadratic costs whose curvatures spread 1 to 10^4, families of graphs from rings to barbells, 4 to 200 nodes, one graph,
four in turn, lost links, both, links that are silent two steps of three, and links dealt out over twelve graphs, so
that nodes wait, with lost ones too; of soft bounds, costs with walls. Nothing is typed: `default_allocator`,
`default_learner`, `default` and `tuned` choose. A row has the largest and the median of gap(end) / gap(start); above 1
a run ended worse than it started.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from support.contenders import relaid, stacked
from support.timing import save, saved_rows

import cojax
from cojax.tuning.tuned import LEARNERS

SPREADS = (1.0, 1e2, 1e4)
KEYS = ("setting", "nodes", "method", "costs")
SETTINGS = ("static", "switching", "lossy", "both", "intermittent", "seldom", "seldom_lossy")
SIZES = {"static": (4, 14, 50, 200), "switching": (14,), "lossy": (4, 40)}
SIZES |= {setting: (14, 40) for setting in ("both", "intermittent", "seldom", "seldom_lossy")}
NUM_STEPS = 2000
DEALT = 12  # graphs, of which each has its part of the links where they are seldom there
DIM = 3
LINEAR = (cojax.Laplacian, cojax.HeavyBall, cojax.MomentumFlow, cojax.Nesterov, cojax.Saturated)
GRAPHS: dict[str, Callable[[int, int], nx.Graph]] = {
    "ring": lambda n, seed: nx.cycle_graph(n),
    "path": lambda n, seed: nx.path_graph(n),
    "star": lambda n, seed: nx.star_graph(n - 1),
    "tree": lambda n, seed: nx.random_labeled_tree(n, seed=seed),
    "ladder": lambda n, seed: nx.convert_node_labels_to_integers(nx.grid_2d_graph(2, n // 2)),
    "expander": lambda n, seed: nx.random_regular_graph(4 if n > 5 else 2, n, seed=seed),
    "random": lambda n, seed: _connected(partial(nx.gnp_random_graph, n, min(1.0, 1.5 * np.log(n + 1) / n)), seed),
    "geometric": lambda n, seed: _connected(partial(nx.random_geometric_graph, n, min(1.5, 2 / np.sqrt(n))), seed),
    "complete": lambda n, seed: nx.complete_graph(n),
    "barbell": lambda n, seed: nx.barbell_graph(max(n // 3, 2), n - 2 * max(n // 3, 2)),
    "NSFNET": lambda n, seed: nx.convert_node_labels_to_integers(cojax.graphs.named("nsfnet")),
}


class Case(NamedTuple):
    """One instance: the curvatures, and what every node would like."""

    curvature: np.ndarray  # (n,)
    demand: np.ndarray
    roots: np.ndarray  # (n, d, d)
    targets: np.ndarray  # (n, d)


def _connected(draw: Callable[..., nx.Graph], seed: int) -> nx.Graph:
    return next(graph for k in range(1000) if nx.is_connected(graph := draw(seed=seed + 1000 * k)))


def cost(x: cojax.Decision, case: Any) -> jax.Array:
    total = jnp.zeros(())
    if x.cpu is not None:
        total += 0.5 * case.curvature * (x.cpu - case.demand) ** 2
    if x.params is not None:
        total += 0.5 * jnp.sum((case.roots @ x.params - case.targets) ** 2)
    return total


def drawn(setting: str, num_nodes: int, walls: bool = False) -> Iterator[tuple[str, cojax.Problem, Any, Any]]:
    """Every family and spread: a name, the problem, its network, and a start."""
    for place, (family, draw) in enumerate(GRAPHS.items()):
        if family == "NSFNET" and num_nodes != 14:
            continue
        graph = nx.Graph()
        graph.add_nodes_from(range(num_nodes))
        graph.add_edges_from(draw(num_nodes, place).edges)
        for spread in SPREADS:
            random = np.random.default_rng([place, num_nodes, int(spread)])
            case, start_cpu = instance(random, num_nodes, spread)
            bounds: dict[str, Any] = {}
            if walls:
                upper = np.full(num_nodes, 2.5)
                bounds = {"lower": 0.0, "upper": upper, "penalty": cojax.penalties.PowerPenalty(spread)}
            problem = cojax.Problem(cost, case, budget=2.0 * num_nodes, **bounds)
            start = problem.start(params=random.normal(size=(num_nodes, DIM)), cpu=start_cpu)
            yield f"{family} {spread:g}", problem, network_of(setting, graph, place), start


def instance(random: np.random.Generator, num_nodes: int, spread: float) -> tuple[Case, np.ndarray]:
    curvature = np.exp(random.uniform(0, np.log(spread), num_nodes) if spread > 1 else np.zeros(num_nodes))
    curvature[:2] = 1.0, spread
    rotations = np.linalg.qr(random.normal(size=(num_nodes, DIM, DIM)))[0]
    roots = np.sqrt(np.geomspace(1.0, max(spread, 1.0) ** 0.5, DIM))[None, :, None] * rotations
    split = random.uniform(0.5, 1.5, num_nodes)
    case = Case(curvature, random.uniform(0.5, 1.5, num_nodes), roots, random.normal(size=(num_nodes, DIM)))
    return case, 2.0 * num_nodes * split / split.sum()


def network_of(setting: str, graph: nx.Graph, seed: int) -> Any:
    graphs = [graph]
    if setting in ("switching", "both") and graph.number_of_edges() > 2:
        graphs = cojax.graphs.switching(graph, 4, seed=seed, share=0.6)
    if setting.startswith("seldom"):
        edges = np.random.default_rng(seed).permutation(list(graph.edges))
        parts = np.array_split(edges, min(DEALT, len(edges)))
        graphs = [nx.create_empty_copy(graph) for _ in parts]
        for each, part in zip(graphs, parts, strict=True):
            each.add_edges_from(part.tolist())
    network: Any = cojax.network(graphs, layout="dense")
    if setting in ("lossy", "both", "seldom_lossy"):
        return cojax.Lossy(network, 0.3, key=seed)
    if setting != "intermittent":
        return network
    return cojax.Intermittent(network, 3)  # pyright: ignore[reportCallIssue]


@partial(jax.jit, static_argnums=(4,))
def _ratios(problems: Any, networks: Any, methods: Any, starts: Any, num_steps: int) -> jax.Array:
    """What is left of the gap of the start, of every instance; of both halves that of the worse."""

    def one(problem: Any, network: Any, method: Any, start: Any, best: Any) -> jax.Array:
        run = cojax.solve(problem, network, method, start, num_steps=num_steps, every=num_steps, record=lambda *_: 0)
        soft = problem.softened() if problem.penalty is not None else problem

        def shared(cpu: Any) -> jax.Array:
            return (soft.costs(best._replace(cpu=cpu)) - soft.costs(best)).sum()

        def learned(params: Any) -> jax.Array:
            """The whole cost at every node's own model, over nodes."""
            whole = jax.vmap(
                lambda model: soft.costs(best._replace(params=jnp.broadcast_to(model, params.shape))).sum()
            )
            return (whole(params) - soft.costs(best).sum()).mean()

        halves = [(shared, run.x.cpu, start.cpu), (learned, run.x.params, start.params)]
        return jnp.stack([gap(end) / gap(begin) for gap, end, begin in halves if begin is not None]).max()

    problems, bests = problems
    return jax.vmap(one)(problems, networks, methods, starts, bests)


def measured(choose: Callable[..., tuple[Any, Any]], half: str, cases: list) -> list[tuple[str, float]]:
    """The ratio of every case; those with links of one kind are run together."""
    groups: dict[Any, list] = {}
    for name, problem, network, start in cases:
        if half == "cpu":
            start = start._replace(params=None)
        if half == "params":
            problem, start = cojax.Problem(cost, problem.data), start._replace(cpu=None)
        linked, method = choose(problem, network, start)
        best = _best(problem, start)
        key = jax.tree.structure((relaid(linked, "dense"), method))
        groups.setdefault(key, []).append((name, problem, relaid(linked, "dense"), method, start, best))
    ratios = []
    for group in groups.values():
        names, problems, networks, methods, starts, bests = zip(*group, strict=True)
        parts = [stacked(list(each)) for each in (problems, networks, methods, starts, bests)]
        found = np.asarray(_ratios((parts[0], parts[4]), *parts[1:4], NUM_STEPS))
        ratios += [
            (name, float(ratio) if np.isfinite(ratio) else np.inf) for name, ratio in zip(names, found, strict=True)
        ]
    return ratios


def _best(problem: cojax.Problem, start: cojax.Decision) -> cojax.Decision:
    """The optimum, by linear algebra and a bisection on the price."""
    case: Any = problem.data
    penalty: Any = problem.penalty
    params: Any = None
    cpu: Any = None
    if start.params is not None:
        hessians = np.einsum("nij,nik->jk", case.roots, case.roots)
        model = np.linalg.solve(hessians, np.einsum("nij,ni->j", case.roots, case.targets))
        params = jnp.broadcast_to(model, start.params.shape)
    if start.cpu is not None:
        weight = 0.0 if penalty is None else 2 * float(penalty.weight)
        low, high = -1e6 * case.curvature.max(), 1e6 * case.curvature.max()
        for _ in range(400):
            price = (low + high) / 2
            cpu = case.demand + price / case.curvature
            for end, beyond in ((problem.lower, np.less), (problem.upper, np.greater)):
                bound: Any = np.asarray(end)
                wall = np.where(np.isfinite(bound), bound, 0)
                bent = (case.curvature * case.demand + price + weight * wall) / (case.curvature + weight)
                cpu = np.where(beyond(cpu, bound), bent, cpu)
            low, high = (price, high) if cpu.sum() < float(np.asarray(problem.budget)) else (low, price)
        cpu = jnp.asarray(cpu)
    return cojax.Decision(params, cpu)


def own(kind: Any) -> Callable[..., tuple[Any, Any]]:
    def choose(problem: Any, network: Any, start: Any) -> tuple[Any, Any]:
        method = cojax.tuned(kind, problem, network, start)
        return network, cojax.CoOpt(method) if kind in LEARNERS else cojax.CoOpt(allocate=method)

    return choose


def defaults() -> dict[str, tuple[str, Callable[..., tuple[Any, Any]]]]:
    def allocator(problem: Any, network: Any, start: Any) -> tuple[Any, Any]:
        linked, method = cojax.default_allocator(problem, network, start)
        return linked, cojax.CoOpt(allocate=method)

    def learner(problem: Any, network: Any, start: Any) -> tuple[Any, Any]:
        linked, method = cojax.default_learner(problem, network, start)
        return linked, cojax.CoOpt(method)

    return {
        "default_allocator": ("cpu", allocator),
        "default_learner": ("params", learner),
        "default": ("both", cojax.default),
    }


def main(only: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    settings = [each for each in SETTINGS if each in only] or SETTINGS
    methods = [each for each in only if each not in SETTINGS]
    for setting in settings:
        for num_nodes in SIZES[setting]:
            judged = defaults() if num_nodes > 4 else {"default_allocator": defaults()["default_allocator"]}
            if num_nodes == 14 and setting in ("static", "both"):
                judged |= {f"tuned({kind.__name__})": ("cpu", own(kind)) for kind in LINEAR}
                judged |= {f"tuned({kind.__name__})": ("params", own(kind)) for kind in LEARNERS}
            for name, (half, choose) in judged.items():
                if methods and name not in methods:
                    continue
                for walls in (False, True) if half == "cpu" else (False,):
                    began = time.perf_counter()
                    ratios = measured(choose, half, list(drawn(setting, num_nodes, walls)))
                    worst = max(ratios, key=lambda each: each[1])
                    costs = "walls" if walls else "quadratic"
                    row: dict[str, Any] = {"setting": setting, "nodes": num_nodes, "method": name, "costs": costs}
                    row |= {"cases": len(ratios), "worst": worst[1], "of": worst[0]}
                    row |= {"median": float(np.median([ratio for _, ratio in ratios]))}
                    row |= {"worse than the start": sum(not ratio <= 1 for _, ratio in ratios)}
                    print(*row.values(), f"{time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
                    others = [each for each in saved_rows("stability") if any(each[key] != row[key] for key in KEYS)]
                    save("stability", sorted([*others, row], key=place_of), steps=NUM_STEPS)


def place_of(row: dict[str, Any]) -> tuple:
    """Where a row stands in the table."""
    return SETTINGS.index(row["setting"]), row["nodes"]


if __name__ == "__main__":
    main(sys.argv[1:])
