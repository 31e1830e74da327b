"""What `print` says of an object: a line of numbers to four digits, and of arrays their shape and range."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .checks import is_concrete

MOST_LISTED = 8  # entries of a vector: more are told by their shape and range
MOST_RANGED = 10**7  # entries that a look at the range of an array may cost


def brief(value: Any) -> str:
    """`value` in a line: modules and named tuples by their fields, except those that are None or left at a default."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _array(value)
    if isinstance(value, bool | int | str | None):
        return repr(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, eqx.Module):
        return repr(value) if type(value).__repr__ is not eqx.Module.__repr__ else _describe(value, _fields(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = {name: getattr(value, name) for name in value._fields}  # pyright: ignore[reportAttributeAccessIssue]
        return _describe(value, {name: part for name, part in fields.items() if part is not None})
    if isinstance(value, tuple | list):
        return f"({', '.join(map(brief, value))})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {brief(part)}" for key, part in value.items()) + "}"
    function = getattr(value, "func", value)  # of a partial, of functools or of JAX
    return getattr(function, "__name__", None) or eqx.tree_pformat(value, width=10**6)


def describe(value: Any, *facts: str, leave_out: tuple[str, ...] = ()) -> str:
    """Name(fact, ..., field=...): what is known of `value` before its fields, less those that the facts tell.

    Never raises: it is also asked for inside of a traceback, of an object that is half made, and under `jax.jit`.
    """
    try:
        fields = {name: part for name, part in _fields(value).items() if name not in leave_out}
        return _describe(value, fields, *facts)
    except Exception:
        return eqx.tree_pformat(value, width=10**6)


def shapes(tree: Any) -> str:
    """A tree with nothing but the dtypes and shapes of its arrays."""
    return eqx.tree_pformat(tree, width=10**6)


def _describe(value: Any, fields: dict[str, Any], *facts: str) -> str:
    return f"{type(value).__name__}({', '.join([*facts, *(f'{name}={brief(part)}' for name, part in fields.items())])})"


def _fields(module: Any) -> dict[str, Any]:
    fields = {field.name: (field, getattr(module, field.name, None)) for field in dataclasses.fields(module)}
    return {name: part for name, (field, part) in fields.items() if part is not None and not _is_default(field, part)}


def _is_default(field: Any, part: Any) -> bool:
    """Whether a field is what it would have been unasked; numbers are always told."""
    leaves, kind = jax.tree.flatten(part)
    if field.default is dataclasses.MISSING or any(isinstance(leaf, int | float | jax.Array) for leaf in leaves):
        return False
    return kind == jax.tree.structure(field.default) and leaves == jax.tree.leaves(field.default)


def _array(array: Any) -> str:
    if not is_concrete(array) or not getattr(array, "is_fully_addressable", True):
        return eqx.tree_pformat(array).removeprefix("weak_")
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        words = np.ravel(jax.random.key_data(array))
        return f"key({int(words[-1])})" if array.ndim == 0 and not words[:-1].any() else eqx.tree_pformat(array)
    kind = eqx.tree_pformat(array).removesuffix("(numpy)").removeprefix("weak_")
    if array.size == 0 or array.size > MOST_RANGED or array.dtype.kind not in "biufV":
        return kind
    values = np.asarray(array)
    values = values.astype(float) if values.dtype.kind in "fV" else values  # 16-bit floats are void to NumPy
    if values.ndim == 0:
        return _number(values[()])
    if values.ndim == 1 and values.size <= MOST_LISTED:
        return f"[{', '.join(map(_number, values))}]"
    if np.isnan(values).any():
        return f"{kind} with NaN"
    low, high = _number(values.min()), _number(values.max())
    return f"{kind} of {low}" if low == high else f"{kind} from {low} to {high}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
