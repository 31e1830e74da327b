"""What a result says of itself: in words, in tables with names, with a bar, and against mixed-up arguments."""

import builtins
import io
import sys
import warnings

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax

PROBLEM = laws.quadratic()
START = laws.start_of(PROBLEM)
METHOD = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.3))
NAMES = ["Böblingen", "a/b", *(f"centre {row}" for row in range(2, PROBLEM.num_nodes))]
GRAPH = nx.relabel_nodes(laws.ring_with_chords(), dict(enumerate(NAMES)))
NETWORK = cojax.network(GRAPH)


@pytest.fixture(scope="module")
def solution():
    return cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=60, every=20)


def test_print_says_which_number_judges_which_half(solution):
    said = repr(solution)
    assert "how good it is: cojax.certificate(problem, solution.x)" in said and "gap to the optimum" not in said
    untrained = repr(cojax.certificate(PROBLEM, START))
    # The gap is that of the shares alone: the model's line must not let it stand for both.
    assert untrained.startswith("Certificate: NOT certified: ")
    assert "above the optimum of this model" in untrained and "\n  model: copies 1.004 apart" in untrained
    assert repr(cojax.certificate(PROBLEM, cojax.reference(PROBLEM, START.params[0]).x)).startswith(
        "Certificate: certified"
    )


@pytest.mark.parametrize("error", [1e-9, 3e-7, 1e-3, 0.0099, 0.011, 0.5, np.nan, np.inf])
def test_the_verdict_names_the_smallest_power_of_ten_that_is_certified(error):
    exact = cojax.certificate(PROBLEM, cojax.reference(PROBLEM, START.params[0]).x)
    worse = exact._replace(gap=jnp.asarray(error) * exact.sizes.cost)
    said = repr(worse).splitlines()[0]
    passed = [power for power in range(16, 1, -1) if bool(cojax.is_certified(worse, 10.0**-power))]
    if passed:
        assert f"certified to 1e-{passed[0]}: furthest off is the gap of the shares" in said and "NOT" not in said
    else:
        assert "NOT certified: the gap of the shares" in said


def test_a_half_that_is_not_there_is_not_judged():
    shares = cojax.Problem(lambda x, data: data * x.cpu**2, jnp.arange(1.0, 5.0), budget=4.0)
    assert "model:" not in repr(cojax.certificate(shares, shares.start()))
    model = cojax.Problem(lambda x, data: (x.params - data) ** 2, jnp.arange(1.0, 5.0))
    assert "shares:" not in repr(cojax.certificate(model, model.start(params=jnp.zeros(4))))


def test_nodes_keep_their_names_from_the_graph_to_every_table(solution):
    assert list(solution.names) == NAMES
    frame, labelled = solution.to_pandas(), solution.to_xarray()
    assert list(frame.index) == NAMES and frame.index.name == "node"
    np.testing.assert_array_equal(frame["cpu"], solution.x.cpu)
    np.testing.assert_array_equal(frame["params.1"], solution.x.params[:, 1])
    assert float(labelled.cpu.sel(node="a/b")) == float(solution.x.cpu[1])
    assert labelled.cost.dims == ("step",) and list(labelled.step) == [20, 40, 60]
    traced = jax.jit(lambda: cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=20))()
    assert list(traced.names) == NAMES
    assert cojax.solve(PROBLEM, cojax.network(laws.ring_with_chords()), METHOD, START, num_steps=20).names is None


def test_names_stay_on_every_network_that_is_made_of_another():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "x")
    made = {
        "lossy": cojax.Lossy(NETWORK, 0.1),
        "ledger": cojax.Ledger(cojax.LossyOneWay(NETWORK, 0.1)),
        "default": cojax.default(PROBLEM, NETWORK, START)[0],
        "default, lossy": cojax.default(PROBLEM, cojax.Lossy(NETWORK, 0.1), START)[0],
        "default_learner": cojax.default_learner(PROBLEM, NETWORK, START)[0],
        "default_allocator": cojax.default_allocator(PROBLEM, NETWORK, START)[0],
        "shard": cojax.shard(PROBLEM, NETWORK, START, mesh).network,
        "directed": cojax.network(GRAPH.to_directed()),
        "in turn": cojax.network([GRAPH, GRAPH], layout="dense"),
        "split": cojax.network(GRAPH, layout="split"),
        "edges": cojax.network(GRAPH, layout="edges"),
    }
    assert {name: list(network.node_names or ()) for name, network in made.items()} == dict.fromkeys(made, NAMES)
    backwards = cojax.network(GRAPH, nodelist=NAMES[::-1])
    assert list(backwards.node_names) == NAMES[::-1]


