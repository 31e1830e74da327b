"""Many steps at home between two exchanges, by any optimizer, and another one for what is exchanged."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._support import trees
from .._support.trees import Tree
from .at_home import StepsAtHome, choose
from .facts import BIASED, known, room_itself
from .optimizers import descent, first_state


class LocalState(NamedTuple):
    params: Tree
    anchor: Tree  # where the last exchange led: what the outer optimizer steps from
    inner: Any
    outer: Any
    step: Int[Array, ""]


@known("learn", bound=room_itself, per_node=True, words=BIASED)
class LocalSteps(StepsAtHome):
    """v = y - step_size * inner(g(y)) in every step; in those with an exchange u = W v, a+ = a - outer(a - u), y+ = a+.

    In the others y+ = v. `inner` and `outer` are optax optimizers, each node's own; a is where the last exchange led,
    and W = I - L. On a complete graph of weights 1/n, where all start alike, this is DiLoCo, and with no `outer`
    federated averaging; on any other graph their gossip forms. Over `RandomPairs`, with optax.sgd(beta, momentum=alpha)
    for `outer`, it is the optimizer of NoLoCo with gamma = beta, as in its first author's code. With `every=1` and
    neither it is diffusion, that is `Choco` with gain 1 over `Ideal()`. As that it stops at a bias where the costs
    differ, the larger the more steps lie between two exchanges. One message an exchange.

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
    arXiv 1602.05629; NoLoCo: Kolehmainen et al., arXiv 2506.10911.
    """

    @property
    def period(self) -> int | None:
        return None if self.every == 1 and self.outer is None else self.every

    def init(self, x: Tree, grad: Tree) -> LocalState:
        some = bool(jax.tree.leaves(x))
        inner = first_state("LocalSteps", self.inner, x) if some and self.inner is not None else None
        outer = first_state("LocalSteps", self.outer, x) if some and self.outer is not None else None
        return LocalState(x, x if outer is not None else None, inner, outer, jnp.zeros((), jnp.int32))

    def message(self, state: LocalState, grad: Tree) -> Tree:
        return self.at_home(state, grad)[0]

    def update(self, state: LocalState, grad: Tree, flow: Tree) -> LocalState:
        params, inner = self.at_home(state, grad)
        led = trees.add(params, flow)  # in silent steps nothing flows
        anchor, outer = state.anchor, state.outer
        if outer is not None:
            exchanged = state.step % self.every == 0
            there, after = descent("LocalSteps", self.outer, trees.subtract(anchor, led), outer, anchor)
            there = trees.subtract(anchor, there)
            led, anchor = choose(exchanged, there, led), choose(exchanged, there, anchor)
            outer = choose(exchanged, after, outer)
        return LocalState(led, anchor, inner, outer, state.step + 1)

    def query(self, state: LocalState) -> Tree:
        return state.params
