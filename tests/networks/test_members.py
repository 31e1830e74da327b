"""Nodes leave and join inside one run: the total, the trackers and the optimum are those of who is there."""

from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax
import pytest
from support import laws

import cojax
from cojax.networks.connectivity import connects

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.03, mixing=0.5), allocate=cojax.Laplacian(0.2))
RING = cojax.network(laws.ring_with_chords(), layout="neighbors")
CHANGES = [
    cojax.Change(10, joins=7, budget=18.5, node=7),
    cojax.Change(20, leaves=2, heir=3, budget=13.0),
    cojax.Change(30, leaves=3, heir=7),
    cojax.Change(40, joins=2, data=laws.quadratic(seed=5).data),
    cojax.Change(45, budget=19.0),
]
AWAY = [(0, {7}), (10, set()), (20, {2}), (30, {2, 3}), (40, {3})]  # from which step on


def changing(dtype=np.float64, changes=CHANGES):
    return cojax.Changing(laws.quadratic(dtype=dtype), changes)


def start_of(problem):
    """Params at random, and uneven shares that sum to the budget, 0 at node 7."""
    random = np.random.default_rng(1)
    shares = np.append(random.uniform(0.5, 1.5, 7), 0.0)
    budget = problem.base.budget
    dtype = budget.dtype
    cpu = (shares * float(budget) / shares.sum()).astype(dtype)
    return problem.start(jnp.asarray(random.normal(size=(8, 3)), dtype), cpu)


def away_after(k):
    return sorted([away for first, away in AWAY if first <= k][-1])


def seen(problem, x, state):
    return x.cpu, problem.budget, state.imbalance, state.method.learn.slack, state.grad.params


def without(problem, nodes):
    """The problem of the other nodes alone."""
    data = jax.tree.map(lambda leaf: np.delete(leaf, nodes, axis=0), problem.whole.data)
    return cojax.Problem(laws.cost, data, problem.budget)


NETWORKS = {
    "one graph": (RING, np.float32),
    "switching, with a memory by edge": (
        cojax.network(
            laws.switching_graphs(), link=cojax.Innovation(cojax.LogQuantizer(0.25), memory="edge"), layout="edges"
        ),
        np.float64,
    ),
    "drawn at random": (cojax.RandomGraph(8, 0.4), np.float64),
}


def check_history(rows, away_after):
    """All that must hold after every step of a run, from the rows of `seen`."""
    cpu, budget, imbalance, slack, gradient = map(np.asarray, rows)
    assert imbalance.max() == 0.0
    for k in range(1, len(cpu) + 1):
        away = away_after(k)
        assert laws.exact_imbalance(cpu[k - 1], budget[k - 1]) == Fraction(0)
        for rows in (cpu, slack, gradient):
            assert not rows[k - 1, away].any()
        # Trackers minus gradients: a few roundings of numbers of order 10 a step.
        assert np.abs(slack[k - 1].mean(0)).max() < (1e-12 if cpu.dtype == np.float64 else 1e-5)
        assert (np.abs(gradient[k - 1]).sum(1) > 0).sum() == 8 - len(away)


MARKS = {"drawn at random": pytest.mark.exhaustive}  # histories are, over links that fail at random, in the next test


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in NETWORKS])
def test_the_total_is_the_budget_at_every_step_and_who_is_away_holds_nothing(name):
    network, dtype = NETWORKS[name]
    problem = changing(dtype)
    run = cojax.solve(problem, cojax.Members(network, problem), METHOD, start_of(problem), num_steps=60, record=seen)
    cpu, budget = map(np.asarray, run.trace[:2])
    assert cpu.dtype == dtype and cpu[9, 7] == budget[9] - budget[8]  # it brought its own part
    check_history(run.trace, away_after)


def random_changes(seed):
    """Eight moves, ten steps apart, of nodes drawn at random, and who is away after which step."""
    random = np.random.default_rng(seed)
    there, changes, history = set(range(8)), [], [(0, [])]
    for k in range(5, 45, 5):
        away = sorted(set(range(8)) - there)
        if len(there) > 2 and (not away or random.random() < 0.6):
            node, heir = (int(one) for one in random.choice(sorted(there), 2, replace=False))
            changes.append(cojax.Change(k, leaves=node, heir=heir, budget=float(random.uniform(5, 20))))
            there -= {node}
        else:
            node = int(random.choice(away))
            changes.append(cojax.Change(k, joins=node))
            there |= {node}
        history.append((k, sorted(set(range(8)) - there)))
    return changes, history


