#!/usr/bin/env bash
# JAX 0.10.2: XLA compiles for a GPU that is not there, from a description of it. A description without the versions of
# driver, runtime and toolkit is taken without a word, and gives another program: what is conditional, and a loop asked
# into a command buffer by xla_gpu_enable_command_buffer=...,WHILE, stay with the host, which starts every turn. The
# versions are strings inside of gpu_device_info; one of the message beside it that has major and minor is no help, and
# inside it is refused. So launches counted without a GPU are those of an old driver, unless it is named. A loop is not
# asked for by default: with all versions too the host starts a condition and a command buffer in every turn.
# Seen: default: host / asked, without versions: host / asked, with versions: command buffer
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" \
    jax==0.10.2 jaxlib==0.10.2 jax-cuda12-pjrt==0.10.2
JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 PYTHONPATH=$folder python3 - 2> /dev/null <<'PROGRAM'
import pathlib
import tempfile

import jax
import jax.numpy as jnp
from jax.experimental import topologies

GPU = """
platform_name: "CUDA"
device_description_str: "NVIDIA H200"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 }
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 l2_cache_size: 52428800
  memory_bandwidth: 4800000000000 device_memory_size: 149000000000
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  VERSIONS
}
"""
VERSIONS = 'driver_version: "12.8.0" runtime_version: "12.8.0" compile_time_toolkit_version: "12.8.0"'
WITH_LOOPS = {"xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CONDITIONAL,WHILE"}
SMALL = {"xla_gpu_graph_min_graph_size": "1"}  # by default fewer than five in a row are not worth one


def loop_is_with(versions, options):
    topology = topologies.get_topology_desc("", "cuda", target_config=GPU.replace("VERSIONS", versions), topology="1x1x1")
    mesh = topologies.make_mesh(topology, (1,), ("device",))
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    step = lambda _, x: jnp.sin(x) + jnp.cos(x[::-1]).sum()
    run = jax.jit(lambda x: jax.lax.fori_loop(0, 7, step, x), in_shardings=where, out_shardings=where)
    lowered = run.trace(jax.ShapeDtypeStruct((1000,), jnp.float32)).lower(lowering_platforms=("cuda",))
    with tempfile.TemporaryDirectory() as dump:
        lowered.compile(compiler_options={"xla_dump_to": dump} | SMALL | options)
        # The one after the passes, where they changed anything, is the last by name.
        lines = sorted(pathlib.Path(dump).glob("*thunk_sequence*.txt"))[-1].read_text().splitlines()
    return "command buffer" if next(line for line in lines if "kWhile" in line).startswith(" ") else "host"


cases = {
    "default": (VERSIONS, {}),
    "asked, without versions": ("", WITH_LOOPS),
    "asked, with versions": (VERSIONS, WITH_LOOPS),
}
seen = " / ".join(f"{name}: {loop_is_with(*case)}" for name, case in cases.items())
print(seen)
assert seen == "default: host / asked, without versions: host / asked, with versions: command buffer"
PROGRAM
