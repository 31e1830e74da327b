"""What a caller handed in is checked here, once, before anything is compiled."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

MOST_STEPS = 2**31 - 1  # are counted in 32 bits, in every precision


class CojaxInputError(ValueError):
    """An argument cannot be used; the message names it, says what was got and what to do."""


def check_kinds(owner: str, *given: tuple[str, Any, type]) -> None:
    """Refuse the first (name, value, kind) whose value is of another kind."""
    for name, value, kind in given:
        if not isinstance(value, kind):
            got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
            raise CojaxInputError(f"{owner} needs a cojax {kind.__name__} for {name}, got {got}.")


def as_path(needed: str, value: Any) -> Path:
    """What names a file or a folder as a path; else refused by a sentence that begins with what is `needed`."""
    if not isinstance(value, str | os.PathLike):
        raise CojaxInputError(f"{needed}, got an object of type {type(value).__name__}.")
    return Path(value)


def is_concrete(*values: Any) -> bool:
    """Whether every leaf of `values` is a number now: range checks cannot run on traced values."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def real_array(owner: str, name: str, value: Any) -> np.ndarray:
    """`value` as a finite real NumPy array, or an error that names `owner` and `name`."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise CojaxInputError(f"{owner} needs numbers for {name}, got {value!r}.") from error
    if array.dtype.kind not in "iuf" and not is_small_float(array.dtype):
        raise CojaxInputError(f"{owner} needs real numbers for {name}, got {array.dtype}.")
    return array


def device_array(owner: str, name: str, value: Any) -> Array:
    """`value` as a real JAX array, whole and in JAX's own widths: numbers that do not fit are refused, not wrapped."""
    if isinstance(value, jax.Array):
        value = whole(owner, name, value)
        if not is_wide(value.dtype):
            return value
        if isinstance(value, Tracer):
            return value.astype(jax.dtypes.canonicalize_dtype(value.dtype))
    return jnp.asarray(fitting(owner, name, value))


def fitting(owner: str, name: str, value: Any) -> np.ndarray:
    """`value` as a real NumPy array in JAX's own widths."""
    array = real_array(owner, name, value)
    with np.errstate(all="ignore"):
        kept = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    lost = kept != array if array.dtype.kind in "iu" else np.isfinite(array) & ~np.isfinite(kept)
    if lost.any():
        raise CojaxInputError(
            f"{owner} needs {name} within the range of {kept.dtype}, got {array[lost].flat[0]}; enable jax_enable_x64, "
            "or choose a larger unit."
        )
    return kept


def whole(owner: str, name: str, array: Array) -> Array:
    """`array` on one device where an explicit mesh has it in parts: JAX would map no cost over it.

    `jax.make_mesh` makes such meshes. A run over many devices is what `cojax.shard` cuts.
    """
    if _is_whole(array):
        return array
    if isinstance(array, Tracer):
        return jax.sharding.reshard(array, NamedSharding(jax.typeof(array).sharding.mesh, PartitionSpec()))
    if not array.is_fully_addressable:
        raise CojaxInputError(
            f"{owner} needs {name} that this process has, got one cut over an explicit mesh of several, "
            f"{jax.typeof(array)}; give every process all of it, and cojax.shard the mesh."
        )
    return jnp.asarray(np.asarray(array))


def _is_whole(array: Array) -> bool:
    """Whether no axis of an array is one of an explicit mesh."""
    return all(part is None for part in jax.typeof(array).sharding.spec)


def is_wide(dtype: Any) -> bool:
    """Whether real numbers of `dtype` have 64 bits where JAX, as it is set here, computes in 32."""
    plain = isinstance(dtype, np.dtype) and dtype.kind in "iuf"  # keys have a dtype too
    return plain and dtype.itemsize == 8 and not computes_in_64_bits()


def computes_in_64_bits() -> bool:
    """Whether JAX, as it is set here, has numbers of 64 bits."""
    return jnp.result_type(float).itemsize == 8


