"""A run saved so that it goes on bit for bit: its state and its trace, and what they belong to.

Plain npz files, one a process, because NumPy writes and reads them without another package, a server or a network, and
replacing the file of the first process by one rename is all that makes a checkpoint valid.
"""

import contextlib
import json
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from numpy.lib import format as npy

from .._support.checks import CojaxInputError
from ..data.npz import open_arrays
from .blocks import ALIKE, ARCS, NODES, Blocks, arc_numbers
from .files import replace_file
from .fingerprints import tell_differences

PRINTS = "fingerprint"
PARTS = "parts"  # what ties the files of one checkpoint together
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}
Arrays = Mapping[str, Callable[[], np.ndarray]]  # what reads each
MOST_BYTES = 2**50  # of a file; its arrays are read one at a time


class Saved(NamedTuple):
    """What a checkpoint holds."""

    state: Any  # a `cojax.State`
    trace: Any  # the record of every look so far, stacked


class Leaf(NamedTuple):
    """An array of what is saved."""

    name: str
    value: Any  # in a dtype that may be a key's
    counts: str  # what it counts along the axis
    axis: int


def save(path: str | Path, saved: Saved, prints: Mapping[str, str], blocks: Blocks) -> None:
    """Put a checkpoint where `path` is, whole or not at all: written beside it, forced to the disk, renamed.

    Npz files of plain numbers; nothing of Python is in them. Every process of the run calls this, and writes the rows
    of its own devices: the first to `path`, with what is not by row, once the files of the others are there. Raises
    OSError where it, or another process, cannot write; an older checkpoint is then still there.
    """
    path = Path(path)
    leaves = [
        leaf._replace(value=blocks.lying(_data(leaf.value), leaf.counts, leaf.axis))
        for leaf in leaves_of(saved, blocks)
    ]
    # What one process saves of one run is one file, to the last byte.
    token = f"{blocks.told(secrets.randbits(32) if blocks.num_processes > 1 else 0)[0, 0]:08x}"
    names = [f"{path.name}.{token}-{process}.npz" for process in range(1, blocks.num_processes)]
    failing = f"The checkpoint {path} cannot be written"
    try:
        with blocks.together(failing):
            if blocks.process:
                head = {PARTS: _json([token])}
                own = path.with_name(names[blocks.process - 1])
                replace_file(own, lambda handle: _write(handle, _arrays(head, leaves, blocks)))
        with blocks.together(failing):
            if not blocks.process:
                for name in names:
                    path.with_name(name).stat()  # whether it is there for this process too
                head = {PRINTS: _json(dict(prints)), PARTS: _json([token, *names])}
                replace_file(path, lambda handle: _write(handle, _arrays(head, leaves, blocks)))
    finally:
        if not blocks.process:
            _clear(path)


