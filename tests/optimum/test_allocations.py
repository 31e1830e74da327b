"""The exact split against other solvers, by hand where a formula exists, and its derivatives against differences."""

import csv
import math
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import brentq, minimize
from support.interior_point import program

import cojax
from cojax.optimum.allocations import allocate

PRICES = Path(__file__).parents[3] / "shared" / "data" / "prices_usd_per_mwh_2024_hourly_22regions.csv"
NUM_NODES = 7
solved = jax.jit(allocate)


def energy_and_delay(x, data):
    """One function for most tests, so that it is compiled once."""
    price, curvature, load = data
    return price * x.cpu + curvature * x.cpu**2 / 2 + load / x.cpu


def quadratic(price, curvature, budget, lower=-np.inf, upper=np.inf):
    data = (price, curvature, jnp.zeros_like(price))
    return cojax.Problem(energy_and_delay, data, budget, lower=lower, upper=upper)


def coupled(x, data):
    target, mixing = data
    away = x.cpu - target
    return jnp.vdot(away, mixing @ away) / 2


def drawn(rng, num_instances):
    """Prices from negative to spiked, some nodes fixed, budgets from nearly nothing to nearly everything."""
    shape = (num_instances, NUM_NODES)
    price = rng.normal(size=shape) * 10 ** rng.uniform(-1, 1, (num_instances, 1))
    curvature = 10 ** rng.uniform(-1, 1, shape)
    lower = rng.uniform(-1, 1, shape)
    upper = lower + rng.uniform(0.1, 2, shape) * (rng.uniform(size=shape) < 0.9)
    share = rng.uniform(0.05, 0.95, num_instances)
    return price, curvature, lower, upper, lower.sum(1) + share * (upper - lower).sum(1)


def test_shares_and_prices_are_those_of_an_interior_point_solver_on_200_instances():
    instances = drawn(np.random.default_rng(0), 200)

    def one(price, curvature, lower, upper, budget):
        return allocate(quadratic(price, curvature, budget, lower, upper))

    found = jax.jit(jax.vmap(one))(*(jnp.asarray(array) for array in instances))
    active = 0
    for k, (price, curvature, lower, upper, budget) in enumerate(zip(*instances, strict=True)):
        shares, prices, *_ = program(np.diag(curvature), price, budget, lower, upper)
        # 1e-8: what the interior-point solver reaches; ours is at rounding.
        np.testing.assert_allclose(found.cpu[k], shares, atol=1e-8)
        inside = (found.cpu[k] > lower) & (found.cpu[k] < upper)
        active += int((~inside).sum())
        if inside.any():  # else the price is an interval
            np.testing.assert_allclose(found.price[k], prices[0], atol=1e-8 * max(1, abs(prices[0])))
    assert active > 200
    totals = [math.fsum(shares) for shares in np.asarray(found.cpu)]
    budgets = np.asarray(instances[-1])
    # A problem keeps 46 bits of its budget; and a last bit of one share.
    assert (np.abs(totals - budgets) <= 2.0**-46 * np.abs(budgets) + 1e-14).all()


def test_marginal_cost_is_price_plus_floor_rent_minus_capacity_rent():
    price, curvature, lower, upper, budget = (array[0] for array in drawn(np.random.default_rng(1), 1))
    found = solved(quadratic(price, curvature, budget, lower, upper))
    marginal = price + curvature * found.cpu
    # Rounding of numbers of size ten.
    np.testing.assert_allclose(marginal, found.price + found.floor_rent - found.capacity_rent, atol=1e-13)
    assert (found.floor_rent >= 0).all() and (found.capacity_rent >= 0).all()


def test_a_year_of_real_prices_is_split_at_their_spikes_and_below_zero():
    if not PRICES.exists():
        pytest.skip("real prices are not here")
    rows = list(csv.reader(PRICES.open()))[1:]
    prices = np.array([[float(value) for value in row[1:]] for row in rows])
    assert prices.min() < 0 and prices.max() > 15_000
    upper = jnp.asarray(np.resize([20.0, 50.0, 85.0, 110.0], prices.shape[1]))
    slope, curvature = jnp.asarray(0.006 * prices), 0.5 / upper

    def one(slope):
        return allocate(quadratic(slope, curvature, 0.6 * upper.sum(), 0.0, upper))

    found = jax.jit(jax.vmap(one))(slope)
    away = slope + curvature[None] * found.cpu - found.price[:, None] - found.floor_rent + found.capacity_rent
    assert jnp.abs(away).max() < 1e-13 * jnp.abs(slope).max()  # rounding
    # 0.6 * sum is not on the budget's grid; beside it, only this sum rounds.
    assert jnp.abs(found.cpu.sum(1) / (0.6 * upper.sum()) - 1).max() < 1e-15 * prices.shape[1]


