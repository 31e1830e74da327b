"""Decentralized optimization and compute planning over networks, on JAX."""

import importlib as _importlib
import sys as _sys

from . import plots as plots
from . import rivals as rivals
from . import theory as theory
from . import tuning as tuning
from ._support.checks import CojaxInputError as CojaxInputError
from ._support.compiling import keep_programs as keep_programs
from ._support.compiling import quick_jit as quick_jit
from .data import datasets as datasets
from .data import graphs as graphs
from .data import tables as tables
from .methods import *  # noqa: F403 - they are listed once, where they live
from .networks import weights as weights
from .networks.base import Layout as Layout
from .networks.base import Link as Link
from .networks.base import Network as Network
from .networks.build import network as network
from .networks.clocks import Clock as Clock
from .networks.devices.shard import Shards as Shards
from .networks.devices.shard import restored as restored
from .networks.devices.shard import shard as shard
from .networks.devices.spread import spread as spread
from .networks.faults.bursts import GilbertElliott as GilbertElliott
from .networks.faults.intermittent import Intermittent as Intermittent
from .networks.faults.ledger import Ledger as Ledger
from .networks.faults.lossy import Lossy as Lossy
from .networks.faults.members import Members as Members
from .networks.faults.messages import Corrupted as Corrupted
from .networks.faults.messages import Delayed as Delayed
from .networks.faults.messages import Duplicated as Duplicated
from .networks.faults.messages import LossyOneWay as LossyOneWay
from .networks.faults.messages import Reordered as Reordered
from .networks.faults.paces import Asynchronous as Asynchronous
from .networks.faults.random_graph import RandomGraph as RandomGraph
from .networks.faults.random_pairs import RandomPairs as RandomPairs
from .networks.faults.scripted import Crashing as Crashing
from .networks.faults.scripted import Scripted as Scripted
from .networks.faults.timed import Timed as Timed
from .networks.layouts.circulant import Circulant as Circulant
from .networks.layouts.computed import Computed as Computed
from .networks.layouts.dense import Dense as Dense
from .networks.layouts.directed import Digraph as Digraph
from .networks.layouts.directed import Directed as Directed
from .networks.layouts.edges import Edges as Edges
from .networks.layouts.neighbors import Neighbors as Neighbors
from .networks.layouts.split import Split as Split
from .networks.links.links import ErrorFeedback as ErrorFeedback
from .networks.links.links import EventTriggered as EventTriggered
from .networks.links.links import Ideal as Ideal
from .networks.links.links import Innovation as Innovation
from .networks.links.links import Quantized as Quantized
from .networks.links.quantizers import AdaptiveQuantizer as AdaptiveQuantizer
from .networks.links.quantizers import FloatQuantizer as FloatQuantizer
from .networks.links.quantizers import LogQuantizer as LogQuantizer
from .networks.links.quantizers import OneBitQuantizer as OneBitQuantizer
from .networks.links.quantizers import Quantizer as Quantizer
from .networks.links.quantizers import RandK as RandK
from .networks.links.quantizers import TopK as TopK
from .networks.links.quantizers import UniformQuantizer as UniformQuantizer
from .optimum import Allocation as Allocation
from .optimum import Certificate as Certificate
from .optimum import Reference as Reference
from .optimum import Sensitivities as Sensitivities
from .optimum import Shift as Shift
from .optimum import allocate as allocate
from .optimum import certificate as certificate
from .optimum import is_certified as is_certified
from .optimum import polish as polish
from .optimum import reference as reference
from .optimum import sensitivities as sensitivities
from .optimum import shift as shift
from .problems import costs as costs
from .problems import penalties as penalties
from .problems.budgets import at_most as at_most
from .problems.budgets import used as used
from .problems.budgets import weighted as weighted
from .problems.changing import Change as Change
from .problems.changing import Changing as Changing
from .problems.measures import own_models as own_models
from .problems.minibatches import Minibatch as Minibatch
from .problems.problem import Decision as Decision
from .problems.problem import Problem as Problem
from .problems.problem import replicate as replicate
from .rivals.choices import Choice as Choice
from .rivals.choices import choose as choose
from .rivals.compare import Course as Course
from .rivals.compare import compare as compare
from .rivals.trials import Paired as Paired
from .rivals.trials import Profile as Profile
from .rivals.trials import Trials as Trials
from .rivals.trials import trials as trials
from .runs import records as records
from .runs.loop import init as init
from .runs.loop import step as step
from .runs.rejoining import rejoined as rejoined
from .runs.solutions import Solution as Solution
from .runs.solutions import State as State
from .runs.solve import solve as solve
from .runs.solve_to import solve_to as solve_to
from .runs.status import Status as Status
from .runs.sweeps import Sweep as Sweep
from .runs.sweeps import sweep as sweep
from .runs.transfers import Transfers as Transfers
from .runs.transfers import transfers as transfers
from .tuning import gradient_check as gradient_check
from .tuning import slope_check as slope_check
from .tuning import tune as tune
from .tuning.default import default as default
from .tuning.default_allocator import default_allocator as default_allocator
from .tuning.default_learner import default_learner as default_learner
from .tuning.outer import OuterTuning as OuterTuning
from .tuning.outer import tune_problem as tune_problem
from .tuning.timely import Timely as Timely
from .tuning.timely import timely_shares as timely_shares
from .tuning.tuned import tuned as tuned

__version__ = "0.2.0"

# `from cojax.costs import Price` means what `cojax.costs.Price` does, although costs live with the problems.
_rooms = (costs, datasets, graphs, penalties, records, tables, weights)
for _room in _rooms:
    _sys.modules[f"{__name__}.{_room.__name__.rpartition('.')[2]}"] = _room

# What a user sees: functions, classes and namespaces, not the packages that they live in.
__all__ = [
    _name
    for _name, _value in list(globals().items())
    if not _name.startswith("_") and (callable(_value) or _value in (*_rooms, plots, rivals, theory, tuning))
]  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return [*__all__, "estimators", "__doc__", "__version__"]


def __getattr__(name: str) -> object:
    """The estimators when they are first asked for: they bring scikit-learn along."""
    if name != "estimators":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _importlib.import_module(f"{__name__}.estimators")
