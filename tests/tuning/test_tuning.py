"""Tuning: gradients are those of runs, whatever the coordinates the sums hold, and nothing gets worse."""

import functools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import laws

import cojax
from cojax import theory
from cojax.tuning import EdgeWeights, PerNode, PerStep, Resolution
from cojax.tuning.ceilings import Curvatures, ceiling
from cojax.tuning.edge_weights import cap_weights
from cojax.tuning.knobs import Number, Setting
from cojax.tuning.known import Known
from cojax.tuning.resolutions import rho_of, whole_bits, whole_rho
from cojax.tuning.searches import TuningSearch, clipped_mean, split
from cojax.tuning.workbenches import workbench

GRAPH = laws.ring_with_chords()
LINK = cojax.Innovation(cojax.LogQuantizer(0.5))
NETWORK = cojax.network(GRAPH, link=LINK)
METHOD = cojax.CoOpt(cojax.DIGing(0.03, mixing=0.5), cojax.Laplacian(0.2))
PROBLEMS = [laws.quadratic(seed=seed) for seed in range(6)]
STARTS = [laws.start_of(problem, seed=10 + seed) for seed, problem in enumerate(PROBLEMS)]
WHAT = [PerNode("learn.step_size"), "learn.mixing", "allocate.step_size", "weights"]


def best(problem):
    """The optimum of `laws.quadratic` by linear algebra."""
    params, cpu, _ = laws.optimum(problem)
    return cojax.Decision(jnp.broadcast_to(jnp.asarray(params), (laws.NUM_NODES, laws.DIM)), jnp.asarray(cpu))


OPTIMA = [best(problem) for problem in PROBLEMS]


def tuned(network=NETWORK, method=METHOD, what=WHAT, **settings):
    settings = {"num_steps": 120, "every": 20, "num_updates": 12, "look_every": 3, "optima": OPTIMA} | settings
    settings = {"optimizer": optax.adam(0.1)} | settings
    return cojax.tune(PROBLEMS, network, method, STARTS, what=what, **settings)


@pytest.fixture(scope="module")
def tuning():
    return tuned()


def gap_after(network, method, number):
    """The squared distance from the optimum over that at the start, larger half, by plain NumPy; after 120 steps."""
    learn, allocate = method.learn, method.allocate
    # As arrays, and the step of every node its own: one program for what is tuned and for what was given.
    steps = jnp.broadcast_to(jnp.asarray(learn.step_size, float), 8)
    learn = cojax.DIGing(steps, jnp.asarray(learn.mixing, float))
    method = cojax.CoOpt(learn, cojax.Laplacian(jnp.asarray(allocate.step_size, float)))
    length = dict(num_steps=120, every=120, record=laws.nothing)
    run = cojax.solve(PROBLEMS[number], network, method, STARTS[number], **length)
    halves = []
    for x, start, goal in zip(run.x, STARTS[number], OPTIMA[number], strict=True):
        x, start, goal = np.asarray(x), np.asarray(start), np.asarray(goal)
        halves.append(((x - goal) ** 2).sum() / ((start - goal) ** 2).sum())
    return max(halves), run


def test_what_is_tuned_is_nearer_to_the_optimum_of_problems_it_never_saw(tuning):
    assert tuning.after < tuning.before
    for number in (4, 5):  # a third of six is held out
        before, _ = gap_after(NETWORK, METHOD, number)
        after, run = gap_after(tuning.network, tuning.method, number)
        assert after < 0.1 * before
        assert laws.exact_imbalance(run.x.cpu, PROBLEMS[number].budget) == 0


def test_steps_stay_below_the_limits_of_theory_at_the_tuned_weights(tuning):
    curvature = np.max([np.asarray(problem.data[2]) for problem in PROBLEMS[:4]], axis=0)
    assert float(tuning.method.allocate.step_size) < theory.allocation_limit(tuning.network, curvature).value
    smooth = max(theory.learn_curvature(p, s).high for p, s in zip(PROBLEMS[:4], STARTS[:4], strict=True))
    limit = theory.tracking_limit(tuning.network, smooth, float(tuning.method.learn.mixing)).value
    assert np.asarray(tuning.method.learn.step_size).shape == (8,)
    assert (np.asarray(tuning.method.learn.step_size) < limit).all()


