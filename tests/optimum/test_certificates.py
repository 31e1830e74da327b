"""A certificate accepts what is optimal, catches what is not, and never understates the gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax
from cojax.optimum.certificates import certificate, is_certified

judged = jax.jit(certificate)
WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0, 0.5, 8.0])
TARGETS = np.array([3.0, -1.0, 0.5, 2.0, 4.0, 1.0])
UPPER = np.array([1.5, 2.0, 2.0, 2.0, 2.5, 2.0])


def distance(x, data):
    weight, target, _ = data
    return weight * (x.cpu - target) ** 2 / 2


def joint(x, data):
    _, target, features = data
    return jnp.vdot(features, x.params) ** 2 + (x.params[0] - target) ** 2 + target * x.cpu**2 / (1 + target**2)


def problem_of(cost=distance, budget=6.0, upper=UPPER):
    features = np.random.default_rng(0).normal(size=(6, 2))
    return cojax.Problem(cost, (WEIGHTS, TARGETS, features), budget, lower=np.zeros(6), upper=upper)


def optimal_shares():
    """clip(target + price / weight) with the price found by bisection in plain NumPy."""
    low, high = -100.0, 100.0
    for _ in range(200):
        price = (low + high) / 2
        shares = np.clip(TARGETS + price / WEIGHTS, 0, UPPER)
        low, high = (price, high) if shares.sum() < 6.0 else (low, price)
    return shares, price


def test_the_optimum_is_certified_with_its_price():
    shares, price = optimal_shares()
    found = judged(problem_of(), cojax.Decision(None, jnp.asarray(shares)))
    assert ((shares == 0) | (shares == UPPER)).sum() == 2
    for name in ("balance", "box", "stationarity", "gap"):
        assert 0 <= getattr(found, name) < 1e-12, name  # rounding of numbers near 10
    np.testing.assert_allclose(found.price, price, rtol=1e-13)
    assert is_certified(found, 1e-12)


@pytest.mark.parametrize(
    ("given", "tolerance", "message"),
    [
        (lambda found: found, "a", "is_certified needs real numbers for tolerance"),
        (lambda found: found, -1.0, "is_certified needs tolerance >= 0"),
        (lambda found: found, np.nan, "is_certified needs tolerance >= 0"),
        (lambda found: found.gap, 1e-6, "is_certified needs a cojax Certificate for certificate, got ArrayImpl"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence(given, tolerance, message):
    shares, _ = optimal_shares()
    found = judged(problem_of(), cojax.Decision(None, jnp.asarray(shares)))
    with pytest.raises(cojax.CojaxInputError, match=message):
        laws.unchecked(is_certified)(given(found), tolerance)


@pytest.mark.parametrize("move", [1e-3, 1e-5])
def test_a_small_move_between_two_nodes_is_caught(move):
    shares, _ = optimal_shares()
    inside = np.flatnonzero((shares > 0) & (shares < UPPER))
    shares[inside[0]] += move
    shares[inside[1]] -= move
    found = judged(problem_of(), cojax.Decision(None, jnp.asarray(shares)))
    assert found.balance < 1e-15
    assert found.stationarity > move / 10  # curvatures are 0.5 at least
    assert not is_certified(found, move / 100)


def feasible_points(num_points):
    """Mixtures of the corners of the box that the budget allows."""
    rng = np.random.default_rng(1)
    points = []
    while len(points) < num_points:
        point = rng.uniform(0, 1, 6) ** rng.uniform(0.2, 5) * UPPER
        point = np.clip(point * 6.0 / point.sum(), 0, UPPER)
        points.append(np.clip(point + (6.0 - point.sum()) * (UPPER - point) / (UPPER - point).sum(), 0, UPPER))
    return jnp.asarray(np.array(points))


def test_the_gap_is_never_below_the_true_suboptimality():
    problem, points = problem_of(), feasible_points(300)
    assert jnp.abs(points.sum(1) - 6.0).max() < 1e-14
    best = problem.costs(cojax.Decision(None, jnp.asarray(optimal_shares()[0]))).sum()
    above = jax.jit(jax.vmap(lambda cpu: problem.costs(cojax.Decision(None, cpu)).sum()))(points) - best
    found = jax.jit(jax.vmap(lambda cpu: certificate(problem, cojax.Decision(None, cpu))))(points)
    assert (found.gap >= above - 1e-13).all()  # rounding of costs near 20
    # Nor is it idle talk: near the optimum it is the suboptimality, far from it a small multiple.
    assert jnp.median(found.gap / above) < 3


def test_a_share_outside_of_its_box_is_reported_with_its_distance():
    shares, _ = optimal_shares()
    full, free = np.flatnonzero(shares == UPPER)[0], np.flatnonzero((shares > 0) & (shares < UPPER))[0]
    shares[full] += 0.25
    shares[free] -= 0.25
    found = judged(problem_of(), cojax.Decision(None, jnp.asarray(shares)))
    np.testing.assert_allclose(found.box, 0.25, rtol=1e-15)
    assert found.gap > 0 and not is_certified(found, 0.01)


def test_missing_budget_is_reported_relative_to_the_budget():
    shares, _ = optimal_shares()
    shares[np.flatnonzero((shares > 0) & (shares < UPPER))[0]] -= 0.06
    found = judged(problem_of(), cojax.Decision(None, jnp.asarray(shares)))
    np.testing.assert_allclose(found.balance, 0.01, rtol=1e-12)  # rounding of the shares


def test_where_a_node_would_take_for_ever_at_the_price_the_gap_is_infinite_unless_the_budget_ends_it():
    def linear(x, data):
        return data[1] * x.cpu

    x, problem = cojax.Decision(None, jnp.ones(6)), problem_of(linear, upper=np.inf)
    assert judged(cojax.Problem(linear, problem.data, 6.0), x).gap == np.inf
    # Where no share is below 0 none is above the budget: at the price a node would take all of it, or nothing.
    found = judged(problem, x)
    dearer = TARGETS - float(found.price)
    np.testing.assert_allclose(found.gap, dearer.sum() - 6.0 * np.minimum(dearer, 0).sum(), rtol=1e-9)
    cheapest = jnp.zeros(6).at[np.argmin(TARGETS)].set(6.0)
    assert judged(problem, cojax.Decision(None, cheapest)).gap < 1e-15


def test_consensus_and_gradient_are_those_of_the_mean_params():
    rng = np.random.default_rng(2)
    params, shares = rng.normal(size=(6, 2)), optimal_shares()[0]
    problem = problem_of(joint)
    found = judged(problem, cojax.Decision(jnp.asarray(params), jnp.asarray(shares)))
    mean, features = params.mean(0), np.asarray(problem.data[2])
    gradient = 2 * (features @ mean)[:, None] * features
    gradient[:, 0] += 2 * (mean[0] - TARGETS)
    np.testing.assert_allclose(found.consensus, np.abs(params - mean).max(), rtol=1e-13)
    np.testing.assert_allclose(found.gradient, np.linalg.norm(gradient.mean(0)), rtol=1e-13)
    np.testing.assert_allclose(found.sizes.gradient, np.linalg.norm(gradient, axis=1).max(), rtol=1e-13)


def test_a_half_that_is_absent_is_zero():
    only_shares = judged(problem_of(), cojax.Decision(None, jnp.asarray(optimal_shares()[0])))
    assert only_shares.consensus == only_shares.gradient == 0
    learning = cojax.Problem(lambda x, data: jnp.vdot(x.params, x.params), TARGETS)
    only_params = certificate(learning, cojax.Decision(jnp.ones((6, 2)), None))
    assert only_params.balance == only_params.box == only_params.stationarity == only_params.gap == 0
    assert only_params.gradient > 2


def test_nan_is_never_certified():
    found = judged(problem_of(), cojax.Decision(None, jnp.full(6, jnp.nan)))
    assert not is_certified(found, 1e6)


def test_two_coupled_resources_are_judged_together():
    def coupled(x, data):
        away = x.cpu - jnp.stack([data[1], data[0] / 4])
        return jnp.vdot(away, away) + 1.8 * away[0] * away[1]

    problem = cojax.Problem(coupled, (WEIGHTS, TARGETS), np.array([6.0, 3.0]), lower=-9.0, upper=9.0)
    # No bound is met, so the prices are equal over nodes and the mean of the marginal costs.
    hessian = np.array([[2.0, 1.8], [1.8, 2.0]])
    wanted = np.stack([TARGETS, WEIGHTS / 4], 1)
    shares = wanted + (np.array([6.0, 3.0]) - wanted.sum(0)) / 6
    found = judged(problem, cojax.Decision(None, jnp.asarray(shares)))
    np.testing.assert_allclose(found.price, (shares - wanted)[0] @ hessian, rtol=1e-13)
    assert is_certified(found, 1e-13)
    step = jnp.zeros((6, 2)).at[0, 0].set(0.01).at[1, 0].set(-0.01)
    moved = judged(problem, cojax.Decision(None, jnp.asarray(shares) + step))
    # Away from the optimum by (0.01, 0) at two nodes: half of 2 * 0.01^2 each, and no less than that.
    assert 2e-4 <= moved.gap < 1e-3


def test_what_is_differentiable_has_the_slopes_of_differences_and_the_rest_none():
    """Forward and reverse, also where a node's gradient is 0: its norm is, and had NaN for a slope."""
    places = np.arange(4.0)

    def cost(x, data):
        target, steep = data
        return (1 + target) * jnp.sum((x.params - target) ** 2) + steep * x.cpu**4

    problem = cojax.Problem(cost, (places, 1.0 + places), budget=4.0, lower=0.0, upper=1.4)
    start = cojax.Decision(jnp.zeros((4, 1)), jnp.array([0.5, 1.5, 1.0, 1.2]))
    move = cojax.Decision(jnp.array([[0.3], [-0.2], [1.0], [0.7]]), jnp.array([0.3, 1.0, -0.4, 0.2]))

    def seen(length):
        found = cojax.certificate(problem, jax.tree.map(lambda at, along: at + length * along, start, move))
        return found._replace(sizes=None)

    near = 1e-5  # the copies are 0 apart at first, so that their distance has a slope to one side only
    forward = jax.jvp(seen, (near,), (1.0,))[1]._asdict()
    ahead, behind = seen(near + 1e-6)._asdict(), seen(near - 1e-6)._asdict()
    for name in ("box", "stationarity", "consensus", "gradient"):
        np.testing.assert_allclose(forward[name], (ahead[name] - behind[name]) / 2e-6, rtol=1e-5)
        assert forward[name] != 0
    assert [float(forward[name]) for name in ("balance", "gap", "model_gap", "price")] == [0.0] * 4
    for name, slope in forward.items():
        if name != "sizes":
            np.testing.assert_allclose(
                jax.grad(lambda length, name=name: getattr(seen(length), name))(near), slope, rtol=1e-9
            )

    # Nor has the rest a slope in what the problem holds, nor have the sizes one.
    def rest(problem):
        found = cojax.certificate(problem, start)
        return found.balance + found.gap + found.model_gap + found.price + sum(found.sizes)

    assert all(not np.any(leaf) for leaf in jax.tree.leaves(jax.grad(rest)(problem)))
    at_zero = jax.grad(lambda params: cojax.certificate(problem, start._replace(params=params)).gradient)(start.params)
    assert np.isfinite(at_zero).all()
