"""Many problems, starts and draws of the links, run side by side and looked at by their distance from the optimum."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, is_concrete
from .._support.trees import Tree
from ..methods import CoOpt, Hold, Method
from ..networks.base import Network
from ..networks.faults.draws import reseed
from ..optimum import reference
from ..problems.problem import Decision, Problem, check_start
from ..runs.loop import init
from ..runs.solutions import State
from ..runs.solve import solve
from .objectives import Looks

Gap = Callable[[Problem, Decision, Decision], tuple]


class Instance(NamedTuple):
    """One problem with its start and its optimum, or many, stacked; `draw` numbers the draw of a lossy network."""

    problem: Problem
    start: Decision
    best: Decision
    draw: Array


class RunPlan(NamedTuple):
    """How an instance is run and looked at."""

    num_steps: int
    every: int
    window: int | None
    gap: Gap


def distances(problem: Problem, x: Decision, best: Decision) -> tuple:
    """The squared distance from the optimum of every half, summed over nodes: disagreement counts too."""
    return tuple(
        sum(((a - b) ** 2).sum() for a, b in zip(jax.tree.leaves(half), jax.tree.leaves(goal), strict=True))
        for half, goal in zip(x, best, strict=True)
    )


def stack_instances(
    problems: Problem | Sequence[Problem],
    starts: Decision | Sequence[Decision],
    optima: Sequence[Decision] | None,
) -> Instance:
    """All instances as one, every leaf with a leading axis; optima are computed where they are not given."""
    problems = [problems] if isinstance(problems, Problem) else list(problems)
    starts = [starts] * len(problems) if isinstance(starts, Decision) else list(starts)
    if not problems or not all(isinstance(problem, Problem) for problem in problems):
        raise CojaxInputError("tune needs a cojax Problem, or a sequence of them, got something else or none.")
    if len(problems) == 1 and len(starts) > 1:
        problems = problems * len(starts)
    if len(problems) != len(starts) or not all(isinstance(start, Decision) for start in starts):
        raise CojaxInputError(
            f"tune needs a start of problem.start(...) for every problem, got {len(starts)} for {len(problems)}."
        )
    for each, start in zip(problems, starts, strict=True):
        check_start("tune", each, start)
    if not is_concrete(problems, starts):
        raise CojaxInputError("tune loops in Python, got traced arrays; call it outside of jit.")
    if optima is None:
        optima = [optimum_of(problem, start) for problem, start in zip(problems, starts, strict=True)]
    if len(optima) != len(problems):
        raise CojaxInputError(f"tune needs an optimum for every problem, got {len(optima)} for {len(problems)}.")
    try:
        parts = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *each) for each in (problems, starts, list(optima))]
    except (ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise CojaxInputError(
            f"tune needs problems and starts of one cost, structure and shape, got different ones ({reason})."
        ) from error
    problem, start, best = parts
    return Instance(problem, start, best, jnp.arange(len(problems)))


def optimum_of(problem: Problem, start: Decision) -> Decision:
    """What a run of this problem converges to."""
    one = jax.tree.map(lambda leaf: leaf.mean(0), start.params)
    return reference(problem.softened(), one).x


def course_of(plan: RunPlan, network: Network, method: Method, instance: Instance) -> Looks:
    """One run of one instance."""
    problem, start, best, draw = instance
    moved = [place for place, half in enumerate(("learn", "allocate")) if _moves(method, half, start)]

    def gaps(x: Decision) -> Float[Array, " h"]:
        found = plan.gap(problem, x, best)
        return jnp.stack([jnp.asarray(found[place], float) for place in moved])

    first = gaps(start)
    scale = jnp.where(first > 0, first, 1.0)

    def look(problem: Problem, x: Decision, state: State) -> tuple:
        seconds = None if state.elapsed is None else state.elapsed.seconds.max()
        return gaps(x) / scale, state.step, state.wire.bits, seconds

    trace = _run(plan, problem, reseed(network, draw), method, start, look)
    return Looks(*jax.tree.map(lambda part: jnp.asarray(part, float), trace))


def _run(plan: RunPlan, problem: Problem, network: Network, method: Method, start: Decision, look: Any) -> Tree:
    if plan.window is None:
        run = solve(problem, network, method, start, num_steps=plan.num_steps, every=plan.every, record=look)
        return run.trace

    def advance(state: State, _: None) -> tuple[State, Tree]:
        # Cut here: what happened in earlier windows is taken as given.
        state = lax.stop_gradient(state)
        run = solve(problem, network, method, state, num_steps=plan.window or 0, every=plan.every, record=look)
        return run.state, run.trace

    state = init(problem, network, method, start)
    _, traces = lax.scan(advance, state, length=plan.num_steps // plan.window)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), traces)


def _moves(method: Method, half: str, start: Decision) -> bool:
    part = start.params if half == "learn" else start.cpu
    return bool(jax.tree.leaves(part)) and not (isinstance(method, CoOpt) and isinstance(getattr(method, half), Hold))


def taken(instances: Instance, which: Any) -> Instance:
    """Some of the stacked instances."""
    return jax.tree.map(lambda leaf: leaf[which], instances)
