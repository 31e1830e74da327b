"""Two graphs, each stable for ever, between which a learner diverges: frozen eigenvalues prove nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..networks.layouts.dense import Dense
from ..problems.problem import Problem


class Switching(NamedTuple):
    """A periodic turn of graphs, convex quadratic costs hessian y^2 / 2 of one parameter, and a step of `DIGing`."""

    weights: tuple[Float[np.ndarray, "n n"], ...]
    dwell: tuple[int, ...]  # steps with every graph
    hessians: Float[np.ndarray, " n"]
    step_size: float
    mixing: float

    def network(self) -> Dense:
        """The graphs in turn, each as long as it dwells."""
        return Dense(weights=jnp.asarray(np.repeat(np.stack(self.weights), self.dwell, axis=0)))

    def problem(self) -> Problem:
        """The costs; every node's is least at 0."""
        return Problem(_half_square, self.hessians)

    def frozen(self) -> list[float]:
        """The spectral radius of one step with every graph alone, on what `DIGing` can reach; < 1: stable."""
        return [_radius(matrix) for matrix in self._steps()]

    def growth(self) -> float:
        """The spectral radius of one whole turn: > 1 where the run diverges."""
        whole = np.eye(2 * len(self.hessians) - 1)
        for matrix, count in zip(self._steps(), self.dwell, strict=True):
            whole = np.linalg.matrix_power(matrix, count) @ whole
        return _radius(whole)

    def _steps(self) -> list[Float[np.ndarray, "m m"]]:
        return [tracking_matrix(weights, self.hessians, self.step_size, self.mixing) for weights in self.weights]


def unstable_switching() -> Switching:
    """Three nodes, two connected graphs: `DIGing` converges on each and doubles its distance in every turn of both.

    The first graph is a star of links 0.3 around node 0, which alone has a cost that curves; the second a star of links
    0.02 around node 2. Four steps with the first, fifty with the second. The step, 0.5, is below the limit of
    both graphs alone, 0.605, where every convex quadratic cost is stable (`tracking_limit`); it is far above
    `switching_limit`, which holds for any switching. Found by differential evolution over weights, dwell times, costs
    and steps, then rounded.

        example = cojax.theory.unstable_switching()
        example.frozen(), example.growth()     # all < 1, and > 2
        cojax.solve(example.problem(), example.network(), cojax.CoOpt(cojax.DIGing(example.step_size)), ...)
    """
    first, second = np.zeros((3, 3)), np.zeros((3, 3))
    first[0, 1:] = first[1:, 0] = 0.3
    second[2, :2] = second[:2, 2] = 0.02
    return Switching((first, second), (4, 50), np.array([1.0, 0.01, 0.01]), 0.5, 1.0)


def tracking_matrix(
    weights: Float[np.ndarray, "n n"], hessians: Sequence[float] | Any, step_size: float, mixing: float = 1.0
) -> Float[np.ndarray, "m m"]:
    """One step of `DIGing` for one parameter and costs hessian y^2 / 2, as a matrix of 2 n - 1 rows.

    On pairs (y, z) with sum z = sum hessian y, which every run keeps. Stable where its spectral radius is < 1.
    """
    weights, curved = np.asarray(weights, np.float64), np.diag(np.asarray(hessians, np.float64))
    size = len(curved)
    eye = np.eye(size)
    mixed = eye - mixing * (np.diag(weights.sum(1)) - weights)
    whole = np.block([[mixed, -step_size * eye], [curved @ (mixed - eye), mixed - step_size * curved]])
    kept = np.concatenate([-np.diag(curved), np.ones(size)])[None]
    basis = np.linalg.svd(kept)[2][1:].T
    return basis.T @ whole @ basis


def _radius(matrix: Float[np.ndarray, "m m"]) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def _half_square(x: Any, hessian: Any) -> Any:
    return hessian * x.params**2 / 2
