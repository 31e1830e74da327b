"""Every rival reproduces one figure that is known about it: a published recursion, a rate, a fixed point, a bias."""

import itertools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax import rivals
from cojax.networks.laws import Power, Powers
from cojax.optimum.allocations import allocate

STEP = 0.08
PROBLEM = laws.quadratic()
START = laws.start_of(PROBLEM)
ROOTS, TARGETS, CURVATURE, DEMAND = (np.asarray(leaf) for leaf in PROBLEM.data)
HESSIANS = np.einsum("nij,nik->njk", ROOTS, ROOTS)
PULLS = np.einsum("nij,ni->nj", ROOTS, TARGETS)
NETWORK = cojax.network(laws.ring_with_chords(), layout="dense")
LAPLACIAN = np.diag(NETWORK.weights.sum(1)) - np.asarray(NETWORK.weights)
MIX = np.eye(8) - LAPLACIAN


def slope(y):
    """The gradient of every node's part of the model."""
    return np.einsum("nij,nj->ni", HESSIANS, y) - PULLS


def learned(method, num_steps, network=NETWORK):
    """The params after so many steps: 40 in most tests, for every other number is another program."""
    length = dict(num_steps=num_steps, every=num_steps, record=laws.nothing)
    return np.asarray(cojax.solve(PROBLEM, network, cojax.CoOpt(learn=method), START, **length).x.params)


def dgd(y, num_steps):
    for _ in range(num_steps):
        y = MIX @ y - STEP * slope(y)
    return y


def extra(y, num_steps):
    before, y = y, MIX @ y - STEP * slope(y)
    for _ in range(num_steps - 1):
        mixed = (before + MIX @ before) / 2
        before, y = y, y + MIX @ y - mixed - STEP * (slope(y) - slope(before))
    return y


def nids(y, num_steps):
    half = (np.eye(8) + MIX) / 2
    before, y = y, half @ (y - STEP * slope(y))
    for _ in range(num_steps - 1):
        before, y = y, half @ (2 * y - before - STEP * (slope(y) - slope(before)))
    return y


def exact_diffusion(y, num_steps):
    psi = y
    for _ in range(num_steps):
        before, psi = psi, y - STEP * slope(y)
        y = (np.eye(8) + MIX) / 2 @ (psi + y - before)
    return y


def atc_tracking(y, num_steps):
    z = slope(y)
    for _ in range(num_steps):
        before, y = y, MIX @ (y - STEP * z)
        z = MIX @ z + slope(y) - slope(before)
    return y


def tracking_momentum(y, num_steps):
    z, before = slope(y), y
    for _ in range(num_steps):
        before, y = y, MIX @ y - STEP * z + 0.3 * (y - before)
        z = MIX @ z + slope(y) - slope(before)
    return y


def quantized(u):
    return np.where(u == 0, 0, np.sign(u) * np.exp(0.5 * np.round(np.log(np.abs(np.where(u == 0, 1, u))) / 0.5)))


def choco(y, num_steps):
    heard = np.zeros_like(y)
    for _ in range(num_steps):
        v = y - STEP * slope(y)
        heard = heard + quantized(v - heard)
        y = v - 0.7 * LAPLACIAN @ heard
    return y


def lead(x, num_steps):
    memory, dual = np.zeros_like(x), np.zeros_like(x)
    for _ in range(num_steps):
        gradient = slope(x)
        heard = memory + quantized(x - STEP * gradient - STEP * dual - memory)
        memory = heard
        dual = dual + 0.7 / (2 * STEP) * LAPLACIAN @ heard
        x = x - STEP * gradient - STEP * dual
    return x


def apapc(x, num_steps):
    """Algorithm 2 of arXiv 2006.11773 with W = L, theta = gain / eta, tau = 0.6, alpha = 0.1; returns x_g."""
    ahead, dual, c = x, np.zeros_like(x), 1 / (1 + STEP * 0.1)
    for _ in range(num_steps):
        at = 0.6 * x + 0.4 * ahead
        pull = slope(at) - 0.1 * at
        half = c * (x - STEP * (pull + dual))
        dual = dual + 0.5 / STEP * LAPLACIAN @ half
        before, x = x, c * (x - STEP * (pull + dual))
        ahead = at + 2 * 0.6 / (2 - 0.6) * (x - before)
    return 0.6 * x + 0.4 * ahead


def compressed_tracking(y, num_steps):
    z, heard_y, heard_z = slope(y), np.zeros_like(y), np.zeros_like(y)
    for _ in range(num_steps):
        heard_y, heard_z = heard_y + quantized(y - heard_y), heard_z + quantized(z - heard_z)
        before, y = y, y - 0.7 * LAPLACIAN @ heard_y - STEP * z
        z = z - 0.7 * LAPLACIAN @ heard_z + slope(y) - slope(before)
    return y


