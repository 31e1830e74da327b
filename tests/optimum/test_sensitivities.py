"""What one more unit is worth is what differences of the optimum, the duals of Clarabel, and formulas by hand say."""

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from support import laws
from support.interior_point import program

import cojax

STEP = 1e-5  # balances the error of central differences against rounding


class Joint(eqx.Module):
    """A model and shares that need each other, in a cost with an array of its own."""

    ridge: jax.Array

    def __call__(self, x, data):
        weight, target, features, label, _ = data
        error = jnp.vdot(features, x.params) - label
        model = weight * error**2 / 2 + self.ridge * jnp.sum(x.params**2)
        return model + jnp.cosh(x.cpu - target) + 0.3 * x.params[0] * x.cpu


RANDOM = np.random.default_rng(0)
START = cojax.Decision(jnp.zeros((6, 2)))
THETA, UNRAVEL = ravel_pytree(
    {
        "ridge": jnp.array(0.05),
        "weight": jnp.asarray(RANDOM.uniform(0.5, 2, 6)),
        "target": jnp.asarray(RANDOM.normal(size=6)),
        "features": jnp.asarray(RANDOM.normal(size=(6, 2))),
        "label": jnp.asarray(RANDOM.normal(size=6)),
        "budget": jnp.array(2.0),
        "lower": jnp.zeros(6),
        "upper": jnp.ones(6),
    }
)
KINDS = np.arange(6)  # whole numbers among the data have no derivative


def joint_problem(theta):
    part = UNRAVEL(theta)
    data = (part["weight"], part["target"], part["features"], part["label"], KINDS)
    return cojax.Problem(Joint(part["ridge"]), data, part["budget"], lower=part["lower"], upper=part["upper"])


def optimum(theta):
    """One copy of the model, the shares, and the least cost."""
    problem = joint_problem(theta)
    x = cojax.polish(problem, START)
    return jnp.concatenate([x.params[0], x.cpu, problem.costs(x).sum()[None]])


@pytest.fixture(scope="module")
def joint():
    """The sensitivities of the joint problem, and central differences of its optimum, a column per entry of THETA."""
    moves = STEP * jnp.concatenate([jnp.zeros((1, THETA.size)), jnp.eye(THETA.size), -jnp.eye(THETA.size)])
    many = jax.jit(jax.vmap(lambda move: cojax.sensitivities(joint_problem(THETA + move), START)))(moves)
    optima = np.column_stack([many.x.params[:, 0], many.x.cpu, many.cost])
    ahead, behind = np.split(optima[1:], 2)
    return jax.tree.map(lambda leaf: leaf[0], many), (ahead - behind).T / (2 * STEP)


def test_polish_finds_the_optimum_of_a_model_and_shares_that_need_each_other(joint):
    found, _ = joint
    best = cojax.reference(joint_problem(THETA), jnp.zeros(2))
    # Both are at rounding.
    np.testing.assert_allclose(found.x.params, best.x.params, atol=1e-13)
    np.testing.assert_allclose(found.x.cpu, best.x.cpu, atol=1e-13)
    np.testing.assert_allclose(found.cost, best.cost, rtol=1e-14)
    assert ((found.x.cpu == 0) | (found.x.cpu == 1)).any(), "no bound is active"


def test_derivatives_of_the_least_cost_are_its_differences(joint):
    found, slopes = joint
    weight, target, features, label, kinds = found.data
    assert kinds is None
    parts = {"ridge": found.own.ridge, "weight": weight, "target": target, "features": features, "label": label}
    parts |= {"budget": found.more.budget, "lower": found.more.lower, "upper": found.more.upper}
    np.testing.assert_allclose(ravel_pytree(parts)[0], slopes[-1], atol=1e-6)  # what differences reach
    assert not found.is_interval and jax.tree.all(jax.tree.map(jnp.array_equal, found.more, found.less))


def test_derivatives_of_the_model_and_the_shares_are_their_differences_in_both_modes(joint):
    _, slopes = joint

    @jax.jit
    def both(theta):
        value, push = jax.linearize(optimum, theta)
        pull = jax.linear_transpose(push, theta)
        return jax.vmap(push, out_axes=1)(jnp.eye(theta.size)), jax.vmap(pull)(jnp.eye(value.size))[0]

    for derivative in both(THETA):
        np.testing.assert_allclose(derivative, slopes, atol=1e-6)  # what differences reach


