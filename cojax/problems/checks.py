"""Whether the cost of a node is one real number, asked before it is computed or differentiated."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError, one_line

BRANCHES = (jax.errors.TracerBoolConversionError, jax.errors.TracerIntegerConversionError)
CONVERSIONS = (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError)


def check_cost(owner: str, cost: Callable, x: Any, data: Any) -> None:
    """Refuse a cost of one node that is not one real number, at decisions like `x`, (n, ...) in every leaf, and `data`.

    Shapes only: nothing is computed. `owner` is who asks, for the sentence.
    """
    returned = []

    def watched(x: Any, data: Any) -> Any:
        value = cost(x, data)
        returned.append(type(value).__name__)
        return value

    try:
        costs = jax.eval_shape(jax.vmap(watched), x, data)
    except CojaxInputError:
        raise
    except Exception as error:  # whatever a caller's function raises when it is traced
        if returned:  # what JAX cannot map, such as text
            raise CojaxInputError(_wanted(owner, f"a {returned[-1]}")) from error
        raise CojaxInputError(f"{owner} cannot compute the cost of a node{_why(error, x)}") from error
    num_nodes = np.shape(jax.tree.leaves(data)[0])[0]
    shape, dtype = getattr(costs, "shape", None), getattr(costs, "dtype", bool)
    if shape != (num_nodes,) or not jnp.issubdtype(dtype, jnp.floating):
        got = f"a {type(costs).__name__}" if shape is None else f"shape {shape[1:]} and dtype {dtype}"
        raise CojaxInputError(_wanted(owner, got))


def _wanted(owner: str, got: str) -> str:
    return (
        f"{owner} needs a cost of one node that is one real number, of shape () and a float dtype, got {got}; return "
        "one jax.numpy scalar."
    )


def _why(error: Exception, x: Any) -> str:
    if isinstance(error, BRANCHES):
        return (
            ": it decides in Python by a number that JAX traces; write jnp.where(condition, one, other) in place of "
            "if, and, or, max and min."
        )
    if isinstance(error, CONVERSIONS):
        return ": it makes NumPy or Python numbers of what JAX traces; write jnp in place of np, float and int."
    reason = re.sub(r"'\w*Tracer'", "an array", one_line(error))
    if x.params is None:
        return (
            f" without params ({reason}): where the cost uses x.params, pass them, one copy per node; to `reference` "
            "pass one node's as start_params."
        )
    if x.cpu is None:
        return f" without cpu ({reason}): where the cost uses x.cpu, give the problem a budget."
    return f" ({reason}): it is called with one node's x and data; write it in jax.numpy for these shapes."
