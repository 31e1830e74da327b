"""A cost is sampled inside of its bounds before an optimum of it is believed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._support.checks import CojaxInputError
from .._support.compiling import compiled
from .._support.precision import in_full
from .._support.trees import Tree
from ..problems.checks import check_cost
from ..problems.problem import Decision, Problem
from . import prices
from .fits import check_curves
from .margins import as_columns, marginals

# Where in every box, from its lower end to its upper.
FRACTIONS = (0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98)


@functools.partial(compiled, runs_briefly=True)
def stack_copies(problem: Problem, params: Tree) -> Tree:
    """n copies of one node's params."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (problem.num_nodes, *leaf.shape)), params)


@functools.partial(compiled, runs_briefly=True)
@in_full
def _samples(problem: Problem, params: Tree) -> tuple[Array, Array, Array]:
    """Shares spread over every box, all resources alike; the costs there, and the marginal costs or None."""
    lower, upper, budget = as_columns(problem)
    start, width = prices.inside(lower, upper, budget)
    low = jnp.where(jnp.isfinite(lower), lower, jnp.where(jnp.isfinite(upper), upper - width, start - width / 2))
    copies = stack_copies(problem, params)
    assert problem.lower is not None
    shape = problem.lower.shape

    def look(fraction):
        cpu = prices.pulled_in(low + fraction * width, lower, upper)
        own = Decision(copies, cpu.reshape(shape))
        return cpu, problem.costs(own), marginals(problem, copies)(cpu)

    return jax.vmap(look)(jnp.asarray(FRACTIONS, lower.dtype))


def check_sound(problem: Problem, params: Tree) -> None:
    """Refuse a cost that is not finite at the start, or inside of the bounds, or not convex in a share."""
    copies = stack_copies(problem, params)
    check_cost("reference", problem.cost, Decision(copies, problem.lower), problem.data)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not np.isfinite(np.asarray(leaf)).all():
            name = f"start_params{jax.tree_util.keystr(path)}"
            raise CojaxInputError(f"reference needs finite numbers for {name}, got NaN or infinity.")
    check_curves("reference", problem, Decision(copies, problem.lower))
    if problem.budget is None:
        check_finite(np.asarray(problem.costs(Decision(copies))), "at start_params")
        return
    cpu, costs, slopes = (np.asarray(array) for array in _samples(problem, params))
    bad = ~(np.isfinite(costs) & np.isfinite(slopes).all(-1))
    if bad.any():
        sample, node = (int(index) for index in np.argwhere(bad)[0])
        raise CojaxInputError(
            f"reference needs costs that are finite inside of the bounds, got {costs[sample, node]} with slope "
            f"{_format(slopes[sample, node])} at node {node}, cpu = {_format(cpu[sample, node])}; "
            "give Problem bounds inside of the cost's domain."
        )
    _check_convex(cpu, slopes)


def check_finite(costs: np.ndarray, where: str) -> None:
    if not np.isfinite(costs).all():
        node = int(np.argwhere(~np.isfinite(costs))[0, 0])
        raise CojaxInputError(
            f"reference needs finite costs, got {costs[node]} at node {node} {where}; check its data."
        )


def _check_convex(cpu: np.ndarray, slopes: np.ndarray) -> None:
    """Along the diagonal of every box, which for one resource is the whole box."""
    along = (slopes * (cpu[-1] - cpu[0])).sum(-1)
    allowed = np.sqrt(np.finfo(along.dtype).eps) * np.abs(along).max(0)
    falls = np.diff(along, axis=0) < -allowed
    if falls.any():
        sample, node = (int(index) for index in np.argwhere(falls)[0])
        low, high = _format(cpu[sample, node]), _format(cpu[sample + 1, node])
        raise CojaxInputError(
            f"reference needs a cost that is convex in cpu, got a marginal cost that falls from "
            f"{_format(slopes[sample, node])} to {_format(slopes[sample + 1, node])} between cpu = {low} and {high} at "
            f"node {node}: what looks optimal may be a maximum; change the cost, or the bounds."
        )


def _format(values: np.ndarray) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
