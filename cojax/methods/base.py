"""What a method is: what a node tells its neighbours, and what it does with what it heard."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array

from .._support.checks import CojaxInputError, check_number
from .._support.reprs import describe
from .._support.trees import Tree
from ..networks.laws import Along, Weigh


class Method(eqx.Module):
    """An algorithm that sees gradients and flows, never the cost, the data, the graph, or the channel.

    One step of the loop is `update`, then the gradient at `query`, then `message`. All trees have the nodes first.
    """

    adds_flow: ClassVar[bool] = True  # whether shares change by the flow alone, so that it may sum to what arrives
    # The fields of the state whose sums over nodes make the method right; None where they are in no field of their own.
    kept: ClassVar[tuple[str, ...] | None] = None

    def __repr__(self) -> str:
        return describe(self)

    def at(self, k: Any) -> "Method":
        """The method in force at step `k`: this one, unless its numbers change by step, as those of `Scheduled` do."""
        return self

    @property
    def period(self) -> int | None:
        """Steps between two exchanges, of a method that needs a network which is silent in between; None: any."""
        return None

    @property
    def takes_turns(self) -> bool:
        """Whether one place of its message is another number at another step, so that nobody can remember it."""
        return False

    @property
    def steps_late(self) -> int:
        """Steps from when a message is heard to when it is used, at most its period."""
        return 0

    @property
    def halves(self) -> "tuple[Method, Method]":
        """The method of the params and that of the shares: this one twice, of a method that stands alone."""
        return self, self

    def without(self, state: Any, node: Any, heir: Any) -> Any:
        """The state after `node` handed its part of every kept sum over to `heir`; both may be traced."""
        if self.kept is None:
            raise CojaxInputError(
                f"{type(self).__name__} keeps its sums over nodes in no field of its state, so that nobody can hand "
                "its part over and leave; use DIGing, ExactDiffusion, Laplacian, Nesterov or another one that does."
            )

        def hand(leaf: Array) -> Array:
            return leaf.at[node].set(0).at[heir].add(leaf[node])

        parts = {name: jax.tree.map(hand, getattr(state, name)) for name in self.kept}
        return state._replace(**parts) if parts else state

    @abc.abstractmethod
    def init(self, x: Tree, grad: Tree) -> Any:
        """The state at the start, from the decision and its gradient."""

    @abc.abstractmethod
    def message(self, state: Any, grad: Tree) -> Tree:
        """What every node tells its neighbours."""

    def along(self, state: Any) -> Along | tuple:
        """What one edge does with a difference of two messages: a prefix tree of the message."""
        return Weigh()

    @abc.abstractmethod
    def update(self, state: Any, grad: Tree, flow: Tree) -> Any:
        """The state after one step; `flow` is shaped as the message."""

    @abc.abstractmethod
    def query(self, state: Any) -> Tree:
        """The decision, where the next gradient is wanted."""


class Tracked(NamedTuple):
    """What a method of gradient tracking tells its neighbours, and what it hears of them."""

    params: Any
    tracker: Any


class Hold(Method):
    """x+ = x: this half of the decision stays where it started."""

    kept: ClassVar = ()

    def init(self, x, grad):
        return x

    def message(self, state, grad):
        return None

    def update(self, state, grad, flow):
        return state

    def query(self, state):
        return state


def lateness(method: Method) -> int:
    """Steps after which a method uses what it heard: of the half that uses it first."""
    return min((half.steps_late for half in method.halves if not isinstance(half, Hold)), default=0)


def check_share_step(owner: str, step_size: Any) -> None:
    """Refuse a step of an allocator that is not one number > 0."""
    why = "a step per node would break the sum of cpu; put it into the edge weights"
    check_number(owner, "step_size", step_size, above=0.0, shaped=(), why=why)


def check_share_momentum(owner: str, step_size: Any, momentum: Any) -> None:
    """Refuse such a step, and a momentum of an allocator that is not one number in [0, 1)."""
    check_share_step(owner, step_size)
    check_number(owner, "momentum", momentum, at_least=0.0, below=1.0, shaped=())
