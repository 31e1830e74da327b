"""APAPC: the exact primal-dual method with momentum."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx

from .._support import trees
from .._support.checks import check_number, floating
from .._support.trees import Tree
from .base import Method
from .facts import known


class APAPCState(NamedTuple):
    params: Tree
    ahead: Tree  # where the momentum leads; gradients are taken between the two
    dual: Tree  # minus the local gradient in the limit; sums to zero over nodes


@known("learn", "apapc", numbers=("blend", "gain"), limit="apapc_limit")
class APAPC(Method):
    """Momentum for `NIDS` and `LEAD`: with y the point of the gradient and c = 1 / (1 + step_size * convexity),

    y = blend * x + (1 - blend) * f,  z = c (x - step_size * (g(y) - convexity * y + D)),
    D+ = D - gain / step_size * flow(z),  x+ = c (x - step_size * (g(y) - convexity * y + D+)),
    f+ = y + 2 blend / (2 - blend) * (x+ - x),  f0 = x0, D0 = 0.

    z is the one message a step. With blend 1 and gain 1/2 the iterates are those of `NIDS`. Where NIDS needs rounds of
    the order kappa + chi, kappa = L_g / mu of the costs and chi = lambda_n / lambda_2 of the graph, this needs
    sqrt(kappa chi) + chi: as if the costs were as well conditioned as the graph. Exact with a constant step over any
    link that is exact in the limit; proved on fixed graphs.

    Fields: step_size, > 0; blend, in (0, 1], less is more momentum; gain, > 0, at most 1 / lambda_n; convexity, >= 0,
    of every node's cost, 0 where it is not known.
    Source: Kovalev, Salim, Richtarik, NeurIPS 2020, arXiv 2006.11773, algorithm 2.
    """

    step_size: Any = eqx.field(converter=floating)
    blend: Any = eqx.field(converter=floating)
    gain: Any = eqx.field(default=0.5, converter=floating)
    convexity: Any = eqx.field(default=0.0, converter=floating)
    kept: ClassVar = ("dual",)

    def __check_init__(self):
        check_number("APAPC", "step_size", self.step_size, above=0.0, shaped=())
        check_number("APAPC", "blend", self.blend, above=0.0, shaped=())
        check_number("APAPC", "1 - blend", 1 - self.blend, at_least=0.0, shaped=(), why="momentum would push back")
        check_number("APAPC", "gain", self.gain, above=0.0, shaped=())
        check_number("APAPC", "convexity", self.convexity, at_least=0.0, shaped=())

    def init(self, x: Tree, grad: Tree) -> APAPCState:
        return APAPCState(x, x, trees.zeros_like(x))

    def message(self, state: APAPCState, grad: Tree) -> Tree:
        return self._moved(state, grad, state.dual)

    def update(self, state: APAPCState, grad: Tree, flow: Tree) -> APAPCState:
        dual = trees.add_scaled(state.dual, -self.gain / self.step_size, flow)
        params = self._moved(state, grad, dual)
        push = 2 * self.blend / (2 - self.blend)
        ahead = trees.add_scaled(self.query(state), push, trees.subtract(params, state.params))
        return APAPCState(params, ahead, dual)

    def query(self, state: APAPCState) -> Tree:
        return trees.add_scaled(state.ahead, self.blend, trees.subtract(state.params, state.ahead))

    def _moved(self, state: APAPCState, grad: Tree, dual: Tree) -> Tree:
        pull = trees.add_scaled(trees.add(grad, dual), -self.convexity, self.query(state))
        moved = trees.add_scaled(state.params, -self.step_size, pull)
        return trees.scale(moved, 1 / (1 + self.step_size * self.convexity))
