"""A run saved so that it goes on bit for bit: its state and its trace, and what they belong to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError
from ..data.npz import read_arrays
from .files import replace_file
from .fingerprints import tell_differences

PRINTS = "fingerprint"  # the only array that is no leaf
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}


class Saved(NamedTuple):
    """What a checkpoint holds."""

    state: Any  # a `cojax.State`
    trace: Any  # the record of every look so far, stacked


def save(path: str | Path, saved: Saved, prints: Mapping[str, str]) -> None:
    """Put a checkpoint where `path` is, whole or not at all: written beside it, forced to the disk, renamed.

    An npz file of plain numbers, one array per leaf; nothing of Python is in it. Raises OSError where it cannot be
    written; an older checkpoint is then still there.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(saved)
    arrays = {_name(place, where): _plain(leaf) for place, (where, leaf) in enumerate(leaves)}
    arrays[PRINTS] = np.frombuffer(json.dumps(dict(prints)).encode(), np.uint8)
    replace_file(path, lambda handle: np.savez(handle, allow_pickle=False, **arrays))


def load(path: str | Path, like: Saved, prints: Mapping[str, str]) -> Saved:
    """The checkpoint in a file, if it belongs to the run that `prints` tells of.

    Args:
        like: the structure, shapes and dtypes that it must have, arrays or `jax.ShapeDtypeStruct`; the first axis of
            the trace, its looks, may have any length.

    Raises `CojaxInputError` where the file is damaged or no checkpoint, and where problem, network, method, start or
    versions differ from those of the run that was saved; the sentence lists what differs.
    """
    path = Path(path)
    arrays = read_arrays(path)
    there = _prints(path, arrays.pop(PRINTS, None))
    different = tell_differences(there, prints)
    if different:
        raise CojaxInputError(
            f"{path} is the checkpoint of another run: {different}; take all as it was, or another file."
        )
    leaves, kind = jax.tree_util.tree_flatten_with_path(like)
    names = [_name(place, where) for place, (where, _) in enumerate(leaves)]
    num_looks = {arrays[name].shape[:1] for name in names if name in arrays and _is_trace(name)}
    fits = set(names) == set(arrays) and len(num_looks) <= 1
    if not fits or not all(_fits(name, arrays[name], leaf) for name, (_, leaf) in zip(names, leaves, strict=True)):
        raise CojaxInputError(
            f"{path} does not hold what a run of this problem, network and method has: it was damaged or made by other "
            "means; start anew."
        )
    return jax.tree.unflatten(kind, [_leaf(arrays[name], leaf) for name, (_, leaf) in zip(names, leaves, strict=True)])


def _name(place: int, where: Any) -> str:
    part = "trace" if getattr(where[0], "name", "") == "trace" else "state"
    return f"{part}{place:04d}"


def _is_trace(name: str) -> bool:
    return name.startswith("trace")


def _is_key(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> np.ndarray:
    """A leaf in a dtype that NumPy's format knows without pickling: keys and small floats as their bits."""
    if isinstance(leaf, jax.Array) and _is_key(leaf.dtype):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array if array.dtype.kind in "iu" or array.dtype in (np.float32, np.float64) else _bits(array)


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(UNSIGNED[array.dtype.itemsize]).reshape(array.shape)


def _fits(name: str, array: np.ndarray, leaf: Any) -> bool:
    wanted = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf.dtype) else leaf
    dtype = np.dtype(wanted.dtype)
    if dtype.kind not in "iu" and dtype not in (np.float32, np.float64):
        dtype = np.dtype(UNSIGNED[dtype.itemsize])
    skipped = 1 if _is_trace(name) else 0
    return array.dtype == dtype and array.ndim == len(wanted.shape) and array.shape[skipped:] == wanted.shape[skipped:]


def _leaf(array: np.ndarray, leaf: Any) -> Any:
    if _is_key(leaf.dtype):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    dtype = np.dtype(leaf.dtype)
    return array if array.dtype == dtype else array.view(dtype)


def _prints(path: Path, array: np.ndarray | None) -> dict[str, str]:
    try:
        there = json.loads(b"" if array is None else array.tobytes())
    except (ValueError, RecursionError):
        there = None
    if not isinstance(there, dict) or not all(isinstance(one, str) for one in there.values()):
        raise CojaxInputError(f"{path} is no checkpoint of a run: it does not say what run it belongs to.")
    return there
