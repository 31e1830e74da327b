"""A decision fits a problem when it has the problem's shapes and the cost of one node can be computed from it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._support.checks import CojaxInputError, check_leaves, device_array, one_line, whole
from .._support.compiling import compiled
from .._support.maxima import with_safe_maxima
from .._support.trees import Tree
from ..problems.checks import check_cost
from ..problems.problem import Decision, Problem, Scenario, as_params
from ..problems.rows import ShardedProblem


def check_problem(owner: str, problem: Any) -> None:
    """Refuse what is no problem, and one that changes: which of its stages is meant?"""
    if isinstance(problem, ShardedProblem):
        problem.refuse(owner)
    if isinstance(problem, Scenario) and not isinstance(problem, Problem):
        raise CojaxInputError(
            f"{owner} needs the problem of one step, got a {type(problem).__name__}; use its field problem for that of "
            "the start, of all samples, and problem.at(solution.state.step) for that of the end of a run."
        )
    if not isinstance(problem, Problem):
        raise CojaxInputError(f"{owner} needs a cojax Problem, got {type(problem).__name__}.")
    check_leaves(owner, problem=problem)


def check_decision(owner: str, problem: Any, x: Any) -> Decision:
    """`x`, its params as arrays alone; refuses what is no problem, no decision, and a decision that does not fit.

    One does not where its shapes are others, or the cost cannot be computed of it. Shapes only: nothing is computed,
    and traced arrays pass.
    """
    check_problem(owner, problem)
    if not isinstance(x, Decision):
        raise CojaxInputError(
            f"{owner} needs a cojax.Decision(params, cpu), got {type(x).__name__}; a solution has its own at .x."
        )
    cpu = whole(owner, "cpu", x.cpu) if isinstance(x.cpu, jax.Array) else x.cpu
    x = Decision(check_nodes(owner, problem, x.params), cpu)
    check_leaves(owner, x=x)
    if x.cpu is not None and problem.budget is not None:
        x = x._replace(cpu=_as_shares(owner, x.cpu, problem.budget))
    if x.cpu is not None and problem.lower is not None and np.shape(x.cpu) != problem.lower.shape:
        raise CojaxInputError(
            f"{owner} needs cpu of shape {problem.lower.shape}, one share per node"
            f"{' and resource' if problem.lower.ndim > 1 else ''}, got {np.shape(x.cpu)}."
        )
    check_cost_of(owner, problem, x)
    return x


def _as_shares(owner: str, cpu: Any, budget: Array) -> Array:
    """Shares in the dtype of the budget, of which they can have fewer bits, not more: those would be rounded away."""
    cpu = device_array(owner, "cpu", cpu)
    if jnp.issubdtype(cpu.dtype, jnp.floating) and cpu.dtype.itemsize > budget.dtype.itemsize:
        raise CojaxInputError(
            f"{owner} needs cpu in the {budget.dtype} of the budget, got {cpu.dtype}: its sum would be another one; "
            "make the problem in that precision, or the shares by problem.start(...)."
        )
    return cpu.astype(budget.dtype)


def check_params(owner: str, problem: Any, x: Any) -> Tree:
    """As `check_decision`, for those who take the params of a decision alone, which are returned."""
    check_problem(owner, problem)
    return check_decision(owner, problem, Decision(x.params, problem.lower) if isinstance(x, Decision) else x).params


def check_nodes(owner: str, problem: Problem, params: Tree) -> Tree:
    """`params` as arrays alone; refuses params without one copy per node."""
    params = as_params(owner, params)
    for leaf in jax.tree.leaves(params):
        if np.shape(leaf)[:1] != (problem.num_nodes,):
            raise CojaxInputError(
                f"{owner} needs {problem.num_nodes} nodes on the first axis of params, got shape {np.shape(leaf)}; "
                "stack one copy per node."
            )
    return params


def check_cost_of(owner: str, problem: Problem, x: Decision) -> None:
    """Refuse a decision that the cost, or its second derivatives, cannot be computed of, without computing them."""
    check_cost(owner, problem.cost, x, problem.data)
    check_curves(owner, problem, x)


def check_curves(owner: str, problem: Problem, x: Decision) -> None:
    """Refuse a cost whose second derivatives JAX cannot take."""
    try:
        jax.eval_shape(_curves, problem, x)
    except Exception as error:
        raise CojaxInputError(
            f"{owner} needs a cost with second derivatives, which JAX cannot take here ({one_line(error)}): write it "
            "without lax.while_loop and callbacks, or give that part of it a rule by jax.custom_jvp."
        ) from error


# Jitted, because JAX then remembers what it has traced.
@functools.partial(compiled, runs_briefly=True)
def _curves(problem: Problem, x: Decision) -> Any:
    slopes = jax.vmap(jax.grad(with_safe_maxima(problem.cost)))
    return jax.jvp(lambda x: slopes(x, problem.data), (x,), (x,))
