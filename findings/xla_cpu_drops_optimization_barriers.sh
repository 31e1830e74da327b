#!/usr/bin/env bash
# JAX 0.10.2 on a CPU: lax.optimization_barrier does not keep an order, though its documentation says that all of its
# inputs are computed before what depends on its outputs. XLA removes it before it schedules: where every array of a
# message is copied with the rows of other devices behind it and then summed over neighbours, barriers between the
# arrays leave all copies alive at once, and the memory of the program is the same to the byte.
# Seen: four copies of 16 MB: 64 MB without barriers, 64 MB with 3 of them, of which 0 are left in the compiled program
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu PYTHONPATH=$folder python3 - <<'PROGRAM'
import jax
import jax.numpy as jnp
from jax import lax

NODES, RECEIVED = 1_000_000, 2_000


def flows(neighbours, message, in_turn):
    """Of every array the sum over two neighbours of each node, in its own rows and those received behind them."""
    summed = []
    for told in message:
        if summed and in_turn:
            told, _ = lax.optimization_barrier((told, summed[-1]))
        extended = jnp.concatenate([told, 2 * told[:RECEIVED]])
        summed.append(extended[neighbours] + extended[neighbours + 1])
    return summed


def compiled(in_turn):
    message = [jnp.full((NODES, 4), float(part)) for part in range(4)]
    lowered = jax.jit(flows, static_argnums=2).lower(jnp.arange(NODES), message, in_turn)
    program = lowered.compile()
    megabytes = program.memory_analysis().temp_size_in_bytes / 1e6
    return f"{megabytes:.0f}", lowered.as_text().count("optimization_barrier"), program.as_text().count("opt-barrier")


plain, barred = compiled(False), compiled(True)
seen = (
    f"four copies of 16 MB: {plain[0]} MB without barriers, {barred[0]} MB with {barred[1]} of them, of which "
    f"{barred[2]} are left in the compiled program"
)
print(seen)
assert seen == (
    "four copies of 16 MB: 64 MB without barriers, 64 MB with 3 of them, of which 0 are left in the compiled program"
)
PROGRAM