def test_courses_and_sweeps_make_tables_too():
    def build(step_size):
        return PROBLEM, NETWORK, cojax.CoOpt(cojax.DIGing(step_size), cojax.Laplacian(0.3)), START

    runs = cojax.sweep(build, step_size=[0.01, 0.05], num_steps=40, every=20)
    frame = runs.to_pandas()
    assert frame.index.names == ["step_size", "step"]
    assert float(frame.loc[(0.05, 40), "cost"]) == float(runs.solution.trace.cost[1, 1])
    assert list(runs.to_xarray().node.values) == NAMES
    with pytest.raises(cojax.CojaxInputError, match=r"Solution.to_pandas needs the solution of one run, got one of"):
        runs.solution.to_pandas()
    optimum = cojax.reference(PROBLEM, START.params[0])
    course = cojax.compare(PROBLEM, NETWORK, {"both": METHOD}, START, optimum=optimum, num_steps=40, every=20)["both"]
    assert list(course.to_pandas().index) == [0, 20, 40]
    np.testing.assert_array_equal(course.to_xarray().learn_gap.sel(step=40), course.learn_gap[2])


@pytest.mark.parametrize("missing", ["pandas", "xarray", "tqdm.auto"])
def test_a_missing_package_is_named_with_its_extra(solution, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == missing:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, missing, raising=False)
    asked = {
        "pandas": solution.to_pandas,
        "xarray": solution.to_xarray,
        "tqdm.auto": lambda: cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=20, progress=True),
    }[missing]
    with pytest.raises(cojax.CojaxInputError, match=r"pip install 'cojax\[(store|cli)\]'"):
        asked()


def test_a_bar_and_a_checkpoint_change_no_bit(solution, tmp_path, capsys):
    kept = tmp_path / "run.npz"
    seen = cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=60, every=20, progress=True)
    saved = cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=60, every=20, checkpoint=kept)
    again = cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=60, every=20, checkpoint=kept)
    for run in (seen, saved, again):
        jax.tree.map(np.testing.assert_array_equal, run, solution)
    assert "60/60" in capsys.readouterr().err


def test_a_run_to_a_tolerance_shows_a_bar_and_ends_as_without(capsys):
    ends = {"tolerance": 1e-3, "max_steps": 2000, "every": 100}
    seen, unseen = (cojax.solve_to(PROBLEM, NETWORK, METHOD, START, **ends, progress=shown) for shown in (True, False))
    jax.tree.map(np.testing.assert_array_equal, seen, unseen)
    assert f"{int(seen.state.step)}/2000" in capsys.readouterr().err


def test_a_bar_under_jit_is_refused():
    with pytest.raises(cojax.CojaxInputError, match="outside of jit, vmap and grad"):
        jax.jit(lambda: cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=20, progress=True))()
    with pytest.raises(cojax.CojaxInputError, match="num_steps to be a multiple of every, got 50 and 20"):
        cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=50, every=20, progress=True)


@pytest.mark.parametrize("samples", [False, True])
def test_a_sharded_network_wants_the_sharded_problem_and_the_reverse(samples):
    size = 60
    graph = nx.random_geometric_graph(size, 0.3, seed=3)
    data = jnp.asarray(np.random.default_rng(0).normal(size=(size, 4, 2)))

    def cost(x, data):
        return ((x.params[None] - data) ** 2).sum() + data[0, 0] ** 2 * x.cpu**2 + x.cpu**2

    problem = cojax.Problem(cost, data, budget=float(size))
    start, network = problem.start(params=np.zeros((size, 2))), cojax.network(graph, layout="neighbors")
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "x")
    shards = cojax.shard(problem, network, start, mesh)
    assert shards.network.is_reordered, "without another order there would be nothing to refuse"
    whole, cut = problem, shards.problem
    if samples:
        pick = lambda data: data  # noqa: E731
        whole, cut = (cojax.Minibatch(each, 2, samples=pick) for each in (whole, cut))
    with pytest.raises(cojax.CojaxInputError, match="their nodes are in different orders"):
        cojax.solve(whole, shards.network, METHOD, shards.start, num_steps=2)
    with pytest.raises(cojax.CojaxInputError, match="their nodes are in different orders"):
        cojax.solve(cut, network, METHOD, start, num_steps=2)
    cojax.solve(cut, shards.network, METHOD, shards.start, num_steps=2)
    cojax.solve(whole, network, METHOD, start, num_steps=2)