COMPRESSED = cojax.Dense(weights=NETWORK.weights, link=cojax.Innovation(cojax.LogQuantizer(0.5)))
RECURSIONS = {
    "DGD": (cojax.DGD(STEP), dgd, NETWORK),
    "EXTRA": (cojax.EXTRA(STEP), extra, NETWORK),
    "NIDS": (cojax.NIDS(STEP), nids, NETWORK),
    "ExactDiffusion": (cojax.ExactDiffusion(STEP), exact_diffusion, NETWORK),
    "ATCTracking": (cojax.ATCTracking(STEP), atc_tracking, NETWORK),
    "TrackingMomentum": (cojax.TrackingMomentum(STEP, 0.3), tracking_momentum, NETWORK),
    "Choco": (cojax.Choco(STEP, gain=0.7), choco, COMPRESSED),
    "LEAD": (cojax.LEAD(STEP, gain=0.7), lead, COMPRESSED),
    "APAPC": (cojax.APAPC(STEP, 0.6, 0.5, 0.1), apapc, NETWORK),
    "C-GT": (cojax.DIGing(STEP, mixing=0.7), compressed_tracking, COMPRESSED),
}


@pytest.mark.parametrize("name", RECURSIONS)
def test_the_iterates_are_those_of_the_published_recursion(name):
    method, published, network = RECURSIONS[name]
    # Rounding, over 40 steps, of numbers of size one.
    np.testing.assert_allclose(learned(method, 40, network), published(np.asarray(START.params), 40), atol=1e-12)


def test_nids_exact_diffusion_and_lead_with_gain_one_are_one_method():
    runs = [learned(method, 40) for method in (cojax.NIDS(STEP), cojax.ExactDiffusion(STEP), cojax.LEAD(STEP))]
    np.testing.assert_allclose(runs[1], runs[0], atol=1e-12)
    np.testing.assert_allclose(runs[2], runs[0], atol=1e-12)


def test_nids_takes_steps_close_to_two_over_the_curvature_where_extra_and_tracking_diverge():
    smoothness = np.linalg.eigvalsh(HESSIANS)[:, -1].max()
    params, _, _ = laws.optimum(PROBLEM)
    step_size = 1.9 / smoothness
    np.testing.assert_allclose(learned(cojax.NIDS(step_size), 3000), np.broadcast_to(params, (8, 3)), atol=1e-11)
    for method in (cojax.EXTRA(step_size), cojax.DIGing(step_size)):
        far = np.abs(learned(method, 3000)).max()
        assert np.isnan(far) or far > 1e3


def test_apapc_without_momentum_is_nids():
    runs = [learned(method, 40) for method in (cojax.NIDS(STEP), cojax.APAPC(STEP, 1.0))]
    np.testing.assert_allclose(runs[1], runs[0], atol=1e-12)


def test_apapc_needs_the_root_of_the_rounds_of_nids_where_costs_are_ill_conditioned():
    """One Hessian with curvatures 1 and 1/400 over a complete graph: NIDS gains 1 - 1/400 a step, this 1 - 1/20."""
    data = (np.broadcast_to(np.diag([1.0, 0.05, 0.05]), (8, 3, 3)), TARGETS[:, :3], CURVATURE, DEMAND)
    problem = cojax.Problem(laws.cost, data, budget=16.0)
    network = cojax.network(nx.complete_graph(8))
    best = TARGETS[:, :3].mean(0) / np.asarray([1.0, 0.05, 0.05])

    def off(method, num_steps):
        length = dict(num_steps=num_steps, every=num_steps, record=laws.nothing)
        run = cojax.solve(problem, network, cojax.CoOpt(learn=method), START, **length)
        return np.abs(np.asarray(run.x.params) - best).max()

    fast, plain = (cojax.tuned(kind, problem, network, START) for kind in (cojax.APAPC, cojax.NIDS))
    assert float(fast.blend) == pytest.approx(1 / 20, rel=0.01)
    # The proved rate 1 - min(1 / (2 root(kappa chi)), ..) a step in the square of the distance, from a distance of 60.
    assert off(fast, 600) < 1e-4 < 1e-1 < off(plain, 600)


def test_lead_and_compressed_tracking_are_exact_over_coarse_links():
    params, _, _ = laws.optimum(PROBLEM)
    for name in ("LEAD", "C-GT"):
        method, _, network = RECURSIONS[name]
        np.testing.assert_allclose(learned(method, 4000, network), np.broadcast_to(params, (8, 3)), atol=1e-11)


@pytest.mark.parametrize("name", ["DGD", "Choco"])
def test_the_bias_is_the_published_fixed_point(name):
    """DGD ends where (I - W) y + a g(y) = 0, diffusion where y = W (y - a g(y)): a linear system each."""
    mix = np.kron(MIX, np.eye(3))
    hessian = STEP * jax.scipy.linalg.block_diag(*HESSIANS)
    pull = STEP * PULLS.ravel()
    if name == "DGD":
        expected = np.linalg.solve(np.eye(24) - mix + hessian, pull)
    else:
        expected = np.linalg.solve(np.eye(24) - mix @ (np.eye(24) - hessian), mix @ pull)
    method = cojax.DGD(STEP) if name == "DGD" else cojax.Choco(STEP)
    np.testing.assert_allclose(learned(method, 3000).ravel(), expected, atol=1e-12)


