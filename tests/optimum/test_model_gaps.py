"""A model is certified only where its cost is shown to have a minimum, and never nearer to it than it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import cojax
from cojax import costs
from cojax.optimum.certificates import relative

NODES, SAMPLES, ENTRIES, CLASSES = 3, 6, 3, 3
DRAWN = 40  # instances of each of seven costs, each looked at three times on its way


def own(cost):
    """The same cost as a user writes it, who tells nothing of its curvature."""
    return lambda x, data: cost(x.params, data)


def ready(cost):
    return costs.Separable(cost, None)


def falling(x, a):
    """Falls for ever in its second entry, and has a minimum in its first."""
    first, second = x.params[0], x.params[1]
    return (first - a) ** 2 / 2 + jnp.exp(-second) * (1 + a**2)


def tilted(x, a):
    """Falls for ever along a curve: for every second entry there is a best first one."""
    first, second = x.params[0], x.params[1]
    return (first - a + second) ** 2 / 2 + jnp.logaddexp(0.0, -second)


def drawn_features(seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(NODES, SAMPLES, ENTRIES))
    return rng, features, features @ rng.normal(size=ENTRIES)


def samples(features, targets):
    return costs.Samples(jnp.asarray(features), jnp.asarray(targets, float), jnp.full(targets.shape, 1 / SAMPLES))


def separable_labels(seed):
    _, features, scores = drawn_features(seed)
    return samples(features, np.where(scores > 0, 1.0, -1.0))


def separable_classes(seed):
    rng, features, _ = drawn_features(seed)
    return samples(features, (features @ rng.normal(size=(ENTRIES, CLASSES))).argmax(-1))


def numbers(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=NODES))


WITHOUT_MINIMUM = {
    "logistic": (ready(costs.Logistic()), separable_labels, (ENTRIES,)),
    "softmax": (ready(costs.Softmax()), separable_classes, (ENTRIES, CLASSES)),
    "own logistic": (own(costs.Logistic()), separable_labels, (ENTRIES,)),
    "own softmax": (own(costs.Softmax()), separable_classes, (ENTRIES, CLASSES)),
    "own smooth hinge": (own(costs.SmoothHinge(0.0, 3.0)), separable_labels, (ENTRIES + 1,)),
    "falling": (falling, numbers, (2,)),
    "tilted": (tilted, numbers, (2,)),
}


def data_of(name, seed):
    _, draw, _ = WITHOUT_MINIMUM[name]
    made = draw(seed)
    return (made, None) if name in ("logistic", "softmax") else made


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("name", WITHOUT_MINIMUM)
def test_no_cost_without_a_minimum_is_certified(name, dtype):
    """Newton's method follows each for ever; on its way gradients get as small as one likes."""
    cost, _, shape = WITHOUT_MINIMUM[name]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts).astype(dtype), *(data_of(name, s) for s in range(DRAWN)))
    size = int(np.prod(shape))

    def total(flat, data):
        return jax.vmap(cost, (cojax.Decision(None, None), 0))(cojax.Decision(flat.reshape(shape)), data).sum()

    def look(data):
        def newton(flat, _):
            slope, hessian = jax.grad(total)(flat, data), jax.hessian(total)(flat, data)
            ridge = 1e-3 * jnp.trace(hessian) / size  # a little, so that softmax's Hessian can be inverted
            after = flat - jnp.linalg.solve(hessian + ridge * jnp.eye(size, dtype=flat.dtype), slope)
            return jnp.where(jnp.all(jnp.abs(after - flat) < 10), after, flat), flat  # until all is rounding

        path = jax.lax.scan(newton, jnp.zeros(size, dtype), length=36)[1][jnp.array([11, 23, 35])]

        def judge(flat):
            params = jnp.broadcast_to(flat.reshape(shape), (NODES, *shape))
            return cojax.certificate(cojax.Problem(cost, data), cojax.Decision(params))

        return jax.lax.map(judge, path)

    judged = jax.jit(lambda data: jax.lax.map(look, data))(stacked)
    slopes = np.asarray(judged.gradient / judged.sizes.gradient)
    assert (slopes[:, 2] < 1e-2).mean() > 0.6  # they do look like an optimum
    assert not np.isfinite(judged.model_gap).any()


