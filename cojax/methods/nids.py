"""NIDS: an exact method whose step does not depend on the network."""

from typing import Any, NamedTuple

import equinox as eqx

from .. import _tree
from .._checks import check_number, floating
from .._tree import Tree
from .base import Method


class NIDSState(NamedTuple):
    params: Tree
    before: Tree  # params of the step before
    past_grad: Tree  # their gradient; 0 before the first step


class NIDS(Method):
    """y+ = (I + W)/2 (2 y - y- - step_size * (g(y) - g(y-))),  first y+ = (I + W)/2 (y - step_size * g(y)).

    Exact with a constant step and one message a step, on a fixed graph. Stable for step_size < 2 / L_g, however badly
    the graph is connected, where EXTRA and DIGing need smaller steps. Published with an unmixed first step; mixed, the
    iterates are those of `ExactDiffusion`, and of `LEAD` with gain 1 over an ideal link.

    Fields: step_size, > 0, one number.
    Source: Li, Shi, Yan, IEEE TSP 2019, doi 10.1109/TSP.2019.2926022, arXiv 1704.07807.
    """

    step_size: Any = eqx.field(converter=floating)

    def __check_init__(self):
        check_number("NIDS", "step_size", self.step_size, above=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> NIDSState:
        return NIDSState(x, x, _tree.zeros_like(x))

    def message(self, state: NIDSState, grad: Tree) -> Tree:
        change = _tree.subtract(grad, state.past_grad)
        ahead = _tree.add(state.params, _tree.subtract(state.params, state.before))
        return _tree.add_scaled(ahead, -self.step_size, change)

    def update(self, state: NIDSState, grad: Tree, flow: Tree) -> NIDSState:
        params = _tree.add_scaled(self.message(state, grad), 0.5, flow)
        return NIDSState(params, state.params, grad)

    def query(self, state: NIDSState) -> Tree:
        return state.params
