"""How a run ended, in words, and what to do next."""

from collections import Counter
from typing import Any

import jax
import numpy as np

from .._support.checks import is_concrete
from .._support.reprs import brief
from ..optimum.certificates import judgement, verdict
from ..problems.problem import NO_GRADIENT
from .records import Trace
from .status import Status

# Of the run that ended so, and what to do about it.
ENDS = {
    "CONVERGED": "settled to half of the digits that it computes in",
    "CONVERGED_REDUCED": "came close and was still coming closer: give it more steps",
    "OUT_OF_STEPS": "took all its steps: give it more",
    "STALLED": "came hardly closer for half of its steps: round less on the link, take larger steps, or another method",
    "LIMIT_CYCLE": "went up and down for half of its steps: take smaller step sizes, or another method",
    "DIVERGED": "diverged: take smaller step sizes",
    "NOT_FINITE": "diverged until numbers overflowed: take smaller step sizes",
    "INFEASIBLE": "lost the budget: check that shares within the bounds can sum to it; if they can, a share outgrew "
    "its grid, 64 times the largest at the start (float32: 16): take smaller step sizes, or start from larger shares",
    "DISCONNECTED": "had links that never connected all nodes: give the network more of them, or fewer losses",
    "INTERRUPTED": "was interrupted: give its state to solve and it goes on",
    "STATIONARY": "kept its tolerance, but nothing shows that its model is the best, or that there is a best one: "
    "without a ridge a cost may fall for ever, and a cost that is not convex shows no more",
    "OUT_OF_TIME": "reached its deadline: give it more seconds, shares or bandwidth, or ask for less",
}
MORE = {Status.CONVERGED_REDUCED, Status.OUT_OF_STEPS, Status.INTERRUPTED, Status.OUT_OF_TIME}
JUDGE = "cojax.certificate(problem, solution.x)"


def describe_ending(solution: Any) -> str:
    """A `Solution` in a few lines: how it ended, what it kept, how good it is, what to do next."""
    try:
        known = is_concrete(solution.status, solution.state) and all(
            getattr(leaf, "is_fully_addressable", True) for leaf in jax.tree.leaves(solution)
        )
        if known:
            return _one(solution) if np.ndim(solution.status) == 0 else _many(solution)
    except Exception:  # a tree of the shape of a solution with other leaves; an error here would hide another
        pass
    return f"Solution(x={brief(solution.x)}, status={brief(solution.status)})"


def tally(status: Any) -> str:
    """How many of many runs ended how, the most frequent first."""
    counts = Counter(np.ravel(status).tolist())
    return ", ".join(f"{count} {Status(code).name}" for code, count in counts.most_common())


def _one(solution: Any) -> str:
    status, state = Status(int(solution.status)), solution.state
    judged = solution.certificate
    told = "kept its tolerance" if judged is not None and status == Status.CONVERGED else ENDS[status.name]
    told = _unfit(state.progress.unfit) or told
    lines = [f"Solution after {int(state.step)} steps: {status.name}. The run {told}."]
    kept = _describe_totals(solution)
    lines += [f"  {kept}"] if kept else []
    if judged is not None:
        lines += [f"  {verdict(judged)}", *(f"  {line}" for line in judgement(judged))]
    elif status not in (Status.NOT_FINITE, Status.DIVERGED):
        lines.append(f"  how good it is: {JUDGE}")
    if isinstance(solution.trace, Trace) and np.size(solution.trace.step) and float(solution.trace.overload[-1]) > 0:
        lines.append("  within the bounds: cojax.polish(problem, solution.x); a run feels them by a penalty= only")
    if status in MORE:
        lines.append("  to go on: cojax.solve(problem, network, method, solution.state, num_steps=...)")
    return "\n".join(lines)


def _unfit(nodes: Any) -> str:
    """Where the start had no finite gradient, of which no step size makes a run; nothing where it had one."""
    halves = zip(np.asarray(nodes), ("params", "cpu"), strict=True)
    found = [f"node {node} in {half}" for node, half in halves if node >= 0]
    if not found:
        return ""
    return f"had nothing to go by: the gradient of {' and of '.join(found)} {NO_GRADIENT}"


def _describe_totals(solution: Any) -> str:
    """The cost, the total and the agreement of a run, as far as it has them."""
    trace, said = solution.trace, []
    watched = isinstance(trace, Trace) and np.size(trace.step) > 0
    if watched:
        trace = jax.tree.map(np.asarray, trace)
    if watched:
        said.append(f"cost {float(trace.cost[-1]):.6g}")
    if solution.x.cpu is not None:
        each = np.ravel(solution.state.imbalance)
        off = " and ".join(brief(float(number)) for number in each)
        said.append(f"total off by up to {off} (largest of all steps)" if each.any() else "total exact at every step")
    if watched and jax.tree.leaves(solution.x.params):
        said.append(f"models {brief(trace.disagreement[-1])} apart")
    if watched and trace.seconds is not None:
        ends = np.isfinite(trace.seconds[-1])
        never = "no end by the clock: a node with work to do was left without a share"
        said.append(f"{brief(trace.seconds[-1])} s by the clock" if ends else never)
    if watched and float(trace.overload[-1]) > 0:
        said.append(f"a share {brief(trace.overload[-1])} beyond its bounds")
    return ", ".join(said)


def _many(solution: Any) -> str:
    size, off = np.shape(solution.status), float(np.max(solution.state.imbalance))
    total = "total exact at every step of all" if off == 0 else f"total off by up to {brief(off)}"
    runs = f"Solution of {' x '.join(map(str, size))} runs: {tally(solution.status)}"
    unfit = int((np.asarray(solution.state.progress.unfit) >= 0).any(-1).sum())
    runs += f", {unfit} of them without a finite gradient at the start" if unfit else ""
    return runs if solution.x.cpu is None else f"{runs}; {total}"
