#!/usr/bin/env bash
# JAX 0.10.2: lax.reduce_precision(u, 5, 2) is not u.astype(float8_e5m2) and back, though both have 5 bits of exponent and 2
# of mantissa: what is below the least normal number becomes 0, where the cast keeps subnormal ones, and so for float16.
# Above it they agree to the bit, overflow included. A simulation of links that carry short floats by reduce_precision
# loses the last decades before 0, and a method over it stops sooner than over the real link.
# Seen: below 2^-14 reduce_precision gives 0 for 20 of 20, a cast to float8_e5m2 for 8; from there on they differ for 0 of 180
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu PYTHONPATH=$folder python3 - <<'PROGRAM'
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

told = np.float32(2.0) ** np.float32(np.arange(-18.9, 31, 0.25))
short = np.asarray(jax.jit(lambda u: lax.reduce_precision(u, exponent_bits=5, mantissa_bits=2))(told))
cast = np.asarray(jax.jit(lambda u: u.astype(jnp.float8_e5m2).astype(jnp.float32))(told))
below = told < 2.0**-14
seen = (
    f"below 2^-14 reduce_precision gives 0 for {(short[below] == 0).sum()} of {below.sum()}, a cast to float8_e5m2 for "
    f"{(cast[below] == 0).sum()}; from there on they differ for {(short != cast)[~below].sum()} of {(~below).sum()}"
)
print(seen)
assert seen == (
    "below 2^-14 reduce_precision gives 0 for 20 of 20, a cast to float8_e5m2 for 8; from there on they differ for 0 of 180"
)
PROGRAM