def test_tracking_that_adapts_first_is_centralised_descent_where_all_nodes_are_averaged():
    average = cojax.Dense(weights=jnp.full((8, 8), 1 / 8) - jnp.eye(8) / 8)
    y = np.asarray(START.params) - STEP * slope(np.asarray(START.params))
    y = y.mean(0)
    for _ in range(39):
        y = y - STEP * slope(np.broadcast_to(y, (8, 3))).mean(0)
    np.testing.assert_allclose(learned(cojax.ATCTracking(STEP), 40, average), np.broadcast_to(y, (8, 3)), atol=1e-12)


def test_tracking_with_momentum_moves_the_mean_as_heavy_ball_where_all_hessians_are_one():
    hessian_root = np.diag([1.0, 2.0, 0.5])
    data = (np.broadcast_to(hessian_root, (8, 3, 3)), TARGETS[:, :3], CURVATURE, DEMAND)
    problem = cojax.Problem(laws.cost, data, budget=16.0)
    method = cojax.CoOpt(learn=cojax.TrackingMomentum(STEP, 0.6))
    run = cojax.solve(problem, NETWORK, method, START, num_steps=50, every=50, record=laws.nothing)
    before = y = np.asarray(START.params).mean(0)
    for _ in range(50):
        gradient = hessian_root @ (hessian_root @ y - TARGETS[:, :3].mean(0))
        before, y = y, y - STEP * gradient + 0.6 * (y - before)
    np.testing.assert_allclose(run.x.params.mean(0), y, atol=1e-12)


def test_local_steps_on_a_complete_graph_are_federated_averaging_and_end_at_its_bias():
    """The mean over nodes of (I - a H)^local (x - c) + c is x, c the local optima: FedAvg's drifted fixed point."""
    local = 4
    average = cojax.Dense(weights=jnp.full((8, 8), 1 / 8) - jnp.eye(8) / 8)
    network = cojax.Intermittent(average, every=local)
    # A multiple of `local`, plus the step that averages.
    found = learned(cojax.Choco(STEP), 500 * local + 1, network)
    shrunk = np.stack([np.eye(3) - np.linalg.matrix_power(np.eye(3) - STEP * own, local) for own in HESSIANS])
    wanted = np.einsum("nij,nj->i", shrunk, np.linalg.solve(HESSIANS, PULLS[..., None])[..., 0])
    expected = np.linalg.solve(shrunk.sum(0), wanted)
    np.testing.assert_allclose(found, np.broadcast_to(expected, (8, 3)), atol=1e-12)
    params, _, _ = laws.optimum(PROBLEM)
    assert np.abs(expected - params).max() > 1e-3


def test_tracking_with_local_steps_is_exact_and_talks_only_when_it_should():
    network = cojax.Intermittent(cojax.network(laws.ring_with_chords()), every=3)
    method = cojax.CoOpt(learn=cojax.DIGing(0.02), allocate=cojax.Laplacian(0.3))
    run = cojax.solve(PROBLEM, network, method, START, num_steps=9000, every=3)
    params, cpu, _ = laws.optimum(PROBLEM)
    np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=1e-11)
    np.testing.assert_allclose(run.x.cpu, cpu, atol=1e-12)
    assert run.state.imbalance == 0.0
    # Told at the start and before every third step: 7 numbers of 64 bits each.
    np.testing.assert_array_equal(np.diff(run.trace.bits, prepend=7 * 64), np.full(3000, 7 * 64))


def test_a_network_that_talks_at_every_step_is_the_network():
    method = cojax.CoOpt(learn=cojax.LEAD(STEP, 0.7), allocate=cojax.Laplacian(0.2))
    runs = [
        cojax.solve(PROBLEM, network, method, START, num_steps=20, every=20)
        for network in (COMPRESSED, cojax.Intermittent(COMPRESSED, every=1))
    ]
    jax.tree.map(np.testing.assert_array_equal, runs[1].x, runs[0].x)
    with pytest.raises(cojax.CojaxInputError, match="Intermittent needs a whole number every >= 1, got 0"):
        cojax.Intermittent(COMPRESSED, every=0)


def arcs_of(num_nodes=8):
    """A strongly connected digraph, one arc (receiver, sender) a column, far from balanced."""
    pairs = {((i + 1) % num_nodes, i) for i in range(num_nodes)} | {(0, 3), (0, 5), (0, 6), (2, 0), (6, 1), (7, 3)}
    return np.asarray(sorted(pairs)).T


ARCS = cojax.weights.directed(8, arcs_of())
ROW = np.eye(8) - np.diag(ARCS.sum(1)) + ARCS
COLUMN = np.eye(8) - np.diag(ARCS.sum(0)) + ARCS


def push_diging(u, num_steps):
    y, z, v = u, slope(u), np.ones((8, 1))
    for _ in range(num_steps):
        u, v = COLUMN @ (u - STEP * z), COLUMN @ v
        before, y = y, u / v
        z = COLUMN @ z + slope(y) - slope(before)
    return y


def push_pull(y, num_steps):
    z = slope(y)
    for _ in range(num_steps):
        before, y = y, ROW @ y - STEP * z
        z = COLUMN @ z + slope(y) - slope(before)
    return y


@pytest.mark.parametrize(("method", "published"), [(cojax.PushDIGing, push_diging), (cojax.PushPull, push_pull)])
def test_methods_for_unbalanced_digraphs_are_the_published_ones_and_exact(method, published):
    network = cojax.Directed(weights=jnp.asarray(ARCS))
    np.testing.assert_allclose(learned(method(STEP), 40, network), published(np.asarray(START.params), 40), atol=1e-12)
    params, _, _ = laws.optimum(PROBLEM)
    np.testing.assert_allclose(learned(method(0.02), 8000, network), np.broadcast_to(params, (8, 3)), atol=1e-11)


