"""The node table of a plan: read or typed in, and checked."""

from collections import Counter
from typing import NamedTuple

import msgspec
import numpy as np
from jaxtyping import Float

from ..._support.checks import CojaxInputError
from ...data.files import tidy
from ...data.tables import COLUMNS, TEXTS, Nodes, read_nodes
from ..plans import plans
from ..plans.plans import Plan

NEEDED = {"deviation": ("demand", "capacity"), "price": ("price",), "delay": ("work",)}
FORMULAS = {
    "deviation": "(x - demand)^2 / (2 capacity)",
    "price": "price x + curvature x^2 / 2",
    "delay": "work / x",
}
MORE = {"price": ("curvature", "pue")}  # columns that a cost takes where they are there
PLACES = ("latitude", "longitude")

SMALLEST, LARGEST = 1e-50, 1e50
UNLIKELY_RATIO = 1000
FLAT_PART = 0.2  # of the spread of prices: what a flat price grows by in the run over a typical range of shares


class InfeasibleError(CojaxInputError):
    """No shares within the bounds sum to the budget; the message says how much is missing."""


class Centres(NamedTuple):
    """What a plan says about its nodes, one row each."""

    columns: dict[str, Float[np.ndarray, " n"]]  # that the cost of a share uses
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    positions: dict[str, tuple[float, float]] | None  # by node: degrees east, degrees north; None where not given
    unused: tuple[str, ...] = ()  # other columns of the table
    pace: dict[str, Float[np.ndarray, " n"]] | None = None  # work and speed, where the plan has a clock


def read_table(nodes: plans.NodesTable) -> Nodes:
    """The node table as it is; `names` is empty where the plan types columns in without names."""
    if nodes.file is not None:
        return read_nodes(nodes.file)
    columns = {name: getattr(nodes, name) for name in COLUMNS if name not in TEXTS and getattr(nodes, name) is not None}
    names, regions = tuple(map(tidy, nodes.names or ())), tuple(map(tidy, nodes.region or ()))
    lengths = {f"$.nodes.{name}": len(column) for name, column in columns.items()}
    lengths |= {f"$.nodes.{name}": len(texts) for name, texts in (("names", names), ("region", regions)) if texts}
    if len(set(lengths.values())) > 1 or 0 in lengths.values() or not columns:
        got = ", ".join(f"{count} in {name}" for name, count in lengths.items())
        raise CojaxInputError(f"$.nodes needs columns of one length > 0, one entry per node, got {got}.")
    for name, count in Counter(names).items():
        if count > 1 or not name.isprintable() or not name.strip():
            raise CojaxInputError(f"$.nodes.names needs one printable name per node, got {name!r} {count} times.")
    return Nodes(names, {name: np.asarray(column, float) for name, column in columns.items()}, regions or None)


def num_rows(table: Nodes) -> int:
    """How many nodes a table has."""
    return max((len(column) for column in table.columns.values()), default=len(table.names))


def arrange_columns(plan: Plan, table: Nodes, names: tuple[str, ...]) -> tuple[Plan, Centres]:
    """The columns that count, for nodes `names` in the order of the table; the plan with the cost that they fit.

    Raises `InfeasibleError` where the budget does not fit the bounds, and `CojaxInputError` for missing columns, costs
    that are not convex, and lower > upper.
    """
    columns = table.columns
    _check_sizes(plan, names, columns)
    plan = _with_cost(plan, columns)
    lower, upper = _bounds_of(plan, names, columns)
    used = {name: columns[name] for name in NEEDED[str(plan.cpu.cost)]}
    if plan.cpu.cost == "price":
        used["price"] = used["price"] * columns.get("pue", 1.0)
        used["curvature"] = columns.get("curvature", np.zeros(len(names)))
    for name, value in zip(names, used.get("curvature", ()), strict=False):
        if not value >= 0:
            raise CojaxInputError(f"The node {name!r} needs curvature >= 0, got {value:g}: its cost is not convex.")
    places = None
    if "latitude" in columns and "longitude" in columns:
        places = dict(zip(names, zip(columns["longitude"], columns["latitude"], strict=True), strict=True))
    taken = {*used, *MORE.get(str(plan.cpu.cost), ()), *PLACES, "lower", "upper"}
    taken |= set() if "upper" in columns else {"capacity"}
    pace = {name: columns[name] for name in ("work", "speed") if name in columns} if plan.clock else None
    if pace is not None and plan.cpu.cost == "delay":  # whose column work is what waits at the node
        pace.pop("work", None)
    unused = tuple(name for name in columns if name not in taken | set(pace or ()))
    return plan, Centres(used, lower, upper, places, unused, pace)


def cost_words(plan: Plan) -> str:
    """Which cost of a share is minimised."""
    return f"{plan.cpu.cost}, {FORMULAS[str(plan.cpu.cost)]}"


def unused_notes(plan: Plan, centres: Centres) -> list[str]:
    """Which columns of the node table have no part in the cost."""
    if not centres.unused:
        return []
    return [f"The cost of a share is {cost_words(plan)}; columns that it does not use: {', '.join(centres.unused)}."]


