"""A file is replaced whole or not at all, whatever happens in between."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


def replace_file(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write(handle)` fill a new file, force it to the disk, and only then put it where `path` is.

    The new file lies beside the old one, always under one name: what a killed process left is overwritten by the next.
    Raises OSError where the disk is full or cannot be written to; the old file is then still there.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, is on the disk
        finally:
            os.close(folder)
