"""The graph of a plan: read or generated, matched with the node table, made to switch and to lose, and linked."""

import re
import unicodedata
import warnings
from typing import Any, NamedTuple

import numpy as np

from ..._support.checks import CojaxInputError
from ...data import graphs
from ...data.graphfiles import note_parts
from ...data.quantities import bits_per_second, seconds
from ...networks import weights
from ...networks.base import Link, Network
from ...networks.build import network
from ...networks.faults.lossy import Lossy
from ...networks.links.links import Ideal, Innovation, Quantized
from ...networks.links.quantizers import AdaptiveQuantizer, FloatQuantizer, LogQuantizer, UniformQuantizer
from ..plans.plans import Adaptive, Float, GraphTable, Log, Plan, Uniform

REAL = ("nsfnet", "abilene")
DELAYS = {"latency": seconds, "bandwidth": bits_per_second}  # what a graph says of a link to a clock


class Wiring(NamedTuple):
    """A network and what is known about it."""

    network: Network
    names: tuple[str, ...]  # in the order of the rows
    pairs: tuple[tuple[int, int], ...]  # of the union of all graphs
    positions: dict[str, tuple[float, float]] | None  # by node: degrees east, degrees north
    fixed: bool  # neither switching nor lossy
    notes: list[str]
    links: dict[tuple[int, int], dict[str, Any]]  # by pair of rows, what the graph says of a link


