"""A plan is a TOML file that says what to run; it can name things, never import or execute them."""

import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

from .._checks import CojaxInputError
from ..readers.files import checked_path
from .advice import advice
from .rosters import NUMBERS

MAX_BYTES = 5_000_000
# A key of many parts, which takes the TOML parser time that grows with the square of their number.
LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}""")
LONG_NUMBER = re.compile(r"[0-9_]{5000}")  # takes that parser a hundred times the memory of the file
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Seed = Annotated[int, Meta(ge=0, lt=2**32)]
Column = list[float] | None


class Nodes(Struct, forbid_unknown_fields=True, frozen=True):
    """The node table: a CSV file, or the same columns typed in (`cojax.tables.COLUMNS` has their units).

    The bounds are by default 0 and the capacity; with a pue, the price of a share is price * pue.
    """

    file: str | None = None
    names: list[str] | None = None
    capacity: Column = None
    demand: Column = None
    price: Column = None
    curvature: Column = None
    work: Column = None
    lower: Column = None
    upper: Column = None
    pue: Column = None
    latitude: Column = None
    longitude: Column = None


class Cpu(Struct, forbid_unknown_fields=True, frozen=True):
    """What is shared out, and what a share costs; the cost defaults to the first whose columns are there."""

    budget: float
    cost: Literal["deviation", "price", "delay"] | None = None


class Hours(Struct, forbid_unknown_fields=True, frozen=True):
    """Prices by the hour, for `cojax plan --hours`: a CSV of labels and one column per node."""

    file: str


class Graph(Struct, forbid_unknown_fields=True, frozen=True):
    """Who is linked to whom: a name of `cojax.graphs.named`, or a file (.graphml, or .csv of links)."""

    name: str | None = None
    file: str | None = None
    probability: Positive | None = None
    radius: Positive | None = None
    links: Count | None = None
    weights: Literal["metropolis", "max_degree", "best_constant", "fastest"] = "metropolis"
    switching: Count = 1
    share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    loss: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class Data(Struct, forbid_unknown_fields=True, frozen=True):
    """Samples to learn from: a name, or a file (.csv, .libsvm, .svm, .bz2 of these, or .npz)."""

    name: Literal["breast_cancer"] | None = None
    file: str | None = None
    test_file: str | None = None
    test_fraction: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    split: Literal["random", "by_target"] = "random"
    weighting: Literal["pooled", "node_mean"] = "pooled"
    proportions: list[Positive] | None = None
    standardize: bool = True


class Svm(Struct, forbid_unknown_fields=True, frozen=True, tag="svm", tag_field="name"):
    """The paper's smoothed support vector machine; `weight` is C."""

    ridge: NotNegative = 0.1
    sharpness: Positive = 10.0
    weight: Positive = 1.0


class Logistic(Struct, forbid_unknown_fields=True, frozen=True, tag="logistic", tag_field="name"):
    ridge: NotNegative = 0.1


class LeastSquares(Struct, forbid_unknown_fields=True, frozen=True, tag="least_squares", tag_field="name"):
    ridge: NotNegative = 0.0


class Softmax(Struct, forbid_unknown_fields=True, frozen=True, tag="softmax", tag_field="name"):
    ridge: NotNegative = 0.1


class Power(Struct, forbid_unknown_fields=True, frozen=True, tag="power", tag_field="name"):
    """weight * excess ** power; the weight defaults to five times the largest curvature of a node's cost."""

    weight: Positive | None = None
    power: Annotated[float, Meta(ge=1)] = 2.0


class Softplus(Struct, forbid_unknown_fields=True, frozen=True, tag="softplus", tag_field="name"):
    weight: Positive
    sharpness: Positive


class Barrier(Struct, forbid_unknown_fields=True, frozen=True, tag="barrier", tag_field="name"):
    epsilon: Positive


class Learner(Struct, forbid_unknown_fields=True, frozen=True):
    """How the model is learned; a number left out is computed. Each goes with the methods in `rosters.NUMBERS` only."""

    name: Literal[
        "diging",
        "dgd",
        "extra",
        "nids",
        "exact_diffusion",
        "atc_tracking",
        "choco",
        "lead",
        "apapc",
        "tracking_momentum",
    ] = "diging"
    step_size: Positive | None = None
    mixing: Annotated[float, Meta(gt=0, le=1)] | None = None
    gain: Positive | None = None
    blend: Annotated[float, Meta(gt=0, le=1)] | None = None
    momentum: Annotated[float, Meta(ge=0, lt=1)] | None = None


class Allocator(Struct, forbid_unknown_fields=True, frozen=True):
    """How shares move; a number left out is computed. Each goes with the methods in `rosters.NUMBERS` only."""

    name: Literal[
        "laplacian", "heavy_ball", "nesterov", "momentum_flow", "finite_time", "fixed_time", "saturated", "single_bit"
    ] = "laplacian"
    step_size: Positive | None = None
    momentum: Annotated[float, Meta(ge=0, lt=1)] | None = None
    level: Positive | None = None


class Methods(Struct, forbid_unknown_fields=True, frozen=True):
    learn: Learner = Learner()
    allocate: Allocator = Allocator()


