"""Rounding differentiates as what it rounds in every order, through loops and runs too."""

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax import lax

import cojax
from cojax._support.exact_grid import on_grid
from cojax._support.straight_through import straight_through

GRID = jnp.asarray(2.0**-30)


def second_derivatives(function, at):
    """By forward over reverse, reverse over reverse, reverse over forward and forward over forward."""

    def forward(x):
        return jax.jvp(function, (x,), (1.0,))[1]

    return [
        jax.jvp(jax.grad(function), (at,), (1.0,))[1],
        jax.grad(jax.grad(function))(at),
        jax.grad(forward)(at),
        jax.jvp(forward, (at,), (1.0,))[1],
    ]


def rounded_sixth_power(x):
    return on_grid(on_grid(x * x, GRID) ** 3, GRID)


@pytest.mark.parametrize(
    "function",
    [
        rounded_sixth_power,
        lambda x: lax.scan(lambda x, _: (rounded_sixth_power(x), None), x, length=1)[0],
        lambda x: lax.scan(jax.checkpoint(lambda x, _: (rounded_sixth_power(x), None)), x, length=1)[0],
    ],
    ids=["alone", "in a scan", "in a scan that computes anew"],
)
def test_second_derivatives_do_not_see_the_rounding(function):
    # x**6; what is rounded is off by 2**-31, its second derivative by some tens of that.
    np.testing.assert_allclose(second_derivatives(jax.jit(function), 1.3), 30 * 1.3**4, rtol=1e-7)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (1, 0)])
def test_maps_keep_the_value_of_one_and_the_derivative_of_the_other(axes):
    shapes = [(3,) if axis is None else (2, 3) if axis == 0 else (3, 2) for axis in axes]
    rounded, exact = (jnp.arange(float(np.prod(shape))).reshape(shape) for shape in shapes)

    def mapped(rounded, exact):
        return jax.vmap(straight_through, axes)(rounded, exact)

    value, tangent = jax.jvp(mapped, (rounded, exact), (rounded, 10 * exact))
    np.testing.assert_array_equal(value, jax.vmap(lambda one, other: one + 0 * other, axes)(rounded, exact))
    np.testing.assert_array_equal(tangent, jax.vmap(lambda one, other: 10 * other + 0 * one, axes)(rounded, exact))


@pytest.mark.parametrize("layout", ["neighbors", "edges"])
def test_second_derivatives_of_a_run_are_those_of_differences(layout):
    network = cojax.network(nx.path_graph(4), layout=layout)
    wanted = jnp.asarray(np.random.default_rng(0).uniform(0, 4, 4))
    problem = cojax.Problem(lambda x, want: 0.5 * (x.cpu - want) ** 2 + 0.1 * jnp.cos(x.cpu), wanted, budget=8.0)

    def cost(shift):
        moved = eqx.tree_at(lambda p: p.data, problem, wanted * (1 + shift))
        method = cojax.CoOpt(allocate=cojax.Laplacian(0.2 + shift))
        run = cojax.solve(moved, network, method, problem.start(), num_steps=3, record=lambda problem, x, state: None)
        return (run.x.cpu**3).sum()

    def slope(shift):
        return jax.jvp(cost, (shift,), (1.0,))[1]

    @jax.jit
    def measured(shift):
        return slope(shift), jax.jvp(jax.grad(cost), (shift,), (1.0,))[1], jax.grad(slope)(shift)

    (low, *_), (_, *mine), (high, *_) = map(measured, (-1e-4, 0.0, 1e-4))
    # The error of a central difference is of order 1e-8, that of rounding 1e-16 * 10 / 1e-4.
    np.testing.assert_allclose(mine, (high - low) / 2e-4, rtol=1e-6)
