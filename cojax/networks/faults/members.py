"""Networks whose nodes come and go."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from ..._support.checks import CojaxInputError
from ...problems.changing import Changing
from ...problems.membership import Moves
from ..base import Network, Wrapper, check_two_sided, check_undirected, wrappers


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

        return self.network.at(k).thinned(keep)


def members_of(network: Any) -> Members | None:
    """The `Members` among a network and those that it is around."""
    return next((each for each in wrappers(network) if isinstance(each, Members)), None)
