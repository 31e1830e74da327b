"""What a report says about an outcome, in words that claim no more than its numbers do."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from ...plots.bounds import at_bounds as near_bounds
from ...plots.numerals import DASH, number, of_bytes
from ...runs.endings import ENDS as ENDS
from ..results.outcome import Learned, Outcome

MODELS = {
    "svm": "a support vector machine",
    "logistic": "a logistic regression",
    "softmax": "a softmax classifier",
    "least_squares": "a linear regression",
}


# Costs that differ by a smaller part are told as one.
SAME = 1e-9


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
    return near_bounds(outcome.exact_cpu, outcome.lower, outcome.upper, 1e-7)


def sides(outcome: Outcome) -> list[str]:
    """The bound that every node's exact share is at, "upper" or "lower"; nothing in between."""
    at_lower, at_upper = at_bounds(outcome)
    return np.where(at_upper, "upper", np.where(at_lower, "lower", "")).tolist()


def answers(outcome: Outcome) -> list[tuple[str, str]]:
    """What anybody asks first: what was decided, what it costs, and whether that is proved."""
    proved = "Is it proved? Yes" if outcome.certified else "Is it proved? No"
    return [("What was decided", _decision(outcome)), ("What it costs", _costs(outcome)), (proved, _proof(outcome))]


def _decision(outcome: Outcome) -> str:
    names, share = outcome.names, outcome.exact_cpu
    most, least = int(np.argmax(share)), int(np.argmin(share))
    lower, upper = (int(at.sum()) for at in at_bounds(outcome))
    said = f"Who gets how much of {number(outcome.budget, 6)} {outcome.cpu_unit}. {names[most]} gets the most, "
    said += f"{number(share[most])}, {names[least]} the least, {number(share[least])}. "
    if not lower + upper:
        return f"{said}No share is at a bound."
    return f"{said}Of {len(names)} shares, {upper} {_are(upper)} at the upper bound and {lower} at the lower one."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _costs(outcome: Outcome) -> str:
    both = "" if outcome.learned is None else ", the shares and the loss of the model together"
    unit = "" if outcome.money else " in the unit of the cost figures"
    return f"{outcome.in_money(number(outcome.exact_cost, 5))}{unit}{both}. {worth(outcome)}"


def _proof(outcome: Outcome) -> str:
    ended = f"The run of the nodes {ENDS[outcome.status]} ({outcome.status})."
    if outcome.certified:
        gap, worst = (number(outcome.exact_certificate.get(name, np.nan), 2) for name in ("gap", "worst"))
        return (
            "Checked from the data alone, whoever computed it. Cost gap: for convex costs no other shares within the "
            f"bounds are cheaper by more than {gap}. Largest relative error of all checks: {worst}, of the "
            f"{outcome.tolerance:g} allowed. {ended}"
        )
    exact = outcome.exact_certificate.get("worst", np.nan)
    part = "the shares to use pass, the run of the nodes does not" if exact <= outcome.tolerance else "see Certificate"
    return f"At least one number is further off than the {outcome.tolerance:g} allowed: {part}. {ended}"


def lead(outcome: Outcome) -> list[str]:
    """The answer in a few sentences."""
    if not (np.isfinite(outcome.cpu).all() and np.isfinite(outcome.cost)):
        return ["The run diverged: none of its own numbers can be used. Try smaller step sizes."]
    learned = [] if outcome.learned is None else [_model_words(outcome, outcome.learned)]
    return [*learned, _total(outcome), _cost(outcome), *_saturation_words(outcome)]


def _model_words(outcome: Outcome, learned: Learned) -> str:
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


def beside_optimum(cost: float, optimum: float) -> str:
    """How far `cost` is from the optimum, relative to it where it is not 0."""
    gap = cost - optimum
    if gap == 0:
        return "the optimum itself"
    size = f"{number(100 * abs(gap / optimum), 2)}\u00a0%" if optimum else number(abs(gap), 2)
    return f"{size} {'above' if gap > 0 else 'below'} the optimum of {number(optimum, 5)}"


