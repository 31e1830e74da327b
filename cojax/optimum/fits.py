"""A decision fits a problem when it has the problem's shapes and the cost of one node can be computed from it."""

from typing import Any

import jax
import numpy as np

from .._checks import CojaxInputError
from .._tree import Tree
from ..changing import Changing
from ..padding import ShardedProblem
from ..problems import Decision, Problem


def check_problem(owner: str, problem: Any) -> None:
    """Refuse what is no problem, and one that changes: which of its stages is meant?"""
    if not isinstance(problem, Problem):
        raise CojaxInputError(f"{owner} needs a cojax Problem, got {type(problem).__name__}.")
    if isinstance(problem, ShardedProblem):
        problem.refuse(owner)
    if isinstance(problem, Changing):
        raise CojaxInputError(
            f"{owner} needs the problem of one step, got one that changes; use problem.at(solution.state.step) for the "
            "end of a run, problem.at(0) for the start."
        )


def check_decision(owner: str, problem: Any, x: Any) -> None:
    """Refuse what is no problem, no decision, a decision of other shapes, or one that the cost cannot be computed of.

    Shapes only: nothing is computed, and traced arrays pass.
    """
    check_problem(owner, problem)
    if not isinstance(x, Decision):
        raise CojaxInputError(
            f"{owner} needs a cojax.Decision(params, cpu), got {type(x).__name__}; a solution has its own at .x."
        )
    check_nodes(owner, problem, x.params)
    if x.cpu is not None and problem.lower is not None and np.shape(x.cpu) != problem.lower.shape:
        raise CojaxInputError(
            f"{owner} needs cpu of shape {problem.lower.shape}, one share per node"
            f"{' and resource' if problem.lower.ndim > 1 else ''}, got {np.shape(x.cpu)}."
        )
    check_cost_of(owner, problem, x)


def check_params(owner: str, problem: Any, x: Any) -> None:
    """As `check_decision`, for those who take the params of a decision alone."""
    check_problem(owner, problem)
    check_decision(owner, problem, Decision(x.params, problem.lower) if isinstance(x, Decision) else x)


def check_nodes(owner: str, problem: Problem, params: Tree) -> None:
    """Refuse params without one copy per node."""
    for leaf in jax.tree.leaves(params):
        if np.shape(leaf)[:1] != (problem.num_nodes,):
            raise CojaxInputError(
                f"{owner} needs {problem.num_nodes} nodes on the first axis of params, got shape {np.shape(leaf)}; "
                "stack one copy per node."
            )


def check_cost_of(owner: str, problem: Problem, x: Decision) -> None:
    """Refuse a decision that the cost cannot be computed of, without computing it."""
    try:
        costs = jax.eval_shape(problem.costs, x)
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        given = [name for name, part in zip(Decision._fields, x, strict=True) if jax.tree.leaves(part)]
        raise CojaxInputError(
            f"{owner} cannot evaluate the cost of one node with {' and '.join(given) or 'neither params nor cpu'} "
            f"({type(error).__name__}: {said}); pass params, one copy per node, where the cost uses x.params, and "
            "write the cost in jax.numpy, without branches on values."
        ) from error
    if np.shape(costs) != (problem.num_nodes,):
        raise CojaxInputError(
            f"{owner} needs a cost that is one number per node, got one of shape {np.shape(costs)[1:]}; sum it up."
        )
