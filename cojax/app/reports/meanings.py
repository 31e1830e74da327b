"""What every number of a certificate guarantees, and what it leaves open."""

import numpy as np

from ...plots.numerals import number
from ..results.outcome import Outcome

# What every number of a certificate is, what it guarantees, and what it leaves open.
MEANINGS = {
    "balance": (
        "Total",
        "Distance of the sum of all shares from the budget, relative to it or, where that is more, the largest share.",
        "At 0 the budget is handed out to the last bit. It does not say that the right nodes get it.",
    ),
    "box": (
        "Bounds",
        "Largest distance of a share from its bounds, in the unit of the node table.",
        "No node is asked for more than its bound plus this. The run pays a penalty beyond a bound instead of stopping "
        "there, so its own shares may be outside by this much; the exact allocation stays inside.",
    ),
    "stationarity": (
        "Equal marginal costs",
        "Half of what moving one unit from the dearest to the cheapest node would save.",
        "At 0 no exchange between two nodes saves anything. It speaks of small changes; the cost gap of all.",
    ),
    "gap": (
        "Cost gap",
        "Cost minus a lower bound of the best possible cost, the model held fixed.",
        "No allocation within the bounds is cheaper by more than this, whoever computed it, for costs that are convex. "
        "It does not judge the cost figures that were put in, nor the model.",
    ),
    "consensus": (
        "One model",
        "Largest difference between a number in one node's model and its mean over all nodes.",
        "At 0 all nodes hold the same model. It does not say that the model is good.",
    ),
    "gradient": (
        "Best model",
        "Length of the mean gradient at the nodes' mean model.",
        "At 0 no small change of the model fits the training data better; for a convex loss, no change at all. "
        "It promises nothing about new data: the test score speaks of that.",
    ),
    "model_gap": (
        "Model gap",
        "Cost minus a lower bound of the best possible cost, the shares held fixed.",
        "No model fits the training data better by more than this, for a loss that is convex. Infinite or not a number "
        "where nothing shows that there is a best model at all.",
    ),
    "price": (
        "Price",
        "Cost of one more unit of budget.",
        "What the marginal costs say that more budget is worth. It is for information and is not tested.",
    ),
    "worst": (
        "Largest of all",
        "Each number but the price, relative to the size of what it measures, in whatever unit; the largest.",
        "This is what the tolerance is held against.",
    ),
}


def certificate(outcome: Outcome) -> list[dict[str, str]]:
    """One row per number: what it is, its values, and what it guarantees; unknown ones keep their own names."""
    judged = {"exact": outcome.exact_certificate, "run": outcome.run_certificate, "hard": outcome.certificate}
    rows = []
    for key in dict.fromkeys(key for numbers in judged.values() for key in numbers):
        name, what, meaning = MEANINGS.get(key, (key, "", ""))
        values = {kind: number(numbers.get(key, np.nan), 3) for kind, numbers in judged.items()}
        rows.append({"name": name, "what": what, "meaning": meaning, **values})
    return rows
