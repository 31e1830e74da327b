"""A flow differentiates as its plain formula does, and reverse mode through it scatters no more than it does."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import jax.test_util
import networkx as nx
import numpy as np
import pytest

import cojax
from cojax.app.cli import ONE_KERNEL
from cojax.networks.laws import Transfer, Weigh

pytestmark = pytest.mark.optimised

HUBS = nx.compose(nx.star_graph(7), nx.cycle_graph(8))
RANDOM = np.random.default_rng(0)


def network_of(graph, layout):
    return cojax.network(graph, nodelist=range(len(graph)), layout=layout)


def sharded(network):
    """The network over a mesh of one device, where its nodes are in an order of their own."""
    problem = cojax.Problem(lambda x, _: x.cpu**2, np.zeros(network.num_nodes), budget=1.0)
    mesh = jax.make_mesh((1,), ("any",), devices=jax.devices()[:1])
    return cojax.shard(problem, network, problem.start(), mesh).network


NETWORK = network_of(nx.star_graph(5), "neighbors")  # a hub: most slots are empty
NETWORKS = {
    "table": NETWORK,
    "split table": network_of(HUBS, "split"),
    "cut table": sharded(network_of(HUBS, "neighbors")),
    "cut list of edges": sharded(network_of(HUBS, "edges")),
}


def flow_over(network):
    return lambda weights, heard: network.reweighted(weights).hear(Weigh(), heard)


def plain_over(network):
    """The same as JAX differentiates it by itself: one product for every end of an edge."""
    taker, giver = (end.ravel() for end in network.ends())

    def plain(weights, heard):
        by_end = network.reweighted(weights).edge_weights().reshape(-1, *[1] * (heard.ndim - 1))
        return jnp.zeros_like(heard).at[taker].add(by_end * (heard[giver] - heard[taker]))

    return plain


flow, plain = flow_over(NETWORK), plain_over(NETWORK)


def given(*features, network=NETWORK):
    """Weights that differ at the two ends of an edge, what is heard, and a direction of each."""
    shapes = 2 * [network.weights.shape, (network.num_nodes, *features)]
    return [jnp.asarray(RANDOM.normal(size=shape)) for shape in shapes]


def curved(function):
    return lambda weights, heard: (jnp.sin(function(weights, heard)) * (1 + heard)).sum()


@pytest.mark.parametrize("features", [(), (3,), (2, 3)])
def test_derivatives_are_those_of_the_plain_formula(features):
    weights, heard, *along = given(*features)

    def derivatives(function):
        at, gradient = (weights, heard), jax.grad(curved(function), argnums=(0, 1))
        forward, mixed = (jax.jvp(each, at, tuple(along)) for each in (function, gradient))
        return forward, gradient(*at), jax.hessian(curved(function), argnums=(0, 1))(*at), mixed

    both = (jax.tree.leaves(jax.jit(derivatives, static_argnums=0)(function)) for function in (flow, plain))
    for mine, other in zip(*both, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)  # rounding of sums of 6


@pytest.mark.parametrize("kind", list(NETWORKS)[1:])
def test_so_they_are_over_every_layout_that_lists_neighbours(kind):
    network = NETWORKS[kind]
    weights, heard, weights_dot, heard_dot = given(3, network=network)

    def derivatives(function, at, along):
        gradient = jax.grad(curved(function), argnums=(0, 1))
        runs = jax.vmap(gradient, (None, 0))(at[0], jnp.stack(2 * [at[1]]))
        return jax.jvp(function, at, along), jax.jvp(gradient, at, along), runs

    both = (
        jax.tree.leaves(
            jax.jit(derivatives, static_argnums=0)(over(network), (weights, heard), (weights_dot, heard_dot))
        )
        for over in (flow_over, plain_over)
    )
    for mine, other in zip(*both, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)  # rounding of sums of 8


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

    @jax.jit
    def three_ways(*runs):
        inside, wanted = (jax.vmap(jax.grad(cost(each), argnums=(0, 1)), axes)(*runs) for each in (flow, plain))
        whole_cost = jax.jit(lambda *runs: jax.vmap(cost(flow), axes)(*runs).sum())
        return inside, jax.grad(whole_cost, argnums=(0, 1))(*runs), wanted

    for mine, whole, other, axis in zip(*three_ways(*runs), axes, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)
        other = np.asarray(other)
        along = other.sum(0) if axis is None else np.moveaxis(other, 0, axis)
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
        return NETWORK.reweighted(weights).hear(Transfer(step_size, grid), heard)

    flux = moved(0.3, weights, heard)
    np.testing.assert_array_equal(flux / grid, np.round(flux / grid))
    tangents = 0.7, 2 * weights, heard**2
    _, mine = jax.jvp(moved, (0.3, weights, heard), tangents)
    _, wanted = jax.jvp(lambda eta, *rest: eta * plain(*rest), (0.3, weights, heard), tangents)
    np.testing.assert_allclose(mine, wanted, rtol=1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
def test_reverse_mode_scatters_no_more_than_the_flow(kind):
    network = NETWORKS[kind]
    heard = jnp.ones((network.num_nodes, 3))

    def scatters(function):
        """How many scatters into rows like those heard a program holds."""
        program = jax.jit(function).lower(heard).as_text("hlo")
        return len(re.findall(rf"f64\[{network.num_nodes},3\]\S* scatter\(", program))

    forward, reverse, by_jax = (
        scatters(function)
        for function in (
            lambda heard: network.hear(Weigh(), heard).sum(),
            jax.grad(lambda heard: network.hear(Weigh(), heard).sum()),
            jax.grad(lambda heard: network.sums(Weigh(), heard).sum()),
        )
    )
    assert reverse <= forward
    assert by_jax > forward  # so that what is counted is what JAX makes of a gather


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


LOOP = """
import cojax, jax, jax.numpy as jnp, networkx as nx

network = cojax.network(nx.random_regular_graph(10, 200, seed=0), layout="neighbors")


def step(heard, _):
    return jnp.sin(heard + network.hear(cojax.networks.laws.Weigh(), heard)), None


jax.jit(jax.grad(lambda heard: jax.lax.scan(step, heard, None, length=4)[0].sum()))(jnp.ones((200, 10)))
"""


def test_reverse_mode_compiles_where_a_loop_is_one_kernel_and_several_threads_are_there():
    # In a process of its own, as XLA reads its flags once; with one core it passes whatever the code does.
    run = subprocess.run([sys.executable, "-c", LOOP], env=os.environ | {"XLA_FLAGS": ONE_KERNEL}, capture_output=True)
    assert run.returncode == 0, run.stderr[-2000:].decode()


def test_a_node_alone_differentiates_too():
    network = cojax.network(nx.empty_graph(1), nodelist=[0], layout="neighbors")

    def cost(weights, heard):
        return network.reweighted(weights).hear(Weigh(), heard).sum()

    by_weights, by_heard = jax.grad(cost, argnums=(0, 1))(network.weights, jnp.ones((1, 3)))
    assert by_weights.shape == (0, 1)
    np.testing.assert_array_equal(by_heard, np.zeros((1, 3)))
