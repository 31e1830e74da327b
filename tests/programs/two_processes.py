"""One of two processes that share a run, for `test_sharding.py`: python two_processes.py port process."""

import sys

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax.experimental import multihost_utils

import cojax

NUM_NODES = 22  # on 4 devices: two rows hold no node


def scrambled_grid():
    order = np.random.default_rng(0).permutation(NUM_NODES)
    names = {(row, column): int(order[11 * row + column]) for row in range(2) for column in range(11)}
    return nx.relabel_nodes(nx.grid_2d_graph(2, 11), names)


def prices(nodes):
    return 0.5 + nodes.astype(float) / 8


def check_computed(process):
    """A run of which no process has the whole is that which one has."""

    def cost(x, price):
        return price * x.cpu**2 + ((x.params - price) ** 2).sum()

    for name in ("geometric", "regular"):
        graph, half = cojax.graphs.computed(name, 64, seed=1), 32
        link = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
        method = cojax.CoOpt(cojax.DIGing(0.02), cojax.Laplacian(0.02))
        problem = cojax.Problem(cost, cojax.spread(prices, 64), budget=64.0, lower=-9.0, upper=cojax.spread(prices, 64))
        start = problem.start(params=cojax.spread(lambda nodes: jnp.ones((len(nodes), 2)), 64))
        shards = cojax.shard(problem, cojax.Lossy(cojax.Computed(graph, link=link), 0.2), start)
        for leaf in jax.tree.leaves((problem.data, problem.lower, start, shards.network.graphs.index.T)):
            assert sum(len(shard.data) for shard in leaf.addressable_shards) == half
        shared = cojax.solve(shards.problem, shards.network, method, shards.start, num_steps=10, every=10)
        x = multihost_utils.process_allgather(shared.x, tiled=True)
        assert float(shared.trace.imbalance[-1]) == 0
        with pytest.raises(cojax.CojaxInputError, match="data without NaN, got one at node 41"):  # on both
            cojax.Problem(cost, cojax.spread(lambda nodes: jnp.where(nodes == 41, jnp.nan, 1.0), 64))
        if process == 0:
            price = np.asarray(prices(np.arange(64)))
            whole = cojax.Problem(cost, price, budget=64.0, lower=-9.0, upper=price)
            network = cojax.Lossy(cojax.network(graph, link=link), 0.2)
            alone = cojax.solve(whole, network, method, whole.start(params=np.ones((64, 2))), num_steps=10, every=10)
            np.testing.assert_array_equal(x.cpu, alone.x.cpu)
            np.testing.assert_allclose(x.params, alone.x.params, rtol=1e-12)


def main(port, process):
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=process)
    from support import laws  # its methods hold arrays, and no array may be made before

    problem = laws.quadratic(NUM_NODES)
    start = laws.start_of(problem)
    method = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3))
    link = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
    known = cojax.network(scrambled_grid(), nodelist=range(NUM_NODES), link=link)
    for graphs in (known, cojax.Computed(cojax.graphs.computed("geometric", NUM_NODES), link=link)):
        network = cojax.Lossy(graphs, 0.2)
        shards = cojax.shard(problem, network, start)
        shared = cojax.solve(shards.problem, shards.network, method, shards.start, num_steps=10, every=10)
        x = multihost_utils.process_allgather(shared.x, tiled=True)
        assert float(shared.trace.imbalance[-1]) == 0
        if process == 0:  # what is gathered, both have
            alone = cojax.solve(problem, network, method, start, num_steps=10, every=10)
            np.testing.assert_array_equal(x.cpu, alone.x.cpu)
            np.testing.assert_allclose(x.params, alone.x.params, rtol=1e-12)
    check_computed(process)
    print(f"the same on {jax.device_count()} devices of {jax.process_count()} processes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
