"""Deployments to tune for: what nodes are stays, what they are asked and the samples they hold change by instance."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import cojax

DIM, SAMPLES = 4, 20
BITS = 3  # of one number on the wire, in every column of the table


class Family(NamedTuple):
    """A network with its links, the same with ideal ones, and how long its runs are."""

    graphs: Any
    loss: float
    num_nodes: int
    num_steps: int  # that are tuned on
    every: int

    def network(self, *, ideal: bool = False, weights: Any = cojax.weights.metropolis) -> cojax.Network:
        changes = isinstance(self.graphs, list)
        link = cojax.Innovation(cojax.AdaptiveQuantizer(BITS), memory="edge" if changes else "node")
        # Memories per edge are few where edges are listed, and n^2 in a matrix.
        layout = "edges" if changes else "auto"
        made = cojax.network(self.graphs, link=cojax.Ideal() if ideal else link, weights=weights, layout=layout)
        return cojax.Lossy(made, self.loss, key=0) if self.loss else made


def families() -> dict[str, Family]:
    """Five kinds of network of 14 to 24 nodes."""
    named, nodes = cojax.graphs.named, 24
    switching = cojax.graphs.switching(named("erdos_renyi", 20, seed=2), 4, seed=0)
    return {
        "ring": Family(named("ring", 20), 0.0, 20, 800, 16),
        "exponential": Family(named("exponential", nodes), 0.0, nodes, 160, 4),
        "Erdős-Rényi": Family(named("erdos_renyi", nodes, seed=1), 0.0, nodes, 240, 4),
        "4 switching, 20 % loss": Family(switching, 0.2, 20, 360, 6),
        "NSFNET": Family(named("nsfnet"), 0.0, 14, 320, 4),
    }


def cost(x: cojax.Decision, data: Any) -> jax.Array:
    """Logistic regression with a ridge, and a quadratic cost of the share."""
    features, targets, curvature, demand = data
    loss = jnp.mean(jnp.logaddexp(0.0, -targets * (features @ x.params)))
    return loss + 0.05 * jnp.sum(x.params**2) + 0.5 * curvature * (x.cpu - demand) ** 2


def instances(num_nodes: int, numbers: Iterable[int]) -> tuple[list[cojax.Problem], list[cojax.Decision]]:
    """Problems over the same nodes, each with its own samples, its own model to find and its own demands."""
    same = np.random.default_rng(0)
    capacity, curvature = same.uniform(2.0, 10.0, num_nodes), same.uniform(0.5, 2.0, num_nodes)
    mean, scale = same.normal(size=(num_nodes, 1, DIM)), same.uniform(0.5, 1.5, (num_nodes, 1, 1))
    problems, starts = [], []
    for number in numbers:
        random = np.random.default_rng([1, number])
        features = scale * (random.normal(size=(num_nodes, SAMPLES, DIM)) + 0.5 * mean)
        noise = 0.3 * random.normal(size=(num_nodes, SAMPLES))
        targets = np.sign(features @ random.normal(size=DIM) + noise)
        demand = capacity * random.uniform(0.3, 1.1, num_nodes)
        problem = cojax.Problem(
            cost,
            (features, targets, curvature, demand),
            budget=0.75 * capacity.sum(),
            lower=np.zeros(num_nodes),
            upper=capacity,
            penalty=cojax.penalties.PowerPenalty(5.0),
        )
        problems.append(problem)
        starts.append(problem.start(params=jnp.zeros((num_nodes, DIM))))
    return problems, starts