def test_the_weight_of_push_sum_ends_at_the_perron_vector():
    method = cojax.CoOpt(learn=cojax.PushDIGing(STEP))
    run = cojax.solve(
        PROBLEM, cojax.Directed(weights=jnp.asarray(ARCS)), method, START, num_steps=400, every=400, record=laws.nothing
    )
    values, vectors = np.linalg.eig(COLUMN)
    perron = np.real(vectors[:, np.argmax(np.real(values))])
    np.testing.assert_allclose(run.state.method.learn.weight, 8 * perron / perron.sum(), atol=1e-12)
    assert np.ptp(perron / perron.sum()) > 0.05


def test_on_symmetric_networks_push_diging_is_atc_tracking_and_push_pull_is_diging():
    for directed, plain in ((cojax.PushDIGing, cojax.ATCTracking), (cojax.PushPull, cojax.DIGing)):
        np.testing.assert_allclose(learned(directed(STEP), 40), learned(plain(STEP), 40), atol=1e-12)


def test_an_unbalanced_network_refuses_what_needs_balance():
    network = cojax.Directed(weights=jnp.asarray(ARCS))
    for method in (cojax.CoOpt(learn=cojax.DIGing(0.1)), cojax.CoOpt(allocate=cojax.Laplacian(0.1))):
        with pytest.raises(cojax.CojaxInputError, match="needs a method that pushes or pulls, got the law"):
            cojax.solve(PROBLEM, network, method, START, num_steps=1)
    with pytest.raises(cojax.CojaxInputError, match="sum to less than 1 over every row and column, got"):
        cojax.Directed(weights=jnp.asarray(1.5 * (np.ones((2, 2)) - np.eye(2))))


# Allocators


def allocated(method, num_steps, network=NETWORK):
    length = dict(num_steps=num_steps, every=num_steps, record=laws.nothing)
    return cojax.solve(PROBLEM, network, cojax.CoOpt(allocate=method), START, **length)


def price(x):
    return CURVATURE * (x - DEMAND)


def heavy_ball(x, num_steps):
    before = x
    for _ in range(num_steps):
        before, x = x, x - 0.2 * LAPLACIAN @ price(x) + 0.5 * (x - before)
    return x


def nesterov(y, num_steps):
    x = y
    for _ in range(num_steps):
        before, x = x, y - 0.2 * LAPLACIAN @ price(y)
        y = x + 0.5 * (x - before)
    return y


@pytest.mark.parametrize(
    ("method", "published"),
    [
        (cojax.HeavyBall(0.2, 0.5), heavy_ball),
        (cojax.MomentumFlow(0.2, 0.5), heavy_ball),
        (cojax.Nesterov(0.2, 0.5), nesterov),
    ],
)
def test_the_shares_are_those_of_the_published_recursion(method, published):
    # The grid moves every transfer by up to 2**-49.
    np.testing.assert_allclose(allocated(method, 40).x.cpu, published(np.asarray(START.cpu), 40), atol=1e-12)


def test_nesterov_gains_one_minus_one_over_the_root_of_the_condition_a_step():
    problem = cojax.Problem(lambda x, d: 0.5 * (x.cpu - d) ** 2, DEMAND, budget=16.0)
    network = cojax.network(nx.cycle_graph(40), layout="dense")
    demand = np.random.default_rng(0).uniform(0.0, 4.0, 40)
    problem = cojax.Problem(lambda x, d: 0.5 * (x.cpu - d) ** 2, demand, budget=80.0)
    spectrum = np.linalg.eigvalsh(np.diag(network.weights.sum(1)) - np.asarray(network.weights))
    root = np.sqrt(spectrum[1] / spectrum[-1])
    method = cojax.CoOpt(allocate=cojax.Nesterov(1 / spectrum[-1], (1 - root) / (1 + root)))
    best = demand + (80.0 - demand.sum()) / 40

    def error(problem, x, state):
        return jnp.max(jnp.abs(x.cpu - best))

    errors = cojax.solve(problem, network, method, problem.start(), num_steps=300, every=100, record=error).trace
    # A double root: the error is (c + k) (1 - root)**k, k = 200 and 300, so that c in [0, 100] leaves 0.7 % a step.
    measured = float(errors[2] / errors[1]) ** 0.01
    assert 0 <= measured / (1 - root) - 1 < 0.007


PAIR = nx.path_graph(2)


def parabola(x, curvature):
    return 0.5 * curvature * x.cpu**2


def pair_of(difference, curvature=1.0):
    """Two nodes of one curvature, one edge of weight 1/2, whose marginal costs start at this distance."""
    problem = cojax.Problem(parabola, np.full(2, curvature), budget=0.0)
    half = difference / curvature / 2
    return problem, cojax.network(PAIR), problem.start(cpu=jnp.asarray([half, -half]))


def gaps(problem, x, state):
    return state.grad.cpu[0] - state.grad.cpu[1]


