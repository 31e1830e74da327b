"""What an order of the nodes in which neighbours lie near each other in memory is worth on one device.

    python benchmarks/worth_of_ordering.py

One core, float32: a neighbour sum alone, and the step of support/job.py. A lattice and a geometric graph of 100 000
nodes that are numbered at random, beside the same in reverse Cuthill-McKee order, into which `cojax.shard` puts them on
one device; and a random regular graph of a million, numbered at random and as `cojax.graphs.computed` numbers it.
Fastest of the turns, taken in turn.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from support.job import FEATURES, SHARE_STEP, STEP_SIZE, cost, samples
from support.timing import save, show, take_turns, use_cores

import cojax
from cojax.networks.base import Wire
from cojax.networks.build import build
from cojax.networks.devices.halos import node_order
from cojax.networks.laws import Weigh

NODES, MANY_NODES, TURNS = 100_000, 1_000_000, 5
SUMS, STEPS = 10, 10


def lattice(n: int) -> np.ndarray:
    """Pairs (2, e) of a square lattice of n = side x side nodes."""
    side = math.isqrt(n)
    nodes = np.arange(side * side).reshape(side, side)
    across, down = np.stack([nodes[:, :-1], nodes[:, 1:]]), np.stack([nodes[:-1], nodes[1:]])
    return np.concatenate([across.reshape(2, -1), down.reshape(2, -1)], axis=1)


def geometric(n: int, degree: int = 10) -> np.ndarray:
    """Pairs (2, e) of points in a square nearer than a radius, of about so many neighbours each."""
    from scipy.spatial import KDTree

    points = np.random.default_rng(0).uniform(size=(n, 2))
    return KDTree(points).query_pairs(math.sqrt(degree / (math.pi * n)), output_type="ndarray").T


def shuffled(pairs: np.ndarray, n: int) -> np.ndarray:
    """The same graph with its nodes numbered at random."""
    return np.random.default_rng(1).permutation(n)[pairs]


def network_of(pairs: np.ndarray, n: int) -> cojax.Layout:
    """Over log-quantized links, with Metropolis weights."""
    degree = np.bincount(pairs.ravel(), minlength=n)
    weights = 1 / (1 + np.maximum(*degree[pairs]))
    link = cojax.Quantized(cojax.LogQuantizer(1 / 64))
    return build(n, np.sort(pairs, axis=0), weights[None], link=link, layout="neighbors")


@jax.jit
def sums(net: cojax.Layout, heard: jax.Array) -> jax.Array:
    """So many neighbour sums, each of the result of the one before."""
    return lax.fori_loop(0, SUMS, lambda _, heard: heard + net.flow(Wire(heard), Weigh()), heard)


def main() -> None:
    use_cores(1)
    rows: list[dict[str, Any]] = []
    for name, edges in (("lattice", lattice(NODES)), ("geometric, degree 10", geometric(NODES))):
        n = int(edges.max()) + 1
        pairs = shuffled(edges, n)
        order = node_order(np.hstack([pairs, pairs[::-1]]), n)
        rows += compared(name, n, pairs, np.argsort(order)[pairs])
        show(rows)
    pairs = cojax.graphs.computed("regular", MANY_NODES, links=10).edge_list().pairs
    rows += compared("random regular, degree 10", MANY_NODES, shuffled(pairs, MANY_NODES), pairs)
    show(rows)
    save("worth_of_ordering", rows, turns=TURNS, unit="microseconds of processor time, one core, float32")


def compared(name: str, n: int, random: np.ndarray, ordered: np.ndarray) -> list[dict[str, Any]]:
    """A step and a neighbour sum over a graph in both of its numberings."""
    problem = cojax.Problem(cost, samples(n), budget=float(n))
    start = problem.start(params=np.zeros((n, FEATURES), np.float32))
    method = cojax.CoOpt(learn=cojax.DIGing(STEP_SIZE), allocate=cojax.Laplacian(SHARE_STEP))
    heard = jnp.asarray(np.random.default_rng(2).standard_normal((n, FEATURES), np.float32))
    runs: dict[Any, Any] = {}
    for kind, pairs in (("random", random), ("ordered", ordered)):
        net = network_of(pairs, n)
        solve = functools.partial(cojax.solve, problem, net, method, start, num_steps=STEPS, every=STEPS)
        runs["step", kind] = lambda solve=solve: jax.block_until_ready(solve())
        runs[f"sum, d = {FEATURES}", kind] = functools.partial(_wait, net, heard)
    for run in runs.values():
        run()
    times = take_turns(runs, TURNS)
    rows = []
    for what in dict.fromkeys(what for what, _ in runs):
        steps = STEPS if what == "step" else SUMS
        best = {kind: min(times[what, kind].processor) / steps * 1e6 for kind in ("random", "ordered")}
        row = {"graph": name, "n": n, "what": what, "random us": best["random"], "ordered us": best["ordered"]}
        rows.append(row | {"random / ordered": best["random"] / best["ordered"]})
    return rows


def _wait(net: cojax.Layout, heard: jax.Array) -> None:
    jax.block_until_ready(sums(net, heard))


if __name__ == "__main__":
    main()
