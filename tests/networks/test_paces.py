"""Nodes that act at their own pace hear what a simulation of events says they hear, and keep every total."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simpy
from support import laws

import cojax

N, DIM, STEPS = 6, 2, 40


def simulated(linked, period, lag, steps):
    """The number of the newest message of j that i has heard after every tick, by SimPy; -1 for none.

    period: (n,), ticks of a node's work; lag: (n, n), of what i tells j. A message has the tick of its telling.
    """
    env = simpy.Environment()
    n = len(period)
    mail = [[[] for _ in range(n)] for _ in range(n)]
    heard = np.full((steps, n, n), -1)
    newest = np.full((n, n), -1)

    def travel(i, j, told):
        yield env.timeout(lag[i, j])
        mail[j][i].append(told)

    def tell(i):
        for j in np.flatnonzero(linked[i]):
            env.process(travel(i, int(j), int(env.now)))

    def node(i):
        tell(i)
        while True:
            yield env.timeout(period[i])
            yield env.timeout(0)  # what arrives in this tick is there
            yield env.timeout(0)
            for j in range(n):
                newest[i, j] = max([newest[i, j], *mail[i][j]])
            tell(i)

    def watch():
        for tick in range(steps):
            yield env.timeout(1 if tick else 1.5)  # between two ticks
            heard[tick] = newest

    for i in range(n):
        env.process(node(i))
    env.process(watch())
    env.run(until=steps + 1)
    return heard


def heard(problem, x, state):
    return state.wire.books.news, state.elapsed.seconds.max(), x.params


def drawn(seed):
    """A problem, a graph, and a clock in seconds."""
    random = np.random.default_rng(seed)
    graph = cojax.graphs.named("erdos_renyi", N, seed=seed, probability=0.6)
    data = (np.eye(DIM)[None].repeat(N, 0), random.normal(size=(N, DIM)), np.ones(N), random.uniform(2.0, 4.0, N))
    problem = cojax.Problem(laws.cost, data, budget=3.0 * N)
    latency = random.uniform(0.0, 1.0, (N, N))
    clock = {
        "work": random.uniform(0.3, 4.0, N),
        "speed": random.uniform(0.5, 2.0, N),
        "share": random.uniform(0.5, 2.0, N),
        "latency": (latency + latency.T) / 2,
        "bandwidth": 400.0,
    }
    return problem, graph, clock


METHOD = cojax.CoOpt(cojax.DIGing(0.01), cojax.Laplacian(0.01))


def test_what_nodes_hear_is_what_a_simulation_of_events_says():
    tick, bits = 0.25, 100
    run = jax.jit(
        lambda problem, network, start: cojax.solve(problem, network, METHOD, start, num_steps=STEPS, record=heard)
    )
    for seed in range(100):
        problem, graph, clock = drawn(seed)
        # The slowest node and the latest link are the same in half of them: the memory of messages has two lengths.
        power, slowest = clock["speed"] * clock["share"], 4.0 if seed % 2 else 8.0
        clock["work"] = np.where(np.arange(N) == seed % N, slowest, np.minimum(clock["work"] / power, slowest)) * power
        clock["latency"][0, 1] = clock["latency"][1, 0] = 1.0
        network = cojax.Asynchronous(cojax.network(graph, layout="dense"), cojax.Clock(**clock), tick, bits)
        news, seconds, params = run(problem, network, problem.start(jnp.zeros((N, DIM)))).trace
        work = clock["work"] / (clock["speed"] * clock["share"])
        period = np.maximum(np.ceil(work / tick), 1).astype(int)
        lag = np.maximum(np.ceil((clock["latency"] + bits / clock["bandwidth"]) / tick), 1).astype(int)
        linked = np.asarray(network.at(0).bare().weights) != 0
        wanted = simulated(linked, period, lag, STEPS)
        np.testing.assert_array_equal(np.where(linked, news, -1), wanted, err_msg=str(seed))
        np.testing.assert_allclose(seconds, tick * np.arange(1, STEPS + 1), rtol=1e-12)
        moved = np.any(np.diff(np.concatenate([np.zeros((1, N, DIM)), params]), axis=0) != 0, axis=-1)
        acts = np.arange(1, STEPS + 1)[:, None] % period == 0
        assert not moved[~acts].any()
        assert moved[acts].mean() > 0.9


@pytest.mark.parametrize("link", [cojax.Ideal(), cojax.Quantized(cojax.LogQuantizer(0.1))])
def test_the_total_is_exact_and_the_optimum_is_reached(link):
    problem, graph, clock = drawn(3)
    network = cojax.Asynchronous(cojax.network(graph, link=link), cojax.Clock(**clock), 0.25, 100)
    start = problem.start(jnp.zeros((N, DIM)))
    solution = cojax.solve(problem, network, METHOD, start, num_steps=20_000, every=200)
    assert float(solution.state.imbalance) == 0
    best = cojax.reference(problem, jnp.zeros(DIM))
    if isinstance(link, cojax.Ideal):
        np.testing.assert_allclose(solution.x.params, np.broadcast_to(best.params, (N, DIM)), atol=1e-6)
        np.testing.assert_allclose(solution.x.cpu, best.x.cpu, atol=1e-3)
    with_loss = cojax.Crashing(cojax.LossyOneWay(cojax.Delayed(network, 2), 0.2), [1], [50], [400])
    solution = cojax.solve(problem, with_loss, METHOD, start, num_steps=2000, every=200)
    assert float(solution.state.imbalance) == 0
    assert np.isfinite(solution.x.cpu).all()


def test_with_one_pace_it_is_the_network_that_keeps_books():
    """Every node in every tick, every message in the next: a Ledger, bit for bit, and its bits."""
    problem, graph, _ = drawn(5)
    plain = cojax.network(graph)
    start = problem.start(jnp.zeros((N, DIM)))
    slow = cojax.Asynchronous(plain, cojax.Clock(work=0.2, share=1.0, latency=0.1), 0.25)
    one, other = (
        cojax.solve(problem, net, METHOD, start, num_steps=50, every=50) for net in (slow, cojax.Ledger(plain))
    )
    np.testing.assert_array_equal(one.x.params, other.x.params)
    np.testing.assert_array_equal(one.x.cpu, other.x.cpu)
    assert float(one.trace.bits[-1]) == float(other.trace.bits[-1])


def test_bits_are_those_of_who_acts():
    problem, graph, _ = drawn(5)
    plain = cojax.network(graph)
    start = problem.start(jnp.zeros((N, DIM)))
    every, half = (
        cojax.Asynchronous(plain, cojax.Clock(work=jnp.full(N, work), share=1.0), 0.25) for work in (0.25, 0.5)
    )
    bits = [
        np.diff(np.asarray(cojax.solve(problem, net, METHOD, start, num_steps=40, every=2).trace.bits)).tolist()
        for net in (every, half)
    ]
    np.testing.assert_allclose(bits[1], np.array(bits[0]) / 2)


def test_a_deadline_ends_a_run():
    problem, graph, clock = drawn(1)
    network = cojax.Asynchronous(cojax.network(graph), cojax.Clock(**clock), 0.5)
    start = problem.start(jnp.zeros((N, DIM)))
    ran = cojax.solve_to(problem, network, METHOD, start, tolerance=1e-9, max_steps=1000, every=10, deadline=50.0)
    assert cojax.Status(int(ran.status)) is cojax.Status.OUT_OF_TIME
    assert float(ran.trace.seconds[-1]) == 50.0


def linked(link):
    return cojax.network(cojax.graphs.named("ring", 4), link=link)


NETWORK = linked(cojax.Ideal())
CLOCK = cojax.Clock(work=1.0, share=2.0, latency=0.1)
REFUSED = {
    "tick > 0": (NETWORK, CLOCK, 0.0, 0.0),
    "bits >= 0": (NETWORK, CLOCK, 0.1, -1.0),
    "a clock with a share": (NETWORK, cojax.Clock(work=1.0), 0.1, 0.0),
    "without a clock": (cojax.Timed(NETWORK, CLOCK), CLOCK, 0.1, 0.0),
    "tables by step": (NETWORK, cojax.Clock(work=1.0, share=1.0, latency=np.zeros((2, 4, 4))), 0.1, 0.0),
    "of 4 nodes": (NETWORK, cojax.Clock(work=np.ones(3), share=1.0), 0.1, 0.0),
    "at most 1000 ticks": (NETWORK, cojax.Clock(work=1.0, share=1.0), 1e-6, 0.0),
    "got Innovation": (linked(cojax.Innovation(cojax.AdaptiveQuantizer(4), memory="edge")), CLOCK, 0.1, 0.0),
    "got ErrorFeedback": (linked(cojax.ErrorFeedback(cojax.TopK(1))), CLOCK, 0.1, 0.0),
    "nobody waits": (NETWORK, dataclasses.replace(CLOCK, barrier="all"), 0.1, 0.0),
}


@pytest.mark.parametrize("match", REFUSED)
def test_what_has_no_pace_is_refused(match):
    with pytest.raises(cojax.CojaxInputError, match=match):
        cojax.Asynchronous(*REFUSED[match])


def test_a_network_that_has_ticks_is_given_no_other_clock():
    network = cojax.Lossy(cojax.Asynchronous(NETWORK, CLOCK, 0.1), 0.1)
    with pytest.raises(cojax.CojaxInputError, match="Timed needs a network whose nodes wait for each other"):
        cojax.Timed(network, CLOCK)


def test_rounds_that_nobody_waits_for_have_no_theory():
    network = cojax.Asynchronous(NETWORK, CLOCK, 0.1)
    for ask in (cojax.theory.round_time, cojax.theory.slowest_chain):
        with pytest.raises(cojax.CojaxInputError, match="wait for each other"):
            ask(network, bits=1.0, **({} if ask is cojax.theory.round_time else {"num_steps": 3}))
