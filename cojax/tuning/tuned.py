"""Methods with every number computed from the network and the problem, so that nobody need type one."""

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .. import theory
from .._support.checks import CojaxInputError
from ..methods import (
    APAPC,
    LEAD,
    Choco,
    DIGing,
    FiniteTime,
    FixedTime,
    HeavyBall,
    Laplacian,
    Method,
    MomentumFlow,
    Nesterov,
    PushDIGing,
    PushPull,
    Saturated,
    SingleBit,
)
from ..methods.facts import KNOWN, Facts
from ..networks.base import Layout, Network
from ..networks.build import built
from ..networks.faults.faulty import loss_rate, untimed
from ..networks.layouts.directed import Directed
from ..networks.links.links import EventTriggered, Ideal
from ..problems.problem import Decision, Problem, check_gradient
from ..theory import Limit
from ..theory.limits import SHARE, stable
from ..theory.spectra import laplacians_kept
from ..theory.turns import disagreement_radius, with_losses
from .checks import check_run

MIXING = 0.5  # of DIGing: its limit grows as mixing shrinks, agreement slows down
CAUTIOUS_MOMENTUM = 0.5  # of an allocator where no best one is known: changing graphs, costs that do not curve
UNLIKE = 1e3  # the curvature of one resource over that of another, from which on their one step is warned of
STEADY = 2.0  # the curvature of a cost of shares in one place over that in another, for momentum made for quadratics
GAIN = 0.5  # of Choco and LEAD over a quantized link
# Of graphs with links that fail, on which APAPC has to be stable: so many turns that these nodes wait in them.
DRAWN_NODES, LEAST_TURNS, MOST_TURNS = 4000, 8, 64
RARE = 0.05  # of the steps, in which a link is there and holds: over few bits half of the stable gain is faster then
FLATTER = 64.0  # than the mean of all costs, at most, a node is taken for
LEAST_GAIN = 1e-4  # of APAPC, below which it is not lowered for graphs that take turns
COARSE_GAIN = 0.7  # of APAPC over a quantized link, of 1 / lambda_n
CROWDED = 0.8  # of lambda_n: where a node has more of its own rounding back, as on a star, the gain is CROWDED_GAIN
CROWDED_GAIN = 0.5  # of two bits on complete graphs two runs of three diverge at 0.7, none of 36 at 0.55
# A short step makes more of what was heard, which is old where graphs change or links fail. The gain is lowered below
# this part of the limit, down to this part of the gain: as it is 7 of 96 runs diverge, with 0.7 of it none.
LONG, LEAST_PART = 0.8, 0.5
FAST_SHARE = 0.95  # of its limit, at most: where costs and not the graph decide how fast a run is
SHORT_SHARE = 0.05  # at least, so that models move while graphs hardly let nodes agree
DISCONNECTED = 1e9  # a chi beyond which nodes never agree, alone or in parts
BALANCE = 1.4  # a root of 2 by formula; measured, benchmarks/which_step.py
MOST_CONDITION = 1e4  # of costs that hardly curve: more momentum than for this one is not taken
# A law that is not linear ends in a cycle whose differences of marginal costs are about this part of the first ones.
FLOOR = 0.01
LOGGER = logging.getLogger("cojax")  # of a step, which proof it rests on
UNPROVED = "; theory.proved_steps says which steps are proved"

Chosen = tuple[Any, Limit]