def test_random_histories_over_links_that_round_and_fail_lose_nothing():
    link = cojax.Quantized(cojax.LogQuantizer(0.25))
    network = cojax.Lossy(cojax.network(laws.ring_with_chords(), link=link), 0.3)
    drawn = [random_changes(seed) for seed in range(8)]
    problems = [cojax.Changing(laws.quadratic(), changes) for changes, _ in drawn]
    networks = [cojax.Members(network, problem) for problem in problems]
    starts = [laws.start_of(problem) for problem in problems]

    def stacked(*trees):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    def run(problem, network, start):
        return cojax.solve(problem, network, METHOD, start, num_steps=50, record=seen)

    @jax.jit
    def all_of(*parts):
        return jax.vmap(run)(*(stacked(*part) for part in parts))

    runs = jax.device_get(all_of(problems, networks, starts).trace)
    for place, (_, history) in enumerate(drawn):
        check_history([rows[place] for rows in runs], lambda k: [away for first, away in history if first <= k][-1])  # noqa: B023


def test_who_leaves_hands_its_share_and_its_tracker_over_and_keeps_nothing_else():
    problem = changing()
    method = cojax.CoOpt(cojax.DIGing(0.03, transform=optax.trace(0.9)), cojax.HeavyBall(0.2, 0.5))
    state = method.init(*2 * [start_of(problem)])
    random = np.random.default_rng(3)
    state = eqx.tree_at(
        lambda state: (state.learn.slack, state.learn.transform, state.allocate.price),
        state,
        replace_fn=lambda part: jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape)), part),
    )
    after = problem.handed_over(20, method, state)
    given, taken = np.asarray(state.allocate.cpu), np.asarray(after.allocate.cpu)
    assert Fraction(float(taken[3])) == Fraction(float(given[2])) + Fraction(float(given[3])) and taken[2] == 0
    assert after.allocate.grid == state.allocate.grid
    np.testing.assert_array_equal(after.learn.slack[3], state.learn.slack[2] + state.learn.slack[3])
    np.testing.assert_array_equal(after.learn.params, state.learn.params)
    for part in (after.learn.slack, after.learn.transform, after.allocate.price):
        for leaf in jax.tree.leaves(part):
            assert not np.asarray(leaf[2]).any()
    others = np.asarray([0, 1, 4, 5, 6, 7])
    for mine, yours in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        if mine.ndim:
            np.testing.assert_array_equal(mine[others], yours[others])
    for mine, yours in zip(
        jax.tree.leaves(problem.handed_over(21, method, state)), jax.tree.leaves(state), strict=True
    ):
        np.testing.assert_array_equal(mine, yours)


def test_the_run_ends_at_the_optimum_of_those_who_are_there():
    problem = changing(
        changes=[cojax.Change(10, joins=7), cojax.Change(20, leaves=2, heir=3), cojax.Change(4001, joins=2)]
    )
    network = cojax.Members(RING, problem)
    begin = jax.jit(cojax.init)(problem, network, METHOD, start_of(problem))  # so that both runs are one program
    first = cojax.solve(problem, network, METHOD, begin, num_steps=4000, every=100)
    second = cojax.solve(problem, network, METHOD, first.state, num_steps=4000, every=100)
    for run, away in ((first, [2]), (second, [])):
        assert int(run.status) == cojax.Status.CONVERGED
        now = problem.at(run.state.step)
        params, shares, price = laws.optimum(without(now, away))
        there = np.delete(np.arange(8), away)
        np.testing.assert_allclose(
            np.asarray(run.x.params)[there], np.broadcast_to(params, (len(there), 3)), atol=1e-11
        )
        np.testing.assert_allclose(np.asarray(run.x.cpu)[there], shares, atol=1e-11)
        judged = cojax.certificate(now, run.x)
        assert bool(cojax.is_certified(judged, 1e-10))
        np.testing.assert_allclose(judged.price, price, atol=1e-10)
        best = cojax.reference(now, jnp.zeros(3))
        np.testing.assert_allclose(best.params, params, atol=1e-10)
        np.testing.assert_allclose(np.asarray(best.x.cpu)[there], shares, atol=1e-10)
        np.testing.assert_allclose(run.trace.cost[-1], best.cost, rtol=1e-12)
        assert not np.asarray(best.x.cpu)[away].any()