def test_a_shift_is_the_difference_in_its_direction(joint):
    _, slopes = joint
    direction = jnp.asarray(RANDOM.normal(size=THETA.size)).at[-1].set(0.0)
    part = UNRAVEL(direction)
    part["ridge"] = jnp.zeros(())  # not among the data
    data = (part["weight"], part["target"], part["features"], part["label"], KINDS)
    bounds = {name: part[name] for name in ("budget", "lower", "upper")}
    found = jax.jit(lambda: cojax.shift(joint_problem(THETA), START, data=data, **bounds))()
    expected = slopes[:-1] @ ravel_pytree(part)[0]
    # Differences reach 1e-6 an entry; the direction has 40 of size one.
    np.testing.assert_allclose(jnp.append(found.params, found.cpu), expected, atol=1e-5)


def test_the_model_moves_with_a_sample_by_the_formula_for_least_squares():
    features, labels = RANDOM.normal(size=(5, 4, 3)), RANDOM.normal(size=(5, 4))

    def cost(x, data):
        weight, rows, label = data
        return weight * (jnp.sum((rows @ x.params - label) ** 2) / 2 + 0.05 * jnp.sum(x.params**2))

    problem = cojax.Problem(cost, (np.ones(5), features, labels))
    hessian = np.einsum("nij,nik->jk", features, features) + 0.5 * np.eye(3)
    model = np.linalg.solve(hessian, np.einsum("nij,ni->j", features, labels))
    pulls = np.einsum("nij,ni->nj", features, features @ model - labels) + 0.1 * model
    zero = jax.tree.map(jnp.zeros_like, problem.data)

    def moved(weights):
        return cojax.shift(problem, cojax.Decision(jnp.zeros((5, 3))), data=(weights, *zero[1:])).params

    found = jax.jit(jax.vmap(moved))(jnp.eye(5))
    np.testing.assert_allclose(found, -np.linalg.solve(hessian, pulls.T).T, atol=1e-13)  # rounding of numbers near one


def energy(x, data):
    price, curvature = data
    return price * x.cpu + curvature * x.cpu**2 / 2


def test_prices_and_rents_are_the_duals_of_an_interior_point_solver_on_60_scenarios():
    random = np.random.default_rng(3)
    price = random.normal(size=(60, 7)) * 10 ** random.uniform(-1, 1, (60, 1))
    curvature, lower = 10 ** random.uniform(-1, 1, (60, 7)), random.uniform(-1, 1, (60, 7))
    upper = lower + random.uniform(0.1, 2, (60, 7))
    budget = lower.sum(1) + random.uniform(0.05, 0.95, 60) * (upper - lower).sum(1)
    scenarios = price, curvature, budget, lower, upper

    def one(price, curvature, budget, lower, upper):
        return cojax.sensitivities(cojax.Problem(energy, (price, curvature), budget, lower=lower, upper=upper))

    found = jax.jit(jax.vmap(one))(*map(jnp.asarray, scenarios))
    compared = 0
    for k, scenario in enumerate(zip(*scenarios, strict=True)):
        if found.is_interval[k] or found.touching[k].any():
            continue  # the solver picks any of many multipliers
        compared += 1
        price, curvature, *rest = scenario
        best = program(np.diag(curvature), price, *rest)
        # 1e-7: what the interior-point solver reaches.
        np.testing.assert_allclose(found.more.budget[k], best.prices[0], atol=1e-7)
        np.testing.assert_allclose(found.more.lower[k], best.floor_rents, atol=1e-7)
        np.testing.assert_allclose(-found.more.upper[k], best.capacity_rents, atol=1e-7)
    assert compared > 50
    np.testing.assert_allclose(found.data[0], found.x.cpu, atol=1e-14)  # of a price, the share; read off its bounds


def flat_problem(price, budget, upper):
    """Costs without curvature, in the program of those with."""
    return cojax.Problem(energy, (price, np.zeros(3)), budget, lower=0.0, upper=upper)


def test_where_every_node_is_on_a_bound_the_next_unit_and_the_last_differ():
    price = np.array([1.0, 2.0, 5.0])
    upper = np.array([1.0, 1.0, 1.0])

    def least(budget, upper):
        problem = flat_problem(price, budget, upper)
        return problem.costs(cojax.polish(problem)).sum()

    found = cojax.sensitivities(flat_problem(price, 2.0, upper))
    assert found.is_interval
    unit = 2.0**-10  # exact in the budget's grid
    here, above, below = least(2.0, upper), least(2 + unit, upper), least(2 - unit, upper)
    np.testing.assert_allclose([found.more.budget, found.less.budget], [(above - here) / unit, (here - below) / unit])
    above, below = least(2.0, upper + unit * np.eye(3)[0]), least(2.0, upper - unit * np.eye(3)[0])
    np.testing.assert_allclose(
        [found.more.upper[0], found.less.upper[0]], [(above - here) / unit, (here - below) / unit]
    )
    full = cojax.sensitivities(flat_problem(price, 3.0, upper))
    assert full.more.budget == np.inf and full.less.budget == 5


