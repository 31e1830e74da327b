"""Ensembles: their statistics beside SciPy and plain loops, and folders that can be killed, resumed and added to."""

import math
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
import scipy.stats
from programs import killed_trials
from support import laws

import cojax
from cojax.rivals import evidence

RANDOM = np.random.default_rng(3)
SETTINGS = {"num_steps": 60, "every": 5}


def made(gaps, bits=None, **more):
    """Trials of these gaps (t, m, c) of the shares, a look a step, or with these bits."""
    num_trials, num_methods, num_looks = gaps.shape
    nothing = np.zeros_like(gaps)
    bits = np.broadcast_to(10.0 * np.arange(num_looks), gaps.shape) if bits is None else bits
    names = tuple("ABCDE"[:num_methods])
    return cojax.Trials(
        names, ("share",), np.arange(num_trials), np.arange(num_looks), bits, nothing, gaps, *[nothing] * 3, **more
    )


def reaching(rows, num_looks=40):
    """Trials (t, m) whose methods reach a gap of 1e-6 at these looks, and never where a row is infinite."""
    return made(np.where(np.arange(num_looks) >= np.asarray(rows, float)[..., None], 1e-9, 1.0))


@pytest.mark.parametrize("count", [1, 5, 6, 7, 20, 101])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_the_interval_of_a_median_is_that_of_scipy_and_as_narrow_as_the_level_allows(count, level):
    values, ranks = np.sort(RANDOM.normal(size=count)), evidence.interval_ranks(count, level)
    sided = {kind: scipy.stats.quantile_test(values, p=0.5, alternative=kind) for kind in ("less", "greater")}
    half = (1 + level) / 2  # SciPy's intervals to one side are those that have half of what is left there
    high = sided["less"].confidence_interval(half).high
    low = sided["greater"].confidence_interval(half).low
    wanted = None if np.isnan(low) or np.isnan(high) else (low, high)
    assert (None if ranks is None else tuple(values[list(ranks)])) == wanted
    if ranks is not None:
        covered = scipy.stats.binom(count, 0.5)
        assert 1 - 2 * covered.cdf(ranks[0]) >= level - 1e-12 > 1 - 2 * covered.cdf(ranks[0] + 1) - 2e-12


def test_the_interval_holds_the_median_of_a_skewed_law_as_often_as_it_says():
    draws = np.sort(RANDOM.exponential(size=(4000, 30)), axis=1)
    low, high = evidence.interval_ranks(30, 0.95)
    share = ((draws[:, low] <= math.log(2)) & (math.log(2) <= draws[:, high])).mean()
    assert 0.95 - 4 * math.sqrt(0.05 * 0.95 / 4000) < share  # four standard deviations of a share


def test_quantiles_are_those_of_numpy_and_infinite_where_that_place_is():
    values = RANDOM.normal(size=(3, 17))
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        wanted = np.quantile(values, part, axis=1, method="inverted_cdf")
        np.testing.assert_array_equal(evidence.order_statistic(values, part), wanted)
    np.testing.assert_array_equal(evidence.middle(values[:, :16]), np.median(values[:, :16], axis=1))
    assert evidence.middle(np.asarray([1.0, 3.0, np.inf])) == 3.0
    assert evidence.middle(np.asarray([1.0, 3.0, np.inf, np.inf])) == np.inf


def test_a_gap_counts_as_reached_where_it_is_kept_and_never_where_a_run_diverges():
    gap = np.asarray([[1.0, 1e-7, 0.5, 1e-7], [1.0, 1e-7, np.nan, np.nan]])
    took = made(gap[None]).taken("bits", 1e-6)
    np.testing.assert_array_equal(took, [[30.0, np.inf]])


def test_a_profile_is_that_of_a_plain_loop_and_counts_who_never_gets_there():
    rows = RANDOM.integers(0, 30, size=(25, 3)).astype(float)
    rows[RANDOM.uniform(size=rows.shape) < 0.2] = np.inf
    rows[4], rows[5] = np.inf, [0.0, 0.0, 7.0]
    found = reaching(rows).profile("steps", 1e-6)
    for place in range(3):
        for factor, share in zip(found.factor, found.share[place], strict=True):
            solved = 0
            for row in rows.tolist():
                best = min(row)
                solved += row[place] < math.inf and (row[place] == best or row[place] <= factor * best)
            assert share == pytest.approx(solved / 25, abs=1e-15)
    assert found.factor[0] == 1.0 and (np.diff(found.factor) > 0).all()
    np.testing.assert_allclose(found.share[:, -1] + np.asarray(_lost(rows)), np.isfinite(rows).mean(axis=0))


