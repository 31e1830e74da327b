"""The candidate that is chosen is the one that all runs of all would have chosen, for fewer runs."""

import dataclasses

import numpy as np
import pytest
from support import laws

import cojax
from cojax.rivals.choices import spent

N = 6
SETTINGS = {"num_steps": 300, "every": 5}


def cost(x, data):
    demand, capacity = data
    return (x.cpu - demand) ** 2 / (2 * capacity)


def case(seed):
    random = np.random.default_rng(seed)
    data = random.uniform(1.0, 6.0, N), random.uniform(0.5, 2.0, N)
    problem = cojax.Problem(cost, data, budget=3.0 * N)
    return problem, cojax.network(cojax.graphs.named("ring", N)), problem.start()


def scaled(factor):
    def made(problem, network, start):
        step = cojax.tuned(cojax.Laplacian, problem, network, start).step_size
        return cojax.CoOpt(allocate=cojax.Laplacian(float(step) * factor))

    return made


# Below the computed step runs are slower; far above it they diverge.
FACTORS = {
    "computed": 1.0,
    "tenth": 0.1,
    "third": 0.3,
    "half": 0.5,
    "more": 1.25,
    "double": 2.2,
    "far": 8.0,
    "least": 0.03,
}
CANDIDATES = {name: scaled(factor) for name, factor in FACTORS.items()}


def test_it_is_the_best_of_all_runs_for_fewer_of_them(tmp_path):
    best = cojax.choose(case, CANDIDATES, default="third", num_trials=8, gap=1e-6, folder=tmp_path, **SETTINGS)
    everything = cojax.trials(case, CANDIDATES, num_trials=8, **SETTINGS)
    means = dict(zip(everything.methods, np.log(spent(everything, "bits", 1e-6)).mean(0), strict=True))
    wanted = min(means, key=lambda name: means[name])
    assert means[best.name] <= means[wanted] + np.log(1.05)
    assert best.candidate is CANDIDATES[best.name]
    assert best.num_runs < 0.6 * best.num_all
    assert best.factors["third"] == 1
    assert best.factors[best.name] < 0.6
    assert best.paired is not None
    assert best.paired.ratio < 1
    assert best.num_trials["far"] == 2 < best.num_trials["third"] == 14  # of rounds of 2, 4 and 8
    for word in (best.name, "held-out trials", "runs of the"):
        assert word in repr(best)
    # Nothing is run again: the folder holds it all.
    again = cojax.choose(case, CANDIDATES, default="third", num_trials=8, gap=1e-6, folder=tmp_path, **SETTINGS)
    assert again.name == best.name
    assert again.factors == best.factors


def test_judged_by_own_models_who_never_agrees_is_not_taken():
    def case(seed):
        targets = np.random.default_rng(seed).normal(size=(N, 2))
        problem = cojax.Problem(lambda x, target: ((x.params - target) ** 2).sum() / 2, targets)
        return problem, cojax.network(cojax.graphs.named("ring", N)), problem.start(params=np.zeros((N, 2)))

    # The mean of DGD is gradient descent where all curve alike, and its nodes stay apart for ever.
    candidates = {"apart": cojax.CoOpt(learn=cojax.DGD(0.5)), "together": cojax.CoOpt(learn=cojax.DIGing(0.2))}
    settings = {"default": "together", "num_trials": 2, "gap": 1e-4} | SETTINGS
    by_mean = cojax.choose(case, candidates, **settings)
    assert by_mean.name == "apart"
    assert by_mean.held_out.disagreement[:, by_mean.held_out.methods.index("apart"), -1].min() > 0.1
    by_own = cojax.choose(case, candidates, measure=cojax.own_models, **settings)
    assert by_own.name == "together"
    assert by_own.factors["apart"] > 10


