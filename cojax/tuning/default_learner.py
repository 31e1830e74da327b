"""The learner to take where nothing is known: a method and the link that it learns over."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .. import theory
from .._support.checks import CojaxInputError
from .._support.compiling import compiled
from .._support.trees import Tree
from ..methods import APAPC
from ..networks.base import Layout, Link, Network
from ..networks.build import built
from ..networks.faults.faulty import loss_rate
from ..networks.links.links import Innovation
from ..networks.links.quantizers import AdaptiveQuantizer
from ..problems.problem import Decision, Problem, check_gradient
from ..theory.spectra import laplacians_kept
from .checks import check_no_books, check_run
from .drawn import with_known_graphs
from .tuned import part_of_steps, tuned

# A level that narrows by 0.7 follows innovations that shrink to half in two messages, as the fastest runs do.
COARSE = AdaptiveQuantizer(2, 0.7, 1.6)
# A link that fails in its turn, or whose turn is seldom, is silent for long: with two bits innovations then outgrow
# their levels. Of the steps a link is there in this part at most where it is called seldom.
FINER, SELDOM = AdaptiveQuantizer(3, 0.6, 2.0), 0.2


@laplacians_kept()
def default_learner(problem: Problem, network: Network, start: Decision) -> tuple[Network, APAPC]:
    """`APAPC` over innovations of 2 bits a number, every constant computed: the learner of the smallest gap per bit.

        network, learn = cojax.default_learner(problem, network, start)
        cojax.solve(problem, network, cojax.CoOpt(learn=learn), start, num_steps=500)

    Args:
        problem, start: as for `solve`; params decide the numbers.
        network: undirected, with any link; switching and lossy too. Its weights stay, its link is replaced. A
            `Computed` one comes back built whole. For one that draws its graphs (`RandomGraph`, `RandomPairs`) numbers
            are chosen on the first 64 that it draws; over random pairs, which remember nothing, the link stays.

    The step makes models better as fast as it lets nodes agree: up to 0.95 of its limit, and shorter where graphs are
    slow (`benchmarks/which_step.py`). `benchmarks/which_learner.py` compares it with every other learner. Numbers take
    3 bits where graphs take turns and their links fail too, or are there in less than a fifth of the steps. Memory is
    one per node on a fixed network, else one per directed edge. Computes on the host, not under jit; raises as
    `cojax.tuned`, and for a directed network and a `Ledger`.
    """
    check_run("default_learner", problem, network, start, ("params",))
    network = built(network)
    return learner_of(problem, network, with_known_graphs(network), start)


def learner_of(problem: Problem, network: Network, known: Network, start: Decision) -> tuple[Network, APAPC]:
    """`default_learner` of a checked run; `known` is the network, or has graphs in place of those that it draws."""
    if not theory.is_undirected(network):
        raise CojaxInputError(
            "default_learner needs an undirected network, got a directed one, over which its link cannot remember; use "
            "cojax.tuned(cojax.PushDIGing, ...) with the network as it is."
        )
    check_no_books("default_learner", network)
    method: Any
    if not network.bare().edges_stay:
        method = tuned(APAPC, problem, known, start)
        return network, method
    memory = "node" if theory.is_fixed(network) else "edge"
    graphs = theory.laplacians(known)
    waits = len(graphs) > 1 and (loss_rate(network) > 0 or part_of_steps(graphs) < SELDOM)
    quantizer = FINER if waits else COARSE
    method = tuned(APAPC, problem, with_link(known, Innovation(quantizer, memory=memory)), start)
    grad = problem.grad(start)
    check_gradient(grad)
    told = jax.tree.leaves(_first_message(method, start.params, grad.params))
    # The outer of the two levels reaches the largest number of the first message, which all nodes have to know.
    first = max(float(np.abs(np.asarray(leaf)).max(initial=0.0)) for leaf in told) / 2 or 1.0
    quantizer = dataclasses.replace(quantizer, first=first)
    return with_link(network, Innovation(quantizer, memory=memory)), method


@functools.partial(compiled, runs_briefly=True)
def _first_message(method: Any, params: Tree, grad: Tree) -> Tree:
    return method.message(method.init(params, grad), grad)


def with_link(network: Network, link: Link) -> Network:
    """`network` with another link."""
    bare = network.bare()
    if not isinstance(bare, Layout):
        return network.over(dataclasses.replace(bare, link=link))
    link.check(fixed=bare.num_graphs == 1, symmetric=bare.symmetric)
    return network.over(eqx.tree_at(lambda net: net.link, bare, link))  # a table that is known is not checked again
