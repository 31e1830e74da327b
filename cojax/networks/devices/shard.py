"""A run cut over the devices of a mesh: nodes in equal blocks, and only what neighbours need travels."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from ..._support.checks import CojaxInputError, check_kinds, check_leaves
from ..._support.computed_graphs import Shifts
from ..._support.trees import Tree
from ...problems.membership import Attended
from ...problems.minibatches import Minibatch
from ...problems.problem import Decision, Problem, Scenario, check_plain, check_start
from ...problems.rows import ShardedProblem
from ..base import Network
from ..faults.bursts import Bursts
from ..faults.faulty import FaultyNetwork
from ..faults.intermittent import Pauses
from ..faults.lossy import Loss
from ..faults.random_graph import RandomGraph
from ..faults.random_pairs import RandomPairs
from ..layouts.circulant import Circulant
from ..layouts.computed import Computed, shifts_of
from ..layouts.dense import Dense
from ..layouts.directed import Digraph, Directed
from ..layouts.edges import Edges
from ..layouts.neighbors import Neighbors
from ..layouts.split import Split, as_edges
from .computing import compute_table
from .cutting import as_mesh, cut_edges, cut_table, everywhere, placed
from .halos import AXIS
from .layouts import ROWS, WHOLE, ShardedCirculant
from .padding import PaddedNetwork, num_rows, with_copies, with_rows, with_zeros

SEEN_BY_BOTH = Loss | Bursts | Pauses  # faults that look at the two ends of a link alone, wherever they lie


class Shards(NamedTuple):
    """A run ready for `solve`, its arrays cut over the devices of a mesh.

    Fields: problem, network and start, as they were given to `shard`, on the devices, nodes perhaps in another order.
    """

    problem: Scenario
    network: Network
    start: Decision


def shard(problem: Any, network: Network, start: Decision, mesh: Mesh | None = None) -> Shards:
    """`problem`, `network` and `start` with their nodes cut into equal blocks, one on every device of `mesh`.

    `solve` then runs on all of these devices, with every method, link and record, `solution.x` and a method's
    numbers per node in the caller's order of nodes. Shares are bitwise those of one device wherever the gradients
    are, params are the same to rounding.

    Where the devices do not divide n, the last rows hold no node: share 0, no cost, no neighbour, no part in the trace.
    `solution.x` is without them, and whole on every device; circulant graphs are then cut as tables.

    What neighbours tell travels, and sums over nodes (the imbalance of each step, records). Tables and lists of
    edges are put into reverse Cuthill-McKee order where that brings neighbours together; then only rows at a border
    travel, by collective permutes, or all rows by an all-gather where that is no more (`halos.arrange_nodes`), as on
    random graphs. Circulant graphs send the rolled rows; matrices gather all.

    Inside, nodes are in the order of the devices, those of `Shards.problem` too: judge `solution.x` by the problem that
    you gave, `cojax.certificate(problem, solution.x)`. What a record or `solution.state` holds by node, and what
    `cojax.step` takes and gives, is brought back by `cojax.restored(network, tree)`.

    Minibatches are drawn where the data are: shard the problem of all samples, then take
    `cojax.Minibatch(shards.problem, 8)`. Nodes in another order draw other samples.

    Of a `Computed` network, in the order that it has, every device builds its own rows, and those of `cojax.spread`
    are there already: then no process ever has the whole. Where the devices do not divide n, problem and start have to
    be given whole, and the network alone is not.

    A `Split` table is cut as a list of edges. On a mesh of one device nothing is cut, but the order of nodes stays: at
    100 000 nodes numbered at random, steps over lattices and geometric graphs are 1.3 times as fast
    (`benchmarks/worth_of_ordering.py`).

    Args:
        problem, network, start: as for `solve`; `Lossy`, `GilbertElliott`, `Intermittent` and graphs that take turns
            included. Arrays may be traced, and are differentiable, except what says which nodes are neighbours.
        mesh: of any shape, its devices in order; all devices by default. With `jax.distributed` every process calls
            this alike, on the same values, or on those that `cojax.spread` made of them.

    Raises `CojaxInputError` where the three differ in n, or the problem or the network is of another kind.
    """
    mesh = as_mesh("shard", mesh)
    _check_given(problem, network, start)
    size = network.num_nodes
    rows = num_rows(size, mesh.size)
    network, order = _cut_network(network, mesh)

    def by_node(tree: Tree) -> Tree:
        return jax.tree.map(lambda leaf: placed(mesh, leaf if order is None else leaf[order], ROWS), tree)

    def cut_parts(problem: Problem) -> tuple:
        return problem.data, problem.lower, problem.upper

    parts = by_node(with_copies(cut_parts(problem), rows))
    rest = eqx.tree_at(cut_parts, problem, (None, None, None), is_leaf=_is_missing)
    cut: Problem = eqx.tree_at(cut_parts, everywhere(mesh, rest), parts, is_leaf=_is_missing)
    scenario: Scenario = cut
    if rows > size:
        first = jax.tree.map(lambda leaf: lax.stop_gradient(jnp.asarray(leaf[:1])), start)
        there, cpu = by_node((jnp.arange(rows) < size, with_copies(first.cpu, rows)))
        params = everywhere(mesh, jax.tree.map(lambda leaf: leaf[0], first.params))
        scenario = ShardedProblem(problem=Attended(cut, there, cpu, params))
    elif order is not None:
        scenario = ShardedProblem(problem=cut)
    return Shards(scenario, network, by_node(with_zeros(start, rows)))


def restored(network: Network, tree: Tree) -> Tree:
    """`tree` with every leaf (n, ...) in the order of nodes that the caller of `shard` had; other leaves as they are.

    `solution.x` of `solve` is so already. What records hold is (chunks, n, ...): map over chunks with `jax.vmap`. Rows
    that hold no node, which `shard` added where the devices do not divide n, are left out.
    """
    check_kinds("restored", ("network", network, Network))
    return network.to_nodes(tree)


def _check_given(problem: Any, network: Any, start: Any) -> None:
    if isinstance(problem, Minibatch):
        raise CojaxInputError(
            "shard needs the problem of all samples, got a Minibatch of it: shard that problem, then take "
            "cojax.Minibatch(shards.problem, ...)."
        )
    check_plain("shard", problem)
    check_kinds("shard", ("problem", problem, Problem), ("network", network, Network), ("start", start, Decision))
    check_start("shard", problem, start)
    check_leaves("shard", network=network)
    num_nodes, sizes = network.num_nodes, {(*jnp.shape(leaf), 0)[0] for leaf in jax.tree.leaves(start)}
    if {problem.num_nodes, num_nodes} | sizes != {num_nodes}:
        raise CojaxInputError(
            f"shard needs one number of nodes, got {problem.num_nodes} in the problem, {num_nodes} in the network and "
            f"{', '.join(map(str, sorted(sizes)))} at the start."
        )


def _cut_network(network: Network, mesh: Mesh) -> tuple[Network, np.ndarray | None]:
    """The network over the mesh, and the caller's numbers of its nodes in its order; None where that is the same."""
    if isinstance(network, FaultyNetwork):
        _check_faults(network)
        graphs, order = _cut_network(network.graphs, mesh)
        faults, clock = everywhere(mesh, (network.faults, network.clock))
        return FaultyNetwork(graphs=graphs, faults=faults, clock=clock), order  # pyright: ignore[reportCallIssue]
    size = network.num_nodes
    rows = num_rows(size, mesh.size)
    if rows == size:
        return _cut_layout(network, mesh)
    cut, order = _cut_layout(with_rows(network, rows), mesh)
    there = placed(mesh, (np.arange(rows) if order is None else order) < size, ROWS)
    padded = PaddedNetwork(network=cut, there=there, size=size, rows=rows, mesh=mesh)  # pyright: ignore[reportCallIssue]
    return padded, order


