"""The default allocator needs no number, keeps the total to the last bit, and needs fewer bits than what is tuned."""

import warnings
from typing import Any

import jax
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax.theory.spectra import laplacians
from cojax.tuning import default_allocator as default_allocators


def cost(x, data):
    """The share's half of `laws.cost`."""
    curvature, demand = data
    return 0.5 * curvature * (x.cpu - demand) ** 2


def quadratic(num_nodes=8, dtype: Any = np.float64):
    whole = laws.quadratic(num_nodes, dtype=dtype)
    return cojax.Problem(cost, whole.data[2:], whole.budget)


PROBLEM = quadratic()
START = PROBLEM.start(cpu=laws.start_of(PROBLEM).cpu)
_, SHARES, _ = laws.optimum(laws.quadratic())
FIXED = cojax.network(laws.ring_with_chords())
NETWORKS = {
    "fixed": FIXED,
    "switching": cojax.network(laws.switching_graphs()),
    "lossy": cojax.Lossy(FIXED, 0.3),
    "switching and lossy": cojax.Lossy(cojax.network(laws.switching_graphs()), 0.3, key=7),
    "intermittent": cojax.Intermittent(network=FIXED, every=3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_reaches_the_optimum_over_one_bit_and_the_total_is_never_off(name):
    network, method = cojax.default_allocator(PROBLEM, NETWORKS[name], START)
    run = cojax.solve(
        PROBLEM, network, cojax.CoOpt(allocate=method), START, num_steps=1500, every=500, record=laws.nothing
    )
    np.testing.assert_allclose(run.x.cpu, SHARES, atol=1e-11)  # transfers below half a grid step vanish
    assert float(run.state.imbalance) == 0.0
    every = 3 if name == "intermittent" else 1
    assert float(run.state.wire.bits) == 1500 // every + 1


def gap(x):
    return float(PROBLEM.costs(x).sum() - PROBLEM.costs(cojax.Decision(None, SHARES)).sum())


def test_after_equal_bits_it_is_closer_than_what_is_tuned_over_two_bits():
    network, method = cojax.default_allocator(PROBLEM, NETWORKS["lossy"], START)
    own = cojax.solve(
        PROBLEM, network, cojax.CoOpt(allocate=method), START, num_steps=80, every=80, record=laws.nothing
    )
    two_bits = cojax.Innovation(cojax.AdaptiveQuantizer(2), "edge")
    rival = cojax.Lossy(cojax.network(laws.ring_with_chords(), link=two_bits), 0.3)
    for kind in (cojax.Laplacian, cojax.Nesterov):
        tuned = cojax.CoOpt(allocate=cojax.tuned(kind, PROBLEM, rival, START))
        run = cojax.solve(PROBLEM, rival, tuned, START, num_steps=40, every=40, record=laws.nothing)
        assert float(run.state.wire.bits) >= float(own.state.wire.bits)
        assert gap(own.x) < 0.5 * gap(run.x)


def test_the_rate_of_a_turn_is_that_of_a_plain_loop():
    matrices = [matrix.toarray() for matrix in laplacians(NETWORKS["switching"])]
    curvature = np.asarray(PROBLEM.data[0])
    shares = np.random.default_rng(0).normal(size=8)
    shares -= shares.mean()
    prices, sizes = np.zeros(8), []
    for k in range(200):
        slopes = curvature * shares
        prices = 0.4 * prices + slopes
        shares = shares - 0.3 * matrices[k % 2] @ (slopes + 0.4 * prices)
        sizes.append(np.linalg.norm(shares))
    measured = (sizes[199] / sizes[99]) ** (1 / 100)  # before rounding, after what fades faster
    # Two eigenvalues of nearly one modulus would leave a beat of some per cent in 100 steps.
    np.testing.assert_allclose(default_allocators.turn_rate(matrices, curvature, 0.3, 0.4), measured, rtol=1e-3)


def test_no_part_of_the_momentum_that_is_tried_is_better_over_a_turn():
    network, method = cojax.default_allocator(PROBLEM, NETWORKS["switching"], START)
    matrices = [matrix.toarray() for matrix in laplacians(network)]
    curvature = np.asarray(PROBLEM.data[0])
    rates = [
        default_allocators.turn_rate(matrices, curvature, float(method.step_size), part * float(method.momentum))
        for part in (0.0, 0.5, 0.8, 1.0)
    ]
    assert rates[-1] == min(rates) < 1.0


def test_a_link_that_is_up_in_half_of_the_graphs_is_present_by_a_half():
    assert default_allocators.presence(FIXED) == 1.0
    assert default_allocators.presence(NETWORKS["switching"]) == 0.5
    assert default_allocators.presence(NETWORKS["switching and lossy"]) == 0.35


def test_weights_leave_every_node_something_and_graphs_and_losses_stay_as_they_were():
    network, _ = cojax.default_allocator(PROBLEM, NETWORKS["switching and lossy"], START)
    assert float(network.faults[0].rate) == 0.3
    assert jax.random.key_data(network.faults[0].key).tolist() == [0, 7]
    before, after = laplacians(NETWORKS["switching"]), laplacians(network)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old.toarray() < 0, new.toarray() < 0)
        assert new.diagonal().max() <= 1 + 1e-12  # one division


def test_flat_costs_and_single_precision_are_no_trap():
    data = (np.asarray([0.0, 1.0, 2.0]), np.asarray([1.0, 0.5, 0.2]))
    problem = cojax.Problem(lambda x, data: 0.5 * data[0] * x.cpu**2 + data[1] * x.cpu, data, budget=2.0)
    network, method = cojax.default_allocator(problem, cojax.network(nx.path_graph(3)), problem.start())
    assert np.isfinite(float(method.step_size)) and 0 <= float(method.momentum) < 1
    single = quadratic(dtype=np.float32)
    network, method = cojax.default_allocator(single, FIXED, single.start())
    run = cojax.solve(
        single, network, cojax.CoOpt(allocate=method), single.start(), num_steps=400, every=400, record=laws.nothing
    )
    np.testing.assert_allclose(run.x.cpu, SHARES, atol=1e-4)  # grid steps of float32 are 2e-6 of a share
    assert float(run.state.imbalance) == 0.0


def test_a_directed_network_is_refused_with_the_way_out():
    directed = cojax.network(nx.DiGraph([(0, 1), (1, 2), (2, 0)]))
    problem = quadratic(3)
    with pytest.raises(cojax.CojaxInputError, match="needs an undirected network, got a directed one"):
        cojax.default_allocator(problem, directed, problem.start())


def test_shares_that_outgrew_their_grid_diverged_and_solve_to_stops_there():
    """The budget is lost on the way, which is no fault of the problem: what helps is a smaller step."""
    limit = cojax.theory.allocation_limit(FIXED, np.asarray(PROBLEM.data[0])).value
    method = cojax.CoOpt(allocate=cojax.Laplacian(1.2 * limit))
    run = cojax.solve(PROBLEM, FIXED, method, START, num_steps=400, every=20, record=laws.nothing)
    assert np.abs(run.x.cpu).max() > 1e30 and float(run.state.imbalance) > 0
    assert cojax.Status(int(run.status)) is cojax.Status.DIVERGED
    assert "take smaller step sizes" in str(run) and "report" not in str(run)
    run = cojax.solve_to(PROBLEM, FIXED, method, START, tolerance=1e-6, max_steps=4000, every=20)
    assert cojax.Status(int(run.status)) is cojax.Status.DIVERGED
    assert int(run.state.step) < 400


def test_resources_in_units_far_apart_are_warned_of_and_what_is_advised_converges():
    def posed(units):
        demand = np.linspace(0.5, 1.5, 8)[:, None] * units

        def cost(x, demand):
            return (((x.cpu - demand) / units) ** 2).sum()

        return cojax.Problem(cost, demand, 6.0 * units)

    cores_and_bytes, advised = posed(np.asarray([1.0, 1e9])), posed(np.asarray([1.0, 1.0]))
    wanted = r"costs of resource 1 change 1e\+18 times less .* of Nesterov .* resource 1 in units 1e\+09 times as large"
    with pytest.warns(UserWarning, match=wanted):
        default_allocators.default_allocator(cores_and_bytes, FIXED, cores_and_bytes.start())
    with pytest.warns(UserWarning, match="one step of Laplacian serves both"):
        cojax.tuned(cojax.Laplacian, cores_and_bytes, FIXED, cores_and_bytes.start())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network, method = default_allocators.default_allocator(advised, FIXED, advised.start())
    run = cojax.solve(advised, network, cojax.CoOpt(allocate=method), advised.start(), num_steps=400, every=20)
    assert run.status == cojax.Status.CONVERGED
