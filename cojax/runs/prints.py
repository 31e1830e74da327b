"""What a run is made of, told alike however its nodes lie on devices and however their graph is stored."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..methods import Method
from ..networks.base import Layout, Network
from ..networks.faults.faulty import FaultyNetwork
from ..problems.membership import Attended
from ..problems.minibatches import Minibatch
from ..problems.problem import Problem, Scenario
from ..problems.rows import ShardedProblem
from .blocks import ALIKE, NODES, Blocks, arc_numbers
from .fingerprints import Said, fingerprint

CHUNK = 1 << 20  # bytes, or edges, that are hashed at a time


class Graph(NamedTuple):
    """What stands for a layout: the same graph with the same weights is one run, to the bits of its shares."""

    kind: str
    ends: Said  # of every edge both
    link: Any
    names: Any


def prints_of(
    blocks: Blocks, problem: Scenario, network: Network, method: Method, start: Any, every: int, record: Callable
) -> Mapping[str, str]:
    """The fingerprint of a run: the same on any number of devices and processes, all of which ask together."""
    return fingerprint(
        problem=_problem(blocks, problem),
        network=_network(blocks, network),
        method=method,
        start=_by_node(blocks, start),
        every=every,
        record=record,
    )


def _problem(blocks: Blocks, problem: Scenario) -> Any:
    if isinstance(problem, ShardedProblem):
        problem = problem.problem
    if not isinstance(problem, Minibatch):
        return _plain(blocks, problem)
    # Samples are drawn by row: in other rows the run is another one.
    rows = zip(blocks.rows, blocks.numbers, strict=True)
    order = Said(f"{blocks.num_rows} rows {_total(blocks, rows)}")
    parts = _plain(blocks, problem.problem), {"draws": _by_node(blocks, problem.draws), "order": order}
    return eqx.tree_at(lambda each: (each.problem, each.draws), problem, parts)


def _plain(blocks: Blocks, problem: Scenario) -> Any:
    """A problem whose data and bounds are told by node; one that changes from step to step is never cut."""
    if isinstance(problem, Attended) and blocks.num_rows > blocks.num_nodes:
        problem = problem.whole
    if type(problem) is not Problem:
        return problem

    def cut_parts(each: Problem) -> tuple:
        return each.data, each.lower, each.upper

    told = _by_node(blocks, cut_parts(problem))
    return eqx.tree_at(cut_parts, problem, told, is_leaf=lambda node: node is None)


def _network(blocks: Blocks, network: Network) -> Any:
    if isinstance(network, FaultyNetwork):
        graph = _graph(blocks, network.graphs, network.keeps_books)
        return eqx.tree_at(lambda each: each.graphs, network, graph)
    return _graph(blocks, network, False)


def _graph(blocks: Blocks, network: Network, keeps_books: bool) -> Any:
    layout = network.bare()
    if not isinstance(layout, Layout):
        return layout
    # Books are kept in the order of the edges of their layout.
    kind = type(layout).__name__ if keeps_books or not layout.symmetric else "undirected"
    weights = blocks.weights()
    shape = [blocks.total(sum(len(there) for there, _ in _edges(blocks, weights))), layout.num_graphs]
    ends = Said(f"{layout.weights.dtype}{shape} {_total(blocks, _edges(blocks, weights))}")
    return Graph(kind, ends, layout.link.given, layout.node_names)


def _edges(blocks: Blocks, weights: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The directed edges of this process by a number each, with their weights: some at a time."""
    for (own, other), block in zip(blocks.arcs, weights, strict=True):
        for first in range(0, len(own), CHUNK):
            part = slice(first, first + CHUNK)
            there = (own[part] != other[part]) & (block[part] != 0).any(axis=1)
            yield arc_numbers(own[part][there], other[part][there]), block[part][there]


def _by_node(blocks: Blocks, tree: Any) -> Any:
    """`tree`, with what is to be said of its arrays: of what is by node or edge, whatever its rows are in."""

    def said(leaf: Any, counts: str) -> Any:
        if counts == ALIKE:
            return blocks.lying(leaf, ALIKE)
        dtype = leaf.dtype
        if jnp.issubdtype(dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        parts = blocks.of(leaf)
        if counts == NODES:
            numbers, shape = blocks.numbers, [blocks.num_nodes, *leaf.shape[1:]]
            keep = [part < blocks.num_nodes for part in numbers]
        else:
            numbers = [arc_numbers(own, other) for own, other in blocks.arcs]
            shape = ["edges", *leaf.shape[len(blocks.edge_shape) :]]
            keep = [own != other for own, other in blocks.arcs]
            parts = [part.reshape(-1, *part.shape[len(blocks.edge_shape) :]) for part in parts]
        rows = [(each[there], part[there]) for each, part, there in zip(numbers, parts, keep, strict=True)]
        return Said(f"{dtype}{shape} {_total(blocks, rows)}")

    return jax.tree.map(said, tree, blocks.counts(tree))


def _total(blocks: Blocks, rows: Iterable[tuple[np.ndarray, np.ndarray]]) -> str:
    """A hash of numbered rows, whatever order they are in and whichever process has them."""
    return f"{blocks.total(sum(_hashed(*part) for part in rows) % 2**64):016x}"


def _hashed(numbers: np.ndarray, rows: np.ndarray) -> int:
    """The sum of the hashes of rows with their numbers, modulo 2**64."""
    width = rows[:1].nbytes
    total, step = 0, max(1, CHUNK // max(width, 1))
    for first in range(0, len(rows), step):
        part = np.ascontiguousarray(rows[first : first + step])
        padded = np.zeros((len(part), -(-width // 8) * 8), np.uint8)
        padded[:, :width] = np.frombuffer(part.tobytes(), np.uint8).reshape(len(part), width)
        found = _mixed(numbers[first : first + step].astype(np.uint64))
        for words in padded.view(np.uint64).T:
            found = _mixed(found ^ words)
        total += int(found.sum(dtype=np.uint64))
    return total % 2**64


def _mixed(words: np.ndarray) -> np.ndarray:
    """Every bit of what comes in changes half of those that go out, of 64.

    Source: SplitMix: Steele, Lea, Flood, OOPSLA 2014, doi 10.1145/2660193.2660195.
    """
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)
