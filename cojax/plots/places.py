"""Where the nodes of a drawn network go, and where their names find room."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .lettering import fonts

# Directions from a node to its name, sides before corners; and how far beyond the node's rim it may go, in points.
TURNS = np.radians([0, 180, 90, 270, 30, 150, 330, 210, 60, 120, 300, 240])
REACHES = (0.0, 5.0, 12.0, 20.0)


def place_nodes(pairs: Int[np.ndarray, "e 2"], size: int) -> Float[np.ndarray, "n 2"]:
    """Places where linked nodes are close to each other; on a circle above 500 nodes, where nothing else is quick."""
    import networkx as nx

    graph = nx.empty_graph(size)
    graph.add_edges_from(pairs.tolist())
    if size > 500:
        places = nx.circular_layout(graph)
    elif size > 60:
        places = nx.spring_layout(graph, seed=0)
    else:
        places = nx.kamada_kawai_layout(graph)
    return np.array([places[node] for node in range(size)])


def label(
    ax: Any,
    places: Float[np.ndarray, "n 2"],
    areas: Float[np.ndarray, " n"],
    pairs: Int[np.ndarray, "e 2"],
    texts: list[str],
    chosen: Int[np.ndarray, " m"],
) -> None:
    """Write the texts of the chosen nodes beside them, where they cover least; a hair leads to one that is far.

    One that would still cover a twentieth of its size of those before it is left out.
    """
    for _ in range(
        2
    ):  # sizes and places in pixels are known only then, and the second layout fits what the first moved
        ax.figure.draw_without_rendering()
    pixels = ax.figure.dpi / 72
    centres = ax.transData.transform(places)
    radii = (np.sqrt(areas / np.pi) + 1.0) * pixels
    discs = np.concatenate([centres - radii[:, None], centres + radii[:, None]], axis=1)
    along = np.linspace(0, 1, 40)[:, None, None]
    crossed = ((1 - along) * centres[pairs[:, 0]] + along * centres[pairs[:, 1]]).reshape(-1, 2)
    frame = _room(ax).padded(-4 * pixels).extents
    notes = [_note(ax, texts[node], places[node]) for node in chosen]
    far = np.repeat(np.array(REACHES), TURNS.size)
    middles, boxes, hairs, fixed = [], [], [], []
    for node, note in zip(chosen, notes, strict=True):
        half = np.array(note.get_window_extent().size) / 2 + pixels
        around = [_around(centres[node], radii[node] + reach * pixels, half) for reach in REACHES]
        middle = np.concatenate(around)
        box = np.concatenate([middle - half, middle + half], axis=1)
        others = np.delete(discs, node, axis=0)
        hair = centres[node] + np.linspace(0.1, 0.8, 15)[:, None] * (middle - centres[node])[:, None]
        cost = 30 * _overlap(box, others) + 4 * pixels**2 * _inside(box, crossed) + 5000 * pixels * _outside(box, frame)
        fixed.append(cost + pixels**2 * (10 * far + 200 * (far > 0) * _struck(hair, others)))
        for values, value in ((middles, middle), (boxes, box), (hairs, hair)):
            values.append(value)
    sides = _best_sides(np.array(boxes), np.array(fixed), np.array(hairs), 200 * pixels**2 * (far > 0))
    kept = np.empty((0, 4))
    for node, note, options, around, side in zip(chosen, notes, middles, boxes, sides, strict=True):
        box = around[side : side + 1]
        if _overlap(box, kept)[0] > 0.05 * np.prod(box[0, 2:] - box[0, :2]):
            note.remove()
            continue
        kept = np.concatenate([kept, box])
        note.xyann = (options[side] - centres[node]) / pixels
        note.arrow_patch.set_visible(bool(far[side] > 0))


def _best_sides(
    boxes: Float[np.ndarray, "m s 4"],
    fixed: Float[np.ndarray, "m s"],
    hairs: Float[np.ndarray, "m s p 2"],
    strike: Float[np.ndarray, " s"],
) -> Int[np.ndarray, " m"]:
    """An option for each name, improved name by name from a few random orders; the cheapest of all results."""
    rng, found = np.random.default_rng(0), []
    for _ in range(6):
        sides, costs = fixed.argmin(axis=1), np.zeros(len(boxes))
        for _ in range(4):
            for name in rng.permutation(len(boxes)):
                others = np.delete(boxes[np.arange(len(boxes)), sides], name, axis=0)
                cost = fixed[name] + 30 * _overlap(boxes[name], others) + strike * _struck(hairs[name], others)
                sides[name], costs[name] = cost.argmin(), cost.min()
        found.append((costs.sum(), sides))
    return min(found, key=lambda pair: pair[0])[1]


def _room(ax: Any) -> Any:
    """The part of the figure that is for these axes, in pixels: their cell of a grid that is even, or all."""
    from matplotlib.transforms import Bbox

    spec, (width, height) = ax.get_subplotspec(), ax.figure.bbox.size
    if spec is None:
        return ax.figure.bbox
    num_rows, num_columns = spec.get_gridspec().get_geometry()
    left, right = (width * column / num_columns for column in (spec.colspan.start, spec.colspan.stop))
    low, high = (height * (1 - row / num_rows) for row in (spec.rowspan.stop, spec.rowspan.start))
    return Bbox.from_extents(left, low, right, high)


def _note(ax: Any, text: str, place: Float[np.ndarray, " 2"]) -> Any:
    from matplotlib.patheffects import withStroke

    note = ax.annotate(
        text,
        place,
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=6.3,
        parse_math=False,
        **fonts([text]),
        annotation_clip=False,
        zorder=3,
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 0, "zorder": 1.5},
    )
    note.set_path_effects([withStroke(linewidth=1.4, foreground="white")])  # a name may have to cross a link
    note.set_in_layout(False)  # else the layout makes room for it, and the places found here are others
    return note


def _around(centre: Float[np.ndarray, " 2"], radius: float, half: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "s 2"]:
    """Middles of boxes of half size `half` that touch the circle from outside, one per direction."""
    directions = np.stack([np.cos(TURNS), np.sin(TURNS)], axis=1)
    return centre + directions * radius + half * np.where(np.abs(directions) < 0.3, 0, np.sign(directions))


def _overlap(boxes: Float[np.ndarray, "s 4"], others: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, " s"]:
    """The area that each box shares with all others, in square pixels."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.maximum(high - low, 0).prod(axis=2).sum(axis=1)


def _inside(boxes: Float[np.ndarray, "s 4"], points: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, " s"]:
    """How many points lie in each box."""
    return _within(boxes, points).sum(axis=1).astype(float)


def _struck(hairs: Float[np.ndarray, "s p 2"], boxes: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, " s"]:
    """How many points of each hair lie in a box, over all boxes."""
    return _within(boxes, hairs.reshape(-1, 2)).sum(axis=0).reshape(hairs.shape[:2]).sum(axis=1).astype(float)


def _within(boxes: Float[np.ndarray, "s 4"], points: Float[np.ndarray, "m 2"]) -> Bool[np.ndarray, "s m"]:
    x, y = points.T
    low_x, low_y, high_x, high_y = boxes.T[:, :, None]
    return (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y)


def _outside(boxes: Float[np.ndarray, "s 4"], frame: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " s"]:
    """How far each box sticks out of the frame, in pixels."""
    return np.maximum(frame[:2] - boxes[:, :2], 0).sum(axis=1) + np.maximum(boxes[:, 2:] - frame[2:], 0).sum(axis=1)
