"""The Laplacians of the graphs of a network, and what their eigenvalues say about mixing."""

import contextlib
import functools
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from .._support.checks import CojaxInputError, check_kinds, check_number, is_concrete
from .._support.compiling import compiled
from ..networks.base import Layout, Network
from ..networks.build import built
from ..networks.faults.faulty import FaultyNetwork, untimed
from ..networks.layouts.computed import Computed
from ..networks.layouts.directed import Digraph, Directed
from ..networks.links.links import Ideal
from . import lanczos

if TYPE_CHECKING:
    from scipy import sparse

# Up to this many rows all eigenvalues of a dense matrix take less time than a few of a sparse one.
MOST_DENSE = 400


# Inside of `laplacians_kept`: of graphs, by their arrays and their kind, the Laplacians.
_KEPT: ContextVar[list[tuple[list, Any, list]] | None] = ContextVar("laplacians", default=None)


class Spectrum(NamedTuple):
    """The eigenvalues 0 = lambda_1 <= lambda_2 <= ... <= lambda_n of the Laplacians of a network, in short."""

    lambda_2: float  # the smallest over graphs: 0 where one of them is not connected
    lambda_n: float  # the largest over graphs
    mean_lambda_2: float  # of the mean Laplacian: > 0 where the union is connected
    window: int | None  # the fewest graphs in a row whose union is always connected; None where no number is enough
    mixing_rate: float  # the factor per step by which y+ = W_k y, W_k = I - L_k, forgets disagreement in the long run


def laplacians(network: Network) -> "list[sparse.csr_array]":
    """The weighted Laplacian D - W of every graph that takes its turn, in order, as SciPy sparse matrices in float64.

    Of a `Lossy` network those without loss, of `Members` those of all nodes: a lost link makes a Laplacian smaller, so
    bounds from above cover loss and bounds from below do not. Of an `Intermittent` one, its silent steps are matrices
    of zeros. A `Computed` one is built whole. Of a `Digraph` the symmetric part of D - W: its eigenvalues bound,
    and are not, those of the digraph.

    Raises `CojaxInputError` for a network whose graphs are not known before the run, for a `Directed` one, whose
    weights need not be balanced, and under jit.
    """
    check_kinds("theory.laplacians", ("network", network, Network))
    if isinstance(network, FaultyNetwork) and not (network.ledger or any(fault.one_way for fault in network.faults)):
        matrices, pauses = laplacians(network.graphs), [fault.period for fault in network.faults]
        silence, length = matrices[0] - matrices[0], math.lcm(len(matrices), *pauses)
        return [silence if any(k % each for each in pauses) else matrices[k % len(matrices)] for k in range(length)]
    if isinstance(network, Directed):
        raise CojaxInputError(
            "theory.laplacians needs balanced weights, got a Directed network: its nodes do not agree on their mean; "
            "use a Digraph of cojax.network, which balances them, or give the method its numbers by hand."
        )
    if network.has_node is not None:
        raise CojaxInputError(
            "theory.laplacians needs the network that was given to cojax.shard, got that it returned, with rows that "
            "hold no node; choose the numbers of a method before you shard."
        )
    if isinstance(network, Computed):
        return laplacians(built(network))
    if isinstance(network, FaultyNetwork):
        unseen = [fault.made_by for fault in network.faults if fault.one_way] or ["Ledger"]
        raise CojaxInputError(
            f"theory.laplacians knows nothing of messages that one end alone sees come, got a network with "
            f"{', '.join(unseen)}; choose numbers for the graphs in it, network.graphs, and try half of their step."
        )
    if not isinstance(network, Layout):
        raise CojaxInputError(
            f"theory.laplacians needs graphs that are known before the run, got a {type(network).__name__}; pass "
            "the network inside of it, or network.at(k) for the graph of step k, or give the method its numbers by "
            "hand."
        )
    if not is_concrete(network):
        raise CojaxInputError("theory.laplacians computes on the host, got traced weights; call it outside of jit.")
    bare = eqx.tree_at(lambda net: net.link, network, Ideal())  # a table that is known is not checked again
    arrays, kind = jax.tree.flatten(bare)
    kept = _KEPT.get()
    for known, known_kind, matrices in kept or ():
        if kind == known_kind and all(one is other for one, other in zip(arrays, known, strict=True)):
            return [matrix.copy() for matrix in matrices]
    matrices = [_laplacian(bare, k) for k in range(bare.num_graphs)]
    if kept is not None:
        kept.append((arrays, kind, [matrix.copy() for matrix in matrices]))
    return matrices


