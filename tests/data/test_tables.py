"""Tables of nodes and samples, and files that must not get through."""

import bz2
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file
from support.hostile import Trap, header, npy, npz

from cojax import CojaxInputError, tables

ML = Path(__file__).parents[3] / "shared" / "data" / "ml"
needs_ml = pytest.mark.skipif(not ML.is_dir(), reason="the real data sets are not here")


@pytest.fixture
def saved(tmp_path):
    def save(content, name):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return save


def refused(reader, path, message):
    with pytest.raises(CojaxInputError) as caught:
        reader(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_nodes_are_read_by_column_whatever_their_order(saved):
    path = saved('\ufeffprice, node ,capacity\r\n-364,"Zürich, West",20\r\n\r\n1.5e-1, Ulm ,.5\r\n', "nodes.csv")
    names, columns, _ = tables.read_nodes(path)
    assert names == ("Zürich, West", "Ulm")
    assert set(columns) == {"price", "capacity"}
    np.testing.assert_array_equal(columns["price"], [-364.0, 0.15])
    np.testing.assert_array_equal(columns["capacity"], [20.0, 0.5])


def test_a_table_may_hold_names_alone(saved):
    assert tables.read_nodes(saved("node\na\nb\n", "nodes.csv")) == (("a", "b"), {}, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty: its first line must name the columns"),
        ("\n\n", " is empty: its first line must name the columns"),
        ("node,price\n", " has a header but no nodes"),
        ("node,colour\n", ":1 has the column 'colour', which is unknown; the known ones are node, capacity, demand"),
        ("node,Price\n", ":1 has the column 'Price', which is unknown"),
        ("price,capacity\n1,2\n", ":1 needs a column node with the names of the nodes, got price, capacity"),
        ("node;price\na;1\n", ":1 separates columns by semicolons: save it with commas."),
        ("node,price,price\na,1,2\n", ":1 names the column 'price' twice"),
        ("node,,price\n", ":1 has no name for column 2"),
        ('node,"a\nb"\n', ":2 needs a printable name for column 2, got 'a\\nb'"),
        ("a,1\n", ":1 must name the columns, got the number 1"),
        ("node,price\na,1\nb,nan\n", ":3 needs a finite number for price, got 'nan'"),
        ("node,price\na,-inf\n", ":2 needs a finite number for price, got '-inf'"),
        ("node,price\na,1e400\n", ":2 needs a finite number for price, got '1e400'"),
        ("node,price\na, \n", ":2 needs a number for price, got an empty cell"),
        ("node,price\na,cheap\n", ":2 needs a number for price, got 'cheap'"),
        ("node,price\na,1_000\n", ":2 needs a number for price, got '1_000'"),
        ("node,price\na,0x10\n", ":2 needs a number for price, got '0x10'"),
        ("node,price\na,\u0661\n", ":2 needs a number for price, got '\u0661'"),
        ('node,price\na,"1,5"\n', ":2 needs a number for price, got '1,5'"),
        ("node,price\na,1\n\na,2\n", ":4 repeats the node 'a' of "),
        ("node,price\n,1\n", ":2 needs a printable name for node, got ''"),
        ("node,price\na\x00b,1\n", r":2 needs a printable name for node, got 'a\x00b'"),
        ("node,price\na\n", ":2 has 1 cells, but the header names 2 columns"),
        ("node,price\na,1,2\n", ":2 has 3 cells, but the header names 2 columns"),
        ('node,price\n"a,1\n', ":2 is no line of CSV: unexpected end of data"),
        ("node,price\n" + "a" * 200_000 + ",1\n", ":2 is no line of CSV: field larger than field limit"),
        ("node,price\na,1\n".encode("utf-16"), " is no UTF-8 text"),
        (b"node,price\nZ\xfcrich,1\n", " is no UTF-8 text"),
    ],
)
def test_tables_of_nodes_that_cannot_be_meant_are_refused(saved, text, message):
    refused(tables.read_nodes, saved(text, "nodes.csv"), message)


def test_a_file_must_exist_and_be_small_enough(saved, tmp_path):
    path = saved("node\na\n", "nodes.csv")
    refused(tables.read_nodes, tmp_path / "absent.csv", "is not a file")
    refused(tables.read_nodes, tmp_path, "is not a file")
    refused(lambda path: tables.read_nodes(path, max_bytes=6), path, "holds 7 bytes, more than max_bytes=6")


