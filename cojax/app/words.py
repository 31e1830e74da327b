"""What a report says about an outcome, in words that claim no more than its numbers do."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from ..plots.numerals import DASH, number, of_bytes
from .outcome import Learned, Outcome

MODELS = {
    "svm": "a support vector machine",
    "logistic": "a logistic regression",
    "softmax": "a softmax classifier",
    "least_squares": "a linear regression",
}
# What every number of a certificate is, what it guarantees, and what it leaves open.
MEANINGS = {
    "balance": (
        "Total",
        "Distance of the sum of all shares from the budget, relative to the budget.",
        "At 0 the budget is handed out to the last bit. It does not say that the right nodes get it.",
    ),
    "box": (
        "Bounds",
        "Largest distance of a share from its bounds, in CPU units.",
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
    "price": (
        "Price",
        "Cost of one more unit of budget.",
        "What the marginal costs say that more budget is worth. It is for information and is not tested.",
    ),
    "worst": (
        "Largest of all",
        "Each number but the price, relative to the size of what it measures where that exceeds 1; the largest.",
        "This is what the tolerance is held against.",
    ),
}


# How a run ended, by the name of its `cojax.Status`, and what to do about it.
ENDS = {
    "CONVERGED": "settled to rounding",
    "CONVERGED_REDUCED": "came close and was still coming closer: give it more steps",
    "OUT_OF_STEPS": "took all its steps: give it more",
    "STALLED": "came no closer for half of its steps: round less on the link, or take another method",
    "LIMIT_CYCLE": "went up and down for half of its steps: take smaller step sizes, or another method",
    "DIVERGED": "diverged: take smaller step sizes",
    "NOT_FINITE": "diverged until numbers overflowed: take smaller step sizes",
    "INFEASIBLE": "lost the budget: report it, for this should not happen",
    "INTERRUPTED": "was interrupted: --resume goes on",
}


class Tile(NamedTuple):
    """One number to remember, with what it is and what to hold it against."""

    label: str
    value: str
    note: str


def score(learned: Learned, value: float) -> str:
    """An accuracy as a percentage; an error as it is; a dash where there are no samples."""
    if not np.isfinite(value):
        return DASH
    return f"{100 * value:.1f}\u00a0%" if learned.score == "accuracy" else number(value)


def at_bounds(outcome: Outcome) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The nodes whose exact share is at its lower, and at its upper, bound."""
    # The exact allocation is found to about half of the digits where costs are flat.
    touch = 1e-7 * np.maximum(np.abs(outcome.exact_cpu), 1)
    return outcome.exact_cpu <= outcome.lower + touch, outcome.exact_cpu >= outcome.upper - touch


def lead(outcome: Outcome) -> list[str]:
    """The answer in a few sentences."""
    if not (np.isfinite(outcome.cpu).all() and np.isfinite(outcome.cost)):
        return ["The run diverged: none of its own numbers can be used. Try smaller step sizes."]
    learned = [] if outcome.learned is None else [_learned(outcome, outcome.learned)]
    return [*learned, _total(outcome), _cost(outcome), *_saturated(outcome)]


def _learned(outcome: Outcome, learned: Learned) -> str:
    model = MODELS.get(learned.model, learned.model)
    start = (
        f"{len(outcome.names)} nodes trained {model} together on {number(learned.num_samples.sum(), 9)} samples "
        "without moving them"
    )
    if learned.test_score is None:
        return f"{start}."
    reached = (
        f"it reaches {_named_score(learned, learned.test_score)} on {number(learned.test_samples, 9)} held-out samples"
    )
    if learned.central_test_score is None:
        return f"{start}; {reached}."
    central = score(learned, learned.central_test_score)
    if central == score(learned, learned.test_score):
        return f"{start}; {reached}, the same as training with all data in one place."
    return f"{start}; {reached}, where training with all data in one place reaches {central}."


def _named_score(learned: Learned, value: float) -> str:
    if learned.score == "accuracy":
        return f"{score(learned, value)} accuracy"
    return f"an {learned.score} of {score(learned, value)}"


