"""Whatever comes in, a reader gives a result or one sentence: never another error, a hang or a warning."""

import bz2
import copy
import gzip
import time
import warnings

import jax
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile import npz

from cojax import CojaxInputError, graphs, tables
from cojax.app.cases import answers, cases
from cojax.app.help_texts import EXAMPLE
from cojax.app.plans import plans
from cojax.data.npz import read_arrays

GRAPHML = (
    '<?xml version="1.0" encoding="utf-8"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    '<key attr.name="label" attr.type="string" for="node" id="d0"/><key attr.name="Latitude" attr.type="double" '
    'for="node" id="d1"/><graph edgedefault="undirected"><node id="0"><data key="d0">a</data><data key="d1">1.5</data>'
    '</node><node id="1"/><edge id="e" source="0" target="1"><data key="d0">b</data></edge></graph></graphml>'
)
# By suffix: how it is read, a good file, and pieces of which bad ones are made.
READERS = {
    ".nodes.csv": (
        tables.read_nodes,
        b"node,capacity,price\na,1,2\nb,3.5,-4e1\n",
        [
            b"node",
            b"price",
            b"upper",
            b",",
            b"\n",
            b"\r",
            b'"',
            b"1",
            b"-1e9",
            b"nan",
            b"\xff",
            b"\x00",
            b"\xef\xbb\xbf",
        ],
    ),
    ".hours.csv": (
        tables.read_series,
        b"hour,a,b\n2024-01-01T00,1,-364\n2024-01-01T01,15637,3.5\n",
        [b"hour", b"a", b",", b"\n", b"\r", b'"', b"1", b"-1e9", b"1e400", b"nan", b"\xff", b"\x00", b" "],
    ),
    ".answer.csv": (
        lambda path: answers.read_answer(path, ("a", "b"), 3.0, "GB"),
        b"node,share\na,1\nb,2\n",
        [
            b"node",
            b"share",
            b"[GB]",
            b"a",
            b",",
            b"\n",
            b"\r",
            b'"',
            b"1",
            b"-1e9",
            b"1e400",
            b"nan",
            b"\xff",
            b"\x00",
            b" ",
        ],
    ),
    ".csv": (
        tables.read_samples,
        b"a,b,target\n1,2,3\n4,5,6\n",
        [b"target", b"a", b",", b"\n", b"\r\n", b'"', b"1", b".", b"1e308", b"1e309", b"inf", b"\xc3", b"_", b" "],
    ),
    ".libsvm": (
        tables.read_samples,
        b"+1 1:0.5 3:-2e-1 # c\n-1\n3 2:1\t4:0\n",
        [
            b"1",
            b"-1",
            b":",
            b" ",
            b"\n",
            b"#",
            b"2:3",
            b"9999999:1",
            b"2147483648:1",
            b"nan",
            b"1:1e999",
            b"\xff",
            b"\t",
        ],
    ),
    ".links.csv": (
        graphs.read_edges,
        b"source,target,weight\na,b,1\nb,c,0.5\n",
        [b"source", b"target", b"weight", b",", b"\n", b"a", b"b", b"1", b"0", b"-1", b'"', b"\x1b", b"\xff"],
    ),
    ".gml": (
        graphs.read_gml,
        b'Creator "x"\ngraph [ directed 0\n node [ id 0 label "a" Latitude 1.5 graphics [ x 1 ] ]\n node [ id 1 ] # c\n'
        b'edge [ source 0 target 1 label "b&#228;" ] ]\n',
        [b"graph [", b"node [", b"edge [", b"]", b"[", b'"', b"id", b"label", b"source 0", b"target 1", b"directed 1"]
        + [b"&lt;", b"#", b"\n", b"isGroup 1", b"Longitude", b"1e400", b"-2", b"\xff", b"\x00", b" "],
    ),
    ".sndlib.xml": (
        graphs.read_sndlib,
        b'<?xml version="1.0"?><network xmlns="http://sndlib.zib.de/network"><networkStructure><nodes coordinatesType='
        b'"geographical"><node id="A"><coordinates><x>1</x><y>2</y></coordinates></node><node id="B"/></nodes>'
        b'<links><link id="L"><source>A</source><target>B</target></link></links></networkStructure>'
        b"<demands/></network>",
        [
            b"<nodes>",
            b"</nodes>",
            b'<node id="C"/>',
            b"<links>",
            b"</links>",
            b"<link>",
            b"</link>",
            b"<x>",
            b"</x>",
            b"A",
        ]
        + [b"<source>A</source>", b"<target>", b"</target>", b"<!DOCTYPE a>", b"&a;", b"<coordinates>", b"nan", b"\n"],
    ),
    ".sndlib.txt": (
        graphs.read_sndlib,
        b"?SNDlib native format; type: network; version: 1.0\nMETA (\n a = b\n)\nNODES (\n A ( 1 2 )\n B ( 3 4 )\n)\n"
        b"LINKS (\n L ( A B ) 0 0 0 0 ( 1 2 )\n)\nDEMANDS (\n D ( A B ) 1 1 UNLIMITED\n)\nADMISSIBLE_PATHS (\n)\n",
        [
            b"NODES (",
            b"LINKS (",
            b"DEMANDS (",
            b"META (",
            b"ADMISSIBLE_PATHS (",
            b"(",
            b")",
            b"\n",
            b" ",
            b"A",
            b"B",
            b"C",
        ]
        + [b"0", b"1e400", b"nan", b"?SNDlib native format", b"#", b"\xff", b"\x00", b"UNLIMITED"],
    ),
    ".edges.txt": (
        graphs.read_edge_list,
        b"# Nodes: 3 Edges: 2\n1\t2\n2 3 0.5\n",
        [
            b"#",
            b"%",
            b"%%MatrixMarket",
            b"% bip",
            b"% asym",
            b"// ",
            b"# Nodes: 1 Edges: 1",
            b"\n",
            b"\t",
            b",",
            b" ",
            b"1",
        ]
        + [b"a", b"-1", b"0", b"{}", b"\xff", b"\x00", b"\x1b", b"source,target", b"% 2 1"],
    ),
    ".csv.bz2": (tables.read_samples, bz2.compress(b"a,target\n1,2\n"), [b"BZh9", b"\x00", b"\xff" * 8, b"1AY&SY"]),
    ".txt.gz": (graphs.read_graph, gzip.compress(b"a b\nb c\n"), [b"\x1f\x8b", b"\x00", b"\xff" * 8, b"\x03"]),
    ".graphml": (
        graphs.read_graphml,
        GRAPHML.encode(),
        [b'<node id="0">', b"</node>", b'<node id="1"/>', b'<edge source="0" target="1"/>', b'<edge source="1"/>']
        + [b"<port/>", b"<hyperedge/>", b'<graph edgedefault="directed">', b'<graph id="x">', b"</graph>", b"<data/>"]
        + [b'<data key="d0">x</data>', b'<data key="d9">x</data>', b"<default>1</default>", b'<key id="d0"/>']
        + [b'<key id="d0" for="all" attr.type="int" attr.name="label"/>', b"<!DOCTYPE a>", b"&lt;", b"&a;", b"\n"],
    ),
    ".toml": (
        plans.read_plan,
        EXAMPLE.encode(),
        [b"[nodes]", b"[cpu]", b"[[graph]]", b"budget = ", b"name = ", b"'ring'", b"1", b"1e400", b"nan", b"0x1", b"\n"]
        + [b"[", b"]", b"{", b"}", b".", b",", b"=", b'"', b"'''", b"#", b"2026-01-01", b"true", b"\\u0000", b"\xff"],
    ),
    ".npz": (
        tables.read_samples,
        npz(),
        [b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY", b"\xff\xff\xff\xff", b"\x00" * 4],
    ),
    ".checkpoint.npz": (read_arrays, npz(), [b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY", b"\xff" * 4, bytes(4), b"PK"]),
    ".bz2": (tables.read_samples, bz2.compress(b"1 1:1\n" * 9), [b"BZh9", b"\x00", b"\xff" * 8, b"1AY&SY"]),
}


def files(good, pieces):
    """Good files with some bytes replaced, cut out or put in, and files of pieces alone."""
    edit = st.tuples(
        st.integers(0, len(good)), st.integers(0, 8), st.sampled_from(pieces) | st.binary(min_size=0, max_size=4)
    )

    def edited(edits):
        content = good
        for place, cut, new in edits:
            content = content[:place] + new + content[place + cut :]
        return content

    return st.lists(edit, min_size=1, max_size=4).map(edited) | st.lists(st.sampled_from(pieces), max_size=25).map(
        b"".join
    )


def is_read_or_refused(read, source):
    """One sentence that names the source, or a result; in little time and without a warning from below."""
    begun = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            read()
    except CojaxInputError as error:
        assert "\n" not in str(error) and source in str(error)
    # The largest files here have a kilobyte.
    assert time.process_time() - begun < 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzing")


def fuzz(folder, kind, num_examples):
    reader, good, pieces = READERS[kind]
    path = folder / f"file{kind}"

    @settings(max_examples=num_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(files(good, pieces))
    def attack(content):
        path.write_bytes(content)
        is_read_or_refused(lambda: reader(path), str(path))

    path.write_bytes(good)
    reader(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # networkx on keys without a type
        attack()


@pytest.mark.parametrize("kind", READERS)
def test_any_file_is_read_or_refused(folder, kind):
    fuzz(folder, kind, 200)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", READERS)
def test_very_many_files_are_read_or_refused(folder, kind):
    fuzz(folder, kind, 20_000)


BASES = [
    {"nodes": {"capacity": [4.0, 3.0, 2.0], "demand": [1.0, 2.0, 1.0]}, "cpu": {"budget": 6.0}},
    {"nodes": {"price": [4.0, -3.0, 2.0], "curvature": [1.0, 2.0, 1.0]}, "cpu": {"budget": 6.0}},
    {"nodes": {"work": [4.0, 3.0, 2.0], "lower": [0.5, 0.5, 0.5]}, "cpu": {"budget": 6.0}},
]
SIZES = st.sampled_from(
    [0.0, -1.0, 0.5, 1.0, 2.0, 7, 5e-324, 1e-300, 1e-50, 1e16, 1e50, 1e154, 1e300, 1.7e308, -1.7e308]
)
NAMES = ["capacity", "demand", "price", "curvature", "work", "lower", "upper", "pue", "latitude", "longitude"]
GRAPHS = ["ring", "path", "complete", "star", "grid", "torus", "erdos_renyi", "geometric", "scale_free", "nsfnet"]
LINKS = [
    {"name": "innovation", "quantizer": {"name": "log", "rho": 2.0}},
    {"name": "quantized", "quantizer": {"name": "uniform", "delta": 1e300, "largest": 5e-324}},
    {"name": "innovation", "memory": "edge", "quantizer": {"name": "adaptive", "bits": 2}},
    {"name": "quantized", "quantizer": {"name": "float", "mantissa_bits": 52}},
]
CHANGES = st.one_of(
    st.tuples(st.just(("nodes",)), st.sampled_from(NAMES), st.lists(SIZES, min_size=3, max_size=3)),
    st.tuples(st.just(("cpu",)), st.just("budget"), SIZES),
    st.tuples(st.just(("graph",)), st.just("name"), st.sampled_from(GRAPHS)),
    st.tuples(st.just(("graph",)), st.sampled_from(["probability", "radius", "loss", "share"]), SIZES),
    st.tuples(st.just(("graph",)), st.just("weights"), st.sampled_from(["max_degree", "best_constant", "fastest"])),
    st.tuples(st.just(()), st.just("link"), st.sampled_from(LINKS)),
    st.tuples(st.just(()), st.just("penalty"), SIZES.map(lambda size: {"name": "power", "weight": size})),
    st.tuples(st.just(()), st.just("penalty"), SIZES.map(lambda size: {"name": "barrier", "epsilon": size})),
    st.tuples(st.just(("method", "allocate")), st.sampled_from(["step_size", "momentum"]), SIZES),
    st.tuples(st.just(("method", "allocate")), st.just("name"), st.just("heavy_ball")),
)


def fuzz_plans(folder, num_examples):
    path = folder / "values.toml"

    @settings(max_examples=num_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(BASES), st.lists(CHANGES, max_size=2))
    def attack(base, changes):
        plan = copy.deepcopy(base) | {"steps": 100, "graph": {"name": "ring"}}
        for keys, name, value in changes:
            part = plan
            for key in keys:
                part = part.setdefault(key, {})
            part[name] = value
        path.write_text(tomli_w.dumps(plan))
        is_read_or_refused(lambda: cases.build_case(plans.read_plan(path)), "")

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        attack()


def test_any_numbers_in_a_plan_make_a_case_or_a_sentence(folder):
    fuzz_plans(folder, 60)


@pytest.mark.exhaustive
def test_very_many_plans_make_a_case_or_a_sentence(folder):
    fuzz_plans(folder, 3_000)
