"""Weighted sums, and budgets of which some is left: the optimum of a solver that knows them as such, exact totals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize
from support import laws

import cojax

N = 8


def cost(x, data):
    demand, curvature, price = data
    return curvature * (x.cpu - demand) ** 2 / 2 + price * x.cpu + 0.05 * jnp.exp(x.cpu / 4)


def coupled(x, data):
    return cost(x, data) + (x.params - x.cpu) ** 2 / 4 + (x.params - data[0]) ** 2 / 2


def decision(allocation):
    return cojax.Decision(None, allocation.cpu)


def drawn(seed):
    random = np.random.default_rng(seed)
    data = random.uniform(2.0, 6.0, N), random.uniform(0.5, 3.0, N), random.uniform(0.0, 1.0, N)
    return data, random.uniform(0.3, 3.0, N), random.uniform(0.0, 1.0, N), random.uniform(3.0, 8.0, N)


def by_slsqp(data, weights, low, high, budget, equal):
    """The least cost by SciPy, which takes the weighted sum as it is; from the node costs in NumPy."""
    demand, curvature, price = data

    def total(x):
        return float(np.sum(curvature * (x - demand) ** 2 / 2 + price * x + 0.05 * np.exp(x / 4)))

    def slope(x):
        return curvature * (x - demand) + price + 0.0125 * np.exp(x / 4)

    sums = LinearConstraint(weights[None], budget if equal else -np.inf, budget)
    start = low + (high - low) * (budget - low @ weights) / ((high - low) @ weights) if equal else low
    options = {"gtol": 1e-12, "xtol": 1e-14, "maxiter": 3000}
    bounds = list(zip(low, high, strict=True))
    found = minimize(total, start, jac=slope, bounds=bounds, constraints=sums, method="trust-constr", options=options)
    return found.x, found.fun


@pytest.mark.parametrize("seed", range(4))
def test_a_weighted_sum_has_the_optimum_of_a_solver_that_knows_it(seed):
    data, weights, low, high = drawn(seed)
    budget = 0.5 * float(low @ weights + high @ weights)
    problem = cojax.weighted(cost, data, budget, weights, lower=low, upper=high)
    found = cojax.allocate(problem)
    x, least = by_slsqp(data, weights, low, high, budget, equal=True)
    shares = np.asarray(cojax.used(problem, decision(found)).cpu)
    np.testing.assert_allclose(float(problem.costs(decision(found)).sum()), least, rtol=1e-7)
    np.testing.assert_allclose(shares, x, atol=2e-3)
    np.testing.assert_allclose(float(shares @ weights), budget, rtol=1e-13)
    assert cojax.is_certified(cojax.certificate(problem, decision(found)), 1e-10)


@pytest.mark.parametrize("part", [0.3, 0.9, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_budget_of_which_some_may_be_left(seed, part):
    """Scarce: all is used, as with a plain sum; plenty: every node uses what is cheapest, and the price is 0."""
    data, weights, low, high = drawn(seed)
    budget = part * float(high @ weights)
    problem = cojax.at_most(cost, data, budget, lower=low, upper=high, weights=weights)
    found = cojax.allocate(problem)
    shares = np.asarray(cojax.used(problem, decision(found)).cpu)
    x, least = by_slsqp(data, weights, low, high, budget, equal=False)
    np.testing.assert_allclose(float(problem.costs(decision(found)).sum()), least, rtol=1e-6)
    np.testing.assert_allclose(shares, x, atol=5e-3)
    assert (shares >= low - 1e-12).all()
    assert (shares <= high + 1e-12).all()
    left = budget - float(shares @ weights)
    assert left >= -1e-12 * budget
    if part > 1:
        assert left > 0
        assert float(found.price) == pytest.approx(0, abs=1e-9)
    else:
        assert float(found.price) <= 0
    assert cojax.is_certified(cojax.certificate(problem, decision(found)), 1e-8)


@pytest.mark.parametrize("part", [0.3, 1.5])
def test_a_run_keeps_the_total_to_the_last_bit(part):
    data, weights, low, high = drawn(0)
    budget = part * float(high @ weights)
    network = cojax.network(cojax.graphs.named("ring", N), link=cojax.Quantized(cojax.LogQuantizer(0.05)))
    problem = cojax.at_most(cost, data, budget, lower=low, upper=high, weights=weights)
    start = problem.start()
    method = cojax.CoOpt(allocate=cojax.tuned(cojax.Laplacian, problem, network, start))
    ran = cojax.solve(problem, network, method, start, num_steps=4000, every=100)
    assert float(ran.state.imbalance) == 0
    best = float(problem.costs(decision(cojax.allocate(problem))).sum())
    assert float(ran.trace.cost[-1]) - best < 1e-3 * abs(best)


def test_the_cost_of_what_is_held_is_the_least_of_what_may_be_used():
    """By a fine grid of shares, its slope and its second derivative by differences, also of a coupled cost's params."""
    data, weights, low, high = drawn(5)
    problem = cojax.at_most(coupled, data, 40.0, lower=low, upper=high, weights=weights)

    def total(params, held):
        return problem.costs(cojax.Decision(params, held))

    slopes = jax.grad(lambda *x: total(*x).sum(), (0, 1))
    params, step = jnp.linspace(1.0, 5.0, N), 1e-6
    for held in map(jnp.asarray, (0.3 * weights * high + 0.7 * weights * low, 2.0 * weights * high)):
        grid = np.linspace(low, np.minimum(held / weights, high), 20_001)
        plain = jax.vmap(lambda cpu: jax.vmap(coupled)(cojax.Decision(params, cpu), data))(jnp.asarray(grid))
        np.testing.assert_allclose(total(params, held), np.asarray(plain).min(0), rtol=1e-7)
        here = slopes(params, held)
        moves = ((jnp.ones(N), jnp.zeros(N)), (jnp.zeros(N), jnp.ones(N)))
        for place, move in enumerate(moves):
            up, down = ((params + sign * step * move[0], held + sign * step * move[1]) for sign in (1, -1))
            np.testing.assert_allclose(here[place], (total(*up) - total(*down)) / (2 * step), atol=1e-7)
            bend = jax.jvp(slopes, (params, held), move)[1][place]
            np.testing.assert_allclose(bend, (slopes(*up)[place] - slopes(*down)[place]) / (2 * step), atol=1e-5)


