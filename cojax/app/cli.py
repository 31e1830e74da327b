"""The command `cojax`: every bad input ends in one sentence and an exit code, never in a traceback."""

import contextlib
import gc
import io
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from .._support.checks import CojaxInputError
from . import help_texts
from .results.folders import CHECKPOINT, beginning_note, writable

CERTIFIED, BAD_INPUT, NOT_CERTIFIED, INFEASIBLE, NOT_SAVED, SIGNAL, INTERRUPTED = 0, 2, 3, 4, 5, 128, 130
NO_MEMORY = "the plan needs more memory than there is: use fewer samples or nodes, or fewer looks ($.steps / $.every)."
# XLA compiles the loop of up to some hundred nodes as one kernel: read when the first program is compiled.
ONE_KERNEL = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000"
# What brings the packages that a plain install lacks.
EXTRAS = {
    **dict.fromkeys(("tyro", "msgspec", "tomli_w", "tqdm"), "cli"),
    **dict.fromkeys(("matplotlib", "jinja2"), "plots"),
    "sklearn": "data",
}


@dataclass(frozen=True)
class Demo:
    out: Path = Path("cojax-demo")
    """Folder for the results."""
    steps: int = 20_000
    """Steps at most."""
    seed: int = 0
    """Of the split, the switching and the losses."""


@dataclass(frozen=True)
class PlanCommand:
    file: Path
    """The plan, a TOML file."""
    out: Path | None = None
    """Folder for the results; by default the name of the plan with -result, or -hours."""
    resume: bool = False
    """Go on from the checkpoint that an interrupted or too short run left in that folder."""
    hours: bool = False
    """Solve every hour of the plan's series of prices instead of running the network."""
    set: tuple[str, ...] = ()
    """Keys of the plan to change for this run, such as cpu.budget=310 graph.loss=0.2."""
    against: Path | None = None
    """Folder of an earlier result: say what moved, and write against.csv."""


@dataclass(frozen=True)
class Compare:
    file: Path
    """The plan, a TOML file."""
    methods: tuple[str, ...] = ()
    """Names of the methods; by default all."""
    kilobits: float | None = None
    """What each may tell a neighbour in all; by default what it tells in the steps of the plan."""
    seeds: int = 0
    """Over how many draws of the links that fail, medians of which are told; 0 for the one of the plan."""
    trials: int = 0
    """On how many instances, each with a seed of its own for graph, split and links; kept in --out, and added to."""
    out: Path | None = None
    """Folder for the results; by default the name of the plan with -contest."""


@dataclass(frozen=True)
class Check:
    file: Path
    """The plan, a TOML file."""
    answer: Path
    """The shares to judge, a CSV file with the columns node and share."""
    resource: str | None = None
    """The other resource of the plan, [resources.NAME], that the answer shares out."""
    tolerance: float | None = None
    """Relative, that the certificate must keep; by default the tolerance of the plan."""
    out: Path | None = None
    """Folder for check.csv and check.json; by default nothing is written."""


@dataclass(frozen=True)
class Scale:
    out: Path = Path("cojax-scale")
    """Folder for the results."""
    sizes: tuple[float | int, ...] = (100, 1_000, 10_000, 100_000)
    """Numbers of nodes; 1e6 is one too."""
    layouts: tuple[str, ...] = ("neighbors", "edges", "dense")
    """Of auto, neighbors, split, edges and dense."""
    links: tuple[str, ...] = ("ideal", "log")
    """Of ideal, log and float."""
    degree: int = 10
    """Neighbours of a node, even."""
    features: int = 10
    """Parameters of the model."""
    seconds: float = 60.0
    """After these nothing new is measured."""