def over_least(outcome: Outcome) -> str:
    """What the shares to use cost beyond the least there is within the bounds, relative to it where that is not 0."""
    least, more = outcome.reference_cost, outcome.exact_cost - outcome.reference_cost
    # Where the least cost is 0 or nearly so, what it is off by is proved to be nothing beside the size of all costs.
    if more <= SAME * abs(least) or outcome.exact_certificate.get("worst", np.nan) <= SAME:
        return "the least possible within the bounds"
    above = f"{number(100 * more / abs(least), 2)}\u00a0%" if least else number(more, 2)
    return f"{above} above the least possible within the bounds"


def training(outcome: Outcome) -> list[str]:
    """How long the training takes by the clock, what it waits for, and where more would save most."""
    found = outcome.training
    if found is None:
        return []
    if not found.seconds:
        return ["rounds take no time by the clock: it has neither work nor delays"]
    node = int(np.argmax(found.working))
    took = f"{number(found.rounds, 9)} rounds take {of_seconds(found.seconds)} by the clock, with the shares to use"
    waits = f"the slowest chain is at work in {outcome.names[node]} for {percent(found.working[node], found.seconds)}"
    saves = f"one more unit of share there saves at most {of_seconds(found.saved[node])}"
    if not found.links:
        return [f"{took};", f"{waits}; {saves}"]
    link = found.links[0]
    on = f"on the link {' - '.join(link.ends)} for {percent(link.seconds, found.seconds)}"
    return [f"{took};", f"{waits}, {on};", f"{saves}, one more Gbit/s on that link at most {of_seconds(link.saved)}"]


def training_columns(outcome: Outcome) -> dict[str, list]:
    """What the training waits for, nodes first, then links: seconds on the slowest chain, and what more saves."""
    found = outcome.training
    assert found is not None
    names = [*outcome.names, *(" - ".join(link.ends) for link in found.links)]
    return {
        "what": ["node"] * len(outcome.names) + ["link"] * len(found.links),
        "name": names,
        "seconds": [*found.working.tolist(), *(link.seconds for link in found.links)],
        "most_seconds_saved_by_one_more": [*found.saved.tolist(), *(link.saved for link in found.links)],
    }


def percent(part: float, whole: float) -> str:
    """A part of the whole, in percent."""
    return f"{number(100 * part / whole if whole else 0.0, 2)}\u00a0%"


