"""Many instances, each run by every method: medians, bands, paired ratios and profiles, kept in a folder."""

import contextlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from .._support.checks import CojaxInputError, as_path, check_number, did_you_mean, real_array, whole_number
from .._support.reprs import brief
from ..data.npz import read_arrays
from ..methods import Hold, Method
from ..networks.base import Network
from ..optimum import Reference, reference
from ..problems.problem import Decision, Problem, check_start
from ..runs.cores import num_cores
from ..runs.files import check_folder, replace_file
from ..runs.fingerprints import fingerprint, tell_differences
from ..runs.labels import dataset
from . import Rival
from .compare import GAPS, Course, Measure, check_looks, check_measure, course_in, first_row_at, text_table
from .evidence import interval_ranks, middle, order_statistic, ratios, to_the_best

if TYPE_CHECKING:
    import pandas
    import xarray

Over = Literal["steps", "bits", "seconds"]
Half = Literal["learn", "share"]
UNITS = {"steps": ("steps", 1.0), "bits": ("kilobits", 1e-3), "seconds": ("seconds", 1.0)}  # of tables: name, factor
WORDS = {"learn": "the model", "share": "the shares"}
NO_RATIO = "not distinguishable"
LEVEL = 0.95
DIVERGED = 1e12  # times the gap of the start: a run that has diverged is no nearer than that
# Of a dataset; gaps have none.
LABELS = {"bits": "bit", "seconds": "s", "imbalance": "unit of cpu", "overload": "unit of cpu"}
JUDGED = (("learn",), ("share",), ("learn", "share"))
BY_LOOK = ("bits", "learn_gap", "share_gap", "disagreement", "imbalance", "overload")
WHERE_ASKED = ("seconds", "measured_gap", "steps_done")
FILE = re.compile(r"trial-(\d{6})\.npz")
MOST_TRIALS = 10**5
MOST_AMOUNTS = 400


