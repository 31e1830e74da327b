"""How long a round takes: gradients take work over speed and share, messages latency and bits over bandwidth."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._support.checks import CojaxInputError, check_number, floating, is_concrete, real_array
from .._support.reprs import describe
from .._support.straight_through import straight_through
from .._support.trees import choose_rows
from .base import Layout, Network

BARRIERS = ("neighbours", "all")
ROUNDING = 16.0  # in eps: two that arrive so close to each other arrive together, for derivatives


class Clock(eqx.Module):
    """What a round costs in seconds; `cojax.Timed(network, clock)` puts it on a network.

        clock = cojax.Clock(work=2e12, speed=1e11, latency=0.012, bandwidth=1e9)
        solution = cojax.solve(problem, cojax.Timed(network, clock), method, start, num_steps=1000)
        solution.trace.seconds  # when the last node had told what it knew after 1, 2, ... steps

    In every round node i takes a gradient, in work_i / (speed_i share_i) seconds, and tells the result, which reaches
    neighbour j after latency_ij + bits / bandwidth_ij seconds, with the bits that the link counts. It begins its next
    round when its own work is done and every neighbour whose link is up in that round has been heard.

    Everything is differentiable in all of its numbers.

    Fields:
        work: () or (n,), >= 0, of one gradient at a node, in core-seconds, operations, or whatever speed is told in.
        speed: () or (n,), > 0, work that one unit of share does in a second.
        share: () or (n,), > 0; None for the shares of the run, `x.cpu`, as they change. A node with work to do and no
            share > 0 never ends its round, nor do those that wait for it: seconds are infinite from there on.
        latency: seconds, () for all links, (n, n) symmetric for each, or (T, n, n) for steps in turn, >= 0.
        bandwidth: bits per second, shaped as the latency may be, > 0; infinite by default.
        barrier: "neighbours", or "all": nobody begins before everybody has been heard; static.
        temperature: seconds, (), > 0, for a smooth maximum, which is later than the largest by up to temperature times
            the logarithm of how many are waited for, in every round; None for the maximum itself, whose derivative goes
            to the last to arrive, to all alike where some arrive together.

    Raises `CojaxInputError` for numbers out of these ranges, unless they are traced, and for other shapes.
    Source: the recursion of max-plus algebra, F. Baccelli, G. Cohen, G. J. Olsder, J.-P. Quadrat, "Synchronization and
    Linearity", Wiley 1992.
    """

    work: Any = eqx.field(converter=floating)
    speed: Any = eqx.field(converter=floating, default=1.0)
    share: Any = eqx.field(converter=lambda value: None if value is None else floating(value), default=None)
    latency: Any = eqx.field(converter=floating, default=0.0)
    bandwidth: Any = eqx.field(converter=floating, default=float("inf"))
    barrier: str = eqx.field(static=True, default="neighbours")
    temperature: Any = eqx.field(converter=lambda value: None if value is None else floating(value), default=None)

    def __check_init__(self):
        if self.barrier not in BARRIERS:
            raise CojaxInputError(f'Clock needs barrier "neighbours" or "all", got {self.barrier!r}.')
        check_number("Clock", "work", self.work, at_least=0.0)
        check_number("Clock", "speed", self.speed, above=0.0)
        if self.share is not None:
            check_number("Clock", "share", self.share, above=0.0)
        for name in ("work", "speed", "share"):
            shape = np.shape(getattr(self, name))
            if len(shape) > 1:
                raise CojaxInputError(f"Clock needs one {name}, or one a node (n,), got shape {shape}.")
        check_number("Clock", "latency", self.latency, at_least=0.0)
        if is_concrete(self.bandwidth):
            given = real_array("Clock", "bandwidth", self.bandwidth)
            why = "over such a link nothing ever arrives; take the link out of the graph"
            check_number("Clock", "bandwidth", np.where(given == np.inf, 1.0, given), above=0.0, why=why)
        for name in ("latency", "bandwidth"):
            _check_links(name, getattr(self, name))
        if self.temperature is not None:
            check_number("Clock", "temperature", self.temperature, above=0.0, shaped=())

    def __repr__(self) -> str:
        return describe(self)


class Elapsed(NamedTuple):
    """When every node had told what it knows after the steps so far."""

    since: Float[Array, ""]  # seconds that the first of all nodes took
    lost: Float[Array, ""]  # by how much rounding has made them too many
    ahead: Float[Array, " n"]  # how much later the others were; one number where all have one time
    bits: Float[Array, ""]  # of what was told
    due: Float[Array, " n"] | None = None  # of a method that uses late what it heard: when all of that has arrived

    @property
    def seconds(self) -> Float[Array, " n"]:
        """Since the beginning of the run, of every node."""
        return self.since + (self.ahead - self.lost)


class Ticks(eqx.Module):
    """The clock of `cojax.Asynchronous`: every step takes as long, in which some act and others are at work.

    Fields: tick: seconds, (), > 0.
    """

    tick: Any = eqx.field(converter=floating)

    def begun(self, cpu: Array | None, members: Array | None, bits: Any, late: int = 0) -> Elapsed:
        """At the start, with nobody ahead."""
        zero = jnp.zeros((), jnp.result_type(float))
        return Elapsed(zero, zero, zero[None], jnp.asarray(bits, zero.dtype))

    def advanced(
        self,
        elapsed: Elapsed,
        network: Any,
        step: Int[Array, ""],
        cpu: Array | None,
        members: Array | None,
        bits: Any,
        late: int = 0,
        every: int = 1,
    ) -> Elapsed:
        """After one more step."""
        return elapsed._replace(since=(step + 1).astype(elapsed.since.dtype) * self.tick, bits=jnp.asarray(bits))


class RowClock(eqx.Module):
    """A clock whose numbers are by row of a network, and by directed edge."""

    clock: Clock
    latency: Array  # () or (*edges), or (T, *edges)
    bandwidth: Array
    by_step: tuple[bool, bool] = eqx.field(static=True)

    def begun(self, cpu: Array | None, members: Array | None, bits: Any, late: int = 0) -> Elapsed:
        """After the first gradient, at the start; `late` as that of `advanced`."""
        zero = jnp.zeros((), jnp.result_type(float))
        spent = self.spent(cpu, members)
        return _settled(Elapsed(zero, zero, spent, jnp.asarray(bits, spent.dtype), spent if late else None))

    def advanced(
        self,
        elapsed: Elapsed,
        network: Any,
        step: Int[Array, ""],
        cpu: Array | None,
        members: Array | None,
        bits: Any,
        late: int = 0,
        every: int = 1,
    ) -> Elapsed:
        """After one more step, which heard over `network` what was told, worked with the shares `cpu`, told `bits`.

        What is heard in the steps 0, every, 2 every, ... is used, and waited for, `late` <= every steps later.
        """
        graph = network.bare()
        heard = graph.theirs(elapsed.ahead) + self.delay(elapsed.bits, step)
        up = graph.edge_weights() != 0
        if network.is_up is not None:  # who is down tells nothing that anybody waits for
            up = up & graph.theirs(network.is_up)
        ready = _ready(graph, elapsed.ahead, heard, up, self.clock.temperature)
        if self.clock.barrier == "all":
            ready = jnp.broadcast_to(_largest(ready, self.clock.temperature), ready.shape)
        due = None
        if late:
            assert elapsed.due is not None
            lands = (step >= late) & ((step - late) % every == 0)
            due = jnp.where(step % every == 0, ready, elapsed.due)
            ready = jnp.where(lands, _later(elapsed.ahead, elapsed.due, self.clock.temperature), elapsed.ahead)
        after = choose_rows(network.is_up, ready + self.spent(cpu, members), elapsed.ahead)
        return _settled(elapsed._replace(ahead=after, bits=jnp.asarray(bits, after.dtype), due=due))

    def delay(self, bits: Array, step: Int[Array, ""]) -> Array:
        """Seconds that a message of so many bits is on its way, () or by directed edge."""
        return self._at(0, step) + bits / self._at(1, step)

    def _at(self, which: int, step: Int[Array, ""]) -> Array:
        table = (self.latency, self.bandwidth)[which]
        return table[step % table.shape[0]] if self.by_step[which] else table

    def spent(self, cpu: Array | None, members: Bool[Array, " n"] | None) -> Float[Array, " n"]:
        """Seconds of one gradient at every node; without end where there is no share, none where there is no node."""
        share = self.clock.share if self.clock.share is not None else cpu
        dtype = jnp.result_type(float)
        work, speed, share = (jnp.asarray(value, dtype) for value in (self.clock.work, self.clock.speed, share))
        some = share > 0
        spent = work / (speed * jnp.where(some, share, 1.0))
        spent = jnp.where(some | (work == 0), spent, jnp.inf)
        return spent if members is None else jnp.where(members, spent, 0.0)


def schedule(
    network: Network, first: Float[Array, " n"] | None, later: Float[Array, "k n"] | None, bits: Any, num_steps: int
) -> Float[Array, " k"]:
    """When the last node had told what it knows after every step of a loop that is not of cojax.

    Args: network, with a clock; first, the shares at the start, None without; later, those after every step, None where
    they stay; bits, of a message.
    """
    clock = by_row(network.clock, network)

    def one(elapsed: Elapsed, step: Array) -> tuple[Elapsed, Array]:
        shares = first if later is None else later[step]
        after = clock.advanced(elapsed, network.at(step), step, shares, None, bits)
        return after, after.seconds.max()

    return lax.scan(one, clock.begun(first, None, bits), jnp.arange(num_steps, dtype=jnp.int32))[1]


def by_row(clock: Clock | Ticks, network: Network) -> RowClock | Ticks:
    """The numbers of a clock by row of `network`, and by directed edge of its graphs."""
    if isinstance(clock, Ticks):
        return clock
    nodes = {name: getattr(clock, name) for name in ("work", "speed", "share")}
    nodes = network.to_rows({name: _per_node(value, network) for name, value in nodes.items() if value is not None})
    ours: Clock = eqx.tree_at(
        lambda clock: tuple(getattr(clock, name) for name in nodes), clock, tuple(nodes[name] for name in nodes)
    )
    tables = [_by_edge(table, network) for table in (ours.latency, ours.bandwidth)]
    by_step = tuple(jnp.ndim(table) == 3 for table in (ours.latency, ours.bandwidth))
    return RowClock(ours, *tables, by_step=by_step)  # pyright: ignore[reportArgumentType]


def _per_node(value: Any, network: Network) -> Array:
    """Work and speed a node, also where all have the same: rows that hold no node have one too."""
    return jnp.broadcast_to(jnp.asarray(value, jnp.result_type(float)), (network.num_callers,))


def _by_edge(table: Any, network: Network) -> Array:
    table = jnp.asarray(table, jnp.result_type(float))
    if table.ndim == 0:
        return table
    graph: Any = network.at(0).bare()
    here, there = graph.named_ends() if graph.symmetric else graph.ends()

    def one(table: Array) -> Array:
        return graph.reweighted(table.at[here, there].get(mode="clip")).edge_weights()

    return jax.vmap(one)(table) if table.ndim == 3 else one(table)


def _ready(
    graph: Layout,
    own: Float[Array, " n"],
    heard: Float[Array, "*edges"],
    up: Bool[Array, "*edges"],
    temperature: Any,
) -> Float[Array, " n"]:
    """When every node may begin: its own work is done, and all are heard whose links are up."""
    heard = jnp.where(up, heard, -jnp.inf)
    last = lax.stop_gradient(jnp.maximum(own, graph.largest(heard)))
    around = graph.gather(last)
    if temperature is not None:
        late = jnp.exp(_behind(own, last) / temperature)
        late = late + graph.scatter(jnp.where(up, jnp.exp(_behind(heard, around) / temperature), 0.0))
        return last + temperature * jnp.log(late)
    # XLA may compute what arrives twice, with other rounding: what is equal up to rounding counts as the last.
    mine, theirs = _is_last(own, last), up & _is_last(heard, around)
    count = mine.astype(own.dtype) + graph.scatter(theirs.astype(own.dtype))
    exact = (jnp.where(mine, own, 0.0) + graph.scatter(jnp.where(theirs, heard, 0.0))) / count
    return straight_through(last, exact)


def _largest(ready: Float[Array, " n"], temperature: Any) -> Float[Array, ""]:
    last = lax.stop_gradient(ready.max())
    if temperature is not None:
        return last + temperature * jnp.log(jnp.exp(_behind(ready, last) / temperature).sum())
    mine = _is_last(ready, last)
    return straight_through(last, jnp.where(mine, ready, 0.0).sum() / mine.sum(dtype=ready.dtype))


def _later(one: Float[Array, " n"], other: Float[Array, " n"], temperature: Any) -> Float[Array, " n"]:
    """The later of two times."""
    if temperature is None:
        return jnp.maximum(one, other)
    last = lax.stop_gradient(jnp.maximum(one, other))
    return last + temperature * jnp.logaddexp(_behind(one, last) / temperature, _behind(other, last) / temperature)


def _behind(times: Array, last: Array) -> Array:
    """times - last, 0 of two that never come."""
    return jnp.where(jnp.isinf(last) & (last > 0), jnp.where(times == last, 0.0, -jnp.inf), times - last)


def _is_last(times: Array, last: Array) -> Array:
    times = lax.stop_gradient(times)
    return times >= last - ROUNDING * jnp.finfo(times.dtype).eps * jnp.abs(last)


def _settled(elapsed: Elapsed) -> Elapsed:
    """The same times with the first at 0 ahead: seconds of many steps are summed without losing those of one.

    Source: Kahan 1965, doi 10.1145/363707.363723.
    """
    first = elapsed.ahead.min()
    # Without a share a node never ends: there is nothing to take away.
    first = jnp.where(jnp.isfinite(first), first, 0.0)
    added = first - elapsed.lost
    since = elapsed.since + added
    due = None if elapsed.due is None else elapsed.due - first
    return elapsed._replace(since=since, lost=(since - elapsed.since) - added, ahead=elapsed.ahead - first, due=due)


def _check_links(name: str, table: Any) -> None:
    shape = jnp.shape(table)
    if len(shape) not in (0, 2, 3) or 0 in shape or (shape and shape[-1] != shape[-2]):
        raise CojaxInputError(
            f"Clock needs one {name}, or one a pair of nodes (n, n), or (T, n, n) for steps in turn, got shape {shape}."
        )
    if shape and is_concrete(table) and not np.array_equal(table, np.swapaxes(np.asarray(table), -1, -2)):
        raise CojaxInputError(f"Clock needs a symmetric {name}: a link is as slow one way as the other.")
