"""Books kept at both ends of every edge, so that nothing is lost however messages fare."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ..._support import trees
from ..._support.trees import Tree, choose_rows, wide
from ..base import Layout, Link, Network, Wire, Wrapper
from ..laws import Along, add_arrivals
from .books import Books, with_laws
from .checksums import intact, spoil
from .members import members_of
from .messages import Copy, Corrupted, Sending, check_faulty, fates, faults_of
from .scripted import Crashing


class Ledger(Wrapper):
    """A network with one-directional faults on which, at every step, what nodes hold and what is on its way is kept.

    One end of every edge, the lower in number, owns it. In a step in which it hears something new from the other end it
    takes its own part of the flow and adds it to a counter of all it ever gave along the edge; the other end receives
    the difference between the newest counter that reached it and the one before. A counter says all that earlier ones
    said, so a message may be lost, late, doubled or overtaken: shares plus what is on its way are the budget, bit for
    bit, and trackers plus what is on its way are the gradients, to rounding; `x.cpu` alone need not sum to the budget.
    This holds while no share, and nothing that is on its way along one edge, grows beyond 64 times (float32: 16 times)
    the largest share at the start. Without faults the shares are those of the network itself. Old news make no proof of
    a stable step; those tuned without faults were the best of their fractions up to 20 steps of delay
    (`benchmarks/cost_of_faults.py`), as an owner that hears nothing new does not move.

    Args: network, undirected, with any of `LossyOneWay`, `Delayed`, `Reordered`, `Duplicated`, `Corrupted`,
    `Crashing`, `Scripted` around it, and with the link `Ideal` or `Quantized`. Where a plain network sends a message
    each way, a message travels to the owner and a counter, in full precision, back.
    Raises `CojaxInputError` for directed networks and for links with memory.
    Source: running sums over links that drop packets: Dominguez-Garcia, Hadjicostis, Vaidya, arXiv 1109.6391; here one
    end computes the flow, so that every edge keeps the sum by itself.
    """

    network: Any
    keeps_books: ClassVar[bool] = True

    def __check_init__(self):
        check_faulty("Ledger", self.network)

    def at(self, k) -> Any:
        faults = faults_of(self.network)
        inner = faults[-1].network if faults else self.network
        return _Round(layout=inner.at(k), network=self.network, step=jnp.asarray(k, jnp.int32))  # pyright: ignore


class _Noted(Link):
    """A link whose wire carries books."""

    link: Link

    def open(self, message, net: Any):
        layout, late = net.layout, net.most_late
        wire = self.link.open(message, layout)
        nodes = net.ends[0]

        def by_edge(*lead: int):
            return jax.tree.map(lambda leaf: jnp.zeros((*lead, *nodes.shape, *leaf.shape[1:]), leaf.dtype), message)

        past = jax.tree.map(lambda leaf: jnp.zeros((late, *leaf.shape), leaf.dtype), message)
        news = jnp.full(nodes.shape, -1, jnp.int32)
        by_node = trees.zeros_like(message)
        books = Books(
            counter=by_edge(),
            news=news,
            past=past,
            answers=by_edge(late),
            pending=by_edge(),
            arrived=by_node,
            owed=by_node,
            dropped=jnp.zeros((), jnp.int32),
        )
        return wire._replace(books=books, bits=_bits(message, jnp.zeros(()), wire, net))

    def tell(self, message, wire, net: Any):
        told = self.link.tell(message, wire, net.layout)
        return told._replace(bits=_bits(message, wire.bits, told, net))

    def check(self, *, fixed, symmetric):
        self.link.check(fixed=fixed, symmetric=symmetric)


class _Round(Network):
    """The graph of one step together with what happens to messages that arrive in it."""

    layout: Layout
    network: Network
    step: Int[Array, ""]

    @property
    def link(self) -> Link:  # pyright: ignore[reportIncompatibleVariableOverride]
        return _Noted(self.layout.link)

    @property
    def num_nodes(self) -> int:
        return self.layout.num_nodes

    def at(self, k) -> Any:
        return self

    @property
    def most_late(self) -> int:
        return sum(fault.most_late for fault in faults_of(self.network))

    @property
    def ends(self) -> tuple[Array, Array]:
        """The node at this end of every directed edge, and that at the other."""
        here = self.layout.gather(jnp.arange(self.num_nodes, dtype=jnp.int32))
        return here, self.layout.reverse(here)

    def up(self, step: Array, nodes: Array) -> Array:
        """Whether nodes are up, and there at all."""
        up = jnp.ones(jnp.broadcast_shapes(step.shape, nodes.shape), bool)
        members = members_of(self.network)
        if members is not None:
            up = up & members.moves.there(step, nodes)
        for fault in faults_of(self.network):
            up = up & fault.up(step, nodes) if isinstance(fault, Crashing) else up
        return up

    def awake(self, before: Tree, after: Tree) -> Tree:
        """`after`, with the rows of nodes that are down as they were."""
        if not any(isinstance(fault, Crashing) for fault in faults_of(self.network)):
            return after
        return choose_rows(self.up(self.step[None], jnp.arange(self.num_nodes, dtype=jnp.int32)), after, before)

    def exchange(self, wire: Wire, along: Tree, arrivals: Array | None) -> tuple[Tree, Wire]:
        """Owners hear and give, the other ends hear what was given; what is owed is paid."""
        here, other = self.ends
        owned = here < other
        books = self._settled(wire.books, along)
        age, fresh, spoiled = self._newest(here, other, books.news)
        history = jax.tree.map(lambda now, past: jnp.concatenate([now[None], past]), wire.heard, books.past)
        heard = jax.tree.map(lambda leaf: leaf.at[age, other].get(mode="promise_in_bounds"), history)
        heard, fine = self._checked(heard, fresh & owned, spoiled)
        flux = self._given(along, wire.heard, heard, fresh & owned & fine)
        counter = with_laws(_minus, along, books.counter, flux)
        told = jax.tree.map(self.layout.reverse, counter)
        answers = jax.tree.map(lambda now, past: jnp.concatenate([now[None], past]), told, books.answers)
        answer = jax.tree.map(lambda leaf: _at_age(leaf, age), answers)
        answer, good = self._checked(answer, fresh & ~owned, spoiled)
        got = fresh & ~owned & good
        after = jax.tree.map(lambda new, old: jnp.where(wide(got, new), new, old), answer, counter)
        received = with_laws(_minus, along, after, counter)
        flow = jax.tree.map(lambda out, into: self.layout.scatter(out + into), flux, received)
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

    def pending(self, counter: Tree, along: Tree) -> Tree:
        """What owners gave and the other ends did not receive yet, at the owners."""
        here, other = self.ends

        def missing(law: Along, leaf: Array) -> Array:
            return jnp.where(wide(here < other, leaf), law.minus(leaf, self.layout.reverse(leaf)), 0)

        return with_laws(missing, along, counter)

    def _settled(self, books: Books, along: Tree) -> Books:
        """Books in which nothing is on its way any more to or from a node that left: its heir and its neighbours are
        owed it."""
        members = members_of(self.network)
        if members is None:
            return books
        node, heir = members.moves.at(self.step)
        here, other = self.ends
        theirs = ((here == node) | (other == node)) & (here > other)
        told = jax.tree.map(self.layout.reverse, books.counter)
        counter = jax.tree.map(lambda new, old: jnp.where(wide(theirs, new), new, old), told, books.counter)
        due = with_laws(_minus, along, counter, books.counter)

        def inherited(owed: Array, due: Array) -> Array:
            owed = owed + self.layout.scatter(due)
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
        for copy in fates(self.network, Sending(jnp.maximum(sent, 0), other, here)):
            copy = Copy(*map(jnp.asarray, copy))
            now = copy.there & (copy.late == ages)
            # Of two copies that arrive together the intact one is taken.
            spoiled = jnp.where(now & (~arrives | (copy.spoiled == 0)), copy.spoiled, spoiled)
            arrives = arrives | now
        there = (self.layout.edge_weights() > 0)[None] & self.up(self.step.reshape(1, *ones), here)
        arrives = arrives & there & self.up(sent, other) & (sent >= 0) & (sent > news[None])
        age = jnp.argmax(arrives, axis=0).astype(jnp.int32)
        return age, arrives.any(0), _at_age(jnp.broadcast_to(spoiled, arrives.shape), age)

    def _checked(self, told: Tree, wanted: Array, spoiled: Array) -> tuple[Tree, Bool[Array, "*e"]]:
        """What reaches the receiver of `told`, and where its checksum fits."""
        if not any(isinstance(fault, Corrupted) for fault in faults_of(self.network)):
            return told, jnp.ones_like(wanted)
        arrived = spoil(told, spoiled)
        return arrived, intact(told, arrived, spoiled.ndim)

    def _given(self, along: Tree, own: Tree, heard: Tree, moves: Array) -> Tree:
        """What flows in at the owner of every edge."""
        weights = self.layout.edge_weights()

        def flux(law: Along, own: Array, heard: Array) -> Array:
            # A spoiled number must not reach the law: NaN would pass through its derivative.
            difference = jnp.where(wide(moves, heard), heard - self.layout.gather(own), 0)
            return jnp.where(wide(moves, heard), law(weights, difference), 0)

        return with_laws(flux, along, own, heard)


def _minus(law: Along, new: Array, old: Array) -> Array:
    return law.minus(new, old)


def _at_age(stack: Array, age: Array) -> Array:
    """stack[age] edge by edge; `stack` has ages first, then the axes of `age`."""
    index = age.reshape(1, *age.shape, *[1] * (stack.ndim - 1 - age.ndim))
    return jnp.take_along_axis(stack, index, axis=0)[0]


def _bits(message: Tree, before: Array, told: Wire, net: _Round) -> Array:
    """Bits after one more step: by edge, a message one way and a counter in full precision the other."""
    full = sum(leaf.size // net.num_nodes * leaf.dtype.itemsize * 8 for leaf in jax.tree.leaves(message))
    return before + (told.bits - before + full) / 2
