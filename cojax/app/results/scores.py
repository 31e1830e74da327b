"""How good a model is, in the unit that people judge it by."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...problems.costs import Samples
from ..cases.cases import Case, model_cost
from ..plans import plans
from .outcome import Learned


def learned(case: Case, params: Any, central: Any) -> Learned:
    """What the nodes' params, and those found centrally, are worth on the samples of a case."""
    cost, dataset, plan = model_cost(case.plan), case.dataset, case.plan
    assert dataset is not None and plan.model is not None
    samples: Samples = case.problem.data[0]
    regression = isinstance(plan.model, plans.LeastSquaresTable)
    rate = _rms_error if regression else _accuracy
    here = np.asarray(samples.weights) > 0
    scores = np.asarray(jax.jit(jax.vmap(cost.score))(params, samples.features))
    local = [
        rate(score[own], target[own])
        for score, target, own in zip(scores, np.asarray(samples.targets), here, strict=True)
    ]

    def tested(one: Any) -> float | None:
        if len(dataset.test_targets) == 0:
            return None
        return rate(np.asarray(cost.score(one, jnp.asarray(dataset.test_features))), dataset.test_targets)

    return Learned(
        model=str(plan.model.__struct_config__.tag),
        score="rms error" if regression else "accuracy",
        params=np.asarray(params),
        num_samples=here.sum(1),
        local_scores=np.asarray(local),
        test_samples=len(dataset.test_targets),
        test_score=tested(params.mean(0)),
        central_test_score=tested(central),
    )


def _accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    guessed = scores.argmax(-1) if scores.ndim > 1 else np.where(scores >= 0, 1.0, -1.0)
    return float((guessed == targets).mean())


def _rms_error(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(np.sqrt(np.mean((scores - targets) ** 2)))
