"""Steps from a start: in one program, or in pieces between which a bar moves and the run is saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._support.checks import CojaxInputError, whole_number
from .._support.compiling import is_traced
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import Decision, Problem, Scenario
from .loop import solve_steps
from .pieces import in_pieces, progress_bar
from .records import standard
from .solutions import Solution, State


def solve(
    problem: Scenario,
    network: Network,
    method: Method,
    start: Decision | State,
    *,
    num_steps: int,
    every: int = 1,
    record: Callable[[Problem, Decision, State], Any] = standard,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Solution:
    """`num_steps` steps from `start`, with a look at the run after every `every` of them.

    Args:
        problem, network, method: pytrees; every array in them, and `start`, is differentiable, and `jax.vmap` maps
            over any of them. Reverse mode keeps one state per chunk plus one chunk.
        start: a decision of `problem.start`, or the `state` of a solution, to continue it.
        num_steps: a multiple of `every`.
        record: `record(problem, x, state)`, a pytree of arrays; stacked over chunks into `trace`.
        progress: whether to show a bar, in a terminal or a notebook (tqdm). The run is then at most 200 calls from the
            host, bit for bit the same; Ctrl-C ends it after the one under way, with the status `INTERRUPTED`.
        checkpoint: a file that the run is saved to as it goes on, never more than a twentieth of the time, after Ctrl-C
            or SIGTERM, and at the end. Where the file exists, the run goes on from it, on any number of devices
            (`cojax.shard`). Of several processes every one keeps its own rows, in a file beside it.

    Returns: a `Solution`. While running nothing is raised: its status and its trace say what happened.

    A program is compiled for every cost, record and shape, and kept, 5 to 20 MB each: define functions once, outside of
    loops, and hand them what differs as data. `jax.clear_caches()` lets all programs go; their memory serves the next.

    Raises `CojaxInputError` where problem, network, method and start do not fit each other, num_steps is no multiple of
    every, or the cost is no real number that JAX can trace; with a bar or a checkpoint also under jit, vmap and grad,
    for a trace beyond 4 GB, and for a checkpoint that is another run's or cannot be written.
    """
    if not isinstance(progress, bool):
        raise CojaxInputError(f"solve needs progress to be True or False, got {progress!r}.")
    if not progress and checkpoint is None:
        return solve_steps(problem, network, method, start, num_steps, every, record)
    if is_traced():
        raise CojaxInputError(
            "solve needs to be called outside of jit, vmap and grad where it shows a bar or keeps a checkpoint, got "
            "traced arrays; leave progress and checkpoint out."
        )
    num_steps = whole_number("solve", "num_steps", num_steps, at_least=0)
    with progress_bar("solve", num_steps, progress) as told:
        ran = in_pieces(
            problem,
            network,
            method,
            start,
            num_steps=num_steps,
            every=every,
            record=record,
            checkpoint=checkpoint,
            told=told,
        )
    return ran.solution
