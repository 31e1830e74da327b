"""Both halves at once where nothing is known: one network, and a learner and an allocator that are tuned to it."""

import dataclasses
from typing import Any

import jax
import numpy as np

from .. import theory
from ..methods import CoOpt, Laplacian
from ..networks.base import Network
from ..networks.build import built
from ..networks.links.links import Innovation
from ..networks.links.quantizers import Quantizer
from ..problems.problem import Decision, Problem
from ..theory.spectra import laplacians_kept
from .checks import check_no_books, check_run
from .default_allocator import default_allocator
from .default_learner import default_learner, learner_of, with_link
from .drawn import with_known_graphs
from .tuned import tuned


@laplacians_kept()
def default(problem: Problem, network: Network, start: Decision) -> tuple[Network, CoOpt]:
    """A network and a `CoOpt` for both halves of a problem, with a link of few bits and no number typed by hand.

        network, method = cojax.default(problem, network, start)
        solution = cojax.solve_to(problem, network, method, start, tolerance=1e-4, max_steps=20_000)

    The learner is that of `default_learner`. Where one graph stands, with or without lost links, the allocator and the
    weights are those of `default_allocator`, the learner is tuned to these weights, and in the link every half has the
    quantizer of its own. Where graphs take turns the network keeps its weights, the link is the learner's, with a first
    level of its own for every half, and the allocator is `Laplacian`, tuned: weights that fit the costs of shares would
    slow the models down there. A half that the start lacks is left out.

    For graphs that are drawn in every step (`RandomGraph`, `RandomPairs`) numbers are chosen on the first 64 of them.

    For one half alone take its own default: it tells less, and has the weights and the link that suit it.

    Args:
        problem, start: as for `solve`.
        network: undirected, with any link, which is replaced but over `RandomPairs`; switching and lossy too. A
            `Computed` one comes back built whole, as by `cojax.network(graph)`, since weights that fit costs are no
            function of the graph alone.

    Computes on the host, not under jit. Raises `CojaxInputError` for a start without either half, and where
    `default_learner` and `default_allocator` do.
    """
    check_run("default", problem, network, start, ("params", "cpu"))
    check_no_books("default", network)
    network = built(network)
    if start.cpu is None:
        linked, learn = default_learner(problem, network, start)
        return linked, CoOpt(learn=learn)
    if not jax.tree.leaves(start.params):
        weighed, allocate = default_allocator(problem, network, start)
        return weighed, CoOpt(allocate=allocate)
    known = with_known_graphs(network)
    if len(theory.laplacians(known)) > 1:
        linked, learn = learner_of(problem, network, known, start)
        if not network.bare().edges_stay:
            return linked, CoOpt(learn, tuned(Laplacian, problem, known, start))
        told = float(np.abs(np.asarray(problem.grad(start).cpu)).max()) / 2 or 1.0  # what `Laplacian` tells first
        link: Any = linked.link
        both = _side_by_side(link, dataclasses.replace(link.quantizer, first=told))
        return with_link(linked, both), CoOpt(learn, tuned(Laplacian, problem, with_link(known, both), start))
    weighed, allocate = default_allocator(problem, network, start)
    linked, learn = default_learner(problem, weighed, start)
    link: Any = weighed.link
    return with_link(weighed, _side_by_side(linked.link, link.quantizer)), CoOpt(learn, allocate)


def _side_by_side(learner: Any, quantizer: Quantizer) -> Innovation:
    """The link of a learner, with a quantizer of their own for the messages of the shares."""
    return Innovation((learner.quantizer, quantizer), memory=learner.memory)
