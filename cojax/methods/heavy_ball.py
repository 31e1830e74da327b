"""The Laplacian-gradient flow with momentum."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from .._support import exact_grid, trees
from .._support.checks import floating
from .._support.trees import Tree
from ..networks.laws import Along, Transfer
from .base import Method, check_share_momentum
from .facts import known, with_momentum


class HeavyBallState(NamedTuple):
    cpu: Tree  # on the grid; its sum over nodes never changes by one bit
    grid: Float[Array, "..."]  # of every resource
    price: Tree  # sum over the past of momentum**age * marginal cost


@known("allocate", "heavy_ball", numbers=("momentum",), bound=with_momentum, limit="heavy_ball_limit")
class HeavyBall(Method):
    """x+ = x + step_size * flow(p),  p+ = momentum * p + m(x+),  p0 = m(x0), m the marginal costs.

    On a fixed graph with an exact link this is x+ = x - step_size L m + momentum (x - x-), the textbook form. Here the
    momentum is in what is told instead of in the shares, where rounding it node by node would break their sum.
    With h = l lambda_2 and u lambda_n the ends of the spectrum, the best constants are
    step_size = 4 / (sqrt(u lambda_n) + sqrt(h))**2 and momentum = ((sqrt(kappa) - 1) / (sqrt(kappa) + 1))**2.

    Fields: step_size, > 0; momentum, in [0, 1).
    Source: Ghadimi, Shames, Johansson, IEEE TSP 2013, arXiv 1211.2132.
    """

    step_size: Any = eqx.field(converter=floating)
    momentum: Any = eqx.field(converter=floating)
    kept: ClassVar = ("cpu",)

    def __check_init__(self):
        check_share_momentum(type(self).__name__, self.step_size, self.momentum)

    def init(self, x: Tree, grad: Tree) -> HeavyBallState:
        return HeavyBallState(x, exact_grid.grid_of(x), trees.zeros_like(x))

    def message(self, state: HeavyBallState, grad: Tree) -> Tree:
        return trees.add_scaled(grad, self.momentum, state.price)

    def along(self, state: HeavyBallState) -> Along:
        return Transfer(self.step_size, state.grid)

    def update(self, state: HeavyBallState, grad: Tree, flow: Tree) -> HeavyBallState:
        price = trees.add_scaled(grad, self.momentum, state.price)
        return HeavyBallState(trees.add(state.cpu, flow), state.grid, price)

    def query(self, state: HeavyBallState) -> Tree:
        return state.cpu
