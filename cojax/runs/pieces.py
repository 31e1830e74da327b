"""A run in pieces: between two of them the host looks at it, saves it, and hears signals."""

import contextlib
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._support.checks import CojaxInputError, as_path
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import Decision, Problem, Scenario
from .blocks import Blocks
from .checkpoints import Saved, load, save
from .files import check_folder
from .loop import advance, check_beginning, check_run, ended, first_state, go
from .prints import prints_of
from .records import standard
from .signals import noted_signals
from .solutions import Solution, State
from .status import Status

# Saving takes at most this part of the time: a large state is saved less often.
SHARE_OF_TIME = 0.05
MOST_CALLS = 200  # from the host, of a run with a bar
MOST_JOINED = 2**32  # bytes: pieces of a trace are there twice while they are joined


class Ran(NamedTuple):
    """What `in_pieces` returns."""

    solution: Solution  # its trace is that of all pieces, those before a checkpoint too
    signal: int | None = None  # the signal that ended it early
    kept: bool = True  # whether every checkpoint that was due could be written


def in_pieces(
    problem: Scenario,
    network: Network,
    method: Method,
    start: Decision | State,
    *,
    num_steps: int,
    piece: int | None = None,
    every: int = 1,
    record: Callable[[Problem, Decision, State], Any] = standard,
    done: Callable[[Solution], bool] | None = None,
    checkpoint: str | Path | None = None,
    told: Callable[[int], Any] = lambda steps: None,
) -> Ran:
    """A run of `piece` steps at a time, until `done`, or all steps, or a signal: bit for bit one long run.

    Args:
        num_steps: a multiple of `piece`, which is one of `every`; by default as large as few calls make it.
        done: whether a solution is good enough, or not worth going on; asked after every piece.
        checkpoint: the file that the run is saved to as it goes on, after a signal, and at the end unless it is
            done; where the file exists, the run goes on from there.
        told: called after every piece with the number of steps since the last call.

    The first SIGINT or SIGTERM ends the piece and the run, with the status `INTERRUPTED`. A checkpoint that can no
    longer be written is a RuntimeWarning; the run goes on and the last good one stays. Raises `CojaxInputError` as
    `solve` does, for a trace beyond 4 GB, for a place that no checkpoint can be written to, and for one that is damaged
    or another run's.
    """
    num_looks, every = check_run(problem, network, method, start, num_steps, every, record, MOST_JOINED)
    blocks = Blocks(network, problem, start)
    if checkpoint is not None:
        checkpoint = as_path("A checkpoint needs a path", checkpoint)
        with blocks.together(f"The checkpoint {checkpoint} cannot be written"):
            _check_place(checkpoint)
        blocks.check_common(checkpoint.parent)
    looks = equal_pieces(num_looks) if piece is None else piece // every
    check_beginning(problem, network, method, start)
    state = start if isinstance(start, State) else first_state(problem, network, method, start)
    run = functools.partial(advance, problem, network, method)
    last, traces = int(state.step) + num_steps, []
    keeper = _Keeper(checkpoint, blocks)
    if checkpoint is not None:
        keeper.prints = prints_of(blocks, problem, network, method, start, every, record)
        if blocks.told(checkpoint.exists())[0, 0]:
            trace = jax.eval_shape(lambda state: go(problem, network, method, state, 1, every, record)[1], state)
            found = load(checkpoint, Saved(state, trace), keeper.prints, blocks)
            state, traces = found.state, [found.trace]
            if int(state.step) > last:
                raise CojaxInputError(
                    f"{checkpoint} is at step {int(state.step)}, beyond the {last} that are asked for: ask for more "
                    "steps, or name another file."
                )
            told(int(state.step) - (last - num_steps))
    with noted_signals() as noted:
        solution, is_done = None, False
        if traces and done is not None:  # what was saved may have been at its end
            solution = ended(problem, network, method, state)
            is_done = done(solution)
        signal, _ = keeper.agreed(noted)
        while not (is_done or signal) and int(state.step) < last:
            state, trace = run(state, looks, every, record)
            traces.append(trace)
            if done is not None:
                solution = ended(problem, network, method, state)
                is_done = done(solution)
            told(looks * every)
            signal, is_due = keeper.agreed(noted)
            if is_due:
                keeper.keep(state, traces)
        if not is_done:
            keeper.keep(state, traces)
    if not traces:
        traces.append(run(state, 0, every, record)[1])
    if solution is None:
        solution = ended(problem, network, method, state)
    status = jnp.asarray(Status.INTERRUPTED, jnp.int32) if signal and not is_done else solution.status
    whole = solution._replace(trace=_join(traces), status=status)
    return Ran(whole, signal, keeper.kept)


def equal_pieces(num_chunks: int) -> int:
    """How many chunks make a piece, as few as make at most `MOST_CALLS` equal ones: one shape is one compilation."""
    return num_chunks // next(calls for calls in range(MOST_CALLS, 0, -1) if num_chunks % calls == 0)


@contextlib.contextmanager
def progress_bar(owner: str, num_steps: int, shown: bool) -> Iterator[Callable[[int], Any]]:
    """What to tell of the steps done: where it is shown, it moves a bar of tqdm, in a terminal or a notebook."""
    if not shown:
        yield lambda steps: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise CojaxInputError(
            f"{owner} shows a bar by tqdm, which is not installed: pip install 'cojax[cli]', or leave progress out."
        ) from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # a bar of text is a bar too
        bar = tqdm(total=num_steps, unit="step")
    with bar:
        yield bar.update


def _check_place(path: Path) -> None:
    """Before the first step, not after the last: whether a checkpoint can be written there."""
    reason = "it is a folder" if os.path.isdir(path) else ""
    if not reason and not os.path.isdir(path.parent):
        reason = f"there is no folder {path.parent}"
    if not reason:
        try:
            return check_folder(path.parent)
        except OSError as error:
            reason = error.strerror or str(error)
    raise CojaxInputError(
        f"The checkpoint {path} cannot be written, {reason}: name a file in a folder that can be written to."
    )


class _Keeper:
    """Saves a run now and then."""

    def __init__(self, path: str | Path | None, blocks: Blocks):
        self.path, self.blocks, self.kept = path, blocks, True
        self.prints: Mapping[str, str] = {}
        self.due, self.step = 0.0, -1

    def agreed(self, noted: list[int]) -> tuple[int | None, bool]:
        """The signal that any process of the run noted, and whether it is time to save: by the clock of the first."""
        told = self.blocks.told(noted[0] if noted else 0, time.monotonic() >= self.due)
        return int(told[:, 0].max()) or None, bool(told[0, 1])

    def keep(self, state: State, traces: list[Any]) -> None:
        if self.path is None or self.step == int(state.step):
            return
        began = time.monotonic()
        traces[:] = [_join(traces)]
        try:
            save(self.path, Saved(state, traces[0]), self.prints, self.blocks)
            self.step = int(state.step)
        except (OSError, CojaxInputError) as error:  # of this process, or of another one
            if self.kept:
                reason = getattr(error, "strerror", None) or str(error)
                warnings.warn(
                    f"The checkpoint {self.path} cannot be written ({reason}): the run goes on, and what was "
                    "saved last stays.",
                    RuntimeWarning,
                    stacklevel=3,
                )
            self.kept = False
        ended = time.monotonic()
        self.due = ended + (ended - began) / SHARE_OF_TIME


def _join(traces: list[Any]) -> Any:
    return traces[0] if len(traces) == 1 else jax.tree.map(lambda *parts: jnp.concatenate(parts), *traces)
