"""How long the training of a plan takes, and what it waits for: a section [clock] and the shares to use."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ... import theory
from ..._support.checks import CojaxInputError
from ...data.quantities import bits_per_second, seconds
from ...networks.clocks import Clock
from ...networks.faults.timed import Timed
from ..cases.cases import Case

GIGABIT = 1e9


class LinkOnChain(NamedTuple):
    """A link that the slowest chain passes."""

    ends: tuple[str, str]
    seconds: float  # in which the chain was on it
    crossings: float
    saved: float  # seconds at most, by one more Gbit/s


class Training(NamedTuple):
    """How long all rounds of a run take with the shares to use."""

    seconds: float
    rounds: int
    working: Float[np.ndarray, " n"]  # seconds in which the slowest chain was at work at every node
    saved: Float[np.ndarray, " n"]  # seconds at most, by one more unit of share at every node
    links: list[LinkOnChain]  # those on the chain, the slowest first


def clock_of(case: Case, share: np.ndarray) -> Clock:
    """The clock of a plan with these shares; raises `CojaxInputError` for what it does not say and what cannot be."""
    told: Any = case.plan.clock
    pace = case.centres.pace or {}
    work = pace.get("work", told.work)
    if work is None:
        column = "" if case.plan.cpu.cost == "delay" else ", or the nodes a column work"
        raise CojaxInputError(f"$.clock needs the work of one gradient: give $.clock.work{column}.")
    speed = pace.get("speed", 1.0 if told.speed is None else told.speed)
    for name, number in (("work", told.work), ("speed", told.speed)):
        if number is not None and name in pace:
            raise CojaxInputError(f"$.clock.{name} and the column {name} of the nodes say the same twice: keep one.")
    for name, values, wrong in (("work >= 0", work, np.less), ("speed > 0", speed, np.less_equal)):
        bad = np.flatnonzero(wrong(np.broadcast_to(values, share.shape), 0))
        if bad.size:
            got = np.broadcast_to(values, share.shape)[bad[0]]
            raise CojaxInputError(f"The node {case.names[bad[0]]!r} needs {name} for $.clock, got {got:g}.")
    idle = np.flatnonzero((share <= 0) & (np.broadcast_to(work, share.shape) > 0))
    if idle.size:
        raise CojaxInputError(
            f"$.clock has work for the node {case.names[idle[0]]!r}, whose share is {share[idle[0]]:g}, so that the "
            "training never ends: give it a lower bound > 0, or no work."
        )
    size = len(share)
    tables = {}
    for name, read, plain in (("latency", seconds, 0.0), ("bandwidth", bits_per_second, np.inf)):
        given = getattr(told, name)
        table = np.full((size, size), plain if given is None else read(given, f"$.clock.{name}"))
        for (i, j), attributes in case.wiring.links.items():
            if name in attributes:
                where = f"The link {case.names[i]} - {case.names[j]} of the graph, in {name},"
                table[i, j] = table[j, i] = read(attributes[name], where)
        tables[name] = table
    return Clock(work, speed, share, **tables, barrier=told.barrier)


def training(case: Case, share: np.ndarray, steps: int, bits: float) -> Training:
    """How long `steps` rounds take in which a node tells `bits` to each neighbour."""
    clock = clock_of(case, share)
    timed = Timed(case.wiring.network, clock)
    chain = theory.slowest_chain(timed, num_steps=max(steps, 1), bits=bits)
    found = []
    for i, j in case.wiring.pairs:
        if chain.crossings[i, j] > 0:
            # With more of one, no more can be saved than on this chain: another one may then be the slowest.
            wide = float(np.asarray(clock.bandwidth)[i, j])
            saved = float(chain.crossings[i, j]) * bits * (1 / wide - 1 / (wide + GIGABIT))
            ends = case.names[i], case.names[j]
            found.append(LinkOnChain(ends, float(chain.telling[i, j]), float(chain.crossings[i, j]), saved))
    found.sort(key=lambda link: -link.seconds)
    working = np.asarray(chain.working)
    return Training(float(chain.seconds), steps, working, working / (1 + np.maximum(share, 0.0)), found)
