"""The samples of a plan: read, split into training and test, scaled, labelled as the model wants, dealt to nodes."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ..._support.checks import CojaxInputError
from ...data import datasets
from ...data.columns import columns_of
from ...data.tables import is_libsvm, read_samples
from ...problems.costs import Samples
from ..plans.plans import Data, LeastSquaresTable, Plan, SoftmaxTable, Svm

MOST_CLASSES = 1000
SPLITS: dict[str, Callable[..., Samples]] = {
    "random": datasets.split,
    "by_target": datasets.split_by_target,
    "dirichlet": datasets.split_dirichlet,
}


def prepare_dataset(plan: Plan) -> datasets.Dataset:
    """The training and test samples of a plan, as its model wants them.

    Labels become -1 and 1, or 0 ... c-1 for a softmax, in the order of the numbers in the file. Every model but the
    svm, which has an offset of its own, gets a column of ones.
    Raises `CojaxInputError` for unreadable files, and for targets or widths that do not fit.
    """
    assert plan.data is not None
    dataset = _load_named(plan) if plan.data.name else _read(plan.data, plan.seed)
    if not isinstance(plan.model, LeastSquaresTable):
        dataset = _with_labels(dataset, softmax=isinstance(plan.model, SoftmaxTable))
    if isinstance(plan.model, Svm):
        return dataset
    return dataset._replace(features=_with_ones(dataset.features), test_features=_with_ones(dataset.test_features))


def split_over_nodes(plan: Plan, dataset: datasets.Dataset, num_nodes: int) -> Samples:
    """The training samples, split over the nodes and weighted as the plan says."""
    assert plan.data is not None
    parts = None if plan.data.proportions is None else np.asarray(plan.data.proportions)
    if parts is not None and len(parts) != num_nodes:
        raise CojaxInputError(f"$.data.proportions needs {num_nodes} proportions > 0, one per node, got {len(parts)}.")
    settings = {"proportions": parts}
    if plan.data.split == "dirichlet":
        settings = {"concentration": plan.data.concentration}
    samples = SPLITS[plan.data.split](dataset.features, dataset.targets, num_nodes, seed=plan.seed, **settings)
    return datasets.per_node_mean(samples) if plan.data.weighting == "node_mean" else samples


def largest_spread(samples: Samples, *, offset: bool) -> float:
    """The largest eigenvalue, over nodes, of sum_j weights_j a_j a_j^T; a_j the features, if `offset` with a -1."""
    features, weights = np.asarray(samples.features, np.float64), np.asarray(samples.weights, np.float64)
    if offset:
        features = np.concatenate([features, -np.ones((*features.shape[:2], 1))], axis=2)
    rows = np.sqrt(weights)[:, :, None] * features
    # The smaller of the two Gram matrices has the same largest eigenvalue.
    wide = rows.shape[2] > rows.shape[1]
    gram = np.einsum("imd,ikd->imk", rows, rows) if wide else np.einsum("imd,ime->ide", rows, rows, optimize=True)
    return float(np.linalg.eigvalsh(gram)[:, -1].max())


def _load_named(plan: Plan) -> datasets.Dataset:
    assert plan.data is not None
    if plan.data.test_fraction == 0:
        raise CojaxInputError("$.data.test_fraction needs to be > 0 for breast_cancer, got 0.")
    return datasets.breast_cancer(test_fraction=plan.data.test_fraction, seed=plan.seed)


def _read(data: Data, seed: int) -> datasets.Dataset:
    assert data.file is not None
    (features, targets), *test = _files([data.file] if data.test_file is None else [data.file, data.test_file])
    if test:
        [(test_features, test_targets)] = test
        features, test_features = _same_width(data, features, test_features)
    else:
        order = np.random.default_rng(seed).permutation(len(targets))
        test, train = np.split(order, [round(data.test_fraction * len(targets))])
        test_features, test_targets, features, targets = features[test], targets[test], features[train], targets[train]
    if len(targets) == 0:
        raise CojaxInputError(f"{data.file} has no sample left to learn from: lower $.data.test_fraction.")
    if data.standardize:
        columns = columns_of(features)
        features, test_features = columns.standardised(features), columns.standardised(test_features)
    return datasets.Dataset(features, targets, test_features, test_targets)


def _files(names: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The samples of files that have the same features; LIBSVM counts them from 0 in all where it does in one."""
    counted = [is_libsvm(name) for name in names]
    read = [read_samples(name, first_index=0 if count else 1) for name, count in zip(names, counted, strict=True)]
    if any(
        features[:, 0].any() or features.shape[1] == 1
        for (features, _), count in zip(read, counted, strict=True)
        if count
    ):
        return read
    return [
        (features[:, 1:] if count else features, targets)
        for (features, targets), count in zip(read, counted, strict=True)
    ]


def _same_width(data: Data, features: np.ndarray, test_features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A LIBSVM file is silent about columns of zeros at its end, so there the narrower one is filled up."""
    if features.shape[1] == test_features.shape[1]:
        return features, test_features
    if not all(is_libsvm(str(name)) for name in (data.file, data.test_file)):
        raise CojaxInputError(
            f"{data.test_file} has {test_features.shape[1]} features, but {data.file} has {features.shape[1]}: "
            "training and test samples need the same columns."
        )
    width = max(features.shape[1], test_features.shape[1])
    first, second = (np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (features, test_features))
    return first, second


def _with_labels(dataset: datasets.Dataset, *, softmax: bool) -> datasets.Dataset:
    labels = np.unique(dataset.targets)
    most = MOST_CLASSES if softmax else 2
    if not 2 <= len(labels) <= most:
        shown = ", ".join(f"{label:g}" for label in labels[:5]) + (", ..." if len(labels) > 5 else "")
        raise CojaxInputError(
            f"$.model needs 2{f' to {most}' if softmax else ''} labels as targets, got {len(labels)} ({shown}): "
            "choose softmax for more than two classes, and least_squares for numbers."
        )
    strange = np.setdiff1d(dataset.test_targets, labels)
    if strange.size:
        raise CojaxInputError(f"$.data has the label {strange[0]:g} in its test samples only: no model can learn it.")
    numbers = np.arange(len(labels), dtype=float) if softmax else np.array([-1.0, 1.0])
    return dataset._replace(
        targets=numbers[np.searchsorted(labels, dataset.targets)],
        test_targets=numbers[np.searchsorted(labels, dataset.test_targets)],
    )


def _with_ones(features: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d+1"]:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)
