"""Sparse features are the dense ones, to rounding, at the price of what they hold."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy import sparse
from scipy.special import expit
from support import laws

import cojax
from cojax import datasets, tables
from cojax.problems.costs import LeastSquares, Logistic, Samples, SmoothHinge, Softmax, SparseFeatures

A9A = Path(__file__).parents[3] / "shared" / "data" / "ml" / "a9a.trn.bz2"
RANDOM = np.random.default_rng(0)
TIGHT = {"gtol": 1e-8, "ftol": 0.0, "maxiter": 5000, "maxfun": 10_000}
MATRIX = sparse.random_array((60, 12), density=0.2, rng=RANDOM, format="csr")
LABELS = RANDOM.choice([-1.0, 1.0], 60)
COSTS = {
    "least squares": (LeastSquares(0.3), (12,)),
    "logistic": (Logistic(0.3), (12,)),
    "softmax": (Softmax(0.3), (12, 2)),
    "smooth hinge": (SmoothHinge(0.3, 5.0), (13,)),
}


def both(num_nodes=4):
    """The same samples, sparse and dense; labels 1 and -1, which are classes 1 and 0 to a softmax."""
    return (datasets.split(features, LABELS, num_nodes, seed=0) for features in (MATRIX, MATRIX.toarray()))


@pytest.mark.parametrize("name", COSTS)
def test_costs_and_gradients_are_those_of_dense_features(name):
    cost, shape = COSTS[name]
    thin, full = both()
    if name == "softmax":
        thin, full = (part._replace(targets=jnp.maximum(part.targets, 0)) for part in (thin, full))
    params = jnp.asarray(np.random.default_rng(1).normal(size=(4, *shape)))
    slope = jax.jit(jax.vmap(jax.value_and_grad(cost)))
    for ours, dense in zip(slope(params, thin), slope(params, full), strict=True):
        # Sums of 12 products in another order: a few roundings of numbers of order 1.
        np.testing.assert_allclose(ours, dense, rtol=1e-13, atol=1e-14)


def test_a_run_on_sparse_features_is_the_run_on_dense_ones():
    network = cojax.network(laws.ring_with_chords())
    method = cojax.CoOpt(learn=cojax.DIGing(0.05))
    for wrap in (lambda problem: problem, lambda problem: cojax.Minibatch(problem, 3)):
        found = []
        for samples in both(8):
            problem = wrap(cojax.Problem(lambda x, data: Logistic(0.1)(x.params, data), samples))
            start = problem.start(params=jnp.zeros((8, 12)))
            found.append(
                cojax.solve(problem, network, method, start, num_steps=20, every=20, record=laws.nothing).x.params
            )
        np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-14)  # 20 steps of the roundings above


def written(path, matrix, targets):
    """`matrix` as a LIBSVM file."""
    lines = []
    for row, target in enumerate(targets):
        entries = range(matrix.indptr[row], matrix.indptr[row + 1])
        lines.append(" ".join([f"{target:g}", *(f"{matrix.indices[e] + 1}:{matrix.data[e]!r}" for e in entries)]))
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    return path


def test_a_million_columns_take_the_memory_of_their_entries(tmp_path):
    columns = 1_000_000
    matrix = sparse.random_array((200, columns), density=20 / columns, rng=np.random.default_rng(0), format="csr")
    matrix = sparse.csr_array(sparse.hstack([matrix[:, :-1], np.ones((200, 1))]))
    labels = np.random.default_rng(1).choice([-1.0, 1.0], 200)
    read, targets = tables.read_sparse_libsvm(written(tmp_path / "wide.libsvm", matrix, labels))
    assert (read != matrix).nnz == 0
    samples = datasets.split(read, targets, 2, seed=0)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(samples)) < 200_000  # 1.6e9 as a dense array
    slope = jax.jit(jax.vmap(jax.grad(Logistic(0.0))))
    params = jnp.zeros((2, columns))
    program = slope.lower(params, samples).compile().memory_analysis()
    assert program.temp_size_in_bytes < 1_000_000  # beside params and gradient, of 16 MB each
    ours = np.asarray(slope(params, samples)).sum(0)
    # At 0 every sample weighs 1/2; the losses of both nodes add up to twice the pooled mean.
    wanted = -matrix.T @ (labels / 2) * 2 / 200
    np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-15)  # at most 200 terms in another order


def test_the_sparse_reader_reads_what_the_dense_one_reads(tmp_path):
    path = written(tmp_path / "small.libsvm", MATRIX, LABELS)
    thin, targets = tables.read_sparse_libsvm(path, num_features=12)
    full, same = tables.read_libsvm(path, num_features=12)
    np.testing.assert_array_equal(thin.toarray(), full)
    np.testing.assert_array_equal(targets, same)
    with pytest.raises(cojax.CojaxInputError, match="beyond the 3 features that are allowed"):
        tables.read_sparse_libsvm(path, max_features=3)
    with pytest.raises(cojax.CojaxInputError, match="more than max_bytes=9"):
        tables.read_sparse_libsvm(path, max_bytes=9)


@pytest.fixture(scope="module")
def a9a():
    if not A9A.is_file():
        pytest.skip("the a9a data is not there")
    return tables.read_sparse_libsvm(A9A, first_index=0, num_features=123)  # the file counts from 0


def test_the_gradient_on_a9a_is_that_of_scipy(a9a):
    matrix, labels = a9a
    assert matrix.shape == (32_561, 123) and matrix.nnz == 451_592  # as published
    samples = datasets.split(matrix, labels, 10, seed=0)
    params = np.random.default_rng(0).normal(size=123)
    slope = jax.jit(jax.vmap(jax.grad(Logistic(0.0)), in_axes=(None, 0)))
    ours = np.asarray(slope(jnp.asarray(params), samples)).sum(0) / 10
    wanted = matrix.T @ (-labels * expit(-labels * (matrix @ params))) / len(labels)
    np.testing.assert_allclose(ours, wanted, atol=1e-14)  # means of 3e4 terms of order 1, rounded in another order


def test_the_optimum_on_a9a_is_that_of_scikit_learn(a9a):
    from sklearn.linear_model import LogisticRegression

    matrix, labels = a9a
    samples = datasets.split(matrix, labels, 10, seed=0)
    problem = cojax.Problem(lambda x, data: Logistic(1e-3)(x.params, data), samples)
    value = jax.jit(jax.value_and_grad(lambda y: problem.costs(cojax.Decision(jnp.tile(y, (10, 1)))).mean()))
    ours = scipy.optimize.minimize(value, np.zeros(123), jac=True, method="L-BFGS-B", options=TIGHT)
    # Its objective is C times the sum of losses plus |y|^2 / 2: C = 1 / (ridge N).
    theirs = LogisticRegression(C=1e3 / len(labels), fit_intercept=False, tol=1e-10, solver="newton-cholesky")
    best = theirs.fit(matrix, labels).coef_[0]
    # |gradient| <= 1e-8 sqrt(123) over the curvature 1e-3 of the ridge.
    np.testing.assert_allclose(ours.x, best, atol=2e-4)
    np.testing.assert_allclose(ours.fun, value(jnp.asarray(best))[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        ([[0, 3]], [[1.0, 1.0]], "0 <= index < 3, the number of features, got 0 to 3"),
        ([[-1, 0]], [[1.0, 1.0]], "got -1 to 0"),
        ([[0.0, 1.0]], [[1.0, 1.0]], "whole numbers for index and floats for value, got float64 and float64"),
        ([[0, 1]], [[1.0, 1.0, 1.0]], r"index and value of one shape, got \(1, 2\) and \(1, 3\)"),
    ],
)
def test_tables_that_point_elsewhere_are_refused(index, value, message):
    with pytest.raises(cojax.CojaxInputError, match=message):
        SparseFeatures(np.asarray(index), np.asarray(value), 3)


def test_splits_refuse_sparse_features_that_are_not_finite():
    broken = MATRIX.copy()
    broken.data[3] = np.nan
    with pytest.raises(cojax.CojaxInputError, match="finite features and targets"):
        datasets.split(broken, LABELS, 4, seed=0)
    assert isinstance(datasets.split(MATRIX, LABELS, 4, seed=0), Samples)
