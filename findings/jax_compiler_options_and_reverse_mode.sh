#!/usr/bin/env bash
# JAX 0.10.2: a function jitted with `compiler_options` can be called, mapped by `jax.vmap` and differentiated by `jax.jvp`
# where it is not within another jit, but not by `jax.grad`, `jax.vjp` and `jax.linearize`: JAX says then that the options
# "can only be passed to top-level `jax.jit`", as if it were nested. Around the gradient the same options are taken. So a
# library that chooses how XLA compiles its loop has to leave that where reverse mode is under way, with no other jit in
# sight too.
# Seen: call, vmap, jvp, jit of grad with options: right; grad, vjp, linearize: ValueError, top-level
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu PYTHONPATH=$folder python3 - <<'PROGRAM'
import jax
import numpy as np

OPTIONS = {"xla_backend_optimization_level": "0"}


def loop(x):
    """Three steps of a contraction."""
    return jax.lax.fori_loop(0, 3, lambda _, y: 0.5 * jax.numpy.sin(y), x)


quick, plain = jax.jit(loop, compiler_options=OPTIONS), jax.jit(loop)
WAYS = {
    "call": lambda f: f(0.7),
    "vmap": lambda f: jax.vmap(f)(np.array([0.7, 0.2], np.float32)),
    "jvp": lambda f: jax.jvp(f, (0.7,), (1.0,))[1],
    "jit of grad with options": lambda f: jax.jit(jax.grad(plain), compiler_options=OPTIONS)(0.7),
    "grad": lambda f: jax.grad(f)(0.7),
    "vjp": lambda f: jax.vjp(f, 0.7)[1](1.0)[0],
    "linearize": lambda f: jax.linearize(f, 0.7)[1](1.0),
}


def ends(way):
    """How the jitted loop with options ends, beside the one without."""
    wanted = way(plain)
    try:
        found = way(quick)
    except ValueError as error:
        return "ValueError, top-level" if "top-level" in str(error) else str(error)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    return "right"


seen = {name: ends(way) for name, way in WAYS.items()}
groups = {end: ", ".join(name for name in seen if seen[name] == end) for end in dict.fromkeys(seen.values())}
print("; ".join(f"{names}: {end}" for end, names in groups.items()))
assert groups == {
    "right": "call, vmap, jvp, jit of grad with options",
    "ValueError, top-level": "grad, vjp, linearize",
}
PROGRAM
