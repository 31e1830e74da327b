"""Networks whose nodes come and go."""

from typing import Any, ClassVar

from jaxtyping import Array

from ..._support.checks import CojaxInputError
from ...problems.changing import Changing
from ...problems.membership import Moves
from .fault import Fault
from .faulty import FaultyNetwork, with_fault


class Absences(Fault):
    """The links of nodes that are away are silent. Fields: moves, who leaves and who joins."""

    made_by: ClassVar[str] = "Members"
    moves: Moves

    @property
    def members(self):
        return self.moves

    def check(self, network):
        Fault.check(self, network)
        if network.num_nodes != self.moves.roll.shape[-1]:
            raise CojaxInputError(
                f"Members needs a network of all nodes that are ever there, {self.moves.roll.shape[-1]}, got "
                f"{network.num_nodes}."
            )

    def on(self, graph, k):
        there = self.moves.there(k)

        def keep(i: Array, j: Array) -> Array:
            return there[i] & there[j]

        return graph.thinned(keep)

    def up(self, step, nodes):
        return self.moves.there(step, nodes)


def Members(network: Any, moves: Any) -> FaultyNetwork:
    """A network on which the links of nodes that are away are silent; its graphs are those of all nodes ever there.

        problem = cojax.Changing(problem, [cojax.Change(500, leaves=3, heir=4), cojax.Change(900, joins=3)])
        solution = cojax.solve(problem, cojax.Members(network, problem), method, problem.start(params), num_steps=2000)

    Weights stay as they are: numbers that `tuned` and the defaults choose for the plain problem of all nodes serve any
    of them. Those who are left need not be connected: each part then finds its own optimum, and `solve_to` says
    `DISCONNECTED`. Under a `Ledger`, what is on its way to a node that leaves goes to its heir, and what it gave still
    reaches its neighbours.

    Args: network, undirected; moves, a `Changing` problem in which nodes leave or join, or its field `moves`.
    Raises `CojaxInputError` for a directed network, links with one memory per node, and a problem whose nodes all stay.
    """
    found = moves.moves if isinstance(moves, Changing) else moves
    if not isinstance(found, Moves):
        got = "one whose nodes all stay" if isinstance(moves, Changing) else f"a {type(moves).__name__}"
        raise CojaxInputError(
            f"Members needs a Changing problem in which nodes leave or join, got {got}; a network on which all stay "
            "needs no Members."
        )
    return with_fault(network, Absences(found), "without a node that left its weights would be balanced no more")