def _beside_optimum(cost: float, optimum: float) -> str:
    """How far `cost` is from the optimum, relative to it where it is not 0."""
    gap = cost - optimum
    if gap == 0:
        return "the optimum itself"
    size = f"{number(100 * abs(gap / optimum), 2)}\u00a0%" if optimum else number(abs(gap), 2)
    return f"{size} {'above' if gap > 0 else 'below'} the optimum of {number(optimum, 5)}"


def _steps(outcome: Outcome) -> str:
    return number(np.max(outcome.trace.step, initial=0), 9)


def _total(outcome: Outcome) -> str:
    shared = f"The nodes shared {number(outcome.budget, 6)} CPU units"
    if outcome.imbalance == 0:
        return f"{shared}; at every one of {_steps(outcome)} steps the total was right, to the last bit."
    off = number(outcome.imbalance, 2)
    return f"{shared}; over {_steps(outcome)} steps the total was off by up to {off}."


def _cost(outcome: Outcome) -> str:
    run = f"Their shares cost {number(outcome.cost, 5)}, {_beside_optimum(outcome.cost, outcome.reference_cost)}"
    if outcome.overload == 0:
        return f"{run}, and every one is within its bounds."
    return (
        f"{run}; bounds are soft while they negotiate, and a share ended {number(outcome.overload, 2)} CPU units "
        f"beyond one{_softness(outcome)}. The exact allocation beside it keeps all bounds, costs "
        f"{number(outcome.exact_cost, 5)}, and is the one to use."
    )


def _softness(outcome: Outcome) -> str:
    off = outcome.price_off_percent
    price = f", and the price is off by {number(off, 2)}\u00a0%" if np.isfinite(off) else ""
    return f" (up to {number(outcome.overload_percent, 2)}\u00a0% of a bound){price}"


