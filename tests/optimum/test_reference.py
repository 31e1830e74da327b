"""The joint optimum against scikit-learn, SciPy and NumPy, and the errors of costs that have none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import cojax
from cojax.optimum import references as reference_module
from cojax.optimum.certificates import is_certified
from cojax.optimum.references import reference

NUM_NODES, NUM_SAMPLES, NUM_FEATURES = 5, 20, 3
rng = np.random.default_rng(0)
FEATURES = rng.normal(size=(NUM_NODES, NUM_SAMPLES, NUM_FEATURES)) + rng.normal(size=(NUM_NODES, 1, NUM_FEATURES))
SCORES = FEATURES @ np.array([1.0, -2.0, 0.5]) + rng.normal(size=(NUM_NODES, NUM_SAMPLES))
LABELS = np.sign(SCORES)
ROWS = FEATURES.reshape(-1, NUM_FEATURES)


def logistic(x, data):
    """Over all nodes: the sum of the logistic losses and half the squared norm, as scikit-learn has it for C = 1."""
    features, labels = data
    margin = labels * (features @ x.params["weights"] + x.params["bias"])
    return jnp.sum(jax.nn.softplus(-margin)) + jnp.vdot(x.params["weights"], x.params["weights"]) / 2 / NUM_NODES


def ridge(x, data):
    features, scores = data
    return jnp.sum((features @ x.params - scores) ** 2) + 0.5 * jnp.vdot(x.params, x.params) / NUM_NODES


def least_squares(x, data):
    features, scores = data
    return jnp.mean((features @ x.params - scores) ** 2)


def smooth_hinge(x, data):
    features, labels = data
    margin = labels * (features @ x.params)
    return jnp.mean(jax.nn.softplus(50 * (1 - margin))) / 50 + 0.01 * jnp.vdot(x.params, x.params)


def shared(x, data):
    """The share speeds up learning: the model is judged by how much CPU stands behind it."""
    return least_squares(x, data) / x.cpu + x.cpu**2 / 4 + 0.1 * jnp.vdot(x.params, x.params)


def delay(x, load):
    return load / x.cpu


def test_logistic_regression_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, tol=1e-12, solver="newton-cholesky", max_iter=200).fit(ROWS, LABELS.ravel())
    found = reference(cojax.Problem(logistic, (FEATURES, LABELS)), {"weights": jnp.zeros(3), "bias": 0})
    # 1e-7: scikit-learn's own stopping rule.
    np.testing.assert_allclose(found.params["weights"], model.coef_[0], atol=1e-7)
    np.testing.assert_allclose(found.params["bias"], model.intercept_[0], atol=1e-7)
    assert is_certified(found.certificate, 1e-12)
    assert found.price is None and found.allocation is None


def test_ridge_regression_is_that_of_scikit_learn():
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=0.5, fit_intercept=False).fit(ROWS, SCORES.ravel())
    problem = cojax.Problem(ridge, (FEATURES, SCORES))
    found = reference(problem, jnp.zeros(3))
    np.testing.assert_allclose(found.params, model.coef_, rtol=1e-12)  # two direct solutions
    np.testing.assert_allclose(problem.costs(found.x).sum(), found.cost, rtol=1e-15)


def test_least_squares_with_twice_the_same_feature_reaches_the_least_cost():
    twice = np.concatenate([FEATURES, FEATURES], -1)
    found = reference(cojax.Problem(least_squares, (twice, SCORES)), jnp.ones(6))
    residual = np.linalg.lstsq(ROWS, SCORES.ravel(), rcond=None)[1][0]
    np.testing.assert_allclose(found.cost, residual / NUM_SAMPLES, rtol=1e-13)


def test_a_sharp_hinge_converges_from_afar():
    problem = cojax.Problem(smooth_hinge, (FEATURES, LABELS))
    found = reference(problem, jnp.array([-30.0, 40.0, 5.0]))
    assert found.certificate.gradient < 1e-13

    def cost(params):
        margin = LABELS.ravel() * (ROWS @ params)
        return np.logaddexp(0, 50 * (1 - margin)).mean() / 50 + 0.01 * params @ params

    other = minimize(cost, found.params + 0.1, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    np.testing.assert_allclose(found.cost / NUM_NODES, other.fun, rtol=1e-12)  # flat at the minimum: error squared
    np.testing.assert_allclose(found.params, other.x, atol=1e-6)  # what a search without gradients reaches


def test_many_params_are_found_by_products_with_the_hessian_alone(monkeypatch):
    monkeypatch.setattr(reference_module, "MOST_DENSE", 2)
    features = np.concatenate([FEATURES, FEATURES**2], -1)
    found = reference(cojax.Problem(ridge, (features, SCORES)), jnp.zeros(6))
    rows = features.reshape(-1, 6)
    wanted = np.linalg.solve(rows.T @ rows + 0.5 * np.eye(6), rows.T @ SCORES.ravel())
    np.testing.assert_allclose(found.params, wanted, rtol=1e-10)  # the gradient's tolerance


def test_newton_leaves_a_hill_downwards():
    problem = cojax.Problem(lambda x, data: data * jnp.sum((x.params**2 - 1) ** 2), np.ones(4))
    found = reference(problem, jnp.array([0.1, -0.2]))  # second derivatives are negative here
    np.testing.assert_allclose(found.params, [1.0, -1.0], rtol=1e-10)  # the gradient's tolerance


@pytest.mark.parametrize("unit", [1e3, 1e6, 1e12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_feature_in_bytes_beside_others_in_seconds_costs_no_digits(unit, dtype):
    rng, units = np.random.default_rng(0), np.asarray([1.0, 1.0, unit])
    features, noise = rng.normal(size=(4, 10, 3)), rng.normal(size=(4, 10))
    values = features @ np.asarray([1.0, -2.0, 0.5]) + 0.1 * noise
    labels = np.where(values + noise > 0, 1.0, -1.0)
    rows, signs = features.reshape(-1, 3), labels.ravel()
    best = {
        "squares": np.linalg.lstsq(rows, values.ravel())[0],
        "logistic": minimize(lambda w: np.logaddexp(0, -signs * (rows @ w)).sum(), np.zeros(3), tol=1e-12).x,
    }

    def squares(x, data):
        return ((data[0] @ x.params - data[1]) ** 2).sum()

    def logistic(x, data):
        return jnp.logaddexp(0, -data[1] * (data[0] @ x.params)).sum()

    for cost, told in ((squares, values), (logistic, labels)):
        problem = cojax.Problem(cost, ((features * units).astype(dtype), told.astype(dtype)))
        found = reference(problem, np.zeros(3, dtype))
        polished = cojax.polish(problem, cojax.Decision(jnp.zeros((4, 3), dtype)))
        for params in (found.params, polished.params):
            flat = np.asarray(params).reshape(-1, 3)[0] * units
            np.testing.assert_allclose(flat, best[cost.__name__], rtol=1e-4 if dtype == np.float32 else 1e-6)
        assert bool(is_certified(found.certificate, 1e-6))


def test_a_model_that_rounding_keeps_from_the_optimum_is_refused(monkeypatch):
    monkeypatch.setattr(reference_module, "_minimise", lambda problem, start, tolerance: start)
    problem = cojax.Problem(lambda x, a: (x.params - a) ** 2 + 1.0, np.ones(3))
    with pytest.raises(cojax.CojaxInputError, match=r"a model that may cost 0.* of the cost more than the best"):
        reference(problem, 0.0)


def test_a_model_and_shares_that_need_each_other_are_those_of_scipy():
    problem = cojax.Problem(shared, (FEATURES, SCORES), 5.0, lower=0.0, upper=1.1)
    found = reference(problem, jnp.zeros(3))

    def cost(both):
        params, cpu = both[:3], both[3:]
        errors = ((FEATURES @ params - SCORES) ** 2).mean(1)
        slope = 2 * np.einsum("nsf,ns,n->f", FEATURES, FEATURES @ params - SCORES, 1 / cpu) / NUM_SAMPLES
        gradient = np.concatenate([slope + NUM_NODES * 0.2 * params, -errors / cpu**2 + cpu / 2])
        return (errors / cpu + cpu**2 / 4 + 0.1 * params @ params).sum(), gradient

    other = minimize(
        cost,
        np.concatenate([np.zeros(3), np.ones(5)]),
        jac=True,
        method="SLSQP",
        bounds=[(None, None)] * 3 + [(1e-3, 1.1)] * 5,
        constraints={"type": "eq", "fun": lambda both: both[3:].sum() - 5.0},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(found.cost, other.fun, rtol=1e-11)  # flat at the minimum: error squared
    np.testing.assert_allclose(np.concatenate([found.params, found.x.cpu]), other.x, atol=1e-5)  # what SLSQP reaches
    assert (found.x.cpu == 1.1).any() and (found.x.cpu < 1.1).sum() >= 2
    assert is_certified(found.certificate, 1e-12)
    np.testing.assert_array_equal(found.x.params, np.tile(found.params, (NUM_NODES, 1)))


def test_a_problem_without_a_model_is_allocated():
    load = np.array([1.0, 4.0, 9.0])
    found = reference(cojax.Problem(delay, load, 12.0, lower=0.0))
    np.testing.assert_allclose(found.x.cpu, [2.0, 4.0, 6.0], rtol=1e-14)
    np.testing.assert_allclose(found.price, -0.25, rtol=1e-14)
    np.testing.assert_allclose(found.cost, 3.0, rtol=1e-14)
    assert found.params is None and is_certified(found.certificate, 1e-14)


def test_a_cost_that_is_not_finite_in_its_box_is_refused_with_node_and_share():
    problem = cojax.Problem(lambda x, start: -jnp.log(x.cpu - start), np.array([0.0, 0.0, 0.5]), 3.0, lower=0.0)
    with pytest.raises(cojax.CojaxInputError, match=r"got nan .* at node 2, cpu = 0.04"):
        reference(problem)


def test_a_concave_cost_is_refused_with_node_and_interval():
    problem = cojax.Problem(lambda x, sign: sign * x.cpu**2, np.array([1.0, -1.0]), 1.0, lower=0.0, upper=1.0)
    with pytest.raises(cojax.CojaxInputError, match=r"convex in cpu.* between cpu = 0.02 and 0.1 at node 1"):
        reference(problem)


def test_a_cost_without_a_minimum_is_refused():
    problem = cojax.Problem(lambda x, data: data * x.params, np.ones(3))
    with pytest.raises(cojax.CojaxInputError, match="needs a cost with a minimum, got a gradient of norm 3"):
        reference(problem, jnp.zeros(()))


def test_shares_that_could_grow_for_ever_are_refused():
    problem = cojax.Problem(lambda x, price: price * x.cpu, jnp.arange(3.0), 10.0)
    with pytest.raises(
        cojax.CojaxInputError, match=r"a cost with a minimum, got shares of .* give Problem lower and upper"
    ):
        cojax.reference(problem)


@pytest.mark.parametrize("tolerance", [-1.0, np.nan])
def test_a_tolerance_that_cannot_be_met_is_refused(tolerance):
    problem = cojax.Problem(lambda x, a: (x.params - a) ** 2, jnp.arange(3.0))
    with pytest.raises(cojax.CojaxInputError, match="reference needs tolerance >= 0, got"):
        cojax.reference(problem, jnp.zeros(()), tolerance=tolerance)


def test_a_model_without_start_params_is_asked_for_them():
    with pytest.raises(cojax.CojaxInputError, match="pass either"):
        reference(cojax.Problem(ridge, (FEATURES, SCORES)))
    with pytest.raises(cojax.CojaxInputError, match="pass one node's as start_params"):
        reference(cojax.Problem(shared, (FEATURES, SCORES), 5.0, lower=0.0))


def test_tracing_is_refused():
    with pytest.raises(cojax.CojaxInputError, match="outside of jit"):
        jax.jit(lambda load: reference(cojax.Problem(delay, load, 12.0, lower=0.0)))(jnp.ones(3))


def test_shares_of_several_resources_that_are_not_the_optimum_are_refused():
    """A fee on what two resources need together: moves of one alone find no way from corner to corner."""

    def fee(x, data):
        weight, need, price, offer = data
        return price * jnp.maximum(weight @ x.cpu - need, 0) + offer @ x.cpu

    rng = np.random.default_rng(10)
    data = rng.uniform(0.5, 1.5, (4, 2)), rng.uniform(0.5, 2, 4), rng.uniform(1, 3, 4), rng.uniform(-1, 1, (4, 2))
    problem = cojax.Problem(fee, data, rng.uniform(2, 5, 2).round(3), lower=0.0, upper=2.0)
    shares = cojax.allocate(problem).cpu
    assert cojax.certificate(problem, cojax.Decision(None, shares)).gap > 1  # 1.8 is paid, 0.4 would do
    with pytest.raises(cojax.CojaxInputError, match="smooth their corners"):
        cojax.reference(problem)


@pytest.mark.parametrize("start", [30.0, 60.0])
@pytest.mark.parametrize(("cost", "best"), [(lambda x: jnp.cosh(x) - 1, 0.0), (lambda x: 1e-25 * (x - 1) ** 4, 1.0)])
def test_neither_a_start_far_off_nor_a_tiny_unit_ends_the_search_early(cost, best, start):
    """In float32, whose squares of the first gradient overflow, and of the second are 0."""
    problem = cojax.Problem(lambda x, data: data * cost(x.params).sum(), jnp.ones(3, jnp.float32))
    found = cojax.reference(problem, jnp.array([start], jnp.float32))
    assert abs(float(found.params[0]) - best) < 2e-3


def test_a_cost_that_falls_beyond_what_float32_holds_is_refused():
    problem = cojax.Problem(lambda x, data: data * (x.params**2 - x.params**4).sum(), jnp.ones(3, jnp.float32))
    with pytest.raises(cojax.CojaxInputError, match="needs a cost with a minimum"):
        cojax.reference(problem, jnp.ones(1, jnp.float32))


def test_params_without_a_number_are_no_model():
    problem = cojax.Problem(lambda x, data: data * (x.cpu - 1) ** 2, jnp.ones(3), 6.0)
    assert np.allclose(cojax.reference(problem, jnp.zeros(0)).x.cpu, 2.0)
    with pytest.raises(cojax.CojaxInputError, match="something to decide"):
        cojax.reference(cojax.Problem(lambda x, data: data * (x.params**2).sum(), jnp.ones(3)), jnp.zeros(0))


@pytest.mark.parametrize("unit", [2.0**-50, 1.0, 2.0**50])
def test_a_resource_whose_cost_falls_for_ever_is_named_beside_one_in_other_units(unit):
    def cost(x, price):
        return price * x.cpu[0] + (x.cpu[1] / np.float32(unit)) ** 2

    problem = cojax.Problem(cost, np.arange(1, 5, dtype=np.float32), budget=np.array([4, 4 * unit], np.float32))
    with pytest.raises(cojax.CojaxInputError, match=r"got shares of .* the cost falls for ever"):
        cojax.reference(problem)