def test_one_wild_gradient_does_not_own_the_step():
    losses = jnp.asarray([1.0, 1.0, jnp.nan, 1.0])
    mean, fine = clipped_mean(losses, {"a": jnp.asarray([[3.0, 4.0], [1e30, 0.0], [jnp.nan, 0.0], [0.0, 0.1]])}, 1.0)
    assert fine
    np.testing.assert_allclose(mean["a"], np.asarray([0.6 + 1.0 + 0.0, 0.8 + 0.0 + 0.1]) / 3, rtol=1e-12)
    _, fine = clipped_mean(jnp.full(4, jnp.inf), {"a": jnp.ones((4, 2))}, 1.0)
    assert not fine


def checked(network, method=METHOD, which=slice(0, 2), what=WHAT):
    """The gradients of short runs over `network`, at 4 points along 8 directions."""
    few = dict(num_steps=60, every=20, num_points=4, num_directions=8)
    return cojax.gradient_check(PROBLEMS[which], network, method, STARTS[which], what=what, optima=OPTIMA[which], **few)


def test_gradients_through_innovations_are_those_of_wide_finite_differences():
    check = checked(NETWORK)
    # 0.999 was measured for 30 nodes and 24 points; 4 points leave more noise in the differences.
    assert check.cosine > 0.97 and 0.8 < check.norm_ratio < 1.25 and check.trusted
    assert "Trust" in str(check)


def test_a_second_check_of_other_numbers_compiles_nothing(caplog):
    first = checked(NETWORK)  # compiled here or above
    network = cojax.network(GRAPH, link=cojax.Innovation(cojax.LogQuantizer(0.5)))
    method = cojax.CoOpt(cojax.DIGing(0.02, mixing=0.4), cojax.Laplacian(0.1))
    with jax.log_compiles():
        other = checked(network, method, slice(2, 4), [PerNode("learn.step_size"), *WHAT[1:]])
    assert [record.message for record in caplog.records if "Compiling" in record.message] == []
    assert other.cosine != first.cosine


def test_what_a_program_is_compiled_for_is_told_apart_by_every_number_in_it():
    def known(rho=0.5, weight=1.0, key=0, knob=None, gap=cojax.tuning.distances):
        network = cojax.network(GRAPH, link=cojax.Innovation(cojax.LogQuantizer(rho), memory="edge"))
        network = cojax.Lossy(network.reweighted(weight * network.weights), 0.2, key)
        return Known((network, [knob or PerStep("learn.mixing", 3, 40), EdgeWeights()], gap))

    assert known() == known() and hash(known()) == hash(known())
    others = [
        known(rho=0.25), known(weight=0.5), known(key=1), known(knob=PerStep("learn.mixing", 4, 40)),
        known(knob=PerNode("learn.mixing")), known(gap=lambda problem, x, best: ()),
    ]  # fmt: skip
    assert len({known(), *others}) == 1 + len(others)


def test_gradients_through_coarse_values_are_called_what_they_are():
    check = checked(cojax.network(GRAPH, link=cojax.Quantized(cojax.LogQuantizer(0.5))))
    assert not check.trusted and "not trust" in str(check)


SHAPES = {
    "dense": cojax.network(GRAPH, layout="dense"),
    "neighbors": cojax.network(GRAPH, layout="neighbors"),
    "edges": cojax.network(GRAPH, layout="edges"),
    "ring": cojax.network(nx.cycle_graph(8)),
    "switching": cojax.network(laws.switching_graphs(), layout="dense"),
    "lossy": cojax.Lossy(cojax.network(laws.switching_graphs()), 0.2),
}


@functools.cache
def turned(name):
    """The network of that name with the weights of a theta: one program, where its operations one by one are many."""
    pair, setting = (METHOD, SHAPES[name]), Setting(Curvatures(None, None), 1.0, 1.0, laws.NUM_NODES, None)
    return jax.jit(lambda theta: EdgeWeights().turn(theta, pair, pair, setting)[1])


