"""Drawn problems, with tariffs, ties, flat costs, fixed nodes and full ones, beside optima in rational arithmetic."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import block_diag
from support.interior_point import program
from support.merit_order import Node, cleared, node_of

import cojax

NUM_NODES, NUM_TIERS = 6, 2


def tariff(x, data):
    price, curvature, tiers, extras = data
    return price * x.cpu + curvature * x.cpu**2 / 2 + (extras * jnp.maximum(x.cpu - tiers, 0)).sum()


def problem_of(theta):
    price, curvature, tiers, extras, lower, upper, budget = theta
    return cojax.Problem(tariff, (price, curvature, tiers, extras), budget, lower=lower, upper=upper)


def drawn(rng, kind):
    """Kind 0: any numbers; 1: of few digits, so that nodes cost the same; 2: these, and a budget that meets corners."""
    n, k = NUM_NODES, NUM_TIERS
    price, curvature = rng.uniform(-2, 4, n), rng.uniform(0.1, 2, n) * (rng.uniform(size=n) < (0.3, 0.6)[kind < 2])
    lower = rng.uniform(-1, 1, n) * (rng.uniform(size=n) < 0.5)
    upper = lower + rng.uniform(0, 4, n) * (rng.uniform(size=n) < 0.9)
    tiers, extras = rng.uniform(-0.5, 4, (n, k)), rng.uniform(0.2, 3, (n, k)) * (rng.uniform(size=(n, k)) < 0.7)
    columns = price, curvature, tiers, extras, lower, upper
    if kind:
        columns = tuple(np.round(2 * array) / 2 for array in columns)
    low, high = columns[4].sum(), columns[5].sum()
    budget = low + rng.uniform() * (high - low)
    if kind == 2:
        at = Fraction(int(rng.integers(-4, 20)), 2) + Fraction(1, 4)
        budget = float(sum(node_of(row).offer(at)[0] for row in zip(*columns, strict=True)))
    # To the grid of budgets, so that the rational problem is the same.
    budget = np.round(budget * 2.0**20) / 2.0**20
    return *columns, np.clip(budget, low, high)


def market_of(theta):
    *columns, budget = (np.asarray(part) for part in theta)
    return cleared([node_of(row) for row in zip(*columns, strict=True)], Fraction(float(budget)))


@jax.jit
@jax.vmap
def answers(theta):
    problem = problem_of(theta)
    worth = cojax.sensitivities(problem)
    x = cojax.Decision(None, worth.allocation.cpu)
    return worth, cojax.is_certified(cojax.certificate(problem, x), 1e-10), problem.costs(x).sum()


def draw(count, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    rows = [drawn(rng, k % 3) for k in range(count)]
    return tuple(np.stack(parts).astype(dtype) for parts in zip(*rows, strict=True))


def check(count, seed):
    thetas = draw(count, seed)
    worth, certified, cost = jax.tree.map(np.asarray, answers(thetas))
    intervals = corners = 0
    for k in range(count):
        theta = [part[k] for part in thetas]
        market = market_of(theta)
        less = -np.inf if market.less is None else float(market.less)
        more = np.inf if market.more is None else float(market.more)
        price, said = worth.allocation.price[k], (worth.less.budget[k], worth.more.budget[k])
        assert less - 1e-8 <= price <= more + 1e-8, (k, seed, less, price, more)
        if market.less is not None and market.more is not None:
            np.testing.assert_allclose(said, (less, more), atol=1e-8, err_msg=f"{k} of {seed}")
        else:
            assert (market.less is None) == np.isinf(said[0]) and (market.more is None) == np.isinf(said[1])
        intervals += less < more
        *columns, _ = theta
        nodes = [node_of(row) for row in zip(*columns, strict=True)]
        if market.shares is not None:
            best = float(sum(node.cost(share) for node, share in zip(nodes, market.shares, strict=True)))
            np.testing.assert_allclose(cost[k], best, atol=1e-12 * max(abs(best), 10), err_msg=f"{k} of {seed}")
        corners += any(abs(worth.allocation.cpu[k] - tier).min() < 1e-12 for tier in theta[2].T)
    assert certified.all(), (seed, np.flatnonzero(~certified))
    return intervals, corners


def test_shares_prices_and_certificates_are_those_of_rational_arithmetic():
    intervals, corners = check(60, seed=0)
    assert intervals > 5 and corners > 10


def moved(theta, direction, by):
    """`theta` moved in rational numbers."""
    return [
        [Fraction(float(a)) + by * Fraction(float(d)) for a, d in zip(np.ravel(part), np.ravel(move), strict=True)]
        for part, move in zip(theta, direction, strict=True)
    ]


def shares_of(theta, direction, by):
    price, curvature, tiers, extras, lower, upper, budget = moved(theta, direction, by)
    pairs = [
        (tuple(tiers[i : i + NUM_TIERS]), tuple(extras[i : i + NUM_TIERS])) for i in range(0, len(tiers), NUM_TIERS)
    ]
    nodes = [Node(*row) for row in zip(price, curvature, *zip(*pairs, strict=True), lower, upper, strict=True)]
    return cleared(nodes, budget[0])


@jax.jit
@jax.vmap
def derivatives(theta, direction, weights):
    """Of shares and price along a direction: forward, and both halves of the weighed sum of them in reverse."""

    def answer(theta):
        found = cojax.allocate(problem_of(theta))
        return jnp.append(found.cpu, found.price)

    _, pushed = jax.jvp(answer, (theta,), (direction,))
    pulled = jax.vjp(answer, theta)[1](weights)[0]
    along = sum((pull * move).sum() for pull, move in zip(pulled, direction, strict=True))
    return pushed, along


def check_derivatives(count, seed):
    """Where the optimum moves the same way forth and back: at the others a derivative is one-sided."""
    thetas = draw(count, seed)
    rng = np.random.default_rng(seed)
    # What is 0 stays 0, where one way costs would not be convex.
    directions = [rng.normal(size=part.shape) for part in thetas]
    directions[1] *= thetas[1] > 0
    directions[3] *= thetas[3] > 0
    # Tiers, and bounds, that are one stay one.
    same = thetas[2][..., :1] == thetas[2][..., 1:]
    directions[2] = np.where(same, directions[2][..., :1], directions[2])
    fixed = thetas[5] <= thetas[4]
    directions[5] = np.where(fixed, directions[4], directions[5])
    weights = rng.normal(size=(count, NUM_NODES + 1))
    pushed, along = jax.tree.map(np.asarray, derivatives(thetas, tuple(directions), weights))
    checked, step = 0, Fraction(1, 2**40)
    for k in range(count):
        theta, direction = ([part[k] for part in parts] for parts in (thetas, directions))
        middle = shares_of(theta, direction, Fraction(0))
        if None in middle or middle.less != middle.more:
            continue
        low, high = (shares_of(theta, direction, by * step) for by in (-1, 1))
        if None in (*low, *high):
            continue
        sides = [
            [
                float((after - before) / step)
                for after, before in zip((*one.shares, one.less), (*two.shares, two.less), strict=True)
            ]
            for one, two in ((high, middle), (middle, low))
        ]
        if not np.allclose(*sides, atol=1e-6):
            continue
        checked += 1
        np.testing.assert_allclose(pushed[k], sides[0], atol=1e-6, rtol=1e-6, err_msg=f"{k} of {seed}")
        np.testing.assert_allclose(along[k], weights[k] @ pushed[k], atol=1e-9, rtol=1e-9, err_msg=f"{k} of {seed}")
    return checked


def test_derivatives_forth_and_back_are_those_of_rational_arithmetic():
    assert check_derivatives(60, seed=0) > 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_sum_to_the_budget_without_a_rounding(dtype):
    thetas = draw(60, seed=3, dtype=dtype)
    worth, _, _ = jax.tree.map(np.asarray, answers(thetas))
    for cpu, lower, upper, budget in zip(worth.allocation.cpu, *thetas[4:], strict=True):
        assert cpu.dtype == dtype and (cpu >= lower).all() and (cpu <= upper).all()
        # Beside a share that is fixed between two points of the grid there may be no such shares.
        if ((cpu > lower) & (cpu < upper)).any() and (lower < upper).all():
            kept = float(cojax.Problem(tariff, (lower, lower, thetas[2][0], thetas[3][0]), budget).budget)
            assert sum(Fraction(float(share)) for share in cpu) == Fraction(kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_huge_bound_is_none(dtype):
    price, curvature, tiers, extras, lower, _, _ = draw(12, seed=4, dtype=dtype)
    lower, budget = 0 * lower, np.full(12, 6, dtype)
    open_ended, *_ = answers((price, curvature + dtype(0.5), tiers, extras, lower, lower + np.inf, budget))
    for bound in (1e5, 1e9, 1e14, 1e20, 1e30, 1e37):
        for low in (lower, lower - dtype(bound)):
            found, certified, _ = answers(
                (price, curvature + dtype(0.5), tiers, extras, low, lower + dtype(bound), budget)
            )
            if low is lower:
                # Rounding, of numbers of size ten and of the grid of shares.
                np.testing.assert_allclose(
                    found.allocation.cpu, open_ended.allocation.cpu, atol=200 * np.finfo(dtype).eps
                )
                assert certified.all() or dtype == np.float32
            total = found.allocation.cpu.astype(np.float64).sum(1)
            np.testing.assert_allclose(total, budget, rtol=4e-7 if dtype == np.float32 else 1e-15)


def mixed(x, data):
    matrix, vector = data
    return x.cpu @ matrix @ x.cpu / 2 + vector @ x.cpu


@jax.jit
@jax.vmap
def joint_answers(matrix, vector, budget, lower, upper):
    problem = cojax.Problem(mixed, (matrix, vector), budget, lower=lower, upper=upper)
    found = cojax.allocate(problem)
    x = cojax.Decision(None, found.cpu)
    return found, cojax.is_certified(cojax.certificate(problem, x), 1e-8), problem.costs(x).sum()


def check_joint(count, seed, units=(1.0, 1.0, 1.0)):
    """Quadratic costs of any rank: resources stand in for each other, or cost nothing more in some mixture.

    In `units`, powers of two, of which nothing but the numbers depends: the solver beside is asked in units of 1.
    """
    rng, n, r, units = np.random.default_rng(seed), 5, 3, np.asarray(units)
    shape = (count, n, r)
    roots = rng.normal(size=(count, n, r, r)) * (np.arange(r) < rng.integers(0, r + 1, (count, n, 1, 1)))
    matrices, vectors = roots @ roots.swapaxes(2, 3), rng.normal(size=shape)
    lower = rng.uniform(-1, 0, shape)
    upper = lower + rng.uniform(0, 3, shape) * (rng.uniform(size=shape) < 0.9)
    budgets = lower.sum(1) + rng.uniform(0.05, 0.95, (count, r)) * (upper - lower).sum(1)
    budgets = np.round(budgets * 2.0**20) / 2.0**20
    given = matrices / units / units[:, None], vectors / units, budgets * units, lower * units, upper * units
    found, certified, costs = jax.tree.map(np.asarray, joint_answers(*given))
    found = found._replace(cpu=found.cpu / units, price=found.price * units)
    for k in range(count):
        whole = block_diag(*matrices[k])
        best = program(whole, vectors[k].ravel(), budgets[k], lower[k].ravel(), upper[k].ravel(), r)
        least = best.shares @ whole @ best.shares / 2 + vectors[k].ravel() @ best.shares
        # 1e-8: what the interior-point solver reaches.
        assert costs[k] < least + 1e-8, (k, seed, costs[k], least)
        np.testing.assert_allclose(found.cpu[k].sum(0), budgets[k], rtol=1e-14, atol=1e-14)
        if (found.price[k] != 0).all() and ((found.cpu[k] > lower[k]) & (found.cpu[k] < upper[k])).any(0).all():
            np.testing.assert_allclose(found.price[k], best.prices, atol=1e-6, err_msg=f"{k} of {seed}")
    assert certified.all(), (seed, np.flatnonzero(~certified))


def test_resources_that_stand_in_for_each_other_are_shared_out_as_an_interior_point_solver_does():
    check_joint(40, seed=0)


def test_so_they_are_in_cores_beside_bytes():
    check_joint(40, seed=0, units=(1.0, 2.0**30, 2.0**-20))


@pytest.mark.exhaustive
def test_two_thousand_more():
    for seed in range(1, 36):
        check(60, seed)
        check_derivatives(60, seed)
        check_joint(40, seed)
        check_joint(40, seed, units=(2.0**40, 1.0, 2.0**-10))
