"""Samples are split over nodes unevenly, as in practice, and padded so that every node has the same shape."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, check_number, fitting, real_array, whole_number
from ..problems.costs import Samples
from ..problems.sparse import SparseFeatures, pad_rows
from .columns import columns_of

if TYPE_CHECKING:
    from scipy import sparse


MOST_DRAWS = 1000  # of a split at random, until every node has a sample


class Dataset(NamedTuple):
    """Samples to learn from, and others to test on."""

    features: Float[np.ndarray, "N d"]
    targets: Float[np.ndarray, " N"]
    test_features: Float[np.ndarray, "M d"]
    test_targets: Float[np.ndarray, " M"]


def breast_cancer(*, test_fraction: float = 0.25, seed: int = 0) -> Dataset:
    """569 tumours with 30 features, standardised by the mean and deviation of the training part; labels -1 and 1.

    Label 1 is benign. Needs scikit-learn, which brings the data along; nothing is downloaded.
    Raises `CojaxInputError` where it is missing and for a test_fraction outside (0, 1).
    Source: Wolberg et al., Breast Cancer Wisconsin (Diagnostic), UCI, 1995, doi 10.24432/C5DW2B.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError as error:
        raise CojaxInputError(
            "datasets.breast_cancer needs scikit-learn, which is not installed: pip install 'cojax[data]'."
        ) from error
    check_number("datasets.breast_cancer", "test_fraction", test_fraction, above=0.0, below=1.0, shaped=())
    seed = whole_number("datasets.breast_cancer", "seed", seed, at_least=0)
    features, labels = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    num_test = min(max(round(test_fraction * len(labels)), 1), len(labels) - 1)
    features, targets = np.asarray(features)[order], 2.0 * np.asarray(labels, float)[order] - 1.0
    train, test = features[num_test:], features[:num_test]
    columns = columns_of(train)
    return Dataset(columns.standardised(train), targets[num_test:], columns.standardised(test), targets[:num_test])


def split(
    features: Any,
    targets: Float[np.ndarray, " N"],
    num_nodes: int,
    *,
    seed: int,
    proportions: Float[np.ndarray, " n"] | None = None,
) -> Samples:
    """Samples dealt to nodes at random: all nodes see alike data, in unequal amounts.

    Args:
        features: (N, d), or a SciPy sparse matrix, which is dealt as `cojax.costs.SparseFeatures`.
        targets: (N,).
        num_nodes: n <= N.
        seed: of the order of the samples and, by default, of who gets how many.
        proportions: (n,), > 0, the parts of the samples that the nodes get, on any scale; by default they grow
            geometrically from 1 to 4 and are given out at random. Every node gets one sample at least.

    Returns: `Samples` with features (n, m, d), targets (n, m) and weights (n, m), where m is the largest number of
    samples at one node. A sample weighs n/N and padding 0, so that the nodes' losses add up to n times the pooled mean;
    `per_node_mean` weighs them as the paper does. Floats are JAX's default float.

    Raises `CojaxInputError` for fewer samples than nodes and shapes that do not fit.
    """
    features, targets, sizes, shuffled = _shuffle(features, targets, num_nodes, proportions, seed)
    return _distribute(features, targets, shuffled, sizes)


def split_by_target(
    features: Any,
    targets: Float[np.ndarray, " N"],
    num_nodes: int,
    *,
    seed: int,
    proportions: Float[np.ndarray, " n"] | None = None,
) -> Samples:
    """Samples dealt to nodes in the order of their targets: most nodes see one label only, or a narrow range.

    Args, returns and errors as for `split`; samples of equal targets come in random order. The nodes' own optima lie
    far apart, which is where methods differ.
    """
    features, targets, sizes, shuffled = _shuffle(features, targets, num_nodes, proportions, seed)
    return _distribute(features, targets, shuffled[np.argsort(targets[shuffled], kind="stable")], sizes)


def split_dirichlet(
    features: Any, targets: Float[np.ndarray, " N"], num_nodes: int, *, seed: int, concentration: float
) -> Samples:
    """Samples of every class dealt to nodes in proportions drawn from a Dirichlet law: nodes differ in mix and amount.

    The larger `concentration`, the more alike the nodes: a node's part of a class has mean 1/n and variance
    (n - 1) / n^2 / (n concentration + 1). Papers take 0.1 to 1. A node gets its part to one sample. All classes are
    drawn again while a node has no sample at all, a thousand times at most, so the law is that of draws in which every
    node has one.

    Args:
        features, targets, num_nodes: as for `split`; every number among the targets is a class.
        seed: of the proportions and of which sample of a class goes where.
        concentration: from 1e-6 to 1e12, the same for all nodes.

    Returns and raises as `split`, and `CojaxInputError` for another concentration, and where no draw gave every node a
    sample.
    Source: Yurochkin et al., ICML 2019, arXiv 1905.12022; Hsu, Qi, Brown, arXiv 1909.06335, draw the classes of every
    node instead, which then all have as many samples.
    """
    num_nodes = whole_number("split_dirichlet", "num_nodes", num_nodes, at_least=1)
    rng = np.random.default_rng(whole_number("split_dirichlet", "seed", seed, at_least=0))
    check_number("split_dirichlet", "concentration", concentration, at_least=1e-6, at_most=1e12, shaped=())
    features, targets = _check_samples(features, targets, num_nodes)
    shuffled = rng.permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]
    counts = np.unique(targets, return_counts=True)[1]
    for _ in range(MOST_DRAWS):
        # Where the parts of a class end, as numbers of its samples: each part is rounded at both ends.
        parts = rng.dirichlet(np.full(num_nodes, float(concentration)), len(counts)).cumsum(1)
        ends = np.rint(counts[:, None] * parts / parts[:, -1:]).astype(int)
        sizes = np.diff(ends, axis=1, prepend=0)
        if (sizes.sum(0) > 0).all():
            node = np.repeat(np.tile(np.arange(num_nodes), len(counts)), sizes.ravel())
            order = np.argsort(node, kind="stable")
            return _distribute(features, targets, by_class[order], sizes.sum(0))
    raise CojaxInputError(
        f"split_dirichlet needs every node to have a sample, got {MOST_DRAWS} draws of {len(counts)} classes over "
        f"{num_nodes} nodes that leave one empty: take fewer nodes, or another concentration than "
        f"{float(concentration):g}."
    )