def with_minimum(name, seed):
    """A cost with a minimum, and its data: what is told and what is measured."""
    rng, features, scores = drawn_features(seed)
    noisy = np.where(scores + rng.normal(size=scores.shape) > 0, 1.0, -1.0)
    kinds = {
        "least squares": (costs.LeastSquares(), samples(features, scores + rng.normal(size=scores.shape)), (ENTRIES,)),
        "logistic": (costs.Logistic(0.01), samples(features, noisy), (ENTRIES,)),
        "softmax": (
            costs.Softmax(0.02),
            samples(features, rng.integers(CLASSES, size=scores.shape)),
            (ENTRIES, CLASSES),
        ),
        "smooth hinge": (costs.SmoothHinge(0.05, 4.0), samples(features, noisy), (ENTRIES + 1,)),
    }
    return kinds[name]


@pytest.mark.parametrize("written", [ready, own])
@pytest.mark.parametrize("name", ["least squares", "logistic", "softmax", "smooth hinge"])
def test_the_gap_of_a_model_is_at_least_the_true_one(name, written):
    """The optimum by SciPy; around it the gap is found, never too small, and close to the truth."""
    for seed in range(5):
        cost, data, shape = with_minimum(name, seed)
        data = (data, None) if written is ready else data
        problem = cojax.Problem(written(cost), data)

        def total(flat, problem=problem, shape=shape):
            params = jnp.broadcast_to(jnp.asarray(flat).reshape(shape), (NODES, *shape))
            return problem.costs(cojax.Decision(params)).sum()

        slope = jax.jit(jax.grad(total))
        best = minimize(jax.jit(total), np.zeros(int(np.prod(shape))), jac=slope, method="BFGS", options={"gtol": 1e-9})
        rng = np.random.default_rng(seed)
        for distance in (3.0, 0.3, 1e-2, 1e-4):
            flat = best.x + distance * rng.normal(size=best.x.size)
            params = jnp.broadcast_to(jnp.asarray(flat).reshape(shape), (NODES, *shape))
            found = float(cojax.certificate(problem, cojax.Decision(params)).model_gap)
            true = float(total(flat)) - best.fun
            if np.isfinite(found) or distance <= 1e-2:
                assert found >= true * (1 - 1e-6) - 1e-13, (seed, distance)
            if distance <= 1e-2:
                assert found <= 2 * true + 1e-12, (seed, distance)
        params = jnp.broadcast_to(jnp.asarray(best.x).reshape(shape), (NODES, *shape))
        assert cojax.is_certified(cojax.certificate(problem, cojax.Decision(params)), 1e-6)


