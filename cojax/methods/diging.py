"""Gradient tracking, the paper's learner."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax

from .._support import trees
from .._support.checks import CojaxInputError, check_number, floating
from .._support.trees import Tree
from .base import Method, Tracked
from .facts import half_of_room_squared, known
from .optimizers import check_transform, descent, first_state


class DIGingState(NamedTuple):
    params: Tree
    slack: Tree  # tracker - gradient; sums to zero over nodes, so the trackers sum to the gradients
    transform: Any


@known("learn", "diging", numbers=("mixing",), bound=half_of_room_squared, limit="tracking_limit", per_node=True)
class DIGing(Method):
    """y+ = W y - step_size * z,  z+ = W z + g(y+) - g(y),  z0 = g(y0),  W = I - mixing * L.

    Exact with a constant step, over switching graphs too; two messages a step. On a fixed graph with convex quadratic
    costs of curvature <= L_g it is stable for step_size < (1 + lambda_min(W))**2 / (2 L_g), tight for equal Hessians.

    Over `Innovation(quantizer)` this is compressed gradient tracking (C-GT) with memory rate 1 and gain `mixing`: exact
    with two compressed messages a step.

    Fields:
        step_size: > 0, one number or one per node; left out, it is 1 and the transform has its own.
        mixing: > 0, eta of the paper; 1 is textbook DIGing, 1/2 is safe wherever rows of weights sum to at most 1.
        transform: any optax optimizer or transformation that needs a gradient and params alone, static; every node runs
            its own on its tracked gradient, in place of which the updates then stand:
            `DIGing(transform=optax.adamw(schedule))`.
            `optax.scale_by_adam()` and `optax.adam(1.0)` are the same: which way updates point is found out by a trial.
            A learning rate within is multiplied by step_size. Derivatives of a run through Adam need its `eps_root`,
            1e-16 say: without, a gradient of exactly 0, of a feature that a node lacks, has NaN for a slope (optax).

    Source: Nedic, Olshevsky, Shi, SIAM J. Optim. 2017, doi 10.1137/16M1084316; arXiv 2510.25176 in discrete time;
    C-GT: Liao, Li, Huang, Pu, IEEE TAC 2022, arXiv 2103.13748.
    """

    step_size: Any = eqx.field(converter=floating)
    mixing: Any = eqx.field(default=1.0, converter=floating)
    transform: Any = eqx.field(static=True, default=None)
    kept: ClassVar = ("slack",)

    def __init__(self, step_size: Any = None, mixing: Any = 1.0, transform: Any = None):
        if step_size is None and transform is None:
            raise CojaxInputError(
                "DIGing needs a step_size, such as 0.05, or a transform that has one, such as optax.adam(0.05)."
            )
        self.step_size, self.mixing = 1.0 if step_size is None else step_size, mixing
        self.transform = transform

    def __check_init__(self):
        check_number("DIGing", "step_size", self.step_size, above=0.0)
        check_number("DIGing", "mixing", self.mixing, above=0.0, shaped=())
        check_transform("DIGing", self.transform)

    def init(self, x: Tree, grad: Tree) -> DIGingState:
        transforms = self.transform is not None and jax.tree.leaves(x)
        return DIGingState(x, trees.zeros_like(x), first_state("DIGing", self.transform, x) if transforms else None)

    def message(self, state: DIGingState, grad: Tree) -> Tracked:
        return Tracked(state.params, trees.add(state.slack, grad))

    def update(self, state: DIGingState, grad: Tree, flow: Tracked) -> DIGingState:
        direction, transform = trees.add(state.slack, grad), state.transform
        if self.transform is not None and jax.tree.leaves(direction):
            direction, transform = descent("DIGing", self.transform, direction, transform, state.params)
        mixed = trees.add_scaled(state.params, self.mixing, flow.params)
        params = trees.add_scaled(mixed, -self.step_size, direction)
        slack = trees.add_scaled(state.slack, self.mixing, flow.tracker)
        return DIGingState(params, slack, transform)

    def query(self, state: DIGingState) -> Tree:
        return state.params
