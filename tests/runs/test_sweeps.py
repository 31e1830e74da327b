"""A sweep is its runs one by one, labelled; equal arrays are kept once, and what differs in kind is refused."""

import os
import sys
import threading

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import laws

import cojax
from cojax.problems.costs import LeastSquares, Samples
from cojax.runs import cores, sweeps

PROBLEM = laws.quadratic()
START = laws.start_of(PROBLEM)
LEARNER = cojax.CoOpt(learn=cojax.DIGing(0.02))
GRAPH = laws.ring_with_chords()
STEPS = {"num_steps": 12, "every": 6}
UNSEEN = STEPS | {"record": laws.nothing}  # compiles in less time, where nobody reads the trace


def method_of(step_size):
    return cojax.CoOpt(learn=cojax.DIGing(step_size), allocate=cojax.Laplacian(4 * step_size))


def by_step_and_seed(step_size, seed):
    """Problems, starts, step sizes and quantizers that differ over one graph."""
    problem = laws.quadratic(seed=seed)
    link = cojax.Quantized(cojax.LogQuantizer(step_size))
    return problem, cojax.network(GRAPH, link=link), method_of(step_size), laws.start_of(problem, seed=seed)


def by_layout(layout, link):
    def build(step_size):
        return PROBLEM, cojax.network(GRAPH, link=link, layout=layout), method_of(step_size), START

    return build


def by_graph(seed, rate):
    graph = nx.connected_watts_strogatz_graph(8, 4, 0.5, seed=seed)
    network = cojax.Lossy(cojax.network(graph, nodelist=range(8), layout="dense"), rate, seed)
    return PROBLEM, network, method_of(0.05), START


def by_key(key):
    samples = Samples(PROBLEM.data[0], PROBLEM.data[1], jnp.ones((8, 5)))
    problem = cojax.Problem(learn, samples)
    return cojax.Minibatch(problem, 2, key), cojax.network(GRAPH), LEARNER, problem.start(params=START.params)


def learn(x, samples):
    return LeastSquares()(x.params, samples)


def check(sweep, build, axes, steps):
    """Every run of the sweep beside the same run alone."""
    for place in np.ndindex(*(len(axis) for axis in axes.values())):
        point = {name: axis[at] for at, (name, axis) in zip(place, axes.items(), strict=True)}
        alone = cojax.solve(*build(**point), **steps)
        ours = jax.tree.map(lambda leaf, place=place: np.asarray(leaf)[place], sweep.solution)
        # Gradients are rounded differently, so shares may differ by a few steps of their grid.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), ours, alone)


STEP_SIZES = [0.02, 0.05]


@pytest.mark.parametrize(
    ("build", "axes", "steps"),
    [
        (by_step_and_seed, {"step_size": STEP_SIZES, "seed": [0, 1, 2]}, STEPS),
        (
            by_layout("edges", cojax.Innovation(cojax.LogQuantizer(0.5), memory="edge")),
            {"step_size": STEP_SIZES},
            UNSEEN,
        ),
        (by_graph, {"seed": [0, 1], "rate": [0.0, 0.3]}, STEPS),
        (by_key, {"key": [0, 1]}, UNSEEN),
    ],
)
def test_a_sweep_is_its_runs_one_by_one(build, axes, steps):
    swept = cojax.sweep(build, **steps, **axes)
    check(swept, build, axes, steps)
    assert float(swept.solution.state.imbalance.max()) == 0.0


def test_a_run_of_a_sweep_can_be_continued():
    build = by_layout("neighbors", cojax.Ideal())
    swept = cojax.sweep(build, step_size=STEP_SIZES, **UNSEEN)
    problem, network, method, start = build(STEP_SIZES[1])
    more = cojax.solve(problem, network, method, jax.tree.map(lambda leaf: leaf[1], swept.solution.state), **UNSEEN)
    whole = cojax.solve(problem, network, method, start, num_steps=24, every=24, record=laws.nothing)
    np.testing.assert_allclose(more.x.params, whole.x.params, rtol=1e-11)  # the first half was rounded differently
    again = cojax.sweep(
        lambda run: (problem, network, method, jax.tree.map(lambda leaf: leaf[run], swept.solution.state)),
        run=[0, 1],
        **UNSEEN,
    )
    np.testing.assert_allclose(again.solution.x.params[1], more.x.params, rtol=1e-11)
    assert again.step.tolist() == [18, 24]


def test_the_derivative_of_a_sweep_is_that_of_its_runs():
    network = cojax.network(GRAPH)

    def final(scale):
        def build(step_size):
            return PROBLEM, network, method_of(scale * step_size), START

        return cojax.sweep(build, step_size=STEP_SIZES, num_steps=4, every=4).solution.trace.cost.sum()

    slope = jax.jit(jax.grad(final))(1.0)
    h = 1e-5
    # Central differences err by h**2 and by rounding over h: 1e-10 both; flux on the grid jumps by 1e-14.
    wanted = (final(1.0 + h) - final(1.0 - h)) / (2 * h)
    np.testing.assert_allclose(slope, wanted, rtol=1e-6)


