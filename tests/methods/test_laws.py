"""Every method in the list survives every law that applies to it."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import laws

import cojax

pytestmark = pytest.mark.optimised

# Halves never meet inside of CoOpt: a learner and an allocator share a run, and all of them are in as many programs as
# there are learners.
PAIRS = {" with ".join(filter(None, pair)): pair for pair in itertools.zip_longest(laws.LEARNERS, laws.ALLOCATORS)}
each_pair = pytest.mark.parametrize("pair", PAIRS)


TRACED = []


def decided(problem, x, state):
    """The decision as the record, noted in TRACED whenever it is traced."""
    TRACED.append(1)
    return x


def state_and_decision(problem, x, state):
    return state, x


def method_of(pair):
    learner, allocator = PAIRS[pair]
    return cojax.CoOpt(laws.LEARNERS[learner], laws.ALLOCATORS.get(allocator, cojax.Hold()))


def approximate(pair, size):
    """`size` where the allocator keeps the total to rounding alone, else 0."""
    return size if PAIRS[pair][1] in laws.APPROXIMATE_ALLOCATORS else 0


def scaled(pair, factor):
    """The method with all its numbers times a factor, as arrays: of all factors one program."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float) * factor, method_of(pair))


def scaled32(pair):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), method_of(pair))


@functools.cache
def setting():
    problem = laws.quadratic()
    return problem, cojax.network(laws.ring_with_chords(), nodelist=range(8)), laws.start_of(problem)


def long_run(pair, factor=1.0, at=setting):
    """4 000 steps and the decision after every 40: what several laws look at, compiled once for all of them."""
    problem, network, start = at()
    return cojax.solve(problem, network, scaled(pair, factor), start, num_steps=4000, every=40, record=decided)


@functools.cache
def lossy_network(layout):
    link = cojax.Quantized(cojax.LogQuantizer(0.125))
    return cojax.Lossy(cojax.network(laws.switching_graphs(), layout=layout, link=link), 0.3, key=5)


def lossy_run(pair, factor=1.0):
    """A run over a network that changes, loses and quantizes; the state and the decision after 20, 40 and 60 steps."""
    problem, _, start = setting()
    length = dict(num_steps=60, every=20, record=state_and_decision)
    return cojax.solve(problem, lossy_network("dense"), scaled(pair, factor), start, **length)


@each_pair
def test_the_fixed_point_is_the_centralised_optimum(pair):
    solution = long_run(pair)
    params, cpu, _ = laws.optimum(setting()[0])
    learner, allocator = PAIRS[pair]
    if allocator:
        # Transfers below half a grid step vanish: the shares stop within grid / (2 * step * weight) of the optimum. The
        # cycles of the others are a few transfers wide.
        atol = 0.05 if allocator in laws.CHATTERING_ALLOCATORS else 1e-12
        np.testing.assert_allclose(solution.x.cpu, cpu, atol=atol)
    if learner not in laws.BIASED_LEARNERS:
        np.testing.assert_allclose(solution.x.params, np.broadcast_to(params, (8, 3)), atol=1e-11)
    else:
        # The bias of DGD is proportional to its step.
        assert 1e-4 < np.abs(np.asarray(solution.x.params) - params).max() < 0.5


@each_pair
def test_in_float32_the_optimum_and_the_sums_are_kept(pair):
    """JAX's default: what float64 hides is rounding that is added up, or a number that float32 does not hold."""
    problem = laws.quadratic(dtype=np.float32)
    method, start = scaled32(pair), laws.start_of(problem)
    run = cojax.solve(problem, setting()[1], method, start, num_steps=4000, every=1000, record=decided)
    params, cpu, _ = laws.optimum(problem)
    learner, allocator = PAIRS[pair]
    kept = [np.asarray(getattr(run.state.method.learn, name), float) for name in method.learn.kept or ()]
    for part in kept:
        # Some hundred additions before flows vanish, of numbers as large as these.
        assert np.abs(part.sum(0)).max() <= 200 * 2.0**-24 * np.abs(part).max()
    if learner not in laws.BIASED_LEARNERS:
        # The mean gradient is off by these sums, beside a curvature of a tenth.
        np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=1e-4)
    if allocator:
        assert run.x.cpu.dtype == jnp.float32
        atol = 0.05 if allocator in laws.CHATTERING_ALLOCATORS else 1e-4  # half a step of the grid, 2**-20
        np.testing.assert_allclose(run.x.cpu, cpu, atol=atol)
        assert float(run.state.imbalance) <= approximate(pair, 8 * 16 * 2.0**-24)


