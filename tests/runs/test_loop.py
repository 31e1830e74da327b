"""The loop records what was asked, tells how a run ended, and maps and differentiates like any other function."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax.problems.penalties import PowerPenalty
from cojax.runs.progress import LEAST_LOOKS, stalled

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.3))
NETWORK = cojax.network(laws.ring_with_chords())


def test_steps_by_hand_are_the_solve():
    problem = laws.quadratic()
    start = laws.start_of(problem)
    state = jax.jit(cojax.init)(problem, NETWORK, METHOD, start)
    by_hand = jax.jit(cojax.step)
    for _ in range(6):
        state = by_hand(problem, NETWORK, METHOD, state)
    run = cojax.solve(problem, NETWORK, METHOD, start, num_steps=6, every=3, record=laws.nothing)
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


def test_trackers_that_lost_the_mean_gradient_are_found():
    problem = laws.quadratic()
    state = cojax.solve(
        problem, NETWORK, METHOD, laws.start_of(problem), num_steps=6, every=3, record=laws.nothing
    ).state
    assert cojax.records.tracking(state) < 1e-15  # rounding of gradients near 1
    spoiled = state.method.learn._replace(slack=state.method.learn.slack.at[2, 1].add(0.5))
    wrong = state._replace(method=state.method._replace(learn=spoiled))
    np.testing.assert_allclose(cojax.records.tracking(wrong), 0.5 / 8, rtol=1e-14)


def test_no_steps_return_the_start():
    problem = laws.quadratic()
    start = laws.start_of(problem)
    run = cojax.solve(problem, NETWORK, METHOD, start, num_steps=0)
    np.testing.assert_array_equal(run.x.cpu, start.cpu)
    assert run.trace.cost.shape == (0,)


def _ended(method, num_steps, every, link=cojax.Ideal(), dtype=np.float64):
    problem = laws.quadratic(dtype=dtype)
    network, length = cojax.network(laws.ring_with_chords(), link=link), dict(num_steps=num_steps, every=every)
    run = cojax.solve(problem, network, method, laws.start_of(problem), **length, record=laws.nothing)
    return cojax.Status(int(run.status))


def _pair(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.3)):
    return cojax.CoOpt(learn=learn, allocate=allocate)


@pytest.mark.parametrize(
    ("method", "num_steps", "every", "status"),
    [
        (_pair(cojax.DIGing(4e-4)), 6000, 6000, "OUT_OF_STEPS"),
        (_pair(cojax.DIGing(0.0055)), 4000, 20, "CONVERGED_REDUCED"),
        (METHOD, 6000, 6000, "CONVERGED"),
        (_pair(cojax.DIGing(0.2)), 4000, 20, "DIVERGED"),
        (_pair(cojax.DIGing(5.0)), 6000, 6000, "NOT_FINITE"),
        (_pair(cojax.DGD(0.05)), 4000, 20, "STALLED"),  # at its bias
        (_pair(cojax.DIGing(1e-7), cojax.Laplacian(1e-7)), 4000, 20, "STALLED"),  # as good as standing still
        (_pair(cojax.DIGing(4e-4), cojax.Laplacian(4e-4)), 4000, 20, "OUT_OF_STEPS"),  # slow, but falling
        (_pair(allocate=cojax.SingleBit(0.01)), 4000, 20, "LIMIT_CYCLE"),
    ],
)
def test_the_status_tells_how_the_run_ended(method, num_steps, every, status):
    assert _ended(method, num_steps, every).name == status


@pytest.mark.parametrize(("every", "dtype"), [(1, np.float32), (7, np.float64)])
def test_the_floor_of_a_plain_quantizer_is_a_stall(every, dtype):
    assert _ended(METHOD, 3500, every, cojax.Quantized(cojax.LogQuantizer(0.5)), dtype) is cojax.Status.STALLED


def test_fewer_than_sixteen_looks_never_show_a_stall_so_that_solve_need_not_ask_what_comes_next():
    problem = laws.quadratic()
    best, cpu, _ = laws.optimum(problem)
    start = problem.start(params=jnp.broadcast_to(jnp.asarray(best), (8, 3)), cpu=jnp.asarray(cpu))

    def at_rest(problem, x, state):
        return stalled(state.progress)

    # A biased method at rest: nothing falls from the first look on.
    method = cojax.CoOpt(learn=cojax.DGD(1e-6))
    told = cojax.solve(problem, NETWORK, method, start, num_steps=40, record=at_rest).trace
    assert not told[: LEAST_LOOKS - 1].any() and told[LEAST_LOOKS:].any()


def test_one_look_cannot_tell_a_floor_and_claims_none():
    link = cojax.Quantized(cojax.LogQuantizer(0.5))
    assert _ended(METHOD, 6000, 6000, link) is cojax.Status.OUT_OF_STEPS


def off_demand(x, want):
    return (x.cpu - want) ** 2 / 2


def off_target(x, want):
    return jnp.sum((x.params - want) ** 2)


@pytest.mark.parametrize("step_size", [0.01, 0.04])
def test_a_step_too_large_for_soft_bounds_goes_in_circles(step_size):
    demand = np.array([3.0, 1.0, 0.5, 0.2])
    problem = cojax.Problem(off_demand, demand, 4.0, lower=0.0, upper=1.5, penalty=PowerPenalty(50.0))
    method = cojax.CoOpt(allocate=cojax.Laplacian(step_size))
    run = cojax.solve(problem, cojax.network(nx.cycle_graph(4)), method, problem.start(), num_steps=4000, every=2)
    # The Laplacian of a ring of 4 with weights 1/3 has 4/3 as its largest eigenvalue, a node beyond its bound has the
    # curvature 101: a step above 2 / (101 * 4/3) = 0.015 is sure to fail only if all were beyond, 0.04 does already.
    wanted = cojax.Status.CONVERGED if step_size < 0.015 else cojax.Status.LIMIT_CYCLE
    assert cojax.Status(int(run.status)) is wanted
    # Not even the last decision of many hides what the looks on the way saw.
    assert float(run.state.progress.overload) == float(run.trace.overload.max())


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_one_node_whose_gradient_vanishes_at_the_optimum_converges(unit):
    problem = cojax.Problem(off_target, np.full((1, 2), unit))
    method = cojax.CoOpt(learn=cojax.DIGing(0.1))
    start = problem.start(jnp.zeros((1, 2)))
    run = cojax.solve(
        problem, cojax.network(nx.empty_graph(1)), method, start, num_steps=600, every=10, record=laws.nothing
    )
    assert cojax.Status(int(run.status)) is cojax.Status.CONVERGED


def test_a_continued_run_remembers_its_looks():
    problem, method = laws.quadratic(), _pair(cojax.DGD(0.05))
    state = jax.jit(cojax.init)(problem, NETWORK, method, laws.start_of(problem))
    for _ in range(10):
        part = cojax.solve(problem, NETWORK, method, state, num_steps=400, every=20, record=laws.nothing)
        state = part.state
    # 20 looks are too few for this method to be known to have stopped, 200 are enough.
    assert int(state.progress.looks) == 200 and cojax.Status(int(part.status)) is cojax.Status.STALLED


def test_every_run_of_a_batch_has_its_own_status():
    problem = laws.quadratic()
    start = laws.start_of(problem)

    def ended(step_size):
        method = cojax.CoOpt(learn=cojax.DIGing(step_size), allocate=cojax.Laplacian(0.3))
        return cojax.solve(problem, NETWORK, method, start, num_steps=1000, every=20, record=laws.nothing).status

    found = jax.jit(jax.vmap(ended))(jnp.asarray([0.05, 1e-7, 5.0]))
    assert [cojax.Status(int(one)).name for one in found] == ["CONVERGED", "STALLED", "NOT_FINITE"]


def test_a_budget_that_no_shares_within_the_bounds_meet_is_infeasible_even_where_it_is_traced():
    start = laws.start_of(laws.quadratic())

    def ended(upper):
        problem = laws.quadratic()
        problem = cojax.Problem(problem.cost, problem.data, problem.budget, upper=upper)
        return cojax.solve(problem, NETWORK, METHOD, start, num_steps=5, every=5, record=laws.nothing).status

    found = jax.jit(jax.vmap(ended))(jnp.asarray([2.0, 1.9]))  # 8 nodes share 16
    assert [cojax.Status(int(one)).name for one in found] == ["OUT_OF_STEPS", "INFEASIBLE"]


def test_shares_that_lost_their_total_are_called_infeasible():
    problem = laws.quadratic()
    start = laws.start_of(problem)
    spoiled = start._replace(cpu=start.cpu.at[0].add(0.5))
    run = cojax.solve(problem, NETWORK, METHOD, spoiled, num_steps=6, every=3)
    assert cojax.Status(int(run.status)) is cojax.Status.INFEASIBLE
    assert float(run.trace.imbalance[-1]) == 0.5


def test_vmap_maps_over_problems_and_starts():
    problems = [laws.quadratic(seed=seed) for seed in range(3)]
    starts = [laws.start_of(problem) for problem in problems]
    problem, start = jax.tree.map(lambda *leaves: jnp.stack(leaves), problems[0], *problems[1:]), None
    start = jax.tree.map(lambda *leaves: jnp.stack(leaves), starts[0], *starts[1:])

    def run(problem, start):
        return cojax.solve(problem, NETWORK, METHOD, start, num_steps=30, every=30, record=laws.nothing).x

    many = jax.jit(jax.vmap(run))(problem, start)
    for row in range(3):
        one = run(problems[row], starts[row])
        np.testing.assert_allclose(many.cpu[row], one.cpu, atol=1e-13)
        np.testing.assert_allclose(many.params[row], one.params, atol=1e-12)


def test_several_resources_are_shared_out_each_exactly():
    demand = np.random.default_rng(0).uniform(0.0, 2.0, (8, 2))
    problem = cojax.Problem(lambda x, want: 0.5 * jnp.sum((x.cpu - want) ** 2), demand, [6.0, 10.0])
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.5))
    run = cojax.solve(problem, NETWORK, method, problem.start(), num_steps=2000, every=2000, record=laws.nothing)
    wanted = demand + (np.asarray([6.0, 10.0]) - demand.sum(0)) / 8
    np.testing.assert_allclose(run.x.cpu, wanted, atol=1e-12)
    assert not run.state.imbalance.any()


def test_a_learner_alone_and_an_optax_transformation_work():
    import optax

    problem = laws.quadratic()
    alone = cojax.Problem(lambda x, data: laws.cost(x._replace(cpu=data[3]), data), problem.data)
    learner = cojax.DIGing(0.02, mixing=0.5, transform=optax.trace(decay=0.5))
    start = alone.start(params=jnp.zeros((8, 3)))
    length = dict(num_steps=4000, every=4000, record=laws.nothing)
    run = cojax.solve(alone, NETWORK, cojax.CoOpt(learn=learner), start, **length)
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
                p, NETWORK, cojax.Hold(), cojax.solve(p, NETWORK, METHOD, s, num_steps=6, every=3).state, num_steps=1
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
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.5))
    run = cojax.solve(problem, network, method, problem.start(), num_steps=500, every=500, record=laws.nothing)
    assert run.x.cpu[0] > 24.0  # from 2.0
    assert laws.exact_imbalance(run.x.cpu, 8.0) == 0 and run.state.imbalance == 0.0


def _branch(x, data):
    return x.cpu**2 if x.cpu > 0 else 0.0


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (_branch, "decides in Python by a number that JAX traces; write jnp.where(condition, one, other)"),
        (lambda x, data: np.asarray(x.cpu) * 2, "makes NumPy or Python numbers of what JAX traces; write jnp in place"),
        (lambda x, data: x.cpu * jnp.ones(2), "is one real number, of shape () and a float dtype, got shape (2,) and"),
        (lambda x, data: jax.lax.complex(x.cpu, x.cpu), "got shape () and dtype complex"),
        (lambda x, data: 1, "got shape () and dtype int"),
        (lambda x, data: (x.cpu, x.cpu), "got a tuple; return one jax.numpy scalar."),
        (lambda x, data: None, "got a NoneType; return one jax.numpy scalar."),
        (lambda x, data: "dear", "got a str; return one jax.numpy scalar."),
    ],
)
def test_a_cost_that_has_no_derivative_is_refused_in_one_sentence(cost, message):
    problem = cojax.Problem(cost, np.ones(8), 8.0)
    start, method = problem.start(), cojax.CoOpt(allocate=cojax.Laplacian(0.1))
    verbs = {
        "solve": lambda: cojax.solve(problem, NETWORK, method, start, num_steps=1),
        "Problem.costs": lambda: problem.costs(start),
        "Problem.grad": lambda: problem.grad(start),
        "allocate": lambda: cojax.allocate(problem),
        "certificate": lambda: cojax.certificate(problem, start),
        "reference": lambda: cojax.reference(problem),
        "default": lambda: cojax.default(problem, NETWORK, start),
        "default_allocator": lambda: cojax.default_allocator(problem, NETWORK, start),
        "tuned": lambda: cojax.tuned(cojax.Laplacian, problem, NETWORK, start),
    }
    for name, verb in verbs.items():
        with pytest.raises(cojax.CojaxInputError) as error:
            verb()
        said = str(error.value)
        assert said.startswith(name) and message in said and "\n" not in said


@pytest.mark.parametrize("half", ["params", "cpu"])
def test_a_start_without_a_finite_gradient_is_said_as_such_with_the_node(half):
    """A norm at zero, a root at zero: no step size helps, however small."""

    def cost(x, centre):
        far = jnp.linalg.norm(x.params - centre) if half == "params" else jnp.sum((x.params - centre) ** 2)
        return far + x.cpu**2 - (jnp.sqrt(x.cpu - centre[0]) if half == "cpu" else 0.0)

    problem = cojax.Problem(cost, np.array([[0.5, 0.5], [0.25, 0.0], [1.0, 1.0], [0.0, 0.5]]), budget=4.0)
    start = problem.start(jnp.ones((4, 2)))  # of which node 2 is where its gradient is none
    network = cojax.network(nx.path_graph(4))
    for step_size in (1e-2, 1e-9):
        method = cojax.CoOpt(cojax.DIGing(step_size, mixing=0.5), cojax.Laplacian(step_size))
        run = cojax.solve(problem, network, method, start, num_steps=2)
        assert run.status == cojax.Status.NOT_FINITE
        said = str(run).splitlines()[0]
        assert f"the gradient of node 2 in {half} is not finite at the start" in said and "smaller step" not in said
    best = cojax.Reference(start, None, None, None, None, None)
    verbs = [lambda: cojax.compare(problem, network, {"one": method}, start, optimum=best, num_steps=2)]
    if half == "params":
        verbs += [
            lambda: cojax.tuned(cojax.DIGing, problem, network, start),
            lambda: cojax.reference(problem, jnp.ones(2)),
        ]
    else:
        verbs += [lambda: cojax.default_allocator(problem, network, start)]
    for verb in verbs:
        with pytest.raises(cojax.CojaxInputError, match=f"gradient of node 2 in {half} is not finite at the start"):
            verb()
    method = cojax.CoOpt(cojax.DIGing(100.0), cojax.Laplacian(0.1))  # which overflows, from a start that is fine
    fine = cojax.Problem(lambda x, a: jnp.sum((x.params - a) ** 4) + x.cpu**2, np.ones((4, 2)), budget=4.0)
    run = cojax.solve(fine, network, method, fine.start(jnp.zeros((4, 2))), num_steps=20)
    assert run.status == cojax.Status.NOT_FINITE and "take smaller step sizes" in str(run)


@pytest.mark.parametrize("link", ["one bit", "ledger"])
def test_bits_in_float32_are_counted_on_after_a_float_of_32_bits_would_stand_still(link):
    """Over a link of one bit a plain sum ends at 2**24; what a step adds must not depend on what was told before."""
    with jax.enable_x64(False):
        start = cojax.Decision(cpu=jnp.ones(8, jnp.float32))
        problem = cojax.Problem(lambda x, want: (x.cpu - want) ** 2, np.arange(8, dtype=np.float32), budget=8.0)
        one_bit = cojax.Innovation(cojax.OneBitQuantizer(), memory="node")
        network = cojax.network(laws.ring_with_chords(), link=one_bit)
        if link == "ledger":
            network = cojax.Ledger(cojax.network(laws.ring_with_chords()))
        method = cojax.CoOpt(allocate=cojax.Laplacian(0.05))
        run = cojax.solve(problem, network, method, start, num_steps=1, every=1)
        step = float(run.trace.bits[-1]) / 2  # of the first message, and of one step
        wire = run.state.wire._replace(bits=jnp.float32(2.0**28))
        on = cojax.solve(problem, network, method, run.state._replace(wire=wire), num_steps=3000, every=1000)
        np.testing.assert_allclose(on.trace.bits, 2.0**28 + step * 1000 * np.arange(1, 4), rtol=6e-8)
        assert on.trace.bits[-1] > 2.0**28 + 2900 * step


def test_a_sum_of_bits_in_float32_is_the_sum_of_integers():
    def count(wire, number):
        message = cojax.networks.base.Wire(None, bits=number)
        return message.with_bits_of(wire), None

    numbers = np.random.default_rng(0).integers(1, 100, 3_000_000)
    first = cojax.networks.base.Wire(None, bits=jnp.zeros((), jnp.float32), excess=jnp.zeros((), jnp.float32))
    last = jax.lax.scan(count, first, jnp.asarray(numbers, jnp.float32))[0]
    assert float(last.bits) == np.float32(numbers.sum()) > 2**27
