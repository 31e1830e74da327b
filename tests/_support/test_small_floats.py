"""Params of 16 bits pass every channel as they are, and the shares beside them stay exact in their 32."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax

METHOD = cojax.CoOpt(learn=cojax.EXTRA(0.05), allocate=cojax.Laplacian(0.2))
TRACKING = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.2))
EDGE_MEMORY = cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")
LINKS = {
    "ideal": cojax.Ideal(),
    "log": cojax.Quantized(cojax.LogQuantizer(0.1, smallest=1e-3, largest=9.0)),
    "uniform": cojax.Quantized(cojax.UniformQuantizer(0.1, largest=9.0)),
    "float": cojax.Quantized(cojax.FloatQuantizer(20)),
    "adaptive": cojax.Innovation(cojax.AdaptiveQuantizer()),
    "the largest": cojax.Innovation(cojax.TopK(1)),
    "at random": cojax.Innovation(cojax.RandK(1)),
    "one bit": cojax.Innovation(cojax.OneBitQuantizer(), memory="edge"),
    "events": cojax.EventTriggered(0.01, 0.99),
}


def narrowed(x, data):
    return laws.cost(x._replace(params=x.params.astype(jnp.float32)), data)


EXACT = laws.quadratic(dtype=np.float32)
PROBLEM = cojax.Problem(narrowed, EXACT.data, EXACT.budget)
WIDE = laws.start_of(EXACT)
START = PROBLEM.start(WIDE.params.astype(jnp.bfloat16), WIDE.cpu)


def network(layout="neighbors", link=None):
    graph = nx.cycle_graph(8) if layout == "circulant" else laws.ring_with_chords()
    return cojax.network(graph, nodelist=range(8), layout=layout, link=link)


def check_dtypes(network):
    """Traced only: a run of two steps, its standard record and its certificate."""

    def run():
        solution = cojax.solve(PROBLEM, network, TRACKING, START, num_steps=2)
        return solution, cojax.certificate(PROBLEM, solution.x)

    solution, certificate = jax.eval_shape(run)
    assert solution.x.params.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((solution.x.cpu, certificate.gap))} == {np.dtype(np.float32)}
    assert not any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves((solution.trace, solution.state.progress)))


@pytest.mark.parametrize("link", LINKS)
def test_params_of_16_bits_pass_every_link(link):
    check_dtypes(network(link=LINKS[link]))


@pytest.mark.parametrize("layout", [*laws.LAYOUTS, "circulant"])
def test_params_of_16_bits_pass_every_layout(layout):
    check_dtypes(network(layout, EDGE_MEMORY))


def test_params_of_16_bits_pass_loss_delay_and_damage():
    faulty = cojax.Corrupted(cojax.Delayed(cojax.LossyOneWay(network(), 0.2), 2), 0.1)
    bursts = cojax.GilbertElliott(network(link=EDGE_MEMORY), 0.1, 0.3)
    for one in (cojax.Lossy(network(link=EDGE_MEMORY), 0.3), bursts, cojax.Ledger(faulty)):
        check_dtypes(one)


def test_a_run_of_16_bit_params_ends_at_their_rounding_and_says_so():
    solution = cojax.solve(PROBLEM, network(), METHOD, START, num_steps=800, every=20)
    params, cpu, _ = laws.optimum(EXACT)
    assert np.abs(params).max() < 1
    # Steps of less than half of a last bit, 2**-9 below 1, are lost: at a step size of 0.05 a gradient of 0.04.
    assert 0.001 < solution.trace.gradient[-1] < 2.0**-9 / 0.05
    assert solution.trace.disagreement[-1] <= 2.0**-8  # a last bit
    np.testing.assert_allclose(solution.x.cpu, cpu, atol=1e-4)  # a step of the grid, 2**-19, over step and weight
    assert laws.exact_imbalance(solution.x.cpu, PROBLEM.budget) == 0
    assert cojax.Status(int(solution.status)) is cojax.Status.STALLED


def test_curvatures_of_16_bit_params_are_those_of_more_bits():
    wide = cojax.theory.learn_curvature(EXACT, WIDE)
    small = cojax.theory.learn_curvature(PROBLEM, START)
    few = 2.0**-6  # last bits of bfloat16
    assert [small.high, small.mean_low, small.mean_high] == pytest.approx(
        [wide.high, wide.mean_low, wide.mean_high], few
    )
    assert small.low == pytest.approx(wide.low, abs=few * wide.high)  # smaller than what Hessians round
