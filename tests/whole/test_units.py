"""The unit of money, CPU or target changes no verdict, status, count of steps, or table."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cojax
from cojax import CojaxInputError, Decision
from cojax.app.cases import cases
from cojax.app.plans.plans import read_plan
from cojax.app.reports import words
from cojax.app.results import runs
from cojax.optimum.certificates import relative
from cojax.plots.bounds import at_bounds
from cojax.problems.costs import LeastSquares, Price, Samples, Separable
from cojax.rivals import compare as comparisons

SIZE, NUM_SAMPLES, WIDTH = 5, 12, 3
SEEDS, UNITS, POWERS = st.integers(0, 10**6), st.sampled_from(["money", "cpu", "target"]), st.integers(-40, 40)
DTYPES = st.sampled_from([np.float32, np.float64])
COST = Separable(LeastSquares(), Price())
judged = jax.jit(cojax.certificate)


def allocated(price, curvature, lower, upper, budget):
    """argmin of price x + curvature x^2 / 2, by bisection for the price in NumPy."""
    low, high = -1e3, 1e3
    for _ in range(200):
        level = (low + high) / 2
        wanted = np.clip((level - price) / curvature, lower, upper).sum()
        low, high = (level, high) if wanted < budget else (low, level)
    return np.clip((high - price) / curvature, lower, upper)


class Drawn:
    """A problem of both halves in units of 2 to these powers, and a decision as far from its optimum as `off`."""

    def __init__(self, seed, dtype=np.float64, *, off=None, money=0, cpu=0, target=0):
        random = np.random.default_rng(seed)
        features = random.normal(size=(SIZE, NUM_SAMPLES, WIDTH))
        # In every second problem a model fits all samples: there all gradients vanish at the optimum.
        targets = features @ random.normal(size=WIDTH)
        targets = targets + random.choice([0.0, 0.3]) * random.normal(size=(SIZE, NUM_SAMPLES))
        price, curvature = random.uniform(-1, 3, SIZE), 10.0 ** random.uniform(-2, 1, SIZE)
        lower, upper = np.zeros(SIZE), random.choice([np.inf, 1.0, 3.0], SIZE)
        budget = float(np.minimum(upper, 2.0).sum() * random.uniform(0.3, 0.95))
        self.shares = allocated(price, curvature, lower, upper, budget)
        self.params = np.linalg.lstsq(features.reshape(-1, WIDTH), targets.ravel(), rcond=None)[0]
        off = 10.0 ** random.uniform(-9, 1) if off is None else off
        move = off * random.normal(size=SIZE)
        shares = self.shares + move - random.choice([0.0, 1.0]) * move.mean()
        params = self.params + off * random.normal(size=(SIZE, WIDTH)) * random.choice([0.0, 1.0])

        def scaled(values, power):
            return np.asarray(values, dtype) * np.asarray(2.0**power, dtype)

        weights = scaled(np.ones((SIZE, NUM_SAMPLES)), money - 2 * target)
        samples = Samples(*(jnp.asarray(part) for part in (features.astype(dtype), scaled(targets, target), weights)))
        data = samples, (scaled(price, money - cpu), scaled(curvature, money - 2 * cpu))
        lower, upper = scaled(lower, cpu), scaled(upper, cpu)
        self.problem = cojax.Problem(COST, data, scaled(budget, cpu), lower=lower, upper=upper)
        self.x = Decision(jnp.asarray(scaled(params, target)), jnp.asarray(scaled(shares, cpu)))
        self.start = jnp.zeros((SIZE, WIDTH), dtype)


@settings(max_examples=25, deadline=None)
@given(SEEDS, UNITS, POWERS, DTYPES)
def test_what_a_certificate_compares_is_the_same_in_every_unit(seed, unit, power, dtype):
    here, there = Drawn(seed, dtype), Drawn(seed, dtype, **{unit: power})
    ours, theirs = (relative(judged(drawn.problem, drawn.x)) for drawn in (here, there))
    ours, theirs = ({name: float(error) for name, error in errors.items()} for errors in (ours, theirs))
    # Powers of two leave no rounding; the search of the best shares stops within it.
    for name in ("stationarity", "gap"):
        ours_here, theirs_here = ours.pop(name), theirs.pop(name)
        assert dtype is np.float32 or theirs_here == pytest.approx(ours_here, rel=1e-9)
    # The gap of the model is measured along eigenvectors, by roots of curvatures.
    assert theirs.pop("model_gap") == pytest.approx(ours.pop("model_gap"), rel=1e-2 if dtype is np.float32 else 1e-9)
    assert ours == theirs


@settings(max_examples=25, deadline=None)
@given(SEEDS, UNITS, POWERS)
def test_an_even_split_and_an_untrained_model_are_never_certified_however_small_their_unit(seed, unit, power):
    there = Drawn(seed, **{unit: power})
    assert not cojax.is_certified(judged(there.problem, there.problem.start(there.start)), 1e-4)


@settings(max_examples=15, deadline=None)
@given(SEEDS, UNITS, POWERS)
def test_what_is_optimal_is_certified_in_every_unit(seed, unit, power):
    there = Drawn(seed, off=0.0, **{unit: power})
    assert cojax.is_certified(judged(there.problem, there.x), 1e-9)


def far(x, data):
    """Weighted distances from a demand."""
    weight, demand = data
    return weight * (x.cpu - demand) ** 2 / 2


def errors(x, data):
    features, targets = data
    return jnp.mean((features @ x.params - targets) ** 2)


def centred(x, data):
    return jnp.sum((x.params - data) ** 2)


def vanishing(name, unit, dtype) -> cojax.Problem:
    """Problems at whose optimum a size of the decision's own is 0: a price, all costs, all gradients, all params."""
    random = np.random.default_rng(3)
    weight, demand = 10.0 ** random.uniform(-2, 2, SIZE), random.uniform(1, 5, SIZE)
    features = random.normal(size=(SIZE, NUM_SAMPLES, WIDTH))
    match name:
        case "every demand is met":
            parts = weight, demand * unit, demand.sum() * unit
            weight, demand, budget = (np.asarray(part, dtype) for part in parts)
            return cojax.Problem(far, (weight, demand), budget)
        case "all want the same":
            same = np.ones(SIZE, dtype), np.full(SIZE, 0.1 * unit, dtype)
            return cojax.Problem(far, same, np.asarray(0.1 * SIZE * unit, dtype))
        case "every sample is fitted":
            targets = features @ np.array([1.0, -2.0, 3.0]) * unit
            return cojax.Problem(errors, (features.astype(dtype), targets.astype(dtype)))
        case _:
            return cojax.Problem(centred, ((demand - demand.mean())[:, None] * unit).astype(dtype))


