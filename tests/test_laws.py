"""Every method in the list survives every law that applies to it."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cojax

# Each by itself: halves never meet inside of CoOpt, so pairs add nothing but time.
each_method = pytest.mark.parametrize("name", [*laws.LEARNERS, *laws.ALLOCATORS])
# Of methods that differ by the law along an edge alone, one: they have one state.
each_state = pytest.mark.parametrize(
    "name", [*laws.LEARNERS, "Laplacian", "HeavyBall", "Nesterov", "MomentumFlow", "Scheduled"]
)


def method_of(name):
    if name in laws.LEARNERS:
        return cojax.CoOpt(learn=laws.LEARNERS[name])
    return cojax.CoOpt(allocate=laws.ALLOCATORS[name])


@functools.cache
def setting():
    problem = laws.quadratic()
    return problem, cojax.network(laws.ring_with_chords()), laws.start_of(problem)


@each_method
def test_the_fixed_point_is_the_centralised_optimum(name):
    problem, network, start = setting()
    solution = cojax.solve(problem, network, method_of(name), start, num_steps=4000, every=4000)
    params, cpu, _ = laws.optimum(problem)
    if name in laws.ALLOCATORS:
        # Transfers below half a grid step vanish: the shares stop within grid / (2 * step * weight) of the optimum. The
        # cycles of the others are a few transfers wide.
        np.testing.assert_allclose(solution.x.cpu, cpu, atol=0.05 if name in laws.CHATTERING_ALLOCATORS else 1e-12)
    elif name not in laws.BIASED_LEARNERS:
        np.testing.assert_allclose(solution.x.params, np.broadcast_to(params, (8, 3)), atol=1e-11)
    else:
        # The bias of DGD is proportional to its step.
        assert 1e-4 < np.abs(np.asarray(solution.x.params) - params).max() < 0.5


@each_method
@given(seed=st.integers(0, 2**31 - 1), quantizer=st.sampled_from(laws.QUANTIZERS))
@settings(max_examples=10, deadline=None)
def test_node_sums_are_conserved_for_random_gradients_and_graphs(name, seed, quantizer):
    random = np.random.default_rng(seed)
    num_nodes = 9
    weights = np.triu(
        random.uniform(size=(num_nodes, num_nodes)) * (random.uniform(size=(num_nodes, num_nodes)) < 0.4), 1
    )
    network = cojax.Dense(weights=jnp.asarray((weights + weights.T) / 8), link=cojax.Quantized(quantizer))
    method = method_of(name)
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
        allowed = 3 * num_nodes * 2.0**-52 if name in laws.APPROXIMATE_ALLOCATORS else 0
        assert laws.exact_imbalance(method.query(state).cpu, float(num_nodes)) <= allowed
        wire = network.link.tell(method.message(state, after), wire, network)


@each_method
def test_permuting_the_nodes_permutes_the_run(name):
    problem, _, start = setting()
    order = np.random.default_rng(3).permutation(laws.NUM_NODES)
    graph = laws.ring_with_chords()
    method = method_of(name)
    plain = cojax.solve(problem, cojax.network(graph, nodelist=range(8)), method, start, num_steps=30, every=30)
    moved_problem = cojax.Problem(laws.cost, laws.permuted(problem.data, order), budget=16.0)
    network = cojax.network(graph, nodelist=[int(node) for node in order])
    moved = cojax.solve(moved_problem, network, method, laws.permuted(start, order), num_steps=30, every=30)
    # Momentum on the shares is rounded in another order too.
    roundoff = 1e-13 if name in laws.APPROXIMATE_ALLOCATORS else 0
    np.testing.assert_allclose(moved.x.cpu, plain.x.cpu[order], rtol=0, atol=roundoff)
    # Sums over neighbours run in another order: rounding, nothing more.
    np.testing.assert_allclose(moved.x.params, plain.x.params[order], rtol=1e-12, atol=1e-13)


@each_method
def test_layouts_agree(name):
    problem, _, start = setting()
    link = cojax.Quantized(cojax.LogQuantizer(0.125))
    runs = []
    for layout in ("dense", "neighbors"):  # test_networks.py and test_acceptance.py compare them all
        network = cojax.Lossy(cojax.network(laws.switching_graphs(), layout=layout, link=link), 0.3, key=5)
        runs.append(cojax.solve(problem, network, method_of(name), start, num_steps=40, every=40).x)
    roundoff = 1e-13 if name in laws.APPROXIMATE_ALLOCATORS else 0
    np.testing.assert_allclose(runs[1].cpu, runs[0].cpu, rtol=0, atol=roundoff)
    # A quantizer may send a last-bit difference to the next level, so only a few steps are compared so closely.
    np.testing.assert_allclose(runs[1].params, runs[0].params, rtol=1e-10, atol=1e-12)


@each_method
def test_three_step_sizes_trace_once(name):
    problem, network, start = setting()
    method = method_of(name)
    traces, first = [], 0

    def counting(problem, x, state):
        traces.append(1)
        return x.cpu[0]

    for factor in (1.0, 0.5, 0.25):
        scaled = jax.tree.map(lambda leaf, factor=factor: leaf * factor, method)
        cojax.solve(problem, network, scaled, start, num_steps=4, every=2, record=counting)
        first = first if factor < 1.0 else len(traces)
    assert len(traces) == first > 0


@each_method
def test_the_dtypes_of_both_halves_are_kept(name):
    problem = laws.quadratic(dtype=np.float32)
    start = laws.start_of(problem)

    def mixed(x, data):
        return laws.cost(x._replace(params=x.params.astype(jnp.float32)), data)

    problem = cojax.Problem(mixed, problem.data, budget=problem.budget)
    network = cojax.network(laws.ring_with_chords(), link=cojax.Quantized(cojax.LogQuantizer(0.1)))

    def end(start):
        return cojax.solve(problem, network, method_of(name), start, num_steps=2, every=2).x

    # A dtype that neither shares nor data have. Traced only: dtypes need no run, and the scan refuses a state that
    # changes its own.
    x = jax.eval_shape(end, start._replace(params=start.params.astype(jnp.bfloat16)))
    assert x.params.dtype == jnp.bfloat16 and x.params.shape == start.params.shape
    assert x.cpu.dtype == jnp.float32 and x.cpu.shape == start.cpu.shape


@each_method
def test_gradients_are_finite_differences(name):
    problem, network, start = setting()
    weights, rebuild = network.weights, lambda weights: eqx.tree_at(lambda net: net.weights, network, weights)

    def final_cost(inputs):
        method, weights, data, budget, params = inputs
        problem = cojax.Problem(laws.cost, data, budget)
        run = cojax.solve(problem, rebuild(weights), method, problem.start(params), num_steps=12, every=4)
        return run.trace.cost.sum()

    inputs = (method_of(name), weights, problem.data, problem.budget, start.params)
    flat, unravel = jax.flatten_util.ravel_pytree(inputs)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=flat.shape))
    run = jax.jit(lambda step: jax.jvp(lambda step: final_cost(unravel(flat + step * direction)), (step,), (1.0,)))
    # Large enough for the grid (2**-43) to be invisible: error h**2 + grid / h.
    h = 1e-5
    slope = (run(h)[0] - run(-h)[0]) / (2 * h)
    reverse = jnp.vdot(jax.grad(lambda flat: final_cost(unravel(flat)))(flat), direction)
    forward = run(0.0)[1]
    np.testing.assert_allclose(reverse, slope, rtol=1e-6)
    np.testing.assert_allclose(forward, slope, rtol=1e-6)


@each_state
def test_a_resumed_run_is_the_whole_run_bit_for_bit(name):
    problem, _, start = setting()
    link = cojax.Quantized(cojax.LogQuantizer(0.1))
    network = cojax.Lossy(cojax.network(laws.switching_graphs(), link=link), 0.2, key=1)
    method = method_of(name)
    begin = cojax.init(problem, network, method, start)
    whole = cojax.solve(problem, network, method, begin, num_steps=20, every=5)
    first = cojax.solve(problem, network, method, begin, num_steps=10, every=5)
    rest = cojax.solve(problem, network, method, first.state, num_steps=10, every=5)
    jax.tree.map(np.testing.assert_array_equal, rest.state, whole.state)
    np.testing.assert_array_equal(jnp.concatenate([first.trace.cost, rest.trace.cost]), whole.trace.cost)


@each_state
def test_a_batch_of_methods_is_the_runs_one_by_one(name):
    problem, network, start = setting()
    method = method_of(name)
    factors = jnp.asarray([1.0, 0.5])

    def run(factor):
        scaled = jax.tree.map(lambda leaf: leaf * factor, method)
        return cojax.solve(problem, network, scaled, start, num_steps=30, every=30).x

    batch = jax.vmap(run)(factors)
    for row, factor in enumerate(factors):
        jax.tree.map(
            lambda many, one, row=row: np.testing.assert_allclose(many[row], one, rtol=1e-12, atol=1e-13),
            batch,
            run(factor),
        )
