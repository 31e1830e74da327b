"""Shares at a price of time are those of a general solver, and never dearer in all than shares that ignore time."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import cojax

N, BITS = 6, 640.0


def cost(x, demand):
    return (x.cpu - demand) ** 2 / 2


def case(seed, barrier="all", room=1.0):
    random = np.random.default_rng(seed)
    latency = random.uniform(0.0, 0.2, (N, N))
    latency = (latency + latency.T) / 2
    work, demand, upper = random.uniform(1, 5, N), random.uniform(1, 4, N), room * random.uniform(4, 8, N)
    graph = cojax.graphs.named("erdos_renyi", N, seed=seed, probability=0.5)
    problem = cojax.Problem(cost, jnp.asarray(demand), 12.0, lower=np.full(N, 0.2), upper=upper)
    clock = cojax.Clock(work=work, latency=latency, bandwidth=1e4, barrier=barrier)
    up = np.asarray(cojax.network(graph, layout="dense").weights) != 0
    message = np.where(up, latency + BITS / 1e4, -np.inf).max(1)
    return problem, cojax.Timed(cojax.network(graph), clock), work, demand, upper, message


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("worth", [0.0, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("room", [1.0, 0.45])  # of upper bounds: those of slow nodes are in the way, or not
def test_timely_shares_are_those_of_a_general_solver(seed, worth, room):
    problem, timed, work, demand, upper, message = case(seed, room=room)
    found = cojax.timely_shares(problem, timed, rounds=10, value=worth / 10, bits=BITS)
    limits = [
        {"type": "eq", "fun": lambda z: z[:N].sum() - 12.0},
        {"type": "ineq", "fun": lambda z: z[N] - message - work / z[:N]},
    ]
    solved = minimize(
        lambda z: ((z[:N] - demand) ** 2 / 2).sum() + worth * z[N],
        np.r_[np.full(N, 2.0), 10.0],
        constraints=limits,
        bounds=[*((0.2, top) for top in upper), (0, 100)],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert float(found.total) == pytest.approx(solved.fun, rel=1e-8)
    np.testing.assert_allclose(found.cpu, solved.x[:N], atol=1e-5)
    assert float(found.cpu.sum()) == pytest.approx(12.0, abs=1e-12) and bool((found.cpu <= upper + 1e-12).all())
    if worth > 0:
        assert float(found.round_seconds) == pytest.approx(solved.x[N], rel=1e-6)


def test_where_neighbours_wait_for_neighbours_the_same_shares_are_as_fast_or_faster():
    (problem, timed, *_), (_, around, *_) = case(1), case(1, "neighbours")
    ask = {"rounds": 10, "value": 0.1, "bits": BITS}
    for_all, for_some = cojax.timely_shares(problem, timed, **ask), cojax.timely_shares(problem, around, **ask)
    np.testing.assert_array_equal(for_all.cpu, for_some.cpu)
    assert float(for_some.round_seconds) < float(for_all.round_seconds)


def test_a_training_with_timely_shares_takes_the_seconds_that_it_says():
    problem, timed, *_ = case(2)
    found = cojax.timely_shares(problem, timed, rounds=10, value=0.5, bits=2 * 64.0)
    model = cojax.Problem(lambda x, data: (x.params - data) ** 2 / 2, jnp.arange(float(N)))
    clock = cojax.Clock(**{**vars(timed.clock), "share": found.cpu})
    ran = cojax.solve(
        model,
        cojax.Timed(timed, clock),
        cojax.CoOpt(learn=cojax.DIGing(0.1)),
        model.start(jnp.zeros(N)),
        num_steps=200,
    )
    told = ran.trace.seconds
    assert float(told[-1] - told[99]) / 100 == pytest.approx(float(found.round_seconds), rel=1e-9)


def clocked(work):
    return cojax.Timed(cojax.network(cojax.graphs.named("complete", len(work))), cojax.Clock(work=work, barrier="all"))


@pytest.mark.parametrize(
    ("budget", "lower", "worth"),
    [(10.0, -5.0, 1e6), (10.0, -5.0, 3000.0), (0.0, None, 10.0), (-6.0, None, 10.0), (-6.0, -5.0, 10.0)],
)
def test_nodes_without_work_may_go_as_low_as_their_bounds_whatever_the_budget(budget, lower, worth):
    work = np.array([1.0, 0.0, 0.0])
    problem = cojax.Problem(cost, jnp.asarray([1.0, 2.0, 3.0]), budget, lower=lower)
    found = cojax.timely_shares(problem, clocked(work), rounds=1, value=worth, bits=0.0)
    solved = minimize(
        lambda z: ((z - [1.0, 2.0, 3.0]) ** 2 / 2).sum() + worth / z[0],
        np.r_[2.0, np.full(2, budget / 2 - 1)],
        constraints={"type": "eq", "fun": lambda z: z.sum() - budget},
        bounds=[(1e-6, None), (lower, None), (lower, None)],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert float(found.total) == pytest.approx(solved.fun, rel=1e-8)
    np.testing.assert_allclose(found.cpu, solved.x, atol=1e-4)
    assert float(found.round_seconds) == pytest.approx(1 / solved.x[0], rel=1e-6)


def test_a_budget_that_lower_bounds_use_up_to_rounding_leaves_them_as_they_are():
    problem = cojax.Problem(cost, jnp.zeros(3), 0.3, lower=np.full(3, 0.1))  # three of which are above 0.3 in doubles
    found = cojax.timely_shares(problem, clocked(np.ones(3)), rounds=10, value=1.0, bits=0.0)
    np.testing.assert_allclose(found.cpu, 0.1, rtol=1e-12)
    assert float(found.round_seconds) == pytest.approx(10.0, rel=1e-12)


def test_what_has_no_timely_shares_is_refused():
    problem, timed, *_ = case(0)
    ask = {"rounds": 10, "value": 0.5, "bits": BITS}
    refused = [
        (problem, timed.graphs, ask, "needs a network with a clock"),
        (problem, cojax.Lossy(timed, 0.1), ask, "needs one graph without faults"),
        (problem, timed, ask | {"value": -1.0}, "timely_shares needs value >= 0, got -1"),
        (
            cojax.Problem(lambda x, data: x.params**2, jnp.arange(float(N))),
            timed,
            ask,
            "needs a problem with one budget and one share a node",
        ),
    ]
    for given, network, settings, message in refused:
        with pytest.raises(cojax.CojaxInputError, match=message):
            cojax.timely_shares(given, network, **settings)
