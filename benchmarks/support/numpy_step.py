"""The step of `step_time.py` as a careful NumPy and SciPy loop: no allocation, one sparse product a step."""

from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse as sparse
from scipy.sparse import _sparsetools
from support.job import FEATURES, SHARE_STEP, STEP_SIZE, Samples

Quantize = Callable[[np.ndarray, np.ndarray], None]


def log_quantizer(rho: float, like: np.ndarray) -> Quantize:
    """sgn(u) exp(rho round(log|u| / rho)) into `out`. Base 2 is a tenth faster than base e in NumPy."""
    per_level = like.dtype.type(rho / np.log(2))
    levels = like.dtype.type(np.log(2) / rho)

    def quantize(value: np.ndarray, out: np.ndarray) -> None:
        np.abs(value, out=out)
        np.log2(out, out=out)
        np.multiply(out, levels, out=out)
        np.rint(out, out=out)
        np.multiply(out, per_level, out=out)
        np.exp2(out, out=out)
        np.copysign(out, value, out=out)

    return quantize


def float_quantizer(mantissa_bits: int, like: np.ndarray) -> Quantize:
    """float32 with the mantissa rounded to nearest, ties to even, by integer arithmetic on its bits."""
    if like.dtype != np.float32:
        raise TypeError(f"float_quantizer is written for float32, got {like.dtype}")
    shift = np.uint32(23 - mantissa_bits)
    below_half = np.uint32((1 << (22 - mantissa_bits)) - 1)
    keep = np.uint32(0xFFFFFFFF ^ ((1 << (23 - mantissa_bits)) - 1))
    odd = np.empty(like.shape, np.uint32)

    def quantize(value: np.ndarray, out: np.ndarray) -> None:
        bits, rounded = value.view(np.uint32), out.view(np.uint32)
        np.right_shift(bits, shift, out=odd)
        np.bitwise_and(odd, np.uint32(1), out=odd)
        np.add(bits, below_half, out=rounded)
        np.add(rounded, odd, out=rounded)
        np.bitwise_and(rounded, keep, out=rounded)

    return quantize


def gradient_by_node(data: Samples) -> Callable[[np.ndarray, np.ndarray], None]:
    """The gradient of every node by batched matmul, from the data as they come; einsum is half as fast here."""
    features, targets = data.features, data.targets
    residual = np.empty_like(targets)
    scale = targets.dtype.type(2 / targets.shape[1])

    def gradient(params: np.ndarray, out: np.ndarray) -> None:
        np.matmul(features, params[:, :, None], out=residual[:, :, None])
        np.subtract(residual, targets, out=residual)
        np.multiply(residual, scale, out=residual)
        np.matmul(residual[:, None, :], features, out=out[:, None, :])

    return gradient


def gradient_nodes_last(data: Samples) -> Callable[[np.ndarray, np.ndarray], None]:
    """The same by einsum over data copied to (d, m, n) beforehand: long inner loops, two transposes a step."""
    features = np.ascontiguousarray(data.features.transpose(2, 1, 0))
    targets = np.ascontiguousarray(data.targets.T)
    residual, wide = np.empty_like(targets), np.empty((features.shape[0], features.shape[2]), targets.dtype)
    scale = targets.dtype.type(2 / targets.shape[0])

    def gradient(params: np.ndarray, out: np.ndarray) -> None:
        np.copyto(wide, params.T)
        np.einsum("dmn,dn->mn", features, wide, out=residual)
        np.subtract(residual, targets, out=residual)
        np.multiply(residual, scale, out=residual)
        np.einsum("dmn,mn->dn", features, residual, out=wide)
        np.copyto(out, wide.T)

    return gradient


def minus_laplacian(graph: nx.Graph, dtype: Any) -> sparse.csr_array:
    """W - diag(W 1) with Metropolis weights, so that one product gives all flows."""
    n = graph.number_of_nodes()
    adjacency = sparse.coo_array(nx.to_scipy_sparse_array(graph, nodelist=range(n), dtype=np.float64))
    degree = adjacency.sum(1)
    weight = 1 / (1 + np.maximum(degree[adjacency.row], degree[adjacency.col]))
    weights = sparse.coo_array((weight, (adjacency.row, adjacency.col)), shape=(n, n))
    matrix = sparse.coo_array(weights - sparse.diags_array(weights.sum(1))).tocsr()
    short = (matrix.data.astype(dtype), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
    return sparse.csr_array(short, shape=(n, n))


def run(
    graph: nx.Graph,
    data: Samples,
    quantizer: Callable[[np.ndarray], Quantize],
    gradient_of: Callable[[Samples], Callable[[np.ndarray, np.ndarray], None]],
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """A function of the number of steps that returns params (n, d) and shares (n,)."""
    n, d, dtype = len(data.price), FEATURES, data.price.dtype
    matrix, gradient = minus_laplacian(graph, dtype), gradient_of(data)
    message, heard, flow = (np.empty((n, 2 * d + 1), dtype) for _ in range(3))
    quantize = quantizer(message)
    price_slope = 2 * data.price

    def loop(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
        params, slack, tracker, grad = (np.zeros((n, d), dtype) for _ in range(4))
        shares = np.ones(n, dtype)

        def tell() -> None:
            gradient(params, grad)
            np.add(slack, grad, out=tracker)
            message[:, :d], message[:, d : 2 * d] = params, tracker
            np.multiply(price_slope, shares, out=message[:, 2 * d])
            quantize(message, heard)

        tell()
        for _ in range(num_steps):
            flow.fill(0)
            # What `matrix @ heard` calls, without its new array a step.
            _sparsetools.csr_matvecs(
                n, n, 2 * d + 1, matrix.indptr, matrix.indices, matrix.data, heard.ravel(), flow.ravel()
            )
            np.add(params, flow[:, :d], out=params)
            np.multiply(tracker, dtype.type(STEP_SIZE), out=slack)
            np.subtract(params, slack, out=params)
            np.add(tracker, flow[:, d : 2 * d], out=slack)
            np.subtract(slack, grad, out=slack)
            np.multiply(flow[:, 2 * d], dtype.type(SHARE_STEP), out=flow[:, 2 * d])
            np.add(shares, flow[:, 2 * d], out=shares)
            tell()
        return params, shares

    def quiet(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(divide="ignore"):  # log 0 is minus infinity, and its exponential 0 again
            return loop(num_steps)

    return quiet