def _check_faults(network: FaultyNetwork) -> None:
    others = [fault.made_by for fault in network.faults if not isinstance(fault, SEEN_BY_BOTH)]
    if others or network.ledger:
        raise CojaxInputError(
            "shard needs a network of cojax.network(...), Lossy, GilbertElliott or Intermittent perhaps, or a "
            f"RandomGraph, got one with {', '.join([*others, *['Ledger'] * network.ledger])}: run it on one device."
        )


def _cut_layout(network: Network, mesh: Mesh) -> tuple[Network, np.ndarray | None]:
    cut, order = _cut_arrays(network, mesh)
    return (dataclasses.replace(cut, node_names=network.node_names) if network.node_names else cut), order


def _cut_arrays(network: Network, mesh: Mesh) -> tuple[Any, np.ndarray | None]:
    if isinstance(network, Computed):
        if not isinstance(network.graph, Shifts) or network.num_nodes % mesh.size:
            return compute_table(network, mesh), None
        network = shifts_of(network.graph, network.link)
    if isinstance(network, Neighbors):
        return cut_table(network, mesh)
    if isinstance(network, Edges):
        return cut_edges(network, mesh)
    if isinstance(network, Split):
        return cut_edges(as_edges(network), mesh)
    if isinstance(network, Circulant):
        weights = placed(mesh, network.weights, WHOLE)
        link = everywhere(mesh, network.link)
        circulant = ShardedCirculant(weights=weights, offsets=network.offsets, size=network.size, mesh=mesh, link=link)
        return circulant, None
    if isinstance(network, Dense | Digraph | Directed):
        rows = PartitionSpec(*[None] * (network.weights.ndim - 2), AXIS)
        weights = placed(mesh, network.weights, rows)
        link = everywhere(mesh, network.link)
        return eqx.tree_at(lambda net: (net.weights, net.link), network, (weights, link)), None
    if isinstance(network, RandomGraph | RandomPairs):
        return everywhere(mesh, network), None
    raise CojaxInputError(
        "shard needs a network of cojax.network(...), Lossy, GilbertElliott or Intermittent perhaps, or a RandomGraph, "
        f"got a {type(network).__name__}."
    )


def _is_missing(node: Any) -> bool:
    return node is None
