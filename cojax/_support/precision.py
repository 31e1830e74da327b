"""Products of float32 are computed in float32, also where a device has faster ones of fewer bits."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

Returned = TypeVar("Returned")


def in_full(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """`function`, traced with matrix products as precise as their numbers, unless the user chose otherwise.

    By itself JAX computes those of float32 with 11 bits (TF32) on NVIDIA GPUs and with 8 (bfloat16) on TPUs: a run
    would stop at the optimum of other data, and a certificate judge that. `jax.default_matmul_precision(...)` around a
    run is such a choice, a `precision=` inside of a cost another.
    """

    @functools.wraps(function)
    def full(*args: Any, **kwargs: Any) -> Returned:
        chosen = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
        with jax.default_matmul_precision("highest" if chosen is None else chosen):
            return function(*args, **kwargs)

    return full
