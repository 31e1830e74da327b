"""A method that decides one half is refused in the place of the other, before anything runs; a user's own is not."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax

PROBLEM = laws.quadratic()
NETWORK = cojax.network(nx.cycle_graph(laws.NUM_NODES))
START = laws.start_of(PROBLEM)
SCHEDULED = cojax.Scheduled(cojax.DGD(0.05), {"step_size": [0.05, 0.02]})


class OwnShares(cojax.Method):
    """A flow of shares by a linear law, as a user types it: their sum is kept to rounding."""

    step_size: float = 0.1

    def init(self, x, grad):
        return x

    def message(self, state, grad):
        return grad

    def update(self, state, grad, flow):
        return state + self.step_size * flow

    def query(self, state):
        return state


class OwnBoth(cojax.Method):
    """One method for both halves: gradient descent on models, a flow of shares."""

    step_size: float = 0.05

    def init(self, x, grad):
        return x

    def message(self, state, grad):
        return cojax.Decision(state.params, grad.cpu)

    def update(self, state, grad, flow):
        params = state.params + flow.params - self.step_size * grad.params
        return cojax.Decision(params, state.cpu + self.step_size * flow.cpu)

    def query(self, state):
        return state


class OwnDGD(cojax.DGD):
    """A known learner made into an allocator: what is known of its base class is not true of it."""

    def message(self, state, grad):
        return grad

    def update(self, state, grad, flow):
        return state + self.step_size * flow


def sentence(call):
    with pytest.raises(cojax.CojaxInputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("learner", [*laws.LEARNERS.values(), SCHEDULED], ids=lambda method: type(method).__name__)
def test_a_learner_is_refused_for_the_shares(learner):
    name = "DGD" if learner is SCHEDULED else type(learner).__name__
    for call in (lambda: cojax.CoOpt(allocate=learner), lambda: cojax.CoOpt(learner, learner)):
        assert sentence(call).startswith(f"CoOpt needs a method such as Laplacian(0.1) for the cpu, got {name}, which")
    said = sentence(lambda: cojax.solve(PROBLEM, NETWORK, learner, START, num_steps=1))
    assert said.startswith(f"solve needs a method such as Laplacian(0.1) for the cpu, got {name}, which")
    best = cojax.Reference(START, None, None, None, None, None)
    again = sentence(lambda: cojax.compare(PROBLEM, NETWORK, {"one": learner}, START, optimum=best, num_steps=1))
    assert f"got {name}, which" in again


@pytest.mark.parametrize("allocator", laws.ALLOCATORS.values(), ids=laws.ALLOCATORS)
def test_an_allocator_is_refused_for_the_params(allocator):
    said = sentence(lambda: cojax.CoOpt(learn=allocator))
    assert said.startswith("CoOpt needs a method such as DIGing(0.05) for learn, got ") and "which moves cpu" in said


def test_a_pair_is_no_half_of_another_pair():
    pair = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.1))
    assert sentence(lambda: cojax.CoOpt(learn=pair)) == (
        "CoOpt needs a method of one half for learn, got a CoOpt; use its learn."
    )
    assert "for allocate, got a CoOpt; use its allocate." in sentence(lambda: cojax.CoOpt(allocate=pair))


@pytest.mark.parametrize(
    "method",
    [cojax.CoOpt(cojax.DGD(0.05), OwnShares()), OwnBoth(), cojax.CoOpt(OwnDGD(0.05), OwnDGD(0.1))],
    ids=["shares", "both", "subclass"],
)
def test_a_method_of_ones_own_is_taken_and_keeps_the_budget(method):
    run = cojax.solve(PROBLEM, NETWORK, method, START, num_steps=20)
    np.testing.assert_allclose(run.x.cpu.sum(), float(PROBLEM.budget), rtol=1e-12)


def test_a_learner_alone_is_taken_where_there_are_no_shares():
    features, targets, _, _ = PROBLEM.data
    fit = lambda x, data: 0.5 * jnp.sum((data[0] @ x.params - data[1]) ** 2)  # noqa: E731
    model = cojax.Problem(fit, (features, targets))
    start = model.start(jnp.zeros((laws.NUM_NODES, laws.DIM)))
    run = cojax.solve(model, NETWORK, cojax.DIGing(0.05, mixing=0.5), start, num_steps=6000, every=6000)
    rows, wanted = np.asarray(features).reshape(-1, laws.DIM), np.asarray(targets).ravel()
    best = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    np.testing.assert_allclose(run.x.params, np.broadcast_to(best, run.x.params.shape), atol=1e-8)


def test_modules_of_other_leaves_than_numbers_are_still_modules():
    link = cojax.Innovation((cojax.LogQuantizer(0.1), cojax.UniformQuantizer(0.1)))
    method = cojax.CoOpt(cojax.DIGing(0.05), cojax.Scheduled(cojax.Laplacian(0.1), {"step_size": [0.1, 0.2]}))
    for module in (link, method):
        empty = jax.tree.map(lambda _: None, module)
        assert jax.tree.leaves(empty) == [] and type(empty) is type(module)
        jax.eval_shape(lambda one: jax.tree.map(lambda leaf: leaf, one), module)

    def cost_after(step_size, rho):
        network = cojax.network(nx.cycle_graph(laws.NUM_NODES), link=cojax.Innovation(cojax.LogQuantizer(rho)))
        allocate = cojax.Scheduled(cojax.Laplacian(0.1), {"step_size": [step_size, 0.1]})
        run = cojax.solve(PROBLEM, network, cojax.CoOpt(cojax.DIGing(step_size), allocate), START, num_steps=3)
        return run.trace.cost[-1]

    steps, rhos = jnp.asarray([0.02, 0.05]), jnp.asarray([0.1, 0.2])
    one_by_one = [cost_after(step, rho) for step, rho in zip(steps, rhos, strict=True)]
    np.testing.assert_allclose(jax.vmap(cost_after)(steps, rhos), one_by_one, rtol=1e-12)
