"""An answer that something else has found, judged by what a plan asks for: what it breaks, what it loses, and where."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...optimum.allocations import allocate
from ...optimum.certificates import WORDS, certificate, is_certified, relative
from ...problems.problem import Decision
from ..cases.cases import Stated
from .runs import marginal_costs, numbers_of


@dataclass(frozen=True)
class Checked:
    """What an answer is worth, in plain NumPy, one row per node, in the units of the plan."""

    stated: Stated
    share: Float[np.ndarray, " n"]  # as it was answered
    best: Float[np.ndarray, " n"]  # of the optimum; one of several where these cost the same
    beyond: Float[np.ndarray, " n"]  # >= 0: how far a share is outside of its bounds
    marginal: Float[np.ndarray, " n"]  # cost of the next unit at `share`
    lost: Float[np.ndarray, " n"]  # >= 0; see `check`
    cost: float  # of `share`
    best_cost: float
    best_price: float  # of one unit of budget at the optimum
    certificate: dict[str, float]  # of `share`
    best_certificate: dict[str, float]  # of `best`
    failed: dict[str, float]  # what does not pass, in words, with how much of its size it is off
    tolerance: float
    certified: bool  # `certificate` passes the tolerance

    @property
    def off_budget(self) -> float:
        """How much more than the budget the shares are, negative where it is less."""
        return math.fsum([*self.share, -self.stated.plan.cpu.budget])


def check(stated: Stated, share: Float[np.ndarray, " n"], tolerance: float) -> Checked:
    """Judge shares against the bounds, the budget and the optimum of a plan.

    A node loses what its share costs more than its best one, less what the difference is worth at the price of the
    optimum: f(x) - f(best) - price (x - best), which is never negative for convex costs. A share outside of its bounds
    is taken as on them. Of shares that keep bounds and budget, all losses sum to their cost above the optimum.
    """
    problem = stated.problem
    answer = Decision(None, jnp.asarray(share))
    found = allocate(problem)
    judged, judged_best = certificate(problem, answer), certificate(problem, Decision(None, found.cpu))
    lower, upper, best = stated.centres.lower, stated.centres.upper, np.asarray(found.cpu)
    within = np.clip(share, lower, upper)
    costs, best_costs, own = (
        np.asarray(problem.costs(Decision(None, jnp.asarray(cpu)))) for cpu in (within, best, share)
    )
    lost = costs - best_costs - float(found.price) * (within - best)
    off = {WORDS[name]: float(error) for name, error in relative(judged).items()}
    return Checked(
        stated=stated,
        share=share,
        best=best,
        beyond=np.maximum(np.maximum(lower - share, share - upper), 0.0),
        marginal=marginal_costs(problem, answer.cpu),
        lost=np.maximum(lost, 0.0),
        cost=float(own.sum()),
        best_cost=float(best_costs.sum()),
        best_price=float(found.price),
        certificate=numbers_of(judged),
        best_certificate=numbers_of(judged_best),
        failed={name: error for name, error in off.items() if not error <= tolerance},
        tolerance=tolerance,
        certified=bool(is_certified(judged, tolerance)),
    )
