"""What a plan came to, in plain NumPy: all that a table, a picture, or a report says about a run is in here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...runs.records import Trace
from .training import Training
from .worth import ShareWorth


@dataclass(frozen=True)
class Learned:
    """The model's half of an outcome; scores are accuracies in [0, 1], or root mean square errors in a regression."""

    model: str  # "svm", "logistic", "softmax" or "least_squares"
    score: str  # "accuracy" or "rms error"
    params: Float[np.ndarray, "n ..."]  # every node's copy
    num_samples: Int[np.ndarray, " n"]  # for training, at each node
    local_scores: Float[np.ndarray, " n"]  # of each node's own copy on its own samples; NaN where it has none
    test_samples: int  # held out; 0 where none are
    test_score: float | None  # of the nodes' mean copy
    central_test_score: (
        float | None
    )  # of the reference, which sees all samples in one place and minimises the same cost


@dataclass(frozen=True)
class Outcome:
    """What a plan came to. Shares, bounds and the budget are in the unit of the node table, one row per node.

    Two allocations are in it. `cpu` is where the run ended: its sum is the budget bit for bit, its bounds are soft.
    `exact_cpu` is the one to use: the optimum within hard bounds, found centrally from the same data.
    """

    title: str
    names: tuple[str, ...]
    columns: dict[str, Float[np.ndarray, " n"]]  # of the node table that the cost uses: capacity, demand, price, ...
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    budget: float
    cpu: Float[np.ndarray, " n"]
    marginal: Float[np.ndarray, " n"]  # cost of the next unit at `cpu`, without the penalty
    exact_cpu: Float[np.ndarray, " n"]
    exact_marginal: Float[np.ndarray, " n"]
    price: float  # of the optimum; between what one less saves and one more costs where these differ
    worth: ShareWorth  # of one more unit of budget, of bounds and of every column
    learned: Learned | None  # None of a plan without data
    positions: dict[str, tuple[float, float]] | None  # by node: degrees east, degrees north
    edges: tuple[tuple[int, int], ...]  # of the union of all graphs, by row
    num_graphs: int  # how many take turns
    trace: Trace  # (c,) in every field
    cost: float  # where the run ended; may be below the optimum by what the soft bounds let through
    exact_cost: float  # of `exact_cpu` with the run's params
    reference_cost: float  # of the optimum of both halves
    certificate: dict[str, float]  # of where the run ended, against the problem with its hard bounds
    run_certificate: dict[str, float]  # of the same, against what the run minimises: the cost with its soft bounds
    exact_certificate: dict[str, float]  # of `exact_cpu` with the run's params, against the problem
    tolerance: float
    certified: bool  # run_certificate and exact_certificate both pass the tolerance
    status: str  # the name of a `cojax.Status`
    settings: dict[str, Any]  # what ran: method, link, network, steps, seed, versions; numbers and strings only
    seconds: dict[str, float]  # "compile" (with the first chunk), "run" (the others), "total"
    cpu_unit: str = "CPU units"  # of shares, bounds and budget
    money: str | None = None  # the unit of costs
    training: Training | None = None  # how long it takes; None of a plan without a clock
    saved: bool = True  # whether every checkpoint that was due could be written

    @property
    def imbalance(self) -> float:
        """The largest |sum of cpu - budget| over all steps of the run; 0.0 means never off by one bit."""
        return float(self.trace.imbalance.max(initial=0.0))

    @property
    def overload(self) -> float:
        """The largest distance of a share of `cpu` from its bounds, 0 inside."""
        return float(np.maximum(np.maximum(self.lower - self.cpu, self.cpu - self.upper), 0).max())

    @property
    def exact_overload(self) -> float:
        """As `overload`, of `exact_cpu`: 0, or a rounding error."""
        return float(np.maximum(np.maximum(self.lower - self.exact_cpu, self.exact_cpu - self.upper), 0).max())

    @property
    def overload_percent(self) -> float:
        """The largest distance of a share of `cpu` beyond a bound, in percent of that bound; of the upper one at 0."""
        beyond = np.stack([self.lower - self.cpu, self.cpu - self.upper])
        sizes = np.abs(np.stack([np.where(self.lower == 0, self.upper, self.lower), self.upper]))
        # A bound that is infinite is never passed; one of 0 between infinite or zero ones has no size of its own.
        return float((100 * np.maximum(beyond, 0) / np.where((sizes > 0) & np.isfinite(sizes), sizes, 1)).max())

    def in_money(self, number: str) -> str:
        """A cost with its unit, where that is known."""
        return number if self.money is None else f"{number}\u00a0{self.money}"

    @property
    def price_of_one_more(self) -> float:
        """What the next unit of budget costs; where none fits, what the last one saved."""
        return self.worth.budget_more if np.isfinite(self.worth.budget_more) else self.price

    @property
    def run_price(self) -> float:
        """What one more unit of budget seems to cost at `cpu`, to nodes that take soft bounds for part of the cost."""
        return self.run_certificate.get("price", np.nan)

    @property
    def price_off_percent(self) -> float:
        """How far `run_price` is from every price of the exact allocation, in percent of that."""
        off = max(self.worth.budget_less - self.run_price, self.run_price - self.worth.budget_more, 0.0)
        return 100 * off / abs(self.price) if self.price else np.nan
