"""Converged means certified: for every method and link, and a wrong answer that calls itself converged is caught."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import contract, laws

import cojax
from cojax.runs import loop

PROBLEM = laws.quadratic()
GRAPH = laws.ring_with_chords()
judged = jax.jit(cojax.certificate)
LINKS = {
    "ideal": cojax.Ideal(),
    "innovation": cojax.Innovation(cojax.LogQuantizer(0.5)),
    "quantized": cojax.Quantized(cojax.LogQuantizer(0.5)),
    "events": cojax.EventTriggered(1e-3, 0.99),
}


def ended(method, link="ideal"):
    network = cojax.network(GRAPH, link=LINKS[link])
    return cojax.solve(PROBLEM, network, method, laws.start_of(PROBLEM), num_steps=4000, every=20, record=laws.nothing)


def check(run):
    """The two tiers of a status against the whole certificate; the tolerance is that of `Status`, with its margin."""
    status, tolerance = cojax.Status(int(run.status)), float(jnp.finfo(float).eps) ** 0.5
    certificate = judged(PROBLEM, run.x)
    if status is cojax.Status.CONVERGED:
        assert cojax.is_certified(certificate, contract.MARGIN * tolerance)
    elif status is cojax.Status.CONVERGED_REDUCED:
        assert cojax.is_certified(certificate, contract.MARGIN * tolerance ** (2 / 3))
        assert not cojax.is_certified(certificate, tolerance / contract.MARGIN)
    else:
        assert not cojax.is_certified(certificate, tolerance)
    return status.name


# The others are watched like every run of every test.
@pytest.mark.parametrize("name", ["DGD", "Choco", "DIGing", "NIDS"])
def test_a_learner_is_called_converged_where_it_is_certified_and_only_there(name):
    found = check(ended(cojax.CoOpt(learn=laws.LEARNERS[name], allocate=cojax.Laplacian(0.3))))
    assert found == ("STALLED" if name in laws.BIASED_LEARNERS else "CONVERGED")


@pytest.mark.parametrize("name", ["HeavyBall", "MomentumFlow", "FiniteTime", "SingleBit"])
def test_an_allocator_is_called_converged_where_it_is_certified_and_only_there(name):
    found = check(ended(cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=laws.ALLOCATORS[name])))
    assert found == ("LIMIT_CYCLE" if name in laws.CHATTERING_ALLOCATORS else "CONVERGED")


@pytest.mark.parametrize(
    ("link", "step_size", "status"),
    [
        ("ideal", 0.0055, "CONVERGED_REDUCED"),  # slow: it is not there yet
        ("innovation", 0.05, "CONVERGED"),
        ("quantized", 0.05, "STALLED"),
        ("events", 0.05, "CONVERGED"),
    ],
)
def test_whatever_the_link_the_status_claims_no_more_than_the_certificate(link, step_size, status):
    assert check(ended(cojax.CoOpt(learn=cojax.DIGing(step_size), allocate=cojax.Laplacian(0.3)), link)) == status


def _optimum():
    params, cpu, _ = laws.optimum(PROBLEM)
    return PROBLEM.start(jnp.broadcast_to(params, (8, 3)), jnp.asarray(cpu))


MUTATIONS = {
    "one node's model": lambda x: x._replace(params=x.params.at[3, 1].add(1e-3)),
    "the model of all": lambda x: x._replace(params=x.params.at[:, 1].add(1e-3)),
    "an exchange of shares": lambda x: x._replace(cpu=x.cpu.at[2].add(1e-3).at[5].add(-1e-3)),
    "the total": lambda x: x._replace(cpu=x.cpu.at[2].add(1e-3)),
}


def test_the_optimum_breaks_no_promise():
    assert contract.broken(PROBLEM, _optimum()) == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_answer_that_is_off_by_a_thousandth_is_caught(name):
    x = MUTATIONS[name](_optimum())
    assert contract.broken(PROBLEM, x)
    assert not cojax.is_certified(judged(PROBLEM, x), 1e-6)


def test_a_solver_that_lies_about_its_status_fails_the_test_that_asked(monkeypatch):
    real = loop._run

    def lying(*arguments):
        return real(*arguments)._replace(status=jnp.asarray(cojax.Status.CONVERGED, jnp.int32))

    monkeypatch.setattr(loop, "_run", lying)
    with contract.watched(), pytest.raises(AssertionError, match="called converged, but consensus"):
        ended(cojax.CoOpt(learn=cojax.DIGing(0.2), allocate=cojax.Laplacian(0.3)))  # which diverges


def regression(seed, num_nodes=16, dim=3):
    """Least squares with noise beside quadratic costs of shares, and samples to draw from."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(num_nodes, 20, dim))
    targets = features @ np.arange(dim) + 0.1 * draw.normal(size=(num_nodes, 20))
    data = tuple(map(jnp.asarray, (features, targets, np.linspace(0.5, 2, num_nodes))))
    return cojax.Problem(regression_cost, data, budget=float(num_nodes))


def regression_cost(x, data):
    features, targets, price = data
    return jnp.mean((features @ x.params - targets) ** 2) + price * x.cpu**2


def samples_of(data):
    return data[:2]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["float", "uniform in turn", "log, lossy", "samples"])
def test_a_status_on_a_floor_does_not_depend_on_the_number_of_steps(seed, kind):
    problem = regression(seed)
    start = problem.start(params=jnp.zeros((16, 3)))
    link = {
        "float": cojax.Quantized(cojax.FloatQuantizer(4)),
        "uniform in turn": cojax.Quantized(cojax.UniformQuantizer(0.01)),
        "log, lossy": cojax.Quantized(cojax.LogQuantizer(1 / 8)),
        "samples": cojax.Ideal(),
    }[kind]
    turns = 3 if kind == "uniform in turn" else 1
    network = cojax.network([nx.erdos_renyi_graph(16, 0.3, seed=seed + turn) for turn in range(turns)], link=link)
    network = cojax.Lossy(network, 0.3) if kind == "log, lossy" else network
    told = cojax.Minibatch(problem, 2, samples=samples_of) if kind == "samples" else problem
    method = cojax.CoOpt(cojax.DIGing(0.02), cojax.Laplacian(0.1))
    runs = [cojax.solve(told, network, method, start, num_steps=k, every=20) for k in (2000, 5000, 10_000, 40_000)]
    assert {cojax.Status(int(run.status)).name for run in runs} == {"LIMIT_CYCLE" if kind == "samples" else "STALLED"}


@pytest.mark.parametrize("step_size", [1e-4, 1e-3])
def test_a_slow_run_is_not_called_stalled(step_size):
    problem = regression(3)
    start = problem.start(params=jnp.zeros((16, 3)))
    method = cojax.CoOpt(cojax.DIGing(step_size), cojax.Laplacian(0.01))
    run = cojax.solve(problem, cojax.network(nx.path_graph(16)), method, start, num_steps=640, every=20)
    assert cojax.Status(int(run.status)) is cojax.Status.OUT_OF_STEPS
    later = cojax.solve(problem, cojax.network(nx.path_graph(16)), method, run.state, num_steps=6400, every=20)
    assert float(later.state.progress.residual) < float(run.state.progress.residual) / 3
