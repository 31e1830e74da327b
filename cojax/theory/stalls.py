"""Where an allocator stops that hears only the nearest level of every marginal cost."""

import math
from typing import Any

import numpy as np

from .._support.checks import CojaxInputError, check_number
from ..networks.links.quantizers import FloatQuantizer, LogQuantizer, Quantizer, UniformQuantizer
from .limits import Limit


def stall_floor(quantizer: Quantizer, price: float, curvature: Any) -> Limit:
    """sum_i delta^2 / (2 l_i): the cost above the optimum at which `Laplacian` over `Quantized(quantizer)` may stop.

    delta is half the width of the quantizer's cell around the optimal price: exp(rho k) sinh(rho / 2), about
    |price| rho / 2, for logarithmic levels, and delta / 2 for equal ones. All marginal costs in that cell are told
    alike, and nothing moves. Where the price is near the end of its cell, a run may rest or chatter in the next one.

    Args:
        quantizer: a `LogQuantizer`, `UniformQuantizer` or `FloatQuantizer`.
        price: the optimal price, that of `cojax.allocate`, in cost per unit of cpu.
        curvature: (n,), the smallest second derivative of every node's cost in cpu, > 0.

    Returns a `Limit` of the cost, infinite where the price saturates the quantizer.
    Raises `CojaxInputError` for an adaptive quantizer, which is for links that do not stall.
    """
    check_number("stall_floor", "curvature", curvature, above=0.0)
    check_number("stall_floor", "price", price, shaped=())
    half = _half_cell(quantizer, float(price))
    value = float((half**2 / (2.0 * np.atleast_1d(np.asarray(curvature, np.float64)))).sum())
    return Limit(
        value,
        "convex costs, all marginal costs at rest in the cell of the optimal price",
        "sufficient",
        "strong duality",
    )


def _half_cell(quantizer: Quantizer, price: float) -> float:
    """Half the width of the set of numbers that are told as `price` is."""
    largest = getattr(quantizer, "largest", None)
    match quantizer:
        case LogQuantizer(rho=rho, smallest=smallest):
            rho = float(rho)
            if largest is not None and abs(price) > _level(float(largest), rho) * math.exp(rho / 2):
                return math.inf
            least = 0.0 if smallest is None else _level(float(smallest), rho) * math.exp(-rho / 2)
            if abs(price) <= least or price == 0:
                return least
            return _level(abs(price), rho) * math.sinh(rho / 2)
        case UniformQuantizer(delta=delta):
            delta = float(delta)
            saturated = largest is not None and abs(price) > delta * round(float(largest) / delta) + delta / 2
            return math.inf if saturated else delta / 2
        case FloatQuantizer(mantissa_bits=bits):
            return 0.0 if price == 0 else 2.0 ** (math.frexp(price)[1] - 2 - bits)
    raise CojaxInputError(
        f"stall_floor needs levels that stay where they are, got {type(quantizer).__name__}, which has none "
        "and, over links with memory, does not stall."
    )


def _level(size: float, rho: float) -> float:
    """The level of a log quantizer nearest to a size above 0."""
    return math.exp(rho * round(math.log(size) / rho))