def test_at_an_amount_who_is_ahead_then_is_taken_though_it_never_gets_to_a_small_gap():
    def floored(problem, network, start):
        coarse = cojax.Quantized(cojax.LogQuantizer(0.2))
        network = network.over(dataclasses.replace(network.bare(), link=coarse))
        return network, scaled(1.0)(problem, network, start)

    candidates = {"floored": floored, "third": CANDIDATES["third"], "far": CANDIDATES["far"]}
    settings = {"default": "third", "num_trials": 4, "gap": 1e-10} | SETTINGS
    everything = cojax.trials(case, candidates, num_trials=8, **SETTINGS)
    for over, amount, wanted in (
        ("steps", 10, "floored"),
        ("steps", 300, "third"),
        ("bits", 600, "floored"),
        ("bits", 19000.0, "third"),
    ):
        best = cojax.choose(case, candidates, over=over, amount=amount, **settings)
        assert best.name == wanted, (over, amount, best)
        left = np.clip(everything.left(amount, over)[:4], 1e-10, 1e12)
        for place, name in enumerate(everything.methods):
            ratio = np.exp(np.log(left[:, place] / left[:, 1]).mean())
            assert best.factors[name] == pytest.approx(ratio, rel=1e-6), (over, amount, name)
        if over == "bits":
            assert best.held_out.steps_done is not None
            assert best.held_out.bits.max() <= amount  # nobody runs farther than that
    never = cojax.choose(case, candidates, over="bits", **settings)
    assert never.name == "third"
    assert never.factors["floored"] > 5


def test_what_is_left_at_an_amount_is_paired():
    candidates = {name: CANDIDATES[name] for name in ("computed", "third", "far")}
    found = cojax.trials(case, candidates, num_trials=8, **SETTINGS)
    left = found.left(20, "steps")
    pair = found.paired("computed", "third", amount=20, gap=1e-12)
    assert pair.ratio == pytest.approx(np.median(left[:, 0] / left[:, 1]), rel=1e-12)
    assert pair.is_distinguishable
    assert "gap left after 20 steps" in repr(pair)
    # What is smaller than the gap is not told from it.
    assert found.paired("computed", "third", amount=20, gap=0.5).ratio == 1
    # Who has diverged is behind, by an amount that nobody knows; both are not told apart.
    gone = found._replace(share_gap=np.where(np.arange(61) > 3, np.inf, found.share_gap))
    assert np.isnan(gone.paired("computed", "third", amount=20).ratio)
    assert (gone.paired("computed", "third", amount=20).low, gone.paired("computed", "third", amount=20).high) == (
        0,
        np.inf,
    )
    one = found._replace(share_gap=np.where((np.arange(3) == 0)[:, None], gone.share_gap, found.share_gap))
    pair = one.paired("computed", "third", amount=20)
    assert pair.ratio == np.inf
    assert pair.low > 1e12
    for amount in (0, -1.0, np.nan):
        with pytest.raises(cojax.CojaxInputError, match="amount"):
            found.paired("computed", "third", amount=amount)
        with pytest.raises(cojax.CojaxInputError, match="amount"):
            cojax.choose(case, candidates, default="third", num_trials=2, amount=amount, **SETTINGS)


def test_the_default_is_kept_where_nothing_is_better():
    few = {name: CANDIDATES[name] for name in ("computed", "tenth", "far")}
    best = cojax.choose(case, few, default="computed", num_trials=2, gap=1e-4, **SETTINGS)
    assert best.name == "computed"
    assert best.paired is None
    assert best.held_out.methods == ("computed",)


def test_the_better_half_beside_the_default_goes_on():
    few = {name: CANDIDATES[name] for name in ("tenth", "computed", "half", "third", "far")}
    best = cojax.choose(case, few, default="tenth", num_trials=4, gap=1e-4, **SETTINGS)
    # Four are halved twice: rounds of 2 and of 4 trials, and the last one is between two and the default.
    assert best.num_trials == {"tenth": 6, "computed": 6, "half": 6, "third": 2, "far": 2}
    assert best.num_runs == 2 * 5 + 4 * 3 + 4 * 2
    assert best.num_all == (2 + 4 + 4) * 5


def test_who_tells_little_and_does_not_get_there_is_behind_who_does():
    def whispered(problem, network, start):
        few = cojax.Innovation(cojax.OneBitQuantizer())
        network = network.over(dataclasses.replace(network.bare(), link=few))
        return network, cojax.CoOpt(allocate=cojax.Laplacian(1e-6))

    both = {"whispered": whispered, "third": CANDIDATES["third"]}
    found = cojax.trials(case, both, num_trials=2, **SETTINGS)
    took = found.taken("bits", 1e-6)
    assert np.isinf(took[:, 0]).all()
    assert (took[:, 1] > 10 * found.bits[:, 0, -1]).all()  # so ten times of its own would be less
    farther = 1 + np.log10(found.share_gap[:, 0, -1] / 1e-6) / 10
    assert (farther > 1.3).all()
    np.testing.assert_allclose(spent(found, "bits", 1e-6)[:, 0], 10 * farther * found.bits[:, 1, -1])
    best = cojax.choose(case, both, default="third", num_trials=2, gap=1e-6, **SETTINGS)
    assert best.name == "third"


