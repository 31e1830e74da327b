"""A run in pieces: between two of them the host looks at it, saves it, and hears signals."""

import functools
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._support.checks import CojaxInputError
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import Decision, Problem, Scenario
from .checkpoints import Saved, load, save
from .files import check_folder
from .fingerprints import fingerprint
from .loop import Solution, State, check_trace, first_state, solve
from .records import standard
from .signals import noted_signals
from .status import Status

# Saving takes at most this part of the time: a large state is saved less often.
SHARE_OF_TIME = 0.05
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
    piece: int,
    every: int = 1,
    record: Callable[[Problem, Decision, State], Any] = standard,
    done: Callable[[Solution], bool] = lambda solution: False,
    checkpoint: str | Path | None = None,
    told: Callable[[int], Any] = lambda steps: None,
) -> Ran:
    """`solve` called for `piece` steps at a time, until `done`, or all steps, or a signal: bit for bit one long run.

    Args:
        num_steps: a multiple of `piece`, which is one of `every`.
        done: whether a solution is good enough, or not worth going on; asked after every piece.
        checkpoint: the file that the run is saved to as it goes on, after a signal, and at the end unless it is
            done; where the file exists, the run goes on from there.
        told: called after every piece with the number of steps since the last call.

    The first SIGINT or SIGTERM ends the piece and the run, with the status `INTERRUPTED`. A checkpoint that can no
    longer be written is a RuntimeWarning; the run goes on and the last good one stays. Raises `CojaxInputError` as
    `solve` does, for a trace beyond 4 GB, for a place that no checkpoint can be written to, and for one that is damaged
    or another run's.
    """
    if checkpoint is not None:
        _check_place(Path(checkpoint))
    run = functools.partial(solve, problem, network, method, every=every, record=record)
    # Always from a state: a start would be compiled once more.
    state = start if isinstance(start, State) else first_state(problem, network, method, start)
    last, traces = int(state.step) + num_steps, []
    check_trace(problem, network, method, state, num_steps // every, record, MOST_JOINED)
    keeper = _Keeper(checkpoint)
    if checkpoint is not None:
        keeper.prints = fingerprint(
            problem=problem, network=network, method=method, start=start, every=every, record=record
        )
        if Path(checkpoint).exists():
            trace = jax.eval_shape(functools.partial(run, num_steps=every), state).trace
            found = load(checkpoint, Saved(state, trace), keeper.prints)
            state, traces = found.state, [found.trace]
            told(int(state.step) - (last - num_steps))
    with noted_signals() as noted:
        solution, is_done = None, False
        while not (is_done or noted) and int(state.step) < last:
            solution = run(state, num_steps=piece)
            state, is_done = solution.state, done(solution)
            traces.append(solution.trace)
            told(piece)
            keeper.keep(state, traces)
        if not is_done:
            keeper.keep(state, traces, now=True)
    if solution is None:
        solution = run(state, num_steps=0)
        traces.append(solution.trace)
    status = jnp.asarray(Status.INTERRUPTED, jnp.int32) if noted and not is_done else solution.status
    whole = solution._replace(trace=_join(traces), status=status)
    return Ran(whole, noted[0] if noted else None, keeper.kept)


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

    def __init__(self, path: str | Path | None):
        self.path, self.prints, self.kept = path, {}, True
        self.due, self.step = 0.0, -1

    def keep(self, state: State, traces: list[Any], now: bool = False) -> None:
        began = time.monotonic()
        if self.path is None or (began < self.due and not now) or self.step == int(state.step):
            return
        traces[:] = [_join(traces)]
        try:
            save(self.path, Saved(state, traces[0]), self.prints)
            self.step = int(state.step)
        except OSError as error:
            if self.kept:
                warnings.warn(
                    f"The checkpoint {self.path} cannot be written ({error.strerror}): the run goes on, and what was "
                    "saved last stays.",
                    RuntimeWarning,
                    stacklevel=3,
                )
            self.kept = False
        ended = time.monotonic()
        self.due = ended + (ended - began) / SHARE_OF_TIME


def _join(traces: list[Any]) -> Any:
    return traces[0] if len(traces) == 1 else jax.tree.map(lambda *parts: jnp.concatenate(parts), *traces)
