"""Ready-made costs of one node: what its model loses on its samples, and what its CPU share costs."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support import trees
from .._support.checks import CojaxInputError, check_number, floating, is_concrete, real_array
from .curving import told
from .sparse import SparseFeatures as SparseFeatures


class Samples(NamedTuple):
    """The samples of one node, m of them; in a problem's data every array has the n nodes first.

        samples = cojax.datasets.split(features, targets, n, seed=0)       # dealt out, padded and weighed
        samples = cojax.costs.Samples(features, targets, jnp.full((n, m), 1 / m))  # dealt out by yourself

    Losses are summed with the weights, never averaged: weights 1/N_i at a node with N_i samples give the paper's local
    mean; weights n/N, N the number of all samples, give a sum over nodes of n times the pooled mean. Nodes with fewer
    samples than m are padded with rows of weight 0 and any finite content.

    Fields:
        features: (m, d) at a node, (n, m, d) in a problem, one row a sample; or a `SparseFeatures` of that shape. A
            column of ones gives a model an offset; `SmoothHinge` has one of its own.
        targets: (m,) at a node, (n, m) in a problem: numbers for `LeastSquares`; labels -1 and 1 for `Logistic` and
            `SmoothHinge`; class numbers 0 ... c-1, of any dtype, for `Softmax`.
        weights: shaped as the targets, >= 0: how often a sample counts; 0 is padding, which `Minibatch` never draws.

    All floats are differentiable. Costs raise `CojaxInputError` where shapes do not fit.
    """

    features: Float[Array, "*n m d"] | SparseFeatures
    targets: Float[Array, "*n m"]
    weights: Float[Array, "*n m"]


class LeastSquares(eqx.Module):
    """g(y) = sum_j weights_j (features_j . y - targets_j)**2 / 2 + ridge/2 |y|**2, params y of shape (d,).

    Curvature <= sum_j weights_j |features_j|**2 + ridge. Computed in the widest dtype of params and samples, in
    float32 at least; differentiable in all. Raises `CojaxInputError` for ridge < 0, and where shapes do not fit.
    """

    ridge: Any = eqx.field(default=0.0, converter=floating)

    def __check_init__(self):
        check_number("LeastSquares", "ridge", self.ridge, at_least=0.0, shaped=())

    def score(self, params: Any, features: Any) -> Float[Array, " m"]:
        """The predicted targets of (m, d) features."""
        params, features = _match("LeastSquares", params, features)
        return features @ params

    def __call__(self, params: Any, samples: Any) -> Float[Array, ""]:
        _check_samples("LeastSquares", samples)
        scores = self.score(params, samples.features)
        errors = scores - samples.targets.astype(scores.dtype)
        return _weigh(samples, errors**2 / 2) + _ridge(self.ridge, params, scores)

    def self_concordance(self, direction: Any, samples: Any) -> Array:
        """0: a quadratic has one curvature everywhere, see `cojax.certificate`."""
        return jnp.zeros(())

    def strong_convexity(self, samples: Any) -> Any:
        """The ridge, see `cojax.certificate`."""
        return self.ridge


@jax.custom_jvp
def _softplus(value: Array) -> Array:
    """log(1 + exp(value)); JAX's own takes three exponentials for its derivative, and gradients twice the time."""
    return jnp.logaddexp(value, 0)


@_softplus.defjvp
def _softplus_jvp(primals, tangents):
    return _softplus(primals[0]), jax.nn.sigmoid(primals[0]) * tangents[0]


class Logistic(eqx.Module):
    """g(y) = sum_j weights_j log(1 + exp(-targets_j features_j . y)) + ridge/2 |y|**2, params y of shape (d,).

    Targets are -1 or 1, see `check_labels`. Curvature <= sum_j weights_j |features_j|**2 / 4 + ridge. Dtypes,
    derivatives and errors as in `LeastSquares`.
    """

    ridge: Any = eqx.field(default=0.0, converter=floating)

    def __check_init__(self):
        check_number("Logistic", "ridge", self.ridge, at_least=0.0, shaped=())

    def score(self, params: Any, features: Any) -> Float[Array, " m"]:
        """The log-odds of label 1 of (m, d) features; their sign is the predicted label."""
        params, features = _match("Logistic", params, features)
        return features @ params

    def __call__(self, params: Any, samples: Any) -> Float[Array, ""]:
        _check_samples("Logistic", samples)
        scores = self.score(params, samples.features)
        margins = samples.targets.astype(scores.dtype) * scores
        return _weigh(samples, _softplus(-margins)) + _ridge(self.ridge, params, scores)

    def self_concordance(self, direction: Any, samples: Any) -> Float[Array, " m"]:
        """How fast curvature changes along a direction, a number a sample, see `cojax.certificate`."""
        return jnp.where(samples.weights > 0, self.score(direction, samples.features), 0)

    def strong_convexity(self, samples: Any) -> Any:
        """The ridge, see `cojax.certificate`."""
        return self.ridge


