"""A node that comes back with an old state is put right from what its neighbours wrote down."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError, check_kinds, is_concrete, whole_number
from .._support.trees import choose_rows
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import Scenario, check_scenario
from .loop import check_beginning, total_off
from .solutions import State


def rejoined(problem: Scenario, network: Network, method: Method, state: State, stale: State, node: Any) -> State:
    """`state` in which `node` came back with what it knew in the earlier state `stale`, and asked its neighbours.

    For every edge that it owns it takes over the counter its neighbour knows; of the others it hears all that it missed
    with the next message. The differences are paid to it in the next step in which it is up. So shares and what is on
    its way are the budget again, and its tracker is its gradient at its old params plus what it received: the trackers
    and what is on its way sum to the gradients, from this state on. What it sent before may still arrive: a counter
    says all that was given, so the next one puts it right. Neighbours need to be up.

    Args: problem, network (a `Ledger`), method, state, as for `solve`; stale, a state of the same run, not after
    `state`, and of a later step than that in which a node left last; node, its number, which may be traced. Exact for
    methods whose state changes by the flow times a constant.
    Raises `CojaxInputError` for a network without a ledger, a node that is none of its own, states that are none or in
    the wrong order, and a method or a problem of another run.
    """
    check_scenario("rejoined", problem)
    check_kinds("rejoined", ("network", network, Network), ("method", method, Method))
    check_kinds("rejoined", ("state", state, State), ("stale", stale, State))
    if is_concrete(node):
        plain = np.asarray(node)[()] if isinstance(node, jax.Array) else node
        node = whole_number("rejoined", "node", plain, at_least=0, at_most=network.num_nodes - 1)
    if is_concrete(state.step, stale.step) and int(stale.step) > int(state.step):
        raise CojaxInputError(
            f"rejoined needs a stale state that is not after the state, got one after {stale.step} steps and "
            f"{state.step}: give the earlier one last."
        )
    if not (network.keeps_books and state.wire.has_books and stale.wire.has_books):
        raise CojaxInputError("rejoined needs a run over a Ledger: without books nobody knows what the node missed.")
    for each in (state, stale):
        check_beginning(problem, network, method, each)
    net: Any = network.at(state.step)
    method = method.at(state.step)
    inner = choose_rows(jnp.arange(net.num_nodes) != node, state.method, stale.method)
    along = method.along(inner)
    before = net.rejoin(state.wire, stale.wire, along, node)
    at_now = problem.at(state.step)
    x = method.query(inner)
    grad = at_now.grad(x)
    wire = net.tell(method.message(inner, grad), before.without_bits(), state.step).with_bits_of(before)
    off = jnp.maximum(state.imbalance, total_off(at_now, x, wire, along))
    return state._replace(imbalance=off, method=inner, grad=grad, wire=wire)