VANISHING = ["every demand is met", "all want the same", "every sample is fitted", "the best params are 0"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", VANISHING)
def test_an_optimum_of_size_0_is_certified_and_one_that_is_off_is_not(name, dtype):
    tolerance = 1e-10 if dtype is np.float64 else 1e-4
    for unit in (1.0, 2.0**-30):
        problem = vanishing(name, unit, dtype)
        width = {"every sample is fitted": WIDTH, "the best params are 0": 1}.get(name)
        first = None if width is None else jnp.ones(width, dtype)
        best = cojax.reference(problem, first)
        assert cojax.is_certified(best.certificate, tolerance)
        if width is not None:  # nor does a start that is the optimum hide it
            again = cojax.reference(problem, best.params)
            assert cojax.is_certified(again.certificate, tolerance)
        alternating = jnp.asarray((-1.0) ** np.arange(SIZE) * 1e-2 * unit, dtype)
        moves = (best.x.cpu, alternating - alternating.mean()) if width is None else (best.x.params, 1e-2 * unit)
        off = best.x._replace(**{"cpu" if width is None else "params": moves[0] + jnp.asarray(moves[1], dtype)})
        assert not cojax.is_certified(judged(problem, off), tolerance)


def test_where_nothing_has_a_size_only_0_is_small():
    problem = cojax.Problem(lambda x, data: data * jnp.sum(x.params**2), np.ones(SIZE))
    assert cojax.is_certified(judged(problem, Decision(jnp.zeros((SIZE, 2)))), 1e-10)
    assert not cojax.is_certified(judged(problem, Decision(jnp.full((SIZE, 2), 1e-30))), 1e-3)


NETWORK = cojax.network(nx.path_graph(SIZE))


def residual(problem, x, state):
    return state.progress.residual


def ended(drawn):
    """How `solve_to` ends, after how many steps, and how far `solve` would have called it off at every look."""
    start = drawn.problem.start(drawn.start)
    learn, allocate = (cojax.tuned(kind, drawn.problem, NETWORK, start) for kind in (cojax.DIGing, cojax.Laplacian))
    tolerance = 1e-6 if drawn.start.dtype == np.float64 else 1e-3
    settings = {"tolerance": tolerance, "max_steps": 600, "every": 20, "record": residual}
    run = cojax.solve_to(drawn.problem, NETWORK, cojax.CoOpt(learn, allocate), start, **settings)
    return int(run.status), int(run.state.step), run.trace.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_run_takes_the_same_steps_and_ends_the_same_in_every_unit(dtype):
    here = ended(Drawn(5, dtype))
    for unit, power in (("money", -40), ("cpu", 33), ("cpu", -40), ("target", -27)):
        assert ended(Drawn(5, dtype, **{unit: power})) == here, unit


@pytest.mark.parametrize("name", ["every demand is met", "every sample is fitted"])
def test_a_run_whose_sizes_vanish_converges_at_the_same_look_in_every_unit(name):
    traces = []
    for unit in (2.0**-30, 2.0**30):
        problem = vanishing(name, unit, np.float64)
        learns = problem.budget is None
        start = problem.start(jnp.zeros((SIZE, WIDTH)) if learns else None)
        tuned = cojax.tuned(cojax.DIGing if learns else cojax.Nesterov, problem, NETWORK, start)
        method = cojax.CoOpt(learn=tuned) if learns else cojax.CoOpt(allocate=tuned)
        run = cojax.solve(problem, NETWORK, method, start, num_steps=4000, every=40, record=residual)
        assert cojax.Status(int(run.status)) is cojax.Status.CONVERGED
        assert cojax.is_certified(judged(problem, run.x), 1e-7)
        traces.append(run.trace.tolist())
    assert traces[0] == traces[1]


@settings(max_examples=40, deadline=None)
@given(SEEDS, POWERS, DTYPES, st.sampled_from(["lower", "upper"]))
def test_budgets_that_no_shares_within_the_bounds_sum_to_are_refused_in_every_unit(seed, power, dtype, side):
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 30))
    bound = (random.choice([-1.0, 1.0]) * random.uniform(0.1, 3, size)).astype(dtype) * dtype(2.0**power)
    total, off = bound.astype(np.float64).sum(), 1 if side == "upper" else -1

    def made(budget):
        return cojax.Problem(centred, np.ones(size), np.asarray(budget, dtype), **{side: bound})

    made(total)
    made(total - off * 0.1 * abs(total))
    for more in (1e-3, 1.0, 30.0):
        with pytest.raises(CojaxInputError, match=f"sum of {side}"):
            made(total + off * more * abs(total))