@pytest.mark.parametrize("names", ["target,a,b", "a,b,last"])
def test_targets_are_the_column_of_that_name_or_the_last(saved, names):
    features, targets = tables.read_samples(saved(f"{names}\n1,2,3\n4,5,6\n", "samples.csv"))
    place = 0 if names.startswith("target") else 2
    np.testing.assert_array_equal(targets, [[1, 4], [2, 5], [3, 6]][place])
    np.testing.assert_array_equal(features, np.delete([[1, 2, 3], [4, 5, 6]], place, axis=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", " has a header but no samples"),
        ("target\n1\n", " needs at least one feature and a target, got the one column 'target'"),
        ("1,2\n3,4\n", ":1 must name the columns, got the number 1: add a header line"),
        ("a,b\n1,2\n3\n", ":3 has 1 cells"),
        ("a,b\n1,\n", ":2 needs a number for b, got an empty cell"),
    ],
)
def test_tables_of_samples_that_cannot_be_meant_are_refused(saved, text, message):
    refused(tables.read_samples, saved(text, "samples.csv"), message)


def test_a_libsvm_file_holds_zeros_where_it_is_silent(saved):
    text = "\ufeff+1 1:0.5 3:-2e-1 # a comment\n\n-1\n3 2:1\t4:0\n"
    for path in (saved(text, "a.libsvm"), saved(text, "a.svm"), saved(bz2.compress(text.encode()), "a.trn.bz2")):
        features, targets = tables.read_samples(path)
        np.testing.assert_array_equal(targets, [1.0, -1.0, 3.0])
        np.testing.assert_array_equal(features, [[0.5, 0, -0.2, 0], [0, 0, 0, 0], [0, 1, 0, 0]])


def test_a_libsvm_file_may_count_from_zero_and_be_widened(saved):
    path = saved("1 0:5\n", "a.libsvm")
    features, _ = tables.read_libsvm(path, first_index=0, num_features=3)
    np.testing.assert_array_equal(features, [[5.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " has no samples"),
        ("# nothing\n", " has no samples"),
        ("1\n-1\n", " has no features: every line holds a target only"),
        ("1 1:1\n1 0:1\n", ":2 has index 0, but the first feature is 1: if the file counts from 0"),
        ("1 3:1 2:1\n", ":1 has index 2 out of order"),
        ("1 2:1 2:1\n", ":1 has index 2 out of order"),
        ("1 -1:1\n", ":1 needs index:value with a whole index, got '-1'"),
        ("1 qid:3 1:1\n", ":1 needs index:value with a whole index, got 'qid'"),
        ("1 1.5:1\n", ":1 needs index:value with a whole index, got '1.5'"),
        ("1 ²:1\n", ":1 needs index:value with a whole index"),
        ("1 1\n", ":1 needs a number for feature 1, got an empty cell"),
        ("1 1:x\n", ":1 needs a number for feature 1, got 'x'"),
        ("1 1:nan\n", ":1 needs a finite number for feature 1, got 'nan'"),
        ("a 1:1\n", ":1 needs a number for the target, got 'a'"),
        ("1,2 1:1\n", ":1 needs a number for the target, got '1,2'"),
        ("1 2147483649:1\n", ":1 has index 2147483649, beyond the 1000000 features that are allowed"),
        (f"1 {2**64 + 1}:1\n", ":1 has index 18446744073709551617, beyond"),
        (f"1 {'9' * 100_000}:1\n", ":1 has index 9999999999"),
        (b"1 1:1\n\xff\xfe\n", ":2 is no UTF-8 text"),
    ],
)
def test_libsvm_files_that_cannot_be_meant_are_refused(saved, text, message):
    refused(tables.read_samples, saved(text, "a.libsvm"), message)


def test_a_few_lines_cannot_ask_for_a_huge_array(saved):
    path = saved("1 1000000:1\n" * 300, "a.libsvm")
    refused(tables.read_samples, path, "has 300 samples of 1000000 features, 2400000000 bytes in float64, more than")


