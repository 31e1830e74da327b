"""Files made to do harm, each read in one process under limits of memory and of time."""

import bz2
import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from support.hostile import Trap, header, lying_npz, npy, npz

from cojax.app.cli import main

GRAPHML = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
BILLION = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
PLAN = "[cpu]\nbudget = 1.0\n[graph]\nname = 'ring'\n[nodes]\ncapacity = [1.0, 1.0, 1.0]\ndemand = [1.0, 1.0, 1.0]\n"


def nested(depth):
    """Archives in archives, the innermost with the names that are wanted."""
    content = npz()
    for _ in range(depth):
        content = npz(**{"features.npy": content, "targets.npy": npy([1.0])})
    return content


def overlapping():
    """Two members that point at the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", npy(np.ones((2, 3))))
        first = archive.infolist()[0]
        again = zipfile.ZipInfo("targets.npy")
        for name in ("header_offset", "compress_type", "compress_size", "file_size", "CRC"):
            setattr(again, name, getattr(first, name))
        archive.filelist.append(again)
    return buffer.getvalue()


# Each: how it is read, its bytes, and a part of the sentence.
CORPUS = {
    "pickled.npz": ("read_samples", lambda: npz(features=npy(np.array([[Trap()]]))), "as Python objects, which could"),
    "pickle.npz": ("read_samples", lambda: b"\x80\x04cos\nsystem\n(S'touch trapped'\ntR.", "damaged or no npz file"),
    "weights.pkl": ("read_samples", lambda: b"cos\nsystem\n(S'touch trapped'\ntR.", "could run code when opened"),
    "claim.npz": ("read_samples", lambda: npz(features=header((2**36, 1))), "declares 549755813888 bytes for features"),
    "wraps.npz": ("read_samples", lambda: npz(features=header((2**32, 2**32))), "but holds 0: the file is damaged"),
    "lies.npz": ("read_samples", lying_npz, "cannot be unpacked, it is truncated, damaged"),
    "bomb.npz": (
        "read_samples",
        lambda: npz(features=header((1 << 24, 1)) + bytes(8 << 24)),
        "it looks like a zip bomb",
    ),
    "truncated.npz": ("read_samples", lambda: npz()[:-30], "it is truncated, damaged or no npz file"),
    "traversal.npz": ("read_samples", lambda: npz(**{"../../evil.npy": npy([1.0])}), "got 'features.npy', 'targets."),
    "nested.npz": ("read_samples", lambda: nested(3), "has no readable .npy header for features"),
    "overlap.npz": ("read_samples", overlapping, "cannot be unpacked"),
    "header.npz": ("read_samples", lambda: npz(features=header(0, text="[" * 60_000)), "no readable .npy header"),
    "wide.libsvm": ("read_samples", lambda: b"1 1000000:1\n" * 240, "more than max_bytes=400000000"),
    "index.libsvm": ("read_samples", lambda: b"1 2147483648:1\n", ":1 has index 2147483648, beyond the 1000000"),
    "digits.libsvm": ("read_samples", lambda: b"1 " + b"9" * 4_000_000 + b":1\n", ":1 has index 9999999999"),
    "target.libsvm": ("read_samples", lambda: b"9" * 4_000_000 + b" 1:1\n", "for the target, got '99999999999"),
    "nearly.libsvm": ("read_samples", lambda: b"9" * 400_000 + b"x 1:1\n", "for the target, got '99999999999"),
    "packed.bz2": ("read_samples", lambda: bz2.compress(b"1 1:1\n" * (1 << 17)) * 100, "that this file may unpack to"),
    "endless.libsvm": ("read_samples", lambda: b"1" * (1 << 25), ":1 is longer than 16777216 bytes"),
    "columns.csv": ("read_samples", lambda: b"," * 5_000_000, ":1 has no name for column 1"),
    "header.csv": ("read_samples", lambda: ",".join(map("c{}".format, range(300_000))).encode(), "header but no sampl"),
    "twice.csv": ("read_samples", lambda: b"a,b,a\n1,2,3\n", ":1 names the column 'a' twice"),
    "nan.csv": ("read_samples", lambda: "\ufeffa,b\n1,nan\n".encode(), ":2 needs a finite number for b, got 'nan'"),
    "quote.csv": ("read_nodes", lambda: b'node,price\n"' + b"a\n" * 4_000_000, " is no line of CSV"),
    "nul.csv": ("read_nodes", lambda: b"node,price\n" + bytes(4_000_000), " is no line of CSV"),
    "node.csv": ("read_nodes", lambda: "node\n\u202egnp.exe\n".encode(), ":2 needs a printable name for node"),
    "links.csv": ("read_edges", lambda: b"source,target\na,b\nb,a\n", ":3 repeats the link b - a"),
    "lol.graphml": (
        "read_graphml",
        lambda: f'<!DOCTYPE z [<!ENTITY a0 "lol">{BILLION}]>{GRAPHML}&a9;</graphml>'.encode(),
        ":1 has a DOCTYPE",
    ),
    "deep.graphml": (
        "read_graphml",
        lambda: (GRAPHML + "<a>" * 200_000 + "</a>" * 200_000 + "</graphml>").encode(),
        " has no nodes",
    ),
    "argument.graphml": (
        "read_graphml",
        lambda: (
            f'{GRAPHML}<key attr.name="u_of_edge" attr.type="string" for="edge" id="d"/>'
            '<graph edgedefault="undirected"><node id="0"/><node id="1"/>'
            '<edge source="0" target="1"><data key="d">x</data></edge></graph></graphml>'
        ).encode(),
        None,
    ),
    "many.graphml": (
        "read_graphml",
        lambda: (GRAPHML + '<graph edgedefault="undirected"><node id="a">' * 50_000).encode(),
        ":1 repeats the node 'a'",
    ),
    "label.graphml": (
        "read_graphml",
        lambda: (
            f'{GRAPHML}<key id="d" for="node" attr.name="n" attr.type="int"/><graph><node id="a"><data key="d">'
            + "9" * 8_000_000
            + "x"
        ).encode(),
        " is no well-formed XML",
    ),
    "deep.gml": ("read_graph", lambda: b"graph [ " + b"a [ " * 400_000, ":1 ends within a bracket"),
    "quote.gml": ("read_graph", lambda: b'graph [ a "' + b"\n" * 4_000_000, ":1 has a quotation mark that is never"),
    "digits.gml": ("read_graph", lambda: b"graph [ node [ id " + b"9" * 4_000_000 + b" ] ]", None),
    "comments.gml": ("read_graph", lambda: b"#\n" * 1_000_000, " is no GML: it has no graph"),
    "lol.xml": (
        "read_graph",
        lambda: f'<!DOCTYPE z [<!ENTITY a0 "lol">{BILLION}]><network>&a9;</network>'.encode(),
        ":1 has a DOCTYPE",
    ),
    "deep.xml": ("read_graph", lambda: b"<network>" + b"<a>" * 500_000, " is no well-formed XML"),
    "open.txt": (
        "read_graph",
        lambda: b"?SNDlib native format; type: network; version: 1.0\nADMISSIBLE_PATHS (" + b"( " * 500_000,
        ":2 needs ')', got the end of the file",
    ),
    "endless.txt": ("read_graph", lambda: b"a " * 4_000_000, " has a line longer than 65536 characters"),
    "blank.txt": ("read_graph", lambda: b"a" + b" " * 60_000 + b"\n", ":1 needs two printable names"),
    "bomb.txt.bz2": ("read_graph", lambda: bz2.compress(b"#\n" * (1 << 23)), "that this file may unpack to"),
    "end.graphml": (
        "read_graphml",
        lambda: f'{GRAPHML}<graph edgedefault="undirected"><edge source="0"/></graph></graphml>'.encode(),
        ":1 needs a printable target of every edge, got ''",
    ),
    "arrays.toml": ("read_plan", lambda: b"x = " + b"[" * 400_000 + b"]" * 400_000, "is nested too deeply"),
    "tables.toml": ("read_plan", lambda: b"x = " + b"{a = " * 400_000, "is nested too deeply"),
    "key.toml": ("read_plan", lambda: b"a." * 2_000_000 + b"a = 1", "is nested too deeply"),
    "quoted.toml": ("read_plan", lambda: b"['" + b"'.'".join([b"a"] * 900_000) + b"']", "is nested too deeply"),
    "digits.toml": ("read_plan", lambda: b"x = 1" + b"0" * 4_000_000, "is no TOML that can be read"),
    "infinite.toml": ("read_plan", lambda: PLAN.replace("1.0\n", "1e400\n", 1).encode(), "got inf at $.cpu.budget"),
    "twice.toml": ("read_plan", lambda: PLAN.replace("\n", "\nbudget = 2.0\n", 1).encode(), "is no TOML that can"),
    "code.toml": ("read_plan", lambda: f"_target_ = 'os.system'\n{PLAN}".encode(), "unknown field `_target_`"),
    "import.toml": ("read_plan", lambda: PLAN.replace("ring", "os.path:join").encode(), None),
}
# The command has no limit of memory of its own.
MEMORY_OF_THEIR_OWN = ("wide.libsvm", "packed.bz2", "argument.graphml", "digits.gml")
SPARSE = {"huge.toml": ("read_plan", 50_000_000), "huge.graphml": ("read_graphml", 60_000_000)}
SCRIPT = """
import json, resource, signal, sys
import networkx, scipy.sparse
from cojax import CojaxInputError, graphs, tables
from cojax.app.plans import plans

