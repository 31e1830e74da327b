#!/usr/bin/env bash
# JAX 0.10.2: lax.custom_linear_solve takes a tree of arrays on its right side, but is only differentiated, forward or
# reverse, where every one of them depends on what it is differentiated in: else a TypeError speaks of a "Zero" that was
# passed to it. Joined into one vector the same numbers are fine. Implicit derivatives of optimality conditions meet it:
# shares and prices are two arrays, and the budget moves only the second.
# Seen: two arrays: forward TypeError, reverse TypeError / one vector: forward 0.5, reverse 0.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" jax==0.10.2 jaxlib==0.10.2
PYTHONPATH=$folder python3 - <<'PROGRAM'
import jax
import jax.numpy as jnp
from jax import lax

matrix = jnp.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0], [-1.0, -1.0, 0.0]])  # two shares, one price


def as_tree(budget):
    def conditions(both):
        out = matrix @ jnp.concatenate(both)
        return out[:2], out[2:]

    def solved(_, right):
        out = jnp.linalg.solve(matrix, jnp.concatenate(right))
        return out[:2], out[2:]

    return lax.custom_linear_solve(conditions, (jnp.zeros(2), -budget[None]), solved, symmetric=True)[0][0]


def as_vector(budget):
    right = jnp.concatenate([jnp.zeros(2), -budget[None]])
    return lax.custom_linear_solve(
        lambda x: matrix @ x, right, lambda _, b: jnp.linalg.solve(matrix, b), symmetric=True
    )[0]


def told(derivative):
    try:
        return f"{float(derivative()):.3g}"
    except TypeError as error:
        assert "Zero" in str(error)
        return "TypeError"


budget, one = jnp.array(3.0), jnp.array(1.0)
seen = " / ".join(
    f"{name}: forward {told(lambda f=f: jax.jvp(f, (budget,), (one,))[1])}, reverse {told(lambda f=f: jax.grad(f)(budget))}"
    for name, f in (("two arrays", as_tree), ("one vector", as_vector))
)
print(seen)
assert seen == "two arrays: forward TypeError, reverse TypeError / one vector: forward 0.5, reverse 0.5"
PROGRAM
