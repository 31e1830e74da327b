"""LEAD: an exact primal-dual method made for compressed links."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method
from .facts import known, two_with_room


class LEADState(NamedTuple):
    params: Tree
    dual: Tree  # minus the local gradient in the limit; sums to zero over nodes


@known("learn", "lead", numbers=("gain",), bound=two_with_room, limit="nids_limit")
class LEAD(Method):
    """Y = y - step_size * (g(y) + D),  D+ = D - gain / (2 step_size) * flow(Y^),  y+ = y - step_size * (g(y) + D+).

    Exact with a constant step and one compressed message a step over `Innovation(quantizer)`, the link with unit
    memory rate. With gain 1 over an ideal link these are the iterates of `NIDS`. Fixed graphs only; stable for
    step_size < 2 / L_g with an ideal link.

    Fields: step_size, > 0, one number; gain, > 0, <= 1, less for a coarser quantizer.
    Source: Liu, Li, Wang, Tang, Yan, ICLR 2021, arXiv 2007.00232.
    """

    step_size: Any = eqx.field(converter=floating)
    gain: Any = eqx.field(default=1.0, converter=floating)
    kept: ClassVar = ("dual",)

    def __check_init__(self):
        check_number("LEAD", "step_size", self.step_size, above=0.0, shaped=())
        check_number("LEAD", "gain", self.gain, above=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> LEADState:
        return LEADState(x, trees.zeros_like(x))

    def message(self, state: LEADState, grad: Tree) -> Tree:
        return trees.add_scaled(state.params, -self.step_size, trees.add(grad, state.dual))

    def update(self, state: LEADState, grad: Tree, flow: Tree) -> LEADState:
        dual = trees.add_scaled(state.dual, -0.5 * self.gain / self.step_size, flow)
        return LEADState(trees.add_scaled(state.params, -self.step_size, trees.add(grad, dual)), dual)

    def query(self, state: LEADState) -> Tree:
        return state.params
