"""What can happen to one message in one direction: lost, late, overtaken, doubled, or spoiled on the way."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ..._support.checks import as_key, check_number, floating, whole_number
from .fault import Copy, Fault, Sending
from .faulty import FaultyNetwork, with_fault

WHY_UNDIRECTED = "an edge without a second end has nobody to keep its books with"


def _key(value: Any) -> Array:
    return as_key("A faulty network", value)


class MessageFault(Fault):
    """A fault of messages in one direction at a time; the network needs a `Ledger`."""

    one_way: ClassVar[bool] = True

    def check(self, network):
        Fault.check(self, network)
        check_number(self.made_by, "rate", getattr(self, "rate", 0.0), at_least=0.0, below=1.0, shaped=())
        _ = self.most_late  # reading it raises CojaxInputError for a length that is no whole number of steps


class OneWayLoss(MessageFault):
    """A message is lost with probability `rate`, each direction by itself. Fields: rate, key."""

    made_by: ClassVar[str] = "LossyOneWay"
    rate: Any = eqx.field(converter=floating)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    def strike(self, copies, sending, place):
        return [
            copy._replace(there=copy.there & ~_happens(self, sending, place, copy_of))
            for copy_of, copy in enumerate(copies)
        ]


class Delays(MessageFault):
    """A message comes 0 to `most` steps late, each as likely. Fields: most, static; key."""

    made_by: ClassVar[str] = "Delayed"
    most: int = eqx.field(static=True)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    @property
    def most_late(self):
        return whole_number("Delayed", "most", self.most, at_least=0)

    def strike(self, copies, sending, place):
        drawn = [
            (sending.bits(self.key, _salt(place, copy_of)) >> 8) % (self.most + 1) for copy_of in range(len(copies))
        ]
        return [
            copy._replace(late=copy.late + late.astype(jnp.int32)) for copy, late in zip(copies, drawn, strict=True)
        ]


class Overtaking(MessageFault):
    """A message comes 2 steps late with probability `rate`, after the one sent after it. Fields: rate, key."""

    made_by: ClassVar[str] = "Reordered"
    rate: Any = eqx.field(converter=floating)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    @property
    def most_late(self):
        return 2

    def strike(self, copies, sending, place):
        held_back = [_happens(self, sending, place, copy_of) for copy_of in range(len(copies))]
        return [
            copy._replace(late=copy.late + 2 * late.astype(jnp.int32))
            for copy, late in zip(copies, held_back, strict=True)
        ]


class Duplicates(MessageFault):
    """A message comes a second time, `lag` steps later, with probability `rate`. Fields: rate, lag, key."""

    made_by: ClassVar[str] = "Duplicated"
    rate: Any = eqx.field(converter=floating)
    lag: int = eqx.field(static=True, default=1)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    @property
    def most_late(self):
        return whole_number("Duplicated", "lag", self.lag, at_least=1)

    def strike(self, copies, sending, place):
        twice = [
            Copy(copy.there & _happens(self, sending, place, copy_of), copy.late + self.lag, copy.spoiled)
            for copy_of, copy in enumerate(copies)
        ]
        return copies + twice


class Corruption(MessageFault):
    """A message is spoiled with probability `rate`. Fields: rate, key."""

    made_by: ClassVar[str] = "Corrupted"
    spoils: ClassVar[bool] = True
    rate: Any = eqx.field(converter=floating)
    key: PRNGKeyArray = eqx.field(converter=_key, default=0)

    def strike(self, copies, sending, place):
        struck = []
        for copy_of, copy in enumerate(copies):
            how = sending.bits(self.key, _salt(place, copy_of) + 1) | jnp.uint32(1)
            struck.append(copy._replace(spoiled=jnp.where(_happens(self, sending, place, copy_of), how, copy.spoiled)))
        return struck


def _salt(place: int, copy_of: int) -> int:
    # Two faults with one key, and two copies of one message, must not meet the same fate.
    return 64 * (2 + place) + 2 * copy_of


def _happens(fault: Any, sending: Sending, place: int, copy_of: int) -> Array:
    # Compared as integers, so that the same messages fail in float32 and in float64.
    threshold = (jnp.asarray(fault.rate, jnp.float32) * 2.0**24).astype(jnp.uint32)
    return (sending.bits(fault.key, _salt(place, copy_of)) >> 8) < threshold


def LossyOneWay(network: Any, rate: Any, key: Any = 0) -> FaultyNetwork:
    """A network that loses every message with probability `rate`, each direction by itself; the sender cannot know.

    Args: network; rate, in [0, 1), whose derivative is 0; key, a JAX key or an integer seed.
    """
    return with_fault(network, OneWayLoss(rate, key), WHY_UNDIRECTED)


def Delayed(network: Any, most: Any, key: Any = 0) -> FaultyNetwork:
    """A network on which every message takes a random whole number of steps from 0 to `most`, overtaking included.

    Args: network; most, >= 0, static; key, a JAX key or an integer seed.
    """
    return with_fault(network, Delays(most, key), WHY_UNDIRECTED)


def Reordered(network: Any, rate: Any, key: Any = 0) -> FaultyNetwork:
    """A network on which a message is overtaken by the one sent after it, with probability `rate`: it comes 2 late.

    Args: network; rate, in [0, 1), whose derivative is 0; key, a JAX key or an integer seed.
    """
    return with_fault(network, Overtaking(rate, key), WHY_UNDIRECTED)


def Duplicated(network: Any, rate: Any, lag: Any = 1, key: Any = 0) -> FaultyNetwork:
    """A network on which a message comes a second time, `lag` steps after the first, with probability `rate`.

    Args: network; rate, in [0, 1), whose derivative is 0; lag, >= 1, static; key, a JAX key or an integer seed.
    """
    return with_fault(network, Duplicates(rate, lag, key), WHY_UNDIRECTED)


def Corrupted(network: Any, rate: Any, key: Any = 0) -> FaultyNetwork:
    """A network that spoils a message with probability `rate`: one bit flipped, or one number made NaN or 1e300.

    A checksum travels with every message and the receiver drops what does not fit it; `Books.dropped` counts. A node
    that lies with a right checksum (a Byzantine node) is believed: that is out of scope.

    Args: network; rate, in [0, 1), whose derivative is 0; key, a JAX key or an integer seed.
    """
    return with_fault(network, Corruption(rate, key), WHY_UNDIRECTED)
