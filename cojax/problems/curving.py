"""What a cost tells of its own curvature in the params, so that a certificate proves what it would else measure.

A cost may have two methods, as the ready-made ones of a model have:

- `self_concordance(direction, data)`: an array of numbers, linear in `direction`, a tree shaped as a node's params.
  Along a line the second derivative changes by at most a factor exp(t) where the largest of them is t: so
  |D^3 f[v, v, v]| <= max |self_concordance(v)| D^2 f[v, v] at every point.
- `strong_convexity(data)`: m >= 0, such that cost(params) - m |params|**2 / 2 is convex.

Source: generalised self-concordance, Bach, doi 10.1214/09-EJS521; Sun, Tran-Dinh, arXiv 1703.04599.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from .._support.trees import Tree


class AroundCost(eqx.Module):
    """A cost made of another one, whose data comes first in its own: in the params it curves as that one does."""

    cost: Callable

    def self_concordance(self, direction: Tree, data: Tree) -> Any:
        """That of the cost inside."""
        return told(self.cost, "self_concordance", direction, data[0])

    def strong_convexity(self, data: Tree) -> Any:
        """That of the cost inside."""
        return told(self.cost, "strong_convexity", data[0])


def told(cost: Any, name: str, *args: Any) -> Any:
    """What a cost tells of its curvature by the method `name`, None where it has none."""
    method = getattr(cost, name, None)
    return None if method is None else method(*args)
