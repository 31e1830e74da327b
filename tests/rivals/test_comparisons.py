"""Methods are compared from one start, by one optimum, over steps and over bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax
from cojax.rivals import compare as comparisons

PROBLEM = laws.quadratic()
START = laws.start_of(PROBLEM)
LINK = cojax.Innovation(cojax.AdaptiveQuantizer(2), memory="edge")
METHODS = {
    "exact": cojax.CoOpt(cojax.DIGing(0.03, mixing=0.5), cojax.Laplacian(0.2)),
    "biased": cojax.CoOpt(cojax.DGD(0.05), cojax.MomentumFlow(0.1, 0.3)),
}


@pytest.fixture(scope="module")
def courses():
    network = cojax.Lossy(cojax.network(laws.switching_graphs(), link=LINK), 0.3, key=4)
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    return cojax.compare(PROBLEM, network, METHODS, START, optimum=best, num_steps=2000, every=20)


def test_gaps_start_at_one_and_those_of_an_exact_pair_end_at_nothing(courses):
    course = courses["exact"]
    assert course.learn_gap[0] == course.share_gap[0] == 1.0
    assert course.learn_gap[-1] < 1e-12 and course.share_gap[-1] < 1e-12
    assert courses["biased"].learn_gap[-1] > 1e-6


def test_the_first_gap_is_that_of_the_start_by_linear_algebra(courses):
    _, cpu, _ = laws.optimum(PROBLEM)
    curvature = np.asarray(PROBLEM.data[2])
    start_gap = 0.5 * (curvature * (np.asarray(START.cpu) - cpu) ** 2).sum()
    network, length = cojax.network(laws.ring_with_chords()), dict(num_steps=20, every=20)
    one = cojax.solve(PROBLEM, network, METHODS["exact"], START, **length, record=laws.nothing)
    end_gap = 0.5 * (curvature * (np.asarray(one.x.cpu) - cpu) ** 2).sum()
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    field = {"exact": METHODS["exact"]}
    course = cojax.compare(PROBLEM, network, field, START, optimum=best, **length)["exact"]
    np.testing.assert_allclose(course.share_gap[1], end_gap / start_gap, rtol=1e-9)


def test_bits_and_feasibility_are_those_of_the_run(courses):
    # 3 params, 3 trackers and 1 price of 2 bits each, told once before the first step; DGD tells no tracker.
    assert courses["exact"].bits[-1] == 2001 * 7 * 2
    assert courses["biased"].bits[-1] == 2001 * 4 * 2
    assert courses["exact"].imbalance.max() == 0.0
    assert 0 < courses["biased"].imbalance.max() < 1e-12


def test_a_gap_is_reached_only_when_it_is_kept():
    gap = np.asarray([1.0, 1e-3, 0.5, 1e-3, 1e-4])
    assert comparisons.first_row_at(gap, 1e-2) == 3
    assert comparisons.first_row_at(gap, 1e-5) is None
    assert comparisons.first_row_at(np.asarray([1.0, np.nan]), 1e-2) is None


def test_the_table_has_a_row_per_method_and_says_what_was_kept(courses):
    header, exact, biased = comparisons.table(courses, "share", 16.0)
    assert [exact[0], biased[0]] == ["exact", "biased"]
    assert exact[header.index("total off")] == "0.0e+00"
    assert exact[header.index("all-time feasible (total)")] == "yes"
    row = comparisons.first_row_at(courses["exact"].share_gap, 1e-6)
    assert exact[header.index("steps to 1e-6")] == str(courses["exact"].step[row])
    assert len(set(map(len, comparisons.text_table([header, exact, biased]).splitlines()))) == 1


def test_a_budget_of_messages_ends_every_course_at_the_last_look_within_it():
    network = cojax.network(laws.ring_with_chords())
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    d_admm = cojax.rivals.rival("d_admm", PROBLEM, network, START)
    field = {"model": cojax.CoOpt(learn=cojax.NIDS(0.1)), "d_admm": d_admm}
    settings = {"optimum": best, "num_steps": 60, "every": 2}
    whole = cojax.compare(PROBLEM, network, field, START, **settings)
    cut = cojax.compare(PROBLEM, network, field, START, **settings, bits=4000.0)
    # 3 numbers of 64 bits a step, told once before the first one by a method, and after each by a rival's own loop.
    assert cut["model"].bits[-1] == (1 + 18) * 192 and cut["d_admm"].bits[-1] == 20 * 192
    for name, course in cut.items():
        np.testing.assert_array_equal(course.learn_gap, whole[name].learn_gap[: course.step.size])


def test_a_rival_is_judged_as_a_method_is():
    network = cojax.network(laws.ring_with_chords())
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    field = {name: cojax.rivals.rival(name, PROBLEM, network, START) for name in ("d_admm", "mirror_extra")}
    courses = cojax.compare(PROBLEM, network, field, START, optimum=best, num_steps=300, every=3)
    assert courses["d_admm"].learn_gap[0] == 1.0 and courses["d_admm"].learn_gap[-1] < 1e-12
    assert courses["d_admm"].share_gap[-1] == pytest.approx(1.0, rel=1e-12)  # the half that it does not decide
    shares = np.asarray(field["mirror_extra"].run(PROBLEM, network, START, 300))
    off = np.abs(shares.sum(1) - 16.0)
    assert courses["mirror_extra"].imbalance.max() == pytest.approx(off.max(), rel=1e-12)
    header, _, mirrored = comparisons.table(courses, "share", 16.0)
    assert mirrored[header.index("all-time feasible (total)")] == "no"
    row = comparisons.first_row_at(courses["mirror_extra"].share_gap, 1e-2)
    seconds = courses["mirror_extra"].step[row] * courses["mirror_extra"].seconds_per_step
    assert float(mirrored[header.index("s to 1e-2")]) == pytest.approx(seconds, rel=0.06)


def test_what_is_no_budget_and_no_number_of_steps_is_refused():
    network = cojax.network(laws.ring_with_chords())
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    for settings, message in (
        ({"num_steps": 3, "every": 2}, "compare needs num_steps to be a multiple of every, got 3 and 2"),
        ({"num_steps": 2, "bits": -1.0}, "compare needs bits >= 0, got -1"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            cojax.compare(PROBLEM, network, METHODS, START, optimum=best, **settings)


def test_what_is_no_comparison_is_refused_in_a_sentence():
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    given = {"problem": PROBLEM, "network": cojax.network(laws.ring_with_chords()), "methods": METHODS, "start": START}
    for change, message in (
        ({"methods": {}}, r"compare needs methods by name, at least one method, got dict \{\}"),
        ({"methods": list(METHODS.values())}, "compare needs methods by name, at least one method, got list"),
        ({"network": None}, "compare needs a cojax Network for network, got NoneType"),
        ({"start": None}, "compare needs a cojax Decision for start, got NoneType"),
        ({"optimum": best.x}, "compare needs a cojax Reference for optimum, got Decision"),
        ({"problem": None}, "compare needs a plain Problem"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            laws.unchecked(cojax.compare)(**given | {"optimum": best, "num_steps": 1} | change)


SEEDS = (5, 0, 9)


@pytest.fixture(scope="module")
def drawn():
    network = cojax.Lossy(cojax.network(laws.switching_graphs(), link=LINK), 0.3, key=4)
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    tracking = cojax.rivals.rival("dual_gradient_tracking", PROBLEM, network, START)
    settings = {"optimum": best, "num_steps": 60, "every": 4}
    field = METHODS | {"tracking": tracking}
    return network, field, settings, cojax.compare(PROBLEM, network, field, START, **settings, seeds=SEEDS)


def test_the_course_of_a_seed_is_that_of_a_network_with_its_draws(drawn):
    _, field, settings, courses = drawn
    for place, seed in enumerate(SEEDS):
        key = jax.random.fold_in(jax.random.key(4), seed)  # as documented, without our own function
        other = cojax.Lossy(cojax.network(laws.switching_graphs(), link=LINK), 0.3, key=key)
        alone = cojax.compare(PROBLEM, other, field, START, **settings)
        for name, course in courses.items():
            np.testing.assert_array_equal(course.step, alone[name].step)
            for what in ("bits", "share_gap", "learn_gap", "imbalance", "disagreement"):
                rows, wanted = getattr(course, what), getattr(alone[name], what)
                assert rows.shape == (3, 16)
                np.testing.assert_allclose(rows[place], wanted, rtol=1e-9, atol=1e-14)
    assert len(set(courses["exact"].share_gap[:, 5])) == 3  # and the draws are not alike


def test_the_table_of_seeds_tells_their_median_and_the_worst_total(drawn):
    courses = drawn[3]
    header, exact, *_ = comparisons.table(courses, "share", 16.0)
    gaps = courses["exact"].share_gap
    first = [next(row for row in range(16) if (gap[row:] <= 1e-2).all()) for gap in gaps]
    assert exact[header.index("steps to 1e-2")] == str(4 * sorted(first)[1])
    assert exact[header.index("final gap")] == f"{sorted(gaps[:, -1])[1]:.1e}"
    assert exact[header.index("total off")] == f"{courses['exact'].imbalance.max():.1e}"


def test_courses_of_seeds_are_tables_and_datasets_by_seed(drawn):
    course = drawn[3]["exact"]
    table, labelled = course.to_pandas(), course.to_xarray()
    assert table.query("seed == 9 and step == 8")["share_gap"].item() == course.share_gap[2, 2]
    assert labelled.share_gap.sel(seed=9, step=8).item() == course.share_gap[2, 2]


def test_seeds_end_within_a_budget_of_messages_all_of_them(drawn):
    network, field, settings, courses = drawn
    most = float(np.median(courses["exact"].bits[:, 8]))
    cut = cojax.compare(PROBLEM, network, {"exact": field["exact"]}, START, **settings, seeds=SEEDS, bits=most)
    rows = cut["exact"].step.size
    assert (cut["exact"].bits <= most).all() and (courses["exact"].bits[:, rows] > most).any()


def test_seeds_that_would_change_nothing_and_what_are_no_seeds_are_refused(drawn):
    network, _, settings, _ = drawn
    fixed = cojax.network(laws.ring_with_chords())
    for given, seeds, message in (
        (fixed, range(3), "compare needs a network that draws something where it is given seeds"),
        (network, [], r"compare needs seeds to be a list of whole numbers, range\(10\) say, got \[\]"),
        (network, 3, "compare needs seeds to be a list of whole numbers"),
        (network, [0, -1], "compare needs a whole number seeds from 0 to 4294967295, got -1"),
        (network, [0.5], "seeds"),
        (network, [1, 1], "compare needs seeds that differ"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            laws.unchecked(cojax.compare)(PROBLEM, given, METHODS, START, **settings, seeds=seeds)


def test_a_clock_makes_seconds_those_of_the_network_for_methods_and_rivals():
    network = cojax.Lossy(cojax.network(laws.switching_graphs(), layout="dense"), 0.3, key=4)
    timed = cojax.Timed(network, cojax.Clock(work=2.0, share=1.0, latency=0.5, bandwidth=1e3))
    best = cojax.reference(PROBLEM.softened(), jnp.zeros(3))
    field = {
        "exact": METHODS["exact"],
        "tracking": cojax.rivals.rival("dual_gradient_tracking", PROBLEM, network, START),
    }
    settings = {"optimum": best, "num_steps": 12, "every": 3}
    courses = cojax.compare(PROBLEM, timed, field, START, **settings)
    for name, numbers in (("exact", 7), ("tracking", field["tracking"].bits / 64)):
        # All links take as long, so that every node that hears another in a round waits for its message.
        delay, clock = 0.5 + 64 * numbers / 1e3, np.full(8, 2.0)
        wanted = [0.0]
        for k in range(12):
            up = np.asarray(network.at(k).weights) != 0
            clock = np.maximum(clock, np.where(up, clock[None] + delay, 0.0).max(1)) + 2.0
            wanted += [clock.max()] if k % 3 == 2 else []
        np.testing.assert_allclose(courses[name].seconds, wanted, rtol=1e-12)
    assert cojax.compare(PROBLEM, network, METHODS, START, **settings)["exact"].seconds is None
    header, exact, _ = comparisons.table(courses, "share", 16.0)
    row = comparisons.first_row_at(courses["exact"].share_gap, 1e-2)
    assert exact[header.index("s to 1e-2")] == ("-" if row is None else f"{courses['exact'].seconds[row]:.3g}")
    many = cojax.compare(PROBLEM, timed, field, START, **settings, seeds=(1, 2))
    assert many["exact"].seconds.shape == many["tracking"].seconds.shape == (2, 5)
    assert courses["exact"].to_pandas()["seconds"].iloc[-1] == courses["exact"].seconds[-1]
