"""Graph files as others write, draw and publish them: all that they say is read, or said to be left out, or refused."""

import bz2
import gzip
import unicodedata

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_graphs import TOPOLOGIES, needs_topologies, refused

from cojax import graphs

HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
NODES = '<node id="a"/><node id="b"/><node id="c"/>'


@pytest.fixture
def saved(tmp_path):
    def save(text, name):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return save


@pytest.fixture
def graphml(saved):
    def read(body, keys="", default="undirected"):
        return graphs.read_graphml(
            saved(f'{HEAD}{keys}<graph edgedefault="{default}">{body}</graph></graphml>', "g.graphml")
        )

    return read


def links(graph):
    return {(a, b) if graph.is_directed() else frozenset((a, b)) for a, b in graph.edges}


def pairs(*words):
    return {frozenset(word) for word in words}


def link(a, b, more="", inside=""):
    return f'<edge source="{a}" target="{b}" {more}>{inside}</edge>'


def test_graphs_within_nodes_are_read_and_a_frame_without_links_is_no_node(graphml):
    inner = f'<graph edgedefault="undirected"><node id="b1"/><node id="b2"/>{link("b1", "b2")}</graph>'
    outer = f'<node id="a"/><node id="b">{inner}</node>{link("a", "b1")}'
    graph, notes = graphml(outer)
    assert set(graph) == {"a", "b1", "b2"} and links(graph) == {frozenset(("a", "b1")), frozenset(("b1", "b2"))}
    assert notes == ["Groups that no link leads to are no nodes, 1 in all: b."]
    graph, notes = graphml(outer + link("a", "b"))
    assert set(graph) == {"a", "b", "b1", "b2"} and graph.number_of_edges() == 3
    assert notes == ["Nodes with a graph of their own are nodes beside those in it, 1 in all: b."]


def test_defaults_hold_where_a_node_says_nothing_and_a_key_may_be_for_all(graphml):
    keys = '<key id="k" for="node" attr.name="Latitude" attr.type="double"><default>47.0</default></key>'
    keys += '<key id="l" for="all" attr.name="level" attr.type="int"><default>3</default></key>'
    keys += '<key id="m" for="edge" attr.name="km" attr.type="float"><default>1.5</default></key>'
    graph, _ = graphml(f'<node id="a"/><node id="b"><data key="k">48</data></node>{link("a", "b")}', keys)
    assert dict(graph.nodes(data=True)) == {"a": {"latitude": 47.0, "level": 3}, "b": {"latitude": 48.0, "level": 3}}
    assert graph.edges["a", "b"] == {"level": 3, "km": 1.5}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("int", "1.0", 1.0), ("int", "7", 7), ("boolean", "yes", "yes"), ("boolean", "True", True), ("list", "[1]", "[1]")]
    + [
        ("long", "9" * 5000, float("inf")),
        ("double", "fast", "fast"),
        ("date", "today", "today"),
    ],
)
def test_an_attribute_that_nobody_reads_stops_nothing(graphml, kind, text, value):
    keys = f'<key id="k" for="node" attr.name="asn" attr.type="{kind}"/>'
    graph, notes = graphml(f'<node id="a"><data key="k">{text}</data></node><node id="b"/>{link("a", "b")}', keys)
    assert graph.nodes["a"]["asn"] == value and notes == []


def test_what_is_left_out_is_said(graphml):
    body = f'<node id="a"><port name="north"/><data key="d9">1</data></node>{link("a", "z")}'
    _, notes = graphml(body)
    assert notes == [
        "Data whose key is not declared were not read, 1 keys: d9.",
        "Ports were not read: links go from node to node.",
        "Links name nodes that the file does not list, 1 in all: z.",
    ]