PAIRS = {
    "EXTRA and HeavyBall": (cojax.EXTRA(0.1), cojax.HeavyBall(0.2, 0.5)),
    "APAPC and Nesterov": (cojax.APAPC(0.2, blend=0.6), cojax.Nesterov(0.2, 0.5)),
    "ExactDiffusion and Scheduled": (
        cojax.ExactDiffusion(0.2),
        cojax.Scheduled(cojax.Laplacian(0.3), {"step_size": [0.2, 0.3]}, every=15),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_methods_with_other_memories_find_the_optimum_too(name):
    problem = changing(changes=[cojax.Change(10, joins=7), cojax.Change(20, leaves=2, heir=3)])
    method = cojax.CoOpt(*PAIRS[name])
    run = cojax.solve(
        problem, cojax.Members(RING, problem), method, start_of(problem), num_steps=6000, every=6000, record=_none
    )
    params, shares, _ = laws.optimum(without(problem.at(6000), [2]))
    there = np.delete(np.arange(8), 2)
    np.testing.assert_allclose(np.asarray(run.x.params)[there], np.broadcast_to(params, (7, 3)), atol=1e-10)
    np.testing.assert_allclose(np.asarray(run.x.cpu)[there], shares, atol=1e-10)
    assert float(run.state.imbalance) == 0.0


def test_the_default_learner_for_all_nodes_serves_those_who_are_there():
    problem = changing(changes=[cojax.Change(10, joins=7), cojax.Change(20, leaves=2, heir=3)])
    base = laws.quadratic()
    network, learn = cojax.default_learner(base, cojax.Members(RING, problem), laws.start_of(base))
    run = cojax.solve(
        problem,
        network,
        cojax.CoOpt(learn, METHOD.allocate),
        start_of(problem),
        num_steps=3000,
        every=3000,
        record=_none,
    )
    # Two bits a number, remembered by edge.
    assert network.faults[0].members is not None and network.link.memory == "edge"
    params, _, _ = laws.optimum(without(problem.at(3000), [2]))
    there = np.delete(np.arange(8), 2)
    np.testing.assert_allclose(np.asarray(run.x.params)[there], np.broadcast_to(params, (7, 3)), atol=1e-10)


def test_over_a_ledger_what_is_on_its_way_to_who_left_goes_to_its_heir():
    problem = changing(changes=[cojax.Change(10, joins=7), cojax.Change(19, leaves=2, heir=3)])
    network = cojax.Ledger(cojax.LossyOneWay(cojax.Delayed(cojax.Members(RING, problem), 2), 0.3))

    def on_the_way(problem, x, state):
        pending, owed = state.wire.books.pending, state.wire.books.owed
        return pending[1], owed[1], x.cpu, state.imbalance

    run = cojax.solve(problem, network, METHOD, start_of(problem), num_steps=5000, record=on_the_way)
    pending, owed, cpu, imbalance = map(np.asarray, run.trace)
    here, other = (np.asarray(end) for end in (RING.gather(np.arange(8)), RING.reverse(RING.gather(np.arange(8)))))
    mine = (here == 2) | (other == 2)
    assert np.abs(pending[18][mine]).max() > 0 and not pending[19:, mine].any() and not cpu[18:, 2].any()
    for k in (17, 18, 19, 20, 4999):
        parts = (Fraction(float(part)) for part in [*cpu[k], *pending[k].ravel(), *owed[k].ravel()])
        assert sum(parts) == 16
    assert imbalance[-1] == 0.0
    params, shares, _ = laws.optimum(without(problem.at(20), [2]))
    there = np.delete(np.arange(8), 2)
    np.testing.assert_allclose(np.asarray(run.x.params)[there], np.broadcast_to(params, (7, 3)), atol=1e-11)
    np.testing.assert_allclose(np.asarray(run.x.cpu)[there], shares, atol=1e-11)


def _none(problem, x, state):
    return None


def test_a_run_continued_at_any_step_is_bitwise_the_whole_run():
    problem = changing()
    network = cojax.Members(RING, problem)
    begin = jax.jit(cojax.init)(problem, network, METHOD, start_of(problem))
    whole = cojax.solve(problem, network, METHOD, begin, num_steps=40, every=40, record=_none)
    part = cojax.solve(problem, network, METHOD, begin, num_steps=20, every=20, record=_none)
    part = cojax.solve(problem, network, METHOD, part.state, num_steps=20, every=20, record=_none)
    parts, wholes = (run.state._replace(progress=None) for run in (part, whole))
    for mine, yours in zip(jax.tree.leaves(parts), jax.tree.leaves(wholes), strict=True):
        np.testing.assert_array_equal(mine, yours)


def off(x, want):
    return 0.5 * (x.cpu - want) ** 2


def star(changes):
    """Four nodes around a hub, node 0, each with a fair cost of its share, and soft bounds."""
    problem = cojax.Problem(
        off,
        np.arange(5.0),
        budget=12.0,
        lower=0.0,
        upper=4.0,
        penalty=cojax.penalties.PowerPenalty(5.0),
    )
    problem = cojax.Changing(problem, changes)
    return problem, cojax.Members(cojax.network(nx.star_graph(4)), problem)


def test_a_run_to_a_tolerance_judges_those_who_are_there_and_says_where_they_are_apart():
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.1))

    def run(changes):
        problem, network = star(changes)
        return cojax.solve_to(problem, network, method, problem.start(), tolerance=1e-6, max_steps=2000, every=100)

    whole = run([cojax.Change(50, leaves=1, heir=0)])
    assert int(whole.status) == cojax.Status.CONVERGED and float(whole.state.imbalance) == 0.0
    # min 1/2 sum (x - want)**2 + 5 [x - 4]+**2 over 0, 2, 3, 4 with sum 12: x - want = price, at the last one
    # (x - 4) (1 + 10) = price; 3 price + price / 11 = 3.
    price = 3 / (3 + 1 / 11)
    np.testing.assert_allclose(whole.x.cpu, [price, 0, 2 + price, 3 + price, 4 + price / 11], atol=1e-5)
    np.testing.assert_allclose(whole.certificate.price, price, rtol=1e-5)
    apart = run([cojax.Change(50, leaves=0, heir=1)])
    assert int(apart.status) == cojax.Status.DISCONNECTED and apart.x.cpu[0] == 0.0
    for changes, last, connected in (
        ([cojax.Change(50, leaves=1, heir=0)], 60, True),
        ([cojax.Change(50, leaves=0, heir=1)], 50, True),
        ([cojax.Change(50, leaves=0, heir=1)], 51, False),
        ([cojax.Change(50, leaves=0, heir=1), cojax.Change(60, joins=0)], 61, True),
    ):
        assert connects(star(changes)[1], 0, last) == connected