@pytest.mark.parametrize("name", SHAPES)
def test_tuned_weights_are_symmetric_not_negative_and_bounded_at_every_node(name):
    network = SHAPES[name]
    shape = EdgeWeights().first((METHOD, network), Setting(Curvatures(None, None), 1.0, 1.0, 8, None)).shape
    for size in (0.0, 1.0, 30.0):
        theta = size * jnp.asarray(np.random.default_rng(0).standard_normal(shape))
        for matrix in theory.laplacians(turned(name)(theta)):
            matrix = matrix.toarray()
            np.testing.assert_array_equal(matrix, matrix.T)
            assert (matrix - np.diag(matrix.diagonal()) <= 0).all() and matrix.diagonal().max() < 1.0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e3, 1e3), min_size=11, max_size=11))
def test_node_sums_stay_below_the_cap_for_any_coordinates(theta):
    pairs = np.asarray(list(GRAPH.edges)).T
    weights = np.asarray(cap_weights(jnp.asarray([theta]), True, pairs, 1.0, 8))[0]
    sums = np.bincount(pairs.ravel(), np.tile(weights, 2), 8)
    assert (weights >= 0).all() and (sums < 1.0).all()


@pytest.mark.parametrize("name", SHAPES)
def test_the_first_coordinates_are_those_of_the_weights_that_were_given(name):
    network = SHAPES[name]
    theta = EdgeWeights().first((METHOD, network), Setting(Curvatures(None, None), 1.0, 1.0, 8, None))
    after = theory.laplacians(turned(name)(theta))
    for one, other in zip(theory.laplacians(network), after, strict=True):
        # Sixty rounds of the inverse come this near where sums stay off the cap, as those of Metropolis do.
        np.testing.assert_allclose(one.toarray(), other.toarray(), atol=1e-3)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.floats(0.0, 3.0))
def test_the_total_is_exact_for_any_coordinates(seed, size):
    theta = size * jnp.asarray(np.random.default_rng(seed).standard_normal((2, 11)))
    run = cojax.solve(
        PROBLEMS[0], turned("lossy")(theta), METHOD, STARTS[0], num_steps=20, every=20, record=laws.nothing
    )
    assert laws.exact_imbalance(run.x.cpu, PROBLEMS[0].budget) == 0 and float(run.state.imbalance) == 0.0


LIMITS = {
    cojax.DIGing: cojax.DIGing(1.0, mixing=0.7),
    cojax.EXTRA: cojax.EXTRA(1.0),
    cojax.DGD: cojax.DGD(1.0),
    cojax.NIDS: cojax.NIDS(1.0),
    cojax.ATCTracking: cojax.ATCTracking(1.0),
    cojax.TrackingMomentum: cojax.TrackingMomentum(1.0, momentum=0.3),
}


@pytest.mark.parametrize("kind", LIMITS, ids=lambda kind: kind.__name__)
def test_ceilings_of_learners_are_the_limits_of_theory(kind):
    bounds = {
        cojax.DIGing: lambda net: theory.tracking_limit(net, 3.0, 0.7),
        cojax.EXTRA: lambda net: theory.extra_limit(net, 3.0),
        cojax.DGD: lambda net: theory.dgd_limit(net, 3.0),
        cojax.NIDS: lambda net: theory.nids_limit(net, 3.0),
        cojax.ATCTracking: lambda net: theory.atc_limit(net, 3.0),
        cojax.TrackingMomentum: lambda net: theory.tracking_momentum_limit(net, 3.0, 0.3),
    }
    for network in SHAPES.values():
        wanted = bounds[kind](network).value
        np.testing.assert_allclose(ceiling(LIMITS[kind], network, Curvatures(3.0, None)), wanted, rtol=1e-12)


def test_ceilings_of_allocators_are_the_limits_of_theory_and_have_derivatives():
    curvature = np.linspace(0.5, 2.0, 8)
    for network in SHAPES.values():
        limit = theory.allocation_limit(network, curvature).value
        found = ceiling(cojax.Laplacian(1.0), network, Curvatures(None, curvature))
        np.testing.assert_allclose(found, limit, rtol=1e-12)
    network = SHAPES["edges"]
    heavy = theory.heavy_ball_limit(network, curvature, 0.4).value
    np.testing.assert_allclose(ceiling(cojax.HeavyBall(1.0, 0.4), network, Curvatures(None, curvature)), heavy)

    def at(weights):
        return ceiling(cojax.Laplacian(1.0), network.reweighted(weights), Curvatures(None, curvature))

    shift = jnp.asarray(np.random.default_rng(0).standard_normal(network.weights.shape))
    difference = (at(network.weights + 1e-5 * shift) - at(network.weights - 1e-5 * shift)) / 2e-5
    # Central differences at 1e-5 are right to about 1e-9 of a smooth function.
    np.testing.assert_allclose(jax.grad(at)(network.weights) @ shift, difference, rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.integers(1, 9), st.integers(0, 150))
