"""A plan is a TOML file that says what to run; it can name things, never import or execute them."""

import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from msgspec import Struct

from ..._support.checks import CojaxInputError
from ...data.files import checked_path
from ...runs.files import replace_text
from .advice import advice
from .plan_parts import MOST_COUNT as MOST_COUNT
from .plan_parts import MOST_SEED as MOST_SEED
from .plan_parts import Adaptive as Adaptive
from .plan_parts import Allocator as Allocator
from .plan_parts import Barrier as Barrier
from .plan_parts import ClockTable as ClockTable
from .plan_parts import Count, Positive, Seed
from .plan_parts import Cpu as Cpu
from .plan_parts import Data as Data
from .plan_parts import Float as Float
from .plan_parts import GraphTable as GraphTable
from .plan_parts import Hours as Hours
from .plan_parts import Learner as Learner
from .plan_parts import LeastSquaresTable as LeastSquaresTable
from .plan_parts import LinkTable as LinkTable
from .plan_parts import Log as Log
from .plan_parts import LogisticTable as LogisticTable
from .plan_parts import Methods as Methods
from .plan_parts import NodesTable as NodesTable
from .plan_parts import PowerTable as PowerTable
from .plan_parts import Resource as Resource
from .plan_parts import SoftmaxTable as SoftmaxTable
from .plan_parts import Softplus as Softplus
from .plan_parts import Svm as Svm
from .plan_parts import Uniform as Uniform
from .plan_parts import Units as Units
from .rosters import NUMBERS

MAX_BYTES = 5_000_000
# A key of many parts, which takes the TOML parser time that grows with the square of their number.
LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}""")
MOST_LOOKS = 10_000  # that a plan takes which does not ask for them
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}")  # a name that a folder may have
LONG_NUMBER = re.compile(r"[0-9_]{5000}")  # takes that parser a hundred times the memory of the file


class Plan(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A whole plan; `cojax plan --help` explains every key."""

    title: str = "cojax plan"
    steps: Count = 10_000
    every: Count = 100
    seed: Seed = 0
    tolerance: Positive = 1e-4
    nodes: NodesTable
    cpu: Cpu
    graph: GraphTable
    data: Data | None = None
    model: Svm | LogisticTable | LeastSquaresTable | SoftmaxTable | None = None
    penalty: PowerTable | Softplus | Barrier | None = None
    method: Methods = Methods()
    link: LinkTable = LinkTable()
    hours: Hours | None = None
    clock: ClockTable | None = None
    resources: dict[str, Resource] = {}
    units: Units = Units()


def default_every(steps: int) -> int:
    """Steps between two looks at a run: 100 or the most below that fit, and fewer in a short run, to see something."""
    most = 100 if steps >= 1000 else 10 if steps >= 100 else 1
    found = next(every for every in range(most, 0, -1) if steps % every == 0)
    return found if steps // found <= MOST_LOOKS else most


def read_plan(path: str | Path, changes: Sequence[str] = (), earlier: Path | None = None) -> Plan:
    """The plan in a TOML file, its file names made relative to the working directory instead of to the file.

    Raises `CojaxInputError` with the path of the key (`$.graph.name`) for anything that is no plan: unknown keys, wrong
    types, numbers out of range or not finite, keys that exclude each other, broken, huge or deeply nested TOML.
    `changes` are keys to set anew, as `--set` of the command takes them. `earlier` is a plan that a run goes on from:
    its steps between two looks are those of a plan that leaves them out.
    """
    path = checked_path(path, MAX_BYTES)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if LONG_KEY.search(text):
            raise RecursionError
        if LONG_NUMBER.search(text):
            raise ValueError("a number of more than 5000 digits")
        content = tomllib.loads(text)
        for change in changes:
            _change(content, change)
        if "every" not in content and isinstance(steps := content.get("steps"), int) and steps > 0:
            there = None if earlier is None or not earlier.is_file() else read_plan(earlier)
            content["every"] = default_every(steps) if there is None else there.every
        floats = list(_floats(content))
    except CojaxInputError:  # of a change; it is a ValueError too
        raise
    except UnicodeDecodeError as error:
        raise CojaxInputError(f"{path} is no UTF-8 text ({error.reason}): save it as UTF-8.") from error
    except RecursionError as error:
        raise CojaxInputError(f"{path} is nested too deeply to be read: a plan has three levels.") from error
    except ValueError as error:  # TOMLDecodeError is one; so is a whole number with thousands of digits
        raise CojaxInputError(f"{path} is no TOML that can be read: {error}.") from error
    for where, value in floats:
        if not math.isfinite(value):
            raise CojaxInputError(f"{path} needs finite numbers, got {value} at {where}: leave the key out for none.")
    return _rebase_paths(_convert(content, str(path)), lambda name: os.path.normpath(path.parent / name))


def _change(content: dict, change: str) -> None:
    """Set one key of a plan, `cpu.budget=310`, to a value as TOML has it, or to a text without quotation marks."""
    key, equals, text = change.partition("=")
    *tables, last = key.strip().split(".")
    if not equals or not all((*tables, last)):
        raise CojaxInputError(f"--set needs KEY=VALUE, such as cpu.budget=310, got {change!r}.")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except (tomllib.TOMLDecodeError, KeyError, RecursionError):
        value = text.strip()
    for table in tables:
        content = content.setdefault(table, {})
        if not isinstance(content, dict):
            raise CojaxInputError(f"--set cannot set {key.strip()}: {table} is no table of the plan.")
    content[last] = value


