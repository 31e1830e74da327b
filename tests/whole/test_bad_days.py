"""Whatever happens, in whatever order: the total is exact, the trackers are the gradients, and all is finite."""

import dataclasses
from fractions import Fraction

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support import laws

import cojax
from cojax.problems.membership import Moves

NODES, DIM, MOST, NEVER = 4, 2, 3, 2**30
MIXING = 0.5
METHOD = cojax.CoOpt(learn=cojax.DIGing(0.02, mixing=MIXING), allocate=cojax.Laplacian(0.1))
GRAPH = nx.Graph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)])
ARCS = [(a, b) for edge in GRAPH.edges for a, b in (edge, edge[::-1])]
JUMPS = 6
FIRST = laws.quadratic(NODES, DIM)
LATER = laws.quadratic(NODES, DIM, seed=3)
BASE = cojax.network(GRAPH, layout="neighbors")
EVERYWHERE = BASE.ends()  # the two nodes of what books are kept of

compiled = []


@jax.jit
def step(problem, network, state):
    compiled.append(1)
    return cojax.step(problem, network, METHOD, state)


rejoined = jax.jit(cojax.rejoined)
first_state = jax.jit(cojax.init)


def network_of(problem, late, first, until):
    base = cojax.Members(BASE, problem)
    return cojax.Ledger(cojax.Crashing(cojax.Scripted(base, late, MOST), np.arange(NODES), first, until))


class BadDays(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        changes = [cojax.Change(NEVER + place, budget=16.0, data=LATER.data) for place in range(JUMPS)]
        changes[0] = changes[0]._replace(leaves=0, heir=1)
        problem = cojax.Changing(FIRST, changes)
        # As if every later stage were still the first: the rules below fill them in.
        stages, roll = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), (problem.stages, problem.moves.roll)
        )
        nobody = jnp.full_like(problem.steps, -1)
        moves = Moves(steps=problem.steps, movers=nobody, heirs=nobody, roll=roll)
        self.problem = eqx.tree_at(lambda p: (p.stages, p.moves), problem, (stages, moves))
        self.late = np.zeros((MOST + 1, 2, NODES, NODES), np.int32)
        self.first, self.until = np.full(NODES, NEVER, np.int32), np.full(NODES, NEVER, np.int32)
        start = laws.start_of(self.problem, DIM)
        self.state = first_state(self.problem, self.network, METHOD, start)
        self.remembered = self.state
        self.now, self.changed, self.budget = 0, 0, Fraction(16)

    @property
    def network(self):
        return network_of(self.problem, self.late, self.first, self.until)

    @property
    def members(self):
        return np.flatnonzero(self.problem.moves.roll[-1])

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
        if node not in self.members:
            return
        self.until[node] = min(self.until[node], self.now)
        self.state = rejoined(self.problem, self.network, METHOD, self.state, self.remembered, node)

    def change(self, lost, **fields):
        """In the next step, whose messages all arrive or none; after it the fields of the problem are these."""
        fields["steps"] = self.problem.steps.at[self.changed].set(self.now + 1)
        fields["moves"] = dataclasses.replace(fields.get("moves", self.problem.moves), steps=fields["steps"])
        for name, value in fields.items():
            self.problem = eqx.tree_at(lambda p: getattr(p, name), self.problem, value)  # noqa: B023
        self.changed += 1
        self.all_arrive_or_none(1, lost)

    @property
    def rows(self):
        """The stages after the next change."""
        return jnp.arange(JUMPS + 1) > self.changed

    @precondition(lambda self: self.changed < JUMPS)
    @rule(quarters=st.integers(20, 120), which=st.integers(0, 3), new_data=st.booleans(), lost=st.booleans())
    def budget_and_data_change(self, quarters, which, new_data, lost):
        """With the budget, all data of one seed or another."""
        node, rows = self.members[which % len(self.members)], self.rows
        chosen = LATER.data if new_data else FIRST.data

        def staged(leaf, new):
            return jnp.where(rows.reshape(-1, *[1] * (leaf.ndim - 1)), new[None], leaf)

        stages = jax.tree.map(staged, self.problem.stages, chosen)
        self.change(lost, **self.jump(Fraction(quarters, 4), node), stages=stages)

    def jump(self, budget, node):
        """The fields of a problem whose budget becomes `budget` with the next change, at `node`."""
        more, self.budget = float(budget - self.budget), budget
        jumps = self.problem.jumps.at[self.changed].set(0.0).at[self.changed, node].set(more)
        return {"budgets": jnp.where(self.rows, float(budget), self.problem.budgets), "jumps": jumps}

    def move(self, node, heir, there, lost, **fields):
        moves = self.problem.moves
        moved = dataclasses.replace(
            moves,
            roll=jnp.where(self.rows[:, None], moves.roll.at[:, node].set(there), moves.roll),
            movers=moves.movers.at[self.changed].set(node),
            heirs=moves.heirs.at[self.changed].set(heir),
        )
        self.change(lost, moves=moved, **fields)
        self.all_arrive_or_none(1, lost)  # what was on its way to it goes to its heir
        self.remembered = self.state

    @precondition(lambda self: self.changed < JUMPS and len(self.members) > 1)
    @rule(which=st.integers(0, 3), other=st.integers(0, 2), lost=st.booleans())
    def a_node_leaves(self, which, other, lost):
        node = int(self.members[which % len(self.members)])
        rest = [member for member in self.members if member != node]
        self.move(node, int(rest[other % len(rest)]), False, lost)

    @precondition(lambda self: self.changed < JUMPS and len(self.members) < NODES)
    @rule(quarters=st.integers(20, 120), which=st.integers(0, 3), lost=st.booleans())
    def a_node_joins(self, quarters, which, lost):
        """And brings a part of the budget."""
        away = [node for node in range(NODES) if node not in self.members]
        node = away[which % len(away)]
        self.move(node, node, True, lost, **self.jump(Fraction(quarters, 4), node))

    @invariant()
    def who_is_away_holds_nothing_and_nothing_is_on_its_way_to_it(self):
        away = ~np.asarray(self.problem.moves.roll[-1])
        books, learn = self.state.wire.books, self.state.method.learn
        for leaf in (METHOD.query(self.state.method).cpu, learn.slack, self.state.grad.params, *books.owed):
            for part in jax.tree.leaves(leaf):
                assert not np.asarray(part)[away].any()
        here, other = (np.asarray(end) for end in EVERYWHERE)
        for part in jax.tree.leaves(books.pending):
            assert not np.asarray(part)[away[here] | away[other]].any()

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
