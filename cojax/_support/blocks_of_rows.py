"""Arrays whose rows lie in equal blocks on several devices: what is asked of them on the host, block by block."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def rows_lie(array: Any) -> NamedSharding | None:
    """How the rows of an array lie where every device has its own block; None where not, and of a traced one."""
    if not isinstance(array, jax.Array) or isinstance(array, Tracer) or array.ndim == 0:
        return None
    lies, devices = array.sharding, array.sharding.device_set
    if not isinstance(lies, NamedSharding) or len(devices) == 1:
        return None
    if lies.shard_shape(array.shape)[0] * len(devices) != array.shape[0]:
        return None
    return NamedSharding(lies.mesh, PartitionSpec(lies.spec[0]))


def of_blocks(function: Callable[..., Any], *arrays: Any) -> list[np.ndarray]:
    """What `function` makes of every block of rows, real numbers, on every process; one block is all where one has all.

    arrays: of n rows each, which lie alike. The processes of the devices have to ask together.
    """
    lies = rows_lie(arrays[0])
    if lies is None:
        return [np.asarray(function(*map(np.asarray, arrays)))]
    places = lies.devices_indices_map(arrays[0].shape)
    devices = sorted(places, key=lambda device: places[device][0].start or 0)
    parts = [{shard.device: shard.data for shard in array.addressable_shards} for array in arrays]
    made = {device: np.asarray(function(*(np.asarray(part[device]) for part in parts))) for device in parts[0]}
    shape = next(iter(made.values())).shape
    # As bits: JAX would round to the 32 that it computes in.
    words = {device: np.asarray(found, np.float64).reshape(1, -1).view(np.uint32) for device, found in made.items()}
    told = told_to_all(devices, words)
    return [row.view(np.float64).reshape(shape) for row in told]


def told_to_all(devices: list, rows: dict) -> np.ndarray:
    """Of every device its row (1, m), one below the other in the order of `devices`; a process has those of its own."""
    mesh = Mesh(np.asarray(devices), ("rows",), axis_types=(AxisType.Auto,))
    length = next(iter(rows.values())).shape[1]
    there = [jax.device_put(row, device) for device, row in rows.items()]
    laid = jax.make_array_from_single_device_arrays(
        (len(devices), length), NamedSharding(mesh, PartitionSpec("rows")), there
    )
    return np.array(jax.jit(_same, out_shardings=NamedSharding(mesh, PartitionSpec()))(laid))


def first_row(wrong: Callable[..., np.ndarray], *arrays: Any) -> int | None:
    """The first row in which `wrong` of the arrays is true anywhere; None where in none. As `of_blocks`."""

    def first(*blocks: np.ndarray) -> int:
        rows = wrong(*blocks).reshape(len(blocks[0]), -1)
        return int(rows.any(1).argmax()) if rows.any() else -1

    found = of_blocks(first, *arrays)
    block = len(arrays[0]) // len(found)
    return next((place * block + int(row) for place, row in enumerate(found) if row >= 0), None)


def laid_like(value: Any, shape: tuple[int, ...], lies: NamedSharding) -> jax.Array:
    """`value`, which all processes have or which lies so, broadcast to `shape`, its rows in blocks."""
    if rows_lie(value) is not None:
        return jax.device_put(jax.numpy.broadcast_to(value, shape), lies)
    whole = np.broadcast_to(np.asarray(value), shape)  # nothing that takes room
    return jax.make_array_from_callback(shape, lies, lambda part: whole[part])


def _same(rows: Any) -> Any:
    return rows