def on_cores(monkeypatch, num_cores):
    monkeypatch.setattr(cores, "LEAST_RUNS", 2)
    monkeypatch.setattr(cores, "num_cores", lambda: num_cores)


def test_runs_cut_into_pieces_for_all_cores_are_the_same_runs(monkeypatch):
    on_cores(monkeypatch, 3)  # seven runs: three pieces of three, of which the last two places are filled
    axes = {"step_size": [0.01 * k for k in range(1, 8)]}
    build = by_layout("dense", cojax.Ideal())
    swept = cojax.sweep(build, **UNSEEN, **axes)
    check(swept, build, axes, UNSEEN)
    assert float(swept.solution.state.imbalance.max()) == 0.0


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core computes one piece after the other")
def test_pieces_are_computed_at_the_same_time(monkeypatch):
    on_cores(monkeypatch, 2)
    meeting = threading.Barrier(2, timeout=60)

    def wait_for_the_other(cost):
        meeting.wait()
        return cost

    def record(problem, x, state):
        cost = x.cpu.sum()
        return jax.pure_callback(wait_for_the_other, cost, cost, vmap_method="broadcast_all")

    build = by_layout("dense", cojax.Ideal())
    swept = cojax.sweep(build, step_size=[0.01, 0.02, 0.03, 0.04], record=record, **STEPS)
    assert swept.solution.trace.shape == (4, 2) and not meeting.broken


def test_settings_of_the_calling_thread_hold_in_all_pieces(monkeypatch):
    on_cores(monkeypatch, 2)

    def build(step_size):
        problem = laws.quadratic()
        return problem, cojax.network(GRAPH), cojax.CoOpt(learn=cojax.DIGing(step_size)), laws.start_of(problem)

    with jax.enable_x64(False):
        swept = cojax.sweep(build, step_size=[0.01, 0.02, 0.03, 0.04], **UNSEEN)
    assert swept.solution.x.params.dtype == np.float32


def test_equal_data_of_all_runs_are_kept_once():
    runs = [by_layout("neighbors", cojax.Ideal())(step_size) for step_size in STEP_SIZES]
    many, same = sweeps._stack(runs, [{}, {}])
    assert len(jax.tree.leaves(many)) == 2  # the two step sizes
    assert same[0].data[0] is PROBLEM.data[0]


