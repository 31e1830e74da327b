"""What can be tuned: each knob turns free real numbers into a method and a network that make sense for all of them."""

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._support.checks import CojaxInputError, check_number, whole_number
from ..methods import Method, Scheduled
from ..methods.facts import KNOWN
from ..networks.base import Network
from .ceilings import Curvatures, ceiling
from .paths import Pair, half_at, put, value_at

# In (0, 1) by their meaning; a gain is so on graphs with lambda_n >= 1.
PARTS = ("momentum", "blend", "decay", "keep", "shrink")
FRACTIONS = (*PARTS, "gain")
# What makes a run unstable where it is a little too large.
STEPS = ("step_size", "mixing")
# Where a fraction of its range starts at the nearest: the ends themselves are infinitely far in the free coordinate.
INSIDE = (0.01, 0.98)


class Setting(NamedTuple):
    """What knobs know besides the method and the network."""

    curvatures: Curvatures
    margin: float
    inflation: float  # of step sizes and mixing while they are tuned
    num_nodes: int
    message: Any  # the shapes of what every node tells


class Knob(abc.ABC):
    """Free coordinates theta, arrays of any real numbers, and what they make of a method and a network."""

    order: int = 1  # knobs of a lower one turn first: ceilings of steps depend on weights, mixing and momentum

    @abc.abstractmethod
    def first(self, pair: Pair, setting: Setting) -> Array:
        """theta at which `turn` gives the pair itself, or as near as its range allows."""

    @abc.abstractmethod
    def turn(self, theta: Array, pair: Pair, given: Pair, setting: Setting) -> Pair:
        """`pair` with this knob at theta; `given` is the pair before any knob was turned, its network never traced."""

    def settled(self, theta: Array, pair: Pair, given: Pair, setting: Setting) -> Pair:
        """As `turn`, with what is whole in the end rounded."""
        return self.turn(theta, pair, given, setting)


class Number(Knob):
    """The number at a path: a step size below its ceiling, a fraction in (0, 1), or anything else above 0."""

    def __init__(self, path: str):
        self.path = path
        self.name = path.split(".")[-1]
        self.order = 2 if self.name == "step_size" else 1

    def first(self, pair, setting):
        value = self.values(pair, setting)
        check_number("tune", self.path, value, above=-1e-300 if self.name in FRACTIONS else 0.0)
        top = self.top(pair, setting)
        if top is None:
            return jnp.log(value)
        share = jnp.clip(value / top, *INSIDE)
        return jnp.log(share) - jnp.log1p(-share)

    def turn(self, theta, pair, given, setting):
        return put(self.path, self.of(theta, pair, setting), pair)

    def values(self, pair: Pair, setting: Setting) -> Array:
        return jnp.asarray(value_at(self.path, pair), float)

    def of(self, theta: Array, pair: Pair, setting: Setting) -> Array:
        """The numbers that theta stands for."""
        top = self.top(pair, setting)
        value = jnp.exp(theta) if top is None else top * jax.nn.sigmoid(theta)
        return setting.inflation * value if self.name in STEPS else value

    def top(self, pair: Pair, setting: Setting) -> Any:
        """What the number stays below; None where nothing is known."""
        if self.name in FRACTIONS:
            return 1.0
        if self.name != "step_size":
            return None
        limit = ceiling(half_at(self.path, pair[0]), pair[1], setting.curvatures)
        return None if limit is None else setting.margin * limit


class PerNode(Number):
    """A step size of its own at every node, of learners only: `PerNode("learn.step_size")`.

    Raises `CojaxInputError`, in `tune`, for an allocator, whose total it would break, and learners that do not take it.
    """

    def values(self, pair: Pair, setting: Setting) -> Array:
        method = half_at(self.path, pair[0])
        if self.path.split(".")[0] == "allocate":
            raise CojaxInputError(
                f"tune needs one {self.path} for all nodes, got one per node: a step per node would break the sum of "
                'cpu; tune the edge weights instead, what=("weights", ...).'
            )
        if self.name != "step_size" or not (type(method) in KNOWN and KNOWN[type(method)].per_node):
            known = ", ".join(kind.__name__ for kind, facts in KNOWN.items() if facts.per_node)
            raise CojaxInputError(
                f"tune takes one number per node for the step_size of {known} only, got {self.path} of "
                f"{type(method).__name__}: elsewhere the optimum would move."
            )
        return jnp.broadcast_to(super().values(pair, setting), (setting.num_nodes,))


class PerStep(Number):
    """A number that changes by step, `pieces` values for `every` steps each: `PerStep("allocate.step_size", 8, 20)`.

    The method comes back inside of `cojax.Scheduled`; its last value stays. Every value is below the ceiling.
    """

    def __init__(self, path: str, pieces: int, every: int):
        super().__init__(path)
        self.pieces = whole_number("PerStep", "pieces", pieces, at_least=1)
        self.every = whole_number("PerStep", "every", every, at_least=1)
        self.order = 3

    def values(self, pair: Pair, setting: Setting) -> Array:
        value = super().values(pair, setting)
        return jnp.broadcast_to(value[None], (self.pieces, *value.shape))

    def turn(self, theta, pair, given, setting):
        values = self.of(theta, pair, setting)
        method = half_at(self.path, pair[0])
        scheduled = Scheduled(method, {self.name: values}, every=self.every)
        if self.path == self.name:
            return scheduled, pair[1]
        return put(self.path.rpartition(".")[0], scheduled, pair)

    def top(self, pair: Pair, setting: Setting) -> Any:
        method = half_at(self.path, pair[0])
        if not isinstance(method, Scheduled):
            return super().top(pair, setting)
        raise CojaxInputError(f"tune takes one PerStep of a method, got a second one, {self.path}; tune one at a time.")


def fold(
    knobs: list[Knob], theta: list[Array], given: Pair, setting: Setting, settle: bool = False
) -> tuple[Method, Network]:
    """The given pair with every knob turned in its order."""
    pair = given
    for knob, free in sorted(zip(knobs, theta, strict=True), key=lambda entry: entry[0].order):
        pair = (knob.settled if settle else knob.turn)(free, pair, given, setting)
    return pair
