"""One process of runs with checkpoints, cut over all devices of all processes, for `test_sharded_checkpoints.py`.

python saved_run.py JOB, in JSON: processes, process and port; folders, of every process, for checkpoints; kinds, of
networks; steps; and perhaps like, with what a run is compared; killed, the process that is killed at its second
checkpoint, and where; stopped, the one that gets a SIGTERM; full, the one whose disk is;
certified, whether one more run goes on until it is.
"""

import json
import os
import signal
import sys

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from jax.experimental import multihost_utils

import cojax
from cojax.runs import checkpoints, pieces
from cojax.runs.blocks import Blocks

jax.config.update("jax_enable_x64", True)
NUM_NODES = 22  # on 4 devices: two rows hold no node


def scrambled_grid():
    order = np.random.default_rng(0).permutation(NUM_NODES)
    names = {(row, column): int(order[11 * row + column]) for row in range(2) for column in range(11)}
    return nx.relabel_nodes(nx.grid_2d_graph(2, 11), names)


def network_of(kind):
    """No array may be made before the processes know each other."""
    by_edge = cojax.Innovation(cojax.AdaptiveQuantizer(4), memory="edge")

    def grid(**options):
        return cojax.network(scrambled_grid(), nodelist=range(NUM_NODES), **options)

    if kind == "table":
        return cojax.Lossy(grid(layout="neighbors", link=by_edge), 0.3, key=2)
    if kind == "list of edges":
        return cojax.Lossy(grid(layout="edges", link=by_edge), 0.3, key=2)
    if kind == "hubs":
        return cojax.network(nx.barabasi_albert_graph(NUM_NODES, 2, seed=0), layout="split", link=by_edge)
    if kind == "matrix":
        return grid(layout="dense", link=by_edge)
    if kind == "shifts":
        ring = nx.circulant_graph(NUM_NODES, [1, 3])
        return cojax.Intermittent(cojax.network(ring, layout="circulant", link=by_edge), 2)
    if kind == "memory by node":
        return grid(layout="neighbors", link=cojax.Innovation(cojax.LogQuantizer(0.5)))
    if kind == "events":
        return grid(layout="neighbors", link=cojax.EventTriggered(0.05, 0.9))
    if kind == "directed":
        return cojax.network(nx.cycle_graph(NUM_NODES, create_using=nx.DiGraph))
    if kind == "drawn":
        return cojax.RandomGraph(NUM_NODES, 0.3, key=1)
    return cojax.Timed(grid(layout="neighbors"), cojax.Clock(jnp.linspace(0.5, 2.0, NUM_NODES), share=1.0))


KINDS = ("table", "list of edges", "hubs", "matrix", "shifts", "memory by node", "events", "directed", "drawn", "timed")


def keeping(problem, x, state):
    """A record of scalars, and of numbers by node."""
    return cojax.records.standard(problem, x, state), x.cpu, state.grad.params


def run_of(kind, steps, checkpoint=None, mesh=None, is_cut=True):
    """A run; and its decision, what its method remembers and its trace, whole and in the caller's order of nodes."""
    from support import laws  # which makes arrays

    problem, network = laws.quadratic(NUM_NODES), network_of(kind)
    start, method = laws.start_of(problem), cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3))
    if is_cut:
        problem, network, start = cojax.shard(problem, network, start, mesh)
    given = dict(num_steps=steps, every=5, record=keeping, checkpoint=checkpoint)
    solution = cojax.solve(problem, network, method, start, **given)
    trace = jax.vmap(lambda row: cojax.restored(network, row))(solution.trace)
    found = solution.x, cojax.restored(network, solution.state.method), trace
    return solution, jax.tree.map(whole, found)


def whole(leaf):
    """All of an array, of which other processes may have rows."""
    return np.asarray(leaf if leaf.is_fully_addressable else multihost_utils.process_allgather(leaf, tiled=True))


