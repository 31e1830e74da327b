"""A proved rate is that of gradient descent where all agree at once, and no run is slower than it."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax.theory.semidefinite import Inequalities

CONVEX, SMOOTH = 0.1, 1.0
N = 6
COMPLETE = cojax.network(np.full((N, N), 1 / N) - np.eye(N) / N)


def rate(method, network):
    return cojax.theory.worst_rate(method, network, convexity=CONVEX, smoothness=SMOOTH)


@pytest.mark.parametrize("step", [0.2, 0.5, 1.0, 1.6, 1.9])
def test_where_all_agree_in_one_step_it_is_the_rate_of_gradient_descent(step):
    descent = max(abs(1 - step * CONVEX), abs(1 - step * SMOOTH))
    assert rate(cojax.ExactDiffusion(step), COMPLETE).rate == pytest.approx(max(descent, 0.5), abs=2e-4)


def test_what_diverges_is_not_proved():
    assert rate(cojax.ExactDiffusion(2.01), COMPLETE).rate == np.inf
    assert rate(cojax.DIGing(0.1), cojax.network(laws.switching_graphs())).rate == np.inf  # each is disconnected


def hessians(random):
    """Curvatures of all nodes between both ends, which they reach, in turned axes."""
    found = []
    for _ in range(N):
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        found.append(turn @ np.diag(random.choice([CONVEX, SMOOTH], 3)) @ turn.T)
    return np.array(found)


def cost(x, data):
    hessian, target = data
    away = x.params - target
    return 0.5 * away @ hessian @ away


@pytest.mark.parametrize(
    "method", [cojax.DIGing(0.05), cojax.ATCTracking(0.3), cojax.NIDS(0.5)], ids=lambda m: type(m).__name__
)
def test_no_drawn_run_is_slower_than_its_bound(method):
    random = np.random.default_rng(0)
    weights = np.full((N, N), 0.8 / N) * (1 - np.eye(N))  # mixing 0.2, whatever the order of the nodes
    graphs = []
    for _ in range(4):
        noise = random.normal(size=(N, N))
        noise = noise + noise.T
        graphs.append(weights + 0.02 * (noise - np.diag(np.diag(noise))))
    network = cojax.network(np.abs(np.array(graphs)), layout="dense")
    found = rate(method, network)
    assert found.rate < 1
    spectrum = [np.linalg.eigvalsh(matrix.toarray()) for matrix in cojax.theory.laplacians(network)]
    assert found.mixing == pytest.approx(max(max(abs(1 - s[1]), abs(1 - s[-1])) for s in spectrum), rel=1e-9)
    for _ in range(5):
        data = (hessians(random), random.normal(size=(N, 3)))
        problem = cojax.Problem(cost, data)
        start = problem.start(jnp.asarray(random.normal(size=(N, 3))))
        ran = cojax.solve(
            problem, network, cojax.CoOpt(learn=method), start, num_steps=400, record=cojax.records.decision
        )
        best = np.linalg.solve(data[0].sum(0), np.einsum("nij,nj->i", *data))
        error = np.linalg.norm(np.asarray(ran.trace.params) - best, axis=(1, 2))
        seen = (error[100:] > 1e-12).sum() + 99
        assert (error[seen] / error[50]) ** (1 / (seen - 50)) < found.rate + 1e-3


class OwnState(NamedTuple):
    params: Any
    slack: Any


class Own(cojax.Method):
    """Gradient tracking, written down by a user."""

    step_size: float = 0.05
    kept: ClassVar = ("slack",)

    def init(self, x, grad):
        return OwnState(x, jax.tree.map(jnp.zeros_like, x))

    def message(self, state, grad):
        return state.params, jax.tree.map(jnp.add, state.slack, grad)

    def update(self, state, grad, flow):
        def move(y, s, g, f):
            return y + f - self.step_size * (s + g)

        params = jax.tree.map(move, state.params, state.slack, grad, flow[0])
        return OwnState(params, jax.tree.map(jnp.add, state.slack, flow[1]))

    def query(self, state):
        return state.params


def test_a_method_of_ones_own_has_the_rate_of_the_one_that_it_is():
    network = cojax.network(cojax.graphs.named("exponential", 12))
    ours, theirs = rate(Own(), network), rate(cojax.DIGing(0.05), network)
    assert ours.rate == theirs.rate < 1
    assert rate(cojax.CoOpt(learn=Own()), network).rate == ours.rate


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (cojax.DGD(0.1), "worst_rate needs a method that can rest at the optimum, got DGD"),
        (cojax.DIGing(jnp.linspace(0.1, 0.2, N)), "worst_rate needs a learner with one number for each of its fields"),
        (cojax.FiniteTime(0.05), "worst_rate needs a"),
        (cojax.Scheduled(cojax.NIDS(0.1), {"step_size": [0.1, 9.0]}), "learner whose numbers stay, got Scheduled"),
    ],
)
def test_what_has_no_worst_rate_is_refused(method, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        rate(method, COMPLETE)


def test_what_sees_no_gradients_is_refused():
    refused = pytest.raises(cojax.CojaxInputError, match="worst_rate needs a learner that follows gradients, got Hold")
    with jax.numpy_dtype_promotion("standard"), refused:  # as users have it
        rate(cojax.Hold(), COMPLETE)


def test_numbers_that_cannot_be_are_refused():
    for numbers, message in (
        ({"convexity": 0.0, "smoothness": 1.0}, "worst_rate needs convexity > 0, got 0"),
        ({"convexity": 1.0, "smoothness": 0.5}, "worst_rate needs smoothness >= 1, got 0.5"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            cojax.theory.worst_rate(cojax.DIGing(0.1), COMPLETE, **numbers)


def test_where_all_agree_in_one_step_the_best_proved_step_is_that_of_gradient_descent():
    """Of gradient descent: steps below 2 / L, the best 2 / (L + m), with the rate (L - m) / (L + m)."""
    found = cojax.theory.proved_steps(cojax.ExactDiffusion(0.1), COMPLETE, convexity=CONVEX, smoothness=SMOOTH)
    assert found.limit == pytest.approx(2 / SMOOTH, rel=2e-3)
    assert found.best == pytest.approx(2 / (SMOOTH + CONVEX), rel=1e-2)
    assert found.rate == pytest.approx((SMOOTH - CONVEX) / (SMOOTH + CONVEX), abs=2e-3)


def test_proved_steps_are_proved_and_smaller_where_graphs_mix_slowly():
    ring = cojax.network(cojax.graphs.named("ring", N))
    fast, slow = (
        cojax.theory.proved_steps(cojax.CoOpt(learn=cojax.DIGing(1.0)), net, convexity=CONVEX, smoothness=SMOOTH)
        for net in (COMPLETE, ring)
    )
    assert 0 < slow.limit < fast.limit
    assert slow.rate > fast.rate
    assert rate(cojax.DIGing(0.99 * slow.limit), ring).rate < 1
    assert rate(cojax.DIGing(1.02 * slow.limit), ring).rate == np.inf
    for step in (0.5 * slow.best, 2 * slow.best):
        assert rate(cojax.DIGing(step), ring).rate >= slow.rate - 2e-4


def test_where_nothing_is_proved_no_step_is():
    found = cojax.theory.proved_steps(
        cojax.DIGing(0.1), cojax.network(laws.switching_graphs()), convexity=CONVEX, smoothness=SMOOTH
    )
    assert found == (0.0, 0.0, 1.0)
    with pytest.raises(cojax.CojaxInputError, match="step_size"):
        cojax.theory.proved_steps(cojax.Hold(), COMPLETE, convexity=CONVEX, smoothness=SMOOTH)


RING = cojax.network(cojax.graphs.named("ring", 16))


@pytest.mark.parametrize("step", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("kind", [cojax.NIDS, cojax.LEAD])
def test_on_slow_graphs_nids_is_as_fast_as_a_proof_by_hand(kind, step):
    """With h = y - a g, M = 2 L^-1: |y+|^2 + a^2 |D+|_M^2 <= |h|^2 + a^2 |D|_(M - I)^2, by h = y+ + a D+ squared, where

    y+ = a (M - I) (D+ - D). So the square falls by max((1 - a m)^2, (1 - a L)^2, 1 - lambda_2 / 2): the first two are
    those of a gradient step, |h| of |y|; the third is |D|_(M - I)^2 of |D|_M^2.
    """
    by_hand = max((1 - step * CONVEX) ** 2, (1 - step * SMOOTH) ** 2, 1 - cojax.theory.spectrum(RING).lambda_2 / 2)
    assert rate(kind(step), RING).rate < np.sqrt(by_hand) + 1e-4 < 1


def test_one_graph_that_stands_is_never_slower_than_graphs_that_change():
    random = np.random.default_rng(3)
    kinds = (cojax.NIDS, cojax.EXTRA, cojax.ATCTracking, lambda a: cojax.DIGing(a / 4), lambda a: cojax.LEAD(a, 0.5))
    faster = 0
    for draw in range(20):
        weights = np.triu(random.uniform(0.02, 0.3, (N, N)), 1)
        weights = weights + weights.T
        method = kinds[draw % len(kinds)](float(random.uniform(0.05, 0.8)))
        stands = rate(method, cojax.network(weights, layout="dense")).rate
        changes = rate(method, cojax.network(np.stack([weights, weights]), layout="dense")).rate
        assert stands < changes + 1e-4
        faster += stands < changes - 1e-3
    assert faster > 0


def test_what_is_proved_does_not_depend_on_units():
    """Of costs in thousandths with steps a thousand times as long, and of weights that mixing makes up for."""
    weights = np.full((N, N), 0.7 / N) * (1 - np.eye(N))
    heavy, light = cojax.network(20 * weights), cojax.network(weights)
    ours = rate(cojax.DIGing(0.1, mixing=1.0), light).rate
    theirs = cojax.theory.worst_rate(
        cojax.DIGing(0.1 / 4000, mixing=1 / 20), heavy, convexity=4000 * CONVEX, smoothness=4000 * SMOOTH
    ).rate
    assert theirs == pytest.approx(ours, abs=2e-4) and ours < 1


@pytest.mark.parametrize(
    ("method", "network"),
    [
        (cojax.NIDS(1.6), RING),
        (cojax.DIGing(0.1), RING),
        (cojax.APAPC(0.8, 0.5, gain=0.6, convexity=CONVEX), RING),
        (cojax.TrackingMomentum(0.1, 0.3), RING),
        (cojax.EXTRA(0.9), RING),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_run_over_costs_that_bend_is_slower(method, network):
    """Each side of a node's optimum, and of a place beside it, has a curvature of its own: not quadratic at all."""
    random = np.random.default_rng(0)
    size = network.num_nodes
    proved = rate(method, network).rate
    assert proved < 1

    def bent(x, data):
        low, high, place, slope = data
        left, right = jnp.minimum(x.params - place, 0.0), jnp.maximum(x.params - place, 0.0)
        return (low * left**2 + high * right**2) / 2 + slope * x.params

    for _ in range(4):
        sides = random.choice([CONVEX, SMOOTH], (2, size))
        slope = random.normal(size=size)
        slope -= slope.mean()
        # With slopes that sum to zero the optimum is where the other parts do; bisection finds it.
        place = random.normal(size=size) * random.choice([1e-2, 1.0])
        low, high, middle = -10.0, 10.0, 0.0
        for _ in range(100):
            middle = (low + high) / 2
            pull = np.where(middle < place, sides[0], sides[1]) @ (middle - place)
            low, high = (low, middle) if pull > 0 else (middle, high)
        problem = cojax.Problem(bent, (*sides, place, slope))
        start = problem.start(jnp.asarray(random.normal(size=size)))
        ran = cojax.solve(
            problem, network, cojax.CoOpt(learn=method), start, num_steps=600, record=cojax.records.decision
        )
        error = np.linalg.norm(np.asarray(ran.trace.params) - middle, axis=1)
        last = int(np.argmax(error < 1e-10)) or len(error) - 1
        first = last // 3
        assert (error[last] / error[first]) ** (1 / (last - first)) < proved + 2e-3


