"""A learner as matrices: what one node makes of its state, its gradient and its flow."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._support.checks import CojaxInputError
from ..methods.base import Method

ROUNDING = 1e-6  # of matrices, which JAX may have in float32
SCALES = (1e-3, 1.0, 1e3)  # at which a method has to be one and the same linear one


class Linear(NamedTuple):
    """A method at one node: s+ = a s + b_grad g + b_flow f, telling m = c_tell s + d_tell g, where y = c_at s.

    f = -L m is the flow of what is told, g the gradient at y. The state starts as b_start y where
    g is 0. Over nodes `kept` places of s sum to zero; `resting` is the state at an optimum with y = 0 where the node's
    own gradient is 1.
    """

    a: np.ndarray
    b_grad: np.ndarray
    b_flow: np.ndarray
    c_tell: np.ndarray
    d_tell: np.ndarray
    c_at: np.ndarray
    b_start: np.ndarray
    kept: list[int]
    resting: np.ndarray

    def scaled(self, smoothness: float, lambda_n: float) -> "Linear":
        """The same with gradients in units of smoothness, L of lambda_n, and kept places and messages of order 1."""
        unit = np.ones(len(self.a))
        held = np.abs(self.resting[self.kept, 0]) * smoothness
        unit[self.kept] = np.where(held > 0, held, 1.0)
        back = 1.0 / unit[:, None]
        told = np.hstack([self.c_tell * unit, self.d_tell * smoothness])
        loud = np.abs(told).max(1, initial=0.0) + (told == 0).all(1)
        return self._replace(
            a=back * self.a * unit,
            b_grad=back * self.b_grad * smoothness,
            b_flow=back * self.b_flow * loud * lambda_n,
            c_tell=told[:, :-1] / loud[:, None],
            d_tell=told[:, -1:] / loud[:, None],
            c_at=self.c_at * unit,
        )


def linearized(owner: str, method: Method) -> Linear:
    """The matrices of a learner for one parameter of one node; `owner` is who asks.

    Raises `CojaxInputError` for one that is not linear, has numbers per node, cannot rest at an optimum at which
    gradients differ, or whose `kept` sums do not stay zero.
    """
    name = type(method).__name__
    zero, one = jnp.zeros((1, 1)), jnp.ones((1, 1))
    try:
        state, back = ravel_pytree(method.init(zero, zero))
        message, unpack = ravel_pytree(method.message(back(state), zero))

        def begin(y: Any, g: Any) -> Any:
            return ravel_pytree(method.init(y.reshape(1, 1), g.reshape(1, 1)))[0]

        def update(s: Any, g: Any, f: Any) -> Any:
            return ravel_pytree(method.update(back(s), g.reshape(1, 1), unpack(f)))[0]

        def tell(s: Any, g: Any) -> Any:
            return ravel_pytree(method.message(back(s), g.reshape(1, 1)))[0]

        def ask(s: Any) -> Any:
            return ravel_pytree(method.query(back(s)))[0]

        if ravel_pytree(update(state, zero[0], message))[0].shape != state.shape:
            raise ValueError("it makes one state of another size")
        a, b_grad, b_flow = _matrices(update, state.size, 1, message.size)
        c_tell, d_tell = _matrices(tell, state.size, 1)
        (c_at,) = _matrices(ask, state.size)
        b_start, _ = _matrices(begin, 1, 1)
        off = []
        for scale in SCALES:
            s, g, f = (jnp.cos(jnp.arange(1.0, size + 1.0)) for size in (state.size, 1, message.size))
            off += [update(scale * s, scale * g, scale * f) / scale - (a @ s + b_grad @ g + b_flow @ f)]
            off += [tell(scale * s, scale * g) / scale - (c_tell @ s + d_tell @ g), ask(scale * s) / scale - c_at @ s]
        started = begin(one, one)
        places = back(jnp.arange(float(state.size)))
    except (TypeError, ValueError, AttributeError) as error:
        raise CojaxInputError(
            f"{owner} needs a learner with one number for each of its fields, got {name}, of which one node alone "
            f"cannot be made ({type(error).__name__})."
        ) from error
    matrices = [a, b_grad, b_flow, c_tell, d_tell, c_at, b_start]
    rounding = ROUNDING * max(1.0, *(np.abs(part).max(initial=0.0) for part in matrices))
    if not all(np.abs(part).max(initial=0.0) < rounding for part in off):
        raise CojaxInputError(
            f"{owner} needs a method that is linear in its gradients and flows, got {name}, which is not."
        )
    if not (b_grad.any() or d_tell.any()):
        raise CojaxInputError(f"{owner} needs a learner that follows gradients, got {name}, which does not see them.")
    kept = [
        int(entry)
        for field in method.kept or ()
        for leaf in jax.tree.leaves(getattr(places, field))
        for entry in leaf.ravel()
    ]
    # Gradients differ at the optimum, by parts that sum to zero: the state has to hold them, with nothing to hear.
    rest = np.vstack([a - np.eye(state.size), c_tell, c_at])
    wanted = -np.concatenate([b_grad, d_tell, np.zeros((1, 1))])
    resting = np.linalg.lstsq(rest, wanted, rcond=None)[0]
    if np.abs(rest @ resting - wanted).max() > rounding:
        raise CojaxInputError(
            f"{owner} needs a method that can rest at the optimum, got {name}: where the nodes' gradients differ "
            "there, it stops beside it; use DIGing, NIDS or another exact one."
        )
    free = np.setdiff1d(np.arange(state.size), kept)
    moved = np.hstack([a[:, free], b_grad, np.asarray(started)[:, None]])[kept]
    if np.abs(moved).max(initial=0.0) > rounding:
        raise CojaxInputError(
            f"{owner} needs sums over nodes that start at zero and change by flows alone, got {name}, of which "
            f"{', '.join(method.kept or ())} does not; leave it out of kept."
        )
    return Linear._make([*matrices, kept, resting])


def _matrices(function: Any, *sizes: int) -> list[np.ndarray]:
    """The columns that a linear function makes of the unit vectors of each of its arguments, all others zero."""
    zeros = [jnp.zeros(size) for size in sizes]
    rows = function(*zeros).size
    found = [np.zeros((rows, size)) for size in sizes]
    for place, size in enumerate(sizes):
        for unit in range(size):
            at = [zero.at[unit].set(1.0) if place == each else zero for each, zero in enumerate(zeros)]
            found[place][:, unit] = function(*at)
    return found
