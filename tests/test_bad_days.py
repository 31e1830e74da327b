"""Whatever happens, in whatever order: the total is exact, the trackers are the gradients, and all is finite."""

from fractions import Fraction

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import laws
import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import cojax

NODES, DIM, MOST, NEVER = 4, 2, 3, 2**30
MIXING = 0.5
METHOD = cojax.CoOpt(learn=cojax.DIGing(0.02, mixing=MIXING), allocate=cojax.Laplacian(0.1))
GRAPH = nx.Graph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)])
ARCS = [(a, b) for edge in GRAPH.edges for a, b in (edge, edge[::-1])]
JUMPS = 6
FIRST = laws.quadratic(NODES, DIM)
LATER = laws.quadratic(NODES, DIM, seed=3)

compiled = []


@jax.jit
def step(problem, network, state):
    compiled.append(1)
    return cojax.step(problem, network, METHOD, state)


rejoined = jax.jit(cojax.rejoined)
first_state = jax.jit(cojax.init)


def network_of(late, first, until):
    base = cojax.network(GRAPH, layout="neighbors")
    return cojax.Ledger(cojax.Crashing(cojax.Scripted(base, late, MOST), np.arange(NODES), first, until))


class BadDays(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        changes = [cojax.Change(NEVER + place, budget=16.0, data=LATER.data) for place in range(JUMPS)]
        problem = cojax.Changing(FIRST, changes)
        # As if every later stage were still the first: the rules below fill them in.
        stages = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), problem.stages)
        self.problem = eqx.tree_at(lambda p: p.stages, problem, stages)
        self.late = np.zeros((MOST + 1, 2, NODES, NODES), np.int32)
        self.first, self.until = np.full(NODES, NEVER, np.int32), np.full(NODES, NEVER, np.int32)
        start = laws.start_of(self.problem, DIM)
        self.state = first_state(self.problem, self.network, METHOD, start)
        self.remembered = self.state
        self.now, self.jumped, self.budget = 0, 0, Fraction(16)

    @property
    def network(self):
        return network_of(self.late, self.first, self.until)

    def is_up(self, node):
        return not self.first[node] <= self.now < self.until[node]

    def advance(self):
        self.state = step(self.problem, self.network, self.state)
        self.now += 1

    @rule(fate=st.lists(st.integers(-1, MOST), min_size=2 * len(ARCS), max_size=2 * len(ARCS)))
    def messages_fare_badly(self, fate):
        for place, (a, b) in enumerate(ARCS):
            self.late[self.now % (MOST + 1), :, a, b] = fate[2 * place : 2 * place + 2]
        self.advance()

    @rule(count=st.integers(1, 4), lost=st.booleans())
    def all_arrive_or_none(self, count, lost):
        for _ in range(count):
            self.late[self.now % (MOST + 1)] = -1 if lost else 0
            self.advance()

    @rule(node=st.integers(0, NODES - 1))
    def crash(self, node):
        if self.is_up(node):
            self.first[node], self.until[node] = self.now, NEVER

    @rule(node=st.integers(0, NODES - 1))
    def come_back(self, node):
        if not self.is_up(node):
            self.until[node] = self.now

    @rule()
    def remember(self):
        self.remembered = self.state

    @precondition(lambda self: sum(not self.is_up(node) for node in range(NODES)) <= 1)
    @rule(node=st.integers(0, NODES - 1))
    def come_back_with_an_old_state(self, node):
        down = [other for other in range(NODES) if not self.is_up(other)]
        node = down[0] if down else node
        self.until[node] = min(self.until[node], self.now)
        self.state = rejoined(self.problem, self.network, METHOD, self.state, self.remembered, node)

    @precondition(lambda self: self.jumped < JUMPS)
    @rule(quarters=st.integers(20, 120), node=st.integers(0, NODES - 1), new_data=st.booleans())
    def budget_and_data_change(self, quarters, node, new_data):
        """In the next step; with the budget, all data of one seed or another."""
        place, budget = self.jumped, Fraction(quarters, 4)
        rows = jnp.arange(JUMPS + 1) > place
        budgets = jnp.where(rows, float(budget), self.problem.budgets)
        jumps = self.problem.jumps.at[place].set(0.0).at[place, node].set(float(budget - self.budget))
        steps = self.problem.steps.at[place].set(self.now + 1)
        chosen = LATER.data if new_data else FIRST.data

        def staged(leaf, new):
            return jnp.where(rows.reshape(-1, *[1] * (leaf.ndim - 1)), new[None], leaf)

        stages = jax.tree.map(staged, self.problem.stages, chosen)
        fields = (lambda p: p.budgets, lambda p: p.jumps, lambda p: p.steps, lambda p: p.stages)
        for field, value in zip(fields, (budgets, jumps, steps, stages), strict=True):
            self.problem = eqx.tree_at(field, self.problem, value)
        self.jumped, self.budget = place + 1, budget
        self.late[self.now % (MOST + 1)] = 0
        self.advance()

    @invariant()
    def shares_and_what_is_on_its_way_are_the_budget(self):
        books, x = self.state.wire.books, METHOD.query(self.state.method)
        parts = [np.ravel(part) for part in (x.cpu, books.pending[1], books.owed[1])]
        assert sum(Fraction(float(share)) for share in np.concatenate(parts)) == self.budget
        assert float(self.state.imbalance) == 0.0

    @invariant()
    def trackers_and_what_is_on_its_way_are_the_gradients(self):
        books, learn = self.state.wire.books, self.state.method.learn
        trackers, gradients = learn.slack + self.state.grad.params, self.state.grad.params
        away = books.pending[0].tracker.reshape(-1, DIM).sum(0) + books.owed[0].tracker.sum(0)
        missing = (np.asarray(trackers).sum(0) + MIXING * np.asarray(away) - np.asarray(gradients).sum(0)) / NODES
        # A few hundred numbers of order 10 are rounded.
        assert np.abs(missing).max() < 1e-12

    @invariant()
    def all_is_finite(self):
        for leaf in jax.tree.leaves(self.state):
            assert np.isfinite(np.asarray(leaf, np.float64)).all()


def run(examples, steps, repeatable):
    run_state_machine_as_test(
        BadDays,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=repeatable,
        ),
    )


def test_sums_are_kept_through_bad_days():
    run(15, 15, repeatable=True)
    assert len(compiled) == 1  # everything that changes is traced


@pytest.mark.exhaustive
def test_sums_are_kept_through_many_bad_days():
    run(200, 50, repeatable=False)
