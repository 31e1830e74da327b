"""The allocator that needs the fewest bits: weights, link, step and momentum from the problem and the network alone."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from .._support.checks import CojaxInputError
from ..methods import Nesterov
from ..networks import weights
from ..networks.base import Link, Network
from ..networks.build import built, of_edges
from ..networks.faults.faulty import loss_rate
from ..networks.links.links import Innovation
from ..networks.links.quantizers import AdaptiveQuantizer, OneBitQuantizer
from ..problems.problem import Decision, Problem
from ..theory.limits import SHARE, largest_scaled_eigenvalue
from ..theory.spectra import is_fixed, is_undirected, laplacians, laplacians_kept, second_eigenvalue
from ..theory.trials import NUM_STEPS, steps_to_fall
from .checks import check_no_books, check_run
from .default_learner import with_link
from .drawn import with_known_graphs
from .tuned import CAUTIOUS_MOMENTUM, curvature_of_shares, is_steady, part_of_steps, price_spread

# Shrink and grow of a memory per edge, which hears of its neighbour now and then.
CALM = (2 / 3, 3 / 2)
# With more momentum than this messages outgrow one bit: it fails from 0.88 on, two bits nowhere up to 0.999.
ONE_BIT = 0.85
TWO_BITS = AdaptiveQuantizer(2, 0.7, 1.6)
# Of a cost that is not steady, for a soft bound say: its messages jump, and no link of few bits follows the jumps that
# more momentum makes (it fails from 0.85 on, with four bits too).
JUMPING = 0.7
# The size of the first sign, in differences of marginal costs at the start.
FIRST = 0.25
# Of the momentum that is best for the mean of the graphs: the parts that are tried over a whole turn of them.
PARTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Up to this many rows a turn of graphs is multiplied out; above, momentum over changing graphs is half of the best.
MOST_MULTIPLIED = 400
# Longer steps are taken where they are quicker by this much, a quarter longer still and with other losses too.
QUICKER, LONGER, SEEDS = 0.9, 1.25, (0, 1)
# A node whose cost does not curve weighs like one that curves this part of the most curved.
FLAT = 1e-3


@laplacians_kept()
def default_allocator(problem: Problem, network: Network, start: Decision) -> tuple[Network, Nesterov]:
    """The same graphs with other weights and a link of one bit a number, or two, and the `Nesterov` tuned to them.

        network, allocate = cojax.default_allocator(problem, network, start)
        cojax.solve(problem, network, cojax.CoOpt(allocate=allocate), start, num_steps=500)

    Weights fit the curvature of the costs: `weights.fastest` where one graph stands (`weights.steepest` where it is too
    large for that), and `weights.steepest`, which any two neighbours can work out, where graphs take turns. They are
    scaled so that no node gives away more than it has. Messages go over `Innovation(OneBitQuantizer)`, with memory per
    edge where graphs change or lose links. The step is at most half of 1 / lambda_max(D^1/2 L D^1/2) over all graphs;
    the momentum is the best for the mean of the graphs, losses included, or the part of it that is best over one turn
    of them. Where that is more than one bit can follow, 0.85, one graph that stands gets two bits a number, and others
    less momentum; so do costs whose curvature is not within a factor of two everywhere, with soft bounds say. Over
    graphs that change, the step is shorter by the root of how often links are up, and a trial run on quadratic costs
    lowers the momentum until the trial settles; where the trial falls slowly, a longer step is taken if it falls sooner
    by a tenth, a quarter longer still too. These bounds are measured (`benchmarks/stability.py`), not proved. The total
    is exact at every step. `benchmarks/which_allocator.py` compares it with every rival.

    Graphs that are drawn in every step (`RandomGraph`, `RandomPairs`) keep the weights that they are drawn with, and
    numbers are chosen on the first 64 of them; `RandomPairs`, where no memory lasts, keeps its link too.

    One network carries both halves of a `CoOpt`: beside a learner take `cojax.default`. Over other weights than its own
    what is returned here may diverge.

    Args as for `tuned`. Computes on the host, not under jit. Raises `CojaxInputError` where `tuned(Nesterov, ...)`
    does, for a directed network, as weights that fit costs have one value for both ends of a link, and for a `Ledger`.
    """
    check_run("default_allocator", problem, network, start, ("cpu",))
    network = built(network)
    if not is_undirected(network):
        raise CojaxInputError(
            "default_allocator needs an undirected network, got a directed one, whose weights cannot be chosen link by "
            "link; use cojax.tuned(cojax.Nesterov, ...) with the network as it is."
        )
    check_no_books("default_allocator", network)
    curvature = curvature_of_shares(Nesterov, problem, start)
    high = np.maximum(curvature.high, FLAT * curvature.high.max())
    first = FIRST * price_spread(problem, start)
    fixed = is_fixed(network)
    memory, factors = ("node", ()) if fixed else ("edge", CALM)
    link = Innovation(OneBitQuantizer(*factors, first=first), memory)
    known = with_known_graphs(network)
    if known is not network:
        return _drawn(network, known, curvature.low, high, link)
    weighed: Any = reweigh(network, high, link)
    most, step_size, momentum = _cautious(weighed, (curvature.low, high))
    steady = is_steady(curvature)
    if fixed and steady:
        quantizer = dataclasses.replace(TWO_BITS, first=first) if momentum > ONE_BIT else weighed.link.quantizer
        return with_link(weighed, Innovation(quantizer, memory)), Nesterov(step_size, momentum)
    # While nobody talks every message moves on: from 0.65 on one bit may fail there, after a trial has settled too.
    silent = any(matrix.nnz == 0 for matrix in laplacians(weighed))
    momentum = min(momentum, CAUTIOUS_MOMENTUM if silent or not (steady or fixed) else ONE_BIT if steady else JUMPING)
    if not fixed and network.num_nodes <= MOST_MULTIPLIED:
        return weighed, _tried(weighed, high, Nesterov(float(step_size), momentum), SHARE / most, first)
    return weighed, Nesterov(step_size, momentum)


def _drawn(network: Network, known: Network, low: np.ndarray, high: np.ndarray, link: Innovation) -> tuple:
    """Of graphs that are drawn in a step, with the weights that they are drawn with; numbers for `known` ones."""
    talks = network.bare().edges_stay
    if talks:
        network, known = with_link(network, link), with_link(known, link)
    most, step_size, momentum = _cautious(known, (low, high))
    method = Nesterov(step_size, min(momentum, CAUTIOUS_MOMENTUM))
    if talks and network.num_nodes <= MOST_MULTIPLIED:
        method = _tried(known, high, method, SHARE / most, float(link.quantizer.first))
    return network, method


def _cautious(network: Network, curvature: tuple[np.ndarray, np.ndarray]) -> tuple[float, Any, float]:
    """The largest scaled eigenvalue of all graphs, the step that is taken untried, and the best momentum for it.

    Curvature from and to. What is held of a neighbour that is rarely heard is old: the step is shorter by the root of
    how often it is.
    """
    most = largest_scaled_eigenvalue(network, curvature[1])
    step_size = SHARE * np.sqrt(presence(network)) / most
    return most, step_size, _momentum(network, curvature, most, step_size)


def reweigh(network: Any, curvature: Float[np.ndarray, " n"], link: Link) -> Network:
    """The graphs of `network`, lossy or intermittent as it is, with weights that fit `curvature`, and another link."""

    def weighed(inner: Any) -> Network:
        matrices = laplacians(inner)
        rule = weights.fastest if len(matrices) == 1 else weights.steepest
        pairs, chosen = zip(*(_weigh(matrix, curvature, rule) for matrix in matrices), strict=True)
        most = max(map(functools.partial(_most_given, inner.num_nodes), pairs, chosen))
        scaled = [each * (1 / most) if most > 0 else each for each in chosen]
        return of_edges(inner.num_nodes, pairs, scaled, link=link, node_names=inner.node_names)

    return network.over(weighed(network.bare()))


def _weigh(laplacian: Any, curvature: Float[np.ndarray, " n"], rule: Callable[..., np.ndarray]) -> tuple:
    """The edges (2, e) that a Laplacian has entries for, and their weights by `rule`."""
    entries = laplacian.tocoo()
    pairs = np.stack([entries.row, entries.col])[:, (entries.row < entries.col) & (entries.data != 0)].astype(np.int64)
    size = laplacian.shape[0]
    if size + pairs.shape[1] > weights.LARGEST_FASTEST:
        rule = weights.steepest
    return pairs, rule(size, pairs, curvature)


def _most_given(num_nodes: int, pairs: np.ndarray, chosen: np.ndarray) -> float:
    """The largest sum over nodes of the weights of its edges."""
    return float(np.bincount(pairs[::-1].ravel(), np.tile(chosen, 2), num_nodes).max())


def presence(network: Network) -> float:
    """The mean over the links of all graphs together of the part of the steps in which a link is up."""
    return (1.0 - loss_rate(network)) * part_of_steps(laplacians(network.bare()))


def _momentum(network: Network, curvature: tuple[np.ndarray, np.ndarray], most: float, step_size: float) -> float:
    """(sqrt(m) - sqrt(l)) / (sqrt(m) + sqrt(l)) of the mean graph, or the part of it that is best over a turn.

    Curvature from and to; most, the largest scaled eigenvalue of all graphs.
    """
    low, high = curvature
    if not low.min() > 0:
        return CAUTIOUS_MOMENTUM
    matrices = [(1.0 - loss_rate(network)) * matrix for matrix in laplacians(network)]
    least = second_eigenvalue(sum(matrices[1:], matrices[0]) / len(matrices), low) or most
    top, bottom = np.sqrt(most), np.sqrt(min(least, most))
    best = float((top - bottom) / (top + bottom))
    if len(matrices) == 1:
        return best
    if network.num_nodes > MOST_MULTIPLIED:
        return 0.5 * best
    dense = [matrix.toarray() for matrix in matrices]
    return min((part * best for part in PARTS), key=lambda momentum: turn_rate(dense, high, step_size, momentum))


def _tried(network: Network, high: np.ndarray, method: Nesterov, most: float, first: float) -> Nesterov:
    """The largest part of the momentum with which a trial settles, and a longer step where the trial is slow.

    most: the longest step.
    """
    matrices, loss = laplacians(network), loss_rate(network)

    def took(step_sizes: Any, momenta: Any, seed: int = 0) -> np.ndarray:
        numbers = np.asarray(step_sizes, float), np.asarray(momenta, float)
        return steps_to_fall(matrices, loss, high, numbers, first, CALM, seed)

    step_size, momentum, alone = float(method.step_size), 0.0, np.inf
    for part in reversed(PARTS):
        momentum = part * float(method.momentum)
        (alone,) = took([step_size], [momentum])
        if np.isfinite(alone):
            break
    if alone < NUM_STEPS or most <= step_size:
        return Nesterov(step_size, momentum)
    steps, momenta = (
        each.ravel() for each in np.meshgrid(np.geomspace(step_size, most, 3), momentum * np.array(PARTS[:0:-1]))
    )
    runs = [took(np.concatenate([steps, LONGER * steps]), [*momenta, *momenta], seed) for seed in SEEDS]
    worst = np.max(runs, axis=0).reshape(2, -1).max(axis=0)
    best = worst.argmin() if worst.min() < QUICKER * worst[0] else 0
    return Nesterov(float(steps[best]), float(momenta[best]))


def turn_rate(
    matrices: list[Float[np.ndarray, "n n"]], curvature: Float[np.ndarray, " n"], step_size: float, momentum: float
) -> float:
    """The factor per step by which `Nesterov` comes closer, in the long run, over Laplacians that take turns.

    The spectral radius of one turn of x+ = x - step_size L_k (D x + momentum q), p+ = q = momentum p + D x, on shares x
    that sum to zero: exact for quadratic costs of curvature D over exact links.
    """
    size = curvature.size
    basis = np.linalg.svd(np.ones((1, size)))[2][1:].T
    slopes = curvature[:, None] * basis
    turn = np.eye(2 * size - 1)
    for matrix in matrices:
        moved = step_size * basis.T @ matrix
        prices = np.hstack([slopes, momentum * np.eye(size)]) @ turn
        shares = turn[: size - 1] - moved @ (slopes @ turn[: size - 1] + momentum * prices)
        turn = np.vstack([shares, prices])
    return float(np.abs(np.linalg.eigvals(turn)).max() ** (1 / len(matrices)))
