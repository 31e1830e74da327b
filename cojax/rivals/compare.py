"""Many methods on one problem, network and start, judged over rounds, bits and time by one optimum."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from .._support import exact_grid
from .._support.checks import CojaxInputError, check_kinds, check_leaves, check_number, one_line, whole_number
from .._support.compiling import compiled
from .._support.reprs import brief
from ..methods import Method
from ..networks.base import Network
from ..networks.clocks import schedule
from ..networks.faults.draws import has_keys, key_axes, reseed
from ..networks.faults.faulty import untimed
from ..optimum import Reference
from ..problems.measures import disagreement, overload
from ..problems.problem import Decision, Problem, check_gradient, check_plain, check_start
from ..runs.checks import check_clock
from ..runs.labels import Labelled, dataset, frame
from ..runs.loop import check_beginning, check_run, init
from ..runs.records import standard
from ..runs.solutions import State
from ..runs.solve import solve
from . import Rival

if TYPE_CHECKING:
    import pandas
    import xarray

GAPS = (1e-2, 1e-6, 1e-10)
MOST_KEPT = 2**32  # bytes of the decisions of one rival

Measure = Callable[[Problem, Decision], Array]


class Course(NamedTuple):
    """How one method fared, by row: row 0 is the start, row c the end of chunk c. NumPy arrays, without derivatives.

    With seeds every field of rows but `step` has an axis of them before its rows.

        courses = cojax.compare(problem, network, methods, start, optimum=optimum, num_steps=2000, every=10)
        course = courses["NIDS"]
        course.step[course.learn_gap <= 1e-6][0]  # when the gap was first a millionth of that at the start

    Gaps are relative to that of the start, so row 0 is 1 and they have no unit (to the optimal cost, where the start
    is the optimum of that half); they are measured on the problem that the methods solve, its penalty included.

    Fields:
        step: (c,), steps done: 0, every, 2 every, ...
        bits: (c,), told so far by one node to one neighbour.
        learn_gap: (c,), |cost of the mean params, with the best shares, - optimum|, relative.
        share_gap: (c,), |cost of the shares, with the best params, - optimum|, relative.
        disagreement: (c,), the largest distance of a params entry from its mean over nodes.
        imbalance: (c,), the largest |sum of cpu - budget| over all steps so far and all resources, in the unit of cpu.
        overload: (c,), the largest distance of a share from its bounds at that row, in the unit of cpu.
        seconds_per_step: on this machine, of one run, compile time apart.
        seeds: (s,), of the draws; None of a single run.
        seconds: (c,), by the clock of a `Timed` network, when the last node had told what it knew; None on others.
        measured_gap: (c,), |measure - that of the optimum|, relative to the start; None without a measure.
    """

    step: Int[np.ndarray, " c"]
    bits: Float[np.ndarray, "*s c"]
    learn_gap: Float[np.ndarray, "*s c"]
    share_gap: Float[np.ndarray, "*s c"]
    disagreement: Float[np.ndarray, "*s c"]
    imbalance: Float[np.ndarray, "*s c"]
    overload: Float[np.ndarray, "*s c"]
    seconds_per_step: float
    seeds: Int[np.ndarray, " s"] | None = None
    seconds: Float[np.ndarray, "*s c"] | None = None
    measured_gap: Float[np.ndarray, "*s c"] | None = None

    def __repr__(self) -> str:
        return brief(self)

    def to_pandas(self) -> "pandas.DataFrame":
        """The course as a table, a row a look, indexed by `step`; raises `CojaxInputError` where pandas is missing.

        With seeds a row a seed and a look, and a column `seed`.
        `pandas.concat({name: course.to_pandas() for name, course in courses.items()}, names=["method"])` joins many.
        """
        columns = self._columns()
        if self.seeds is None:
            return frame("Course.to_pandas", columns, self.step, "step")
        flat = {name: rows.reshape(-1) for name, rows in columns.items()}
        flat = {"seed": np.repeat(self.seeds, self.step.size), **flat}
        return frame("Course.to_pandas", flat, np.tile(self.step, self.seeds.size), "step")

    def to_xarray(self) -> "xarray.Dataset":
        """The course as a dataset by `step`, and by `seed`; raises `CojaxInputError` where xarray is missing."""
        dims = ("step",) if self.seeds is None else ("seed", "step")
        named: Labelled = {name: (dims, rows) for name, rows in self._columns().items()}
        named["seconds_per_step"] = (), np.asarray(self.seconds_per_step)
        return dataset("Course.to_xarray", named, {"step": self.step, "seed": self.seeds}, None)

    def _columns(self) -> dict[str, np.ndarray]:
        others = ("step", "seconds_per_step", "seeds")
        return {name: rows for name, rows in self._asdict().items() if name not in others and rows is not None}


def compare(
    problem: Problem,
    network: Network,
    methods: Mapping[str, Method | Rival],
    start: Decision,
    *,
    optimum: Reference,
    num_steps: int,
    every: int = 1,
    bits: float | None = None,
    seeds: Sequence[int] | None = None,
    measure: Measure | None = None,
) -> dict[str, Course]:
    """Run every method from the same start over the same network, one compiled program each.

    Args:
        problem: what the methods minimise: its cost with its penalty.
        methods: by name, methods of cojax or `cojax.rivals`; all see the same graphs, and the same links fail.
        optimum: `cojax.reference(problem.softened(), ...)`: what the runs converge to.
        num_steps, every: as in `solve`.
        bits: a budget of messages, what one node may tell one neighbour; a course ends at the last look within it.
            Take num_steps so large that the method that tells least uses it up. None for no budget.
        seeds: of other draws of what the network draws, which links fail when: every seed is folded into all of its
            keys, every method meets the same draws, and all seeds run in one program.
        measure: `measure(problem, x)`, a number that is followed too, as in `trials`: `cojax.own_models`, say.

    Returns: a `Course` per method, in order. Raises `CojaxInputError` where there is no method, for bits < 0, for more
    steps than their decisions have room, and for seeds where the network draws nothing.
    """
    if not isinstance(methods, Mapping) or not methods:
        raise CojaxInputError(
            f"compare needs methods by name, at least one method, got {type(methods).__name__} {methods!r:.60}."
        )
    check_plain("compare", problem)
    check_kinds("compare", ("network", network, Network), ("start", start, Decision), ("optimum", optimum, Reference))
    check_start("compare", problem, start)
    check_leaves("compare", network=network, methods=methods, optimum=optimum)
    if bits is not None:
        check_number("compare", "bits", bits, at_least=0.0, shaped=())
    every = check_looks("compare", num_steps, every)
    drawn = None if seeds is None else _draws(network, seeds)
    check_clock("compare", network, start.cpu)
    num_runs = 1 if drawn is None else len(drawn)
    for name, method in methods.items():
        if isinstance(method, Rival):
            _check_rival("compare", method)
            _check_room("compare", name, method, start, num_steps * num_runs)
    check_measure("compare", measure, problem, start)
    look = _look_of(problem, optimum, measure)
    courses = {}
    for name, method in methods.items():
        prepared = _prepared(problem, network, method, start, num_steps, every, look, drawn)
        jax.block_until_ready(prepared.run())
        began = time.perf_counter()
        found = jax.block_until_ready(prepared.run())
        seconds = (time.perf_counter() - began) / max(num_steps, 1) / num_runs
        rows = prepared.rows_of(found)
        courses[name] = _course(rows, seconds, bits, optimum, drawn, network.clock is not None, measure is not None)
    return courses


def course_in(
    pool: Executor,
    owner: str,
    problem: Problem,
    network: Network,
    method: Method | Rival,
    start: Decision,
    *,
    optimum: Reference,
    num_steps: int,
    every: int,
    bits: float | None,
    measure: Measure | None,
) -> Callable[[], Course]:
    """One run as `compare` judges it, computed in a thread of `pool`; returns what waits for it and makes its course.

    It is not timed: `seconds_per_step` is 0. Methods that differ in numbers alone are one program. With `bits` it is
    over at its last look within them.
    """
    check_plain(owner, problem)
    check_start(owner, problem, start)
    check_leaves(owner, network=network, method=method, optimum=optimum)
    check_clock(owner, network, start.cpu)
    if isinstance(method, Rival):
        _check_rival(owner, method)
        _check_room(owner, "a method", method, start, _rounds(method, num_steps, every, bits))
    look = _look_of(problem, optimum, measure)
    prepared = _prepared(problem, network, method, start, num_steps, every, look, None, bits)
    # JAX's settings hold in one thread: so whatever depends on them, as compiling does, is done here.
    given = jax.tree.map(jnp.asarray, prepared.given)
    compute = prepared.program.lower(*given, *prepared.static).compile()
    running = pool.submit(lambda: jax.block_until_ready(compute(*given)))

    def wait() -> Course:
        rows = prepared.rows_of(running.result())
        return _course(rows, 0.0, bits, optimum, None, network.clock is not None, measure is not None)

    return wait


def check_measure(owner: str, measure: Any, problem: Problem, x: Decision) -> None:
    """Refuse what is no function of a problem and a decision that returns one real number."""
    if measure is None:
        return
    if not callable(measure):
        raise CojaxInputError(
            f"{owner} needs measure(problem, x), a function that returns a number, or None, got {measure!r:.60}."
        )
    try:
        found = jax.eval_shape(measure, problem, x)
    except Exception as error:
        raise CojaxInputError(
            f"{owner} cannot compute measure(problem, x) ({one_line(error)}): write it in jax.numpy, of a problem and "
            "the decision of all its nodes."
        ) from error
    numbers = isinstance(found, jax.ShapeDtypeStruct) and jnp.isdtype(found.dtype, ("real floating", "integral"))
    if not numbers or found.shape:
        raise CojaxInputError(f"{owner} needs measure(problem, x) to return one real number, got {found!r:.80}.")


def check_looks(owner: str, num_steps: Any, every: Any) -> int:
    """`every`, of which `num_steps` has to be a multiple."""
    every = whole_number(owner, "every", every, at_least=1)
    if whole_number(owner, "num_steps", num_steps, at_least=0) % every:
        raise CojaxInputError(f"{owner} needs num_steps to be a multiple of every, got {num_steps} and {every}.")
    return every


def _draws(network: Network, seeds: Any) -> Int[np.ndarray, " s"]:
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Sequence | np.ndarray) or not len(seeds):
        raise CojaxInputError(f"compare needs seeds to be a list of whole numbers, range(10) say, got {seeds!r:.60}.")
    drawn = np.array([whole_number("compare", "seeds", seed, at_least=0, at_most=2**32 - 1) for seed in seeds])
    if len(set(drawn.tolist())) < len(drawn):
        raise CojaxInputError(
            f"compare needs seeds that differ, got {seeds!r:.60}: equal ones are one run, counted twice."
        )
    if not has_keys(network):
        raise CojaxInputError(
            "compare needs a network that draws something where it is given seeds, such as cojax.Lossy(...); this one "
            "draws nothing, and all seeds would be one run: leave them out."
        )
    return drawn


def _mapped(run: Any, network: Network, drawn: Int[np.ndarray, " s"] | None) -> Any:
    """`run(network)`, over the draws of every seed where there are some."""
    if drawn is None:
        return functools.partial(run, network)
    axes = key_axes(network)
    networks = jax.vmap(functools.partial(reseed, network), out_axes=axes)(jnp.asarray(drawn, jnp.uint32))
    return functools.partial(jax.vmap(run, in_axes=(axes,)), networks)


def _check_rival(owner: str, rival: Rival) -> None:
    if rival.half not in ("learn", "share"):
        raise CojaxInputError(f'{owner} needs a Rival whose half is "learn" or "share", got {rival.half!r}.')
    if not callable(rival.run):
        raise CojaxInputError(
            f"{owner} needs a Rival with a function run(problem, network, start, num_steps), got {rival.run!r:.60}."
        )
    check_number(owner, "bits of a Rival", rival.bits, at_least=0.0, shaped=())


def _check_room(owner: str, name: str, method: Rival, start: Decision, num_steps: int) -> None:
    half = jax.tree.leaves(start.params if method.half == "learn" else start.cpu)
    size = num_steps * sum(np.size(leaf) * jnp.result_type(leaf).itemsize for leaf in half)
    if size > MOST_KEPT:
        raise CojaxInputError(
            f"{owner} would keep {size / 1e9:.3g} GB for {name}, a rival, which returns the decision of each of its "
            f"{num_steps} steps: take fewer, or leave it out."
        )


class _Look(NamedTuple):
    """What is judged of a decision."""

    soft: Problem
    best: Decision
    measure: Any  # a `Partial`, for which a program is compiled once; None for none

    def __call__(self, problem: Problem, x: Decision) -> tuple[Array, ...]:
        mean = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.mean(0, keepdims=True), leaf.shape), x.params)
        learned, shared = Decision(mean, self.best.cpu), Decision(self.best.params, x.cpu)
        # Differences node by node: the costs of a half that is alike cancel exactly.
        floor = self.soft.costs(self.best)
        gaps = (jnp.abs((self.soft.costs(half) - floor).sum()) for half in (learned, shared))
        measured = jnp.zeros(())
        if self.measure is not None:
            measured = jnp.abs(self.measure(problem, x) - self.measure(problem, self.best))
        return *gaps, measured, disagreement(x), overload(problem, x)


def _look_of(problem: Problem, optimum: Reference, measure: Measure | None) -> _Look:
    return _Look(problem.softened(), optimum.x, None if measure is None else Partial(measure))


class _Rows(NamedTuple):
    """What is known of a run, by row; gaps are not relative yet."""

    step: Any
    bits: Any
    learn_gap: Any
    share_gap: Any
    measured_gap: Any  # 0 without a measure
    disagreement: Any
    overload: Any
    imbalance: Any
    seconds: Any  # by the clock; 0 without one


class _Prepared(NamedTuple):
    """A run, or one of every seed, that can begin: its program, what that takes, and what makes rows of the result."""

    program: Any  # jitted, except over seeds
    given: tuple
    static: tuple[int, ...]
    rows_of: Callable[[Any], _Rows]  # each row (c,) or (s, c)

    def run(self) -> Any:
        return self.program(*self.given, *self.static)


def _prepared(problem, network, method, start, num_steps, every, look, drawn, bits=None) -> _Prepared:
    prepare = _prepared_rival if isinstance(method, Rival) else _prepared_method
    prepared = prepare(problem, network, method, start, num_steps, every, look, drawn, bits)

    def rows_of(found: Any) -> _Rows:
        rows = prepared.rows_of(found)
        if np.isnan(rows).any():  # of a run that diverged, or of one that never could begin
            check_gradient(look.soft.grad(start))
        return rows

    return prepared._replace(rows_of=rows_of)


def _prepared_method(problem, network, method, start, num_steps, every, look, drawn, bits) -> _Prepared:
    # Here they know the numbers that they check; in a program they do not.
    check_run(problem, network, method, start, num_steps, every, standard)
    check_beginning(problem, network, method, start)

    def rows_of(trace: _Rows) -> _Rows:
        first = _Rows(0.0, 0.0, *_look_at(look, problem, start), imbalance=0.0, seconds=0.0)
        return _Rows(*map(_after, first, trace))

    if bits is not None and num_steps:

        def rows_within(found: tuple[_Rows, Array]) -> _Rows:
            trace, count = found
            return rows_of(_Rows(*(rows[: int(count)] for rows in trace)))

        given = (problem, network, method, start, look, bits)
        return _Prepared(_trace_within, given, (num_steps, every), rows_within)
    if drawn is None:
        return _Prepared(_trace, (problem, network, method, start, look), (num_steps, every), rows_of)

    def one_run(network: Network) -> _Rows:
        return _trace(problem, network, method, start, look, num_steps, every)

    return _Prepared(_mapped(one_run, network, drawn), (), (), rows_of)


# The look is an argument: a function that closed over it would be another program for every problem.
@functools.partial(compiled, static_argnums=(5, 6))
def _trace(
    problem: Problem, network: Network, method: Method, start: Decision, look: _Look, num_steps: int, every: int
) -> _Rows:
    record = functools.partial(_recorded, look)
    return solve(problem, network, method, start, num_steps=num_steps, every=every, record=record).trace


@functools.partial(compiled, static_argnums=(6, 7))
def _trace_within(
    problem: Problem,
    network: Network,
    method: Method,
    start: Decision,
    look: _Look,
    bits: Array,
    num_steps: int,
    every: int,
) -> tuple[_Rows, Array]:
    """As `_trace`, up to the first row beyond `bits`; and how many rows that are."""
    record = functools.partial(_recorded, look)

    def piece(state: State) -> tuple[State, _Rows]:
        run = solve(problem, network, method, state, num_steps=every, every=every, record=record)
        return run.state, _Rows(*(rows[0] for rows in run.trace))

    def advance(going: tuple) -> tuple:
        _, state, rows, count = going
        state, row = piece(state)
        rows = _Rows(*(those.at[count].set(one) for those, one in zip(rows, row, strict=True)))
        return row.bits <= bits, state, rows, count + 1

    def going_on(going: tuple) -> Array:
        return going[0] & (going[3] < num_steps // every)

    rows = _Rows(*[jnp.zeros(num_steps // every)] * len(_Rows._fields))
    begun = (jnp.asarray(True), init(problem, network, method, start), rows, jnp.asarray(0))
    _, _, rows, count = lax.while_loop(going_on, advance, begun)
    return rows, count


def _recorded(look: _Look, problem: Problem, x: Decision, state: State) -> _Rows:
    clock = 0.0 if state.elapsed is None else state.elapsed.seconds.max()
    row = _Rows(state.step, state.wire.bits, *look(problem, x), imbalance=state.imbalance.max(), seconds=clock)
    return _Rows(*(jnp.asarray(entry, float) for entry in row))


@functools.partial(compiled, runs_briefly=True)
def _look_at(look: _Look, problem: Problem, x: Decision) -> tuple[Array, ...]:
    return look(problem, x)


def _after(first: Any, rest: Any) -> np.ndarray:
    """The row of the start before all others."""
    rows = np.asarray(rest)
    return np.concatenate([np.broadcast_to(float(first), (*rows.shape[:-1], 1)), rows], axis=-1)


def _rounds(rival: Rival, num_steps: int, every: int, bits: float | None) -> int:
    """The steps up to the last look within `bits`."""
    if bits is None or rival.bits <= 0:
        return num_steps
    return min(num_steps, int(bits / rival.bits) // every * every)


def _prepared_rival(problem, network, rival, start, num_steps, every, look, drawn, bits) -> _Prepared:
    """As `_prepared_method`; the half that a rival does not decide stays at the start."""
    num_steps = _rounds(rival, num_steps, every, bits)
    # Numbers of a `Partial` are arguments; what any other function closes over is a part of its program.
    numbers = (rival.run,) if isinstance(rival.run, Partial) else ()
    program = functools.partial(_decided if numbers else jax.jit(rival.run, static_argnums=3), *numbers)
    along = 0 if drawn is None else 1  # the axis of steps
    part = "params" if rival.half == "learn" else "cpu"

    def each(function: Any) -> Any:
        return jax.vmap(function if drawn is None else jax.vmap(function))

    def clocked(network: Network) -> Array:
        later = program(problem, untimed(network), start, num_steps) if rival.half == "share" else None
        return schedule(network, start.cpu, later, rival.bits, num_steps)

    def rows_of(decided: Any) -> _Rows:
        wanted, got = (num_steps, *np.shape(getattr(start, part))), np.shape(decided)[along:]
        if got != wanted:
            raise CojaxInputError(f"A Rival has to return its {part} after every step, shape {wanted}, got {got}.")
        seen = decided[(slice(None),) * along + (slice(every - 1, None, every),)]
        size = seen.shape[along] + 1
        steps = np.broadcast_to(every * np.arange(float(size)), (*seen.shape[:along], size))
        parts = map(_after, _look_at(look, problem, start), _judged(look, problem, start, seen, part, along))
        off = np.zeros((*seen.shape[:along], num_steps + 1))
        if rival.half == "share":
            beside = each(lambda cpu: exact_grid.imbalance(cpu, problem.budget).max())(decided)
            off[..., 1:] = np.maximum.accumulate(np.asarray(beside), axis=-1)
        clock = np.zeros_like(off)
        if network.clock is not None:
            clock[..., 1:] = np.asarray(_mapped(clocked, network, drawn)())
        return _Rows(steps, rival.bits * steps, *parts, imbalance=off[..., ::every], seconds=clock[..., ::every])

    if drawn is None:
        return _Prepared(program.func, (*numbers, problem, untimed(network), start), (num_steps,), rows_of)
    run = _mapped(lambda network: program(problem, network, start, num_steps), untimed(network), drawn)
    return _Prepared(run, (), (), rows_of)


@functools.partial(jax.jit, static_argnums=4)
def _decided(run: Partial, problem: Problem, network: Network, start: Decision, num_steps: int) -> Array:
    return run(problem, network, start, num_steps)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _judged(look: _Look, problem: Problem, start: Decision, seen: Array, part: str, num_axes: int) -> tuple:
    """What is seen of decisions with an axis of looks, and one of seeds before where there are some."""

    def one(half: Array) -> tuple:
        return look(problem, start._replace(**{part: half}))

    return (jax.vmap(jax.vmap(one)) if num_axes else jax.vmap(one))(seen)


def _course(
    rows: _Rows,
    seconds_per_step: float,
    bits: float | None,
    optimum: Reference,
    seeds: Any,
    timed: bool,
    measured: bool,
) -> Course:
    """Gaps are told beside that of the start; where it has none, beside the optimal cost."""
    size = abs(float(optimum.cost))
    told = rows.bits if seeds is None else rows.bits.max(0)
    kept = _Rows(*(row if bits is None else row[..., told <= bits] for row in rows))
    if not np.isfinite(rows.measured_gap.flat[0]):
        raise CojaxInputError(
            "measure(problem, x) has to be a finite number at the start and at the optimum, got values that are "
            f"{rows.measured_gap.flat[0]} apart: take a measure that is defined at both."
        )

    def relative(gap: np.ndarray, first: float) -> np.ndarray:
        return gap / (first if first > 0 else size if size > 0 else 1.0)

    return Course(
        step=(kept.step if seeds is None else kept.step[0]).astype(int),
        seeds=seeds,
        bits=kept.bits,
        learn_gap=relative(kept.learn_gap, float(rows.learn_gap.flat[0])),
        share_gap=relative(kept.share_gap, float(rows.share_gap.flat[0])),
        measured_gap=relative(kept.measured_gap, float(rows.measured_gap.flat[0])) if measured else None,
        disagreement=kept.disagreement,
        seconds=kept.seconds if timed else None,
        imbalance=kept.imbalance,
        overload=kept.overload,
        seconds_per_step=seconds_per_step,
    )


def first_row_at(gap: Float[np.ndarray, " c"], target: float) -> int | None:
    """The first row from which a gap stays at or below `target`; None where it does not."""
    above = np.flatnonzero(~(gap <= target))
    row = 0 if above.size == 0 else int(above[-1]) + 1
    return row if row < gap.size else None


def table(courses: Mapping[str, Course], half: str, budget: float) -> list[list[str]]:
    """The courses as rows of text: steps, kilobits and seconds to each gap, what is left at the end, what was kept.

    Args:
        half: "learn" or "share", the gap to judge by.
        budget: the CPU total; all-time feasible (total) means never off by more than 1e-12 of it; 0 is exact, and of a
            budget of 0 nothing else will do. It says nothing of bounds: the column before it tells how far the last
            share is beyond one.

    Seconds are those of the clock of a `Timed` network. Without one they are the measured time of a step times the
    steps, compiling apart, which says little on a machine that does other things too. With seeds a number is the median
    of all, a run that never gets there counting as the last, and what was kept is that of the worst.
    """
    names = [f"{gap:.0e}".replace("e-0", "e-") for gap in GAPS]
    rows = [
        ["method", *(f"{what} to {name}" for what in ("steps", "kbit", "s") for name in names)]
        + ["final gap", "models apart", "total off", "beyond bounds (end)", "all-time feasible (total)", "us/step"]
    ]
    for name, course in courses.items():
        gap, bits = np.atleast_2d(getattr(course, f"{half}_gap")), np.atleast_2d(course.bits)
        at, seconds = [_row_at(gap, target) for target in GAPS], seconds_of(course)
        off = float(course.imbalance.max())
        final, apart = float(np.median(gap[:, -1])), float(np.median(np.atleast_2d(course.disagreement)[:, -1]))
        beyond = float(np.atleast_2d(course.overload)[:, -1].max())
        rows.append(
            [name]
            + ["-" if row is None else f"{course.step[row]}" for row in at]
            + ["-" if row is None else f"{np.median(bits[:, row]) / 1000:.3g}" for row in at]
            + ["-" if row is None else f"{seconds[row]:.3g}" for row in at]
            + [f"{final:.1e}", f"{apart:.1e}", f"{off:.1e}", f"{beyond:.1e}"]
            + ["yes" if off <= 1e-12 * abs(budget) else "no", f"{1e6 * course.seconds_per_step:.1f}"]
        )
    return rows


def seconds_of(course: Any) -> Float[np.ndarray, " c"]:
    """By the clock of the network, the median of all seeds; without one, of this machine."""
    if course.seconds is None:
        return course.step * course.seconds_per_step
    return np.median(np.atleast_2d(course.seconds), axis=0)


def _row_at(gaps: Float[np.ndarray, "s c"], target: float) -> int | None:
    """The row by which half of all runs stay at or below `target`, the later of two in the middle."""
    rows = [first_row_at(gap, target) for gap in gaps]
    middle = sorted(np.inf if row is None else row for row in rows)[len(rows) // 2]
    return None if np.isinf(middle) else int(middle)


def text_table(rows: list[list[str]]) -> str:
    """Rows of text as a table, the first column left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
