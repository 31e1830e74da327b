"""Networks whose nodes come and go."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ._checks import CojaxInputError, is_concrete
from .attendance import Moves
from .changing import Changing
from .layouts import Network, Wrapper, check_two_sided, check_undirected, wrappers
from .padding import PaddedProblem, padding_of


def _moves(value: Any) -> Moves:
    moves = value.moves if isinstance(value, Changing) else value
    if not isinstance(moves, Moves):
        got = "one whose nodes all stay" if isinstance(value, Changing) else f"a {type(value).__name__}"
        raise CojaxInputError(
            f"Members needs a Changing problem in which nodes leave or join, got {got}; a network on which all stay "
            "needs no Members."
        )
    return moves


class Members(Wrapper):
    """A network on which the links of nodes that are away are silent; its graphs are those of all nodes ever there.

        problem = cojax.Changing(problem, [cojax.Change(500, leaves=3, heir=4), cojax.Change(900, joins=3)])
        solution = cojax.solve(problem, cojax.Members(network, problem), method, problem.start(params), num_steps=2000)

    Weights stay as they are: numbers that `tuned` and the defaults choose for the plain problem of all nodes serve any
    of them. Those who are left need not be connected: each part then finds its own optimum, and `solve_to` says
    `DISCONNECTED`. `Lossy` and
    `Intermittent` networks go inside or outside, faults in one direction and their `Ledger` outside: what is on its way
    to a node that leaves goes to its heir, and what it gave still reaches its neighbours.

    Args: network, undirected; moves, a `Changing` problem in which nodes leave or join, or its field `moves`.
    Raises `CojaxInputError` for a directed network, links with one memory per node, and a problem whose nodes all stay.
    """

    network: Any
    moves: Moves = eqx.field(converter=_moves)

    def __check_init__(self):
        if not isinstance(self.network, Network):
            raise CojaxInputError(
                f"Members needs a network, got {type(self.network).__name__}; make one by cojax.network(...)."
            )
        if self.network.num_nodes != self.moves.roll.shape[-1]:
            raise CojaxInputError(
                f"Members needs a network of all nodes that are ever there, {self.moves.roll.shape[-1]}, got "
                f"{self.network.num_nodes}."
            )
        if self.network.keeps_books:
            raise CojaxInputError(
                "Members needs a network without a ledger, got one with it; put the Ledger around it."
            )
        check_undirected("Members", self.network, "without a node that left its weights would be balanced no more")
        check_two_sided("Members", self.network)
        self.network.link.check(fixed=False, symmetric=True)

    def at(self, k):
        there = self.moves.there(k)

        def keep(i: Array, j: Array) -> Array:
            return there[i] & there[j]

        return self.network.at(k).thin(keep)


def members_of(network: Any) -> Members | None:
    """The `Members` among a network and those that it is around."""
    return next((each for each in wrappers(network) if isinstance(each, Members)), None)


def check_members(problem: Any, network: Any) -> None:
    """Refuse a problem and a network that do not say the same about who is there; as far as they are known."""
    found = members_of(network)
    if padding_of(network) is not None or isinstance(problem, PaddedProblem):
        if problem.members is None or padding_of(network) is None or found is not None:
            raise CojaxInputError(
                "solve needs the problem and the network that one cojax.shard returned, got one of them with another: "
                "of the rows that shard adds, both have to know that they hold no node."
            )
        return
    if problem.members is None and found is None:
        return
    if found is None:
        raise CojaxInputError(
            "solve needs a network on which nodes that are away are silent, got one on which all talk; use "
            "cojax.Members(network, problem)."
        )
    moves = getattr(problem, "moves", None)
    pairs = zip(jax.tree.leaves(moves), jax.tree.leaves(found.moves), strict=False)
    if moves is None or (is_concrete(moves, found) and not all(np.array_equal(*pair) for pair in pairs)):
        raise CojaxInputError(
            "solve needs a network with the Members of its own problem, got those of another; use "
            "cojax.Members(network, problem) with this problem."
        )
