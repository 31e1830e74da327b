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
    np.testing.assert_allclose(spent(found, "bits", 1e-6)[:, 0], 10 * found.bits[:, 1, -1])
    best = cojax.choose(case, both, default="third", num_trials=2, gap=1e-6, **SETTINGS)
    assert best.name == "third"


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
