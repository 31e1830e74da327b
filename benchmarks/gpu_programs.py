"""What XLA makes of the step of `step_time.py` for an H200, compiled and not run: memory and kernels, without a GPU.

    pip install jax-cuda12-pjrt  # the version of jax
    JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 python benchmarks/gpu_programs.py

Quantized co-optimisation over a table of neighbours, degree 10, 20 samples a node, d features. A launch is what the
host starts: a kernel, or a command buffer of many. Small networks wait for launches, so they are counted twice: as XLA
comes, and with loops in command buffers too (`--xla_gpu_enable_command_buffer=+WHILE`).
"""

import importlib.metadata
import itertools
import re
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from speed_goals import regular
from support.job import SAMPLES, SHARE_STEP, STEP_SIZE, Samples, cost
from support.timing import save, show

import cojax
from cojax.networks.build import build
from cojax.runs.loop import _solve
from cojax.runs.records import standard

NUM_STEPS = 7  # of the inner loop, by which it is known in the program
FEW = 1_009  # nodes of the arrays whose shapes are taken; a number that no other axis has
# As XLA describes an H100, with the memory of an H200.
H200 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H200"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 }
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  l2_cache_size: 52428800
  memory_bandwidth: 4800000000000
  device_memory_size: 149000000000
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  driver_version: "12.8.0"
  runtime_version: "12.8.0"
  compile_time_toolkit_version: "12.8.0"
}
"""
# What XLA puts into command buffers by itself, and loops: an option of one compilation names all.
COMMANDS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,CONDITIONAL,DYNAMIC_SLICE_FUSION,WHILE"


def device() -> jax.sharding.Sharding:
    """One H200 that is not there."""
    from jax.experimental import topologies

    topology = topologies.get_topology_desc("", "cuda", target_config=H200, topology="1x1x1")
    mesh = topologies.make_mesh(topology, (1,), ("device",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def job(d: int, dtype: Any) -> tuple:
    """Problem, network, method and state at a few nodes, params of `dtype`."""
    data: Any = (np.ones((FEW, SAMPLES, d)), np.ones((FEW, SAMPLES)), np.ones(FEW))
    problem = cojax.Problem(cost, Samples(*(part.astype(np.float32) for part in data)), budget=np.float32(FEW))
    pairs, weights = regular(FEW, 10)
    link = cojax.Quantized(cojax.LogQuantizer(1 / 64))
    network = build(FEW, pairs, weights[None], link=link, layout="neighbors")
    method = cojax.CoOpt(learn=cojax.DIGing(STEP_SIZE), allocate=cojax.Laplacian(SHARE_STEP))
    start = problem.start(params=jnp.zeros((FEW, d), dtype))
    return problem, network, method, cojax.init(problem, network, method, start)


def row_of(n: int, d: int, dtype: Any, where: jax.sharding.Sharding) -> dict[str, Any]:
    """The program of some steps at n nodes."""
    leaves, tree = jax.tree.flatten(job(d, dtype))

    def at_n(leaf: Any) -> jax.ShapeDtypeStruct:
        leaf = jnp.asarray(leaf)
        return jax.ShapeDtypeStruct([n if size == FEW else size for size in leaf.shape], leaf.dtype)

    shapes = [at_n(leaf) for leaf in leaves]

    def run(*leaves: Any) -> Any:
        return _solve(*jax.tree.unflatten(tree, leaves), 1, NUM_STEPS, standard)

    lowered = jax.jit(run, in_shardings=where, out_shardings=where).trace(*shapes).lower(lowering_platforms=("cuda",))
    program = lowered.compile()
    sizes: Any = program.memory_analysis()
    problem, network, _, state = (sum(map(_bytes, jax.tree.leaves(part))) for part in tree.unflatten(shapes))
    new = sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return {
        "n": n,
        "d": d,
        "params": np.dtype(dtype).name,
        "state MB": state / 1e6,
        "table MB": network / 1e6,
        "data MB": problem / 1e6,
        "new in a call MB": new / 1e6,
        "held / (2 states + table)": (state + network + new) / (2 * state + network),
        "kernels a step": kernels(str(program.as_text())),
        "launches a step": launches(lowered, {}),
        "with loops in command buffers": launches(lowered, {"xla_gpu_enable_command_buffer": COMMANDS}),
    }


def kernels(text: str) -> int:
    """Fusions and calls of a library in the loop over steps."""
    loop = next(line for line in text.splitlines() if " while(" in line and f'"n":"{NUM_STEPS}"' in line)
    name = re.search(r"body=(%[\w.-]+)", loop)
    assert name is not None
    body = text.split(f"\n{name[1]} (", 1)[1].split("\n}", 1)[0]
    return len(re.findall(r" (?:fusion|custom-call|copy|sort|dot)\(", body))


def launches(lowered: Any, options: dict[str, str]) -> int:
    """What the host starts in every turn of the loop over steps; 0 where the whole loop is in a command buffer."""
    with tempfile.TemporaryDirectory() as folder:
        lowered.compile(compiler_options={"xla_dump_to": folder} | options)
        # The one after the passes, where they changed anything, is the last by name.
        told = sorted(Path(folder).glob("*thunk_sequence*.txt"))[-1].read_text()
    indents = [(len(line) - len(line.lstrip()), line) for line in told.splitlines() if re.match(r" *\d+: k", line)]
    place = next(place for place, (_, line) in enumerate(indents) if "kWhile" in line)
    outer = indents[place][0]
    if outer > 0:
        return 0
    inside = itertools.takewhile(lambda line: line[0] > outer, indents[place + 1 :])
    return sum(indent == outer + 4 for indent, _ in inside)


def _bytes(shape: Any) -> int:
    return int(np.prod(shape.shape)) * shape.dtype.itemsize


def main() -> None:
    where = device()
    cases = [(1_000, 10), (100_000, 10), (1_000_000, 10), (1_000_000, 64)]
    rows = [row_of(n, d, dtype, where) for n, d in cases for dtype in (jnp.float32, jnp.bfloat16)]
    show(rows)
    compiler = importlib.metadata.version("jax-cuda12-pjrt")
    save("gpu_programs", rows, compiled_for="NVIDIA H200, compute capability 9.0, not run", compiler=compiler)


if __name__ == "__main__":
    main()
