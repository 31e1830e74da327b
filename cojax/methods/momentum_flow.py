"""The Laplacian-gradient flow with momentum on the shares, after the channel."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from .. import _grid, _tree
from .._checks import floating
from .._tree import Tree
from ..edges import Along, Transfer
from .base import Method, check_share_momentum


class MomentumFlowState(NamedTuple):
    cpu: Tree  # off the grid: its sum drifts by rounding
    grid: Float[Array, ""]
    velocity: Tree  # the last move; sums to zero over nodes up to rounding


class MomentumFlow(Method):
    """x+ = x + flow + momentum * v,  v+ = x+ - x,  v0 = 0; flow = step_size * sum_j w_ij (h_j - h_i), h as heard.

    With exact links on a fixed graph these are the iterates of `HeavyBall`. Over coarse links the momentum here is of
    what was heard, there of what is told; both stop at a bias without memory. A node cannot round momentum * v so that
    all nodes together keep the sum: it is kept to rounding only, and drifts by about sqrt(steps) last bits. Where the
    total must be exact, use `HeavyBall` or `Nesterov`.

    Fields: step_size, > 0; momentum, in [0, 1).
    Source: Doostmohammadian, Gabidullina, Rabiee, arXiv 2503.06167, equations 12 to 14.
    """

    step_size: Any = eqx.field(converter=floating)
    momentum: Any = eqx.field(converter=floating)
    adds_flow: ClassVar[bool] = False

    def __check_init__(self):
        check_share_momentum("MomentumFlow", self.step_size, self.momentum)

    def init(self, x: Tree, grad: Tree) -> MomentumFlowState:
        return MomentumFlowState(x, _grid.grid_of(x), _tree.zeros_like(x))

    def message(self, state: MomentumFlowState, grad: Tree) -> Tree:
        return grad

    def along(self, state: MomentumFlowState) -> Along:
        return Transfer(self.step_size, state.grid)

    def update(self, state: MomentumFlowState, grad: Tree, flow: Tree) -> MomentumFlowState:
        velocity = _tree.add_scaled(flow, self.momentum, state.velocity)
        return MomentumFlowState(_tree.add(state.cpu, velocity), state.grid, velocity)

    def query(self, state: MomentumFlowState) -> Tree:
        return state.cpu
