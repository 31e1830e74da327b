"""Arrays by node that no process has whole: every device makes the rows of its own nodes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ..._support.checks import CojaxInputError, device_array, whole_number
from ..._support.compiling import is_traced
from ..._support.trees import Tree
from .computing import by_device, laid
from .cutting import as_mesh
from .layouts import ROWS


def spread(make: Callable[..., Tree], num_nodes: int, mesh: Mesh | None = None) -> Tree:
    """The arrays by node that `make(nodes)` says, in equal blocks on the devices, each made on its own: for `shard`.

        def data(nodes):                                      # (b,) numbers of nodes, any of them
            keys = jax.vmap(lambda node: jax.random.fold_in(jax.random.key(0), node))(nodes)
            return jax.vmap(lambda key: jax.random.normal(key, (10,)))(keys)

        problem = cojax.Problem(cost, cojax.spread(data, 10**8), budget=1e8)
        start = problem.start(params=cojax.spread(lambda nodes: jnp.zeros((len(nodes), 10)), 10**8))

    No process ever has the whole: with `jax.distributed` each makes the rows of its own devices, in a call that all
    make alike. A node has to get the same numbers whatever other nodes are in its block; then shares on many devices
    are bitwise those on one.

    Args:
        make: called once for every device of this process with the numbers of its nodes (b,), an array of int32 on that
            device; returns a pytree of arrays, JAX's or NumPy's, with these nodes on the first axis.
        num_nodes: n, a multiple of the number of devices, for arrays of JAX have equal blocks on all.
        mesh: of any shape, its devices in order; all devices by default.

    Returns: the pytree with leaves (n, ...). Raises `CojaxInputError` where `make` returns anything else, and for
    devices that do not divide n, and under jit.
    """
    if not callable(make):
        raise CojaxInputError(f"spread needs a function make(nodes), got {type(make).__name__}.")
    if is_traced():
        raise CojaxInputError("spread puts arrays on devices, got called under jit; call it outside.")
    mesh = as_mesh("spread", mesh)
    num_nodes = whole_number("spread", "num_nodes", num_nodes, at_least=1, at_most=2**31 - 1)
    if num_nodes % mesh.size:
        raise CojaxInputError(
            f"spread needs a number of nodes that the devices divide, got {num_nodes} on {mesh.size} devices; make the "
            "arrays whole, and let cojax.shard cut them."
        )
    block = num_nodes // mesh.size

    def checked(nodes: Any) -> Tree:
        made = jax.tree.map(lambda leaf: device_array("spread", "what make returns", leaf), make(nodes))
        for leaf in jax.tree.leaves(made):
            if jnp.shape(leaf)[:1] != (block,):
                raise CojaxInputError(
                    f"spread needs make(nodes) to return arrays with its {block} nodes on the first axis, got shape "
                    f"{leaf.shape}."
                )
        return made

    parts = by_device(mesh, block, checked)
    first, *others = map(_kinds, parts.values())
    for other in others:
        if other != first:
            raise CojaxInputError(
                f"spread needs make(nodes) to return arrays alike for whatever nodes, got {first} and {other}."
            )
    leaves = {place: jax.tree.leaves(part) for place, part in parts.items()}
    structure = jax.tree.structure(next(iter(parts.values())))
    by_leaf = zip(*leaves.values(), strict=True)
    return structure.unflatten([laid(mesh, dict(zip(leaves, leaf, strict=True)), ROWS) for leaf in by_leaf])


def _kinds(made: Tree) -> dict[str, str]:
    """By the name of every leaf its dtype and shape."""
    leaves = jax.tree_util.tree_leaves_with_path(made)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}
