"""What is known of a method beside its equations, once: defaults, limits, tuning, plans and help texts read it here."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

BIASED, CYCLES = "exact nowhere", "end in a small cycle"  # with a constant step
Kind = TypeVar("Kind", bound=Callable)


class Facts(NamedTuple):
    """What `known` is told of a method.

    Fields:
        half: of which half of the decision it decides.
        in_plans: its name in plan files and on the command line; None: it has none there.
        numbers: the fields besides the step size that a plan can give, and `tuned` computes.
        given: those of them that `tuned` always takes, with their values.
        bound: `bound(method, room, fixed)`, the step size below which it is stable, times the curvature. Of a learner
            that is L_g, with room = max(2 - mixing lambda_n, 0), and fixed, whether one graph is in force at every
            step; of an allocator lambda_max(D^1/2 L D^1/2). On floats, or traced.
        limit: the function of `cojax.theory` that says what the bound assumes; None: it is taken without proof.
        per_node: whether the optimum stays where it is when every node has a step size of its own.
        words: what else `cojax plan --help` should say of it.
    """

    half: Literal["learn", "allocate"]
    in_plans: str | None = None
    numbers: tuple[str, ...] = ()
    given: tuple[tuple[str, float], ...] = ()
    bound: Callable[[Any, Any, bool], Any] | None = None
    limit: str | None = None
    per_node: bool = False
    words: str = ""


KNOWN: dict[Callable, Facts] = {}


def known(
    half: Literal["learn", "allocate"],
    in_plans: str | None = None,
    *,
    numbers: tuple[str, ...] = (),
    given: dict[str, float] | None = None,
    bound: Callable[[Any, Any, bool], Any] | None = None,
    limit: str | None = None,
    per_node: bool = False,
    words: str = "",
) -> Callable[[Kind], Kind]:
    """A decorator of the class, or the function, that makes a method: it writes down what is known of it."""

    def write_down(kind: Kind) -> Kind:
        KNOWN[kind] = Facts(half, in_plans, numbers, tuple((given or {}).items()), bound, limit, per_node, words)
        return kind

    return write_down


def half_of(method: Any) -> Literal["learn", "allocate"] | None:
    """Which half of the decision a method decides; None of a user's own, of which nothing is known."""
    facts = KNOWN.get(type(method.at(0)))
    return None if facts is None else facts.half


def choose(condition: Any, one: Any, other: Any) -> Any:
    """`one` where `condition` holds, else `other`; of floats in double precision, whatever JAX is set to."""
    return (jnp if isinstance(condition, jax.Array) else np).where(condition, one, other)


def room_itself(method: Any, room: Any, fixed: bool) -> Any:
    """Of methods that weigh a node's own params by W: (1 + lambda_min(W))."""
    return room


def two_with_room(method: Any, room: Any, fixed: bool) -> Any:
    """Of methods whose step does not depend on the graph, as long as W mixes on its own."""
    return choose(room > 0, 2.0, 0.0)


def half_of_room_squared(method: Any, room: Any, fixed: bool) -> Any:
    """Of gradient tracking: (1 + lambda_min(W))^2 / 2."""
    return room**2 / 2.0


def adapt_then_combine(method: Any, room: Any, fixed: bool) -> Any:
    """Of gradient tracking that adapts, then combines; see `cojax.theory.atc_limit`."""
    if not fixed:
        return half_of_room_squared(method, room, fixed)
    lowest = room - 1.0
    below = (1.0 - lowest**2) / choose(lowest < 0, -lowest, 1.0)
    # The eigenvalues of a complete graph are 1 up to rounding.
    return choose(lowest > -1e-12, 2.0, choose(below < 2.0, below, 2.0))


def with_momentum(method: Any, room: Any, fixed: bool) -> Any:
    """Of heavy balls: 2 (1 + momentum)."""
    return 2.0 * (1.0 + method.momentum)