# Options that take several values.
SEVERAL = {
    f"--{field.name}"
    for command in (PlanCommand, Compare, Scale)
    for field in fields(command)
    if isinstance(field.default, tuple)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a node's name may not fit the terminal's encoding
    os.environ.setdefault("XLA_FLAGS", ONE_KERNEL)
    # Tracing makes many objects that stay: to look through them at every 700 new ones took 0.7 of the demo's 16 s more.
    gc.set_threshold(50_000, 20, 20)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments == ["--version"]:
            from .results.runs import versions

            print(", ".join(f"{name} {version}" for name, version in versions().items()))
            return CERTIFIED
        command = _parse(arguments)
        return _run_scale(command) if isinstance(command, Scale) else _carried_out(command)
    except SystemExit as end:  # of tyro: 0 after --help, 2 after arguments that it explained
        return end.code if isinstance(end.code, int) else BAD_INPUT
    except CojaxInputError as error:
        code, sentence = INFEASIBLE if type(error).__name__ == "InfeasibleError" else BAD_INPUT, str(error)
    except ModuleNotFoundError as error:
        code, sentence = BAD_INPUT, _what_is_missing((error.name or "a package").partition(".")[0])
    except OSError as error:
        code, sentence = BAD_INPUT, f"{error.filename or 'a file'} cannot be used: {error.strerror or error}."
    except MemoryError:
        code, sentence = BAD_INPUT, NO_MEMORY
    except RuntimeError as error:  # JAX's own kind says of memory what Python's does
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        code, sentence = BAD_INPUT, NO_MEMORY
    except KeyboardInterrupt:
        code, sentence = (
            INTERRUPTED,
            "interrupted; no results were written, a checkpoint of the steps is kept where there was one.",
        )
    print(f"cojax: {sentence}", file=sys.stderr)
    return code


def _what_is_missing(package: str) -> str:
    """A sentence on `package` and on all others that commands use and that are not installed."""
    others = [name for name in EXTRAS if name != package and sys.modules.get(name) is None and find_spec(name) is None]
    extras = dict.fromkeys(EXTRAS.get(name, "cli") for name in (package, *others))
    names = " and ".join(filter(None, [", ".join([package, *others][:-1]), [package, *others][-1]]))
    are = "are" if others else "is"
    return f"this needs {names}, which {are} not installed: pip install 'cojax[{','.join(extras)}]'."


def _parse(arguments: list[str]) -> Demo | PlanCommand | Compare | Check | Scale:
    """The command that the arguments ask for."""
    import tyro

    # In the list of commands, one line each is enough.
    texts = {
        "demo": help_texts.DEMO,
        "plan": help_texts.PLAN,
        "compare": help_texts.COMPARE,
        "check": help_texts.CHECK,
        "scale": help_texts.SCALE,
    }
    told = {name: text if name in arguments[:1] else text.partition("\n")[0] for name, text in texts.items()}
    named = {name: tyro.conf.subcommand(name, description=text, prefix_name=False) for name, text in told.items()}
    commands = (
        Annotated[Demo, named["demo"]]
        | Annotated[PlanCommand, named["plan"]]
        | Annotated[Compare, named["compare"]]
        | Annotated[Check, named["check"]]
        | Annotated[Scale, named["scale"]]
    )
    positional = tyro.conf.PositionalRequiredArgs
    config = (positional, tyro.conf.FlagCreatePairsOff)
    arguments = _repeated_joined(arguments)
    return tyro.cli(commands, prog="cojax", description=help_texts.COJAX, args=arguments, config=config)


def _repeated_joined(arguments: list[str]) -> list[str]:
    """The arguments, all values of a repeated option after the last one: of repeated ones tyro keeps the last alone.

    A plan that stands between two of them is no value: it goes to the end.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parts: list[list[str]] = []
    for argument in arguments[:end]:
        option, equals, value = argument.partition("=")
        if option in SEVERAL:
            parts.append([option, value] if equals else [option])
        elif argument.startswith("--") or not parts:
            parts.append([argument])
        else:
            parts[-1].append(argument)
    joined: dict[str | int, list[str]] = {}
    plans: list[str] = []
    for place, (option, *values) in enumerate(parts):
        key = option if option in SEVERAL else place
        if option in SEVERAL and values and values[-1].endswith(".toml") and "=" not in values[-1]:
            plans.append(values.pop())
        joined[key] = [*joined.pop(key, [option]), *values]
    return [*chain.from_iterable(joined.values()), *plans, *arguments[end:]]


def _carried_out(command: Demo | PlanCommand | Compare | Check) -> int:
    """Run a plan or a contest, or judge an answer, say what it came to, and write it down."""
    import jax

    from .._support.compiling import keep_programs, settings_restored

    # The command is a program of its own; the library never does this.
    with settings_restored("jax_enable_x64"):
        jax.config.update("jax_enable_x64", True)
        if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
            with contextlib.suppress(CojaxInputError):  # of a home that cannot be written: all is compiled every time
                keep_programs()
        return _carried_out_in_double(command)


def _carried_out_in_double(command: Demo | PlanCommand | Compare | Check) -> int:
    from tqdm import tqdm

    from .cases import cases
    from .plans.demo import demo_plan
    from .plans.plans import plan_of_resource, read_plan

    if isinstance(command, Check):
        return _check(command)
    if isinstance(command, Demo):
        out = writable(command.out)
        return _run(cases.build_case(demo_plan(steps=command.steps, seed=command.seed)), out, tqdm)
    if isinstance(command, Compare):
        case = cases.build_case(read_plan(command.file))
        return _contest(case, _folder(command, "contest"), command)
    if command.hours:
        plan, out = read_plan(command.file, command.set), _folder(command, "hours")
        plans = {"": plan}
        for name, one in plan.resources.items():
            if one.hours is None:
                print(f"cojax: note: $.resources.{name} has no hours, and is left out.", file=sys.stderr)
            else:
                plans[name] = plan_of_resource(plan, name)
        return max(_hourly(each, out / name) for name, each in plans.items())
    plan = read_plan(command.file, command.set, _place(command, "result") / "plan.toml" if command.resume else None)
    built = {"": cases.build_case(plan), **cases.build_resources(plan)}  # what is wrong is said before the first run
    out, codes = _folder(command, "result"), []
    for name, case in built.items():
        earlier = command.against
        if name:
            print()
            earlier = earlier / name if earlier is not None and (earlier / name).is_dir() else None
        codes.append(_run(case, out / name, tqdm, resume=command.resume, against=earlier))
        if codes[-1] > SIGNAL:
            break
    return max(codes)


def _place(command: PlanCommand | Compare, ending: str) -> Path:
    """Where results go."""
    return command.out if command.out is not None else Path(f"{command.file.stem}-{ending}").resolve()


def _folder(command: PlanCommand | Compare, ending: str) -> Path:
    """Where results go, if they can be written there; said beforehand where nobody said it."""
    if command.out is not None:
        return writable(command.out)
    out = writable(_place(command, ending))
    print(f"cojax: note: results go to {out}; --out names another folder.", file=sys.stderr)
    return out


def _say_notes(case: Any) -> None:
    for note in case.wiring.notes:
        print(f"cojax: note: {note}", file=sys.stderr)


def _say_names(names: tuple[str, ...]) -> None:
    from ..plots import lettering

    note = lettering.renaming_note(names)
    if note is not None:
        print(f"cojax: note: {note}", file=sys.stderr)


def _run_scale(command: Scale) -> int:
    """Time steps at many sizes, in float32, and say and write down what they take."""
    from .results import scale

    writable(command.out)
    sizes: list[Any] = [int(size) if size % 1 == 0 else size for size in command.sizes]  # 1e6 is a whole number
    found = scale.study(
        sizes,
        command.layouts,
        command.links,
        degree=command.degree,
        features=command.features,
        seconds=command.seconds,
        say=lambda case: print(f"cojax: measuring {case}", file=sys.stderr),
    )
    print(scale.text(found))
    busy = scale.machine()
    if busy["load_average"] is not None and busy["load_average"] > 2 * busy["cores"]:
        print(
            f"cojax: note: load {busy['load_average']:g} on {busy['cores']} cores; times are too long", file=sys.stderr
        )
    scale.write_files(command.out, found)
    print(f"\nWritten to {command.out.resolve()}: scale.csv, scale.json with the machine, scale.png and parts.png.")
    return CERTIFIED


def _contest(case: Any, out: Path, asked: Compare) -> int:
    from .results import contest

    _say_notes(case)
    if asked.trials:
        return _ensemble(case, out, asked)
    found = contest.contest(case, asked.methods, asked.kilobits, asked.seeds)
    for note in found.notes:
        print(f"cojax: note: {note}", file=sys.stderr)
    print(contest.text(found, case.plan.cpu.budget))
    contest.write_files(out, found.courses, case.plan.cpu.budget)
    over = "steps and over bits" if case.plan.clock is None else "steps, over bits and over seconds"
    print(f"\nWritten to {out.resolve()}: a table (CSV) for each half, and pictures over {over}.")
    return CERTIFIED


def _ensemble(case: Any, out: Path, asked: Compare) -> int:
    from .results import ensembles

    if asked.kilobits is not None or asked.seeds:
        raise CojaxInputError(
            "cojax compare tells bits to a gap and draws links of --trials: leave --kilobits and --seeds."
        )
    found = ensembles.ensemble(case, asked.methods, asked.trials, out)
    for note in found.notes:
        print(f"cojax: note: {note}", file=sys.stderr)
    print(ensembles.text(found))
    ensembles.write_files(out, found)
    print(
        f"\nWritten to {out.resolve()}: every trial, a table (CSV) and pictures for each half; more --trials add to it."
    )
    return CERTIFIED


def _check(asked: Check) -> int:
    """Judge an answer by what a plan asks for, say what it loses and where, and write that down if asked to."""
    from .._support.checks import check_number, did_you_mean
    from .cases.answers import read_answer
    from .cases.cases import state_shares
    from .plans.plans import plan_of_resource, read_plan
    from .reports import verdicts
    from .results.check import check

    plan = read_plan(asked.file)
    if asked.resource is not None:
        if asked.resource not in plan.resources:
            others = ", ".join(plan.resources) or "none"
            raise CojaxInputError(
                f"--resource needs a name of $.resources in {asked.file}, which has {others}, got {asked.resource!r}"
                f"{did_you_mean(asked.resource, plan.resources) or '.'}"
            )
        plan = plan_of_resource(plan, asked.resource)
    tolerance = plan.tolerance if asked.tolerance is None else asked.tolerance
    check_number("cojax check", "--tolerance", tolerance, above=0.0)
    stated = state_shares(plan)
    share = read_answer(asked.answer, stated.names, plan.cpu.budget, plan.units.cpu)
    out = None if asked.out is None else writable(asked.out)
    checked = check(stated, share, tolerance)
    if plan.resources:
        names = ", ".join(plan.resources)
        print(f"cojax: note: the other resources, {names}, are not judged; --resource names one.", file=sys.stderr)
    print(verdicts.text(checked, asked.answer))
    if out is not None:
        verdicts.write_files(out, checked)
        print(f"Written to {out.resolve()}: check.csv, check.json.")
    return CERTIFIED if checked.certified else NOT_CERTIFIED


def _run(case: Any, out: Path, progress: Any, resume: bool = False, against: Path | None = None) -> int:
    from .reports import report, summaries, what_if
    from .results import runs

    earlier = None if against is None else what_if.read_earlier(against)
    _say_notes(case)
    out = out.resolve()
    checkpoint = out / CHECKPOINT
    notes = [f"cojax: note: {how}" for how in [beginning_note(out, resume)] if how is not None]
    try:
        with (
            warnings.catch_warnings(),
            progress(total=case.plan.steps, unit="step", disable=None, leave=False, file=sys.stderr) as bar,
        ):
            warnings.filterwarnings("ignore", "The checkpoint", RuntimeWarning)  # said below

            def update(steps: int) -> None:
                while notes:  # not before the run has begun: a checkpoint of another one is refused
                    progress.write(notes.pop(), file=sys.stderr)
                bar.update(steps)

            outcome = runs.run(case, update, checkpoint)
    except runs.InterruptedRun as end:
        saved = f"they are saved in {checkpoint}, --resume goes on" if end.saved else f"{checkpoint} cannot be written"
        print(f"cojax: {end}: {saved}.", file=sys.stderr)
        return SIGNAL + end.signal
    print(summaries.text(outcome))
    summaries.write_files(out, case.plan, outcome)
    if earlier is not None:
        print(what_if.text(earlier, outcome))
        what_if.write_file(out / "against.csv", earlier, outcome)
    try:
        page = report.write_report(out, outcome).name
        _say_names(outcome.names)
    except CojaxInputError as error:  # the numbers are there already, and no picture is worth losing them
        print(f"cojax: no report: {error}", file=sys.stderr)
        page = "no report"
        if (out / "report.html").exists():
            print(f"cojax: note: {out / 'report.html'} is of an earlier run.", file=sys.stderr)
    also = "" if outcome.training is None else ", training.csv"
    also += "" if earlier is None else ", against.csv"
    print(f"Written to {out}: {page}, allocation.csv, worth.csv, certificate.json, trace.csv, plan.toml{also}.")
    return _code(outcome, checkpoint)


def _code(outcome: Any, checkpoint: Path) -> int:
    if not outcome.saved:
        print(f"cojax: note: {checkpoint} could not be written while the run went on.", file=sys.stderr)
    if not outcome.certified:
        if checkpoint.exists():
            again = "cojax plan FILE.toml --resume, with more `steps` in the file, goes on from there"
            print(f"cojax: note: not certified yet; the run is kept in {checkpoint}: {again}.", file=sys.stderr)
        return NOT_CERTIFIED
    checkpoint.unlink(missing_ok=True)
    return CERTIFIED if outcome.saved else NOT_SAVED


def _hourly(plan: Any, out: Path) -> int:
    """Solve every hour of a plan, say what they came to, and write it down."""
    from .reports import hourly_files
    from .results import hours

    found = hours.hourly(plan)
    for note in found.notes:
        print(f"cojax: note: {note}", file=sys.stderr)
    print(hourly_files.text(found))
    hourly_files.write_files(out, found)
    _say_names(found.names)
    print(
        f"Written to {out.resolve()}: report.html with its pictures, hours.csv, days.csv, nodes.csv, shares.csv, "
        "hours.json, plan.toml."
    )
    return CERTIFIED if found.solved.certified.all() else NOT_CERTIFIED
