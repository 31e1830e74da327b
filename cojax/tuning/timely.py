"""Shares that cost little and train fast: the price of time beside the cost of the shares."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import theory
from .._support.checks import CojaxInputError, check_number, is_concrete
from .._support.reprs import brief
from .._support.trees import Tree
from ..networks.base import Network
from ..networks.clocks import by_row
from ..networks.faults.faulty import untimed
from ..optimum.allocations import allocate
from ..problems.problem import Decision, Problem, check_plain
from ..theory.rounds import check_fixed, check_timed

HALVINGS = 200  # of a bracket; a double has no more bits than that


class Timely(NamedTuple):
    """What `timely_shares` returns.

    Fields:
        cpu: (n,), the shares.
        round_seconds: (), how long a round takes with them in the long run; infinite where a node is left without one.
        cost: (), of the shares alone.
        total: (), with the value of all seconds of all rounds, which is 0 where value or rounds are.
    """

    cpu: Float[Array, " n"]
    round_seconds: Float[Array, ""]
    cost: Float[Array, ""]
    total: Float[Array, ""]

    def __repr__(self) -> str:
        return brief(self)


def timely_shares(
    problem: Problem,
    network: Network,
    *,
    rounds: int | float,
    value: int | float,
    bits: int | float,
    params: Tree = None,
) -> Timely:
    """The shares that minimise their cost + value * rounds * the seconds of a round, within the bounds.

        timed = cojax.Timed(network, cojax.Clock(work=..., speed=..., latency=..., barrier="all"))
        best = cojax.timely_shares(problem, timed, rounds=800, value=0.02, bits=6400)

    A training of so many rounds ends earlier where the slowest node has more; how many rounds it needs does not depend
    on shares. Where all nodes wait for all (`barrier="all"`) a round ends t seconds after it began if
    x_i >= work_i / (speed_i (t - d_i)), d_i the slowest message of node i: for every t an allocation with raised lower
    bounds, the best t where one second more is worth what these bounds cost. That is exact. Where neighbours wait for
    neighbours the same shares are taken, whose rounds are then as fast or faster; `round_seconds` and `total` are those
    of the network, and an upper bound of the least.

    Args:
        problem: with a scalar budget, and a cost that is convex in cpu; its penalty is left out.
        network: `Timed`, one graph without faults; the share of its clock, where it has one, is not looked at.
        rounds: of the training, `solution.trace.step[...]` at which a gap was reached, say; >= 0.
        value: of one second, in the unit of the cost; >= 0.
        bits: of the message that a node tells a neighbour in a round.
        params: (n, ...) in every leaf, at which the costs are taken; None where they have none.

    Computes on the host, not under jit; the result has no derivatives. Raises `CojaxInputError` for other networks and
    problems, and where no shares within the bounds do the work.
    """
    check_plain("timely_shares", problem)
    for name, number in (("rounds", rounds), ("value", value)):
        check_number("timely_shares", name, number, at_least=0.0, shaped=())
    if problem.budget is None or problem.lower is None or problem.lower.ndim != 1:
        raise CojaxInputError("timely_shares needs a problem with one budget and one share a node.")
    check_timed("timely_shares", network, bits, jnp.ones(problem.num_nodes))
    check_fixed("timely_shares", network)
    if not is_concrete(problem, network, params):
        raise CojaxInputError("timely_shares computes on the host, got traced arrays; call it outside of jit and grad.")
    work, message = _of_nodes(network, bits)
    lower, upper = np.asarray(problem.lower, float), np.asarray(problem.upper, float)
    budget, worth = float(problem.budget), float(rounds) * float(value)
    most = max(budget, lower.sum())  # what lower bounds sum to may be more by rounding

    def floor(seconds: float) -> np.ndarray:
        """The least shares with which a round ends within so many seconds."""
        with np.errstate(divide="ignore"):
            needed = np.where(work > 0, work / np.maximum(seconds - message, 0.0), -np.inf)
        return np.maximum(lower, needed)

    def fits(seconds: float) -> bool:
        least = floor(seconds)
        return bool((least <= upper).all() and least.sum() <= most)

    def is_slow(seconds: float) -> bool:
        """Whether fewer seconds would be worth what they cost."""
        least = floor(seconds)
        rents = np.asarray(_allocated(problem, jnp.asarray(least), params)[1])
        raised = np.where(least > lower, least, 0.0)
        slope = rents * raised / np.maximum(seconds - message, 1e-300)
        return bool(worth >= slope.sum())

    fast, slow = float(message.max()), float((message + work / _size(budget, lower, upper)).max())
    slow = max(slow, 1e-300)
    while not (fits(slow) and is_slow(slow)):
        fast, slow = slow, 2 * slow
        if slow > 1e300:
            raise CojaxInputError(
                "timely_shares finds no shares within the bounds with which every node does its work: raise upper "
                "bounds, or the budget."
            )
    for _ in range(HALVINGS):
        middle = (fast + slow) / 2
        if not fast < middle < slow:
            break
        fast, slow = (fast, middle) if fits(middle) and is_slow(middle) else (middle, slow)
    least = floor(slow) if worth > 0 else lower
    cpu, _ = _allocated(problem, jnp.asarray(least), params)
    cost = problem.costs(Decision(params, cpu)).sum()
    share = jnp.where(jnp.asarray(work) > 0, cpu, jnp.maximum(cpu, 1e-300))
    seconds = theory.round_time(network, bits=bits, share=share) if bool((share > 0).all()) else jnp.asarray(jnp.inf)
    return Timely(cpu, seconds, cost, cost + (worth * seconds if worth > 0 else 0.0))


def _size(*shares: Any) -> float:
    """A share of the size of the problem's own numbers, from which a search may begin."""
    sizes = np.abs(np.hstack(shares))
    return float(np.max(sizes, where=np.isfinite(sizes), initial=0.0)) or 1.0


@jax.jit
def _allocated(problem: Problem, lower: Array, params: Tree) -> tuple[Array, Array]:
    found = allocate(eqx.tree_at(lambda p: p.lower, problem, lower), params)
    return found.cpu, found.floor_rent


def _of_nodes(network: Network, bits: float) -> tuple[np.ndarray, np.ndarray]:
    """Work over speed of every node, and the seconds of its slowest message."""
    rows: Any = by_row(network.clock, network)
    graph: Any = untimed(network)
    work = np.broadcast_to(np.asarray(rows.clock.work / rows.clock.speed), graph.num_nodes)
    delay = rows.delay(jnp.asarray(bits, float), jnp.zeros((), jnp.int32))
    slowest = graph.largest(jnp.where(graph.edge_weights() != 0, delay, -jnp.inf))
    return work, np.maximum(np.asarray(slowest), 0.0)
