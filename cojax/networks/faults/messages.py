"""What can happen to one message in one direction: lost, late, overtaken, doubled, or spoiled on the way."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt32

from ..._support.checks import CojaxInputError, as_key, check_number, floating, whole_number
from ..base import Network, Wrapper, check_undirected
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


def _key(value: Any) -> Array:
    return as_key("A faulty network", value)


class Faulty(Wrapper):
    """A network whose messages fail in one direction at a time; it works inside a `Ledger` only.

    Faults wrap each other in any order around an undirected network; loss that both ends see, `Lossy`, goes innermost.
    """

    network: eqx.AbstractVar[Any]
    fails_one_way: ClassVar[bool] = True

    def __check_init__(self):
        check_faulty(type(self).__name__, self.network)
        rate: Any = getattr(self, "rate", 0.0)
        check_number(type(self).__name__, "rate", rate, at_least=0.0, below=1.0, shaped=())
        _ = self.most_late  # refuses lengths of time that are none

    @property
    def most_late(self) -> int:
        """How many steps this fault can delay a message at most."""
        return 0

    def at(self, k):
        raise CojaxInputError(
            f"{type(self).__name__} lets one end move what the other end never hears of, so node sums would change; "
            "wrap the whole network: Ledger(...), with Lossy or Intermittent, if any, innermost."
        )

    @abc.abstractmethod
    def strike(self, copies: list[Copy], sending: Sending) -> list[Copy]:
        """The copies of every message after this fault."""


class LossyOneWay(Faulty):
    """A network that loses every message with probability `rate`, each direction by itself; the sender cannot know.

    Args: network; rate, in [0, 1), whose derivative is 0; key, a JAX key or an integer seed.
    """

    network: Any
    rate: Any = eqx.field(converter=floating)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    def strike(self, copies, sending):
        return [copy._replace(there=copy.there & ~_happens(self, sending, place)) for place, copy in enumerate(copies)]


class Delayed(Faulty):
    """A network on which every message takes a random whole number of steps from 0 to `most`, overtaking included.

    Args: network; most, >= 0, static; key, a JAX key or an integer seed.
    """

    network: Any
    most: int = eqx.field(static=True)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    @property
    def most_late(self):
        return whole_number("Delayed", "most", self.most, at_least=0)

    def strike(self, copies, sending):
        drawn = [(sending.bits(self.key, _salt(self, place)) >> 8) % (self.most + 1) for place in range(len(copies))]
        return [
            copy._replace(late=copy.late + late.astype(jnp.int32)) for copy, late in zip(copies, drawn, strict=True)
        ]


class Reordered(Faulty):
    """A network on which a message is overtaken by the one sent after it, with probability `rate`: it comes 2 late.

    Args: network; rate, in [0, 1), whose derivative is 0; key, a JAX key or an integer seed.
    """

    network: Any
    rate: Any = eqx.field(converter=floating)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    @property
    def most_late(self):
        return 2

    def strike(self, copies, sending):
        held_back = [_happens(self, sending, place) for place in range(len(copies))]
        return [
            copy._replace(late=copy.late + 2 * late.astype(jnp.int32))
            for copy, late in zip(copies, held_back, strict=True)
        ]


class Duplicated(Faulty):
    """A network on which a message comes a second time, `lag` steps after the first, with probability `rate`.

    Args: network; rate, in [0, 1), whose derivative is 0; lag, >= 1, static; key, a JAX key or an integer seed.
    """

    network: Any
    rate: Any = eqx.field(converter=floating)
    lag: int = eqx.field(static=True, default=1)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    @property
    def most_late(self):
        return whole_number("Duplicated", "lag", self.lag, at_least=1)

    def strike(self, copies, sending):
        twice = [
            Copy(copy.there & _happens(self, sending, place), copy.late + self.lag, copy.spoiled)
            for place, copy in enumerate(copies)
        ]
        return copies + twice


class Corrupted(Faulty):
    """A network that spoils a message with probability `rate`: one bit flipped, or one number made NaN or 1e300.

    A checksum travels with every message and the receiver drops what does not fit it; `Books.dropped` counts. A node
    that lies with a right checksum (a Byzantine node) is believed: that is out of scope.

    Args: network; rate, in [0, 1), whose derivative is 0; key, a JAX key or an integer seed.
    """

    network: Any
    rate: Any = eqx.field(converter=floating)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    def strike(self, copies, sending):
        struck = []
        for place, copy in enumerate(copies):
            how = sending.bits(self.key, _salt(self, place) + 1) | jnp.uint32(1)
            struck.append(copy._replace(spoiled=jnp.where(_happens(self, sending, place), how, copy.spoiled)))
        return struck


def fates(network: Network, sending: Sending) -> list[Copy]:
    """The copies of every message, by the faults around `network`, the innermost first."""
    if not isinstance(network, Faulty):
        shape = jnp.broadcast_shapes(sending.step.shape, sending.sender.shape)
        return [Copy(jnp.ones(shape, bool), jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.uint32))]
    return network.strike(fates(network.network, sending), sending)


def faults_of(network: Network) -> list[Faulty]:
    """The faults around `network`, the outermost first."""
    return [network, *faults_of(network.network)] if isinstance(network, Faulty) else []


def check_faulty(owner: str, network: Any) -> None:
    """Refuse what one-directional faults would be a wrong model on."""
    if not isinstance(network, Network):
        raise CojaxInputError(f"{owner} needs a network, got {type(network).__name__}; make one by cojax.network(...).")
    if network.keeps_books:
        raise CojaxInputError(f"{owner} needs a network without a ledger, got one with it; put the Ledger outermost.")
    check_undirected(owner, network, "an edge without a second end has nobody to keep its books with")
    network.link.check(fixed=False, symmetric=True)
    if isinstance(network.link, Innovation):
        raise CojaxInputError(
            f"{owner} cannot carry Innovation: its memories stay equal only where the sender knows what arrived; use "
            "Lossy, whose loss both ends see, or the link Ideal() or Quantized(quantizer)."
        )


def _salt(fault: Faulty, place: int) -> int:
    # Two faults with one key, and two copies of one message, must not meet the same fate.
    return 64 * (1 + len(faults_of(fault))) + 2 * place


def _happens(fault: Any, sending: Sending, place: int) -> Array:
    # Compared as integers, so that the same messages fail in float32 and in float64.
    threshold = (jnp.asarray(fault.rate, jnp.float32) * 2.0**24).astype(jnp.uint32)
    return (sending.bits(fault.key, _salt(fault, place)) >> 8) < threshold
