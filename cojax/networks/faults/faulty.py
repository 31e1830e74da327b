"""A network on which faults happen: graphs, a tuple of faults, and whether books are kept."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..._support.checks import CojaxInputError
from ..._support.names import Names
from ..._support.reprs import brief, describe
from ...problems.membership import Moves
from ..base import Layout, Network
from ..clocks import Clock, Ticks
from .fault import Fault, check_ledger_can_carry
from .rounds import Round


class FaultyNetwork(Network):
    """A network on which faults happen; `cojax.Lossy` and its siblings make one, `cojax.Ledger` one that keeps books.

    Fields: graphs, a network without faults; faults, in the order in which they were put on it, which decides nothing
    but their draws; ledger, static, whether the ends of every edge keep books of what they gave; clock, how
    long a round takes, None where nobody asks.
    """

    graphs: Network
    faults: tuple[Fault, ...] = ()
    ledger: bool = eqx.field(static=True, default=False)
    clock: Clock | Ticks | None = None  # pyright: ignore[reportIncompatibleMethodOverride]

    def __check_init__(self):
        for fault in self.faults:
            fault.check(self)
        if self.ledger:
            check_ledger_can_carry("Ledger", self)

    def __repr__(self) -> str:
        if not hasattr(self, "graphs"):  # half made
            return describe(self)
        left_out = ("graphs", "faults") if self.clock is not None else ("graphs", "faults", "clock")
        return describe(self, *map(brief, (self.graphs, *self.faults)), leave_out=left_out)

    @property
    def link(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.graphs.link

    @property
    def num_nodes(self) -> int:
        return self.graphs.num_nodes

    @property
    def keeps_books(self) -> bool:
        return self.ledger

    @property
    def edges_stay(self) -> bool:
        return self.graphs.edges_stay

    @property
    def period(self) -> int:
        return math.lcm(*(fault.period for fault in self.faults))

    @property
    def node_names(self) -> Names | None:
        return self.graphs.node_names

    @property
    def is_cut(self) -> bool:
        return self.graphs.is_cut

    @property
    def is_reordered(self) -> bool:
        return self.graphs.is_reordered

    @property
    def has_node(self) -> Bool[Array, " rows"] | None:
        return self.graphs.has_node

    @property
    def num_callers(self) -> int:
        return self.graphs.num_callers

    def to_rows(self, tree):
        return self.graphs.to_rows(tree)

    def to_nodes(self, tree):
        return self.graphs.to_nodes(tree)

    def bare(self):
        return self.graphs.bare()

    def over(self, graphs):
        return dataclasses.replace(self, graphs=graphs)

    def at(self, k) -> Any:
        graph = self.graphs.at(k)
        for fault in self.faults:
            graph = fault.on(graph, k)
        if self.ledger:
            return Round(graph=graph, faults=self.faults, step=jnp.asarray(k, jnp.int32))  # pyright: ignore
        unseen = next((fault for fault in self.faults if fault.one_way), None)
        if unseen is not None:
            raise CojaxInputError(
                f"{unseen.made_by} lets one end move what the other end never hears of, so node sums would change; "
                "keep books of it, by cojax.Ledger(network)."
            )
        return graph


def untimed(network: Network) -> Network:
    """The network without its clock; its graphs where it has neither faults nor books."""
    if not isinstance(network, FaultyNetwork) or network.clock is None:
        return network
    return dataclasses.replace(network, clock=None) if network.faults or network.ledger else network.graphs


def with_fault(network: Any, fault: Fault, why_undirected: str | None = None) -> FaultyNetwork:
    """`network` with one more fault, the last; `why_undirected` says why a directed one would be wrong."""
    check_network(fault.made_by, network, why_undirected)
    return changed(network, faults=(*faults_of(network), fault))


def changed(network: Network, **fields: Any) -> FaultyNetwork:
    """`network` with other faults, books or clock; what is not named stays as it is."""
    known = isinstance(network, FaultyNetwork)
    return dataclasses.replace(network if known else FaultyNetwork(graphs=network), **fields)  # pyright: ignore


def check_network(owner: str, network: Any, why_undirected: str | None) -> None:
    """Refuse what is no network, and a directed one where `why_undirected` says why."""
    if not isinstance(network, Network):
        raise CojaxInputError(f"{owner} needs a network, got {type(network).__name__}; make one by cojax.network(...).")
    bare = network.bare()
    if why_undirected is not None and isinstance(bare, Layout) and not bare.symmetric:
        raise CojaxInputError(f"{owner} needs an undirected network, got a {type(bare).__name__}: {why_undirected}.")


def faults_of(network: Network) -> tuple[Fault, ...]:
    """The faults of a network."""
    return network.faults if isinstance(network, FaultyNetwork) else ()


def loss_rate(network: Network) -> float:
    """The probability that a link of the graph in force is down; 0 of a network that is not lossy. On the host."""
    return 1.0 - math.prod(1.0 - float(fault.loss) for fault in faults_of(network))


def members_of(network: Network) -> Moves | None:
    """Who leaves and who joins; None where all nodes stay."""
    return next((fault.members for fault in faults_of(network) if fault.members is not None), None)