class Log(Struct, forbid_unknown_fields=True, frozen=True, tag="log", tag_field="name"):
    """Levels e^rho apart; with ends, it takes fewer bits and saturates beyond the largest."""

    rho: Positive = 0.5
    smallest: Positive | None = None
    largest: Positive | None = None


class Uniform(Struct, forbid_unknown_fields=True, frozen=True, tag="uniform", tag_field="name"):
    delta: Positive
    largest: Positive | None = None


class Float(Struct, forbid_unknown_fields=True, frozen=True, tag="float", tag_field="name"):
    mantissa_bits: Annotated[int, Meta(ge=0, le=52)]


class Adaptive(Struct, forbid_unknown_fields=True, frozen=True, tag="adaptive", tag_field="name"):
    bits: Annotated[int, Meta(ge=2, le=16)] = 3


class Link(Struct, forbid_unknown_fields=True, frozen=True):
    """What travels: the value, the rounded value, or the rounded change; the last is exact in the limit."""

    name: Literal["ideal", "quantized", "innovation"] = "ideal"
    quantizer: Log | Uniform | Float | Adaptive | None = None
    memory: Literal["node", "edge"] | None = None


class Plan(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A whole plan; `cojax plan --help` explains every key."""

    title: str = "cojax plan"
    steps: Count = 10_000
    every: Count = 100
    seed: Seed = 0
    tolerance: Positive = 1e-4
    nodes: Nodes
    cpu: Cpu
    graph: Graph
    data: Data | None = None
    model: Svm | Logistic | LeastSquares | Softmax | None = None
    penalty: Power | Softplus | Barrier | None = None
    method: Methods = Methods()
    link: Link = Link()
    hours: Hours | None = None


def read_plan(path: str | Path) -> Plan:
    """The plan in a TOML file, its file names made relative to the working directory instead of to the file.

    Raises `CojaxInputError` with the path of the key (`$.graph.name`) for anything that is no plan: unknown keys, wrong
    types, numbers out of range or not finite, keys that exclude each other, broken, huge or deeply nested TOML.
    """
    path = checked_path(path, MAX_BYTES)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if LONG_KEY.search(text):
            raise RecursionError
        if LONG_NUMBER.search(text):
            raise ValueError("a number of more than 5000 digits")
        content = tomllib.loads(text)
        floats = list(_floats(content))
    except UnicodeDecodeError as error:
        raise CojaxInputError(f"{path} is no UTF-8 text ({error.reason}): save it as UTF-8.") from error
    except RecursionError as error:
        raise CojaxInputError(f"{path} is nested too deeply to be read: a plan has three levels.") from error
    except ValueError as error:  # TOMLDecodeError is one; so is a whole number with thousands of digits
        raise CojaxInputError(f"{path} is no TOML that can be read: {error}.") from error
    for where, value in floats:
        if not math.isfinite(value):
            raise CojaxInputError(f"{path} needs finite numbers, got {value} at {where}: leave the key out for none.")
    return _moved(_converted(content, str(path)), lambda name: os.path.normpath(path.parent / name))


def checked(plan: Plan, source: str) -> Plan:
    """`plan`, made in Python, after the checks that a file goes through; `source` begins the error's sentence."""
    return _converted(msgspec.to_builtins(plan), source)


def write_plan(path: str | Path, plan: Plan) -> None:
    """`plan` as TOML, its file names made relative to the new file, so that the folder can be read from anywhere."""
    path = Path(path)
    there = _moved(plan, lambda name: Path(os.path.relpath(name, path.parent)).as_posix())
    path.write_text(tomli_w.dumps(_without_none(msgspec.to_builtins(there))), encoding="utf-8")


def _converted(content: Any, source: str) -> Plan:
    try:
        plan = msgspec.convert(content, Plan)
    except msgspec.ValidationError as error:
        raise CojaxInputError(f"{source} is no plan: {error}{advice(Plan, str(error))}.") from error
    _check(plan, source)
    return plan


def _moved(plan: Plan, move: Callable[[str], str]) -> Plan:
    def moved(part: Any, *names: str) -> Any:
        return msgspec.structs.replace(
            part, **{name: move(getattr(part, name)) for name in names if getattr(part, name)}
        )

    data = plan.data and moved(plan.data, "file", "test_file")
    nodes, graph, hours = moved(plan.nodes, "file"), moved(plan.graph, "file"), plan.hours and moved(plan.hours, "file")
    return msgspec.structs.replace(plan, nodes=nodes, graph=graph, data=data, hours=hours)


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
        (nodes.file and typed, f"$.nodes has both file and {', '.join(typed)}: put all columns into one place"),
        (not nodes.file and not typed, "$.nodes is empty: name a file, or type in columns such as capacity and demand"),
        (bool(graph.name) == bool(graph.file), "$.graph needs either a name or a file"),
        (data and bool(data.name) == bool(data.file), "$.data needs either a name or a file"),
        (data and data.name and data.test_file, "$.data.test_file goes with $.data.file only"),
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
    for broken, sentence in (*rules, *misplaced):
        if broken:
            raise CojaxInputError(f"{source}: {sentence}.")