def _lost(rows):
    """Where the best needs nothing, who needs something is beyond any factor of it."""
    return ((rows.min(axis=1, keepdims=True) == 0) & (rows > 0) & np.isfinite(rows)).mean(axis=0)


def test_pairs_are_told_apart_where_the_sign_test_of_scipy_tells_them_apart():
    for shift in (0.8, 1.0, 1.1, 1.5):
        rows = RANDOM.uniform(100, 200, size=(30, 1)) * np.stack(
            [shift * RANDOM.uniform(0.7, 1.3, size=30), np.ones(30)], axis=1
        )
        rows = np.round(rows)
        pair = reaching(rows, 500).paired("A", "B")
        ratios = rows[:, 0] / rows[:, 1]
        assert pair.ratio == pytest.approx(np.median(ratios), rel=1e-14)
        more, ties = int((ratios > 1).sum()), int((ratios == 1).sum())
        assert ties == 0
        unlikely = scipy.stats.binomtest(more, 30).pvalue <= 0.05
        assert pair.is_distinguishable == unlikely
        turned = reaching(rows[:, ::-1], 500).paired("A", "B")
        assert (turned.low, turned.high) == pytest.approx((1 / pair.high, 1 / pair.low))


def test_of_who_never_got_there_no_more_is_supposed_than_that():
    # 39 steps were not enough for A in any trial; B took 13 in all: A takes 3 times as much or more.
    pair = reaching([[np.inf, 13.0]] * 9).paired("A", "B")
    assert (pair.ratio, pair.low, pair.high) == (np.inf, 3.0, np.inf) and pair.is_distinguishable
    pair = reaching([[13.0, np.inf]] * 9).paired("A", "B")
    assert (pair.ratio, pair.low, pair.high) == (0.0, 0.0, pytest.approx(1 / 3)) and pair.is_distinguishable
    # Where neither did, nothing is known: these trials count to both sides of the interval.
    pair = reaching([[26.0, 13.0]] * 4 + [[np.inf, np.inf]] * 5).paired("A", "B")
    assert np.isnan(pair.ratio) and (pair.low, pair.high, pair.num_neither) == (0.0, np.inf, 5)
    pair = reaching([[26.0, 13.0]] * 19 + [[np.inf, np.inf]]).paired("A", "B")
    assert (pair.ratio, pair.low, pair.high) == (2.0, 2.0, 2.0)
    # A reached it late where B never did: less than B's 39 steps, so the ratio is at most 30 / 39.
    assert reaching([[30.0, np.inf]] * 9).paired("A", "B").high == pytest.approx(30 / 39)


def test_five_trials_say_nothing_at_095():
    pair = reaching([[30.0, 3.0]] * 5).paired("A", "B")
    assert (pair.ratio, pair.low, pair.high) == (10.0, 0.0, np.inf) and not pair.is_distinguishable
    assert reaching([[30.0, 3.0]] * 6).paired("A", "B").is_distinguishable


def test_the_table_says_who_is_best_and_who_cannot_be_told_from_it():
    rows = np.stack([np.full(20, 10.0), 10.0 + np.tile([1.0, -1.0, 2.0, -1.0, 1.0], 4), np.full(20, 30.0)], axis=1)
    rows[3, 2] = np.inf
    lines = reaching(rows).table("bits", (1e-6,)).splitlines()
    assert lines[0] == "Kilobits to a gap of the shares, 20 trials"
    first, second, third = (line.split() for line in lines[3:])
    assert first == ["A", "1e-6", "20", "of", "20", "0.1", "0.1", "to", "0.1", "the", "best"]
    assert second[:9] == ["B", "1e-6", "20", "of", "20", "0.11", "0.09", "to", "0.11"]
    assert second[-2:] == [
        "not",
        "distinguishable",
    ]
    assert third == ["C", "1e-6", "19", "of", "20", "0.3", "0.3", "to", "0.3", "3", "times", "(3", "to", "3)"]
    # Six heads or six tails: 2 / 64, less than 0.05 and more than 2 * 0.05 / 4, the level of the best of five.
    assert "not" not in reaching([[5.0, 9.0, 9.0]] * 6).table("steps", (1e-6,))
    assert reaching([[5.0, 9.0, 9.0, 9.0, 9.0]] * 6).table("steps", (1e-6,)).count("not distinguishable") == 4
    assert "not" not in reaching([[5.0, 9.0, 9.0, 9.0, 9.0]] * 7).table("steps", (1e-6,))
    assert "none got there" in reaching(np.full((6, 2), np.inf)).table("steps", (1e-6,))

    assert "Kilobits" in str(reaching(rows)) and "Seconds" not in str(reaching(rows))