class Paired(NamedTuple):
    """How much of something `first` takes, or leaves, for what `second` does on the same instance, by `Trials.paired`.

    Fields:
        first, second: the names of the two methods.
        over: "steps", "bits" or "seconds".
        gap: the gap that both have to reach; with an amount, the one below which none is told from it.
        ratio: the median over trials of first / second; who never got there took infinitely much. NaN where the
            trials in the middle are those in which neither did.
        low, high: an interval that holds the median of all instances with probability `level` or more. A method that
            never got there would have taken more than it had, and no more than that is supposed of it.
        level: as asked for, 0.95 say.
        num_trials: how many instances.
        num_neither: in how many of them neither got there; with an amount, in how many both had diverged.
        amount: what both spend, where the ratio is that of the gaps left then; None where it is that of what they take.
    """

    first: str
    second: str
    over: str
    gap: float
    ratio: float
    low: float
    high: float
    level: float
    num_trials: int
    num_neither: int
    amount: float | None = None

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval does not hold 1."""
        return not self.low <= 1.0 <= self.high

    def __repr__(self) -> str:
        told = f"{self.over} to a gap of {_short(self.gap)}"
        if self.amount is not None:
            told = f"gap left after {self.amount:.4g} {self.over}"
        said = f"{self.first} / {self.second}, {told}: {_told(self)}"
        never = f", {self.num_neither} without either" if self.num_neither else ""
        return f"{said} (median of {self.num_trials} trials{never}, {self.level:.4g} interval)"


class Profile(NamedTuple):
    """Performance profiles, by `Trials.profile`: the part of all instances solved within a factor of the best.

    Dolan and More 2002, doi 10.1007/s101070100263. An instance that no method solves counts for none of them. Read from
    left to right: at factor 1 who is best how often, at the end who solves how many at all; but where the best took
    nothing, as a rival that tells no bits does, whoever took something is beyond any factor of it. Of more than two
    methods the order at a factor is that beside the best, not of any two of them (Gould, Scott 2016, doi
    10.1145/2950048): leave others out, or use `Trials.paired`.

    Fields:
        methods: (m,) names.
        factor: (k,), 1 and every factor at which a curve rises, in order.
        share: (m, k), from 0 to 1; between two factors a curve stays where it was.
        over, gap: as asked for.
    """

    methods: tuple[str, ...]
    factor: Float[np.ndarray, " k"]
    share: Float[np.ndarray, "m k"]
    over: str
    gap: float

    def __repr__(self) -> str:
        return brief(self)


class Trials(NamedTuple):
    """How every method fared on every instance, by `trials`. NumPy arrays; row 0 of every run is its start.

        print(trials)                                       # tables, over rounds, bits and the seconds of a clock
        trials.paired("LEAD", "DIGing", over="bits", gap=1e-6)
        trials.profile(over="bits", gap=1e-6)
        trials.left([1000.0, 2000.0], over="bits")          # of the first gap, trial by trial
        trials.to_xarray()                                  # with names and units
        cojax.plots.trials(cojax.Trials.read("runs/ring"), over="bits")

    A gap is reached from the look on from which a run stays at or below it; what was never reached is infinite, not
    left out: it counts in every median, band and profile as later than all others. Looks are `every` steps apart, so
    is what is told of them. The gap is that of the half that methods decide; where they decide both, the larger one;
    and with a measure that of the measure.

    Fields:
        methods: (m,) names.
        halves: those that a method decides, "learn", "share" or both.
        seeds: (t,), what `case` was called with: 0, 1, ....
        step: (c,), steps done: 0, every, 2 every, ...
        bits: (t, m, c), told so far by one node to one neighbour.
        learn_gap, share_gap: (t, m, c), of the mean model and of the shares, relative to the start, as in `Course`.
        disagreement: (t, m, c), the largest distance of a params entry from its mean over nodes.
        imbalance: (t, m, c), the largest |sum of cpu - budget| over all steps and resources so far, in the unit of cpu.
        overload: (t, m, c), the largest distance of a share from its bounds, in the unit of cpu.
        seconds: (t, m, c), by the clock of `Timed` networks; None on others.
        measured_gap: (t, m, c), by the measure of `trials`, relative to the start; None without one.
        steps_done: (t, m, c), where a budget of bits ended runs: a look beyond the end repeats the last one. None
            without a budget: all have done `step`.
    """

    methods: tuple[str, ...]
    halves: tuple[str, ...]
    seeds: Int[np.ndarray, " t"]
    step: Int[np.ndarray, " c"]
    bits: Float[np.ndarray, "t m c"]
    learn_gap: Float[np.ndarray, "t m c"]
    share_gap: Float[np.ndarray, "t m c"]
    disagreement: Float[np.ndarray, "t m c"]
    imbalance: Float[np.ndarray, "t m c"]
    overload: Float[np.ndarray, "t m c"]
    seconds: Float[np.ndarray, "t m c"] | None = None
    measured_gap: Float[np.ndarray, "t m c"] | None = None
    steps_done: Float[np.ndarray, "t m c"] | None = None

    @classmethod
    def read(cls, folder: str | Path) -> "Trials":
        """All trials that a folder of `trials` holds, in the order of their seeds.

        Raises `CojaxInputError` where there are none, and where files are damaged or of different ensembles.
        """
        files = _files(as_path("Trials.read needs a path for folder", folder))
        if not files:
            raise CojaxInputError(f"Trials.read needs a folder that cojax.trials has written to, got {folder}.")
        found = {seed: _load(path, seed) for seed, path in sorted(files.items())}
        (first, one), *others = found.items()
        for seed, other in others:
            _check_alike(files[seed], one.prints, other.prints, f"that of {files[first].name}")
        return _joined(found)

    def __repr__(self) -> str:
        return f"Trials({len(self.seeds)} of {', '.join(self.methods)}; {self.step[-1]} steps)"

    def __str__(self) -> str:
        overs: list[Over] = ["steps", "bits", *(["seconds"] if self.seconds is not None else [])]
        return "\n\n".join(self.table(over) for over in overs)

    def gaps(self, half: Half | None = None) -> Float[np.ndarray, "t m c"]:
        """What methods are judged by: the gap of that half; of None that of the measure, or the largest of `halves`."""
        if half not in (None, "learn", "share"):
            raise CojaxInputError(f'Trials needs half "learn", "share" or None, got {half!r}.')
        if half is None and self.measured_gap is not None:
            return self.measured_gap
        both = {"learn": self.learn_gap, "share": self.share_gap}
        return both[half] if half else np.max([both[each] for each in self.halves], axis=0)

    def taken(self, over: Over = "steps", gap: float = 1e-6, half: Half | None = None) -> Float[np.ndarray, "t m"]:
        """Steps, bits or seconds until the gap was reached to stay, per trial and method; infinite where it was not."""
        check_number("Trials", "gap", gap, above=0.0, shaped=())
        along, gaps = self.along(over), self.gaps(half)
        found = np.full(gaps.shape[:2], np.inf)
        for place in np.ndindex(found.shape):
            row = first_row_at(gaps[place], gap)
            found[place] = np.inf if row is None else along[place][row]
        return found

    def left(self, amount: Any, over: Over = "bits", half: Half | None = None) -> Float[np.ndarray, "t m *k"]:
        """The gap that is left once an amount of steps, bits or seconds is spent, per trial and method.

        That of the last look within the amount; infinite where a run has diverged by then. `amount`: a number, or (k,).
        """
        amounts = real_array("Trials.left", "amount", amount).astype(float)
        if amounts.ndim > 1 or not (amounts >= 0).all():
            raise CojaxInputError(f"Trials.left needs amounts >= 0, a number or a row of them, got {amount!r:.60}.")
        along, gaps = self.along(over), np.where(np.isnan(self.gaps(half)), np.inf, self.gaps(half))
        found = np.empty((*gaps.shape[:2], *amounts.shape))
        for place in np.ndindex(gaps.shape[:2]):
            found[place] = gaps[place][np.searchsorted(along[place], amounts, side="right") - 1]
        return found

    def bands(self, over: Over = "steps", half: Half | None = None) -> dict[str, Float[np.ndarray, "4 k"]]:
        """By method four rows: an amount, and the gaps that a quarter, half and three quarters of all trials have kept.

        A gap at an amount is that of the last look within it. Rows end where the first trial does; of many amounts 400
        are taken.
        """
        along, gaps = self.along(over), np.where(np.isnan(self.gaps(half)), np.inf, self.gaps(half))
        found = {}
        for place, name in enumerate(self.methods):
            amounts = np.unique(along[:, place])
            amounts = amounts[amounts <= along[:, place, -1].min()]
            amounts = amounts[np.unique(np.linspace(0, len(amounts) - 1, MOST_AMOUNTS).round().astype(int))]
            looks = [np.searchsorted(one, amounts, side="right") - 1 for one in along[:, place]]
            kept = np.stack([gap[look] for gap, look in zip(gaps[:, place], looks, strict=True)], axis=1)
            low, high = (order_statistic(kept, part) for part in (0.25, 0.75))
            found[name] = np.stack([amounts, low, middle(kept), high])
        return found

    def paired(
        self,
        first: str,
        second: str,
        over: Over = "steps",
        gap: float = 1e-6,
        *,
        amount: float | int | None = None,
        half: Half | None = None,
        level: float = LEVEL,
    ) -> Paired:
        """What `first` takes over what `second` takes, instance by instance: its median, and an interval for it.

        With an `amount` of steps, bits or seconds it is the ratio of the gaps that are left once that is spent; smaller
        gaps than `gap` count as `gap`.

        The interval is between two order statistics of the ratios, that of the sign test: exact for any law of them,
        and at least as sure as `level` where they tie. Of 5 trials or fewer there is none at 0.95: it is 0 to infinity.
        Raises `CojaxInputError` for a name that is no method here, and for seconds without a clock.
        """
        check_number("Trials.paired", "level", level, above=0.0, below=1.0, shaped=())
        places = [self._place(name) for name in (first, second)]
        if amount is None:
            took, ends = self.taken(over, gap, half)[:, places], self.along(over)[:, places, -1]
        else:
            check_number("Trials.paired", "amount", amount, above=0.0, shaped=())
            check_number("Trials.paired", "gap", gap, above=0.0, shaped=())
            took = np.maximum(self.left(amount, over, half)[:, places], gap)
            ends = np.full_like(took, DIVERGED)
        low, high = ratios(took[:, 0], took[:, 1], (ends[:, 0], ends[:, 1]))
        neither = np.isinf(took).all(axis=1)
        # Who never got there took infinitely much; where neither did nothing is known.
        known = np.where(np.isinf(took[:, 1]), 0.0, high)
        least, most = (float(middle(np.where(neither, unknown, known))) for unknown in (0.0, np.inf))
        ranks = interval_ranks(len(took), level)
        ends_of = (0.0, np.inf) if ranks is None else (np.sort(low)[ranks[0]], np.sort(high)[ranks[1]])
        return Paired(
            first=first,
            second=second,
            over=over,
            gap=float(gap),
            ratio=least if least == most else np.nan,
            low=float(ends_of[0]),
            high=float(ends_of[1]),
            level=float(level),
            num_trials=len(took),
            num_neither=int(neither.sum()),
            amount=None if amount is None else float(amount),
        )

    def profile(self, over: Over = "steps", gap: float = 1e-6, *, half: Half | None = None) -> Profile:
        """Which part of all instances every method solves within a factor of the best of them on that instance."""
        factors = to_the_best(self.taken(over, gap, half))
        steps = np.unique(np.append(factors[np.isfinite(factors)], 1.0))
        share = (factors[:, :, None] <= steps).mean(axis=0)
        return Profile(self.methods, steps, share, over, float(gap))

    def table(self, over: Over = "steps", gaps: Any = GAPS, *, half: Half | None = None) -> str:
        """For every gap and method: how many instances it solves, the median, what half of them take, and the best.

        The band is from the quarter of the trials that is done first to the quarter that is done last. Beside the best
        median stands the ratio of `paired`, with its interval. Where that holds 1 the two are not distinguishable. Its
        level is 0.95, and of more than three methods 1 - 0.1 / (m - 1): what is truly the best would be called slower
        only if it were found slower than one of the m - 1 others, which happens with 0.05 at most.

        Args: over; gaps, a number > 0 or a row of them; half.
        """
        unit, factor = UNITS[self._known(over)]
        rows = [["method", "gap", "solved", "median", "half of all", "beside the best median"]]
        level = max(LEVEL, 1 - 2 * (1 - LEVEL) / max(len(self.methods) - 1, 1))
        for gap in np.ravel(real_array("Trials.table", "gaps", gaps)).tolist():
            took = self.taken(over, gap, half).T
            solved, medians = np.isfinite(took).sum(axis=1), middle(took)
            bands = [order_statistic(took, part) for part in (0.25, 0.75)]
            best = min(range(len(took)), key=lambda place: (medians[place], -solved[place], bands[0][place]))
            for place, name in enumerate(self.methods):
                beside = "none got there" if not solved.any() else "the best"
                if solved.any() and place != best:
                    beside = _told(self.paired(name, self.methods[best], over, gap, half=half, level=level))
                band = " to ".join(_amount(factor * band[place]) for band in bands)
                counted = f"{solved[place]} of {len(self.seeds)}"
                rows.append([name, _short(gap), counted, _amount(factor * medians[place]), band, beside])
        judged = " and ".join(WORDS[each] for each in ((half,) if half else self.halves))
        if half is None and self.measured_gap is not None:
            judged = "the measure"
        return f"{unit.capitalize()} to a gap of {judged}, {len(self.seeds)} trials\n{text_table(rows)}"

    def to_xarray(self) -> "xarray.Dataset":
        """By `seed`, `algorithm` and `step`, with units; `.to_zarr(path)` saves it. Needs xarray (extra `store`)."""
        named = {name: (("seed", "algorithm", "step"), rows) for name, rows in self._columns().items()}
        coords = {"seed": self.seeds, "algorithm": np.asarray(self.methods), "step": self.step}
        found = dataset("Trials.to_xarray", named, coords, None)
        for name in named:
            found[name].attrs["units"] = LABELS.get(name, "1")
        return found

    def to_pandas(self) -> "pandas.DataFrame":
        """A row a trial, method and look, by `seed`, `algorithm` and `step`; units in `.attrs`. Needs xarray."""
        data = self.to_xarray()
        frame = data.to_dataframe(dim_order=["seed", "algorithm", "step"])
        frame.attrs["units"] = {name: data[name].attrs["units"] for name in data}
        return frame

    def _columns(self) -> dict[str, np.ndarray]:
        return {name: rows for name in (*BY_LOOK, *WHERE_ASKED) if (rows := getattr(self, name)) is not None}

    def along(self, over: Any) -> Float[np.ndarray, "t m c"]:
        """Steps, bits or seconds at every look."""
        if self._known(over) == "steps":
            same = np.broadcast_to(self.step.astype(float), self.bits.shape)
            return same if self.steps_done is None else self.steps_done
        found = self.bits if over == "bits" else self.seconds
        if found is None:
            raise CojaxInputError(
                "Trials needs networks with a clock to count in seconds, cojax.Timed(...); these have none: count "
                "steps or bits."
            )
        return found

    def _known(self, over: Any) -> Over:
        if over not in UNITS:
            raise CojaxInputError(f'Trials counts over "steps", "bits" or "seconds", got {over!r}.')
        return over

    def _place(self, name: str) -> int:
        if name not in self.methods:
            guess = did_you_mean(str(name), self.methods)
            raise CojaxInputError(f"These trials are of {', '.join(self.methods)}, not of {name!r}{guess}.")
        return self.methods.index(name)


def trials(
    case: Callable[[int], tuple],
    methods: Mapping[Any, Any],
    *,
    num_trials: int,
    num_steps: int,
    every: int = 1,
    bits: int | float | None = None,
    measure: Measure | None = None,
    folder: str | Path | None = None,
) -> Trials:
    """Every method on `num_trials` instances: problems, graphs, losses and draws at random, whatever a seed makes.

        def case(seed):
            problem = cojax.Problem(cost, draw_data(seed), budget=20.0)
            graph = networkx.erdos_renyi_graph(20, 0.3, seed=seed)
            return problem, cojax.Lossy(cojax.network(graph), 0.1, key=seed), problem.start()

        methods = {
            "theory": lambda *instance: cojax.CoOpt(allocate=cojax.tuned(cojax.Laplacian, *instance)),
            "default": lambda *instance: cojax.default(*instance),  # a network with its own link, and a method
        }
        found = cojax.trials(case, methods, num_trials=100, num_steps=500, every=5, folder="runs/random")

    Args:
        case: a function of the seed 0, 1, ... that returns (problem, network, start), or those and the optimum,
            `cojax.reference(problem.softened(), ...)`, where that is known; all but the seed should be fixed. Shapes
            may differ from seed to seed; where they do not, a method is compiled once. Define cost functions outside.
        methods: by name a method, a `cojax.rivals.Rival`, or a function of (problem, network, start) that returns one,
            or that returns a network, the same over another link, and a method.
        num_steps, every: as in `solve`.
        bits: a budget of messages, what one node may tell one neighbour: a run is over at its last look within it, so
            that methods whose messages are long take few steps. Take num_steps so large that the method that tells
            least uses it up. None for no budget.
        measure: `measure(problem, x)`, a number that methods are judged by in place of the mean model and the shares:
            the gap is how far it is from what it is at the optimum, relative to the start. `cojax.own_models`, where
            disagreement has to count; the loss on other data, say. Define it once, outside of loops.
        folder: where every trial is put when it is done, a file each, whole or not at all. What is there already is
            not run again: after 30 trials 100 runs 70, and what was killed goes on. None to keep nothing.

    Every trial is a run of its own, so that it is bit for bit the same alone, among others, and after a restart on the
    same kind of processor. As many are under way as there are cores; most of the time goes into making an instance,
    its optimum and the numbers of methods. Rivals that close over numbers of their own are compiled anew for every
    instance, those of `cojax.rivals` are not.

    Computes on the host, not under jit. Raises `CojaxInputError` for what is no case, whatever `compare` refuses, and
    for a folder of other trials: case, methods, lengths and versions are compared, functions by their code and what
    they close over, and what they make of seed 0.
    """
    if not callable(case):
        raise CojaxInputError(f"trials needs a function case(seed), got {type(case).__name__}.")
    if not isinstance(methods, Mapping) or not methods:
        raise CojaxInputError(
            f"trials needs methods by name, at least one, got {type(methods).__name__} {methods!r:.60}."
        )
    methods = named("trials", "methods", methods)
    wanted = range(whole_number("trials", "num_trials", num_trials, at_least=1, at_most=MOST_TRIALS))
    every = check_looks("trials", num_steps, every)
    if bits is not None:
        check_number("trials", "bits", bits, at_least=0.0, shaped=())
        bits = float(bits)  # a whole number may need more than 32 bits
    instance = instance_of(case, 0)
    with _in_trial(0):
        check_measure("trials", measure, instance[0], instance[2])
        fields = _field(methods, instance, 0)
    told = {"bits": bits, "measure": measure}
    prints = fingerprint(
        case=case,
        methods=methods,
        num_steps=num_steps,
        every=every,
        instance=instance[:3],
        field=list(fields.values()),
        **{name: given for name, given in told.items() if given is not None},
    )
    found: dict[int, _Trial] = {}
    if folder is not None:
        folder = as_path("trials needs a path for folder", folder)
        _begin(folder)
        there = {seed: path for seed, path in _files(folder).items() if seed in wanted}
        found = {seed: _load(path, seed) for seed, path in there.items()}
        for seed, trial in found.items():
            _check_alike(there[seed], trial.prints, prints, "these")
    running: deque[tuple[int, Callable[[], _Trial]]] = deque()

    def finish() -> None:
        seed, wait = running.popleft()
        with _in_trial(seed):
            found[seed] = wait()
        if folder is not None:
            _save(folder / f"trial-{seed:06d}.npz", seed, found[seed])

    cores = num_cores()
    with ThreadPoolExecutor(cores) as pool:
        for seed in wanted:
            if seed in found:
                continue
            with _in_trial(seed):
                if seed:
                    instance = instance_of(case, seed)
                    fields = _field(methods, instance, seed)
                running.append((seed, _begun(pool, instance, fields, int(num_steps), every, bits, measure, prints)))
            if len(running) > cores:  # as many are under way while the next one is made here
                finish()
        while running:
            finish()
    return _joined({seed: found[seed] for seed in wanted})


def named(owner: str, what: str, given: Mapping[Any, Any]) -> dict[str, Any]:
    """What was given by name, each name as the text that tables and files have; refuses two that are one text."""
    found = {str(name): one for name, one in given.items()}
    if len(found) < len(given):
        raise CojaxInputError(
            f"{owner} needs {what} whose names differ when they are written, got {', '.join(map(repr, given))}: rename "
            "one."
        )
    return found


class Refused(CojaxInputError):
    """Some methods cannot be run on the instance of a seed; its sentence is that of the first of them.

    Fields: reasons, by name; seed.
    """

    reasons: Mapping[str, CojaxInputError] = MappingProxyType({})
    seed: int = 0


@contextlib.contextmanager
def _refusal(reasons: dict[str, CojaxInputError], name: str) -> Iterator[None]:
    """Keeps why a method cannot be run, so that the others are looked at too."""
    try:
        yield
    except CojaxInputError as error:
        reasons[name] = error


def _refuse(reasons: dict[str, CojaxInputError]) -> None:
    if reasons:
        first = next(iter(reasons.values()))
        error = Refused(str(first))
        error.reasons = reasons
        raise error from first


@contextlib.contextmanager
def _in_trial(seed: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, Refused):
            error.seed = seed
        error.add_note(f"It was in trial {seed} of cojax.trials.")
        raise


class _Trial(NamedTuple):
    """All methods on one instance."""

    prints: dict[str, str]
    methods: tuple[str, ...]
    halves: tuple[str, ...]
    arrays: dict[str, np.ndarray]  # step (c,), and by its name (m, c) what is known of every look


Instance = tuple[Problem, Network, Decision, Reference | None]


def instance_of(case: Callable[[int], Any], seed: int) -> Instance:
    made = case(seed)
    kinds = (Problem, Network, Decision, Reference)
    fits = isinstance(made, tuple) and len(made) in (3, 4)
    if not fits or not all(isinstance(part, kind) for part, kind in zip(made, kinds, strict=False)):
        got = [type(part).__name__ for part in made] if isinstance(made, tuple) else type(made).__name__
        raise CojaxInputError(
            f"trials needs case(seed) to return (problem, network, start), and the optimum where that is known, got "
            f"{got} for seed {seed}."
        )
    return made if len(made) == 4 else (*made, None)


def _field(methods: Mapping[str, Any], instance: Instance, seed: int) -> dict[str, tuple[Network, Method | Rival]]:
    """By name, what runs over which network."""
    found: dict[str, tuple[Network, Method | Rival]] = {}
    reasons: dict[str, CojaxInputError] = {}
    for name, given in methods.items():
        with _refusal(reasons, name):
            made, pair = made_of(given, *instance[:3])
            if len(pair) == 2 and isinstance(pair[0], Network) and isinstance(pair[1], Method | Rival):
                found[name] = pair
                continue
            got = f"the class {made.__name__}" if isinstance(made, type) else type(made).__name__
            raise CojaxInputError(
                f"trials needs a method, a rival, or a function of (problem, network, start) that returns one or a "
                f"network and one, got {got} for {name!r} and seed {seed}."
            )
    _refuse(reasons)
    return found


def made_of(given: Any, problem: Problem, network: Network, start: Decision) -> tuple[Any, tuple[Any, ...]]:
    """What a method, a rival, or a function of an instance gives for one, and the network and method that this is."""
    made = given  # a class is callable too, and no method yet
    if callable(given) and not isinstance(given, Method | Rival | type):
        made = given(problem, network, start)
    return made, made if isinstance(made, tuple) and not isinstance(made, Rival) else (network, made)


def _begun(
    pool: Executor,
    instance: Instance,
    fields: dict[str, tuple[Network, Method | Rival]],
    num_steps: int,
    every: int,
    bits: int | float | None,
    measure: Measure | None,
    prints: dict[str, str],
) -> Callable[[], _Trial]:
    """All methods set going on one instance; returns what waits for them."""
    problem, _, start, optimum = instance
    if optimum is None:
        check_start("trials", problem, start)
        optimum = reference(problem.softened(), jax.tree.map(lambda leaf: leaf.mean(0), start.params))
    if len({network.clock is None for network, _ in fields.values()}) > 1:
        raise CojaxInputError("trials needs a clock on the networks of all methods or of none, got one on some.")
    halves = _halves([method for _, method in fields.values()], start)
    reasons: dict[str, CojaxInputError] = {}
    waiting = []
    looks: dict[str, Any] = dict(num_steps=num_steps, every=every, bits=bits, measure=measure)
    for name, (network, method) in fields.items():
        with _refusal(reasons, name):
            waiting.append(course_in(pool, "trials", problem, network, method, start, optimum=optimum, **looks))
    _refuse(reasons)

    def wait() -> _Trial:
        courses = [one() for one in waiting]
        step = every * np.arange(num_steps // every + 1)

        def columns(course: Course) -> dict[str, np.ndarray]:
            found = {name: getattr(course, name) for name in (*BY_LOOK, "seconds", "measured_gap")}
            found |= {} if bits is None else {"steps_done": course.step}
            missing = (0, step.size - course.step.size)  # of a run that has used up its bits, and stands still
            known = {name: np.asarray(rows, float) for name, rows in found.items() if rows is not None}
            return {name: np.pad(rows, missing, "edge") for name, rows in known.items()}

        each = [columns(course) for course in courses]
        rows = {name: np.stack([found[name] for found in each]) for name in each[0]}
        return _Trial(prints, tuple(fields), halves, {"step": step.astype(np.int64)} | rows)

    return wait


def _halves(methods: list[Method | Rival], start: Decision) -> tuple[str, ...]:
    """The halves that any of the methods decides."""
    found = set()
    for method in methods:
        if isinstance(method, Rival):
            found.add(method.half)
            continue
        parts = {"learn": start.params, "share": start.cpu}
        pairs = zip(parts, method.halves, strict=True)
        found |= {half for half, own in pairs if jax.tree.leaves(parts[half]) and not isinstance(own, Hold)}
    return tuple(sorted(found)) or ("learn",)


def _joined(found: Mapping[int, _Trial]) -> Trials:
    one = next(iter(found.values()))
    for seed, other in found.items():
        if other[1:3] != one[1:3] or set(other.arrays) != set(one.arrays):
            raise CojaxInputError(
                "Trials needs the same methods in all trials, for the same halves, and a clock in all or in none; "
                f"trial {seed} is unlike the first."
            )
    rows = {name: np.stack([trial.arrays[name] for trial in found.values()]) for name in one.arrays if name != "step"}
    return Trials(one.methods, one.halves, np.asarray(list(found), np.int64), one.arrays["step"], **rows)


def _begin(folder: Path) -> None:
    try:
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CojaxInputError(f"trials cannot write to the folder {folder}: {error.strerror or error}.") from error


def _files(folder: Path) -> dict[int, Path]:
    """The files of trials by seed, in order; whatever else lies there is not ours."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return {int(found[1]): path for path in sorted(paths) if (found := FILE.fullmatch(path.name))}