class Softmax(eqx.Module):
    """g(y) = sum_j weights_j (logsumexp(s_j) - s_j[targets_j]) + ridge/2 |y|**2, s = features y, params y (d, c).

    Targets are whole numbers 0 ... c-1, of any dtype, see `check_classes`. Curvature <=
    sum_j weights_j |features_j|**2 / 2 + ridge. Dtypes, derivatives and errors as in `LeastSquares`.
    """

    ridge: Any = eqx.field(default=0.0, converter=floating)

    def __check_init__(self):
        check_number("Softmax", "ridge", self.ridge, at_least=0.0, shaped=())

    def score(self, params: Any, features: Any) -> Float[Array, "m c"]:
        """One number per class for (m, d) features; the largest is the predicted class."""
        params, features = _match("Softmax", params, features, ndim=2)
        return features @ params

    def __call__(self, params: Any, samples: Any) -> Float[Array, ""]:
        _check_samples("Softmax", samples)
        scores = self.score(params, samples.features)
        # One-hot, because the derivative of picking by index is a scatter, slow under vmap.
        own = jax.nn.one_hot(samples.targets.astype(jnp.int32), scores.shape[1], dtype=scores.dtype)
        losses = jax.nn.logsumexp(scores, axis=1) - jnp.sum(own * scores, axis=1)
        return _weigh(samples, losses) + _ridge(self.ridge, params, scores)

    def self_concordance(self, direction: Any, samples: Any) -> Float[Array, "m c"]:
        """As `Logistic`'s, c numbers a sample: a third central moment is a variance times the range at most."""
        scores = self.score(direction, samples.features)
        apart = scores - scores.mean(1, keepdims=True)
        return jnp.where(samples.weights[:, None] > 0, 2 * apart, 0)

    def strong_convexity(self, samples: Any) -> Any:
        """The ridge, see `cojax.certificate`."""
        return self.ridge


class SmoothHinge(eqx.Module):
    """The paper's support vector machine, params (omega, nu) in one vector of d + 1 numbers, the offset nu last:

        g = ridge/2 |omega|**2 + weight sum_j weights_j softplus(sharpness (1 - targets_j s_j)) / sharpness,
        s_j = features_j . omega - nu,   softplus(u) = log(1 + exp(u)).

    Targets are -1 or 1, see `check_labels`. Per sample the loss exceeds the hinge max(0, 1 - t s) by 0
    to log(2)/sharpness, the most at t s = 1.
    Curvature <= weight sharpness / 4 * sum_j weights_j (|features_j|**2 + 1) + ridge.
    Dtypes and derivatives as in `LeastSquares`.

    Fields: ridge >= 0, r of the paper, not on the offset; sharpness > 0, mu of the paper; weight > 0, C of the paper.
    Raises `CojaxInputError` outside of these ranges, and where shapes do not fit.
    Source: arXiv 2510.25176; the smoothing is that of arXiv 2104.00399.
    """

    ridge: Any = eqx.field(converter=floating)
    sharpness: Any = eqx.field(converter=floating)
    weight: Any = eqx.field(default=1.0, converter=floating)

    def __check_init__(self):
        check_number("SmoothHinge", "ridge", self.ridge, at_least=0.0, shaped=())
        check_number("SmoothHinge", "sharpness", self.sharpness, above=0.0, shaped=())
        check_number("SmoothHinge", "weight", self.weight, above=0.0, shaped=())

    def score(self, params: Any, features: Any) -> Float[Array, " m"]:
        """features . omega - nu of (m, d) features; its sign is the predicted label."""
        params, features = _match("SmoothHinge", params, features, offset=1)
        return features @ params[:-1] - params[-1]

    def __call__(self, params: Any, samples: Any) -> Float[Array, ""]:
        _check_samples("SmoothHinge", samples)
        scores = self.score(params, samples.features)
        sharpness, weight = (jnp.asarray(value, scores.dtype) for value in (self.sharpness, self.weight))
        missing = 1 - samples.targets.astype(scores.dtype) * scores
        losses = _softplus(sharpness * missing) / sharpness
        return weight * _weigh(samples, losses) + _ridge(self.ridge, params[:-1], scores)

    def self_concordance(self, direction: Any, samples: Any) -> Float[Array, " m"]:
        """As `Logistic`'s, times the sharpness."""
        scores = self.score(direction, samples.features)
        return jnp.where(samples.weights > 0, jnp.asarray(self.sharpness, scores.dtype) * scores, 0)


