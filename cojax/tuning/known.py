"""What a program is compiled for is compared by its numbers, so that equal ones share it."""

from typing import Any

import jax
import numpy as np

from .knobs import Knob


class Known:
    """A tree that is static under `jax.jit`: equal to another of the same structure, and the same in every leaf.

    Arrays are compared bit by bit, knobs by what they hold.
    """

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, treedef = jax.tree.flatten(tree)
        self.key = treedef, *map(_key, leaves)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _key(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype), _key(jax.random.key_data(leaf))
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        array = np.asarray(leaf)
        return array.shape, array.dtype, array.tobytes()
    if isinstance(leaf, Knob):
        return type(leaf), Known(vars(leaf))
    return type(leaf), leaf
