"""Networks whose nodes come and go."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from ._checks import CojaxInputError, is_concrete
from .changing import Changing
from .layouts import Layout, Network
from .links import Link


class Members(Network):
    """A network on which the links of nodes that are away are silent; its graphs are those of all nodes ever there.

    Who is there is what `problem` says. Weights stay as they are: bounds of step sizes that hold for all nodes hold for
    any of them. Those who are left need not be connected: each part then finds its own optimum, and `solve_to` says
    `DISCONNECTED`. `Lossy` and `Intermittent` networks go inside or outside, faults in one direction and their `Ledger`
    outside: what is on its way to a node that leaves goes to its heir, and what it gave still reaches its neighbours.

    Args: network, undirected; problem, a `Changing` in which nodes leave or join.
    Raises `CojaxInputError` for a directed network, links with one memory per node, and a problem whose nodes all stay.
    """

    network: Network
    steps: Int[Array, " t"]
    roll: Bool[Array, "s n"]
    movers: Int[Array, " t"]
    heirs: Int[Array, " t"]

    def __init__(self, network: Any, problem: Any):
        if not isinstance(network, Network):
            raise CojaxInputError(
                f"Members needs a network, got {type(network).__name__}; make one by cojax.network(...)."
            )
        roll, movers, heirs = (getattr(problem, name, None) for name in ("roll", "movers", "heirs"))
        if not isinstance(problem, Changing) or roll is None or movers is None or heirs is None:
            raise CojaxInputError(
                f"Members needs a Changing problem in which nodes leave or join, got {_shown(problem)}; a network on "
                "which all stay needs no Members."
            )
        if network.num_nodes != problem.num_nodes:
            raise CojaxInputError(
                f"Members needs a network of all nodes that are ever there, {problem.num_nodes}, got "
                f"{network.num_nodes}."
            )
        if network.keeps_books:
            raise CojaxInputError(
                "Members needs a network without a ledger, got one with it; put the Ledger around it."
            )
        if isinstance(network, Layout) and not network.symmetric:
            raise CojaxInputError(
                f"Members needs an undirected network, got a {type(network).__name__}: without a node that left its "
                "weights would be balanced no more."
            )
        network.link.check(fixed=False, symmetric=True)
        self.network, self.steps = network, problem.steps
        self.roll, self.movers, self.heirs = roll, movers, heirs

    @property
    def link(self) -> Link:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.network.link

    @property
    def num_nodes(self) -> int:
        return self.network.num_nodes

    def there(self, k: Int[Array, "..."] | int, nodes: Int[Array, "..."] | slice = slice(None)) -> Bool[Array, "..."]:
        """Whether `nodes`, or all, are there in step `k`."""
        return self.roll[jnp.searchsorted(self.steps, jnp.asarray(k, jnp.int32), side="right"), nodes]

    def leaving(self, k: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """Who is there no more in step `k`, and its heir; -1 and -1 where nobody left."""
        left = (self.steps == k) & (self.movers != self.heirs)
        place = jnp.argmax(left)
        return jnp.where(left.any(), self.movers[place], -1), jnp.where(left.any(), self.heirs[place], -1)

    def at(self, k):
        there = self.there(k)

        def keep(i: Array, j: Array) -> Array:
            return there[i] & there[j]

        return self.network.at(k).thin(keep)


def members_of(network: Any) -> Members | None:
    """The `Members` among a network and those that it wraps."""
    while isinstance(network, Network):
        if isinstance(network, Members):
            return network
        network = getattr(network, "network", None)
    return None


def check_members(problem: Any, network: Any) -> None:
    """Refuse a problem and a network that do not say the same about who is there; as far as they are known."""
    found = members_of(network)
    if problem.members is None and found is None:
        return
    if found is None:
        raise CojaxInputError(
            "solve needs a network on which nodes that are away are silent, got one on which all talk; use "
            "cojax.Members(network, problem)."
        )
    if isinstance(problem, Changing) and problem.roll is not None:
        if not is_concrete(problem.steps, problem.roll, found):
            return
        pairs = ((problem.steps, found.steps), (problem.roll, found.roll), (problem.heirs, found.heirs))
        same = all(np.array_equal(np.asarray(mine), np.asarray(theirs)) for mine, theirs in pairs)
    else:
        same = False
    if not same:
        raise CojaxInputError(
            "solve needs a network with the Members of its own problem, got those of another; use "
            "cojax.Members(network, problem) with this problem."
        )


def _shown(problem: Any) -> str:
    return "one whose nodes all stay" if isinstance(problem, Changing) else f"a {type(problem).__name__}"
