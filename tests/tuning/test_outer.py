"""Numbers of a problem by an outer loss: what a search that knows the closed form finds, by slopes that are exact."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from support import laws

import cojax
from cojax import costs

N, M, D = 4, 10, 6


def regression(seed):
    random = np.random.default_rng(seed)
    features, truth = random.normal(size=(N, M, D)), random.normal(size=D)
    targets = features @ truth + 6.0 * random.normal(size=(N, M))
    test = random.normal(size=(200, D))
    data = costs.Samples(jnp.asarray(features), jnp.asarray(targets), jnp.full((N, M), 1 / M))
    return features, targets, test, test @ truth, data


@pytest.mark.parametrize("seed", range(3))
def test_the_ridge_of_least_validation_loss_is_that_of_the_closed_form(seed):
    features, targets, test, wanted, data = regression(seed)
    problem = cojax.Problem(costs.Separable(costs.LeastSquares(0.5), None), (data, None))

    def held_out(problem, x):
        return jnp.mean((test @ x.params[0] - wanted) ** 2)

    start = problem.start(params=jnp.zeros((N, D)))
    found = cojax.tune_problem(problem, start, held_out, what=["cost.learn.ridge"])
    gram = np.einsum("nmd,nme->de", features, features) / M
    right = np.einsum("nmd,nm->d", features, targets) / M

    def by_hand(log_ridge):
        return float(np.mean((test @ np.linalg.solve(gram + N * np.exp(log_ridge) * np.eye(D), right) - wanted) ** 2))

    best = minimize_scalar(by_hand, bounds=(-8, 4), method="bounded", options={"xatol": 1e-10})
    assert -7 < best.x < 3.9
    assert found.after == pytest.approx(best.fun, rel=1e-9)
    assert float(np.log(found.values["cost.learn.ridge"])) == pytest.approx(best.x, abs=1e-3)
    assert found.after < found.before
    assert found.cosine > 1 - 1e-6
    assert float(found.problem.cost.learn.ridge) == float(found.values["cost.learn.ridge"])


def test_prices_that_make_the_peak_least_are_those_of_a_search_without_slopes():
    """A planner sets a price a node, within a charge for changing it, so that no node holds much more than another."""
    random = np.random.default_rng(0)
    demand, price = random.uniform(1.0, 8.0, N), random.uniform(0.5, 1.5, N)
    budget = float(demand.sum()) * 0.8

    class Priced(eqx.Module):
        price: jax.Array

        def __call__(self, x, data):
            demand, node = data
            return (x.cpu - demand) ** 2 / 2 + self.price[node.astype(int)] * x.cpu

    own = cojax.Problem(Priced(jnp.asarray(price)), (demand, np.arange(N).astype(float)), budget)

    def own_loss(problem, x):
        return jnp.sum(x.cpu**4) ** 0.25 + 0.1 * jnp.sum((problem.cost.price - price) ** 2)

    found = cojax.tune_problem(own, own.start(), own_loss, what=["cost.price"])

    def by_hand(prices):
        # Equal marginal costs: x_i = demand_i - price_i + level, summed to the budget.
        level = (budget - np.sum(demand - prices)) / N
        shares = demand - prices + level
        return np.sum(shares**4) ** 0.25 + 0.1 * np.sum((prices - price) ** 2)

    options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000}
    best = minimize(by_hand, price, method="Nelder-Mead", options=options)
    assert found.after == pytest.approx(best.fun, rel=1e-8)
    np.testing.assert_allclose(found.values["cost.price"], best.x, atol=1e-3)


def test_bounds_and_budgets_can_be_tuned():
    """min over the budget b of a charge for it plus the least cost: the price of a unit is then the charge."""
    demand = jnp.array([2.0, 3.0, 5.0])
    problem = cojax.Problem(lambda x, data: (x.cpu - data) ** 2 / 2, demand, budget=4.0, upper=jnp.full(3, 2.5))

    def loss(problem, x):
        return problem.costs(x).sum() + 0.5 * problem.budget

    found = cojax.tune_problem(problem, problem.start(), loss, what=["budget"])
    # Marginal costs x - demand = -0.5 where no bound binds: 1.5, 2.5 and the bound 2.5.
    assert float(found.values["budget"]) == pytest.approx(6.5, abs=1e-3)
    assert found.problem.costs(found.x).sum() + 0.5 * found.problem.budget == pytest.approx(found.after)


def test_a_budget_beyond_its_bounds_is_never_returned():
    """The more budget the better, up to the 16 that the bounds have room for."""
    cost = costs.Separable(None, costs.Deviation())
    data = (None, (jnp.ones(4), jnp.ones(4)))
    problem = cojax.Problem(cost, data, 8.0, lower=0.0, upper=4.0)

    def short(problem, x):
        return jnp.sum((x.cpu - 9.0) ** 2)

    found = cojax.tune_problem(problem, problem.start(), short, what=["budget"])
    assert 15.0 < float(found.problem.budget) <= 16.0
    assert float(found.x.cpu.sum()) == pytest.approx(float(found.problem.budget), rel=1e-12)
    assert found.after == pytest.approx(4 * (4.0 - 9.0) ** 2, rel=0.05)  # an edge is where a search may stop


def test_a_slope_of_0_agrees_with_differences_only_where_they_vanish_too():
    *_, data = regression(0)
    problem = cojax.Problem(costs.Separable(costs.LeastSquares(0.5), None), (data, None))
    start = problem.start(params=jnp.zeros((N, D)))

    def agreement(loss):
        return cojax.tune_problem(problem, start, loss, what=["cost.learn.ridge"], max_looks=2).cosine

    # By hand: the first two losses move with the ridge, the others do not; the slope in JAX is 0 for all of them.
    assert agreement(lambda problem, x: jax.lax.stop_gradient(jnp.sum(x.params**2))) == 0
    assert agreement(lambda problem, x: jnp.round(1e6 * problem.cost.learn.ridge)) == 0
    assert agreement(lambda problem, x: 3.0 + 0.0 * jnp.sum(x.params)) == 1
    assert agreement(lambda problem, x: (problem.cost.learn.ridge - 0.5) ** 2 + 7.0) == 1


def test_bad_input_is_refused_in_a_sentence():
    *_, data = regression(0)
    problem = cojax.Problem(costs.Separable(costs.LeastSquares(0.5), None), (data, None))
    start = problem.start(params=jnp.zeros((N, D)))

    def loss(problem, x):
        return jnp.sum(x.params**2)

    for what, match in (
        (["cost.learn.rigde"], "names inside of the problem"),
        ("cost.learn.ridge", "needs names"),
        ([], "needs names"),
        (["cost.allocate"], "needs floats"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=match):
            cojax.tune_problem(problem, start, loss, what=what)
    with pytest.raises(cojax.CojaxInputError, match="one number"):
        cojax.tune_problem(problem, start, lambda problem, x: x.params, what=["cost.learn.ridge"])
    for wrong, match in ((lambda problem, x: "x", "one number, got str"), (3.0, "a function loss")):
        with pytest.raises(cojax.CojaxInputError, match=match):
            laws.unchecked(cojax.tune_problem)(problem, start, wrong, what=["cost.learn.ridge"])
    with pytest.raises(cojax.CojaxInputError, match="finite"):
        cojax.tune_problem(problem, start, lambda _, x: jnp.log(-1 - x.params.sum() ** 2), what=["cost.learn.ridge"])
    with pytest.raises(cojax.CojaxInputError, match="plain Problem"):
        drawn = cojax.Minibatch(problem, 2, samples=lambda data: data[0])
        laws.unchecked(cojax.tune_problem)(drawn, start, loss, what=["cost.learn.ridge"])


def test_a_ridge_that_starts_at_0_never_falls_below():
    """Of exact targets every ridge is too much."""
    features, _, test, wanted, _ = regression(1)
    truth = np.linalg.lstsq(test, wanted, rcond=None)[0]
    data = costs.Samples(jnp.asarray(features), jnp.asarray(features @ truth), jnp.full((N, M), 1 / M))
    problem = cojax.Problem(costs.Separable(costs.LeastSquares(0.0), None), (data, None))
    start = problem.start(params=jnp.zeros((N, D)))

    def far(problem, x):  # falls for ever with the ridge
        return jnp.mean(test @ x.params[0]) * 0 - jnp.sum(x.params[0] ** 2)

    def near(problem, x):
        return jnp.mean((test @ x.params[0] - wanted) ** 2)

    for loss in (far, near):
        found = cojax.tune_problem(problem, start, loss, what=["cost.learn.ridge"], max_looks=30)
        assert float(found.values["cost.learn.ridge"]) == 0