def tuned(kind: Callable[..., Method], problem: Problem, network: Network, start: Decision) -> Method:
    """The method `kind` with step size, momentum, mixing and gain from the formulas of `cojax.theory`.

        method = cojax.CoOpt(
            learn=cojax.tuned(cojax.DIGing, problem, network, start),
            allocate=cojax.tuned(cojax.Laplacian, problem, network, start),
        )

    Steps are half of their limit, which `limit` gives with what it assumes and whether it is proved; where it is not,
    `theory.proved_steps` has one of most learners that is, for costs that are not quadratic too. `APAPC` takes up to
    0.95 of it, and less where graphs are slow, so that models get better as fast as nodes agree. Accelerated
    allocators on a fixed graph with an exact link take the constants that are best there. Curvatures are found by
    `theory.curvature` around `start`. Laws that are not linear get the step whose final cycle is about 1 % of the
    differences of marginal costs at `start`.

    Args:
        kind: one of the methods of `cojax`, for one half of the decision: `cojax.DIGing`, `cojax.Laplacian`, ....
        problem, network, start: as for `solve`.

    One step serves all resources: where one is counted in so small a unit that its shares would hardly move, a warning
    names a better one. Says what the step is and which proof it rests on to the logger "cojax", at the level INFO:
    `logging.basicConfig(level="INFO")` shows it. Computes on the host, not under jit.

    Raises `CojaxInputError` for a kind without formulas, a half that the problem does not have, a network that
    `theory.laplacians` refuses, and weights with which no step is stable.
    """
    method, limit = tuned_with_limit(kind, problem, network, start)
    provable = kind in LEARNERS and theory.is_fixed(network) and isinstance(network.link, Ideal)
    more = UNPROVED if limit.kind == "heuristic" and provable else ""
    LOGGER.info("tuned(%s): step_size %.6g, stable below %s%s", kind.__name__, np.max(method.step_size), limit, more)
    return method


def limit(kind: Callable[..., Method], problem: Problem, network: Network, start: Decision) -> Limit:
    """The largest step size of `kind` that is known to be stable, with its assumptions; arguments as for `tuned`."""
    return tuned_with_limit(kind, problem, network, start)[1]


@laplacians_kept()
def tuned_with_limit(kind: Callable[..., Method], problem: Problem, network: Network, start: Decision) -> Chosen:
    """What `tuned` and `limit` give, by one look at curvatures and spectra; arguments as for `tuned`."""
    name = getattr(kind, "__name__", type(kind).__name__)
    rule = LEARNERS.get(kind) or ALLOCATORS.get(kind)
    if rule is None:
        known = ", ".join(sorted(each.__name__ for each in (*LEARNERS, *ALLOCATORS)))
        raise CojaxInputError(f"tuned has no formulas for {name}: give it its numbers by hand, or use one of {known}.")
    check_run(f"tuned({name})", problem, network, start, ("params" if kind in LEARNERS else "cpu",))
    network = built(untimed(network))
    method, limit = rule(kind, problem, network, start)
    return method, over_link(limit, network)


def _step_below(limit: Limit, kind: Any, share: float = SHARE) -> float:
    """`share` of the limit of a method's steps."""
    if limit.value > 0:
        return share * limit.value
    raise CojaxInputError(
        f"tuned({kind.__name__}) finds no stable step for the weights of this network, whose lambda_n is 2 or more; "
        "use smaller weights such as cojax.weights.metropolis, or DIGing, which can mix less."
    )


def over_link(limit: Limit, network: Network) -> Limit:
    """`limit`, or without its proof where the link is not exact."""
    if isinstance(network.link, Ideal):
        return limit
    return limit._replace(assumptions=f"{limit.assumptions}; the link taken for an exact one", kind="heuristic")


def _curvature_of_model(kind: Any, problem: Problem, start: Decision) -> theory.LearnCurvature:
    curvature = theory.learn_curvature(problem, start)
    if curvature.high > 0:
        return curvature
    raise CojaxInputError(f"tuned({kind.__name__}) needs costs that curve in params, got linear ones: no step is best.")


def curvature_of_shares(kind: Any, problem: Problem, start: Decision) -> theory.ShareCurvature:
    curvature = theory.share_curvature(problem, start)
    if curvature.high.max() > 0:
        _warn_of_units(kind, np.where(np.ravel(np.asarray(problem.budget)) != 0, curvature.rates, 0))
        return curvature
    raise CojaxInputError(f"tuned({kind.__name__}) needs costs that curve in cpu, got linear ones: no step is best.")