def test_a_problem_of_models_alone_is_differentiable_through_moves():
    roots, targets, *_ = laws.quadratic().data
    base = cojax.Problem(lambda x, data: 0.5 * jnp.sum((data[0] @ x.params - data[1]) ** 2), (roots, targets))
    problem = cojax.Changing(base, [cojax.Change(5, leaves=2, heir=3), cojax.Change(12, joins=2)])
    network = cojax.Members(RING, problem)
    start = problem.start(jnp.asarray(np.random.default_rng(1).normal(size=(8, 3))))

    @jax.jit
    @jax.value_and_grad
    def loss(step_size):
        method = cojax.CoOpt(cojax.DIGing(step_size, mixing=0.5))
        run = cojax.solve(problem, network, method, start, num_steps=20, every=5, record=_none)
        return problem.at(20).costs(run.x).sum()

    (low, _), (_, slope), (high, _) = (loss(0.03 + shift) for shift in (-1e-5, 0.0, 1e-5))
    # The error of a central difference is of order 1e-10, that of rounding 1e-16 * 10 / 1e-5.
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize(
    "penalty",
    [cojax.penalties.PowerPenalty(2.0), cojax.penalties.SoftplusPenalty(2.0, 3.0), cojax.penalties.BarrierPenalty(0.1)],
)
def test_penalties_and_costs_that_are_infinite_at_share_0_are_those_of_who_is_there(penalty):
    def cost(x, data):
        return -data * jnp.log(x.cpu) + jnp.sum(x.params**2)

    data = np.arange(1.0, 6.0)
    base = cojax.Problem(cost, data, budget=5.0, lower=0.5, upper=3.0, penalty=penalty)
    changing = cojax.Changing(base, [cojax.Change(5, leaves=1, heir=0)])
    now = changing.at(5)
    rest = cojax.Problem(cost, np.delete(data, 1), budget=5.0, lower=0.5, upper=3.0, penalty=penalty)
    x = cojax.Decision(jnp.ones((5, 2)), jnp.asarray([0.7, 0.0, 1.1, 1.2, 2.0]))
    others = np.asarray([0, 2, 3, 4])
    small = jax.tree.map(lambda leaf: leaf[others], x)

    def judged(problem, x):
        soft = problem.softened()
        return problem.grad(x), soft.grad(x), problem.costs(x), soft.costs(x)

    mine, yours = jax.jit(judged)(now, x), jax.jit(judged)(rest, small)
    for leaf, want in zip(jax.tree.leaves(mine), jax.tree.leaves(yours), strict=True):
        np.testing.assert_allclose(np.asarray(leaf)[others], want, rtol=1e-12)
        assert not np.asarray(leaf)[1].any()

    @jax.jit
    def total(data, cpu):
        changed = eqx.tree_at(lambda p: p.problem.data, changing, data)
        return jnp.sum(changed.at(5).softened().costs(x._replace(cpu=cpu)))

    for leaf in jax.grad(total, (0, 1))(jnp.asarray(data), x.cpu):
        assert np.isfinite(leaf).all() and leaf[1] == 0.0