def test_whether_a_budget_was_kept_is_told_in_its_own_unit():
    def kept(unit, off):
        steps, gap, none = np.arange(2), np.array([1.0, 1e-7]), np.zeros(2)
        course = comparisons.Course(steps, 8.0 * steps, gap, gap, none, np.array([0.0, off * unit]), none, 1e-6)
        return comparisons.table({"it": course}, "share", 60.0 * unit)[1][-2]

    for unit in (1.0, 1e-9, 1e9):
        assert kept(unit, 1e-6) == "no" and kept(unit, 1e-12) == kept(unit, 0.0) == "yes"
    assert comparisons.table({}, "share", 1.0)[0][-2] == "all-time feasible (total)"


@settings(max_examples=40, deadline=None)
@given(SEEDS, POWERS)
def test_who_is_at_a_bound_does_not_depend_on_the_unit(seed, power):
    random = np.random.default_rng(seed)
    lower, room = random.uniform(-1, 1, 20), 10.0 ** random.uniform(-2, 2, 20)
    upper = lower + np.where(random.random(20) < 0.2, np.inf, room)
    place = random.choice([0.0, 1e-9, 0.5, 1.0], 20)
    cpu = lower + place * np.where(np.isinf(upper), room, upper - lower)
    here = at_bounds(cpu, lower, upper, 1e-7)
    there = at_bounds(2.0**power * cpu, 2.0**power * lower, 2.0**power * upper, 1e-7)
    np.testing.assert_array_equal(here, there)
    np.testing.assert_array_equal(here[0], place <= 1e-9)
    np.testing.assert_array_equal(here[1], (place == 1.0) & np.isfinite(upper))


