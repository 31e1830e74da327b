"""A whole run in one figure: who holds what, how it got there, and whether bounds and prices are as they should be."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._support.checks import CojaxInputError
from ..networks.base import Network
from ..optimum import Reference, reference
from ..problems.problem import Problem
from ..runs.records import Trace
from ..runs.solutions import Solution
from ..theory import laplacians
from .bounds import at_bounds
from .canvas import Numbers, styled, ticks
from .networks import network as draw_network
from .pictures import convergence, prices, shares

WIDE = 7.1  # inches: two columns of a paper
TOUCH = 1e-6  # how near to a bound an optimal share counts as at it; see `at_bounds`


def run(
    problem: Problem,
    network: Network,
    solution: Solution,
    *,
    optimum: Reference | None = None,
    names: Sequence[str] | None = None,
    positions: Numbers | None = None,
) -> Any:
    """A matplotlib figure of four pictures: the network, the convergence, the shares and the prices.

    Args:
        problem, network, solution: what was solved, with one kind of cpu, and what `solve` returned, with its standard
            trace.
        optimum: of `cojax.reference`; computed if it is not given, which for a large model takes longer than the run.
        names: of the nodes.
        positions: (n, 2), degrees east and degrees north; without them linked nodes are drawn close to each other.

    The figure shows itself in a notebook; `figure.savefig(...)` writes it. Each picture is also a function of its own,
    which draws on any axes. Raises `CojaxInputError` where matplotlib is missing, the problem has no budget or several
    kinds of cpu, the trace is not the standard one, and as `cojax.theory.laplacians` and `cojax.reference` do.
    """
    x, trace = solution.x, solution.trace
    if problem.lower is None or problem.upper is None or problem.lower.ndim != 1:
        raise CojaxInputError("plots.run needs a problem with one budget; of another run draw plots.convergence.")
    if not isinstance(trace, Trace):
        got = type(trace).__name__
        raise CojaxInputError(f"plots.run needs a solution with the standard trace, got a {got}; solve without record.")
    # One node's model is a start like any other.
    best = reference(problem, jax.tree.map(lambda leaf: leaf[0], x.params)) if optimum is None else optimum
    assert best.price is not None
    lower, upper, share = (np.asarray(part) for part in (problem.lower, problem.upper, best.x.cpu))
    bounded = dict(zip(("at_lower", "at_upper"), at_bounds(share, lower, upper, TOUCH), strict=True))
    marginal, best_marginal = (np.asarray(_hard(problem).grad(at).cpu) for at in (x, best.x))
    with styled() as matplotlib_figure:
        figure = matplotlib_figure(figsize=(WIDE, 6.2), layout="constrained")
        (who, how), (where, why) = panels = figure.subplots(2, 2)
        for ax in panels.ravel():
            ticks(ax)
        convergence(trace, float(best.cost), ax=how)
        shares(np.asarray(x.cpu), lower, upper, optimum=share, names=names, ax=where)
        prices(marginal, float(best.price), optimum=best_marginal, names=names, **bounded, ax=why)
        # Names find their places last: every other picture moves the axes.
        bounds = upper if np.isfinite(upper).all() else None
        draw_network(_links(network), np.asarray(x.cpu), upper=bounds, names=names, positions=positions, ax=who)
    return figure


def _hard(problem: Problem) -> Problem:
    """The same costs without the penalty, whose slope is no part of what a share costs."""
    return Problem(problem.cost, problem.data, problem.budget, lower=problem.lower, upper=problem.upper)


def _links(network: Network) -> np.ndarray:
    """(e, 2), every link of any graph that takes its turn."""
    ends = np.concatenate([np.stack(part.nonzero(), axis=1) for part in laplacians(network)])
    return np.unique(ends[ends[:, 0] < ends[:, 1]], axis=0)