class TooSlow(BaseException):
    pass

def stop(*_):
    raise TooSlow

held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (512 << 20),) * 2)
signal.signal(signal.SIGPROF, stop)
said = {}
for name, reader, path in json.load(sys.stdin):
    read = next(getattr(module, reader) for module in (tables, graphs, plans) if hasattr(module, reader))
    signal.setitimer(signal.ITIMER_PROF, 20)
    try:
        read(path, **({"max_bytes": 400_000_000} if reader == "read_samples" else {}))
        said[name] = None
    except BaseException as error:
        said[name] = [type(error).__name__, str(error)]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for name, (_, content, _) in CORPUS.items():
        (folder / name).write_bytes(content())
    for name, (_, size) in SPARSE.items():
        with (folder / name).open("wb") as handle:
            handle.truncate(size)
    os.mkfifo(folder / "pipe.npz")
    (folder / "zero.npz").symlink_to("/dev/zero")
    return folder


@pytest.fixture(scope="module")
def said(folder):
    """What each file led to in a process of 512 MB beyond what Python needs to start, and 20 s of CPU a file.

    Alone on a machine each takes less than 5 s; beside other work, and on slow processors, a second counts for less.
    What takes quadratic time over these files takes minutes.
    """
    readers = {name: entry[0] for name, entry in {**CORPUS, **SPARSE}.items()}
    readers |= {"pipe.npz": "read_samples", "zero.npz": "read_samples", "n" * 5000 + ".csv": "read_nodes"}
    files = [(name, reader, str(folder / name)) for name, reader in readers.items()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(files),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        check=True,
    )
    return json.loads(done.stdout)