@pytest.mark.parametrize("power", [0.25, *(pytest.param(power, marks=pytest.mark.exhaustive) for power in (0.5, 0.75))])
def test_finite_time_ends_in_the_cycle_that_its_step_sets(power):
    problem, network, start = pair_of(1.0, curvature=2.0)
    method = cojax.CoOpt(allocate=cojax.FiniteTime(0.1, power))
    trace = cojax.solve(problem, network, method, start, num_steps=2000, record=gaps).trace
    swing = (2.0 * 0.1 * 0.5) ** (1 / (1 - power))
    # The grid of shares of size one is 2**-49.
    np.testing.assert_allclose(np.abs(trace[-2:]), swing, rtol=1e-9)
    assert trace[-1] * trace[-2] < 0


def test_finite_time_gets_there_at_the_time_of_the_continuous_flow():
    problem, network, start = pair_of(1.0)
    method = cojax.CoOpt(allocate=cojax.FiniteTime(1e-3))
    trace = np.abs(cojax.solve(problem, network, method, start, num_steps=3000, record=gaps).trace)
    # e' = -2 c w e**0.5 from e = 1 is at 0 after 1 / (2 c w 0.5) = 2; Euler's method is off by the order of its step.
    assert abs(np.argmax(trace < 1e-5) * 1e-3 - 2.0) < 0.02


def test_fixed_time_gets_there_within_its_bound_from_however_far():
    method = cojax.CoOpt(allocate=cojax.FixedTime(1e-3))
    times = []
    for difference in (1.0, 1e2, 1e4):
        problem, network, start = pair_of(difference)
        trace = np.abs(cojax.solve(problem, network, method, start, num_steps=5000, record=gaps).trace)
        times.append(np.argmax(trace < 1e-5) * 1e-3)
    bound = (1 / (1 - 0.5) + 1 / (1.5 - 1)) / (2 * 0.5)
    assert times[0] < times[1] < times[2] < bound
    # From infinity the sum of both laws takes pi / (2 c w): d(sqrt e) = -(1 + e) / 2 dt.
    assert times[2] == pytest.approx(np.pi - 2 * np.arctan(1 / 100.0), rel=0.02)


def test_a_saturated_edge_moves_its_level_and_no_more_and_then_is_linear():
    problem, network, start = pair_of(10.0)
    method = cojax.CoOpt(allocate=cojax.Saturated(0.5, level=1.0))
    trace = cojax.solve(problem, network, method, start, num_steps=40, record=gaps).trace
    # 2 c step w = 0.5 of the difference moves: half of the level while it is beyond the level, then half of itself.
    expected = np.concatenate([10 - 0.5 * np.arange(1, 19), 0.5 ** np.arange(1, 23)])
    np.testing.assert_allclose(trace, expected, atol=1e-12)


def test_single_bit_ends_within_one_transfer_and_half_the_step_halves_it():
    bands = []
    for step_size in (0.1, 0.05):
        problem, network, start = pair_of(1.03)
        method = cojax.CoOpt(allocate=cojax.SingleBit(step_size))
        trace = cojax.solve(problem, network, method, start, num_steps=400, record=gaps).trace
        bands.append(np.abs(trace[-100:]).max())
        assert bands[-1] <= 2 * step_size * 0.5
    assert bands[1] < 0.8 * bands[0]


@pytest.mark.parametrize(
    ("method", "dtype", "layouts"),
    [
        (cojax.FixedTime(0.02, 0.3125, 1.6875), np.float32, ("dense", "edges")),
        (cojax.FixedTime(0.02, 0.3125, 1.6875), np.float64, ("neighbors",)),
        (cojax.Nesterov(0.2, 0.5), np.float32, ("neighbors",)),
        (cojax.Nesterov(0.2, 0.5), np.float64, ("edges", "split")),
    ],
)
def test_the_total_is_exact_at_each_of_4_000_steps(method, dtype, layouts):
    problem = laws.quadratic(dtype=dtype)
    start, shares, length = laws.start_of(problem), [], dict(num_steps=4_000, every=4_000, record=laws.nothing)
    for layout in layouts:
        network = cojax.Lossy(cojax.network(laws.switching_graphs(), layout=layout), 0.3, key=4)
        run = cojax.solve(problem, network, cojax.CoOpt(allocate=method), start, **length)
        assert float(run.state.imbalance) == 0.0
        shares.append(run.x.cpu)
    for others in shares[1:]:
        np.testing.assert_array_equal(others, shares[0])


def test_momentum_on_the_shares_keeps_the_total_to_rounding_that_is_forgotten():
    run = allocated(cojax.MomentumFlow(0.2, 0.5), 5_000)
    # A few last bits of 4 in one of the steps on the way; at rest what lags behind is 0.
    assert 0 < float(run.state.imbalance) < 1e-14
    assert laws.exact_imbalance(run.x.cpu, 16.0) < 1e-15


def test_a_power_is_made_of_roots_and_products():
    differences = np.concatenate([np.linspace(-9, 9, 37), [1e-12, -1e8]])
    for exponent in (1 / 16, 0.3125, 0.5, 1.0, 1.5, 2.9375):
        expected = np.sign(differences) * np.abs(differences) ** exponent
        np.testing.assert_allclose(Power(exponent)(jnp.asarray(differences)), expected, rtol=1e-14)
    both = np.sign(differences) * (np.abs(differences) ** 0.25 + np.abs(differences) ** 1.75)
    np.testing.assert_allclose(Powers(0.25, 1.75)(jnp.asarray(differences)), both, rtol=1e-14)


