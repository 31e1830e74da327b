"""Problems whose budget, data and nodes change while a run is under way."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._support import exact_grid
from .._support.checks import MOST_STEPS, CojaxInputError, is_concrete, real_array, whole_number
from .._support.trees import Tree, alike, choose_rows, wide
from .membership import Attended, Moves, moves_of, node_number, roll_of
from .problem import Decision, Problem, Scenario, check_plain, remake, show, with_columns


class Change(NamedTuple):
    """What is new after `step` steps; what is None stays.

        cojax.Changing(problem, [cojax.Change(500, budget=420.0, node=3), cojax.Change(900, data=tomorrow)])

    Of a budget that was 400, 20 units more reach node 3 in step 500, and the method spreads them from there; from step
    900 on gradients are those of other data.

    Fields:
        step: >= 1, counted from the start of the run: in force from the decision after that many steps on.
        budget: () or (r,), the new total, in the unit of cpu; differentiable afterwards, as a field of `Changing`.
        node: where what was added to the budget, or taken from it, arrives, 0 ... n-1; None for equal parts, at all.
        data: shaped as the data of the problem, (n, ...) in every leaf; differentiable afterwards.
        leaves, heir: the node that goes away, and the one that takes over what it holds.
        joins: the node that comes; one that joins before it ever leaves is not there at the start.
    """

    step: int
    budget: Any = None
    node: int | None = None
    data: Tree = None
    leaves: int | None = None
    heir: int | None = None
    joins: int | None = None


class Changing(Scenario):
    """A problem of which budget, data and nodes change at given steps; shares sum to the budget in force at every step.

    The jump of a budget goes to the share of one node, or in equal parts to all, in the step in which it comes, and the
    method spreads it from there: the total is exact from that step on, bit for bit. Trackers follow the gradients of
    new data by themselves. Needs an allocator that adds its flow: all but `MomentumFlow`.

    Nodes that come and go are rows of the problem from first to last: n counts all that are ever there. One that is
    away has share 0, no cost, no gradient, and bounds 0 and 0. One that leaves hands its share over to its heir, to the
    last bit, and with it its part of every sum that the method keeps: trackers sum to the gradients of those who are
    left. One that joins begins with share 0, the params it had, at the start or when it left, and the rest of its state
    as at a start. The network has to know: `solve` takes one wrapped in `Members`. `problem.at(k).members` says who is
    there.

    `problem.at(k)` is the problem after k steps: `certificate(problem.at(solution.state.step), solution.x)` judges a
    run. Its field `problem` is that of the first stage, with all nodes.

    Args: problem, with the first budget and data, of all nodes; changes, in the order of their steps, which are whole
    numbers >= 1. Made on the host; the data and the budgets are differentiable afterwards, as fields.
    Raises `CojaxInputError` for steps out of order, data of another shape, budgets outside of the summed bounds, and
    nodes that leave or join when they cannot.
    `start` also refuses a jump so large beside the shares at the start that their grid could not hold it.
    """

    problem: Problem  # of the first stage, with all nodes
    steps: Int[Array, " t"]
    stages: Tree  # data of every stage, (t + 1, n, ...), or None where they stay
    budgets: Float[Array, "s *r"] | None  # t + 1 of them
    jumps: Float[Array, "t n *r"] | None  # what arrives at every node with every change
    moves: Moves | None  # None: all nodes are always there
    harmless: Float[Array, "n *r"] | None  # as in `Roll`

    def __init__(self, problem: Problem, changes: Sequence[Change]):
        check_plain("Changing", problem)
        changes = _as_list(changes)
        self.steps = jnp.asarray(_checked_steps(changes), jnp.int32)
        self.stages = None
        if any(change.data is not None for change in changes):
            self.stages = _stack(problem.data, changes)
        roll = roll_of(changes, problem.num_nodes)
        self.moves = None if roll.all() else moves_of(changes, roll)
        self.problem = problem
        self.budgets = self.jumps = None
        if any(change.budget is not None for change in changes) or not (roll.all() or problem.budget is None):
            self.budgets = _round_budgets(problem, changes, roll)
            self.problem = remake(problem, budget=self.budgets[0])
            self.jumps = _jumps(self.budgets, changes, roll)
        self.harmless = None if self.moves is None or problem.budget is None else problem.start().cpu

    def at(self, k):
        stage = jnp.searchsorted(self.steps, jnp.asarray(k, jnp.int32), side="right")
        data = self.problem.data if self.stages is None else jax.tree.map(lambda leaf: leaf[stage], self.stages)
        budget = self.problem.budget if self.budgets is None else self.budgets[stage]
        now = remake(self.problem, data=data, budget=budget)
        return now if self.moves is None else Attended(now, self.moves.there(k), self.harmless)

    @property
    def base(self):
        return self.problem

    @property
    def last_change(self):
        return int(self.steps[-1]) if self.steps.size else 0

    @property
    def members(self):
        return None if self.moves is None else self.moves.there(0)

    def arrivals(self, k):
        if self.jumps is None:
            return None
        here = (self.steps == k).reshape(-1, *[1] * (self.jumps.ndim - 1))
        return jnp.where(here, self.jumps, 0).sum(0)

    def handed_over(self, k, method, state):
        if self.moves is None:
            return state
        node, heir = self.moves.at(k)

        def hand_over(state: Any) -> Any:
            handed = method.without(state, node, heir)
            x = method.query(handed)
            # Who leaves stays as it is from here on: without a gradient, what it remembers would still move its params.
            fresh = method.init(x, self.at(k).grad(x))
            return choose_rows(jnp.arange(self.num_nodes, dtype=node.dtype) != node, handed, fresh)

        return lax.cond(node >= 0, hand_over, lambda state: state, state)

    def start(self, params: Tree = None, cpu: Any = None) -> Decision:
        """As `Problem.start`; raises `CojaxInputError` also where a jump is too large for the grid of the shares, and
        for a share at a node that is not there yet."""
        decision = Problem.start(self.at(0), params, cpu)
        if self.moves is not None and self.problem.budget is not None:
            decision = decision._replace(cpu=_among_members(decision.cpu, cpu, self.moves.there(0)))
        if self.jumps is not None and is_concrete(decision.cpu, self.jumps):
            jumped = jnp.max(jnp.abs(jnp.cumsum(self.jumps, axis=0)), (0, 1))
            most = np.ravel(jnp.max(jnp.abs(decision.cpu), 0) + jumped)
            largest = np.ravel(exact_grid.largest_share(decision.cpu))
            for one, allowed in zip(most, largest, strict=True):
                if one > allowed:
                    raise CojaxInputError(
                        f"Changing needs shares of up to {allowed:g} with this start, got jumps that make one "
                        f"{one:g}: its sum could not stay exact; leave node out, so that all nodes take their part, "
                        "or start with larger shares."
                    )
        return decision


def _among_members(settled: Array, given: Any, members: Bool[Array, " n"]) -> Array:
    """`settled` with the last bits that it has at nodes that are away moved to the first one that is there."""
    there = wide(members, settled)
    if given is not None and is_concrete(given, there):
        wrong = np.where(np.asarray(there), 0, np.asarray(given))
        if wrong.any():
            node = np.argwhere(wrong)[0, 0]
            raise CojaxInputError(
                f"Changing needs cpu 0 at nodes that are not there at first, got {show(wrong[node])} at node {node}; "
                "give it to another node."
            )
    away = jnp.where(there, 0, settled).sum(0)
    return jnp.where(there, settled, 0).at[jnp.argmax(members)].add(away)


def _as_list(changes: Any) -> list[Change]:
    if isinstance(changes, Change) or not isinstance(changes, Iterable):
        raise CojaxInputError(f"Changing needs a list of cojax.Change(...), got one {type(changes).__name__}.")
    found: list[Any] = list(changes)
    odd = [type(each).__name__ for each in found if not isinstance(each, Change)]
    if odd:
        raise CojaxInputError(f"Changing needs a list of cojax.Change(...), got one with {odd[0]}.")
    for change in found:
        if change.node is not None and change.budget is None:
            raise CojaxInputError(
                f"Changing needs a node only where a budget jumps, got node={change.node} without budget at step "
                f"{change.step}; give that Change a budget."
            )
    return found


def _checked_steps(changes: list[Change]) -> list[int]:
    if not changes:
        raise CojaxInputError("Changing needs at least one Change, got none; use the problem itself.")
    steps = [whole_number("Changing", "step", change.step, at_least=1, at_most=MOST_STEPS) for change in changes]
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise CojaxInputError(f"Changing needs steps in growing order, got {steps}; put what changes at once into one.")
    return steps


@contextlib.contextmanager
def _naming(step: int) -> Iterator[None]:
    """Of many changes, tell which is refused."""
    try:
        yield
    except CojaxInputError as error:
        raise CojaxInputError(f"{str(error).rstrip('.')} (from step {step} on).") from error


def _stack(first: Tree, changes: list[Change]) -> Tree:
    """Data of every stage, what is None taken from the stage before."""
    stages = [first]
    for change in changes:
        data = stages[-1] if change.data is None else with_columns(change.data)
        with _naming(change.step):
            _check_stage(data, first)
        stages.append(data)
    return jax.tree.map(lambda *leaves: jnp.stack([_typed(leaf, leaves[0]) for leaf in leaves]), *stages)


def _typed(leaf: Any, like: Array) -> Array:
    return leaf if _is_key(like) else jnp.asarray(leaf, like.dtype)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _check_stage(data: Tree, first: Tree) -> None:
    if not alike(data, first):
        shapes = (jax.tree.map(jnp.shape, tree) for tree in (first, data))
        raise CojaxInputError(
            f"Changing needs data shaped as those of the problem, {', got '.join(map(str, shapes))}; "
            "a node with fewer samples than the others is padded."
        )
    for leaf, like in zip(jax.tree.leaves(data), jax.tree.leaves(first), strict=True):
        _check_data(leaf, like)


def _check_data(leaf: Any, like: Array) -> None:
    """Refuse new data that those of the problem, `like`, could not hold."""
    if _is_key(like) or _is_key(leaf):
        kinds = [getattr(each, "dtype", type(each).__name__) for each in (like, leaf)]
        if kinds[0] != kinds[1]:
            raise CojaxInputError(f"Changing needs data of the kinds of the problem's, {kinds[0]}, got {kinds[1]}.")
        return
    if not is_concrete(leaf, like) or np.asarray(leaf).dtype.kind == "b":
        return
    new = real_array("Changing", "data", leaf)
    if np.isnan(new.astype(float)).any():
        raise CojaxInputError("Changing needs data without NaN, got some; drop or fill those rows.")
    with np.errstate(all="ignore"):
        kept = new.astype(like.dtype)
    whole = not jnp.issubdtype(like.dtype, jnp.floating)
    if (kept != new).any() if whole else (np.isfinite(kept) != np.isfinite(new)).any():
        raise CojaxInputError(
            f"Changing needs data that fit the {like.dtype} of the problem's, got {new.dtype} that would become other "
            "numbers; make the problem with data of that type."
        )


def _round_budgets(problem: Problem, changes: list[Change], roll: np.ndarray) -> Array:
    """The budget of every stage, a grid for each resource, within the summed bounds of those who are there."""
    if problem.budget is None:
        raise CojaxInputError("Changing got a new budget, but the problem has none; give the problem one.")
    budgets: list[np.ndarray] = []
    for there, change in zip(roll, [Change(0, problem.budget), *changes], strict=True):
        with _naming(change.step):
            budget = budgets[-1] if change.budget is None else real_array("Changing", "budget", change.budget)
            if np.shape(budget) != np.shape(problem.budget):
                raise CojaxInputError(
                    f"Changing needs budgets of shape {np.shape(problem.budget)}, got shape {np.shape(budget)}."
                )
            # As a problem of its own, so that it is checked against the bounds.
            alone = Attended(problem, jnp.asarray(there), None)
            like = Problem(problem.cost, problem.data, budget, lower=alone.lower, upper=alone.upper)
        budgets.append(np.asarray(like.budget))
    table = jnp.asarray(np.stack(budgets), problem.budget.dtype)
    return exact_grid.on_grid(table, exact_grid.common_grid(table))


def _jumps(budgets: Array, changes: list[Change], roll: np.ndarray) -> Array:
    """(t, n, *r): the difference of every budget to that before, on the grid, at one node or in equal parts."""
    grid = np.asarray(exact_grid.common_grid(budgets), np.float64)
    counts = np.round(np.diff(np.asarray(budgets, np.float64), axis=0) / grid).astype(np.int64)
    jumps = np.zeros((len(changes), roll.shape[1], *budgets.shape[1:]), np.int64)
    for row, count, change, there in zip(jumps, counts, changes, roll[1:], strict=True):
        if change.node is None:
            first = np.arange(there.sum()).reshape(-1, *[1] * count.ndim)
            row[there] = count // there.sum() + (first < count % there.sum())
        else:
            node = node_number("node", change.node, roll.shape[1])
            if not there[node]:
                raise CojaxInputError(f"Changing needs a node that is there for a jump, got node {node}, who is away.")
            row[node] = count
    return jnp.asarray(jumps * grid, budgets.dtype)
