"""The pair of methods of a plan, and every number that the plan leaves out."""

from typing import Any

import msgspec
import numpy as np
from jaxtyping import Float

from .. import theory
from .._checks import CojaxInputError
from ..defaults import MIXING, SHARE, tuned
from ..methods import CoOpt, Hold, Method
from ..problems import Decision, Problem
from . import plans, samples
from .plans import Plan
from .rosters import ALLOCATORS, LEARNERS, NUMBERS
from .wiring import Wiring

# Their numbers come from bounds that hold for all shares and samples; those of others from curvatures that are found.
BOUNDED = ("diging", "dgd", "extra", "laplacian", "heavy_ball")


def numbered(
    plan: Plan, wiring: Wiring, problem: Problem, start: Decision, curvature: Float[np.ndarray, " n"] | None, dealt: Any
) -> Plan:
    """The plan with the numbers of its methods computed where it gives none.

    Args:
        curvature: the largest second derivative of every node's cost of a share; None where it has no bound.
        dealt: the samples by node; None of a plan without a model.
    """
    learn, allocate = plan.method.learn, plan.method.allocate
    if dealt is not None:
        learn = _with_step(plan, wiring, dealt) if learn.name in BOUNDED else _found(learn, problem, wiring, start)
    if not _is_complete(allocate):
        if allocate.name in BOUNDED:
            extra = _penalty_curvature(plan)
            if curvature is None or extra is None:
                raise CojaxInputError(
                    "$.method.allocate needs its numbers given: the curvature of this cost or penalty has no bound to "
                    "compute them from."
                )
            allocate = _with_momentum(allocate, wiring, curvature, extra)
        else:
            allocate = _found(allocate, problem, wiring, start)
    return msgspec.structs.replace(plan, method=msgspec.structs.replace(plan.method, learn=learn, allocate=allocate))


def paired(plan: Plan) -> CoOpt:
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


def _found(half: Any, problem: Problem, wiring: Wiring, start: Decision) -> Any:
    """`half` with the numbers of `cojax.tuned` where it has none."""
    if _is_complete(half):
        return half
    method: Any = tuned(LEARNERS.get(half.name) or ALLOCATORS[half.name], problem, wiring.network, start)
    numbers = {"step_size": method.step_size}
    numbers |= {name: method.odd.level if name == "level" else getattr(method, name) for name in _numbers(half)}
    given = {name: getattr(half, name) for name in numbers}
    return msgspec.structs.replace(
        half, **{name: float(value) if given[name] is None else given[name] for name, value in numbers.items()}
    )


def _with_step(plan: Plan, wiring: Wiring, dealt: Any) -> plans.Learner:
    learn = plan.method.learn
    mixing = (learn.mixing or MIXING) if learn.name == "diging" else None
    step = learn.step_size
    if step is None:
        smoothness = _smoothness(plan, dealt)
        if mixing is None:
            limit = theory.extra_limit if learn.name == "extra" else theory.dgd_limit
            step = SHARE * limit(wiring.network, smoothness).value
        else:
            step = SHARE * theory.tracking_limit(wiring.network, smoothness, mixing).value
    if step <= 0:
        raise CojaxInputError(
            f"$.method.learn needs step_size given: no step is safe for {learn.name} with the weights of this graph."
        )
    return msgspec.structs.replace(learn, step_size=step, mixing=mixing)


def _with_momentum(allocate: plans.Allocator, wiring: Wiring, curvature: np.ndarray, extra: float) -> plans.Allocator:
    if allocate.name == "laplacian":
        limit = theory.allocation_limit(wiring.network, curvature + extra)
        return msgspec.structs.replace(allocate, step_size=SHARE * limit.value)
    if not wiring.fixed:
        raise CojaxInputError(
            "$.method.allocate is heavy_ball, whose numbers can be computed for a fixed graph only: give both."
        )
    step, momentum = theory.heavy_ball(wiring.network, curvature, curvature + extra)
    return msgspec.structs.replace(
        allocate,
        step_size=allocate.step_size or step,
        momentum=momentum if allocate.momentum is None else allocate.momentum,
    )


def _penalty_curvature(plan: Plan) -> float | None:
    match plan.penalty:
        case None:
            return 0.0
        case plans.Power(weight=weight, power=2.0):
            return 2.0 * float(weight or 0.0)
        case plans.Softplus(weight=weight, sharpness=sharpness):
            return weight * sharpness / 4
    return None


def _smoothness(plan: Plan, dealt: Any) -> float:
    """A bound of the curvature of every node's loss."""
    model = plan.model
    assert model is not None
    spread = samples.spread(dealt, offset=isinstance(model, plans.Svm))
    match model:
        case plans.Svm():
            factor = model.weight * model.sharpness / 4
        case plans.Logistic():
            factor = 1 / 4
        case plans.Softmax():
            factor = 1 / 2
        case _:
            factor = 1.0
    return factor * spread + model.ridge
