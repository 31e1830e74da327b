"""Budgets jump, data change; the total is exact from the next step on."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.03, mixing=0.5), allocate=cojax.Laplacian(0.2))
NETWORK = cojax.network(laws.ring_with_chords())
CHANGES = [
    cojax.Change(20, budget=24.1, node=3),
    cojax.Change(40, budget=9.7),
    cojax.Change(41, data=laws.quadratic(seed=5).data),
]


def seen(problem, x, state):
    return x.cpu, problem.budget, state.imbalance, state.method.learn.slack.sum(0)


def test_the_total_is_the_budget_in_force_after_every_step():
    problem = cojax.Changing(laws.quadratic(), CHANGES)
    run = cojax.solve(problem, NETWORK, METHOD, laws.start_of(problem), num_steps=6000, record=seen)
    cpu, budget, imbalance, slack = map(np.asarray, run.trace)
    for k, wanted in ((18, 16.0), (19, 24.1), (38, 24.1), (39, 9.7), (40, 9.7), (5999, 9.7)):
        assert laws.exact_imbalance(cpu[k], budget[k]) == Fraction(0)
        # The last bits of a budget are rounded: 1e-13 of the largest.
        np.testing.assert_allclose(budget[k], wanted, atol=24.1e-13)
    assert imbalance.max() == 0.0
    # Trackers use differences of gradients, so that new data change no sum; every step rounds a few numbers.
    assert np.abs(slack).max() < 1e-12
    params, shares, _ = laws.optimum(problem.at(41))
    np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=1e-11)
    np.testing.assert_allclose(run.x.cpu, shares, atol=1e-11)


def test_a_jump_reaches_one_node_or_all_in_equal_parts():
    problem = cojax.Changing(laws.quadratic(), CHANGES)
    at_one, even, none = (np.asarray(problem.arrivals(k)) for k in (20, 40, 41))
    assert at_one[3] == float(problem.at(20).budget) - float(problem.at(19).budget)
    assert not np.delete(at_one, 3).any() and not none.any()
    assert even.sum() == float(problem.at(40).budget) - float(problem.at(39).budget)
    assert np.ptp(even) < 1e-11  # one step of the grid apart


def test_a_jump_of_several_resources_in_float32_is_exact():
    demand = np.random.default_rng(0).uniform(0.0, 2.0, (8, 2)).astype(np.float32)
    base = cojax.Problem(lambda x, want: 0.5 * jnp.sum((x.cpu - want) ** 2), demand, np.float32([6.0, 10.0]))
    problem = cojax.Changing(
        base, [cojax.Change(5, np.float32([7.3, 4.1]), 2), cojax.Change(9, np.float32([5.0, 9.9]))]
    )
    method = cojax.CoOpt(allocate=cojax.HeavyBall(0.2, 0.4))
    run = cojax.solve(
        problem, cojax.Lossy(NETWORK, 0.2), method, problem.start(), num_steps=400, every=400, record=laws.nothing
    )
    assert run.x.cpu.dtype == jnp.float32 and not run.state.imbalance.any()
    wanted = demand + (np.asarray([5.0, 9.9]) - demand.sum(0)) / 8
    np.testing.assert_allclose(run.x.cpu, wanted, atol=1e-4)  # float32, budgets rounded to 1e-5


def test_a_jump_in_cores_is_not_rounded_to_bytes():
    base = cojax.Problem(lambda x, a: a * jnp.sum(x.cpu**2), np.ones(8), [16.1, 64e9])
    problem = cojax.Changing(base, [cojax.Change(5, [20.3, 64e9]), cojax.Change(9, [10.7, 65e9], 2)])
    for step, budget in ((0, [16.1, 64e9]), (5, [20.3, 64e9]), (9, [10.7, 65e9])):
        np.testing.assert_allclose(problem.at(step).budget, budget, rtol=2.0**-45)  # 46 bits of the largest
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.05))
    run = cojax.solve(problem, NETWORK, method, problem.start(), num_steps=20, every=20, record=laws.nothing)
    assert not run.state.imbalance.any()
    for shares, total in zip(np.asarray(run.x.cpu).T, np.asarray(problem.at(20).budget), strict=True):
        assert laws.exact_imbalance(shares, total) == 0


def test_demand_that_arrives_at_a_node_that_is_down_waits_for_it():
    problem = cojax.Changing(laws.quadratic(), [cojax.Change(20, budget=20.0, node=3)])
    network = cojax.Ledger(cojax.Crashing(NETWORK, [3], [10], [30]))

    def shares(problem, x, state):
        return x.cpu[3], x.cpu.sum(), state.wire.books.owed[1][3]

    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=40, record=shares)
    own, total, owed = map(np.asarray, run.trace)
    assert (own[10:30] == own[9]).all()
    assert (owed[19:30] == 4.0).all() and owed[30] == 0.0
    np.testing.assert_array_equal(total[19:30] + 4.0, np.full(11, 20.0))
    assert float(run.state.imbalance) == 0.0


def changed(*changes, **bounds):
    problem = laws.quadratic()
    return cojax.Changing(cojax.Problem(laws.cost, problem.data, problem.budget, **bounds), changes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: changed(), "at least one Change, got none"),
        (lambda: changed(cojax.Change(0, 3.0)), "step from 1 to 2147483647, got 0"),
        (lambda: changed(cojax.Change(2**31, 3.0)), "step from 1 to 2147483647, got 2147483648"),
        (lambda: changed(cojax.Change(5, node=3)), "node=3 without budget at step 5"),
        (lambda: counted([1.0, np.nan, 3.0]), "data without NaN"),
        (lambda: counted([1.0, 2.5, 3.0]), "fit the int64 of the problem's, got float64"),
        (lambda: counted([None] * 3), "real numbers for data, got object"),
        (lambda: changed(cojax.Change(5, 3.0), cojax.Change(5, 4.0)), "steps in growing order"),
        (lambda: changed(cojax.Change(5, [3.0, 1.0])), "budgets of shape"),
        (lambda: changed(cojax.Change(5, 3.0, node=8)), "node from 0 to 7, got 8"),
        (lambda: changed(cojax.Change(5, data=(1.0,))), "data shaped as those of the problem"),
        (lambda: changed(cojax.Change(5, 99.0), lower=0.0, upper=3.0), "budget <= sum of upper"),
        (lambda: cojax.Changing(_without_budget(), [cojax.Change(5, 3.0)]), "but the problem has none"),
        (lambda: changed(cojax.Change(5, 9e4, node=0)).start(jnp.zeros((8, 3))), "leave node out"),
        (lambda: _run(cojax.MomentumFlow(0.1, 0.5)), "MomentumFlow moves shares by more than the flow"),
        (lambda: _run(cojax.Hold()), "need an allocator whose shares move by Transfer"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_the_way_out(build, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        build()


def counted(data):
    """A problem of whole numbers, with others from step 5 on."""
    problem = cojax.Problem(lambda x, data: jnp.sum((x.params - data) ** 2), np.arange(3))
    return cojax.Changing(problem, [cojax.Change(5, data=np.asarray(data))])


def test_data_may_hold_keys_and_flags_and_come_as_a_table():
    def cost(x, data):
        demand = jnp.where(data["doubled"], 2.0, 1.0) * jax.random.uniform(data["key"], dtype=jnp.float64)
        return (x.cpu - demand) ** 2

    keys, others = (jax.random.split(jax.random.key(seed), 4) for seed in (0, 1))
    flags = np.array([True, False, False, True])
    problem = cojax.Problem(cost, {"key": keys, "doubled": flags}, budget=4.0)
    changing = cojax.Changing(problem, [cojax.Change(3, data={"key": others, "doubled": ~flags})])
    for k, key, doubled in ((2, keys, flags), (3, others, ~flags)):
        demand = (1 + doubled) * np.array([jax.random.uniform(each, dtype=jnp.float64) for each in key])
        wanted = demand + (4.0 - demand.sum()) / 4  # of equal curvatures
        np.testing.assert_allclose(cojax.allocate(changing.at(k)).cpu, wanted, atol=1e-12)
    with pytest.raises(cojax.CojaxInputError, match=r"kinds of the problem's, key<fry>, got float64"):
        cojax.Changing(problem, [cojax.Change(3, data={"key": np.ones(4), "doubled": flags})])
    pandas = pytest.importorskip("pandas")
    table = cojax.Problem(lambda x, data: (x.cpu - data["a"]) ** 2, pandas.DataFrame({"a": np.arange(4.0)}), budget=4.0)
    later = cojax.Changing(table, [cojax.Change(3, data=pandas.DataFrame({"a": np.arange(4.0)[::-1]}))])
    np.testing.assert_array_equal(later.at(3).data["a"], [3.0, 2.0, 1.0, 0.0])


def test_new_whole_numbers_may_be_told_as_floats():
    assert counted([4.0, 5.0, 6.0]).at(5).data.dtype == jnp.int64


def _without_budget():
    return cojax.Problem(lambda x, data: jnp.sum((x.params - data) ** 2), np.zeros((8, 3)))


def _run(allocator):
    problem = changed(cojax.Change(5, 17.0))
    return cojax.solve(problem, NETWORK, cojax.CoOpt(allocate=allocator), laws.start_of(problem), num_steps=1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"budget": 100.0}, r"needs budget <= sum of upper, got 100 > 8: .* \(from step 20 on\)\."),
        ({"budget": "much"}, r"needs real numbers for budget, got <U4 \(from step 20 on\)\."),
        ({"data": np.ones(3)}, r"needs data shaped as .* \(from step 20 on\)\."),
        ({"leaves": 1, "heir": 0}, r"needs budget <= sum of upper, got 7 > 6: .* \(from step 20 on\)\."),
    ],
)
def test_of_many_changes_the_one_that_cannot_be_is_told_by_its_step(change, told):
    problem = cojax.Problem(lambda x, price: price * x.cpu**2, np.ones(4), budget=4.0, lower=0.0, upper=2.0)
    with pytest.raises(cojax.CojaxInputError, match=told):
        cojax.Changing(problem, [cojax.Change(10, budget=7.0), cojax.Change(20, **change)])