def test_a_run_whose_clock_stands_still_hides_nobody_who_gets_there():
    # One candidate lets a share fall below 0 in its first steps, and its clock ends there: it never gets to the gap.
    clock = cojax.Clock(work=1.0, latency=0.1)

    def timed(seed):
        problem, network, start = case(seed)
        return problem, cojax.Timed(network, clock), start

    candidates = {"far": CANDIDATES["far"], "computed": CANDIDATES["computed"], "least": CANDIDATES["least"]}
    everything = cojax.trials(timed, candidates, num_trials=1, **SETTINGS)
    assert everything.seconds is not None
    assert np.isinf(everything.seconds[0, 0, -1])
    took = everything.taken("seconds", 1e-6)[0]
    assert np.isinf(took).tolist() == [True, False, True]
    most = everything.seconds[0, 1:, -1].max()
    far, computed, least = spent(everything, "seconds", 1e-6)[0]
    assert computed == took[1] < 10 * most <= least <= far <= 20 * most  # as the docstring of `choose` has it
    best = cojax.choose(timed, candidates, default="least", num_trials=2, gap=1e-6, over="seconds", **SETTINGS)
    assert best.name == "computed"
    assert np.isfinite(list(best.factors.values())).all()


def test_names_are_told_as_text_and_may_be_numbers():
    candidates = {1: CANDIDATES["third"], 2: CANDIDATES["computed"]}
    best = cojax.choose(case, candidates, default=1, num_trials=2, gap=1e-6, **SETTINGS)
    assert best.name == "2"
    assert best.candidate is CANDIDATES["computed"]
    both = {"1": CANDIDATES["third"], 1: CANDIDATES["computed"]}
    with pytest.raises(cojax.CojaxInputError, match=r"choose needs candidates whose names differ .* got '1', 1"):
        cojax.choose(case, both, default="1", num_trials=2, **SETTINGS)
    with pytest.raises(cojax.CojaxInputError, match="trials needs methods whose names differ"):
        cojax.trials(case, both, num_trials=1, **SETTINGS)
    with pytest.raises(cojax.CojaxInputError, match=r"choose needs a default among 1, 2, got"):
        cojax.choose(case, candidates, default=[1], num_trials=2, **SETTINGS)


def test_seeds_are_used_once_each():
    seen = []

    def counted(seed):
        seen.append(seed)
        return case(seed)

    few = {name: CANDIDATES[name] for name in ("computed", "half", "third", "tenth")}
    best = cojax.choose(counted, few, default="tenth", num_trials=2, num_held_out=3, **SETTINGS)
    assert sorted(set(seen)) == list(range(1 + 2 + 3))
    assert best.held_out.seeds.tolist() == [3, 4, 5]


