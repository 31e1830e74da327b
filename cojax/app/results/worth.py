"""What one more unit would be worth, and where: the derivatives of the least cost of a plan's shares."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..._support.compiling import compiled
from ...optimum.allocations import Allocation
from ...optimum.margins import Margins, exact_margins, flatness
from ...optimum.pricing import Sensitivities, sensitivities
from ...problems.problem import Problem


@dataclass(frozen=True)
class ShareWorth:
    """Changes of the least cost for one more, or one less, unit, to first order; one row per node.

    All but `next_unit` are cost per unit. Infinite where no shares would fit any more.
    """

    budget_more: float
    budget_less: float  # what one unit of budget less would save; less than `budget_more` where no node is off a bound
    next_unit: Float[np.ndarray, " n"]  # how the next unit of budget splits; sums to 1, to 0 where none fits
    upper: Float[np.ndarray, " n"]  # >= 0: saved by raising the upper bound by one
    lower: Float[np.ndarray, " n"]  # >= 0: saved by lowering the lower bound by one
    columns: dict[str, Float[np.ndarray, " n"]]  # by column of the node table: change of the cost, bounds held
    one_sided: Bool[np.ndarray, " n"]  # just touches a bound, or costs the same as another: shares move one way only


class Found(NamedTuple):
    """What is computed on the device in one program."""

    allocation: Allocation
    sensitivities: Sensitivities
    margins: Margins


@functools.partial(compiled, runs_briefly=True)
def find_worth(shares: Problem) -> Found:
    """The exact allocation of a plan's shares, with all that `worth` needs."""
    priced = sensitivities(shares)
    assert priced.allocation is not None
    return Found(priced.allocation, priced, exact_margins(shares, None, priced.allocation.cpu[:, None]))


def worth(names: Iterable[str], found: Found) -> ShareWorth:
    """The `Worth` of a plan whose cost of a share uses the columns `names`, in the order of the problem's data."""
    priced = found.sensitivities
    assert priced.more is not None and priced.less is not None
    assert priced.touching is not None and priced.tied is not None
    data = priced.data[1] if isinstance(priced.data[1], tuple) else (priced.data[1],)
    return ShareWorth(
        budget_more=float(priced.more.budget),
        budget_less=float(priced.less.budget),
        next_unit=_next_unit(found),
        upper=-np.asarray(priced.more.upper) + 0.0,
        lower=np.asarray(priced.less.lower),
        columns={name: np.asarray(slope) for name, slope in zip(names, data, strict=True)},
        one_sided=np.asarray(priced.touching | priced.tied),
    )


def _next_unit(found: Found) -> Float[np.ndarray, " n"]:
    """Flat costs take more of it; where all stand on bounds or corners, the cheapest that can takes all."""
    free, can_take, more = (
        np.asarray(part)[:, 0] for part in (found.margins.free, found.margins.can_take, found.margins.more)
    )
    if free.any():
        return np.asarray(flatness(found.margins.hessian[:, :, 0], found.margins.free)[:, 0])
    taken = np.zeros(len(more))
    if can_take.any():
        taken[np.argmin(np.where(can_take, more, np.inf))] = 1.0
    return taken
