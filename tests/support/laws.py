"""What every method, network and link must survive: a new one is one line in a list here."""

import inspect
from fractions import Fraction

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

import cojax
from cojax.methods.facts import BIASED, KNOWN

NUM_NODES, DIM = 8, 3

LEARNERS = {
    "DGD": cojax.DGD(0.05),
    "DIGing": cojax.DIGing(0.05),
    "EXTRA": cojax.EXTRA(0.05),
    "NIDS": cojax.NIDS(0.1),
    "ExactDiffusion": cojax.ExactDiffusion(0.1),
    "ATCTracking": cojax.ATCTracking(0.05),
    "Choco": cojax.Choco(0.05, gain=0.7),
    "LEAD": cojax.LEAD(0.1, gain=0.8),
    "APAPC": cojax.APAPC(0.2, blend=0.6),
    "PushDIGing": cojax.PushDIGing(0.05),
    "PushPull": cojax.PushPull(0.05),
    "LocalSteps": cojax.LocalSteps(0.05),
    "StreamingSteps": cojax.StreamingSteps(0.02, parts=2, late=1, keep=0.5),
    "TrackingMomentum": cojax.TrackingMomentum(0.03, momentum=0.3),
}
# They stop at a bias with a constant step: `test_contract` sees that these do, and no others.
BIASED_LEARNERS = tuple(kind.__name__ for kind, facts in KNOWN.items() if facts.words == BIASED)

ALLOCATORS = {
    "Laplacian": cojax.Laplacian(0.3),
    "HeavyBall": cojax.HeavyBall(0.2, 0.5),
    "Nesterov": cojax.Nesterov(0.2, 0.5),
    "MomentumFlow": cojax.MomentumFlow(0.2, 0.5),
    "FiniteTime": cojax.FiniteTime(0.05),
    "FixedTime": cojax.FixedTime(0.015),
    "Saturated": cojax.Saturated(0.3, level=0.5),
    "SingleBit": cojax.SingleBit(0.01),
    "Scheduled": cojax.Scheduled(cojax.Laplacian(0.3), {"step_size": [0.2, 0.3]}, every=5),
}
CHATTERING_ALLOCATORS = ("FiniteTime", "FixedTime", "SingleBit")  # they end in a cycle with a constant step
APPROXIMATE_ALLOCATORS = ("MomentumFlow",)  # they keep the total to rounding, not to the last bit
LAYOUTS = ("dense", "neighbors", "split", "edges")
QUANTIZERS = (
    cojax.LogQuantizer(0.25),
    cojax.UniformQuantizer(0.125),
    cojax.FloatQuantizer(3),
    cojax.TopK(1),
    cojax.RandK(1),
)


def cost(x, data):
    """A quadratic cost of one node, no two nodes alike."""
    hessian_root, target, curvature, demand = data
    return 0.5 * jnp.sum((hessian_root @ x.params - target) ** 2) + 0.5 * curvature * (x.cpu - demand) ** 2


def quadratic(num_nodes=NUM_NODES, dim=DIM, seed=0, dtype=np.float64):
    """A problem of `cost` with 5 samples a node and the budget 16."""
    random = np.random.default_rng(seed)
    data = (
        random.normal(size=(num_nodes, 5, dim)) / np.sqrt(5),
        random.normal(size=(num_nodes, 5)),
        random.uniform(0.5, 2.0, num_nodes),
        random.uniform(0.0, 4.0, num_nodes),
    )
    data = tuple(leaf.astype(dtype) for leaf in data)
    return cojax.Problem(cost, data, budget=np.asarray(16.0, dtype))


def optimum(problem):
    """The optimum of `quadratic` by linear algebra: params, shares, price."""
    roots, targets, curvature, demand = (np.asarray(leaf, np.float64) for leaf in problem.data)
    stacked, wanted = roots.reshape(-1, roots.shape[-1]), targets.ravel()
    params = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    price = (float(problem.budget) - demand.sum()) / (1 / curvature).sum()
    return params, demand + price / curvature, price


def unchecked(function):
    """A function without the check of its annotations that tests add: what it says itself of a wrong kind."""
    return inspect.unwrap(function)


def start_of(problem, dim=DIM, seed=1):
    """Params at random and an uneven split of the budget."""
    random = np.random.default_rng(seed)
    num_nodes = problem.num_nodes
    budget = problem.base.budget
    dtype = budget.dtype
    params = random.normal(size=(num_nodes, dim)).astype(dtype)
    cpu = random.uniform(0.5, 1.5, num_nodes)
    cpu = (cpu * float(budget) / cpu.sum()).astype(dtype)
    return problem.start(params=jnp.asarray(params), cpu=jnp.asarray(cpu))


def nothing(problem, x, state):
    """The record of a run of which only the end is read: it compiles in less time than the standard one."""
    return ()


def ring_with_chords(num_nodes=NUM_NODES):
    """A connected graph that is neither regular nor circulant."""
    graph = nx.cycle_graph(num_nodes)
    graph.add_edges_from([(0, num_nodes // 2), (1, num_nodes // 2 + 2), (0, 2)])
    return graph


def switching_graphs(num_nodes=NUM_NODES):
    """Two graphs, each disconnected, whose union is connected."""
    edges = list(ring_with_chords(num_nodes).edges)
    graphs = []
    for part in (edges[::2], edges[1::2]):
        graph = nx.Graph()
        graph.add_nodes_from(range(num_nodes))
        graph.add_edges_from(part)
        graphs.append(graph)
    return graphs


def exact_imbalance(cpu, budget) -> Fraction:
    """|sum of cpu - budget| in rational arithmetic."""
    return abs(sum((Fraction(float(share)) for share in np.asarray(cpu)), Fraction(0)) - Fraction(float(budget)))


def permuted(tree, order):
    """A tree whose nodes are put in another order."""
    return jax.tree.map(lambda leaf: leaf[order], tree)


def dealt(edges, num_graphs, num_nodes):
    """Graphs of which each has its part of the edges, in their order."""
    graphs = [nx.empty_graph(num_nodes) for _ in range(num_graphs)]
    for graph, part in zip(graphs, np.array_split(edges, num_graphs), strict=True):
        graph.add_edges_from(part.tolist())
    return graphs