def moves(*changes):
    return changing(changes=[cojax.Change(5 + place, **change) for place, change in enumerate(changes)])


def tried(network, problem, method=METHOD):
    return cojax.solve(problem, network, method, start_of(problem), num_steps=1)


def met(problem):
    return cojax.Members(RING, problem)


LEFT = {"leaves": 2, "heir": 3}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: moves({"leaves": 8, "heir": 1}), "leaves from 0 to 7, got 8"),
        (lambda: moves({"joins": 1.5}), "whole number joins >= 0, got 1.5"),
        (lambda: moves(LEFT, LEFT), "a node that is there to leave, got node 2, away at step 6"),
        (lambda: moves({"joins": 2}, {"joins": 2}), "a node that is away to join, got node 2, there at step 6"),
        (lambda: moves({"leaves": 2}), "together with the heir of its share, got leaves=2 and heir=None at step 5"),
        (lambda: moves({"joins": 2, "heir": 3}), "together with the heir of its share, got leaves=None and heir=3"),
        (lambda: moves(LEFT, {"leaves": 1, "heir": 2}), "when node 1 leaves, got node 2, who is away, at step 6"),
        (lambda: moves({"leaves": 2, "heir": 2}), "when node 2 leaves, got node 2, who leaves itself, at step 5"),
        (lambda: moves({**LEFT, "joins": 4}), "got node 2 that leaves and node 4 that joins at step 5"),
        (lambda: moves({**LEFT, "budget": 3.0, "node": 2}), "a node that is there for a jump, got node 2"),
        (lambda: moves(*({"joins": node} for node in range(8))), "a node that is there at first"),
        (lambda: changing().start(jnp.zeros((8, 3)), np.full(8, 2.0)), "cpu 0 at nodes that are not there at first"),
        (lambda: _full().start(jnp.zeros((8, 3))), "budget <= sum of upper, got 16 > 14"),
        (lambda: cojax.Members(RING, laws.quadratic()), "in which nodes leave or join, got a Problem"),
        (lambda: cojax.Members(RING, moves({"budget": 3.0})), "got one whose nodes all stay"),
        (lambda: cojax.Members(laws.ring_with_chords(), moves(LEFT)), "needs a network, got Graph"),
        (
            lambda: cojax.Members(cojax.network(nx.path_graph(3)), moves(LEFT)),
            "all nodes that are ever there, 8, got 3",
        ),
        (lambda: cojax.Members(_directed(), moves(LEFT)), "an undirected network, got a Digraph"),
        (
            lambda: cojax.Members(cojax.Intermittent(_directed(), 2), moves(LEFT)),
            "an undirected network, got a Digraph",
        ),
        (lambda: cojax.Members(_remembering(), moves(LEFT)), 'use memory="edge"'),
        (lambda: tried(RING, moves(LEFT)), "use cojax.Members\\(network, problem\\)"),
        (lambda: tried(met(moves(LEFT)), laws.quadratic()), "got those of another"),
        (lambda: tried(met(moves(LEFT)), moves({"leaves": 1, "heir": 3})), "got those of another"),
        (lambda: _with(Closed(0.1), cojax.Laplacian(0.1)), "Closed keeps its sums over nodes in no field"),
        (lambda: _with(cojax.DIGing(0.1), cojax.MomentumFlow(0.1, 0.5)), "MomentumFlow moves shares by more"),
        (lambda: _with(cojax.DIGing(0.1), cojax.Hold()), "nodes that change need an allocator whose shares move"),
    ],
)
def test_a_move_that_cannot_be_is_refused_with_the_way_out(build, message):
    with pytest.raises(cojax.CojaxInputError, match=message) as caught:
        build()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


class Closed(cojax.NIDS):
    """A method whose sums are in no field of its state."""

    kept = None


def _full():
    base = laws.quadratic()
    return cojax.Changing(
        cojax.Problem(laws.cost, base.data, 16.0, lower=0.0, upper=2.0), [cojax.Change(5, leaves=2, heir=3)]
    )


def _directed():
    return cojax.network(nx.cycle_graph(8, create_using=nx.DiGraph))


def _remembering():
    return cojax.network(laws.ring_with_chords(), link=cojax.Innovation(cojax.LogQuantizer(0.25)))


def _with(learn, allocate):
    problem = moves(LEFT)
    return tried(met(problem), problem, cojax.CoOpt(learn, allocate))
