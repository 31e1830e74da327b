"""Many steps at home between two exchanges, by any optimizer, and another one for what is exchanged."""

import functools
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._support import trees
from .._support.checks import CojaxInputError, check_number, floating, whole_number
from .._support.trees import Tree
from .base import Method
from .facts import BIASED, known, room_itself
from .optimizers import check_transform, descent, first_state


class LocalState(NamedTuple):
    params: Tree
    anchor: Tree  # where the last exchange led: what the outer optimizer steps from
    inner: Any
    outer: Any
    step: Int[Array, ""]


@known("learn", bound=room_itself, per_node=True, words=BIASED)
class LocalSteps(Method):
    """v = y - step_size * inner(g(y)) in every step; in those with an exchange u = W v, a+ = a - outer(a - u), y+ = a+.

    In the others y+ = v. `inner` and `outer` are optax optimizers, each node's own; a is where the last exchange led,
    and W = I - L. On a complete graph of weights 1/n, where all start alike, this is DiLoCo, and with no `outer`
    federated averaging; on any other graph their gossip forms. With `every=1` and neither it is diffusion, that is
    `Choco` with gain 1 over `Ideal()`. As that it stops at a bias where the costs differ, the larger the more steps lie
    between two exchanges. One message an exchange.

        network = cojax.Intermittent(network, 20)
        outer = optax.sgd(0.7, momentum=0.9, nesterov=True)
        method = cojax.CoOpt(learn=cojax.LocalSteps(inner=optax.adamw(1e-3), outer=outer, every=20))

    Steps 0, every, 2 every, ... exchange, as those of `Intermittent(network, every)`, which has to be the network:
    `solve` refuses another one. So the first exchange comes after one step at home, and each other after `every`.

    Fields:
        step_size: > 0, one number or one per node, times what the inner optimizer makes of a gradient; left out, it is
            1 and the optimizer has its own.
        inner: of the gradients, static; None for the gradient itself, which needs a step_size.
        outer: of the differences between where nodes stood and where the exchange led, static; None to go there.
        every: steps between two exchanges, >= 1, static.

    Raises `CojaxInputError` for other numbers, neither step_size nor inner, and what is no optax optimizer.
    Source: Douillard et al., "DiLoCo", arXiv 2311.08105; federated averaging: McMahan et al., AISTATS 2017,
    arXiv 1602.05629.
    """

    step_size: Any = eqx.field(converter=floating)
    inner: Any = eqx.field(static=True)
    outer: Any = eqx.field(static=True)
    every: int = eqx.field(static=True, converter=functools.partial(whole_number, "LocalSteps", "every", at_least=1))
    kept: ClassVar = ()

    def __init__(self, step_size: Any = None, inner: Any = None, outer: Any = None, every: Any = 1):
        if step_size is None and inner is None:
            raise CojaxInputError(
                "LocalSteps needs a step_size, such as 0.05, or an inner optimizer that has one, such as "
                "optax.adam(0.05)."
            )
        self.step_size = 1.0 if step_size is None else step_size
        self.inner, self.outer, self.every = inner, outer, every

    def __check_init__(self):
        check_number("LocalSteps", "step_size", self.step_size, above=0.0)
        check_transform("LocalSteps", self.inner, "inner")
        check_transform("LocalSteps", self.outer, "outer")

    @property
    def period(self) -> int | None:
        return None if self.every == 1 and self.outer is None else self.every

    def init(self, x: Tree, grad: Tree) -> LocalState:
        some = bool(jax.tree.leaves(x))
        inner = first_state("LocalSteps", self.inner, x) if some and self.inner is not None else None
        outer = first_state("LocalSteps", self.outer, x) if some and self.outer is not None else None
        return LocalState(x, x if outer is not None else None, inner, outer, jnp.zeros((), jnp.int32))

    def message(self, state: LocalState, grad: Tree) -> Tree:
        return self._at_home(state, grad)[0]

    def update(self, state: LocalState, grad: Tree, flow: Tree) -> LocalState:
        params, inner = self._at_home(state, grad)
        led = trees.add(params, flow)  # in silent steps nothing flows
        anchor, outer = state.anchor, state.outer
        if outer is not None:
            exchanged = state.step % self.every == 0
            there, after = descent("LocalSteps", self.outer, trees.subtract(anchor, led), outer, anchor)
            there = trees.subtract(anchor, there)
            led, anchor = _choose(exchanged, there, led), _choose(exchanged, there, anchor)
            outer = _choose(exchanged, after, outer)
        return LocalState(led, anchor, inner, outer, state.step + 1)

    def query(self, state: LocalState) -> Tree:
        return state.params

    def _at_home(self, state: LocalState, grad: Tree) -> tuple[Tree, Any]:
        """The params after one step of every node by itself, and the state of its optimizer."""
        direction, inner = grad, state.inner
        if inner is not None:
            direction, inner = descent("LocalSteps", self.inner, grad, inner, state.params)
        return trees.add_scaled(state.params, -self.step_size, direction), inner


def _choose(condition: Bool[Array, ""], one: Tree, other: Tree) -> Tree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
