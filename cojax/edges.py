"""What one edge does with the difference of the two messages at its ends."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from . import _grid, _tree


class Along(eqx.Module):
    """An odd law of the difference: what one end receives, the other gives, so that node sums never change."""

    @abc.abstractmethod
    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        """What flows in at this end; `weights` has the leading axes of `difference`, one number per edge."""


class Weigh(Along):
    """w * (heard_j - heard_i): linear, so a network may compute it as a matrix product."""

    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        return _tree.spread(weights, difference) * difference


class Transfer(Along):
    """step_size * w * (heard_j - heard_i), rounded to a power-of-two grid.

    Shares that start on the grid stay on it, so every addition is exact: their sum never changes by one bit,
    in any layout, order of summation, or number of devices. The rounding has the identity as its derivative.
    """

    step_size: Any
    grid: Float[Array, ""]

    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        # The factors are multiplied in one fixed order: both ends of an edge must get the same bits.
        weights = weights.astype(difference.dtype)
        factor = _tree.spread(self.step_size, weights) * weights
        return _grid.on_grid(_tree.spread(factor, difference) * difference, self.grid)