def test_derivatives_of_the_laws_are_finite_at_zero():
    for odd in (Power(0.5), Powers(0.5, 1.5), cojax.networks.laws.Clip(1.0), cojax.networks.laws.Sign()):
        slopes = jax.vmap(jax.grad(odd))(jnp.asarray([0.0, 0.25, -2.0]))
        assert np.isfinite(slopes).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: cojax.FiniteTime(0.1, 0.3), "multiple of 1/16, got 0.3: only square roots and products are sure "),
        (lambda: cojax.FiniteTime(0.1, -0.5), "Power needs exponent > 0, got -0.5"),
        (lambda: cojax.FiniteTime(0.1, 1.5), "FiniteTime needs power < 1, got 1.5"),
        (lambda: cojax.FixedTime(0.1, 1.5, 2.0), "Powers needs low < 1, got 1.5"),
        (lambda: cojax.Saturated(0.1, 0.0), "Clip needs level > 0, got 0"),
        (lambda: cojax.EventTriggered(-1.0), "EventTriggered needs threshold >= 0, got -1"),
        (lambda: cojax.EventTriggered(1.0, 1.1), "EventTriggered needs decay > 0 and decay <= 1, got 1.1"),
    ],
)
def test_a_law_that_could_not_work_is_refused(build, message):
    with pytest.raises(cojax.CojaxInputError) as error:
        build()
    assert message in str(error.value)


def test_a_digraph_refuses_a_law_of_the_difference():
    network = cojax.network(nx.DiGraph([(i, (i + 1) % 8) for i in range(8)]))
    with pytest.raises(cojax.CojaxInputError, match="A digraph moves what every node sends, got the law Sign"):
        allocated(cojax.SingleBit(0.1), 1, network)


# Links


def test_events_are_exact_where_the_threshold_decays_and_send_less():
    spectrum = np.linalg.eigvals(np.eye(8) - 0.3 * LAPLACIAN * CURVATURE[None])
    rate = np.sort(np.abs(spectrum))[-2]
    network = cojax.Dense(weights=NETWORK.weights, link=cojax.EventTriggered(0.5, rate**0.8))
    run = allocated(cojax.Laplacian(0.3), 1000, network)
    _, cpu, _ = laws.optimum(PROBLEM)
    np.testing.assert_allclose(run.x.cpu, cpu, atol=1e-11)
    assert run.state.imbalance == 0.0
    assert float(run.state.wire.bits) < 0.5 * 64 * 1001


def test_events_with_a_constant_threshold_stop_within_it():
    network = cojax.Dense(weights=NETWORK.weights, link=cojax.EventTriggered(0.01))
    run = allocated(cojax.Laplacian(0.3), 2000, network)
    # What is heard is within 0.01 of what is, and at rest what is heard is equal everywhere, up to one more event.
    assert 1e-6 < np.ptp(np.asarray(run.state.grad.cpu)) <= 2 * 0.01
    silent = allocated(cojax.Laplacian(0.3), 2001, network).state.wire.bits - run.state.wire.bits
    assert float(silent) <= 64


def test_events_without_a_threshold_are_the_ideal_link():
    network = cojax.Dense(weights=NETWORK.weights, link=cojax.EventTriggered(0.0))
    runs = [allocated(cojax.Laplacian(0.3), 30, net) for net in (network, NETWORK)]
    np.testing.assert_array_equal(runs[0].x.cpu, runs[1].x.cpu)
    with pytest.raises(cojax.CojaxInputError, match="EventTriggered needs a fixed network without loss"):
        cojax.Lossy(network, 0.1)


def test_every_method_has_its_own_docstring_and_source():
    own = [name for name in (*laws.LEARNERS, *laws.ALLOCATORS) if name != "Scheduled"]  # it wraps another
    for first, second in itertools.combinations(own, 2):
        docs = [getattr(cojax, name).__doc__ for name in (first, second)]
        assert docs[0] != docs[1] and all("Source: " in doc for doc in docs)


# Rivals that need a local minimiser, a capacity or tokens: loops of their own


def utilisation(capacity):
    return np.asarray(capacity, float) * 16.0 / float(capacity.sum())


def test_ratio_consensus_ends_at_equal_utilisation():
    capacity = jnp.asarray(np.random.default_rng(3).uniform(1, 4, 8))
    trace = rivals.equal_utilisation(PROBLEM, NETWORK, START, capacity, 400, 0.0, 7)
    np.testing.assert_allclose(trace[-1], utilisation(capacity), atol=1e-12)
    # On the way the shares do not sum to the budget.
    assert np.abs(trace[:5].sum(1) - 16).max() > 0.1


def stopped_by_hand(capacity, epsilon, window, num_steps):
    """Ratio consensus in NumPy until all ratios at the start of a window are within epsilon, seen when it ends."""
    p, q, trace, at_start = np.asarray(START.cpu), capacity, [], np.asarray(START.cpu) / capacity
    for k in range(num_steps):
        p, q = MIX @ p, MIX @ q
        trace.append(capacity * p / q)
        if k % window == window - 1:
            if np.ptp(at_start) <= epsilon:
                break
            at_start = p / q
    return np.stack([*trace, *[trace[-1]] * (num_steps - len(trace))]), len(trace)


