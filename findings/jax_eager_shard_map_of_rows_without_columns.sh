#!/usr/bin/env bash
# JAX 0.10.2: `jax.shard_map` called outside of `jax.jit` over rows without columns, as the edges of a network of nodes
# without links are, returns an array that says its shape is (4, 0) and cannot be read: `np.asarray` wants to put (4, 0)
# into (1, 0). Within `jax.jit` the same function returns one that can, and so do both of rows with a column. So a table
# of neighbours that may be empty has to go through `jax.jit` before it goes to NumPy.
# Seen: (4, 0) eager: shape (4, 0), ValueError; (4, 0) jitted: shape (4, 0), read; (4, 1) eager: shape (4, 1), read
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
export JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=4
PYTHONPATH=$folder python3 - <<'PROGRAM'
import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

rows = PartitionSpec("devices")
halved = jax.shard_map(lambda part: part / 2, mesh=Mesh(np.array(jax.devices()), ("devices",)), in_specs=rows, out_specs=rows)


def told(function, columns):
    """The shape that the result says it has, and whether NumPy can read it."""
    found = function(np.zeros((4, columns), np.float32))
    try:
        end = "read" if np.asarray(found).shape == (4, columns) else "read otherwise"
    except ValueError:
        end = "ValueError"
    return f"shape {found.shape}, {end}"


seen = {
    "(4, 0) eager": told(halved, 0),
    "(4, 0) jitted": told(jax.jit(halved), 0),
    "(4, 1) eager": told(halved, 1),
}
print("; ".join(f"{what}: {how}" for what, how in seen.items()))
assert list(seen.values()) == ["shape (4, 0), ValueError", "shape (4, 0), read", "shape (4, 1), read"]
PROGRAM
