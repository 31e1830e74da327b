"""Runs judged by the clock: seconds to a gap, and the gap at a deadline, of the trace; and slopes are differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import laws

import cojax
from cojax.tuning import Deadline, Looks, Seconds
from cojax.tuning.ensembles import Instance, RunPlan, course_of

N, STEPS, EVERY = laws.NUM_NODES, 60, 4


def problem_of(seed):
    """That of `laws.quadratic` with demands at which no share comes near 0, where work would never end."""
    problem = laws.quadratic(seed=seed)
    demand = np.random.default_rng(seed).uniform(2.0, 4.0, N)
    return cojax.Problem(laws.cost, (*problem.data[:3], demand), budget=3.0 * N)


PROBLEMS = [problem_of(seed) for seed in range(3)]
STARTS = [laws.start_of(problem, seed=10 + seed) for seed, problem in enumerate(PROBLEMS)]
NETWORK = cojax.network(laws.ring_with_chords())
LOSSY = cojax.Lossy(NETWORK, 0.1, key=3)
PLAN = RunPlan(STEPS, EVERY, None, cojax.tuning.distances)


def best(problem):
    """The optimum of `problem_of` by linear algebra."""
    params, cpu, _ = laws.optimum(problem)
    return cojax.Decision(jnp.broadcast_to(jnp.asarray(params), (N, laws.DIM)), jnp.asarray(cpu))


OPTIMA = [best(problem) for problem in PROBLEMS]


def method_of(step_size):
    return cojax.CoOpt(cojax.DIGing(step_size), cojax.Laplacian(2 * step_size))


def timed(network, speed=2.0):
    """No two nodes work alike, and they do it with the shares of the run, which change."""
    return cojax.Timed(network, cojax.Clock(jnp.linspace(1.0, 3.0, N), speed, latency=0.05, bandwidth=2e4))


@jax.jit
def course_at(step_size, speed):
    instance = Instance(PROBLEMS[0], STARTS[0], OPTIMA[0], jnp.asarray(0))
    return course_of(PLAN, timed(NETWORK, speed), method_of(step_size), instance)


def looks(network, method, number):
    """Gaps of both halves over those at the start and the clock's seconds, the start first, by NumPy from decisions."""

    def record(problem, x, state):
        return x, cojax.records.standard(problem, x, state).seconds

    xs, seconds = cojax.solve(
        PROBLEMS[number], network, method, STARTS[number], num_steps=STEPS, every=EVERY, record=record
    ).trace
    gaps = []
    for half, start, goal in zip(xs, STARTS[number], OPTIMA[number], strict=True):
        off = ((np.asarray(half) - np.asarray(goal)) ** 2).reshape(len(seconds), -1).sum(1)
        gaps.append(np.concatenate([[1.0], off / ((np.asarray(start) - np.asarray(goal)) ** 2).sum()]))
    return np.stack(gaps, axis=1), np.concatenate([[0.0], seconds])


def seconds_to(target, gaps, seconds):
    """Where the larger gap comes to stay at the target: on the straight line between two looks, or beyond the last."""
    decades = np.log10(np.maximum(gaps, 1e-300)).max(1)
    goal = np.log10(target)
    if decades[-1] > goal:
        per_second = max(-decades[-1], 1.0) / seconds[-1]
        return seconds[-1] + (min(decades[-1], 3.0) - goal) / per_second
    k = len(decades) - 1
    while decades[k - 1] <= goal:
        k -= 1
    return np.interp(-goal, -decades[[k - 1, k]], seconds[[k - 1, k]])


def given(*gaps, seconds=(1.0, 3.0, 4.0, 8.0)):
    """A course of these gaps of one half."""
    gap, seconds = jnp.asarray(gaps)[:, None], jnp.asarray(seconds)
    return Looks(gap, seconds, seconds, seconds)


def test_seconds_to_a_gap_are_those_of_the_trace():
    course = course_at(0.08, 2.0)
    gaps, seconds = looks(timed(NETWORK), method_of(0.08), 0)
    assert 1e-3 < gaps[-1].max() < 1e-2  # so that some targets are reached, others missed
    for target in (0.9, 0.5, 0.1, 1e-2, gaps[-1].max(), 1e-3, 1e-12):
        wanted = seconds_to(target, gaps, seconds)
        assert float(Seconds(target).score(course)) == pytest.approx(wanted, rel=1e-9), target
        assert float(Seconds(target).loss(course)) == pytest.approx(np.log10(wanted), abs=1e-9), target


def test_the_gap_at_a_deadline_is_that_of_the_trace():
    course = course_at(0.08, 2.0)
    gaps, seconds = looks(timed(NETWORK), method_of(0.08), 0)
    for deadline in (0.01, *seconds[1:4], *(0.3 * seconds[1:4] + 0.7 * seconds[2:5]), seconds[-1], 1e6):
        wanted = sum(np.interp(deadline, seconds, np.log10(half)) for half in gaps.T)
        for number in (Deadline(deadline).loss(course), Deadline(deadline).score(course)):
            assert float(number) == pytest.approx(wanted, abs=1e-9), deadline


