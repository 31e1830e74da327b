"""The networks of the tables: ten families of graphs, each fixed, switching and lossy, every one a function of a seed.

    for name, setting in cells():
        network = network_of(name, setting, seed, link=cojax.Ideal(), weights=cojax.weights.metropolis)

Real topologies lie in ../shared/data/topologies beside the project and are left out where they are missing;
Abilene and NSFNET are in cojax itself.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

import cojax

TOPOLOGIES = Path(__file__).parents[3] / "shared" / "data" / "topologies"
SYNTHETIC = ("ring", "torus", "exponential", "erdos_renyi", "geometric", "scale_free")
RANDOM = ("erdos_renyi", "geometric", "scale_free")
EMBEDDED = ("abilene", "nsfnet")
FILES = ("AttMpls", "Geant2012", "Uninett2010")  # 25, 40 and 74 nodes
SNAPSHOTS = "garr"  # 33 maps of one network, 1999 to 2012, over the 91 nodes of their union
SETTINGS = ("static", "switching", "lossy")
NUM_NODES = 20
NUM_GRAPHS = 4
LOSS = 0.3
SHARE_UP = 0.75  # of the links of a real network, in every one of the graphs that take turns


def names() -> list[str]:
    """The families that can be built here."""
    files = [name for name in FILES if (TOPOLOGIES / f"{name}.graphml").is_file()]
    return [*SYNTHETIC, *EMBEDDED, *files, *([SNAPSHOTS] if garr_files() else [])]


def cells(only: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(family, setting) of every network in the table, or of those whose family or family/setting is in `only`."""
    found = [(name, setting) for name in names() for setting in SETTINGS]
    return [(name, setting) for name, setting in found if not only or {name, f"{name}/{setting}"} & set(only)]


def graphs_of(name: str, setting: str, seed: int) -> list[nx.Graph]:
    """The graphs that take turns, over nodes 0 ... n-1: one of a static or lossy network, a few of a switching one.

    Random families are drawn anew; rings, tori and exponential graphs have their nodes shuffled; of a real network
    three quarters of the links are up at a time, and together they are all. Garr has its newest map where it stands
    still, and all of its maps in order where it switches or loses links.
    """
    if name == SNAPSHOTS:
        return [as_rows(snapshots()[-1])] if setting == "static" else snapshot_rows()
    num_graphs = NUM_GRAPHS if setting == "switching" else 1
    if name in RANDOM:
        return [cojax.graphs.named(name, NUM_NODES, seed=NUM_GRAPHS * seed + turn) for turn in range(num_graphs)]
    if name in SYNTHETIC:
        graph = cojax.graphs.named(name, NUM_NODES)
        return [graph] if num_graphs == 1 else [shuffled(graph, NUM_GRAPHS * seed + turn) for turn in range(num_graphs)]
    graph = as_rows(_real(name))
    return [graph] if num_graphs == 1 else cojax.graphs.switching(graph, num_graphs, seed=seed, share=SHARE_UP)


def network_of(
    name: str,
    setting: str,
    seed: int,
    *,
    link: cojax.Link | None = None,
    weights: Any = cojax.weights.metropolis,
    layout: str = "auto",
) -> cojax.Network:
    """The network of a cell of the table, its links failing by `LOSS` where it is lossy.

    Over seeds the layout differs with the graph: layout="dense" for networks that are stacked and mapped over.
    """
    graphs = graphs_of(name, setting, seed)
    network = cojax.network(graphs, link=link, weights=weights, layout=layout)
    return cojax.Lossy(network, LOSS, key=seed) if setting == "lossy" else network


def shuffled(graph: nx.Graph, seed: int) -> nx.Graph:
    """The same graph with its nodes in another order."""
    order = np.random.default_rng(seed).permutation(len(graph)).tolist()
    moved = nx.empty_graph(len(graph))
    moved.add_edges_from((order[a], order[b]) for a, b in graph.edges)
    return moved


def as_rows(graph: nx.Graph) -> nx.Graph:
    """The graph over 0 ... n-1."""
    return nx.convert_node_labels_to_integers(graph)


def garr_files() -> list[Path]:
    """The maps in order of time; Garr.graphml is of October 2010."""
    return sorted(TOPOLOGIES.glob("Garr*.graphml"), key=lambda path: path.stem[4:] or "201010")


def snapshots() -> list[nx.Graph]:
    """The maps of Garr, their nodes named by label; the second node of a label is `label (2)`."""
    return [_by_label(cojax.graphs.read_graphml(path).graph) for path in garr_files()]


def snapshot_rows() -> list[nx.Graph]:
    """The maps of Garr over the union of their nodes, 0 ... 90; a node without links waits."""
    maps = snapshots()
    rows = {node: row for row, node in enumerate(sorted({node for graph in maps for node in graph}))}
    spread = []
    for graph in maps:
        spread.append(nx.empty_graph(len(rows)))
        spread[-1].add_edges_from((rows[a], rows[b]) for a, b in graph.edges)
    return spread


def num_nodes(graphs: Sequence[nx.Graph]) -> int:
    """n of graphs that take turns."""
    return len(graphs[0])


def _real(name: str) -> nx.Graph:
    if name in EMBEDDED:
        return cojax.graphs.named(name)
    return cojax.graphs.read_graphml(TOPOLOGIES / f"{name}.graphml").graph


def _by_label(graph: nx.Graph) -> nx.Graph:
    seen: Counter[str] = Counter()
    name_of = {}
    for node, attributes in graph.nodes(data=True):
        label = str(attributes.get("label", node)).strip()
        seen[label] += 1
        name_of[node] = label if seen[label] == 1 else f"{label} ({seen[label]})"
    return nx.relabel_nodes(graph, name_of)
