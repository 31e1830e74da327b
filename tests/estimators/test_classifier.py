"""The estimator is one to scikit-learn's own checks, and finds what scikit-learn finds."""

import networkx as nx
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
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


def test_what_it_cannot_do_is_said():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="NOT certified|OUT_OF_STEPS"):
        DecentralizedClassifier(max_steps=5).fit(X, y)
    with pytest.raises(cojax.CojaxInputError, match='split "random" or "by_target", got \'even\''):
        DecentralizedClassifier(split="even").fit(X, y)