def test_ratio_consensus_stops_at_every_node_once_extremes_agree():
    capacity = np.random.default_rng(3).uniform(1, 4, 8)
    # On this ring with chords news reaches all 8 nodes in 4 rounds.
    expected, rounds = stopped_by_hand(capacity, 1e-3, 4, 100)
    trace = rivals.equal_utilisation(PROBLEM, NETWORK, START, jnp.asarray(capacity), 100, 1e-3, 4)
    assert 8 < rounds < 90
    np.testing.assert_allclose(trace, expected, atol=1e-13)  # rounding of 100 averages


def test_token_averaging_ends_in_finite_time_within_one_unit_of_equal_utilisation():
    capacity = jnp.asarray(np.random.default_rng(3).integers(1, 5, 8))
    trace = rivals.token_averaging(
        PROBLEM, NETWORK, START, capacity, int(capacity.sum()), 600, 2.0**-8, jax.random.key(0)
    )
    off = np.abs(np.asarray(trace) - utilisation(capacity)) / np.asarray(capacity)
    # Rounding the start to units moves the utilisation by less than a unit, too.
    assert off[-200:].max() <= 2 * 2.0**-8 < off[0].max()


def test_dual_methods_end_at_the_optimum_and_at_the_budget_only_there():
    _, cpu, _ = laws.optimum(PROBLEM)
    traces = {
        "admm": rivals.dual_consensus_admm(PROBLEM, NETWORK, START, 0.3, 400),
        "tracking": rivals.dual_gradient_tracking(PROBLEM, NETWORK, START, 0.1, 1000),
        "mirror": rivals.mirror_extra(PROBLEM, NETWORK, START, 0.3, 1000),
    }
    for trace in traces.values():
        np.testing.assert_allclose(trace[-1], cpu, atol=1e-10)
        assert np.abs(trace.sum(1) - 16).max() > 0.05


def mirrored(price, num_steps):
    x, half = DEMAND + price / CURVATURE, (np.eye(8) + MIX) / 2
    before, price = price, MIX @ price - 0.3 * (x - 2.0)
    for _ in range(num_steps - 1):
        last, x = x, DEMAND + price / CURVATURE
        before, price = price, price + MIX @ price - half @ before - 0.3 * (x - last)
    return DEMAND + price / CURVATURE


def dual_tracking(price, num_steps):
    x = DEMAND + price / CURVATURE
    excess = x - 2.0
    for _ in range(num_steps):
        price = MIX @ price - 0.1 * excess
        last, x = x, DEMAND + price / CURVATURE
        excess = MIX @ excess + x - last
    return x


def dual_admm(num_steps):
    linked = np.asarray(rivals.adjacency(NETWORK), float)
    degree, price, dual = linked.sum(1), np.zeros(8), np.zeros(8)
    for _ in range(num_steps):
        pull = degree * price + linked @ price - dual / 0.3
        weight = 1 / (2 * 0.3 * degree)
        x = (CURVATURE * DEMAND + weight * (2.0 - 0.3 * pull)) / (CURVATURE + weight)
        price = (pull + (x - 2.0) / 0.3) / (2 * degree)
        dual = dual + 0.3 * (degree * price - linked @ price)
    return x


def test_dual_iterates_are_those_of_the_published_recursions():
    first = price(np.asarray(START.cpu))
    for trace, published in (
        (rivals.mirror_extra(PROBLEM, NETWORK, START, 0.3, 30), mirrored(first, 30)),
        (rivals.dual_gradient_tracking(PROBLEM, NETWORK, START, 0.1, 30), dual_tracking(first, 30)),
        (rivals.dual_consensus_admm(PROBLEM, NETWORK, START, 0.3, 30), dual_admm(30)),
    ):
        np.testing.assert_allclose(trace[-1], published, atol=1e-11)


def test_dual_methods_keep_to_hard_bounds():
    problem = cojax.Problem(laws.cost, PROBLEM.data, budget=16.0, lower=1.0, upper=2.5)
    best = allocate(problem, START.params).cpu
    start = problem.start(params=START.params)
    trace = rivals.dual_consensus_admm(problem, NETWORK, start, 0.3, 1500)
    assert trace.min() >= 1.0 and trace.max() <= 2.5
    np.testing.assert_allclose(trace[-1], best, atol=1e-9)


def test_the_barrier_method_stays_inside_and_ends_within_its_gap():
    problem = cojax.Problem(laws.cost, PROBLEM.data, budget=16.0, lower=1.0, upper=3.0)
    best = allocate(problem, START.params).cpu
    start = problem.start(params=START.params)
    trace = rivals.barrier_method(problem, NETWORK, start, 0.01, 4000, 0.1)
    assert np.isfinite(trace).all() and trace.min() > 1.0 and trace.max() < 3.0
    gap = float((problem.costs(start._replace(cpu=trace[-1])) - problem.costs(start._replace(cpu=best))).sum())
    assert 0 < gap <= 2 * 8 * 0.1