def _warn_of_units(kind: Any, rates: np.ndarray) -> None:
    """One step serves all resources: that of the steepest hardly moves one which is counted in small units."""
    rates = np.where(rates > 0, rates, np.nan)
    if np.isnan(rates).all() or not (apart := np.nanmax(rates) / np.nanmin(rates)) > UNLIKE:
        return
    slow, fast = int(np.nanargmin(rates)), int(np.nanargmax(rates))
    warnings.warn(
        f"The marginal costs of resource {slow} change {apart:.0e} times less with a share than those of resource "
        f"{fast}, and one step of {kind.__name__} serves both, so that the shares of resource {slow} will hardly move: "
        f"count resource {slow} in units {math.sqrt(apart):.0e} times as large.",
        stacklevel=4,
    )


def _by(bound: Callable[..., Limit], **fixed: Any) -> Callable[..., Chosen]:
    """Half of `bound`, for a method whose other numbers are `fixed`, which the bound depends on."""

    def rule(kind: Any, problem: Problem, network: Network, start: Decision) -> Chosen:
        limit = bound(network, _curvature_of_model(kind, problem, start).high, **fixed)
        return kind(_step_below(limit, kind), **fixed), limit

    return rule


def _compressed_rule(bound: Callable[..., Limit]) -> Callable[..., Chosen]:
    """Half of `bound`, with the gain that a quantized link needs."""

    def rule(kind: Any, problem: Problem, network: Network, start: Decision) -> Chosen:
        limit = bound(network, _curvature_of_model(kind, problem, start).high)
        gain = 1.0 if isinstance(network.link, Ideal) else GAIN
        return kind(_step_below(limit, kind), gain=gain), limit

    return rule


def _primal_dual(kind: Any, problem: Problem, network: Network, start: Decision) -> Chosen:
    """The momentum that makes costs as well conditioned as the graph, blend = sqrt(chi / kappa), and a step for both.

    Where all nodes curve alike, between l and u, a model gets better at the rate step l / 2 or faster, and nodes agree
    at gain lambda_2 / (step u): both are fast where step^2 is near 2 gain lambda_2 / (l u). No step is longer than
    2 / (l + u), which is best at one node.
    """
    curvature = _curvature_of_model(kind, problem, start)
    smoothness = curvature.high
    spectrum = theory.spectrum(network)
    most = spectrum.lambda_n or 1.0  # a node alone has no links
    chi = most / max((1.0 - loss_rate(network)) * spectrum.mean_lambda_2, 1e-12)
    kappa = smoothness / max(curvature.mean_low, smoothness / MOST_CONDITION)
    blend = min(math.sqrt(chi / kappa), 1.0)
    limit = theory.apapc_limit(network, smoothness, blend)
    graphs = theory.laplacians(network)
    crowded = max(float(graph.diagonal().max()) for graph in graphs) > CROWDED * most
    coarse = (CROWDED_GAIN if crowded else COARSE_GAIN) * math.sqrt(part_of_steps(graphs))
    gain = 1.0 if isinstance(network.link, Ideal) else coarse
    low = smoothness / kappa
    step_size = _step_below(limit, kind, min(FAST_SHARE, kappa / (kappa + 1)))
    if chi < DISCONNECTED:
        balanced = BALANCE * math.sqrt(gain / (chi * low * max(curvature.mean_high, low)))
        step_size = min(step_size, max(balanced, SHORT_SHARE * limit.value))
    gain /= most
    if not theory.is_fixed(network):
        gain *= min(max(math.sqrt(step_size / (LONG * limit.value)), LEAST_PART), 1.0)
    if len(graphs) > 1:
        gain = _gain_in_turn(network, graphs, curvature, low, (step_size, blend, gain))
    return kind(step_size, blend, gain=gain), limit


