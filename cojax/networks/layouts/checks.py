"""What a layout is built from is checked on the host: JAX would clamp a wrong index, and say nothing."""

import jax.numpy as jnp
import numpy as np

from ..._support.checks import CojaxInputError, whole_number


def check_square(owner: str, weights: np.ndarray) -> None:
    """Refuse what is no weight matrix, or a stack of them."""
    if weights.ndim not in (2, 3) or weights.shape[-1] != weights.shape[-2] or weights.shape[-1] == 0:
        raise CojaxInputError(f"{owner} needs weights of shape (n, n) or (T, n, n), got {weights.shape}.")
    check_entries(owner, weights)


def check_entries(owner: str, weights: np.ndarray) -> None:
    """Refuse weights that are no floats, not finite, or negative."""
    if not jnp.issubdtype(weights.dtype, jnp.floating):
        raise CojaxInputError(f"{owner} needs weights of floats, got {weights.dtype}; use weights.astype(float).")
    for wanted, wrong, why in (
        ("finite weights", ~np.isfinite(weights), ""),
        ("weights >= 0", weights < 0, ": nodes would push apart"),
    ):
        if wrong.any():
            at = tuple(int(part) for part in np.argwhere(wrong)[0])
            place = ", ".join(map(str, at[-2:]))
            raise CojaxInputError(f"{owner} needs {wanted}, got {float(weights[at]):g} on edge ({place}){why}.")


def check_matrix(owner: str, weights: np.ndarray, *, symmetric: bool) -> None:
    """Refuse a weight matrix whose rows do not sum to what its columns sum to, or that is not symmetric."""
    check_square(owner, weights)
    if symmetric and (weights != np.swapaxes(weights, -1, -2)).any():
        gap = np.abs(weights - np.swapaxes(weights, -1, -2))
        at = tuple(int(part) for part in np.unravel_index(gap.argmax(), gap.shape))
        back = (*at[:-2], at[-1], at[-2])
        raise CojaxInputError(
            f"{owner} needs symmetric weights, got w[{at[-2]}, {at[-1]}] = {float(weights[at]):g} and "
            f"w[{at[-1]}, {at[-2]}] = {float(weights[back]):g}; use a weight-balanced Digraph for directed links."
        )
    row, column = weights.sum(-1, dtype=np.float64), weights.sum(-2, dtype=np.float64)
    error = np.abs(row - column)
    info = jnp.finfo(weights.dtype)
    # Balance is computed in many roundings, but not in 16 bits: what has these was rounded to them, once.
    slack = float(info.eps) * (64 if info.bits >= 32 else 2)
    if (error > slack * np.maximum(row, 1e-30)).any():
        node = int(np.unravel_index(error.argmax(), error.shape)[-1])
        raise CojaxInputError(
            f"{owner} needs balanced weights (row sum = column sum), got {row.flat[error.argmax()]:g} in and "
            f"{column.flat[error.argmax()]:g} out at node {node}; use cojax.weights.balanced."
        )


def check_table(weights: np.ndarray, index: np.ndarray, twin: np.ndarray) -> None:
    """Refuse a table of neighbours in which an edge has no second end, or another weight there."""
    check_entries("Neighbors", weights)
    if index.ndim != 2 or twin.shape != index.shape or weights.shape[-2:] != index.shape:
        raise CojaxInputError(
            f"Neighbors needs weights, index and twin of one shape (slots, n), got {weights.shape}, {index.shape} and "
            f"{twin.shape}; use cojax.network(...), which builds the table."
        )
    _check_whole("Neighbors", "index", index)
    _check_whole("Neighbors", "twin", twin)
    num_slots, num_nodes = index.shape
    if index.size == 0:  # nodes without neighbours
        return
    for name, array, end in (("index", index, num_nodes), ("twin", twin, num_slots)):
        if array.min() < 0 or array.max() >= end:
            raise CojaxInputError(f"Neighbors needs {name} from 0 to {end - 1}, got {array.min()} to {array.max()}.")
    nodes = np.broadcast_to(np.arange(num_nodes), index.shape)
    used = (np.asarray(weights).reshape(-1, *index.shape) != 0).any(0)
    back = (index[twin, index] != nodes) & used
    if back.any():
        slot, node = (int(part) for part in np.argwhere(back)[0])
        raise CojaxInputError(
            f"Neighbors needs twin to lead back, got slot {slot} of node {node} whose neighbour {index[slot, node]} "
            "has another node there; use cojax.network(...), which builds the table."
        )
    uneven = (weights[..., twin, index] != weights) & used
    if uneven.any():
        slot, node = (int(part) for part in np.argwhere(uneven)[0][-2:])
        raise CojaxInputError(
            f"Neighbors needs one weight per edge, got two for that of nodes {node} and {index[slot, node]}."
        )


