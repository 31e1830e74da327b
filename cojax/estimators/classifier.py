"""Softmax regression whose samples stay on the nodes of a network."""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError, whole_number
from ..data import datasets, graphs
from ..data.columns import columns_of
from ..methods import CoOpt
from ..networks.build import network
from ..problems import costs
from ..problems.problem import Problem
from ..runs.solve_to import solve_to
from ..runs.status import Status
from ..tuning.default_learner import default_learner

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError as missing:
    raise CojaxInputError(
        "cojax.estimators needs scikit-learn, which is not installed: pip install 'cojax[data]'."
    ) from missing


class DecentralizedClassifier(ClassifierMixin, BaseEstimator):
    """Softmax regression over a network: samples are dealt to nodes and stay there, parameters are told to neighbours.

        model = DecentralizedClassifier(n_nodes=10, graph="ring").fit(X, y)
        model.score(X_test, y_test)
        print(model.solution_)  # how the run over the network ended

    It minimises the mean loss + ridge / 2 |coefficients|^2 over standardised columns, as scikit-learn's
    `LogisticRegression(C=1 / (ridge N))` does for three classes and more, but for the intercept, which is held back
    too. Of two classes it has two opposite rows of coefficients, each half of scikit-learn's one, so that the ridge
    weighs half as much: C=2 / (ridge N). Means and deviations of columns are those of all samples: sums, which nodes
    can find together. Columns that are constant to rounding, as `StandardScaler` judges, get coefficients of 0. Method,
    link and numbers are those of `cojax.default_learner`.

    Args:
        n_nodes: how many nodes; of fewer samples, as many as there are samples.
        graph: a name of `cojax.graphs.named`, or what `cojax.network` takes, over n_nodes nodes.
        split: "random", all nodes see alike data; or "by_target", most see one class only.
        ridge: >= 0; of 0 there is an optimum only where no hyperplanes separate the classes.
        tolerance: of the certificate of the run, relative.
        max_steps: after these a `ConvergenceWarning` is given.
        random_state: an integer seed of the split, and of a graph that is drawn.

    Fitted: classes_ (c,); coef_ (c, d) and intercept_ (c,), of the mean of the nodes' models; solution_, the
    `Solution`, whose x.params are (n_nodes, d + 1, c); n_features_in_. Raises ValueError as scikit-learn does,
    `CojaxInputError` for a graph or numbers that cojax refuses.
    """

    def __init__(
        self,
        n_nodes: Any = 8,
        graph: Any = "ring",
        split: Any = "random",
        ridge: Any = 1e-2,
        tolerance: Any = 1e-3,
        max_steps: Any = 20_000,
        random_state: Any = 0,
    ):
        self.n_nodes, self.graph, self.split, self.ridge = n_nodes, graph, split, ridge
        self.tolerance, self.max_steps, self.random_state = tolerance, max_steps, random_state

    def fit(self, X: Any, y: Any) -> "DecentralizedClassifier":
        """Train on samples X (N, d) with labels y (N,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"DecentralizedClassifier needs at least 2 classes, got {len(self.classes_)} class.")
        if self.split not in ("random", "by_target"):
            raise CojaxInputError(f'DecentralizedClassifier needs split "random" or "by_target", got {self.split!r}.')
        owner = "DecentralizedClassifier"
        nodes = min(whole_number(owner, "n_nodes", self.n_nodes, at_least=1), len(X))
        max_steps = whole_number(owner, "max_steps", self.max_steps, at_least=1)
        every = min(100, max_steps)
        columns = columns_of(X)
        deal = datasets.split if self.split == "random" else datasets.split_by_target
        samples = deal(
            np.column_stack([columns.standardised(X), np.ones(len(X))]),
            targets.astype(float),
            nodes,
            seed=self.random_state,
        )
        problem = Problem(costs.Separable(costs.Softmax(self.ridge), None), (samples, None))
        start = problem.start(params=jnp.zeros((nodes, X.shape[1] + 1, len(self.classes_))))
        drawn = graphs.named(self.graph, nodes, seed=self.random_state) if isinstance(self.graph, str) else self.graph
        linked, learner = default_learner(problem, network(drawn), start)
        self.solution_ = solve_to(
            problem,
            linked,
            CoOpt(learn=learner),
            start,
            tolerance=self.tolerance,
            max_steps=max_steps // every * every,
            every=every,
        )
        if int(self.solution_.status) != Status.CONVERGED:
            warnings.warn(f"{self.solution_}", ConvergenceWarning, stacklevel=2)
        weights = np.asarray(self.solution_.x.params, float).mean(0)
        scaled = (weights[:-1] / columns.deviation[:, None]).T
        self.coef_ = np.ldexp(scaled, -columns.exponent)
        self.intercept_ = weights[-1] - scaled @ columns.mean
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (N, c); of two classes (N,), that of the second above the first."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, c)."""
        scores = self._scores(X)
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Labels (N,)."""
        best = self._scores(X).argmax(1)
        return self.classes_[best]

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_.T + self.intercept_
