"""The folder for results: whether it can be written to is known before they are computed, and nothing in it is lost."""

import itertools
from pathlib import Path

from ..._support.checks import CojaxInputError
from ...runs.files import check_folder

CHECKPOINT = "checkpoint.npz"  # in the folder for the results, until these are certified


def writable(folder: Path) -> Path:
    """`folder`, if results can be written there; it need not exist yet."""
    try:
        check_folder(folder)
    except OSError as error:
        raise CojaxInputError(
            f"The results cannot be written to {folder} ({error.strerror}): name another folder with --out."
        ) from error
    return folder


def beginning_note(folder: Path, resume: bool) -> str | None:
    """How a run in `folder` begins, in words; where it begins anew, a checkpoint that is there gets another name."""
    checkpoint = folder / CHECKPOINT
    if resume:
        there = f"goes on from {checkpoint}" if checkpoint.exists() else f"starts anew, for there is no {checkpoint}"
        return f"the run {there}."
    if not checkpoint.exists():
        return None
    names = (checkpoint.with_stem(f"{checkpoint.stem}-{number}") for number in itertools.count(1))
    kept = checkpoint.rename(next(name for name in names if not name.exists()))
    return (
        f"the run starts anew; the checkpoint that was there is kept as {kept}. To go on from it, move it back to "
        f"{CHECKPOINT} and use --resume."
    )
