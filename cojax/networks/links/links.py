"""What a channel does: it turns what every node tells into what its neighbours hear."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._support import trees
from ..._support.checks import CojaxInputError, check_number, floating, is_concrete
from ..._support.trees import Tree
from ..base import Layout, Link, Wire, count_on
from .quantizers import LogQuantizer, Quantizer

COARSEST_RHO = 2 * math.log(2)


class Ideal(Link):
    """The value itself travels, in full precision."""

    def open(self, message, net):
        return self.tell(message, _fresh_wire(message), net, 0)

    def tell(self, message, wire, net, step):
        sizes = [leaf.size // net.num_nodes * leaf.dtype.itemsize * 8 for leaf in jax.tree.leaves(message)]
        return wire._replace(heard=message, bits=wire.bits + sum(sizes))

    def check(self, *, fixed, symmetric):
        pass


class Quantized(Link):
    """The quantized value travels, and the sender uses it too: otherwise node sums would not be kept.

    Methods stall where all values lie in one cell of the quantizer, at a residual of about rho * |value|.
    Gradients with respect to hyper-parameters through this link are nearly useless: the landscape is jagged.

    Source: the reading of arXiv 2510.25176 with the mapping on each sent value, as in arXiv 2503.06167.
    """

    quantizer: Any  # one, or a prefix tree of the message: one for each part of it

    def __check_init__(self):
        _check_quantizers("Quantized", self.quantizer)

    def open(self, message, net):
        return self.tell(message, _fresh_wire(message), net, 0)

    def tell(self, message, wire, net, step):
        def rounded(one: Quantizer, leaf: Array) -> Array:
            return _mapped(one, lambda one, leaf: one(leaf), 1, lambda: net.numbers, step)(leaf)

        heard = _map_parts(rounded, self.quantizer, message)
        return _count_bits(self.quantizer, message, message, None, wire._replace(heard=heard), net)

    def check(self, *, fixed, symmetric):
        pass


class Innovation(Link):
    """The quantized difference from what the receiver holds already travels: exact in the limit, however coarse.

    s+ = s + q(m - s), from s = 0; both ends know s, and the difference of the two s of an edge is what flows.

    memory="node": all neighbours of a node hold the same s; O(n d) numbers. For fixed networks without loss.
    memory="edge": one s per directed edge, advanced only where the edge is there; O(edges d) numbers. For switching
    and lossy networks with symmetric weights; a lost message is known to both ends (it is not acknowledged).

    With a log quantizer of rho <= 1 runs need about as many steps as over an ideal link; from 2 log 2 on, of which a
    warning tells, memories need not settle.
    Gradients with respect to step sizes are right through this link; those with respect to rho are not reliable.

    Source: C-GT, arXiv 2103.13748, with unit gains, for node memory; edge memory is this library's.
    """

    quantizer: Any  # one, or a prefix tree of the message: one for each part of it
    memory: str = eqx.field(static=True, default="node")

    def __check_init__(self):
        _check_quantizers("Innovation", self.quantizer)
        if self.memory not in ("node", "edge"):
            raise CojaxInputError(f'Innovation needs memory "node" or "edge", got {self.memory!r}.')
        if isinstance(self.quantizer, LogQuantizer):
            _warn_if_coarse(self.quantizer.rho)

    @property
    def by_edge(self):
        return self.memory == "edge"

    @property
    def remembers(self):
        return True

    def open(self, message, net):
        held = trees.zeros_like(message if self.memory == "node" else jax.tree.map(net.gather, message))
        scale = _map_parts(lambda quantizer, leaf: quantizer.first_scale(leaf), self.quantizer, held)
        wire = _fresh_wire(held, None, scale) if self.memory == "node" else _fresh_wire(None, held, scale)
        return self.tell(message, wire, net, 0)

    def tell(self, message, wire, net, step):
        if self.memory == "node":
            told = trees.subtract(message, wire.heard)
            rounded, scale = _adapt(self.quantizer, told, wire.scale, wire.heard, 1, lambda: net.numbers, step)
            after = wire._replace(heard=trees.add(wire.heard, rounded), scale=scale)
            return _count_bits(self.quantizer, message, told, wire.scale, after, net)
        told = trees.subtract(jax.tree.map(net.gather, message), wire.near)
        there = net.edge_weights() > 0

        def senders() -> Array:
            return net.gather(net.numbers)

        rounded, scale = _adapt(self.quantizer, told, wire.scale, wire.near, there.ndim, senders, step)

        def where_there(new: Array, old: Array) -> Array:
            return jnp.where(there.reshape(there.shape + (1,) * (new.ndim - there.ndim)), new, old)

        near = jax.tree.map(where_there, trees.add(wire.near, rounded), wire.near)
        after = wire._replace(near=near, scale=jax.tree.map(where_there, scale, wire.scale))
        # What is not sent cannot saturate.
        told = jax.tree.map(lambda leaf: where_there(leaf, jnp.zeros_like(leaf)), told)
        return _count_bits(self.quantizer, message, told, wire.scale, after, net)

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


class ErrorFeedback(Link):
    """The quantized value travels, and what was lost of it is added to the next one: no neighbour has to remember.

    h = q(m + e), e+ = m + e - h, from e = 0; the sender uses h too. On average over steps h is m, whatever q does: so
    `TopK` and `RandK` send all entries in time. But single messages are as wrong as q is, unlike those of
    `Innovation`, so runs settle in a neighbourhood of the optimum that shrinks with the mixing weights, and need small
    ones: about k/d for k of d numbers. Take it where `Innovation` cannot be: over `Ledger` networks and digraphs
    that change, and where memory by edge is too much.

    Fields: quantizer: one, or a prefix tree of the message: one for each part of it.
    Source: DeepSqueeze: Tang et al., arXiv 1907.07346.
    """

    quantizer: Any

    def __check_init__(self):
        _check_quantizers("ErrorFeedback", self.quantizer)

    @property
    def remembers(self):
        return True

    def open(self, message, net):
        scale = _map_parts(lambda quantizer, leaf: quantizer.first_scale(leaf), self.quantizer, message)
        wire = _fresh_wire(message, None, scale)._replace(unsent=trees.zeros_like(message))
        return self.tell(message, wire, net, 0)

    def tell(self, message, wire, net, step):
        due = trees.add(message, wire.unsent)
        told, scale = _adapt(self.quantizer, due, wire.scale, message, 1, lambda: net.numbers, step)
        after = wire._replace(heard=told, scale=scale, unsent=trees.subtract(due, told))
        return _count_bits(self.quantizer, message, due, wire.scale, after, net)

    def check(self, *, fixed, symmetric):
        pass


class EventTriggered(Link):
    """A node sends its message only when an entry of it moved by more than threshold * decay**k since last sent.

    All neighbours of a node hold what it last sent, in full precision; its silence says that little changed. What is
    heard is off by threshold * decay**k at most, at step k: with decay = 1 methods stop at a residual of the order of
    the threshold, with a decay slower than the method's own rate they are exact. For fixed networks without loss.

    Bits count what is sent, the mean over nodes. Fields: threshold, >= 0, in the unit of the message; decay, > 0, <= 1.
    Source: Seyboth, Dimarogonas, Johansson, Automatica 2013, doi 10.1016/j.automatica.2012.08.042.
    """

    threshold: Any = eqx.field(converter=floating)
    decay: Any = eqx.field(default=1.0, converter=floating)

    def __check_init__(self):
        check_number("EventTriggered", "threshold", self.threshold, at_least=0.0, shaped=())
        check_number("EventTriggered", "decay", self.decay, above=0.0, at_most=1.0, shaped=())

    @property
    def remembers(self):
        return True

    def open(self, message, net):
        wire = Ideal().open(message, net)
        return wire._replace(scale=jnp.asarray(self.threshold, jnp.result_type(float)))

    def tell(self, message, wire, net, step):
        level = wire.scale * self.decay
        sends = jnp.zeros(net.num_nodes, bool)
        for new, old in zip(jax.tree.leaves(message), jax.tree.leaves(wire.heard), strict=True):
            moved = jnp.abs(new - old).reshape(net.num_nodes, -1)
            sends = sends | jnp.any(moved > level.astype(moved.dtype), axis=1)

        def last_sent(new: Array, old: Array) -> Array:
            return jnp.where(sends.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        every_bit = Ideal().tell(message, wire, net, step).bits - wire.bits
        bits = wire.bits + sends.mean(dtype=every_bit.dtype) * every_bit
        return wire._replace(heard=jax.tree.map(last_sent, message, wire.heard), scale=level, bits=bits)

    def check(self, *, fixed, symmetric):
        if not fixed:
            raise CojaxInputError(
                "EventTriggered needs a fixed network without loss, got one that changes: a neighbour that did not "
                'hear cannot know what was last sent; use Innovation(quantizer, memory="edge").'
            )


def _check_quantizers(owner: str, quantizer: Any) -> None:
    """Refuse what is neither a quantizer nor a tree of them."""
    for one in jax.tree.leaves(quantizer, is_leaf=_is_quantizer) or [quantizer]:
        if not _is_quantizer(one):
            got = f"the class {one.__name__}" if isinstance(one, type) else repr(one)
            raise CojaxInputError(f"{owner} needs a quantizer such as cojax.LogQuantizer(0.1), got {got}.")


def _is_quantizer(node: Any) -> bool:
    return isinstance(node, Quantizer)


def _warn_if_coarse(rho: Any) -> None:
    # q(u)/u reaches exp(rho / 2): from 2 on, what is left of an innovation may be larger than it was.
    if is_concrete(rho) and float(rho) >= COARSEST_RHO:
        warnings.warn(
            f"Innovation needs rho < {COARSEST_RHO:.4g} to be sure to follow its messages, got {float(rho):g}: a step "
            "of the log quantizer may overshoot by more than it corrects; use a smaller rho.",
            stacklevel=4,
        )


def _fresh_wire(heard: Tree, near: Tree = None, scale: Tree = None) -> Wire:
    """A wire on which nothing was told yet."""
    return Wire(heard, near, scale, bits=jnp.zeros(()), saturated=jnp.zeros((), jnp.int32), excess=jnp.zeros(()))


def quantizers_of(quantizer: Any, message: Tree) -> list[Quantizer]:
    """The quantizer of every leaf of `message`: one for all, or each part's from a prefix tree."""

    def spread_over(one: Quantizer, part: Tree) -> Tree:
        return jax.tree.map(lambda _: one, part)

    try:
        spread = jax.tree.map(spread_over, quantizer, message, is_leaf=_is_quantizer)
    except ValueError as error:
        raise CojaxInputError(
            f"A link needs one quantizer, or one for each part of the message {jax.tree.structure(message)}, got "
            f"{jax.tree.structure(quantizer, is_leaf=_is_quantizer)}."
        ) from error
    return jax.tree.leaves(spread, is_leaf=_is_quantizer)


