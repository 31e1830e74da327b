"""A series of prices is a plan for every hour: all are solved, priced and certified in one program."""

import functools
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._support.checks import CojaxInputError
from ..._support.compiling import compiled
from ..._support.exact_grid import round_budget
from ...data.tables import Series, read_series
from ...optimum.allocations import allocate
from ...optimum.certificates import certificate, is_certified
from ...optimum.pricing import Worth, sensitivities
from ...problems import costs
from ...problems.problem import Decision, Problem
from ..cases.centres import Centres, arrange_columns, check_budget, check_size, read_table
from ..plans.plans import Plan
from .lengths import Lengths, lengths

# Of a certificate, relative; an exact allocation in float64 stays far below it.
TOLERANCE = 1e-10
BUDGET = "budget"  # the column of a series that is a budget, and no price


class Solved(NamedTuple):
    """What is computed of every hour on the device."""

    cpu: Float[Array, "h n"]
    cost: Float[Array, " h"]
    fixed_cost: Float[Array, " h"]  # of the allocation that is the best at the mean prices
    more: Worth  # of one more unit of budget, and of bounds one higher; (h,) and (h, n)
    less: Worth  # of one unit less
    one_sided: Bool[Array, "h n"]
    certified: Bool[Array, " h"]


class Hourly(NamedTuple):
    """What a plan with a series of prices came to, in NumPy."""

    plan: Plan
    names: tuple[str, ...]
    labels: tuple[str, ...]
    lengths: Float[np.ndarray, " h"]  # of every line, in hours
    prices: Float[np.ndarray, "h n"]  # of every node, its pue included
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    solved: Solved
    seconds: dict[str, float]  # "read", "compile", "run"
    notes: list[str]
    begins: np.ndarray | None = None  # (h,), datetime64: the beginning of every line, where labels are times
    days: list[str] | None = None  # of every line, by its own label: a clock that is set back makes a day of 25 hours

    @property
    def cost(self) -> float:
        """Of all hours, every line weighed by its length."""
        return float(self.lengths @ self.solved.cost)

    @property
    def fixed_cost(self) -> float:
        """The same of the allocation that is the best at the mean prices."""
        return float(self.lengths @ self.solved.fixed_cost)


def hourly(plan: Plan) -> Hourly:
    """The exact allocation of every hour of `$.hours.file`, with its price, rents and certificate.

    Prices may be negative or spike: nothing is iterated but Newton inside of a bracket. The graph, the model and the
    method of the plan have no part in it. Sums weigh every line by its length. Raises `InfeasibleError` where the
    budget does not fit the bounds, and `CojaxInputError` for a plan without prices by the hour, and nodes without a
    column of them.
    """
    began = time.perf_counter()
    plan, series, names, centres, held, budgets = _prepare(plan)
    problem = _problem(plan, centres)
    prices, budgets = jnp.asarray(series.values), jnp.broadcast_to(jnp.asarray(budgets), len(series.labels))
    read = time.perf_counter() - began
    marks = [time.perf_counter()]
    program = _solve_hours.lower(problem, prices, budgets).compile()
    marks.append(time.perf_counter())
    solved = jax.block_until_ready(program(problem, prices, budgets))
    marks.append(time.perf_counter())
    seconds = {"read": read, "compile": marks[1] - marks[0], "run": marks[2] - marks[1]}
    solved = jax.tree.map(np.asarray, solved)
    days = None if held.times is None else [str(clock.date()) for clock in held.times]
    dated, bounds = (_dates(held), days), (centres.lower, centres.upper)
    return Hourly(plan, names, series.labels, held.hours, series.values, *bounds, solved, seconds, held.notes, *dated)


def _dates(held: Lengths) -> np.ndarray | None:
    """When every line begins by the clock of the first."""
    if held.begins is None or held.times is None:
        return None
    first = np.datetime64(held.times[0].replace(tzinfo=None), "s")
    return first + np.round(3600 * held.begins).astype("timedelta64[s]")


