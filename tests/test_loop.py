"""The loop records what was asked, tells how a run ended, and maps and differentiates like any other function."""

import jax
import jax.numpy as jnp
import laws
import networkx as nx
import numpy as np
import pytest

import cojax

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.3))
NETWORK = cojax.network(laws.ring_with_chords())


def test_steps_by_hand_are_the_solve():
    problem = laws.quadratic()
    start = laws.start_of(problem)
    state = cojax.init(problem, NETWORK, METHOD, start)
    by_hand = jax.jit(cojax.step)
    for _ in range(6):
        state = by_hand(problem, NETWORK, METHOD, state)
    run = cojax.solve(problem, NETWORK, METHOD, start, num_steps=6, every=3)
    # Other programs, other rounding; the shares are on a grid and must not differ by a bit.
    np.testing.assert_array_equal(state.method.allocate.cpu, run.x.cpu)
    np.testing.assert_allclose(state.method.learn.params, run.x.params, rtol=1e-13)
    assert int(state.step) == 6


def test_the_trace_has_one_row_per_chunk():
    problem = laws.quadratic()
    run = cojax.solve(problem, NETWORK, METHOD, laws.start_of(problem), num_steps=12, every=4)
    assert run.trace.step.tolist() == [4, 8, 12]
    np.testing.assert_allclose(run.trace.cost[-1], problem.costs(run.x).sum())
    centre = np.asarray(run.x.params).mean(0)
    np.testing.assert_allclose(run.trace.disagreement[-1], np.abs(np.asarray(run.x.params) - centre).max())


def test_any_function_can_be_a_record():
    problem = laws.quadratic()

    def spread(problem, x, state):
        return {"low": x.cpu.min(), "tracker": (state.method.learn.slack + state.grad.params)[0]}

    run = cojax.solve(problem, NETWORK, METHOD, laws.start_of(problem), num_steps=6, every=2, record=spread)
    assert run.trace["low"].shape == (3,) and run.trace["tracker"].shape == (3, 3)


def test_no_steps_return_the_start():
    problem = laws.quadratic()
    start = laws.start_of(problem)
    run = cojax.solve(problem, NETWORK, METHOD, start, num_steps=0)
    np.testing.assert_array_equal(run.x.cpu, start.cpu)
    assert run.trace.cost.shape == (0,)


@pytest.mark.parametrize(
    ("method", "num_steps", "status"),
    [
        (METHOD, 3, cojax.Status.OUT_OF_STEPS),
        (METHOD, 6000, cojax.Status.CONVERGED),
        (cojax.CoOpt(learn=cojax.DIGing(5.0), allocate=cojax.Laplacian(0.3)), 2000, cojax.Status.DIVERGED),
    ],
)
def test_the_status_tells_how_the_run_ended(method, num_steps, status):
    problem = laws.quadratic()
    run = cojax.solve(problem, NETWORK, method, laws.start_of(problem), num_steps=num_steps, every=num_steps)
    assert cojax.Status(int(run.status)) is status


def test_a_run_at_the_floor_of_a_plain_quantizer_is_not_called_converged():
    problem = laws.quadratic()
    network = cojax.network(laws.ring_with_chords(), link=cojax.Quantized(cojax.LogQuantizer(0.5)))
    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=6000, every=6000)
    assert cojax.Status(int(run.status)) is cojax.Status.OUT_OF_STEPS


def test_shares_that_lost_their_total_are_called_infeasible():
    problem = laws.quadratic()
    start = laws.start_of(problem)
    spoiled = start._replace(cpu=start.cpu.at[0].add(0.5))
    run = cojax.solve(problem, NETWORK, METHOD, spoiled, num_steps=10, every=10)
    assert cojax.Status(int(run.status)) is cojax.Status.INFEASIBLE
    assert float(run.trace.imbalance[-1]) == 0.5


def test_vmap_maps_over_problems_and_starts():
    problems = [laws.quadratic(seed=seed) for seed in range(3)]
    starts = [laws.start_of(problem) for problem in problems]
    problem, start = jax.tree.map(lambda *leaves: jnp.stack(leaves), problems[0], *problems[1:]), None
    start = jax.tree.map(lambda *leaves: jnp.stack(leaves), starts[0], *starts[1:])

    def run(problem, start):
        return cojax.solve(problem, NETWORK, METHOD, start, num_steps=30, every=30).x

    many = jax.vmap(run)(problem, start)
    for row in range(3):
        one = run(problems[row], starts[row])
        np.testing.assert_allclose(many.cpu[row], one.cpu, atol=1e-13)
        np.testing.assert_allclose(many.params[row], one.params, atol=1e-12)


def test_several_resources_are_shared_out_each_exactly():
    demand = np.random.default_rng(0).uniform(0.0, 2.0, (8, 2))
    problem = cojax.Problem(lambda x, want: 0.5 * jnp.sum((x.cpu - want) ** 2), demand, [6.0, 10.0])
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.5))
    run = cojax.solve(problem, NETWORK, method, problem.start(), num_steps=2000, every=2000)
    wanted = demand + (np.asarray([6.0, 10.0]) - demand.sum(0)) / 8
    np.testing.assert_allclose(run.x.cpu, wanted, atol=1e-12)
    assert run.state.imbalance == 0.0


