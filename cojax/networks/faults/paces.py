"""Nodes that act at their own pace, on what they last heard: nobody waits for anybody."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..._support.checks import CojaxInputError, check_number, is_concrete
from ..clocks import Clock, Ticks
from .faulty import FaultyNetwork, changed, check_network, with_fault
from .messages import WHY_UNDIRECTED, MessageFault
from .timed import check_clock_of

MOST_LATE = 1000  # ticks that messages are kept
ROUNDING = 1e-9  # of a tick: 0.3 / 0.1 is 3 ticks


class Paces(MessageFault):
    """Nodes that act in every `pace`-th tick, messages that wait for the next act of whom they reach.

    Fields: pace, (n,), >= 1, ticks of a node's work; lag, () or (n, n), >= 1, ticks from a sender's act to when its
    message is there; most, static, the largest age of a message that is heard.
    """

    made_by: ClassVar[str] = "Asynchronous"
    stops: ClassVar[bool] = True
    waits: ClassVar[bool] = True
    pace: Int[Array, " n"]
    lag: Int[Array, "..."]
    most: int = eqx.field(static=True)

    @property
    def most_late(self):
        return self.most

    def up(self, step, nodes):
        return (step + 1) % self.pace[nodes] == 0

    def sends(self, step, nodes):
        return step % self.pace[nodes] == 0

    def telling(self, step):
        return (step % self.pace == 0).mean(dtype=float)

    def strike(self, copies, sending, place):
        lag = self.lag[sending.sender, sending.receiver] if self.lag.ndim else self.lag
        there = []
        for copy in copies:
            late = copy.late + lag - 1
            waits = -(sending.step + late + 1) % self.pace[sending.receiver]
            there.append(copy._replace(late=late + waits))
        return there


def Asynchronous(network: Any, clock: Clock, tick: int | float, bits: int | float = 0.0) -> FaultyNetwork:
    """A network whose nodes act at their own pace, on what they last heard; a step of a run is one tick of time.

        clock = cojax.Clock(work=jnp.array([1.0, 2.0, 5.0]), share=4.0, latency=0.02, bandwidth=1e6)
        network = cojax.Asynchronous(network, clock, tick=0.05, bits=640)
        solution.trace.seconds  # num_steps times the tick

    A node that has done the work of its gradient, `work / (speed * share)`, hears the newest message of every neighbour
    that has reached it, updates, tells, and begins again at once; in the ticks between it keeps its state. A message is
    there `latency + bits / bandwidth` later. Both are rounded up to whole ticks, one at least: what is told in one tick
    is heard in the next at the earliest. So the network keeps books (see `Ledger`): shares plus what is on its way are
    the budget, bit for bit, and trackers plus what is on its way are the gradients. Bits are counted of those that act.
    What a method counts by steps it counts by ticks. Methods keep their fixed points; no step size is proved:
    halve that of the synchronous network, and again where a run diverges. Close relatives are proved, ASY-SONATA for
    gradient tracking and AD-PSGD for `DGD`.

    Args:
        network: undirected, with any faults; its link `Ideal` or `Quantized`.
        clock: with a share, and neither tables by step nor a barrier, which nobody waits at; known numbers.
        tick: seconds, > 0, best the work of the fastest node over a whole number.
        bits: of a message, >= 0.

    The result has no derivatives in the clock. A node with period p keeps what its neighbours told for as long as a
    message may be late: memory grows by the longest period and lag, 1 000 ticks together at most.

    Raises `CojaxInputError` for another clock, for a tick so short that messages would have to be kept for longer, and
    where `Ledger` does. Source: Tian, Sun, Scutari, arXiv 1803.10359; Lian, Zhang, Zhang, Liu, arXiv 1710.06952.
    """
    check_network("Asynchronous", network, WHY_UNDIRECTED)
    check_clock_of("Asynchronous", network, clock)
    check_number("Asynchronous", "tick", tick, above=0.0, shaped=())
    check_number("Asynchronous", "bits", bits, at_least=0.0, shaped=())
    if network.clock is not None:
        raise CojaxInputError("Asynchronous needs a network without a clock, got a Timed one: give it the clock alone.")
    if network.link.remembers:
        raise CojaxInputError(
            f"Asynchronous needs the link Ideal() or Quantized(...), got {network.link}: it would take for told "
            "what nobody hears, of the ticks in which a node is at work."
        )
    if clock.barrier == "all":
        raise CojaxInputError('Asynchronous needs a clock without barrier="all": nobody waits for anybody.')
    if clock.share is None:
        raise CojaxInputError("Asynchronous needs a clock with a share: by what it works a node has its pace.")
    if not is_concrete(clock):
        raise CojaxInputError("Asynchronous counts ticks on the host, got a traced clock; make it outside of jit.")
    if any(np.ndim(table) == 3 for table in (clock.latency, clock.bandwidth)):
        raise CojaxInputError("Asynchronous needs one latency and one bandwidth a link, got tables by step.")
    work = np.asarray(clock.work, float) / (np.asarray(clock.speed, float) * np.asarray(clock.share, float))
    delay = np.asarray(clock.latency, float) + float(bits) / np.asarray(clock.bandwidth, float)
    period, lag = (np.maximum(np.ceil(seconds / float(tick) - ROUNDING), 1) for seconds in (work, delay))
    most = lag.max() - 1 + period.max() - 1
    if not most <= MOST_LATE:
        raise CojaxInputError(
            f"Asynchronous keeps messages for at most {MOST_LATE} ticks, got {most:g} ticks for the slowest work "
            f"and message together: take a tick of {float(tick) * most / MOST_LATE:.3g} s or more."
        )
    paces = Paces(
        jnp.asarray(np.broadcast_to(period, network.num_callers), jnp.int32), jnp.asarray(lag, jnp.int32), int(most)
    )  # pyright: ignore[reportCallIssue]
    return changed(with_fault(network, paces, WHY_UNDIRECTED), ledger=True, clock=Ticks(tick))
