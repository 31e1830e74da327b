"""Splits lose no sample, weigh it once, and are as uneven as they are asked to be."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.preprocessing import StandardScaler

from cojax import CojaxInputError, datasets
from cojax.data.columns import columns_of
from cojax.problems.costs import LeastSquares

SPLITS = (datasets.split, datasets.split_by_target)


def made(num_samples, num_features=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_samples, num_features)), rng.choice([-1.0, 1.0], num_samples)


def sizes(samples):
    return np.asarray(samples.weights > 0).sum(1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 60), st.integers(0, 2**31), st.sampled_from(SPLITS))
def test_every_sample_goes_to_exactly_one_node(num_nodes, spare, seed, split):
    features, targets = made(num_nodes + spare)
    samples = split(features, targets, num_nodes, seed=seed)
    real = np.asarray(samples.weights) > 0
    rows = np.column_stack([np.asarray(samples.features)[real], np.asarray(samples.targets)[real]])
    expected = np.column_stack([features, targets])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert sizes(samples).min() >= 1
    assert sizes(samples).max() == samples.targets.shape[1]


@pytest.mark.parametrize("split", SPLITS)
def test_padding_is_zero_and_comes_last(split):
    samples = split(*made(50), 4, seed=0)
    padding = np.asarray(samples.weights) == 0
    assert padding.any()
    assert not np.asarray(samples.features)[padding].any()
    assert not np.asarray(samples.targets)[padding].any()
    assert (np.diff(padding, axis=1).sum(1) <= 1).all()
    assert not padding[:, 0].any()


def test_losses_of_the_nodes_add_up_to_n_times_the_pooled_mean():
    features, targets = made(50)
    samples = datasets.split(features, targets, 4, seed=0)
    params = jnp.array([0.3, -0.2, 0.5])
    cost = LeastSquares()
    total = sum(cost(params, type(samples)(*(part[node] for part in samples))) for node in range(4))
    pooled = np.mean((features @ np.asarray(params) - targets) ** 2 / 2)
    np.testing.assert_allclose(total, 4 * pooled, rtol=1e-13)  # a sum of 50 terms in another order


def test_per_node_mean_makes_every_nodes_loss_its_own_mean():
    samples = datasets.per_node_mean(datasets.split(*made(50), 4, seed=0))
    params = jnp.array([0.3, -0.2, 0.5])
    for node, size in enumerate(sizes(samples)):
        own = type(samples)(*(part[node] for part in samples))
        errors = np.asarray(own.features[:size]) @ np.asarray(params) - np.asarray(own.targets[:size])
        np.testing.assert_allclose(LeastSquares()(params, own), np.mean(errors**2 / 2), rtol=1e-13)  # order of a sum


def test_nodes_get_from_one_to_four_parts_by_default():
    counts = np.sort(sizes(datasets.split(*made(1000), 5, seed=0)))
    expected = 1000 * 4.0 ** np.linspace(0, 1, 5) / (4.0 ** np.linspace(0, 1, 5)).sum()
    assert np.abs(counts - expected).max() < 1.0


def test_proportions_are_met_to_one_sample_and_leave_nobody_empty():
    counts = sizes(datasets.split(*made(100), 4, seed=0, proportions=np.array([1.0, 2.0, 3.0, 4.0])))
    np.testing.assert_array_equal(counts, [10, 20, 30, 40])
    counts = sizes(datasets.split(*made(10), 4, seed=0, proportions=np.array([1e-9, 1e-9, 1e-9, 1.0])))
    np.testing.assert_array_equal(counts, [1, 1, 1, 7])


@pytest.mark.parametrize("split", SPLITS)
def test_the_seed_decides_the_split(split):
    first, again, other = (split(*made(50), 4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.features, again.features)
    assert first.features.shape != other.features.shape or (first.features != other.features).any()


def test_a_random_split_mixes_targets_and_a_split_by_target_does_not():
    features, targets = made(400)
    mixed, sorted_ = (split(features, targets, 8, seed=0) for split in SPLITS)
    labels = [[set(row[row != 0].tolist()) for row in np.asarray(samples.targets)] for samples in (mixed, sorted_)]
    assert all(len(seen) == 2 for seen in labels[0])
    assert sum(len(seen) == 2 for seen in labels[1]) <= 1


def dealt(targets, num_nodes, **settings):
    """How many samples of every class every node gets, (n, classes)."""
    samples = datasets.split_dirichlet(np.arange(len(targets))[:, None], targets, num_nodes, **settings)
    real = np.asarray(samples.weights) > 0
    seen = [np.asarray(samples.targets)[node][real[node]] for node in range(num_nodes)]
    return np.array([[(labels == label).sum() for label in np.unique(targets)] for labels in seen])


LABELS = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0, 5.0], [300, 200, 103]))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.floats(0.3, 30.0), st.integers(0, 2**31))
def test_a_dirichlet_split_deals_every_sample_once(num_nodes, concentration, seed):
    rows = np.arange(LABELS.size, dtype=float)
    samples = datasets.split_dirichlet(rows[:, None], LABELS, num_nodes, seed=seed, concentration=concentration)
    real = np.asarray(samples.weights) > 0
    found = np.asarray(samples.features)[real][:, 0].astype(int)
    np.testing.assert_array_equal(np.sort(found), np.arange(LABELS.size))
    np.testing.assert_array_equal(np.asarray(samples.targets)[real], LABELS[found])
    np.testing.assert_allclose(np.asarray(samples.weights)[real], num_nodes / LABELS.size, rtol=1e-15)
    assert real.any(1).all() and real.all(0)[: sizes(samples).min()].all()


def test_the_seed_decides_a_dirichlet_split():
    first, again, other = (dealt(LABELS, 5, seed=seed, concentration=0.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    samples = [
        datasets.split_dirichlet(np.arange(603.0)[:, None], LABELS, 5, seed=seed, concentration=1e12) for seed in (1, 2)
    ]
    assert (samples[0].features[:, :110] != samples[1].features[:, :110]).any()  # and who gets which of a class


def test_the_parts_of_a_class_are_dirichlet():
    num_nodes, concentration, counts, num_draws = 4, 2.0, np.array([400, 250]), 1000
    targets = np.repeat([0.0, 1.0], counts)
    deals = [dealt(targets, num_nodes, seed=seed, concentration=concentration) for seed in range(num_draws)]
    parts = np.stack(deals) / counts
    law = stats.beta(concentration, (num_nodes - 1) * concentration)  # of one part
    for label in range(2):
        for node in range(num_nodes):
            # Rounding moves a part by 1 / 250 at most, a hundredth in its law, of which 1 000 draws see a twentieth.
            assert stats.kstest(parts[:, node, label], law.cdf).pvalue > 1e-4
    # Each variance is known to sqrt(2 / 1000) = 0.045 of itself, their mean over eight to about 0.02.
    np.testing.assert_allclose(parts.var(0).mean(), law.var(), rtol=0.1)
    # Two parts of a class are correlated by -1 / (n - 1), parts of two classes are not.
    assert abs(np.corrcoef(parts[:, 0, 0], parts[:, 1, 0])[0, 1] + 1 / 3) < 5 / np.sqrt(num_draws)
    assert abs(np.corrcoef(parts[:, 0, 0], parts[:, 0, 1])[0, 1]) < 5 / np.sqrt(num_draws)


def test_the_concentration_leads_from_one_class_a_node_to_even_classes():
    counts = np.array([300, 200, 103])
    even = dealt(LABELS, 5, seed=0, concentration=1e12)
    np.testing.assert_allclose(even, np.tile(counts / 5, (5, 1)), atol=1.0)  # rounded at both ends
    narrow = dealt(LABELS, 3, seed=0, concentration=1e-4)
    assert (narrow.max(0) == counts).all() and (narrow.max(1) > 0).all()  # each class at one node
    spread = [dealt(LABELS, 5, seed=0, concentration=level).std(0).sum() for level in (0.1, 1.0, 10.0, 1000.0)]
    assert spread == sorted(spread, reverse=True)


def test_a_dirichlet_split_that_leaves_a_node_empty_is_refused():
    with pytest.raises(CojaxInputError, match="1000 draws of 3 classes over 9 nodes that leave one empty: take"):
        dealt(LABELS, 9, seed=0, concentration=1e-5)
    with pytest.raises(CojaxInputError, match="split_dirichlet needs concentration >= 1e-06"):
        dealt(LABELS, 9, seed=0, concentration=0.0)
    with pytest.raises(CojaxInputError, match="num_nodes <= 603, the number of samples, got 604"):
        dealt(LABELS, 604, seed=0, concentration=1.0)


@pytest.mark.parametrize(
    ("features", "targets", "num_nodes", "proportions", "message"),
    [
        (np.ones((3, 2)), np.ones(3), 4, None, "num_nodes <= 3, the number of samples, got 4"),
        (np.ones((3, 2)), np.ones(3), 0, None, "a whole number num_nodes >= 1, got 0"),
        (np.full((3, 2), np.nan), np.ones(3), 2, None, "finite features and targets"),
        (np.ones((3, 2)), np.ones(3), 2, np.array([1.0, 0.0]), "2 proportions > 0, one per node"),
        (np.ones((3, 2)), np.ones(3), 2, np.array([1.0, np.nan]), "2 proportions > 0, one per node"),
        (np.ones((3, 2)), np.ones(3), 2, np.ones(3), "2 proportions > 0, one per node"),
    ],
)
def test_splits_that_leave_a_node_empty_are_refused(features, targets, num_nodes, proportions, message):
    with pytest.raises(CojaxInputError, match=message):
        datasets.split(features, targets, num_nodes, seed=0, proportions=proportions)


def test_breast_cancer_is_standardised_by_its_training_part():
    data = datasets.breast_cancer(test_fraction=0.25, seed=1)
    assert data.features.shape == (427, 30)
    assert data.test_features.shape == (142, 30)
    np.testing.assert_allclose(data.features.mean(0), 0.0, atol=1e-13)  # 427 roundings of numbers of order 1
    np.testing.assert_allclose(data.features.std(0), 1.0, atol=1e-13)
    assert np.abs(data.test_features.mean(0)).max() > 1e-3
    assert set(data.targets) == set(data.test_targets) == {-1.0, 1.0}
    assert (data.targets == 1).sum() + (data.test_targets == 1).sum() == 357  # benign, as published


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_columns_are_standardised_as_scikit_learn_standardises_them_at_any_size(size):
    """Rounding of means: columns of 0.1, of 10^9 with deviations of 10^-9 to 1, and of ordinary numbers."""
    noise = np.random.default_rng(0).normal(size=(300, 6))
    features = noise * [0, 0, 1e-9, 1e-4, 1.0, 20.0] + [0.1, 1e9, 1e9, 1e9, -3.0, 0.0]
    scaler = StandardScaler().fit(features)
    constant = scaler.scale_ == 1.0
    assert constant.tolist() == [True, True, True, False, False, False]
    expected = np.where(constant, 0.0, scaler.transform(features))
    # Of 10^9 with a deviation of 10^-4 the rounding of the numbers themselves is 10^-3 deviations.
    found = columns_of(features * size).standardised(features * size)
    np.testing.assert_allclose(found[:, [0, 1, 2, 4, 5]], expected[:, [0, 1, 2, 4, 5]], atol=1e-12)
    np.testing.assert_allclose(found[:, 3], expected[:, 3], atol=1e-2)


def test_the_test_part_of_breast_cancer_is_drawn_by_the_seed():
    first, again, other = (datasets.breast_cancer(seed=seed).test_features for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_breast_cancer_needs_both_parts(fraction):
    with pytest.raises(CojaxInputError, match="test_fraction > 0 and test_fraction < 1"):
        datasets.breast_cancer(test_fraction=fraction)


def test_a_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(CojaxInputError, match=r"pip install 'cojax\[data\]'"):
        datasets.breast_cancer()
