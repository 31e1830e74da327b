"""A plan for every hour: as an interior-point solver prices it, certified, and readable by a spreadsheet."""

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.interior_point import program
from support.spreadsheets import rows

from cojax import CojaxInputError, tables
from cojax.app.cli import main
from cojax.app.plans import plans
from cojax.app.reports import hourly_files
from cojax.app.results import hours, lengths, sheets

PRICES = Path(__file__).parents[3] / "shared" / "data" / "prices_usd_per_mwh_2024_hourly_22regions.csv"
NAMES = ("Oslo", "=Bergen", "Tromso")
CAPACITY, CURVATURE, PUE = np.array([40.0, 25.0, 10.0]), np.array([2.0, 4.0, 8.0]), np.array([1.5, 1.25, 1.0])
PLAN = """
[nodes]
names = ["Oslo", "=Bergen", "Tromso"]
capacity = [40.0, 25.0, 10.0]
curvature = [2.0, 4.0, 8.0]
pue = [1.5, 1.25, 1.0]
[cpu]
budget = 45.0
[graph]
name = "ring"
[hours]
file = "prices.csv"
"""


def written(folder, prices, plan=PLAN, names=NAMES):
    with (folder / "prices.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["hour", "Elsewhere", *reversed(names)])
        writer.writerows([f"h{k}", 1.0, *reversed(row)] for k, row in enumerate(prices))
    path = folder / "plan.toml"
    path.write_text(plan)
    return path


@pytest.fixture(scope="module")
def prices():
    """Two days of prices that go below zero and spike."""
    random = np.random.default_rng(0)
    prices = random.normal(50, 60, (48, 3))
    prices[[5, 17], [0, 2]] = 15_637.0
    prices[11] = -364.0
    return prices


@pytest.fixture(scope="module")
def ran(tmp_path_factory, prices):
    folder = tmp_path_factory.mktemp("hours")
    assert main(["plan", str(written(folder, prices)), "--hours", "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_every_hour_is_that_of_an_interior_point_solver_with_its_price_and_rents(ran, prices):
    found, shares = rows(ran / "hours.csv"), rows(ran / "shares.csv")
    for row, own, price in zip(found, shares, prices * PUE, strict=True):
        best = program(np.diag(CURVATURE), price, 45.0, np.zeros(3), CAPACITY)
        scale = 1e-7 * max(1.0, np.abs(price).max())  # the interior-point solver's own precision
        np.testing.assert_allclose([float(value) for value in list(own.values())[1:]], best.shares, atol=1e-6)
        np.testing.assert_allclose(float(row["price"]), best.prices[0], atol=scale)
        np.testing.assert_allclose(float(row["upper_rents"]), best.capacity_rents.sum(), atol=scale)
        np.testing.assert_allclose(
            float(row["cost"]), price @ best.shares + CURVATURE @ best.shares**2 / 2, atol=100 * scale
        )


def test_every_hour_is_certified_and_the_summary_says_so(ran):
    assert {row["certified"] for row in rows(ran / "hours.csv")} == {"True"}
    summary = json.loads((ran / "hours.json").read_text())
    assert summary["certified"] == summary["hours"] == 48


def test_one_allocation_for_all_hours_is_never_cheaper(ran):
    for row in rows(ran / "hours.csv"):
        assert float(row["fixed_allocation_cost"]) >= float(row["cost"]) * (1 - 1e-12)  # rounding


def test_a_name_that_looks_like_a_formula_is_text_in_every_table(ran):
    assert "'=Bergen" in (ran / "shares.csv").read_text().splitlines()[0]
    assert [row["node"] for row in rows(ran / "nodes.csv")][1] == "'=Bergen"


@pytest.mark.parametrize(
    ("cell", "kept"), [("=1+1", "'=1+1"), (" @SUM", "' @SUM"), ("-x", "'-x"), ("Köln", "Köln"), (-1.5, -1.5)]
)
def test_only_names_are_defused(cell, kept):
    assert sheets.defuse(cell) == kept


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('[hours]\nfile = "prices.csv"', "", "add \\[hours\\]"),
        ('"Tromso"', '"Narvik"', "no column for 'Narvik'"),
        ("budget = 45.0", 'budget = 45.0\ncost = "deviation"', "to be price, got deviation"),
        ("names = [", "# names = [", "needs the names of the nodes"),
        ("budget = 45.0", "budget = 80.0", "No plan is possible"),
    ],
)
def test_a_plan_without_hours_to_solve_is_one_sentence(tmp_path, old, new, said):
    assert old in PLAN
    path = written(tmp_path, np.ones((2, 3)), PLAN.replace(old, new))
    with pytest.raises(CojaxInputError, match=said) as caught:
        hours.hourly(plans.read_plan(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hour\n1\n", "at least one of numbers"),
        ("hour,a\n", "no lines of numbers"),
        ("hour,a\nx,1\nx,2\n", "repeats the label 'x'"),
        ("hour,a\n,1\n", "printable label"),
        ("hour,a\nx,nan\n", "finite number for a"),
        ("hour,a,a\nx,1,2\n", "names the column 'a' twice"),
    ],
)
def test_a_series_with_a_mistake_is_refused_at_its_line(tmp_path, text, said):
    (tmp_path / "series.csv").write_text(text)
    with pytest.raises(CojaxInputError, match=said):
        tables.read_series(tmp_path / "series.csv")


@pytest.mark.skipif(not PRICES.exists(), reason="needs ../shared/data")
def test_a_year_of_22_regions_is_certified_hour_by_hour_and_a_sample_is_that_of_an_interior_point_solver(tmp_path):
    names = PRICES.open().readline().strip().split(",")[1:]
    capacity = np.linspace(20, 120, 22).round()
    curvature = 30 / capacity
    table = ["node,capacity,curvature", *(f"{n},{c},{s}" for n, c, s in zip(names, capacity, curvature, strict=True))]
    (tmp_path / "nodes.csv").write_text("\n".join(table) + "\n")
    plan = plans.Plan(
        nodes=plans.NodesTable(file=str(tmp_path / "nodes.csv")),
        cpu=plans.Cpu(budget=900.0),
        graph=plans.GraphTable(name="ring"),
        hours=plans.Hours(str(PRICES)),
    )
    found = hours.hourly(plan)
    assert found.prices.shape == (8784, 22)
    assert found.prices.min() < -300 and found.prices.max() > 15_000, "the data lost its spikes"
    assert found.solved.certified.all(), hourly_files.text(found)
    spikes = np.argsort(found.prices.max(1))[-5:]
    for hour in [*spikes, *np.argsort(found.prices.min(1))[:5], *range(0, 8784, 900)]:
        best = program(np.diag(curvature), found.prices[hour], 900.0, np.zeros(22), capacity)
        # What the interior-point solver reaches beside prices of up to 15 000.
        np.testing.assert_allclose(found.solved.cpu[hour], best.shares, atol=1e-4)
        np.testing.assert_allclose(found.solved.more.budget[hour], best.prices[0], atol=1e-3)
        np.testing.assert_allclose(-found.solved.more.upper[hour], best.capacity_rents, atol=1e-3)


def stamps(minutes):
    begin = datetime(2025, 9, 30)
    return [(begin + timedelta(minutes=int(minute))).isoformat(" ", "minutes") for minute in minutes]


@pytest.mark.parametrize(
    ("labels", "held"),
    [
        (stamps([0, 60, 75, 90, 105]), [1, 0.25, 0.25, 0.25, 0.25]),
        (stamps([0, 15, 30, 45, 60, 120, 180]), [0.25, 0.25, 0.25, 0.25, 1, 1, 1]),
        (stamps([0, 60, 180, 240]), [1, 1, 1, 1]),  # an hour is missing
        (stamps([0, 1440, 2880]), [24, 24, 24]),
        (["2025-03-30T01:00+01:00", "2025-03-30T03:00+02:00", "2025-03-30T04:00+02:00"], [1, 1, 1]),
        (["01.10.2025 00:00 - 01.10.2025 00:15", "01.10.2025 00:15 - 01.10.2025 00:30"], [0.25, 0.25]),
        (["31/12/2025 23:30", "01/01/2026 00:00"], [0.5, 0.5]),
        (["12/31/2025 23:30", "01/01/2026 00:00"], [0.5, 0.5]),
        (["00:00", "00:30", "01:00"], [0.5, 0.5, 0.5]),
        (["2025/10/01 9:45:00", "2025/10/01 10:00:00"], [0.25, 0.25]),
        (["2025-10-01 9:45", "2025-10-01 10:00"], [0.25, 0.25]),
        (["2025-10-01T09:45Z", "2025-10-01T10:00Z"], [0.25, 0.25]),
        (["1759312800", "1759314600"], [0.5, 0.5]),
        (["1759312800000", "1759314600000"], [0.5, 0.5]),
        (["1759312800000000000", "1759314600000000000"], [0.5, 0.5]),
        ([f"20240101{hour:02}" for hour in range(24)] + ["2024010200"], [1] * 25),
        ([f"20240101{hour:02}" for hour in range(1, 25)] + ["2024010201"], [1] * 25),  # hours by their ends
        (["2024022800", "2024022900", "2024030100"], [24, 24, 24]),
        (["202401010000", "202401010015", "202401010030"], [0.25, 0.25, 0.25]),
        (["20240101000000", "20240101003000"], [0.5, 0.5]),
        (["20240101", "20240102"], [24, 24]),
        (["2024010100 - 2024010101", "2024010101 - 2024010102"], [1, 1]),
        (["01.01.2024", "02.01.2024"], [24, 24]),
        (["13/01/2024", "14/01/2024"], [24, 24]),
        (["1/13/2024", "1/14/2024"], [24, 24]),
        (["0", "1", "2"], [1, 1, 1]),
        (["2025-10-01 00:00/2025-10-01 00:05", "2025-10-01 00:05/2025-10-01 00:10"], [5 / 60, 5 / 60]),
        (["h0", "h1"], [1, 1]),
        (["2025-10-01"], [1]),
    ],
)
def test_a_line_holds_until_the_next_begins(labels, held):
    found = lengths.lengths(labels)
    assert found.hours.tolist() == held
    assert any("weighs a line by its length" in note for note in found.notes) == (set(held) != {1})
    assert all("\n" not in note for note in found.notes)


def series(begin, form, step, count):
    return [(begin + k * step).strftime(form) for k in range(count)]


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTHS = [datetime(2024, month, 1) for month in range(1, 13)]


@pytest.mark.parametrize("clock", ["", " %H:%M", " %H:%M:%S"])
@pytest.mark.parametrize("day", ["%d/%m/%Y", "%m/%d/%Y"])
def test_the_day_is_first_or_the_month_by_which_the_lines_are_even(clock, day):
    """Every begin is that of the datetimes that the labels were written from."""
    cases = [(datetime(2024, 1, 1), DAY, 5), (datetime(2024, 3, 1), DAY, 12), (datetime(2024, 2, 10), DAY, 30)]
    cases += [(datetime(2024, 5, 1), HOUR, 72), (datetime(2024, 1, 1), HOUR / 4, 500)] if clock else []
    for begin, step, count in cases:
        found = lengths.lengths(series(begin, day + clock, step, count))
        assert found.hours.sum() == count * step / HOUR and found.times[0] == begin, (begin, step, count)
        said = [note for note in found.notes if "leave no doubt" in note]
        # A note only where the lines would be of another length.
        assert bool(said) == (step == DAY and count <= 12)


def test_a_day_that_is_a_month_as_well_is_told():
    for labels, total, said in (
        (["01/01/2024 00:00", "01/02/2024 00:00"], 2 * 31 * 24, "are read day first, as 2024-02-01, and could be read"),
        (["01/02/2024"], 1, "are read day first, as 2024-02-01, and could be read month first, as 2024-01-02"),
        (series(datetime(2024, 2, 1), "%d/%m/%Y %H:%M", HOUR, 24), 24, "read month first, as 2024-01-02"),
        # Twelve months, or twelve days of January: those are even.
        ([month.strftime("%d/%m/%Y") for month in MONTHS], 12 * 24, "are read month first, as 2024-01-02, and could"),
    ):
        found = lengths.lengths(labels)
        assert found.hours.sum() == total
        assert said in found.notes[0] and found.notes[0].endswith("write 2024-02-01 to leave no doubt.")
    for labels in (series(datetime(2024, 5, 5), "%d/%m/%Y %H:%M", HOUR, 24), ["05.01.2024", "06.01.2024"]):
        assert not any("doubt" in note for note in lengths.lengths(labels).notes)


@pytest.mark.parametrize(
    "labels",
    [
        [f"20240101{quarter:02}" for quarter in range(1, 97)],  # quarters of a day by number
        ["2024013200", "2024013201"],
        ["202401019900", "202401019901"],
        ["1759312800", "1759312801"],  # no market has prices by the second
        ["99999999", "100000000"],
    ],
)
def test_numbers_that_are_no_times_are_said_and_no_seconds(labels):
    found = lengths.lengths(labels)
    assert (found.hours == 1).all() and "every line is counted as one hour" in found.notes[0] and found.begins is None


def test_an_hour_that_a_compact_label_shows_twice_is_counted_twice(tmp_path):
    labels = ["2024102701", "2024102702", "2024102702", "2024102703"]
    (tmp_path / "prices.csv").write_text("time,a\n" + "".join(f"{label},1\n" for label in labels))
    found = lengths.lengths(tables.read_series(tmp_path / "prices.csv").labels)
    assert found.hours.tolist() == [1, 1, 1, 1] and "set back at '2024102702'" in found.notes[0]


def test_holes_and_labels_that_are_no_times_are_said():
    assert "after 1 labels, such as '2025-09-30 01:00'" in lengths.lengths(stamps([0, 60, 180, 240])).notes[0]
    for labels in (["1:00 pm", "2:00 pm"], stamps([60, 0])):
        found = lengths.lengths(labels)
        assert found.hours.tolist() == [1, 1] and "every line is counted as one hour" in found.notes[0]


@pytest.mark.parametrize(
    "begins",
    [
        [datetime(2023 + month // 12, month % 12 + 1, 1) for month in range(24)],
        [datetime(2024, 1, day, hour) for day in range(1, 15) for hour in (6, 22)],  # a price by day, one by night
        [datetime(2024, 1, day, hour) for day in range(1, 8) for hour in (0, 6, 22)],
        [datetime(2024, 1, day, hour) for day in range(1, 8) for hour in (0, 7, 11, 17, 21)],
    ],
)
def test_lines_that_are_long_by_turns_are_no_holes(begins):
    """By the differences of the datetimes that the labels were written from."""
    found = lengths.lengths([f"{begin:%Y-%m-%d %H:%M}" for begin in begins])
    held = np.diff(begins) / HOUR
    assert found.hours.tolist() == [*held, held[-1]]
    assert not any("missing" in note for note in found.notes)


@pytest.mark.parametrize("step", [HOUR, HOUR / 4, HOUR / 12])
def test_lines_that_are_missing_now_and_then_are_holes_at_every_such_place(step):
    there = [row for row in range(240) if row not in (7, 50, 51, 100)]
    found = lengths.lengths([f"{datetime(2024, 1, 1) + row * step:%Y-%m-%d %H:%M}" for row in there])
    np.testing.assert_allclose(found.hours, step / HOUR, rtol=1e-9)
    assert "missing after 3 labels" in found.notes[0]


@pytest.mark.parametrize("as_label", [lambda time: f"{time:%Y-%m-%d %H:%M}", lambda time: time.isoformat()])
@pytest.mark.parametrize("first", ["2024-03-30", "2024-10-26"])
def test_days_are_those_of_the_labels_where_clocks_change(tmp_path, first, as_label):
    """By the calendar of pandas: a day of 23 hours in spring, one of 25 in autumn, and none that no label names."""
    times = pd.date_range(first, periods=73, freq="h", tz="Europe/Oslo")
    prices = np.random.default_rng(0).normal(size=(73, 3))
    path = written(tmp_path, prices)
    series = pd.read_csv(tmp_path / "prices.csv").assign(hour=[as_label(time) for time in times])
    series.to_csv(tmp_path / "prices.csv", index=False)
    assert main(["plan", str(path), "--hours", "--out", str(tmp_path / "out")]) == 0
    of_hours = pd.read_csv(tmp_path / "out" / "hours.csv").assign(day=times.strftime("%Y-%m-%d"))
    whole = of_hours.groupby("day").agg(hours=("length", "sum"), cost=("cost", "sum"))
    of_days = pd.read_csv(tmp_path / "out" / "days.csv").set_index("day")
    assert of_days.hours.tolist() == whole.hours.tolist() and of_days.index.tolist() == whole.index.tolist()
    np.testing.assert_allclose(of_days.cost, whole.cost, rtol=1e-12)


@settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_an_hour_cut_into_quarters_costs_what_the_hour_costs(tmp_path, data):
    # The last line holds as long as the one before. Few shapes: each is compiled.
    parts = [*data.draw(st.permutations([1, 1, 2, 4]), label="parts of each hour"), 2, 2]
    hourly = np.array(
        data.draw(st.lists(st.lists(st.integers(-50, 400), min_size=3, max_size=3), min_size=6, max_size=6))
    )
    minutes = [60 * hour + 60 * part // count for hour, count in enumerate(parts) for part in range(count)]
    table = {"whole": (stamps(range(0, 360, 60)), hourly), "cut": (stamps(minutes), np.repeat(hourly, parts, axis=0))}
    found = {}
    for name, (labels, prices) in table.items():
        body = "".join(f"{label},{','.join(map(str, row))}\n" for label, row in zip(labels, prices, strict=True))
        (tmp_path / "prices.csv").write_text("time,Oslo,=Bergen,Tromso\n" + body)
        (tmp_path / "plan.toml").write_text(PLAN)
        found[name] = hours.hourly(plans.read_plan(tmp_path / "plan.toml"))
    holes = [note for note in found["cut"].notes if "missing" in note]
    if holes:  # one coarse hour among finer ones looks like one
        return
    whole, cut = (hourly_files._summary(one) for one in found.values())
    assert whole["hours"] == cut["hours"] == 6
    for key in ("cost", "fixed_allocation_cost"):
        assert cut[key] == pytest.approx(whole[key], rel=1e-9, abs=1e-6)
    columns = [hourly_files.node_columns(one) for one in found.values()]
    for key in list(columns[0])[1:]:
        np.testing.assert_allclose(columns[1][key], columns[0][key], rtol=1e-9, atol=1e-6)


def test_ranges_of_the_clock_are_read_by_their_first_times_and_zones_are_no_ranges():
    """As power exchanges write quarters of an hour; a zone of five hours looks like the end of a range."""
    quarters = [f"{k // 4:02}:{k % 4 * 15:02}-{(k + 1) // 4:02}:{(k + 1) % 4 * 15:02}" for k in range(8)]
    assert (lengths.lengths(quarters).hours == 0.25).all()
    assert (lengths.lengths([f"2024-01-01 0{k}:00-0{k + 1}:00" for k in range(4)]).hours == 1).all()
    zones = [f"2024-01-01 {k:02}:00-05:00" for k in (0, 2, 4)]
    assert (lengths.lengths(zones).hours == 2).all()


@pytest.mark.parametrize("until", ["-", " - ", "\u2013", " \u2014 ", "/", " to "])
@pytest.mark.parametrize("dot", [":", "."])
@pytest.mark.parametrize("day", ["", "2024-01-01 "])
def test_ranges_are_read_however_they_are_written_and_past_midnight(until, dot, day):
    def clock(quarter):
        return f"{quarter // 4 % 24:02}{dot}{quarter % 4 * 15:02}"

    labels = [f"{day}{clock(k)}{until}{clock(k + 1)}" for k in range(*((84, 96) if day else (92, 100)))]
    assert (lengths.lengths(labels).hours == 0.25).all()


@pytest.mark.parametrize("labels", [["0000-0015", "0015-0030"], ["9.00", "9.15"], ["1:00 pm", "2:00 pm"]])
def test_labels_that_look_like_times_and_are_not_read_are_said(labels):
    found = lengths.lengths(labels)
    assert found.hours.tolist() == [1, 1] and "no times that can be read" in found.notes[0]


def test_labels_in_which_nothing_looks_like_a_time_need_no_note():
    for labels in (["h0", "h1"], ["0", "1"], ["summer-1", "summer-2"], ["A", "B"]):
        assert lengths.lengths(labels).notes == []