def load(path: str | Path, like: Saved, prints: Mapping[str, str], blocks: Blocks) -> Saved:
    """The checkpoint in a file, if it belongs to the run that `prints` tells of, whoever wrote how much of it.

    Every process of the run calls this, and keeps of what it reads the rows of its own devices.

    Args:
        like: the structure, shapes and dtypes that it must have. The first axis of the trace, its looks, may have any
            length; rows that hold no node, and places of edges where none is, stay as they are in the state.

    Raises `CojaxInputError` where a file is missing, damaged or no checkpoint, and where problem, network, method,
    start or versions differ from those of the run that was saved; the sentence lists what differs.
    """
    path, leaves = Path(path), leaves_of(like, blocks)
    with blocks.together(f"The checkpoint {path} cannot be read"):
        found = _Reading(path, leaves, blocks).read(prints)
    values = [_placed(array, leaf, blocks) for leaf, array in zip(leaves, found, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(like), values)


def leaves_of(saved: Saved, blocks: Blocks) -> list[Leaf]:
    """All arrays of what is saved, in order."""
    parts = (
        ("state", 0, saved.state, blocks.counts(saved.state)),
        ("trace", 1, saved.trace, blocks.counts_of_trace(saved.trace)),
    )
    leaves = [
        (part, axis, leaf, counts)
        for part, axis, tree, told in parts
        for leaf, counts in zip(jax.tree.leaves(tree), jax.tree.leaves(told), strict=True)
    ]
    return [Leaf(f"{part}{place:04d}", leaf, counts, axis) for place, (part, axis, leaf, counts) in enumerate(leaves)]


def _arrays(head: dict[str, np.ndarray], leaves: list[Leaf], blocks: Blocks) -> Iterator[tuple[str, np.ndarray]]:
    """What this process writes, one array at a time."""
    yield from head.items()
    for block, numbers in enumerate(blocks.numbers):
        yield f"rows.{block}", numbers
        if any(leaf.counts == ARCS for leaf in leaves):
            own, other = blocks.arcs[block]
            yield f"own.{block}", own
            yield f"other.{block}", other
    for leaf in leaves:
        if leaf.counts != ALIKE:
            for block, rows in enumerate(blocks.of(leaf.value, leaf.axis)):
                yield f"{leaf.name}.{block}", _plain(_by_arc(rows, leaf, blocks))
        elif not blocks.process:
            yield leaf.name, _plain(np.asarray(leaf.value))


def _by_arc(rows: np.ndarray, leaf: Leaf, blocks: Blocks) -> np.ndarray:
    """What is kept by edge in a row for every edge, whatever axes edges have in their layout."""
    return rows.reshape(-1, *rows.shape[len(blocks.edge_shape) :]) if leaf.counts == ARCS else rows


def _write(handle: IO[bytes], arrays: Iterator[tuple[str, np.ndarray]]) -> None:
    """What `numpy.savez` writes, without having all arrays at once."""
    with zipfile.ZipFile(handle, "w") as archive:
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


def _clear(path: Path) -> None:
    """Remove what other processes wrote for older checkpoints than the one there, or for one that did not come about.

    Called by the first process when all others have written.
    """
    names = re.compile(rf"\.?{re.escape(path.name)}\.([0-9a-f]{{8}})-[0-9]+\.npz(\..*\.new)?")
    with contextlib.suppress(OSError, CojaxInputError):  # it stays, then, until the next time
        found = [name for name in os.listdir(path.parent) if names.fullmatch(name)]
        if found and path.exists():
            with open_arrays(path, max_bytes=MOST_BYTES) as arrays:
                token = _parts(path, arrays)[0]
            found = [name for name in found if f".{token}-" not in name]
        for name in found:
            path.with_name(name).unlink(missing_ok=True)


class _Reading:
    """The rows of this process, gathered from all files of a checkpoint, one array of one block at a time."""

    def __init__(self, path: Path, leaves: list[Leaf], blocks: Blocks):
        self.path, self.leaves, self.blocks = path, leaves, blocks
        self.found: dict[str, np.ndarray] = {}
        self.places = {NODES: _Places(np.concatenate(blocks.numbers))}
        if any(leaf.counts == ARCS for leaf in leaves):
            own, other = (np.concatenate(part) for part in zip(*blocks.arcs, strict=True))
            self.places[ARCS] = _Places(_pairs(own, other))

    def read(self, prints: Mapping[str, str]) -> list[np.ndarray]:
        with open_arrays(self.path, max_bytes=MOST_BYTES) as arrays:
            there = _prints(self.path, arrays)
            different = tell_differences(there, prints)
            if different:
                raise CojaxInputError(
                    f"{self.path} is the checkpoint of another run: {different}; take all as it was, or another file."
                )
            token, *names = _parts(self.path, arrays)
            alike = [leaf for leaf in self.leaves if leaf.counts == ALIKE]
            self.take(arrays, {PRINTS, PARTS}, alike, is_first=True)
        for name in names:
            part = self.path.with_name(name)
            if not part.is_file():
                raise CojaxInputError(
                    f"{self.path} needs {name} beside it, which has the rows of another process, and which is missing: "
                    "put it there, or start anew."
                )
            with open_arrays(part, max_bytes=MOST_BYTES) as arrays:
                if _parts(part, arrays) != [token]:
                    raise CojaxInputError(f"{part} belongs to another checkpoint than {self.path}: start anew.")
                self.take(arrays, {PARTS}, [], is_first=False)
        looks = {self.found[leaf.name].shape[0] for leaf in self.leaves if leaf.axis}
        missing = self.places[NODES].missing
        if len(looks) > 1 or (missing < self.blocks.num_nodes).any():
            self.refuse()
        return [self.found[leaf.name] for leaf in self.leaves]

    def take(self, arrays: Arrays, heads: set[str], alike: list[Leaf], is_first: bool) -> None:
        """What one file has of the rows of this process; of the first file also what is not by row."""
        by_row = [leaf for leaf in self.leaves if leaf.counts != ALIKE]
        keys = ["rows", *(["own", "other"] if ARCS in self.places else [])]
        num_blocks = sum(name.startswith("rows.") for name in arrays)
        wanted = {f"{name}.{block}" for name in [*keys, *(leaf.name for leaf in by_row)] for block in range(num_blocks)}
        if wanted | heads | {leaf.name for leaf in alike} != set(arrays):
            self.refuse()
        for leaf in alike:
            self.found[leaf.name] = self.checked(arrays[leaf.name](), leaf, None)
        for block in range(num_blocks):
            numbers = [arrays[f"{key}.{block}"]() for key in keys]
            theirs = {NODES: numbers[0], **({ARCS: _pairs(*numbers[1:])} if ARCS in self.places else {})}
            for counts, their in theirs.items():
                at, source = self.places[counts].of(their)
                for leaf in by_row:
                    # The first block says how many looks there are, also to who has no node.
                    if leaf.counts == counts and (at.size or (is_first and not block)):
                        rows = self.checked(arrays[f"{leaf.name}.{block}"](), leaf, len(their))
                        if leaf.name not in self.found:
                            self.found[leaf.name] = self.unread(leaf, rows)
                        index = (slice(None),) * leaf.axis
                        self.found[leaf.name][(*index, at)] = rows[(*index, source)]

    def unread(self, leaf: Leaf, rows: np.ndarray) -> np.ndarray:
        """The rows of this process before they are read: those that the state has now."""
        if leaf.axis:
            length = len(self.places[NODES].keys)
            return np.zeros((rows.shape[0], length, *rows.shape[2:]), rows.dtype)
        now = [_plain(_by_arc(part, leaf, self.blocks)) for part in self.blocks.of(_data(leaf.value))]
        return np.concatenate(now)

    def checked(self, array: np.ndarray, leaf: Leaf, length: int | None) -> np.ndarray:
        """`array`, if it is what a run like this one has there, of `length` rows."""
        like = _like(leaf.value)
        shape, axes = like.shape, len(self.blocks.edge_shape) if leaf.counts == ARCS else 1
        if length is not None:
            shape = (*shape[: leaf.axis], length, *shape[leaf.axis + axes :])
        fits = array.dtype == like.dtype and array.ndim == len(shape) and array.shape[leaf.axis :] == shape[leaf.axis :]
        return array if fits else self.refuse()

    def refuse(self) -> NoReturn:
        raise CojaxInputError(
            f"{self.path} does not hold what a run of this problem, network and method has: it was damaged or made by "
            "other means; start anew."
        )


class _Places:
    """Where rows go, by their numbers; negative ones are nobody's."""

    def __init__(self, keys: np.ndarray):
        self.keys, self.order = keys, np.argsort(keys, kind="stable")
        self.sorted, self.seen = keys[self.order], np.zeros(len(keys), bool)

    def of(self, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the rows `theirs` go that are wanted here, and which they are."""
        at = np.minimum(np.searchsorted(self.sorted, theirs), len(self.sorted) - 1)
        source = np.flatnonzero((self.sorted[at] == theirs) & (theirs >= 0))
        places = self.order[at[source]]
        self.seen[places] = True
        return places, source

    @property
    def missing(self) -> np.ndarray:
        """The numbers that nobody had."""
        return self.keys[~self.seen]


def _pairs(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A number for every directed edge; -1 where both ends are one node, which is no edge."""
    return np.where(own == other, -1, arc_numbers(own, other))


def _placed(array: np.ndarray, leaf: Leaf, blocks: Blocks) -> Any:
    """What was read, on the devices of the run, in the dtype that it had."""
    is_key = _is_key(leaf.value.dtype)
    whole: Any = array if is_key else array.view(np.dtype(leaf.value.dtype))
    if leaf.counts == ALIKE:
        whole = blocks.everywhere(whole)
    else:
        shape = _like(leaf.value).shape
        if leaf.counts == ARCS:
            whole = whole.reshape(-1, *shape[1:])
        whole = blocks.joined(whole, leaf.axis, shape[leaf.axis])
    return jax.random.wrap_key_data(jnp.asarray(whole), impl=jax.random.key_impl(leaf.value)) if is_key else whole


def _is_key(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if isinstance(leaf, jax.Array) and _is_key(leaf.dtype) else leaf


def _plain(array: np.ndarray) -> np.ndarray:
    """An array in a dtype that NumPy's format knows without pickling: small floats as their bits."""
    if array.dtype.kind in "iu" or array.dtype in (np.float32, np.float64):
        return array
    return np.ascontiguousarray(array).view(UNSIGNED[array.dtype.itemsize]).reshape(array.shape)


def _like(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and the dtype that a leaf has in a file."""
    wanted = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf.dtype) else leaf
    dtype = np.dtype(wanted.dtype)
    if dtype.kind not in "iu" and dtype not in (np.float32, np.float64):
        dtype = np.dtype(UNSIGNED[dtype.itemsize])
    return jax.ShapeDtypeStruct(wanted.shape, dtype)


def _json(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _said(arrays: Arrays, name: str) -> Any:
    try:
        return json.loads(arrays[name]().tobytes()) if name in arrays else None
    except (ValueError, RecursionError):
        return None


def _prints(path: Path, arrays: Arrays) -> dict[str, str]:
    there = _said(arrays, PRINTS)
    if not isinstance(there, dict) or not all(isinstance(one, str) for one in there.values()):
        raise CojaxInputError(f"{path} is no checkpoint of a run: it does not say what run it belongs to.")
    return there


def _parts(path: Path, arrays: Arrays) -> list[str]:
    """What ties a file to the others of its checkpoint: a token, then in the first file the names of the others."""
    found = _said(arrays, PARTS)
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise CojaxInputError(
            f"{path} is no checkpoint of this version of cojax: it does not say which files belong to it; start anew."
        )
    return found
