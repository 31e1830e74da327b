"""A network of Equinox or Flax is params like any other: one pytree per node, trained beside the CPU shares."""

import functools

import equinox as eqx
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import cojax

NODES = 4
FEATURES = np.random.default_rng(0).normal(size=(NODES, 16, 2)).astype(np.float32)
TARGETS = np.sin(FEATURES[..., :1]) + FEATURES[..., 1:]


@functools.cache  # one predictor and one cost of a kind of model: one program for all that train it
def equinox_model():
    model = eqx.nn.MLP(2, 1, 8, 1, activation=jax.nn.tanh, key=jax.random.key(0), dtype=jnp.float32)
    params, static = eqx.partition(model, eqx.is_array)
    return params, lambda params, features: jax.vmap(eqx.combine(params, static))(features)


@functools.cache
def nnx_model():
    class Model(flax.nnx.Module):
        def __init__(self, rngs):
            self.inner, self.outer = flax.nnx.Linear(2, 8, rngs=rngs), flax.nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, features):
            return self.outer(jax.nn.tanh(self.inner(features)))

    graph, params = flax.nnx.split(Model(flax.nnx.Rngs(0)), flax.nnx.Param)
    return params, lambda params, features: flax.nnx.merge(graph, params)(features)


@functools.cache
def linen_model():
    model = flax.linen.Sequential([flax.linen.Dense(8), jax.nn.tanh, flax.linen.Dense(1)])
    return model.init(jax.random.key(0), jnp.ones((1, 2), jnp.float32)), model.apply


def loss(predict, params, features, targets):
    """The mean square error of one node, its samples in the dtype of the model."""
    (dtype,) = {leaf.dtype for leaf in jax.tree.leaves(params)}
    errors = predict(params, jnp.asarray(features, dtype)).astype(jnp.float32) - targets
    return jnp.mean(errors**2)


@functools.cache
def cost_of(predict):
    def cost(x, data):
        features, targets, price = data
        return loss(predict, x.params, features, targets) + price * x.cpu**2

    return cost


def trained(predict, params):
    """A start with the stacked `params`, and where gradient tracking and the paper's allocator take it."""
    price = np.linspace(0.5, 2.0, NODES, dtype=np.float32)
    problem = cojax.Problem(cost_of(predict), (FEATURES, TARGETS, price), budget=np.float32(NODES))
    method = cojax.CoOpt(learn=cojax.DIGing(0.03), allocate=cojax.Laplacian(0.1))
    start = problem.start(params=params)
    return start, cojax.solve(problem, cojax.network(nx.cycle_graph(NODES)), method, start, num_steps=600, every=60)


def stacked(params, dtype=jnp.float32):
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.astype(dtype), (NODES, *leaf.shape)), params)


@pytest.mark.parametrize("model", [equinox_model, nnx_model, linen_model])
def test_a_neural_network_learns_while_the_shares_keep_their_sum_exactly(model):
    params, predict = model()
    start, solution = trained(predict, stacked(params))
    by_node = jax.jit(jax.vmap(functools.partial(loss, predict)))
    losses = [float(by_node(x.params, FEATURES, TARGETS).sum()) for x in (start, solution.x)]
    assert losses[1] < losses[0] / 10
    assert solution.trace.cost[-1] < solution.trace.cost[0]
    assert float(solution.trace.imbalance.max()) == 0.0
    assert float(np.sum(solution.x.cpu, dtype=np.float64)) == NODES


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_neural_network_keeps_its_structure_and_its_dtype(dtype):
    params, predict = equinox_model()
    start, solution = trained(predict, stacked(params, dtype))
    assert jax.tree.structure(solution.x.params) == jax.tree.structure(start.params)
    assert {leaf.dtype for leaf in jax.tree.leaves(solution.x.params)} == {jnp.dtype(dtype)}
    assert np.isfinite(solution.trace.cost).all()


def test_copies_of_a_neural_network_that_start_apart_come_to_agree():
    params, predict = linen_model()
    noise = np.random.default_rng(1)
    apart = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(noise.normal(size=leaf.shape), leaf.dtype) / 2, stacked(params)
    )
    start, solution = trained(predict, apart)
    before = max(float(jnp.abs(leaf - leaf.mean(0, keepdims=True)).max()) for leaf in jax.tree.leaves(start.params))
    # Mixing alone shrinks a difference by 1/3 a step; what stays is what one step of new gradients pulls apart.
    assert float(solution.trace.disagreement[-1]) < before / 1000
