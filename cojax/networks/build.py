"""From graphs to a network: nodes ordered, edges checked, weights chosen, the fastest layout picked."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError, fitting, is_small_float, real_array, whole_number
from .._support.computed_graphs import ComputedGraph
from .._support.edge_lists import EdgeList, are_in_order, connected_parts, distinct, edge_codes, sorted_once
from .._support.names import Names
from .base import Layout, Link
from .layouts.circulant import Circulant
from .layouts.columns import blocks, columns, split_cost
from .layouts.computed import Computed
from .layouts.dense import Dense
from .layouts.directed import Digraph
from .layouts.edges import Edges
from .layouts.neighbors import Neighbors
from .layouts.split import Split
from .links.links import Ideal
from .weights import balanced, metropolis

if TYPE_CHECKING:
    from scipy import sparse

# With more, a matrix or a table is as fast, and compiles in a moment; with one for every few nodes a matrix is.
MOST_OFFSETS, NODES_PER_OFFSET = 8, 6
# Of weight matrices: more than any layout that keeps its edges would take, and than most machines have.
MOST_BYTES = 2**35
# Two tables and a scatter cost this much more than one table of as many slots.
SPLIT_PRICE, SPLIT_SLOTS = 1.15, 100.0
LAYOUTS = ("auto", "dense", "neighbors", "split", "edges", "circulant")
Weights = Callable[[int, np.ndarray], np.ndarray]


def network(
    graphs: Any,
    *,
    nodelist: Sequence[Hashable] | None = None,
    weights: Weights = metropolis,
    link: Link | None = None,
    layout: str = "auto",
) -> Layout:
    """The network of one graph, or of a sequence of graphs that take turns, one per step.

    Args:
        graphs: a networkx graph, a `graphs.EdgeList`, a `graphs.computed`, a rustworkx graph, a SciPy sparse or NumPy
            (n, n) weight matrix, or a sequence of these over the same nodes; an array (T, n, n) is a sequence of T.
            Undirected graphs get `weights`; matrices are taken as they are. A directed networkx graph gets weights that
            balance it; a matrix that is balanced but not symmetric is a directed graph too. From 10^5 nodes on a
            networkx graph takes far longer than all others. Nodes of others than networkx are 0 ... n - 1.
        nodelist: the nodes in the order of the rows of the problem's data; by default the order of the first graph.
            Solutions, their tables and pictures have the nodes by these names.
        weights: a rule from `cojax.weights`, (num_nodes, pairs (2, e)) -> (e,).
        link: the channel, `Ideal()` by default.
        layout: "auto", "dense", "neighbors", "split", "edges" or "circulant".

    Raises `CojaxInputError` for graphs over different nodes, self-loops or parallel edges, negative, non-finite or
    unbalanced weights, and a union that is not connected: its nodes could never agree.
    """
    if layout not in LAYOUTS:
        raise CojaxInputError(f"network needs layout to be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    link = Ideal() if link is None else link
    if not isinstance(link, Link):
        raise CojaxInputError(f"network needs a link such as Ideal() or Quantized(LogQuantizer(0.1)), got {link!r}.")
    if not callable(weights):
        raise CojaxInputError(f"network needs a rule for weights such as cojax.weights.metropolis, got {weights!r}.")
    items = [_plain(item) for item in _as_list(graphs)]
    _say_unused_weights(items)
    matrices = [_as_matrix(item) for item in items]
    if any(_is_directed(item, matrix) for item, matrix in zip(items, matrices, strict=True)):
        return _digraph(items, matrices, nodelist, link, layout)
    names = _names(items, matrices, nodelist)
    edges = [_edges(item, matrix, names) for item, matrix in zip(items, matrices, strict=True)]
    chosen = [_apply_rule(weights, len(names), pairs) if given is None else given for pairs, given in edges]
    pairs, table = _union(len(names), [pairs for pairs, _ in edges], chosen)
    _check_weights(pairs, table)
    up = (table > 0).any(0)
    _check_connected(len(names), pairs if up.all() else pairs[:, up], names)
    return _named(build(len(names), pairs, table, link=link, layout=layout), names)


def of_edges(
    num_nodes: int,
    pairs: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    *,
    link: Link,
    node_names: Names | None = None,
) -> Layout:
    """The network of graphs that take turns, of each the edges (2, e), lower end first, and their weights (e,)."""
    made = build(num_nodes, *_union(num_nodes, list(pairs), list(weights)), link=link)
    return made if node_names is None else dataclasses.replace(made, node_names=node_names)


def built(given: Any) -> Any:
    """A network with the graph of a `Computed` one built whole, its link and faults as they are; others as given."""
    bare = given.bare()
    return given.over(network(bare.graph, link=bare.link)) if isinstance(bare, Computed) else given


def _say_unused_weights(items: list) -> None:
    """Warn of edges of networkx that have weights of their own, which are not those of this network."""
    for item in filter(_is_networkx, items):
        if _differ(weight for *_, weight in item.edges(data="weight", default=1)):
            warnings.warn(
                "network takes weights from its rule; the edge attribute `weight` of the graph is not used. To use it, "
                "pass the matrix networkx.to_scipy_sparse_array(graph), whose rows should sum to at most 1.",
                stacklevel=3,
            )
            return


def _differ(weights: Iterable) -> bool:
    try:
        return len(set(weights)) > 1
    except TypeError:  # lists or arrays, which are no numbers and are not compared
        return True


def _named(layout: Layout, names: Sequence[Hashable]) -> Layout:
    """The layout with the names of its nodes, where they are more than the numbers of its rows."""
    if isinstance(names, range) or all(name == row for row, name in enumerate(names)):
        return layout
    return dataclasses.replace(layout, node_names=Names(names))


def build(num_nodes: int, pairs: np.ndarray, table: np.ndarray, *, link: Link, layout: str = "auto") -> Layout:
    """The layout of a union graph: pairs (2, e), every edge once, and table (T, e), its weights at every step."""
    fitting("network", "weights", table)
    offsets = _circulant_offsets(num_nodes, pairs, table) if layout in ("auto", "circulant") else None
    if layout == "circulant" and offsets is None:
        raise CojaxInputError(
            "network needs a circulant graph (every node i linked to i + offset, at one weight) for "
            'layout="circulant", got another; use layout="auto".'
        )
    if layout == "dense":
        _check_room(num_nodes, table.shape[0], 'layout="dense"', 'use layout="neighbors" or "edges"')
    if layout == "auto":
        few = offsets is not None and len(offsets) <= min(MOST_OFFSETS, num_nodes / NODES_PER_OFFSET)
        layout = "circulant" if few else pick_layout(num_nodes, pairs, by_edge=link.by_edge)
    steps = table[0] if table.shape[0] == 1 else table
    if layout == "circulant":
        return _circulant(num_nodes, offsets or {}, table, link)
    if layout == "dense":
        return _dense(num_nodes, pairs, steps, link)
    if layout == "edges":
        return Edges(
            weights=jnp.asarray(_as_default(steps)), pairs=jnp.asarray(pairs, jnp.int32), size=num_nodes, link=link
        )
    return (_split if layout == "split" else _neighbors)(num_nodes, pairs, steps, link)


# Numbers of nodes from which a product of a matrix is long enough to be fast, up to which the matrix is in the cache
# (`benchmarks/which_layout.py`).
LEAST_PRODUCT, MOST_CACHED = 100, 700


def pick_layout(num_nodes: int, pairs: np.ndarray, *, by_edge: bool) -> str:
    """The layout with the fastest flow for one that is not circulant; thresholds from `benchmarks/which_layout.py`."""
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    # In slots, what a step computes: every node's slots, padded; or its row of a matrix, where a number costs less: a
    # third, or a fifth where a product is long enough to be fast and its matrix still in the cache. Where a link
    # remembers edges, those of a matrix are all pairs.
    in_cache = LEAST_PRODUCT <= num_nodes <= MOST_CACHED
    per_slot = 1 if by_edge else 5 if in_cache else 3
    prices = {
        "neighbors": num_nodes * degree.max(initial=0),
        "split": SPLIT_PRICE * split_cost(degree)[1] + SPLIT_SLOTS,
        "dense": num_nodes**2 / per_slot,
    }
    return min(prices, key=lambda name: prices[name])


def _apply_rule(rule: Weights, num_nodes: int, pairs: np.ndarray) -> np.ndarray:
    weights = real_array("network", "weights", rule(num_nodes, pairs))
    if weights.shape not in ((), pairs.shape[1:]):
        raise CojaxInputError(f"network needs weights of shape {pairs.shape[1:]}, one an edge, got {weights.shape}.")
    return weights


def _plain(item: Any) -> Any:
    """An `EdgeList` that was checked, of one, of a computed or of a rustworkx graph; others as they are."""
    if isinstance(item, ComputedGraph):
        item = item.edge_list()
    if not isinstance(item, EdgeList) and hasattr(item, "edge_list") and hasattr(item, "node_indexes"):
        item = _of_rustworkx(item)
    if not isinstance(item, EdgeList):
        return item
    num_nodes = whole_number("network", "num_nodes", item.num_nodes, at_least=1)
    pairs = real_array("network", "pairs", item.pairs)
    if pairs.ndim != 2 or pairs.shape[0] != 2 or not (np.issubdtype(pairs.dtype, np.integer) or pairs.size == 0):
        raise CojaxInputError(
            f"network needs an EdgeList with pairs of shape (2, e) of integers, got {pairs.shape} of {pairs.dtype}."
        )
    if pairs.size and not (pairs.min() >= 0 and pairs.max() < num_nodes):
        raise CojaxInputError(
            f"network needs an EdgeList with ends from 0 to {num_nodes - 1}, got {pairs.min()} to {pairs.max()}."
        )
    loops = np.flatnonzero(pairs[0] == pairs[1])
    if loops.size:
        raise CojaxInputError(
            f"network needs a graph without self-loops, got one at node {pairs[0, loops[0]]}; remove it."
        )
    once = sorted_once(num_nodes, pairs)
    if once.shape != pairs.shape:
        raise CojaxInputError(
            f"network needs an EdgeList with every edge once, got {pairs.shape[1]} pairs for {once.shape[1]} edges: a "
            "pair and its reverse are one edge."
        )
    if once is pairs:  # the caller's own, not copied: a rule for weights that wrote to it would change it
        once = pairs.view()
        once.flags.writeable = False
    return EdgeList(num_nodes, once)


def _of_rustworkx(graph: Any) -> EdgeList:
    if type(graph).__name__ == "PyDiGraph":
        raise CojaxInputError(
            "network needs an undirected rustworkx graph, a PyGraph, got a PyDiGraph; hand in its weight matrix, or a "
            "networkx graph."
        )
    indexes = np.asarray(graph.node_indexes(), np.int64)
    if indexes.size and int(indexes[-1]) != indexes.size - 1:
        raise CojaxInputError(
            f"network needs a rustworkx graph whose nodes are numbered 0 ... {indexes.size - 1}, got one from which "
            "nodes were removed; build it anew."
        )
    return EdgeList(indexes.size, np.asarray(graph.edge_list(), np.int64).reshape(-1, 2).T)


def _as_list(graphs: Any) -> list:
    if isinstance(graphs, EdgeList):
        return [graphs]
    if isinstance(graphs, list | tuple):
        items = list(graphs)
    elif (isinstance(graphs, np.ndarray) and graphs.ndim == 3) or getattr(graphs, "ndim", 0) == 3:
        items = list(np.asarray(graphs))
    else:
        items = [graphs]
    if not items:
        raise CojaxInputError("network needs at least one graph, got an empty sequence.")
    return items


def _is_networkx(item: Any) -> bool:
    return hasattr(item, "adjacency") and hasattr(item, "nodes")


def _as_matrix(item: Any) -> "sparse.csr_array | None":
    """A weight matrix, or None of a networkx graph."""
    from scipy import sparse  # here, because it takes longer to load than all of cojax

    if _is_networkx(item) or isinstance(item, EdgeList):
        return None
    if sparse.issparse(item):
        matrix = sparse.coo_array(item)
    elif hasattr(item, "shape"):
        array = np.atleast_1d(real_array("network", "graphs", item))
        short = is_small_float(array.dtype) and array.dtype.itemsize < 4  # SciPy takes no floats of 16 bits
        matrix = sparse.coo_array(array.astype(np.float32) if short else array)
    else:
        raise CojaxInputError(f"network needs networkx graphs or weight matrices, got {type(item).__name__}.")
    if matrix.shape is None or len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise CojaxInputError(f"network needs square weight matrices, got shape {matrix.shape}.")
    data = real_array("network", "weights", matrix.data).astype(np.float64)
    # By rows, which sums what is there twice: in SciPy 1.17 `coo_array.sum_duplicates` takes ten times as long.
    found = sparse.coo_array((data, (matrix.row, matrix.col)), shape=matrix.shape).tocsr()
    for kind, wrong in (("finite", ~np.isfinite(found.data)), (">= 0", found.data < 0)):
        if wrong.any():
            at, ends = int(wrong.argmax()), found.tocoo()
            raise CojaxInputError(
                f"network needs weights {kind}, got {found.data[at]:g} on edge ({ends.row[at]}, {ends.col[at]})."
            )
    return found


def _is_directed(item: Any, matrix: "sparse.csr_array | None") -> bool:
    if matrix is None:
        return not isinstance(item, EdgeList) and item.is_directed()
    if matrix.nnz == 0:
        return False
    turned = matrix.T.tocsr()
    alike = np.array_equal(matrix.indptr, turned.indptr) and np.array_equal(matrix.indices, turned.indices)
    off = np.abs(matrix.data - turned.data).max() if alike else abs(matrix - turned).max()
    # A matrix that was computed may be symmetric up to rounding.
    return bool(off > 16 * np.finfo(np.float32).eps * matrix.data.max())


def _num_numbered(item: Any, matrix: Any) -> int | None:
    """How many nodes a graph has whose nodes are numbers in order; None of a networkx graph, whose nodes are names."""
    if matrix is not None:
        return matrix.shape[0]
    return item.num_nodes if isinstance(item, EdgeList) else None


def _names(items: list, matrices: list, nodelist: Sequence[Hashable] | None) -> Sequence[Hashable]:
    """The nodes in order; every graph must have exactly these."""
    sizes = [_num_numbered(item, matrix) for item, matrix in zip(items, matrices, strict=True)]
    if nodelist is None and sizes[0] and len(set(sizes)) == 1:
        return range(sizes[0])
    first = range(sizes[0]) if sizes[0] is not None else items[0].nodes
    try:
        names = list(first if nodelist is None else nodelist)
        repeated = len(set(names)) != len(names)
    except TypeError as error:
        raise CojaxInputError(f"network needs nodelist to be a sequence of nodes, got {nodelist!r}.") from error
    if len(names) == 0:
        raise CojaxInputError("network needs at least one node, got an empty graph.")
    if repeated:
        raise CojaxInputError("network needs every node once in nodelist, got a repeated one.")
    for item, matrix in zip(items, matrices, strict=True):
        size = _num_numbered(item, matrix)
        here = set(item.nodes if size is None else range(size))
        if here != set(names):
            missing, extra = set(names) - here, here - set(names)
            raise CojaxInputError(
                "network needs the same nodes in every graph and in nodelist: "
                f"missing {sorted(map(str, missing))[:5]}, not wanted {sorted(map(str, extra))[:5]}."
            )
    return names


def _edges(
    item: Any, matrix: "sparse.csr_array | None", names: Sequence[Hashable]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Every undirected edge once, lower end first; and its given weight, or None."""
    if matrix is None and not isinstance(item, EdgeList):
        return np.sort(_ends(item, names, {name: row for row, name in enumerate(names)}), axis=0), None
    ends = item.pairs if matrix is None else np.stack(matrix.tocoo().coords).astype(np.int64)
    if not isinstance(names, range):  # the caller's order is another
        place = {name: row for row, name in enumerate(names)}
        ends = np.asarray([place[node] for node in range(len(names))])[ends]
    if matrix is None:
        return (ends if isinstance(names, range) else np.sort(ends, axis=0)), None
    keep = (ends[0] < ends[1]) & (matrix.data != 0)
    return ends[:, keep], matrix.data[keep]


