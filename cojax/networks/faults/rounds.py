"""One step of a network that keeps books: what arrives, what owners of edges give, and what is written down."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ..._support import trees
from ..._support.trees import Tree, choose_rows, wide
from ..base import Layout, Link, Network, Wire
from ..laws import Along, add_arrivals
from .books import Books, with_laws
from .checksums import intact, spoil
from .fault import Copy, Fault, Sending, fates


class Round(Network):
    """The graph of one step together with what happens to messages that arrive in it."""

    graph: Layout
    faults: tuple[Fault, ...]
    step: Int[Array, ""]

    @property
    def link(self) -> Link:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.graph.link

    @property
    def num_nodes(self) -> int:
        return self.graph.num_nodes

    def at(self, k) -> Any:
        return self

    def bare(self):
        return self.graph

    @property
    def most_late(self) -> int:
        return sum(fault.most_late for fault in self.faults)

    def open(self, message: Tree) -> Wire:
        """The wire after the first message, with books in which nothing is written down yet."""
        wire = self.link.open(message, self.graph)
        nodes, late = self.graph.ends()[0], self.most_late

        def by_edge(*lead: int) -> Tree:
            return jax.tree.map(lambda leaf: jnp.zeros((*lead, *nodes.shape, *leaf.shape[1:]), leaf.dtype), message)

        by_node = trees.zeros_like(message)
        books = Books(
            counter=by_edge(),
            news=jnp.full(nodes.shape, -1, jnp.int32),
            past=jax.tree.map(lambda leaf: jnp.zeros((late, *leaf.shape), leaf.dtype), message),
            answers=by_edge(late),
            pending=by_edge(),
            arrived=by_node,
            owed=by_node,
            dropped=jnp.zeros((), jnp.int32),
        )
        return wire._replace(books=books, bits=_bits(message, jnp.zeros(()), wire, self.num_nodes))

    def tell(self, message: Tree, wire: Wire, step: Int[Array, ""]) -> Wire:
        """The wire after `message`; the books are those of `wire`."""
        told = self.link.tell(message, wire, self.graph, step)
        bits = _bits(message, wire.bits, told, self.num_nodes)
        for part in (fault.telling(step) for fault in self.faults):
            bits = bits if part is None else wire.bits + part * (bits - wire.bits)
        return told._replace(bits=bits)

    def up(self, step: Array, nodes: Array) -> Array:
        """Whether nodes are up, and there at all."""
        return _all(step, nodes, [fault.up(step, nodes) for fault in self.faults])

    def sends(self, step: Array, nodes: Array) -> Array:
        """Whether nodes send in a step what they told last."""
        return _all(step, nodes, [fault.sends(step, nodes) for fault in self.faults])

    def awake(self, before: Tree, after: Tree) -> Tree:
        """`after`, with the rows of nodes that are down as they were."""
        return after if self.present is None else choose_rows(self.present, after, before)

    @property
    def present(self) -> Bool[Array, " n"] | None:
        """Which nodes are up in this step; None: all are."""
        if not any(fault.stops for fault in self.faults):
            return None
        return self.up(self.step[None], jnp.arange(self.num_nodes, dtype=jnp.int32))

    def exchange(self, wire: Wire, along: Tree, arrivals: Array | None) -> tuple[Tree, Wire]:
        """Owners hear and give, the other ends hear what was given; what is owed is paid."""
        here, other = self.graph.ends()
        owned = here < other
        books = self._settled(wire.books, along)
        age, fresh, spoiled = self._newest(here, other, books.news)
        history = jax.tree.map(lambda now, past: jnp.concatenate([now[None], past]), wire.heard, books.past)
        heard = jax.tree.map(lambda leaf: leaf.at[age, other].get(mode="promise_in_bounds"), history)
        heard, fine = self._checked(heard, fresh & owned, spoiled)
        flux = self._given(along, wire.heard, heard, fresh & owned & fine)
        counter = with_laws(_minus, along, books.counter, flux)
        told = jax.tree.map(self.graph.reverse, counter)
        answers = jax.tree.map(lambda now, past: jnp.concatenate([now[None], past]), told, books.answers)
        answer = jax.tree.map(lambda leaf: _at_age(leaf, age), answers)
        answer, good = self._checked(answer, fresh & ~owned, spoiled)
        got = fresh & ~owned & good
        after = jax.tree.map(lambda new, old: jnp.where(wide(got, new), new, old), answer, counter)
        received = with_laws(_minus, along, after, counter)
        flow = jax.tree.map(lambda out, into: self.graph.scatter(out + into), flux, received)
        owed = add_arrivals(books.owed, along, arrivals)
        taken_away = trees.scale(add_arrivals(trees.zeros_like(books.arrived), along, arrivals), -1.0)
        arrived = with_laws(_minus, along, books.arrived, taken_away)
        up = self.up(self.step[None], jnp.arange(self.num_nodes, dtype=jnp.int32))
        paid = jax.tree.map(lambda leaf: jnp.where(wide(up, leaf), leaf, 0), owed)
        taken = fresh & jnp.where(owned, fine, good)
        lag = [jax.tree.map(lambda leaf: leaf[: self.most_late], tree) for tree in (history, answers)]
        books = Books(
            counter=after,
            news=jnp.where(taken, self.step - age, books.news),
            past=lag[0],
            answers=lag[1],
            pending=self.pending(after, along),
            arrived=arrived,
            owed=trees.subtract(owed, paid),
            dropped=books.dropped + (fresh & ~taken).sum(dtype=jnp.int32),
        )
        return trees.add(flow, paid), wire._replace(books=books)

    def flow_alone(self, wire: Wire, along: Tree, step: Array) -> Tree:
        """As `Layout.flow_alone`."""
        return self.exchange(wire, along, None)[0]

    def pending(self, counter: Tree, along: Tree) -> Tree:
        """What owners gave and the other ends did not receive yet, at the owners."""
        here, other = self.graph.ends()

        def missing(law: Along, leaf: Array) -> Array:
            return jnp.where(wide(here < other, leaf), law.minus(leaf, self.graph.reverse(leaf)), 0)

        return with_laws(missing, along, counter)

    def _settled(self, books: Books, along: Tree) -> Books:
        """Books in which nothing is on its way any more to or from a node that left: its heir and its neighbours are
        owed it."""
        moves = next((fault.members for fault in self.faults if fault.members is not None), None)
        if moves is None:
            return books
        node, heir = moves.at(self.step)
        here, other = self.graph.ends()
        theirs = ((here == node) | (other == node)) & (here > other)
        told = jax.tree.map(self.graph.reverse, books.counter)
        counter = jax.tree.map(lambda new, old: jnp.where(wide(theirs, new), new, old), told, books.counter)
        due = with_laws(_minus, along, counter, books.counter)

        def inherited(owed: Array, due: Array) -> Array:
            owed = owed + self.graph.scatter(due)
            return owed.at[node].set(0).at[heir].add(owed[node])

        owed = jax.tree.map(inherited, books.owed, due)
        owed = jax.tree.map(lambda new, old: jnp.where(node < 0, old, new), owed, books.owed)
        return books._replace(counter=counter, owed=owed, pending=self.pending(counter, along))

    def _newest(self, here: Array, other: Array, news: Array) -> tuple[Int[Array, "*e"], Bool[Array, "*e"], Array]:
        """Of what arrives at this end now and is news: its age, whether there is any, and how it was spoiled."""
        here, other, ones = here[None], other[None], (1,) * here.ndim
        ages = jnp.arange(self.most_late + 1, dtype=jnp.int32).reshape(-1, *ones)
        sent = self.step - ages
        arrives, spoiled = jnp.zeros((self.most_late + 1, *news.shape), bool), jnp.zeros((1, *ones), jnp.uint32)
        for copy in fates(self.faults, Sending(jnp.maximum(sent, 0), other, here)):
            copy = Copy(*map(jnp.asarray, copy))
            now = copy.there & (copy.late == ages)
            # Of two copies that arrive together the intact one is taken.
            spoiled = jnp.where(now & (~arrives | (copy.spoiled == 0)), copy.spoiled, spoiled)
            arrives = arrives | now
        there = (self.graph.edge_weights() > 0)[None] & self.up(self.step.reshape(1, *ones), here)
        arrives = arrives & there & self.sends(sent, other) & (sent >= 0) & (sent > news[None])
        age = jnp.argmax(arrives, axis=0).astype(jnp.int32)
        return age, arrives.any(0), _at_age(jnp.broadcast_to(spoiled, arrives.shape), age)

    def _checked(self, told: Tree, wanted: Array, spoiled: Array) -> tuple[Tree, Bool[Array, "*e"]]:
        """What reaches the receiver of `told`, and where its checksum fits."""
        if not any(fault.spoils for fault in self.faults):
            return told, jnp.ones_like(wanted)
        arrived = spoil(told, spoiled)
        return arrived, intact(told, arrived, spoiled.ndim)

    def _given(self, along: Tree, own: Tree, heard: Tree, moves: Array) -> Tree:
        """What flows in at the owner of every edge."""
        weights = self.graph.edge_weights()

        def flux(law: Along, own: Array, heard: Array) -> Array:
            # A spoiled number must not reach the law: NaN would pass through its derivative.
            difference = jnp.where(wide(moves, heard), heard - self.graph.gather(own), 0)
            return jnp.where(wide(moves, heard), law(weights, difference), 0)

        return with_laws(flux, along, own, heard)


def _all(step: Array, nodes: Array, parts: list[Array | None]) -> Array:
    there = jnp.ones(jnp.broadcast_shapes(step.shape, nodes.shape), bool)
    for part in parts:
        there = there if part is None else there & part
    return there


def _minus(law: Along, new: Array, old: Array) -> Array:
    return law.minus(new, old)


def _at_age(stack: Array, age: Array) -> Array:
    """stack[age] edge by edge; `stack` has ages first, then the axes of `age`."""
    index = age.reshape(1, *age.shape, *[1] * (stack.ndim - 1 - age.ndim))
    return jnp.take_along_axis(stack, index, axis=0)[0]


def _bits(message: Tree, before: Array, told: Wire, num_nodes: int) -> Array:
    """Bits after one more step: by edge, a message one way and a counter in full precision the other."""
    full = sum(leaf.size // num_nodes * leaf.dtype.itemsize * 8 for leaf in jax.tree.leaves(message))
    return before + (told.bits - before + full) / 2