def check_leaves(owner: str, **parts: Any) -> None:
    """Refuse arrays of 64 bits where JAX computes in 32, for sums of shares would wrap, and those in parts on a mesh.

    Arrays know their bits, wherever they were made: in a `with jax.enable_x64(True)` that has ended, say.
    """
    for name, part in parts.items():
        for leaf in jax.tree.leaves(part):
            if not isinstance(leaf, jax.Array):
                continue
            if is_wide(leaf.dtype):
                raise CojaxInputError(
                    f"{owner} needs {name} in the 32 bits that JAX computes in here, got {leaf.dtype}, made while "
                    f"jax_enable_x64 was on: call {owner} with it on too, or make {name} anew."
                )
            if not _is_whole(leaf):
                raise CojaxInputError(
                    f"{owner} needs {name} with its arrays whole, got one cut over an explicit mesh, "
                    f"{jax.typeof(leaf)}: Problem and problem.start(...) take such arrays; a run over many "
                    "devices is what cojax.shard makes."
                )


def check_arrays(owner: str, start: Any) -> None:
    """Refuse a start with functions or plain numbers among its leaves, which JAX does not take."""
    for leaf in jax.tree.leaves(start):
        if not hasattr(leaf, "dtype"):
            raise CojaxInputError(
                f"{owner} needs a start of arrays, got a {type(leaf).__name__} in it: make it by problem.start(...), "
                "which takes modules with functions in them."
            )


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A question after an unknown `word` that is close to one of the `choices`; nothing where none is."""
    lowered = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), lowered, 1, 0.7)
    return f"; did you mean {lowered[found[0]]!r}?" if found else ""


def one_line(error: Exception) -> str:
    """An error of JAX, or of a caller's function, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def whole_number(owner: str, name: str, value: Any, *, at_least: int, at_most: int | None = None) -> int:
    """`value` as an int: Python's and NumPy's whole numbers pass, booleans and floats do not."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < at_least or (at_most is not None and value > at_most):
        wanted = f">= {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        raise CojaxInputError(f"{owner} needs a whole number {name} {wanted}, got {value!r}.")
    return int(value)


def as_key(owner: str, key: Any) -> Array:
    """A JAX key as it is; a whole number as the seed of one."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.key(whole_number(owner, "key", key, at_least=0))


def is_small_float(dtype: Any) -> bool:
    """Whether `dtype` is bfloat16 or another float that NumPy knows only as an extension."""
    return jnp.issubdtype(dtype, jnp.floating)


def floating(value: Any) -> Any:
    """`value`, a Python whole number made a float: JAX differentiates with respect to floats only."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_number(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float | int | None = None,
    at_least: float | int | None = None,
    below: float | int | None = None,
    at_most: float | int | None = None,
    shaped: tuple[int, ...] | None = None,
    why: str = "",
) -> None:
    """Refuse `value` outside the open or closed range given; tracers pass. `why` is of the shape where one is given."""
    because = f": {why}" if why else ""
    if shaped is not None and np.shape(value) != shaped:
        wanted = "one number" if shaped == () else f"shape {shaped}"
        raise CojaxInputError(f"{owner} needs {wanted} for {name}, got shape {np.shape(value)}{because}.")
    if not is_concrete(value):
        return
    given = real_array(owner, name, value).astype(np.float64)
    with np.errstate(all="ignore"):
        array = given.astype(jnp.result_type(float)).astype(np.float64)  # as JAX will have it
    wanted, bad = [], ~np.isfinite(array)
    if above is not None:
        wanted.append(f"{name} > {above:g}")
        bad |= ~(array > above)
    if at_least is not None:
        wanted.append(f"{name} >= {at_least:g}")
        bad |= ~(array >= at_least)
    if below is not None:
        wanted.append(f"{name} < {below:g}")
        bad |= ~(array < below)
    if at_most is not None:
        wanted.append(f"{name} <= {at_most:g}")
        bad |= ~(array <= at_most)
    if np.any(bad):
        got, kept = float(given[bad].flat[0]), float(array[bad].flat[0])
        because = because if shaped is None else ""
        lost = np.isfinite(got) and (np.isinf(kept) or (kept == 0 and got != 0))
        rounded = f", which is {kept:g} in {jnp.result_type(float)}" if lost else ""
        raise CojaxInputError(
            f"{owner} needs {' and '.join(wanted) or f'a finite {name}'}, got {got:g}{rounded}{because}."
        )
