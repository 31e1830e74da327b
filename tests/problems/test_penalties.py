"""What a bound costs: nothing where there is none, and as much as documented where there is one."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
import scipy.optimize
from jax.test_util import check_grads

import cojax
from cojax.problems.penalties import BarrierPenalty, PowerPenalty, SoftplusPenalty

LOWER, UPPER = -1.0, 2.0
PENALTIES = {"power": PowerPenalty(3.0), "softplus": SoftplusPenalty(3.0, 5.0), "barrier": BarrierPenalty(0.1)}
FORMULAS = {
    "power": lambda x: 3.0 * (np.maximum(x - UPPER, 0) ** 2 + np.maximum(LOWER - x, 0) ** 2),
    "softplus": lambda x: 3.0 / 5.0 * np.log((1 + np.exp(5.0 * (x - UPPER))) * (1 + np.exp(5.0 * (LOWER - x)))),
    "barrier": lambda x: -0.1 * np.log((UPPER - x) * (x - LOWER)),
}
POINTS = {name: np.linspace(-2.5, 3.5, 13) for name in PENALTIES}
POINTS["barrier"] = np.linspace(-0.9, 1.9, 13)
every_penalty = pytest.mark.parametrize("name", PENALTIES)


@every_penalty
def test_a_penalty_is_its_formula(name):
    values = jax.jit(jax.vmap(PENALTIES[name], in_axes=(0, None, None)))(jnp.asarray(POINTS[name]), LOWER, UPPER)
    np.testing.assert_allclose(values, FORMULAS[name](POINTS[name]), rtol=1e-12, atol=1e-15)  # log(1 + small) in NumPy


@every_penalty
def test_the_derivatives_are_those_of_finite_differences(name):
    points = jnp.asarray(POINTS[name] + 0.01)  # off the bounds, where the square has no third derivative

    def total(penalty, lower, upper):
        return jax.vmap(penalty)(points, lower, upper).sum()

    bounds = (jnp.full(points.shape, LOWER), jnp.full(points.shape, UPPER))
    check_grads(jax.jit(total), (PENALTIES[name], *bounds), order=2, modes=["rev"], rtol=1e-4, eps=1e-6)
    slopes = jax.grad(lambda x: jax.vmap(PENALTIES[name], in_axes=(0, None, None))(x, LOWER, UPPER).sum())(points)
    around = [FORMULAS[name](np.asarray(points) + side) for side in (1e-6, -1e-6)]
    # Central differences of step 1e-6: rounding 1e-15/1e-6, and 1e-12 times a third derivative below 1e4.
    np.testing.assert_allclose(slopes, (around[0] - around[1]) / 2e-6, atol=1e-7)


@every_penalty
def test_an_infinite_bound_costs_nothing_and_leaves_every_derivative_finite(name):
    cpu, endless = jnp.array(1.5), (jnp.array(-jnp.inf), jnp.array(jnp.inf))

    def value(penalty, cpu, lower, upper):
        return penalty(cpu, lower, upper)

    arguments = (PENALTIES[name], cpu, *endless)
    first = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2, 3)))(*arguments)
    second = jax.jit(jax.grad(jax.grad(value, argnums=1), argnums=(0, 1, 2, 3)))(*arguments)
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves((first, second)))


@every_penalty
def test_one_infinite_bound_leaves_the_other_one_as_it_is(name):
    penalty, x = PENALTIES[name], jnp.array(1.5)
    both = penalty(x, LOWER, UPPER)
    halves = penalty(x, -np.inf, UPPER) + penalty(x, LOWER, np.inf)
    np.testing.assert_allclose(halves, both, rtol=1e-15)  # one addition
    assert np.isfinite(jax.grad(penalty)(x, -np.inf, UPPER))


@every_penalty
def test_resources_add_up(name):
    penalty, cpu = PENALTIES[name], jnp.array([0.5, 1.5])
    lower, upper = jnp.array([LOWER, -jnp.inf]), jnp.array([1.0, UPPER])
    single = [penalty(*one) for one in zip(cpu, lower, upper, strict=True)]
    np.testing.assert_allclose(penalty(cpu, lower, upper), sum(single), rtol=1e-15)  # one addition


@every_penalty
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_penalty_has_the_dtype_of_the_shares(name, dtype):
    value, slope = jax.jit(jax.value_and_grad(PENALTIES[name]))(
        jnp.asarray(1.5, dtype), jnp.array(LOWER), jnp.array(UPPER)
    )
    assert (value.dtype, slope.dtype) == (dtype, dtype)


def excess(penalty, low, high):
    """Where (x - 3)**2 / 2 plus the penalty is least, beyond the upper bound 2; the multiplier of the bound is 1."""
    slope = jax.jit(jax.grad(lambda x: (x - 3) ** 2 / 2 + penalty(x, -jnp.inf, UPPER)))
    return scipy.optimize.brentq(lambda x: float(slope(x)), UPPER + low, UPPER + high, xtol=1e-14) - UPPER


def test_a_square_penalty_lets_a_share_pass_its_bound_by_the_multiplier_over_twice_the_weight():
    # Exactly 1 / (2 weight + 1) here: the multiplier at the solution is 1 - excess.
    for weight in (10.0, 1000.0):
        np.testing.assert_allclose(excess(PowerPenalty(weight), 0.0, 1.0), 1 / (2 * weight + 1), rtol=1e-9)


def test_a_penalty_of_power_one_is_exact_above_the_multiplier():
    slope = jax.grad(lambda x: (x - 3) ** 2 / 2 + PowerPenalty(1.5, 1)(x, -jnp.inf, UPPER))
    assert slope(UPPER - 1e-9) < 0 < slope(UPPER + 1e-9)


def test_a_square_root_of_a_cube_has_finite_second_derivatives_at_its_bound():
    curvature = jax.grad(jax.grad(PowerPenalty(1.0, 1.5)))(UPPER, LOWER, UPPER)
    assert curvature == 0


def test_a_softplus_penalty_exceeds_the_exact_one_by_at_most_weight_log_two_over_sharpness():
    points = jnp.linspace(0.0, 4.0, 41)  # holds the bound, where the bias is largest
    soft = jax.vmap(SoftplusPenalty(3.0, 5.0), in_axes=(0, None, None))(points, -jnp.inf, UPPER)
    bias = soft - 3.0 * np.maximum(points - UPPER, 0)
    assert (bias >= -1e-14).all()  # rounding of a penalty of size 6
    np.testing.assert_allclose(bias.max(), 3.0 * np.log(2) / 5.0, rtol=1e-13)


def test_a_barrier_keeps_a_share_epsilon_over_the_multiplier_inside():
    for epsilon in (1e-2, 1e-4):
        inside = -excess(BarrierPenalty(epsilon), -1.0, -1e-9)
        # The multiplier at the solution is 1 + inside, so the distance is epsilon to first order.
        np.testing.assert_allclose(inside, epsilon, rtol=2 * epsilon)


def test_a_barrier_is_infinite_at_its_bound_and_outside():
    outside = jnp.array([LOWER - 1, LOWER, UPPER, UPPER + 1])
    values, slopes = jax.vmap(jax.value_and_grad(BarrierPenalty(0.1)), in_axes=(0, None, None))(outside, LOWER, UPPER)
    np.testing.assert_array_equal(values, np.full(4, np.inf))
    assert not np.isfinite(slopes).any()


def off_demand(x, demand):
    return (x.cpu - demand) ** 2 / 2


def allocated(penalty, step_size, upper=1.5):
    demand = jnp.array([3.0, 1.0, 0.5, 0.2])
    problem = cojax.Problem(off_demand, demand, 4.0, lower=0.0, upper=upper, penalty=penalty)
    network = cojax.network(nx.cycle_graph(4))
    method = cojax.CoOpt(allocate=cojax.Laplacian(step_size))
    return cojax.solve(problem, network, method, problem.start(), num_steps=4000, every=4000)


def test_an_allocation_with_a_square_penalty_ends_near_the_bounded_optimum():
    # Without the bound node 0 would get 2.825; with it 1.5, and the other three share 2.5 at one marginal cost, level.
    solution = allocated(PowerPenalty(50.0), 0.01)
    level = (2.5 - 1.7) / 3
    multiplier = 3 - 1.5 + level
    # The excess is multiplier / 100 to first order; the others change by a third of it.
    np.testing.assert_allclose(solution.x.cpu, [1.5, 1 + level, 0.5 + level, 0.2 + level], atol=multiplier / 100)
    assert 0 < float(solution.trace.overload[-1]) <= multiplier / 100
    assert float(solution.state.imbalance) == 0.0


def test_a_run_with_a_barrier_stays_inside_its_bounds():
    solution = allocated(BarrierPenalty(0.05), 0.01)
    assert float(solution.trace.overload[-1]) == 0.0
    assert cojax.Status(int(solution.status)) is cojax.Status.CONVERGED


def test_a_step_over_a_barrier_is_not_finite():
    assert cojax.Status(int(allocated(BarrierPenalty(0.05), 1.5).status)) is cojax.Status.NOT_FINITE


def test_a_plain_function_can_be_the_penalty():
    solution = allocated(lambda cpu, lower, upper: PowerPenalty(50.0)(cpu, lower, upper), 0.01)
    np.testing.assert_array_equal(solution.x.cpu, allocated(PowerPenalty(50.0), 0.01).x.cpu)


def test_the_reference_of_a_problem_with_a_barrier_is_that_of_scipy_inside_of_its_bounds():
    price, lower, upper = np.array([1.0, 2.0, 3.0, 0.1]), 0.1, 1.5
    bounds = {"lower": lower, "upper": upper, "penalty": BarrierPenalty(0.01)}
    problem = cojax.Problem(lambda x, price: price * x.cpu**2, price, 4.0, **bounds)

    def cost(cpu):
        return (price * cpu**2).sum() - 0.01 * (np.log(upper - cpu) + np.log(cpu - lower)).sum()

    inside = [(lower + 1e-6, upper - 1e-6)] * 4
    budget = {"type": "eq", "fun": lambda cpu: cpu.sum() - 4.0}
    found = scipy.optimize.minimize(cost, np.ones(4), bounds=inside, constraints=budget, tol=1e-14)
    # SciPy's shares are right to the root of its tolerance.
    np.testing.assert_allclose(cojax.reference(problem.softened()).x.cpu, found.x, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PowerPenalty(0), "PowerPenalty needs weight > 0, got 0"),
        (lambda: PowerPenalty(1.0, 0.5), "PowerPenalty needs power >= 1, got 0.5"),
        (lambda: PowerPenalty(1.0, True), "PowerPenalty needs a Python number for power, got True"),
        (lambda: SoftplusPenalty(-1.0, 1.0), "SoftplusPenalty needs weight > 0, got -1"),
        (lambda: SoftplusPenalty(1.0, 0.0), "SoftplusPenalty needs sharpness > 0, got 0"),
        (lambda: BarrierPenalty(np.inf), "BarrierPenalty needs epsilon > 0, got inf"),
        (
            lambda: PowerPenalty(1.0)(1.0, jnp.zeros(2), 1.0),
            r"PowerPenalty needs lower of shape \(\), as cpu, got \(2,",
        ),
    ],
)
def test_numbers_and_shapes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        make()
