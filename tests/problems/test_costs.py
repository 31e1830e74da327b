"""What every ready-made cost is worth, against NumPy, SciPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.test_util import check_grads
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.svm import SVC

import cojax
from cojax.problems.costs import (
    Delay,
    Deviation,
    LeastSquares,
    Logistic,
    Price,
    Samples,
    Separable,
    SmoothHinge,
    Softmax,
    Sum,
    check_classes,
    check_labels,
)

M, D, C = 12, 4, 3
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(M, D))
WEIGHTS = RNG.uniform(0.1, 2.0, M)
TARGETS = {"real": RNG.normal(size=M), "sign": np.where(RNG.uniform(size=M) < 0.5, -1.0, 1.0)}
TARGETS["class"] = RNG.integers(0, C, M)


def least_squares(y, a, t, w):
    return np.sum(w * (a @ y - t) ** 2) / 2 + 0.3 / 2 * np.sum(y**2)


def logistic(y, a, t, w):
    return np.sum(w * np.log(1 + np.exp(-t * (a @ y)))) + 0.3 / 2 * np.sum(y**2)


def softmax(y, a, t, w):
    y = y.reshape(D, C)
    odds = np.exp(a @ y)
    own = odds[np.arange(len(t)), t.astype(int)]
    return np.sum(-w * np.log(own / odds.sum(1))) + 0.3 / 2 * np.sum(y**2)


def smooth_hinge(y, a, t, w):
    omega, nu = y[:-1], y[-1]
    losses = np.log(1 + np.exp(5.0 * (1 - t * (a @ omega - nu)))) / 5.0
    return 0.3 / 2 * omega @ omega + 2.0 * np.sum(w * losses)


LEARNING = {
    "least squares": (LeastSquares(0.3), least_squares, (D,), "real"),
    "logistic": (Logistic(0.3), logistic, (D,), "sign"),
    "softmax": (Softmax(0.3), softmax, (D, C), "class"),
    "smooth hinge": (SmoothHinge(0.3, 5.0, 2.0), smooth_hinge, (D + 1,), "sign"),
}
every_learning_cost = pytest.mark.parametrize("name", LEARNING)


def case(name):
    cost, formula, shape, kind = LEARNING[name]
    params = np.random.default_rng(1).normal(size=shape)
    samples = Samples(jnp.asarray(FEATURES), jnp.asarray(TARGETS[kind]), jnp.asarray(WEIGHTS))
    return cost, formula, params, samples


def slope_of(cost):
    """The value and the gradient of a cost, compiled: faster than its many operations one by one."""
    return jax.jit(jax.value_and_grad(cost))


def minimize(cost, shape, samples):
    found = scipy.optimize.minimize(
        jax.jit(jax.value_and_grad(lambda y: cost(y, samples))), np.zeros(shape), jac=True, tol=1e-12
    )
    return found.x


@every_learning_cost
def test_a_learning_cost_is_its_formula(name):
    cost, formula, params, samples = case(name)
    wanted = formula(params.ravel(), FEATURES, np.asarray(samples.targets), WEIGHTS)
    value = jax.jit(cost)(jnp.asarray(params), samples)
    np.testing.assert_allclose(value, wanted, rtol=1e-13)  # a dozen roundings of 1e-16


@every_learning_cost
def test_the_gradient_is_the_slope_of_the_formula(name):
    cost, formula, params, samples = case(name)
    slope = scipy.optimize.approx_fprime(params.ravel(), formula, 1e-7, FEATURES, np.asarray(samples.targets), WEIGHTS)
    gradient = slope_of(cost)(jnp.asarray(params), samples)[1]
    # A one-sided difference of step 1e-7 errs by about 1e-7 times the curvature, here below 100.
    np.testing.assert_allclose(gradient.ravel(), slope, atol=1e-5)


@every_learning_cost
def test_hyper_parameters_and_weights_have_the_derivatives_of_finite_differences(name):
    cost, _, params, samples = case(name)

    def value(cost, weights):
        return cost(jnp.asarray(params), samples._replace(weights=weights))

    check_grads(value, (cost, samples.weights), order=1, modes=["rev"], rtol=1e-5)  # eps**(2/3) is 4e-11


@every_learning_cost
def test_padding_rows_change_nothing(name):
    cost, _, params, samples = case(name)
    padding = Samples(jnp.full((3, D), 7.0), jnp.zeros(3, samples.targets.dtype), jnp.zeros(3))
    padded = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), samples, padding)
    plain = slope_of(cost)(jnp.asarray(params), samples)
    # Longer sums may be added in another order: a few roundings.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14),
        slope_of(cost)(jnp.asarray(params), padded),
        plain,
    )


@every_learning_cost
def test_half_precision_params_get_a_float32_cost_and_keep_their_dtype(name):
    cost, formula, params, samples = case(name)
    small = jnp.asarray(params, jnp.bfloat16)
    samples32 = Samples(*(leaf.astype(jnp.float32) for leaf in samples))
    value, gradient = slope_of(cost)(small, samples32)
    assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.bfloat16)
    wanted = formula(np.asarray(small, np.float64).ravel(), FEATURES, np.asarray(samples.targets), WEIGHTS)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)  # float32 sums of a dozen terms


@every_learning_cost
def test_curvature_stays_below_the_documented_bound(name):
    cost, _, params, samples = case(name)
    squares = (FEATURES**2).sum(1)
    bounds = {
        "least squares": np.sum(WEIGHTS * squares),
        "logistic": np.sum(WEIGHTS * squares) / 4,
        "softmax": np.sum(WEIGHTS * squares) / 2,
        "smooth hinge": 2.0 * 5.0 / 4 * np.sum(WEIGHTS * (squares + 1)),
    }
    hessian = jax.jit(jax.hessian(cost))(jnp.asarray(params), samples).reshape(params.size, params.size)
    assert 0 <= np.linalg.eigvalsh(hessian)[-1] <= bounds[name] + 0.3


@every_learning_cost
def test_scores_far_from_zero_stay_finite(name):
    cost, _, params, samples = case(name)
    value, gradient = slope_of(cost)(jnp.asarray(1e4 * params), samples)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_the_smooth_hinge_exceeds_the_hinge_by_at_most_log_two_over_its_sharpness():
    margins = jnp.linspace(-3.0, 5.0, 41)
    for sharpness in (1.0, 10.0):
        cost = SmoothHinge(0.0, sharpness)
        smooth = jax.vmap(lambda s, cost=cost: cost(jnp.array([1.0, 0.0]), one_sample(s)))(margins)
        bias = smooth - np.maximum(0, 1 - margins)
        slack = 1e-15 * 5  # rounding of a loss of size 5
        assert (bias >= -slack).all()
        assert (bias <= np.log(2) / sharpness + slack).all()
        # The grid holds the margin 1, where the bias is largest.
        np.testing.assert_allclose(bias.max(), np.log(2) / sharpness, rtol=1e-12)


def one_sample(feature):
    return Samples(feature.reshape(1, 1), jnp.ones(1), jnp.ones(1))


def test_the_ridge_leaves_the_offset_of_the_support_vector_machine_alone():
    nothing = Samples(jnp.zeros((1, D)), jnp.ones(1), jnp.zeros(1))
    gradient = jax.grad(SmoothHinge(2.0, 1.0))(jnp.ones(D + 1), nothing)
    np.testing.assert_array_equal(gradient, [2.0] * D + [0.0])


def test_softmax_is_the_log_loss_of_scikit_learn():
    _, _, params, samples = case("softmax")
    cost = Softmax()
    scores = np.asarray(cost.score(jnp.asarray(params), samples.features))
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wanted = log_loss(TARGETS["class"], chances, sample_weight=WEIGHTS, normalize=False, labels=range(C))
    np.testing.assert_allclose(cost(jnp.asarray(params), samples), wanted, rtol=1e-13)  # a dozen roundings


def separated(m=60):
    rng = np.random.default_rng(2)
    labels = np.where(np.arange(m) % 2, 1.0, -1.0)
    features = rng.normal(size=(m, D)) + 0.7 * labels[:, None]
    return features, labels, Samples(jnp.asarray(features), jnp.asarray(labels), jnp.ones(m))


def test_the_logistic_optimum_is_that_of_scikit_learn():
    features, labels, samples = separated()
    found = minimize(Logistic(ridge=0.5), D, samples)
    theirs = LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-10, max_iter=1000).fit(features, labels)
    # Both solvers stop at gradients of 1e-6 or less over a curvature above the ridge, 0.5.
    np.testing.assert_allclose(found, theirs.coef_[0], atol=1e-5)


def test_the_sharp_support_vector_machine_is_that_of_scikit_learn():
    features, labels, samples = separated()
    found = minimize(SmoothHinge(1.0, sharpness=1000.0, weight=0.5), D + 1, samples)
    theirs = SVC(kernel="linear", C=0.5, tol=1e-8).fit(features, labels)
    # The cost differs by at most 0.5 * 60 log(2)/1000 = 0.021; by ridge 1, |difference|**2 <= 2 * 0.021 = 0.2**2.
    assert np.linalg.norm(found[:-1] - theirs.coef_[0]) <= 0.2
    own = SmoothHinge(1.0, 1000.0).score(jnp.asarray(found), samples.features)
    clear = np.abs(theirs.decision_function(features)) > 0.2  # further from the boundary than the two machines differ
    np.testing.assert_array_equal(np.sign(own)[clear], theirs.predict(features)[clear])


def test_local_weights_give_the_paper_s_mean_over_the_samples_of_a_node():
    _, _, params, samples = case("least squares")
    local = samples._replace(weights=jnp.full(M, 1 / M))
    wanted = np.mean((FEATURES @ params - TARGETS["real"]) ** 2) / 2
    np.testing.assert_allclose(LeastSquares()(jnp.asarray(params), local), wanted, rtol=1e-14)  # a dozen roundings


CPU = np.array([0.5, 2.0])
CPU_DATA = {
    "deviation": (Deviation(), (np.array([1.0, 0.3]), np.array([4.0, 2.0])), lambda x, b, k: (x - b) ** 2 / (2 * k)),
    "price": (Price(), (np.array([1.0, 0.3]), np.array([4.0, 2.0])), lambda x, c, a: c * x + a * x**2 / 2),
    "delay": (Delay(), np.array([3.0, 0.3]), lambda x, w: w / x),
}


@pytest.mark.parametrize("name", CPU_DATA)
def test_a_cpu_cost_is_the_sum_of_its_formula_over_resources(name):
    cost, data, formula = CPU_DATA[name]
    columns = data if isinstance(data, tuple) else (data,)
    both = cost(jnp.asarray(CPU), jax.tree.map(jnp.asarray, data))
    np.testing.assert_allclose(both, formula(CPU, *columns).sum(), rtol=1e-15)  # one sum of two
    first = cost(jnp.asarray(CPU[0]), jax.tree.map(lambda column: jnp.asarray(column[0]), data))
    np.testing.assert_allclose(first, formula(CPU[0], *(column[0] for column in columns)), rtol=1e-15)


@pytest.mark.parametrize("name", CPU_DATA)
def test_a_cpu_cost_has_the_derivatives_of_finite_differences(name):
    cost, data, _ = CPU_DATA[name]
    arguments = (jnp.asarray(CPU), jax.tree.map(jnp.asarray, data))
    check_grads(cost, arguments, order=2, modes=["rev"], rtol=1e-4)  # second differences of step 1e-6


def test_a_delay_without_cpu_is_infinite_and_has_no_slope():
    value, slope = jax.vmap(jax.value_and_grad(Delay()))(jnp.array([-1.0, 0.0]), jnp.ones(2))
    np.testing.assert_array_equal(value, [np.inf, np.inf])
    assert not np.isfinite(slope).any()


def test_a_separable_cost_is_the_sum_of_its_halves():
    learn, _, params, samples = case("logistic")
    x = cojax.Decision(jnp.asarray(params), jnp.array(2.0))
    ours = Separable(learn, Delay())(x, (samples, jnp.array(3.0)))
    np.testing.assert_allclose(ours, learn(x.params, samples) + 1.5, rtol=1e-15)  # one addition
    np.testing.assert_array_equal(Separable(learn)(x, (samples, None)), learn(x.params, samples))
    np.testing.assert_array_equal(Separable(allocate=Delay())(x, (None, jnp.array(3.0))), 1.5)


def test_a_sum_adds_what_its_parts_give():
    cost = Sum((Price(), Delay(), lambda cpu, data: data * cpu))
    value = cost(jnp.array(2.0), ((jnp.array(1.0), jnp.array(4.0)), jnp.array(3.0), jnp.array(0.5)))
    np.testing.assert_array_equal(value, 2 + 8 + 1.5 + 1)


def test_halves_of_different_precision_add_up():
    learn, _, params, samples = case("least squares")
    x = cojax.Decision(jnp.asarray(params, jnp.float32), jnp.array(2.0))
    samples32 = Samples(*(leaf.astype(jnp.float32) for leaf in samples))
    assert Separable(learn, Delay())(x, (samples32, jnp.array(3.0))).dtype == jnp.float64


def stacked_problem():
    nodes = 3
    _, _, _, samples = case("logistic")
    samples = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (nodes, *leaf.shape)), samples)
    cpu_data = ((jnp.ones(nodes), jnp.ones(nodes)), jnp.ones(nodes))
    allocate = Sum((Deviation(), lambda cpu, work: work * cpu))  # a plain function must pass jit as a part
    return cojax.Problem(Separable(Logistic(1), allocate), (samples, cpu_data), budget=6.0)


def test_a_problem_of_ready_made_costs_passes_jit_and_is_differentiable_in_their_numbers():
    problem = stacked_problem()
    x = problem.start(params=jnp.ones((3, D)))
    gradient = jax.jit(jax.grad(lambda problem: problem.costs(x).sum()))(problem)
    np.testing.assert_allclose(gradient.cost.learn.ridge, 3 * D / 2)  # |y|**2 / 2 at three nodes
    np.testing.assert_allclose(gradient.data[1][1], [2.0, 2.0, 2.0])  # cpu, the slope of work * cpu
    np.testing.assert_allclose(jax.jit(cojax.Problem.grad)(problem, x).cpu, [2.0, 2.0, 2.0])  # (2 - 1)/1 + 1


def test_labels_other_than_plus_and_minus_one_are_refused():
    check_labels(np.array([-1, 1, 1]))
    check_labels(np.ones(3))  # one class only is legal: a node may know no other
    with pytest.raises(cojax.CojaxInputError, match=r"targets -1 or 1, got 0, 1: map 0 to -1"):
        check_labels(np.array([0, 1, 1]))


def test_classes_out_of_range_are_refused():
    check_classes(np.array([0.0, 2.0]), 3)
    with pytest.raises(cojax.CojaxInputError, match=r"targets 0 \.\.\. 2, got 1, 1.5, 3"):
        check_classes(np.array([1, 1.5, 3]), 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeastSquares(-1.0), "LeastSquares needs ridge >= 0, got -1"),
        (lambda: Logistic(jnp.ones(2)), r"Logistic needs one number for ridge, got shape \(2,\)"),
        (lambda: Softmax(np.nan), "Softmax needs ridge >= 0, got nan"),
        (lambda: SmoothHinge(-0.1, 1.0), "SmoothHinge needs ridge >= 0, got -0.1"),
        (lambda: SmoothHinge(0.1, 0.0), "SmoothHinge needs sharpness > 0, got 0"),
        (lambda: SmoothHinge(0.1, 1.0, 0), "SmoothHinge needs weight > 0, got 0"),
        (lambda: Separable(), "Separable needs a cost to learn, to allocate, or both"),
        (lambda: Sum(()), "Sum needs at least one part"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        make()


def learning_data(features=(M, D), targets=(M,), weights=(M,)):
    return Samples(jnp.ones(features), jnp.ones(targets), jnp.ones(weights))


@pytest.mark.parametrize(
    ("cost", "params", "samples", "message"),
    [
        (LeastSquares(), jnp.ones(D + 1), learning_data(), r"params of shape \(4,\) at a node, got \(5,\)"),
        (Logistic(), jnp.ones((D, 1)), learning_data(), r"params of shape \(4,\) at a node, got \(4, 1\)"),
        (SmoothHinge(1, 1), jnp.ones(D), learning_data(), r"params of shape \(5,\) at a node, got \(4,\)"),
        (Softmax(), jnp.ones(D), learning_data(), r"params of shape \(4, c\) at a node, got \(4,\)"),
        (Softmax(), None, learning_data(), "params that are one array, got NoneType"),
        (Logistic(), jnp.ones(D), learning_data(features=(M,)), r"features of shape \(m, d\) at a node, got \(12,\)"),
        (Logistic(), jnp.ones(D), learning_data(targets=(3,)), r"targets of shape \(12,\).*got \(3,\)"),
        (Logistic(), jnp.ones(D), learning_data(weights=()), r"weights of shape \(12,\).*got \(\)"),
        (Logistic(), jnp.ones(D), (1, 2), r"data cojax\.costs\.Samples, got tuple"),
    ],
)
def test_shapes_that_do_not_fit_are_named_on_tracing(cost, params, samples, message):
    with pytest.raises(cojax.CojaxInputError, match=f"{type(cost).__name__} needs {message}"):
        jax.eval_shape(cost, params, samples) if isinstance(samples, Samples) else cost(params, samples)


@pytest.mark.parametrize(
    ("cost", "cpu", "data", "message"),
    [
        (Deviation(), 1.0, (jnp.ones(2), 1.0), r"Deviation needs demand of shape \(\), as cpu, got \(2,\)"),
        (Price(), jnp.ones(2), (1.0, jnp.ones(3)), r"Price needs curvature of shape \(2,\), as cpu, got \(3,\)"),
        (Price(), 1.0, 2.0, "Price needs data that is a tuple of 2, got float"),
        (Delay(), None, 1.0, "Delay needs a CPU share, got None"),
        (Sum((Delay(),)), 1.0, (1.0, 2.0), "Sum needs data that is a tuple of 1, got 2 entries"),
    ],
)
def test_cpu_data_that_do_not_fit_are_named(cost, cpu, data, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        cost(cpu, data)