def _gain_in_turn(
    network: Network,
    graphs: list[Any],
    curvature: theory.LearnCurvature,
    low: float,
    numbers: tuple[float, float, float],
) -> float:
    """The gain of the numbers (step_size, blend, gain), or the largest smaller one at which nodes do not grow apart.

    A node alone is pushed on by its own memory while it waits, and only the curvature of its cost pulls it back.
    Without losses it waits for one turn at most, and what suits costs that do not curve at all suits all; with losses
    there is no such gain, and the flattest node decides.
    """
    step_size, blend, gain = numbers
    loss = loss_rate(network)
    kept = (1.0 - loss) * part_of_steps(graphs)
    if loss > 0:
        graphs = with_losses(graphs, loss, min(max(LEAST_TURNS, DRAWN_NODES // network.num_nodes), MOST_TURNS))
    flattest = min(max(curvature.low, low / FLATTER), low) if loss > 0 else 0.0
    curves = flattest, low, math.sqrt(low * curvature.high), curvature.high

    def grows(gain: float) -> bool:
        return any(disagreement_radius(graphs, curve, step_size, blend, gain) >= 1 for curve in curves)

    gain = _stable(gain, grows)
    return gain / 2 if kept < RARE and not isinstance(network.link, Ideal) else gain


def _stable(gain: float, grows: Callable[[float], bool]) -> float:
    """`gain`, or the largest smaller one at which nothing grows, to a factor of 2^(1/4) below it."""
    least = gain
    while least > LEAST_GAIN and grows(least):
        least /= 2
    if least < gain:
        for power in (0.5, 0.25):
            least *= 1.0 if grows(least * 2**power) else 2**power
    return least


def part_of_steps(graphs: list[Any]) -> float:
    """The part of the steps in which a link of the union is there: one that waits has more to tell in its turn."""
    union: Any = sum(abs(graph) for graph in graphs)
    if union.nnz == 0:  # a node alone
        return 1.0
    return sum(map(_num_ends, graphs)) / (len(graphs) * max(_num_ends(union), 1))


def _num_ends(laplacian: Any) -> int:
    """How many ends of links a graph has, told by the entries off the diagonal: a node without links has none on it."""
    return int(laplacian.nnz - np.count_nonzero(laplacian.diagonal()))


def _flow(kind: Any, problem: Problem, network: Network, start: Decision) -> Chosen:
    """Half of the limit divided by the steepest slope d -> odd(d)/d of the law over the differences that will occur."""
    curvature = curvature_of_shares(kind, problem, start).high
    limit = theory.allocation_limit(network, curvature)
    spread = price_spread(problem, start)
    # A limit at half of the first differences is felt at first and not near the optimum.
    law = kind(1.0, level=0.5 * spread) if kind is Saturated else kind(1.0)
    ends = np.asarray([FLOOR * spread, spread])
    steepest = float(np.max(np.asarray(law.odd(jnp.asarray(ends))) / ends))
    limit = limit._replace(value=limit.value / steepest)
    if kind in (FiniteTime, FixedTime, SingleBit):
        assumptions = f"{limit.assumptions}; until differences are {FLOOR:.0%} of those at the start"
        limit = limit._replace(assumptions=assumptions, kind="sufficient")
    return _with_step(law, _step_below(limit, kind)), limit


def is_steady(curvature: theory.ShareCurvature) -> bool:
    """Whether no node's cost curves more than `STEADY` times as much in one place as in another."""
    return bool((curvature.high <= STEADY * curvature.low).all())


def price_spread(problem: Problem, start: Decision) -> float:
    """The largest difference of two marginal costs at the start; 1 where there is none."""
    grad = problem.grad(start)
    check_gradient(grad)
    slopes = np.asarray(grad.cpu, np.float64)
    spread = float(np.ptp(slopes, axis=0).max())
    return spread if 0 < spread < np.inf else 1.0


def _with_step(law: Laplacian, step_size: float) -> Laplacian:
    return eqx.tree_at(lambda method: method.step_size, law, step_size)


def _accelerated_rule(best: Callable[..., theory.Momentum], bound: Callable[..., Limit]) -> Callable[..., Chosen]:
    """The constants that are best on a fixed graph for costs that curve everywhere; cautious ones elsewhere.

    Over a link of few bits too: with the best ones, rounding comes back larger than it left. And heavy ball, whose best
    constants are made for quadratic costs, bounces off soft bounds; those of Nesterov hold for every convex cost.
    """

    def rule(kind: Any, problem: Problem, network: Network, start: Decision) -> Chosen:
        curvature = curvature_of_shares(kind, problem, start)
        exact = isinstance(network.link, Ideal | EventTriggered)
        fits = kind is Nesterov or is_steady(curvature)
        if theory.is_fixed(network) and exact and fits and curvature.low.min() > 0:
            constants = best(network, curvature.low, curvature.high)
            return kind(*constants), bound(network, curvature.high, constants.momentum)
        plain = theory.allocation_limit(network, curvature.high).value
        # Momentum makes of every step 1 / (1 - momentum) in the long run.
        step_size = SHARE * plain * (1.0 - CAUTIOUS_MOMENTUM)
        return kind(step_size, CAUTIOUS_MOMENTUM), bound(network, curvature.high, CAUTIOUS_MOMENTUM)

    return rule


def _tracking(kind: Any, problem: Problem, network: Network, start: Decision) -> Chosen:
    """Half of the limit of a fixed graph; of that for any switching where it holds, because there the other does not.

    `theory.unstable_switching` diverges below the limit that each of its graphs has alone.
    """
    proved = _switching(problem, network, start)
    if proved is None:
        return _by(theory.tracking_limit, mixing=MIXING)(kind, problem, network, start)
    limit, mixing = proved
    return kind(_step_below(limit, kind), mixing=mixing), limit


def _switching(problem: Problem, network: Network, start: Decision) -> tuple[Limit, float] | None:
    """`theory.switching_limit` and a mixing that it allows; None where one graph is fixed or one is not connected."""
    if not isinstance(network, Layout) or network.num_graphs == 1 or not theory.is_undirected(network):
        return None
    found, curvature = theory.spectrum(network), theory.learn_curvature(problem, start)
    if not (found.lambda_2 > 1e-9 and curvature.mean_low > 0):
        return None
    mixing = min(MIXING, 2 / (found.lambda_2 + found.lambda_n))
    return theory.switching_limit(network, curvature.high, curvature.mean_low, mixing), mixing


def _directed_rule(bound: Callable[..., Limit], undirected: Callable[..., Limit]) -> Callable[..., Chosen]:
    """Half of `bound` over networks whose weights are not balanced, of `undirected` elsewhere."""

    def rule(kind: Any, problem: Problem, network: Network, start: Decision) -> Chosen:
        return _by(bound if isinstance(network, Directed) else undirected)(kind, problem, network, start)

    return rule


# Rules of their own; every other method takes half of the limit that its record names.
SPECIAL: dict[Any, Callable[..., Chosen]] = {
    DIGing: _tracking,
    PushPull: _directed_rule(theory.push_pull_limit, theory.tracking_limit),
    PushDIGing: _directed_rule(theory.push_diging_limit, theory.atc_limit),
    Choco: _compressed_rule(theory.diffusion_limit),
    LEAD: _compressed_rule(theory.nids_limit),
    APAPC: _primal_dual,
    HeavyBall: _accelerated_rule(theory.heavy_ball, theory.heavy_ball_limit),
    MomentumFlow: _accelerated_rule(theory.heavy_ball, theory.heavy_ball_limit),
    Nesterov: _accelerated_rule(theory.nesterov, theory.nesterov_limit),
}


def _rule(kind: Any, facts: Facts) -> Callable[..., Chosen]:
    if kind in SPECIAL:
        return SPECIAL[kind]
    if facts.half == "allocate":
        return _flow
    return _by(_heuristic(kind, facts) if facts.limit is None else getattr(theory, facts.limit), **dict(facts.given))


def _heuristic(kind: Any, facts: Facts) -> Callable[..., Limit]:
    """The bound of a record that names no proof."""

    def bound(network: Network, smoothness: float, **numbers: float) -> Limit:
        return Limit(stable(kind, network, **numbers) / smoothness, "the bound of its record", "heuristic")

    return bound


LEARNERS, ALLOCATORS = (
    {kind: _rule(kind, facts) for kind, facts in KNOWN.items() if facts.half == half} for half in ("learn", "allocate")
)
