"""What both ends of every edge write down, shaped as the message that they exchange."""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int

from ..._support.trees import Tree
from ..laws import Along, Transfer, is_law


class Books(NamedTuple):
    """What is written down. Trees are shaped as the message, by directed edge unless said otherwise."""

    counter: Tree  # what the owner of the edge gave along it so far, as this end knows; at the owner it is the truth
    news: Int[Array, "*edges"]  # the step of the newest message accepted from the other end, -1 before any
    past: Tree  # (late, n, ...): messages told earlier, newest first
    answers: Tree  # (late, *edges, ...): counters told earlier, newest first, at the end that is to hear them
    pending: Tree  # at the owner: given, not yet received
    arrived: Tree  # (n, ...): what reached a node from outside of the network so far
    owed: Tree  # (n, ...): due to a node from elsewhere than its edges, paid when it is up
    dropped: Int[Array, ""]  # messages whose checksum did not fit


def on_the_way(books: Books | None, along: Tree) -> list[Float[Array, "m *r"]]:
    """All shares that are given and not yet received, one row each; nothing where no books are kept."""
    found = []
    if books is None:
        return found

    def part(law: Along, pending: Tree, owed: Tree) -> Tree:
        if isinstance(law, Transfer):
            for leaf, due in zip(jax.tree.leaves(pending), jax.tree.leaves(owed), strict=True):
                found.extend([leaf.reshape(-1, *due.shape[1:]), due])
        return None

    jax.tree.map(part, along, books.pending, books.owed, is_leaf=is_law)
    return found


def with_laws(function: Any, along: Tree, *trees: Tree) -> Tree:
    """function(law, *leaves) for every leaf of trees shaped as the message; `along` is a prefix tree of it."""

    def part(law: Along, *parts: Tree) -> Tree:
        return jax.tree.map(lambda *leaves: function(law, *leaves), *parts)

    return jax.tree.map(part, along, *trees, is_leaf=is_law)
