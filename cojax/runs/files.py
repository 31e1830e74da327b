"""A file is replaced whole or not at all, whatever happens in between, and whoever else writes it."""

import contextlib
import os
import re
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


def replace_file(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write(handle)` fill a new file, force it to the disk, and only then put it where `path` is.

    The new file lies beside the old one, under a name of its own: whoever writes last wins, and every file is whole.
    What processes that were killed left there is removed. Raises OSError where the disk is full or cannot be written
    to; the old file is then still there.
    """
    path = Path(path)
    _clear(path)
    beside = path.with_name(f".{_stem(path)}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.new")
    try:
        with beside.open("xb") as handle:
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


def replace_text(path: str | Path, text: str) -> None:
    """`replace_file` for text, in UTF-8."""
    replace_file(path, lambda handle: handle.write(text.encode("utf-8")))


def check_folder(folder: str | Path) -> None:
    """Raise OSError where no file can be made in `folder`, which need not exist yet; nothing is left behind."""
    folder = Path(folder)
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    finally:
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()


def _stem(path: Path) -> str:
    # A name may have 255 bytes at most, and what is added to it takes less than 105.
    return path.name.encode()[:150].decode(errors="ignore")


def _machine() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:64]


def _clear(path: Path) -> None:
    """Remove what dead processes of this machine left of `path`; of others nobody knows whether they are alive."""
    ours = re.compile(rf"\.{re.escape(_stem(path))}\.{re.escape(_machine())}-(\d+)-[0-9a-f]{{8}}\.new")
    for name in os.listdir(path.parent):
        found = ours.fullmatch(name)
        if found and not _is_alive(int(found[1])):
            with contextlib.suppress(OSError):
                path.with_name(name).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere the question would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