def _prepare(plan: Plan) -> tuple[Plan, Series, tuple[str, ...], Centres, Lengths, np.ndarray]:
    """The series by node, times the pue where there is one, how long its lines hold, and their budgets, (h,) or ()."""
    if plan.hours is None:
        raise CojaxInputError('--hours needs prices by the hour: add [hours] with file = "prices.csv" to the plan.')
    if plan.cpu.cost not in (None, "price"):
        raise CojaxInputError(f"--hours needs $.cpu.cost to be price, got {plan.cpu.cost}: no other cost has prices.")
    table, series = read_table(plan.nodes), read_series(plan.hours.file)
    if not table.names:
        raise CojaxInputError(
            "--hours needs the names of the nodes, to find their columns of prices; add $.nodes.names."
        )
    wanted = table.regions or table.names
    missing = list(dict.fromkeys(name for name in wanted if name not in series.names))
    if missing:
        raise CojaxInputError(
            f"{plan.hours.file} has no column for {', '.join(map(repr, missing[:5]))}; it has "
            f"{', '.join(map(repr, series.names[:5]))}{', ...' if len(series.names) > 5 else ''}."
        )
    values = series.values[:, [series.names.index(name) for name in wanted]]
    for name, column in zip(table.names, values.T, strict=True):
        check_size(float(column[np.abs(column).argmax()]), f"a price of the node {name!r}")
    plan = msgspec.structs.replace(plan, cpu=msgspec.structs.replace(plan.cpu, cost="price"))
    held = lengths(series.labels)
    # Where the table has no curvature prices are those of any amount.
    flat, mean = np.zeros(len(table.names)), np.average(values, axis=0, weights=held.hours)
    table = table._replace(columns={"curvature": flat} | table.columns | {"price": mean})
    plan, centres = arrange_columns(plan, table, table.names)
    values = values * table.columns.get("pue", np.ones(len(table.names)))
    budgets, notes = _budgets(plan, series, centres, BUDGET in wanted)
    used = {*wanted} | ({BUDGET} if budgets.ndim else set())
    unused = [name for name in series.names if name not in used]
    if unused:
        notes.append(f"Columns of prices that no node uses: {', '.join(unused)}.")
    held = held._replace(notes=[*held.notes, *notes])
    return plan, Series(series.labels, table.names, values), table.names, centres, held, budgets


def _budgets(plan: Plan, series: Series, centres: Centres, is_node: bool) -> tuple[np.ndarray, list[str]]:
    """The budget of every line: its column, or that of the plan."""
    if BUDGET not in series.names or is_node:
        return np.asarray(plan.cpu.budget), []
    budgets = series.values[:, series.names.index(BUDGET)]
    for label, budget in zip(series.labels, budgets, strict=True):
        check_size(float(budget), f"the budget in {label}")
        check_budget(float(budget), centres.lower, centres.upper, f" in {label}")
    return budgets, [f"The budget of every line is the column {BUDGET}, not $.cpu.budget = {plan.cpu.budget:g}."]


def _problem(plan: Plan, centres: Centres) -> Problem:
    """At the mean prices; a cost has data as a pair, of a model and of shares."""
    columns = tuple(jnp.asarray(centres.columns[name]) for name in ("price", "curvature"))
    cost = costs.Separable(None, costs.Price())
    return Problem(cost, (None, columns), plan.cpu.budget, lower=centres.lower, upper=centres.upper)


@functools.partial(compiled, runs_briefly=True)
def _solve_hours(problem: Problem, prices: Float[Array, "h n"], budgets: Float[Array, " h"]) -> Solved:
    def one(price: Float[Array, " n"], budget: Float[Array, ""]) -> Solved:
        budgeted = eqx.tree_at(lambda p: p.budget, problem, round_budget(budget))
        hour = eqx.tree_at(lambda p: p.data[1][0], budgeted, price)
        fixed = Decision(None, allocate(budgeted).cpu)
        found = sensitivities(hour)
        assert found.more is not None and found.less is not None
        assert found.touching is not None and found.tied is not None
        certified = is_certified(certificate(hour, found.x), TOLERANCE)
        one_sided = found.touching | found.tied
        fixed_cost = hour.costs(fixed).sum()
        return Solved(found.x.cpu, found.cost, fixed_cost, found.more, found.less, one_sided, certified)

    return jax.vmap(one)(prices, budgets)
