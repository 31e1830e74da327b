"""Numbers of methods, weights of edges and bits of messages, tuned by the gradient of whole runs."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._support.checks import CojaxInputError, check_number, whole_number
from .._support.reprs import brief
from ..methods import Method
from ..networks.base import Network
from ..networks.links.links import Quantized
from ..problems.problem import Decision, Problem
from .ensembles import Gap, Instance, distances, taken
from .objectives import Area, Objective
from .resolutions import Resolution
from .workbenches import Workbench, as_knobs, workbench

if TYPE_CHECKING:
    import optax

MOST_HALVINGS = 8
RISE = 0.3  # of the mean loss above its least: some runs have begun to diverge, where their gradients say nothing


class History(NamedTuple):
    """What happened in every update.

    Fields:
        loss: (u,), mean over the training instances, before the update.
        score: (u,), mean over the held-out instances, inflated or not; NaN where they were not run.
        rejected: (u,), whether the loss was not finite, or far above the least one: undone, and later updates halved.
    """

    loss: Float[np.ndarray, " u"]
    score: Float[np.ndarray, " u"]
    rejected: Bool[np.ndarray, " u"]

    def __repr__(self) -> str:
        return brief(self)


class Tuning(NamedTuple):
    """What `tune` returns.

        tuning = cojax.tune(problems, network, method, starts, what=["learn.step_size"], num_steps=500)
        print(tuning)  # the numbers found, and the scores before and after
        solution = cojax.solve(problem, tuning.network, tuning.method, start, num_steps=500)

    Scores are the objective's, the smaller the better: steps to its target for `Area`, the default, and for `Rounds`,
    bits for `Bits`, seconds for `Seconds`, log10 of the gap at the end for `Final`, and at the deadline for `Deadline`.
    Method and network are differentiable as any others; scores and history are plain numbers.

    Fields:
        method: what was given, with the numbers that scored best.
        network: the same, with its weights and its link where these were tuned.
        before: the score of what was given, mean over the held-out instances.
        after: that of what is returned, never larger.
        history: a `History`, one row an update.
    """

    method: Method
    network: Network
    before: float
    after: float
    history: History

    def __repr__(self) -> str:
        return brief(self)


def tune(
    problem: Problem | Sequence[Problem],
    network: Network,
    method: Method,
    start: Decision | Sequence[Decision],
    *,
    what: Any,
    num_steps: int,
    every: int = 10,
    objective: Objective | None = None,
    optimizer: "optax.GradientTransformation | None" = None,
    num_updates: int = 100,
    num_held_out: int | None = None,
    look_every: int = 5,
    patience: int = 6,
    margin: float = 1.0,
    inflation: float = 1.1,
    clip: float = 1.0,
    window: int | None = None,
    optima: Sequence[Decision] | None = None,
    gap: Gap = distances,
) -> Tuning:
    """A method and a network whose runs need fewer rounds, by gradient descent through whole runs.

        tuning = cojax.tune(problems, network, method, starts, what=["learn.step_size", "weights"], num_steps=500)
        solution = cojax.solve(problem, tuning.network, tuning.method, start, num_steps=500)

    Gradients are taken on the first instances, each one's clipped by itself; the last ones are held out, and what is
    returned is what scored best on them, or what was given where nothing scored better. Steps stay below the limit that
    `cojax.theory` knows for their method at the weights, mixing and momentum of the moment; weights stay symmetric, not
    negative, and bounded at every node; so totals are kept exactly at all times. What is tuned belongs to problems
    like these on this graph: expect nothing of it elsewhere, and tune on at least as many steps as you will run.

    Args:
        problem, start: one or many, of one cost and one shape; a `Lossy` or random network loses other links in each.
        network, method: what to start from, such as `cojax.tuned` gives.
        what: names of floats, "learn.step_size", "allocate.momentum", "link.quantizer.rho", ... ("step_size" where the
            method is no `CoOpt`), "weights" for one weight per edge and graph, and the knobs of `cojax.tuning`:
            `PerNode`, `PerStep`, `Resolution`.
        num_steps, every: of a run, and between two looks at it; rounds are counted in looks.
        objective: `cojax.tuning.Area()` by default; `Final`, `Rounds`, `Bits`; on a `Timed` network also `Seconds`, to
            a gap, and `Deadline`, the gap at one.
        optimizer: of optax; Adam with 0.05 by default. Coordinates are logarithms of what is positive.
        num_updates: the most that are made; every `look_every`-th the held-out instances are run, and after `patience`
            looks without a better score the search ends.
        num_held_out: the last of the instances; a third of them by default.
        margin: the part of the limit of theory that steps may take; above 1 nothing is proved.
        inflation: >= 1, what step sizes and mixing are multiplied by while they are tuned, not when returned; what
            is selected is judged with and without it, so that it does not lie at the edge of a cliff.
        clip: the largest norm of one instance's gradient in one knob.
        window: steps between two cuts of the gradient; None for the whole run, in memory one state per look.
        optima: the optimum of every problem, as `cojax.reference(problem.softened(), ...).x`, computed where None.
        gap: `gap(problem, x, optimum)` to numbers >= 0 for params and for cpu; by default squared distances.

    Loops on the host. Warns where one instance is all there is, and on a `Quantized` link, whose gradients are nearly
    useless. Raises `CojaxInputError` for names that are not there, steps per node that would break the total,
    instances that do not fit each other, and `Seconds` or `Deadline` without a clock.
    """
    objective = Area() if objective is None else objective
    check_number("tune", "clip", clip, above=0.0, shaped=())
    for name, value in (("num_updates", num_updates), ("look_every", look_every), ("patience", patience)):
        whole_number("tune", name, value, at_least=1)
    _warn_of_link(network, what)
    bench, instances = workbench(
        problem, network, method, start, what=what, objective=objective, num_steps=num_steps, every=every,
        optima=optima, margin=margin, inflation=inflation, window=window, gap=gap,
    )  # fmt: skip
    training, held_out = split(instances, num_held_out)
    if optimizer is None:
        import optax  # here, because only a search needs it

        optimizer = optax.adam(0.05)
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise CojaxInputError(
            f"tune needs an optimizer such as optax.adam(0.05), got {type(optimizer).__name__} {optimizer!r:.60}."
        )
    search = TuningSearch(bench, training, held_out, clip, optimizer)
    waited = 0
    for count in range(num_updates):
        if search.halvings > MOST_HALVINGS or waited >= patience:
            break
        search.update()
        if (count + 1) % look_every == 0 or count + 1 == num_updates:
            waited = 0 if search.look() else waited + 1
    return search.result()


def split(instances: Instance, num_held_out: int | None) -> tuple[Instance, Instance]:
    """The instances to take gradients on, and those to judge by."""
    count = instances.draw.shape[0]
    if count == 1:
        warnings.warn(
            "tune got one instance to tune on and to judge by: what fits it alone is likely to fail elsewhere; pass "
            "several problems or starts.",
            stacklevel=3,
        )
        return instances, instances
    last = max(count // 3, 1) if num_held_out is None else num_held_out
    last = whole_number("tune", "num_held_out", last, at_least=1)
    if last >= count:
        raise CojaxInputError(f"tune needs an instance to tune on, got {last} of {count} held out.")
    return taken(instances, slice(0, count - last)), taken(instances, slice(count - last, count))


class TuningSearch:
    """Gradient descent in the free coordinates, with all that keeps it from harm."""

    def __init__(
        self,
        bench: Workbench,
        training: Instance,
        held_out: Instance,
        clip: float,
        optimizer: "optax.GradientTransformation",
    ):
        self.bench, self.training, self.held_out = bench, training, held_out
        self.clip, self.optimizer = clip, optimizer
        self.theta = self.good = bench.first
        self.memory = optimizer.init(self.theta)
        self.halvings, self.least = 0, np.inf
        self.before = self.after = self.best = bench.mean_score(bench.given, held_out)
        self.pair = bench.given
        self.rows: list[tuple[float, float, bool]] = []

    def update(self) -> None:
        """One step down the mean of the clipped gradients, or back to the least loss and half as far from then on."""
        losses, gradients = self.bench.gradients(self.theta, self.training)
        loss = float(jnp.mean(losses))
        mean, fine = clipped_mean(losses, gradients, self.clip)
        rejected = not fine or not loss <= self.least + RISE
        self.rows.append((loss, np.nan, rejected))
        if rejected:
            self.halvings += 1
            self.theta, self.memory = self.good, self.optimizer.init(self.good)
            return
        if loss < self.least:
            self.least, self.good = loss, self.theta
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to whole powers
            steps, self.memory = self.optimizer.update(mean, self.memory, self.theta)
        self.theta = jax.tree.map(lambda free, step: free + 0.5**self.halvings * step, self.theta, steps)

    def look(self) -> bool:
        """Whether the present point scores better than all before on the held-out instances; it is then kept."""
        if not all(bool(jnp.isfinite(free).all()) for free in self.theta):
            return False
        score = self.bench.robust_score(self.theta, self.held_out)
        self.rows[-1] = (self.rows[-1][0], score, self.rows[-1][2])
        # By more than rounding: the coordinates of what was given are no better than it.
        if not score < self.best - 1e-9 * abs(self.best):
            return False
        self.best, self.pair = score, self.bench.pair(self.theta)
        self.after = self.bench.mean_score(self.pair, self.held_out)
        return True

    def result(self) -> Tuning:
        loss, score, rejected = (np.asarray(column) for column in zip(*self.rows, strict=True))
        return Tuning(*self.pair, self.before, self.after, History(loss, score, rejected.astype(bool)))


@jax.jit
def clipped_mean(losses: Float[Array, " m"], gradients: Any, clip: Any) -> tuple[Any, Bool[Array, ""]]:
    """The mean over finite samples of gradients no longer than `clip` in any leaf, and whether half of them are finite.

    Clipped before they are averaged: otherwise one instance near its limit owns the step.
    """
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(gradients)]
    finite = jnp.isfinite(losses) & jnp.stack([jnp.isfinite(leaf).all(1) for leaf in leaves]).all(0)
    count = jnp.maximum(finite.sum(), 1).astype(losses.dtype)

    def mean(leaf: Array) -> Array:
        kept = jnp.where(finite.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0)
        norm = jnp.sqrt((kept**2).reshape(kept.shape[0], -1).sum(1))
        factor = jnp.minimum(1.0, clip / jnp.maximum(norm, 1e-30))
        return (kept * factor.reshape(-1, *[1] * (leaf.ndim - 1))).sum(0) / count

    return jax.tree.map(mean, gradients), 2 * finite.sum() > losses.size


def _warn_of_link(network: Network, what: Any) -> None:
    only_bits = all(isinstance(knob, Resolution) for knob in as_knobs(what))
    if isinstance(getattr(network, "link", None), Quantized) and not only_bits:
        warnings.warn(
            "tune differentiates through a Quantized link, whose landscape is jagged: its gradients point nowhere "
            "(cosine with finite differences 0.0 to 0.6 measured). Use Innovation(quantizer), or "
            'Innovation(quantizer, memory="edge") on a changing network (0.999), and see cojax.gradient_check.',
            stacklevel=3,
        )
