"""What a run solves, step by step."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    from .problem import Problem


class Scenario(eqx.Module):
    """A problem of every step: a `Problem` is one that stays; `Changing` and `Minibatch` have one and vary it."""

    @property
    @abc.abstractmethod
    def base(self) -> "Problem":
        """A problem of all nodes that are ever there, with the cost, bounds and shapes that hold at every step."""

    @abc.abstractmethod
    def at(self, k: Int[Array, ""] | int) -> "Problem":
        """The problem in force after `k` steps."""

    @abc.abstractmethod
    def start(self, params: Any = None, cpu: Any = None) -> Any:
        """A decision to start from, its shares on the grid that keeps their sum exact."""

    @property
    def num_nodes(self) -> int:
        """n, of all nodes that are ever there."""
        return self.base.num_nodes

    def arrivals(self, k: Int[Array, ""] | int) -> Float[Array, "n *r"] | None:
        """What reaches the share of every node in step `k` - 1, so that they sum to the budget after `k` steps."""
        return None

    @property
    def last_change(self) -> int:
        """The step from which the problem stays as it is."""
        return 0

    @property
    def members(self) -> Bool[Array, " n"] | None:
        """Who is there at first, where nodes come and go; None: all are."""
        return None

    def handed_over(self, k: Int[Array, ""] | int, method: Any, state: Any) -> Any:
        """The state of `method` after `k` steps, once those who leave or join with the last of them have done so."""
        return state
