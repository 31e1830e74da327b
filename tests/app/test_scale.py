"""The command `cojax scale`: what it measures, leaves out, writes and refuses."""

import json

import numpy as np
import pytest
from support.spreadsheets import rows

from cojax.app.cli import main
from cojax.app.results import scale


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One short study and its folder, over graphs so small that little is compiled."""
    folder = tmp_path_factory.mktemp("scale") / "out"
    sizes, kinds = ["--sizes", "12", "24"], ["--layouts", "neighbors", "--links", "float"]
    code = main(["scale", *sizes, *kinds, "--degree", "4", "--features", "3", "--out", str(folder)])
    return code, folder


def rows_of(folder):
    return rows(folder / "scale.csv")


def test_every_size_has_a_row_with_a_time_and_an_exact_total(ran):
    code, folder = ran
    rows = rows_of(folder)
    assert code == 0 and [row["nodes"] for row in rows] == ["12", "24"]
    for row in rows:
        assert 0 < float(row["step_seconds"]) < 1 and float(row["imbalance"]) == 0.0


def test_the_json_has_the_same_rows_and_the_machine(ran):
    content = json.loads((ran[1] / "scale.json").read_text())
    assert [str(row["step_seconds"]) for row in content["rows"]] == [row["step_seconds"] for row in rows_of(ran[1])]
    assert content["machine"]["device"].startswith("cpu") and content["left_out"] == []


def test_the_picture_is_a_png(ran):
    for name in ("scale.png", "parts.png"):
        assert (ran[1] / name).read_bytes().startswith(b"\x89PNG")


def test_whole_runs_are_certified_and_their_parts_are_told_apart(ran):
    whole = json.loads((ran[1] / "scale.json").read_text())["whole"]
    assert [row["nodes"] for row in whole] == [12, 24] and [row["edges"] for row in whole] == [24, 48]
    for row in whole:
        assert row["status"] == "CONVERGED" and row["off"] <= 1e-3 and row["steps"] % 50 == 0
        assert row["compile_seconds"] > 0 and min(row["build_seconds"], row["tune_seconds"], row["run_seconds"]) >= 0


def test_rings_are_edges_once_and_give_every_node_about_its_degree():
    pairs = scale.rings(50, 6)
    assert (pairs[0] < pairs[1]).all() and len({tuple(pair) for pair in pairs.T}) == pairs.shape[1]
    degree = np.bincount(pairs.ravel(), minlength=50)
    assert degree.max() <= 6 and degree.min() >= 2


def test_nothing_new_begins_when_the_time_is_over_and_the_table_says_so():
    times = iter([0.0, 61.0, 62.0, 63.0, 64.0])
    found = scale.study([20, 40], ["neighbors"], ["ideal"], clock=lambda: next(times))
    left_out = [(size, kind, "ideal") for size in (20, 40) for kind in ("neighbors",)]
    assert found == scale.Study([], [(20, "from nothing", "default"), (40, "from nothing", "default"), *left_out], [])


def test_matrices_have_no_row_beyond_3000_nodes():
    found = scale.study([4_000], ["dense"], ["ideal"], degree=4, features=2)
    assert found.rows == [] and found.left_out == []


def test_the_growth_of_time_is_its_slope_in_logarithms():
    rows = [scale.Row(nodes, "neighbors", "ideal", 0, 0.0, 3e-9 * nodes**1.5, 0.0) for nodes in (100, 1_000, 10_000)]
    # Logarithms in float64.
    assert scale.growth(rows) == pytest.approx(1.5, abs=1e-12)
    said = scale.text(scale.Study(rows, [(100_000, "edges", "log")], []))
    assert "n^1.50 from 100 to 10000 nodes" in said and "100000 edges log" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--layouts", "circulant"], "--layouts takes some of auto, dense, neighbors, split, edges, got circulant."),
        (["--links", "wire"], "--links takes some of ideal, log, float, got wire."),
        (["--sizes", "5"], "cojax scale needs a whole number every number of --sizes >= 11, got 5."),
        (["--seconds", "nan"], "cojax scale needs --seconds > 0, got nan."),
        (["--degree", "3"], "--degree needs an even number from 2, two for each random ring, got 3."),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(options, sentence, tmp_path, capsys):
    assert main(["scale", *options, "--out", str(tmp_path / "out")]) == 2
    assert f"cojax: {sentence}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