def _map_parts(function: Any, quantizer: Any, message: Tree) -> Tree:
    leaves, treedef = jax.tree.flatten(message)
    pairs = zip(quantizers_of(quantizer, message), leaves, strict=True)
    return treedef.unflatten([function(one, leaf) for one, leaf in pairs])


def _adapt(
    quantizer: Any, told: Tree, scale: Tree, held: Tree, num_axes: int, senders: Callable[[], Array], step: Any
) -> tuple[Tree, Tree]:
    """What arrives of `told`, whose first axes are those of nodes or edges, and the quantizer's next state."""
    leaves, treedef = jax.tree.flatten(told)
    ones, memories = quantizers_of(quantizer, told), treedef.flatten_up_to(held)
    scales = treedef.flatten_up_to(scale)
    pairs = [
        _mapped(one, lambda one, leaf, size: one.adapt(leaf, size), num_axes, senders, step)(leaf, size)
        for one, leaf, size in zip(ones, leaves, scales, strict=True)
    ]
    sizes = [_floor_scale(size, memory) for (_, size), memory in zip(pairs, memories, strict=True)]
    return treedef.unflatten([rounded for rounded, _ in pairs]), treedef.unflatten(sizes)


def _mapped(quantizer: Quantizer, apply: Any, num_axes: int, senders: Callable[[], Array], step: Any) -> Any:
    """`apply` with a quantizer, over leaves whose first `num_axes` axes are those of nodes or edges.

    `senders` are the numbers of the nodes that tell them in `step`, of those axes.
    """
    if not quantizer.drawn:
        function = functools.partial(apply, quantizer)
    else:

        def function(node: Array, *parts: Any) -> Any:
            return apply(quantizer.at(node, step), *parts)

    for _ in range(num_axes if quantizer.by_row else 0):
        function = jax.vmap(function)
    return functools.partial(function, senders()) if quantizer.drawn else function