class Deviation(eqx.Module):
    """f(cpu) = (cpu - demand)**2 / (2 capacity), the paper's cost of a share; curvature 1/capacity.

    Data is (demand, capacity), capacity > 0. Here and in `Price` and `Delay`, cpu is () or (r,), data as cpu or (),
    the costs of r resources are summed, and all is differentiable. Source: arXiv 2510.25176.
    """

    def __call__(self, cpu: Any, data: Any) -> Float[Array, ""]:
        cpu, demand, capacity = _beside("Deviation", cpu, data, ("demand", "capacity"))
        return jnp.sum((cpu - demand) ** 2 / (2 * capacity))


class Price(eqx.Module):
    """f(cpu) = price cpu + curvature cpu**2 / 2: a price that grows with the share. Data is (price, curvature)."""

    def __call__(self, cpu: Any, data: Any) -> Float[Array, ""]:
        cpu, price, curvature = _beside("Price", cpu, data, ("price", "curvature"))
        return jnp.sum(price * cpu + curvature * cpu**2 / 2)


class Delay(eqx.Module):
    """f(cpu) = work / cpu, the time that the work takes; curvature 2 work / cpu**3. Data is work > 0.

    At cpu <= 0 it is inf and its gradient not finite, so that a run which gets there ends as DIVERGED: keep shares
    away from 0 with a lower bound and a penalty.
    """

    def __call__(self, cpu: Any, data: Any) -> Float[Array, ""]:
        cpu, work = _beside("Delay", cpu, (data,), ("work",))
        return jnp.sum(work / jnp.maximum(cpu, 0))


class Sum(eqx.Module):
    """cost(x, data) = parts[0](x, data[0]) + parts[1](x, data[1]) + ...; data is a tuple as long as parts."""

    parts: tuple

    def __init__(self, parts: tuple):
        self.parts = tuple(trees.as_pytree(part) for part in parts)
        if not self.parts:
            raise CojaxInputError("Sum needs at least one part, got none.")

    def __call__(self, x: Any, data: Any) -> Float[Array, ""]:
        _check_tuple("Sum", data, len(self.parts))
        return _add([part(x, own) for part, own in zip(self.parts, data, strict=True)])

    def self_concordance(self, direction: Any, data: Any) -> Any:
        """Those of all parts, None where one tells none."""
        rates = [told(part, "self_concordance", direction, own) for part, own in zip(self.parts, data, strict=True)]
        return None if any(rate is None for rate in rates) else jnp.concatenate([jnp.ravel(rate) for rate in rates])

    def strong_convexity(self, data: Any) -> Any:
        """The sum of those of all parts, None where one tells none."""
        least = [told(part, "strong_convexity", own) for part, own in zip(self.parts, data, strict=True)]
        return None if any(part is None for part in least) else sum(least)


class Separable(eqx.Module):
    """cost(x, (samples, cpu_data)) = learn(x.params, samples) + allocate(x.cpu, cpu_data), the paper's objective.

    A half that is None is left out, and its data is then None as well. Raises `CojaxInputError` where both are None,
    or the data is no pair.
    """

    learn: Any
    allocate: Any

    def __init__(self, learn: Any = None, allocate: Any = None):
        if learn is None and allocate is None:
            raise CojaxInputError("Separable needs a cost to learn, to allocate, or both, got neither.")
        self.learn = None if learn is None else trees.as_pytree(learn)
        self.allocate = None if allocate is None else trees.as_pytree(allocate)

    def __call__(self, x: Any, data: Any) -> Float[Array, ""]:
        _check_tuple("Separable", data, 2)
        halves = ((self.learn, x.params, data[0]), (self.allocate, x.cpu, data[1]))
        return _add([cost(own, its_data) for cost, own, its_data in halves if cost is not None])

    def self_concordance(self, direction: Any, data: Any) -> Any:
        """That of the cost to learn."""
        return told(self.learn, "self_concordance", direction, data[0])

    def strong_convexity(self, data: Any) -> Any:
        """That of the cost to learn."""
        return told(self.learn, "strong_convexity", data[0])