def check_certified(folder):
    """A run that goes on, from what it saved, until it is certified: as one that nobody interrupts on one device."""
    from support import laws

    problem, network = laws.quadratic(NUM_NODES), network_of("memory by node")
    start, method = laws.start_of(problem), cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3))
    cut, length = cojax.shard(problem, network, start), dict(tolerance=1e-6, every=500)
    alone = cojax.solve_to(problem, network, method, start, max_steps=5000, **length)
    for max_steps in (500, 5000):
        path = os.path.join(folder, "certified.npz")
        found = cojax.solve_to(*cut[:2], method, cut.start, max_steps=max_steps, checkpoint=path, **length)
    assert int(found.status) == int(alone.status) == cojax.Status.CONVERGED
    assert int(found.state.step) == int(alone.state.step) > 500
    np.testing.assert_array_equal(whole(found.x.cpu), alone.x.cpu)


def check_same(found, wanted, is_exact):
    """Shares and steps to the last bit; all else too, or as sums in another order leave it."""
    shares = [(x.cpu, trace[1], trace[0].imbalance, trace[0].step) for x, _, trace in (found, wanted)]
    for mine, yours in zip(*shares, strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert not shares[0][2].any()
    for mine, yours in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        if is_exact:
            np.testing.assert_array_equal(mine, yours)
        else:  # roundings of numbers of size 1 in each of 40 steps
            np.testing.assert_allclose(mine, yours, rtol=1e-11, atol=1e-12)


def see_that_nobody_gathers():
    """What is by row stays where it is, or is cut where every device has all of it, zeros at first."""
    real = Blocks.lying

    def lying(self, leaf, counts, axis=0):
        laid = real(self, leaf, counts, axis)
        cut_in_place = leaf.sharding.is_fully_replicated and counts != "alike"
        assert laid is leaf or cut_in_place or laid.size < NUM_NODES, leaf.shape
        return laid

    Blocks.lying = lying


def kill_in(where):
    """This process at its second checkpoint: while it writes its part, before the rename or after it."""
    real, calls = checkpoints.replace_file, []

    def replace(path, write):
        calls.append(path)
        if len(calls) < 2:
            return real(path, write)

        def half(handle):
            write(handle)
            handle.truncate(handle.tell() // 2)
            handle.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        if where == "writing":
            real(path, half)
        if where == "written":
            real(path, write)
        os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.replace_file = replace


def fill_the_disk():
    def replace(path, write):
        raise OSError(28, "No space left on device")

    checkpoints.replace_file = replace


def stop_after_a_piece():
    real = pieces.advance

    def advance(*given):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*given)

    pieces.advance = advance


def main(job):
    if job["processes"] > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{job['port']}", job["processes"], job["process"])
    see_that_nobody_gathers()
    if "killed" in job:
        pieces.SHARE_OF_TIME = 1e9  # save after every piece
        if job["process"] == job["killed"]:
            kill_in(job["where"])
    if job.get("stopped") == job["process"]:
        stop_after_a_piece()
    if job.get("full") == job["process"]:
        fill_the_disk()
    if job.get("certified"):
        check_certified(job["folders"][job["process"]])
    for kind in job["kinds"]:
        path = os.path.join(job["folders"][job["process"]], f"{kind}.npz")
        solution, found = run_of(kind, job["steps"], path)
        if job.get("like") == "a run on one device":
            check_same(found, run_of(kind, job["steps"], is_cut=False)[1], False)
        if job.get("like") == "a run on these devices":  # in pieces, too: in one program it rounds otherwise
            check_same(found, run_of(kind, job["steps"], f"{path}.whole")[1], True)
        print(f"{kind}: {cojax.Status(int(solution.status)).name} at step {int(solution.state.step)}", flush=True)


if __name__ == "__main__":
    from programs import saved_run  # so that its record is that of the tests

    saved_run.main(json.loads(sys.argv[1]))
