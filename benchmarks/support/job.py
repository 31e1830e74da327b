"""The job of `step_time.py` and `peak_memory.py`: least squares and CPU shares together, at n nodes of degree 10."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import networkx as nx
import numpy as np

import cojax

DEGREE = 10
SAMPLES = 20
FEATURES = 10
STEP_SIZE = 0.02
SHARE_STEP = 0.1


class Samples(NamedTuple):
    """What every node has."""

    features: np.ndarray  # (n, 20, 10)
    targets: np.ndarray  # (n, 20)
    price: np.ndarray  # (n,)


def graph_of(n: int) -> nx.Graph:
    """A random regular graph; all links up at every step."""
    return nx.random_regular_graph(DEGREE, n, seed=0)


def samples(n: int, dtype: Any = np.float32) -> Samples:
    """Samples of one linear model with noise; a price of CPU that differs by node."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, SAMPLES, FEATURES))
    targets = features @ np.arange(FEATURES) + 0.1 * rng.normal(size=(n, SAMPLES))
    return Samples(features.astype(dtype), targets.astype(dtype), np.linspace(0.5, 2.0, n, dtype=dtype))


def cost(x: cojax.Decision, data: Samples) -> Any:
    """Of one node: its mean squared residual, and the price of its CPU."""
    return jnp.mean((data.features @ x.params - data.targets) ** 2) + data.price * x.cpu**2


def coopt(graph: nx.Graph, data: Samples, quantizer: cojax.Quantizer):
    """The problem, the network, the method and the start of the job, in the dtype of the data."""
    n = len(data.price)
    problem = cojax.Problem(cost, data, budget=np.asarray(n, data.price.dtype))
    network = cojax.network(graph, nodelist=range(n), link=cojax.Quantized(quantizer))
    method = cojax.CoOpt(learn=cojax.DIGing(STEP_SIZE), allocate=cojax.Laplacian(SHARE_STEP))
    start = problem.start(params=np.zeros((n, FEATURES), data.price.dtype))
    return problem, network, method, start
