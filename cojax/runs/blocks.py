"""Which rows of a run this process holds, by the caller's numbers of nodes, and what its processes tell each other."""

import contextlib
import functools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .._support.checks import CojaxInputError
from ..networks.base import Layout, Network
from .solutions import State

# What the first axis of an array counts, or the second of one that has its looks first.
NODES, ARCS, ALIKE = "nodes", "arcs", "alike"


class Blocks:
    """The rows of a run on the devices of this process: in equal blocks after `cojax.shard`, else all in one.

    Args:
        network: of the run.
        arrays: trees of the run's arrays, which say by how they lie whether it is cut.
    """

    def __init__(self, network: Network, *arrays: Any):
        self.num_rows, self.num_nodes = network.num_nodes, network.num_callers
        self.mesh = _mesh_of((network, arrays), self.num_rows)
        # Of every device, in the order of the rows, and of every process once.
        self._owners = [jax.process_index()]
        if self.mesh is not None:
            self._owners = [device.process_index for device in self.mesh.devices.tolist()]
        self._processes = list(dict.fromkeys(self._owners))
        layout: Any = network.bare()
        self._layout = layout if isinstance(layout, Layout) and layout.num_nodes == self.num_rows else None
        self._names = layout.numbers if network.is_reordered else None

    @property
    def process(self) -> int:
        """The place of this process among those of the run; 0 is the first."""
        return self._processes.index(jax.process_index())

    @property
    def num_processes(self) -> int:
        """How many processes share the run."""
        return len(self._processes)

    @functools.cached_property
    def rows(self) -> list[np.ndarray]:
        """Of every block which rows of all it has."""
        blocks = np.split(np.arange(self.num_rows, dtype=np.int32), len(self._owners))
        return [block for block, owner in zip(blocks, self._owners, strict=True) if owner == jax.process_index()]

    @functools.cached_property
    def numbers(self) -> list[np.ndarray]:
        """Of every block the caller's numbers of its nodes; from `num_nodes` on those of rows that hold none."""
        return self.rows if self._names is None else self.of(self._names)

    @functools.cached_property
    def arcs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of every block the caller's numbers of the two nodes of all directed edges; a node twice where none is."""
        assert self._layout is not None
        own, other = self._laid(_ends, self._layout.at(0))
        pairs = zip(self.of(own), self.of(other), strict=True)
        return [(own.ravel(), other.ravel()) for own, other in pairs]

    @functools.cached_property
    def edge_shape(self) -> tuple[int, ...]:
        """The axes of what is kept by edge; none where edges do not stay."""
        if self._layout is None:
            return ()
        return jax.eval_shape(_weights, self._layout.at(0)).shape

    def weights(self) -> list[np.ndarray]:
        """Of every block of `arcs` the weights, (arcs, T) for T graphs in turn."""
        layout = self._layout
        assert layout is not None
        by_turn = [self.of(self._laid(_weights, layout.at(turn))) for turn in range(layout.num_graphs)]
        return [np.stack([part.ravel() for part in parts], axis=1) for parts in zip(*by_turn, strict=True)]

    def _laid(self, function: Callable, layout: Layout) -> Any:
        """What is computed of a layout, by row from the beginning."""
        return jax.jit(function, out_shardings=None if self.mesh is None else self._cut(0))(layout)

    def counts(self, state: Any) -> Any:
        """What the first axis of every array of a tree counts: of a state by what is where, of others by its length."""
        by_node = functools.partial(self._counts_nodes, axis=0)

        def by_arc(leaf: Any) -> str:
            return ARCS if leaf.shape[: len(self.edge_shape)] == self.edge_shape else by_node(leaf)

        if not isinstance(state, State):
            return jax.tree.map(by_node, state)
        method, grad, elapsed = jax.tree.map(by_node, (state.method, state.grad, state.elapsed))
        wire = state.wire.map_rows(by_node, by_arc, lambda leaf: ALIKE)
        told = jax.tree.map(lambda leaf: ALIKE, state)
        return told._replace(method=method, grad=grad, elapsed=elapsed, wire=wire)

    def counts_of_trace(self, trace: Any) -> Any:
        """What the axis after that of the looks counts, of every array of a trace."""
        return jax.tree.map(functools.partial(self._counts_nodes, axis=1), trace)

    def _counts_nodes(self, leaf: Any, axis: int) -> str:
        return NODES if leaf.shape[axis : axis + 1] == (self.num_rows,) else ALIKE

    def lying(self, leaf: Any, counts: str, axis: int = 0) -> Any:
        """`leaf`, in blocks by its axis of nodes or of edges, or whole on every device; all processes ask together."""
        if self.mesh is None or not isinstance(leaf, jax.Array):
            return leaf
        wanted = self._whole() if counts == ALIKE else self._cut(axis)
        return leaf if leaf.sharding.is_equivalent_to(wanted, leaf.ndim) else jax.jit(_same, out_shardings=wanted)(leaf)

    def of(self, leaf: Any, axis: int = 0) -> list[np.ndarray]:
        """The blocks of this process, on the host: where that is a processor, where they are."""
        if self.mesh is None:
            return [np.asarray(leaf)]
        shards = self.lying(leaf, NODES, axis).addressable_shards
        return [np.asarray(shard.data) for shard in sorted(shards, key=lambda shard: shard.index[axis].start or 0)]

    def joined(self, rows: np.ndarray, axis: int, length: int) -> Any:
        """An array with `length` rows along `axis`, of which all processes give those of their own blocks."""
        if self.mesh is None:
            return rows
        lies = self._cut(axis)
        shape = (*rows.shape[:axis], length, *rows.shape[axis + 1 :])
        places = lies.addressable_devices_indices_map(shape)
        devices = sorted(places, key=lambda device: (places[device] or ())[axis].start or 0)
        parts = np.split(rows, len(devices), axis)
        return jax.make_array_from_single_device_arrays(
            shape, lies, [jax.device_put(part, device) for part, device in zip(parts, devices, strict=True)]
        )

    def everywhere(self, leaf: Any) -> Any:
        """An array that all processes have, on every device."""
        if self.mesh is None:
            return leaf
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, self._whole(), lambda part: values[part])

    def _whole(self) -> NamedSharding:
        assert self.mesh is not None
        return NamedSharding(self.mesh, PartitionSpec())

    def _cut(self, axis: int) -> NamedSharding:
        assert self.mesh is not None
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, *self.mesh.axis_names))

    def told(self, *numbers: int) -> np.ndarray:
        """What every process says, (processes, numbers), whole numbers below 2**64; all have to say as many."""
        words = np.asarray(numbers, np.uint64).view(np.uint32)[None]
        if self.num_processes == 1:
            return words.view(np.uint64)
        shape = (len(self._owners), words.size)
        spread = jax.make_array_from_callback(shape, self._cut(0), lambda part: words)
        every = np.asarray(self.lying(spread, ALIKE))[[self._owners.index(process) for process in self._processes]]
        return np.ascontiguousarray(every).view(np.uint64)

    def total(self, number: int) -> int:
        """The sum of the numbers of all processes, modulo 2**64."""
        return sum(self.told(number)[:, 0].tolist()) % 2**64

    @contextlib.contextmanager
    def together(self, owner: str) -> Iterator[None]:
        """What fails in one process fails in all: the others would wait for it for ever."""
        failure = None
        try:
            yield
        except (CojaxInputError, OSError) as error:
            failure = error
        failed = np.flatnonzero(self.told(failure is not None)[:, 0])
        if failure is not None:
            raise failure
        if failed.size:
            raise CojaxInputError(f"{owner}: process {failed[0]} could not, and says why.")

    def check_common(self, folder: Path) -> None:
        """Refuse a folder that is not the same one for all processes."""
        if self.num_processes == 1:
            return
        mark = folder / f".{self.told(secrets.randbits(32))[0, 0]:08x}.new"
        with self.together(f"The folder {folder} cannot be written to"):
            if not self.process:
                mark.touch()
        unseen = np.flatnonzero(self.told(not mark.exists())[:, 0])
        if not self.process:
            mark.unlink(missing_ok=True)
        if unseen.size:
            raise CojaxInputError(
                f"A checkpoint needs a folder that all processes see, got {folder}, which process {unseen[0]} does not "
                "share with the first: name one on a disk that all have."
            )


def _mesh_of(tree: Any, num_rows: int) -> Mesh | None:
    """The row of devices over which the arrays of a tree lie; None where all lie on one, or one cannot tell."""
    lies = (leaf.sharding for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array))
    found = (sharding.mesh for sharding in lies if isinstance(sharding, NamedSharding))
    rows = (mesh for mesh in found if isinstance(mesh, Mesh) and len(mesh.axis_names) == 1)
    return next((mesh for mesh in rows if num_rows % mesh.size == 0), None)


def arc_numbers(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A number for every directed edge, of those of its nodes."""
    return own.astype(np.int64) << 32 | other


def _same(leaf: Any) -> Any:
    return leaf


def _ends(layout: Layout) -> tuple[Any, Any]:
    """The caller's numbers of both ends of every directed edge, (*edges) each."""
    return layout.gather(layout.numbers), layout.theirs(layout.numbers)


def _weights(layout: Layout) -> Any:
    return layout.edge_weights()