def test_without_a_lower_bound_the_cheapest_share_is_found_all_the_same():
    demand = jnp.array([-300.0, 0.0, 2.0, 1e4])
    problem = cojax.at_most(lambda x, data: (x.cpu - data) ** 2, demand, 1e5)
    shares = cojax.used(problem, decision(cojax.allocate(problem))).cpu
    np.testing.assert_allclose(shares, demand, atol=1e-9)


def test_reference_finds_model_and_shares_together():
    data, weights, low, high = drawn(2)
    budget = 0.9 * float(high @ weights)
    problem = cojax.at_most(coupled, data, budget, lower=low, upper=high, weights=weights)
    best = cojax.reference(problem, jnp.zeros(()))
    demand, curvature, price = data

    def total(z):
        x, y = z[:N], z[N]
        own = curvature * (x - demand) ** 2 / 2 + price * x + 0.05 * np.exp(x / 4)
        return float(np.sum(own + (y - x) ** 2 / 4 + (y - demand) ** 2 / 2))

    bounds = [*zip(low, high, strict=True), (None, None)]
    sums = {"type": "ineq", "fun": lambda z: budget - weights @ z[:N]}
    found = minimize(
        total, np.append(low, 1.0), bounds=bounds, constraints=sums, method="SLSQP", options={"ftol": 1e-14}
    )
    assert float(best.cost) == pytest.approx(found.fun, rel=1e-6)


def test_what_makes_no_sense_is_refused():
    data, weights, low, high = drawn(0)
    for make in (cojax.weighted, cojax.at_most):
        with pytest.raises(cojax.CojaxInputError, match="weights > 0"):
            make(cost, data, 10.0, weights=-weights)
        with pytest.raises(cojax.CojaxInputError, match="weights of shape"):
            make(cost, data, 10.0, weights=weights[:3])
        with pytest.raises(cojax.CojaxInputError, match="lower <= upper"):
            make(cost, data, 10.0, weights=weights, lower=high, upper=low)
        with pytest.raises(cojax.CojaxInputError, match="needs a budget"):
            make(cost, data, None, weights=weights)
    with pytest.raises(cojax.CojaxInputError, match="sum of lower"):
        cojax.at_most(cost, data, 0.1, lower=low + 1, upper=high)
    with pytest.raises(cojax.CojaxInputError, match="one resource"):
        cojax.at_most(cost, data, jnp.ones(2))
    plain = cojax.Problem(cost, data, 10.0)
    with pytest.raises(cojax.CojaxInputError, match=r"made by cojax\.weighted"):
        cojax.used(plain, plain.start())
    problem = cojax.weighted(cost, data, 10.0, weights)
    for wrong in (cojax.Decision(None, jnp.ones(3)), cojax.Decision(None, None), jnp.ones(N)):
        with pytest.raises(cojax.CojaxInputError, match="cpu of shape"):
            laws.unchecked(cojax.used)(problem, wrong)


@pytest.mark.parametrize("lower", [None, 0.0])
@pytest.mark.parametrize("make", [cojax.weighted, cojax.at_most])
def test_weights_have_derivatives_where_there_is_no_bound(make, lower):
    data, weights, _, high = drawn(3)
    budget = 0.3 * float(high @ weights)

    def least(weights):
        problem = make(cost, data, budget, weights=weights, lower=lower)
        return problem.costs(decision(cojax.allocate(problem))).sum()

    slope = jax.grad(least)(weights)
    for node in range(3):
        way = 1e-4 * np.eye(N)[node]
        difference = (least(weights + way) - least(weights - way)) / 2e-4
        assert float(slope[node]) == pytest.approx(float(difference), rel=1e-5, abs=1e-7)


def test_a_price_without_a_lower_bound_has_no_least_cost_and_with_one_it_has():
    def priced(x, price):
        return price * x.cpu

    price = np.array([1.0, 2.0, 3.0])
    with pytest.raises(cojax.CojaxInputError, match=r"a cost with a minimum, .* lower and upper bounds"):
        cojax.reference(cojax.at_most(priced, price, 4.0))  # every unit that a node does not use saves its price
    found = cojax.reference(cojax.at_most(priced, price, 4.0, lower=np.array([0.5, 0.0, 1.0])))
    assert float(found.cost) == pytest.approx(0.5 * 1.0 + 1.0 * 3.0, rel=1e-12)
