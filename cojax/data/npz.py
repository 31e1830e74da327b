"""An npz file is checked from its directory and its headers before one number of it is unpacked."""

import contextlib
import functools
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.lib import format as npy

from .._support.checks import CojaxInputError
from .files import MAX_BYTES, checked_path

MEMBERS = {"features.npy": 2, "targets.npy": 1}  # and their number of axes
# An archive may unpack to this much whatever its size, and beyond that to this many times its size.
MODEST_BYTES, LARGEST_RATIO = 1 << 26, 200


class Header(NamedTuple):
    """What an .npy file says about its array."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


def read_npz(
    path: str | Path, *, max_bytes: int = MAX_BYTES
) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, " N"]]:
    """Features (N, d) and targets (N,) from `numpy.savez(path, features=..., targets=...)`.

    Args:
        path: an npz file with these two arrays and nothing else.
        max_bytes: the most that both arrays may take.

    Floats keep float32 or float64, whole numbers become float64. Raises `CojaxInputError` for other names or dtypes,
    objects, shapes that do not fit, numbers that are not finite, archives that declare too much, and truncated files.
    """
    path = checked_path(path, max_bytes)
    with _open_archive(path) as archive:
        members = _members(path, archive, max_bytes)
        features, targets = (_array(path, archive, members[name]) for name in MEMBERS)
    if len(features) != len(targets) or features.size == 0:
        raise CojaxInputError(
            f"{path} needs features (N, d) and targets (N,) with N >= 1, got {features.shape} and {targets.shape}."
        )
    return features, targets


def read_arrays(path: str | Path, *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """All arrays of an npz file by name, as they are: floats of 4 or 8 bytes and whole numbers.

    Raises `CojaxInputError` for objects, archives that declare too much, and truncated or damaged files.
    """
    with open_arrays(path, max_bytes=max_bytes) as arrays:
        return {name: read() for name, read in arrays.items()}


@contextlib.contextmanager
def open_arrays(path: str | Path, *, max_bytes: int = MAX_BYTES) -> Iterator[dict[str, Callable[[], np.ndarray]]]:
    """What reads every array of an npz file, by name: one at a time where they are many.

    Raises `CojaxInputError` as `read_arrays`, here or where an array is read.
    """
    path = checked_path(path, max_bytes)
    with _open_archive(path) as archive:
        _check_sizes(path, archive.infolist(), max_bytes)
        yield {
            info.filename.removesuffix(".npy"): functools.partial(_raw, path, archive, info)
            for info in archive.infolist()
        }


@contextlib.contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except CojaxInputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise CojaxInputError(
            f"{path} cannot be unpacked, it is truncated, damaged or no npz file: {error}."
        ) from error


def _members(path: Path, archive: zipfile.ZipFile, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if sorted(names) != sorted(MEMBERS):
        shown = ", ".join(repr(name[:40]) for name in names[:5]) or "nothing"
        raise CojaxInputError(f"{path} must hold the arrays features and targets and nothing else, got {shown}.")
    _check_sizes(path, infos, max_bytes)
    return {info.filename: info for info in infos}


def _check_sizes(path: Path, infos: list[zipfile.ZipInfo], max_bytes: int) -> None:
    for info in infos:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CojaxInputError(
                f"{path} packs {info.filename} in a way that NumPy never does: save it with numpy.savez."
            )
    declared = sum(info.file_size for info in infos)
    if declared > max_bytes:
        raise CojaxInputError(
            f"{path} declares {declared} bytes, more than max_bytes={max_bytes}: raise it to read them."
        )
    packed = path.stat().st_size
    if declared > max(MODEST_BYTES, LARGEST_RATIO * packed):
        raise CojaxInputError(
            f"{path} declares {declared} bytes packed into {packed}: it looks like a zip bomb; unpack it and save it "
            "with numpy.savez."
        )


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    name = info.filename.removesuffix(".npy")
    raw = _raw(path, archive, info)
    if raw.ndim != MEMBERS[info.filename]:
        wanted = "(N, d)" if name == "features" else "(N,)"
        raise CojaxInputError(f"{path} needs {name} of shape {wanted}, got {raw.shape}.")
    single = raw.dtype.kind == "f" and raw.dtype.itemsize == 4
    values = np.array(raw, np.float32 if single else np.float64, order="C")
    if not np.isfinite(values).all():
        at = ", ".join(str(part) for part in np.argwhere(~np.isfinite(values))[0])
        raise CojaxInputError(
            f"{path} needs finite numbers, got another at {name}[{at}]: fill it in or drop the sample."
        )
    return values


def _raw(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as packed:
        handle = io.BytesIO(packed.read(info.file_size))  # never more than was declared, whatever it unpacks to
    header = _header(path, info.filename.removesuffix(".npy"), handle, info.file_size)
    data = np.frombuffer(handle.getbuffer(), header.dtype, offset=handle.tell())
    return data.reshape(header.shape, order="F" if header.fortran else "C")


def _header(path: Path, name: str, handle: Any, file_size: int) -> Header:
    """What the array says about itself, believed only if it matches the bytes that the archive holds of it."""
    try:
        version = npy.read_magic(handle)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} is not used for plain arrays")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(handle)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise
    except Exception as error:  # NumPy hands this text to Python's own parser, which raises whatever it likes
        raise CojaxInputError(f"{path} has no readable .npy header for {name} ({type(error).__name__}).") from error
    if dtype.hasobject:
        raise CojaxInputError(f"{path} keeps {name} as Python objects, which could run code: save plain numbers.")
    if not (dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8))):
        raise CojaxInputError(f"{path} needs {name} in float64, float32 or whole numbers, got {dtype}.")
    held = file_size - handle.tell()
    num_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or num_bytes != held:
        raise CojaxInputError(
            f"{path} declares {num_bytes} bytes for {name} of shape {shape}, but holds {held}: the file is damaged."
        )
    return Header(shape, fortran, dtype)