@contextlib.contextmanager
def laplacians_kept() -> Iterator[None]:
    """Inside, `laplacians` builds those of one graph once, whatever its link and faults, and then copies them.

    Also a decorator. Building takes twenty times as long as copying, and a default asks for them eight times.
    """
    if _KEPT.get() is not None:
        yield
        return
    token = _KEPT.set([])
    try:
        yield
    finally:
        _KEPT.reset(token)


def _laplacian(network: Layout, k: int) -> "sparse.csr_array":
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    size, (entries, *ends) = network.num_nodes, _entries(network, np.int32(k))
    weights = np.asarray(entries, np.float64)
    if isinstance(network, Digraph):
        rows, columns = np.nonzero(weights)
        values = weights[rows, columns]
        rows, columns = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        values = np.concatenate([values, values]) / 2
    else:
        columns, rows = (np.asarray(end).ravel() for end in ends)
        values = weights.ravel()
    keep = (values != 0) & (rows != columns)
    matrix = sparse.coo_array((values[keep], (rows[keep], columns[keep])), shape=(size, size)).tocsr()
    return (sparse.diags_array(matrix.sum(axis=1)).tocsr() - matrix).tocsr()


@functools.partial(compiled, runs_briefly=True)
def _entries(network: Layout, k: Any) -> tuple[Array, ...]:
    """The weights in force at step `k`, and both ends of each; of a digraph the weights alone."""
    net = network.at(k)
    return (net.weights,) if isinstance(net, Digraph) else (net.edge_weights(), *net.ends())


def is_fixed(network: Network) -> bool:
    """Whether one undirected graph is in force at every step, without loss."""
    check_kinds("theory.is_fixed", ("network", network, Network))
    graphs = untimed(network)
    return isinstance(graphs, Computed) or (
        isinstance(graphs, Layout) and graphs.num_graphs == 1 and is_undirected(graphs)
    )


def is_undirected(network: Network) -> bool:
    """Whether both ends of every link put the same weight on it."""
    check_kinds("theory.is_undirected", ("network", network, Network))
    return not isinstance(network.bare(), Digraph | Directed)


def spectrum(network: Network) -> Spectrum:
    """The `Spectrum` of a network; as `laplacians`, it leaves losses out.

    Exact up to 400 nodes. Above, lambda_2 is at most 1 % too small and lambda_n 0.5 % too large, so that a step that
    is chosen from them is on the safe side. Raises as `laplacians`.
    """
    matrices = laplacians(network)
    low, high = min(map(second_eigenvalue, matrices)), max(map(largest_eigenvalue, matrices))
    if len(matrices) == 1:
        rate = 0.0 if network.num_nodes == 1 else max(abs(1.0 - low), abs(1.0 - high))
        return Spectrum(low, high, low, 1 if low > 0 or network.num_nodes == 1 else None, rate)
    mean = second_eigenvalue(sum(matrices[1:], matrices[0]) / len(matrices))
    return Spectrum(low, high, mean, _window(matrices), _mixing_rate(matrices))


def largest_eigenvalue(matrix: Any) -> float:
    """Of a symmetric positive semidefinite matrix; 0 of one without entries. Above 400 rows at most 0.5 % too large."""
    if matrix.nnz == 0:
        return 0.0
    if matrix.shape[0] <= MOST_DENSE:
        return float(np.linalg.eigvalsh(matrix.toarray())[-1])
    return sum(lanczos.largest(lambda vector: matrix @ vector, matrix.shape[0]))


def _num_parts(laplacian: Any) -> int:
    """How many parts without a link between them a graph has."""
    from scipy.sparse.csgraph import connected_components  # here, because it takes longer to load than all of cojax

    return int(connected_components(laplacian, directed=False)[0])


