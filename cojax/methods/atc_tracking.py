"""Gradient tracking that adapts first and then combines."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method, Tracked
from .facts import adapt_then_combine, known


class ATCTrackingState(NamedTuple):
    params: Tree
    slack: Tree  # tracker - gradient; sums to zero over nodes, so the trackers sum to the gradients


@known("learn", "atc_tracking", bound=adapt_then_combine, limit="atc_limit", per_node=True)
class ATCTracking(Method):
    """y+ = W (y - step_size * z),  z+ = W z + g(y+) - g(y),  z0 = g(y0).

    `DIGing` with the step before the mixing: larger steps are stable, and where W averages all nodes it is centralised
    gradient descent. Exact over switching graphs too; two messages a step. Aug-DGM also mixes the new gradient,
    z+ = W (z + g(y+) - g(y)), which takes a second exchange per gradient: this is the semi-ATC form with one.

    Fields: step_size, > 0, one number or one per node.
    Source: Xu, Zhu, Soh, Xie, CDC 2015, doi 10.1109/CDC.2015.7402509; Di Lorenzo, Scutari, IEEE TSIPN 2016,
    arXiv 1602.00591.
    """

    step_size: Any = eqx.field(converter=floating)
    kept: ClassVar = ("slack",)

    def __check_init__(self):
        check_number("ATCTracking", "step_size", self.step_size, above=0.0)

    def init(self, x: Tree, grad: Tree) -> ATCTrackingState:
        return ATCTrackingState(x, trees.zeros_like(x))

    def message(self, state: ATCTrackingState, grad: Tree) -> Tracked:
        tracker = trees.add(state.slack, grad)
        return Tracked(trees.add_scaled(state.params, -self.step_size, tracker), tracker)

    def update(self, state: ATCTrackingState, grad: Tree, flow: Tracked) -> ATCTrackingState:
        adapted, _ = self.message(state, grad)
        return ATCTrackingState(trees.add(adapted, flow.params), trees.add(state.slack, flow.tracker))

    def query(self, state: ATCTrackingState) -> Tree:
        return state.params
