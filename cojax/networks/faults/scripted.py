"""Faults that are written down beforehand: which message comes late, which node is down."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..._support.checks import CojaxInputError, device_array, is_concrete, whole_number
from .messages import Copy, Faulty


def _whole_numbers(value: Any) -> Int[Array, "..."]:
    if not jnp.issubdtype(jnp.result_type(value if hasattr(value, "dtype") else np.asarray(value)), jnp.integer):
        raise CojaxInputError(f"Steps, nodes and lateness need to be whole numbers, got {value!r}.")
    return device_array("A scripted network", "steps, nodes and lateness", value).astype(jnp.int32)


class Scripted(Faulty):
    """A network on which the fate of every message is written down: for tests, and to replay what was measured.

    Args:
        network.
        late: (T, c, n, n) whole numbers: late[k % T, copy, i, j] is how many steps late that copy of the message of
            node i to node j sent in step k comes, or -1 if it is lost. T > most.
        most: the largest entry there may be, static; later ones are lost.
    """

    network: Any
    late: Int[Array, "..."] = eqx.field(converter=_whole_numbers)
    most: int = eqx.field(static=True)

    def __check_init__(self):
        nodes = self.network.num_nodes
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

    def strike(self, copies, sending):
        row = sending.step % self.late.shape[0]
        written = []
        for copy in copies:
            for place in range(self.late.shape[1]):
                late = self.late[row, place, sending.sender, sending.receiver]
                written.append(Copy(copy.there & (late >= 0), copy.late + late, copy.spoiled))
        return written


class Crashing(Faulty):
    """A network whose nodes are down for a while, each from a step on until before another, as often as listed.

    A node that is down computes nothing, tells nothing, and what reaches it is lost; its decision stays frozen, and
    with it its part of the total. Demand that arrives at it waits. When it is back it goes on from where it was; one
    that came back with an older state is put right by `cojax.rejoined`.

    Args: network; node, first, until: (c,) whole numbers, one outage each; a step k is missed if first <= k < until.
    """

    network: Any
    node: Int[Array, "..."] = eqx.field(converter=_whole_numbers)
    first: Int[Array, "..."] = eqx.field(converter=_whole_numbers)
    until: Int[Array, "..."] = eqx.field(converter=_whole_numbers)

    def __check_init__(self):
        if not self.node.shape == self.first.shape == self.until.shape:
            raise CojaxInputError(
                f"Crashing needs one first and one until per node, got {self.first.size} and {self.until.size} for "
                f"{self.node.size}."
            )
        if is_concrete(self.node):
            for node in np.ravel(self.node):
                if not 0 <= node < self.network.num_nodes:
                    raise CojaxInputError(
                        f"Crashing needs nodes from 0 to {self.network.num_nodes - 1}, got {node}: JAX would take "
                        "another one."
                    )

    def strike(self, copies, sending):
        return copies

    def up(self, step: Array, nodes: Array) -> Array:
        """Whether `nodes` are up in `step`, of one shape after broadcasting."""
        up = jnp.ones(jnp.broadcast_shapes(step.shape, nodes.shape), bool)
        for node, first, until in zip(self.node, self.first, self.until, strict=True):
            up &= (nodes != node) | (step < first) | (step >= until)
        return up