def per_node_mean(samples: Samples) -> Samples:
    """The same samples, each weighing 1/N_i at a node that has N_i of them: every node's loss is its own mean.

    The sum over nodes is then the paper's objective, in which a node counts as much with few samples as with many.
    Samples of weight 0 are padding and stay so.
    """
    real = samples.weights > 0
    counts = jnp.maximum(jnp.sum(real, axis=-1, keepdims=True), 1).astype(samples.weights.dtype)
    return samples._replace(weights=real.astype(samples.weights.dtype) / counts)


def _shuffle(
    features: Any, targets: np.ndarray, num_nodes: int, proportions: np.ndarray | None, seed: int
) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """The samples checked, how many of them every node gets, and their rows in random order."""
    num_nodes = whole_number("split", "num_nodes", num_nodes, at_least=1)
    rng = np.random.default_rng(whole_number("split", "seed", seed, at_least=0))
    features, targets = _check_samples(features, targets, num_nodes)
    sizes = _sizes(len(targets), num_nodes, proportions, rng)
    return features, targets, sizes, rng.permutation(len(targets))


def _check_samples(features: Any, targets: np.ndarray, num_nodes: int) -> tuple[Any, np.ndarray]:
    targets = _as_floats("targets", targets)
    features = _by_rows(features) if _is_sparse(features) else _as_floats("features", features)
    if features.ndim != 2 or targets.shape != features.shape[:1]:
        raise CojaxInputError(
            f"split needs features (sample, feature) and targets (sample,), got {features.shape} and {targets.shape}."
        )
    entries = features.data if _is_sparse(features) else features
    if not (np.isfinite(entries).all() and np.isfinite(targets).all()):
        raise CojaxInputError(
            "split needs finite features and targets, got others: fill them in or drop those samples."
        )
    if num_nodes > len(targets):
        raise CojaxInputError(
            f"split needs num_nodes <= {len(targets)}, the number of samples, got {num_nodes}: every node needs one "
            "sample."
        )
    return features, targets


def _sizes(num_samples: int, num_nodes: int, proportions: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """How many samples every node gets: one each, and the rest in proportion, by largest remainders."""
    if proportions is None:
        proportions = rng.permutation(4.0 ** np.linspace(0.0, 1.0, num_nodes))
    parts = real_array("split", "proportions", proportions).astype(float)
    if parts.shape != (num_nodes,) or not np.isfinite(parts).all() or (parts <= 0).any():
        raise CojaxInputError(f"split needs {num_nodes} proportions > 0, one per node, got {np.asarray(proportions)}.")
    parts = parts / parts.max()  # so that their sum does not overflow
    wanted = num_samples * parts / parts.sum()
    sizes = np.maximum(np.floor(wanted).astype(int), 1)
    while sizes.sum() != num_samples:
        missing = num_samples - sizes.sum()
        # Only nodes with two samples can give one away.
        gap = np.where((missing > 0) | (sizes > 1), wanted - sizes, np.inf)
        sizes[gap.argmax() if missing > 0 else gap.argmin()] += np.sign(missing)
    return sizes


def _distribute(features: Any, targets: np.ndarray, order: np.ndarray, sizes: np.ndarray) -> Samples:
    num_nodes, most = len(sizes), int(sizes.max())
    node = np.repeat(np.arange(num_nodes), sizes)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kind = jnp.result_type(float)

    def deal(rows: np.ndarray, dtype: Any) -> Array:
        dealt = np.zeros((num_nodes, most, *rows.shape[1:]), dtype)
        dealt[node, place] = rows[order]
        return jnp.asarray(dealt)

    weights = deal(np.full(len(order), num_nodes / len(order)), kind)
    if not _is_sparse(features):
        return Samples(deal(features, kind), deal(targets, kind), weights)
    index, value = pad_rows(features)
    table = SparseFeatures(deal(index, np.int32), deal(value, kind), features.shape[1])
    return Samples(table, deal(targets, kind), weights)


def _is_sparse(features: Any) -> bool:
    return hasattr(features, "tocsr")  # every SciPy sparse matrix and nothing else; asking SciPy would load it


def _by_rows(features: Any) -> "sparse.csr_array":
    matrix = features.tocsr()
    if matrix.shape[1] > np.iinfo(np.int32).max:
        raise CojaxInputError(f"split needs features with at most 2**31 - 1 columns, got {matrix.shape[1]}.")
    _as_floats("features", matrix.data)
    return matrix


def _as_floats(name: str, value: Any) -> np.ndarray:
    """Real numbers, those that JAX's default float can hold; whole ones as floats, of which it holds more."""
    array = real_array("split", name, value)
    return fitting("split", name, array.astype(float) if array.dtype.kind in "iu" else array)