def test_whole_bits_cost_the_budget_exactly(theta, dim, spare):
    counts = np.asarray([dim, dim, 1])
    budget = 2 * int(counts.sum()) + 1 + spare % (10 * int(counts.sum()))
    relaxed = np.asarray(Resolution(budget).relaxed(jnp.asarray(theta), counts))
    bits = whole_bits(relaxed, counts, budget)
    assert (bits >= 2).all() and (bits <= 24).all()
    assert int(bits @ counts) == budget


@pytest.mark.parametrize("ends", [(1e-8, 1e4), (10.0, 12.0), (1.0, 10.0), (1e-3, 1e3)])
def test_a_log_quantizer_of_whole_bits_takes_them(ends):
    def bits_of(rho):
        return int(cojax.LogQuantizer(rho, smallest=ends[0], largest=ends[1]).num_bits(jnp.float64))

    for bits in range(2, 25):
        narrow = cojax.LogQuantizer(whole_rho(bits, *ends, jnp.float32), smallest=ends[0], largest=ends[1])
        assert int(narrow.num_bits(jnp.float32)) <= bits
        rho = whole_rho(bits, *ends, jnp.float64)
        assert bits_of(rho) == bits
        # It has nearly all levels that it may have, and so many bits not whole have as many, but for one at each end.
        assert bits == 2 or np.log(ends[1] / ends[0]) / rho > 2 ** (bits - 1) - 2.01
        assert abs(bits_of(float(rho_of(jnp.asarray(float(bits)), *ends))) - bits) <= 1


def test_bits_need_a_log_quantizer_with_both_ends():
    with pytest.raises(cojax.CojaxInputError, match=r"Resolution needs a link .* smallest"):
        tuned(what=[Resolution(60)])
    link = cojax.Innovation(cojax.LogQuantizer(0.9, smallest=1e-8, largest=1e4))
    with pytest.raises(cojax.CojaxInputError, match="above 14 and up to 168 bits for 7 numbers"):
        tuned(cojax.network(GRAPH, link=link), what=[Resolution(14)])


@pytest.mark.parametrize("free", [-30.0, 30.0])
def test_whatever_a_coordinate_is_the_method_is_one_that_its_class_takes(free):
    makers = {
        "blend": lambda value: cojax.APAPC(0.3, blend=value, gain=0.3),
        "gain": lambda value: cojax.APAPC(0.3, blend=0.9, gain=value),
        "keep": lambda value: cojax.StreamingSteps(inner=optax.sgd(0.1), every=4, parts=2, keep=value),
        "momentum": lambda value: cojax.HeavyBall(0.1, value),
    }
    for name, maker in makers.items():
        pair, setting = (maker(0.5), NETWORK), Setting(Curvatures(1.0, jnp.ones(8)), 1.0, 1.0, 8, None)
        turned, _ = Number(name).turn(jnp.asarray(free), pair, pair, setting)
        maker(float(getattr(turned, name)))


def test_what_is_no_run_to_tune_is_refused_in_a_sentence():
    changing = cojax.Changing(PROBLEMS[0], [cojax.Change(3, budget=8.0)])
    drawn = cojax.Minibatch(PROBLEMS[0], 1, samples=lambda data: data[0])
    exact = cojax.reference(PROBLEMS[0], jnp.zeros(laws.DIM))
    given = {"network": NETWORK, "method": METHOD, "what": ["learn.step_size"], "num_steps": 4, "every": 2}
    one = given | {"problem": PROBLEMS[0], "start": STARTS[0], "optima": OPTIMA[:1]}
    for words, change in {
        "plain Problem, .* got Changing": {"problem": changing},
        "plain Problem, .* got Minibatch": {"problem": [drawn]},
        "plain Problem, .* got Drawn": {"problem": drawn.at(0)},
        "plain Problem, .* got NoneType": {"problem": None},
        "a start of .* got 1 and NoneType": {"start": None},
        "a start of .* got 0 and Decision": {"problem": [], "start": STARTS[:1]},
        "the optimum of every problem in optima, .* got Reference for 1": {"optima": [exact]},
        "the optimum of every problem in optima, .* got Decision, Decision for 1": {"optima": OPTIMA[:2]},
        "a function gap": {"gap": 3.0},
        "cannot compute gap": {"gap": lambda problem, x: (0.0, 0.0)},
        "return two numbers": {"gap": lambda problem, x, best: ((x.cpu - best.cpu) ** 2).sum()},
    }.items():
        for function in (cojax.tune, cojax.gradient_check):
            with pytest.raises(cojax.CojaxInputError, match=words):
                laws.unchecked(function)(**one | change)
    with pytest.raises(cojax.CojaxInputError, match=r"optimizer such as optax.adam\(0.05\), got str 'adam'"):
        several = {"problem": PROBLEMS[:3], "start": STARTS[:3], "optima": OPTIMA[:3]}
        laws.unchecked(cojax.tune)(**given | several, optimizer="adam")