def test_bad_input_is_refused_in_a_sentence():
    for candidates, default, match in (
        ({"one": CANDIDATES["half"]}, "one", "at least two"),
        ([1, 2], "one", "by name"),
        (CANDIDATES, "best", "default among"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=match):
            laws.unchecked(cojax.choose)(case, candidates, default=default, num_trials=2, **SETTINGS)
    with pytest.raises(cojax.CojaxInputError, match="gap > 0 and gap < 1"):
        cojax.choose(case, CANDIDATES, default="half", num_trials=2, gap=2.0, **SETTINGS)


RING = cojax.network(cojax.graphs.named("ring", N))  # a third of each difference
EIGENVALUES = np.sort(2 / 3 * (1 - np.cos(2 * np.pi * np.arange(N) / N)))
BEST_STEP = 2 / (EIGENVALUES[1] + EIGENVALUES[-1])  # over the curvature, where all nodes have one: 2 / (mu + L)
LOOKS, SPAN = 60, 2


def alike(seed):
    """All nodes curve alike, but not as those of other instances do."""
    random = np.random.default_rng(seed)
    data = random.uniform(1.0, 6.0, N), np.full(N, random.uniform(0.2, 5.0))
    problem = cojax.Problem(cost, data, budget=3.0 * N)
    return problem, RING, problem.start()


def part_of_best(part):
    """A step of its own for every instance, the same part of the best one."""

    def made(problem, network, start):
        return cojax.CoOpt(allocate=cojax.Laplacian(part * BEST_STEP * float(problem.data[1][0])))

    return made


def area_by_hand(seeds, part):
    """Mean log10 of the relative squared distance, floored at a hundredth of 1e-6, of gradient descent by NumPy."""
    matrix = np.eye(N) * 2 / 3 - np.roll(np.eye(N), 1, 0) / 3 - np.roll(np.eye(N), -1, 0) / 3
    found = []
    for seed in seeds:
        (demand, capacity), x = alike(seed)[0].data, np.full(N, 3.0)
        best = demand + (3.0 * N - demand.sum()) / N
        first, gaps = ((x - best) ** 2).sum(), []
        for _ in range(LOOKS):
            for _ in range(SPAN):
                x = x - part * BEST_STEP * capacity[0] * matrix @ ((x - demand) / capacity)
            gaps.append(((x - best) ** 2).sum() / first)
        found.append(np.log10(np.array(gaps) + 1e-8).mean())
    return float(np.mean(found))


def tried(parts, what=("allocate.step_size",), **options):
    options = {"num_trials": 4, "num_steps": LOOKS * SPAN, "every": SPAN, "over": "steps"} | options
    candidates = {name: part_of_best(part) for name, part in parts.items()}
    return cojax.choose(alike, candidates, default="default", what=list(what), **options)


def test_the_factor_of_gradients_is_that_of_a_scan_in_numpy_and_near_two_over_mu_plus_l():
    parts = {"default": 0.25, "less": 0.1}
    best = tried(parts, num_updates=24)
    factor = best.tuned["default, tuned"]["allocate.step_size"]
    scan = np.geomspace(0.6, 1.2, 200)
    wanted = scan[np.argmin([area_by_hand(range(4), part) for part in scan])]
    # Steps are 1.1 times as large while they are tuned; Adam's last moves are a few percent.
    assert 1.1 * 0.25 * factor == pytest.approx(wanted, rel=0.06)
    assert 1.1 * 0.25 * factor == pytest.approx(1.0, rel=0.15)
    # Either of the two, which are all but the same now. The callable serves an instance that nobody has seen.
    assert best.name in best.tuned and best.paired is not None
    network, method = best.candidate(*alike(77))
    capacity = float(alike(77)[0].data[1][0])
    part = best.tuned[best.name]["allocate.step_size"] * parts[best.name.removesuffix(", tuned")]
    assert float(method.allocate.step_size) == pytest.approx(part * BEST_STEP * capacity, rel=1e-12)
    assert network.num_nodes == N
    for word in ("default, tuned: allocate.step_size times", "runs of the"):
        assert word in repr(best)


def test_what_is_tuned_beats_what_it_came_from_and_costs_what_is_said():
    best = tried({"default": 0.25, "less": 0.1}, num_updates=3, num_held_out=5)
    # One round of 4 trials with two, 3 gradients of one number on 4 for each, what came of them with the default on 4,
    # and two held out.
    assert best.num_runs == 4 * 2 + 2 * 3 * 4 * 2 + 4 * 3 + 5 * 2
    assert best.num_all == (4 + 5) * 2
    assert best.num_trials == {"default": 4, "less": 4, "default, tuned": 4, "less, tuned": 4}
    assert best.held_out.seeds.tolist() == [4, 5, 6, 7, 8]
    assert best.factors["default, tuned"] < 1
    plain = tried({"default": 0.25, "less": 0.1}, what=(), num_held_out=5)
    assert plain.tuned == {} and plain.num_runs == 4 * 2 + 5


def test_what_is_best_already_is_kept_as_it_is():
    best = tried({"default": 0.97, "less": 0.5}, num_updates=2)
    # Beyond 1.1 * 0.97 the highest eigenvalue is slower: nothing that is found beats it.
    assert best.name == "default" or best.factors[best.name] < 1
    took = best.held_out.taken("steps", 1e-6)
    assert took[:, 0].mean() <= took[:, -1].mean()


def with_momentum(part, momentum):
    def made(problem, network, start):
        plain = part_of_best(part)(problem, network, start).allocate
        return cojax.CoOpt(allocate=cojax.HeavyBall(plain.step_size, momentum))

    return made


def test_who_is_best_only_when_tuned_is_found_though_others_are_ahead_as_they_are():
    """Of costs whose kappa is 4 gradient descent shrinks errors by 3/5 a step at best, heavy ball by 1/3."""
    field = {"default": part_of_best(0.5), "good": part_of_best(0.9), "better": part_of_best(1.0)}
    field["heavy"] = with_momentum(0.15, 0.05)
    options = {"num_trials": 4, "num_steps": 120, "every": 1, "over": "steps"}
    plain = cojax.choose(alike, field, default="default", **options)
    assert plain.name == "better" and plain.num_trials["heavy"] == 2
    what = ["allocate.step_size", "allocate.momentum"]
    best = cojax.choose(alike, field, default="default", what=what, num_updates=16, **options)
    assert best.name == "heavy, tuned"
    assert best.factors["heavy, tuned"] < 0.85 * best.factors["better"]


def test_rivals_and_candidates_without_such_numbers_stay_as_they_are(tmp_path):
    def other(problem, network, start):
        return cojax.rivals.rival("dual_gradient_tracking", problem, network, start)

    candidates = {"default": part_of_best(0.3), "heavy": with_momentum(0.5, 0.3), "rival": other}
    options = {"num_trials": 2, "num_steps": 60, "every": 2, "over": "steps", "num_updates": 3}
    what = ["allocate.momentum"]
    best = cojax.choose(alike, candidates, default="default", what=what, folder=tmp_path, **options)
    assert set(best.tuned) == {"heavy, tuned"}
    factor = best.tuned["heavy, tuned"]["allocate.momentum"]
    made = {"heavy, tuned": cojax.rivals.choices.Scaled(with_momentum(0.5, 0.3), {"allocate.momentum": factor})}
    momentum = float(made["heavy, tuned"](*alike(0))[1].allocate.momentum)
    assert momentum / (1 - momentum) == pytest.approx(factor * 0.3 / 0.7, rel=1e-12)
    again = cojax.choose(alike, candidates, default="default", what=what, folder=tmp_path, **options)
    assert again.tuned == best.tuned and again.factors == best.factors


def failing(made, seeds):
    """A candidate that refuses some instances."""
    refused = {float(alike(seed)[0].data[1][0]) for seed in seeds}

    def maybe(problem, network, start):
        if float(problem.data[1][0]) in refused:
            raise cojax.CojaxInputError("this candidate needs another instance.")
        return made(problem, network, start)

    return maybe


def over_a_link_that_it_refuses(problem, network, start):
    lossy = cojax.LossyOneWay(network, 0.1)  # whose sums nothing keeps without a Ledger
    return lossy, part_of_best(0.5)(problem, network, start)


@pytest.mark.parametrize("where", [None, "folder"])
def test_who_refuses_an_instance_is_dropped_with_its_reason(tmp_path, where):
    candidates = {
        "default": part_of_best(0.2),
        "first": failing(part_of_best(0.9), [0]),
        "later": failing(part_of_best(0.9), [1]),  # in the second round
        "best": part_of_best(0.7),
        "held out": failing(part_of_best(1.0), [5]),
        "link": over_a_link_that_it_refuses,
    }
    options = {"num_trials": 2, "num_steps": 120, "every": 2, "over": "steps"}
    folder = None if where is None else tmp_path / where
    best = cojax.choose(alike, candidates, default="default", folder=folder, **options)
    assert set(best.dropped) == {"first", "later", "held out", "link"}
    assert "another instance" in best.dropped["first"]
    assert "Ledger" in best.dropped["link"]
    assert best.name == "default"  # who came to the last trials was dropped there
    # Rounds of 1, 1 and 2 trials with 4, 2 and 2; then one trial of two before the refusal, and two of the default.
    assert best.num_runs == 4 + 2 + 2 * 2 + 2 + 2
    assert "was dropped: this candidate needs" in repr(best)
    if folder is not None:
        again = cojax.choose(alike, candidates, default="default", folder=folder, **options)
        assert again.dropped == best.dropped and again.factors == best.factors


def test_a_default_that_refuses_an_instance_ends_the_choice_in_its_own_words():
    candidates = {"other": failing(part_of_best(0.9), [1]), "default": failing(part_of_best(0.5), [1])}
    with pytest.raises(cojax.CojaxInputError, match="another instance"):
        cojax.choose(alike, candidates, default="default", num_trials=2, num_steps=20)


def test_names_that_no_candidate_has_are_refused_before_anything_runs():
    for what, match in (
        (["allocate.stepsize"], "'allocate.stepsize', which none"),
        ("allocate.step_size", "needs names"),
        (["allocate.step_size"] * 2, "every number once"),
        ([3.0], "needs names"),
    ):
        with pytest.raises(cojax.CojaxInputError, match=match):
            laws.unchecked(cojax.choose)(alike, CANDIDATES, default="half", num_trials=2, num_steps=20, what=what)
    pair = {"one": CANDIDATES["half"], "one, tuned": CANDIDATES["third"]}
    with pytest.raises(cojax.CojaxInputError, match="rename"):
        cojax.choose(alike, pair, default="one", num_trials=2, num_steps=20, what=["allocate.step_size"])