def test_a_sweep_is_saved_and_read_back_by_label(tmp_path):
    xarray = pytest.importorskip("xarray")
    build = by_layout("neighbors", cojax.Ideal())
    swept = cojax.sweep(build, step_size=STEP_SIZES, **STEPS)
    labelled = swept.to_xarray()
    assert labelled.cost.dims == ("step_size", "step") and labelled.cpu.dims == ("step_size", "node")
    np.testing.assert_array_equal(labelled.cost.sel(step_size=0.05, step=12), swept.solution.trace.cost[1, 1])
    labelled.to_netcdf(tmp_path / "runs.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "runs.nc", engine="scipy") as read:
        xarray.testing.assert_equal(read.load(), labelled)


def test_a_sweep_is_saved_as_plain_arrays(tmp_path):
    swept = cojax.sweep(by_graph, seed=[0], rate=[0.0], record=lambda problem, x, state: x.cpu.min(), **STEPS)
    np.savez(tmp_path / "runs.npz", allow_pickle=False, **swept.arrays())
    with np.load(tmp_path / "runs.npz", allow_pickle=False) as read:
        np.testing.assert_array_equal(read["record"], swept.solution.trace)
        np.testing.assert_array_equal(read["step"], [6, 12])


def test_names_with_a_slash_and_small_floats_are_saved_and_read_back(tmp_path):
    xarray = pytest.importorskip("xarray")
    layers = {"enc/dense": {"w": jnp.arange(20.0).reshape(2, 5, 2)}, "enc": {"dense.w": jnp.ones((2, 5, 3))}}
    small = jnp.asarray([[1.5, 2.5, -3.0], [0.0, 1.0, 2.0]], jnp.bfloat16)
    trace = {"step": small, "node": small, "rate": small, "a/b": small, "cost": small}
    solution = cojax.Solution(cojax.Decision(layers, jnp.ones((2, 5))), trace, None, jnp.zeros(2, jnp.int32))
    swept = cojax.Sweep({"rate": np.array([0.1, 0.2])}, solution, jnp.arange(1, 4))
    labelled = swept.to_xarray()
    names = {"params.enc.dense.w", "params.enc.dense.w_", "cpu", "status", "a.b", "cost"}
    assert set(labelled.data_vars) == names | {"trace_step", "trace_node", "trace_rate"}
    np.testing.assert_array_equal(labelled["params.enc.dense.w_"], layers["enc/dense"]["w"])
    np.testing.assert_array_equal(labelled["a.b"].sel(rate=0.1, step=3), -3.0)
    labelled.to_netcdf(tmp_path / "runs.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "runs.nc", engine="scipy") as read:
        xarray.testing.assert_equal(read.load(), labelled)
    np.savez(tmp_path / "runs.npz", allow_pickle=False, **swept.arrays())
    with np.load(tmp_path / "runs.npz", allow_pickle=False) as read:
        assert read["cost"].dtype == np.float32 and read["cost"].tolist() == [[1.5, 2.5, -3.0], [0.0, 1.0, 2.0]]


@settings(max_examples=50, deadline=None, database=None)
@given(
    st.lists(st.decimals(-99, 99, places=4).map(float), min_size=1, max_size=5), st.sampled_from(["float32", "float64"])
)
def test_axes_are_labelled_with_the_numbers_that_were_typed(values, dtype):
    for kind in (np.asarray, jnp.asarray):
        labels = sweeps._label(list(kind(values, dtype)))
        assert labels.dtype == np.float64 and labels.tolist() == values


def test_axes_of_whole_numbers_names_and_other_things_keep_their_kind():
    assert (
        sweeps._label(list(jnp.arange(3))).tolist()
        == sweeps._label(list(np.arange(3, dtype=np.int16))).tolist()
        == [0, 1, 2]
    )
    assert sweeps._label(list(jnp.arange(3))).dtype.kind == "i"
    assert sweeps._label(list(jnp.asarray([0.5], jnp.bfloat16))).tolist() == [0.5]
    assert sweeps._label(["a", "b"]).tolist() == ["a", "b"]
    for others in ([GRAPH, GRAPH], list(jax.random.split(jax.random.key(0))), list(jnp.ones((2, 2)))):
        assert sweeps._label(others).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["status", "cpu", "params", "cost"])
def test_an_axis_may_be_named_as_something_that_is_found(name):
    def build(**point):
        return PROBLEM, cojax.network(GRAPH), method_of(point[name]), START

    swept = cojax.sweep(build, **STEPS, **{name: [0.01, 0.02]})
    arrays, data = swept.arrays(), swept.to_xarray()
    other = f"trace_{name}" if name == "cost" else f"solution_{name}"
    for found in (arrays, data):
        np.testing.assert_array_equal(found[name], [0.01, 0.02])
    whole = {"status": swept.solution.status, "cost": swept.solution.trace.cost} | swept.solution.x._asdict()
    np.testing.assert_array_equal(arrays[other], whole[name])
    np.testing.assert_array_equal(data[other], whole[name])


def test_runs_that_go_on_from_different_steps_are_refused_and_from_the_same_one_are_not():
    def state(steps):
        return cojax.solve(PROBLEM, cojax.network(GRAPH), method_of(0.1), START, num_steps=steps).state

    def build(run):
        return PROBLEM, cojax.network(GRAPH), method_of(0.1), (state(4), state(8))[run]

    with pytest.raises(cojax.CojaxInputError, match="the same step, got states after 4, 8 steps"):
        cojax.sweep(build, num_steps=4, run=[0, 1])
    swept = cojax.sweep(build, num_steps=4, run=[1, 1])
    np.testing.assert_array_equal(swept.step, 8 + np.arange(1, 5))


def test_a_missing_xarray_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    swept = cojax.Sweep({}, cojax.Solution(START, {}, None, jnp.zeros(())), jnp.arange(1))
    with pytest.raises(cojax.CojaxInputError, match=r"pip install 'cojax\[store\]'"):
        swept.to_xarray()


def other_kinds(run):
    return PROBLEM, cojax.network(GRAPH), (cojax.CoOpt(), method_of(0.1))[run], START


def other_sizes(run):
    graph = (nx.cycle_graph(8), nx.complete_graph(8))[run]
    return PROBLEM, cojax.network(graph, layout="neighbors"), method_of(0.1), START


@pytest.mark.parametrize(
    ("build", "axes", "message"),
    [
        (other_kinds, {"run": [0, 1]}, "numbers only, got a method with another structure at {'run': 1}"),
        (other_sizes, {"run": [0, 1]}, "numbers only, got a network with shapes"),
        (3, {"run": [0, 1]}, r"a function build\(\*\*point\) first, got int"),
        (other_sizes, {}, "at least one axis"),
        (other_sizes, {"step": [0, 1]}, "none named step or node"),
        (other_sizes, {"run": []}, "at least one value for run, got an empty"),
        (other_sizes, {"run": 3}, "a sequence of values for run, got 3"),
        (lambda run: PROBLEM, {"run": [1]}, r"returns \(problem, network, method, start\)"),
        (lambda run: (*other_sizes(run)[:3], START._replace(cpu=None)), {"run": [1]}, "only one of them has cpu"),
    ],
)
def test_what_is_no_sweep_is_refused(build, axes, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        laws.unchecked(cojax.sweep)(build, **STEPS, **axes)
