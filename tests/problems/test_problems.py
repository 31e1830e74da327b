"""A problem refuses what would make its answer wrong, and starts exactly on its budget."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import laws

import cojax


def cost(x, data):
    return data * x.cpu**2


ONES = np.ones(4)


@given(
    budget=st.floats(-1e6, 1e6).filter(lambda budget: abs(budget) > 1e-3),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([np.float32, np.float64]),
    num_nodes=st.sampled_from([1, 3, 16]),
)
@settings(max_examples=40, deadline=None)
def test_shares_start_exactly_on_the_budget(budget, seed, dtype, num_nodes):
    shares = np.random.default_rng(seed).uniform(0.1, 1.0, num_nodes)
    problem = cojax.Problem(cost, np.ones(num_nodes, dtype), np.asarray(budget, dtype))
    kept = float(problem.budget)
    shares = jnp.asarray((shares * kept / shares.sum()).astype(dtype))
    # 46 bits of the budget are kept in float64, 19 in float32.
    assert abs(kept - budget) <= abs(budget) * 2.0 ** (-46 if dtype is np.float64 else -19)
    for cpu in (problem.start(cpu=shares).cpu, problem.start().cpu):
        assert cpu.dtype == dtype
        assert sum(Fraction(float(share)) for share in np.asarray(cpu)) == Fraction(kept)


def test_a_million_shares_in_float32_sum_exactly():
    problem = cojax.Problem(cost, np.ones(1_000_000, np.float32), np.float32(1_234_567.0))
    cpu = np.asarray(problem.start().cpu, np.float64)  # exact sums: every share has 24 bits, the total 45
    assert cpu.sum() == float(problem.budget) == 1_234_568.0  # 19 bits of the budget are kept in float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_far_from_the_budget_are_as_far_from_it_as_they_are(dtype):
    # By multiples of what the counted shares wrap at: 4 for shares of 0, 2 for quarters.
    problem = cojax.Problem(lambda x, a: a * x.cpu, np.ones(4, dtype), budget=dtype(9))
    network, method = cojax.network(nx.cycle_graph(4)), cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    for share, off in ((0.25, 8), (0, 9), (-0.25, 10), (2.25, 0)):
        x = cojax.Decision(cpu=jnp.full(4, share, dtype))
        assert float(cojax.certificate(problem, x).balance) == dtype(off) / dtype(9)
        assert float(cojax.solve(problem, network, method, x, num_steps=2).state.imbalance) == off


def test_the_imbalance_of_a_million_float32_shares_is_exact_though_their_float32_sum_is_not():
    from cojax._support.exact_grid import imbalance

    problem = cojax.Problem(cost, np.ones(1_000_000, np.float32), np.float32(1_234_567.0))
    cpu = problem.start().cpu
    assert float(imbalance(cpu, problem.budget)) == 0.0
    assert float(imbalance(cpu.at[17].add(2.0**-19), problem.budget)) == 2.0**-19


def test_the_even_split_stays_within_the_bounds():
    problem = cojax.Problem(cost, ONES, 8.0, lower=[0.0, 0.0, 3.0, 0.0], upper=[1.0, 9.0, 9.0, 9.0])
    np.testing.assert_allclose(problem.start().cpu, [1.0, 2.0, 3.0, 2.0], atol=1e-12)


def test_the_start_is_differentiable_in_budget_and_shares():
    def first_share(budget):
        return cojax.Problem(cost, ONES, budget).start().cpu[0]

    np.testing.assert_allclose(jax.grad(first_share)(8.0), 0.25)
    problem = cojax.Problem(cost, ONES, 4.0)
    jacobian = jax.jacobian(lambda cpu: problem.start(cpu=cpu).cpu)(jnp.ones(4))
    np.testing.assert_allclose(jacobian, np.eye(4))


def test_shares_of_several_resources_sum_exactly_each():
    problem = cojax.Problem(lambda x, a: a * jnp.sum(x.cpu**2), ONES, [3.3, 0.7])
    cpu = problem.start().cpu
    assert cpu.shape == (4, 2)
    for column, kept in zip(np.asarray(cpu).T, np.asarray(problem.budget), strict=True):
        assert sum(Fraction(float(share)) for share in column) == Fraction(float(kept))


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: cojax.Lossy(net, 0.3), cojax.Ledger])
@pytest.mark.parametrize("allocate", [cojax.Laplacian(0.3), cojax.HeavyBall(0.2, 0.4)], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resources_in_units_far_apart_keep_their_own_totals(wrap, allocate, dtype):
    # Cores, bytes and shares of a whole, at as many nodes as there are resources.
    budget, weights = np.asarray([16.1, 64e9, 3e-7], dtype), np.asarray([1, 2, 3], dtype)
    want = np.outer([0.2, 0.5, 0.6], budget).astype(dtype)
    problem = cojax.Problem(
        lambda x, data: jnp.sum(data[1] * (x.cpu - data[0]) ** 2), (want, np.tile(weights, (3, 1))), budget
    )
    network = wrap(cojax.network(nx.path_graph(3)))
    run = cojax.solve(
        problem, network, cojax.CoOpt(allocate=allocate), problem.start(), num_steps=300, every=300, record=shares_of
    )
    assert run.state.imbalance.shape == (3,) and not run.state.imbalance.any()
    kept = np.asarray(problem.budget, np.float64)
    np.testing.assert_allclose(kept, budget, rtol=2.0 ** (-46 if dtype is np.float64 else -19))
    if not network.keeps_books:  # over a ledger a part is on its way
        for shares, total in zip(np.asarray(run.x.cpu).T, kept, strict=True):
            assert laws.exact_imbalance(shares, total) == 0
    best = want + (kept - want.sum(0, dtype=np.float64)) / 3
    np.testing.assert_allclose(np.asarray(run.x.cpu) / kept, best / kept, atol=1e-3 if dtype is np.float32 else 1e-6)


def shares_of(problem, x, state):
    return x.cpu


@pytest.mark.parametrize("unit", [1.0, 2.0**30])
def test_a_cycle_of_cores_is_seen_beside_bytes(unit):
    units = np.asarray([1.0, unit], np.float32)
    want = np.linspace(0.5, 1.5, 8, dtype=np.float32)[:, None] * units

    def cost(x, want):
        return (((x.cpu - want) / units) ** 2).sum()

    problem = cojax.Problem(cost, want, 16 * units)
    network, method = cojax.network(nx.cycle_graph(8)), cojax.CoOpt(allocate=cojax.SingleBit(0.03))
    run = cojax.solve(problem, network, method, problem.start(), num_steps=2000, every=20)
    assert run.status == cojax.Status.LIMIT_CYCLE


def test_a_total_that_is_lost_in_a_small_unit_is_told():
    problem = cojax.Problem(lambda x, a: a * jnp.sum(x.cpu**2 / jnp.asarray([1.0, 1e20])), ONES, [4.0, 4e10])
    network, method = cojax.network(nx.cycle_graph(4)), cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    run = cojax.solve(problem, network, method, cojax.Decision(cpu=jnp.asarray([[0.5, 1e10]] * 4)), num_steps=4)
    np.testing.assert_array_equal(run.state.imbalance, [2.0, 0.0])
    assert run.status == cojax.Status.INFEASIBLE and float(run.trace.imbalance[-1]) == 2.0
    assert "total off by up to 2 and 0 (largest of all steps)" in str(run)


def test_gradients_are_those_of_every_node_at_its_own_decision():
    problem = laws.quadratic()
    x = laws.start_of(problem)
    roots, targets, curvature, demand = (np.asarray(leaf) for leaf in problem.data)
    grad = problem.grad(x)
    residual = np.einsum("nmd,nd->nm", roots, x.params) - targets
    np.testing.assert_allclose(grad.params, np.einsum("nmd,nm->nd", roots, residual), atol=1e-12)
    np.testing.assert_allclose(grad.cpu, curvature * (np.asarray(x.cpu) - demand), atol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: cojax.Problem(cost, (), 1.0), "Problem needs data with the nodes on the first axis of every array"),
        (lambda: cojax.Problem(cost, 3.0, 1.0), "Problem needs data with the nodes on the first axis of every array"),
        (lambda: cojax.Problem(cost, (ONES, np.ones(5)), 1.0), "on the first axis of data, got [4, 5]."),
        (lambda: cojax.Problem(cost, np.ones(0), 1.0), "on the first axis of data, got [0]."),
        (lambda: cojax.Problem(cost, [1.0, np.nan, 1.0]), "got a scalar or none"),
        (lambda: cojax.Problem(cost, np.array([1.0, np.nan]), 1.0), "without NaN, got one at node 1; drop or fill"),
        (lambda: cojax.Problem(cost, np.array(["a"]), 1.0), "Problem needs real numbers in data, got an array of <U1."),
        (
            lambda: cojax.Problem(cost, np.array([{}, {}]), 1.0),
            "needs real numbers in data, got an array of obj",
        ),
        (lambda: cojax.Problem(cost, ONES, float("nan")), "Problem needs finite numbers for budget, got"),
        (lambda: cojax.Problem(cost, ONES, 1j), "Problem needs real numbers for budget, got complex128."),
        (lambda: cojax.Problem(cost, ONES, "ten"), "Problem needs real numbers for budget, got <U3."),
        (lambda: cojax.Problem(cost, ONES, np.ones((2, 2))), "Problem needs a budget of shape () or (r,), got (2, 2)."),
        (lambda: cojax.Problem(cost, ONES, lower=0.0), "Problem needs a budget where bounds are given"),
        (lambda: cojax.Problem(cost, ONES, []), "Problem needs a budget of shape () or (r,), got (0,)."),
        (lambda: cojax.Problem(cost, ONES, 1.0, lower=jnp.array(1j)), "needs real numbers for lower, got complex"),
        (lambda: cojax.Problem(cost, ONES, 4.0, upper=jnp.array(True)), "needs real numbers for upper, got bool."),
        (
            lambda: cojax.Problem(cost, jnp.array([1j, 2.0])),
            "Problem needs real numbers in data, got an array of compl",
        ),
        (
            lambda: cojax.Problem(cost, np.ones(2), [1.0, 2.0], upper=[1.0, 2.0]),
            "Problem needs upper of shape (n, 1) or (n, r) where n = r = 2, got (2,): it could be one per node or one",
        ),
        (
            lambda: cojax.Problem(cost, ONES, 1.0, lower=[0, 0, 2, 0], upper=1.0),
            "Problem needs lower <= upper, got 2.0 > 1.0 at node 2.",
        ),
        (lambda: cojax.Problem(cost, ONES, 1.0, lower=np.ones(3)), "Problem needs lower of shape (4,), got (3,)."),
        (
            lambda: cojax.Problem(cost, ONES, 10.0, upper=2.0),
            "Problem needs budget <= sum of upper, got 10 > 8: 2 too much; raise upper or lower the budget.",
        ),
        (
            lambda: cojax.Problem(cost, ONES, 1.0, lower=0.5),
            "Problem needs budget >= sum of lower, got 1 < 2: 1 missing; lower the lower bounds or raise the budget.",
        ),
        (
            lambda: cojax.Problem(cost, ONES, 4.0).start(cpu=np.full(4, 1.1)),
            "Problem.start needs cpu that sums to the budget 4, got 4.4: it would stay wrong for ever; "
            "rescale cpu, or leave it out for the even split.",
        ),
        (
            lambda: cojax.Problem(cost, ONES, 4.0).start(cpu=np.ones(3)),
            "Problem.start needs 4 nodes on the first axis of cpu, got shape (3,).",
        ),
        (
            lambda: cojax.Problem(cost, ONES, 4.0).start(params=np.ones((3, 2))),
            "Problem.start needs 4 nodes on the first axis of params, got shape (3, 2).",
        ),
        (
            lambda: cojax.Problem(cost, ONES, 4.0).start(cpu=[1.0, 1.0, np.inf, 1.0]),
            "Problem needs finite numbers for cpu, got",
        ),
        (
            lambda: cojax.Problem(cost, ONES).start(cpu=np.ones(4)),
            "got cpu, but the problem has no budget",
        ),
    ],
)
def test_what_would_make_the_answer_wrong_is_refused(build, message):
    with pytest.raises(cojax.CojaxInputError) as error:
        build()
    assert message in str(error.value)


def test_whole_numbers_beyond_32_bits_are_kept_or_refused_never_wrapped():
    with jax.enable_x64(False):
        assert float(cojax.Problem(cost, ONES, 2**40).budget) == 2.0**40
        assert cojax.Problem(cost, ONES, 4.0, upper=[2**33] * 4).upper.tolist() == [2.0**33] * 4
        for data in (np.array([2**40, 1]), np.array([1e300, 1.0])):
            with pytest.raises(cojax.CojaxInputError, match=r"Problem needs data within the range of .*32, got 1"):
                cojax.Problem(cost, data)


@pytest.mark.parametrize("seed", range(8))
def test_a_budget_that_is_the_sum_of_the_upper_bounds_is_legal(seed):
    upper = np.random.default_rng(seed).uniform(0.1, 3.0, 7)
    problem = cojax.Problem(cost, np.ones(7), upper.sum(), upper=upper)
    # The budget keeps 46 bits, so the sum of seven bounds up to 3 may be off by 21 * 2**-46.
    np.testing.assert_allclose(cojax.allocate(problem).cpu, upper, atol=21 * 2.0**-46)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_budget_of_16_bits_is_counted_in_32(dtype):
    problem = cojax.Problem(cost, ONES, jnp.asarray(10.0, dtype), upper=4.0)
    assert problem.start().cpu.dtype == jnp.float32 and float(problem.start().cpu.sum()) == 10.0
