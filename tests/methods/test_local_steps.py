"""Local steps are what is published: DiLoCo, streaming or not, federated averaging, NoLoCo, and diffusion."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import laws

import cojax

pytestmark = pytest.mark.optimised

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


def outer_of(momentum):
    return None if momentum is None else optax.sgd(0.7, momentum=momentum, nesterov=True)


def streaming_loop(matrices, rounded, momentum, parts, late, keep):
    """The decisions after every step, with the weights of every step, and how what is told is rounded."""
    _, roots, targets = problem_of()
    size = -(-3 // parts)
    slices = [slice(part * size, min((part + 1) * size, 3)) for part in range(parts)]
    y, anchor, velocity, waiting, found = np.zeros((N, 3)), np.zeros((N, 3)), np.zeros((N, 3)), {}, []
    for k in range(STEPS):
        y = y - 0.05 * np.einsum("nsd,ns->nd", roots, np.einsum("nsd,nd->ns", roots, y) - targets) / 5
        if k % EVERY == 0:
            part = slices[k // EVERY % parts]
            sent = rounded(y[:, part])
            waiting[k + late] = part, y[:, part] + (matrices[k] - np.diag(matrices[k].sum(1))) @ sent
        if k in waiting:
            part, led = waiting.pop(k)
            if momentum is None:
                there = led
            else:
                delta = anchor[:, part] - led
                velocity[:, part] = delta + momentum * velocity[:, part]
                there = anchor[:, part] - 0.7 * (delta + momentum * velocity[:, part])
                anchor[:, part] = there
            y[:, part] = keep * y[:, part] + (1 - keep) * there
        found.append(y.copy())
    return found


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize(("parts", "late", "keep"), [(1, 0, 0.0), (2, 0, 0.3), (3, 2, 0.0), (2, 3, 0.5), (5, 4, 0.5)])
def test_parts_in_turn_used_late_are_a_plain_loop_over_lossy_quantized_links(momentum, parts, late, keep):
    link = cojax.Quantized(cojax.UniformQuantizer(2.0**-6))
    network = cojax.Lossy(cojax.network(laws.ring_with_chords(N), layout="dense", link=link), 0.3, 1)
    method = cojax.StreamingSteps(0.05, outer=outer_of(momentum), every=EVERY, parts=parts, late=late, keep=keep)
    found = run(method, network, EVERY).trace.params
    matrices = [np.asarray(network.at(k).weights) for k in range(STEPS)]
    assert any((matrix != matrices[0]).any() for matrix in matrices)
    wanted = streaming_loop(matrices, lambda m: np.round(m * 64) / 64, momentum, parts, late, keep)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("inner", [None, optax.adam(0.02)])
def test_one_part_used_at_once_is_local_steps_bit_for_bit_over_books_too(inner):
    whole = laws.quadratic()
    leaving = cojax.Changing(whole, [cojax.Change(13, leaves=3, heir=4)])
    books = cojax.LossyOneWay(cojax.Members(cojax.network(laws.ring_with_chords()), leaving), 0.4)
    for problem, network in ((whole, cojax.network(laws.switching_graphs())), (leaving, cojax.Ledger(books))):
        found, start = [], problem.start(laws.start_of(whole).params)
        for kind in (cojax.LocalSteps, cojax.StreamingSteps):
            method = cojax.CoOpt(kind(0.5, inner, outer_of(0.9), every=3), cojax.Laplacian(0.1))
            length = dict(num_steps=30, every=1, record=cojax.records.decision)
            found.append(cojax.solve(problem, cojax.Intermittent(network, 3), method, start, **length))
        np.testing.assert_array_equal(found[0].trace.params, found[1].trace.params)
        np.testing.assert_array_equal(found[0].trace.cpu, found[1].trace.cpu)
        assert float(found[1].state.imbalance) == 0.0


def test_an_exchange_tells_one_part_of_leaves_of_any_shape_and_dtype():
    rows, shapes = np.random.default_rng(0), {"a": (4, 3), "b": (), "c": (5,)}

    def several(x, data):
        return sum(jnp.sum((leaf.astype(float) - data) ** 2) for leaf in jax.tree.leaves(x.params))

    problem = cojax.Problem(several, rows.normal(size=N))
    params = {name: jnp.broadcast_to(rows.normal(size=shape), (N, *shape)) for name, shape in shapes.items()}
    params["c"] = params["c"].astype(jnp.float32)
    # 13 numbers of float64 and 5 of float32, in 3 parts.
    learn = cojax.StreamingSteps(0.1, outer=outer_of(0.5), every=EVERY, parts=3)
    network = cojax.Intermittent(cojax.network(COMPLETE), EVERY)
    solution = cojax.solve(problem, network, cojax.CoOpt(learn=learn), problem.start(params), num_steps=13)
    assert float(solution.trace.bits[0]) == 5 * 64 + 2 * 32 and float(solution.trace.bits[-1]) == 4 * (5 * 64 + 2 * 32)
    for name, leaf in solution.x.params.items():
        assert leaf.shape == (N, *shapes[name]) and leaf.dtype == params[name].dtype
    # After steps 0, 4 and 8 all numbers were exchanged; the first five of "a" again in step 12, after which all agree.
    after = np.asarray(solution.x.params["a"]).reshape(N, -1)
    assert np.ptp(after[:, :5], axis=0).max() < 1e-12 < np.ptp(after[:, 5:], axis=0).min()


def test_streaming_beside_shares_keeps_the_total_goes_on_exactly_and_is_differentiable():
    link = cojax.Quantized(cojax.UniformQuantizer(2.0**-6))
    network = cojax.Intermittent(cojax.Lossy(cojax.network(laws.switching_graphs(), link=link), 0.3), 3)
    problem, length = laws.quadratic(), dict(record=laws.nothing)

    def method_of(keep):
        outer = optax.sgd(0.7, momentum=0.5)
        learn = cojax.StreamingSteps(inner=optax.adam(0.01), outer=outer, every=3, parts=2, late=2, keep=keep)
        return cojax.CoOpt(learn, cojax.Laplacian(0.1))

    method, start = method_of(0.5), laws.start_of(problem)
    whole = cojax.solve(problem, network, method, start, num_steps=40, every=20, **length)
    half = cojax.solve(problem, network, method, start, num_steps=20, every=20, **length)
    rest = cojax.solve(problem, network, method, half.state, num_steps=20, every=20, **length)
    for one, other in zip(jax.tree.leaves(rest.x), jax.tree.leaves(whole.x), strict=True):
        np.testing.assert_array_equal(one, other)
    assert float(whole.state.imbalance) == 0.0
    assert laws.exact_imbalance(whole.x.cpu, problem.budget) == 0
    ideal = cojax.Intermittent(cojax.network(laws.switching_graphs()), 3)

    def end(keep):
        run = cojax.solve(problem, ideal, method_of(keep), start, num_steps=20, every=20, **length)
        return problem.costs(run.x).sum()

    slope = (end(0.5 + 1e-6) - end(0.5 - 1e-6)) / 2e-6
    assert float(jax.grad(end)(0.5)) == pytest.approx(float(slope), rel=1e-5)


def test_over_random_pairs_it_is_noloco_as_its_first_author_wrote_it():
    """Two means of a pair travel there, of where both stood and of how far they went, with one factor for both."""
    alpha, beta, pairs = 0.5, 0.7, cojax.RandomPairs(N, 3)
    method = cojax.LocalSteps(0.05, outer=optax.sgd(beta, momentum=alpha), every=EVERY)
    found = run(method, pairs, EVERY).trace.params
    _, roots, targets = problem_of()
    y, slow, momentum = np.zeros((N, 3)), np.zeros((N, 3)), np.zeros((N, 3))
    for k in range(STEPS):
        y = y - 0.05 * np.einsum("nsd,ns->nd", roots, np.einsum("nsd,nd->ns", roots, y) - targets) / 5
        if k % EVERY == 0:
            partner = np.asarray(pairs.at(k).index)[0]
            went, stood = y - slow, (slow + slow[partner]) / 2
            momentum = alpha * momentum + beta * (went + went[partner]) / 2 - beta * (slow - stood)
            slow = slow + momentum
            y = slow.copy()
        np.testing.assert_allclose(found[k], y, rtol=1e-9, atol=1e-12)
    assert np.ptp(np.asarray(found[-1]), axis=0).max() > 1e-3  # pairs do not agree with one another


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
    for made, said in (
        (lambda: cojax.StreamingSteps(), "StreamingSteps needs a step_size, such as 0.05, or an inner"),
        (lambda: cojax.StreamingSteps(0.1, every=0), "StreamingSteps needs a whole number every >= 1, got 0."),
        (lambda: cojax.StreamingSteps(0.1, parts=0), "StreamingSteps needs a whole number parts >= 1, got 0."),
        (lambda: cojax.StreamingSteps(0.1, every=3, late=4), "a whole number late from 0 to 3, got 4."),
        (lambda: cojax.StreamingSteps(0.1, keep=1.5), "StreamingSteps needs keep >= 0 and keep <= 1, got 1.5."),
        (lambda: cojax.StreamingSteps(0.1, outer=3), "StreamingSteps needs an optax optimizer"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=re.escape(said)):
            made()
    method = cojax.CoOpt(learn=cojax.StreamingSteps(0.05, every=EVERY, parts=2))
    told = cojax.network(COMPLETE, link=cojax.Innovation(cojax.LogQuantizer(0.5)))
    for network in (told, cojax.Ledger(cojax.network(COMPLETE))):
        with pytest.raises(cojax.CojaxInputError, match=r"StreamingSteps with parts > 1 tells other numbers in every"):
            cojax.solve(
                problem, cojax.Intermittent(network, EVERY), method, problem.start(jnp.zeros((N, 3))), num_steps=4
            )