def test_labels_drawn_by_yed_name_the_nodes(graphml):
    keys = '<key id="d5" for="node" yfiles.type="nodegraphics"/><key id="d8" for="edge" yfiles.type="edgegraphics"/>'

    def drawn(key, label, frame="", inside=""):
        graphics = f"<y:ShapeNode><y:Geometry/><y:NodeLabel>{label}<y:LabelModel>x</y:LabelModel></y:NodeLabel>"
        return f'<node id="{key}" {frame}><data key="d5">{graphics}</y:ShapeNode></data>{inside}</node>'

    inner = f'<graph edgedefault="directed" id="n2:">{drawn("n2::n0", "Bergen")}</graph>'
    body = drawn("n0", "Oslo") + drawn("n1", "Trom\nso") + drawn("n2", "West", 'yfiles.foldertype="group"', inner)
    edges = link("n0", "n1", inside='<data key="d8"><y:EdgeLabel>10G</y:EdgeLabel></data>') + link("n1", "n2::n0")
    graph, notes = graphml(body + edges, keys, "directed")
    assert links(graph) == {("Oslo", "Trom so"), ("Trom so", "Bergen")}
    assert notes[0] == "Groups that no link leads to are no nodes, 1 in all: n2."


def test_links_marked_undirected_are_so_and_a_mixed_graph_has_them_both_ways(graphml):
    marked = link("a", "b", 'directed="false"') + link("b", "c", 'directed="false"')
    graph, _ = graphml(NODES + marked, default="directed")
    assert not graph.is_directed() and links(graph) == pairs("ab", "bc")
    graph, _ = graphml(NODES + link("a", "b", 'directed="false"') + link("b", "c"), default="directed")
    assert links(graph) == {("a", "b"), ("b", "a"), ("b", "c")}
    graph, _ = graphml(NODES + link("a", "b", 'directed="true"') + link("b", "c"))
    assert links(graph) == {("a", "b"), ("b", "c"), ("c", "b")}


GML = """Creator "x"
graph [
  label "Zoo"   directed {directed}
  node [ id 0 label "  Chisinau " Latitude 47.00556 Longitude 28.8575 graphics [ x 1 y 2 fill "#FFCC00" ] ]
  # a comment
  node [ id 1 label "B&#228;lti &amp; co" Internal 1 ]
  edge [ source 0 target 1 LinkLabel "8 Mbps [down]" ] edge [ source 1 target 0 ] edge [ source 1 target 1 ]
]
"""


def test_gml_of_the_topology_zoo_is_read(saved):
    graph, notes = graphs.read_gml(saved(GML.format(directed=0), "g.gml"))
    assert links(graph) == {frozenset(("Chisinau", "Bälti & co"))}
    assert graph.nodes["Chisinau"] == {"label": "  Chisinau ", "latitude": 47.00556, "longitude": 28.8575}
    assert graph.edges["Chisinau", "Bälti & co"] == {"LinkLabel": "8 Mbps [down]"}
    assert notes == [
        "Links of a node to itself were dropped, 1 in all: Bälti & co.",
        "Parallel links were collapsed to one, at 1 pairs of nodes: Bälti & co - Chisinau (2).",
    ]
    assert graphs.read_gml(saved(GML.format(directed=1), "d.gml")).graph.is_directed()
    latin = graphs.read_gml(saved(GML.format(directed=0).replace("&#228;", "ä").encode("latin-1"), "l.gml"))
    assert set(latin.graph) == set(graph)


def test_gml_labels_that_repeat_give_way_to_ids(saved):
    nodes = " ".join(f'node [ id {key} label "None" ]' for key in (4, -2))
    graph, notes = graphs.read_gml(saved(f"graph [ {nodes} edge [ source 4 target -2 ] ]", "g.gml"))
    assert set(graph) == {"4", "-2"} and "labels are repeated, 1 in all: None" in notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no GML: it has no graph"),
        ("graph [", ":1 ends within a bracket"),
        ("graph\n[ ] ]", ":2 closes a bracket where none can end"),
        ('graph [ node [ id "a ] ]', ":1 has a quotation mark that is never closed"),
        ("graph [ [ ] ]", ":1 needs a key, got '['"),
        ("graph [ node ] ]", ":1 closes a bracket"),
        ("graph [ ]\ngraph [ ]", ":2 begins a second graph"),
        ("graph [ node [ label 7 ] ]", ":1 needs a printable id of every node, got ''"),
        ("graph [\nnode [ id 1 ]\nnode [ id 1 ] ]", ":3 repeats the node '1'"),
        ("graph [ node [ id 1 ] edge [ source 1 ] ]", ":1 needs a printable id of every edge's target, got ''"),
        ("graph [ node [ id 1 Latitude north ] ]", ":1 needs a number for Latitude, got 'north'"),
    ],
)
def test_files_that_are_no_gml_are_refused(saved, text, message):
    refused(graphs.read_gml, saved(text, "g.gml"), message)


