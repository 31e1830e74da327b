"""What a step does in rows that take no part: nothing."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._support.trees import Tree, choose_rows
from ..methods.base import Method
from ..networks.base import Network


def taking_part(network: Network, step: Array | int) -> Bool[Array, " rows"] | None:
    """Which rows take part in a step: those that hold a node, which is up; None: all do.

    Who is away does too: in the step in which a node comes, its part of the budget reaches it by the flow.
    """
    held, up = network.has_node, network.at(step).is_up
    if held is None or up is None:
        return up if held is None else held
    return held & up


def update_rows(rows: Bool[Array, " rows"] | None, method: Method, state: Tree, grad: Tree, flow: Tree) -> Tree:
    """The state of `method` after one step of `rows`, as `taking_part` says; the others keep theirs."""
    if rows is None:
        return method.update(state, grad, flow)
    # Where a gradient is 0, what transforms it may have no value, or no derivative: that of Adam has a root of it.
    apart = choose_rows(rows, grad, jax.tree.map(jnp.ones_like, grad))
    return choose_rows(rows, method.update(state, apart, flow), state)
