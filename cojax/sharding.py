"""A run cut over the devices of a mesh: nodes in equal blocks, and only what neighbours need travels."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from ._checks import CojaxInputError, is_concrete
from ._tree import Tree
from .halos import AXIS, Cut, Halo, arranged, cut
from .layouts import Circulant, Edges, Neighbors, Network
from .lossy import RandomGraph
from .matrices import Dense, Digraph, Directed
from .problems import Decision, Problem
from .shards import COLUMNS, ROWS, WHOLE, ShardedCirculant, ShardedEdges, ShardedNeighbors


class Shards(NamedTuple):
    """A run ready for `solve`, its arrays cut over the devices of a mesh."""

    problem: Problem
    network: Network
    start: Decision


def shard(problem: Problem, network: Network, start: Decision, mesh: Mesh | None = None) -> Shards:
    """`problem`, `network` and `start` with their nodes cut into equal blocks, one on every device of `mesh`.

    `solve` then runs on all of these devices, with every method, link and record, `solution.x` and a method's
    numbers per node in the caller's order of nodes. Shares are bitwise those of one device wherever the gradients
    are, params are the same to rounding.

    What neighbours tell travels, and sums over nodes (the imbalance of each step, records). Tables and lists of
    edges are put into reverse Cuthill-McKee order where that brings neighbours together; then only rows at a border
    travel, by collective permutes, or all rows by an all-gather where that is no more (`halos.arranged`), as on random
    graphs. Circulant graphs send the rolled rows; matrices gather all.

    Inside, nodes are in the order of the devices: what a record or `solution.state` holds by node, and what
    `cojax.step` is given, is brought back by `cojax.restored(network, tree)`.

    Args:
        problem, network, start: as for `solve`; `Lossy`, `Intermittent` and graphs that take turns included. Arrays may
            be traced, and are differentiable, except what says which nodes are neighbours.
        mesh: of any shape, its devices in order; all devices by default. With `jax.distributed` every process calls
            this alike, on the same values.

    Raises `CojaxInputError` where n is no multiple of the number of devices, or the network is of another kind.
    """
    if mesh is not None and not isinstance(mesh, Mesh):
        raise CojaxInputError(
            f"shard needs a jax.sharding.Mesh, got {type(mesh).__name__}; leave it out for all devices."
        )
    devices = np.asarray(jax.devices()) if mesh is None else mesh.devices.ravel()
    mesh = Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,))
    for name, value, kind in (("problem", problem, Problem), ("network", network, Network), ("start", start, Decision)):
        if not isinstance(value, kind):
            raise CojaxInputError(f"shard needs a cojax {kind.__name__} for {name}, got {type(value).__name__}.")
    _check_sizes(problem.num_nodes, network.num_nodes, mesh.size)
    network, order = _cut_network(network, mesh)

    def by_node(tree: Tree) -> Tree:
        return jax.tree.map(lambda leaf: _placed(mesh, leaf if order is None else leaf[order], ROWS), tree)

    def cut_parts(problem: Problem) -> tuple:
        return problem.data, problem.lower, problem.upper

    parts = by_node(cut_parts(problem))
    rest = eqx.tree_at(cut_parts, problem, (None, None, None), is_leaf=_is_missing)
    problem = eqx.tree_at(cut_parts, _everywhere(mesh, rest), parts, is_leaf=_is_missing)
    return Shards(problem, network, by_node(start))


def restored(network: Network, tree: Tree) -> Tree:
    """`tree` with every leaf (n, ...) in the order of nodes that the caller of `shard` had; other leaves as they are.

    `solution.x` of `solve` is so already. What records hold is (chunks, n, ...): map over chunks with `jax.vmap`.
    """
    inner = _innermost(network)
    if not isinstance(inner, ShardedNeighbors | ShardedEdges) or inner.place is None:
        return tree
    return _reordered(inner, inner.place, tree)


def by_device(network: Network, tree: Tree) -> Tree:
    """The inverse of `restored`: every leaf (n, ...) of `tree` in the order in which the network has its nodes."""
    inner = _innermost(network)
    if not isinstance(inner, ShardedNeighbors | ShardedEdges) or inner.place is None:
        return tree
    return _reordered(inner, inner.names, tree)


def _reordered(layout: ShardedNeighbors | ShardedEdges, order: Array, tree: Tree) -> Tree:
    def leaf_in_order(leaf: Any) -> Any:
        if jnp.shape(leaf)[:1] != (layout.num_nodes,):
            return leaf
        return lax.with_sharding_constraint(jnp.asarray(leaf)[order], NamedSharding(layout.mesh, ROWS))

    return jax.tree.map(leaf_in_order, tree)


def _innermost(network: Any) -> Any:
    while isinstance(getattr(network, "network", None), Network):
        network = network.network
    return network


def _check_sizes(in_problem: int, in_network: int, num_devices: int) -> None:
    if in_problem != in_network:
        raise CojaxInputError(
            f"shard needs one number of nodes, got {in_problem} in the problem and {in_network} in the network."
        )
    if in_network % num_devices:
        fit = max(count for count in range(1, num_devices) if in_network % count == 0)
        raise CojaxInputError(
            f"shard needs as many nodes on every device, got {in_network} nodes for {num_devices} devices: give a mesh "
            f"of {fit}, jax.make_mesh(({fit},), ('nodes',), devices=jax.devices()[:{fit}]), or choose n so that "
            f"{num_devices} divides it."
        )


def _cut_network(network: Network, mesh: Mesh) -> tuple[Network, np.ndarray | None]:
    """The network over the mesh, and the caller's numbers of its nodes in its order; None where that is the same."""
    if isinstance(getattr(network, "network", None), Network):
        inner, order = _cut_network(network.network, mesh)  # pyright: ignore[reportAttributeAccessIssue]
        bare = eqx.tree_at(lambda outer: outer.network, network, None)
        whole = _everywhere(mesh, bare)
        return eqx.tree_at(lambda outer: outer.network, whole, inner, is_leaf=_is_missing), order
    if isinstance(network, Neighbors):
        return _cut_table(network, mesh)
    if isinstance(network, Edges):
        return _cut_edges(network, mesh)
    if isinstance(network, Circulant):
        weights = _placed(mesh, network.weights, WHOLE)
        link = _everywhere(mesh, network.link)
        circulant = ShardedCirculant(weights=weights, offsets=network.offsets, size=network.size, mesh=mesh, link=link)
        return circulant, None
    if isinstance(network, Dense | Digraph | Directed):
        rows = PartitionSpec(*[None] * (network.weights.ndim - 2), AXIS)
        weights = _placed(mesh, network.weights, rows)
        link = _everywhere(mesh, network.link)
        return eqx.tree_at(lambda net: (net.weights, net.link), network, (weights, link)), None
    if isinstance(network, RandomGraph):
        return _everywhere(mesh, network), None
    raise CojaxInputError(
        f"shard needs a network of cojax.network(...), or a RandomGraph, got a {type(network).__name__}."
    )


