"""Costs that take a largest or smallest entry: their slopes beside NumPy's, mapped twice, where XLA loses JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cojax
from cojax._support.maxima import with_safe_maxima


@jax.jit
def _doubled(x):
    return 2 * jnp.max(jax.nn.relu(x) - jax.nn.relu(-x), axis=(0, 1))


def dearest(share, slope, offset):
    return jnp.max(slope * share + offset)


def cheapest(share, slope, offset):
    return jnp.min(slope * share + offset)


def hidden(share, slope, offset):
    """The same maximum in a function of its own, over two axes of three."""
    table = (slope * share + offset)[:, None, None] * jnp.ones((1, 1, 2))
    return _doubled(table).sum() / 4


PIECES = {dearest: np.argmax, cheapest: np.argmin, hidden: np.argmax}


@pytest.mark.parametrize("cost", PIECES, ids=lambda cost: cost.__name__)
def test_slope_of_an_extreme_entry_is_that_of_the_piece_in_force(cost):
    rng = np.random.default_rng(0)
    slope, offset = rng.uniform(-3, 5, (1000, 3)), rng.uniform(-1, 1, (1000, 3))
    share = rng.uniform(0, 4, (3, 1000))
    mapped = jax.vmap(jax.vmap(jax.grad(with_safe_maxima(cost))), (0, None, None))
    found = jax.jit(lambda *args: jax.jvp(lambda share: mapped(share, *args[1:]), args[:1], args[:1])[0])(
        share, slope, offset
    )
    pieces = slope * share[..., None] + offset
    wanted = np.take_along_axis(
        np.broadcast_to(slope, pieces.shape), PIECES[cost](pieces, axis=-1)[..., None], axis=-1
    )[..., 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_value_and_slope_of_what_holds_no_maximum_are_as_they_were():
    def cost(x, data):
        return {"all": jnp.sum(jax.nn.relu(x - data) ** 2), "index": jnp.argmax(x)}

    x, data = jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])
    assert jax.tree.map(float, with_safe_maxima(cost)(x, data)) == {"all": 5.0, "index": 1.0}
    tied = jax.grad(with_safe_maxima(lambda x: jnp.max(x)))(jnp.array([2.0, 2.0, 1.0]))
    np.testing.assert_array_equal(tied, [1, 0, 0])


@pytest.mark.parametrize("num_nodes", [7, 200])
def test_optima_of_tariffs_written_with_max_are_certified_when_mapped(num_nodes):
    """Twelve at once: one by one all were right, together the slopes at the corners were 0."""
    rng = np.random.default_rng(2)
    slopes = np.sort(rng.uniform(-3, 5, (12, num_nodes, 3)))
    corners = np.sort(rng.uniform(0, 4, (12, num_nodes, 2)))
    offsets = np.zeros_like(slopes)
    offsets[..., 1:] = np.cumsum((slopes[..., :-1] - slopes[..., 1:]) * corners, axis=-1)

    def solved(slopes, offsets):
        problem = cojax.Problem(
            lambda x, pieces: jnp.max(pieces[0] * x.cpu + pieces[1]),
            (slopes, offsets),
            2.0 * num_nodes,
            lower=0.0,
            upper=4.0,
        )
        found = cojax.allocate(problem)
        x = cojax.Decision(None, found.cpu)
        return found.price, cojax.is_certified(cojax.certificate(problem, x), 1e-10), problem.costs(x).sum()

    price, certified, total = jax.jit(jax.vmap(solved))(slopes, offsets)
    assert np.asarray(certified).all()
    for k in range(12):  # the cheapest capacity first: pieces of all nodes in the order of their slopes
        steps = np.diff(np.hstack([np.zeros((num_nodes, 1)), corners[k], np.full((num_nodes, 1), 4.0)]), axis=1)
        order = np.argsort(slopes[k].ravel())
        taken = np.clip(2.0 * num_nodes - (np.cumsum(steps.ravel()[order]) - steps.ravel()[order]), 0, None)
        taken = np.minimum(taken, steps.ravel()[order])
        np.testing.assert_allclose(total[k], taken @ slopes[k].ravel()[order], rtol=1e-12)
        np.testing.assert_allclose(price[k], slopes[k].ravel()[order][taken > 0][-1], rtol=1e-9)