def _save(path: Path, seed: int, trial: _Trial) -> None:
    """An npz file of plain numbers; nothing of Python is in it."""
    words = json.dumps({"prints": trial.prints, "methods": trial.methods, "halves": trial.halves}).encode()
    arrays = {"about": np.frombuffer(words, np.uint8), "seed": np.asarray(seed, np.int64)} | trial.arrays
    replace_file(path, lambda handle: np.savez(handle, allow_pickle=False, **arrays))


def _load(path: Path, seed: int) -> _Trial:
    arrays = read_arrays(path)
    about, here = arrays.pop("about", np.zeros(0, np.uint8)), arrays.pop("seed", np.asarray(-1))
    try:
        words = json.loads(about.tobytes())
        trial = _Trial(dict(words["prints"]), tuple(words["methods"]), tuple(words["halves"]), arrays)
        whole = here.shape == () and int(here) == seed and _is_whole(trial)
    except (ValueError, KeyError, TypeError, RecursionError):
        trial, whole = None, False
    if trial is None or not whole:
        raise CojaxInputError(f"{path} is no trial, or not that of its name: remove it, and it is run again.")
    return trial


def _is_whole(trial: _Trial) -> bool:
    """Whether what was read from a file is what `_save` writes."""
    shape = (len(trial.methods), *trial.arrays["step"].shape)
    alike = all(rows.shape == shape for name, rows in trial.arrays.items() if name != "step")
    known = {"step", *BY_LOOK} <= set(trial.arrays) <= {"step", *BY_LOOK, *WHERE_ASKED}
    text = all(isinstance(one, str) for one in (*trial.prints.values(), *trial.methods))
    return len(shape) == 2 and alike and known and text and trial.halves in JUDGED


def _check_alike(path: Path, there: Mapping[str, str], here: Mapping[str, str], these: str) -> None:
    different = tell_differences(there, here)
    if different:
        raise CojaxInputError(
            f"{path} is of other trials than {these}: {different}; take all as it was, or another folder."
        )


def _told(pair: Paired) -> str:
    """The ratio with its interval, and whether it says anything."""
    ratio = "?" if np.isnan(pair.ratio) else f"{pair.ratio:.3g}"
    said = f"{ratio} times ({pair.low:.3g} to {pair.high:.3g})"
    return said if pair.is_distinguishable else f"{said}, {NO_RATIO}"


def _amount(value: Any) -> str:
    return "never" if np.isinf(value) else f"{value:.4g}" if value >= 1000 else f"{value:.3g}"


def _short(gap: float) -> str:
    return np.format_float_scientific(gap, trim="-", exp_digits=1)
