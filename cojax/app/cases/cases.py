"""A case is a plan made ready to run: its files read, its names matched, its problem, network and method built."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Float

from ... import theory
from ..._support.checks import CojaxInputError
from ...data import datasets
from ...methods import Method
from ...optimum.allocations import allocate
from ...problems import costs, penalties
from ...problems.problem import Decision, Problem
from ...runs.solve_to import check_reachable
from ..plans import plans
from ..plans.plans import Plan
from . import samples
from .centres import (
    Centres,
    arrange_columns,
    check_curved,
    check_size,
    num_rows,
    read_table,
    smoothed,
    unit_notes,
    unused_notes,
)
from .pairs import build_pair, fill_in_numbers
from .wiring import Wiring, build_wiring

MOST_BEYOND = 0.01  # of a bound: how far the run's shares may end outside of it
STIFFEST = 50.0  # times the largest curvature of a cost: stiffer bounds would slow all nodes down
COSTS = {"deviation": costs.Deviation, "price": costs.Price, "delay": costs.Delay}


class Case(NamedTuple):
    """What `runs.run` runs."""

    plan: Plan  # with every number that it left out filled in
    names: tuple[str, ...]
    centres: Centres
    wiring: Wiring
    dataset: datasets.Dataset | None
    problem: Problem  # as the plan states it
    running: Problem  # as the run solves it, where flat prices grow a little
    method: Method
    start: Decision
    limits: dict[str, theory.Limit]  # by half, "learn" and "allocate": what the computed step is half of


def build_case(plan: Plan) -> Case:
    """Read, match and build all that a plan names.

    Raises `InfeasibleError` where the budget does not fit the bounds, and `CojaxInputError` for everything else that
    does not fit together.
    """
    table = read_table(plan.nodes)
    wiring = build_wiring(plan, table.names, num_rows(table))
    names = wiring.names
    plan, centres = arrange_columns(plan, table, names)
    check_curved(plan, names, centres)
    growing, flat = smoothed(plan, centres)
    notes = [*unused_notes(plan, centres), *unit_notes(names, centres), *flat]
    wiring = wiring._replace(notes=[*wiring.notes, *notes])
    curvature = _curvature(plan, growing)
    plan = _with_penalty(plan, curvature, growing)
    dataset = None if plan.data is None else samples.prepare_dataset(plan)
    dealt = None if dataset is None else samples.split_over_nodes(plan, dataset, len(names))
    problem, running = (_problem(plan, part, dealt) for part in (centres, growing))
    start = _start(plan, problem, centres, _zeros(plan, dataset, len(names)))
    check_reachable("$.tolerance", start, plan.tolerance)
    plan, limits = fill_in_numbers(plan, wiring, running, start, curvature, dealt)
    return Case(plan, names, centres, wiring, dataset, problem, running, build_pair(plan), start, limits)


class Stated(NamedTuple):
    """The shares that a plan asks for, without network, model and method: its costs are plain sums."""

    plan: Plan  # with the cost of a share named
    names: tuple[str, ...]
    centres: Centres
    problem: Problem  # whose decisions have cpu only


def state_shares(plan: Plan) -> Stated:
    """What an answer to a plan is judged by. The graph is read only where it names the nodes.

    Raises as `build_case`, for what concerns the shares.
    """
    table = read_table(plan.nodes)
    names = table.names or build_wiring(plan, (), num_rows(table)).names
    plan, centres = arrange_columns(plan, table, names)
    check_curved(plan, names, centres)
    bare = msgspec.structs.replace(plan, model=None, penalty=None)
    return Stated(plan, names, centres, _problem(bare, centres, None))


def build_resources(plan: Plan) -> dict[str, Case]:
    """By name, the cases of the other resources of a plan, which are shared out by themselves over the same nodes.

    Raises as `build_case`, and `CojaxInputError` where they do not have the nodes of the plan.
    """
    nodes = set(read_table(plan.nodes).names) if plan.resources else set()
    found = {}
    for name, one in plan.resources.items():
        try:
            theirs = set(read_table(one.nodes).names)
            if theirs != nodes:
                differing = ", ".join(sorted(theirs ^ nodes)[:5])
                raise CojaxInputError(f"it needs the nodes of the plan, by the same names; these differ: {differing}.")
            found[name] = build_case(plans.plan_of_resource(plan, name))
        except CojaxInputError as error:
            raise type(error)(f"$.resources.{name}: {error}") from error
    return found


def _curvature(plan: Plan, centres: Centres) -> Float[np.ndarray, " n"] | None:
    """The largest second derivative of every node's cost of a share; None where it has no bound."""
    if plan.cpu.cost == "deviation":
        return 1.0 / centres.columns["capacity"]
    if plan.cpu.cost == "price":
        return centres.columns["curvature"]
    # A soft bound gives way a little, and the curvature grows on the way to zero.
    lower = centres.lower
    return 2.0 * centres.columns["work"] / (0.8 * lower) ** 3 if (lower > 0).all() else None


