"""Gradient tracking that pulls models and pushes gradients, for directed graphs that are not balanced."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from ..networks.laws import Pull, Push
from .base import Method, Tracked
from .facts import half_of_room_squared, known


class PushPullState(NamedTuple):
    params: Tree
    slack: Tree  # tracker - gradient; sums to zero over nodes, so the trackers sum to the gradients


@known("learn", bound=half_of_room_squared, limit="push_pull_limit", per_node=True)
class PushPull(Method):
    """y+ = R y - step_size * z,  z+ = C z + g(y+) - g(y),  z0 = g(y0); R row-, C column-stochastic, of one graph.

    Exact with a constant step over directed graphs that are not balanced, `cojax.Directed`, without the division of
    `PushDIGing`; two messages a step. Stable for small steps only, the smaller the less balanced the graph. On
    symmetric networks R = C = W and this is `DIGing`.

    Fields: step_size, > 0, one number or one per node.
    Source: Xin, Khan, IEEE L-CSS 2018, doi 10.1109/LCSYS.2018.2834316, arXiv 1803.02503 (AB); Pu, Shi, Xu, Nedic,
    IEEE TAC 2021, doi 10.1109/TAC.2020.2972824, arXiv 1810.06653 (push-pull).
    """

    step_size: Any = eqx.field(converter=floating)
    kept: ClassVar = ("slack",)

    def __check_init__(self):
        check_number("PushPull", "step_size", self.step_size, above=0.0)

    def init(self, x: Tree, grad: Tree) -> PushPullState:
        return PushPullState(x, trees.zeros_like(x))

    def message(self, state: PushPullState, grad: Tree) -> Tracked:
        return Tracked(state.params, trees.add(state.slack, grad))

    def along(self, state: PushPullState) -> Tracked:
        return Tracked(Pull(), Push())

    def update(self, state: PushPullState, grad: Tree, flow: Tracked) -> PushPullState:
        mixed = trees.add(state.params, flow.params)
        params = trees.add_scaled(mixed, -self.step_size, trees.add(state.slack, grad))
        return PushPullState(params, trees.add(state.slack, flow.tracker))

    def query(self, state: PushPullState) -> Tree:
        return state.params