def _floor_scale(scale: Array | None, held: Array) -> Array | None:
    """`scale`, kept above the rounding error of `held`.

    While a run is at rest, the scale shrinks at every step. Without a floor it would then need as many steps to grow
    again when a price changes.
    """
    if scale is None:
        return None
    # Half of it is less than half of a unit in the last place, so what is at rest stays at rest.
    least = jnp.abs(jax.lax.stop_gradient(held)) * (jnp.finfo(held.dtype).eps / 8)
    return jnp.copysign(jnp.maximum(jnp.abs(scale), least), scale)


def _count_bits(quantizer: Any, message: Tree, told: Tree, scale: Tree, wire: Wire, net: Layout) -> Wire:
    """`wire` with the bits of `message` added, and the numbers of `told` that saturated at `scale`."""
    bits, saturated = wire.bits, wire.saturated
    ones = quantizers_of(quantizer, message)
    for one, leaf in zip(ones, jax.tree.leaves(message), strict=True):
        bits = bits + one.message_bits(leaf.size // net.num_nodes, leaf.dtype).astype(bits.dtype)
    leaves, treedef = jax.tree.flatten(told)
    scales = [None] * len(leaves) if scale is None else treedef.flatten_up_to(scale)
    for one, leaf, size in zip(ones, leaves, scales, strict=True):
        beyond = one.saturates(leaf, size)
        if beyond is not None:
            saturated = count_on(saturated, beyond.sum(dtype=saturated.dtype))
    return wire._replace(bits=bits, saturated=saturated)
