"""Gradients on a few samples of every node, drawn anew at every step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from .._support.checks import CojaxInputError, as_key, whole_number
from .._support.trees import Tree
from .costs import Samples
from .membership import Roll
from .problem import FIELDS, Decision, Problem, Scenario, check_plain
from .rows import ShardedProblem


class Minibatch(Scenario):
    """A problem whose gradient at every step is that of `batch_size` samples of every node: right on average.

    The samples are drawn from the key and the step only: a run that is continued is bitwise the whole run. A node's
    samples are cut, in their order, into `batch_size` parts of equal size and one is drawn from each, which varies less
    than free draws, the less the more alike neighbours are; with as many parts as samples it is the full gradient.
    Costs, and so records, stay those of all samples: look rarely, or record something else, where these are many.
    With a constant step, methods stop near the optimum, at a squared distance of the order of the step size.

    Args:
        problem: the problem of all samples, its data with the samples on the second axis.
        batch_size: how many samples a node takes a step, static.
        key: a JAX key or an integer seed.
        samples: `samples(data)`, the arrays of the data (n, m, ...) that hold samples, of a cost that is a mean over
            them. By default every `cojax.costs.Samples` in the data: their losses are sums with weights, so weights
            are scaled by N_i / batch_size; rows of weight 0 are padding and never drawn.

    Raises `CojaxInputError` for a batch_size < 1 or too large to count, and data without samples.
    Source: Robbins, Monro 1951, doi 10.1214/aoms/1177729586; with gradient tracking (DSGT): Pu, Nedic, Math. Program.
    2021, doi 10.1007/s10107-020-01487-0.
    """

    problem: Problem
    batch_size: int = eqx.field(static=True)
    key: PRNGKeyArray
    draws: tuple["Draw", ...]
    sharded: bool = eqx.field(static=True)

    def __init__(self, problem: Any, batch_size: Any, key: Any = 0, *, samples: Callable[[Tree], Tree] | None = None):
        if not isinstance(problem, ShardedProblem):
            check_plain("Minibatch", problem)
        self.problem, self.sharded = problem.base, problem.in_device_order
        self.batch_size = whole_number("Minibatch", "batch_size", batch_size, at_least=1)
        if self.batch_size > MOST_SAMPLES:
            raise CojaxInputError(f"Minibatch needs a batch_size <= {MOST_SAMPLES}, got {batch_size}.")
        self.key = as_key("Minibatch", key)
        self.draws = _weighed_draws(self.problem.data) if samples is None else (_plain_draw(self.problem, samples),)

    @property
    def base(self):
        return self.problem

    @property
    def members(self):
        return self.problem.members

    @property
    def in_device_order(self):
        return self.sharded

    def start(self, params: Tree = None, cpu: Any = None) -> Decision:
        """As `Problem.start` of the problem of all samples."""
        return self.problem.start(params, cpu)

    def at(self, k: Int[Array, ""] | int) -> "Drawn":
        """The problem whose gradient is that of the samples of step `k`."""
        key = jax.random.fold_in(self.key, k)
        leaves, kind = jax.tree.flatten(self.problem.data)
        for place, draw in enumerate(self.draws):
            rows = draw.rows(jax.random.fold_in(key, place), self.batch_size)
            for leaf in draw.leaves:
                leaves[leaf] = jax.vmap(_take)(leaves[leaf], rows)
            if draw.weights is not None:
                weights = leaves[draw.weights]
                leaves[draw.weights] = weights * (draw.counts.astype(weights.dtype) / self.batch_size)[:, None]
        return Drawn(self.problem, jax.tree.unflatten(kind, leaves))


class Drawn(Problem):
    """The problem of one step: its costs are those of all data, its gradient that of a batch."""

    whole: Problem
    batch: Tree

    def __init__(self, problem: Problem, batch: Tree):
        for name in FIELDS:
            setattr(self, name, getattr(problem, name))
        self.whole, self.batch = problem, batch

    @property
    def members(self):
        return self.whole.members

    def grad(self, x: Decision) -> Decision:
        return self.whole.grad_on(x, self.batch)


class Draw(eqx.Module):
    """Which arrays of the data hold one set of samples, and where its real ones are."""

    leaves: tuple[int, ...] = eqx.field(static=True)  # by their place among the leaves of the data
    weights: int | None = eqx.field(static=True)  # the one that is scaled
    counts: Int[Array, " n"]  # real samples
    order: Int[Array, "n m"] | None  # rows of every node, the real ones first; None where all are

    def rows(self, key: PRNGKeyArray, batch_size: int) -> Int[Array, "n b"]:
        """`batch_size` rows of every node."""
        counts = jnp.maximum(self.counts, 1)[:, None]
        shape = (counts.shape[0], batch_size)
        picks = jax.random.randint(key, shape, 0, jnp.broadcast_to(counts, shape), jnp.int32)
        parts = jnp.broadcast_to(jnp.arange(batch_size, dtype=picks.dtype)[None], shape)
        ranks = rank(parts, picks, jnp.broadcast_to(counts, shape), batch_size)
        return ranks if self.order is None else jax.vmap(_take)(self.order, ranks)


# Products of two places in a batch, plus a place in the samples, are to fit into 32 bits.
MOST_SAMPLES = 2**15


def rank(part: Any, pick: Any, count: Any, parts: int) -> Any:
    """The place among `count` samples of the `pick`-th of equally likely draws, 0 <= pick < count, from one part.

    floor((part * count + pick) / parts), without its large product: over all parts and picks every sample comes up
    `parts` times, so its mean number in a batch is parts / count, whatever these are.
    """
    whole, rest = count // parts, count % parts
    return part * whole + (part * rest + pick) // parts


def _weighed_draws(data: Tree) -> tuple[Draw, ...]:
    """One draw for every `Samples` in the data."""
    places = jax.tree.unflatten(jax.tree.structure(data), range(len(jax.tree.leaves(data))))
    found = jax.tree.leaves(places, is_leaf=_is_samples)
    leaves = jax.tree.leaves(data)
    draws = []
    for node in filter(_is_samples, found):
        real = leaves[node.weights] > 0
        order = jnp.argsort(~real, axis=1, stable=True).astype(jnp.int32)
        draws.append(Draw(tuple(jax.tree.leaves(node)), node.weights, real.sum(1, dtype=jnp.int32), order))
    if not draws:
        raise CojaxInputError(
            "Minibatch needs data with cojax.costs.Samples, got none: say which arrays hold samples, of a cost that is "
            "a mean over them, such as samples=lambda data: data[:2]."
        )
    _check_sizes([leaves[draw.weights] for draw in draws])
    return tuple(draws)


def _plain_draw(problem: Problem, samples: Callable[[Tree], Tree]) -> Draw:
    """One draw for the arrays that `samples` names."""
    leaves, kind = jax.tree.flatten(problem.data)
    places = jax.tree.unflatten(kind, range(len(leaves)))
    chosen = jax.tree.leaves(samples(places.data if isinstance(places, Roll) else places))
    if not chosen or not all(isinstance(place, int) for place in chosen):
        raise CojaxInputError("Minibatch needs samples to pick arrays of the data, such as lambda data: data[:2].")
    _check_sizes([leaves[place] for place in chosen])
    sizes = {leaves[place].shape[1] for place in chosen}
    if len(sizes) > 1:
        raise CojaxInputError(f"Minibatch needs one number of samples on the second axis, got {sorted(sizes)}.")
    num_nodes, num_samples = leaves[chosen[0]].shape[:2]
    return Draw(tuple(chosen), None, jnp.full(num_nodes, num_samples, jnp.int32), None)


def _check_sizes(arrays: list[Array]) -> None:
    for array in arrays:
        if array.ndim < 2 or not 1 <= array.shape[1] < 2**30:
            raise CojaxInputError(f"Minibatch needs samples on the second axis of its data, got shape {array.shape}.")


def _take(rows: Array, places: Array) -> Array:
    return rows.at[places].get(mode="promise_in_bounds")


def _is_samples(node: Any) -> bool:
    return isinstance(node, Samples)
