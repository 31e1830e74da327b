"""Tables and lists of edges cut over a mesh: where every node goes, and what its device needs of the others."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from ..._support.checks import CojaxInputError, is_concrete
from ..._support.trees import Tree
from ..layouts.edges import Edges
from ..layouts.neighbors import Neighbors
from .halos import AXIS, Cut, Halo, arrange_nodes, cut
from .layouts import COLUMNS, ROWS, WHOLE, ShardedEdges, ShardedNeighbors


def cut_table(network: Neighbors, mesh: Mesh) -> tuple[ShardedNeighbors, np.ndarray | None]:
    """The table over the mesh, and the caller's numbers of its nodes; None where they are in their place."""
    index, twin = _on_host(network.index), _on_host(network.twin)
    num_slots, num_nodes = index.shape
    slot, node = np.nonzero(index != np.arange(num_nodes))
    order, gathers = arrange_nodes(np.stack([node, index[slot, node]]), num_nodes, mesh.size)
    place, others = np.argsort(order), index[:, order]
    nodes = None if gathers else cut(place[others], mesh.size, num_nodes)
    edges = cut(place[others] * num_slots + twin[:, order], mesh.size, num_nodes * num_slots)
    layout = ShardedNeighbors(
        weights=placed(mesh, network.weights[..., order], _last_axis(network.weights)),
        index=placed(mesh, place[others] if nodes is None else nodes.table, COLUMNS),
        twin=placed(mesh, edges.table, COLUMNS),
        node_halo=_halo(mesh, nodes),
        edge_halo=_halo(mesh, edges),
        names=placed(mesh, order, ROWS),
        place=None if _in_place(order) else placed(mesh, place, ROWS),
        mesh=mesh,
        link=everywhere(mesh, network.link),
    )
    return layout, None if _in_place(order) else order


def cut_edges(network: Edges, mesh: Mesh) -> tuple[ShardedEdges, np.ndarray | None]:
    """The list of edges over the mesh, and the caller's numbers of its nodes; None where they are in their place."""
    pairs, num_nodes = _on_host(network.pairs), network.size
    ends = np.hstack([pairs, pairs[::-1]])
    order, gathers = arrange_nodes(ends, num_nodes, mesh.size)
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
        weights=placed(mesh, weights, _last_axis(weights)),
        node=placed(mesh, node - first_node, ROWS),
        index=placed(mesh, other if nodes is None else nodes.table[0], ROWS),
        twin=placed(mesh, edges.table[0], ROWS),
        node_halo=_halo(mesh, nodes),
        edge_halo=_halo(mesh, edges),
        names=placed(mesh, order, ROWS),
        place=None if _in_place(order) else placed(mesh, place, ROWS),
        mesh=mesh,
        link=everywhere(mesh, network.link),
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
    return Halo(tuple(placed(mesh, send, ROWS) for send in part.sends), part.moves)


def as_mesh(owner: str, mesh: Any) -> Mesh:
    """The devices of a mesh of any shape in a row, all devices by default."""
    if mesh is not None and not isinstance(mesh, Mesh):
        raise CojaxInputError(
            f"{owner} needs a jax.sharding.Mesh, got {type(mesh).__name__}; leave it out for all devices."
        )
    devices = np.asarray(jax.devices()) if mesh is None else mesh.devices.ravel()
    return Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,))


def placed(mesh: Mesh, leaf: Any, spec: PartitionSpec) -> Array:
    """One array over the mesh; traced ones are, and stay differentiable."""
    sharding = NamedSharding(mesh, spec)
    if isinstance(leaf, np.ndarray):
        counts = leaf.dtype.kind == "i"  # nodes and edges
        leaf = jnp.asarray(leaf, jnp.int32 if counts else None)
    if sharding.is_fully_addressable or not is_concrete(leaf) or not leaf.is_fully_addressable:
        try:
            return jax.device_put(leaf, sharding)
        except ValueError as error:  # its axes fit: the one that does not is that of `jax.vmap`
            if is_concrete(leaf):
                raise
            raise CojaxInputError(
                "shard cannot be mapped by jax.vmap, got a traced array of which JAX would cut the axis of the runs; "
                "shard once, and map over solve, with starts like that of the shards."
            ) from error
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = placed(mesh, jax.random.key_data(leaf), spec)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)  # every process has all of it, and takes what is its own
    return jax.make_array_from_callback(values.shape, sharding, lambda part: values[part])


def everywhere(mesh: Mesh, tree: Tree) -> Tree:
    """Every array of a tree, whole, on every device."""
    return jax.tree.map(lambda leaf: placed(mesh, leaf, WHOLE) if eqx.is_array(leaf) else leaf, tree)


def _last_axis(array: Array) -> PartitionSpec:
    return PartitionSpec(*[None] * (array.ndim - 1), AXIS)


def _on_host(index: Array) -> np.ndarray:
    if not is_concrete(index):
        raise CojaxInputError(
            "shard needs to know which nodes are neighbours, got a traced network: shard outside of jit and vmap, or "
            "trace the weights alone."
        )
    return np.asarray(index, np.int64)