def is_refused(said, folder, name, message):
    kind, sentence = said[name]
    assert kind == "CojaxInputError", sentence
    assert sentence.startswith(str(folder / name)) and message in sentence and "\n" not in sentence


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_is_refused_within_512_megabytes_and_in_linear_time(said, folder, name):
    message = CORPUS[name][2]
    if message is None:
        assert said[name] is None
    else:
        is_refused(said, folder, name, message)
    assert not (folder / "trapped").exists()


def asked_for(folder, name):
    """The arguments of a command that reads the file."""
    if name.endswith(".toml"):
        return ["plan", str(folder / name)]
    changed = PLAN
    if CORPUS[name][0] == "read_samples":
        changed += f"[data]\nfile = '{name}'\n[model]\nname = 'svm'\n"
    elif CORPUS[name][0] == "read_nodes":
        changed = changed.partition("[nodes]")[0] + f"[nodes]\nfile = '{name}'\n"
    else:
        changed = changed.replace("name = 'ring'", f"file = '{name}'")
    path = folder / f"{name}.toml"
    path.write_text(changed)
    return ["plan", str(path)]


@pytest.mark.parametrize("name", [name for name in CORPUS if name not in MEMORY_OF_THEIR_OWN])
def test_the_command_ends_in_one_sentence_over_a_hostile_file(folder, capsys, monkeypatch, name):
    monkeypatch.chdir(folder)
    assert main([*asked_for(folder, name), "--out", "result"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("cojax: ") and told.err.count("\n") == 1
    assert not (folder / "result").exists()


@pytest.mark.parametrize("name", SPARSE)
def test_a_huge_file_is_not_opened(said, folder, name):
    is_refused(said, folder, name, f"holds {SPARSE[name][1]} bytes, more than max_bytes=")


@pytest.mark.parametrize("name", ["pipe.npz", "zero.npz", "n" * 5000 + ".csv"], ids=["pipe", "device", "long name"])
def test_what_is_no_file_is_not_opened(said, folder, name):
    is_refused(said, folder, name, "is not a file")
