"""Gradient tracking with push-sum, for directed graphs that are not balanced."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from ..networks.laws import Along, Push
from .base import Method
from .facts import adapt_then_combine, known


class PushDIGingState(NamedTuple):
    mass: Tree  # its node sum is n times what params agree on
    weight: Any  # (n,), > 0; sums to n over nodes; None where there are no params
    slack: Tree  # tracker - gradient; sums to zero over nodes, so the trackers sum to the gradients


class PushDIGingTold(NamedTuple):
    mass: Tree
    weight: Any
    tracker: Tree


@known("learn", bound=adapt_then_combine, limit="push_diging_limit")
class PushDIGing(Method):
    """u+ = C (u - step_size * z),  v+ = C v,  y = u / v,  z+ = C z + g(y+) - g(y);  u0 = y0, v0 = 1, z0 = g(y0).

    C is column-stochastic: what every node needs to know is how many hear it. Exact with a constant step over
    directed graphs that are not balanced, `cojax.Directed`, switching ones included; two messages a step and a
    number. On symmetric networks v = 1 and this is `ATCTracking`. ADD-OPT steps after the mixing, u+ = C u - step z.

    Fields: step_size, > 0, one number.
    Source: Nedic, Olshevsky, Shi, SIAM J. Optim. 2017, doi 10.1137/16M1084316; ADD-OPT: Xi, Xin, Khan, IEEE TAC 2018,
    doi 10.1109/TAC.2017.2737582.
    """

    step_size: Any = eqx.field(converter=floating)
    kept: ClassVar = ("slack",)

    def __check_init__(self):
        check_number("PushDIGing", "step_size", self.step_size, above=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> PushDIGingState:
        num_nodes = trees.num_nodes(x)
        weight = None if num_nodes is None else jnp.ones(num_nodes, jnp.result_type(float))
        return PushDIGingState(x, weight, trees.zeros_like(x))

    def message(self, state: PushDIGingState, grad: Tree) -> PushDIGingTold:
        tracker = trees.add(state.slack, grad)
        return PushDIGingTold(trees.add_scaled(state.mass, -self.step_size, tracker), state.weight, tracker)

    def along(self, state: PushDIGingState) -> Along:
        return Push()

    def update(self, state: PushDIGingState, grad: Tree, flow: PushDIGingTold) -> PushDIGingState:
        told = self.message(state, grad)
        return PushDIGingState(
            trees.add(told.mass, flow.mass), trees.add(state.weight, flow.weight), trees.add(state.slack, flow.tracker)
        )

    def query(self, state: PushDIGingState) -> Tree:
        return state.mass if state.weight is None else trees.scale(state.mass, 1 / state.weight)