def check_split(weights: np.ndarray, index: np.ndarray, twin: np.ndarray, owner: np.ndarray, size: int) -> None:
    """Refuse a split table in which a column has no node, or an edge no second end or another weight there."""
    check_entries("Split", weights)
    for name, array, end in (("index", index, size), ("twin", twin, index.size), ("owner", owner, size)):
        if array.size and (array.min() < 0 or array.max() >= end):
            raise CojaxInputError(f"Split needs {name} from 0 to {end - 1}, got {array.min()} to {array.max()}.")
    if owner.shape != index.shape[1:] or (owner[:size] != np.arange(size)).any():
        raise CojaxInputError(
            f"Split needs owner to name all {size} nodes in order first, one a column, got {owner[:size].tolist()[:5]} "
            "...; use cojax.network(...), which builds the table."
        )
    used = (np.asarray(weights).reshape(-1, *index.shape) != 0).any(0)
    column = twin % max(index.shape[1], 1)
    astray = ((owner[column] != index) | (index.ravel()[twin] != owner)) & used
    if astray.any():
        slot, place = (int(part) for part in np.argwhere(astray)[0])
        raise CojaxInputError(
            f"Split needs twin to lead back, got slot {slot} of column {place} whose neighbour {index[slot, place]} "
            "has another node there; use cojax.network(...), which builds the table."
        )
    uneven = (np.asarray(weights).reshape(-1, index.size)[:, twin] != weights.reshape(-1, *index.shape)) & used
    if uneven.any():
        slot, place = (int(part) for part in np.argwhere(uneven)[0][-2:])
        raise CojaxInputError(
            f"Split needs one weight per edge, got two for that of nodes {owner[place]} and {index[slot, place]}."
        )


def check_edges(weights: np.ndarray, pairs: np.ndarray, size: int) -> None:
    """Refuse edges that end outside of the graph or where they began."""
    check_entries("Edges", weights)
    whole_number("Edges", "size", size, at_least=1)
    if pairs.ndim != 2 or pairs.shape[0] != 2:
        raise CojaxInputError(f"Edges needs pairs of shape (2, e), the two ends of every edge, got {pairs.shape}.")
    _check_whole("Edges", "pairs", pairs)
    if weights.shape[-1:] != pairs.shape[1:]:
        raise CojaxInputError(f"Edges needs one weight per edge, got {weights.shape[-1]} for {pairs.shape[1]} edges.")
    if pairs.size and (pairs.min() < 0 or pairs.max() >= size):
        raise CojaxInputError(f"Edges needs pairs of nodes from 0 to {size - 1}, got {pairs.min()} to {pairs.max()}.")
    if (pairs[0] == pairs[1]).any():
        raise CojaxInputError(
            f"Edges needs two ends per edge, got one from node {pairs[0][pairs[0] == pairs[1]][0]} to itself."
        )


def check_offsets(weights: np.ndarray, offsets: tuple[int, ...], size: int) -> None:
    """Refuse offsets without their mirror images at the same weights."""
    check_entries("Circulant", weights)
    if weights.shape[-2] != len(offsets):
        raise CojaxInputError(f"Circulant needs one weight per offset, got {weights.shape[-2]} for {len(offsets)}.")
    whole_number("Circulant", "size", size, at_least=1)
    for place, offset in enumerate(offsets):
        whole_number("Circulant", "offset", offset, at_least=1)
        if not 0 < offset < size:
            raise CojaxInputError(f"Circulant needs offsets from 1 to {size - 1}, got {offset}.")
        mirror = size - offset
        if mirror not in offsets or (weights[..., offsets.index(mirror), :] != weights[..., place, :]).any():
            raise CojaxInputError(
                f"Circulant needs every offset with its mirror image at the same weight, got {offset} without {mirror}."
            )


def _check_whole(owner: str, name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "iu":
        raise CojaxInputError(
            f"{owner} needs whole numbers for {name}, got {array.dtype}: JAX would take others for something else."
        )