def test_what_cannot_be_tuned_is_refused_by_name():
    refused = {
        "step per node would break the sum of cpu; tune the edge weights": [PerNode("allocate.step_size")],
        "one number per node for the step_size of ATCTracking, Choco, DGD, DIGing": [PerNode("learn.mixing")],
        "such as .*got 'learn.speed'": ["learn.speed"],
        "every number once in what": ["weights", "weights"],
        "at least one, got": [],
        "a float at 'learn.transform'": ["learn.transform"],
        "knobs of cojax.tuning": [3.0],
        "a list of names": 3.0,
    }
    for words, what in refused.items():
        with pytest.raises(cojax.CojaxInputError, match=words):
            tuned(what=what)
    with pytest.raises(cojax.CojaxInputError, match="nothing in it to tune"):
        tuned(cojax.RandomGraph(8, 0.5), what=["weights"])
    with pytest.raises(cojax.CojaxInputError, match="multiple of window"):
        tuned(what=["weights"], window=50)
    with pytest.raises(cojax.CojaxInputError, match="an instance to tune on"):
        tuned(what=["learn.step_size"], num_held_out=6)


def bench_of(network=NETWORK, what=WHAT, window=None):
    """A workbench for short runs, and the instances; by itself with the programs of `tuning`."""
    return workbench(
        PROBLEMS, network, METHOD, STARTS, what=what, objective=cojax.tuning.Area(), num_steps=120, every=20,
        optima=OPTIMA, margin=1.0, inflation=1.1, window=window, gap=cojax.tuning.distances,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bench():
    return bench_of()


def search_of(bench, optimizer):
    workbench, instances = bench
    return TuningSearch(workbench, *split(instances, 2), 1.0, optimizer)


def test_a_bad_optimizer_makes_nothing_worse(bench):
    search = search_of(bench, optax.sgd(-50.0))
    for _ in range(4):
        search.update()
        search.look()
    wild = search.result()
    assert wild.after <= wild.before and wild.history.rejected.any()
    before, _ = gap_after(NETWORK, METHOD, 5)
    after, _ = gap_after(wild.network, wild.method, 5)
    assert after <= before * (1 + 1e-12)


def test_an_update_that_is_not_finite_is_undone(bench):
    search = search_of(bench, optax.stateless(lambda updates, _: jax.tree.map(lambda leaf: leaf * jnp.nan, updates)))
    for _ in range(4):
        search.update()
        search.look()
    tuning = search.result()
    assert tuning.history.rejected.tolist() == [False, True, False, True]
    assert tuning.after == tuning.before and tuning.method is METHOD


def test_truncated_windows_point_where_the_whole_gradient_points(bench):
    whole, instances = bench
    cut, _ = bench_of(window=40)
    training, _ = split(instances, 2)  # of the shapes that the searches above compiled for
    slopes = [
        np.concatenate([np.asarray(leaf).mean(0).ravel() for leaf in each.gradients(whole.first, training)[1]])
        for each in (whole, cut)
    ]
    cosine = slopes[0] @ slopes[1] / np.linalg.norm(slopes[0]) / np.linalg.norm(slopes[1])
    # 0.96 and more was measured for windows of 25 to 50 steps.
    assert cosine > 0.9


def test_one_instance_alone_is_warned_of(bench):
    _, instances = bench
    with pytest.warns(UserWarning, match="one instance"):
        split(jax.tree.map(lambda leaf: leaf[:1], instances), None)


def test_tuning_through_a_plain_quantizer_warns_and_names_the_remedy():
    network = cojax.network(GRAPH, link=cojax.Quantized(cojax.LogQuantizer(0.5)))
    with pytest.warns(UserWarning, match="Use Innovation"), pytest.raises(cojax.CojaxInputError):
        tuned(network, what=["learn.step_size"], num_steps=-1)


def test_bits_shared_out_under_a_budget_are_told_to_the_bit():
    network = cojax.network(GRAPH, link=cojax.Innovation(cojax.LogQuantizer(0.9, smallest=1e-8, largest=1e4)))
    work, _ = bench_of(network, [Resolution(7 * 6 + 2)])
    for seed in range(3):
        theta = [3.0 * jnp.asarray(np.random.default_rng(seed).standard_normal(3))]
        method, turned_network = work.pair(theta)
        run = cojax.solve(PROBLEMS[0], turned_network, method, STARTS[0], num_steps=4)
        np.testing.assert_array_equal(np.diff(run.trace.bits), 44.0)


def test_numbers_by_step_come_back_in_a_schedule_below_the_ceiling():
    work, _ = bench_of(what=[PerStep("allocate.step_size", 3, 40)])
    method, _ = work.pair([jnp.asarray([-1.0, 0.0, 50.0])])
    schedule = method.allocate
    assert isinstance(schedule, cojax.Scheduled) and schedule.every == 40
    top = theory.allocation_limit(NETWORK, work.setting.curvatures.allocate).value
    expected = [top / (1 + np.exp(1.0)), top / 2, top]
    np.testing.assert_allclose(schedule.values["step_size"], expected, rtol=1e-12)


def test_a_schedule_is_its_methods_one_after_the_other():
    network = cojax.network(GRAPH)
    steps = [0.3, 0.1]
    scheduled = cojax.CoOpt(METHOD.learn, cojax.Scheduled(cojax.HeavyBall(0.2, 0.5), {"step_size": steps}, every=3))
    whole = cojax.solve(PROBLEMS[0], network, scheduled, STARTS[0], num_steps=9, every=9, record=laws.nothing)
    first, second = (cojax.CoOpt(METHOD.learn, cojax.HeavyBall(step, 0.5)) for step in steps)
    half = cojax.solve(PROBLEMS[0], network, first, STARTS[0], num_steps=3, every=3, record=laws.nothing)
    rest = cojax.solve(PROBLEMS[0], network, second, half.state, num_steps=6, every=6, record=laws.nothing)
    np.testing.assert_array_equal(whole.x.cpu, rest.x.cpu)


def test_schedules_that_cannot_be_are_refused():
    for words, values in {
        "HeavyBall in values, got 'speed'": {"speed": [1.0]},
        "one length": {"step_size": [0.1, 0.2], "momentum": [0.1]},
        "step_size > 0": {"step_size": [0.1, -0.2]},
        "one number for step_size": {"step_size": [[0.1] * 8]},
    }.items():
        with pytest.raises(cojax.CojaxInputError, match=words):
            cojax.Scheduled(cojax.HeavyBall(0.2, 0.5), values)


def test_every_part_of_a_message_has_a_quantizer_of_its_own():
    coarse, fine = cojax.LogQuantizer(1.0, smallest=1e-4, largest=1e4), cojax.FloatQuantizer(10)
    mixed = cojax.network(GRAPH, link=cojax.Quantized((coarse, fine)))
    run = cojax.solve(PROBLEMS[0], mixed, METHOD, STARTS[0], num_steps=1)
    told, price = run.state.wire.heard
    exact = METHOD.message(run.state.method, run.state.grad)
    np.testing.assert_array_equal(told.params, coarse(exact[0].params))
    np.testing.assert_array_equal(price, fine(exact[1]))
    # Two messages of 6 coarse numbers and a fine one.
    assert float(run.trace.bits[-1]) == 2 * (6 * 6 + float(fine.num_bits(jnp.float64)))
    with pytest.raises(cojax.CojaxInputError, match="one for each part of the message"):
        wrong = cojax.network(GRAPH, link=cojax.Quantized((coarse, fine, fine)))
        cojax.solve(PROBLEMS[0], wrong, METHOD, STARTS[0], num_steps=1)