def plan_of_resource(plan: Plan, name: str) -> Plan:
    """The plan of one of its other resources: the same nodes and links, without the model and what goes with it."""
    one = plan.resources[name]
    return msgspec.structs.replace(
        plan,
        title=f"{plan.title}: {name}",
        nodes=one.nodes,
        cpu=Cpu(one.budget, one.cost),
        units=msgspec.structs.replace(plan.units, cpu=one.unit or name),
        method=Methods(allocate=plan.method.allocate),
        data=None,
        model=None,
        penalty=None,
        hours=one.hours,
        clock=None,
        resources={},
    )


def check_plan(plan: Plan, source: str) -> Plan:
    """`plan`, made in Python, after the checks that a file goes through; `source` begins the error's sentence."""
    return _convert(msgspec.to_builtins(plan), source)


def write_plan(path: str | Path, plan: Plan) -> None:
    """`plan` as TOML, its file names made relative to the new file, so that the folder can be read from anywhere."""
    path = Path(path)
    there = _rebase_paths(plan, lambda name: Path(os.path.relpath(name, path.parent)).as_posix())
    replace_text(path, tomli_w.dumps(_without_none(msgspec.to_builtins(there))))


def _convert(content: Any, source: str) -> Plan:
    try:
        plan = msgspec.convert(content, Plan)
    except msgspec.ValidationError as error:
        said = f"{source} is no plan: {error}{advice(Plan, str(error))}"
        raise CojaxInputError(said if said.endswith("?") else f"{said}.") from error
    _check(plan, source)
    return plan


def _rebase_paths(plan: Plan, move: Callable[[str], str]) -> Plan:
    def moved(part: Any, *names: str) -> Any:
        return msgspec.structs.replace(
            part, **{name: move(getattr(part, name)) for name in names if getattr(part, name)}
        )

    data = plan.data and moved(plan.data, "file", "test_file")
    nodes, graph, hours = moved(plan.nodes, "file"), moved(plan.graph, "file"), plan.hours and moved(plan.hours, "file")
    others = {
        name: msgspec.structs.replace(one, nodes=moved(one.nodes, "file"), hours=one.hours and moved(one.hours, "file"))
        for name, one in plan.resources.items()
    }
    return msgspec.structs.replace(plan, nodes=nodes, graph=graph, data=data, hours=hours, resources=others)


def _without_none(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: _without_none(value) for key, value in content.items() if value is not None}


def _floats(content: Any, where: str = "$") -> Iterator[tuple[str, float]]:
    if isinstance(content, float):
        yield where, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _floats(value, f"{where}.{key}")
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from _floats(value, f"{where}[{place}]")


def _check(plan: Plan, source: str) -> None:
    """Refuse keys that exclude or need each other."""
    nodes, graph, data, link, method = plan.nodes, plan.graph, plan.data, plan.link, plan.method
    typed = [name for name in nodes.__struct_fields__[1:] if getattr(nodes, name) is not None]
    quantizer, memory = link.quantizer is not None, link.memory is not None
    rules = (
        (not plan.title.isprintable(), "$.title holds a character that cannot be printed"),
        (not f"{plan.units.cpu}{plan.units.money}".isprintable(), "$.units holds a character that cannot be printed"),
        (nodes.file and typed, f"$.nodes has both file and {', '.join(typed)}: put all columns into one place"),
        (not nodes.file and not typed, "$.nodes is empty: name a file, or type in columns such as capacity and demand"),
        (bool(graph.name) == bool(graph.file), "$.graph needs either a name or a file"),
        (data and bool(data.name) == bool(data.file), "$.data needs either a name or a file"),
        (data and data.name and data.test_file, "$.data.test_file goes with $.data.file only"),
        (
            data and (data.split == "dirichlet") != (data.concentration is not None),
            '$.data.split = "dirichlet" and $.data.concentration need each other: give both, or none',
        ),
        (
            data and data.split == "dirichlet" and data.proportions,
            '$.data.split = "dirichlet" draws proportions, so it takes no $.data.proportions',
        ),
        ((data is None) != (plan.model is None), "$.data and $.model need each other: give both, or none"),
        (plan.steps % plan.every, f"$.steps = {plan.steps} needs to be a multiple of $.every = {plan.every}"),
        (link.name == "ideal" and (quantizer or memory), "$.link is ideal, so it takes no quantizer and no memory"),
        (link.name != "ideal" and not quantizer, f"$.link is {link.name}, so it needs a quantizer"),
        (link.name == "quantized" and memory, "$.link is quantized, so it has no memory; innovation has"),
        (
            link.name == "quantized" and isinstance(link.quantizer, Adaptive),
            "$.link.quantizer is adaptive, which needs the memory of $.link.name = innovation",
        ),
    )
    halves = (("learn", method.learn), ("allocate", method.allocate))
    misplaced = (
        (
            getattr(half, number, None) is not None and half.name not in takers,
            f"$.method.{place}.{number} goes with {' or '.join(takers)} only",
        )
        for place, half in halves
        for number, takers in NUMBERS.items()
    )
    named = (
        (not PLAIN.fullmatch(name), f"$.resources needs names of letters, digits, - and _, got {name!r}")
        for name in plan.resources
    )
    for broken, sentence in (*rules, *misplaced, *named):
        if broken:
            raise CojaxInputError(f"{source}: {sentence}.")
