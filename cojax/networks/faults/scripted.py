"""Faults that are written down beforehand: which message comes late, which node is down."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..._support.checks import CojaxInputError, device_array, is_concrete, whole_number
from .fault import Copy
from .faulty import FaultyNetwork, with_fault
from .messages import WHY_UNDIRECTED, MessageFault


def _whole_numbers(value: Any) -> Int[Array, "..."]:
    found = value if hasattr(value, "dtype") else np.asarray(value)
    if found.dtype == object or not jnp.issubdtype(found.dtype, jnp.integer):
        raise CojaxInputError(f"Steps, nodes and lateness need to be whole numbers, got {value!r}.")
    return device_array("A scripted network", "steps, nodes and lateness", value).astype(jnp.int32)


class Script(MessageFault):
    """The fate of every message, written down. Fields: late, (T, c, n, n); most, static."""

    made_by: ClassVar[str] = "Scripted"
    late: Int[Array, "..."] = eqx.field(converter=_whole_numbers)
    most: int = eqx.field(static=True)

    def check(self, network):
        MessageFault.check(self, network)
        nodes = network.num_nodes
        if self.late.ndim != 4 or self.late.shape[2:] != (nodes, nodes):
            raise CojaxInputError(f"Scripted needs late of shape (T, c, {nodes}, {nodes}), got {self.late.shape}.")

    @property
    def most_late(self):
        if self.late.shape[0] <= self.most:
            raise CojaxInputError(
                f"Scripted needs more than most = {self.most} rows of late, got {self.late.shape[0]}: a row is looked "
                "up until its messages have arrived."
            )
        return whole_number("Scripted", "most", self.most, at_least=0)

    def strike(self, copies, sending, place):
        row = sending.step % self.late.shape[0]
        written = []
        for copy in copies:
            for nth in range(self.late.shape[1]):
                late = self.late[row, nth, sending.sender, sending.receiver]
                there = copy.there & (late >= 0) & (late <= self.most)
                written.append(Copy(there, copy.late + late, copy.spoiled))
        return written


class Outages(MessageFault):
    """Nodes that are down for a while. Fields: node, first, until, (c,) each."""

    made_by: ClassVar[str] = "Crashing"
    stops: ClassVar[bool] = True
    node: Int[Array, "..."] = eqx.field(converter=_whole_numbers)
    first: Int[Array, "..."] = eqx.field(converter=_whole_numbers)
    until: Int[Array, "..."] = eqx.field(converter=_whole_numbers)

    def check(self, network):
        MessageFault.check(self, network)
        if self.node.ndim != 1 or not self.node.shape == self.first.shape == self.until.shape:
            raise CojaxInputError(
                "Crashing needs lists of nodes, first and until of one length, got shapes "
                f"{self.node.shape}, {self.first.shape} and {self.until.shape}."
            )
        if is_concrete(self.node):
            for node in np.ravel(self.node):
                if not 0 <= node < network.num_nodes:
                    raise CojaxInputError(
                        f"Crashing needs nodes from 0 to {network.num_nodes - 1}, got {node}: JAX would take "
                        "another one."
                    )

    def up(self, step, nodes):
        up = jnp.ones(jnp.broadcast_shapes(step.shape, nodes.shape), bool)
        for node, first, until in zip(self.node, self.first, self.until, strict=True):
            up &= (nodes != node) | (step < first) | (step >= until)
        return up


def Scripted(network: Any, late: Any, most: Any) -> FaultyNetwork:
    """A network on which the fate of every message is written down: for tests, and to replay what was measured.

    Args:
        network.
        late: (T, c, n, n) whole numbers: late[k % T, copy, i, j] is how many steps late that copy of the message of
            node i to node j sent in step k comes, or -1 if it is lost. T > most.
        most: the largest entry there may be, static; later ones are lost.
    """
    return with_fault(network, Script(late, most), WHY_UNDIRECTED)


def Crashing(network: Any, node: Any, first: Any, until: Any) -> FaultyNetwork:
    """A network whose nodes are down for a while, each from a step on until before another, as often as listed.

    A node that is down computes nothing, tells nothing, and what reaches it is lost; its decision stays frozen, and
    with it its part of the total. Demand that arrives at it waits. When it is back it goes on from where it was; one
    that came back with an older state is put right by `cojax.rejoined`.

    Args: network; node, first, until: (c,) whole numbers, one outage each; a step k is missed if first <= k < until.
    """
    return with_fault(network, Outages(node, first, until), WHY_UNDIRECTED)