def _cut_table(network: Neighbors, mesh: Mesh) -> tuple[ShardedNeighbors, np.ndarray | None]:
    index, twin = _on_host(network.index), _on_host(network.twin)
    num_slots, num_nodes = index.shape
    slot, node = np.nonzero(index != np.arange(num_nodes))
    order, gathers = arranged(np.stack([node, index[slot, node]]), num_nodes, mesh.size)
    place, others = np.argsort(order), index[:, order]
    nodes = None if gathers else cut(place[others], mesh.size, num_nodes)
    edges = cut(place[others] * num_slots + twin[:, order], mesh.size, num_nodes * num_slots)
    layout = ShardedNeighbors(
        weights=_placed(mesh, network.weights[..., order], _last_axis(network.weights)),
        index=_placed(mesh, place[others] if nodes is None else nodes.table, COLUMNS),
        twin=_placed(mesh, edges.table, COLUMNS),
        node_halo=_halo(mesh, nodes),
        edge_halo=_halo(mesh, edges),
        names=_placed(mesh, order, ROWS),
        others=_placed(mesh, others, COLUMNS),
        place=None if _in_place(order) else _placed(mesh, place, ROWS),
        mesh=mesh,
        link=_everywhere(mesh, network.link),
    )
    return layout, None if _in_place(order) else order


