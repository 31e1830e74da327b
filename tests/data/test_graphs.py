"""Graphs by name, from files, and files that must not get through."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from cojax import CojaxInputError, graphs, network

TOPOLOGIES = Path(__file__).parents[3] / "shared" / "data" / "topologies"
needs_topologies = pytest.mark.skipif(not TOPOLOGIES.is_dir(), reason="the real topologies are not here")
RANDOM = ["erdos_renyi", "geometric", "scale_free", "regular", "small_world"]


def graphml(nodes, edges, *, directed=False, head=""):
    kind = "directed" if directed else "undirected"
    body = "".join(f'<node id="{key}">{data}</node>' for key, data in nodes)
    body += "".join(f'<edge source="{a}" target="{b}"/>' for a, b in edges)
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{head}<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        '<key attr.name="label" attr.type="string" for="node" id="d0"/>'
        '<key attr.name="Latitude" attr.type="double" for="node" id="d1"/>'
        f'<graph edgedefault="{kind}">{body}</graph></graphml>'
    )


def labelled(*labels):
    return [(str(key), f'<data key="d0">{label}</data>') for key, label in enumerate(labels)]


@pytest.fixture
def saved(tmp_path):
    def save(text, name="net.graphml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return save


def refused(reader, path, message):
    with pytest.raises(CojaxInputError) as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value)


def test_nsfnet_has_fourteen_nodes_and_twenty_one_links():
    graph = graphs.nsfnet()
    assert (len(graph), graph.number_of_edges()) == (14, 21)
    assert nx.is_connected(graph)
    # Degrees 2 to 4, mean 3, as the literature says; no single link failure cuts the network.
    assert set(dict(graph.degree).values()) == {2, 3, 4}
    assert not list(nx.bridges(graph))


def test_nsfnet_has_the_links_of_the_literature():
    # The numbered list that routing papers share, from Seattle (0) to College Park (13).
    links = "0-1 0-2 0-7 1-2 1-3 2-5 3-4 3-10 4-5 4-6 5-9 5-13 6-7 7-8 8-9 8-11 8-12 10-11 10-12 11-13 12-13"
    numbered = nx.convert_node_labels_to_integers(graphs.nsfnet())
    assert {frozenset(link) for link in numbered.edges} == {
        frozenset(map(int, link.split("-"))) for link in links.split()
    }


@needs_topologies
def test_abilene_is_that_of_the_topology_zoo():
    ours, real = graphs.abilene(), graphs.read_graphml(TOPOLOGIES / "Abilene.graphml").graph
    assert set(map(frozenset, ours.edges)) == set(map(frozenset, real.edges))
    for city, place in ours.nodes(data=True):
        for angle in ("latitude", "longitude"):
            assert abs(place[angle] - real.nodes[city][angle]) <= 0.0051  # typed in with two decimals


@needs_topologies
def test_the_cities_of_nsfnet_lie_where_the_topology_zoo_puts_them():
    real = graphs.read_graphml(TOPOLOGIES / "Nsfnet.graphml").graph
    places = [(place["latitude"], place["longitude"]) for _, place in real.nodes(data=True)]
    for city, place in graphs.nsfnet().nodes(data=True):
        if city != "College Park":  # joined after the map of the Topology Zoo was drawn
            assert min(abs(place["latitude"] - a) + abs(place["longitude"] - b) for a, b in places) < 0.02


@pytest.mark.parametrize("name", graphs.GRAPHS)
def test_every_named_graph_makes_a_network(name):
    num_nodes = None if name in ("nsfnet", "abilene") else 12
    graph = graphs.named(name, num_nodes)
    assert nx.is_connected(graph)
    assert network(graph).num_nodes == len(graph)
    if num_nodes:
        assert list(graph) == list(range(12))


def test_named_graphs_have_the_links_of_their_name():
    # The hops 1, 2, 4, 8 of the exponential graph make 12 links each, but 8 ahead is 4 back.
    links = {
        name: graphs.named(name, 12).number_of_edges()
        for name in graphs.GRAPHS
        if name not in (*RANDOM, "nsfnet", "abilene")
    }
    expected = {"ring": 12, "path": 11, "complete": 66, "star": 11, "grid": 17, "torus": 24, "exponential": 36}
    assert links == expected


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_decides_a_random_graph(name):
    first, again, other = (set(graphs.named(name, 20, seed=seed).edges) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_settings_change_a_random_graph():
    assert graphs.named("erdos_renyi", 10, probability=1.0).number_of_edges() == 45
    assert graphs.named("geometric", 10, radius=2).number_of_edges() == 45
    assert graphs.named("scale_free", 10, links=1).number_of_edges() == 9


@pytest.mark.parametrize("name", ["ring", "path", "star", "complete", "exponential", "erdos_renyi", "geometric"])
@pytest.mark.parametrize("num_nodes", [1, 2, 3])
def test_the_smallest_graphs_exist(name, num_nodes):
    graph = graphs.named(name, num_nodes)
    assert len(graph) == num_nodes
    assert nx.is_connected(graph)
    assert nx.number_of_selfloops(graph) == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("os.system('ls')", 4), {}, r"knows ring, path, .*abilene, got \"os.system"),
        (("ring", 4), {"probability": 0.5}, "takes no settings, got probability"),
        (("geometric", 4), {"probability": 0.5}, "takes radius, got probability"),
        (("erdos_renyi", 4), {"probability": -1}, "needs a number > 0 for probability, got -1"),
        (("erdos_renyi", 4), {"probability": "0.5"}, "needs a number > 0 for probability, got '0.5'"),
        (("erdos_renyi", 4), {"probability": 1.5}, "needs probability <= 1, got 1.5"),
        (("erdos_renyi", 4), {"seed": -1}, "a whole number seed >= 0, got -1"),
        (("erdos_renyi", 50), {"probability": 1e-6}, "none is connected: raise probability=1e-06"),
        (("scale_free", 4), {"links": 4}, "whole links < num_nodes=4, got 4"),
        (("ring", 0), {}, "a whole number num_nodes >= 1, got 0"),
        (("ring",), {}, "a whole number num_nodes >= 1, got None"),
        (("grid", 7), {}, "at least 2 of both, got 7"),
        (("torus", 8), {}, "at least 3 of both, got 8"),
        (("regular", 5), {"links": 3}, r"an even num_nodes \* links, got 5 \* 3"),
        (("small_world", 4), {}, "whole links < num_nodes=4, got 10"),
        (("small_world", 20), {"links": 5}, "an even number of links, .* got 5: take 4 or 6"),
        (("small_world", 20), {"links": 5.0}, "an even number of links, .* got 5: take 4 or 6"),
        (("small_world", 30_000), {"links": 5}, "an even number of links, .* got 5: take 4 or 6"),
        (("small_world", 20), {"links": 1}, "an even number of links, .* got 1: take 2[.]"),
        (("small_world", 6), {"links": 5}, "an even number of links, .* got 5: take 4[.]"),
        (("small_world", 2), {"links": 1}, "an even number of links, .* got 1: take more nodes, and 2[.]"),
        (("nsfnet", 15), {}, "has 14 nodes, got num_nodes=15"),
    ],
)
def test_named_refuses_what_it_does_not_know(arguments, settings, message):
    with pytest.raises(CojaxInputError, match=message):
        graphs.named(*arguments, **settings)


@pytest.mark.parametrize("links", [2, 4, 6, 10])
def test_a_small_world_has_all_the_links_that_it_was_asked_for(links):
    assert graphs.named("small_world", 20, links=links).number_of_edges() == 20 * links // 2


def test_switching_graphs_are_subsets_and_together_the_whole():
    whole = graphs.nsfnet()
    parts = graphs.switching(whole, 4, seed=2)
    assert all(list(part) == list(whole) for part in parts)
    assert all(0 < part.number_of_edges() < 21 for part in parts)
    assert nx.utils.graphs_equal(nx.compose_all(parts), whole)
    assert network(parts).num_nodes == 14


def test_share_says_how_many_links_of_a_switching_graph_are_up():
    whole = nx.complete_graph(40)
    rare, all_up = (graphs.switching(whole, 5, seed=0, share=share) for share in (0.0, 1.0))
    assert sum(part.number_of_edges() for part in rare) == 780
    assert [part.number_of_edges() for part in all_up] == [780] * 5


@pytest.mark.parametrize(
    ("number", "share", "message"),
    [(0, 0.5, "num_graphs >= 1"), (2, 1.5, "share >= 0 and share <= 1, got 1.5")],
)
def test_switching_refuses_no_graphs_and_a_share_above_one(number, share, message):
    with pytest.raises(CojaxInputError, match=message):
        graphs.switching(nx.path_graph(3), number, seed=0, share=share)


def test_so_many_graphs_that_they_take_gigabytes_are_refused_at_once():
    with pytest.raises(CojaxInputError, match=r"<= 57142 for a graph of 4 nodes and 3 links, got 10+, .*GB"):
        graphs.switching(nx.path_graph(4), 10**9, seed=0)
    graphs.check_switching("switching", "num_graphs", nx.path_graph(100_000), 1000)  # few of a large graph


def test_a_clean_file_is_read_without_notes(saved):
    nodes = [("7", '<data key="d0">Here</data><data key="d1">51.5</data>'), ("8", '<data key="d0">There</data>')]
    graph, notes = graphs.read_graphml(saved(graphml(nodes, [("7", "8")])))
    assert list(graph.edges) == [("Here", "There")]
    assert graph.nodes["Here"]["latitude"] == 51.5
    assert notes == []


def test_parallel_links_loops_and_parts_are_reported(saved):
    edges = [("0", "1"), ("1", "0"), ("0", "1"), ("2", "2"), ("2", "3")]
    graph, notes = graphs.read_graphml(saved(graphml(labelled("a", "b", "c", "d", "e"), edges)))
    assert set(map(frozenset, graph.edges)) == {frozenset("ab"), frozenset("cd")}
    assert notes == [
        "Links of a node to itself were dropped, 1 in all: c.",
        "Parallel links were collapsed to one, at 1 pairs of nodes: a - b (3).",
        "The graph is not connected: its 3 parts have this many nodes: 2, 2, 1.",
    ]


def test_repeated_or_missing_labels_give_way_to_ids(saved):
    graph, notes = graphs.read_graphml(saved(graphml(labelled("a", "b", "a"), [("0", "1"), ("1", "2")])))
    assert list(graph) == ["0", "1", "2"]
    assert graph.nodes["2"]["label"] == "a"
    assert notes == ["Nodes are named by their ids, because labels are repeated, 1 in all: a."]
    graph, notes = graphs.read_graphml(saved(graphml(labelled("a", "", "c"), [("0", "1"), ("1", "2")])))
    assert list(graph) == ["0", "1", "2"]
    assert notes == ["Nodes are named by their ids, because labels are missing or unprintable, 1 in all."]


def test_directed_links_keep_their_direction(saved):
    edges = [("0", "1"), ("1", "2"), ("2", "0"), ("1", "0")]
    graph, notes = graphs.read_graphml(saved(graphml(labelled("a", "b", "c"), edges, directed=True)))
    assert graph.is_directed()
    assert set(graph.edges) == {("a", "b"), ("b", "c"), ("c", "a"), ("b", "a")}
    assert notes == []


BOMB = '<!DOCTYPE z [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE z [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("head", [BOMB, OUTSIDE, '<!DOCTYPE graphml SYSTEM "x.dtd">'], ids=["bomb", "file", "dtd"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_no_encoding_hides_a_doctype(saved, head, encoding):
    text = graphml([("0", "&a;")], [], head="\n" + head).replace('encoding="utf-8"', f'encoding="{encoding}"')
    path = saved(text.encode(encoding))
    refused(graphs.read_graphml, path, ":2 has a DOCTYPE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1 is no well-formed XML: no element found"),
        ("<graphml>\n<graph>", ":2 is no well-formed XML: no element found"),
        ("not xml", ":1 is no well-formed XML: syntax error"),
        ("<html/>", "is no GraphML: it begins with <html>, not <graphml>"),
        (graphml([], []), "has no nodes"),
        (graphml([("0", '<data key="d1">north</data>')], []), ":1 needs a number for Latitude, got 'north'"),
        (graphml([("0", ""), ("0", "")], []), ":1 repeats the node '0'"),
        (graphml([("0", "")], []).replace("</graph>", "<hyperedge/></graph>"), ":1 has a hyperedge"),
        (graphml([("0", "")], []).replace("</graph>", "</graph><graph/>"), ":1 begins a second graph"),
        ('<?xml version="1.0" encoding="klingon"?><graphml/>', "unknown encoding"),
    ],
)
def test_files_that_are_no_graphml_are_refused(saved, text, message):
    refused(graphs.read_graphml, saved(text), message)


def test_a_file_beyond_the_size_allowed_is_not_opened(saved):
    path = saved(graphml(labelled("a"), []))
    refused(lambda path: graphs.read_graphml(path, max_bytes=100), path, "more than max_bytes=100")
    refused(graphs.read_graphml, path.with_name("absent"), "is not a file")


@needs_topologies
@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("Abilene", (11, 14), []),
        ("AttMpls", (25, 56), ["LA03 - PHNX (2)"]),
        ("BtNorthAmerica", (36, 76), ["labels are repeated"]),
        ("Cogentco", (197, 243), ["labels are repeated", "143 - 42 (2), 80 - 81 (2)"]),
        ("Kdl", (754, 895), ["labels are repeated, 63 in all", "at 4 pairs of nodes"]),
        ("Garr201201", (61, 75), ["GEANT", "at 12 pairs of nodes"]),
    ],
)
def test_the_topology_zoo_is_read_and_its_quirks_are_told(name, size, words):
    graph, notes = graphs.read_graphml(TOPOLOGIES / f"{name}.graphml")
    assert (len(graph), graph.number_of_edges()) == size
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))
    assert network(graph).num_nodes == size[0]


def test_an_edge_list_is_read_with_its_weights(saved):
    path = saved("\ufeffsource,weight,target\nb,0.5,a\na,2e-1,c\n\n", "links.csv")
    graph, notes = graphs.read_edges(path)
    assert list(graph) == ["b", "a", "c"]
    assert graph["a"]["c"]["weight"] == 0.2
    assert notes == []
    matrix = network(nx.to_scipy_sparse_array(graph)).weights
    np.testing.assert_allclose(np.asarray(matrix)[1], [0.5, 0.0, 0.2], atol=1e-15)


def test_loops_and_parts_of_an_edge_list_are_reported(saved):
    graph, notes = graphs.read_edges(saved("source,target\na,b\nc,c\n", "links.csv"))
    assert list(graph.edges) == [("a", "b")]
    assert notes == [
        "Links of a node to itself were dropped, 1 in all: c.",
        "The graph is not connected: its 2 parts have this many nodes: 2, 1.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty: its first line must name the columns"),
        ("source,target\n", " has a header but no links"),
        ("a,b\n", ":1 needs the columns source,target and perhaps weight, latency, bandwidth, got a,b"),
        ("source,target,cost\n", ":1 needs the columns"),
        ("source,target,target\n", ":1 names the column 'target' twice"),
        ("source,target\na\n", ":2 has 1 cells, but the header names 2 columns"),
        ("source,target\na,b\n\nb,a\n", ":4 repeats the link b - a of "),
        ("source,target\na, \n", ":2 needs a printable name at both ends"),
        ('source,target\na,"b\nc"\n', ":3 needs a printable name at both ends"),
        ("source,target,weight\na,b,0\n", ":2 needs weight > 0, got 0"),
        ("source,target,weight\na,b,-1\n", ":2 needs weight > 0, got -1"),
        ("source,target,weight\na,b,nan\n", ":2 needs a finite number for weight, got 'nan'"),
        ("source,target,weight\na,b,\n", ":2 needs a number for weight, got an empty cell"),
    ],
)
def test_edge_lists_that_cannot_be_meant_are_refused(saved, text, message):
    refused(graphs.read_edges, saved(text, "links.csv"), message)


@pytest.mark.parametrize("name", [name for name in graphs.GRAPHS if name not in ("nsfnet", "abilene", "complete")])
def test_a_large_graph_is_the_small_one_as_an_array(name, monkeypatch):
    """Of names that leave nothing to chance the same edges; of random graphs as many, to their standard deviation."""
    small = graphs.named(name, 900)
    monkeypatch.setattr(graphs, "MOST_NETWORKX", 100)
    large = graphs.named(name, 900)
    assert isinstance(large, graphs.EdgeList) and large.num_nodes == 900
    again, other = graphs.named(name, 900), graphs.named(name, 900, seed=1)
    np.testing.assert_array_equal(large.pairs, again.pairs)
    graph = large.to_networkx()
    assert nx.is_connected(graph) and graph.number_of_edges() == large.pairs.shape[1]
    if name in RANDOM:
        assert not np.array_equal(large.pairs, other.pairs)
        assert abs(graph.number_of_edges() / small.number_of_edges() - 1) < 0.06
    else:
        assert {frozenset(edge) for edge in graph.edges} == {frozenset(edge) for edge in small.edges}
    built = network(large)
    np.testing.assert_array_equal(built.weights, network(graph).weights)
    assert built.num_nodes == 900


def test_large_random_graphs_have_the_degrees_of_their_kind(monkeypatch):
    monkeypatch.setattr(graphs, "MOST_NETWORKX", 100)
    size = 5000

    def degrees(name, **settings):
        return np.bincount(graphs.named(name, size, **settings).pairs.ravel(), minlength=size)

    assert (degrees("regular", links=7 + 1) == 8).all()
    binomial = degrees("erdos_renyi", probability=0.01)
    assert abs(binomial.mean() - 0.01 * (size - 1)) < 0.5 and abs(binomial.var() / binomial.mean() - 0.99) < 0.1
    free = degrees("scale_free", links=3)
    assert free.min() >= 1 and free.max() > 50 and np.median(free) <= 4  # few have many
    # Of preferential attachment the share of degrees >= k falls as k^-2: at 30 a fourth of that at 15.
    assert 2.5 < (free >= 15).sum() / (free >= 30).sum() < 6.5
    # 0.9^10 of the nodes keep all their links, 0.1 of 25 000 links are moved.
    ring = graphs.named("small_world", size).pairs
    ahead = np.minimum((ring[1] - ring[0]) % size, (ring[0] - ring[1]) % size)
    assert abs((ahead > 5).mean() - 0.1) < 0.01
    dense = graphs.named("erdos_renyi", 150, probability=0.9).pairs.shape[1]
    assert abs(dense - 0.9 * 150 * 149 / 2) < 150


def test_graphs_as_arrays_take_turns_too(monkeypatch):
    monkeypatch.setattr(graphs, "MOST_NETWORKX", 10)
    whole = graphs.named("torus", 36)
    turns = graphs.switching(whole, 3, seed=2)
    together = network(turns)
    assert together.num_graphs == 3
    same = network(graphs.switching(whole.to_networkx(), 3, seed=2))
    assert together.num_graphs == same.num_graphs
    codes = {tuple(pair) for turn in turns for pair in turn.pairs.T.tolist()}
    assert codes == {tuple(pair) for pair in whole.pairs.T.tolist()}
    order = list(reversed(range(36)))
    np.testing.assert_array_equal(
        np.asarray(network(whole, layout="dense").weights)[::-1, ::-1],
        network(whole, nodelist=order, layout="dense").weights,
    )


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.array([[0, 1], [1, 0]]), "every edge once, got 2 pairs for 1 edges"),
        (np.array([[0, 1], [1, 4]]), "ends from 0 to 3, got 0 to 4"),
        (np.array([[0, -1], [1, 2]]), "ends from 0 to 3, got -1 to 2"),
        (np.array([[0, 1], [1, 1]]), "without self-loops, got one at node 1"),
        (np.array([[0.0, 1.0], [1.0, 2.0]]), "of integers, got \\(2, 2\\) of float64"),
        (np.array([0, 1, 2]), "pairs of shape \\(2, e\\)"),
        (np.array([[0, 2], [1, 3]]), "not connected"),
    ],
)
def test_arrays_that_are_no_graph_are_refused(pairs, message):
    with pytest.raises(CojaxInputError, match=message):
        network(graphs.EdgeList(4, pairs))


def test_an_edge_list_of_lists_has_an_edge_a_column():
    found = graphs.EdgeList(3, [[0, 1], [1, 2]])
    assert sorted(found.to_networkx().edges) == [(0, 1), (1, 2)] and repr(found) == "EdgeList(3 nodes, 2 edges)"
    assert network(found).num_nodes == 3


class Rustworkx:
    """What cojax reads of a rustworkx graph, as its documentation describes it; the real one is tried where it is."""

    def __init__(self, nodes, edges):
        self.nodes, self.edges = nodes, edges

    def node_indexes(self):
        return self.nodes

    def edge_list(self):
        return self.edges


def test_rustworkx_graphs_are_read_without_python_objects():
    read = network(Rustworkx([0, 1, 2, 3], [(1, 0), (1, 2), (3, 2), (0, 3)]))
    np.testing.assert_array_equal(read.weights, network(nx.cycle_graph(4)).weights)
    with pytest.raises(CojaxInputError, match=r"numbered 0 ... 2, got one from which nodes were removed"):
        network(Rustworkx([0, 1, 3], [(0, 1), (1, 3)]))
    rustworkx = pytest.importorskip("rustworkx")
    graph = rustworkx.generators.cycle_graph(5)
    np.testing.assert_array_equal(network(graph).weights, network(nx.cycle_graph(5)).weights)
    with pytest.raises(CojaxInputError, match="an undirected rustworkx graph"):
        network(rustworkx.generators.directed_cycle_graph(5))
