#!/usr/bin/env bash
# optax 0.2.8 with JAX 0.10.2: the state of optax.monitor around optax.measure_with_ema has another structure after the first
# update than after init, so that the pair cannot be the carry of lax.scan, in which a run of many steps is looped.
# Seen: structure kept False / scan TypeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" jax==0.10.2 jaxlib==0.10.2 optax==0.2.8
PYTHONPATH=$folder python3 - <<'PROGRAM'
import jax
import jax.numpy as jnp
import optax
from jax import lax

size = optax.measure_with_ema(optax.tree.norm, 0.9)
watched = optax.monitor({"size": size})
params = jnp.ones(3)
begun = watched.init(params)
_, moved = watched.update(params, begun, params)
kept = jax.tree.structure(begun) == jax.tree.structure(moved)


def step(state, _):
    return watched.update(params, state, params)[1], None


try:
    lax.scan(step, begun, None, length=2)
    said = "fine"
except TypeError:
    said = "TypeError"
print(f"structure kept {kept} / scan {said}")
assert not kept and said == "TypeError"
PROGRAM
