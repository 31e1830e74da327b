"""Whatever is put around whatever: it runs, or it is refused where it is put together, in a sentence."""

import itertools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax.networks.faults.faulty import faults_of

NUM_NODES = laws.NUM_NODES
PROBLEM = laws.quadratic()
LEAVING = cojax.Changing(PROBLEM, [cojax.Change(2, leaves=3, heir=4)])
START = laws.start_of(PROBLEM)
ARCS = nx.cycle_graph(NUM_NODES, create_using=nx.DiGraph)


def laid_out(layout):
    graph = nx.cycle_graph(NUM_NODES) if layout == "circulant" else laws.ring_with_chords()
    return lambda link: cojax.network(graph, nodelist=range(NUM_NODES), layout=layout, link=link)


def directed(turns):
    weights = np.zeros((NUM_NODES, NUM_NODES))
    for sender, receiver in [*ARCS.edges, (0, 3)]:
        weights[receiver, sender] = 0.25
    weights = jnp.asarray(weights if turns == 1 else np.stack([weights] * turns))
    return lambda link: cojax.Directed(weights, link)


NETWORKS = {
    **{layout: laid_out(layout) for layout in (*laws.LAYOUTS, "circulant")},
    "switching": lambda link: cojax.network(laws.switching_graphs(), link=link),
    "random": lambda link: cojax.RandomGraph(NUM_NODES, 0.5, link=link),
    "random pairs": lambda link: cojax.RandomPairs(NUM_NODES, link=link),
    "digraph": lambda link: cojax.network(ARCS, link=link),
    "digraphs in turn": lambda link: cojax.network([ARCS, ARCS.reverse()], link=link),
    "directed": directed(1),
    "directed in turn": directed(2),
}
LINKS = {
    "ideal": cojax.Ideal(),
    "quantized": cojax.Quantized(cojax.LogQuantizer(0.2)),
    "by node": cojax.Innovation(cojax.LogQuantizer(0.5)),
    "by edge": cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge"),
    "the largest": cojax.Innovation(cojax.TopK(1), memory="edge"),
    "at random": cojax.Innovation(cojax.RandK(1), memory="edge"),
    "one bit": cojax.Innovation(cojax.OneBitQuantizer(), memory="edge"),
    "events": cojax.EventTriggered(0.01, 0.99),
    "what is left": cojax.ErrorFeedback(cojax.LogQuantizer(0.5)),
}
WRAPPERS = {
    "Lossy": lambda network: cojax.Lossy(network, 0.3),
    "GilbertElliott": lambda network: cojax.GilbertElliott(network, 0.1, 0.3),
    "Intermittent": lambda network: cojax.Intermittent(network, 2),
    "Members": lambda network: cojax.Members(network, LEAVING),
    "LossyOneWay": lambda network: cojax.LossyOneWay(network, 0.2),
    "Delayed": lambda network: cojax.Delayed(network, 1),
    "Reordered": lambda network: cojax.Reordered(network, 0.2),
    "Duplicated": lambda network: cojax.Duplicated(network, 0.2),
    "Corrupted": lambda network: cojax.Corrupted(network, 0.2),
    "Scripted": lambda network: cojax.Scripted(network, np.zeros((2, 1, NUM_NODES, NUM_NODES), int), 0),
    "Crashing": lambda network: cojax.Crashing(network, [1], [1], [2]),
    "Ledger": cojax.Ledger,
}


def put_together(kind, link, around):
    """The network, in a Ledger where it needs one; None where it is refused in one sentence."""
    try:
        network = NETWORKS[kind](LINKS[link])
        for name in around:
            network = WRAPPERS[name](network)
        return cojax.Ledger(network) if any(fault.one_way for fault in faults_of(network)) else network
    except cojax.CojaxInputError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return None


def check_run(kind, network, around):
    """Three steps, traced only: what is refused in a run is refused when it is traced."""
    problem = LEAVING if "Members" in around else PROBLEM
    method = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.1))
    if kind.startswith("directed"):
        method = cojax.CoOpt(cojax.PushDIGing(0.05))

    def run():
        start = problem.start(START.params, START.cpu)
        return cojax.solve(problem, network, method, start, num_steps=3, every=3, record=laws.nothing).x

    assert jax.eval_shape(run).params.shape == START.params.shape


def check_all(kinds, links, wraps):
    """How many of them run."""
    found = [(kind, put_together(kind, link, around), around) for kind in kinds for link in links for around in wraps]
    for kind, network, around in found:
        if network is not None:
            check_run(kind, network, around)
    return sum(network is not None for _, network, _ in found)


@pytest.mark.parametrize("name", WRAPPERS)
def test_one_around_any_directed_network_runs_or_is_refused_at_once(name):
    kinds = [kind for kind in NETWORKS if kind.startswith("di")]
    num_runs = check_all(kinds, LINKS, [[name]])
    # Three links that no neighbour has to remember, and on the two fixed ones two of one memory a node.
    assert num_runs == (4 * 3 + 2 * 2 if name == "Intermittent" else 0)


@pytest.mark.parametrize("inner", ["Lossy", "Intermittent"])
def test_two_around_a_directed_network_run_or_are_refused_at_once(inner):
    assert check_all(["digraph", "directed"], ["ideal"], [[inner, outer] for outer in WRAPPERS]) == 2 * (
        inner == "Intermittent"
    )


def test_any_two_are_put_together_or_refused():
    pairs = list(itertools.product(WRAPPERS, repeat=2))
    allowed = [pair for pair in pairs if put_together("edges", "ideal", pair) is not None]
    assert set(pairs) - set(allowed) == {(name, name) for name in ("Lossy", "GilbertElliott")}


@pytest.mark.parametrize("one_way", ["LossyOneWay", "Delayed", "Duplicated", "Corrupted", "Crashing"])
def test_the_order_in_which_faults_are_put_on_changes_no_bit(one_way):
    """A node away, links lost for both ends and for one, pauses, books: whichever comes first."""
    method = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.1))
    start = LEAVING.start(START.params, START.cpu)
    found = []
    for around in itertools.islice(itertools.permutations(["Lossy", "Members", one_way, "Ledger"]), 0, None, 5):
        network = NETWORKS["edges"](cojax.Ideal())
        for name in around:
            network = WRAPPERS[name](network)
        found.append(cojax.solve(LEAVING, network, method, start, num_steps=6, every=3, record=laws.nothing))
    for other in found[1:]:
        for one, same in zip(jax.tree.leaves(found[0].x), jax.tree.leaves(other.x), strict=True):
            np.testing.assert_array_equal(one, same)
        np.testing.assert_array_equal(found[0].state.wire.bits, other.state.wire.bits)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", NETWORKS)
def test_all_of_them_run_or_are_refused(kind):
    assert check_all([kind], LINKS, [[name] for name in WRAPPERS]) > 0
    check_all([kind], ["ideal", "by edge"], list(itertools.product(WRAPPERS, repeat=2)))
