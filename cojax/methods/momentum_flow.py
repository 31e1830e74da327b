"""The Laplacian-gradient flow with momentum on the shares, after the channel."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from .._support import exact_grid, trees
from .._support.checks import floating
from .._support.trees import Tree
from ..networks.laws import Along, Transfer
from .base import Method, check_share_momentum
from .facts import known, with_momentum


class MomentumFlowState(NamedTuple):
    base: Tree  # on the grid; its sum over nodes never changes by one bit
    grid: Float[Array, "..."]  # of every resource
    lag: Tree  # base - cpu, off the grid; sums to zero over nodes up to rounding, which it forgets


@known("allocate", "momentum_flow", numbers=("momentum",), bound=with_momentum, limit="heavy_ball_limit")
class MomentumFlow(Method):
    """x+ = x + flow + momentum * v,  v+ = x+ - x,  v0 = 0; flow = step_size * sum_j w_ij (h_j - h_i), h as heard.

    With exact links on a fixed graph these are the iterates of `HeavyBall`. Over coarse links the momentum here is of
    what was heard, there of what is told; both stop at a bias without memory. A node cannot round momentum * v so that
    all nodes together keep the sum. So x = b - l is computed, with f = flow / (1 - momentum), b+ = b + f on the grid
    and l+ = momentum * (l + f): the sum is kept to the rounding of l, which does not add up, and exactly at rest. Where
    the total must be exact on the way too, use `HeavyBall` or `Nesterov`.

    Fields: step_size, > 0; momentum, in [0, 1).
    Source: Doostmohammadian, Gabidullina, Rabiee, arXiv 2503.06167, equations 12 to 14.
    """

    step_size: Any = eqx.field(converter=floating)
    momentum: Any = eqx.field(converter=floating)
    adds_flow: ClassVar[bool] = False

    def __check_init__(self):
        check_share_momentum("MomentumFlow", self.step_size, self.momentum)

    def init(self, x: Tree, grad: Tree) -> MomentumFlowState:
        return MomentumFlowState(x, exact_grid.grid_of(x), trees.zeros_like(x))

    def message(self, state: MomentumFlowState, grad: Tree) -> Tree:
        return grad

    def along(self, state: MomentumFlowState) -> Along:
        return Transfer(self.step_size / (1 - self.momentum), state.grid)

    def update(self, state: MomentumFlowState, grad: Tree, flow: Tree) -> MomentumFlowState:
        lag = trees.scale(trees.add(state.lag, flow), self.momentum)
        return MomentumFlowState(trees.add(state.base, flow), state.grid, lag)

    def query(self, state: MomentumFlowState) -> Tree:
        return trees.subtract(state.base, state.lag)
