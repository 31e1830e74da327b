"""One step of a network that keeps books: what arrives, what owners of edges give, and what is written down."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from ..._support import trees
from ..._support.trees import Tree, wide
from ..base import Layout, Link, Network, Wire, count_on
from ..laws import Along, add_arrivals, with_laws
from .books import Books
from .checksums import intact, spoil
from .fault import Copy, Fault, Sending, fates


class Mail(NamedTuple):
    """What is news at an end of every edge, of all that arrives there in a step."""

    age: Int[Array, "*e"]  # how many steps ago it was sent
    fresh: Bool[Array, "*e"]  # whether there is any
    spoiled: UInt32[Array, "*e"]  # 0 of what is intact, see `Copy`


class Receipt(NamedTuple):
    """What an end of every edge got of what the other told it."""

    told: Tree  # by directed edge
    taken: Bool[Array, "*e"]  # whether it is news and its checksum fits


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

    @property
    def is_up(self) -> Bool[Array, " n"] | None:
        """Which nodes are up in this step; None: all are."""
        if not any(fault.stops for fault in self.faults):
            return None
        return self.up(self.step[None], jnp.arange(self.num_nodes, dtype=jnp.int32))

    def exchange(self, wire: Wire, along: Tree, arrivals: Array | None) -> tuple[Tree, Wire]:
        """Owners hear and give, the other ends hear what was given; what is owed is paid."""
        here, other = self.graph.ends()
        owned = here < other
        books = self._inherited(wire.books, along)
        mail = self._newest(here, other, books.news)
        messages = _with_past(wire.heard, books.past)
        sent = jax.tree.map(lambda leaf: leaf.at[mail.age, other].get(mode="promise_in_bounds"), messages)
        to_owners = self._deliver(sent, mail, owned)
        given = self._given(along, wire.heard, to_owners)
        counter = with_laws(_minus, along, books.counter, given)
        answers = _with_past(jax.tree.map(self.graph.reverse, counter), books.answers)
        to_others = self._deliver(jax.tree.map(lambda leaf: _at_age(leaf, mail.age), answers), mail, ~owned)
        known = jax.tree.map(lambda new, old: jnp.where(wide(to_others.taken, new), new, old), to_others.told, counter)
        received = with_laws(_minus, along, known, counter)
        flow = jax.tree.map(lambda out, into: self.graph.scatter(out + into), given, received)
        paid, books = self._pay(books, along, arrivals)
        taken = to_owners.taken | to_others.taken
        books = books._replace(
            counter=known,
            news=jnp.where(taken, self.step - mail.age, books.news),
            past=jax.tree.map(lambda leaf: leaf[: self.most_late], messages),
            answers=jax.tree.map(lambda leaf: leaf[: self.most_late], answers),
            pending=self.pending(known, along),
            dropped=count_on(books.dropped, (mail.fresh & ~taken).sum(dtype=jnp.int32)),
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

    def rejoin(self, wire: Wire, stale: Wire, along: Tree, node: Any) -> Wire:
        """`wire` after `node` came back with what it had written down in `stale`, and asked its neighbours."""
        now, old, is_node = wire.books, stale.books, jnp.arange(self.num_nodes) == node
        here, other = self.graph.ends()
        mine, owned = here == node, here < other
        theirs = jax.tree.map(self.graph.reverse, now.counter)

        def corrected(law: Along, known: Array, then: Array) -> Array:
            return self.graph.scatter(jnp.where(wide(mine & owned, then), law.minus(then, known), 0))

        missed = with_laws(_minus, along, now.arrived, old.arrived)
        due = trees.add(old.owed, missed, with_laws(corrected, along, theirs, old.counter))

        def counted(now: Array, then: Array, theirs: Array) -> Array:
            return jnp.where(wide(mine, now), jnp.where(wide(owned, now), theirs, then), now)

        counter = jax.tree.map(counted, now.counter, old.counter, theirs)
        owed = trees.choose_rows(is_node, due, now.owed)
        return wire._replace(books=now._replace(counter=counter, pending=self.pending(counter, along), owed=owed))

    def _pay(self, books: Books, along: Tree, arrivals: Array | None) -> tuple[Tree, Books]:
        """What nodes that are up are paid of what they are owed, with what arrives from outside, and the books then."""
        owed = add_arrivals(books.owed, along, arrivals)
        taken_away = trees.scale(add_arrivals(trees.zeros_like(books.arrived), along, arrivals), -1.0)
        arrived = with_laws(_minus, along, books.arrived, taken_away)
        up = self.up(self.step[None], jnp.arange(self.num_nodes, dtype=jnp.int32))
        paid = jax.tree.map(lambda leaf: jnp.where(wide(up, leaf), leaf, 0), owed)
        return paid, books._replace(arrived=arrived, owed=trees.subtract(owed, paid))

    def _inherited(self, books: Books, along: Tree) -> Books:
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

        def handed_over(owed: Array, due: Array) -> Array:
            owed = owed + self.graph.scatter(due)
            return owed.at[node].set(0).at[heir].add(owed[node])

        owed = jax.tree.map(handed_over, books.owed, due)
        owed = jax.tree.map(lambda new, old: jnp.where(node < 0, old, new), owed, books.owed)
        return books._replace(counter=counter, owed=owed, pending=self.pending(counter, along))

    def _newest(self, here: Array, other: Array, news: Array) -> Mail:
        """What arrives at this end now and is news."""
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
        return Mail(age, arrives.any(0), _at_age(jnp.broadcast_to(spoiled, arrives.shape), age))

    def _deliver(self, told: Tree, mail: Mail, ends: Bool[Array, "*e"]) -> Receipt:
        """What reaches these `ends` of what was told to them."""
        if not any(fault.spoils for fault in self.faults):
            return Receipt(told, mail.fresh & ends)
        arrived = spoil(told, mail.spoiled)
        return Receipt(arrived, mail.fresh & ends & intact(told, arrived, mail.spoiled.ndim))

    def _given(self, along: Tree, own: Tree, heard: Receipt) -> Tree:
        """What flows in at the owner of every edge."""
        weights = self.graph.edge_weights()

        def flux(law: Along, own: Array, told: Array) -> Array:
            taken = wide(heard.taken, told)
            # A spoiled number must not reach the law: NaN would pass through its derivative.
            difference = jnp.where(taken, told - self.graph.gather(own), 0)
            return jnp.where(taken, law(weights, difference), 0)

        return with_laws(flux, along, own, heard.told)


def _all(step: Array, nodes: Array, parts: list[Array | None]) -> Array:
    there = jnp.ones(jnp.broadcast_shapes(step.shape, nodes.shape), bool)
    for part in parts:
        there = there if part is None else there & part
    return there


def _with_past(now: Tree, past: Tree) -> Tree:
    """What was told now, before what was told earlier."""
    return jax.tree.map(lambda now, past: jnp.concatenate([now[None], past]), now, past)


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