@pytest.mark.parametrize("upper", [np.inf, 9.0])
def test_a_queue_that_is_infinite_at_zero_is_filled_as_water(upper):
    load = np.array([0.1, 1.0, 2.0, 5.0, 30.0, 1e-4, 4.0])
    data = (np.zeros(7), np.zeros(7), load)
    found = solved(cojax.Problem(energy_and_delay, data, 30.0, lower=0.0, upper=upper))

    def shares(price):
        return np.minimum(np.sqrt(load / -price), upper)

    price = brentq(lambda price: shares(price).sum() - 30.0, -1e3, -1e-3, xtol=1e-15, rtol=1e-15)
    np.testing.assert_allclose(found.price, price, rtol=1e-12)  # brentq stops at rounding of its own sum
    np.testing.assert_allclose(found.cpu, shares(price), rtol=1e-12)


@pytest.mark.parametrize(("budget", "price"), [(0.5, -1.0), (1.5, 0.0), (3.5, 2.0), (6.5, 7.0)])
def test_costs_that_do_not_curve_are_filled_in_order_of_merit(budget, price):
    slope = np.array([3.0, -1.0, 2.0, 2.0, 0.0, 7.0, 2.0])
    found = solved(quadratic(slope, np.zeros(7), budget, 0.0, 1.0))
    np.testing.assert_allclose(found.cpu.sum(), budget, rtol=1e-15)
    np.testing.assert_allclose(found.price, price, rtol=1e-15)
    np.testing.assert_array_equal(found.cpu[slope < price], 1.0)
    np.testing.assert_array_equal(found.cpu[slope > price], 0.0)
    np.testing.assert_allclose(found.capacity_rent, np.maximum(price - slope, 0), atol=1e-14)


