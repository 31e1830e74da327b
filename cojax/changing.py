"""Problems whose budget and data change while a run is under way, and nodes that come and go between runs."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from . import _grid
from ._checks import CojaxInputError, is_concrete, real_array, whole_number
from ._tree import Tree
from .problems import Decision, Problem, check_plain


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
    """

    step: int
    budget: Any = None
    node: int | None = None
    data: Tree = None


class Changing(Problem):
    """A problem of which budget and data change at given steps; shares sum to the budget in force at every step.

    The jump of a budget goes to the share of one node, or in equal parts to all, in the step in which it comes, and the
    method spreads it from there: the total is exact from that step on, bit for bit. Trackers follow the gradients of
    new data by themselves. Needs an allocator that adds its flow: all but `MomentumFlow`.

    The problem itself is its first stage: `certificate(problem.at(k), x)` judges a decision after k steps.

    Args: problem, with the first budget and data; changes, in the order of their steps, which are whole numbers >= 1.
    Made on the host; the data and the budgets are differentiable afterwards, as fields.
    Raises `CojaxInputError` for steps out of order, data of another shape, and budgets outside of the summed bounds.
    `start` also refuses a jump so large beside the shares at the start that their grid could not hold it.
    """

    steps: Int[Array, " t"]
    stages: Tree  # data of every stage, (t + 1, n, ...), or None where they stay
    budgets: Float[Array, "s *r"] | None  # t + 1 of them
    jumps: Float[Array, "t n *r"] | None  # what arrives at every node with every change

    def __init__(self, problem: Problem, changes: Sequence[Change]):
        check_plain("Changing", problem)
        changes = list(changes)
        self.cost, self.penalty = problem.cost, problem.penalty
        self.lower, self.upper = problem.lower, problem.upper
        self.steps = jnp.asarray(_checked_steps(changes), jnp.int32)
        self.data, self.stages = problem.data, None
        if any(change.data is not None for change in changes):
            self.stages = _stacked([problem.data, *(change.data for change in changes)])
        self.budget = problem.budget
        self.budgets = self.jumps = None
        if any(change.budget is not None for change in changes):
            self.budgets = _rounded(problem, changes)
            self.budget = self.budgets[0]
            self.jumps = _jumps(self.budgets, changes, problem.num_nodes)

    def at(self, k):
        stage = jnp.searchsorted(self.steps, jnp.asarray(k, jnp.int32), side="right")
        now = self
        if self.stages is not None:
            now = eqx.tree_at(lambda p: p.data, now, jax.tree.map(lambda leaf: leaf[stage], self.stages))
        if self.budgets is not None:
            now = eqx.tree_at(lambda p: p.budget, now, self.budgets[stage])
        return now

    @property
    def last_change(self):
        return int(self.steps[-1]) if self.steps.size else 0

    def arrivals(self, k):
        if self.jumps is None:
            return None
        here = (self.steps == k).reshape(-1, *[1] * (self.jumps.ndim - 1))
        return jnp.where(here, self.jumps, 0).sum(0)

    def start(self, params: Tree = None, cpu: Any = None) -> Decision:
        """As `Problem.start`; raises `CojaxInputError` also where a jump is too large for the grid of the shares."""
        decision = Problem.start(self, params, cpu)
        if self.jumps is not None and is_concrete(decision.cpu, self.jumps):
            most = jnp.max(jnp.abs(decision.cpu)) + jnp.max(jnp.abs(jnp.cumsum(self.jumps, axis=0)))
            if float(most) > float(_grid.largest_share(decision.cpu)):
                raise CojaxInputError(
                    f"Changing needs shares of up to {float(_grid.largest_share(decision.cpu)):g} with this start, got "
                    f"jumps that make one {float(most):g}: its sum could not stay exact; leave node out, so that all "
                    "nodes take their part, or start with larger shares."
                )
        return decision