def _ends(graph: Any, names: Sequence[Hashable], place: dict) -> np.ndarray:
    """The two ends (2, e) of every edge of a networkx graph, as rows."""
    if graph.is_multigraph():
        raise CojaxInputError(
            "network needs a graph without parallel edges, got a networkx multigraph; "
            f"collapse them with networkx.{'DiGraph' if graph.is_directed() else 'Graph'}(graph)."
        )
    ends = np.array([(place[a], place[b]) for a, b in graph.edges], dtype=np.int64).reshape(-1, 2).T
    if (ends[0] == ends[1]).any():
        node = names[int(ends[0][ends[0] == ends[1]][0])]
        raise CojaxInputError(f"network needs a graph without self-loops, got one at node {node!r}; remove it.")
    return ends


def _union(num_nodes: int, pairs: list[np.ndarray], weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The edges of all steps, once, and the weight of each at every step (0 where it is down)."""
    if len(pairs) == 1 and are_in_order(pairs[0]):
        return pairs[0], np.broadcast_to(weights[0].astype(float, copy=False), (1, pairs[0].shape[1]))
    codes = [edge_codes(num_nodes, ends) for ends in pairs]
    union = distinct(np.concatenate(codes))
    table = np.zeros((len(pairs), union.size))
    for row, code, weight in zip(table, codes, weights, strict=True):
        row[np.searchsorted(union, code)] = weight
    return np.stack([union // num_nodes, union % num_nodes]), table


def _check_weights(pairs: np.ndarray, table: np.ndarray) -> None:
    for kind, wrong in (("finite", ~np.isfinite(table)), (">= 0", table < 0)):
        if wrong.any():
            step, edge = (int(part) for part in np.argwhere(wrong)[0])
            i, j = pairs[:, edge]
            raise CojaxInputError(f"network needs weights {kind}, got {table[step, edge]:g} on edge ({i}, {j}).")


def _check_connected(num_nodes: int, pairs: np.ndarray, names: Sequence[Hashable], *, directed: bool = False) -> None:
    count, part = connected_parts(num_nodes, pairs, directed=directed)
    if count > 1:
        sizes = np.sort(np.bincount(part))[::-1]
        lone = names[int(np.flatnonzero(part == np.bincount(part).argmin())[0])]
        raise CojaxInputError(
            f"The union of the graphs is not connected ({count} parts, of {', '.join(map(str, sizes[:5]))} nodes; "
            f"{lone!r} is in the smallest): the nodes can never agree. Add a link between the parts."
        )


def _check_room(num_nodes: int, num_graphs: int, owner: str, remedy: str) -> None:
    """Refuse matrices that no memory holds, before the first of them is asked for."""
    num_bytes = num_graphs * num_nodes**2 * np.dtype(jnp.result_type(float)).itemsize
    if num_bytes > MOST_BYTES:
        raise CojaxInputError(
            f"network needs a matrix of all pairs of nodes for {owner}, got {num_nodes} nodes, "
            f"{num_bytes / 1e9:.3g} GB in all; {remedy}."
        )


def _as_default(table: np.ndarray) -> np.ndarray:
    """Weights in JAX's default float: float32, or float64 where it is enabled."""
    return np.asarray(table, jnp.result_type(float))


def _dense(num_nodes: int, pairs: np.ndarray, table: np.ndarray, link: Link) -> Dense:
    matrix = np.zeros((*table.shape[:-1], num_nodes, num_nodes), jnp.result_type(float))
    matrix[..., pairs[0], pairs[1]] = table
    matrix[..., pairs[1], pairs[0]] = table
    return Dense(weights=jnp.asarray(matrix), link=link)


def _neighbors(num_nodes: int, pairs: np.ndarray, table: np.ndarray, link: Link) -> Neighbors:
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    others, place, _ = columns(num_nodes, pairs, int(degree.max(initial=0)))
    shape, index = others.shape, jnp.asarray(others)
    del others  # of a large graph every array is a good part of the whole
    weights = jnp.asarray(_in_slots(shape, place, table))
    twin = np.repeat(np.arange(shape[0], dtype=np.int32)[:, None], num_nodes, axis=1)
    _tell_places(twin.reshape(-1), place, lambda there: there // num_nodes)
    del place
    return Neighbors(weights=weights, index=index, twin=jnp.asarray(twin), link=link)


def _split(num_nodes: int, pairs: np.ndarray, table: np.ndarray, link: Link) -> Split:
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    others, place, owner = columns(num_nodes, pairs, split_cost(degree)[0])
    shape, index = others.shape, jnp.asarray(others)
    del others  # as in `_neighbors`
    weights = jnp.asarray(_in_slots(shape, place, table))
    twin = np.arange(shape[0] * shape[1], dtype=np.int32)
    _tell_places(twin, place, lambda there: there)
    del place
    return Split(
        weights=weights,
        index=index,
        twin=jnp.asarray(twin.reshape(shape)),
        owner=jnp.asarray(owner),
        size=num_nodes,
        link=link,
    )


def _tell_places(twin: np.ndarray, place: np.ndarray, tell: Callable[[np.ndarray], np.ndarray]) -> None:
    """Writes to both places of every edge what `tell` makes of the other one."""
    for part in blocks(place.shape[1]):
        for here, there in zip(place[:, part], place[::-1, part], strict=True):
            twin[here] = tell(there)


def _in_slots(shape: tuple[int, ...], place: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Weights (T, e) or (e,) by slot: (T, k, c) or (k, c) for a table of shape (k, c)."""
    weights = np.zeros((*table.shape[:-1], math.prod(shape)), jnp.result_type(float))
    for part in blocks(place.shape[1]):
        for there in place[:, part]:
            weights[..., there] = table[..., part]
    return weights.reshape(*table.shape[:-1], *shape)


def _circulant_offsets(num_nodes: int, pairs: np.ndarray, table: np.ndarray) -> dict[int, np.ndarray] | None:
    """Weights (T,) by offset, if every node has the same offsets at the same weights; else None."""
    if num_nodes < 3 or pairs.shape[1] == 0:
        return None

    def offsets_of(pairs: np.ndarray) -> np.ndarray:
        ahead = (pairs[1] - pairs[0]) % num_nodes
        return np.minimum(ahead, num_nodes - ahead)

    wholes = {
        int(value): num_nodes // 2 if 2 * value == num_nodes else num_nodes
        for value in distinct(offsets_of(pairs[:, (pairs == 0).any(0)]))
    }
    if pairs.shape[1] != sum(wholes.values()):
        return None  # node 0 has other offsets than others have: nearly every graph is told so at once
    offset, found = offsets_of(pairs), {}
    for value, whole in wholes.items():
        here = offset == value
        if here.sum() != whole or (table[:, here] != table[:, here][:, :1]).any():
            return None
        found[value] = table[:, here][:, 0]
    return found


def _circulant(num_nodes: int, found: dict[int, np.ndarray], table: np.ndarray, link: Link) -> Circulant:
    offsets, rows = [], []
    for offset, weight in found.items():
        for mirrored in sorted({offset, num_nodes - offset}):
            offsets.append(mirrored)
            rows.append(weight)
    steps = np.stack(rows, axis=1)[..., None]
    steps = steps[0] if table.shape[0] == 1 else steps
    return Circulant(weights=jnp.asarray(_as_default(steps)), offsets=tuple(offsets), size=num_nodes, link=link)


def _digraph(items: list, matrices: list, nodelist: Any, link: Link, layout: str) -> Layout:
    if layout not in ("auto", "dense"):
        raise CojaxInputError(f'network keeps directed graphs as matrices, got layout={layout!r}; use layout="auto".')
    names = _names(items, matrices, nodelist)
    _check_room(len(names), len(items), "a directed graph", "use undirected links, which need none")
    place = {name: row for row, name in enumerate(names)}
    tensor = np.zeros((len(items), len(names), len(names)))
    for plane, item, matrix in zip(tensor, items, matrices, strict=True):
        if matrix is not None:
            rows = np.asarray([place[node] for node in range(matrix.shape[0])])
            plane[np.ix_(rows, rows)] = matrix.toarray()
        else:
            # An undirected graph among directed ones is heard both ways along every edge.
            ends = _ends(item, names, place) if _is_networkx(item) else _edges(item, None, names)[0]
            plane[:] = balanced(len(names), ends[::-1] if _is_directed(item, None) else np.hstack([ends, ends[::-1]]))
    _check_connected(len(names), np.stack(np.nonzero((tensor > 0).any(0))), names, directed=True)
    tensor = _as_default(tensor)
    return _named(Digraph(weights=jnp.asarray(tensor[0] if len(items) == 1 else tensor), link=link), names)
