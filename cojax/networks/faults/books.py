"""What both ends of every edge write down, shaped as the message that they exchange."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..._support.trees import Tree
from ..laws import Along, Transfer, with_laws


class Books(NamedTuple):
    """What is written down. Trees are shaped as the message, by directed edge unless said otherwise."""

    counter: Tree  # what the owner of the edge gave along it so far, as this end knows; at the owner it is the truth
    news: Int[Array, "*edges"]  # the step of the newest message accepted from the other end, -1 before any
    past: Tree  # (late, n, ...): messages told earlier, newest first
    answers: Tree  # (late, *edges, ...): counters told earlier, newest first, at the end that is to hear them
    pending: Tree  # at the owner: given, not yet received
    arrived: Tree  # (n, ...): what reached a node from outside of the network so far
    owed: Tree  # (n, ...): due to a node from elsewhere than its edges, paid when it is up
    dropped: Int[Array, ""]  # messages whose checksum did not fit; 2^31 - 1 of more

    def on_the_way(self, along: Tree) -> list[Float[Array, "m *r"]]:
        """All shares that are given and not yet received, one row each."""
        found = []

        def note(law: Along, given: Array, due: Array) -> Array:
            if isinstance(law, Transfer):
                found.extend([given.reshape(-1, *due.shape[1:]), due])
            return due

        with_laws(note, along, self.pending, self.owed)
        return found

    def in_flight(self) -> Tree:
        """How much is given and not yet received, shaped as the message without nodes."""

        def part(given: Array, due: Array) -> Array:
            edges = given.ndim - due.ndim + 1
            return jnp.abs(given).sum(tuple(range(edges))) + jnp.abs(due).sum(0)

        return jax.tree.map(part, self.pending, self.owed)
