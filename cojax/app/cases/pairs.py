"""The pair of methods of a plan, and every number that the plan leaves out."""

from typing import Any

import msgspec
import numpy as np
from jaxtyping import Float

from ... import theory
from ..._support.checks import CojaxInputError
from ...methods import CoOpt, Hold, Method
from ...problems.problem import Decision, Problem
from ...theory.limits import SHARE
from ...tuning.tuned import MIXING, over_link, tuned_with_limit
from ..plans import plans
from ..plans.plans import Plan
from ..plans.rosters import ALLOCATORS, LEARNERS, NUMBERS
from . import samples
from .wiring import Wiring

# Their numbers come from bounds that hold for all shares and samples; those of others from curvatures that are found.
BOUNDED = ("diging", "dgd", "extra", "laplacian", "heavy_ball")


def fill_in_numbers(
    plan: Plan, wiring: Wiring, problem: Problem, start: Decision, curvature: Float[np.ndarray, " n"] | None, dealt: Any
) -> tuple[Plan, dict[str, theory.Limit]]:
    """The plan with the numbers of its methods computed where it gives none, and the limits that they come from.

    Args:
        curvature: the largest second derivative of every node's cost of a share; None where it has no bound.
        dealt: the samples by node; None of a plan without a model.
    """
    learn, allocate, limits = plan.method.learn, plan.method.allocate, {}
    if dealt is not None and learn.name in BOUNDED:
        learn, limits["learn"] = _with_step(plan, wiring, dealt)
    elif dealt is not None:
        learn, limits["learn"] = _tune_half(learn, problem, wiring, start)
    if not _is_complete(allocate):
        if allocate.name in BOUNDED:
            extra = _penalty_curvature(plan)
            if curvature is None or extra is None:
                raise CojaxInputError(
                    "$.method.allocate needs its numbers given: the curvature of this cost or penalty has no bound to "
                    "compute them from."
                )
            allocate, limits["allocate"] = _with_momentum(allocate, wiring, curvature, extra)
        else:
            allocate, limits["allocate"] = _tune_half(allocate, problem, wiring, start)
    method = msgspec.structs.replace(plan.method, learn=learn, allocate=allocate)
    found = {name: over_link(one, wiring.network) for name, one in limits.items() if one is not None}
    return msgspec.structs.replace(plan, method=method), found


def build_pair(plan: Plan) -> CoOpt:
    """The methods of a plan that has all their numbers."""
    learn = Hold() if plan.model is None else _built(plan.method.learn)
    return CoOpt(learn, _built(plan.method.allocate))


def _built(half: plans.Learner | plans.Allocator) -> Method:
    kind = LEARNERS.get(half.name) or ALLOCATORS[half.name]
    return kind(half.step_size, **{name: getattr(half, name) for name in _numbers(half)})


def _numbers(half: plans.Learner | plans.Allocator) -> list[str]:
    return [name for name, takers in NUMBERS.items() if half.name in takers]


def _is_complete(half: plans.Learner | plans.Allocator) -> bool:
    return all(getattr(half, name) is not None for name in ("step_size", *_numbers(half)))


def _tune_half(half: Any, problem: Problem, wiring: Wiring, start: Decision) -> tuple[Any, theory.Limit | None]:
    """`half` with the numbers of `cojax.tuned` where it has none, and the limit of its step where that is computed."""
    if _is_complete(half):
        return half, None
    kind = LEARNERS.get(half.name) or ALLOCATORS[half.name]
    method, bound = tuned_with_limit(kind, problem, wiring.network, start)
    numbers = {"step_size": method.step_size}
    numbers |= {name: method.odd.level if name == "level" else getattr(method, name) for name in _numbers(half)}
    given = {name: getattr(half, name) for name in numbers}
    filled = {name: float(value) if given[name] is None else given[name] for name, value in numbers.items()}
    return msgspec.structs.replace(half, **filled), bound if half.step_size is None else None


def _with_step(plan: Plan, wiring: Wiring, dealt: Any) -> tuple[plans.Learner, theory.Limit | None]:
    learn = plan.method.learn
    mixing = (learn.mixing or MIXING) if learn.name == "diging" else None
    step, bound = learn.step_size, None
    if step is None:
        smoothness = _smoothness(plan, dealt)
        if mixing is None:
            by = theory.extra_limit if learn.name == "extra" else theory.dgd_limit
            bound = by(wiring.network, smoothness)
        else:
            bound = theory.tracking_limit(wiring.network, smoothness, mixing)
        step = SHARE * bound.value
    if step <= 0:
        raise CojaxInputError(
            f"$.method.learn needs step_size given: no step is safe for {learn.name} with the weights of this graph."
        )
    return msgspec.structs.replace(learn, step_size=step, mixing=mixing), bound


def _with_momentum(
    allocate: plans.Allocator, wiring: Wiring, curvature: np.ndarray, extra: float
) -> tuple[plans.Allocator, theory.Limit | None]:
    if allocate.name == "laplacian":
        bound = theory.allocation_limit(wiring.network, curvature + extra)
        return msgspec.structs.replace(allocate, step_size=SHARE * bound.value), bound
    if not wiring.fixed:
        raise CojaxInputError(
            "$.method.allocate is heavy_ball, whose numbers can be computed for a fixed graph only: give both."
        )
    step, momentum = theory.heavy_ball(wiring.network, curvature, curvature + extra)
    momentum = momentum if allocate.momentum is None else allocate.momentum
    bound = None if allocate.step_size else theory.heavy_ball_limit(wiring.network, curvature + extra, momentum)
    return msgspec.structs.replace(allocate, step_size=allocate.step_size or step, momentum=momentum), bound


def _penalty_curvature(plan: Plan) -> float | None:
    match plan.penalty:
        case None:
            return 0.0
        case plans.PowerTable(weight=weight, power=2.0):
            return 2.0 * float(weight or 0.0)
        case plans.Softplus(weight=weight, sharpness=sharpness):
            return weight * sharpness / 4
    return None


def _smoothness(plan: Plan, dealt: Any) -> float:
    """A bound of the curvature of every node's loss."""
    model = plan.model
    assert model is not None
    spread = samples.largest_spread(dealt, offset=isinstance(model, plans.Svm))
    match model:
        case plans.Svm():
            factor = model.weight * model.sharpness / 4
        case plans.LogisticTable():
            factor = 1 / 4
        case plans.SoftmaxTable():
            factor = 1 / 2
        case _:
            factor = 1.0
    return factor * spread + model.ridge
