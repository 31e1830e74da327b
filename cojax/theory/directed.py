"""Directed graphs mix by two matrices, one that pulls and one that pushes; what is stable over both is measured."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._support.checks import CojaxInputError, check_number, is_concrete
from .._support.edge_lists import check_strongly_connected
from ..networks.base import Network
from ..networks.faults.faulty import untimed
from ..networks.layouts.directed import Digraph, Directed
from .limits import Limit

EQUAL = "equal convex quadratic costs over this directed network, exact links; others without proof"
PROOF = "spectral radius of a whole turn of graphs, by bisection"
MOST_NODES = 300  # eigenvalues of 2 n rows are taken about a hundred times

Matrices = Float[np.ndarray, "T n n"]


class DirectedSpectrum(NamedTuple):
    """How fast a directed network mixes, and to what."""

    pull_rate: float  # factor per step by which y+ = R y forgets disagreement
    push_rate: float  # factor per step by which z+ = C z forgets how its sum was spread
    influence: Float[np.ndarray, " n"]  # what y+ = R y agrees on is influence @ y(0); sums to 1
    mass: Float[np.ndarray, " n"]  # the part of the sum of z that every node ends with, z+ = C z; sums to 1


def directed_spectrum(network: Network) -> DirectedSpectrum:
    """The mixing rates and the Perron vectors of both matrices of a `Directed` network or a `Digraph`.

    R = I - diag(W 1) + W pulls, rows sum to 1; C = I - diag(1' W) + W pushes, columns do. With several graphs in turn,
    of one whole turn. A `Digraph` is balanced: influence and mass are 1/n everywhere.

    There are no lambda_2 and lambda_n: W is not symmetric, so its eigenvalues bound no norm, and no step size follows
    from them alone; `push_pull_limit` and `push_diging_limit` look at the method as a whole.
    Raises `CojaxInputError` for another network, or one that is not strongly connected over a turn, under jit, and
    above 300 nodes.
    """
    pulls, pushes = _matrices("directed_spectrum", network)
    pull, push = _turn(pulls), _turn(pushes)
    pull_rate, push_rate = (_second(turn) ** (1 / len(pulls)) for turn in (pull, push))
    return DirectedSpectrum(pull_rate, push_rate, _perron(pull.T), _perron(push))


def push_pull_limit(network: Network, smoothness: float) -> Limit:
    """The step below which `PushPull` over a directed network is stable for equal costs of curvature `smoothness`.

    Raises `CojaxInputError` for a curvature <= 0, and as `directed_spectrum`.
    """
    pulls, pushes = _matrices("push_pull_limit", network)
    return _limit("push_pull_limit", functools.partial(_push_pull, pulls, pushes), smoothness)


def push_diging_limit(network: Network, smoothness: float) -> Limit:
    """The step below which `PushDIGing` over a directed network is stable for equal costs of curvature `smoothness`.

    Its weights v+ = C v are taken where they end up, which they do before the step matters.
    Raises `CojaxInputError` for a curvature <= 0, and as `directed_spectrum`.
    """
    _, pushes = _matrices("push_diging_limit", network)
    return _limit("push_diging_limit", functools.partial(_push_diging, pushes), smoothness)


def _limit(owner: str, turn_of: Callable[[float], np.ndarray], smoothness: float) -> Limit:
    """Equal costs scale with step times curvature, so one number serves all of them."""
    check_number(owner, "smoothness", smoothness, above=0.0, shaped=())
    # Below the limit the slowest mode is the descent itself; rounding of a radius near 1 must not end the search.
    grid = np.concatenate([[0.0], np.logspace(-4, np.log10(2.0), 80)])
    stable = [_radius(turn_of(step)) < 1 for step in grid[1:]]
    ends = next((k for k, fine in enumerate(stable) if not fine), len(stable) - 1)
    low, high = grid[ends], grid[ends + 1]
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _radius(turn_of(middle)) < 1 else (low, middle)
    return Limit(float(low) / smoothness, EQUAL, "heuristic", PROOF)


def _push_pull(pulls: Matrices, pushes: Matrices, step: float) -> np.ndarray:
    """y+ = R y - step z, z+ = C z + y+ - y, for one whole turn."""
    eye = np.eye(len(pulls[0]))
    whole = np.eye(2 * len(eye))
    for pull, push in zip(pulls, pushes, strict=True):
        whole = np.block([[pull, -step * eye], [pull - eye, push - step * eye]]) @ whole
    return _kept(whole)


def _push_diging(pushes: Matrices, step: float) -> np.ndarray:
    """u+ = C (u - step z), y = u / v, z+ = C z + y+ - y with v where it ends up, for one whole turn."""
    size = len(pushes[0])
    mass = size * _perron(_turn(pushes))
    whole = np.eye(2 * size)
    for push in pushes:
        following = push @ mass
        pulled = push * mass[None] / following[:, None]
        stepped = step * push / following[:, None]
        whole = np.block([[pulled, -stepped], [pulled - np.eye(size), push - stepped]]) @ whole
        mass = following
    return _kept(whole)


def _kept(whole: np.ndarray) -> np.ndarray:
    """On pairs (y, z) with sum z = sum y, which every run with equal costs keeps."""
    size = len(whole) // 2
    basis = np.linalg.svd(np.concatenate([-np.ones(size), np.ones(size)])[None])[2][1:].T
    return basis.T @ whole @ basis


def _matrices(owner: str, network: Network) -> tuple[Matrices, Matrices]:
    network = untimed(network)
    if not isinstance(network, Directed | Digraph):
        raise CojaxInputError(
            f"theory.{owner} is for a Directed network or a Digraph, got a {type(network).__name__}; for undirected "
            "graphs theory.spectrum and tracking_limit say more."
        )
    if not is_concrete(network):
        raise CojaxInputError(f"theory.{owner} computes on the host, got traced weights; call it outside of jit.")
    weights = np.asarray(network.weights, np.float64)
    weights = weights if weights.ndim == 3 else weights[None]
    if weights.shape[-1] > MOST_NODES:
        raise CojaxInputError(
            f"theory.{owner} takes all eigenvalues, for up to {MOST_NODES} nodes, got {weights.shape[-1]}; measure the "
            "step on a smaller network of the same kind."
        )
    check_strongly_connected(
        f"theory.{owner} needs a strongly connected network, over all graphs of a turn",
        weights.shape[-1],
        np.stack((weights != 0).any(0).nonzero()),
        "and no step makes all agree; add arcs.",
    )
    eye = np.eye(weights.shape[-1])
    return eye - eye * weights.sum(2)[:, None] + weights, eye - eye * weights.sum(1)[:, None] + weights


def _turn(matrices: Matrices) -> np.ndarray:
    return functools.reduce(lambda whole, matrix: matrix @ whole, matrices, np.eye(matrices.shape[-1]))


def _perron(turn: np.ndarray) -> Float[np.ndarray, " n"]:
    """The eigenvector of the eigenvalue 1, summing to 1."""
    values, vectors = np.linalg.eig(turn)
    vector = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return vector / vector.sum()


def _second(turn: np.ndarray) -> float:
    """The largest eigenvalue but that of agreement; 0 of a single node."""
    return float(np.sort(np.abs(np.linalg.eigvals(turn)))[-2]) if len(turn) > 1 else 0.0


def _radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())
