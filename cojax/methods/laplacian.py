"""The Laplacian-gradient flow, the paper's allocator."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from .._support import exact_grid, trees
from .._support.checks import floating
from .._support.trees import Tree
from ..networks.laws import Along, Odd, Same, Transfer
from .base import Method, check_share_step
from .facts import known


class Shares(NamedTuple):
    cpu: Tree  # on the grid; its sum over nodes never changes by one bit
    grid: Float[Array, "..."]  # of every resource


@known("allocate", "laplacian", bound=lambda method, room, fixed: 2.0, limit="allocation_limit")
class Laplacian(Method):
    """x_i+ = x_i + step_size * sum_j w_ij odd(m_j - m_i), m the marginal costs.

    CPU moves along every edge from the dearer to the cheaper end, so the total is right at every step, with any
    quantizer, loss, or switching. With curvatures in [l, u] the cost falls for step_size < 2 / (u lambda_n); the exact
    local limit is 2 / lambda_max(D^1/2 L D^1/2), D the second derivatives.

    Fields:
        step_size: > 0, one number: a step per node would break the sum, edge weights do not. It is that of all
            resources too: count them in units in which marginal costs change about alike with a share.
        odd: one of `networks/laws.py`, linear by default; see `FiniteTime`, `FixedTime`, `Saturated`, `SingleBit`.

    Source: Xiao, Boyd, JOTA 2006, doi 10.1007/s10957-006-9080-1; arXiv 2510.25176 over quantized links.
    """

    step_size: Any = eqx.field(converter=floating)
    odd: Odd = Same()
    kept: ClassVar = ("cpu",)

    def __check_init__(self):
        check_share_step("Laplacian", self.step_size)

    def init(self, x: Tree, grad: Tree) -> Shares:
        return Shares(x, exact_grid.grid_of(x))

    def message(self, state: Shares, grad: Tree) -> Tree:
        return grad

    def along(self, state: Shares) -> Along:
        return Transfer(self.step_size, state.grid, self.odd)

    def update(self, state: Shares, grad: Tree, flow: Tree) -> Shares:
        return Shares(trees.add(state.cpu, flow), state.grid)

    def query(self, state: Shares) -> Tree:
        return state.cpu
