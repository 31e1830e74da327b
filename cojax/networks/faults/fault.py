"""What may happen to links, messages and nodes, as values: a network holds a tuple of them."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt32

from ..._support.checks import CojaxInputError
from ...problems.membership import Moves
from ..base import Layout, Network
from ..links.links import Innovation
from .draws import arc_bits, key_words, mix_bits


class Copy(NamedTuple):
    """One copy of every message, by the step in which it is sent and by directed edge."""

    there: Bool[Array, "..."]  # whether it arrives at all
    late: Int[Array, "..."]  # how many steps after it was sent
    spoiled: UInt32[Array, "..."]  # 0 of an intact one, otherwise what decides how it was spoiled


class Sending(NamedTuple):
    """Which messages are meant: by the step in which they are sent, their sender and their receiver."""

    step: Int[Array, "s *ones"]
    sender: Int[Array, "*edges"]
    receiver: Int[Array, "*edges"]

    def bits(self, key: PRNGKeyArray, salt: int) -> UInt32[Array, "..."]:
        """32 random bits a message; another `salt`, other bits."""
        low, high = jax.vmap(lambda k: key_words(jax.random.fold_in(key, salt), k))(self.step.ravel())
        shape = self.step.shape
        return mix_bits(arc_bits(low.reshape(shape), high.reshape(shape), self.sender, self.receiver))


class Fault(eqx.Module):
    """What may go wrong on a network: it changes the graph of a step, strikes messages, or stops nodes."""

    made_by: ClassVar[str]  # the function of cojax that puts it on a network, as sentences name it
    one_way: ClassVar[bool] = False  # whether one end only sees it, so that sums are kept by a ledger alone
    spoils: ClassVar[bool] = False  # whether messages arrive damaged
    stops: ClassVar[bool] = False  # whether nodes are down and keep their state
    waits: ClassVar[bool] = False  # whether it looks at when messages are there, after all other faults

    def check(self, network: Network) -> None:
        """Refuse, with the way out, a network on which this fault would be a wrong model."""
        network.link.check(fixed=False, symmetric=True)
        if self.one_way:
            check_ledger_can_carry(self.made_by, network)

    def on(self, graph: Layout, k: Int[Array, ""] | int) -> Layout:
        """The graph of step `k` as both ends of its edges see it."""
        return graph

    def up(self, step: Array, nodes: Array) -> Array | None:
        """Whether `nodes` are up, and there at all, in `step`; None: they always are."""
        return None

    def sends(self, step: Array, nodes: Array) -> Array | None:
        """Whether `nodes` send in `step` what they told last; None: they always do."""
        return self.up(step, nodes)

    def telling(self, step: Array) -> Array | None:
        """The part of all nodes that send in `step`, whose bits count; None: all count."""
        return None

    def strike(self, copies: list[Copy], sending: Sending, place: int) -> list[Copy]:
        """The copies of every message after this fault, which is in this `place` among those that one end sees."""
        return copies

    @property
    def most_late(self) -> int:
        """How many steps a message is delayed at most."""
        return 0

    @property
    def loss(self) -> Any:
        """The probability that a link is down in a step, for both ends."""
        return 0.0

    @property
    def period(self) -> int:
        """Nobody talks but in the first of so many steps."""
        return 1

    @property
    def members(self) -> Moves | None:
        """Who leaves and who joins."""
        return None


def check_ledger_can_carry(owner: str, network: Network) -> None:
    """Refuse a link with a memory, whose ends have to agree."""
    network.link.check(fixed=False, symmetric=True)
    if not network.edges_stay:
        raise CojaxInputError(
            f"{owner} cannot keep books of pairs that are drawn anew in every step, for they part before these are "
            "settled; use a network whose links stay, or Lossy, whose loss both ends see."
        )
    if isinstance(network.link, Innovation):
        raise CojaxInputError(
            f"{owner} cannot carry Innovation: its memories stay equal only where the sender knows what arrived; use "
            "Lossy, whose loss both ends see, or the link Ideal() or Quantized(quantizer)."
        )


def fates(faults: tuple[Fault, ...], sending: Sending) -> list[Copy]:
    """The copies of every message, as the faults that one end sees make them, one after the other."""
    shape = jnp.broadcast_shapes(sending.step.shape, sending.sender.shape)
    copies = [Copy(jnp.ones(shape, bool), jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.uint32))]
    placed = list(enumerate(fault for fault in faults if fault.one_way))
    for place, fault in sorted(placed, key=lambda one: one[1].waits):
        copies = fault.strike(copies, sending, place)
    return copies