def test_a_node_that_just_touches_its_bound_is_flagged_and_moves_one_way():
    # At the price 1 two would hold 1, which for the second is all it can; the third would give more than all it has.
    upper = np.array([3.0, 1.0, 1.0])
    problem = cojax.Problem(energy, (np.array([0.0, 0.0, 2.0]), np.ones(3)), 2.0, lower=0.0, upper=upper)
    found = cojax.sensitivities(problem)
    np.testing.assert_array_equal(found.touching, [False, True, False])
    np.testing.assert_array_equal(cojax.shift(problem, budget=1.0).cpu, [1.0, 0.0, 0.0])  # of more budget, not of less


def test_nodes_that_cost_the_same_without_curvature_are_flagged():
    problem = flat_problem(np.array([1.0, 1.0, 3.0]), 1.0, 1.0)
    np.testing.assert_array_equal(cojax.sensitivities(problem).tied, [True, True, False])


def test_a_run_with_soft_bounds_is_polished_to_hard_ones():
    def cost(x, data):
        return jnp.sum((x.params - data[0]) ** 2) + (x.cpu - data[1]) ** 2

    data = (RANDOM.normal(size=(8, 2)), np.linspace(0, 4, 8))
    penalty = cojax.penalties.PowerPenalty(5.0)
    problem = cojax.Problem(cost, data, 12.0, lower=0.0, upper=2.0, penalty=penalty)
    method = cojax.CoOpt(cojax.DIGing(0.1, 0.5), cojax.Laplacian(0.05))
    start = problem.start(jnp.zeros((8, 2)))
    length = dict(num_steps=500, every=500, record=laws.nothing)
    run = cojax.solve(problem, cojax.network(nx.cycle_graph(8)), method, start, **length)
    exact = jax.jit(cojax.polish)(problem, run.x)
    assert run.x.cpu.max() > 2.01, "the bound did not give way"
    assert cojax.is_certified(cojax.certificate(problem, exact), 1e-12)
    np.testing.assert_allclose(exact.params, np.broadcast_to(data[0].mean(0), (8, 2)), atol=1e-14)  # the mean, by hand


def test_float32_is_kept():
    problem = cojax.Problem(
        energy, (np.arange(3, dtype="f4"), np.ones(3, "f4")), jnp.float32(2.0), lower=0.0, upper=1.0
    )
    found = cojax.sensitivities(problem)
    assert {leaf.dtype for leaf in jax.tree.leaves((found.x, found.more, found.data))} == {jnp.dtype("f4")}


PROBLEM = cojax.Problem(energy, (np.zeros(3), np.ones(3)), 2.0, lower=0.0, upper=1.0)
NEEDY = cojax.Problem(lambda x, data: data * x.params**2, np.ones(3))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cojax.polish(PROBLEM, jnp.zeros(3)), "polish needs a cojax.Decision"),
        (lambda: cojax.polish(PROBLEM, cojax.Decision(jnp.zeros(4))), r"3 nodes on the first axis of params, got .*4"),
        (lambda: cojax.sensitivities(NEEDY), "sensitivities cannot compute the cost of a node without params"),
        (lambda: cojax.shift(NEEDY, START, budget=1.0), "shift got a change of budget"),
        (lambda: cojax.shift(PROBLEM, upper=jnp.ones(4)), r"change of upper of shape \(3,\), got \(4,\)"),
        (lambda: cojax.shift(PROBLEM, data=jnp.ones(3)), "with the structure and the shapes of the problem's data"),
        (lambda: cojax.certificate(PROBLEM, cojax.Decision(None, jnp.ones(4))), r"cpu of shape \(3,\), .* got \(4,\)"),
        (
            lambda: cojax.certificate(NEEDY, cojax.Decision()),
            "certificate cannot compute the cost of a node without params",
        ),
        (lambda: cojax.allocate(cojax.Problem(lambda x, data: x.params * x.cpu, np.ones(3), 1.0)), "allocate cannot"),
    ],
)
def test_what_does_not_fit_is_one_sentence(call, said):
    with pytest.raises(cojax.CojaxInputError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
