"""The Laplacian-gradient flow with Nesterov's momentum."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from .._support import exact_grid, trees
from .._support.checks import floating
from .._support.trees import Tree
from ..networks.laws import Along, Transfer
from .base import Method, check_share_momentum
from .facts import known


class NesterovState(NamedTuple):
    cpu: Tree  # on the grid; its sum over nodes never changes by one bit
    grid: Float[Array, ""]
    price: Tree  # sum over the past of momentum**age * marginal cost


def _bound(method: Any, room: Any, fixed: bool) -> Any:
    """The limit for quadratic costs."""
    return 2.0 * (1.0 + method.momentum) / (1.0 + 2.0 * method.momentum)


@known("allocate", "nesterov", numbers=("momentum",), bound=_bound, limit="nesterov_limit")
class Nesterov(Method):
    """y+ = y + step_size * flow(m + momentum * p+),  p+ = momentum * p + m(y),  p0 = 0, m the marginal costs.

    On a fixed graph with an exact link this is the textbook form x+ = y - step_size L m(y), y+ = x+ + momentum (x+ - x)
    at its points y, which share the total. The momentum is in what is told, as in `HeavyBall`. Unlike heavy ball it
    is stable for every convex cost; with kappa = u lambda_n / (l lambda_2), step_size = 1 / (u lambda_n) and
    momentum = (sqrt(kappa) - 1) / (sqrt(kappa) + 1) quadratic costs gain 1 - 1/sqrt(kappa) a step.

    Fields: step_size, > 0; momentum, in [0, 1).
    Source: Nesterov, Lectures on Convex Optimization 2018, doi 10.1007/978-3-319-91578-4, section 2.2; for resource
    allocation Ghadimi, Shames, Johansson, IEEE TSP 2013, arXiv 1211.2132.
    """

    step_size: Any = eqx.field(converter=floating)
    momentum: Any = eqx.field(converter=floating)
    kept: ClassVar = ("cpu",)

    def __check_init__(self):
        check_share_momentum("Nesterov", self.step_size, self.momentum)

    def init(self, x: Tree, grad: Tree) -> NesterovState:
        return NesterovState(x, exact_grid.grid_of(x), trees.zeros_like(x))

    def message(self, state: NesterovState, grad: Tree) -> Tree:
        price = trees.add_scaled(grad, self.momentum, state.price)
        return trees.add_scaled(grad, self.momentum, price)

    def along(self, state: NesterovState) -> Along:
        return Transfer(self.step_size, state.grid)

    def update(self, state: NesterovState, grad: Tree, flow: Tree) -> NesterovState:
        price = trees.add_scaled(grad, self.momentum, state.price)
        return NesterovState(trees.add(state.cpu, flow), state.grid, price)

    def query(self, state: NesterovState) -> Tree:
        return state.cpu
