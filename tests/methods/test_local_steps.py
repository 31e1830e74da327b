"""Local steps are what is published: DiLoCo and federated averaging on a complete graph, and diffusion."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import laws

import cojax

N, EVERY, STEPS = 6, 4, 25
COMPLETE = np.full((N, N), 1 / N) - np.eye(N) / N  # W = 1 1' / n


@pytest.fixture(autouse=True)
def optax_mixes_dtypes():
    with jax.numpy_dtype_promotion("standard"):
        yield


def problem_of(seed=0):
    random = np.random.default_rng(seed)
    roots, targets = random.normal(size=(N, 5, 3)), random.normal(size=(N, 5))
    return cojax.Problem(cost, (roots, targets)), roots, targets


def cost(x, data):
    root, target = data
    return 0.5 * jnp.mean((root @ x.params - target) ** 2)


def run(learn, network, every, params=None):
    problem, *_ = problem_of()
    start = problem.start(jnp.zeros((N, 3)) if params is None else params)
    network = cojax.Intermittent(network, every)
    return cojax.solve(
        problem, network, cojax.CoOpt(learn=learn), start, num_steps=STEPS, record=cojax.records.decision
    )


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("adam", [False, True])
def test_on_a_complete_graph_it_is_diloco_as_a_plain_loop_has_it(momentum, adam):
    inner = optax.adam(0.02) if adam else optax.sgd(0.05)
    outer = None if momentum is None else optax.sgd(0.7, momentum=momentum, nesterov=True)
    found = run(cojax.LocalSteps(inner=inner, outer=outer, every=EVERY), cojax.network(COMPLETE), EVERY).trace.params
    _, roots, targets = problem_of()
    y, anchor, velocity = np.zeros((N, 3)), np.zeros(3), np.zeros(3)
    m, v = np.zeros((N, 3)), np.zeros((N, 3))
    for k in range(STEPS):
        g = np.einsum("nsd,ns->nd", roots, np.einsum("nsd,nd->ns", roots, y) - targets) / 5
        if adam:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            y = y - 0.02 * (m / (1 - 0.9 ** (k + 1))) / (np.sqrt(v / (1 - 0.999 ** (k + 1))) + 1e-8)
        else:
            y = y - 0.05 * g
        if k % EVERY == 0:
            delta = anchor - y.mean(0)
            if momentum is None:
                anchor = y.mean(0)
            else:
                velocity = delta + momentum * velocity
                anchor = anchor - 0.7 * (delta + momentum * velocity)
            y = np.tile(anchor, (N, 1))
        np.testing.assert_allclose(found[k], y, rtol=1e-9, atol=1e-12)


def test_with_plain_steps_and_an_exchange_in_each_it_is_diffusion():
    network, start = cojax.network(laws.ring_with_chords(N)), np.random.default_rng(1).normal(size=(N, 3))
    ours = run(cojax.LocalSteps(0.05), network, 1, jnp.asarray(start))
    theirs = run(cojax.Choco(0.05), network, 1, jnp.asarray(start))
    np.testing.assert_allclose(ours.trace.params, theirs.trace.params, rtol=1e-12)


def test_bits_are_told_in_exchanges_alone_and_the_clock_waits_in_them_alone():
    network = cojax.Timed(cojax.network(COMPLETE), cojax.Clock(1.0, share=1.0, latency=10.0))
    problem, *_ = problem_of()
    method = cojax.CoOpt(learn=cojax.LocalSteps(0.05, every=EVERY))
    start = problem.start(jnp.zeros((N, 3)))
    trace = cojax.solve(problem, cojax.Intermittent(network, EVERY), method, start, num_steps=STEPS).trace
    exchanges = sum(k % EVERY == 0 for k in range(STEPS))
    assert float(trace.bits[-1]) == 3 * 64 * exchanges
    assert float(trace.seconds[-1]) == pytest.approx(STEPS + 1 + 10.0 * exchanges)


def test_over_lossy_switching_quantized_links_beside_shares_the_total_is_exact():
    link, every = cojax.Innovation(cojax.AdaptiveQuantizer(2), memory="edge"), 3  # odd: both graphs have their turn
    network = cojax.Intermittent(cojax.Lossy(cojax.network(laws.switching_graphs(), link=link), 0.3), every)
    problem = laws.quadratic()
    learn = cojax.LocalSteps(inner=optax.adam(0.01), outer=optax.sgd(0.7, momentum=0.5), every=every)
    method = cojax.CoOpt(learn, cojax.Laplacian(0.1))
    trace = cojax.solve(problem, network, method, laws.start_of(problem), num_steps=400, every=10).trace
    assert float(trace.imbalance.max()) == 0.0
    left = trace.mean_cost - cojax.reference(problem.softened(), jnp.zeros(3)).cost
    assert 0 < float(left[-1]) < 0.2 * float(left[0])  # a bias stays, as the method says


def test_steps_are_differentiable_and_resumed_runs_are_whole_runs():
    problem, *_ = problem_of()
    network = cojax.Intermittent(cojax.network(COMPLETE), EVERY)
    start = problem.start(jnp.zeros((N, 3)))

    def end(step_size):
        learn = cojax.LocalSteps(step_size, outer=optax.sgd(0.7, momentum=0.9), every=EVERY)
        ran = cojax.solve(problem, network, cojax.CoOpt(learn=learn), start, num_steps=STEPS, every=STEPS)
        return ran.trace.cost[-1]

    slope = (end(0.05 + 1e-6) - end(0.05 - 1e-6)) / 2e-6
    assert float(jax.grad(end)(0.05)) == pytest.approx(float(slope), rel=1e-6)
    method = cojax.CoOpt(learn=cojax.LocalSteps(inner=optax.adam(0.02), outer=optax.sgd(0.7), every=EVERY))
    whole = cojax.solve(problem, network, method, start, num_steps=20)
    half = cojax.solve(problem, network, method, start, num_steps=10)
    rest = cojax.solve(problem, network, method, half.state, num_steps=10)
    np.testing.assert_array_equal(rest.x.params, whole.x.params)


def test_what_cannot_be_is_refused():
    problem, *_ = problem_of()
    method = cojax.CoOpt(learn=cojax.LocalSteps(0.05, every=EVERY))
    with pytest.raises(cojax.CojaxInputError, match=r"in one step of 4, on a network that talks in one of 1: give"):
        cojax.solve(problem, cojax.network(COMPLETE), method, problem.start(jnp.zeros((N, 3))), num_steps=4)
    with pytest.raises(cojax.CojaxInputError, match=r"LocalSteps needs a step_size, such as 0.05, or an inner"):
        cojax.LocalSteps()
    with pytest.raises(cojax.CojaxInputError, match=r"LocalSteps needs a whole number every >= 1, got 0|every"):
        cojax.LocalSteps(0.1, every=0)
    with pytest.raises(cojax.CojaxInputError, match=r"LocalSteps needs an optax optimizer"):
        cojax.LocalSteps(0.1, outer=3)
