"""Results as labelled tables: by node, by step, and by whatever axes many runs have."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from .._support.checks import CojaxInputError, is_concrete
from .._support.names import Names
from .._support.trees import Tree
from .records import Trace

if TYPE_CHECKING:
    import pandas
    import xarray

Labelled = dict[str, tuple[tuple[str, ...], np.ndarray]]  # by name: the dimensions, and the values


def by_path(tree: Tree) -> list[tuple[str, Any]]:
    """Every array with its path in the tree, "record" where the tree is that array."""
    return [
        (jax.tree_util.keystr(path, simple=True, separator=".") or "record", leaf)
        for path, leaf in jax.tree.leaves_with_path(tree)
    ]


def variables(solution: Any, axes: Mapping[str, Any]) -> Labelled:
    """Status, decision and trace of a solution whose arrays have one leading axis per entry of `axes`.

    `trace_` goes before a record's name that is an axis or a decision too, `solution_` before others that are axes.
    """
    trace = solution.trace
    if isinstance(trace, Trace):
        trace = {name: rows for name, rows in trace._asdict().items() if name != "step"}
    kept: dict[str, tuple[tuple[str, ...], Any]] = {"status": ((), solution.status)}
    kept |= {name: (("node",), leaf) for name, leaf in by_path(solution.x._asdict())}
    kept = {f"solution_{name}" if name in axes else name: entry for name, entry in kept.items()}
    for name, leaf in by_path(trace):
        taken = name in kept or name in axes or name in ("step", "node")
        kept[f"trace_{name}" if taken else name] = ("step",), leaf
    found = {}
    for name, (known, leaf) in kept.items():
        dims = (*axes, *known)
        dims += tuple(f"{name}_{place}" for place in range(np.ndim(leaf) - len(dims)))
        found[name] = dims, plain(leaf)
    return found


def plain(leaf: Any) -> np.ndarray:
    """An array as files know it: they have no bfloat16 and the like, and float32 has all of their numbers."""
    array = np.asarray(leaf)
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def dataset(owner: str, named: Labelled, coords: Mapping[str, Any], names: Names | None) -> "xarray.Dataset":
    """A dataset of `named`, a slash in whose names becomes a dot: in files it is a folder, and what is in it gets lost.

    Raises `CojaxInputError` where xarray is missing.
    """
    try:
        import xarray
    except ImportError as error:
        raise CojaxInputError(
            f"{owner} needs xarray, which is not installed: pip install 'cojax[store]'; or save arrays by numpy.savez."
        ) from error
    found: Labelled = {}
    for name, (dims, array) in named.items():
        text = name.replace("/", ".")
        while text in found or (text != name and text in named):
            text += "_"
        own = len(dims) - sum(dim.startswith(f"{name}_") for dim in dims)
        dims = (*dims[:own], *(text + dim.removeprefix(name) for dim in dims[own:]))
        found[text] = tuple(dim.replace("/", ".") for dim in dims), array
    labels = {name.replace("/", "."): np.asarray(values) for name, values in coords.items() if values is not None}
    if names is not None and any("node" in dims for dims, _ in found.values()):
        labels["node"] = np.asarray(list(names))
    return xarray.Dataset(found, coords=labels)


def frame(owner: str, columns: Mapping[str, Any], index: Any, index_name: str) -> "pandas.DataFrame":
    """A table with a named index; raises `CojaxInputError` where pandas is missing."""
    try:
        import pandas
    except ImportError as error:
        raise CojaxInputError(f"{owner} needs pandas, which is not installed: pip install 'cojax[store]'.") from error
    return pandas.DataFrame(dict(columns), index=pandas.Index(index, name=index_name))


def node_table(owner: str, tree: Tree, names: Names | None) -> "pandas.DataFrame":
    """One row a node, one column for every number that a node holds, named by its path and place."""
    columns: dict[str, np.ndarray] = {}
    rows = 0
    for name, leaf in by_path(tree):
        array = plain(leaf)
        rows = len(array)
        for place in np.ndindex(array.shape[1:]):
            columns[".".join([name, *map(str, place)])] = array[(slice(None), *place)]
    return frame(owner, columns, range(rows) if names is None else list(names), "node")


def check_single(owner: str, status: Any) -> None:
    """Refuse what belongs to many runs, and what is no number yet."""
    if not is_concrete(status):
        raise CojaxInputError(f"{owner} needs numbers, got traced arrays; call it outside of jit, vmap and grad.")
    if np.ndim(status):
        raise CojaxInputError(
            f"{owner} needs the solution of one run, got one of many, with axes {np.shape(status)}: take one by "
            "jax.tree.map(lambda leaf: leaf[0], solution), or use cojax.sweep, whose result has labels."
        )
