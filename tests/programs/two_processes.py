"""One of two processes that share a run, for `test_sharding.py`: python two_processes.py port process."""

import sys

import jax
import networkx as nx
import numpy as np
from jax.experimental import multihost_utils

import cojax

NUM_NODES = 22  # on 4 devices: two rows hold no node


def scrambled_grid():
    order = np.random.default_rng(0).permutation(NUM_NODES)
    names = {(row, column): int(order[11 * row + column]) for row in range(2) for column in range(11)}
    return nx.relabel_nodes(nx.grid_2d_graph(2, 11), names)


def main(port, process):
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=process)
    from support import laws  # its methods hold arrays, and no array may be made before

    problem = laws.quadratic(NUM_NODES)
    start = laws.start_of(problem)
    method = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3))
    link = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
    network = cojax.Lossy(cojax.network(scrambled_grid(), nodelist=range(NUM_NODES), link=link), 0.2)
    shards = cojax.shard(problem, network, start)
    shared = cojax.solve(shards.problem, shards.network, method, shards.start, num_steps=10, every=10)
    x = multihost_utils.process_allgather(shared.x, tiled=True)
    assert float(shared.trace.imbalance[-1]) == 0
    if process == 0:  # what is gathered, both have
        alone = cojax.solve(problem, network, method, start, num_steps=10, every=10)
        np.testing.assert_array_equal(x.cpu, alone.x.cpu)
        np.testing.assert_allclose(x.params, alone.x.params, rtol=1e-12)
    print(f"the same on {jax.device_count()} devices of {jax.process_count()} processes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
