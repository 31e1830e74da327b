"""What a channel does: it turns what every node tells into what its neighbours hear."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax

from ._tree import Tree
from .quantizers import Quantizer


class Wire(NamedTuple):
    """What is on the channel between two steps, carried by the loop so that it is computed once per node."""

    heard: Tree  # what every node's neighbours, and the node itself, take its message to be; nodes first
    memory: Any = None  # what a link with memory remembers


class Link(eqx.Module):
    """A channel between neighbours."""

    @abc.abstractmethod
    def open(self, message: Tree) -> Wire:
        """The wire after the first `message`, told before the first step."""

    @abc.abstractmethod
    def tell(self, message: Tree, wire: Wire) -> Wire:
        """The wire after `message`, told at the end of a step."""


class Ideal(Link):
    """The value itself travels, in full precision."""

    def open(self, message: Tree) -> Wire:
        return Wire(message)

    def tell(self, message: Tree, wire: Wire) -> Wire:
        return Wire(message)


class Quantized(Link):
    """The quantized value travels, and the sender uses it too: otherwise node sums would not be kept.

    Methods stall where all values lie in one cell of the quantizer, at a residual of about rho * |value|.
    Gradients with respect to hyper-parameters through this link are nearly useless: the landscape is jagged.

    Source: the reading of arXiv 2510.25176 with the mapping on each sent value, as in arXiv 2503.06167.
    """

    quantizer: Quantizer

    def open(self, message: Tree) -> Wire:
        return Wire(jax.tree.map(self.quantizer, message))

    def tell(self, message: Tree, wire: Wire) -> Wire:
        return Wire(jax.tree.map(self.quantizer, message))
