"""What a run is made of, told in short strings by which two runs can be compared across processes."""

import contextlib
import dataclasses
import enum
import functools
import hashlib
import platform
import types
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PACKAGES = ("cojax", "jax", "jaxlib", "numpy")
# More differences than this are counted, not told.
MOST_TOLD = 5


class Said(NamedTuple):
    """What stands in a tree for an array: what is to be said of it."""

    text: str


def fingerprint(**parts: Any) -> dict[str, str]:
    """Every leaf of the parts by its path: arrays by shape and hash, functions by their bytecode and closures.

    Global variables that a function reads are not seen. The versions of Python and of the packages come with it, for
    other versions may round differently.
    """
    found = {path: said for name, part in parts.items() for path, said in _facts(name, part, ())}
    found["python"] = ".".join(platform.python_version_tuple()[:2])
    found["precision"] = str(jnp.result_type(float))
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree
            found[name] = "not installed"
    return found


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """One phrase for every path that is not the same in both."""
    return [
        f"{_shorten(path)} ({_shorten(there.get(path, 'nothing'))} there, {_shorten(here.get(path, 'nothing'))} here)"
        for path in dict.fromkeys([*there, *here])
        if there.get(path) != here.get(path)
    ]


def tell_differences(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The first few of them, for a sentence; empty where there is none."""
    found = differences(there, here)
    more = f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return f"{', '.join(found[:MOST_TOLD])}{more}"


def _shorten(text: str) -> str:
    # What is there was read from a file.
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])


def _facts(path: str, value: Any, above: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    if id(value) in above:  # a function that closes over itself
        return
    above = (*above, id(value))
    if isinstance(value, Said):
        yield path, value.text
    elif isinstance(value, jax.Array | np.ndarray | np.generic):
        yield path, _array(value)
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | enum.Enum):
        said = repr(value)
        yield path, said if len(said) <= 60 else f"{said[:20]}... {_hash(said)}"
    elif isinstance(value, jax.sharding.Mesh):  # whose other attributes are there once they were asked for
        yield path, repr(dict(value.shape))
    else:
        yield path, _kind(value)
        for name, part in _parts(value):
            yield from _facts(f"{path}{name}", part, above)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a composite is made of, in an order that does not depend on the process."""
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in sorted(value.items(), key=lambda item: repr(item[0])))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((f".{name}", getattr(value, name)) for name in value._fields)  # pyright: ignore[reportAttributeAccessIssue]
    elif isinstance(value, tuple | list):
        yield from ((f"[{place}]", part) for place, part in enumerate(value))
    elif isinstance(value, types.FunctionType):
        yield from _closed_over(value)
        yield from ((f".default{place}", part) for place, part in enumerate(value.__defaults__ or ()))
        yield from ((f".{name}", part) for name, part in sorted((value.__kwdefaults__ or {}).items()))
    elif isinstance(value, types.MethodType):
        yield from ((".self", value.__self__), (".function", value.__func__))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):  # a module, which hands on what it is asked
        yield from ((f".{field.name}", getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif isinstance(value, functools.partial):  # as JAX's is
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    elif hasattr(value, "__wrapped__"):  # a jitted function
        yield ".wrapped", value.__wrapped__  # pyright: ignore[reportAttributeAccessIssue]
    elif not isinstance(value, type | types.ModuleType):
        yield from ((f".{name}", part) for name, part in sorted(getattr(value, "__dict__", {}).items()))


def _closed_over(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # of a cell that is not filled yet
            yield f".{name}", cell.cell_contents


def _kind(value: Any) -> str:
    if isinstance(value, types.FunctionType):
        return f"{_name(value)} {_hash(_code(value.__code__))}"
    named = value if isinstance(value, type | types.BuiltinFunctionType) else type(value)
    return _name(named)


def _name(named: Any) -> str:
    """The full name of a class or function; of ours without its package, so that files may move."""
    module = str(named.__module__)  # None of what was made by hand
    if module.startswith("cojax."):
        module = f"cojax.{module.rpartition('.')[2]}"
    return f"{module}.{named.__qualname__}"


def _code(code: types.CodeType) -> str:
    constants = [_code(one) if isinstance(one, types.CodeType) else _constant(one) for one in code.co_consts]
    return repr((code.co_code, code.co_names, constants))


def _constant(value: Any) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _array(value: Any) -> str:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"key {_array(jax.random.key_data(value))}"
    if isinstance(value, jax.Array) and not (value.is_fully_addressable or value.is_fully_replicated):
        return f"{value.dtype}{list(value.shape)} over several processes"  # in a closure: what is of a run is told
    array = np.asarray(value)
    if array.dtype.hasobject:  # their bytes are addresses
        return repr(array.tolist())
    if array.ndim == 0 and array.dtype.kind in "biuf":
        return repr(array.item())
    return f"{array.dtype}{list(array.shape)} {_hash(array.tobytes())}"


def _hash(content: str | bytes) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[:12]
