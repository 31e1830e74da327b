"""Trials that are kept in a folder, as a program of its own, to be killed: `python killed_trials.py FOLDER NUMBER`."""

import sys

import jax
import networkx as nx
import numpy as np

jax.config.update("jax_enable_x64", True)

import cojax  # noqa: E402

NUM_NODES = 8


def cost(x, data):
    price, demand = data
    return 0.5 * price * (x.cpu - demand) ** 2


def case(seed):
    random = np.random.default_rng(seed)
    data = random.uniform(0.5, 2.0, NUM_NODES), random.uniform(0.0, 2.0, NUM_NODES)
    problem = cojax.Problem(cost, data, budget=8.0)
    graph = nx.connected_watts_strogatz_graph(NUM_NODES, 4, 0.3, seed=seed)
    return problem, cojax.Lossy(cojax.network(graph), 0.2, key=seed), problem.start()


def tuned(problem, network, start):
    return cojax.CoOpt(allocate=cojax.tuned(cojax.Laplacian, problem, network, start))


METHODS = {"tuned": tuned, "fixed": cojax.CoOpt(allocate=cojax.Laplacian(0.1))}


if __name__ == "__main__":
    cojax.trials(case, METHODS, num_trials=int(sys.argv[2]), num_steps=60, every=5, folder=sys.argv[1])
