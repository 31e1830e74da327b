"""What is worth knowing about a run, computed once per chunk; any function of the same arguments can be a record."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._support import trees
from .._support.checks import CojaxInputError
from .._support.reprs import brief
from ..problems.measures import disagreement, overload
from ..problems.problem import Decision, Problem


class Trace(NamedTuple):
    """The standard record: of one look every field is (), in a `Solution` (c,), one row a chunk.

    Fields:
        step: steps done.
        cost: the sum over nodes of the cost at each node's own decision, without penalty; differentiable.
        mean_cost: the same with the mean of all params at every node, the figure of merit of many papers.
        imbalance: the largest |sum of cpu, and on its way, - budget| over ALL steps so far, exact: 0.0 is never off. Of
            several resources the largest number, whatever its unit; `state.imbalance` has each.
        overload: the largest distance of a share from its bounds, in the unit of cpu; of several resources likewise.
        disagreement: the largest distance of a params entry from its mean over nodes.
        gradient: the largest entry of the mean over nodes of the params gradient.
        bits: told so far by one node to one neighbour; a float, right to its last digit however long the run.
        saturated: numbers so far, of all nodes, beyond the outermost level of their quantizer; 2^31 - 1 where they are
            more.
        seconds: on a `Timed` network, when the last node had told what it knew at this look; None on others.
    """

    step: Int[Array, "*c"]
    cost: Float[Array, "*c"]
    mean_cost: Float[Array, "*c"]
    imbalance: Float[Array, "*c"]
    overload: Float[Array, "*c"]
    disagreement: Float[Array, "*c"]
    gradient: Float[Array, "*c"]
    bits: Float[Array, "*c"]
    saturated: Int[Array, "*c"]
    seconds: Float[Array, "*c"] | None = None

    def __repr__(self) -> str:
        return brief(self)


def standard(problem: Problem, x: Decision, state: Any) -> Trace:
    """Cost, feasibility and agreement of the decision `x` in `state`."""
    cost = problem.costs(x).sum()
    return Trace(
        step=state.step,
        cost=cost,
        mean_cost=problem.costs(_averaged(problem, x)).sum() if jax.tree.leaves(x.params) else cost,
        imbalance=state.imbalance.max(),
        overload=overload(problem, x),
        disagreement=disagreement(trees.filled(x, problem.members)),
        gradient=trees.largest(trees.node_mean(trees.filled(state.grad.params, problem.members))),
        bits=state.wire.bits,
        saturated=state.wire.saturated,
        seconds=None if state.elapsed is None else state.elapsed.seconds.max(),
    )


def _averaged(problem: Problem, x: Decision) -> Decision:
    mean = trees.node_mean(trees.filled(x.params, problem.members))
    return x._replace(params=jax.tree.map(lambda one, leaf: jnp.broadcast_to(one, leaf.shape), mean, x.params))


def decision(problem: Problem, x: Decision, state: Any) -> Decision:
    """The decision itself: n * (d + r) numbers a chunk."""
    return x


def tracking(state: Any) -> Float[Array, ""]:
    """The largest entry of mean tracker - mean gradient over nodes, of a run whose learner tracks the gradient; else 0.

    Rounding alone makes it differ from 0. What does not go back to 0 after a fault is a bias that stays for ever.
    """
    learn = getattr(state.method, "learn", state.method)
    return trees.largest(trees.node_mean(getattr(learn, "slack", None)))


def in_flight(problem: Problem, x: Decision, state: Any) -> Any:
    """How much is on its way between nodes, given and not yet received: sums of absolute values, over a `Ledger`.

    Shaped as the message without nodes: for a `CoOpt`, that of the learner (params, tracker) and that of the shares.
    """
    if not state.wire.has_books:
        raise CojaxInputError("in_flight needs a network whose books say what is on its way; use Ledger(network).")
    return state.wire.in_flight()