def build_wiring(plan: Plan, names: tuple[str, ...], num_nodes: int) -> Wiring:
    """The network of a plan over the nodes `names`, or over as many as the table has rows where it names none.

    Raises `CojaxInputError` for graphs that do not have exactly the nodes of the table, and for what `network` refuses.
    """
    graph, notes = _graph(plan.graph, plan.seed, num_nodes, timed=plan.clock is not None)
    graph = _match_names(graph, plan.graph, names, num_nodes)
    order = names or tuple(graph.nodes)
    fixed = plan.graph.switching == 1 and plan.graph.loss == 0
    graphs.check_switching("A plan", "$.graph.switching", graph, plan.graph.switching)
    turns = graphs.switching(graph, plan.graph.switching, seed=plan.seed, share=plan.graph.share)
    rule = getattr(weights, plan.graph.weights)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            link = _link(plan, fixed)
        except CojaxInputError as error:
            raise CojaxInputError(re.sub(r"^\w+Quantizer", "$.link.quantizer", str(error))) from error
    notes = [*notes, *(f"$.link: {warning.message}" for warning in caught)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built: Network = network(turns, nodelist=order, weights=rule, link=link)
    if caught:
        rule_name = plan.graph.weights
        notes.append(f"Links have weights of their own, of which $.graph.weights = {rule_name!r} takes no notice.")
    if plan.graph.loss > 0:
        built = Lossy(built, plan.graph.loss, plan.seed)
    place = {name: row for row, name in enumerate(order)}
    pairs = tuple((place[a], place[b]) for a, b in graph.edges)
    links = {(place[a], place[b]): dict(told) for a, b, told in graph.edges(data=True)}
    return Wiring(built, order, pairs, _positions(graph), fixed, notes, links)


def _graph(graph: GraphTable, seed: int, num_nodes: int, *, timed: bool) -> tuple[Any, list[str]]:
    if graph.file is not None:
        return _graph_file(graph, timed=timed)
    settings = {key: value for key in ("probability", "radius", "links") if (value := getattr(graph, key)) is not None}
    size = None if graph.name in REAL else num_nodes
    try:
        named = graphs.named(str(graph.name), size, seed=seed, **settings)
    except CojaxInputError as error:  # which speaks of a function, not of the plan's keys
        raise CojaxInputError(
            re.sub(r"^graphs\.named(\(('.*?')\))?", _key, str(error).replace("num_nodes", "nodes"))
        ) from error
    return named.to_networkx() if isinstance(named, graphs.EdgeList) else named, []


def _key(found: re.Match[str]) -> str:
    return f"$.graph with the name {found[2]}" if found[2] else "$.graph.name"


def _graph_file(graph: GraphTable, *, timed: bool) -> tuple[Any, list[str]]:
    path = str(graph.file)
    found, notes = graphs.read_graph(path)
    if found.is_directed():
        if timed:
            _check_as_fast_back(path, found)
        found = _both_ways(found, notes)
    if any("weight" in attributes for *_, attributes in found.edges(data=True)):
        notes.append("The weights in the file are not used; $.graph.weights chooses them.")
    return found, [f"{path}: {note}" for note in notes]


def _check_as_fast_back(path: str, graph: Any) -> None:
    """Refuse links that are not as fast one way as the other: a clock has one latency and one bandwidth for both."""
    for a, b, there in graph.edges(data=True):
        back = graph.edges[b, a] if graph.has_edge(b, a) else {}
        for name, read in DELAYS.items():
            if name not in there or name not in back:
                continue
            one, other = (read(told[name], f"The link {a} - {b} of {path}, in {name},") for told in (there, back))
            if one != other:
                raise CojaxInputError(
                    f"The link {a} - {b} of {path} has the {name} {there[name]} one way and {back[name]} the other, "
                    "but [clock] has one for both: write the slower."
                )


def _both_ways(graph: Any, notes: list[str]) -> Any:
    """CPU moves both ways along every link of a plan, also where a link was drawn as an arrow."""
    one_way = [f"{a} - {b}" for a, b in graph.edges if not graph.has_edge(b, a)]
    if one_way:
        notes.append(
            f"Links of one direction are taken both ways, as CPU moves along them, {len(one_way)} in all: "
            f"{', '.join(one_way[:5])}{', ...' if len(one_way) > 5 else ''}."
        )
    # Of a directed graph it was said that its parts are not strongly connected; of links both ways more may be.
    notes[:] = [note for note in notes if not note.startswith("The graph is not connected")]
    both = graph.to_undirected()
    note_parts(both, notes)
    return both


def _match_names(graph: Any, given: GraphTable, names: tuple[str, ...], num_nodes: int) -> Any:
    """The graph over the names of the table; a generated one takes the names over in order."""
    import networkx as nx

    source = given.file or given.name
    if given.file is None and given.name not in REAL:
        wanted = names or tuple(str(row) for row in range(num_nodes))
        return nx.relabel_nodes(graph, dict(zip(sorted(graph), wanted, strict=True)), copy=True)
    if names and set(names) != set(graph):
        missing, extra = sorted(set(graph) - set(names)), sorted(set(names) - set(graph))
        raise CojaxInputError(
            f"The node table and the graph {source} need the same nodes: only in the table {_some(extra)}; "
            f"only in the graph {_some(missing)}{_nearly(extra, missing)}."
        )
    if len(graph) != num_nodes:
        raise CojaxInputError(f"The node table has {num_nodes} rows, but the graph {source} has {len(graph)} nodes.")
    return graph


def _nearly(first: list[str], second: list[str]) -> str:
    """Two names that look alike, and what they differ in."""

    def bare(name: str) -> str:
        return "".join(unicodedata.normalize("NFKC", name).casefold().split())

    alike = {bare(name): name for name in first}
    pairs = [(alike[bare(name)], name) for name in second if bare(name) in alike]
    return f" ({pairs[0][0]!r} and {pairs[0][1]!r} differ in capitals, width or blanks only)" if pairs else ""


def _some(names: list[str]) -> str:
    return (", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")) or "none"


def _positions(graph: Any) -> dict[str, tuple[float, float]] | None:
    places = {}
    for name, attributes in graph.nodes(data=True):
        try:
            place = float(attributes["longitude"]), float(attributes["latitude"])
        except (KeyError, TypeError, ValueError):
            return None
        if not np.isfinite(place).all():
            return None
        places[str(name)] = place
    return places


def _link(plan: Plan, fixed: bool) -> Link:
    link = plan.link
    match link.quantizer:
        case Log(rho=rho, smallest=smallest, largest=largest):
            quantizer = LogQuantizer(rho, smallest=smallest, largest=largest)
        case Uniform(delta=delta, largest=largest):
            quantizer = UniformQuantizer(delta, largest=largest)
        case Float(mantissa_bits=bits):
            quantizer = FloatQuantizer(bits)
        case Adaptive(bits=bits):
            quantizer = AdaptiveQuantizer(bits)
        case None:
            return Ideal()
    if link.name == "quantized":
        return Quantized(quantizer)
    return Innovation(quantizer, link.memory or ("node" if fixed else "edge"))
