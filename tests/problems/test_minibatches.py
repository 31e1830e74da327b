"""A batch is right on average, touches only its own samples, and is the same for the same step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax
from cojax.problems.costs import LeastSquares, Samples
from cojax.problems.minibatches import rank

NODES, MOST, DIM, BATCH = 4, 12, 3, 3
NETWORK = cojax.network(laws.ring_with_chords(8))


def samples_of(nodes=NODES, seed=0):
    """Samples of unequal number, the padding in between and of wild content."""
    random = np.random.default_rng(seed)
    weights = random.uniform(0.5, 1.5, (nodes, MOST)) * (random.uniform(size=(nodes, MOST)) < 0.6)
    features, targets = random.normal(size=(nodes, MOST, DIM)), random.normal(size=(nodes, MOST))
    features[weights == 0] = 1e6
    return Samples(*map(jnp.asarray, (features, targets, weights)))


def learn(x, samples):
    return LeastSquares(0.1)(x.params, samples)


PROBLEM = cojax.Problem(learn, samples_of())
START = PROBLEM.start(params=np.random.default_rng(1).normal(size=(NODES, DIM)))


@jax.jit  # one program, where its operations one by one are many
def slopes(problem, x):
    return problem.grad(x).params


def test_over_all_draws_every_sample_comes_up_equally_often():
    for count in range(1, 14):
        for parts in range(1, 14):
            part, pick = np.meshgrid(np.arange(parts), np.arange(count))
            found = np.bincount(rank(part, pick, count, parts).ravel(), minlength=count)
            np.testing.assert_array_equal(found, np.full(count, parts))


def test_the_mean_gradient_of_many_steps_is_that_of_all_samples():
    sampled = cojax.Minibatch(PROBLEM, BATCH, 0)
    draws = np.asarray(jax.jit(jax.vmap(lambda k: sampled.at(k).grad(START).params))(jnp.arange(4000)))
    error = draws.mean(0) - np.asarray(slopes(PROBLEM, START))
    deviation = draws.std(0) / np.sqrt(4000)
    assert deviation.max() > 0
    # Five standard errors: one of 12 numbers lies further off once in 10^5 seeds, and the seed is fixed.
    assert (np.abs(error) <= 5 * deviation + 1e-12).all()


def test_as_many_parts_as_samples_give_the_gradient_of_all():
    full = cojax.Problem(learn, samples_of()._replace(weights=jnp.ones((NODES, MOST))))
    batch = cojax.Minibatch(full, MOST, 0).at(5)
    np.testing.assert_allclose(slopes(batch, START), slopes(full, START), rtol=1e-13)  # the order of a sum


def test_a_cost_that_is_a_mean_is_sampled_by_naming_its_arrays():
    random = np.random.default_rng(0)
    data = random.normal(size=(NODES, MOST, DIM)), random.normal(size=(NODES, MOST)), np.ones(NODES)

    def cost(x, data):
        return jnp.mean((data[0] @ x.params - data[1]) ** 2) + data[2] * jnp.sum(x.params)

    problem = cojax.Problem(cost, data)
    sampled = cojax.Minibatch(problem, BATCH, samples=lambda data: data[:2])
    draws = np.asarray(jax.jit(jax.vmap(lambda k: sampled.at(k).grad(START).params))(jnp.arange(2000)))
    error = np.abs(draws.mean(0) - np.asarray(slopes(problem, START)))
    assert (error <= 5 * draws.std(0) / np.sqrt(2000)).all()


def test_a_gradient_touches_no_sample_but_its_own():
    sampled = cojax.Minibatch(PROBLEM, BATCH)
    whole = {leaf.shape for leaf in PROBLEM.data} | {(NODES, MOST)}

    def equations(jaxpr):
        for equation in jaxpr.eqns:
            inner = [value.jaxpr for value in equation.params.values() if hasattr(value, "jaxpr")]
            if inner:
                for one in inner:
                    yield from equations(one)
            else:
                yield equation

    program = jax.make_jaxpr(lambda problem, x, k: problem.at(k).grad(x))(sampled, START, 3)
    touching = {
        str(equation.primitive)
        for equation in equations(program.jaxpr)
        for value in equation.invars
        if value.aval.shape in whole
    }
    assert touching == {"gather"}


def test_costs_and_optimum_are_those_of_all_samples():
    sampled = cojax.Minibatch(PROBLEM, BATCH)
    np.testing.assert_array_equal(sampled.at(7).costs(START), PROBLEM.costs(START))
    np.testing.assert_array_equal(sampled.base.grad(START).params, PROBLEM.grad(START).params)


def coopt():
    """Samples and shares over eight nodes, and a run on batches."""
    random = np.random.default_rng(2)

    def cost(x, data):
        return learn(x, data[0]) + 0.5 * (x.cpu - data[1]) ** 2

    problem = cojax.Problem(cost, (samples_of(8), random.uniform(0, 4, 8)), budget=16.0)
    method = cojax.CoOpt(learn=cojax.DIGing(0.005), allocate=cojax.Laplacian(0.3))
    return cojax.Minibatch(problem, 2, 3), method, problem.start(params=jnp.zeros((8, DIM)))


def test_a_continued_run_is_bitwise_the_whole_run_and_shares_are_exact():
    problem, method, start = coopt()
    whole = cojax.solve(problem, NETWORK, method, start, num_steps=40, every=20)
    half = cojax.solve(problem, NETWORK, method, start, num_steps=20, every=20, record=laws.nothing)
    rest = cojax.solve(problem, NETWORK, method, half.state, num_steps=20, every=20, record=laws.nothing)
    np.testing.assert_array_equal(whole.x.params, rest.x.params)
    np.testing.assert_array_equal(whole.x.cpu, rest.x.cpu)
    assert np.ptp(whole.trace.cost) > 0
    assert whole.state.imbalance == 0.0 and laws.exact_imbalance(whole.x.cpu, 16.0) == 0


def test_gradient_tracking_stops_at_the_variance_that_sgd_theory_gives():
    """For costs mean_j |y - t_j|^2 / 2 the mean model is y+ = (1 - a) y + a xi: its variance is a / (2 - a) var(xi)."""
    targets = np.sort(np.random.default_rng(0).normal(size=(8, MOST)), axis=1)
    problem = cojax.Problem(lambda x, data: 0.5 * jnp.mean((x.params - data) ** 2), targets)
    sampled = cojax.Minibatch(problem, BATCH, 1, samples=lambda data: data)
    # One of MOST / BATCH neighbours from each part; nodes and parts are independent.
    noise = targets.reshape(8, BATCH, -1).var(2).sum() / BATCH**2 / 8**2
    start = problem.start(params=jnp.full(8, targets.mean()))

    def spread(step_size):
        method = cojax.CoOpt(learn=cojax.DIGing(step_size, mixing=0.5))
        means = cojax.solve(sampled, NETWORK, method, start, num_steps=40_000, record=lambda p, x, s: x.params.mean())
        return jnp.mean((means.trace - targets.mean()) ** 2)

    step_sizes = np.array([0.05, 0.2])
    found = np.asarray(jax.jit(jax.vmap(spread))(jnp.asarray(step_sizes)))
    # The time average over K steps of an AR(1) process is off by sqrt(2 / (a K)): 3 % at a = 0.05; three of these.
    np.testing.assert_allclose(found, step_sizes / (2 - step_sizes) * noise, rtol=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cojax.Minibatch(PROBLEM, 0), "a whole number batch_size >= 1, got 0"),
        (lambda: cojax.Minibatch(PROBLEM, 2**20), "a batch_size <= 32768"),
        (lambda: cojax.Minibatch(PROBLEM, 2, "seed"), "a whole number key >= 0, got 'seed'"),
        (
            lambda: cojax.Minibatch(cojax.Minibatch(PROBLEM, 2), 2),
            "plain Problem, .* got Minibatch",
        ),
        (lambda: cojax.Minibatch(laws.quadratic(), 2), "needs data with cojax.costs.Samples, got none"),
        (lambda: cojax.Minibatch(laws.quadratic(), 2, samples=lambda data: data), "second axis of its data, got shape"),
        (lambda: cojax.Minibatch(laws.quadratic(), 2, samples=lambda data: 0.5), "to pick arrays of the data"),
        (lambda: cojax.Minibatch(PROBLEM, 2, samples=lambda data: ()), "to pick arrays of the data"),
    ],
)
def test_what_cannot_be_sampled_is_refused(make, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        make()