def test_a_table_takes_one_gap_and_refuses_what_is_none():
    found = reaching([[5.0, 9.0, 9.0]] * 6)
    assert found.table("steps", 1e-6) == found.table("steps", (1e-6,))
    for gaps, told in ((None, "needs real numbers for gaps"), (0.0, "gap > 0")):
        with pytest.raises(cojax.CojaxInputError, match=told):
            found.table("steps", gaps)


def test_bands_are_quantiles_of_the_last_look_within_an_amount():
    gaps = np.sort(RANDOM.uniform(size=(7, 2, 9)), axis=2)[:, :, ::-1]
    bits = np.cumsum(RANDOM.uniform(0.5, 2.0, size=(7, 2, 9)), axis=2)
    gaps[2, 1, 5:] = np.nan  # one run that diverges is beyond all others from there on
    bands = made(gaps, bits).bands("bits")
    for place, name in enumerate("AB"):
        amounts, low, middle, high = bands[name]
        assert set(amounts) == {one for one in bits[:, place].ravel() if one <= bits[:, place, -1].min()}
        for amount, *found in zip(amounts, low, middle, high, strict=True):
            if amount < bits[:, place, 0].max():
                continue  # before the first look of all
            kept = []
            for trial in range(7):
                last = max(look for look in range(9) if bits[trial, place, look] <= amount)
                kept.append(np.nan_to_num(gaps[trial, place, last], nan=np.inf))
            assert found == [sorted(kept)[1], sorted(kept)[3], sorted(kept)[5]]


