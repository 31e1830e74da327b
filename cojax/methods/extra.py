"""EXTRA: an exact first-order method with one message a step."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method
from .facts import known, room_itself


class EXTRAState(NamedTuple):
    params: Tree
    correction: Tree  # half the sum of all past flows; sums to zero over nodes


@known("learn", "extra", bound=room_itself, limit="extra_limit")
class EXTRA(Method):
    """y+ = W y - step_size * g(y) + c,  c+ = c + (W y - y) / 2,  c0 = 0.

    The published two-step form with W~ = (I + W) / 2, summed up. Exact with a constant step and one message a step,
    on a fixed graph; stable for step_size < (1 + lambda_min(W)) / L_g.

    Fields: step_size, > 0, one number.
    Source: Shi, Ling, Wu, Yin, SIAM J. Optim. 2015, doi 10.1137/14096668X.
    """

    step_size: Any = eqx.field(converter=floating)
    kept: ClassVar = ("correction",)

    def __check_init__(self):
        check_number("EXTRA", "step_size", self.step_size, above=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> EXTRAState:
        return EXTRAState(x, trees.zeros_like(x))

    def message(self, state: EXTRAState, grad: Tree) -> Tree:
        return state.params

    def update(self, state: EXTRAState, grad: Tree, flow: Tree) -> EXTRAState:
        moved = trees.add(state.params, flow, state.correction)
        params = trees.add_scaled(moved, -self.step_size, grad)
        return EXTRAState(params, trees.add_scaled(state.correction, 0.5, flow))

    def query(self, state: EXTRAState) -> Tree:
        return state.params