def test_packed_text_is_never_unpacked_without_bound(saved):
    bomb = saved(bz2.compress((b" " * 1023 + b"\n") * 5000), "bomb.bz2")
    refused(tables.read_samples, bomb, ":4097 is beyond the 4194304 bytes that this file may unpack to")
    small = saved(bz2.compress(b"1 1:1\n" * 100), "small.bz2")
    refused(lambda path: tables.read_samples(path, max_bytes=500), small, "is beyond the 500 bytes")


def test_a_line_without_end_is_refused(saved):
    refused(tables.read_samples, saved(b"1" * (1 << 24), "a.libsvm"), ":1 is longer than 16777216 bytes")


def test_damaged_packed_text_is_refused(saved):
    whole = bz2.compress(b"1 1:1\n" * 100)
    refused(tables.read_samples, saved(whole[:-8], "a.bz2"), "is truncated or damaged")
    refused(tables.read_samples, saved(b"1 1:1\n", "b.bz2"), ":1 cannot be unpacked")


@needs_ml
@pytest.mark.parametrize("name", ["heart_scale.libsvm", "abalone.trn.bz2"])
def test_real_libsvm_files_are_read_as_scikit_learn_reads_them(name):
    features, targets = tables.read_samples(ML / name)
    with bz2.open(ML / name) if name.endswith("bz2") else (ML / name).open("rb") as handle:
        expected, labels = load_svmlight_file(handle)
    np.testing.assert_array_equal(features, expected.toarray())
    np.testing.assert_array_equal(targets, labels)


@needs_ml
def test_the_adult_data_counts_from_zero_and_says_so(saved):
    refused(tables.read_samples, ML / "a9a.tst.bz2", ":1 has index 0, but the first feature is 1")
    with bz2.open(ML / "a9a.tst.bz2") as handle:
        head = b"".join(handle.readlines()[:500])
    features, targets = tables.read_libsvm(saved(head, "head.libsvm"), first_index=0, num_features=123)
    expected, labels = load_svmlight_file(io.BytesIO(head), n_features=123, zero_based=True)
    np.testing.assert_array_equal(features, expected.toarray())
    np.testing.assert_array_equal(targets, labels)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "<i4", "u1"])
def test_arrays_come_back_as_they_were_saved(tmp_path, kind, order):
    features = np.array(np.arange(6).reshape(2, 3), kind, order=order)
    np.savez_compressed(tmp_path / "a.npz", features=features, targets=np.array([0, 1], kind))
    read, targets = tables.read_samples(tmp_path / "a.npz")
    np.testing.assert_array_equal(read, features)
    np.testing.assert_array_equal(targets, [0, 1])
    assert read.dtype == (np.float32 if kind == "<f4" else np.float64)
    assert read.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is truncated, damaged or no npz file"),
        (b"PK\x03\x04 not really", "it is truncated, damaged or no npz file"),
        (npz()[:-40], "it is truncated, damaged or no npz file"),
        (npz(**{"../evil.npy": npy([1.0])}), "and nothing else, got 'features.npy', 'targets.npy', '../evil.npy'"),
        (npz(**{"inner.zip": npz()}), "and nothing else, got 'features.npy', 'targets.npy', 'inner.zip'"),
        (npz(features=npy(np.array([[Trap()]]))), "keeps features as Python objects, which could run code"),
        (
            npz(features=npy(np.ones((2, 3), complex))),
            "features in float64, float32 or whole numbers, got complex",
        ),
        (npz(features=npy(np.ones((2, 3), np.float16))), "whole numbers, got float16"),
        (npz(targets=npy(["a", "b"])), "needs targets in float64, float32 or whole numbers, got <U1"),
        (npz(targets=npy([True, False])), "whole numbers, got bool"),
        (npz(targets=npy(np.zeros(2, [("a", "<f8")]))), "needs targets in float64"),
        (npz(features=npy(np.ones(2))), "needs features of shape (N, d), got (2,)"),
        (npz(targets=npy(np.ones((2, 1)))), "needs targets of shape (N,), got (2, 1)"),
        (npz(targets=npy(np.ones(3))), "with N >= 1, got (2, 3) and (3,)"),
        (npz(features=npy(np.ones((2, 0)))), "with N >= 1, got (2, 0) and (2,)"),
        (npz(features=npy([[1.0, 2.0], [3.0, np.nan]])), "got another at features[1, 1]"),
        (npz(targets=npy([1.0, np.inf])), "got another at targets[1]"),
        (
            npz(features=header((2**36, 1))),
            "declares 549755813888 bytes for features of shape (68719476736, 1)",
        ),
        (npz(features=header((2**70, 2**70))), "but holds 0: the file is damaged"),
        (npz(features=header((-2, -3)) + bytes(48)), "of shape (-2, -3), but holds 48"),
        (npz(features=npy(np.ones((2, 3)))[:-8]), "declares 48 bytes for features of shape (2, 3), but holds 40"),
        (npz(features=npy(np.ones((2, 3))) + b"more"), "declares 48 bytes for features of shape (2, 3), but holds 52"),
        (npz(features=b"no magic"), "has no readable .npy header for features"),
        (npz(features=header(0, text="__import__('os').system('ls')")), "has no readable .npy header for features"),
        (npz(features=header(0, text="(" * 5000)), "has no readable .npy header for features"),
        (npz(features=header(0, text="'''")), "has no readable .npy header for features"),
        (npz(kind=zipfile.ZIP_BZIP2), "packs features.npy in a way that NumPy never does"),
    ],
)
def test_archives_that_cannot_be_meant_are_refused(saved, monkeypatch, tmp_path, content, message):
    monkeypatch.chdir(tmp_path)
    refused(tables.read_samples, saved(content, "a.npz"), message)
    assert not (tmp_path / "trapped").exists()


