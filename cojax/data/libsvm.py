"""A LIBSVM file says one sample a line: its target, then `index:value` of the features that are not zero."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .._support.checks import CojaxInputError, whole_number
from .files import MAX_BYTES, NUMBER, checked_path, most_bytes, number, open_unpacked

if TYPE_CHECKING:
    from scipy import sparse

LONGEST_LINE = 1 << 24


class Entries(NamedTuple):
    """What a file says, sample after sample."""

    targets: Float[np.ndarray, " N"]
    values: Float[np.ndarray, " e"]
    columns: Int[np.ndarray, " e"]
    lengths: Int[np.ndarray, " N"]  # entries of every sample
    num_features: int


def read_libsvm(
    path: str | Path,
    *,
    first_index: int = 1,
    num_features: int | None = None,
    max_features: int = 1_000_000,
    max_bytes: int = MAX_BYTES,
) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, " N"]]:
    """Features (N, d), zero where a line is silent, and targets (N,).

    Args:
        path: text, or text packed by bzip2 or gzip if it ends in `.bz2` or `.gz`.
        first_index: the index of the first feature: 1 by the format, 0 in files that count from 0.
        num_features: d; by default the largest index that occurs. Give it where train and test files must agree.
        max_features: an index beyond it is taken for a mistake.
        max_bytes: the largest text, unpacked, and the largest dense array of features, in float64.

    Raises `CojaxInputError`, with file and line, for indices below `first_index`, too large, or out of order, and for
    anything that is no number. Raises it too for a `first_index` that is no whole number >= 0, and for `num_features`
    or `max_features` that is none >= 1.
    """
    path = checked_path(path, max_bytes)
    read = _entries(path, first_index, num_features, max_features, max_bytes)
    shape = len(read.targets), read.num_features
    if shape[0] * shape[1] * 8 > max_bytes:
        raise CojaxInputError(
            f"{path} has {shape[0]} samples of {shape[1]} features, {shape[0] * shape[1] * 8} bytes in float64, more "
            f"than max_bytes={max_bytes}: raise it, keep fewer features, or use read_sparse_libsvm."
        )
    features = np.zeros(shape)
    features[np.repeat(np.arange(shape[0]), read.lengths), read.columns] = read.values
    return features, read.targets


def read_sparse_libsvm(
    path: str | Path,
    *,
    first_index: int = 1,
    num_features: int | None = None,
    max_features: int = 100_000_000,
    max_bytes: int = MAX_BYTES,
) -> tuple["sparse.csr_array", Float[np.ndarray, " N"]]:
    """The same with features as a SciPy matrix by rows, which takes memory for what the file says only.

    Args, errors as for `read_libsvm`; max_bytes bounds the text, whose entries take 16 bytes each. `datasets.split`
    deals these features as `cojax.costs.SparseFeatures`.
    """
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    read = _entries(checked_path(path, max_bytes), first_index, num_features, max_features, max_bytes)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(read.lengths)])
    shape = len(read.targets), read.num_features
    return sparse.csr_array((read.values, read.columns, ends), shape=shape), read.targets


def begins_as_libsvm(path: Path, max_bytes: int) -> bool:
    """Whether the first line that says something is a target and `index:value`, as in a file without a suffix."""
    if not os.path.isfile(path):  # pathlib raises of a name that is too long
        return False
    with open_unpacked(path, max_bytes) as handle:
        for _ in range(100):
            line = handle.readline(1000).partition(b"#")[0].split()
            if line:
                return len(line) > 1 and NUMBER.fullmatch(line[0].decode("latin-1")) is not None and b":" in line[1]
    return False


def _entries(path: Path, first_index: int, num_features: int | None, max_features: int, max_bytes: int) -> Entries:
    owner = str(path)
    first_index = whole_number(owner, "first_index", first_index, at_least=0)
    most = whole_number(owner, "max_features", max_features, at_least=1)
    if num_features is not None:
        num_features = most = whole_number(owner, "num_features", num_features, at_least=1)
    targets, values, columns, lengths = array("d"), array("d"), array("q"), array("q")
    for where, line in _lines(path, max_bytes):
        label, *entries = line.split()
        targets.append(number(label, where, "the target"))
        lengths.append(len(entries))
        previous = -1
        for entry in entries:
            index, _, value = entry.partition(":")
            column = _column(index, where, first_index, most)
            if column <= previous:
                raise CojaxInputError(f"{where} has index {index} out of order: within a line, indices must increase.")
            previous = column
            columns.append(column)
            values.append(number(value, where, f"feature {index}"))
    if not targets:
        raise CojaxInputError(f"{path} has no samples: add one line per sample.")
    width = num_features or int(np.max(columns, initial=-1)) + 1
    if width == 0:
        raise CojaxInputError(f"{path} has no features: every line holds a target only.")
    return Entries(np.array(targets), np.array(values), np.array(columns, np.int64), np.array(lengths, np.int64), width)


def _column(index: str, where: str, first_index: int, most: int) -> int:
    if not (index.isascii() and index.isdigit()):
        raise CojaxInputError(f"{where} needs index:value with a whole index, got {index[:40]!r}.")
    # The length first: Python takes quadratic time to read a number of many digits.
    column = int(index) - first_index if len(index) <= 20 else most
    if column < 0:
        raise CojaxInputError(
            f"{where} has index {index}, but the first feature is {first_index}: if the file counts from 0, "
            "read it with read_libsvm(path, first_index=0)."
        )
    if column >= most:
        raise CojaxInputError(f"{where} has index {index[:40]}, beyond the {most} features that are allowed.")
    return column


def _lines(path: Path, max_bytes: int) -> Iterator[tuple[str, str]]:
    """Every line that says something, with its `path:line`; comments dropped, and never more bytes than allowed."""
    most, total, count, name = most_bytes(path, max_bytes), 0, 0, str(path)
    with open_unpacked(path, max_bytes) as handle:
        while True:
            count += 1
            where = f"{name}:{count}"
            try:
                raw = handle.readline(LONGEST_LINE)
            except CojaxInputError as error:
                raise CojaxInputError(f"{where}{str(error).removeprefix(name)}") from error
            if not raw:
                return
            total += len(raw)
            if total > most:
                raise CojaxInputError(
                    f"{where} is beyond the {most} bytes that this file may unpack to: unpack it first."
                )
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                raise CojaxInputError(f"{where} is longer than {LONGEST_LINE} bytes: this is no LIBSVM file.")
            try:
                text = raw.decode("utf-8-sig" if count == 1 else "utf-8").partition("#")[0].strip()
            except UnicodeDecodeError as error:
                raise CojaxInputError(f"{where} is no UTF-8 text ({error.reason}): this is no LIBSVM file.") from error
            if text:
                yield where, text
