"""Choco-SGD: adapt, then gossip what compressed innovations say."""

from typing import Any, ClassVar

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method
from .facts import BIASED, known, two_with_room


@known(
    "learn",
    "choco",
    numbers=("gain",),
    bound=two_with_room,
    limit="diffusion_limit",
    per_node=True,
    words=BIASED,
)
class Choco(Method):
    """v = y - step_size * g(y),  y+ = v + gain * sum_j w_ij (v^_j - v^_i),  v^ what is heard of v.

    Over `Innovation(quantizer)`, v^+ = v^ + q(v - v^), this is Choco-SGD: any compression, and compression noise that
    vanishes with the step. Over `Ideal()` with gain 1 it is diffusion (adapt, then combine). As `DGD` it stops at a
    bias of order step_size where the costs differ. One message a step.

    Fields: step_size, > 0, one number or one per node; gain, > 0, <= 1, less for a coarser quantizer.
    Source: Koloskova, Stich, Jaggi, ICML 2019, arXiv 1902.00340; Chen, Sayed, IEEE TSP 2012,
    doi 10.1109/TSP.2012.2198470, for diffusion.
    """

    step_size: Any = eqx.field(converter=floating)
    gain: Any = eqx.field(default=1.0, converter=floating)
    kept: ClassVar = ()

    def __check_init__(self):
        check_number("Choco", "step_size", self.step_size, above=0.0)
        check_number("Choco", "gain", self.gain, above=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> Tree:
        return x

    def message(self, state: Tree, grad: Tree) -> Tree:
        return trees.add_scaled(state, -self.step_size, grad)

    def update(self, state: Tree, grad: Tree, flow: Tree) -> Tree:
        return trees.add_scaled(self.message(state, grad), self.gain, flow)

    def query(self, state: Tree) -> Tree:
        return state