def test_the_barrier_method_holds_sum_and_bounds_and_lowers_its_cost_from_close_to_a_bound():
    problem = cojax.Problem(laws.cost, PROBLEM.data, budget=16.0, lower=1.0, upper=3.0)
    cpu = jnp.asarray([2.99, 1.01] * 4)
    start = problem.start(params=START.params, cpu=cpu)
    # About the limit of the costs alone, while the barrier curves by a thousand at the start.
    trace = np.asarray(rivals.barrier_method(problem, NETWORK, start, 1.0, 300, 0.1))
    assert trace.min() > 1.0 and trace.max() < 3.0
    np.testing.assert_allclose(trace.sum(1), 16.0, atol=1e-12)
    logs = np.log(3 - trace) + np.log(trace - 1)
    whole = (CURVATURE / 2 * (trace - DEMAND) ** 2 - 0.1 * logs).sum(1)
    even = (CURVATURE / 2 * (2 - DEMAND) ** 2).sum()
    # To rounding of a sum of about 10; it stays at the optimum at the end.
    assert (np.diff(whole) <= 1e-14 * whole[0]).all() and whole[-1] < even


def test_decentralised_admm_is_exact_and_its_steps_solve_its_equations():
    params, _, _ = laws.optimum(PROBLEM)
    trace = np.asarray(rivals.d_admm(PROBLEM, NETWORK, START, 0.2, 400))
    np.testing.assert_allclose(trace[-1], np.broadcast_to(params, (8, 3)), atol=1e-11)
    linked = np.asarray(rivals.adjacency(NETWORK), float)
    degree, y = linked.sum(1)[:, None], np.asarray(START.params)
    right = 0.2 * (degree * y + linked @ y)
    np.testing.assert_allclose(slope(trace[0]) + 2 * 0.2 * degree * trace[0], right, atol=1e-12)


def test_quantized_descent_is_centralised_descent_up_to_a_unit_a_step():
    unit, rounds, step_size = 2.0**-12, 150, 0.2
    trace = np.asarray(
        rivals.quantized_descent(PROBLEM, NETWORK, START, step_size, 12 * rounds, rounds, unit, jax.random.key(0))
    )[rounds - 1 :: rounds]
    y, off = np.asarray(START.params), 0.0
    for after in trace:
        y = np.broadcast_to((y - step_size * slope(y)).mean(0), y.shape)
        off += 2 * unit  # the rounding before and the tokens after; descent itself brings two runs closer
        assert np.abs(after - y).max() <= off


def test_quantized_descent_ends_within_the_order_of_a_unit_and_finer_units_end_closer():
    params, _, _ = laws.optimum(PROBLEM)
    ends = []
    for unit in (2.0**-6, 2.0**-10):
        trace = rivals.quantized_descent(PROBLEM, NETWORK, START, 0.3, 40 * 150, 150, unit, jax.random.key(1))
        ends.append(np.abs(np.asarray(trace[-1]) - params).max())
        low = np.linalg.eigvalsh(HESSIANS.mean(0))[0]
        assert ends[-1] <= 2 * unit * np.sqrt(3) / (0.3 * low) + 0.7**40 * 10
    assert ends[1] < ends[0] / 4


def bounded():
    problem = cojax.Problem(laws.cost, PROBLEM.data, budget=16.0, lower=0.0, upper=8.0)
    return problem, problem.start(params=START.params)


@pytest.mark.parametrize("name", [*rivals.LEARNERS, *rivals.ALLOCATORS])
def test_a_rival_with_computed_numbers_gets_closer(name):
    problem, start = bounded()
    rival = rivals.rival(name, problem, NETWORK, start)
    decided = np.asarray(rival.run(problem, NETWORK, start, 400))
    params, cpu, _ = laws.optimum(problem)
    capacity = utilisation(np.full(8, 8.0))
    goal = params if rival.half == "learn" else capacity if "utilisation" in name or "token" in name else cpu
    if name == "barrier_method":  # the others take bounds as the problem has them, soft; one share is beyond its bound
        goal = allocate(problem, start.params).cpu
    # A token of 1/8 of a node's capacity, a descent of a few rounded steps; the others are exact or biased by epsilon.
    first = np.asarray(start.params if rival.half == "learn" else problem.start().cpu)
    assert np.isfinite(decided).all() and rival.bits > 0
    assert np.abs(decided[-1] - goal).max() <= max(0.1 * np.abs(first - goal).max(), 0.05)


def test_a_rival_that_cannot_run_is_refused_with_the_reason():
    problem, start = bounded()
    changing = cojax.Lossy(NETWORK, 0.1)
    for arguments, message in (
        (("newton", problem, NETWORK, start), "rival knows d_admm, quantized_descent, equal_utilisation"),
        (("d_admm", problem, changing, start), "d_admm needs a fixed network without loss, got one that changes"),
        (("d_admm", problem, NETWORK, problem.start()), r"d_admm needs params of shape \(n, d\), one array, got none"),
        (("equal_utilisation", PROBLEM, NETWORK, START), "needs upper bounds > 0"),
        (("barrier_method", PROBLEM, NETWORK, START), "barrier_method stays between bounds, and needs both"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            rivals.rival(*arguments)
