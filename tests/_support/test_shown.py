"""What `print` says of a method, a network, a problem and a solution: their numbers, on few lines, everywhere."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import cojax
from cojax._support import reprs
from cojax.networks.faults.faulty import FaultyNetwork

PROBLEM = cojax.Problem(lambda x, d: jnp.sum((x.params - d) ** 2) + d * x.cpu**2, jnp.arange(1.0, 13.0), budget=24.0)
RING = nx.cycle_graph(12)
EDGE = cojax.Innovation(cojax.LogQuantizer(0.25), memory="edge")
METHOD = cojax.CoOpt(cojax.DIGing(0.05, mixing=0.5), cojax.Nesterov(0.0123456, 0.25))
LAYOUTS = ("dense", "neighbors", "split", "edges", "circulant")


@pytest.fixture(scope="module")
def start():
    return PROBLEM.start(params=jnp.zeros(12))


@pytest.fixture(scope="module")
def solution(start):
    return cojax.solve(PROBLEM, cojax.network(RING), METHOD, start, num_steps=40, every=20)


def test_a_method_is_told_by_its_numbers_to_four_digits():
    said = "CoOpt(learn=DIGing(step_size=0.05, mixing=0.5), allocate=Nesterov(step_size=0.01235, momentum=0.25))"
    assert repr(METHOD) == said


def test_defaults_are_left_out_unless_they_are_numbers():
    assert repr(cojax.Innovation(cojax.AdaptiveQuantizer())).startswith("Innovation(quantizer=AdaptiveQuantizer(bits=")
    assert repr(cojax.DIGing(0.1)) == "DIGing(step_size=0.1, mixing=1)"
    assert repr(cojax.Innovation(cojax.OneBitQuantizer(), memory="node")).count("memory") == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_counts_the_edges_of_its_graphs_in_every_layout(layout):
    graphs = [RING, nx.circulant_graph(12, [5])]  # 12 edges each, none in common
    network = cojax.network(graphs, link=EDGE, layout=layout)
    link = "link=Innovation(quantizer=LogQuantizer(rho=0.25), memory='edge')"
    assert repr(network) == f"{type(network).__name__}(12 nodes, 24 edges, 2 graphs in turn, {link})"


def test_a_directed_network_counts_every_direction_once():
    said = repr(cojax.network(nx.DiGraph([(0, 1), (1, 2), (2, 0)])))
    assert said == "Digraph(3 nodes, 3 directed edges, link=Ideal())"


def test_what_wraps_a_network_tells_it_too():
    said = repr(cojax.Ledger(cojax.LossyOneWay(cojax.network(RING), 0.125, key=7)))
    inner = "Circulant(12 nodes, 12 edges, link=Ideal())"
    assert said == f"FaultyNetwork({inner}, OneWayLoss(rate=0.125, key=key(7)), ledger=True)"


def test_a_problem_tells_its_nodes_budget_and_the_bounds_that_it_has():
    said = repr(PROBLEM)
    assert said.startswith("Problem(12 nodes, cost=<lambda>, data=f64[12], budget=24") and "lower" not in said
    bounded = cojax.Problem(PROBLEM.cost, PROBLEM.data, 24.0, lower=1.0)
    assert "lower=f64[12] of 1" in repr(bounded) and "upper" not in repr(bounded)


def test_a_long_array_is_told_by_its_shape_and_range():
    assert reprs.brief(np.linspace(-1, 2, 30)) == "f64[30] from -1 to 2"
    assert reprs.brief(np.asarray([1.0, np.nan] * 9)) == "f64[18] with NaN"
    assert reprs.brief(jnp.asarray([0.5, 1.25], jnp.bfloat16)) == "[0.5, 1.25]"


def test_all_can_be_told_while_they_are_traced(start, solution):
    told = []

    def traced(method, network, problem, solution):
        told.extend(map(repr, (method, network, problem, solution)))
        return 0

    jax.eval_shape(traced, METHOD, cojax.Lossy(cojax.network(RING), 0.1), PROBLEM, solution)
    assert told[0].startswith("CoOpt(learn=DIGing(step_size=f64[], mixing=f64[])") and "12 nodes" in told[1]
    assert told[2].startswith("Problem(12 nodes") and told[3].startswith("Solution(x=Decision(params=f64[12]")


@pytest.mark.parametrize("leaf", [None, True, 0, "name"])
def test_all_can_be_told_with_other_leaves_in_their_place(leaf, solution):
    for whole in (METHOD, cojax.Lossy(cojax.network([RING, RING]), 0.1), PROBLEM, solution):
        assert repr(jax.tree.map(lambda _: leaf, whole))


def test_a_batch_of_networks_can_be_told():
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), cojax.network([RING, RING], layout="dense"))
    assert repr(both).startswith("Dense(weights=f64[2,2,12,12]")


def test_an_object_that_is_half_made_can_be_told():
    for kind in (cojax.DIGing, cojax.Dense, FaultyNetwork, cojax.Problem):
        assert kind.__name__ in repr(object.__new__(kind))


def test_a_run_that_ran_out_of_steps_says_how_to_go_on(solution):
    said = repr(solution).splitlines()
    assert said[0] == "Solution after 40 steps: OUT_OF_STEPS. The run took all its steps: give it more."
    assert f"cost {float(solution.trace.cost[-1]):.6g}, total exact at every step" in said[1]
    assert "how good it is: cojax.certificate(problem, solution.x)" in said[2] and "solution.state" in said[3]


def test_a_run_with_a_certificate_tells_its_gap(start):
    settled = cojax.solve_to(PROBLEM, cojax.network(RING), METHOD, start, tolerance=0.9, max_steps=2000, every=500)
    said = repr(settled)
    assert "CONVERGED. The run kept its tolerance" in said and f"at most {float(settled.certificate.gap):.4g}" in said


def test_a_total_that_was_off_is_told_so(solution):
    off = solution._replace(state=solution.state._replace(imbalance=jnp.asarray(0.25)))
    assert "total off by up to 0.25" in repr(off) and "exact" not in repr(off)


def test_runs_of_a_sweep_are_counted_by_how_they_ended(start):
    def build(step_size):
        return PROBLEM, cojax.network(RING), cojax.CoOpt(allocate=cojax.Laplacian(step_size)), start

    runs = cojax.sweep(build, step_size=[0.01, 1e6], num_steps=20, every=10)
    assert repr(runs).startswith("Sweep(2 step_size; 1 ") and repr(runs.solution).startswith("Solution of 2 runs: 1 ")


def test_what_more_would_be_worth_is_told_in_few_words(start):
    said = repr(cojax.sensitivities(PROBLEM, start))
    assert said.startswith("Sensitivities(x=Decision(") and "more=Worth(budget=" in said
    assert len(said) < 1500  # beside it the data themselves are pages


def test_shares_beyond_their_bounds_are_told_with_the_way_back(solution):
    said = repr(solution._replace(trace=solution.trace._replace(overload=solution.trace.overload + 0.5)))
    assert "a share 0.5 beyond its bounds" in said and "cojax.polish(problem, solution.x)" in said
    assert "polish" not in repr(solution)
