"""An optax optimizer or transformation at every node by itself: which way its updates point, and noise of its own."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._support import trees
from .._support.checks import CojaxInputError, is_concrete
from .._support.compiling import computed_once
from .._support.trees import Tree

FEWEST, MOST = 32, 10_000  # steps of a trial: to see one that goes up first, and to sit out a schedule of zeros


class Traced(NamedTuple):
    """The state of a transformation with numbers that are traced, whose trial is a part of the run."""

    inner: Any
    sign: Any  # () floats


def check_transform(owner: str, transform: Any, name: str = "transform") -> None:
    """Refuse what is no optax transformation."""
    if transform is None:
        return
    import optax  # here, because most runs need none

    if not isinstance(transform, optax.GradientTransformation):
        raise CojaxInputError(
            f"{owner} needs an optax optimizer or transformation for {name}, such as optax.adam(0.05), got "
            f"{getattr(transform, '__name__', type(transform).__name__)}."
        )


def first_state(owner: str, transform: Any, params: Tree) -> Any:
    """The state of `transform` at every node; random keys, which it makes alike, are folded with the node's number."""
    sign = _sign(owner, transform, params)
    inner = jax.vmap(transform.init)(params)

    def own(leaf: Array) -> Array:
        if not _is_key(leaf):
            return leaf
        return jax.random.key_data(jax.vmap(jax.random.fold_in)(leaf, jnp.arange(leaf.shape[0])))

    inner = jax.tree.map(own, inner)
    return inner if isinstance(sign, float) else Traced(inner, sign)


def descent(owner: str, transform: Any, grad: Tree, state: Any, params: Tree) -> tuple[Tree, Any]:
    """What every node is to step against in place of its gradient, and the state after it."""
    traced = isinstance(state, Traced)
    inner, sign = state if traced else (state, _sign(owner, transform, params))
    kinds = {}

    def note() -> None:
        for place, leaf in enumerate(jax.tree.leaves(jax.vmap(transform.init)(params))):
            if _is_key(leaf):
                kinds[place] = jax.random.key_impl(leaf)

    jax.eval_shape(note)
    leaves, treedef = jax.tree.flatten(inner)
    for place, kind in kinds.items():  # carried as numbers, which can be saved and chosen as others
        leaves[place] = jax.random.wrap_key_data(leaves[place], impl=kind)
    updates, inner = jax.vmap(transform.update)(grad, treedef.unflatten(leaves), params)
    inner = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, inner)
    return trees.scale(updates, sign), Traced(inner, sign) if traced else inner


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _sign(owner: str, transform: Any, params: Tree) -> float | Float[Array, ""]:
    """1 where updates point along the gradient, -1 where they are to be added, as those of optimizers.

    From a trial on the params of one node; refused where there is neither.
    """
    leaves, treedef = jax.tree.flatten(params)
    trial = _trial(transform, treedef, tuple((leaf.shape[1:], jnp.dtype(leaf.dtype)) for leaf in leaves))
    try:
        least, most = trial()
    except Exception as error:  # whatever a transformation raises that wants more than a gradient and params
        reason = str(error).partition("\n")[0].rstrip(".: ")
        raise CojaxInputError(
            f"{owner} needs a transform that makes updates of a gradient and params alone, got one that does not "
            f"({type(error).__name__}: {reason}): a node has no value, no function and no second gradient of its cost "
            "to offer; take one such as optax.adam(0.05)."
        ) from error
    if not is_concrete(least, most):  # numbers that are traced: where the trial would refuse, the run is not finite
        return lax.stop_gradient(_pointing(jnp, least, most))
    least, most = np.asarray(least), np.asarray(most)
    if not least.any() and not most.any():
        raise CojaxInputError(
            f"{owner} needs a transform that answers a gradient, got one whose updates are 0 for {MOST} steps: params "
            "would never move; take one such as optax.adam(0.05)."
        )
    sign = _pointing(np, least, most)
    if np.isnan(sign):
        raise CojaxInputError(
            f"{owner} needs a transform whose updates all point along the gradient, or all against it, got one with "
            "both, in turn or in different leaves: it would climb in some; give every leaf an optimizer, and take none "
            "that goes up first."
        )
    return float(sign)