def test_an_ensemble_is_a_median_in_a_band_and_profiles_are_stairs():
    gaps = np.exp(-np.asarray([1.0, 3.0, 2.0, 4.0])[:, None, None] * np.arange(6.0)) * np.ones((4, 2, 6))
    found = made(gaps)
    ax = cojax.plots.trials(found, over="bits")
    assert [line.get_label() for line in ax.lines] == ["A", "B"]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 0.01 * np.arange(6))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), (np.exp(-2.0 * np.arange(6)) + np.exp(-3.0 * np.arange(6))) / 2)
    corners = ax.collections[0].get_paths()[0].vertices
    at = np.isclose(corners[:, 0], 0.02)
    assert [corners[at, 1].min(), corners[at, 1].max()] == pytest.approx(
        [np.exp(-8.0), np.exp(-4.0)]
    )  # first and third of four
    profile = reaching([[10.0, 20.0], [10.0, 5.0], [10.0, np.inf], [8.0, 12.0]]).profile("steps", 1e-6)
    ax = cojax.plots.profile(profile)
    assert ax.lines[0].get_drawstyle() == "steps-post" and "1e-6" in ax.get_xlabel()
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [25, 50, 75, 75])
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [1, 1.5, 2, 2.1])
    for draw, message in (
        (cojax.plots.trials, "plots.trials needs trials of cojax.trials, got int"),
        (cojax.plots.profile, "plots.profile needs a profile of Trials.profile, got int"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            draw(3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four trials in one go, and the folder that they were put in."""
    folder = tmp_path_factory.mktemp("trials") / "whole"
    return folder, cojax.trials(killed_trials.case, killed_trials.METHODS, num_trials=4, folder=folder, **SETTINGS)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def watched(monkeypatch):
    """The seeds that are run from now on."""
    seeds, module = [], sys.modules["cojax.rivals.trials"]
    real = module._save
    monkeypatch.setattr(module, "_save", lambda path, seed, trial: (seeds.append(seed), real(path, seed, trial)))
    return seeds


def same(one, other):
    assert one.methods == other.methods and one.halves == other.halves
    for name in ("seeds", "step", "bits", "learn_gap", "share_gap", "disagreement", "imbalance", "overload"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def test_a_trial_is_what_compare_says_of_it_with_the_optimum_of_linear_algebra(whole):
    found = whole[1]
    assert found.share_gap.shape == (4, 2, 13) and found.halves == ("share",)
    for seed in (0, 3):
        problem, network, start = killed_trials.case(seed)
        price, demand = (np.asarray(part) for part in problem.data)
        cpu = demand + (8.0 - demand.sum()) / (1 / price).sum() / price
        run = cojax.solve(
            problem, network, killed_trials.METHODS["fixed"], start, **SETTINGS, record=cojax.records.decision
        )
        shares = np.vstack([np.asarray(start.cpu), np.asarray(run.trace.cpu)])
        gaps = 0.5 * (price * (shares - cpu) ** 2).sum(axis=1)  # the linear part sums to 0 along the budget
        np.testing.assert_allclose(found.share_gap[seed, 1], gaps / gaps[0], rtol=1e-7, atol=1e-13)
        np.testing.assert_array_equal(found.bits[seed, 1, 1:], 64 * (1 + np.arange(5, 65, 5)))
    assert found.imbalance.max() == 0.0 and len(set(found.share_gap[:, 0, 4])) == 4


def test_more_trials_run_only_what_is_missing_and_end_at_the_same_files(whole, tmp_path, monkeypatch):
    case, methods = killed_trials.case, killed_trials.METHODS
    seeds = watched(monkeypatch)
    cojax.trials(case, methods, num_trials=2, folder=tmp_path / "a", **SETTINGS)
    assert seeds == [0, 1]
    again = cojax.trials(case, methods, num_trials=4, folder=tmp_path / "a", **SETTINGS)
    assert seeds == [0, 1, 2, 3]
    same(again, whole[1])
    assert contents(tmp_path / "a") == contents(whole[0])
    same(cojax.trials(case, methods, num_trials=4, folder=tmp_path / "a", **SETTINGS), whole[1])
    assert seeds == [0, 1, 2, 3]
    same(cojax.Trials.read(str(tmp_path / "a")), whole[1])
    same(cojax.trials(case, methods, num_trials=4, **SETTINGS), whole[1])  # and without a folder


def test_a_trial_alone_is_that_trial_among_others_bit_for_bit(whole, tmp_path, monkeypatch):
    shutil.copytree(whole[0], tmp_path / "a")
    (tmp_path / "a/trial-000002.npz").unlink()
    seeds = watched(monkeypatch)
    cojax.trials(killed_trials.case, killed_trials.METHODS, num_trials=4, folder=tmp_path / "a", **SETTINGS)
    assert seeds == [2]
    assert contents(tmp_path / "a") == contents(whole[0])


def test_killed_and_resumed_trials_are_those_of_one_go_bit_for_bit(tmp_path):
    program = [sys.executable, killed_trials.__file__]
    killed = subprocess.Popen([*program, str(tmp_path / "a"), "400"])
    for _ in range(1200):
        time.sleep(0.05)
        if len(list(tmp_path.glob("a/trial-*.npz"))) >= 3 or killed.poll() is not None:
            break
    killed.kill()
    assert killed.wait() == -9, "it should be killed in the middle"
    done = len(list(tmp_path.glob("a/trial-*.npz")))
    # What a write that was cut off leaves behind is no trial, and nobody reads it.
    (tmp_path / f"a/.trial-{done + 1:06d}.npz.elsewhere-1-00000000.new").write_bytes(b"PK half")
    number = str(done + 3)
    subprocess.run([*program, str(tmp_path / "a"), number], check=True)
    subprocess.run([*program, str(tmp_path / "b"), number], check=True)
    there = {name: data for name, data in contents(tmp_path / "a").items() if not name.startswith(".")}
    assert len(there) == done + 3 and there == contents(tmp_path / "b")


def _case(seed):  # another one, and problems of a size that grows with the seed
    problem = laws.quadratic(num_nodes=4 + seed, seed=seed)
    network = cojax.network(nx.path_graph(4 + seed))
    return problem, network, laws.start_of(problem), cojax.reference(problem, jnp.zeros(3))


def test_the_folder_of_other_trials_is_refused_with_what_differs(whole, tmp_path):
    folder, case = whole[0], killed_trials.case
    for given, methods, settings, named in (
        (case, {"fixed": killed_trials.METHODS["fixed"]}, SETTINGS, r"methods\['tuned'\]"),
        (case, killed_trials.METHODS, SETTINGS | {"num_steps": 65}, r"num_steps \(60 there, 65 here\)"),
        (_case, killed_trials.METHODS, SETTINGS, r"case \(programs.killed_trials.case"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=r"is of other trials than these: ") as error:
            cojax.trials(given, methods, num_trials=5, folder=folder, **settings)
        assert re.search(named, str(error.value)) and "\n" not in str(error.value)
    assert len(contents(folder)) == 4


def test_a_global_that_a_case_reads_is_seen_by_what_it_makes_of_seed_0(whole, monkeypatch):
    monkeypatch.setattr(killed_trials, "NUM_NODES", 9)
    with pytest.raises(cojax.CojaxInputError, match="is of other trials than these"):
        cojax.trials(killed_trials.case, killed_trials.METHODS, num_trials=4, folder=whole[0], **SETTINGS)


def test_damaged_files_and_folders_without_trials_are_refused_by_name(whole, tmp_path):
    case, methods = killed_trials.case, killed_trials.METHODS
    shutil.copytree(whole[0], tmp_path / "a")
    path = tmp_path / "a/trial-000001.npz"
    data = path.read_bytes()
    for damaged, message in ((data[:-50], "trial-000001.npz cannot be unpacked"), (b"", "trial-000001.npz")):
        path.write_bytes(damaged)
        with pytest.raises(cojax.CojaxInputError, match=message):
            cojax.trials(case, methods, num_trials=4, folder=tmp_path / "a", **SETTINGS)
    shutil.copy(tmp_path / "a/trial-000002.npz", path)
    with pytest.raises(
        cojax.CojaxInputError, match=r"trial-000001.npz is no trial, or not that of its name: remove it"
    ):
        cojax.Trials.read(tmp_path / "a")
    np.savez(path, step=np.arange(3))
    with pytest.raises(cojax.CojaxInputError, match=r"trial-000001.npz is no trial"):
        cojax.Trials.read(tmp_path / "a")
    with pytest.raises(cojax.CojaxInputError, match=r"needs a folder that cojax.trials has written to"):
        cojax.Trials.read(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(cojax.CojaxInputError, match="trials cannot write to the folder"):
        cojax.trials(case, methods, num_trials=1, folder=tmp_path / "file", **SETTINGS)


def test_problems_of_any_size_rivals_and_links_of_their_own_are_one_ensemble():
    def over_few_bits(problem, network, start):
        return cojax.default(problem, network, start)

    def tracking(problem, network, start):
        return cojax.rivals.rival("dual_gradient_tracking", problem, network, start)

    field = {"default": over_few_bits, "tracking": tracking}
    found = cojax.trials(_case, field, num_trials=2, num_steps=40, every=20)
    assert found.halves == ("learn", "share") and found.bits.shape == (2, 2, 3)
    # 8 bits a params and 2 trackers are few; a rival tells its numbers in full.
    assert found.bits[0, 1, -1] == 40 * field["tracking"](*_case(0)[:3]).bits
    courses = cojax.compare(
        *_case(1)[:2], {"tracking": tracking(*_case(1)[:3])}, _case(1)[2], optimum=_case(1)[3], num_steps=40, every=20
    )
    np.testing.assert_allclose(found.share_gap[1, 1], courses["tracking"].share_gap, rtol=1e-9)
    np.testing.assert_array_equal(found.gaps(), np.maximum(found.learn_gap, found.share_gap))
    assert found.gaps("share") is found.share_gap


def test_seconds_are_those_of_the_clocks_and_refused_without(whole):
    def case(seed):
        problem, network, start = killed_trials.case(seed)
        return problem, cojax.Timed(network, cojax.Clock(work=2.0 + seed, share=1.0, latency=0.5)), start

    field = {"fixed": killed_trials.METHODS["fixed"]}
    found = cojax.trials(case, field, num_trials=2, num_steps=3)
    assert found.seconds is not None and found.seconds[:, 0, 0].tolist() == [0.0, 0.0]
    # The gradient of the start, then three rounds: a message's way, and the next gradient.
    assert found.seconds[:, 0, -1] == pytest.approx([2 + 3 * 2.5, 3 + 3 * 3.5])
    assert "Seconds to a gap" in str(found)
    with pytest.raises(cojax.CojaxInputError, match="Trials needs networks with a clock to count in seconds"):
        whole[1].table("seconds")


def test_tables_and_datasets_have_names_and_units(whole):
    data, table = whole[1].to_xarray(), whole[1].to_pandas()
    assert data.share_gap.sel(seed=2, algorithm="fixed", step=30).item() == whole[1].share_gap[2, 1, 6]
    assert table.loc[(2, "fixed", 30), "share_gap"] == whole[1].share_gap[2, 1, 6]
    assert data.bits.attrs["units"] == table.attrs["units"]["bits"] == "bit"
    assert data.share_gap.attrs["units"] == "1" and data.overload.attrs["units"] == "unit of cpu"


def test_what_is_no_case_no_method_and_no_question_is_refused(whole):
    case, field = killed_trials.case, killed_trials.METHODS
    run = laws.unchecked(cojax.trials)
    timed = lambda p, network, s: (cojax.Timed(network, cojax.Clock(1.0)), field["fixed"])  # noqa: E731
    for given, methods, more, message in (
        (3, field, {}, r"trials needs a function case\(seed\), got int"),
        (lambda seed: 3, field, {}, r"needs case\(seed\) to return \(problem, network, start\)"),
        (lambda seed: case(seed)[:2], field, {}, "got .*'Problem', .* for seed 0"),
        (case, {}, {}, "trials needs methods by name, at least one"),
        (case, {"a": 3}, {}, "that returns one or a network and one, got int for 'a' and seed 0"),
        (case, {"a": lambda *instance: 3}, {}, "got int for 'a' and seed 0"),
        (case, {"a": cojax.Laplacian}, {}, "got the class Laplacian for 'a' and seed 0"),
        (case, field, {"num_trials": 0}, "a whole number num_trials from 1 to"),
        (case, field, {"every": 7}, "trials needs num_steps to be a multiple of every, got 60 and 7"),
        (case, field | {"timed": timed}, {}, "a clock on the networks of all methods or of none"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            run(given, methods, **({"num_trials": 1} | SETTINGS | more))
    found = whole[1]
    for ask, message in (
        (
            lambda: found.paired("fixd", "tuned"),
            "These trials are of tuned, fixed, not of 'fixd'; did you mean 'fixed'",
        ),
        (lambda: laws.unchecked(cojax.Trials.taken)(found, "rounds"), 'over "steps", "bits" or "seconds", got'),
        (lambda: found.taken("steps", -1.0), "Trials needs gap > 0"),
        (lambda: found.paired("fixed", "tuned", level=1.0), "Trials.paired needs level < 1|level"),
        (lambda: laws.unchecked(cojax.Trials.gaps)(found, "both"), 'half "learn", "share" or None'),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            ask()


def test_an_error_in_the_middle_says_in_which_trial_and_keeps_what_was_done(tmp_path):
    def case(seed):
        if seed == 3:
            raise RuntimeError("no data")
        return killed_trials.case(seed)

    with pytest.raises(RuntimeError, match="no data") as error:
        cojax.trials(case, killed_trials.METHODS, num_trials=5, folder=tmp_path, **SETTINGS)
    assert error.value.__notes__ == ["It was in trial 3 of cojax.trials."]
    assert sorted(contents(tmp_path))[:1] == ["trial-000000.npz"]


SPENT = {"num_steps": 60, "every": 3, "bits": 3000.0, "measure": cojax.own_models}


def _learning(seed):
    problem = laws.quadratic(num_nodes=6, seed=seed)
    return problem, cojax.network(nx.cycle_graph(6)), laws.start_of(problem)


def _few_bits(problem, network, start):
    link = cojax.Innovation(cojax.AdaptiveQuantizer(4), memory="node")
    return cojax.network(nx.cycle_graph(6), link=link), cojax.CoOpt(learn=cojax.NIDS(0.05))


def _centralised(problem, network, start, num_steps, *, step_size):
    """A rival: the mean gradient at every node."""

    def step(params, _):
        grad = problem.grad(start._replace(params=params)).params.mean(0, keepdims=True)
        params = params - step_size * grad
        return params, params

    return jax.lax.scan(step, start.params, length=num_steps)[1]


def _long(problem, network, start):
    run = jax.tree_util.Partial(_centralised, step_size=0.1 + 0.01 * float(problem.data[1][0, 0]))
    return cojax.rivals.Rival("learn", run, bits=500.0)


FIELD = {"plain": cojax.CoOpt(learn=cojax.DGD(0.05)), "few": _few_bits, "rival": _long}


@pytest.fixture(scope="module")
def within():
    return cojax.trials(_learning, FIELD, num_trials=3, **SPENT)


def test_own_models_are_those_of_a_plain_loop_over_nodes_and_so_is_the_gap_of_that_measure(within):
    roots, targets, curvature, demand = (np.asarray(part) for part in _learning(1)[0].data)
    best, shares, _ = laws.optimum(_learning(1)[0])
    cpu = np.asarray(_learning(1)[2].cpu)
    still = 0.5 * (curvature * ((cpu - demand) ** 2 - (shares - demand) ** 2)).sum()  # shares stay at the start
    mixing = np.eye(6) - np.asarray(cojax.theory.laplacians(_learning(1)[1])[0].toarray())

    def excess(models):
        """The mean over nodes i of F(x_i) - F*, F = sum_j |A_j x - b_j|^2 / 2, and what the shares cost too much."""

        def whole(one):
            return sum(0.5 * ((a @ one - b) ** 2).sum() for a, b in zip(roots, targets, strict=True))

        return np.mean([whole(model) - whole(best) for model in models]) + still

    models = np.asarray(_learning(1)[2].params)
    first, gaps = excess(models), [1.0]
    for step in range(1, 16):  # the first message is told at the start: 16 of 192 bits are 3072
        grads = np.stack([a.T @ (a @ one - b) for a, b, one in zip(roots, targets, models, strict=True)])
        models = mixing @ models - 0.05 * grads
        gaps += [excess(models) / first] if step % 3 == 0 else []
    np.testing.assert_allclose(within.measured_gap[1, 0, :5], gaps[:5], rtol=1e-10)
    # 15 steps would be 3072 bits: 12 are the last look within 3000, and there it stands.
    np.testing.assert_array_equal(within.bits[1, 0, :5], [0, *(192 * (1 + step) for step in (3, 6, 9, 12))])
    np.testing.assert_array_equal(within.measured_gap[1, 0, 4:], within.measured_gap[1, 0, 4])
    assert within.steps_done is not None and within.steps_done[1, 0].tolist() == [0, 3, 6, 9, *[12] * 17]
    assert within.gaps() is within.measured_gap and "to a gap of the measure" in within.table("bits")
    x, problem = _learning(1)[2]._replace(params=jnp.asarray(models)), _learning(1)[0]
    mean = x._replace(params=jnp.broadcast_to(x.params.mean(0, keepdims=True), x.params.shape))
    apart, alike = map(partial(cojax.own_models, problem), (x, mean))
    cost = float(problem.costs(mean).sum())
    assert apart > 1.001 * cost and alike == pytest.approx(cost, rel=1e-13)  # Jensen


def test_a_budget_of_bits_ends_runs_at_rows_that_they_would_have_had_without_it(within):
    free = cojax.trials(_learning, FIELD, num_trials=3, num_steps=60, every=3, measure=cojax.own_models)
    assert free.steps_done is None
    network, method = _few_bits(*_learning(1))
    best = cojax.reference(_learning(1)[0].softened(), jnp.zeros(3))
    settings = {"optimum": best, "num_steps": 60, "every": 3, "measure": cojax.own_models}
    course = cojax.compare(_learning(1)[0], network, {"few": method}, _learning(1)[2], **settings)["few"]
    np.testing.assert_allclose(course.measured_gap, free.measured_gap[1, 1], rtol=1e-9, atol=1e-14)
    for place, bits in enumerate((192, 4 * 3, 500)):
        last = int(within.steps_done[0, place, -1])
        assert last == max(step for step in range(0, 61, 3) if bits * (step + (place < 2)) <= 3000)
        rows = slice(last // 3 + 1)
        for name in ("bits", "learn_gap", "disagreement", "measured_gap"):
            # A loop that may end is another program than one that may not: roundings may differ.
            found, wanted = (getattr(each, name)[:, place, rows] for each in (within, free))
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-14)
    # What never got there had no more steps than it did.
    pair = within.paired("rival", "few", over="steps", gap=1e-12)
    assert (within.taken("steps", 1e-12)[:, 0] == np.inf).all() and pair.num_neither == 3
    assert within.along("steps")[:, 2, -1].tolist() == [6.0] * 3


def test_what_is_left_is_the_gap_of_the_last_look_within_an_amount():
    gaps = RANDOM.uniform(size=(4, 2, 9))
    gaps[2, 1, 6:] = np.nan
    bits = np.cumsum(RANDOM.uniform(0.5, 2.0, size=gaps.shape), axis=2)
    bits[:, :, 0] = 0.0
    found, amounts = made(gaps, bits), np.asarray([0.0, 3.3, 1e9, 2.0])
    left = found.left(amounts)
    for trial, method, place in np.ndindex(left.shape):
        seen = [gap for at, gap in zip(bits[trial, method], gaps[trial, method], strict=True) if at <= amounts[place]]
        assert left[trial, method, place] == np.nan_to_num(seen[-1], nan=np.inf)
    np.testing.assert_array_equal(found.left(3.3), left[:, :, 1])
    np.testing.assert_array_equal(found.left(3, "steps"), np.nan_to_num(gaps[:, :, 3], nan=np.inf))
    for amount in (-1.0, [[1.0]], [2.0, np.nan]):
        with pytest.raises(cojax.CojaxInputError, match=r"Trials\.left needs amounts >= 0"):
            found.left(amount)
    for amount in ("many", 1j, {}):
        with pytest.raises(cojax.CojaxInputError, match=r"Trials\.left needs real numbers for amount"):
            found.left(amount)


def test_a_budget_may_be_a_whole_number_that_32_bits_do_not_hold():
    plenty = cojax.trials(_learning, FIELD, num_trials=1, num_steps=6, every=3, bits=10**12)
    assert (plenty.steps_done == plenty.step).all()


def test_no_steps_are_one_look_with_a_budget_too():
    none = cojax.trials(_learning, FIELD, num_trials=1, num_steps=0, bits=3000.0)
    assert none.bits.tolist() == none.steps_done.tolist() == [[[0.0]] * len(FIELD)]


def test_trials_with_a_budget_and_a_measure_are_kept_and_others_refused(within, tmp_path):
    settings = {"num_trials": 3, "folder": tmp_path}
    cojax.trials(_learning, FIELD, **SPENT | settings | {"num_trials": 2})
    again = cojax.trials(_learning, FIELD, **SPENT | settings)
    same(again, within)
    for name in ("measured_gap", "steps_done"):
        one, other, read = (getattr(each, name) for each in (again, within, cojax.Trials.read(tmp_path)))
        assert one.tobytes() == other.tobytes() == read.tobytes()
    assert within.to_xarray().measured_gap.sel(seed=1, algorithm="few", step=3).item() == again.measured_gap[1, 1, 1]
    for more, named in (({"bits": 2000.0}, "bits"), ({"measure": None}, "measure")):
        with pytest.raises(cojax.CojaxInputError, match=f"is of other trials than these: {named}"):
            cojax.trials(_learning, FIELD, **SPENT | settings | more)
    for more, message in (
        ({"bits": -1.0}, "trials needs bits >= 0"),
        ({"measure": 3}, r"needs measure\(problem, x\)"),
        ({"measure": lambda problem, x: x.params}, r"to return one real number, got ShapeDtypeStruct\(shape=\(6, 3\)"),
        ({"measure": lambda problem, x: None}, "to return one real number, got None"),
        (
            {"measure": lambda problem, x: jnp.log(-1 - x.cpu[0] ** 2)},
            "finite number at the start and at the optimum, got",
        ),
        ({"measure": lambda problem: 1.0}, r"cannot compute measure\(problem, x\) \(TypeError: .*takes 1 positional"),
        ({"measure": lambda problem, x: float(x.params.sum())}, r"\(ConcretizationTypeError: .*write it in jax\.numpy"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=message):
            laws.unchecked(cojax.trials)(_learning, FIELD, **SPENT | {"num_trials": 1} | more)


def test_own_models_are_asked_of_a_problem_and_a_decision():
    problem, _, start = _learning(0)
    for given, named in (
        ((problem, None), "Decision for x, got NoneType"),
        ((3, start), "Problem for problem, got int"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=f"own_models needs a cojax {named}"):
            laws.unchecked(cojax.own_models)(*given)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"half": "both"}, 'a Rival whose half is "learn" or "share", got \'both\''),
        ({"run": 3}, r"a Rival with a function run\(problem, network, start, num_steps\), got 3"),
        ({"bits": -1.0}, "bits of a Rival >= 0, got -1"),
        ({"bits": "many"}, "real numbers for bits of a Rival"),
        ({"half": "share"}, r"return its cpu after every step, shape \(6, 6\), got \(6, 6, 3\)"),
        ({"run": lambda *given: None}, r"return its params after every step, shape \(6, 6, 3\), got \(\)"),
    ],
)
def test_what_is_no_rival_is_refused_in_a_sentence(parts, message):
    def still(problem, network, start, num_steps):
        return jnp.broadcast_to(start.params, (num_steps, *start.params.shape))

    problem, network, start = _learning(0)
    rival = laws.unchecked(cojax.rivals.Rival)(**{"half": "learn", "run": still, "bits": 8.0} | parts)
    best = cojax.reference(problem.softened(), jnp.zeros(3))
    ask = laws.unchecked(cojax.compare)
    with pytest.raises(cojax.CojaxInputError, match=message):
        ask(problem, network, {"rival": rival}, start, optimum=best, num_steps=6, every=3)


def test_a_rival_of_numbers_is_one_program_for_all_instances():
    names = ("d_admm", "dual_consensus_admm", "quantized_descent", "token_averaging", "barrier_method")

    def case(seed):
        problem = laws.quadratic(num_nodes=6, seed=seed)
        bounded = cojax.Problem(problem.cost, problem.data, problem.budget, lower=0.0, upper=np.full(6, 5.0))
        return bounded, cojax.network(nx.cycle_graph(6)), bounded.start(jnp.zeros((6, 3)))

    field = {name: lambda *instance, name=name: cojax.rivals.rival(name, *instance) for name in names}
    traced = []

    def counted(problem, network, start, num_steps, *, step_size):
        traced.append(step_size)
        return _centralised(problem, network, start, num_steps, step_size=step_size)

    field["counted"] = lambda problem, network, start: cojax.rivals.Rival(
        "learn", jax.tree_util.Partial(counted, step_size=float(problem.data[2][0])), bits=1.0
    )
    found = cojax.trials(case, field, num_trials=3, num_steps=8, every=4)
    assert len(traced) == 1
    for seed in range(3):
        for place, name in enumerate(names):
            courses = cojax.compare(
                *case(seed)[:2],
                {name: cojax.rivals.rival(name, *case(seed))},
                case(seed)[2],
                optimum=cojax.reference(case(seed)[0].softened(), jnp.zeros(3)),
                num_steps=8,
                every=4,
            )
            np.testing.assert_allclose(found.learn_gap[seed, place], courses[name].learn_gap, rtol=1e-9, atol=1e-13)
            np.testing.assert_allclose(found.share_gap[seed, place], courses[name].share_gap, rtol=1e-9, atol=1e-13)
