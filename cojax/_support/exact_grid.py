"""CPU shares live on a power-of-two grid, so that moving them adds without rounding.

Every resource has a grid of its own: one is counted in cores, another in bytes. Grids of r resources are (r,), and go
with the last axis of shares.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .checks import CojaxInputError
from .compiling import compiled
from .straight_through import straight_through


def _headroom(value: Float[Array, "..."]) -> int:
    """A share may grow to 2**this times the largest share at the start before an addition could round."""
    return 6 if value.dtype == jnp.float64 else 4


def grid_of(cpu: Any) -> Float[Array, "..."]:
    """The power of two that divides, exactly, all shares up to 64 times (float32: 16 times) the largest of `cpu`.

    () for shares (n,), and (1, r) for (n, r): with an axis in front no resource is taken for a node.
    """
    if cpu is None:
        raise CojaxInputError("An allocator needs shares to move, got cpu = None; give the problem a budget.")
    if not hasattr(cpu, "dtype"):
        got = type(cpu).__name__
        raise CojaxInputError(f"An allocator needs an array of shares, got {got}; use CoOpt(allocate=...).")
    grid = _grid_above(cpu, _headroom(cpu))
    return grid[None] if grid.ndim else grid


def _grid_above(values: Float[Array, "n *r"], headroom: int) -> Float[Array, "*r"]:
    """The grid of every resource on which numbers up to 2**headroom times its largest are exact."""
    _, exponent = jnp.frexp(jnp.max(jnp.abs(lax.stop_gradient(values)), 0))
    return power_of_two(exponent + headroom - _precision(values), values.dtype)


def finest(shares: Float[Array, "n *r"]) -> Float[Array, "*r"]:
    """The finest grid on which `shares`, and twice the largest of them, are exact."""
    return _grid_above(shares, 1)


def _along(grid: Array, value: Array) -> Array:
    """`grid` shaped to go with the last axes of `value`."""
    return grid.reshape((1,) * (value.ndim - grid.ndim) + grid.shape) if grid.ndim else grid


def on_grid(value: Float[Array, "..."], grid: Float[Array, "..."]) -> Float[Array, "..."]:
    """`value` rounded to a multiple of `grid`; its derivative is that of `value`."""
    return straight_through(_nearest_count(value, grid) * _along(grid, value), value)


def count_difference(
    new: Float[Array, "..."], old: Float[Array, "..."], grid: Float[Array, "..."]
) -> Float[Array, "..."]:
    """new - old for counters that circle, both at most the largest share that is exact on `grid`, as the result is.

    Right, to the last bit, where what was counted in between is no more than that.
    """
    half = _along(lax.stop_gradient(grid), new) * 2.0 ** _precision(new)
    # Compared so that no sum is rounded where it decides; one turn of 2 half is taken off in two exact halves.
    turn = jnp.where(new - half > old, half, jnp.where(new + half < old, -half, 0))
    return (new - turn) - (old + turn)


@compiled
def round_budget(budget: Float[Array, "*r"]) -> Float[Array, "*r"]:
    """The budget with its last bits cleared, so that every grid of `grid_of` with shares below it divides it."""
    info = jnp.finfo(budget.dtype)
    rounded = lax.reduce_precision(budget, info.nexp, _precision(budget) - _headroom(budget) - 2)
    return budget + lax.stop_gradient(rounded - budget)


def common_grid(budgets: Float[Array, "s *r"]) -> Float[Array, "*r"]:
    """The power of two that the budgets of a run are rounded to, so that its shares can sum to each of them."""
    return _grid_above(budgets, _headroom(budgets) + 2)


def largest_share(cpu: Float[Array, "n *r"]) -> Float[Array, "*r"]:
    """The largest share that is exact on the grid of `cpu`."""
    return _grid_above(cpu, _headroom(cpu)) * 2.0 ** _precision(cpu)


def settle(cpu: Float[Array, "n *r"], budget: Float[Array, "*r"]) -> Float[Array, "n *r"]:
    """The shares on their grid, what is missing spread evenly over them in grid steps: they sum to `budget` exactly.

    The derivative is that of `cpu`.
    """
    grid = _grid_above(cpu, _headroom(cpu))
    counts = _nearest_count(cpu, grid).astype(_count_dtype(cpu))
    missing = _wrap(_nearest_count(budget, grid)) - counts.sum(0, dtype=counts.dtype)
    num_nodes = cpu.shape[0]
    one_more = (
        jnp.arange(num_nodes, dtype=counts.dtype).reshape(-1, *[1] * (cpu.ndim - 1)) < (missing % num_nodes)[None]
    )
    counts = counts + (missing // num_nodes)[None] + one_more.astype(counts.dtype)
    return straight_through(counts.astype(cpu.dtype) * _along(grid, cpu), cpu)


def imbalance(cpu: Float[Array, "n *r"], budget: Float[Array, "*r"]) -> Float[Array, "*r"]:
    """|sum of cpu - budget|, without rounding in the sum: 0.0 means equal."""
    cpu, budget = lax.stop_gradient((cpu, budget))
    largest = jnp.max(jnp.abs(cpu), 0)
    off, rough = jnp.abs(shortfall(cpu, budget)), jnp.abs(budget - cpu.sum(0))
    # Beyond half of what integers count, a shortfall wraps: shares that are all 0 would have any large power of two.
    counted = _quantum(largest) * 2.0 ** (jnp.iinfo(_count_dtype(cpu)).bits - 1)
    rounding = jnp.finfo(cpu.dtype).eps * (float(cpu.shape[0]) ** 2 * largest + jnp.abs(budget))
    return jnp.where(rough > counted + rounding, rough, off)


def drift(cpu: Float[Array, "n *r"], budget: Float[Array, "*r"]) -> Float[Array, "*r"]:
    """`imbalance` of shares that were near the budget before a step: where it is below twice the largest share."""
    return jnp.abs(shortfall(cpu, budget))


def shortfall(cpu: Float[Array, "n *r"], budget: Float[Array, "*r"]) -> Float[Array, "*r"]:
    """budget - sum of cpu, without rounding in the sum; not differentiable.

    Shares are counted in integers of their finest bit. Integers wrap, and so does the counted budget, so the
    difference is right although neither sum may fit, as long as it is below twice the largest share itself.
    """
    cpu, budget = lax.stop_gradient((cpu, budget))
    largest = jnp.max(jnp.abs(cpu), 0)  # NaN where any is
    quantum = _quantum(largest)
    counts = _nearest_count(cpu, quantum).astype(_count_dtype(cpu))
    difference = _wrap(_nearest_count(budget, quantum)) - counts.sum(0, dtype=counts.dtype)
    missing = difference.astype(cpu.dtype) * quantum
    return jnp.where(jnp.isfinite(largest), missing, jnp.nan)


def _quantum(largest: Float[Array, "*r"]) -> Float[Array, "*r"]:
    """What a share is counted in, of which the largest has a quarter as many as integers can tell apart."""
    _, exponent = jnp.frexp(largest)
    return power_of_two(exponent + 2 - jnp.iinfo(_count_dtype(largest)).bits, largest.dtype)


def power_of_two(exponent: Int[Array, "*r"], dtype: Any) -> Float[Array, "*r"]:
    """2**exponent, or the nearest normal number where that is none, put together from its bits.

    `jnp.ldexp` is a general power, which an accelerator may round.
    """
    info, bits = jnp.finfo(dtype), _bits(dtype)
    stored = jnp.clip(exponent.astype(bits), info.minexp, info.maxexp - 1) + (1 - info.minexp)
    return lax.bitcast_convert_type(stored << info.nmant, dtype)


def typical_exponent(sizes: Float[Array, "n *r"]) -> Int[Array, "*r"]:
    """The mean exponent of those that are > 0, so that twice the numbers have one more; 0 where none is."""
    count = jnp.maximum((sizes > 0).sum(0), 1)
    return jnp.where(sizes > 0, jnp.frexp(sizes)[1], 0).sum(0) // count


def _nearest_count(value: Float[Array, "..."], grid: Float[Array, "..."]) -> Float[Array, "..."]:
    """The whole number nearest to value / grid, `grid` a power of two."""
    return jnp.round(units(value, grid))


def units(value: Float[Array, "..."], grid: Float[Array, "..."]) -> Float[Array, "..."]:
    """value / grid, `grid` a power of two.

    By a product with the inverse, which is exact: XLA's float32 division on NVIDIA GPUs is off by up to two units in
    the last place, which of a large count is more than one.
    """
    info, bits = jnp.finfo(value.dtype), _bits(value.dtype)
    # The stored exponents of a power of two and of its inverse have one sum.
    both = jnp.asarray(2 * (1 - info.minexp), bits) << info.nmant
    inverse = lax.bitcast_convert_type(both - lax.bitcast_convert_type(grid, bits), value.dtype)
    return value * _along(inverse, value)


def _bits(dtype: Any):
    return jnp.int64 if jnp.finfo(dtype).bits == 64 else jnp.int32


def _wrap(value: Float[Array, "*r"]) -> Int[Array, "*r"]:
    """A whole number modulo 2**bits, as integer sums wrap."""
    dtype = _count_dtype(value)
    span = 2.0 ** jnp.iinfo(dtype).bits
    value = jnp.fmod(value, span)
    value = jnp.where(value >= span / 2, value - span, value)
    value = jnp.where(value < -span / 2, value + span, value)
    return value.astype(dtype)


def _precision(value: Float[Array, "..."]) -> int:
    return jnp.finfo(value.dtype).nmant + 1


def _count_dtype(value: Float[Array, "..."]):
    return _bits(value.dtype)
