"""The flow over a table differentiates as its plain formula does, and reverse mode through it holds no scatter."""

import jax
import jax.numpy as jnp
import jax.test_util
import networkx as nx
import numpy as np
import pytest

import cojax
from cojax.edges import Transfer, Weigh
from cojax.slots import table_flow

NETWORK = cojax.network(nx.star_graph(5), nodelist=range(6), layout="neighbors")  # a hub: most slots are empty
RANDOM = np.random.default_rng(0)


def flow(weights, heard):
    return table_flow(Weigh(), weights, NETWORK.index, NETWORK.twin, heard)


def plain(weights, heard):
    """The same as JAX differentiates it by itself."""
    difference = heard[NETWORK.index] - heard[None]
    return (weights.reshape(*weights.shape, *[1] * (heard.ndim - 1)) * difference).sum(0)


def given(*features):
    """Weights that differ at the two ends of an edge, what is heard, and a direction of each."""
    shapes = NETWORK.weights.shape, (6, *features), NETWORK.weights.shape, (6, *features)
    return [jnp.asarray(RANDOM.normal(size=shape)) for shape in shapes]


@pytest.mark.parametrize("features", [(), (3,), (2, 3)])
def test_derivatives_are_those_of_the_plain_formula(features):
    weights, heard, weights_dot, heard_dot = given(*features)

    def curved(function):
        return lambda weights, heard: (jnp.sin(function(weights, heard)) * (1 + heard)).sum()

    for derivative in (
        lambda f: jax.jvp(f, (weights, heard), (weights_dot, heard_dot)),
        lambda f: jax.grad(curved(f), argnums=(0, 1))(weights, heard),
        lambda f: jax.jit(jax.hessian(curved(f), argnums=(0, 1)))(weights, heard),
        lambda f: jax.jvp(jax.grad(curved(f), argnums=(0, 1)), (weights, heard), (weights_dot, heard_dot)),
    ):
        for mine, other in zip(*(jax.tree.leaves(derivative(f)) for f in (flow, plain)), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)  # rounding of sums of 6


def test_both_modes_agree_with_finite_differences():
    on_device = jax.jit(flow)
    jax.test_util.check_grads(on_device, tuple(given(3)[:2]), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("axes", [(None, 0), (None, 1), (0, None), (0, 2)])
def test_maps_and_derivatives_commute(axes):
    weights, heard, *_ = given(3)
    runs = [
        array if axis is None else jnp.stack([array, 2 * array, array**2], axis)
        for array, axis in zip((weights, heard), axes, strict=True)
    ]

    def cost(function):
        return lambda weights, heard: (function(weights, heard) ** 3).sum()

    inside = jax.vmap(jax.grad(cost(flow), argnums=(0, 1)), axes)(*runs)
    whole_cost = jax.jit(lambda *runs: jax.vmap(cost(flow), axes)(*runs).sum())
    outside = jax.grad(whole_cost, argnums=(0, 1))(*runs)
    wanted = jax.vmap(jax.grad(cost(plain), argnums=(0, 1)), axes)(*runs)
    for mine, whole, other, axis in zip(inside, outside, wanted, axes, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)
        along = other.sum(0) if axis is None else jnp.moveaxis(other, 0, axis)
        np.testing.assert_allclose(whole, along, rtol=1e-12, atol=1e-12)


def test_what_is_not_finite_stays_where_it_flows():
    weights, heard, *_ = given(3)
    for odd in (jnp.nan, jnp.inf):
        spoiled = heard.at[0, 0].set(odd)  # what decides in `_on_cpu`, and the hub
        _, back = jax.vjp(lambda heard: flow(weights, heard), heard)
        _, wanted = jax.vjp(lambda heard: plain(weights, heard), heard)
        finite = np.isfinite(np.asarray(wanted(spoiled)[0]))
        np.testing.assert_array_equal(np.isfinite(np.asarray(back(spoiled)[0])), finite)
        np.testing.assert_allclose(back(spoiled)[0][finite], wanted(spoiled)[0][finite], rtol=1e-12)


def test_shares_move_on_the_grid_and_differentiate_off_it():
    weights, heard = NETWORK.weights, given()[1]
    grid = jnp.asarray(2.0**-4)

    def moved(step_size, weights, heard):
        return table_flow(Transfer(step_size, grid), weights, NETWORK.index, NETWORK.twin, heard)

    flux = moved(0.3, weights, heard)
    np.testing.assert_array_equal(flux / grid, np.round(flux / grid))
    tangents = 0.7, 2 * weights, heard**2
    _, mine = jax.jvp(moved, (0.3, weights, heard), tangents)
    _, wanted = jax.jvp(lambda eta, *rest: eta * plain(*rest), (0.3, weights, heard), tangents)
    np.testing.assert_allclose(mine, wanted, rtol=1e-12)


def test_shares_over_a_matrix_move_as_over_a_table_and_differentiate_off_the_grid():
    graph = nx.gnp_random_graph(130, 0.1, seed=0)
    table, matrix = (cojax.network(graph, nodelist=range(130), layout=layout) for layout in ("neighbors", "dense"))
    heard, grid = jnp.asarray(RANDOM.normal(size=130)), jnp.asarray(2.0**-4)

    def moved(step_size, weights, heard):
        return matrix.reweighted(weights).hear(Transfer(step_size, grid), heard)

    given = 0.3, matrix.weights, heard
    np.testing.assert_array_equal(moved(*given), table.hear(Transfer(0.3, grid), heard))
    tangents = 0.7, 2 * matrix.weights, heard**2
    _, mine = jax.jvp(moved, given, tangents)
    _, wanted = jax.jvp(lambda eta, weights, heard: eta * (weights @ heard - weights.sum(1) * heard), given, tangents)
    np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-12)  # rounding of sums of 130


def test_reverse_mode_through_a_run_holds_no_scatter():
    graph, data = nx.random_regular_graph(4, 12, seed=0), RANDOM.normal(size=(12, 3))
    problem = cojax.Problem(lambda x, row: ((x.params - row) ** 2).sum() + x.cpu**2, data, budget=12.0)
    method = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.1))
    start = problem.start(params=np.zeros((12, 3)))

    def programs(layout):
        network = cojax.network(graph, nodelist=range(12), layout=layout)

        def cost(method):
            return problem.costs(cojax.solve(problem, network, method, start, num_steps=6, every=3).x).sum()

        return str(jax.make_jaxpr(jax.grad(cost))(method))

    assert "scatter" not in programs("neighbors")
    assert "scatter" in programs("edges")  # so that the word is the right one


def test_a_node_alone_differentiates_too():
    network = cojax.network(nx.empty_graph(1), nodelist=[0], layout="neighbors")

    def cost(weights, heard):
        return table_flow(Weigh(), weights, network.index, network.twin, heard).sum()

    by_weights, by_heard = jax.grad(cost, argnums=(0, 1))(network.weights, jnp.ones((1, 3)))
    assert by_weights.shape == (0, 1)
    np.testing.assert_array_equal(by_heard, np.zeros((1, 3)))