def soft_and_exact(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    """What soft bounds did to the run: name, in the run, exact, and how far apart these are."""
    cost = 100 * (outcome.cost - outcome.exact_cost) / abs(outcome.exact_cost) if outcome.exact_cost else np.nan
    rows = (
        ("Cost", outcome.cost, outcome.exact_cost, cost),
        ("Price of one more unit", outcome.run_price, outcome.price, outcome.price_off_percent),
        ("Furthest beyond a bound", outcome.overload, outcome.exact_overload, outcome.overload_percent),
    )
    return [(name, number(run, 5), number(exact, 5), f"{number(off, 2)}\u00a0%") for name, run, exact, off in rows]


def worth(outcome: Outcome) -> str:
    """The most that one more unit would be worth, in a sentence."""
    found = outcome.worth
    said = f"One more unit of budget would cost {number(found.budget_more, 5)}"
    if not np.isfinite(found.budget_more):
        said = "Not one more unit of budget would fit within the bounds"
    if found.budget_more != found.budget_less and np.isfinite(found.budget_less):
        said += f", one less would save {number(found.budget_less, 5)}"
    room = np.maximum(found.upper, found.lower)
    best = int(np.argmax(room))
    if not room[best] > 0:
        return f"{said}. No bound is in the way: more room would save nothing at any node."
    side = "raised" if found.upper[best] >= found.lower[best] else "lowered"
    bound = "upper" if side == "raised" else "lower"
    return (
        f"{said}. Room is worth most at {outcome.names[best]}, whose {bound} bound, {side} by one unit, would save "
        f"{number(room[best], 5)}."
    )


def _saturated(outcome: Outcome) -> list[str]:
    count = int(np.max(outcome.trace.saturated, initial=0))
    if count == 0:
        return []
    times = "1 number was" if count == 1 else f"{number(count, 9)} numbers were"
    return [f"{times} too large for the quantizer and cut: give it more bits or a wider range."]


def key_numbers(outcome: Outcome) -> list[Tile]:
    """The numbers to remember."""
    gap = outcome.cost - outcome.reference_cost
    relative = 100 * gap / abs(outcome.reference_cost) if outcome.reference_cost else gap
    sign = "+" if gap > 0 else ""
    unit = "\u00a0%" if outcome.reference_cost else ""
    off, told = number(outcome.imbalance, 2), of_bytes(float(np.max(outcome.trace.bits, initial=0)))
    tiles = [
        Tile("Cost vs optimum", f"{sign}{number(relative, 2)}{unit}", f"{number(outcome.cost, 5)} in the run"),
        Tile("Total off budget", off, f"the most at any of {_steps(outcome)} steps"),
        Tile("Beyond a bound", number(outcome.overload, 2), "CPU units in the run; 0 in the exact allocation"),
        Tile("Price", number(outcome.price, 4), "cost of one more unit of budget"),
        Tile("Traffic", told, "from each node to each neighbour, in the whole run"),
        Tile("Time", f"{number(outcome.seconds.get('total', np.nan), 2)}\u00a0s", _seconds(outcome)),
    ]
    learned = outcome.learned
    if learned is None or learned.test_score is None:
        return tiles
    central = "" if learned.central_test_score is None else f"{score(learned, learned.central_test_score)} centralised"
    return [Tile(f"Test {learned.score}", score(learned, learned.test_score), central), *tiles]


def _seconds(outcome: Outcome) -> str:
    parts = [f"{name} {number(value, 2)}\u00a0s" for name, value in outcome.seconds.items() if name != "total"]
    return ", ".join(parts)


def certificate(outcome: Outcome) -> list[dict[str, str]]:
    """One row per number: what it is, its values, and what it guarantees; unknown ones keep their own names."""
    judged = {"exact": outcome.exact_certificate, "run": outcome.run_certificate, "hard": outcome.certificate}
    rows = []
    for key in dict.fromkeys(key for numbers in judged.values() for key in numbers):
        name, what, meaning = MEANINGS.get(key, (key, "", ""))
        values = {kind: number(numbers.get(key, np.nan), 3) for kind, numbers in judged.items()}
        rows.append({"name": name, "what": what, "meaning": meaning, **values})
    return rows


def picture(name: str, outcome: Outcome) -> tuple[str, str, str]:
    """Heading, caption and text alternative of a picture."""
    most, least = int(np.argmax(outcome.exact_cpu)), int(np.argmin(outcome.exact_cpu))
    extremes = (
        f"{outcome.names[most]} has the largest exact share, {number(outcome.exact_cpu[most])}, "
        f"and {outcome.names[least]} the smallest, {number(outcome.exact_cpu[least])}"
    )
    at_lower, at_upper = (int(at.sum()) for at in at_bounds(outcome))
    free = len(outcome.names) - at_lower - at_upper
    size = f"{len(outcome.names)} nodes and {len(outcome.edges)} links"
    turns = "" if outcome.num_graphs == 1 else f" {outcome.num_graphs} graphs take turns; all their links are drawn."
    total = "stays at 0 at every step" if outcome.imbalance == 0 else f"reaches {number(outcome.imbalance, 2)}"
    apart = np.asarray(outcome.trace.disagreement)
    ends = f"from {number(float(apart[0]), 2)} to {number(float(apart[-1]), 2)}" if len(apart) else "over no steps"
    return {
        "network": (
            "Who gives what",
            f"The larger a node, the larger its share; the darker, the more of its upper bound is in use.{turns}",
            f"Network of {size}, drawn with the shares of the run; {extremes}.",
        ),
        "convergence": (
            "How the run got there",
            "Curves should fall; shares beyond soft bounds level off where the penalty holds them. The distance of the "
            f"total from the budget {total}.",
            f"Curves over {_steps(outcome)} steps: models apart {ends}; cost ends "
            f"{_beside_optimum(outcome.cost, outcome.reference_cost)}; total minus budget {total}.",
        ),
        "shares": (
            "Shares between their bounds",
            f"Dots should sit on the marks of the optimum; no share is further than {number(outcome.overload, 2)} CPU "
            "units beyond a bound.",
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
