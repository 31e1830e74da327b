"""All that a search needs: what is turned, the runs it is judged by, and their losses, gradients and scores."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import theory
from .._support.checks import CojaxInputError, check_kinds, check_leaves, check_number, whole_number
from ..methods import Method
from ..networks.base import Network
from ..problems.problem import check_gradient
from .ceilings import Curvatures
from .edge_weights import EdgeWeights
from .ensembles import Instance, RunPlan, check_gap, course_of, stack_instances, taken
from .knobs import Knob, Number, Setting, fold
from .known import Known
from .objectives import Objective
from .paths import Pair
from .resolutions import Resolution

MOST_LOOKED_AT = 4  # instances whose curvature is estimated, which takes a second each


class Frame(NamedTuple):
    """What losses are compiled for; of the network, too, for knobs look at its graph."""

    network: Network
    knobs: list[Knob]
    setting: Setting  # without curvatures
    plan: RunPlan
    objective: Objective


class Varying(NamedTuple):
    """What losses depend on besides: no reason to compile anew."""

    method: Method
    curvatures: Curvatures


class Workbench:
    """The free coordinates of some knobs, and what every point of them is worth on an ensemble.

    Fields: first, the coordinates of what was given, one array a knob; training and held_out, stacked instances.
    """

    def __init__(self, pair: Pair, knobs: list[Knob], setting: Setting, plan: RunPlan, objective: Objective):
        self.given, self.knobs = pair, knobs
        self.inflated, self.setting = setting, setting._replace(inflation=1.0)
        self.first = [jnp.asarray(knob.first(pair, setting), float) for knob in knobs]
        self.judge = Known((plan, objective))
        self.frame = Known(Frame(pair[1], knobs, setting._replace(curvatures=None), plan, objective))
        self.varying = Varying(pair[0], setting.curvatures)

    def gradients(self, theta: list[Array], instances: Instance) -> tuple[Float[Array, " m"], list[Array]]:
        """The loss of every instance and its gradient."""
        return _gradients(self.frame, self.varying, theta, instances)

    def losses(self, theta: list[Array], instances: Instance) -> Float[Array, " m"]:
        """What is differentiated, of every instance, with inflated steps."""
        return losses(self.frame, self.varying, theta, instances)

    def scores(self, pair: Pair, instances: Instance) -> Float[Array, " m"]:
        """What a method and a network are selected by, of every instance."""
        return _scores(self.judge, pair, instances)

    def pair(self, theta: list[Array], *, inflated: bool = False) -> Pair:
        """The method and the network at theta, whole where they must be."""
        settle = any(isinstance(knob, Resolution) for knob in self.knobs)
        return fold(self.knobs, theta, self.given, self.inflated if inflated else self.setting, settle)

    def mean_score(self, pair: Pair, instances: Instance) -> float:
        """The mean over instances; infinite where one has none."""
        mean = float(jnp.mean(self.scores(pair, instances)))
        return mean if np.isfinite(mean) else np.inf

    def robust_score(self, theta: list[Array], instances: Instance) -> float:
        """The worse of the mean scores at theta, as it is and inflated: near a cliff the second is far worse."""
        as_it_is = self.mean_score(self.pair(theta), instances)
        if self.inflated.inflation == 1.0:
            return as_it_is
        return max(as_it_is, self.mean_score(self.pair(theta, inflated=True), instances))


# Compiled once for a frame and the shapes, whichever workbench asks.
@functools.partial(jax.jit, static_argnums=0)
def losses(frame: Known, varying: Varying, theta: list[Array], instances: Instance) -> Float[Array, " m"]:
    """What is differentiated, of every instance, with inflated steps."""
    return jax.vmap(lambda instance: _loss(frame.tree, varying, theta, instance))(instances)


@functools.partial(jax.jit, static_argnums=0)
def _gradients(frame: Known, varying: Varying, theta: list[Array], instances: Instance) -> tuple[Array, list[Array]]:
    return jax.vmap(lambda instance: jax.value_and_grad(_loss, 2)(frame.tree, varying, theta, instance))(instances)


@functools.partial(jax.jit, static_argnums=0)
def _scores(judge: Known, pair: Pair, instances: Instance) -> Float[Array, " m"]:
    plan, objective = judge.tree
    return jax.vmap(lambda instance: objective.score(course_of(plan, pair[1], pair[0], instance)))(instances)


def _loss(frame: Frame, varying: Varying, theta: list[Array], instance: Instance) -> Float[Array, ""]:
    given = varying.method, frame.network
    method, network = fold(frame.knobs, theta, given, frame.setting._replace(curvatures=varying.curvatures))
    return frame.objective.loss(course_of(frame.plan, network, method, instance))


def workbench(
    problem: Any,
    network: Network,
    method: Method,
    start: Any,
    *,
    what: Any,
    objective: Objective,
    num_steps: int,
    every: int,
    optima: Any,
    margin: float,
    inflation: float,
    window: int | None,
    gap: Any,
) -> tuple[Workbench, Instance]:
    """The workbench and all instances, in order; arguments and errors as of `tune`."""
    check_kinds("tune", ("network", network, Network), ("method", method, Method))
    if not isinstance(objective, Objective):
        raise CojaxInputError(f"tune needs an objective such as cojax.tuning.Area(), got {objective!r}.")
    if objective.needs_clock and network.clock is None:
        raise CojaxInputError(
            f"tune needs a network with a clock for {type(objective).__name__}, which counts its seconds: "
            "cojax.Timed(network, cojax.Clock(...))."
        )
    check_number("tune", "margin", margin, above=0.0, shaped=())
    check_number("tune", "inflation", inflation, at_least=1.0, shaped=())
    every = whole_number("tune", "every", every, at_least=1)
    num_steps = whole_number("tune", "num_steps", num_steps, at_least=1)
    span = num_steps if window is None else whole_number("tune", "window", window, at_least=1)
    if num_steps % span or span % every:
        raise CojaxInputError(
            f"tune needs num_steps to be a multiple of window and that of every, got {num_steps}, {span} and {every}."
        )
    knobs = as_knobs(what)
    check_leaves("tune", network=network, method=method)
    instances = stack_instances(problem, start, optima)
    check_gap(gap, instances)
    setting = _setting(instances, network, method, float(margin), float(inflation))
    plan = RunPlan(num_steps, every, window, gap)
    return Workbench((method, network), knobs, setting, plan, objective), instances


def as_knobs(what: Any) -> list[Knob]:
    """Knobs of their names: "weights" those of edges, any other the number at that path."""
    if isinstance(what, str | Knob):
        what = [what]
    if not isinstance(what, list | tuple):
        raise CojaxInputError(f"tune needs a list of names and knobs in what, got {type(what).__name__}.")
    knobs: list[Any] = [
        EdgeWeights() if each == "weights" else Number(each) if isinstance(each, str) else each for each in what
    ]
    for each in knobs:
        if not isinstance(each, Knob):
            raise CojaxInputError(
                'tune needs names such as "learn.step_size" or "weights", or knobs of cojax.tuning, in what, got '
                f"{each!r}."
            )
    names = [getattr(knob, "path", type(knob).__name__) for knob in knobs]
    if not names or len(set(names)) < len(names):
        raise CojaxInputError(f"tune needs every number once in what, and at least one, got {names}.")
    return knobs


def _setting(instances: Instance, network: Network, method: Method, margin: float, inflation: float) -> Setting:
    count = instances.draw.shape[0]
    looked = [taken(instances, place) for place in range(min(count, MOST_LOOKED_AT))]
    learn = [theory.learn_curvature(one.problem, one.start).high for one in looked if jax.tree.leaves(one.start.params)]
    shares = [theory.share_curvature(one.problem, one.start).high for one in looked if one.start.cpu is not None]
    curvatures = Curvatures(
        learn=max(learn) if learn and max(learn) > 0 else None,
        allocate=np.max(shares, axis=0) if shares and np.max(shares) > 0 else None,
    )
    one = looked[0]
    grad = one.problem.grad(one.start)
    check_gradient(grad)
    message = jax.eval_shape(lambda x, grad: method.at(0).message(method.at(0).init(x, grad), grad), one.start, grad)
    return Setting(curvatures, margin, inflation, network.num_nodes, message)
