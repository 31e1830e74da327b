"""Numbers inside methods and networks are named by dotted paths, as `learn.step_size` or `link.quantizer.rho`."""

import functools
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._support.checks import CojaxInputError
from ..methods import Method
from ..networks.base import Layout, Network

Pair = tuple[Method, Network]


def layout_of(network: Network) -> Layout:
    """The layout inside of what loses or silences its links."""
    inner = network.bare()
    if not isinstance(inner, Layout):
        raise CojaxInputError(
            f"tune needs a network whose graphs are known before the run, got a {type(inner).__name__}: there is "
            "nothing in it to tune; tune the method's numbers only."
        )
    return inner


def with_layout(network: Network, layout: Layout) -> Network:
    """`network` with another layout inside."""
    return network.over(layout)


def value_at(path: str, pair: Pair) -> Any:
    """The number or array at `path`. Raises `CojaxInputError` where there is none, or it is not a float."""
    root: Any = layout_of(pair[1]) if path.split(".")[0] == "link" else pair[0]
    try:
        value = functools.reduce(getattr, path.split("."), root)
    except AttributeError as error:
        raise CojaxInputError(
            f"tune needs names of numbers in {type(pair[0]).__name__} or its network's link, such as "
            f'"learn.step_size", "allocate.momentum" or "link.quantizer.rho", got {path!r}: {error}.'
        ) from error
    if isinstance(value, bool | str) or not jnp.issubdtype(getattr(value, "dtype", type(value)), jnp.floating):
        raise CojaxInputError(f"tune needs a float at {path!r}, got {value!r}: nothing else has a derivative.")
    return value


def put(path: str, value: Any, pair: Pair) -> Pair:
    """The pair with `value` at `path`."""
    method, network = pair
    names = path.split(".")
    if names[0] == "link":
        layout = eqx.tree_at(lambda net: functools.reduce(getattr, names, net), layout_of(network), value)
        return method, with_layout(network, layout)
    return eqx.tree_at(lambda tree: functools.reduce(getattr, names, tree), method, value), network


def half_at(path: str, method: Method) -> Any:
    """The method whose field `path` names."""
    return functools.reduce(getattr, path.split(".")[:-1], method)