def second_eigenvalue(laplacian: Any, curvature: Any = 1.0) -> float:
    """The second smallest eigenvalue of D^1/2 L D^1/2, D the `curvature`, >= 0; 0 of a single node.

    Exactly 0 where the graph is not connected. Above 400 nodes at most 1 % too small, and not too large: from
    sparse factors where the graph is thin, as rings, trees and ladders are, and by `lanczos` where it is not. Factors
    of an expander fill up, and on a ring Lanczos takes thousands of steps.
    """
    size = laplacian.shape[0]
    if size == 1 or _num_parts(laplacian) > 1:
        return 0.0
    matrix = scale_laplacian(laplacian, curvature)
    if size <= MOST_DENSE:
        return max(float(np.linalg.eigvalsh(matrix.toarray())[1]), 0.0)
    root = np.sqrt(np.broadcast_to(np.asarray(curvature, np.float64), (size,)))
    if np.count_nonzero(root == 0) > 1:
        return 0.0
    # What D^1/2 L D^1/2 maps to 0: of constant curvature what all nodes have alike.
    null = np.where(root == 0, 1.0, 0.0) if (root == 0).any() else root.min() / root
    return lanczos.second_smallest(matrix, null / np.linalg.norm(null))


def check_curvatures(owner: str, low: Any, high: Any) -> None:
    """Refuse least second derivatives that are above the largest."""
    for name, value in (("low", low), ("high", high)):
        check_number(owner, name, value, at_least=0.0)
    low, high = (np.asarray(end, np.float64) for end in (low, high))
    if low.shape in ((), high.shape) or high.shape == ():  # others are refused beside the network
        above = np.ravel(low > high * (1 + 1e-6))  # more than float32 rounds
        if above.any():
            node = int(above.argmax())
            low, high = (float(np.broadcast_to(end, above.shape)[node]) for end in (low, high))
            raise CojaxInputError(f"{owner} needs low <= high, got {low:g} > {high:g} at node {node}.")


def scale_laplacian(matrix: Any, curvature: Any) -> "sparse.csr_array":
    """D^1/2 L D^1/2."""
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    check_number("theory", "curvature", curvature, at_least=0.0)
    if np.shape(curvature) not in ((), matrix.shape[:1]):
        raise CojaxInputError(
            f"theory needs one curvature, or one for each of the {matrix.shape[0]} nodes, got shape "
            f"{np.shape(curvature)}."
        )
    root = sparse.diags_array(np.broadcast_to(np.sqrt(np.asarray(curvature, np.float64)), matrix.shape[:1]))
    return (root @ matrix @ root).tocsr()


def _window(matrices: list[Any]) -> int | None:
    waits = [_wait(matrices, first) for first in range(len(matrices))]
    return None if None in waits else max(wait for wait in waits if wait is not None)


def _wait(matrices: list[Any], first: int) -> int | None:
    """How many graphs from `first` on it takes until their union is connected."""
    union = matrices[first] * 0.0
    for num in range(len(matrices)):
        union = union + abs(matrices[(first + num) % len(matrices)])
        if _num_parts(union) == 1:
            return num + 1
    return None


def _mixing_rate(matrices: list[Any]) -> float:
    """The spectral radius of a whole turn on what sums to zero over nodes, per step."""
    size = matrices[0].shape[0]

    def turn(vector: np.ndarray) -> np.ndarray:
        for matrix in matrices:
            vector = vector - matrix @ vector
        return vector - vector.mean(0)

    if size <= MOST_DENSE:
        start = np.eye(size) - 1 / size
        radius = np.abs(np.linalg.eigvals(turn(start))).max()
    else:
        from scipy.sparse import linalg

        arnoldi: Any = linalg  # whose stubs do not know a LinearOperator's keywords
        operator = arnoldi.LinearOperator((size, size), matvec=lambda vector: turn(vector - vector.mean()))
        start = np.random.default_rng(0).standard_normal(size)
        found = arnoldi.eigs(operator, k=1, which="LM", v0=start, tol=lanczos.TOLERANCE, return_eigenvectors=False)
        radius = np.abs(found[0])
    return float(radius ** (1 / len(matrices)))
