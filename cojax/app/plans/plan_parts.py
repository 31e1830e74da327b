"""The tables of a plan, and what each of their keys may be."""

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from .rosters import ALLOCATORS, LEARNERS

if TYPE_CHECKING:
    LearnerName = AllocatorName = str
else:  # the names that the methods' records give
    LearnerName, AllocatorName = Literal[*LEARNERS], Literal[*ALLOCATORS]

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
MOST_COUNT, MOST_SEED = 1_000_000_000, 2**32 - 1
Count = Annotated[int, Meta(ge=1, le=MOST_COUNT)]
Seed = Annotated[int, Meta(ge=0, le=MOST_SEED)]
Column = list[float] | None


class NodesTable(Struct, forbid_unknown_fields=True, frozen=True):
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
    speed: Column = None
    lower: Column = None
    upper: Column = None
    pue: Column = None
    latitude: Column = None
    longitude: Column = None
    region: list[str] | None = None


Word = Annotated[str, Meta(min_length=1, max_length=24)]


class Units(Struct, forbid_unknown_fields=True, frozen=True):
    """What the numbers of a plan count: of shares and bounds, and of costs."""

    cpu: Word = "CPU units"
    money: Word | None = None


class Cpu(Struct, forbid_unknown_fields=True, frozen=True):
    """What is shared out, and what a share costs; the cost defaults to the first whose columns are there."""

    budget: float
    cost: Literal["deviation", "price", "delay"] | None = None


class ClockTable(Struct, forbid_unknown_fields=True, frozen=True):
    """How long rounds of training take: numbers of `cojax.Clock`; node and link tables may tell them apart."""

    work: NotNegative | None = None
    speed: Positive | None = None
    latency: str | NotNegative = 0.0
    bandwidth: str | Positive | None = None
    barrier: Literal["neighbours", "all"] = "neighbours"


class Hours(Struct, forbid_unknown_fields=True, frozen=True):
    """Prices by the hour, for `cojax plan --hours`: a CSV of labels and one column per node."""

    file: str


class Resource(Struct, forbid_unknown_fields=True, frozen=True):
    """Another resource of the same nodes, shared out by itself: its budget, its cost, its own tables, its unit."""

    budget: float
    nodes: NodesTable
    cost: Literal["deviation", "price", "delay"] | None = None
    unit: Word | None = None
    hours: Hours | None = None


class GraphTable(Struct, forbid_unknown_fields=True, frozen=True):
    """Who is linked to whom: a name of `cojax.graphs.named`, or a file (see `cojax.graphs.read_graph`)."""

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
    """Samples to learn from: a name, or a file (see `cojax.tables.read_samples`)."""

    name: Literal["breast_cancer"] | None = None
    file: str | None = None
    test_file: str | None = None
    test_fraction: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    split: Literal["random", "by_target", "dirichlet"] = "random"
    weighting: Literal["pooled", "node_mean"] = "pooled"
    proportions: list[Positive] | None = None
    concentration: Positive | None = None
    standardize: bool = True


class Svm(Struct, forbid_unknown_fields=True, frozen=True, tag="svm", tag_field="name"):
    """The paper's smoothed support vector machine; `weight` is C."""

    ridge: NotNegative = 0.1
    sharpness: Positive = 10.0
    weight: Positive = 1.0


class LogisticTable(Struct, forbid_unknown_fields=True, frozen=True, tag="logistic", tag_field="name"):
    ridge: NotNegative = 0.1


class LeastSquaresTable(Struct, forbid_unknown_fields=True, frozen=True, tag="least_squares", tag_field="name"):
    ridge: NotNegative = 0.0


class SoftmaxTable(Struct, forbid_unknown_fields=True, frozen=True, tag="softmax", tag_field="name"):
    ridge: NotNegative = 0.1


class PowerTable(Struct, forbid_unknown_fields=True, frozen=True, tag="power", tag_field="name"):
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

    name: LearnerName = "diging"
    step_size: Positive | None = None
    mixing: Annotated[float, Meta(gt=0, le=1)] | None = None
    gain: Positive | None = None
    blend: Annotated[float, Meta(gt=0, le=1)] | None = None
    momentum: Annotated[float, Meta(ge=0, lt=1)] | None = None


class Allocator(Struct, forbid_unknown_fields=True, frozen=True):
    """How shares move; a number left out is computed. Each goes with the methods in `rosters.NUMBERS` only."""

    name: AllocatorName = "laplacian"
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


class LinkTable(Struct, forbid_unknown_fields=True, frozen=True):
    """What travels: the value, the rounded value, or the rounded change; the last is exact in the limit."""

    name: Literal["ideal", "quantized", "innovation"] = "ideal"
    quantizer: Log | Uniform | Float | Adaptive | None = None
    memory: Literal["node", "edge"] | None = None
