"""Heading, caption and text alternative of every picture of a report."""

import numpy as np

from ...plots.numerals import number
from ..results.outcome import Outcome
from . import words


def picture(name: str, outcome: Outcome) -> tuple[str, str, str]:
    """Heading, caption and text alternative of a picture."""
    most, least = int(np.argmax(outcome.exact_cpu)), int(np.argmin(outcome.exact_cpu))
    extremes = (
        f"{outcome.names[most]} has the largest exact share, {number(outcome.exact_cpu[most])}, "
        f"and {outcome.names[least]} the smallest, {number(outcome.exact_cpu[least])}"
    )
    at_lower, at_upper = (int(at.sum()) for at in words.at_bounds(outcome))
    free = len(outcome.names) - at_lower - at_upper
    size = f"{len(outcome.names)} nodes and {len(outcome.edges)} links"
    turns = "" if outcome.num_graphs == 1 else f" {outcome.num_graphs} graphs take turns; all their links are drawn."
    total = "stays at 0 at every step" if outcome.imbalance == 0 else f"reaches {number(outcome.imbalance, 2)}"
    apart = np.asarray(outcome.trace.disagreement)
    ends = f"from {number(float(apart[0]), 2)} to {number(float(apart[-1]), 2)}" if len(apart) else "over no steps"
    return {
        "network": (
            "Who gets what",
            "The exact shares, those to use. The larger a node, the larger its share; the darker, the more of its "
            f"upper bound is in use.{turns}",
            f"Network of {size}, drawn with the exact shares; {extremes}.",
        ),
        "convergence": (
            "How the run got there",
            "Curves should fall; shares beyond soft bounds level off where the penalty holds them, and the cost where "
            f"these leave it. The distance of the total from the budget {total}.",
            f"Curves over {words.steps(outcome)} steps: models apart {ends}; cost ends "
            f"{words.beside_optimum(outcome.cost, outcome.reference_cost)}; total minus budget {total}.",
        ),
        "shares": (
            "Shares between their bounds",
            "Dots are the run's shares, marks the exact ones, on which they should sit; no dot is further than "
            f"{number(outcome.overload, 2)} {outcome.cpu_unit} beyond a bound. A diamond is beyond one by more than "
            "a thousandth of the range between both.",
            f"One row per node with its bounds, its share in the run and in the optimum; {extremes}.",
        ),
        "prices": (
            "Marginal costs meet the price",
            "At the optimum every node between its bounds has the same marginal cost, the price; a node at its upper "
            "bound is cheaper, one at its lower bound dearer.",
            f"One row per node: {free} between their bounds around the price of {number(outcome.price)}, {at_upper} at "
            f"the upper bound and {at_lower} at the lower bound.",
        ),
    }[name]
