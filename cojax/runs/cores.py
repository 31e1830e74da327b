"""A batch of runs is cut into pieces of one size, which all cores of the processor compute at the same time."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._support.checks import is_concrete
from .._support.trees import Tree

# Of fewer runs a program takes almost as long, and all cores together no less (`docs/benchmarks/many_runs.md`).
LEAST_RUNS = 32


def on_all_cores(program: Any, many: Tree, same: Tree, num_runs: int, *static: Any) -> Tree:
    """`program(many, same, num_runs, *static)`, jitted, with the runs on the first axis of `many` and of all results.

    XLA computes the small kernels of a step on one core. So where this is a processor and the values are known, every
    core that this process may use gets as many runs as any other, at least `LEAST_RUNS`, of one compiled program; the
    last run is computed again where there are too few.
    """
    num_pieces = min(num_cores(), num_runs // LEAST_RUNS)
    if num_pieces < 2 or not _can_split(many, same):
        return program(many, same, num_runs, *static)
    size = -(-num_runs // num_pieces)
    num_pieces = -(-num_runs // size)  # of repeated runs alone there is none
    rows = np.minimum(np.arange(num_pieces * size), num_runs - 1).reshape(num_pieces, size)
    pieces = [jax.tree.map(lambda leaf, row=row: leaf[row], many) for row in rows]
    # JAX's settings, such as `with jax.enable_x64(True)`, hold in one thread: so whatever depends on them is done here.
    same = jax.tree.map(jnp.asarray, same)
    compute = program.lower(pieces[0], same, size, *static).compile()
    with ThreadPoolExecutor(num_pieces) as pool:
        # JAX computes one after the other what one thread asks for, and at the same time what several do.
        parts = list(pool.map(lambda piece: compute(piece, same), pieces))
    return _join(parts, num_runs)


# One program for all arrays, because one for each would take longer to compile.
@functools.partial(jax.jit, static_argnums=1)
def _join(parts: list[Tree], num_runs: int) -> Tree:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:num_runs], *parts)


def _can_split(many: Tree, same: Tree) -> bool:
    """Whether the runs may be computed in pieces: known values on one CPU, and no debugging option set."""
    leaves, settings = jax.tree.leaves((many, same)), jax.config
    watched = settings.jax_debug_nans or settings.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
    if watched or not is_concrete(*leaves):
        return False
    devices = {device for leaf in leaves if isinstance(leaf, jax.Array) for device in leaf.devices()}
    return len(devices) == 1 and devices.pop().platform == "cpu"


def num_cores() -> int:
    """How many cores this process may use; `taskset` makes them fewer."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
