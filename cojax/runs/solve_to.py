"""A run that ends when its answer is proved good enough, for those who know the tolerance and not the steps."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError, check_number, whole_number
from .._support.compiling import compiled
from .._support.trees import choose_rows, zeros_like
from ..methods import Method
from ..networks.base import Network
from ..networks.connectivity import connects
from ..optimum.certificates import Certificate, certificate_within, is_certified, is_stationary
from ..problems.problem import Decision, Problem, Scenario
from .pieces import in_pieces, progress_bar
from .progress import precision, stalled
from .records import standard
from .solutions import Solution, State
from .status import Status, is_lost, second_tier

HOPELESS = (Status.NOT_FINITE, Status.DIVERGED, Status.INFEASIBLE)


def solve_to(
    problem: Scenario,
    network: Network,
    method: Method,
    start: Decision | State,
    *,
    tolerance: float,
    max_steps: int,
    every: int = 100,
    record: Callable[[Problem, Decision, State], Any] = standard,
    deadline: int | float | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Solution:
    """Steps from `start` until the certificate of the decision keeps `tolerance`, or `max_steps` are done.

    The certificate judges the problem that the run solves: with a penalty its softened form, whose bounds give way;
    without one the problem itself, whose bounds the run does not see: it converges there only where none is active. A
    `Changing` problem is not done before its last change.

    Args:
        problem, network, method, start, record: as in `solve`. On the host: not under jit, vmap or grad.
        tolerance: of `is_certified`, relative; the second tier is `tolerance ** (2/3)`.
        max_steps: at most, a multiple of `every`.
        every: steps between two looks, and between two certificates.
        deadline: seconds of the clock of a `Timed` network: the run ends at the first look at or beyond it, with the
            status `OUT_OF_TIME` where it does not keep its tolerance.
        progress: whether to show a bar, in a terminal or a notebook (tqdm).
        checkpoint: a file that the run is saved to as it goes on, never more than a twentieth of the time, and after
            Ctrl-C or SIGTERM, which end it after the look under way. Where the file exists, the run goes on from it, as
            in `solve`.

    Returns: a `Solution` with its `certificate`. Its status is `CONVERGED` or `CONVERGED_REDUCED` by the certificate
    alone, and `DISCONNECTED` where it is not and the links that were up did not connect all nodes. It is `STATIONARY`
    where all numbers keep the tolerance but the gap of the model, which nothing bounds; a run ends so where more steps
    could not bound it either. A run that diverged and still moves away ends there.

    Raises `CojaxInputError` as `solve` does, for a trace that could grow beyond 4 GB, for a tolerance that the
    precision of the decision cannot reach, for a deadline without a clock, for a checkpoint of another run, and for one
    that cannot be written: before the first step.
    """
    check_number("solve_to", "tolerance", tolerance, above=0.0, below=1.0, shaped=())
    every = whole_number("solve_to", "every", every, at_least=1)
    max_steps = whole_number("solve_to", "max_steps", max_steps, at_least=0)
    if max_steps % every:
        raise CojaxInputError(f"solve_to needs max_steps to be a multiple of every, got {max_steps} and {every}.")
    check_reachable("solve_to", start, tolerance)
    if deadline is not None:
        check_number("solve_to", "deadline", deadline, above=0.0, shaped=())
        if network.clock is None:
            raise CojaxInputError(
                "solve_to needs a network with a clock to keep a deadline: cojax.Timed(network, cojax.Clock(...))."
            )

    def late(solution: Solution) -> bool:
        elapsed = solution.state.elapsed
        return deadline is not None and elapsed is not None and not float(elapsed.seconds.max()) < deadline

    def decided(solution: Solution) -> Decision:
        """The decision in the order in which the problem has its nodes, 0 where none is."""
        x = network.to_rows(solution.x)
        return choose_rows(problem.at(solution.state.step).members, x, zeros_like(x))

    def done(solution: Solution) -> bool:
        if int(solution.status) == Status.NOT_FINITE or late(solution):
            return True
        if int(solution.state.step) < problem.last_change:
            return False
        if is_lost(solution):
            return True
        nearby = second_tier(tolerance)  # farther off no gap of the model is needed to tell
        judged = _certify(problem, decided(solution), solution.state.step, nearby)
        # Of a model that is not convex, or too large, more steps prove no more.
        ended = bool(np.isnan(judged.model_gap)) and bool(is_stationary(judged, tolerance))
        return ended or bool(is_certified(judged, tolerance))

    with progress_bar("solve_to", max_steps, progress) as told:
        ran = in_pieces(
            problem,
            network,
            method,
            start,
            num_steps=max_steps,
            piece=every,
            every=every,
            record=record,
            done=done,
            checkpoint=checkpoint,
            told=told,
        )
    solution = ran.solution
    judged = _certify(problem, decided(solution), solution.state.step, jnp.inf)
    first = int(start.step) if isinstance(start, State) else 0
    status = _status(network, solution, judged, tolerance, first)
    if late(solution) and status in (Status.OUT_OF_STEPS, Status.CONVERGED_REDUCED):
        status = Status.OUT_OF_TIME
    return solution._replace(status=jnp.asarray(status, jnp.int32), certificate=judged)


def _status(network: Network, solution: Solution, judged: Certificate, tolerance: float, first: int) -> Status:
    """How a run ended, by its certificate where that says more than the solver does."""
    status = Status(int(solution.status))
    if status in HOPELESS:
        return status
    if bool(is_certified(judged, tolerance)):
        return Status.CONVERGED
    if status is Status.INTERRUPTED:
        return status
    if not connects(network, first, int(solution.state.step)):
        return Status.DISCONNECTED
    return short_of(solution, judged, tolerance)


def short_of(solution: Solution, judged: Certificate, tolerance: float) -> Status:
    """How a run ended that is not certified to its tolerance: never as converged, whatever digits it settled to."""
    if bool(is_stationary(judged, tolerance)):
        return Status.STATIONARY
    status = Status(int(solution.status))
    if status in (Status.STALLED, Status.LIMIT_CYCLE):
        return status
    if stalled(solution.state.progress):  # within the tolerance of `solve`, but not within this one
        return Status.STALLED
    return Status.CONVERGED_REDUCED if bool(is_certified(judged, second_tier(tolerance))) else Status.OUT_OF_STEPS


@functools.partial(compiled, runs_briefly=True)
def _certify(problem: Scenario, x: Decision, k: Any, nearby: Any) -> Certificate:
    """The certificate of the problem that the run solves, as it is after `k` steps; see `certificate_within`."""
    now = problem.at(k)
    return certificate_within(now if now.penalty is None else now.softened(), x, nearby)


def check_reachable(owner: str, start: Decision | State, tolerance: float) -> None:
    """Refuse a tolerance that the rounding of the decision hides."""
    reachable = 64 * precision(start.grad if isinstance(start, State) else start)
    if tolerance < reachable:
        dtypes = ", ".join(
            sorted({str(leaf.dtype) for leaf in jax.tree.leaves(start) if jnp.issubdtype(leaf.dtype, jnp.floating)})
        )
        raise CojaxInputError(
            f"{owner} needs a tolerance that numbers in {dtypes} can reach, >= {reachable:.1e}, got {tolerance:g}; "
            "raise it, or enable jax_enable_x64 and start from float64."
        )