@each_pair
@given(seed=st.integers(0, 2**31 - 1), quantizer=st.sampled_from(laws.QUANTIZERS))
@settings(max_examples=10, deadline=None)
def test_node_sums_are_conserved_for_random_gradients_and_graphs(pair, seed, quantizer):
    random = np.random.default_rng(seed)
    num_nodes = 9
    weights = np.triu(
        random.uniform(size=(num_nodes, num_nodes)) * (random.uniform(size=(num_nodes, num_nodes)) < 0.4), 1
    )
    network = cojax.Dense(weights=jnp.asarray((weights + weights.T) / 8), link=cojax.Quantized(quantizer))
    method = method_of(pair)
    x = cojax.Decision(jnp.asarray(random.normal(size=(num_nodes, 2))), jnp.ones(num_nodes))
    grads = [
        cojax.Decision(jnp.asarray(random.normal(size=(num_nodes, 2))), jnp.asarray(random.normal(size=num_nodes)))
        for _ in range(3)
    ]
    state = method.init(x, grads[0])
    wire = network.link.open(method.message(state, grads[0]), network)
    for before, after in itertools.pairwise(grads):
        flow = network.flow(wire, method.along(state))
        for leaf in jax.tree.leaves(flow):
            np.testing.assert_allclose(leaf.sum(0), 0, atol=1e-14)
        state = method.update(state, before, flow)
        # Nine additions to shares of size one, three times.
        allowed = approximate(pair, 3 * num_nodes * 2.0**-52)
        assert laws.exact_imbalance(method.query(state).cpu, float(num_nodes)) <= allowed
        wire = network.link.tell(method.message(state, after), wire, network, 1)


@each_pair
def test_permuting_the_nodes_permutes_the_run(pair):
    order = np.random.default_rng(3).permutation(laws.NUM_NODES)

    def moved_setting():
        problem, _, start = setting()
        network = cojax.network(laws.ring_with_chords(), nodelist=[int(node) for node in order])
        problem = cojax.Problem(laws.cost, laws.permuted(problem.data, order), problem.budget)
        return problem, network, laws.permuted(start, order)

    runs = long_run(pair), long_run(pair, at=moved_setting)
    plain, moved = (jax.tree.map(lambda leaf: leaf[0], run.trace) for run in runs)  # after 40 steps
    # Momentum on the shares is rounded in another order too.
    roundoff = approximate(pair, 1e-13)
    np.testing.assert_allclose(moved.cpu, plain.cpu[order], rtol=0, atol=roundoff)
    # Sums over neighbours run in another order: rounding, nothing more.
    np.testing.assert_allclose(moved.params, plain.params[order], rtol=1e-12, atol=1e-13)


@each_pair
def test_a_batch_of_methods_over_another_layout_is_the_runs_one_by_one(pair):
    # test_networks.py and test_acceptance.py compare all layouts, whole runs too. Here 20 steps from states that both
    # can take, for in between they are one program of a third of the size.
    problem, network, factors = setting()[0], lossy_network("neighbors"), (1.0, 0.5)
    looks = [lossy_run(pair, factor).trace for factor in factors]
    begin, alone = (jax.tree.map(lambda *rows, look=look: np.stack(rows)[:, look], *looks) for look in (0, 1))

    @jax.jit
    @jax.vmap
    def steps(factor, state):
        method = scaled(pair, factor)
        state = jax.lax.fori_loop(0, 20, lambda _, state: cojax.step(problem, network, method, state), state)
        return method.query(state.method)

    batch, roundoff = steps(jnp.asarray(factors), begin[0]), approximate(pair, 1e-13)
    np.testing.assert_allclose(batch.cpu, alone[1].cpu, rtol=0, atol=roundoff)
    # A quantizer may send a last-bit difference to the next level, so only a few steps are compared so closely.
    np.testing.assert_allclose(batch.params, alone[1].params, rtol=1e-10, atol=1e-12)


