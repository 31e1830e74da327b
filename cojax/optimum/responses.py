"""How shares and prices answer a small change: the linear system of the optimality conditions."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._support.exact_grid import power_of_two, typical_exponent

Table = Float[Array, "n r"]
Prices = Float[Array, " r"]


class Curves(NamedTuple):
    """The curvatures of every node over its free shares, along their principal directions; 0 where not free."""

    inverse: Float[Array, "n r r"]  # over the directions that curve
    flat: Float[Array, "n r r"]  # over the directions that do not, in units in which each share curves by 1
    flats: Float[Array, "r r"]  # the sum of `flat` over nodes
    flats_inverse: Float[Array, "r r"]  # its pseudo-inverse
    curved: Float[Array, "r r"]  # projects on the prices that no flat direction sets


def response(
    hessian: Float[Array, "n r r"], free: Bool[Array, "n r"], d_slope: Table, d_pinned: Table, d_budget: Prices
) -> tuple[Table, Prices]:
    """How shares and price move, to first order, when marginal costs, pinned shares and the budget are moved.

    hessian d_cpu + d_slope = d_price on the free shares, d_cpu = d_pinned on the others, sum_i d_cpu = d_budget. A node
    may be flat, without curvature in some direction: it takes what the others leave, and sets the price; of several
    that are flat alike each takes an equal part. The system is symmetric, and reverse mode solves it as forward mode
    does: the steps of the solution, transposed one by one, would divide by curvatures that are 0.
    """
    if hessian.shape[1] == 1:
        return _response(hessian, free, d_slope, d_pinned, d_budget)
    # One resource is counted in cores, another in bytes: beside the curvature of one that of the other looked like 0.
    units, per_unit = _units(lax.stop_gradient(hessian), free)
    hessian = hessian * units[None, :, None] * units[None, None]
    moved = _response(hessian, free, d_slope * units[None], d_pinned * per_unit[None], d_budget * per_unit)
    return moved[0] * units[None], moved[1] * per_unit


def _units(hessian: Float[Array, "n r r"], free: Bool[Array, "n r"]) -> tuple[Prices, Prices]:
    """The power of two for every resource in which free shares curve by about 1, and its inverse: neither rounds."""
    half = typical_exponent(jnp.where(free, jnp.diagonal(hessian, axis1=1, axis2=2), 0)) // 2
    return power_of_two(-half, hessian.dtype), power_of_two(half, hessian.dtype)


def _response(
    hessian: Float[Array, "n r r"], free: Bool[Array, "n r"], d_slope: Table, d_pinned: Table, d_budget: Prices
) -> tuple[Table, Prices]:
    both = free[:, :, None] & free[:, None, :]
    some = jnp.any(free, 0)
    pinned = jnp.where(free, 0, d_pinned)
    pushed = jnp.where(free, d_slope + _apply(hessian, pinned), 0)
    hessian = jnp.where(both, hessian, 0)
    curves = _curves(lax.stop_gradient(hessian), free)

    # One vector: JAX differentiates a solve only where every array on its right side depends on what moves
    # (`findings/custom_linear_solve_constant_side.sh`).
    def joined(of_shares: Table, of_sums: Prices) -> Array:
        return jnp.concatenate([of_shares.ravel(), of_sums])

    def parted(both: Array) -> tuple[Table, Prices]:
        return both[: pushed.size].reshape(pushed.shape), both[pushed.size :]

    def conditions(moves: Array) -> Array:
        d_cpu, d_price = parted(moves)
        on_free = _apply(hessian, d_cpu) - d_price[None]
        sums = jnp.where(free, d_cpu, 0).sum(0)
        return joined(jnp.where(free, on_free, d_cpu), jnp.where(some, -sums, d_price))

    def solved(_, rest: Array) -> Array:
        of_shares, of_sums = parted(-rest)
        return joined(*_solve(curves, free, of_shares, of_sums))

    wanted = joined(-pushed, jnp.where(some, pinned.sum(0) - d_budget, 0))
    d_cpu, d_price = parted(lax.custom_linear_solve(conditions, wanted, solved, symmetric=True))
    return jnp.where(free, d_cpu, pinned), d_price


def _curves(hessian: Float[Array, "n r r"], free: Bool[Array, "n r"]) -> Curves:
    """A share below eps^2 of the largest curvature of all counts as flat, and of several what rounding cannot tell."""
    eps = jnp.finfo(hessian.dtype).eps
    count = hessian.shape[1]
    rates = jnp.diagonal(hessian, axis1=1, axis2=2)
    curves = rates > eps**2 * jnp.max(jnp.abs(rates))
    # In units of a node's own, in which the curvature of each share is 1.
    own = jnp.where(curves, jnp.sqrt(jnp.where(curves, rates, 1)), 1)
    units = own[:, :, None] * own[:, None, :]
    scaled = jnp.where(curves[:, :, None] & curves[:, None, :], hessian / units, 0)
    # A share that is not free is a direction of its own, stiffer than all others, which no flat one can mix with.
    stiffness = jnp.where(free, 0, 4 * count).astype(hessian.dtype)
    if count == 1:
        values, vectors = scaled[:, 0] + stiffness, jnp.ones_like(hessian)
    else:
        values, vectors = jnp.linalg.eigh(scaled + stiffness[:, :, None] * jnp.eye(count, dtype=hessian.dtype)[None])
    is_curved = values > 16 * count * eps
    both = free[:, :, None] & free[:, None, :]
    inverse = jnp.where(is_curved, 1 / jnp.where(is_curved, values, 1), 0)
    is_flat = ~is_curved
    bent = jnp.einsum("nij,nj,nkj->nik", vectors, inverse, vectors, precision="highest")
    bent = jnp.where(both, bent / units, 0)
    flat = jnp.einsum("nij,nj,nkj->nik", vectors, is_flat.astype(values.dtype), vectors, precision="highest") / units
    flats = flat.sum(0)
    if count == 1:
        flats_inverse = jnp.where(flats > 0, 1 / jnp.where(flats > 0, flats, 1), 0)
        curved = (flats == 0).astype(flats.dtype)
    else:
        values, vectors = jnp.linalg.eigh(flats)
        known = values > 1e3 * eps * jnp.maximum(jnp.max(values), eps)
        flats_inverse = (vectors * jnp.where(known, 1 / jnp.where(known, values, 1), 0)[None]) @ vectors.T
        curved = (vectors * (~known).astype(values.dtype)[None]) @ vectors.T
    return Curves(bent, flat, flats, flats_inverse, curved)


def _solve(curves: Curves, free: Bool[Array, "n r"], pushed: Table, missing: Prices) -> tuple[Table, Prices]:
    """Prices first: those that flat nodes set, then those at which the curved nodes take what is left."""
    some = jnp.any(free, 0)
    eye = jnp.eye(missing.size, dtype=missing.dtype)
    # Measured from the flattest node, whose own term then cancels exactly instead of swamping the rest.
    flattest = jnp.argmax(jnp.diagonal(curves.inverse, axis1=1, axis2=2), 0)
    level = jnp.where(some, jnp.take_along_axis(pushed, flattest[None], 0)[0], 0)
    left = jnp.where(free, pushed - level[None], 0)
    set_by_flats = curves.flats_inverse @ _apply(curves.flat, left).sum(0)
    stiff = curves.inverse.sum(0)
    missing = jnp.where(some, missing, 0)
    rest = missing + _apply(curves.inverse, left - set_by_flats[None]).sum(0)
    within = curves.curved @ stiff @ curves.curved + (eye - curves.curved) + jnp.diag(1 - some.astype(stiff.dtype))
    across = curves.curved @ (rest / within[0] if missing.size == 1 else jnp.linalg.solve(within, curves.curved @ rest))
    price = set_by_flats + across
    curved = _apply(curves.inverse, price[None] - left)
    over = curves.flats_inverse @ (missing - curved.sum(0))
    d_cpu = jnp.where(free, curved + _apply(curves.flat, jnp.broadcast_to(over[None], curved.shape)), -pushed)
    return d_cpu, jnp.where(some, price + level, -missing)


def _apply(matrices: Float[Array, "n r r"], vectors: Table) -> Table:
    return (matrices * vectors[:, None, :]).sum(-1)
