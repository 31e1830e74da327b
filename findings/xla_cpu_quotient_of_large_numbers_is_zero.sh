#!/usr/bin/env bash
# JAX 0.10.2 on a CPU: an array divided by one number is multiplied by that number's reciprocal, also where the number is
# an argument. So a quotient rounds twice, and of a divisor above 2^126 in float32 or 2^1022 in float64, whose reciprocal
# is subnormal and taken as 0, it is 0: 1.5e308 / 1e308 = 0. An array of equal divisors is divided by, as NumPy does it
# throughout. So the cell of a uniform quantizer, round(x / delta), is another one at ties and vanishes in huge units, and
# a residual held beside a huge size looks converged.
# Seen: float32, 1e38 / 1e38: 0 by one number, 1 by an array, NumPy 1; float64, 1.5e308 / 1e308: 0, 1.5, NumPy 1.5;
# of 100000 numbers / 3 in float32 33341 off by one number, 0 by an array
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu PYTHONPATH=$folder python3 - <<'PROGRAM'
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
quotient = jax.jit(lambda value, by: value / by)


def quotients(value, by):
    """Of the first entry: by one number, by an array of it, by NumPy; and how many entries of the first two are off."""
    one, many = np.asarray(quotient(value, by)), np.asarray(quotient(value, np.full_like(value, by)))
    right = value / by
    return [float(found[0]) for found in (one, many, right)], int((one != right).sum()), int((many != right).sum())


small = quotients(np.full(8, 1e38, np.float32), np.float32(1e38))[0]
large = quotients(np.full(8, 1.5e308), np.float64(1e308))[0]
thirds = np.random.default_rng(0).uniform(1, 2, 100_000).astype(np.float32)
_, by_one, by_many = quotients(thirds, np.float32(3))
print(
    f"float32, 1e38 / 1e38: {small[0]:g} by one number, {small[1]:g} by an array, NumPy {small[2]:g}; float64, "
    f"1.5e308 / 1e308: {large[0]:g}, {large[1]:g}, NumPy {large[2]:g}; of {thirds.size} numbers / 3 in float32 "
    f"{by_one} off by one number, {by_many} by an array"
)
assert small == [0, 1, 1] and large == [0, 1.5, 1.5] and by_one > thirds.size / 4 and by_many == 0
PROGRAM