def unit_notes(names: tuple[str, ...], centres: Centres) -> list[str]:
    """What looks like columns in different units: a bound a thousand times the typical one."""
    notes = []
    for bound, values in (("lower", centres.lower), ("upper", centres.upper)):
        sizes = np.where(np.isfinite(values), np.abs(values), 0.0)
        typical = np.median(sizes[sizes > 0]) if (sizes > 0).any() else np.inf
        if sizes.max() > UNLIKELY_RATIO * typical:
            node = int(sizes.argmax())
            notes.append(
                f"The {bound} bound of {names[node]!r}, {values[node]:g}, is {sizes[node] / typical:.3g} times the "
                "median of all nodes: check that all are in one unit."
            )
    return notes


def _with_cost(plan: Plan, columns: dict[str, np.ndarray]) -> Plan:
    fitting = [name for name, needed in NEEDED.items() if all(column in columns for column in needed)]
    if plan.clock is not None and plan.cpu.cost is None and len(fitting) > 1:
        fitting = [name for name in fitting if name != "delay"]  # the column work is that of the clock
    cost = plan.cpu.cost or (fitting[0] if fitting else None)
    if plan.cpu.cost is None and len(fitting) > 1:
        each = "; ".join(f'cost = "{name}" for {FORMULAS[name]}' for name in fitting)
        raise CojaxInputError(f"$.nodes has the columns of several costs of a share: name one in $.cpu, {each}.")
    if cost not in fitting:
        wanted = f"{cost} needs {' and '.join(NEEDED[cost])}" if cost else "no cost of a share has all of its columns"
        each = "; ".join(f"{name}: {', '.join(needed)}" for name, needed in NEEDED.items())
        raise CojaxInputError(f"$.nodes has the columns {', '.join(columns) or 'none'}, but {wanted} ({each}).")
    return msgspec.structs.replace(plan, cpu=msgspec.structs.replace(plan.cpu, cost=cost))


def _bounds_of(plan: Plan, names: tuple[str, ...], columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lower = columns.get("lower", np.zeros(len(names)))
    upper = columns.get("upper", columns.get("capacity", np.full(len(names), np.inf)))
    for name, capacity in zip(names, columns.get("capacity", ()), strict=False):
        if capacity < 0:
            raise CojaxInputError(f"The node {name!r} needs capacity >= 0, got {capacity:g}.")
    for name, low, high in zip(names, lower, upper, strict=True):
        if low > high:
            raise CojaxInputError(f"The node {name!r} needs lower <= upper, got {low:g} > {high:g}.")
    check_budget(plan.cpu.budget, lower, upper)
    return lower, upper


def check_budget(budget: float, lower: np.ndarray, upper: np.ndarray, where: str = "") -> None:
    """Raise `InfeasibleError` where no shares within the bounds sum to the budget; `where` says of which line."""
    if budget > upper.sum() + 1e-12 * abs(upper).sum():
        raise InfeasibleError(
            f"No plan is possible{where}: the budget {budget:g} is {budget - upper.sum():g} more than all upper bounds "
            f"together ({upper.sum():g}); raise bounds or lower $.cpu.budget."
        )
    if budget < lower.sum() - 1e-12 * abs(lower).sum():
        raise InfeasibleError(
            f"No plan is possible{where}: the budget {budget:g} is {lower.sum() - budget:g} less than all lower bounds "
            f"together ({lower.sum():g}); lower the bounds or raise $.cpu.budget."
        )


def _check_sizes(plan: Plan, names: tuple[str, ...], columns: dict[str, np.ndarray]) -> None:
    check_size(plan.cpu.budget, "$.cpu.budget")
    for column, values in columns.items():
        for name, value in zip(names, values, strict=True):
            check_size(value, f"{column} of the node {name!r}")


def check_size(value: float, what: str) -> None:
    """Refuse a number so large or small that what is computed from it overflows."""
    if value != 0 and not SMALLEST <= abs(value) <= LARGEST:
        raise CojaxInputError(
            f"A plan needs numbers that are 0 or from {SMALLEST:g} to {LARGEST:g} in size, got {value:g} for {what}: "
            "sums and products of others overflow; choose another unit."
        )


def check_curved(plan: Plan, names: tuple[str, ...], centres: Centres) -> None:
    """Refuse costs that are not defined: a capacity or a work that is not > 0."""
    for column in ("capacity", "work"):
        for name, value in zip(names, centres.columns.get(column, ()), strict=False):
            if not value > 0:
                raise CojaxInputError(
                    f"The node {name!r} needs {column} > 0, got {value:g}: the cost {plan.cpu.cost} is divided by it, "
                    "or falls with it."
                )


def smoothed(plan: Plan, centres: Centres) -> tuple[Centres, list[str]]:
    """The centres for the run, in which prices grow a little with every share, and what there is to say about it.

    Marginal costs that do not change tell nodes nothing of how much to move.
    """
    curvature = centres.columns.get("curvature")
    if curvature is None or (curvature > 0).all():
        return centres, []
    prices = centres.columns["price"]
    room = centres.upper - np.maximum(centres.lower, 0.0)
    room = np.where(np.isfinite(room) & (room > 0), room, np.nan)
    typical = np.nanmedian(room) if np.isfinite(room).any() else abs(plan.cpu.budget) / len(prices) or 1.0
    spread = np.ptp(prices) or np.abs(prices).max() or 1.0
    small = float(FLAT_PART * spread / typical)
    count = int((curvature <= 0).sum())
    note = (
        f"{count} prices do not grow with the share: in the run, and there alone, they grow by {small:.3g} a unit, so "
        "that nodes can tell how much to move. The shares to use are those of the prices as they are."
    )
    growing = centres.columns | {"curvature": np.where(curvature > 0, curvature, small)}
    return centres._replace(columns=growing), [note]
