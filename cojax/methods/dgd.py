"""Decentralized gradient descent."""

from typing import Any, ClassVar

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method
from .facts import BIASED, known, room_itself


@known("learn", "dgd", bound=room_itself, limit="dgd_limit", per_node=True, words=BIASED)
class DGD(Method):
    """y+ = W y - step_size * g(y), W = I - L.

    One message a step and no memory; with a constant step it stops at a bias of order step_size / (1 - sigma(W)).

    Fields: step_size, > 0, one number or one per node.
    Source: Nedic, Ozdaglar, IEEE TAC 2009, doi 10.1109/TAC.2008.2009515.
    """

    step_size: Any = eqx.field(converter=floating)
    kept: ClassVar = ()

    def __check_init__(self):
        check_number("DGD", "step_size", self.step_size, above=0.0)

    def init(self, x: Tree, grad: Tree) -> Tree:
        return x

    def message(self, state: Tree, grad: Tree) -> Tree:
        return state

    def update(self, state: Tree, grad: Tree, flow: Tree) -> Tree:
        return trees.add_scaled(trees.add(state, flow), -self.step_size, grad)

    def query(self, state: Tree) -> Tree:
        return state
