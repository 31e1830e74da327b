"""Gradient tracking with heavy-ball momentum."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method, Tracked
from .facts import known


class TrackingMomentumState(NamedTuple):
    params: Tree
    velocity: Tree  # the last move of params
    slack: Tree  # tracker - gradient; sums to zero over nodes, so the trackers sum to the gradients


def _bound(method: Any, room: Any, fixed: bool) -> Any:
    """Of equal Hessians: the mode that leaves the unit circle first, at -1."""
    return room * (room + 2.0 * method.momentum) / 2.0


@known(
    "learn",
    "tracking_momentum",
    numbers=("momentum",),
    given={"momentum": 0.3},  # what is best depends on more than is known
    bound=_bound,
    limit="tracking_momentum_limit",
    per_node=True,
)
class TrackingMomentum(Method):
    """y+ = W y - step_size * z + momentum * (y - y-),  z+ = W z + g(y+) - g(y),  z0 = g(y0),  y- = y0 at first.

    `DIGing` with momentum: where all costs have one Hessian the mean over nodes moves as centralised heavy ball. Exact
    over switching graphs too, for small step and momentum; two messages a step.

    Fields: step_size, > 0, one number or one per node; momentum, in [0, 1).
    Source: Doostmohammadian, Rabiee, arXiv 2506.22855; Xin, Khan, IEEE TAC 2020, doi 10.1109/TAC.2019.2942513.
    """

    step_size: Any = eqx.field(converter=floating)
    momentum: Any = eqx.field(converter=floating)
    kept: ClassVar = ("slack",)

    def __check_init__(self):
        check_number("TrackingMomentum", "step_size", self.step_size, above=0.0)
        check_number("TrackingMomentum", "momentum", self.momentum, at_least=0.0, below=1.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> TrackingMomentumState:
        return TrackingMomentumState(x, trees.zeros_like(x), trees.zeros_like(x))

    def message(self, state: TrackingMomentumState, grad: Tree) -> Tracked:
        return Tracked(state.params, trees.add(state.slack, grad))

    def update(self, state: TrackingMomentumState, grad: Tree, flow: Tracked) -> TrackingMomentumState:
        tracker = trees.add(state.slack, grad)
        pushed = trees.add_scaled(flow.params, self.momentum, state.velocity)
        velocity = trees.add_scaled(pushed, -self.step_size, tracker)
        return TrackingMomentumState(trees.add(state.params, velocity), velocity, trees.add(state.slack, flow.tracker))

    def query(self, state: TrackingMomentumState) -> Tree:
        return state.params