def left(x: Decision, node: int, heir: int) -> Decision:
    """The decision without `node`, whose share is handed over to `heir`, exactly: to start a run without it.

    The problem and the network of that run have one node less; trackers start from the gradients there. Both numbers
    are of the old run. Raises `CojaxInputError` for a node that hands over to itself or does not exist.
    """
    count = jax.tree.leaves(x)[0].shape[0]
    for name, value in (("node", node), ("heir", heir)):
        if whole_number("left", name, value, at_least=0) >= count:
            raise CojaxInputError(f"left needs {name} from 0 to {count - 1}, got {value}.")
    if node == heir:
        raise CojaxInputError(f"left needs an heir other than the node that leaves, got {node} for both.")
    if x.cpu is not None:
        x = x._replace(cpu=x.cpu.at[heir].add(x.cpu[node]))
    return jax.tree.map(lambda leaf: jnp.delete(leaf, node, axis=0), x)


def joined(x: Decision, friend: int) -> Decision:
    """The decision with one node more, the last, without a share and with the params of node `friend`.

    The problem and the network of the run that starts from it have one node more. Raises `CojaxInputError` for a friend
    that does not exist.
    """
    count = jax.tree.leaves(x)[0].shape[0]
    if whole_number("joined", "friend", friend, at_least=0) >= count:
        raise CojaxInputError(f"joined needs friend from 0 to {count - 1}, got {friend}.")
    params = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[friend : friend + 1]]), x.params)
    cpu = None if x.cpu is None else jnp.concatenate([x.cpu, jnp.zeros_like(x.cpu[:1])])
    return Decision(params, cpu)


def _checked_steps(changes: list[Change]) -> list[int]:
    if not changes:
        raise CojaxInputError("Changing needs at least one Change, got none; use the problem itself.")
    steps = [whole_number("Changing", "step", change.step, at_least=1) for change in changes]
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise CojaxInputError(f"Changing needs steps in growing order, got {steps}; put what changes at once into one.")
    return steps


def _stacked(given: list[Tree]) -> Tree:
    """Data of every stage, what is None taken from the stage before."""
    stages, shapes = [given[0]], jax.tree.map(jnp.shape, given[0])
    for data in given[1:]:
        data = stages[-1] if data is None else data
        if jax.tree.structure(data) != jax.tree.structure(given[0]) or jax.tree.map(jnp.shape, data) != shapes:
            raise CojaxInputError(
                f"Changing needs data shaped as those of the problem, {shapes}, got {jax.tree.map(jnp.shape, data)}; "
                "a node with other data than the others is padded, one that leaves is a new run: cojax.left."
            )
        for leaf in jax.tree.leaves(data):
            real_array("Changing", "data", leaf)
        stages.append(data)
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf, leaves[0].dtype) for leaf in leaves]), *stages)


def _rounded(problem: Problem, changes: list[Change]) -> Array:
    """The budget of every stage, on one grid."""
    if problem.budget is None:
        raise CojaxInputError("Changing got a new budget, but the problem has none; give the problem one.")
    budgets = [np.asarray(problem.budget)]
    for change in changes:
        budget = budgets[-1] if change.budget is None else real_array("Changing", "budget", change.budget)
        if np.shape(budget) != np.shape(problem.budget):
            raise CojaxInputError(
                f"Changing needs budgets of shape {np.shape(problem.budget)}, got shape {np.shape(budget)}."
            )
        # As a problem of its own, so that it is checked against the bounds.
        like = Problem(problem.cost, problem.data, budget, lower=problem.lower, upper=problem.upper)
        budgets.append(np.asarray(like.budget))
    table = jnp.asarray(np.stack(budgets), problem.budget.dtype)
    return _grid.on_grid(table, _grid.common_grid(table))


def _jumps(budgets: Array, changes: list[Change], num_nodes: int) -> Array:
    """(t, n, *r): the difference of every budget to that before, on the grid, at one node or in equal parts."""
    grid = float(_grid.common_grid(budgets))
    counts = np.round(np.diff(np.asarray(budgets, np.float64), axis=0) / grid).astype(np.int64)
    jumps = np.zeros((len(changes), num_nodes, *budgets.shape[1:]), np.int64)
    for row, count, change in zip(jumps, counts, changes, strict=True):
        if change.node is None:
            row += count // num_nodes
            row += np.arange(num_nodes).reshape(-1, *[1] * count.ndim) < count % num_nodes
        elif whole_number("Changing", "node", change.node, at_least=0) >= num_nodes:
            raise CojaxInputError(f"Changing needs node from 0 to {num_nodes - 1}, got {change.node}.")
        else:
            row[change.node] = count
    return jnp.asarray(jumps * grid, budgets.dtype)
