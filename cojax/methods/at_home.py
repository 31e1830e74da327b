"""Steps that every node takes by itself between two exchanges, by an optimizer of its own."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._support import trees
from .._support.checks import CojaxInputError, check_number, floating, whole_number
from .._support.trees import Tree
from .base import Method
from .optimizers import check_transform, descent


class StepsAtHome(Method):
    """What methods have in common that take many steps between two exchanges; see `LocalSteps`."""

    step_size: Any = eqx.field(converter=floating)
    inner: Any = eqx.field(static=True)
    outer: Any = eqx.field(static=True)
    every: int = eqx.field(static=True)
    kept: ClassVar = ()

    def __init__(self, step_size: Any = None, inner: Any = None, outer: Any = None, every: Any = 1):
        if step_size is None and inner is None:
            raise CojaxInputError(
                f"{type(self).__name__} needs a step_size, such as 0.05, or an inner optimizer that has one, such as "
                "optax.adam(0.05)."
            )
        self.step_size = 1.0 if step_size is None else step_size
        self.inner, self.outer = inner, outer
        self.every = whole_number(type(self).__name__, "every", every, at_least=1)

    def __check_init__(self):
        check_number(type(self).__name__, "step_size", self.step_size, above=0.0)
        check_transform(type(self).__name__, self.inner, "inner")
        check_transform(type(self).__name__, self.outer, "outer")

    def at_home(self, state: Any, grad: Tree) -> tuple[Tree, Any]:
        """The params after one step of every node by itself, and the state of its optimizer."""
        direction, inner = grad, state.inner
        if inner is not None:
            direction, inner = descent(type(self).__name__, self.inner, grad, inner, state.params)
        return trees.add_scaled(state.params, -self.step_size, direction), inner


def choose(condition: Bool[Array, ""], one: Tree, other: Tree) -> Tree:
    """`one` where the condition holds, else `other`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