def test_a_learner_alone_and_an_optax_transformation_work():
    import optax

    problem = laws.quadratic()
    alone = cojax.Problem(lambda x, data: laws.cost(x._replace(cpu=data[3]), data), problem.data)
    learner = cojax.DIGing(0.02, mixing=0.5, transform=optax.trace(decay=0.5))
    start = alone.start(params=jnp.zeros((8, 3)))
    run = cojax.solve(alone, NETWORK, cojax.CoOpt(learn=learner), start, num_steps=4000, every=4000)
    params, _, _ = laws.optimum(problem)
    np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=1e-10)
    assert run.x.cpu is None


def test_adam_on_the_tracked_gradient_lowers_the_cost():
    import optax

    problem = laws.quadratic()
    learner = cojax.DIGing(0.01, mixing=0.5, transform=optax.scale_by_adam())
    start = laws.start_of(problem)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to a whole number
        run = cojax.solve(problem, NETWORK, cojax.CoOpt(learn=learner), start, num_steps=500, every=500)
    params, _, _ = laws.optimum(problem)
    best = problem.costs(run.x._replace(params=jnp.broadcast_to(params, (8, 3)))).sum()
    assert run.trace.cost[-1] - best < 0.05 * (problem.costs(start).sum() - best)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, s: cojax.solve(p, NETWORK, METHOD, s, num_steps=7, every=2), "num_steps to be a multiple of every"),
        (lambda p, s: cojax.solve(p, NETWORK, METHOD, s, num_steps=-1), "a whole number num_steps >= 0, got -1."),
        (lambda p, s: cojax.solve(p, NETWORK, METHOD, s, num_steps=4, every=0), "a whole number every >= 1, got 0."),
        (
            lambda p, s: cojax.solve(p, cojax.network(nx.cycle_graph(5)), METHOD, s, num_steps=1),
            "solve needs one number of nodes everywhere, got 8 in problem, 5 in network",
        ),
        (
            lambda p, s: cojax.solve(p, NETWORK, METHOD, s._replace(cpu=None), num_steps=1),
            "only one of them has cpu",
        ),
        (
            lambda p, s: cojax.solve(p, NETWORK, cojax.Laplacian(0.1), s, num_steps=1),
            "got Decision; use CoOpt(allocate",
        ),
        (
            lambda p, s: cojax.solve(p, NETWORK, METHOD, s._replace(cpu=s.cpu[:, None]), num_steps=1),
            "solve needs cpu of shape (8,) at the start, got (8, 1).",
        ),
        (
            lambda p, s: cojax.solve(p, NETWORK, METHOD, s._replace(params=jnp.zeros((8, 3), int)), num_steps=1),
            "solve needs a start of floats, got int",
        ),
        (
            lambda p, s: cojax.solve(
                p, NETWORK, cojax.Hold(), cojax.solve(p, NETWORK, METHOD, s, num_steps=1).state, num_steps=1
            ),
            "solve needs a state of a run with this problem, network and method, got another's",
        ),
        (lambda p, s: cojax.DIGing(0.0), "DIGing needs step_size > 0, got 0."),
        (lambda p, s: cojax.DIGing(0.1, mixing=-1.0), "DIGing needs mixing > 0, got -1."),
        (lambda p, s: cojax.Laplacian(float("nan")), "Laplacian needs step_size > 0, got nan."),
        (
            lambda p, s: cojax.Laplacian(np.ones(8)),
            "Laplacian needs one number for step_size, got shape (8,): a step per",
        ),
        (lambda p, s: cojax.HeavyBall(0.1, 1.0), "HeavyBall needs momentum >= 0 and momentum < 1, got 1."),
    ],
)
def test_what_cannot_run_is_refused_before_it_runs(call, message):
    problem = laws.quadratic()
    with pytest.raises(cojax.CojaxInputError) as error:
        call(problem, laws.start_of(problem))
    assert message in str(error.value)


def test_a_share_may_grow_sixteenfold_in_float32_without_losing_a_bit_of_the_total():
    demand = np.asarray([30.0, 0.0, 0.0, 0.0], np.float32)
    problem = cojax.Problem(lambda x, want: 0.5 * (x.cpu - want) ** 2, demand, np.float32(8.0))
    network = cojax.network(nx.path_graph(4))
    run = cojax.solve(problem, network, cojax.CoOpt(allocate=cojax.Laplacian(0.5)), problem.start(), num_steps=500)
    assert run.x.cpu[0] > 24.0  # from 2.0
    assert laws.exact_imbalance(run.x.cpu, 8.0) == 0 and run.state.imbalance == 0.0


def _branch(x, data):
    return x.cpu**2 if x.cpu > 0 else 0.0


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (_branch, "The cost of a node cannot be traced (TracerBoolConversionError: Attempted boolean conversion"),
        (
            lambda x, data: x.cpu * jnp.ones(2),
            "needs to be one real number, of shape (), got shape (2,) and dtype float",
        ),
        (
            lambda x, data: jax.lax.complex(x.cpu, x.cpu),
            "needs to be one real number, of shape (), got shape () and dtype complex",
        ),
        (lambda x, data: None, "The cost of a node needs to be one real number, of shape (), got NoneType."),
    ],
)
def test_a_cost_that_has_no_derivative_is_refused_in_one_sentence(cost, message):
    problem = cojax.Problem(cost, np.ones(8), 8.0)
    with pytest.raises(cojax.CojaxInputError) as error:
        cojax.solve(problem, NETWORK, cojax.CoOpt(allocate=cojax.Laplacian(0.1)), problem.start(), num_steps=1)
    assert message in str(error.value) and "\n" not in str(error.value)
