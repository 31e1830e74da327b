"""How long rounds take, and what they wait for: the slowest chain of work and messages through a training."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, check_number, whole_number
from .._support.compiling import compiled
from .._support.reprs import brief
from ..networks.base import Network
from ..networks.clocks import Clock, by_row, schedule
from ..networks.faults.faulty import members_of
from .spectra import is_fixed

MOST_NODES = 3000  # of a chain, which is told link by link in tables (n, n)


class Chain(NamedTuple):
    """The slowest chain through all rounds: what the last node to end had waited for, back to the beginning.

    Where several chains are as slow, each has its part.

    Fields:
        seconds: (), how long all rounds took.
        working: (n,), seconds of them in which the chain was at work at a node.
        telling: (n, n), seconds in which it was on its way between two nodes, latency and bits; symmetric.
        crossings: (n, n), how often it passed a link; symmetric.
        share_saves: (n,), seconds a unit of share, the derivative at a node; where chains tie, of its part.
        bandwidth_saves: (n, n), seconds a bit per second, the derivative at a link; symmetric.
    """

    seconds: Float[Array, ""]
    working: Float[Array, " n"]
    telling: Float[Array, "n n"]
    crossings: Float[Array, "n n"]
    share_saves: Float[Array, " n"]
    bandwidth_saves: Float[Array, "n n"]

    def __repr__(self) -> str:
        return brief(self)


def slowest_chain(network: Network, *, num_steps: int, bits: int | float, share: Any = None) -> Chain:
    """What `num_steps` rounds over a `Timed` network wait for.

        chain = cojax.theory.slowest_chain(timed, num_steps=1000, bits=6400, share=solution.x.cpu)
        int(chain.working.argmax())  # the node at which the training waits longest

    Args:
        network: with a clock; up to 3 000 nodes.
        num_steps: rounds, >= 1.
        bits: of the message that a node tells a neighbour in a round; `solution.trace.bits[-1] / (num_steps + 1)`.
        share: (n,), > 0, of every node, as they stay; None for that of the clock.

    All is computed by one derivative of the recursion of rounds: of seconds, by share and by latency. Raises
    `CojaxInputError` for a network without a clock or of more nodes, and where nobody says what the shares are.
    """
    num_steps = whole_number("slowest_chain", "num_steps", num_steps, at_least=1)
    _, share = check_timed("slowest_chain", network, bits, share)
    if network.num_callers > MOST_NODES:
        raise CojaxInputError(f"slowest_chain needs at most {MOST_NODES} nodes, got {network.num_callers}.")
    if network.is_cut:
        raise CojaxInputError("slowest_chain needs the network that was given to cojax.shard, got that it returned.")
    return _chain(network, share, jnp.asarray(bits, float), num_steps)


@functools.partial(compiled, static_argnums=3)
def _chain(network: Any, share: Float[Array, " n"], bits: Float[Array, ""], num_steps: int) -> Chain:
    clock: Clock = network.clock
    size = share.shape[0]

    def spread(value: Any) -> Array:
        return jnp.broadcast_to(jnp.asarray(value, float), (size, size))

    # Slowness, seconds per bit, in place of bandwidth, which may be infinite.
    slowness = 1 / spread(clock.bandwidth)

    def seconds(share: Array, latency: Array, slowness: Array) -> Array:
        told = dataclasses.replace(clock, share=share, latency=latency, bandwidth=1 / slowness)
        return schedule(dataclasses.replace(network, clock=told), None, None, bits, num_steps)[-1]

    taken, (by_share, crossings) = jax.value_and_grad(seconds, argnums=(0, 1))(share, spread(clock.latency), slowness)
    crossings = crossings + crossings.T
    telling = crossings * (spread(clock.latency) + bits * slowness)
    saves = 0.0 - by_share
    return Chain(taken, saves * share, telling, crossings, saves, crossings * bits * slowness**2)


def round_time(network: Network, *, bits: int | float, share: Any = None) -> Float[Array, ""]:
    """Seconds that a round takes in the long run, over one graph without faults.

    Where all wait for all, the slowest work and the slowest message of a node together, whichever node has most. Where
    neighbours wait for neighbours, the largest of what one node needs for its work, and of what two that are linked
    need for a round trip, halved: no longer circle of a graph of links both ways is slower. Source: F. Baccelli, G.
    Cohen, G. J. Olsder, J.-P. Quadrat, "Synchronization and Linearity", Wiley 1992, theorem 3.23.

    Args: network, undirected, with a clock; bits and share as for `slowest_chain`, and the result differentiable in
    them and in all numbers of the clock.

    Raises `CojaxInputError` as `slowest_chain` does, and for graphs that change.
    """
    clock, share = check_timed("round_time", network, bits, share)
    check_fixed("round_time", network)
    graph: Any = network.at(0).bare()
    rows: Any = by_row(dataclasses.replace(clock, share=share), network)
    spent, delay = rows.spent(None, None), rows.delay(jnp.asarray(bits, float), jnp.zeros((), jnp.int32))
    there, up = graph.theirs(spent), graph.edge_weights() != 0
    other = there + delay if clock.barrier == "all" else (graph.gather(spent) + there) / 2 + delay
    return jnp.maximum(spent.max(), jnp.where(up, other, -jnp.inf).max(initial=-jnp.inf))


def check_fixed(owner: str, network: Network) -> None:
    """Refuse graphs that change."""
    if not is_fixed(network):
        raise CojaxInputError(f"{owner} needs one graph without faults: of others slowest_chain tells the seconds.")


def check_timed(owner: str, network: Network, bits: Any, share: Any) -> tuple[Clock, Array]:
    """The clock of a network, and the shares that nodes work with, (n,)."""
    clock = network.clock if isinstance(network, Network) else None
    if clock is None:
        raise CojaxInputError(f"{owner} needs a network with a clock: cojax.Timed(network, cojax.Clock(...)).")
    if not isinstance(clock, Clock):
        raise CojaxInputError(f"{owner} needs rounds in which nodes wait for each other, got an Asynchronous network.")
    if not network.edges_stay:
        raise CojaxInputError(f"{owner} needs links that stay, got pairs drawn in every step: look at a run's trace.")
    if members_of(network) is not None:
        raise CojaxInputError(
            f"{owner} needs a network whose nodes all stay, got one with Members: look at a run's trace."
        )
    check_number(owner, "bits", bits, at_least=0.0, shaped=())
    share = clock.share if share is None else share
    if share is None:
        raise CojaxInputError(f"{owner} needs the shares of the nodes: give share, or the clock one.")
    check_number(owner, "share", share, above=0.0)
    if jnp.shape(share) not in ((), (network.num_callers,)):
        raise CojaxInputError(
            f"{owner} needs a share of each of {network.num_callers} nodes, got shape {jnp.shape(share)}."
        )
    if clock.temperature is not None or any(jnp.ndim(table) == 3 for table in (clock.latency, clock.bandwidth)):
        raise CojaxInputError(f"{owner} needs a clock without a temperature, whose links are as fast in every step.")
    return clock, jnp.broadcast_to(jnp.asarray(share, float), (network.num_callers,))