SNDLIB_XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <meta><granularity>static</granularity></meta>
 <networkStructure>
  <nodes coordinatesType="KIND">
   <node id="ATLA"><coordinates><x>-84.38</x><y>33.75</y></coordinates></node>
   <node id="CHIN"><coordinates> <x>-87.61</x> <y>41.84</y> </coordinates></node>
   <node id="DNVR"><coordinates><x>-105.0</x><y>40.75</y></coordinates></node>
  </nodes>
  <links>
   <link id="L1"><source>ATLA</source><target>CHIN</target><preInstalledModule><capacity>9920.0</capacity>
    <cost>0.0</cost></preInstalledModule><additionalModules><addModule><capacity>40</capacity><cost>1</cost>
    </addModule></additionalModules></link>
   <link id="L2"> <source> CHIN </source> <target> DNVR </target> </link>
  </links>
 </networkStructure>
 <demands><demand id="D1"><source>ATLA</source><target>DNVR</target><demandValue>12</demandValue></demand></demands>
</network>"""
SNDLIB_NATIVE = """?SNDlib native format; type: network; version: 1.0
# network abilene

META (
  granularity  = 15min
  origin  = measured (by us)
)

# NODE SECTION
NODES (
  ATLA ( -84.38 33.75 )
  CHIN (-87.61 41.84)
  DNVR ( -105.00 40.75 )
)
LINKS (
  L1 ( ATLA CHIN ) 9920.00 0.00 0.00 133.00 ( 40.00 6.65 UNLIMITED 8 )
  L2 ( CHIN DNVR ) 0.00 0.00 0.00 0.00 ( )
)
DEMANDS (
  D1 ( ATLA DNVR ) 1 12.00 UNLIMITED
)
ADMISSIBLE_PATHS (
  D1 ( P0 ( L1 L2 ) )
)
"""


@pytest.mark.parametrize("text", [SNDLIB_XML.replace("KIND", "geographical"), SNDLIB_NATIVE], ids=["xml", "native"])
def test_both_formats_of_sndlib_are_read(saved, text):
    name = "net.xml" if text.startswith("<") else "net.txt"
    for read in (graphs.read_sndlib, graphs.read_graph):
        graph, notes = read(saved(text, name))
        assert links(graph) == {frozenset(("ATLA", "CHIN")), frozenset(("CHIN", "DNVR"))}
        assert graph.nodes["CHIN"] == {"longitude": -87.61, "latitude": 41.84}
        assert notes == ["The demands between nodes were not read, 1 in all."]


def test_pixels_are_no_places_and_a_link_both_ways_is_one(saved):
    graph, _ = graphs.read_sndlib(saved(SNDLIB_XML.replace("KIND", "pixel"), "net.xml"))
    assert graph.nodes["CHIN"] == {"x": -87.61, "y": 41.84}
    graph, _ = graphs.read_sndlib(saved(SNDLIB_NATIVE.replace("-84.38", "840"), "net.txt"))
    assert graph.nodes["CHIN"] == {"x": -87.61, "y": 41.84}
    twice = SNDLIB_NATIVE.replace("  L2", "  L3 ( CHIN ATLA ) 0 0 0 0 ( )\n  L2")
    graph, notes = graphs.read_sndlib(saved(twice, "net.txt"))
    assert graph.number_of_edges() == 2 and "at 1 pairs of nodes: ATLA - CHIN (2)" in notes[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is no network of SNDlib"),
        ("<solution/>", " is no network of SNDlib: it begins with <solution>"),
        (SNDLIB_NATIVE.replace("( ATLA CHIN )", "( ATLA )"), ":16 needs a name or number, got ')'"),
        (SNDLIB_NATIVE.replace("133.00", "free"), ":16 needs a number for a cost or capacity of the link, got 'free'"),
        (SNDLIB_NATIVE.replace("( CHIN DNVR )", "( CHIN NONE )"), ":17 has a link to 'NONE', which is no node"),
        (SNDLIB_NATIVE.replace("LINKS (", "EDGES ("), ":15 begins the section 'EDGES'"),
        (SNDLIB_NATIVE.rstrip()[:-1], ":23 needs ')', got the end of the file"),
        (SNDLIB_NATIVE.replace("-84.38 ", ""), ":11 needs a name or number"),
        (SNDLIB_XML.replace("<x>-84.38</x>", "<x>west</x>"), ":6 needs a number for x, got 'west'"),
        (SNDLIB_XML.replace("<source>ATLA</source><target>CHIN", "<source>ATLA</source><target>XXXX"), "'XXXX', which"),
        (SNDLIB_XML.replace("?>\n", "?>\n<!DOCTYPE a [<!ENTITY b 'c'>]>", 1), ":2 has a DOCTYPE"),
    ],
)
def test_files_that_are_no_network_of_sndlib_are_refused(saved, text, message):
    refused(graphs.read_sndlib, saved(text, "net"), message)


@pytest.mark.parametrize(
    ("text", "found", "notes"),
    [
        ("# Undirected graph: ../x.txt\n# Nodes: 3 Edges: 2\n# FromNodeId\tToNodeId\n0\t1\n1\t2\n", ("01", "12"), []),
        (
            "# Directed graph (each unordered pair of nodes is saved once): x\n# Nodes: 4 Edges: 3\n0\t1\n1\t0\n0\t2\n",
            ("01", "02"),
            [
                "The header says that links are directed; they are taken both ways.",
                "Parallel links were collapsed to one, at 1 pairs of nodes: 0 - 1 (2).",
                "The header counts 4 nodes, the file lists 3.",
            ],
        ),
        ("% sym unweighted\n% 2 3 3\n1 2\n2 3\n", ("12", "23"), []),
        ("% asym positive\n% 3 2\n1 2 4.5 1082040961\n", ("12",), ["are directed", "on 1 lines", "counts 3 links"]),
        ("%%MatrixMarket matrix coordinate pattern symmetric\n% c\n3 3 2\n2 1\n3 2\n", ("12", "23"), []),
        ("a,b\nb,c\n\n", ("ab", "bc"), []),
        ("source,target,weight\na,b,2\nb , c , 1e-1\n", ("ab", "bc"), []),
        ("a b {}\nb c {'weight': 3}\n", ("ab", "bc"), ["More than names and a weight was not read, on 1 lines."]),
        ("// x\na b\na a\n", ("ab",), ["Links of a node to itself were dropped, 1 in all: a."]),
    ],
)
def test_lists_of_links_are_read_as_published(saved, text, found, notes):
    graph, told = graphs.read_graph(saved(text, "out.list"))
    assert links(graph) == pairs(*found)
    assert len(told) == len(notes) and all(part in note for part, note in zip(notes, told, strict=True)), told


def test_lists_keep_weights_and_may_be_packed(saved):
    text = b"a b 0.5\nb c 2\n"
    for content, name in ((bz2.compress(text), "x.txt.bz2"), (gzip.compress(text), "x.edges.gz"), (text, "x.tsv")):
        graph, _ = graphs.read_graph(saved(content, name))
        assert graph.edges["b", "a"] == {"weight": 0.5}
    graph, _ = graphs.read_graph(saved(gzip.compress(b"Source,Target\na,b\n"), "x.csv.gz"))
    assert links(graph) == pairs("ab")
    refused(graphs.read_graph, saved(gzip.compress(bytes(1 << 23)), "x.txt.gz"), "longer than")
    refused(graphs.read_graph, saved(gzip.compress(b"a b\n" * (1 << 21)), "y.txt.gz"), "that this file may unpack to")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " has no links"),
        ("# Nodes: 2\n", " has no links"),
        ("a b\nc\n", ":2 needs two printable names, the ends of a link, got 'c'"),
        ("a b high\n", ":1 needs a number for weight, got 'high'"),
        ("a b -1\n", ":1 needs weight > 0, got -1"),
        ("% bip unweighted\n1 1\n", ":1 says that the links lead from one kind of node to another"),
        (
            "%%MatrixMarket matrix coordinate real general\n3 2 2\n1 2 1\n",
            ":2 needs the sizes of a square sparse matrix",
        ),
        ("a \u202eb\n", ":1 needs two printable names"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(saved, text, message):
    refused(graphs.read_edge_list, saved(text, "x.txt"), message)


@pytest.mark.parametrize("name", ["x.gexf", "x.net", "x.zip", "x"])
def test_other_suffixes_are_refused_with_those_that_are_known(saved, name):
    refused(graphs.read_graph, saved("a b", name), "needs the suffix .graphml, .gml, .csv, .xml or .txt")


def test_graphml_may_be_called_xml(saved):
    text = f'<?xml version="1.0"?>{HEAD}<graph edgedefault="undirected">{NODES}{link("a", "b")}</graph></graphml>'
    assert set(graphs.read_graph(saved(text, "g.xml")).graph) == set("abc")


def test_names_in_two_unicode_forms_are_one_node(saved, graphml):
    one, other = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))
    graph, _ = graphml(f'<node id="{one}"/><node id="b"/>{link(other, "b")}')
    assert set(graph) == {one, "b"}
    graph, _ = graphs.read_graph(saved(f"source,target\n{one},b\nb,c\nc,{other}\n", "x.csv"))
    assert set(graph) == {one, "b", "c"}
    graph, _ = graphs.read_graph(saved(f"{one} b\nb {other}2\n{other}2 {one}\n", "x.txt"))
    assert set(graph) == {one, "b", one + "2"}


NAMES = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=4).map(
    lambda name: unicodedata.normalize("NFC", name)
)


@st.composite
def drawn_graphs(draw):
    """A graph of a few nodes with labels, numbers and places, which networkx can write in any format."""
    names = draw(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    graph = nx.DiGraph() if draw(st.booleans()) else nx.Graph()
    for name in names:
        graph.add_node(name, label=name, Latitude=draw(st.floats(-90, 90)), tier=draw(st.integers(-3, 3)))
    ends = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), min_size=1, max_size=9))
    graph.add_edges_from((a, b) for a, b in ends if a != b)
    return graph


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(drawn_graphs())
def test_what_networkx_writes_is_read_as_it_was(tmp_path, graph):
    nx.write_graphml(graph, tmp_path / "g.graphml")
    nx.write_gml(graph, tmp_path / "g.gml")
    if graph.number_of_edges():
        numbered = nx.convert_node_labels_to_integers(graph)
        nx.write_edgelist(numbered, tmp_path / "g.txt")
        both = numbered.to_undirected()
        assert links(graphs.read_graph(tmp_path / "g.txt").graph) == {frozenset(map(str, ends)) for ends in both.edges}
    for name in ("g.graphml", "g.gml"):
        read = graphs.read_graph(tmp_path / name).graph
        assert read.is_directed() == (graph.is_directed() and graph.number_of_edges() > 0)
        assert links(read) == links(graph) and set(read) == set(graph)
        for name in graph:
            assert read.nodes[name]["latitude"] == graph.nodes[name]["Latitude"]
            assert read.nodes[name]["tier"] == graph.nodes[name]["tier"]


@needs_topologies
def test_every_graph_of_the_topology_zoo_is_that_which_networkx_reads():
    paths = sorted(TOPOLOGIES.glob("*.graphml"))
    assert len(paths) > 40
    for path in paths:
        ours, theirs = graphs.read_graphml(path).graph, nx.read_graphml(path)
        named = {node: data.get("label", "").strip() for node, data in theirs.nodes(data=True)}
        if len(set(named.values())) < len(named) or not all(map(str.isprintable, named.values())):
            named = {node: node for node in theirs}
        assert {named[node] for node in theirs} == set(ours)
        assert links(nx.Graph(nx.relabel_nodes(theirs, named))) - {frozenset((n,)) for n in ours} == links(ours)
        for node, data in theirs.nodes(data=True):
            lowered = {key.lower() if key in ("Latitude", "Longitude") else key: value for key, value in data.items()}
            assert ours.nodes[named[node]] == lowered