def test_a_negative_budget_over_bounds_of_zero_is_refused():
    with pytest.raises(cojax.CojaxInputError, match="budget >= sum of lower, got -1"):
        cojax.Problem(lambda x, data: x.cpu**2, jnp.ones(3), budget=-1.0, lower=0.0)


def test_a_certificate_of_many_runs_prints_too():
    many = jax.vmap(lambda budget: cojax.certificate(PROBLEM, START)._replace(gap=budget))(jnp.arange(3.0))
    assert repr(many).startswith("Certificate(")
    print(many, file=io.StringIO())


def test_the_mean_cost_is_that_of_the_mean_model():
    run = cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=3, every=1)
    mean = np.broadcast_to(np.asarray(run.x.params).mean(0), run.x.params.shape)
    # By the plain formula, node by node.
    cost = 0.0
    for row, cpu in enumerate(run.x.cpu):
        own = [leaf[row] for leaf in jax.tree.leaves(PROBLEM.data)]
        data = jax.tree.unflatten(jax.tree.structure(PROBLEM.data), own)
        cost += float(PROBLEM.cost(cojax.Decision(mean[row], cpu), data))
    np.testing.assert_allclose(run.trace.mean_cost[-1], cost, rtol=1e-12)
    assert float(run.trace.mean_cost[-1]) != float(run.trace.cost[-1])


def test_a_table_of_pandas_keeps_the_names_of_its_columns():
    import pandas

    table = pandas.DataFrame({"price": [1.0, 2.0, 3.0], "need": [1, 1, 2]}, index=["a", "b", "c"])
    problem = cojax.Problem(lambda x, data: data["price"] * x.cpu**2, {"table": table}["table"], budget=3.0)
    np.testing.assert_allclose(cojax.allocate(problem).cpu, 3 * np.array([6, 3, 2]) / 11, rtol=1e-6)


def test_weights_of_a_networkx_graph_that_are_not_used_are_said():
    graph = nx.cycle_graph(4)
    nx.set_edge_attributes(graph, {edge: 0.1 + row for row, edge in enumerate(graph.edges)}, "weight")
    with pytest.warns(
        UserWarning, match=r"the edge attribute `weight` of the graph is not used.*to_scipy_sparse_array"
    ):
        cojax.network(graph)
    nx.set_edge_attributes(graph, 1.0, "weight")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cojax.network(graph)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: laws.unchecked(cojax.solve)(PROBLEM, NETWORK, METHOD, START, num_steps=2, progress="yes"),
            "progress to be True or",
        ),
        (lambda: cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=2, checkpoint="/"), "cannot be written, it is"),
        (
            lambda: jax.jit(lambda: cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=2).to_pandas().shape)(),
            "Solution.to_pandas needs numbers, got traced arrays",
        ),
        (lambda: cojax.replicate("model", 3), "replicate needs real numbers for params"),
        (lambda: cojax.replicate(jnp.zeros(2), 0), "num_nodes >= 1, got 0"),
        (lambda: cojax.DIGing(), "DIGing needs a step_size, such as 0.05, or a transform"),
        (lambda: cojax.plots.stacked(np.zeros((0, 2))), "needs shares (h, n) >= 0, got shape (0, 2)"),
        (lambda: cojax.plots.stacked([[1.0, 2.0]], dates=["x"]), "needs dates as datetime64 has them"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(call, said):
    with pytest.raises(cojax.CojaxInputError) as caught:
        call()
    assert said in str(caught.value) and "\n" not in str(caught.value)
