"""Seconds are those of a simulation, event by event, that knows nothing of ours; and their derivatives are slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simpy
from support import laws

import cojax

N, DIM, STEPS = 6, 2, 12
MESSAGE = 2 * DIM + 1  # params, tracker and price
LINKS = {"ideal": (cojax.Ideal(), 64), "2 bits": (cojax.Innovation(cojax.AdaptiveQuantizer(2), memory="edge"), 2)}
METHOD = cojax.CoOpt(cojax.DIGing(0.02), cojax.Laplacian(0.02))


def simulated(graph_of_step, spent, delay, barrier):
    """When every node has told what it knows after each step, by SimPy: processes, messages and waiting.

    graph_of_step(k): (n, n) booleans; spent: (steps + 1, n), seconds of work; delay(k, i, j): of what i tells j.
    """
    env = simpy.Environment()
    steps, n = spent.shape
    arrived = {(k, i, j): env.event() for k in range(steps) for i in range(n) for j in range(n)}
    everybody = [env.event() for _ in range(steps)]
    ready = [0] * steps
    told = np.zeros((steps, n))

    def travel(k, i, j):
        yield env.timeout(delay(k, i, j))
        arrived[k, i, j].succeed()

    def node(i):
        for k in range(steps):
            yield env.timeout(spent[k, i])
            told[k, i] = env.now
            if k == steps - 1:
                return
            up = graph_of_step(k)
            for j in np.flatnonzero(up[i]):
                env.process(travel(k, i, int(j)))
            yield env.all_of([arrived[k, int(j), i] for j in np.flatnonzero(up[:, i])])
            if barrier == "all":
                ready[k] += 1
                if ready[k] == n:
                    everybody[k].succeed()
                yield everybody[k]

    for i in range(n):
        env.process(node(i))
    env.run()
    return told


def symmetric(draw, shape=(N, N)):
    table = draw(shape)
    return (table + np.swapaxes(table, -1, -2)) / 2


def last_told(problem, x, state):
    return state.elapsed.seconds


@jax.jit
def weights_in_force(network):
    return jax.vmap(lambda k: network.at(k).weights)(jnp.arange(STEPS))


def seen(problem, x, state):
    return state.elapsed.seconds, x.cpu


def drawn_case(seed, turns=1):
    """A problem, three graphs that take turns, and the numbers of a clock, all drawn."""
    random = np.random.default_rng(seed)
    graphs = [cojax.graphs.named("erdos_renyi", N, seed=3 * seed + turn, probability=0.6) for turn in range(3)]
    data = (np.eye(DIM)[None].repeat(N, 0), random.normal(size=(N, DIM)), np.ones(N), random.uniform(2.0, 4.0, N))
    problem = cojax.Problem(laws.cost, data, budget=3.0 * N)
    links = (turns, N, N) if turns > 1 else (N, N)
    numbers = {
        "work": random.uniform(0.2, 3.0, N),
        "speed": random.uniform(0.5, 2.0, N),
        "latency": symmetric(lambda _: random.uniform(0.0, 0.5, links)),
        "bandwidth": symmetric(lambda _: 10.0 ** random.uniform(1.5, 4.0, links)),
    }
    share = random.uniform(0.5, 2.0, N) if seed % 2 else None
    return problem, graphs, numbers, share


def simulated_late(linked, spent, delay, every, late):
    """As `simulated`, where messages are sent every so many steps and waited for `late` steps later."""
    env = simpy.Environment()
    steps, n = spent.shape
    arrived = {(k, i, j): env.event() for k in range(steps) for i in range(n) for j in range(n)}
    told = np.zeros((steps, n))

    def travel(k, i, j):
        yield env.timeout(delay[i, j])
        arrived[k, i, j].succeed()

    def node(i):
        for k in range(steps):
            yield env.timeout(spent[k, i])
            told[k, i] = env.now
            if k % every == 0:
                for j in np.flatnonzero(linked[i]):
                    env.process(travel(k, i, int(j)))
            if k >= late and (k - late) % every == 0:
                yield env.all_of([arrived[k - late, int(j), i] for j in np.flatnonzero(linked[:, i])])

    for i in range(n):
        env.process(node(i))
    env.run()
    return told


@pytest.mark.parametrize("every, late", [(4, 0), (4, 2), (4, 4), (1, 1)])
def test_messages_that_are_used_late_are_waited_for_late(every, late):
    for seed in range(10):
        problem, graphs, numbers, _ = drawn_case(2 * seed + 1)
        share = np.random.default_rng(seed).uniform(0.5, 2.0, N)
        problem = cojax.Problem(lambda x, data: jnp.sum((x.params - data[1]) ** 2), problem.data)
        network = cojax.network(graphs[0], layout="dense")
        clock = cojax.Clock(**numbers | {"bandwidth": 30.0}, share=share)
        timed = cojax.Timed(cojax.Intermittent(network, every), clock)
        method = cojax.CoOpt(learn=cojax.StreamingSteps(0.05, every=every, late=late))
        start = problem.start(jnp.zeros((N, DIM)))
        seconds = np.asarray(cojax.solve(problem, timed, method, start, num_steps=STEPS, record=last_told).trace)
        delay = numbers["latency"] + 64 * DIM / 30.0
        spent = np.tile(numbers["work"] / (numbers["speed"] * share), (STEPS + 1, 1))
        wanted = simulated_late(np.asarray(network.weights) != 0, spent, delay, every, late)
        np.testing.assert_allclose(seconds, wanted[1:], rtol=1e-9)


def test_a_message_on_its_way_while_nodes_work_costs_no_time():
    """Of four steps of a second each, one message of three: late by four steps it is hidden behind the work."""
    problem = cojax.Problem(lambda x, data: jnp.sum((x.params - data) ** 2), jnp.arange(6.0))
    network = cojax.network(cojax.graphs.named("complete", 6))
    timed = cojax.Timed(cojax.Intermittent(network, 4), cojax.Clock(work=1.0, share=1.0, latency=3.0))
    start = problem.start(jnp.zeros((6, 1)))

    def seconds(late):
        method = cojax.CoOpt(learn=cojax.StreamingSteps(0.05, every=4, late=late))
        return float(cojax.solve(problem, timed, method, start, num_steps=40, every=40).trace.seconds[-1])

    assert seconds(0) == 41 + 10 * 3
    assert seconds(4) == 41


@pytest.mark.parametrize("barrier", ["neighbours", "all"])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("turns", [1, 2])
def test_seconds_are_those_of_a_simulation_of_events(barrier, link, turns):
    channel, bits = LINKS[link]
    for seed in range(25):
        problem, graphs, numbers, share = drawn_case(seed, turns)
        network = cojax.Lossy(cojax.network(graphs, link=channel, layout="dense"), 0.3, key=seed)
        timed = cojax.Timed(network, cojax.Clock(**numbers, share=share, barrier=barrier))
        start = problem.start(jnp.zeros((N, DIM)))
        solution = cojax.solve(problem, timed, METHOD, start, num_steps=STEPS, record=seen)
        seconds, cpu = map(np.asarray, solution.trace)
        shares = np.vstack([start.cpu, cpu]) if share is None else np.tile(share, (STEPS + 1, 1))
        up = np.asarray(weights_in_force(network)) != 0
        latency, bandwidth = (numbers[name].reshape(-1, N, N) for name in ("latency", "bandwidth"))

        def delay(k, i, j, latency=latency, bandwidth=bandwidth):
            return latency[k % turns, i, j] + MESSAGE * bits / bandwidth[k % turns, i, j]

        spent = numbers["work"] / (numbers["speed"] * shares)
        wanted = simulated(up.__getitem__, spent, delay, barrier)
        np.testing.assert_allclose(seconds, wanted[1:], rtol=1e-9)


@pytest.mark.parametrize("layout", [*laws.LAYOUTS, "circulant"])
@pytest.mark.parametrize("barrier", ["neighbours", "all"])
def test_every_layout_takes_the_same_time(layout, barrier):
    problem, graphs, numbers, _ = drawn_case(1)
    graphs = [cojax.graphs.named("ring", N)] if layout == "circulant" else graphs
    start = problem.start(jnp.zeros((N, DIM)))
    clock = cojax.Clock(**numbers, barrier=barrier)

    def seconds(layout):
        network = cojax.Lossy(cojax.network(graphs, layout=layout), 0.3, key=4)
        return cojax.solve(problem, cojax.Timed(network, clock), METHOD, start, num_steps=STEPS).trace.seconds

    np.testing.assert_allclose(seconds(layout), seconds("dense"), rtol=1e-12)
    assert "circulant" not in layout or type(cojax.network(graphs).at(0)).__name__ == "Circulant"


def test_a_clock_changes_no_bit_of_the_run_and_faults_go_on_before_or_after_it():
    problem, graphs, numbers, _ = drawn_case(2)
    start, clock = problem.start(jnp.zeros((N, DIM))), cojax.Clock(**numbers)
    network = cojax.network(graphs)
    plain = cojax.solve(problem, cojax.Lossy(network, 0.2), METHOD, start, num_steps=STEPS)
    before = cojax.solve(problem, cojax.Timed(cojax.Lossy(network, 0.2), clock), METHOD, start, num_steps=STEPS)
    after = cojax.solve(problem, cojax.Lossy(cojax.Timed(network, clock), 0.2), METHOD, start, num_steps=STEPS)
    assert plain.trace.seconds is None and plain.state.elapsed is None
    for run in (before, after):
        np.testing.assert_array_equal(run.x.params, plain.x.params)
        np.testing.assert_array_equal(run.x.cpu, plain.x.cpu)
    np.testing.assert_array_equal(before.trace.seconds, after.trace.seconds)


def test_a_run_that_goes_on_and_one_of_many_take_the_time_of_one():
    problem, graphs, numbers, _ = drawn_case(3)
    start = problem.start(jnp.zeros((N, DIM)))
    timed = cojax.Timed(cojax.network(graphs), cojax.Clock(**numbers))
    whole = cojax.solve(problem, timed, METHOD, start, num_steps=STEPS)
    half = cojax.solve(problem, timed, METHOD, start, num_steps=STEPS // 2)
    rest = cojax.solve(problem, timed, METHOD, half.state, num_steps=STEPS // 2)
    np.testing.assert_array_equal(rest.state.elapsed.seconds, whole.state.elapsed.seconds)

    def build(step_size):
        return problem, timed, cojax.CoOpt(cojax.DIGing(0.02), cojax.Laplacian(step_size)), start

    runs = cojax.sweep(build, step_size=[0.01, 0.02], num_steps=STEPS)
    np.testing.assert_allclose(runs.solution.trace.seconds[1], whole.trace.seconds, rtol=1e-12)
    assert not np.allclose(runs.solution.trace.seconds[0], whole.trace.seconds, rtol=1e-6)  # other shares

    def build_apart(speed):
        return problem, cojax.Timed(cojax.network(graphs), cojax.Clock(1.0, speed)), METHOD, start

    twice = cojax.sweep(build_apart, speed=[1.0, 2.0], num_steps=STEPS).solution.trace.seconds
    np.testing.assert_allclose(twice[0], 2 * twice[1], rtol=1e-12)  # without latency all is work


def test_a_very_long_run_in_single_precision_counts_every_second():
    with jax.enable_x64(False):
        problem = cojax.Problem(lambda x, data: 0.5 * (x.params - data) ** 2, jnp.arange(4.0))
        clock = cojax.Clock(work=0.1, share=jnp.asarray([1.0, 1.0, 1.0, 0.5]))
        timed = cojax.Timed(cojax.network(cojax.graphs.named("ring", 4)), clock)
        start = problem.start(jnp.zeros(4))
        method = cojax.CoOpt(learn=cojax.DIGing(jnp.float32(0.1)))
        ran = cojax.solve(problem, timed, method, start, num_steps=300_000, every=300_000)
        assert ran.trace.seconds.dtype == jnp.float32
        # Three neighbours and the slowest node: all wait for its 0.2 s in every round but the first few.
        assert float(ran.trace.seconds[-1]) == pytest.approx(0.2 * 300_001, rel=1e-6)


def test_nodes_that_are_down_do_no_work_and_are_not_waited_for():
    problem = cojax.Problem(lambda x, data: 0.5 * (x.cpu - data) ** 2, jnp.arange(1.0, 5.0), budget=8.0)
    start = problem.start(None)
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.01))
    clock = cojax.Clock(work=jnp.asarray([1.0, 1.0, 1.0, 5.0]), share=1.0)
    ring = cojax.network(cojax.graphs.named("ring", 4))
    network = cojax.Ledger(cojax.Crashing(ring, [3], [0], [STEPS]))  # the slow one, from the first step on
    seconds = cojax.solve(
        problem, cojax.Timed(network, clock), method, start, num_steps=STEPS, record=lambda p, x, s: s.elapsed.seconds
    ).trace
    np.testing.assert_allclose(seconds[-1], [STEPS + 1.0] * 3 + [5.0])


def last_second(clock, share_step=0.02):
    problem, graphs, _, _ = drawn_case(5)
    network = cojax.Timed(cojax.Lossy(cojax.network(graphs), 0.2, key=3), clock)
    method = cojax.CoOpt(cojax.DIGing(0.02), cojax.Laplacian(share_step))
    start = problem.start(jnp.zeros((N, DIM)))
    return cojax.solve(problem, network, method, start, num_steps=STEPS, every=STEPS).trace.seconds[-1]


@pytest.mark.parametrize(("barrier", "temperature"), [("neighbours", None), ("all", None), ("neighbours", 0.3)])
@pytest.mark.parametrize("given", [True, False])
def test_derivatives_of_seconds_are_slopes(barrier, temperature, given):
    random, numbers = np.random.default_rng(1), drawn_case(5)[2]
    numbers |= {"share": random.uniform(0.5, 2.0, N)} if given else {"step size": 0.02}
    ways = {name: random.normal(size=np.shape(value)) for name, value in numbers.items()}
    ways |= {name: ways[name] + ways[name].T for name in ("latency", "bandwidth")}

    @jax.jit
    def seconds(changes):
        changed = {name: value * (1 + changes[name] * ways[name]) for name, value in numbers.items()}
        step_size = changed.pop("step size", 0.02)
        return last_second(cojax.Clock(**changed, barrier=barrier, temperature=temperature), step_size)

    still = dict.fromkeys(numbers, 0.0)
    slopes = jax.grad(seconds)(still)
    for name in numbers:
        one = still | {name: 1.0}
        slope = (seconds(still | {name: 1e-6}) - seconds(still | {name: -1e-6})) / 2e-6
        assert float(slopes[name]) == pytest.approx(float(slope), rel=2e-5, abs=1e-8), name
        assert abs(slope) > 1e-4, name
    forward = jax.jvp(seconds, (still,), (one,))[1]
    assert float(forward) == pytest.approx(float(slopes[name]), rel=1e-9)


def test_a_smooth_maximum_is_later_by_no_more_than_it_says():
    numbers = drawn_case(5)[2]
    sharp, soft = (float(last_second(cojax.Clock(**numbers, temperature=how))) for how in (None, 0.01))
    assert sharp < soft < sharp + 0.01 * np.log(N) * STEPS
    assert float(last_second(cojax.Clock(**numbers, temperature=1e-6))) == pytest.approx(sharp, rel=1e-5)


def test_of_those_who_arrive_together_each_has_its_part_of_the_derivative():
    problem = cojax.Problem(lambda x, data: 0.5 * (x.params - data) ** 2, jnp.arange(4.0))
    start = problem.start(jnp.zeros(4))

    def seconds(work):
        timed = cojax.Timed(cojax.network(cojax.graphs.named("complete", 4)), cojax.Clock(work, share=1.0))
        method = cojax.CoOpt(learn=cojax.DIGing(0.1))
        return cojax.solve(problem, timed, method, start, num_steps=10, every=10).state.elapsed.seconds.mean()

    slopes = jax.grad(seconds)(jnp.ones(4))
    np.testing.assert_allclose(slopes, 11 / 4, rtol=1e-9)


def test_numbers_are_chosen_as_without_a_clock_and_the_clock_stays():
    problem, graphs, numbers, _ = drawn_case(4)
    start, clock = problem.start(jnp.zeros((N, DIM))), cojax.Clock(**numbers)
    for network in (cojax.network(graphs[0]), cojax.network(graphs), cojax.Lossy(cojax.network(graphs[0]), 0.2)):
        plain, timed = (cojax.default(problem, each, start) for each in (network, cojax.Timed(network, clock)))
        assert jax.tree.all(jax.tree.map(np.array_equal, plain[1], timed[1]))
        assert timed[0].clock is not None
        kinds = (cojax.DIGing, cojax.Nesterov)
        for kind in kinds:
            one, other = (cojax.tuned(kind, problem, each, start) for each in (network, cojax.Timed(network, clock)))
            assert jax.tree.all(jax.tree.map(np.array_equal, one, other))
    assert cojax.theory.is_fixed(cojax.Timed(cojax.network(graphs[0]), clock))
    assert not cojax.theory.is_fixed(cojax.Timed(cojax.network(graphs), clock))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"work": -1.0}, "Clock needs work >= 0, got -1"),
        ({"work": 1.0, "speed": 0.0}, "Clock needs speed > 0, got 0"),
        ({"work": 1.0, "share": 0.0}, "Clock needs share > 0, got 0"),
        ({"work": 1.0, "bandwidth": 0.0}, "Clock needs bandwidth > 0, got 0"),
        ({"work": 1.0, "latency": -0.1}, "Clock needs latency >= 0, got -0.1"),
        ({"work": 1.0, "latency": np.ones((4, 3))}, r"Clock needs one latency, or one a pair of nodes \(n, n\)"),
        ({"work": 1.0, "latency": np.triu(np.ones((4, 4)))}, "Clock needs a symmetric latency"),
        ({"work": np.ones((4, 4))}, "Clock needs one work, or one a node"),
        ({"work": 1.0, "barrier": "none"}, 'Clock needs barrier "neighbours" or "all", got \'none\''),
        ({"work": 1.0, "temperature": 0.0}, "Clock needs temperature > 0, got 0"),
        ({"work": np.ones(5)}, r"Timed needs a clock of 4 nodes, got work of shape \(5,\)"),
        (
            {"work": 1.0, "bandwidth": np.ones((5, 5))},
            r"Timed needs a clock of 4 nodes, got bandwidth of shape \(5, 5\)",
        ),
        ({"work": float("nan")}, "Clock needs"),
        ({"work": None}, "Clock needs"),
        ({"work": 1.0, "bandwidth": "1 Gbit/s"}, "Clock needs"),
        ({"work": 1.0, "bandwidth": float("nan")}, "Clock needs bandwidth > 0"),
        ({"work": 1.0, "latency": np.ones((0, 4, 4))}, "Clock needs one latency"),
    ],
)
def test_a_clock_that_cannot_be_is_refused(numbers, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        laws.unchecked(cojax.Timed)(cojax.network(cojax.graphs.named("ring", 4)), cojax.Clock(**numbers))


def test_work_without_a_share_is_refused():
    network = cojax.Timed(cojax.network(cojax.graphs.named("ring", 4)), cojax.Clock(1.0))
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.01))
    problem = cojax.Problem(lambda x, data: 0.5 * (x.cpu - data) ** 2, jnp.arange(4.0), budget=6.0)
    start = problem.start(None, jnp.asarray([0.0, 2.0, 2.0, 2.0]))
    with pytest.raises(cojax.CojaxInputError, match=r"needs a share > 0 at every node with work .* got 0 at node 0"):
        cojax.solve(problem, network, method, start, num_steps=2)
    model = cojax.Problem(lambda x, data: 0.5 * (x.params - data) ** 2, jnp.arange(4.0))
    with pytest.raises(cojax.CojaxInputError, match=r"a problem with no shares: give cojax.Clock a share"):
        cojax.solve(model, network, cojax.CoOpt(learn=cojax.DIGing(0.1)), model.start(jnp.zeros(4)), num_steps=2)
    with pytest.raises(cojax.CojaxInputError, match=r"Timed needs a cojax.Clock, got float"):
        laws.unchecked(cojax.Timed)(network, 1.0)


def timed_case(seed, barrier, **settings):
    numbers = drawn_case(seed)[2]
    graph = cojax.graphs.named("erdos_renyi", N, seed=seed, probability=0.5)
    share = np.random.default_rng(seed).uniform(0.5, 2.0, N)
    network = cojax.network(graph, **settings)
    return cojax.Timed(network, cojax.Clock(**numbers, barrier=barrier)), share, numbers


@pytest.mark.parametrize("barrier", ["neighbours", "all"])
@pytest.mark.parametrize("layout", ["dense", "edges"])
def test_a_round_takes_in_the_long_run_what_the_formula_says(barrier, layout):
    for seed in range(6):
        timed, share, numbers = timed_case(seed, barrier, layout=layout)
        up = np.asarray(cojax.theory.laplacians(timed)[0].toarray() < 0)
        spent = np.tile(numbers["work"] / (numbers["speed"] * share), (241, 1))
        delay = numbers["latency"] + 320.0 / numbers["bandwidth"]
        told = simulated(lambda k, up=up: up, spent, lambda k, i, j, delay=delay: delay[i, j], barrier)
        period = (told[240] - told[120]).max() / 120
        assert float(cojax.theory.round_time(timed, bits=320.0, share=share)) == pytest.approx(period, rel=1e-9)


@pytest.mark.parametrize("barrier", ["neighbours", "all"])
@pytest.mark.parametrize("layout", ["dense", "neighbors", "edges"])
def test_the_slowest_chain_adds_up_to_all_seconds_and_is_what_changes_would_save(barrier, layout):
    timed, share, numbers = timed_case(2, barrier, layout=layout)
    ask = {"num_steps": 40, "bits": 320.0}
    chain = cojax.theory.slowest_chain(timed, share=share, **ask)
    seconds = float(chain.seconds)
    assert float(chain.working.sum() + np.triu(chain.telling).sum()) == pytest.approx(seconds, rel=1e-9)
    # A chain of k + 1 rounds has k turns, each at a node's own work or over a link.
    assert float(np.triu(chain.crossings).sum()) <= 40 + 1e-9
    up = np.asarray(cojax.theory.laplacians(timed)[0].toarray() < 0)
    assert float(np.abs(np.where(up, 0.0, chain.crossings)).max()) == 0.0
    node = int(np.argmax(chain.working))
    more = share + 1e-6 * (np.arange(N) == node)
    saved = seconds - float(cojax.theory.slowest_chain(timed, share=more, **ask).seconds)
    assert saved / 1e-6 == pytest.approx(float(chain.share_saves[node]), rel=1e-4)
    i, j = np.unravel_index(int(np.argmax(chain.bandwidth_saves)), (N, N))
    wider = numbers["bandwidth"].copy()
    wider[i, j] = wider[j, i] = wider[i, j] * (1 + 1e-6)
    faster = cojax.Timed(timed.graphs, cojax.Clock(**(numbers | {"bandwidth": wider}), barrier=barrier))
    saved = seconds - float(cojax.theory.slowest_chain(faster, share=share, **ask).seconds)
    per_bit = saved / (1e-6 * numbers["bandwidth"][i, j])
    assert per_bit == pytest.approx(float(chain.bandwidth_saves[i, j]), rel=1e-4, abs=1e-12)


def test_what_has_no_slowest_chain_is_refused():
    timed, share, _ = timed_case(2, "all")
    ask = {"num_steps": 4, "bits": 320.0}
    refused = [
        (lambda: cojax.theory.slowest_chain(timed.graphs, **ask), "slowest_chain needs a network with a clock"),
        (lambda: cojax.theory.slowest_chain(timed, **ask), "slowest_chain needs the shares of the nodes"),
        (lambda: cojax.theory.slowest_chain(timed, share=-share, **ask), "slowest_chain needs share > 0"),
        (lambda: cojax.theory.slowest_chain(timed, share=share[:2], **ask), "needs a share of each of 6 nodes"),
        (lambda: cojax.theory.round_time(cojax.Lossy(timed, 0.1), bits=1.0, share=share), "one graph without faults"),
    ]
    for call, message in refused:
        with pytest.raises(cojax.CojaxInputError, match=message):
            call()


def test_directed_networks_have_seconds_too():
    random = np.random.default_rng(0)
    latency = symmetric(lambda shape: random.uniform(0.0, 1.0, shape))
    work = random.uniform(0.5, 2.0, N)
    graph = np.eye(N, k=1) * 0.3 + np.eye(N, k=1 - N) * 0.3  # a circle, balanced
    timed = cojax.Timed(cojax.Digraph(jnp.asarray(graph)), cojax.Clock(work, share=1.0, latency=latency))
    problem = cojax.Problem(lambda x, data: 0.5 * (x.params - data) ** 2, jnp.arange(float(N)))
    start = problem.start(jnp.zeros(N))
    ran = cojax.solve(problem, timed, cojax.CoOpt(learn=cojax.DIGing(0.1)), start, num_steps=STEPS, record=last_told)
    spent, hears = np.tile(work, (STEPS + 1, 1)), graph != 0
    wanted = simulated(lambda k: hears.T, spent, lambda k, i, j: latency[i, j], "neighbours")
    np.testing.assert_allclose(ran.trace, wanted[1:], rtol=1e-12)


@pytest.mark.parametrize("temperature", [None, 0.01])
def test_a_share_that_is_lost_ends_all_seconds_and_is_said(temperature):
    dear = jnp.asarray([1.0, 1.0, 1.0, 1.0, 1.0, 100.0])
    problem = cojax.Problem(lambda x, data: data * x.cpu + 0.05 * x.cpu**2, dear, budget=12.0)
    timed = cojax.Timed(cojax.network(cojax.graphs.named("ring", N)), cojax.Clock(1.0, temperature=temperature))
    method, start = cojax.CoOpt(allocate=cojax.Laplacian(0.5)), problem.start(None)
    ran = cojax.solve(problem, timed, method, start, num_steps=6)
    assert float(ran.x.cpu.min()) < 0 and bool(jnp.isposinf(ran.trace.seconds[-1]))
    assert "no end by the clock: a node with work to do was left without a share" in str(ran)
    late = cojax.solve_to(problem, timed, method, start, tolerance=1e-9, max_steps=100, every=10, deadline=20)
    assert int(late.state.step) == 10


def test_a_run_that_reached_its_deadline_ends_there_again(tmp_path):
    problem, graphs, numbers, _ = drawn_case(3)
    timed, start = cojax.Timed(cojax.network(graphs), cojax.Clock(**numbers)), problem.start(jnp.zeros((N, DIM)))
    ask = {"tolerance": 1e-9, "max_steps": 400, "every": 20, "deadline": 100.0, "checkpoint": tmp_path / "run.npz"}
    first = cojax.solve_to(problem, timed, METHOD, start, **ask)
    again = cojax.solve_to(problem, timed, METHOD, start, **ask)
    assert cojax.Status(int(first.status)) is cojax.Status.OUT_OF_TIME
    assert int(first.state.step) == int(again.state.step) < 400
    assert float(first.trace.seconds[-1]) >= 100.0 > float(first.trace.seconds[-2])
    assert "reached its deadline" in str(first)
    with pytest.raises(cojax.CojaxInputError, match="solve_to needs a network with a clock to keep a deadline"):
        cojax.solve_to(problem, timed.graphs, METHOD, start, **ask)


def test_one_node_alone_waits_for_nobody():
    problem = cojax.Problem(lambda x, data: 0.5 * (x.params - data) ** 2, jnp.ones(1))
    timed = cojax.Timed(cojax.network(np.zeros((1, 1))), cojax.Clock(2.0, share=1.0))
    ran = cojax.solve(problem, timed, cojax.CoOpt(learn=cojax.DIGing(0.1)), problem.start(jnp.zeros(1)), num_steps=3)
    np.testing.assert_allclose(ran.trace.seconds, [4.0, 6.0, 8.0])
    assert float(cojax.theory.round_time(timed, bits=64.0)) == 2.0


def test_nodes_that_leave_and_join_do_work_while_they_are_there():
    plain = cojax.Problem(lambda x, data: 0.5 * (x.cpu - data) ** 2, jnp.arange(1.0, 7.0), budget=20.0)
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.05))
    slow = cojax.Clock(jnp.asarray([1.0, 1.0, 1.0, 50.0, 1.0, 1.0]), share=1.0)
    ring = cojax.network(cojax.graphs.named("ring", N))
    leaves = cojax.Changing(plain, [cojax.Change(2, leaves=3, heir=4)])
    network = cojax.Timed(cojax.Members(ring, leaves), slow)
    seconds = cojax.solve(leaves, network, method, leaves.start(None), num_steps=6).trace.seconds
    # Its work of 50 s is in the start and in the first step alone.
    assert 100 < float(seconds[-1]) < 110
    with pytest.raises(cojax.CojaxInputError, match="needs a network whose nodes all stay, got one with Members"):
        cojax.theory.slowest_chain(network, num_steps=6, bits=64.0)
    own = cojax.Timed(cojax.Members(ring, leaves), cojax.Clock(1.0))
    ran = cojax.solve(leaves, own, method, leaves.start(None), num_steps=6)
    assert bool(jnp.isfinite(ran.trace.seconds).all())
    cojax.solve(leaves, own, method, ran.state, num_steps=2)  # goes on without the one that left
    joins = cojax.Changing(plain, [cojax.Change(3, joins=3)])
    with pytest.raises(cojax.CojaxInputError, match=r"a node does its work that joins, which has none yet: give"):
        timed = cojax.Timed(cojax.Members(ring, joins), cojax.Clock(1.0))
        cojax.solve(joins, timed, method, joins.start(None), num_steps=6)


def test_a_state_with_a_clock_goes_on_with_one():
    problem, graphs, numbers, _ = drawn_case(3)
    network, start = cojax.network(graphs), problem.start(jnp.zeros((N, DIM)))
    plain = cojax.solve(problem, network, METHOD, start, num_steps=2)
    with pytest.raises(cojax.CojaxInputError, match="got the network with a clock and the state without"):
        cojax.solve(problem, cojax.Timed(network, cojax.Clock(**numbers)), METHOD, plain.state, num_steps=2)
