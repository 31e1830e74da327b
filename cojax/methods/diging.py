"""Gradient tracking, the paper's learner."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import optax

from .. import _tree
from .._checks import check_number, floating
from .._tree import Tree
from .base import Method


class DIGingState(NamedTuple):
    params: Tree
    slack: Tree  # tracker - gradient; sums to zero over nodes, so the trackers sum to the gradients
    transform: Any


class Told(NamedTuple):
    params: Tree
    tracker: Tree


def _no_memory(params: Tree) -> optax.EmptyState:
    return optax.EmptyState()


def _unchanged(updates: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
    return updates, state


# As `optax.identity()`, whose functions are local ones, which no other process could find by their names.
IDENTITY = optax.GradientTransformation(_no_memory, _unchanged)


class DIGing(Method):
    """y+ = W y - step_size * z,  z+ = W z + g(y+) - g(y),  z0 = g(y0),  W = I - mixing * L.

    Exact with a constant step, over switching graphs too; two messages a step. On a fixed graph with convex quadratic
    costs of curvature <= L_g it is stable for step_size < (1 + lambda_min(W))**2 / (2 L_g), tight for equal Hessians.

    Over `Innovation(quantizer)` this is compressed gradient tracking (C-GT) with memory rate 1 and gain `mixing`: exact
    with two compressed messages a step.

    Fields:
        step_size: > 0, one number or one per node.
        mixing: > 0, eta of the paper; 1 is textbook DIGing, 1/2 is safe wherever rows of weights sum to at most 1.
        transform: any optax transformation of the tracked gradient, run at every node by itself, static; for instance
            `optax.scale_by_adam()`.

    Source: Nedic, Olshevsky, Shi, SIAM J. Optim. 2017, doi 10.1137/16M1084316; arXiv 2510.25176 in discrete time;
    C-GT: Liao, Li, Huang, Pu, IEEE TAC 2022, arXiv 2103.13748.
    """

    step_size: Any = eqx.field(converter=floating)
    mixing: Any = eqx.field(default=1.0, converter=floating)
    transform: optax.GradientTransformation = eqx.field(static=True, default=IDENTITY)
    kept: ClassVar = ("slack",)

    def __check_init__(self):
        check_number("DIGing", "step_size", self.step_size, above=0.0)
        check_number("DIGing", "mixing", self.mixing, above=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> DIGingState:
        return DIGingState(x, _tree.zeros_like(x), jax.vmap(self.transform.init)(x) if jax.tree.leaves(x) else None)

    def message(self, state: DIGingState, grad: Tree) -> Told:
        return Told(state.params, _tree.add(state.slack, grad))

    def update(self, state: DIGingState, grad: Tree, flow: Told) -> DIGingState:
        tracker = _tree.add(state.slack, grad)
        direction, transform = tracker, state.transform
        if jax.tree.leaves(tracker):
            direction, transform = jax.vmap(self.transform.update)(tracker, state.transform, state.params)
        mixed = _tree.add_scaled(state.params, self.mixing, flow.params)
        params = _tree.add_scaled(mixed, -self.step_size, direction)
        slack = _tree.subtract(_tree.add_scaled(tracker, self.mixing, flow.tracker), grad)
        return DIGingState(params, slack, transform)

    def query(self, state: DIGingState) -> Tree:
        return state.params