def test_seconds_count_from_when_the_gap_stays_and_a_missed_target_is_carried_on():
    # log10 of the gaps: -1, 1, -1, -3; it stays below from the line between 3 and 4 s on.
    assert float(Seconds(10**-0.5).score(given(1e-1, 1e1, 1e-1, 1e-3))) == pytest.approx(3.75, rel=1e-12)
    # At a mean of 2 decades in 8 s two more take as long; half a decade counts as one; 10^3 is the most, and NaN is it.
    assert float(Seconds(1e-4).score(given(0.5, 1e-3, 1e-1, 1e-2))) == pytest.approx(16.0, rel=1e-12)
    assert float(Seconds(1e-4).score(given(0.5, 0.5, 0.5, 10**-0.5))) == pytest.approx(8 + 8 * 3.5, rel=1e-12)
    for last in (1e3, 1e9, np.inf, np.nan):
        assert float(Seconds(1e-4).score(given(0.5, 0.5, 0.5, last))) == pytest.approx(8 + 8 * 7, rel=1e-12)
    # A gap of exactly 0 counts as a hundredth of the target.
    crossing = 4.0 + 4.0 * np.log10(0.5 / 1e-4) / np.log10(0.5 / 1e-6)
    assert float(Seconds(1e-4).score(given(0.5, 0.5, 0.5, 0.0))) == pytest.approx(crossing, rel=1e-12)
    slope = jax.grad(lambda gap: Seconds(1e-4).loss(given(0.5, 0.5, 0.5, gap)))
    assert slope(0.9) > 0 and slope(1e-3) > 0 and slope(1e-5) > 0 and slope(90.0) > 0 and slope(1e4) == 0
    # From a look that never comes on nothing is decided any more.
    never = given(0.5, 0.2, 1e-2, 1e-3, seconds=(1.0, 3.0, np.inf, np.inf))
    assert float(Deadline(100.0).score(never)) == pytest.approx(np.log10(0.2), rel=1e-12)
    assert Seconds(1e-2).score(never) == np.inf and Seconds(1e-9).score(never) == np.inf
    assert 1.0 < Seconds(0.3).score(never) < 3.0
    bound = Deadline(8.0, target=1e-2)
    np.testing.assert_allclose(
        [bound.loss(given(0.5, 0.5, 0.5, gap)) for gap in (0.0, np.nan)], [-4.0, 3.0], rtol=1e-12
    )


JUDGED = {  # the run takes 33 s, and its larger gap is 0.003 in the end
    "reached": lambda course: Seconds(1e-2).score(course),
    "missed": lambda course: Seconds(1e-6).score(course),
    "its loss": lambda course: Seconds(1e-2).loss(course),
    "at 3 s": lambda course: Deadline(3.0).loss(course),
    "at 20 s": lambda course: Deadline(20.0).loss(course),
}


@functools.cache
def numbers_and_slopes():
    """Every number of JUDGED, as a function of a step size and a speed, with its derivatives."""

    def numbers(point):
        course = course_at(*point)
        return {name: number(course) for name, number in JUDGED.items()}

    return jax.jit(numbers), jax.jit(jax.jacrev(numbers))


@pytest.mark.parametrize("name", JUDGED)
def test_derivatives_of_both_are_differences(name):
    numbers, slopes = numbers_and_slopes()
    point = np.asarray([0.08, 2.0])
    found = np.asarray(slopes(point)[name])
    assert np.abs(found).min() > 1e-3
    for place in (0, 1):
        move = 1e-6 * point * (np.arange(2) == place)
        slope = float(numbers(point + move)[name] - numbers(point - move)[name]) / (2 * move[place])
        # Shares are counted on a grid, so differences of 1e-6 are right to about 1e-6.
        assert found[place] == pytest.approx(slope, rel=1e-4), place


def test_gradients_of_many_runs_are_those_of_wide_finite_differences():
    for objective in (Seconds(1e-2), Deadline(10.0)):
        check = cojax.gradient_check(
            PROBLEMS, timed(LOSSY), method_of(0.03), STARTS, what=["learn.step_size", "allocate.step_size"],
            num_steps=STEPS, every=EVERY, objective=objective, optima=OPTIMA, num_points=4,
        )  # fmt: skip
        assert check.trusted and check.cosine > 0.99, objective


def test_tuned_by_the_clock_a_run_needs_fewer_seconds():
    network, method = timed(NETWORK), method_of(0.02)
    tuning = cojax.tune(
        PROBLEMS, network, method, STARTS, what=["learn.step_size", "allocate.step_size"], num_steps=STEPS,
        every=EVERY, objective=Seconds(1e-2), optima=OPTIMA, optimizer=optax.adam(0.2), num_updates=10,
    )  # fmt: skip
    assert tuning.after < 0.7 * tuning.before
    # The scores are those of the problem that is held out.
    before, after = (seconds_to(1e-2, *looks(timed(NETWORK), each, 2)) for each in (method, tuning.method))
    np.testing.assert_allclose((tuning.before, tuning.after), (before, after), rtol=1e-9)


def test_what_has_no_clock_or_no_sense_is_refused():
    refused = {
        r"tune needs a network with a clock for Seconds, .* cojax.Timed\(network, cojax.Clock": Seconds(),
        "tune needs a network with a clock for Deadline": Deadline(3.0),
    }
    few = {"what": ["learn.step_size"], "num_steps": 4, "every": 2, "optima": OPTIMA}
    for message, objective in refused.items():
        for verb in (cojax.tune, cojax.gradient_check):
            with pytest.raises(cojax.CojaxInputError, match=message):
                verb(PROBLEMS, NETWORK, method_of(0.02), STARTS, objective=objective, **few)
    for message, make in {
        "Seconds needs target > 0 and target < 1, got 0": lambda: Seconds(0.0),
        "Seconds needs target > 0 and target < 1, got 1": lambda: Seconds(1),
        "Deadline needs seconds > 0, got 0": lambda: Deadline(0),
        "Deadline needs seconds > 0, got -3": lambda: Deadline(-3.0),
        "Deadline needs seconds > 0, got nan": lambda: Deadline(float("nan")),
        "Deadline needs target > 0 and target < 1, got 2": lambda: Deadline(3.0, target=2.0),
    }.items():
        with pytest.raises(cojax.CojaxInputError, match=message):
            make()
