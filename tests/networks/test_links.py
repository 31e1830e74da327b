"""Links with memory are exact; what one end holds of the other, the other knows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax

pytestmark = pytest.mark.optimised

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.03, mixing=0.5), allocate=cojax.Laplacian(0.2))
COARSE, ADAPTIVE = cojax.LogQuantizer(1.0), cojax.AdaptiveQuantizer(2)


def lossy(link, layout="auto"):
    return cojax.Lossy(cojax.network(laws.switching_graphs(), link=link, layout=layout), 0.3, key=4)


def sums(problem, x, state):
    trackers = state.method.learn.slack
    return state.imbalance, jnp.max(jnp.abs(trackers.sum(0))), x


def ended(network, num_steps):
    """The decision after so many steps, of a program that compiles fast: one chunk, and nothing recorded."""
    problem = laws.quadratic()
    length = dict(num_steps=num_steps, every=num_steps, record=laws.nothing)
    return cojax.solve(problem, network, METHOD, laws.start_of(problem), **length).x


@functools.cache
def lossy_run(layout, quantizer):
    """A run whose every step is recorded, for two laws."""
    problem = laws.quadratic()
    network = lossy(cojax.Innovation(quantizer, memory="edge"), layout)
    return cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=8000, every=1, record=sums)


def is_optimal(x):
    params, cpu, _ = laws.optimum(laws.quadratic())
    np.testing.assert_allclose(x.params, np.broadcast_to(params, (8, 3)), atol=1e-12)
    np.testing.assert_allclose(x.cpu, cpu, atol=1e-12)


# A quantizer knows of no layout, so one with memory of its own is tried in one of them.
@pytest.mark.parametrize(("layout", "quantizer"), [*((layout, COARSE) for layout in laws.LAYOUTS), ("split", ADAPTIVE)])
def test_edge_memory_is_exact_over_switching_graphs_that_lose_30_percent(layout, quantizer):
    run = lossy_run(layout, quantizer)
    is_optimal(run.x)
    imbalance, slack, _ = run.trace
    assert np.asarray(imbalance).max() == 0.0
    assert np.asarray(slack).max() < 1e-12


# COARSE by edge is held against COARSE by node below.
@pytest.mark.parametrize(
    ("quantizer", "memory"),
    [(COARSE, "node"), (ADAPTIVE, "node"), (ADAPTIVE, "edge"), (cojax.FloatQuantizer(0), "node")],
)
def test_memory_is_exact_on_a_fixed_graph(quantizer, memory):
    is_optimal(ended(cojax.network(laws.ring_with_chords(), link=cojax.Innovation(quantizer, memory)), 8000))


@pytest.mark.parametrize("memory", ["node", "edge"])
@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_a_row_is_what_one_node_says_in_one_leaf(layout, memory):
    net = cojax.network(laws.ring_with_chords(), link=cojax.Innovation(cojax.TopK(2), memory), layout=layout).at(0)
    random = np.random.default_rng(0)
    first, second = ((random.normal(size=(8, 2, 3)), random.normal(size=8)) for _ in range(2))
    wire = net.link.open(jax.tree.map(jnp.asarray, first), net)
    held, alone = (np.asarray(net.gather(leaf) if memory == "edge" else leaf) for leaf in kept(*first))
    for leaf, wanted in zip(wire.near if memory == "edge" else wire.heard, (held, alone), strict=True):
        there = np.asarray(net.edge_weights() > 0) if memory == "edge" else np.ones(8, bool)
        np.testing.assert_array_equal(np.asarray(leaf)[there], wanted[there])
    if memory == "node":
        after = net.link.tell(jax.tree.map(jnp.asarray, second), wire, net, 1).heard[0]
        np.testing.assert_allclose(after, held + kept(second[0] - held, alone)[0], atol=1e-15)  # one sum


def kept(matrices, numbers):
    """The two largest of the six entries of every node, by a loop; single numbers pass."""
    found = np.zeros_like(matrices)
    for node, matrix in enumerate(matrices):
        for place in np.argsort(-np.abs(matrix).ravel())[:2]:
            found[node].flat[place] = matrix.flat[place]
    return jnp.asarray(found), jnp.asarray(numbers)


def test_the_largest_alone_are_exact_with_memory_and_lose_the_others_without():
    ring, sparse = laws.ring_with_chords(), cojax.TopK(1)
    is_optimal(ended(cojax.network(ring, link=cojax.Innovation(sparse)), 3000))
    by_edge = cojax.network(laws.switching_graphs(), link=cojax.Innovation(sparse, memory="edge"))
    is_optimal(ended(cojax.GilbertElliott(by_edge, 0.1, 0.3), 8000))
    plain = ended(cojax.network(ring, link=cojax.Quantized(sparse)), 3000)
    params, cpu, _ = laws.optimum(laws.quadratic())
    assert np.abs(np.asarray(plain.params) - params).max() > 0.1
    np.testing.assert_allclose(plain.cpu, cpu, atol=1e-12)  # one number a node, which passes whole
    assert laws.exact_imbalance(plain.cpu, laws.quadratic().budget) == 0


def chosen_by(quantizer, node, step, size):
    """Which entries `node` tells at `step`."""
    return np.asarray(quantizer.at(node, step).adapt(jnp.ones(size), None)[0]) > 0


@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_random_entries_are_those_of_the_node_and_the_step_over_every_link(layout):
    quantizer, random = cojax.RandK(2, 5), np.random.default_rng(0)
    first, second = random.normal(size=(2, 8, 6))
    chosen = [np.stack([chosen_by(quantizer, node, step, 6) for node in range(8)]) for step in (0, 9)]
    assert (chosen[0].sum(1) == 2).all() and (chosen[0] != chosen[1]).any() and (chosen[0] != chosen[0][:1]).any()
    held = np.where(chosen[0], first, 0)
    after = held + np.where(chosen[1], second - held, 0)
    for link in (cojax.Quantized(quantizer), cojax.Innovation(quantizer), cojax.Innovation(quantizer, memory="edge")):
        net = cojax.network(laws.ring_with_chords(), link=link, layout=layout).at(0)
        wire = link.tell(jnp.asarray(second), link.open(jnp.asarray(first), net), net, 9)
        if isinstance(link, cojax.Quantized):
            np.testing.assert_array_equal(wire.heard, np.where(chosen[1], 3 * second, 0))
        elif wire.near is None:
            np.testing.assert_array_equal(wire.heard, after)
        else:
            there = np.asarray(net.edge_weights() > 0)
            np.testing.assert_array_equal(
                np.asarray(wire.near)[there], np.asarray(net.gather(jnp.asarray(after)))[there]
            )


def test_random_entries_are_exact_with_memory_and_a_resumed_run_chooses_as_the_whole_one():
    by_node = cojax.network(laws.ring_with_chords(), link=cojax.Innovation(cojax.RandK(1)))
    is_optimal(ended(by_node, 8000))
    by_edge = cojax.network(laws.switching_graphs(), link=cojax.Innovation(cojax.RandK(2), memory="edge"))
    by_edge = cojax.Lossy(by_edge, 0.2)
    is_optimal(ended(by_edge, 8000))
    problem = laws.quadratic()
    for network in (by_node, by_edge, cojax.Intermittent(by_edge, 3)):
        length = dict(every=10, record=laws.nothing)
        whole = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=20, **length)
        half = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=10, **length)
        rest = cojax.solve(problem, network, METHOD, half.state, num_steps=10, **length)
        assert whole.state.imbalance == 0.0
        for one, other in zip(jax.tree.leaves(rest.x), jax.tree.leaves(whole.x), strict=True):
            np.testing.assert_array_equal(one, other)


def test_edge_memory_on_a_fixed_graph_is_node_memory():
    runs = []
    for memory in ("node", "edge"):
        network = cojax.network(laws.ring_with_chords(), link=cojax.Innovation(COARSE, memory), layout="neighbors")
        runs.append(ended(network, 50))
    np.testing.assert_array_equal(runs[0].cpu, runs[1].cpu)
    np.testing.assert_allclose(runs[0].params, runs[1].params, atol=1e-13)


def test_edge_memory_agrees_in_every_layout():
    link = cojax.Innovation(COARSE, memory="edge")
    rings = [
        cojax.Lossy(cojax.network(laws.nx.cycle_graph(8), link=link, layout=layout), 0.3, key=1)
        for layout in ("neighbors", "circulant")
    ]
    switching = [jax.tree.map(lambda leaf: leaf[39], lossy_run(layout, COARSE).trace[2]) for layout in laws.LAYOUTS]
    for runs in (switching, [ended(network, 40) for network in rings]):
        for run in runs[1:]:
            np.testing.assert_array_equal(run.cpu, runs[0].cpu)
            np.testing.assert_allclose(run.params, runs[0].params, atol=1e-12)


def test_a_memory_moves_only_where_its_link_is_up():
    network = lossy(cojax.Innovation(COARSE, memory="edge"), "dense")
    net, after = network.at(0), network.at(1)
    message = jnp.asarray(np.random.default_rng(0).normal(size=8))
    before = net.link.open(message, net)
    told = after.link.tell(2 * message, before, after, 1)
    moved = np.asarray(told.near != before.near)
    up = np.asarray(after.weights > 0)
    assert moved.any() and not moved[~up].any() and moved[up].all()


def test_gradients_through_innovations_agree_with_finite_differences_in_direction():
    problem = laws.quadratic()
    network = cojax.network(laws.ring_with_chords(), link=cojax.Innovation(cojax.LogQuantizer(0.1)))
    start = laws.start_of(problem)
    params, cpu, _ = laws.optimum(problem)

    def error(logs):
        method = cojax.CoOpt(cojax.DIGing(jnp.exp(logs[0]), jnp.exp(logs[1])), cojax.Laplacian(jnp.exp(logs[2])))
        run = cojax.solve(problem, network, method, start, num_steps=150, every=15, record=lambda p, x, s: x)
        gap = ((run.trace.params - params[None, None]) ** 2).sum((1, 2)) + ((run.trace.cpu - cpu[None]) ** 2).sum(1)
        return jnp.log10(gap).mean()

    point = jnp.log(jnp.asarray([0.03, 0.5, 0.1]))
    # Steps far wider than one cell of the quantizer: the landscape below is a staircase.
    offsets = 0.05 * jnp.concatenate([jnp.zeros((1, 3)), jnp.eye(3), -jnp.eye(3)])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(error)))(point[None] + offsets)
    reverse, values = slopes[0], values[1:]
    slope = (values[:3] - values[3:]) / 0.1
    cosine = jnp.vdot(reverse, slope) / jnp.linalg.norm(reverse) / jnp.linalg.norm(slope)
    assert cosine > 0.99


def test_node_memory_is_refused_where_neighbours_change():
    for build in (
        lambda: cojax.network(laws.switching_graphs(), link=cojax.Innovation(COARSE)),
        lambda: cojax.Lossy(cojax.network(laws.ring_with_chords(), link=cojax.Innovation(COARSE)), 0.1),
        lambda: cojax.RandomGraph(8, 0.5, link=cojax.Innovation(COARSE)),
    ):
        with pytest.raises(cojax.CojaxInputError, match=r'needs a fixed network without loss.*use memory="edge"'):
            build()


def test_edge_memory_is_refused_on_directed_networks():
    arcs = laws.nx.DiGraph([(i, (i + 1) % 5) for i in range(5)])
    with pytest.raises(cojax.CojaxInputError, match=r'needs symmetric weights.*use memory="node"'):
        cojax.network(arcs, link=cojax.Innovation(COARSE, memory="edge"))


def test_an_unknown_memory_is_refused():
    with pytest.raises(cojax.CojaxInputError, match='Innovation needs memory "node" or "edge", got \'both\''):
        cojax.Innovation(COARSE, memory="both")


@pytest.mark.parametrize(
    ("quantizer", "bits"),
    [
        (cojax.UniformQuantizer(0.5, largest=3.5), 4),  # 7 levels a sign, and 0
        (cojax.UniformQuantizer(0.5, largest=3.75), 5),  # 8 levels a sign: half a number is rounded to an even one
        (cojax.UniformQuantizer(1.0, largest=2.0**21), 23),  # 2^22 + 1 levels
        (cojax.UniformQuantizer(1.0, largest=2.0**21 - 1), 22),
        (cojax.UniformQuantizer(1.0), 1025),  # of 64 bits: all below 2^1024 in size
        (cojax.UniformQuantizer(0.75), 1026),
        (cojax.FloatQuantizer(3), 1 + 11 + 3),
    ],
)
def test_a_number_takes_as_many_bits_as_tell_its_levels_apart(quantizer, bits):
    assert float(quantizer.num_bits(jnp.float64)) == bits


def bits_sent(problem, x, state):
    return cojax.records.standard(problem, x, state).bits


@pytest.mark.parametrize(
    ("link", "bits"),
    [
        (cojax.Ideal(), 7 * 64),
        (cojax.Quantized(cojax.LogQuantizer(1.0, smallest=1e-3, largest=1e3)), 7 * 5),  # 15 levels a sign, and 0
        (cojax.Innovation(cojax.AdaptiveQuantizer(2), memory="edge"), 7 * 2),
        # Two of three numbers with two bits for their places, of params and tracker each, and one number that has none.
        (cojax.Innovation(cojax.TopK(2)), 2 * 2 * (64 + 2) + 64),
        (cojax.Quantized(cojax.TopK(3)), 7 * 64),
        # The same without places, which both ends know from the key, the node and the step.
        (cojax.Innovation(cojax.RandK(2)), 2 * 2 * 64 + 64),
    ],
)
def test_bits_are_counted_per_neighbour_and_step(link, bits):
    problem = laws.quadratic()
    network = cojax.network(laws.ring_with_chords(), link=link)
    length = dict(num_steps=10, every=5, record=bits_sent)
    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), **length)
    # Params and tracker of 3 numbers each and one marginal cost, told once before the first step.
    np.testing.assert_array_equal(run.trace, [6 * bits, 11 * bits])


def test_saturations_are_counted_and_a_saturated_run_still_keeps_its_total():
    problem = laws.quadratic()
    network = cojax.network(laws.ring_with_chords(), link=cojax.Quantized(cojax.LogQuantizer(0.5, largest=0.1)))
    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=10, every=10)
    assert run.trace.saturated[-1] > 50
    assert run.state.imbalance == 0.0
    assert float(jnp.abs(run.state.wire.heard[1]).max()) <= 0.1 * np.exp(0.25)
    # A million numbers a step are more than 32 bits count after 2 200 steps: the count does not turn negative.
    many = run.state._replace(wire=run.state.wire._replace(saturated=jnp.int32(2**31 - 11)))
    longer = cojax.solve(problem, network, METHOD, many, num_steps=10, every=5)
    np.testing.assert_array_equal(longer.trace.saturated, 2**31 - 1)


def test_an_adaptive_scale_that_starts_too_small_saturates_first_and_then_no_more():
    problem = laws.quadratic()
    link = cojax.Innovation(cojax.AdaptiveQuantizer(3, first=1e-6), memory="edge")
    network = cojax.network(laws.ring_with_chords(), link=link)
    run = cojax.solve(problem, network, METHOD, laws.start_of(problem), num_steps=600, every=100)
    counts = np.diff(np.asarray(run.trace.saturated))
    assert run.trace.saturated[0] > 100 and counts[-1] < 0.2 * int(run.trace.saturated[0])


@pytest.mark.parametrize("quantizer", [cojax.AdaptiveQuantizer(2), cojax.AdaptiveQuantizer(3), cojax.OneBitQuantizer()])
@pytest.mark.parametrize("memory", ["node", "edge"])
def test_a_link_that_was_at_rest_for_long_follows_a_jump_as_soon_as_any(quantizer, memory):
    net = cojax.network(laws.ring_with_chords(), link=cojax.Innovation(quantizer, memory)).at(0)
    before = jnp.linspace(-3.0, 5.0, net.num_nodes)  # no zero: beside one there is no rounding to stay above

    @jax.jit
    def told(message, wire, times):
        return jax.lax.fori_loop(0, times, lambda _, wire: net.link.tell(message, wire, net, 1), wire)

    wire = told(before, net.link.open(before, net), 2000)
    rested, jumped = told(before, wire, 1), told(2 * before, wire, 300)
    held = [one.heard if memory == "node" else one.near for one in (wire, rested, jumped)]
    np.testing.assert_allclose(held[1], held[0], rtol=5e-16)  # one bit a number hunts by two units in the last place
    ends = 2 * before if memory == "node" else 2 * net.gather(before)
    # 55 halvings to the last bit; the slowest of the three takes three steps for each, and as many to find the way.
    there = np.ones(np.shape(ends), bool) if memory == "node" else np.asarray(net.edge_weights() > 0)
    np.testing.assert_allclose(np.asarray(held[2])[there], np.asarray(ends)[there], rtol=1e-10)


def by_hand(targets, weights, step_size, keep, steps):
    """DGD over `ErrorFeedback(TopK(keep))`, in NumPy, one node after the other."""
    n, d = targets.shape
    x, unsent = np.zeros((n, d)), np.zeros((n, d))

    def told(x, unsent):
        due = x + unsent
        largest = np.argsort(-np.abs(due), axis=1, kind="stable")[:, :keep]
        sent = np.zeros_like(due)
        np.put_along_axis(sent, largest, np.take_along_axis(due, largest, 1), 1)
        return sent, due - sent

    heard, unsent = told(x, unsent)
    for _ in range(steps):
        flow = np.array([sum(weights[i, j] * (heard[j] - heard[i]) for j in range(n)) for i in range(n)])
        x = x + flow - step_size * (x - targets)
        heard, unsent = told(x, unsent)
    return x


def test_what_a_message_lost_is_added_to_the_next():
    targets = np.random.default_rng(0).normal(size=(6, 8)) + np.linspace(1.0, 3.0, 8)
    plain = cojax.network(cojax.graphs.named("ring", 6), layout="dense")
    weights = 0.2 * np.asarray(plain.weights)
    problem = cojax.Problem(lambda x, data: jnp.sum((x.params - data) ** 2) / 2, targets)
    start = problem.start(params=jnp.zeros((6, 8)))
    method = cojax.CoOpt(learn=cojax.DGD(step_size=0.02))

    def ends(link, steps):
        network = cojax.Dense(weights=jnp.asarray(weights), link=link)
        return cojax.solve(problem, network, method, start, num_steps=steps)

    ran = ends(cojax.ErrorFeedback(cojax.TopK(3)), 60)
    np.testing.assert_allclose(ran.x.params, by_hand(targets, weights, 0.02, 3, 60), rtol=1e-9, atol=1e-12)
    assert float(ran.trace.bits[-1]) == 61 * 3 * (64 + 3)
    # On average over nodes every learner of the kind ends at the mean; what is lost for good keeps models apart.
    exact = np.asarray(ends(cojax.Ideal(), 3000).x.params)
    off = {
        name: np.abs(np.asarray(ends(link, 3000).x.params) - exact).max()
        for name, link in (
            ("fed back", cojax.ErrorFeedback(cojax.TopK(3))),
            ("lost", cojax.Quantized(cojax.TopK(3))),
        )
    }
    assert off["fed back"] < 0.5 * off["lost"]


def test_the_total_is_exact_over_error_feedback_whatever_the_network_does():
    demand = jnp.linspace(1.0, 4.0, 6)
    problem = cojax.Problem(lambda x, data: (x.cpu - data) ** 2, demand, budget=12.0)
    link = cojax.ErrorFeedback(cojax.LogQuantizer(0.5))
    network = cojax.network(cojax.graphs.named("ring", 6), link=link)
    method = cojax.CoOpt(allocate=cojax.Laplacian(0.05))
    for net in (network, cojax.Lossy(network, 0.3), cojax.Ledger(cojax.LossyOneWay(network, 0.3))):
        ran = cojax.solve(problem, net, method, problem.start(), num_steps=3000, every=100)
        assert float(ran.state.imbalance) == 0
        np.testing.assert_allclose(ran.x.cpu, demand - 0.5, atol=0.3)
