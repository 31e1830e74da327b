"""The Laplacian-gradient flow with Nesterov's momentum."""

from typing import Any

from .._support import trees
from .._support.trees import Tree
from .facts import known
from .heavy_ball import HeavyBall, HeavyBallState


def _bound(method: Any, room: Any, fixed: bool) -> Any:
    """The limit for quadratic costs."""
    return 2.0 * (1.0 + method.momentum) / (1.0 + 2.0 * method.momentum)


@known("allocate", "nesterov", numbers=("momentum",), bound=_bound, limit="nesterov_limit")
class Nesterov(HeavyBall):
    """y+ = y + step_size * flow(m + momentum * p+),  p+ = momentum * p + m(y),  p0 = 0, m the marginal costs.

    On a fixed graph with an exact link this is the textbook form x+ = y - step_size L m(y), y+ = x+ + momentum (x+ - x)
    at its points y, which share the total. The momentum is in what is told, as in `HeavyBall`. Unlike heavy ball it
    is stable for every convex cost; with kappa = u lambda_n / (l lambda_2), step_size = 1 / (u lambda_n) and
    momentum = (sqrt(kappa) - 1) / (sqrt(kappa) + 1) quadratic costs gain 1 - 1/sqrt(kappa) a step.

    Fields: step_size, > 0; momentum, in [0, 1).
    Source: Nesterov, Lectures on Convex Optimization 2018, doi 10.1007/978-3-319-91578-4, section 2.2; for resource
    allocation Ghadimi, Shames, Johansson, IEEE TSP 2013, arXiv 1211.2132.
    """

    def message(self, state: HeavyBallState, grad: Tree) -> Tree:
        return trees.add_scaled(grad, self.momentum, super().message(state, grad))