def _pointing(xp: Any, least: Any, most: Any) -> Any:
    """1, -1, or NaN where there is neither."""
    falls, rises = (least < 0).any(), (most > 0).any()
    known = xp.isfinite(least + most).all() & (falls != rises)
    return xp.where(known, xp.where(falls, -1.0, 1.0), xp.nan)


@functools.lru_cache(maxsize=256)
def _trial(transform: Any, treedef: Any, shapes: tuple) -> Callable[[], tuple[Array, Array]]:
    """By leaf, how far updates point along what they answer, at least and at most, in the first steps.

    Seen from gradients of both signs, so that what both bring alike, such as noise, drops out, and from params of both:
    what decays these has to point the same way.
    """

    def trial() -> tuple[Array, Array]:
        params = treedef.unflatten([jnp.ones(*shape) for shape in shapes])
        grad = treedef.unflatten([_uneven(*shape) for shape in shapes])
        corners = [(_scale(grad, a), _scale(params, b)) for a, b in ((1, 1), (-1, 1), (1, -1), (-1, -1))]
        first = transform.init(params)
        if any(map(_is_curved, jax.tree.leaves(first, is_leaf=_is_curved))):
            raise TypeError("L-BFGS reads curvature from moves and gradients of one function")
        updates = jax.eval_shape(transform.update, grad, first, params)[0]
        if not trees.alike(updates, params):
            raise TypeError("its updates are not shaped as the params")

        def going_on(carry):
            return (carry[0] < FEWEST) | ((carry[0] < MOST) & jnp.all((carry[2] == 0) & (carry[3] == 0)))

        def advance(carry):
            step, states, least, most = carry
            after = [transform.update(g, state, p) for (g, p), state in zip(corners, states, strict=True)]
            found = jax.tree.map(_answers, *(updates for updates, _ in after), grad, params)
            found = jnp.stack(jax.tree.leaves(found))
            least, most = jnp.minimum(least, found.min(1)), jnp.maximum(most, found.max(1))
            return step + 1, tuple(state for _, state in after), least, most

        zeros = jnp.zeros(len(shapes), jnp.float32)
        states = tuple(transform.init(p) for _, p in corners)
        return lax.while_loop(going_on, advance, (0, states, zeros, zeros))[2:]

    return computed_once(trial)


def _is_curved(node: Any) -> bool:
    import optax

    return isinstance(node, optax.ScaleByLBFGSState)


def _uneven(shape: tuple[int, ...], dtype: Any) -> Array:
    """Entries of both signs, no two alike, of which no mean is 0."""
    return (0.3 + jnp.cos(1 + jnp.arange(math.prod(shape), dtype=jnp.float32))).reshape(shape).astype(dtype)


def _scale(tree: Tree, factor: int) -> Tree:
    return jax.tree.map(lambda leaf: leaf if factor == 1 else -leaf, tree)


def _answers(one: Array, two: Array, three: Array, four: Array, grad: Array, params: Array) -> Float[Array, "2"]:
    """How far updates at the four corners point along the gradient, and along params; 0 where rounding explains it."""
    corners = jnp.stack([each.astype(jnp.float32).ravel() for each in (one, two, three, four)])

    def along(signs: list[int], what: Array) -> Array:
        what = what.astype(jnp.float32).ravel()
        found = jnp.dot(jnp.dot(jnp.asarray(signs, jnp.float32), corners), what)
        return jnp.where(jnp.abs(found) > 1e-5 * jnp.dot(jnp.abs(corners).sum(0), jnp.abs(what)), found, 0)

    return jnp.stack([along([1, -1, 1, -1], grad), along([1, 1, -1, -1], params)])
