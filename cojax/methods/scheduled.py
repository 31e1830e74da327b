"""A method whose numbers change by step."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._support.checks import CojaxInputError, is_concrete, whole_number
from .._support.trees import Tree
from ..networks.laws import Along
from .base import Method


class Scheduled(Method):
    """`method` with other numbers by step: the first entries for `every` steps, then the next; the last ones stay.

        cojax.Scheduled(cojax.Laplacian(0.1), {"step_size": [0.4, 0.2, 0.1]}, every=50)

    One number per step for all nodes, so every sum that the method keeps is kept. Where convergence is proved for a
    constant number only, the last entry decides in the long run, and earlier ones act for finitely many steps.

    Args:
        method: any method of one half.
        values: field -> its values in turn, (p,) or (p, n) for one per node, all of one p; differentiable.
        every: whole number >= 1, static, the steps of each.

    Raises `CojaxInputError` for a field that the method does not have, or that holds no number, for values that are no
    numbers, and lengths that differ.
    """

    method: Method
    values: dict[str, Any]
    every: int = eqx.field(static=True)

    def __init__(self, method: Method, values: Any, *, every: int = 1):
        if not isinstance(method, Method):
            raise CojaxInputError(f"Scheduled needs a method such as Laplacian(0.1), got {method!r}.")
        if not isinstance(values, Mapping):
            raise CojaxInputError(
                f'Scheduled needs a dict such as {{"step_size": [0.2, 0.1]}} for values, got {type(values).__name__}.'
            )
        numbers = [field.name for field in dataclasses.fields(method) if _holds_a_number(method, field)]
        for name in values:
            if name not in numbers:
                raise CojaxInputError(
                    f"Scheduled needs fields of {type(method).__name__} in values, got {name!r}: those that hold a "
                    f"number are {', '.join(numbers) or 'none'}."
                )
        self.method = method
        self.values = {name: _as_floats(name, value) for name, value in values.items()}
        self.every = whole_number("Scheduled", "every", every, at_least=1)
        lengths = {value.shape[:1] for value in self.values.values()}
        if len(lengths) != 1 or lengths & {(), (0,)}:
            raise CojaxInputError(f"Scheduled needs values of one length >= 1, got {sorted(lengths)}.")
        if is_concrete(self.values, method):
            for place in range(next(iter(self.values.values())).shape[0]):
                self._check(place)

    def _check(self, place: int) -> None:
        """Every turn is a method that the class itself takes."""
        fields = {field.name: getattr(self.method, field.name) for field in dataclasses.fields(self.method)}
        turn = {name: np.asarray(value)[place] for name, value in self.values.items()}
        type(self.method)(**fields | {name: float(v) if v.ndim == 0 else v for name, v in turn.items()})

    def at(self, k: Any) -> Method:
        def turn(values: Any) -> Any:
            return values[jnp.minimum(jnp.asarray(k) // self.every, values.shape[0] - 1)]

        names = tuple(self.values)
        where = functools.partial(_fields, names)
        return eqx.tree_at(where, self.method, tuple(turn(self.values[name]) for name in names))

    def without(self, state: Any, node: Any, heir: Any) -> Any:
        return self.at(0).without(state, node, heir)

    def init(self, x: Tree, grad: Tree) -> Any:
        return self.at(0).init(x, grad)

    def message(self, state: Any, grad: Tree) -> Tree:
        return self.at(0).message(state, grad)

    def along(self, state: Any) -> Along | tuple:
        return self.at(0).along(state)

    def update(self, state: Any, grad: Tree, flow: Tree) -> Any:
        return self.at(0).update(state, grad, flow)

    def query(self, state: Any) -> Tree:
        return self.at(0).query(state)


def _holds_a_number(method: Method, field: dataclasses.Field) -> bool:
    """Whether steps can have other values of a field: not of one that a compiled program is made for, `static`."""
    value = getattr(method, field.name)
    is_number = isinstance(value, int | float | np.number | np.ndarray | jax.Array) and not isinstance(value, bool)
    return is_number and not field.metadata.get("static", False)


def _as_floats(name: str, value: Any) -> Array:
    try:
        return jnp.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise CojaxInputError(f"Scheduled needs numbers for {name} in values, got {value!r}.") from error


def _fields(names: tuple[str, ...], method: Method) -> tuple:
    return tuple(getattr(method, name) for name in names)