PLAN = """steps = {steps}
every = {every}
tolerance = {tolerance}
[nodes]
price = {price}
curvature = {curvature}
upper = [30.0, 40.0, 50.0, 20.0]
[cpu]
budget = 60.0
[graph]
name = "path"
"""


def planned(folder, *, unit=1.0, steps=20_000, every=50, tolerance=1e-4):
    """What a plan comes to that goes on from where the last one in this folder ended."""
    price, curvature = ([value * unit for value in row] for row in ([0.05, 0.2, 0.9, 0.4], [0.02, 0.03, 0.01, 0.05]))
    plan = folder / "plan.toml"
    plan.write_text(PLAN.format(steps=steps, every=every, tolerance=tolerance, price=price, curvature=curvature))
    return runs.run(cases.build_case(read_plan(plan)), checkpoint=folder / "checkpoint.npz")


def test_a_plan_in_a_small_unit_of_money_is_certified_no_sooner(tmp_path):
    found = []
    for unit in (1.0, 2.0**-40):
        (tmp_path / f"{unit}").mkdir()
        found.append(planned(tmp_path / f"{unit}", unit=unit, steps=2, every=2))
    assert not found[0].certified and not found[1].certified
    assert found[0].run_certificate["worst"] == found[1].run_certificate["worst"] > 1e-2
    np.testing.assert_array_equal(words.at_bounds(found[0]), words.at_bounds(found[1]))


def test_a_plan_goes_on_until_its_certificate_keeps_the_tolerance(tmp_path):
    # Half of the digits of float64 are 1.5e-8: what is settled there is not within every tolerance.
    first = planned(tmp_path, tolerance=1e-12, steps=1000)
    assert not first.certified and first.status not in ("CONVERGED", "STALLED")
    rest = planned(tmp_path, tolerance=1e-12)
    assert rest.certified and rest.status == "CONVERGED" and rest.run_certificate["worst"] <= 1e-12
    assert 1000 < rest.trace.step[-1] < 20_000
    # What rounding keeps from the tolerance is not called converged.
    last = planned(tmp_path, tolerance=2e-14, steps=5000)
    assert last.certified == (last.status == "CONVERGED")


def test_a_plan_with_a_tolerance_that_no_float_reaches_is_refused(tmp_path):
    with pytest.raises(CojaxInputError, match=r"^\$.tolerance needs .* in float64 can reach, >= 1.4e-14, got 1e-15"):
        planned(tmp_path, tolerance=1e-15)