def _cut_edges(network: Edges, mesh: Mesh) -> tuple[ShardedEdges, np.ndarray | None]:
    pairs, num_nodes = _on_host(network.pairs), network.size
    ends = np.hstack([pairs, pairs[::-1]])
    order, gathers = arranged(ends, num_nodes, mesh.size)
    place, block = np.argsort(order), num_nodes // mesh.size
    spot, size = _spots(place[ends[0]] // block, mesh.size)
    first_node = np.repeat(np.arange(mesh.size) * block, size // mesh.size)
    node, other, twin, edge = first_node.copy(), first_node.copy(), np.arange(size), np.full(size, -1)
    node[spot], other[spot], twin[spot] = place[ends[0]], place[ends[1]], np.roll(spot, pairs.shape[1])
    edge[spot] = np.tile(np.arange(pairs.shape[1]), 2)
    nodes = None if gathers else cut(other[None], mesh.size, num_nodes)
    edges = cut(twin[None], mesh.size, size)
    weights = jnp.where(edge >= 0, network.weights[..., edge], 0)
    layout = ShardedEdges(
        weights=_placed(mesh, weights, _last_axis(weights)),
        node=_placed(mesh, node - first_node, ROWS),
        index=_placed(mesh, other if nodes is None else nodes.table[0], ROWS),
        twin=_placed(mesh, edges.table[0], ROWS),
        node_halo=_halo(mesh, nodes),
        edge_halo=_halo(mesh, edges),
        pairs=_placed(mesh, np.stack([order[node], order[other]]), COLUMNS),
        names=_placed(mesh, order, ROWS),
        place=None if _in_place(order) else _placed(mesh, place, ROWS),
        mesh=mesh,
        link=_everywhere(mesh, network.link),
    )
    return layout, None if _in_place(order) else order


def _in_place(order: np.ndarray) -> bool:
    return bool((order == np.arange(order.size)).all())


def _spots(device: np.ndarray, num_devices: int) -> tuple[np.ndarray, int]:
    """Where every item stands in the lists of all devices, one after the other, all as long as the longest."""
    counts = np.bincount(device, minlength=num_devices)
    rank = np.argsort(np.argsort(device, kind="stable")) - (np.cumsum(counts) - counts)[device]
    longest = int(counts.max())
    return device * longest + rank, num_devices * longest


def _halo(mesh: Mesh, part: Cut | None) -> Halo:
    if part is None:
        return Halo(gathers=True)
    return Halo(tuple(_placed(mesh, send, ROWS) for send in part.sends), part.moves)


def _placed(mesh: Mesh, leaf: Any, spec: PartitionSpec) -> Array:
    sharding = NamedSharding(mesh, spec)
    if isinstance(leaf, np.ndarray):
        leaf = jnp.asarray(leaf, jnp.int32)  # what nodes and edges are counted in
    if sharding.is_fully_addressable or not is_concrete(leaf) or not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _placed(mesh, jax.random.key_data(leaf), spec)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)  # every process has all of it, and takes what is its own
    return jax.make_array_from_callback(values.shape, sharding, lambda part: values[part])


def _everywhere(mesh: Mesh, tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: _placed(mesh, leaf, WHOLE) if eqx.is_array(leaf) else leaf, tree)


def _last_axis(array: Array) -> PartitionSpec:
    return PartitionSpec(*[None] * (array.ndim - 1), AXIS)


def _is_missing(node: Any) -> bool:
    return node is None


def _on_host(index: Array) -> np.ndarray:
    if not is_concrete(index):
        raise CojaxInputError(
            "shard needs to know which nodes are neighbours, got a traced network: shard outside of jit and vmap, or "
            "trace the weights alone."
        )
    return np.asarray(index, np.int64)
