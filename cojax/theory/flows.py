"""The paper's learner in continuous time: its eigenvalues, and a function that can only fall along it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from .._support import trees
from .._support.checks import CojaxInputError, check_kinds, real_array
from .._support.trees import Tree
from ..methods import CoOpt, DIGing, Method
from ..networks.base import Network
from ..networks.laws import Weigh
from ..problems.problem import Decision, Problem


def pencil_eigenvalues(laplacian: Any, hessians: Any, alpha: float) -> Complex[np.ndarray, " m"]:
    """The 2 n d roots of det(z^2 + z (2 L + alpha H) + L^2) = 0, the spectrum of dy/dt = -L y - alpha z with tracking.

    d of them are zero, the agreement of y that the initial z decides. In steps of size `mixing` an eigenvalue z of the
    flow becomes 1 + mixing * z, alpha = step_size / mixing.

    Args:
        laplacian: (n, n), dense or sparse, of an undirected graph; one of `laplacians`.
        hessians: (n, d, d), of every node, or (n,) for one parameter.
        alpha: the gradient-tracking rate of arXiv 2510.25176.

    Raises `CojaxInputError` for shapes that do not fit.
    """
    matrix = laplacian.toarray() if hasattr(laplacian, "toarray") else real_array("pencil_eigenvalues", "L", laplacian)
    blocks = real_array("pencil_eigenvalues", "hessians", hessians).astype(np.float64)
    blocks = blocks[:, None, None] if blocks.ndim == 1 else blocks
    nodes = matrix.shape[0]
    if matrix.shape != (nodes, nodes) or blocks.ndim != 3 or blocks.shape != (nodes, *blocks.shape[1:2] * 2):
        raise CojaxInputError(
            f"pencil_eigenvalues needs a Laplacian (n, n) and hessians (n, d, d), got {matrix.shape} and "
            f"{blocks.shape}."
        )
    size = blocks.shape[1]
    spread = np.kron(matrix, np.eye(size))
    curved = np.zeros((nodes * size, nodes * size))
    for node, block in enumerate(blocks):
        curved[node * size : (node + 1) * size, node * size : (node + 1) * size] = block
    # With w = z y + L y the pencil is the linear system z y = w - L y, z w = -L w - alpha H z y.
    eye = np.eye(nodes * size)
    companion = np.block([[-spread, eye], [alpha * curved @ spread, -spread - alpha * curved]])
    return np.linalg.eigvals(companion).astype(np.complex128)


def lyapunov(network: Network, method: Any) -> Callable[[Problem, Decision, Any], Float[Array, ""]]:
    """A record, for `cojax.solve(..., record=...)`: V = |L y + alpha z|^2 / 2 + |L y|^2 / 2 with alpha = step / mixing.

    Along the flow of `DIGing`, for convex costs on a fixed undirected graph with exact links, V never rises, at any
    alpha: dV/dt = -y' (2 L + alpha H) y'. In steps it falls too where `mixing` is small. The distance from the optimum
    does not fall monotonically, even where every eigenvalue is stable.

    Args: network; method, a `DIGing` without transform, or a `CoOpt` that learns by one.
    Raises `CojaxInputError` for another method.
    """
    check_kinds("theory.lyapunov", ("network", network, Network), ("method", method, Method))
    learn, _ = method.halves
    if not isinstance(learn, DIGing):
        raise CojaxInputError(f"theory.lyapunov is a function of DIGing's state, got {type(learn).__name__}.")
    alpha = learn.step_size / learn.mixing

    def record(problem: Problem, x: Decision, state: Any) -> Float[Array, ""]:
        net = network.at(state.step)
        inner = state.method.learn if isinstance(method, CoOpt) else state.method
        tracker = trees.add(inner.slack, state.grad.params)
        pull = jax.tree.map(lambda leaf: -net.hear(Weigh(), leaf), x.params)
        return (_square(trees.add_scaled(pull, alpha, tracker)) + _square(pull)) / 2

    return record


def potential(params: Tree = None) -> Callable[[Problem, Decision, Any], Float[Array, ""]]:
    """A record, for `cojax.solve(..., record=...)`: the total cost of the shares, soft bounds included.

    It is the Lyapunov function of the allocators without memory: below `allocation_limit`, for convex costs, it falls
    at every step of `Laplacian` over any sequence of graphs with any loss. With momentum it may rise on its way down.

    Args: params, (n, ...) in every leaf, at which costs that have a model too are taken, so that only the shares count.
    """

    def record(problem: Problem, x: Decision, state: Any) -> Float[Array, ""]:
        soft = problem.softened()
        return soft.costs(Decision(params, x.cpu)).sum()

    return record


def _square(tree: Tree) -> Float[Array, ""]:
    return jnp.stack([(leaf.astype(jnp.result_type(float)) ** 2).sum() for leaf in jax.tree.leaves(tree)]).sum()