def test_an_archive_without_targets_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.ones((2, 3)))
    refused(tables.read_samples, tmp_path / "a.npz", "must hold the arrays features and targets")


def test_a_zip_bomb_is_refused_by_what_it_declares(saved):
    zeros = header((1 << 24, 1)) + bytes(8 << 24)
    path = saved(npz(features=zeros, targets=npy(np.ones(1))), "bomb.npz")
    refused(tables.read_samples, path, "it looks like a zip bomb")
    refused(lambda path: tables.read_samples(path, max_bytes=1000000), path, "more than max_bytes=1000000")


def test_a_flipped_bit_is_noticed(saved):
    content = bytearray(npz(kind=zipfile.ZIP_STORED))
    content[content.index(np.float64(5.0).tobytes())] ^= 1
    refused(tables.read_samples, saved(bytes(content), "a.npz"), "Bad CRC-32")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_a_damaged_archive_is_read_or_refused_but_never_worse(tmp_path, changes, packed):
    content = bytearray(npz(kind=zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED))
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path / "a.npz"
    path.write_bytes(bytes(content))
    try:
        features, targets = tables.read_samples(path)
    except CojaxInputError as error:
        assert str(error).startswith(str(path))
    else:
        assert (features.shape, targets.shape) == ((2, 3), (2,))


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.pt", "a.joblib", "a.pkl.bz2", "A.PT"])
def test_files_that_could_run_code_are_refused_by_name(saved, name):
    refused(tables.read_samples, saved(b"", name), "could run code when opened: save the arrays with numpy.savez")


@pytest.mark.parametrize("name", ["target", "Target", "TARGET", " target "])
def test_the_column_target_is_learned_whatever_its_capitals_and_place(saved, name):
    features, targets = tables.read_samples(saved(f"f1,f2,{name},note\n0.1,0.2,1,7\n0.3,0.4,0,8\n", "s.csv"))
    np.testing.assert_array_equal(features, [[0.1, 0.2, 7], [0.3, 0.4, 8]])
    np.testing.assert_array_equal(targets, [1, 0])


def test_what_is_learned_is_not_guessed(saved):
    refused(
        tables.read_samples, saved("Label,f1\n1,2\n", "a.csv"), ":1 has the column 'Label', but the last one, 'f1',"
    )
    refused(tables.read_samples, saved("target,Target\n1,2\n", "b.csv"), ":1 names the column 'target' twice")
    assert tables.read_samples(saved("f1,Label\n2,1\n", "c.csv"))[1].tolist() == [1]
    assert tables.read_samples(saved("y,target\n2,1\n", "d.csv"))[1].tolist() == [1]


@pytest.mark.parametrize(("name", "got"), [("a.txt", ".txt"), ("a", "none")])
def test_other_suffixes_are_refused_by_name(saved, name, got):
    refused(tables.read_samples, saved("", name), f"needs the suffix .csv, .libsvm, .svm, .bz2 or .npz, got {got}")
