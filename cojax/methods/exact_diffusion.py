"""Exact diffusion: adapt, correct, combine."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method
from .facts import known, two_with_room


class ExactDiffusionState(NamedTuple):
    params: Tree
    correction: Tree  # params - psi, what combining changed; sums to zero over nodes


@known("learn", "exact_diffusion", bound=two_with_room, limit="nids_limit")
class ExactDiffusion(Method):
    """psi+ = y - step_size * g(y),  phi = psi+ + y - psi,  y+ = (I + W)/2 phi,  psi0 = y0.

    Diffusion with its bias corrected: exact with a constant step and one message a step, on a fixed graph, stable for
    step_size < 2 / L_g. The iterates of `NIDS`.

    Fields: step_size, > 0, one number.
    Source: Yuan, Ying, Zhao, Sayed, IEEE TSP 2019, doi 10.1109/TSP.2018.2875898, arXiv 1702.05122.
    """

    step_size: Any = eqx.field(converter=floating)
    kept: ClassVar = ("correction",)

    def __check_init__(self):
        check_number(type(self).__name__, "step_size", self.step_size, above=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> ExactDiffusionState:
        return ExactDiffusionState(x, trees.zeros_like(x))

    def message(self, state: ExactDiffusionState, grad: Tree) -> Tree:
        return trees.add(trees.add_scaled(state.params, -self.step_size, grad), state.correction)

    def update(self, state: ExactDiffusionState, grad: Tree, flow: Tree) -> ExactDiffusionState:
        # y+ - psi+ = phi + flow/2 - psi+, and phi - psi+ is the correction.
        correction = trees.add_scaled(state.correction, 0.5, flow)
        adapted = trees.add_scaled(state.params, -self.step_size, grad)
        return ExactDiffusionState(trees.add(adapted, correction), correction)

    def query(self, state: ExactDiffusionState) -> Tree:
        return state.params
