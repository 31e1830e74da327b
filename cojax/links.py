"""What a channel does: it turns what every node tells into what its neighbours hear."""

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from . import _tree
from ._checks import CojaxInputError
from ._tree import Tree
from .quantizers import Quantizer

if TYPE_CHECKING:
    from .layouts import Layout


class Wire(NamedTuple):
    """What is on the channel between two steps, carried by the loop so that it is computed once per node."""

    heard: Tree  # what the neighbours of every node, and the node itself, take its message to be; nodes first
    near: Tree = None  # by directed edge, what its receiver holds of its sender, where that differs by edge
    scale: Tree = None  # the state of a quantizer that adapts, shaped as what it rounds


class Link(eqx.Module):
    """A channel between neighbours."""

    @abc.abstractmethod
    def open(self, message: Tree, net: "Layout") -> Wire:
        """The wire after the first `message`, told over the graph `net` of the first step."""

    @abc.abstractmethod
    def tell(self, message: Tree, wire: Wire, net: "Layout") -> Wire:
        """The wire after `message`, told at the end of a step over the graph `net` of the next one."""

    @abc.abstractmethod
    def check(self, *, fixed: bool, symmetric: bool) -> None:
        """Refuse, with the way out, a network that this link would be a wrong model on."""


class Ideal(Link):
    """The value itself travels, in full precision."""

    def open(self, message, net):
        return Wire(message)

    def tell(self, message, wire, net):
        return Wire(message)

    def check(self, *, fixed, symmetric):
        pass


class Quantized(Link):
    """The quantized value travels, and the sender uses it too: otherwise node sums would not be kept.

    Methods stall where all values lie in one cell of the quantizer, at a residual of about rho * |value|.
    Gradients with respect to hyper-parameters through this link are nearly useless: the landscape is jagged.

    Source: the reading of arXiv 2510.25176 with the mapping on each sent value, as in arXiv 2503.06167.
    """

    quantizer: Quantizer

    def open(self, message, net):
        return Wire(jax.tree.map(self.quantizer, message))

    def tell(self, message, wire, net):
        return Wire(jax.tree.map(self.quantizer, message))

    def check(self, *, fixed, symmetric):
        pass


class Innovation(Link):
    """The quantized difference from what the receiver holds already travels: exact in the limit, however coarse.

    s+ = s + q(m - s), from s = 0; both ends know s, and the difference of the two s of an edge is what flows.

    memory="node": all neighbours of a node hold the same s; O(n d) numbers. For fixed networks without loss.
    memory="edge": one s per directed edge, advanced only where the edge is there; O(edges d) numbers. For switching
    and lossy networks with symmetric weights; a lost message is known to both ends (it is not acknowledged).

    With a log quantizer of rho <= 1 runs need about as many steps as over an ideal link; the limit is near 2 log 2.
    Gradients with respect to hyper-parameters are right through this link.

    Source: C-GT, arXiv 2103.13748, with unit gains, for node memory; edge memory is this library's.
    """

    quantizer: Quantizer
    memory: str = eqx.field(static=True, default="node")

    def __check_init__(self):
        if self.memory not in ("node", "edge"):
            raise CojaxInputError(f'Innovation needs memory "node" or "edge", got {self.memory!r}.')

    def open(self, message, net):
        if self.memory == "node":
            silent = _tree.zeros_like(message)
            return self.tell(message, Wire(silent, None, _first_scale(self.quantizer, silent)), net)
        near = jax.tree.map(lambda leaf: jnp.zeros_like(net.ends(leaf)), message)
        return self.tell(message, Wire(None, near, _first_scale(self.quantizer, near)), net)

    def tell(self, message, wire, net):
        if self.memory == "node":
            held, scale = _advance(self.quantizer, message, wire.heard, wire.scale)
            return Wire(held, None, scale)
        said = jax.tree.map(net.ends, message)
        held, scale = _advance(self.quantizer, said, wire.near, wire.scale)
        there = net.edge_weights() > 0

        def where_there(new: Array, old: Array) -> Array:
            return jnp.where(there.reshape(there.shape + (1,) * (new.ndim - there.ndim)), new, old)

        return Wire(None, jax.tree.map(where_there, held, wire.near), jax.tree.map(where_there, scale, wire.scale))

    def check(self, *, fixed, symmetric):
        if self.memory == "node" and not fixed:
            raise CojaxInputError(
                'Innovation(memory="node") needs a fixed network without loss, got one that changes: a neighbour that '
                'did not hear cannot know what the others hold; use memory="edge".'
            )
        if self.memory == "edge" and not symmetric:
            raise CojaxInputError(
                'Innovation(memory="edge") needs symmetric weights, got a directed network: a quantized difference '
                'does not cancel there; use memory="node" on a fixed digraph, or Quantized.'
            )


def _first_scale(quantizer: Quantizer, held: Tree) -> Tree:
    return jax.tree.map(quantizer.first_scale, held)


def _advance(quantizer: Quantizer, message: Tree, held: Tree, scale: Any) -> tuple[Tree, Tree]:
    """What is held after the rounded difference has arrived, and the quantizer's state."""
    leaves, treedef = jax.tree.flatten(message)
    moved = []
    for new, old, size in zip(leaves, treedef.flatten_up_to(held), treedef.flatten_up_to(scale), strict=True):
        difference, size = quantizer.adapt(new - old, size)
        moved.append((old + difference, size))
    return treedef.unflatten([one for one, _ in moved]), treedef.unflatten([size for _, size in moved])
