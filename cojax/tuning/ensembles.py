"""Many problems, starts and draws of the links, run side by side and looked at by their distance from the optimum."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, is_concrete, one_line
from .._support.trees import Tree
from ..methods import CoOpt, Hold, Method
from ..networks.base import Network
from ..networks.faults.draws import reseed
from ..optimum import reference
from ..problems.problem import Decision, Problem, check_plain, check_start
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


def stack_instances(problems: Any, starts: Any, optima: Any) -> Instance:
    """All instances as one, every leaf with a leading axis; optima are computed where they are not given."""
    problems = _listed(problems)
    for each in problems:
        check_plain("tune", each)
    starts = [starts] * len(problems) if isinstance(starts, Decision) else _listed(starts)
    problems = problems * len(starts) if len(problems) == 1 else problems
    if not problems or len(problems) != len(starts) or not all(isinstance(start, Decision) for start in starts):
        raise CojaxInputError(
            "tune needs one problem or more, and a start of problem.start(...) for each, got "
            f"{len(problems)} and {_kinds(starts)}."
        )
    for each, start in zip(problems, starts, strict=True):
        check_start("tune", each, start)
    if not is_concrete(problems, starts):
        raise CojaxInputError("tune loops in Python, got traced arrays; call it outside of jit.")
    if optima is None:
        optima = [optimum_of(problem, start) for problem, start in zip(problems, starts, strict=True)]
    optima = _listed(optima)
    if len(optima) != len(problems) or not all(isinstance(best, Decision) for best in optima):
        raise CojaxInputError(
            "tune needs the optimum of every problem in optima, as cojax.reference(problem.softened(), ...).x, got "
            f"{_kinds(optima)} for {len(problems)}."
        )
    try:
        parts = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *each) for each in (problems, starts, optima)]
    except (ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise CojaxInputError(
            f"tune needs problems and starts of one cost, structure and shape, got different ones ({reason})."
        ) from error
    problem, start, best = parts
    return Instance(problem, start, best, jnp.arange(len(problems)))


def _listed(given: Any) -> list:
    return list(given) if isinstance(given, Iterable) else [given]


def _kinds(given: list) -> str:
    return ", ".join(type(each).__name__ for each in given) or "none"


def check_gap(gap: Any, instances: Instance) -> None:
    """Refuse what is no function of a problem, a decision and its optimum that returns a number for each half."""
    if not callable(gap):
        raise CojaxInputError(f"tune needs a function gap(problem, x, optimum), got {type(gap).__name__}.")
    try:
        found = jax.eval_shape(gap, *taken(instances, 0)[:3])
    except Exception as error:
        raise CojaxInputError(
            f"tune cannot compute gap(problem, x, optimum) ({one_line(error)}): write it in jax.numpy, of a problem "
            "and two decisions of all its nodes."
        ) from error
    if not isinstance(found, tuple | list) or [jnp.shape(half) for half in found] != [(), ()]:
        raise CojaxInputError(
            f"tune needs gap(problem, x, optimum) to return two numbers, for params and for cpu, got {found!r:.80}."
        )


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