@each_pair
def test_three_step_sizes_trace_once(pair):
    long_run(pair)  # traced here or in a law before
    first = len(TRACED)
    for factor in (0.5, 0.25):
        long_run(pair, factor)
    assert len(TRACED) == first > 0


@each_pair
def test_the_dtypes_of_both_halves_are_kept(pair):
    problem = laws.quadratic(dtype=np.float32)
    start = laws.start_of(problem)

    def mixed(x, data):
        return laws.cost(x._replace(params=x.params.astype(jnp.float32)), data)

    problem = cojax.Problem(mixed, problem.data, budget=problem.budget)
    network = cojax.network(laws.ring_with_chords(), link=cojax.Quantized(cojax.LogQuantizer(0.1)))

    def end(start):
        return cojax.solve(problem, network, method_of(pair), start, num_steps=2, every=2).x

    # A dtype that neither shares nor data have. Traced only: dtypes need no run, and the scan refuses a state that
    # changes its own.
    x = jax.eval_shape(end, start._replace(params=start.params.astype(jnp.bfloat16)))
    assert x.params.dtype == jnp.bfloat16 and x.params.shape == start.params.shape
    assert x.cpu.dtype == jnp.float32 and x.cpu.shape == start.cpu.shape


@each_pair
def test_gradients_are_finite_differences(pair):
    problem, network, start = setting()
    weights, rebuild = network.weights, lambda weights: eqx.tree_at(lambda net: net.weights, network, weights)

    def final_cost(flat):
        method, weights, data, budget, params = unravel(flat)
        problem = cojax.Problem(laws.cost, data, budget)
        length = dict(num_steps=8, every=8, record=laws.nothing)
        return problem.costs(cojax.solve(problem, rebuild(weights), method, problem.start(params), **length).x).sum()

    @jax.jit
    def run(flat):
        cost, push = jax.linearize(final_cost, flat)
        return cost, push(direction), jnp.vdot(jax.linear_transpose(push, flat)(1.0)[0], direction)

    inputs = (method_of(pair), weights, problem.data, problem.budget, start.params)
    flat, unravel = jax.flatten_util.ravel_pytree(inputs)
    flat, direction = np.asarray(flat), np.random.default_rng(0).normal(size=flat.shape)
    # Large enough for the grid (2**-43) to be invisible: error h**2 + grid / h.
    h = 1e-5
    slope = (run(flat + h * direction)[0] - run(flat - h * direction)[0]) / (2 * h)
    _, forward, reverse = run(flat)
    np.testing.assert_allclose(reverse, slope, rtol=1e-6)
    np.testing.assert_allclose(forward, slope, rtol=1e-6)


@each_pair
def test_a_resumed_run_is_the_whole_run_bit_for_bit(pair):
    problem, network, method = setting()[0], lossy_network("dense"), scaled(pair, 1.0)
    whole = lossy_run(pair)
    state = jax.tree.map(lambda leaf: leaf[0], whole.trace[0])
    for chunk in (1, 2):  # from a state that was recorded, then from that of a solution
        part = cojax.solve(problem, network, method, state, num_steps=20, every=20, record=state_and_decision)
        rows = jax.tree.map(lambda leaf, chunk=chunk: leaf[chunk : chunk + 1], whole.trace)
        jax.tree.map(np.testing.assert_array_equal, part.trace, rows)
        state = part.state
    jax.tree.map(np.testing.assert_array_equal, state, whole.state)
