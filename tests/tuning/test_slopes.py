"""Slopes in numbers of a problem, by its optimum and through its runs, beside differences, algebra and NumPy loops."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from support import laws

import cojax
from cojax import costs

N, M, D = 4, 10, 3
STEPS, STEP = 10, 0.05


def regression():
    random = np.random.default_rng(0)
    features, truth = random.normal(size=(N, M, D)), random.normal(size=D)
    targets = features @ truth + 6.0 * random.normal(size=(N, M))
    test = random.normal(size=(50, D))
    return features, targets, test, test @ truth


FEATURES, TARGETS, TEST, WANTED = regression()
DATA = costs.Samples(jnp.asarray(FEATURES), jnp.asarray(TARGETS), jnp.full((N, M), 1 / M))
RIDGED = cojax.Problem(costs.Separable(costs.LeastSquares(0.3), None), (DATA, None))
MODELS = RIDGED.start(params=jnp.zeros((N, D)))
RING = cojax.network(cojax.graphs.named("ring", N))


def with_ridge(ridge):
    return eqx.tree_at(lambda problem: problem.cost.learn.ridge, RIDGED, ridge)


def missed(x):
    return jnp.mean((TEST @ x.params.mean(0) - WANTED) ** 2)


def by_optimum(ridge):
    return missed(cojax.polish(with_ridge(ridge), MODELS))


def by_run(ridge):
    method = cojax.CoOpt(learn=cojax.DGD(STEP))
    return missed(cojax.solve(with_ridge(ridge), RING, method, MODELS, num_steps=STEPS).x)


def by_hand(ridge):
    """The same run, every node in a row, by NumPy."""
    models, weights = np.zeros((N, D)), np.eye(N)
    for i in range(N):  # Metropolis on a ring: a third to each of two neighbours
        for j in (i - 1, (i + 1) % N):
            weights[i, j] += 1 / 3
            weights[i, i] -= 1 / 3
    for _ in range(STEPS):
        off = np.einsum("nmd,nd->nm", FEATURES, models) - TARGETS
        slopes = np.einsum("nmd,nm->nd", FEATURES, off) / M + ridge * models
        models = weights @ models - STEP * slopes
    return float(np.mean((TEST @ models.mean(0) - WANTED) ** 2))


def test_runs_are_those_of_numpy_and_their_slope_is_its_difference():
    assert float(by_run(0.3)) == pytest.approx(by_hand(0.3), rel=1e-12)
    # Central differences of 1e-5 are right to about 1e-10 of the third derivative, rounding to 1e-11.
    assert float(jax.grad(by_run)(0.3)) == pytest.approx((by_hand(0.30001) - by_hand(0.29999)) / 2e-5, rel=1e-7)


@pytest.mark.parametrize("function", [by_optimum, by_run])
def test_a_ridge_is_trusted_by_its_optimum_and_through_a_run(function):
    check = cojax.slope_check(function, RIDGED.cost.learn.ridge)
    assert check.trusted and check.cosine == pytest.approx(1.0)
    # At a width of 0.05 a smooth function's difference is off by about 0.05^2.
    assert check.norm_ratio == pytest.approx(1.0, abs=0.01)


def test_the_ridge_that_is_best_after_a_run_is_that_of_a_numpy_loop_and_not_that_of_the_optimum():
    def after_a_run(problem, _):
        return by_run(problem.cost.learn.ridge)

    found = cojax.tune_problem(RIDGED, MODELS, after_a_run, what=["cost.learn.ridge"])
    best = minimize_scalar(lambda log: by_hand(np.exp(log)), bounds=(-8, 4), method="bounded", options={"xatol": 1e-9})
    assert -7 < best.x < 3.9
    assert found.after == pytest.approx(best.fun, rel=1e-9)
    assert float(np.log(found.values["cost.learn.ridge"])) == pytest.approx(best.x, abs=1e-3)
    exact = cojax.tune_problem(RIDGED, MODELS, lambda problem, x: missed(x), what=["cost.learn.ridge"])
    ratio = exact.values["cost.learn.ridge"] / found.values["cost.learn.ridge"]
    assert ratio > 1.5 or ratio < 1 / 1.5
    assert found.cosine > 1 - 1e-6


class Priced(eqx.Module):
    """A quadratic cost with a price a node, and a tariff for all."""

    price: jax.Array
    tariff: jax.Array

    def __call__(self, x, data):
        demand, node = data
        return (x.cpu - demand) ** 2 / 2 + (self.price[node.astype(int)] + self.tariff * x.cpu) * x.cpu


DEMAND, WORTH = np.array([2.0, 3.0, 5.0, 4.0]), np.array([1.0, 0.5, -0.3, 2.0])


def priced(numbers, penalty=None):
    cost = Priced(numbers["price"], numbers["tariff"])
    bounds = dict(lower=jnp.zeros(4), upper=numbers["upper"])
    return cojax.Problem(cost, (DEMAND, np.arange(4.0)), 9.0, penalty=penalty, **bounds)


# The third is at its capacity of 3; the prices are of both signs.
NUMBERS = {
    "price": jnp.array([0.4, -0.2, 0.1, 0.7]),
    "tariff": jnp.asarray(0.3),
    "upper": jnp.array([5.0, 5.0, 3.0, 5.0]),
}


def worth(x):
    return jnp.sum(WORTH * x.cpu**2)


def at_optimum(numbers):
    problem = priced(numbers)
    return worth(cojax.polish(problem, problem.start()))


def after_a_run(numbers):
    problem = priced(numbers, cojax.penalties.PowerPenalty(40.0))
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.02))
    return worth(cojax.solve(problem, RING, method, problem.start(), num_steps=400).x)


def test_prices_tariffs_and_capacities_have_the_slopes_of_algebra_at_the_optimum():
    slopes = jax.grad(at_optimum)(NUMBERS)
    free = np.array([True, True, False, True])
    curve = 1 + 2 * 0.3
    price = np.asarray(NUMBERS["price"])
    # x - demand + price + 2 tariff x = level on free nodes, whose shares sum to 9 - 3.
    base = (DEMAND - price) / curve
    level = (6.0 - base[free].sum()) * curve / 3
    shares = np.where(free, base + level / curve, 3.0)
    assert float(at_optimum(NUMBERS)) == pytest.approx((WORTH * shares**2).sum(), rel=1e-12)
    weight = 2 * WORTH * shares
    mean = weight[free].mean()
    by_price = np.where(free, -(weight - mean) / curve, 0.0)
    by_upper = np.where(free, 0.0, weight - mean)
    by_tariff = (by_price * 2 * shares)[free].sum()
    np.testing.assert_allclose(slopes["price"], by_price, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(slopes["upper"], by_upper, rtol=1e-9, atol=1e-12)
    assert float(slopes["tariff"]) == pytest.approx(by_tariff, rel=1e-9)


@pytest.mark.parametrize("function", [at_optimum, after_a_run])
def test_prices_tariffs_and_capacities_are_trusted_by_the_optimum_and_through_a_run(function):
    check = cojax.slope_check(function, NUMBERS, width=0.01)
    assert check.trusted and check.cosine > 0.999
    assert check.norm_ratio == pytest.approx(1.0, abs=0.02)


def test_a_slope_that_is_wrong_or_noise_is_not_trusted():
    @jax.custom_jvp
    def turned(x):
        return jnp.sum(jnp.sin(x))

    @turned.defjvp
    def _(primals, tangents):
        return turned(primals[0]), -jnp.sum(jnp.cos(primals[0]) * tangents[0])

    numbers = jnp.array([0.3, 0.5, 0.2])
    assert cojax.slope_check(lambda x: jnp.sum(jnp.sin(x)), numbers).trusted
    check = cojax.slope_check(turned, numbers)
    assert not check.trusted and check.cosine < -0.99 and "differences repeat" in str(check)
    stepped = cojax.slope_check(lambda x: jnp.sum(jnp.round(300 * x) / 300), numbers)
    assert not stepped.trusted  # its slope is 0 where it has one


def test_where_nothing_changes_there_is_nothing_to_trust_and_no_landscape_is_called_jagged():
    for function in (lambda x: 0.0 * x.sum() + 3.0, lambda x: jnp.round(x).sum()):  # 2.0 and 2.1 round to 2 all around
        check = cojax.slope_check(function, jnp.array([2.0, 2.1]))
        assert not check.trusted and "nothing to trust" in str(check) and "jagged" not in str(check)


def test_it_looks_around_the_numbers_that_it_is_given():
    numbers = {"both": jnp.array([-30.0, 20.0]), "small": jnp.array([1e-3, 2e-3])}

    def near(given):
        """A slope in the neighbourhood, none elsewhere."""
        off = [jnp.abs(a - b) / jnp.max(jnp.abs(b)) for a, b in zip(given.values(), numbers.values(), strict=True)]
        inside = jnp.max(jnp.stack(off)) < 0.5
        return jnp.where(inside, given["both"].sum() + 1e4 * given["small"].sum(), 0.0)

    check = cojax.slope_check(near, numbers)
    assert check.trusted and check.same_sign == 1


def test_bad_input_is_refused_in_a_sentence():
    for function, numbers, options, match in (
        (lambda x: x, jnp.ones(2), {}, "one number, got shape"),
        (lambda x: None, jnp.ones(2), {}, "one number, got None"),
        (lambda x: "x", jnp.ones(2), {}, "one number, got str"),
        (lambda x: {"x": x.sum()}, jnp.ones(2), {}, "one number, got dict"),
        (lambda x: jax.lax.complex(x.sum(), x.sum()), jnp.ones(2), {}, "one number, got complex"),
        (lambda x: x.sum() > 0, jnp.ones(2), {}, "one number, got bool"),
        (jnp.sum, jnp.ones(2, int), {}, "floats in numbers"),
        (jnp.sum, (), {}, "floats in numbers"),
        (jnp.sum, jnp.ones(0), {}, "floats in numbers"),
        (jnp.sum, jnp.ones(2), {"seed": -1}, "whole number seed >= 0, got -1"),
        (jnp.sum, jnp.array([1.0, jnp.nan]), {}, "finite numbers"),
        (jnp.sum, "a", {}, "real numbers for numbers"),
        (1.0, jnp.ones(2), {}, "a function of the numbers first"),
        (jnp.sum, jnp.ones(2), {"width": 0.0}, "width > 0"),
        (jnp.sum, jnp.ones(2), {"num_points": 1}, "num_points"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=match):
            laws.unchecked(cojax.slope_check)(function, numbers, **options)
    with pytest.raises(cojax.CojaxInputError, match="outside of jit"):
        jax.jit(lambda x: cojax.slope_check(jnp.sum, x).cosine)(jnp.ones(2))
