"""The estimator is one to scikit-learn's own checks, and finds what scikit-learn finds."""

import networkx as nx
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import cojax
from cojax.estimators import DecentralizedClassifier


@parametrize_with_checks([DecentralizedClassifier(n_nodes=4, ridge=0.1)])
def test_scikit_learn_takes_it_for_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("split", ["random", "by_target"])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_it_finds_the_model_that_scikit_learn_finds_in_one_place(split, load):
    X, y = load(return_X_y=True)
    ridge = 0.05
    model = DecentralizedClassifier(6, nx.path_graph(6), split=split, ridge=ridge, tolerance=1e-6).fit(X, y)
    columns = np.column_stack([(X - X.mean(0)) / X.std(0), np.ones(len(X))])
    # Of two classes softmax has two rows that differ by one row of logistic regression: twice the ridge for half of it.
    strength = 1 / (ridge * len(X)) * (2 if len(np.unique(y)) == 2 else 1)
    central = LogisticRegression(C=strength, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(columns, y)
    np.testing.assert_allclose(model.predict_proba(X), central.predict_proba(columns), atol=1e-4)
    np.testing.assert_allclose(model.decision_function(X), _centred(central.decision_function(columns)), atol=1e-3)
    assert model.score(X, y) == pytest.approx(central.score(columns, y), abs=2 / len(X))
    assert model.coef_.shape == (len(np.unique(y)), X.shape[1])


def _centred(scores):
    return scores


@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
@pytest.mark.parametrize("power", [-200, 0, 200])
def test_constant_columns_and_the_size_of_numbers_change_no_prediction(load, power):
    """Beside scikit-learn's scaler and regression over the columns as they were."""
    X, y = load(return_X_y=True)
    X = X[:, :4]
    ridge, size = 0.05, 10.0**power
    # Constant columns, of which the deviation found in doubles is 0, or the rounding of a sum.
    constant = np.tile([0.1, 1 / 3, 0.0, 7.0, -1e5], (len(X), 1))
    assert (constant.std(0) > 0).any()
    model = DecentralizedClassifier(4, ridge=ridge, tolerance=1e-6).fit(np.column_stack([X, constant]) * size, y)
    scaler = StandardScaler().fit(np.column_stack([X, constant]))
    columns = np.column_stack([scaler.transform(np.column_stack([X, constant])), np.ones(len(X))])
    strength = 1 / (ridge * len(X)) * (2 if len(np.unique(y)) == 2 else 1)
    central = LogisticRegression(C=strength, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(columns, y)
    other = constant + np.random.default_rng(0).normal(size=constant.shape)  # what the training never saw
    for beside in (constant, other):
        found = model.predict_proba(np.column_stack([X, beside]) * size)
        np.testing.assert_allclose(found, central.predict_proba(columns), atol=1e-4)
    assert (model.coef_[:, 4:] == 0).all() and np.isfinite(model.coef_).all()
    # In scikit-learn's units; rows of two classes are opposite, and differ by its one.
    mine = model.coef_[:, :4] * size * scaler.scale_[:4]
    mine = mine[1:] - mine[:1] if len(mine) == 2 else mine
    np.testing.assert_allclose(mine, central.coef_[:, :4], atol=1e-3)


@pytest.mark.parametrize(("classes", "numerator"), [(2, 2), (3, 1)])
def test_the_ridge_is_the_strength_that_the_docstring_names(classes, numerator):
    """And no other: a twice as strong regression of scikit-learn is another model."""
    X, y = load_iris(return_X_y=True)
    X, y = X[y > 2 - classes], y[y > 2 - classes]
    ridge = 0.05
    assert f"C={numerator} / (ridge N)" in " ".join((DecentralizedClassifier.__doc__ or "").split())
    model = DecentralizedClassifier(4, ridge=ridge, tolerance=1e-6).fit(X, y)
    columns = np.column_stack([StandardScaler().fit_transform(X), np.ones(len(X))])
    away = {}
    for strength in (1, 2):
        central = LogisticRegression(C=strength / (ridge * len(X)), fit_intercept=False, tol=1e-12, max_iter=10_000)
        found = central.fit(columns, y).predict_proba(columns)
        away[strength] = np.abs(found - model.predict_proba(X)).max()
    assert away.pop(numerator) < 1e-4 and min(away.values()) > 1e-2


def test_numbers_at_either_end_of_the_doubles_lead_to_finite_models():
    X, y = load_iris(return_X_y=True)
    for size in (1e307, 1e-309):
        model = DecentralizedClassifier(4, ridge=0.1).fit(X * size, y)
        assert np.isfinite(model.coef_).all() and np.isfinite(model.predict_proba(X * size)).all()


def test_what_it_cannot_do_is_said():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="NOT certified|OUT_OF_STEPS"):
        DecentralizedClassifier(max_steps=5).fit(X, y)
    with pytest.raises(cojax.CojaxInputError, match='split "random" or "by_target", got \'even\''):
        DecentralizedClassifier(split="even").fit(X, y)
