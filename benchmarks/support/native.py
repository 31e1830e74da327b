"""Hand-written loops in C, compiled when they are asked for; None where there is no gcc."""

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).with_name("kernels.c")
# Free to reorder sums and to vectorise log and exp: as fast as a careful C programmer gets it.
FLAGS = ["-O3", "-march=native", "-ffast-math", "-fPIC"]


def kernels(width: int, samples: int = 1, dtype: Any = np.float32) -> ctypes.CDLL | None:
    """The functions of kernels.c for rows of `width` numbers and `samples` a node, or None."""
    if shutil.which("gcc") is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="cojax-c-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    single = np.dtype(dtype) == np.float32
    sizes = [f"-DD={width}", f"-DM={samples}", f"-DREAL={'float' if single else 'double'}"]
    compiled, library = folder / "kernels.o", folder / "kernels.so"
    command = ["gcc", *FLAGS, *sizes, *(["-DSINGLE"] if single else []), "-c", str(SOURCE), "-o", str(compiled)]
    subprocess.run(command, check=True)
    # Linked without -ffast-math, which would make this whole process flush small numbers to zero.
    subprocess.run(["gcc", "-shared", str(compiled), "-o", str(library), "-lmvec", "-lm"], check=True)
    return ctypes.CDLL(str(library))


def caller(function: Any, arguments: list[Any]) -> Callable[[int], None]:
    """A function of the number of steps that calls `function(*arguments, steps)`; whole numbers are 64 bits wide."""
    given = [_passed(argument) for argument in arguments]
    function.restype = None

    def call(times: int) -> None:
        function(*given, ctypes.c_int64(times))

    call.kept = arguments  # pyright: ignore[reportFunctionMemberAccess] -- arrays live as long as their pointers
    return call


def _passed(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise TypeError("a loop in C reads memory in order, got an array that does not lie so")
        return argument.ctypes.data_as(ctypes.c_void_p)
    return ctypes.c_int64(argument) if isinstance(argument, int) else ctypes.c_double(argument)


def rows_of(num_nodes: int, pairs: np.ndarray, weights: np.ndarray, dtype: Any) -> tuple[np.ndarray, ...]:
    """first (n + 1,), other (2 e,) and weight (2 e,): the neighbours of every node, one node after the other."""
    node, other = np.concatenate([pairs[0], pairs[1]]), np.concatenate([pairs[1], pairs[0]])
    order = np.lexsort((other, node))
    first = np.concatenate([[0], np.cumsum(np.bincount(node, minlength=num_nodes))])
    return first.astype(np.int32), other[order].astype(np.int32), np.tile(weights, 2)[order].astype(dtype)


def flow_loop(num_nodes: int, width: int, rows: tuple[np.ndarray, ...], heard: np.ndarray) -> Any:
    """A function of the number of neighbour sums; `heard` (n, width) is where the result of an even number is."""
    library = kernels(width, dtype=heard.dtype)
    if library is None:
        return None
    return caller(library.flows, [num_nodes, *rows, heard, np.zeros_like(heard)])


def triad_loop(num_bytes: int, dtype: Any = np.float32) -> Any:
    """A function of the number of STREAM triads over three arrays, `num_bytes` in all."""
    library = kernels(1, dtype=dtype)
    if library is None:
        return None
    n = num_bytes // (3 * np.dtype(dtype).itemsize)
    return caller(library.triad, [n, np.ones(n, dtype), np.ones(n, dtype), np.zeros(n, dtype)])


def coopt_run(graph_rows: tuple[np.ndarray, ...], data: Any, rho: float, step_size: float, share_step: float) -> Any:
    """A function of the number of steps of the job in support/job.py, fused in C, that returns params and shares."""
    n, m, d = data.features.shape
    dtype = data.features.dtype
    library = kernels(d, m, dtype)
    if library is None:
        return None
    row = (2 * d + 1 + 7) // 8 * 8
    params, tracker, grad, heard, other = (np.zeros((n, w), dtype) for w in (d, d, d, row, row))
    shares = np.ones(n, dtype)
    fixed = [n, *graph_rows, *(np.ascontiguousarray(part) for part in data)]
    call = caller(library.steps, [*fixed, params, tracker, grad, shares, heard, other, step_size, share_step, rho])

    def run(times: int) -> tuple[np.ndarray, np.ndarray]:
        params.fill(0)
        shares.fill(1)
        call(times)
        return params, shares

    return run
