"""A problem of which some nodes are away: they cost nothing, hold nothing, and have no gradient."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._support import trees
from .._support.checks import CojaxInputError, whole_number
from .._support.precision import in_full
from .._support.trees import Tree, wide
from .problem import Decision, Problem, Softened, slopes


class Roll(NamedTuple):
    """The data of all nodes, and who is there."""

    data: Tree
    there: Bool[Array, " *n"]
    harmless: Any  # (n, *r), shares at which the cost of a node is finite, there or not; None without shares


class Moves(eqx.Module):
    """Who leaves and who joins, and so who is there after how many steps."""

    steps: Int[Array, " t"]
    movers: Int[Array, " t"]  # who leaves or joins with every change, -1: nobody
    heirs: Int[Array, " t"]  # to whom it hands over; one that joins, which has nothing, to itself
    roll: Bool[Array, "s n"]  # who is there before and after each of them

    def there(self, k: Int[Array, "..."] | int, nodes: Int[Array, "..."] | slice = slice(None)) -> Bool[Array, "..."]:
        """Whether `nodes`, or all, are there after `k` steps."""
        return self.roll[jnp.searchsorted(self.steps, jnp.asarray(k, jnp.int32), side="right"), nodes]

    def at(self, k: Int[Array, ""] | int) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """Who leaves or joins with step `k`, and its heir; -1 and -1: nobody."""
        now = self.steps == k
        place = jnp.argmax(now)
        return jnp.where(now.any(), self.movers[place], -1), jnp.where(now.any(), self.heirs[place], -1)


class IfThere(eqx.Module):
    """`cost` where a node is there, else 0; its derivatives are then 0 even where `cost` has none at share 0."""

    cost: Callable
    params: Tree = None  # of one node, for those who are away; None: they keep their own

    def __call__(self, x: Decision, roll: Roll) -> Array:
        params, cpu = _if_there(roll.there, x.params, self.params), _if_there(roll.there, x.cpu, roll.harmless)
        return jnp.where(roll.there, self.cost(Decision(params, cpu), roll.data), 0)


def _if_there(there: Bool[Array, ""], own: Tree, harmless: Tree) -> Tree:
    if own is None or harmless is None:
        return own
    return jax.tree.map(lambda one, other: jnp.where(there, one, other.astype(one.dtype)), own, harmless)


class Attended(Problem):
    """`problem` for those who are there: the others have the bounds 0 and 0, and no part in any cost or gradient.

    Made by `Changing.at`. Args: problem, of all nodes; there, (n,); harmless, as in `Roll`; params, as in `IfThere`.
    """

    whole: Problem
    params: Tree

    def __init__(
        self,
        problem: Problem,
        there: Bool[Array, " n"],
        harmless: Float[Array, "n *r"] | None,
        params: Tree = None,
    ):
        self.whole, self.params = problem, params
        self.cost = IfThere(problem.cost, params)
        self.data = Roll(problem.data, there, harmless)
        self.budget, self.penalty = problem.budget, problem.penalty
        self.lower = self.upper = None
        if problem.lower is not None and problem.upper is not None:
            self.lower = jnp.where(wide(there, problem.lower), problem.lower, 0)
            self.upper = jnp.where(wide(there, problem.upper), problem.upper, 0)

    @property
    def members(self):
        return self.data.there

    @in_full
    def grad_on(self, x, data):
        soft = IfThere(Softened(self.whole.cost, self.whole.penalty), self.params)
        inner = (data.data, self.whole.lower, self.whole.upper)
        return trees.cast_like(slopes(soft, x, data._replace(data=inner)), x)

    def softened(self):
        return Attended(self.whole.softened(), self.data.there, self.data.harmless, self.params)


def roll_of(changes: Sequence[Any], num_nodes: int) -> Bool[np.ndarray, "s n"]:
    """Who is there before and after each of `changes`; those whose first move is to join are not there at first."""
    there = np.ones(num_nodes, bool)
    for change in reversed(changes):
        for name, value in (("leaves", True), ("joins", False)):
            if getattr(change, name) is not None:
                there[node_number(name, getattr(change, name), num_nodes)] = value
    roll = [there]
    for change in changes:
        _check_move(change, there)
        there = there.copy()
        if change.leaves is not None:
            there[change.leaves] = False
        if change.joins is not None:
            there[change.joins] = True
        roll.append(there)
    return np.stack(roll)


def moves_of(changes: Sequence[Any], roll: Bool[np.ndarray, "s n"]) -> Moves:
    """The moves among `changes`, with what `roll_of` says of them."""
    movers = [-1 if change.joins is None and change.leaves is None else _mover(change) for change in changes]
    heirs = [mover if change.heir is None else change.heir for mover, change in zip(movers, changes, strict=True)]
    steps = [change.step for change in changes]
    steps, movers, heirs = (jnp.asarray(part, jnp.int32) for part in (steps, movers, heirs))
    return Moves(steps=steps, movers=movers, heirs=heirs, roll=jnp.asarray(roll))


def node_number(name: str, value: Any, num_nodes: int) -> int:
    """The number of a node, checked."""
    if whole_number("Changing", name, value, at_least=0) >= num_nodes:
        raise CojaxInputError(f"Changing needs {name} from 0 to {num_nodes - 1}, got {value}.")
    return int(value)


def _mover(change: Any) -> int:
    return change.joins if change.leaves is None else change.leaves


def _check_move(change: Any, there: np.ndarray) -> None:
    """Refuse a move that nobody could make."""
    step, leaves, heir, joins = change.step, change.leaves, change.heir, change.joins
    if not there.any():
        raise CojaxInputError("Changing needs a node that is there at first, got changes in which all join later.")
    if leaves is not None and joins is not None:
        raise CojaxInputError(
            f"Changing needs one move in a Change, got node {leaves} that leaves and node {joins} that joins at step "
            f"{step}; give each a step of its own."
        )
    if (leaves is None) != (heir is None):
        raise CojaxInputError(
            f"Changing needs a node that leaves together with the heir of its share, got leaves={leaves} and "
            f"heir={heir} at step {step}."
        )
    if joins is not None and there[joins]:
        raise CojaxInputError(f"Changing needs a node that is away to join, got node {joins}, there at step {step}.")
    if leaves is not None and not there[leaves]:
        raise CojaxInputError(f"Changing needs a node that is there to leave, got node {leaves}, away at step {step}.")
    if heir is not None and (not there[node_number("heir", heir, there.size)] or heir == leaves):
        state = "who leaves itself" if heir == leaves else "who is away"
        raise CojaxInputError(
            f"Changing needs an heir that stays when node {leaves} leaves, got node {heir}, {state}, at step {step}."
        )
