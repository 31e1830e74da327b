"""The network in one picture: who is linked to whom, who holds how much, and what moves where."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._support.checks import CojaxInputError
from . import places
from .canvas import BLUE, INK, QUIET, VERMILION, Numbers, axes, colour_bar, column, finite, hint, legend, names_of
from .numerals import number

MOST_ARROWS = 300


def network(
    edges: Numbers,
    cpu: Numbers,
    *,
    upper: Numbers | None = None,
    flows: Numbers | None = None,
    names: Sequence[str] | None = None,
    positions: Numbers | None = None,
    ax: Any = None,
) -> Any:
    """The network, with the area of a node for its share and the colour for the part of its upper bound in use.

    Args:
        edges: (e, 2), pairs of rows.
        cpu: shares (n,), in units of cpu.
        upper: bounds (n,) in the same unit; without them every node has one colour.
        flows: (e,), what the first end of every edge gives the second, in units of cpu, of `cojax.transfers` say; drawn
            as arrows as wide as they are large, the 300 largest of them.
        names: written beside the nodes with the share, where there is room; of the twelve largest only above 40 nodes,
            of none above 500.
        positions: (n, 2), degrees east and degrees north; without them linked nodes are drawn close to each other.
        ax: a matplotlib Axes to draw on; without it a new figure one column wide, at `.figure` of what is returned.

    Raises `CojaxInputError` where matplotlib is missing, shapes differ, an edge leads nowhere, or a position is not
    finite. Shares that are not finite are left out.
    """
    cpu = finite("cpu", cpu)
    pairs = np.asarray(edges, dtype=int).reshape(-1, 2)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= cpu.size):
        got = f"{pairs.min()} to {pairs.max()}"
        raise CojaxInputError(f"plots.network needs edges between rows 0 to {cpu.size - 1}, got {got}.")
    points = places.place_nodes(pairs, cpu.size) if positions is None else np.asarray(positions, dtype=float)
    if points.shape != (cpu.size, 2) or not np.isfinite(points).all():
        raise CojaxInputError(f"plots.network needs finite positions of shape ({cpu.size}, 2), got {points.shape}.")
    with axes(ax, 2.5) as ax:
        # A mean area of 50 square points on a column with 14 nodes; smaller where there are more.
        areas = np.fmax(cpu, 0) / max(np.abs(np.nan_to_num(cpu)).mean(), 1e-300) * min(50.0, 700.0 / cpu.size) + 4.0
        faint = min(1.0, 200 / max(len(pairs), 1)) ** 0.5
        ax.plot(*points[pairs].transpose(2, 1, 0), color=QUIET, linewidth=0.7 * faint, alpha=0.7, zorder=1)
        look: dict[str, Any] = {"color": BLUE}
        if upper is not None:
            bounds = column("upper", upper, cpu.size)
            used = np.where(bounds > 0, cpu / np.where(bounds > 0, bounds, 1), 0.0)
            look = {"c": used, "cmap": "Blues", "vmin": 0.0, "vmax": np.fmax(used, 1.0).max()}
        discs = ax.scatter(*points.T, s=areas, edgecolors=INK, linewidths=0.6 * faint, zorder=2, **look)
        named = names_of(names, cpu.size)
        hint(discs, [f"{name}: {number(share)}" for name, share in zip(named, cpu, strict=True)])
        if upper is not None:
            colour_bar(ax, discs, "share / upper bound", shrink=0.6)
        # One degree east is shorter than one degree north by the cosine of the latitude.
        stretch = 1.0 if positions is None else 1 / max(np.cos(np.radians(points[:, 1].mean())), 0.1)
        ax.set_aspect(stretch, adjustable="datalim")
        ax.margins(0.12)
        ax.set_axis_off()
        if flows is not None:
            _arrows(ax, points, pairs, column("flows", flows, len(pairs)), areas)
        if names is not None and cpu.size <= 500:
            texts = [f"{name} {number(share, 3)}" for name, share in zip(named, cpu, strict=True)]
            places.label(ax, points, areas, pairs, texts, np.argsort(-cpu)[: 40 if cpu.size <= 40 else 12])
    return ax


def _arrows(
    ax: Any,
    points: Float[np.ndarray, "n 2"],
    pairs: Int[np.ndarray, "e 2"],
    flows: Float[np.ndarray, " e"],
    areas: Float[np.ndarray, " n"],
) -> None:
    """One arrow per flow, from the rim of the giver to that of the taker; the widest is named in the legend."""
    from matplotlib.patches import FancyArrowPatch

    sizes = np.where(np.isfinite(flows), np.abs(flows), 0.0)
    largest, radii = sizes.max(initial=0.0), np.sqrt(areas / np.pi)
    for edge in np.argsort(-sizes)[:MOST_ARROWS]:
        if sizes[edge] <= 1e-3 * largest:
            break
        giver, taker = pairs[edge] if flows[edge] > 0 else pairs[edge][::-1]
        wide = float(np.sqrt(sizes[edge] / largest))
        arrow = FancyArrowPatch(
            tuple(points[giver]),
            tuple(points[taker]),
            arrowstyle="-|>",
            mutation_scale=4 + 4 * wide,
            linewidth=0.4 + 1.1 * wide,
            color=VERMILION,
            shrinkA=float(radii[giver]),
            shrinkB=float(radii[taker]),
            zorder=1.8,
        )
        ax.add_patch(arrow)
    said = f"CPU on its way, at most {number(largest, 3)} a link" if largest > 0 else "nothing moves"
    ax.plot([], [], color=VERMILION, marker=">", markersize=4, label=said)
    legend(ax, columns=1)