def test_where_links_fail_or_point_one_way_nothing_is_proved():
    assert rate(cojax.DIGing(0.05), cojax.Lossy(COMPLETE, 0.1, jax.random.key(0))).rate == np.inf
    circle = nx.cycle_graph(N, create_using=nx.DiGraph)
    with pytest.raises(cojax.CojaxInputError, match="worst_rate needs an undirected network, got a"):
        rate(cojax.DIGing(0.05), cojax.network(circle))


class Claimed(Own):
    """Says of its params that they sum to zero, which they do not."""

    kept: ClassVar = ("params", "slack")


def test_sums_that_are_not_kept_are_refused():
    with pytest.raises(cojax.CojaxInputError, match="worst_rate needs sums over nodes that start at zero"):
        rate(Claimed(), COMPLETE)


def test_programs_are_met_where_a_matrix_is_stable_and_nowhere_else():
    """P > A'PA for some P > 0 if and only if the eigenvalues of A are within the unit circle."""
    random = np.random.default_rng(0)
    for radius in (0.5, 0.95, 0.999, 1.001, 1.1):
        for _ in range(5):
            matrix = random.normal(size=(4, 4))
            matrix *= radius / np.abs(np.linalg.eigvals(matrix)).max()
            program = Inequalities(10)
            weight = program.symmetric(4)
            program.positive(weight)
            program.positive(weight - matrix.T @ weight @ matrix)
            assert program.is_met() == (radius < 1)


class Clipped(Own):
    """Linear near the optimum alone."""

    def update(self, state, grad, flow):
        return super().update(state, jax.tree.map(lambda g: jnp.clip(g, -10.0, 10.0), grad), flow)


def test_what_is_linear_only_for_small_gradients_is_refused():
    with pytest.raises(cojax.CojaxInputError, match="worst_rate needs a method that is linear"):
        rate(Clipped(), COMPLETE)
