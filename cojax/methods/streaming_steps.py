"""Local steps that exchange one part of the params at a time, and go on until what was exchanged arrives."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._support import trees
from .._support.checks import check_number, floating, whole_number
from .._support.trees import Tree
from .at_home import StepsAtHome, choose
from .facts import BIASED, known, room_itself
from .optimizers import descent, first_state


class StreamingState(NamedTuple):
    params: Tree
    anchor: Any  # by part: where the last exchange of it led
    inner: Any
    outer: Any  # by part
    waiting: Any  # of one part: where the exchange led that was begun last
    step: Int[Array, ""]


@known("learn", bound=room_itself, per_node=True, words=BIASED)
class StreamingSteps(StepsAtHome):
    """`LocalSteps` that exchanges the `parts` of the params in turn, and uses what it heard `late` steps later.

    v = y - step_size * inner(g(y)) in every step. In step t = 0, every, 2 every, ... the part p = (t / every) mod parts
    is told, u_p = (W v)_p; in step t + late, of the v of then, a_p+ = a_p - outer(a_p - u_p) and
    y_p+ = keep v_p + (1 - keep) a_p+; everything else of y+ is v. So an exchange carries 1/parts of the bits, a part is
    exchanged every parts * every steps, and nodes go on while a message is on its way. With one part, late = 0 and
    keep = 0 it is `LocalSteps`. As that it stops at a bias where costs differ; parts that take turns circle around it.

        network = cojax.Intermittent(network, 10)
        outer = optax.sgd(0.7, momentum=0.9, nesterov=True)
        method = cojax.StreamingSteps(inner=optax.adamw(1e-3), outer=outer, every=10, parts=4, late=5, keep=0.5)

    The parts are equal slices of a node's numbers in a row, in the order of the leaves, those of each dtype for
    themselves; the last one is filled up with zeros, which are told and counted. `outer` sees one part at a time, with
    a state of its own for each. A link with memory, and a `Ledger`, would take a part for the one before: `solve`
    refuses them where parts > 1. By a `Clock` a message is waited for in the step that uses it.

    Fields:
        step_size, inner, outer, every: as those of `LocalSteps`.
        parts: >= 1, static.
        late: steps from an exchange to its use, from 0 to every, static.
        keep: how much of what a node did at home meanwhile stays, from 0 to 1; differentiable.

    Raises `CojaxInputError` for other numbers, neither step_size nor inner, and what is no optax optimizer.
    Source: Douillard et al., "Streaming DiLoCo with overlapping communication", arXiv 2501.18512, where keep is alpha
    and late is tau.
    """

    parts: int = eqx.field(static=True)
    late: int = eqx.field(static=True)
    keep: Any = eqx.field(converter=floating)

    def __init__(
        self,
        step_size: Any = None,
        inner: Any = None,
        outer: Any = None,
        every: Any = 1,
        parts: Any = 1,
        late: Any = 0,
        keep: Any = 0.0,
    ):
        StepsAtHome.__init__(self, step_size, inner, outer, every)
        self.parts = whole_number("StreamingSteps", "parts", parts, at_least=1)
        self.late = whole_number("StreamingSteps", "late", late, at_least=0, at_most=self.every)
        self.keep = keep

    def __check_init__(self):
        check_number("StreamingSteps", "keep", self.keep, at_least=0.0, at_most=1.0, shaped=())

    @property
    def period(self) -> int | None:
        return self.every

    @property
    def steps_late(self) -> int:
        return self.late

    @property
    def takes_turns(self) -> bool:
        return self.parts > 1

    def init(self, x: Tree, grad: Tree) -> StreamingState:
        anchor = _cut(x, self.parts)
        inner = first_state("StreamingSteps", self.inner, x) if anchor and self.inner is not None else None
        outer = None
        if anchor and self.outer is not None:
            # Parts of nodes as nodes: each has a state of its own.
            nodes, parts = anchor[0].shape[:2]
            rows = jax.tree.map(lambda leaf: leaf.reshape(nodes * parts, -1), anchor)
            outer = first_state("StreamingSteps", self.outer, rows)
            outer = _by_part(lambda leaf: leaf.reshape(nodes, parts, *leaf.shape[1:]), outer)
        waiting = _part(trees.zeros_like(anchor), 0) if self.late else None
        return StreamingState(x, anchor if outer is not None else None, inner, outer, waiting, jnp.zeros((), jnp.int32))

    def message(self, state: StreamingState, grad: Tree) -> Tree:
        return _part(_cut(self.at_home(state, grad)[0], self.parts), self._turn(state.step))

    def update(self, state: StreamingState, grad: Tree, flow: Tree) -> StreamingState:
        home, inner = self.at_home(state, grad)
        params, step, turn = _cut(home, self.parts), state.step, self._turn(state.step)
        begins = step % self.every == 0
        heard = trees.add(_part(params, turn), flow)
        # In silent steps nothing flows, but what a Ledger owes for nodes that left.
        params = _with_part(params, turn, choose(begins, _part(params, turn), heard))
        led, waiting = heard, None
        if self.late:
            led, waiting = state.waiting, choose(begins, heard, state.waiting)
        lands, turn = (step >= self.late) & ((step - self.late) % self.every == 0), self._turn(step - self.late)
        anchor, outer = state.anchor, state.outer
        if outer is not None:
            before, memory = _part(anchor, turn), _part(outer, turn)
            there, after = descent("StreamingSteps", self.outer, trees.subtract(before, led), memory, before)
            led = trees.subtract(before, there)
            anchor = _with_part(anchor, turn, choose(lands, led, before))
            outer = _with_part(outer, turn, choose(lands, after, memory))
        own = _part(params, turn)
        mixed = trees.add_scaled(led, self.keep, trees.subtract(own, led))
        params = _with_part(params, turn, choose(lands, mixed, own))
        return StreamingState(_joined(params, home), anchor, inner, outer, waiting, step + 1)

    def query(self, state: StreamingState) -> Tree:
        return state.params

    def _turn(self, step: Array) -> Array:
        """Which part is told in the exchange of `step`."""
        return step // self.every % self.parts


def _cut(tree: Tree, parts: int) -> tuple[Array, ...]:
    """All numbers of a node by part, (n, parts, size), one array for every dtype."""
    leaves = jax.tree.leaves(tree)
    cut = []
    for dtype in _dtypes(tree):
        rows = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves if leaf.dtype == dtype], axis=1)
        rows = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % parts)))
        cut.append(rows.reshape(rows.shape[0], parts, -1))
    return tuple(cut)


def _joined(cut: tuple[Array, ...], like: Tree) -> Tree:
    """The tree shaped as `like` of what `_cut` made of it."""
    leaves, treedef = jax.tree.flatten(like)
    joined, begins = [], dict.fromkeys(_dtypes(like), 0)
    rows = dict(zip(begins, (rows.reshape(rows.shape[0], -1) for rows in cut), strict=True))
    for leaf in leaves:
        first, size = begins[leaf.dtype], leaf.size // leaf.shape[0]
        joined.append(rows[leaf.dtype][:, first : first + size].reshape(leaf.shape))
        begins[leaf.dtype] = first + size
    return treedef.unflatten(joined)


def _dtypes(tree: Tree) -> list[Any]:
    return list(dict.fromkeys(leaf.dtype for leaf in jax.tree.leaves(tree)))


def _by_part(function: Any, *trees: Tree) -> Tree:
    """`function` of all leaves but single numbers, which are those of all parts."""
    return jax.tree.map(lambda *leaves: function(*leaves) if leaves[0].ndim else leaves[0], *trees)


def _part(tree: Tree, turn: Array | int) -> Tree:
    return _by_part(lambda leaf: leaf[:, turn], tree)


def _with_part(tree: Tree, turn: Array | int, part: Tree) -> Tree:
    return _by_part(lambda leaf, new: leaf.at[:, turn].set(new), tree, part)
