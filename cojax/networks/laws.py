"""What one edge does with the difference of the two messages at its ends."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._support import exact_grid, trees
from .._support.checks import CojaxInputError, check_number, floating, is_concrete
from .._support.straight_through import straight_through
from .._support.trees import Tree


class Odd(eqx.Module):
    """An odd, increasing law of one number: what an edge makes of the difference before it is weighed."""

    @abc.abstractmethod
    def __call__(self, difference: Float[Array, "..."]) -> Float[Array, "..."]:
        """The law, entry by entry; its derivative is finite everywhere, 0 taken at a jump."""


class Same(Odd):
    """d: the linear law."""

    def __call__(self, difference: Float[Array, "..."]) -> Float[Array, "..."]:
        return difference


class Power(Odd):
    """sign(d) |d|**exponent, with the derivative 0 taken at d = 0.

    Fields: exponent, > 0, a multiple of 1/16, static: square roots and products are rounded alike at both ends of an
    edge, in every layout and on every device; a general power need not be, and one bit apart breaks the sum.
    Raises `CojaxInputError` for another exponent.
    """

    exponent: float = eqx.field(static=True)

    def __check_init__(self):
        _check_exponent("Power", "exponent", self.exponent)

    def __call__(self, difference: Float[Array, "..."]) -> Float[Array, "..."]:
        # The inner where keeps the roots away from 0, where their derivative is infinite.
        size = jnp.where(difference == 0, 1, jnp.abs(difference))
        return jnp.where(difference == 0, 0, jnp.sign(difference) * _power(size, self.exponent))


class Powers(Odd):
    """sign(d) (|d|**low + |d|**high), low < 1 < high: fast from near and from far.

    Fields: low, high as the exponent of `Power`. Raises `CojaxInputError` unless 0 < low < 1 < high.
    """

    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def __check_init__(self):
        _check_exponent("Powers", "low", self.low)
        _check_exponent("Powers", "high", self.high)
        check_number("Powers", "low", self.low, below=1.0)
        check_number("Powers", "high", self.high, above=1.0)

    def __call__(self, difference: Float[Array, "..."]) -> Float[Array, "..."]:
        size = jnp.where(difference == 0, 1, jnp.abs(difference))
        # One product of a sum, not a sum of two products: a compiler may fuse the second in two ways.
        both = _power(size, self.low) * (1 + _power(size, self.high - self.low))
        return jnp.where(difference == 0, 0, jnp.sign(difference) * both)


class Clip(Odd):
    """min(max(d, -level), level). Fields: level, > 0, differentiable."""

    level: Any = eqx.field(converter=floating)

    def __check_init__(self):
        check_number("Clip", "level", self.level, above=0.0, shaped=())

    def __call__(self, difference: Float[Array, "..."]) -> Float[Array, "..."]:
        level = jnp.asarray(self.level, difference.dtype)
        return jnp.clip(difference, -level, level)


class Sign(Odd):
    """-1, 0 or 1; its derivative is 0."""

    def __call__(self, difference: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.sign(difference)


class Along(eqx.Module):
    """An odd law of the difference: what one end receives, the other gives, so that node sums never change.

    On directed networks two laws are no law of the difference: `Pull` and `Push` say what they are there.
    """

    @abc.abstractmethod
    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        """What flows in at this end; `weights` has the leading axes of `difference`, one number per edge."""

    def minus(self, new: Float[Array, "..."], old: Float[Array, "..."]) -> Float[Array, "..."]:
        """A cumulative counter of flows less another, or less a flow, where it is exact."""
        return new - old


class Weigh(Along):
    """w * (heard_j - heard_i): linear, so a network may compute it as a matrix product."""

    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        return trees.spread_over(weights, difference) * difference


class Pull(Along):
    """w_ij * (heard_j - heard_i): what agrees on a directed graph; node sums change unless the weights are balanced."""

    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        return trees.spread_over(weights, difference) * difference


class Push(Along):
    """w_ij * heard_j - w_ji * heard_i, which is `Weigh` where weights are symmetric: what keeps node sums on any graph.

    Equal messages flow nevertheless, unless the weights are balanced; a network that is not computes it by itself.
    """

    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        return trees.spread_over(weights, difference) * difference


class Transfer(Along):
    """step_size * w * odd(heard_j - heard_i), rounded to a power-of-two grid, of every resource its own.

    Shares that start on the grid stay on it, so every addition is exact: their sum never changes by one bit,
    in any layout, order of summation, or number of devices. The rounding has the identity as its derivative.
    """

    step_size: Any
    grid: Float[Array, "..."]
    odd: Odd = Same()

    def __call__(self, weights: Float[Array, "..."], difference: Float[Array, "..."]) -> Float[Array, "..."]:
        # The factors are multiplied in one fixed order: both ends of an edge must get the same bits.
        weights = weights.astype(difference.dtype)
        factor = trees.spread_over(self.step_size, weights) * weights
        return exact_grid.on_grid(trees.spread_over(factor, difference) * self.odd(difference), self.grid)

    def minus(self, new: Float[Array, "..."], old: Float[Array, "..."]) -> Float[Array, "..."]:
        # A counter may circle for ever: it wraps, as sequence numbers do, and differences of two stay right.
        return exact_grid.count_difference(new, old, self.grid)


def add_arrivals(flow: Tree, along: Tree, arrivals: Float[Array, "n *r"] | None) -> Tree:
    """`flow` with what reaches the nodes from outside, (n, *r) or None, added to what moves their shares."""
    if arrivals is None:
        return flow
    laws = jax.tree.leaves(along, is_leaf=is_law)
    if not any(isinstance(law, Transfer) for law in laws):
        raise CojaxInputError(
            "A budget or nodes that change need an allocator whose shares move by Transfer, got a method without one; "
            "use CoOpt(allocate=Laplacian(...))."
        )

    def added(law: Along, leaf: Array) -> Array:
        return leaf + arrivals.astype(leaf.dtype) if isinstance(law, Transfer) else leaf

    return with_laws(added, along, flow)


def read_alike(message: Tree, along: Tree) -> Tree:
    """`message`, of which what moves shares is the same number wherever it is read; infinity becomes NaN.

    A compiler that computes a message anew where it is heard may fuse its last product with the difference of an edge,
    unrounded for the other end's message and rounded for the own: what one end receives the other then does not give.
    A choice between the two keeps the product apart; a barrier does not, XLA on CPU drops it first.
    """

    def alike(law: Along, leaf: Array) -> Array:
        if not isinstance(law, Transfer):
            return leaf
        return straight_through(jnp.where(jnp.isfinite(leaf), leaf, jnp.nan), leaf)

    return with_laws(alike, along, message)


def is_law(node: Any) -> bool:
    """Whether a node of a prefix tree of laws is one of them."""
    return isinstance(node, Along)


def with_laws(function: Callable[..., Array], along: Tree, *parts: Tree) -> Tree:
    """function(law, *leaves) for every leaf of trees shaped as the message; `along` is a prefix tree of it."""

    def of_law(law: Along, *parts: Tree) -> Tree:
        return jax.tree.map(lambda *leaves: function(law, *leaves), *parts)

    return jax.tree.map(of_law, along, *parts, is_leaf=is_law)


def check_linear(owner: str, law: Along) -> None:
    """Refuse a law that is not linear, for a network that moves what its nodes send, not differences."""
    if isinstance(law, Transfer) and not isinstance(law.odd, Same):
        raise CojaxInputError(
            f"{owner} moves what every node sends, got the law {type(law.odd).__name__} of a difference, which no node "
            "of a directed network can act on alone; use an undirected network, or Laplacian with odd=Same()."
        )


def _check_exponent(owner: str, name: str, value: Any) -> None:
    check_number(owner, name, value, above=0.0, shaped=())
    if not is_concrete(value) or not float(16 * value).is_integer():
        near = "" if not is_concrete(value) else f"; the nearest is {max(round(16 * float(value)), 1) / 16:g}"
        raise CojaxInputError(
            f"{owner} needs a Python number for {name} that is a multiple of 1/16, got {value}: only square roots and "
            f"products are sure to be rounded alike at both ends of an edge{near}."
        )


def _power(size: Float[Array, "..."], exponent: float) -> Float[Array, "..."]:
    """size**exponent for size > 0, by square roots and products alone."""
    whole, sixteenths = divmod(round(16 * exponent), 16)
    factors, root = [size] * whole, size
    for bit in (8, 4, 2, 1):
        root = jnp.sqrt(root)
        if sixteenths & bit:
            factors.append(root)
    product = factors[0]
    for factor in factors[1:]:
        product = product * factor
    return product
