"""A proved rate is that of gradient descent where all agree at once, and no run is slower than it."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax

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
    ],
)
def test_what_has_no_worst_rate_is_refused(method, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        rate(method, COMPLETE)


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
