"""A problem of quadratic costs on which a method is as slow as was found, to be run beside its proved rate."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError
from ..methods.base import Method
from ..networks.base import Network
from ..problems.problem import Decision, Problem
from .linearized import Linear, linearized
from .spectra import MOST_DENSE, is_fixed, laplacians
from .worst_cases import check_worst

NUM_CURVATURES = 129  # at which equal costs are looked at, before the worst is looked at more closely
NUM_DRAWN = 6  # of unlike curvatures where the search starts, beside those that eigenvectors of L tell
MOST_ROUNDS = 20  # of a search
TIED = 1e-9  # beside a rate, what rounding explains
# Numbers of all states, above which a search starts from the worst alike costs alone: it takes long.
MOST_SEARCHED = 200


class WorstInstance(NamedTuple):
    """What `worst_instance` returns.

    Fields:
        rate: the factor per step by which errors fall in the long run; above 1 they grow.
        problem: costs h (y - t)^2 / 2 of one number y per node; data = (h, t), both (n,).
        start: the decision from which a run shows that rate, before rounding stops it.
    """

    rate: float
    problem: Problem
    start: Decision


def worst_instance(method: Method, network: Network, *, convexity: float, smoothness: float) -> WorstInstance:
    """The slowest run that was found of a learner on this very network, over quadratic costs with such curvatures.

        found = cojax.theory.worst_instance(cojax.NIDS(0.5), network, convexity=0.1, smoothness=1.0)
        cojax.solve(found.problem, network, cojax.CoOpt(learn=cojax.NIDS(0.5)), found.start, num_steps=200)

    Its rate is exact, by the eigenvalues of one step of all nodes, and a bound from below of `worst_rate`: where both
    meet, both are tight. Of costs that are alike the worst is found, by one eigenvalue problem of the size of one
    node's state for every eigenvalue of the Laplacian and curvature; unlike ones, each of either curvature, are
    searched for locally, by the derivative of the largest eigenvalue, so that a slower one may be missed. It takes
    seconds for tens of nodes, and minutes for hundreds.

    Args:
        method: as of `worst_rate`.
        network: one undirected graph that stands and is connected, of at most 400 nodes; links are taken for `Ideal()`.
        convexity, smoothness: the least and the largest curvature, 0 < convexity <= smoothness.

    Raises `CojaxInputError` for methods as `worst_rate` does, and for other networks.
    """
    learn = check_worst("worst_instance", method, network, convexity, smoothness)
    if not is_fixed(network) or network.num_nodes > MOST_DENSE:
        raise CojaxInputError(
            f"worst_instance needs one undirected graph in all steps, without loss, of at most {MOST_DENSE} nodes, got "
            f"a {type(network).__name__} of {network.num_nodes}: eigenvalues of one step say nothing of others."
        )
    linear, laplacian = linearized("worst_instance", learn), laplacians(network)[0].toarray()
    values, vectors = np.linalg.eigh(laplacian)
    if len(values) > 1 and not values[1] > 1e-9 * values[-1]:
        raise CojaxInputError("worst_instance needs a connected network: apart, nodes never come to one optimum.")
    whole = _Whole(linear, laplacian, values, vectors)
    alike = np.full(len(values), _worst_alike(linear, values, convexity, smoothness))
    parts = np.vstack([vectors.T[1:2], vectors.T[-1:]])  # into which a graph falls most easily, and least
    drawn = np.random.default_rng(0).normal(size=(NUM_DRAWN, len(values)))
    starts = [alike]
    if len(values) * len(linear.a) <= MOST_SEARCHED:
        starts += list(np.where(np.vstack([parts, drawn]) > 0, smoothness, convexity))
    climbed = [_climb(whole, start, convexity, smoothness) for start in starts]
    # The first of those that are equal but for rounding: alike costs, where unlike ones are no slower.
    slowest = max(rate for rate, _ in climbed) * (1 - TIED)
    curvatures = next(curvatures for rate, curvatures in climbed if rate >= slowest)
    rate, params, targets = whole.excited(curvatures)
    problem = Problem(_quadratic, (jnp.asarray(curvatures), jnp.asarray(targets)))
    return WorstInstance(rate, problem, problem.start(jnp.asarray(params)))


def _quadratic(x: Decision, data: Any) -> Any:
    curvature, target = data
    return 0.5 * curvature * (x.params - target) ** 2


def _worst_alike(linear: Linear, values: np.ndarray, convexity: float, smoothness: float) -> float:
    """The curvature of all nodes at which some mode, an eigenvector of L or the mean, is slowest."""
    from scipy.optimize import minimize_scalar

    free = np.setdiff1d(np.arange(len(linear.a)), linear.kept)

    def slowest(curvatures: Any) -> np.ndarray:
        curve = np.atleast_1d(curvatures)[:, None, None, None]
        own = linear.a + curve * (linear.b_grad @ linear.c_at)
        told = linear.c_tell + curve * (linear.d_tell @ linear.c_at)
        mean = own[:, 0][:, free][:, :, free]  # what is kept of it is zero
        modes = own - values[1:, None, None] * (linear.b_flow @ told)
        found = [np.abs(np.linalg.eigvals(each)).max(-1).reshape(len(curve), -1) for each in (mean, modes)]
        return np.hstack(found).max(-1)

    looked = np.geomspace(convexity, smoothness, NUM_CURVATURES).clip(convexity, smoothness)
    rates = slowest(looked)
    worst = int(rates.argmax())
    ends = looked[max(worst - 1, 0)], looked[min(worst + 1, NUM_CURVATURES - 1)]
    closer = minimize_scalar(lambda curve: -slowest(curve)[0], bounds=ends, method="bounded")
    return float(closer.x if -closer.fun > rates[worst] else looked[worst])


class _Whole(NamedTuple):
    """A learner at all nodes of one graph, whose Laplacian has these eigenvalues, and these vectors as columns."""

    linear: Linear
    laplacian: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    def modes(self, curvatures: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues of one step where all that is kept sums to zero, and left and right vectors, (n, p, modes)."""
        from scipy.linalg import eig

        linear, turn = self.linear, self.vectors
        size, p = len(turn), len(linear.a)
        bent, heard = turn.T @ (curvatures[:, None] * turn), np.diag(self.values)
        step = np.kron(np.eye(size), linear.a) + np.kron(bent, linear.b_grad @ linear.c_at)
        step -= np.kron(heard, linear.b_flow @ linear.c_tell)
        step -= np.kron(heard @ bent, linear.b_flow @ linear.d_tell @ linear.c_at)
        there = np.setdiff1d(np.arange(size * p), linear.kept)  # the first eigenvector is what all have alike
        found, *sides = eig(step[np.ix_(there, there)], left=True, right=True)

        def at_nodes(side: np.ndarray) -> np.ndarray:
            whole = np.zeros((size * p, len(there)), complex)
            whole[there] = side
            return np.einsum("nm,mpk->npk", turn, whole.reshape(size, p, -1))

        left, right = map(at_nodes, sides)
        return found, left, right

    def rate(self, curvatures: np.ndarray) -> tuple[float, np.ndarray]:
        """The largest modulus of an eigenvalue, and its derivative in the curvatures."""
        found, left, right = self.modes(curvatures)
        largest = int(np.abs(found).argmax())
        left, right = left[..., largest].conj(), right[..., largest]
        linear = self.linear
        pushed = left @ linear.b_grad - self.laplacian @ (left @ (linear.b_flow @ linear.d_tell))
        moved = (right @ linear.c_at.T)[:, 0] * pushed[:, 0] / (left * right).sum()
        return float(np.abs(found[largest])), np.real(np.conj(found[largest]) * moved) / np.abs(found[largest])

    def excited(self, curvatures: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The rate of the slowest mode that some run shows, and the start and the targets that show it most."""
        linear, size = self.linear, len(self.vectors)
        eye, none = np.eye(size), np.zeros((size, size))
        start, target = np.hstack([eye, none]), np.hstack([none, eye])  # of (start, targets)
        best = np.tile(curvatures @ target / curvatures.sum(), (size, 1))
        slope = curvatures[:, None] * (best - target)
        # A node alone rests at 1 without a gradient.
        p = len(linear.a)
        rest = np.vstack([linear.a - np.eye(p), linear.c_at, np.eye(p)[linear.kept]])
        at_one = np.linalg.lstsq(rest, np.eye(len(rest))[:, p], rcond=None)[0]
        parts = [(linear.b_start[:, 0], start), (-at_one, best), (-linear.resting[:, 0], slope)]
        error = sum(np.einsum("p,nx->npx", *part) for part in parts)
        found, left, _ = self.modes(curvatures)
        for mode in np.argsort(-np.abs(found)):
            seen = np.einsum("np,npx->x", left[..., mode].conj(), error)
            if np.linalg.norm(seen) > 1e-9:
                shown = np.linalg.svd(np.stack([seen.real, seen.imag]))[2][0]
                return float(np.abs(found[mode])), shown[:size], shown[size:]
        return 0.0, np.ones(size), np.zeros(size)


def _climb(whole: _Whole, curvatures: np.ndarray, convexity: float, smoothness: float) -> tuple[float, np.ndarray]:
    """Each curvature goes to the end that makes the slowest mode slower: all at once, or the most promising one."""
    rate, slope = whole.rate(curvatures)
    for _ in range(MOST_ROUNDS):
        ends = np.where(slope > 0, smoothness, convexity)
        one = np.arange(len(ends)) == np.argmax(slope * (ends - curvatures))
        for moved in (ends, np.where(one, ends, curvatures)):
            next_rate, next_slope = whole.rate(moved)
            if next_rate > rate * (1 + TIED):
                rate, slope, curvatures = next_rate, next_slope, moved
                break
        else:
            break
    return rate, curvatures