def test_directions_that_no_sample_sees_do_not_matter():
    """Fewer samples than entries, and softmax, whose classes may all move together: many minima, all as good."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(NODES, 2, 10))
    data = costs.Samples(jnp.asarray(features), jnp.asarray(rng.normal(size=(NODES, 2))), jnp.full((NODES, 2), 0.5))
    exact = np.linalg.lstsq(features.reshape(-1, 10), np.asarray(data.targets).ravel(), rcond=None)[0]
    for cost, given in ((ready(costs.LeastSquares()), (data, None)), (own(costs.LeastSquares()), data)):
        problem = cojax.Problem(cost, given)
        for params in (exact, exact + 5 * _unseen(features, rng)):
            found = cojax.certificate(problem, cojax.Decision(jnp.broadcast_to(jnp.asarray(params), (NODES, 10))))
            assert found.model_gap < 1e-25
            assert cojax.is_certified(found, 1e-8)


def _unseen(features, rng):
    """A direction in which no sample lies."""
    rows = features.reshape(-1, features.shape[-1])
    drawn = rng.normal(size=rows.shape[1])
    return drawn - np.linalg.pinv(rows) @ (rows @ drawn)


def test_what_is_not_convex_or_too_large_has_no_bound():
    def bent(x, a):
        return jnp.sum(jnp.cos(x.params)) + a * jnp.sum(x.params) * 0

    found = cojax.certificate(cojax.Problem(bent, jnp.ones(3)), cojax.Decision(jnp.zeros((3, 2))))
    assert np.isnan(found.model_gap)
    assert not cojax.is_certified(found, 0.5)
    assert "NOT certified: stationary" in repr(found)
    assert "not convex" in repr(found)

    large = 1001
    data = (costs.Samples(jnp.ones((3, 1, large)), jnp.ones((3, 1)), jnp.ones((3, 1))), None)
    at = cojax.Decision(jnp.full((3, large), 1 / large))
    without, with_ridge = (cojax.Problem(ready(costs.LeastSquares(ridge)), data) for ridge in (0.0, 0.1))
    assert not np.isfinite(cojax.certificate(without, at._replace(params=at.params * 2)).model_gap)
    # f = 3 (s - 1)^2 / 2 + 0.3 |y|^2 / 2, s the sum of the entries, all alike: y = 1 / (1001 + 0.1).
    true = _level(1 / large, large) - _level(1 / (large + 0.1), large)
    found = float(cojax.certificate(with_ridge, at).model_gap)
    assert true <= found <= true * 1.1e4  # of the ridge alone, which is 10 011 times weaker than the samples


def _level(entry, large):
    return 3 * (large * entry - 1) ** 2 / 2 + 0.3 * large * entry**2 / 2


def test_a_run_ends_stationary_where_there_is_no_best_model():
    data = separable_labels(1)
    network = cojax.network(cojax.graphs.named("ring", NODES))
    problem = cojax.Problem(ready(costs.Logistic()), (data, None))
    start = problem.start(params=jnp.zeros((NODES, ENTRIES)))
    method = cojax.CoOpt(learn=cojax.DIGing(step_size=0.5))
    ran = cojax.solve_to(problem, network, method, start, tolerance=0.25, max_steps=6000, every=1000)
    assert cojax.Status(int(ran.status)) is cojax.Status.STATIONARY
    assert "ridge" in repr(ran)
    with pytest.raises(cojax.CojaxInputError, match="still falls"):
        cojax.reference(problem, jnp.zeros(ENTRIES))
    kept = cojax.Problem(ready(costs.Logistic(0.1)), (data, None))
    ran = cojax.solve_to(kept, network, method, start, tolerance=1e-3, max_steps=6000, every=1000)
    assert cojax.Status(int(ran.status)) is cojax.Status.CONVERGED


def test_a_run_of_a_model_that_is_not_convex_stops_when_it_is_stationary():
    def well(x, a):
        return jnp.sum((x.params**2 - 1 - a / 10) ** 2)

    def saddle(x, a):
        return (x.params[0] - a) ** 2 + jnp.cos(x.params[1])

    network = cojax.network(cojax.graphs.named("ring", 3))
    method = cojax.CoOpt(learn=cojax.DIGing(step_size=0.05))
    ends = []
    for cost in (well, saddle):
        problem = cojax.Problem(cost, jnp.arange(3.0))
        start = problem.start(params=jnp.stack([jnp.array([0.5, 0.0])] * 3))
        ran = cojax.solve_to(problem, network, method, start, tolerance=1e-4, max_steps=20_000, every=200)
        ends.append((cojax.Status(int(ran.status)), int(ran.state.step)))
    # Of the first the second entry stays on the hill at 0: stationary, and no minimum.
    assert [status for status, _ in ends] == [cojax.Status.STATIONARY] * 2
    assert all(steps < 20_000 for _, steps in ends)


def test_what_is_shown_has_no_derivative_and_spoils_none():
    """Two directions of one curvature: the derivative of an eigenvector would be NaN."""
    problem = cojax.Problem(own(costs.LeastSquares(1.0)), samples(np.zeros((NODES, SAMPLES, 2)), np.ones((NODES, 6))))

    def numbers(entry):
        found = cojax.certificate(problem, cojax.Decision(jnp.full((NODES, 2), entry)))
        return jnp.stack([found.gradient, found.model_gap])

    np.testing.assert_allclose(jax.jacfwd(numbers)(0.5), [2**0.5, 0.0])


def test_a_model_without_numbers_is_no_model():
    problem = cojax.Problem(lambda x, data: data**2 + jnp.sum(x.params), jnp.arange(3.0))
    assert float(cojax.certificate(problem, cojax.Decision(jnp.zeros((3, 0)))).model_gap) == 0


def test_the_verdict_is_the_same_in_a_tiny_unit_in_float32():
    """Of the cost and of the params: the squares of such slopes are 0 in float32."""
    targets = np.random.default_rng(0).normal(size=(NODES, SAMPLES))

    def judged(unit):
        features = drawn_features(0)[1] * unit
        with jax.enable_x64(False):
            weights = jnp.full((NODES, SAMPLES), 2.0**-30, jnp.float32)
            data = costs.Samples(jnp.asarray(features, jnp.float32), jnp.asarray(targets, jnp.float32), weights)
            problem = cojax.Problem(own(costs.LeastSquares()), data)
            params = jnp.full((NODES, ENTRIES), 0.1 / unit, jnp.float32)
            return jax.device_get(relative(cojax.certificate(problem, cojax.Decision(params))))

    tiny, plain = judged(2.0**-30), judged(1.0)
    assert float(plain["gradient"]) > 0.1
    for name in ("gradient", "model_gap", "consensus"):
        np.testing.assert_allclose(tiny[name], plain[name], rtol=1e-3, err_msg=name)
