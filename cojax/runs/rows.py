"""What a step does in rows that hold no node: nothing."""

import jax
import jax.numpy as jnp

from .._support.trees import Tree, choose_rows
from ..methods.base import Method
from ..networks.base import Network


def update_rows(network: Network, method: Method, state: Tree, grad: Tree, flow: Tree) -> Tree:
    """The state of `method` after one step on `network`; rows that hold no node keep theirs."""
    holds = network.holds
    if holds is None:
        return method.update(state, grad, flow)
    # Where a gradient is 0, what transforms it may have no value, or no derivative: that of Adam has a root of it.
    apart = choose_rows(holds, grad, jax.tree.map(jnp.ones_like, grad))
    return choose_rows(holds, method.update(state, apart, flow), state)
