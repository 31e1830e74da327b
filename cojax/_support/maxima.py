"""The derivative of a largest entry, written so that XLA cannot lose it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jaxtyping import Array

OF = {"reduce_max": (lax.reduce_max, lax.argmax), "reduce_min": (lax.reduce_min, lax.argmin)}


def with_safe_maxima(function: Callable) -> Callable:
    """`function` with the derivative of every `jnp.max` and `jnp.min` in it taken at the one entry that was found.

    JAX gives the derivative to the entries that equal the result. XLA may compute an entry twice, once with a fused
    multiply-add and once without: then none equals it, and a slope of the cost silently becomes 0 (on CPU, jax 0.10.2,
    7 of 100 gradients of `jnp.max(a * x + b)` under two `vmap`s; jax-ml/jax issue 40564 has the same of `jnp.maximum`
    on GPU). An index that was found once is right whatever is computed again. Of equal entries the first counts.
    Maxima inside of loops, branches and functions with a rule of their own stay as JAX has them.
    """

    def rewritten(*args: Any) -> Any:
        traced, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        if not _has_maximum(traced.jaxpr):
            return function(*args)
        found = _evaluate(traced, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return rewritten


def _has_maximum(jaxpr: Jaxpr) -> bool:
    inner = (_inner(eqn) for eqn in jaxpr.eqns)
    return any(eqn.primitive.name in OF for eqn in jaxpr.eqns) or any(
        program is not None and _has_maximum(program.jaxpr) for program in inner
    )


def _inner(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """The program of a function under `jax.jit`, as those of jax.numpy are."""
    return eqn.params["jaxpr"] if eqn.primitive.name in ("jit", "pjit") else None


def _evaluate(traced: ClosedJaxpr, args: list) -> list:
    known = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    known |= zip(traced.jaxpr.invars, args, strict=True)

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    for eqn in traced.jaxpr.eqns:
        inputs = [value(atom) for atom in eqn.invars]
        inner = _inner(eqn)
        if eqn.primitive.name in OF:
            results = [_extreme(eqn.primitive.name, inputs[0], eqn.params["axes"])]
        elif inner is not None and _has_maximum(inner.jaxpr):
            results = _evaluate(inner, inputs)
        else:
            results = _alone(traced.jaxpr, eqn)(*(value(atom) for atom in _variables(eqn)))
        known |= zip(eqn.outvars, results, strict=True)
    return [value(atom) for atom in traced.jaxpr.outvars]


def _variables(eqn: JaxprEqn) -> list[Var]:
    return list(dict.fromkeys(atom for atom in eqn.invars if isinstance(atom, Var)))


def _alone(jaxpr: Jaxpr, eqn: JaxprEqn) -> Callable:
    """One operation of a program as a function of what it reads."""
    unnamed = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    part = jaxpr.replace(constvars=[], invars=_variables(eqn), outvars=eqn.outvars, eqns=[eqn], debug_info=unnamed)
    return jaxpr_as_fun(ClosedJaxpr(part, []))


def _extreme(name: str, entries: Array, axes: tuple[int, ...]) -> Array:
    """The largest or smallest entry along `axes`."""
    reduce, find = OF[name]
    if not jnp.issubdtype(entries.dtype, jnp.floating) or not axes:
        return reduce(entries, axes)

    @jax.custom_jvp
    def extreme(entries: Array) -> Array:
        return reduce(entries, axes)

    @extreme.defjvp
    def rule(primals: tuple, tangents: tuple) -> tuple:
        kept = [axis for axis in range(entries.ndim) if axis not in axes]
        flat, change = (
            jnp.transpose(x, (*kept, *axes)).reshape([x.shape[axis] for axis in kept] + [-1])
            for x in (primals[0], tangents[0])
        )
        at = find(flat, flat.ndim - 1, jnp.int32)
        return extreme(primals[0]), jnp.take_along_axis(change, at[..., None], -1)[..., 0]

    return extreme(entries)