def of_seconds(value: float) -> str:
    """A time in the unit that a person would take."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if abs(value) >= size:
            return f"{number(value / size, 3)}\u00a0{unit}"
    return f"{number(1000 * value, 3)}\u00a0ms" if value else "nothing"


def steps(outcome: Outcome) -> str:
    return number(np.max(outcome.trace.step, initial=0), 9)


def _total(outcome: Outcome) -> str:
    shared = f"The nodes shared {number(outcome.budget, 6)} {outcome.cpu_unit}"
    if outcome.imbalance == 0:
        return f"{shared}; at every one of {steps(outcome)} steps the total was right, to the last bit."
    off = number(outcome.imbalance, 2)
    return f"{shared}; over {steps(outcome)} steps the total was off by up to {off}."


def _cost(outcome: Outcome) -> str:
    what = "their shares cost" if outcome.learned is None else "their shares and their model cost"
    cost = outcome.in_money(number(outcome.cost, 5))
    run = f"Where the run ended, {what} {cost}, {beside_optimum(outcome.cost, outcome.reference_cost)}"
    if outcome.overload == 0:
        return f"{run}, and every one is within its bounds."
    why = ". Nothing within the bounds is that cheap" if outcome.cost < outcome.reference_cost else ""
    return (
        f"{run}{why}: bounds are soft while the nodes negotiate, and a share ended {number(outcome.overload, 2)} "
        f"{outcome.cpu_unit} beyond one{_softness(outcome)}. The exact shares keep all bounds, cost "
        f"{outcome.in_money(number(outcome.exact_cost, 5))}, and are the ones to use."
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
        ("Price of one more unit", outcome.run_price, outcome.price_of_one_more, outcome.price_off_percent),
        ("Furthest beyond a bound", outcome.overload, outcome.exact_overload, outcome.overload_percent),
    )
    return [(name, number(run, 5), number(exact, 5), f"{number(off, 2)}\u00a0%") for name, run, exact, off in rows]


def soft(outcome: Outcome) -> str:
    """The same in a sentence."""
    if not np.isfinite(outcome.overload):
        return "The run diverged, so there is nothing to hold against the exact allocation."
    beyond = int((np.maximum(outcome.lower - outcome.cpu, outcome.cpu - outcome.upper) > 0).sum())
    if beyond == 0:
        return "In this run no share passed a bound, so that softness changed nothing."
    return (
        f"In this run {beyond} of {len(outcome.names)} shares ended beyond a bound, by "
        f"{number(outcome.overload, 2)} {outcome.cpu_unit} at most, and the cost of the run is "
        f"{outcome.in_money(number(outcome.cost, 5))} instead of {outcome.in_money(number(outcome.exact_cost, 5))}."
    )


def worth(outcome: Outcome) -> str:
    """The most that one more unit would be worth, in a sentence."""
    found = outcome.worth
    said = f"One more unit of budget would cost {outcome.in_money(number(found.budget_more, 5))}"
    if not np.isfinite(found.budget_more):
        said = "Not one more unit of budget would fit within the bounds"
    if found.budget_more != found.budget_less and np.isfinite(found.budget_less):
        said += f", one less would save {outcome.in_money(number(found.budget_less, 5))}"
    room = np.maximum(found.upper, found.lower)
    best = int(np.argmax(room))
    if not room[best] > 0:
        return f"{said}. No bound is in the way: more room would save nothing at any node."
    side = "raised" if found.upper[best] >= found.lower[best] else "lowered"
    bound = "upper" if side == "raised" else "lower"
    return (
        f"{said}. Room is worth most at {outcome.names[best]}, whose {bound} bound, {side} by one unit, would save "
        f"{outcome.in_money(number(room[best], 5))}."
    )


def _saturation_words(outcome: Outcome) -> list[str]:
    count = int(np.max(outcome.trace.saturated, initial=0))
    if count == 0:
        return []
    times = "1 number was" if count == 1 else f"{number(count, 9)} numbers were"
    return [f"{times} too large for the quantizer and cut: give it more bits or a wider range."]


def key_numbers(outcome: Outcome) -> list[Tile]:
    """The numbers to remember."""
    off, told = number(outcome.imbalance, 2), of_bytes(float(np.max(outcome.trace.bits, initial=0)))
    tiles = [
        Tile("Cost", outcome.in_money(number(outcome.exact_cost, 5)), f"of the shares to use: {over_least(outcome)}"),
        Tile("Total off budget", off, f"the most at any of {steps(outcome)} steps"),
        Tile(
            "Bounds passed",
            number(outcome.overload, 2),
            f"{outcome.cpu_unit} at most where the run ended; 0 by the shares to use",
        ),
        Tile("Price", number(outcome.price_of_one_more, 4), _price(outcome)),
        Tile("Traffic", told, "from each node to each neighbour, in the whole run"),
        Tile("Time to compute", f"{number(outcome.seconds.get('total', np.nan), 2)}\u00a0s", _seconds(outcome)),
    ]
    if outcome.training is not None:
        tiles.append(Tile("Training", of_seconds(outcome.training.seconds), "by the clock of the plan"))
    learned = outcome.learned
    if learned is None or learned.test_score is None:
        return tiles
    central = "" if learned.central_test_score is None else f"{score(learned, learned.central_test_score)} centralised"
    return [Tile(f"Test {learned.score}", score(learned, learned.test_score), central), *tiles]


def _price(outcome: Outcome) -> str:
    more, less = outcome.worth.budget_more, outcome.worth.budget_less
    if not np.isfinite(more):
        return "of budget; not one more unit would fit within the bounds"
    one_less = f"; one less would save {number(less, 4)}" if more != less and np.isfinite(less) else ""
    return f"cost of one more unit of budget{one_less}"


def _seconds(outcome: Outcome) -> str:
    parts = [f"{name} {number(value, 2)}\u00a0s" for name, value in outcome.seconds.items() if name != "total"]
    return ", ".join(parts)
