"""Over a ledger nothing is lost: what nodes hold and what is on its way is what there was, however messages fare."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax._support import exact_grid

pytestmark = pytest.mark.optimised

LEARN = cojax.DIGing(0.03, mixing=0.5)
METHOD = cojax.CoOpt(learn=LEARN, allocate=cojax.Laplacian(0.2))
RING = laws.ring_with_chords()


def stacked(network):
    """Every random fault at once."""
    network = cojax.Duplicated(cojax.Delayed(cojax.LossyOneWay(network, 0.2), 2), 0.3, 2)
    return cojax.Crashing(cojax.Reordered(cojax.Corrupted(network, 0.1, key=5), 0.2), [2, 5], [40, 60], [90, 61])


FAULTS = {
    "lossy": lambda network: cojax.LossyOneWay(network, 0.3),
    "delayed": lambda network: cojax.Delayed(network, 4),
    "duplicated": lambda network: cojax.Duplicated(network, 0.5, 2),
    "crashing": lambda network: cojax.Crashing(network, [2], [20], [300]),
    "all": stacked,
}


def held(problem, x, state):
    """All that the laws of conservation are about, as it is after one step."""
    books = state.wire.books
    return x.cpu, books.pending[1], books.owed[1], state.method.learn.slack, books.pending[0].tracker


def exact_total(cpu, pending, owed):
    shares = [*np.ravel(cpu), *np.ravel(pending), *np.ravel(owed)]
    return sum((Fraction(float(share)) for share in shares), Fraction(0))


SEVERAL = [  # those between are in "all" too
    pytest.param(name, marks=() if name in ("lossy", "all") else pytest.mark.exhaustive) for name in FAULTS
]


@pytest.mark.parametrize("name", SEVERAL)
def test_a_run_with_faults_keeps_every_sum_and_finds_the_optimum(name):
    problem = laws.quadratic()
    layout = laws.LAYOUTS[len(name) % 3]
    network = cojax.Ledger(FAULTS[name](cojax.network(RING, layout=layout)))
    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=5000, record=held)
    cpu, pending, owed, slack, trackers = map(np.asarray, run.trace)
    assert float(run.state.imbalance) == 0.0
    for k in (0, 1, 2, 3, 30, 41, 70, 300, 4999):  # in rational arithmetic, not in our own
        assert exact_total(cpu[k], pending[k], owed[k]) == Fraction(float(problem.budget))
    missing = slack.sum(1) + LEARN.mixing * trackers.reshape(5000, -1, laws.DIM).sum(1)
    # Every step rounds a few numbers of order 1: 5000 * 1e-16 at worst.
    assert np.abs(missing).max() < 1e-12
    params, shares, _ = laws.optimum(problem)
    np.testing.assert_allclose(run.x.params, np.broadcast_to(params, (8, 3)), atol=1e-11)
    np.testing.assert_allclose(run.x.cpu, shares, atol=1e-11)
    assert (int(run.state.wire.books.dropped) > 0) == (name == "all")  # the only one with damaged messages
    # At the optimum a flow rounds to 0 on the grid, and what was given has arrived.
    assert (np.abs(pending[:10]).max() > 0) == (name not in ("crashing", "duplicated"))
    assert np.abs(pending[-1]).max() == 0.0


def test_without_faults_a_ledger_changes_no_share_by_a_bit():
    problem = laws.quadratic()
    runs = []
    for network in (cojax.network(RING), cojax.Ledger(cojax.network(RING))):
        length = dict(num_steps=100, every=100, record=laws.nothing)
        runs.append(cojax.solve(problem, network, METHOD, laws.start_of(problem), **length).x)
    np.testing.assert_array_equal(runs[0].cpu, runs[1].cpu)
    np.testing.assert_allclose(runs[0].params, runs[1].params, atol=1e-14)


def test_layouts_meet_the_same_faults():
    problem = laws.quadratic()
    ends = []
    for layout in ("edges", "circulant"):
        network = cojax.LossyOneWay(cojax.Delayed(cojax.network(nx.cycle_graph(8), layout=layout), 1), 0.2)
        network = cojax.Ledger(cojax.Crashing(network, [3], [5], [9]))
        length = dict(num_steps=100, every=100, record=laws.nothing)
        ends.append(cojax.solve(problem, network, METHOD, laws.start_of(problem), **length).x)
    np.testing.assert_allclose(ends[0].cpu, ends[1].cpu, atol=1e-12)
    np.testing.assert_allclose(ends[0].params, ends[1].params, atol=1e-12)


@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_a_node_without_links_keeps_what_it_has_whatever_happens_to_messages(layout):
    problem = cojax.Problem(lambda x, aim: jnp.sum((x.params - aim) ** 2) + x.cpu**2, jnp.zeros((1, 2)), budget=3.0)
    alone = cojax.network(nx.empty_graph(1), layout=layout)
    network = cojax.Ledger(cojax.Corrupted(cojax.LossyOneWay(alone, 0.2), 0.3))
    start = problem.start(params=jnp.ones((1, 2)))
    run = cojax.solve(problem, network, METHOD, start, num_steps=4, every=4)
    # A step of gradient descent on |p|^2 is p - 0.03 * 2 p.
    np.testing.assert_allclose(run.x.params, np.full((1, 2), 0.94**4), rtol=1e-12)
    assert run.x.cpu.tolist() == [3.0] and float(run.state.imbalance) == 0.0


def test_in_float32_over_switching_lossy_quantized_links_the_total_is_exact():
    problem = laws.quadratic(dtype=np.float32)
    base = cojax.network(laws.switching_graphs(), link=cojax.Quantized(cojax.LogQuantizer(0.25)))
    network = cojax.Ledger(cojax.LossyOneWay(cojax.Delayed(cojax.Lossy(base, 0.2), 2), 0.2))
    length = dict(num_steps=2000, every=2000, record=laws.nothing)
    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), **length)
    assert run.x.cpu.dtype == jnp.float32
    assert float(run.state.imbalance) == 0.0 and np.isfinite(run.x.params).all()


# A plain simulation: nodes with queues, one message at a time.


class Edge:
    def __init__(self, owner, other, weight, zero):
        self.owner, self.other, self.weight = owner, other, weight
        self.given, self.known = dict(zero), dict(zero)
        self.heard_at = self.answered_at = -1


def simulated(problem, graph, late, num_steps):
    """Shares, params and what is on its way after every step; `late` as for `Scripted`."""
    roots, targets, curvature, demand = map(np.asarray, problem.data)
    start = laws.start_of(problem)
    cpu, params = np.array(start.cpu), np.array(start.params)
    grid = float(exact_grid.grid_of(start.cpu))
    slack = np.zeros_like(params)
    zero = {"price": 0.0, "params": np.zeros(laws.DIM), "tracker": np.zeros(laws.DIM)}
    degree = dict(graph.degree)
    edges = [Edge(min(e), max(e), 1 / (1 + max(degree[e[0]], degree[e[1]])), zero) for e in graph.edges]
    queues = {(a, b): [] for edge in edges for a, b in ((edge.owner, edge.other), (edge.other, edge.owner))}

    def gradients():
        learn = np.stack([roots[i].T @ (roots[i] @ params[i] - targets[i]) for i in range(len(cpu))])
        return learn, curvature * (cpu - demand)

    def send(k, a, b, said):
        for lag in late[k % len(late), :, a, b]:
            if lag >= 0:
                queues[a, b].append((k + lag, k, said))

    def newest(k, a, b) -> tuple:
        here = [message for message in queues[a, b] if message[0] == k]
        return max(here, key=lambda message: message[1], default=(k, -1, None))

    grad, price = gradients()
    rows = []
    for k in range(num_steps):
        told = [{"price": price[i], "params": params[i].copy(), "tracker": slack[i] + grad[i]} for i in range(len(cpu))]
        flow = [{name: np.zeros_like(value) for name, value in zero.items()} for _ in cpu]
        for edge in edges:
            send(k, edge.other, edge.owner, told[edge.other])
            _, sent, message = newest(k, edge.other, edge.owner)
            if sent > edge.heard_at:
                edge.heard_at = sent
                for name in zero:
                    flux = edge.weight * (message[name] - told[edge.owner][name])
                    if name == "price":
                        flux = np.round(0.2 * edge.weight * (message[name] - told[edge.owner][name]) / grid) * grid
                    edge.given[name] = edge.given[name] - flux
                    flow[edge.owner][name] = flow[edge.owner][name] + flux
            send(k, edge.owner, edge.other, dict(edge.given))
            _, sent, given = newest(k, edge.owner, edge.other)
            if sent > edge.answered_at:
                edge.answered_at = sent
                for name in zero:
                    flow[edge.other][name] = flow[edge.other][name] + given[name] - edge.known[name]
                edge.known = given
        tracker = slack + grad
        params = params + 0.5 * np.stack([into["params"] for into in flow]) - 0.03 * tracker
        slack = slack + 0.5 * np.stack([into["tracker"] for into in flow])
        cpu = cpu + np.stack([into["price"] for into in flow])
        grad, price = gradients()
        rows.append((cpu.copy(), params.copy(), sum(abs(edge.given["price"] - edge.known["price"]) for edge in edges)))
    return [np.stack(column) for column in zip(*rows, strict=True)]


def seen(problem, x, state):
    return x.cpu, x.params, cojax.records.in_flight(problem, x, state)[1]


def scripted(late):
    """Shares, params and what is on its way after each of 60 steps; `late` of one shape, for one program."""
    problem = laws.quadratic()
    network = cojax.Ledger(cojax.Scripted(cojax.network(RING), late, 3))
    return cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=60, record=seen).trace


def test_the_run_is_that_of_nodes_with_queues():
    random = np.random.default_rng(0)
    late = random.integers(-1, 4, (50, 2, 8, 8))  # two copies of every message: lost, doubled, late, overtaken
    for ours, theirs in zip(scripted(late), simulated(laws.quadratic(), RING, late, 60), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_nothing_moves_while_no_message_arrives():
    late = np.full((50, 2, 8, 8), 0)
    late[1::2] = -1  # every second message is lost, in both directions
    shares = np.asarray(scripted(late)[0])
    np.testing.assert_array_equal(shares[1::2], shares[::2])
    assert (shares[2] != shares[1]).any()


def test_what_a_script_says_comes_later_than_its_most_is_lost_under_other_delays_too():
    problem, late = laws.quadratic(), np.full((50, 1, 8, 8), 4)
    network = cojax.Ledger(cojax.Delayed(cojax.Scripted(cojax.network(RING), late, 3), 2))
    start = laws.start_of(problem)
    solution = cojax.solve(problem, network, METHOD, start, num_steps=60)
    np.testing.assert_array_equal(solution.x.cpu, start.cpu)


@pytest.mark.parametrize(("dtype", "bits"), [(np.float32, 24), (np.float64, 53)])
def test_a_counter_that_wraps_still_tells_what_came_since(dtype, bits):
    """In whole numbers of Python, up to what a share itself may be, and at every edge."""
    most, grid = 2**bits, jnp.asarray(2.0**-5, dtype)
    random = np.random.default_rng(0)
    edges = [-most, 1 - most, -1, 0, 1, most - 1, most]
    counts = [*edges, *map(int, random.integers(-most, most + 1, 200))]
    steps = [*edges[::-1], *map(int, random.integers(-most, most + 1, 200))]

    def held(whole):
        return jnp.asarray([number / 32 for number in whole], dtype)

    before = held(counts)
    after = exact_grid.count_difference(before, -held(steps), grid)
    for start, step, end in zip(counts, steps, np.asarray(after, np.float64), strict=True):
        assert abs(end) * 32 <= most and (int(end * 32) - start - step) % (2 * most) == 0
    since = np.asarray(exact_grid.count_difference(after, before, grid), np.float64) * 32
    for found, step in zip(since, steps, strict=True):
        # Half a turn is one ahead and back.
        assert int(found) == step or abs(step) == most == abs(int(found))


@pytest.mark.parametrize(("dtype", "times"), [(np.float32, 13), (np.float64, 55)])
@pytest.mark.parametrize("lossy", [False, True])
def test_one_link_may_carry_at_once_what_a_share_may_grow_to(dtype, times, lossy):
    """16 times, in float64 64 times the largest share at the start; old news lets a share pass its goal by a tenth."""
    start = np.asarray([1.99, 1.99], dtype)  # just below a power of two, where the grid is tightest
    wanted = np.asarray([1.99 * times, -1.99 * times + 0.3], dtype)
    problem = cojax.Problem(lambda x, want: 0.5 * (x.cpu - want) ** 2, wanted, budget=start.sum(dtype=dtype))
    network = cojax.network(nx.path_graph(2))
    network = cojax.Ledger(cojax.LossyOneWay(network, 0.3) if lossy else network)
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.97))  # nearly all in the first step: a weight of 1/2, to and fro

    def seen(problem, x, state):
        return x.cpu, state.wire.books.pending[1]

    run = cojax.solve(problem, network, method, problem.start(), num_steps=20, record=seen)
    cpu, pending = map(np.asarray, run.trace)
    assert np.abs(cpu).max() > 0.9 * 1.99 * times
    for k in range(20):
        assert exact_total(cpu[k], pending[k], []) == Fraction(float(problem.budget))


def test_a_run_over_a_ledger_differentiates():
    problem = laws.quadratic()
    network = cojax.Ledger(cojax.LossyOneWay(cojax.Delayed(cojax.network(RING), 1), 0.3))
    first = jax.jit(cojax.init)(problem, network, cojax.CoOpt(allocate=cojax.Laplacian(0.2)), laws.start_of(problem))

    @jax.jit
    def final(step_size, state):
        method = cojax.CoOpt(allocate=cojax.Laplacian(step_size))
        for _ in range(2):
            state = cojax.step(problem, network, method, state)
        return problem.costs(method.query(state.method)).sum()

    slope = jax.jit(jax.grad(final))(0.2, first)
    costs = [float(final(0.2 + h, first)) for h in (-1e-4, 1e-4)]
    # Central differences with h = 1e-4 are right to h**2, and the grid of the shares is 1e-13.
    np.testing.assert_allclose(slope, (costs[1] - costs[0]) / 2e-4, rtol=1e-5)


def test_what_travels_is_counted_a_message_one_way_and_a_counter_back():
    problem = laws.quadratic()
    link = cojax.Quantized(cojax.FloatQuantizer(6))
    plain, booked = (cojax.network(RING, link=link), cojax.Ledger(cojax.network(RING, link=link)))
    length = dict(num_steps=3, every=3, record=laws.nothing)
    bits = [
        float(cojax.solve(problem, network, METHOD, laws.start_of(problem), **length).state.wire.bits)
        for network in (plain, booked)
    ]
    full = 4 * 64 * (2 * laws.DIM + 1)  # once at the start and once a step
    assert bits[1] == (bits[0] + full) / 2
