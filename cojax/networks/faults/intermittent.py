"""Networks that talk only now and then, so that every method works locally in between."""

import dataclasses
import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..._support.checks import whole_number
from ..base import Layout, Link, Wire
from .fault import Fault
from .faulty import FaultyNetwork, with_fault


class Pauses(Fault):
    """Nobody talks but at the steps 0, every, 2 every, ... Fields: every, static."""

    made_by: ClassVar[str] = "Intermittent"
    every: int = eqx.field(static=True, converter=functools.partial(whole_number, "Intermittent", "every", at_least=1))

    @property
    def period(self):
        return self.every

    def check(self, network):
        """All links are silent together, so that every memory stays as its neighbours know it."""

    def on(self, graph, k) -> Layout:
        now: Any = graph
        talks = jnp.asarray(k) % self.every == 0
        weights = jnp.where(talks, now.weights, 0)
        return dataclasses.replace(now, weights=weights, link=_Silenced(now.link, talks))


class _Silenced(Link):
    """`link` while the network talks; a wire that stays as it is while it does not."""

    link: Link
    talks: Bool[Array, ""]

    def open(self, message, net):
        return self.link.open(message, net)

    def tell(self, message, wire, net, step):
        told = self.link.tell(message, wire, net, step)

        def if_told(new: Array, old: Array) -> Array:
            return jnp.where(self.talks, new, old)

        return Wire(*jax.tree.map(if_told, tuple(told), tuple(wire)))

    def check(self, *, fixed, symmetric):
        self.link.check(fixed=fixed, symmetric=symmetric)


def Intermittent(network: Any, every: Any) -> FaultyNetwork:
    """A network that is there at the steps 0, every, 2 every, ... and silent in between: local steps for any method.

    In a silent step nothing is told, no memory moves and no bits are counted. Over it DGD-like methods drift towards
    their local optima between two exchanges, a bias of order step_size * (every - 1); `Choco` with gain 1 on a
    complete graph of weights 1/n is federated averaging. Tracking methods stay exact with smaller steps, as over
    any switching graph; the methods for fixed graphs need not.

    Args: network; every, a whole number >= 1, static. Graphs that take turns are still numbered by step.
    Raises `CojaxInputError` for another `every`.
    Source: Stich, ICLR 2019, arXiv 1805.09767.
    """
    return with_fault(network, Pauses(every))