def test_without_bounds_the_price_is_the_weighted_mean():
    price, curvature, *_ = (array[0] for array in drawn(np.random.default_rng(2), 1))
    found = solved(quadratic(price, curvature, -4.0))
    wanted = (-4.0 + (price / curvature).sum()) / (1 / curvature).sum()
    np.testing.assert_allclose(found.price, wanted, rtol=1e-13)
    np.testing.assert_allclose(found.cpu, (wanted - price) / curvature, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("full", [True, False])
def test_a_budget_of_all_or_nothing_is_priced_at_the_end_of_its_interval(full):
    price, curvature = np.linspace(-3.0, 9.0, 7), np.full(7, 0.5)
    lower, upper = np.full(7, 0.25), np.full(7, 2.0)
    bound = upper if full else lower
    found = solved(quadratic(price, curvature, bound.sum(), lower, upper))
    np.testing.assert_array_equal(found.cpu, bound)
    marginal = price + curvature * bound
    np.testing.assert_allclose(found.price, marginal.max() if full else marginal.min(), rtol=1e-15)


def test_a_node_with_equal_bounds_keeps_its_share():
    lower, upper = np.zeros(7), np.full(7, 5.0)
    lower[3] = upper[3] = 1.25
    found = solved(quadratic(np.arange(7.0), np.ones(7), 9.0, lower, upper))
    assert found.cpu[3] == 1.25
    np.testing.assert_allclose(found.cpu.sum(), 9.0, rtol=1e-15)


def test_one_node_gets_the_budget_at_its_own_marginal_cost():
    found = solved(quadratic(np.array([2.0]), np.array([3.0]), 5.0, 0.0, 10.0))
    np.testing.assert_allclose(found.cpu, [5.0])
    np.testing.assert_allclose(found.price, 17.0)


def test_marginal_costs_that_level_off_do_not_send_shares_to_infinity():
    def saturating(x, scale):
        return scale * jnp.sqrt(1 + x.cpu**2)

    scale = np.array([1.0, 1.5, 2.0, 3.0])
    found = solved(cojax.Problem(saturating, scale, 30.0))
    marginal = scale * found.cpu / jnp.sqrt(1 + found.cpu**2)
    np.testing.assert_allclose(marginal, found.price, rtol=1e-14)
    np.testing.assert_allclose(found.cpu.sum(), 30.0, rtol=1e-15)


def test_float32_finds_the_same_shares():
    instance = [array[0].astype(np.float32) for array in drawn(np.random.default_rng(3), 1)]
    found = []
    for dtype in (np.float32, np.float64):
        price, curvature, lower, upper, budget = (array.astype(dtype) for array in instance)
        found.append(solved(quadratic(price, curvature, budget, lower, upper)))
    assert found[0].cpu.dtype == jnp.float32
    # 1e-6: the budget of a float32 problem is rounded by so much.
    np.testing.assert_allclose(found[0].cpu, found[1].cpu, atol=1e-5)


def differences(function, theta):
    """The value, and central differences; 1e-5 balances their error against rounding."""
    moves = jnp.concatenate([jnp.zeros((1, theta.size)), jnp.eye(theta.size), -jnp.eye(theta.size)])
    values = jax.jit(jax.vmap(lambda move: function(theta + 1e-5 * move)))(moves)
    ahead, behind = jnp.split(values[1:], 2)
    return values[0], (ahead - behind).T / 2e-5


def derivatives(function, theta):
    """The derivatives in forward and in reverse mode, and the value."""

    @jax.jit
    def both(theta):
        value, push = jax.linearize(function, theta)
        pull = jax.linear_transpose(push, theta)
        return jax.vmap(push, out_axes=1)(jnp.eye(theta.size)), jax.vmap(pull)(jnp.eye(value.size))[0], value

    return both(theta)


def test_two_resources_that_a_cost_couples_have_the_shares_prices_and_derivatives_of_others():
    rng = np.random.default_rng(5)
    half = rng.normal(size=(5, 2, 2))
    mixing = half @ half.transpose(0, 2, 1) + 0.05 * np.eye(2)
    target, budget = rng.uniform(-0.5, 1.5, (5, 2)), np.array([2.0, 3.5])
    theta, unravel = ravel_pytree((jnp.asarray(target), jnp.asarray(budget), jnp.array([0.0, 1.0])))

    def answer(theta):
        target, budget, bounds = unravel(theta)
        data = (target, jnp.asarray(mixing))
        found = allocate(cojax.Problem(coupled, data, budget, lower=bounds[0], upper=bounds[1]))
        return jnp.concatenate([found.cpu.ravel(), found.price])

    found, slopes = differences(answer, theta)
    matrix = np.zeros((10, 10))
    for i in range(5):
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = mixing[i]
    shares, prices, *_ = program(matrix, -(matrix @ target.ravel()), budget, np.zeros(10), np.ones(10), 2)
    assert ((found[:10] == 0) | (found[:10] == 1)).sum() >= 3
    # 1e-8: what the interior-point solver reaches.
    np.testing.assert_allclose(found, np.concatenate([shares, prices]), atol=1e-8)
    for derivative in derivatives(answer, theta)[:2]:
        np.testing.assert_allclose(derivative, slopes, atol=1e-6)  # what differences reach


class Tariff(eqx.Module):
    """A cost with arrays of its own."""

    scale: jax.Array

    def __call__(self, x, data):
        price, load = data
        return price * x.cpu + self.scale * x.cpu**2 / 2 + load / x.cpu + x.params * x.cpu


THETA, UNRAVEL = ravel_pytree(
    {
        "price": jnp.array([1.0, -2.0, 0.5, 4.0, 3.0]),
        "load": jnp.array([0.5, 1.0, 2.0, 0.25, 1.5]),
        "scale": jnp.array(0.7),
        "params": jnp.array([0.1, 0.2, -0.1, 0.0, 0.3]),
        "budget": jnp.array(7.0),
        "lower": jnp.array([0.1, 0.1, 0.1, 0.9, 0.1]),
        "upper": jnp.array([3.0, 1.5, 3.0, 3.0, 3.0]),
    }
)


def tariff_problem(theta):
    part = UNRAVEL(theta)
    cost = Tariff(part["scale"])
    data = (part["price"], part["load"])
    return cojax.Problem(cost, data, part["budget"], lower=part["lower"], upper=part["upper"]), part["params"]


def answer(theta):
    """Shares, price, rents, and the least cost."""
    problem, params = tariff_problem(theta)
    found = allocate(problem, params)
    return jnp.append(ravel_pytree(found)[0], problem.costs(cojax.Decision(params, found.cpu)).sum())


@pytest.fixture(scope="module")
def tariff_derivatives():
    return derivatives(answer, THETA)


def test_derivatives_in_data_cost_params_budget_and_bounds_are_the_differences(tariff_derivatives):
    found, slopes = differences(answer, THETA)
    floor_rent, capacity_rent = found[6:11], found[11:16]
    assert (floor_rent > 0).sum() == 1 and (capacity_rent > 0).sum() == 1
    for derivative in tariff_derivatives[:2]:
        # 1e-6: differences of numbers near 10 with a move of 1e-5.
        np.testing.assert_allclose(derivative, slopes, atol=1e-6)


def test_the_least_cost_changes_by_the_price_with_the_budget_and_by_the_rents_with_the_bounds(tariff_derivatives):
    *both, found = tariff_derivatives
    cpu, price, floor_rent, capacity_rent = found[:5], found[5], found[6:11], found[11:16]
    for derivative in both:
        slope = UNRAVEL(derivative[-1])
        # Rounding of numbers near 10.
        np.testing.assert_allclose(slope["budget"], price, atol=1e-13)
        np.testing.assert_allclose(slope["upper"], -capacity_rent, atol=1e-13)
        np.testing.assert_allclose(slope["lower"], floor_rent, atol=1e-13)
        np.testing.assert_allclose(slope["price"], cpu, atol=1e-13)


def test_second_derivatives_of_the_least_cost_and_of_the_price_are_differences_of_first_ones():
    def both(scale):  # the price is at 5, the least cost comes last
        return answer(ravel_pytree(UNRAVEL(THETA) | {"scale": scale})[0])[jnp.array([5, -1])]

    def slopes(scale):
        first = jax.jacfwd(both)(scale)
        return first, first

    scales = jnp.array([0.7 - 1e-4, 0.7, 0.7 + 1e-4])
    second, first = jax.jit(jax.vmap(jax.jacfwd(slopes, has_aux=True)))(scales)
    np.testing.assert_allclose(second[1], (first[2] - first[0]) / 2e-4, rtol=1e-6)  # what differences reach


def priced(x, data):
    return cojax.costs.Price()(x.cpu, data)


def priced_shares(given, budget):
    return cojax.allocate(cojax.Problem(priced, given, budget)).cpu


@jax.jit
def moved_and_pulled(given, budget, by, weights):
    """Both modes, one program for all units."""
    moved = jax.jvp(lambda budget: priced_shares(given, budget), (budget,), (by,))[1]
    return moved, jax.vjp(lambda budget: priced_shares(given, budget), budget)[1](weights)[0]


@pytest.mark.parametrize("power", [-50, 50])
def test_a_resource_in_tiny_or_huge_units_leaves_the_digits_of_another(power):
    """In float32, beside SciPy in units of size 1: cores beside bytes are up to 1e15 apart."""
    random = np.random.default_rng(0)
    own, other, both = (random.uniform(*ends, 8) for ends in ((0.5, 3), (0.5, 3), (0, 0.3)))
    upper, unit = random.uniform(0.8, 1.6, (8, 2)), np.array([1, 2.0**power])

    def total(flat):
        u, v = flat.reshape(8, 2).T
        return (own * u**2 + other * v**2 + both * u * v).sum()

    best = minimize(
        total,
        np.full(16, 0.7),
        bounds=[(0, end) for end in upper.ravel()],
        constraints=[{"type": "eq", "fun": lambda flat, k=k: flat.reshape(8, 2)[:, k].sum() - 6} for k in (0, 1)],
        options={"ftol": 1e-14, "maxiter": 1000},
        method="SLSQP",
    )

    def cost(x, data):
        own, other, both = data
        u, v = x.cpu / unit.astype(np.float32)
        return own * u**2 + other * v**2 + both * u * v

    data = tuple(array.astype(np.float32) for array in (own, other, both))
    bounds = dict(lower=np.zeros((8, 2), np.float32), upper=(upper * unit).astype(np.float32))
    problem = cojax.Problem(cost, data, budget=(6 * unit).astype(np.float32), **bounds)
    found = allocate(problem)
    # Some roundings of float32.
    np.testing.assert_allclose(np.asarray(found.cpu) / unit, best.x.reshape(8, 2), atol=2e-6)
    judged = cojax.certificate(problem, cojax.Decision(None, found.cpu))
    assert cojax.is_certified(judged, 1e-5), judged


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e9, 1e-12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_in_bytes_are_those_in_cores(unit, dtype):
    units, price = np.asarray([1.0, unit]), np.asarray([[1.0, 2.0], [2.0, 1.0], [3.0, 1.5]])
    curves, weights = (
        np.asarray([[1.0, 2.0], [2.0, 1.0], [4.0, 1.0]]),
        np.asarray([[1.0, -2.0], [0.5, 3.0], [2.0, 1.0]]),
    )
    given = (price / units).astype(dtype), (curves / units**2).astype(dtype)
    budget = (6.0 * units).astype(dtype)
    moved, pulled = moved_and_pulled(given, budget, units.astype(dtype), (weights / units).astype(dtype))
    # The next unit goes to every node as its curvature lets it in.
    parts = (1 / curves) / (1 / curves).sum(0)
    close = dict(rtol=3e-6 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(np.asarray(moved) / units, parts, **close)
    np.testing.assert_allclose(np.asarray(pulled) * units, (parts * weights).sum(0), **close)
    problem = cojax.Problem(priced, given, budget)
    np.testing.assert_allclose(np.asarray(cojax.shift(problem, budget=units).cpu) / units, parts, **close)


def test_a_problem_without_a_budget_is_refused():
    with pytest.raises(cojax.CojaxInputError, match="budget, got None"):
        allocate(cojax.Problem(energy_and_delay, np.ones(3)))


def test_params_of_another_number_of_nodes_are_refused():
    with pytest.raises(cojax.CojaxInputError, match=r"3 nodes .* got shape \(4,\)"):
        allocate(cojax.Problem(energy_and_delay, np.ones(3), 3.0, lower=0.0), jnp.ones(4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_costs_that_are_flat_without_bounds_share_the_budget(dtype):
    """The price meets a stretch that has no end: any split of what is left is best, one that sums to the budget."""

    def plain(x, data):
        return data[0] * x.cpu + data[1] * x.cpu**2 / 2

    def shared(price, curvature, **bounds):
        data = (np.array(price, dtype), np.array(curvature, dtype))
        return solved(cojax.Problem(plain, data, dtype(6), **bounds))

    found = shared([0] * 7, [0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(found.cpu, [3, 3, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.price, 0, atol=1e-6)
    tied = shared([1, 1, 1, 3, 3, 3, 3], [0] * 7, lower=[-np.inf] * 2 + [0] * 5)
    assert np.asarray(tied.cpu, np.float64).sum() == 6 and (tied.cpu[3:] == 0).all() and tied.price == 1


@pytest.mark.parametrize("huge", [1e14, 1e20, 1e30])
def test_a_budget_of_0_beside_huge_bounds_is_shared_out(huge):
    target = np.array([0.0, 1, 2, 3, -6, 4, -4], np.float32)
    lower = np.array([0, 0, 0, 0, -huge, 0, -huge], np.float32)
    upper = np.array([6] + [np.inf] * 6, np.float32)
    found = solved(quadratic(-target, np.ones(7, np.float32), np.float32(0), lower, upper))
    np.testing.assert_allclose(found.cpu, target, atol=2e-5)  # rounding of numbers of size ten in float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_whose_sum_overflows_are_none(dtype):
    """Least squares with a total: x = 1 + t / d, t the missing part of the budget over the sum of 1 / d."""
    weights, most = np.array([1.0, 2.0, 3.0], dtype), np.finfo(dtype).max
    problem = cojax.Problem(lambda x, d: d * (x.cpu - 1) ** 2, weights, dtype(3.5), lower=-most, upper=most)
    found = cojax.allocate(problem)
    np.testing.assert_allclose(found.cpu, 1 + 0.5 / (1 / weights).sum() / weights, rtol=8 * np.finfo(dtype).eps)
    assert cojax.is_certified(cojax.certificate(problem, cojax.Decision(None, found.cpu)), 1e-5)


def test_shares_of_costs_that_fall_for_ever_are_not_certified():
    problem = cojax.Problem(lambda x, price: price * x.cpu, np.array([1.0, 2.0, 3.0]), 3.0)
    found = cojax.allocate(problem)
    assert not cojax.is_certified(cojax.certificate(problem, cojax.Decision(None, found.cpu)), 0.5)
