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
    `DISCONNECTED`. `Lossy` and `Intermittent` networks go inside or outside.

    Args: network, undirected; problem, a `Changing` in which nodes leave or join.
    Raises `CojaxInputError` for a directed network, a `Ledger`, of which a node that leaves would take along what is on
    its way to it, links with one memory per node or that are silent by themselves, and a problem whose nodes all stay.
    """

    network: Network
    steps: Int[Array, " t"]
    roll: Bool[Array, "s n"]

    def __init__(self, network: Any, problem: Any):
        if not isinstance(network, Network):
            raise CojaxInputError(
                f"Members needs a network, got {type(network).__name__}; make one by cojax.network(...)."
            )
        if not isinstance(problem, Changing) or problem.roll is None:
            raise CojaxInputError(
                f"Members needs a Changing problem in which nodes leave or join, got {_shown(problem)}; a network on "
                "which all stay needs no Members."
            )
        if network.num_nodes != problem.num_nodes:
            raise CojaxInputError(
                f"Members needs a network of all nodes that are ever there, {problem.num_nodes}, got "
                f"{network.num_nodes}."
            )
        if network.keeps_books or (isinstance(network, Layout) and not network.symmetric):
            raise CojaxInputError(
                f"Members needs an undirected network without a ledger, got a {type(network).__name__}: a node that "
                "leaves would take along what is on its way to it."
            )
        network.link.check(fixed=False, symmetric=True)
        self.network, self.steps, self.roll = network, problem.steps, problem.roll

    @property
    def link(self) -> Link:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.network.link

    @property
    def num_nodes(self) -> int:
        return self.network.num_nodes

    def there(self, k: Int[Array, ""] | int) -> Bool[Array, " n"]:
        """Who is there in step `k`."""
        return self.roll[jnp.searchsorted(self.steps, jnp.asarray(k, jnp.int32), side="right")]

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
    if network.keeps_books:
        raise CojaxInputError(
            "solve cannot let nodes leave or join over a Ledger: what is on its way to a node that left would never "
            "arrive; use Lossy, whose loss both ends see, or Crashing, whose nodes come back."
        )
    if isinstance(problem, Changing) and problem.roll is not None:
        if not is_concrete(problem.steps, problem.roll, found):
            return
        same = np.array_equal(problem.steps, found.steps) and np.array_equal(problem.roll, found.roll)
    else:
        same = False
    if not same:
        raise CojaxInputError(
            "solve needs a network with the Members of its own problem, got those of another; use "
            "cojax.Members(network, problem) with this problem."
        )


def _shown(problem: Any) -> str:
    return "one whose nodes all stay" if isinstance(problem, Changing) else f"a {type(problem).__name__}"