def check_labels(targets: Any) -> None:
    """Refuse targets other than -1 and 1, for `Logistic` and `SmoothHinge`; one label only is fine at a node.

    For those who read data, before they pad it. Raises `CojaxInputError`.
    """
    if is_concrete(targets):
        _check_set("-1 or 1", targets, lambda labels: np.abs(labels) != 1, "map 0 to -1, or use Softmax")


def check_classes(targets: Any, num_classes: int) -> None:
    """Refuse targets that are not whole numbers 0 ... num_classes - 1, for `Softmax`. Raises `CojaxInputError`."""
    if is_concrete(targets):
        numbers = np.arange(num_classes)
        _check_set(f"0 ... {num_classes - 1}", targets, lambda labels: ~np.isin(labels, numbers), "number the classes")


def _check_set(wanted: str, targets: Any, bad: Any, advice: str) -> None:
    labels = np.unique(real_array("A classification cost", "targets", targets))
    if np.any(bad(labels)):
        got = ", ".join(f"{label:g}" for label in labels[:5]) + (", ..." if labels.size > 5 else "")
        raise CojaxInputError(f"A classification cost needs targets {wanted}, got {got}: {advice}.")


def _check_samples(owner: str, samples: Any) -> None:
    if not isinstance(samples, Samples):
        raise CojaxInputError(f"{owner} needs data cojax.costs.Samples, got {type(samples).__name__}.")
    for name in ("targets", "weights"):
        got, wanted = np.shape(getattr(samples, name)), np.shape(samples.features)[:1]
        if got != wanted:
            raise CojaxInputError(f"{owner} needs {name} of shape {wanted}, one per row of features, got {got}.")


def _match(owner: str, params: Any, features: Any, offset: int = 0, ndim: int = 1) -> tuple[Array, Any]:
    """`params` and `features` in the dtype to compute in, their shapes checked."""
    if np.ndim(features) != 2:
        raise CojaxInputError(f"{owner} needs features of shape (m, d) at a node, got {np.shape(features)}.")
    if not isinstance(params, jax.Array | np.ndarray):
        raise CojaxInputError(f"{owner} needs params that are one array, got {type(params).__name__}.")
    rows = features.shape[1] + offset
    if params.shape[:1] != (rows,) or params.ndim != ndim:
        wanted = (f"({rows},)", f"({rows}, c)")[ndim - 1]
        raise CojaxInputError(f"{owner} needs params of shape {wanted} at a node, got {params.shape}.")
    # Sums over samples lose their last digits in 16 bits.
    dtype = _widest(params.dtype, features.dtype, jnp.float32)
    sparse = isinstance(features, SparseFeatures)
    return jnp.asarray(params, dtype), features.astype(dtype) if sparse else jnp.asarray(features, dtype)


def _beside(owner: str, cpu: Any, data: Any, names: tuple[str, ...]) -> tuple[Array, ...]:
    """`cpu` and every entry of `data` in their widest dtype, shapes checked."""
    if cpu is None:
        raise CojaxInputError(f"{owner} needs a CPU share, got None; give the problem a budget.")
    if len(names) > 1:
        _check_tuple(owner, data, len(names))
    arrays = [jnp.asarray(value) for value in (cpu, *data)]
    for name, array in zip(names, arrays[1:], strict=True):
        if array.shape not in ((), arrays[0].shape):
            raise CojaxInputError(f"{owner} needs {name} of shape {arrays[0].shape}, as cpu, got {array.shape}.")
    dtype = _widest(*(array.dtype for array in arrays))
    return tuple(array.astype(dtype) for array in arrays)


def _check_tuple(owner: str, data: Any, length: int) -> None:
    if not isinstance(data, tuple | list) or len(data) != length:
        got = f"{len(data)} entries" if isinstance(data, tuple | list) else type(data).__name__
        raise CojaxInputError(f"{owner} needs data that is a tuple of {length}, got {got}.")


def _weigh(samples: Samples, losses: Array) -> Array:
    return jnp.sum(samples.weights.astype(losses.dtype) * losses)


def _ridge(ridge: Any, params: Any, scores: Array) -> Array:
    return jnp.asarray(ridge, scores.dtype) / 2 * jnp.sum(jnp.asarray(params, scores.dtype) ** 2)


def _add(values: list) -> Array:
    arrays = [jnp.asarray(value) for value in values]
    dtype = _widest(*(array.dtype for array in arrays))
    return sum((array.astype(dtype) for array in arrays[1:]), arrays[0].astype(dtype))


def _widest(*dtypes: Any) -> Any:
    with jax.numpy_dtype_promotion("standard"):  # a caller's strict mode is about arrays that meet unasked
        return functools.reduce(jnp.promote_types, dtypes)
