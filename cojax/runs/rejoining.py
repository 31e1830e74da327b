"""A node that comes back with an old state is put right from what its neighbours wrote down."""

from typing import Any

import jax
import jax.numpy as jnp

from .._support import trees
from .._support.checks import CojaxInputError
from .._support.trees import choose_rows, wide
from ..methods import Method
from ..networks.base import Network
from ..networks.faults.books import Books, with_laws
from ..problems.problem import Scenario
from .loop import total_off
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
    Raises `CojaxInputError` for a network without a ledger.
    """
    net: Any = network.at(state.step)
    method = method.at(state.step)
    if state.wire.books is None or stale.wire.books is None:
        raise CojaxInputError("rejoined needs a run over a Ledger: without books nobody knows what the node missed.")
    is_node = jnp.arange(net.num_nodes) == node
    inner = choose_rows(~is_node, state.method, stale.method)
    along = method.along(inner)
    now: Books = state.wire.books
    old: Books = stale.wire.books
    here, other = net.graph.ends()
    mine, owned = here == node, here < other
    theirs = jax.tree.map(net.graph.reverse, now.counter)

    def corrected(law: Any, known: Any, then: Any) -> Any:
        return net.graph.scatter(jnp.where(wide(mine & owned, then), law.minus(then, known), 0))

    missed = with_laws(lambda law, new, before: law.minus(new, before), along, now.arrived, old.arrived)
    due = trees.add(old.owed, missed, with_laws(corrected, along, theirs, old.counter))

    def counted(now: Any, then: Any, theirs: Any) -> Any:
        return jnp.where(wide(mine, now), jnp.where(wide(owned, now), theirs, then), now)

    counter = jax.tree.map(counted, now.counter, old.counter, theirs)
    books = now._replace(
        counter=counter,
        pending=net.pending(counter, along),
        owed=choose_rows(is_node, due, now.owed),
    )
    at_now = problem.at(state.step)
    x = method.query(inner)
    grad = at_now.grad(x)
    before = state.wire._replace(books=books)
    wire = net.tell(method.message(inner, grad), before.without_bits(), state.step).with_bits_of(before)
    off = jnp.maximum(state.imbalance, total_off(at_now, x, wire, along))
    return state._replace(imbalance=off, method=inner, grad=grad, wire=wire)
