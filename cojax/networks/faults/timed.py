"""A network with a clock: how long its rounds take."""

from typing import Any

import jax.numpy as jnp

from ..._support.checks import CojaxInputError
from ..clocks import Clock, Ticks
from .faulty import FaultyNetwork, changed, check_network


def Timed(network: Any, clock: Clock) -> FaultyNetwork:
    """A network whose rounds take the seconds that `clock` tells; nothing else of a run changes, not by one bit.

        timed = cojax.Timed(network, cojax.Clock(work=3e12, speed=1e11, bandwidth=1e9))

    The trace then has `seconds`; `solve_to(..., deadline=)` ends a run by them, and `compare` and `cojax.plots` show
    gaps over them. Faults may be put on before or after: a link that is down in a round is not waited for. Of messages
    that one end alone sees lost or late (`LossyOneWay`, `Delayed`, ...) the clock knows nothing: every one is waited
    for as if it arrived.

    Args: network; clock, with (n,) or (n, n) of its nodes where it tells them apart, in your order of nodes.
    Raises `CojaxInputError` for another number of nodes, for what is no network or no clock, for a table of links on
    `RandomPairs`, and for an `Asynchronous` network, which has a clock of its own.
    """
    check_network("Timed", network, None)
    check_clock_of("Timed", network, clock)
    if isinstance(network.clock, Ticks):
        raise CojaxInputError(
            "Timed needs a network whose nodes wait for each other, got an Asynchronous one, which has a clock: every "
            "step takes its tick."
        )
    if not network.edges_stay and (jnp.ndim(clock.latency) or jnp.ndim(clock.bandwidth)):
        raise CojaxInputError(
            "Timed needs one latency and one bandwidth for pairs drawn anew in every step, got a table of links."
        )
    return changed(network, clock=clock)


def check_clock_of(owner: str, network: Any, clock: Any) -> None:
    """Refuse what is no clock, and the clock of another number of nodes."""
    if not isinstance(clock, Clock):
        raise CojaxInputError(f"{owner} needs a cojax.Clock, got {type(clock).__name__}.")
    size = network.num_callers
    for name in ("work", "speed", "share", "latency", "bandwidth"):
        shape = jnp.shape(getattr(clock, name)) if getattr(clock, name) is not None else ()
        if shape and shape[-1] != size:
            raise CojaxInputError(f"{owner} needs a clock of {size} nodes, got {name} of shape {shape}.")