def _with_penalty(plan: Plan, curvature: np.ndarray | None, centres: Centres) -> Plan:
    penalty = plan.penalty
    if penalty is None:
        if not (np.isfinite(centres.lower).any() or np.isfinite(centres.upper).any()):
            return plan
        penalty = plans.PowerTable()
    for key in penalty.__struct_fields__:
        check_size(getattr(penalty, key) or 0.0, f"$.penalty.{key}")
    if isinstance(penalty, plans.PowerTable) and penalty.weight is None:
        if curvature is None or penalty.power != 2:
            raise CojaxInputError(
                "$.penalty.weight cannot be computed for a power other than 2, or a delay without lower bounds > 0: "
                "give it as a number."
            )
        stiffness = float(curvature.max())
        weight = min(max(_firm_weight(plan, centres), 5.0 * stiffness), STIFFEST * stiffness)
        penalty = msgspec.structs.replace(penalty, weight=weight)
    return msgspec.structs.replace(plan, penalty=penalty)


def _firm_weight(plan: Plan, centres: Centres) -> float:
    """The weight of a square penalty at which no share of the run's optimum ends further beyond a bound than allowed.

    A share passes a bound by its rent, what one more unit of room would save, divided by twice the weight.
    """
    problem = _problem(msgspec.structs.replace(plan, model=None, penalty=None), centres, None)
    found = allocate(problem)
    marginal = np.asarray(problem.grad(Decision(None, found.cpu)).cpu)
    rents = np.abs(marginal - float(found.price))
    cpu, lower, upper = np.asarray(found.cpu), centres.lower, centres.upper
    most = np.where(np.isfinite(upper) & (upper != 0), np.abs(upper), np.inf)
    size = np.where((cpu <= lower) & (lower != 0), np.abs(lower), most)
    held = (cpu <= lower) | (cpu >= upper)
    return float(np.where(held, rents / (2 * MOST_BEYOND * size), 0.0).max())


def _penalty(plan: Plan) -> Any:
    match plan.penalty:
        case plans.PowerTable(weight=weight, power=power):
            return penalties.PowerPenalty(weight, power)
        case plans.Softplus(weight=weight, sharpness=sharpness):
            return penalties.SoftplusPenalty(weight, sharpness)
        case plans.Barrier(epsilon=epsilon):
            return penalties.BarrierPenalty(epsilon)
    return None


def model_cost(plan: Plan) -> Any:
    """The loss of a plan's model; None of a plan without one."""
    match plan.model:
        case plans.Svm(ridge=ridge, sharpness=sharpness, weight=weight):
            return costs.SmoothHinge(ridge, sharpness, weight)
        case plans.LogisticTable(ridge=ridge):
            return costs.Logistic(ridge)
        case plans.SoftmaxTable(ridge=ridge):
            return costs.Softmax(ridge)
        case plans.LeastSquaresTable(ridge=ridge):
            return costs.LeastSquares(ridge)
    return None


def _problem(plan: Plan, centres: Centres, samples: Any) -> Problem:
    columns = [jnp.asarray(column) for column in centres.columns.values()]
    cost = costs.Separable(model_cost(plan), COSTS[str(plan.cpu.cost)]())
    data = (samples, tuple(columns) if len(columns) > 1 else columns[0])
    bounds = {"lower": centres.lower, "upper": centres.upper}
    return Problem(cost, data, plan.cpu.budget, **bounds, penalty=_penalty(plan))


def _start(plan: Plan, problem: Problem, centres: Centres, params: Any) -> Decision:
    """The even split, or for a barrier, which is infinite on a bound, shares at one level between all bounds."""
    room = centres.upper - centres.lower
    if not isinstance(plan.penalty, plans.Barrier) or not 0 < room.sum() < np.inf:
        return problem.start(params)
    level = (plan.cpu.budget - centres.lower.sum()) / room.sum()
    return problem.start(params, centres.lower + level * room)


def _zeros(plan: Plan, dataset: datasets.Dataset | None, num_nodes: int) -> Any:
    if dataset is None:
        return None
    width = len(dataset.features[0])
    match plan.model:
        case plans.Svm():
            return jnp.zeros((num_nodes, width + 1))
        case plans.SoftmaxTable():
            return jnp.zeros((num_nodes, width, int(dataset.targets.max()) + 1))
    return jnp.zeros((num_nodes, width))
