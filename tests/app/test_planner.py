"""A planner at the command line: which cost, flat prices, firm bounds, regions, budgets by the hour, what-if, units."""

import json
import re

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import linprog
from support.spreadsheets import rows

from cojax import CojaxInputError
from cojax.app.cases import cases
from cojax.app.cli import main
from cojax.app.plans import plans
from cojax.app.results import hours, lengths
from cojax.data import quantities

NODES = """
[nodes]
names = ["Oslo", "Bergen", "Tromso", "Narvik"]
capacity = [40.0, 25.0, 10.0, 20.0]
"""
REST = """
[cpu]
budget = 45.0
[graph]
name = "ring"
"""
PRICES = np.array([3.0, 1.0, 2.0, 5.0])
FLAT = NODES + f"price = {PRICES.tolist()}\n" + REST


def written(folder, text, name="plan.toml"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flat")
    out = folder / "out"
    assert (
        main(["plan", str(written(folder, FLAT + '[units]\ncpu = "kilo-cores"\nmoney = "EUR"\n')), "--out", str(out)])
        == 0
    )
    return out


def test_flat_prices_end_at_the_optimum_of_a_linear_program(flat):
    best = linprog(PRICES, A_eq=np.ones((1, 4)), b_eq=[45.0], bounds=list(zip([0] * 4, [40, 25, 10, 20], strict=True)))
    np.testing.assert_allclose([float(row["share"]) for row in rows(flat / "allocation.csv")], best.x, atol=1e-9)
    judged = json.loads((flat / "certificate.json").read_text())
    assert judged["certified"] and judged["cost"]["exact"] == pytest.approx(best.fun)
    assert judged["worth"]["budget_plus_1"] == pytest.approx(3.0)
    # Bounds in the run are as stiff as they may be beside prices that hardly grow.
    assert judged["soft_bounds"]["overload_percent"] < 3


def test_units_are_printed_where_numbers_are(flat, tmp_path, capsys):
    page = (flat / "report.html").read_text(encoding="utf-8")
    assert "45 kilo-cores" in page and "EUR" in page and "CPU units" not in page
    main(["plan", str(flat / "plan.toml"), "--out", str(tmp_path / "again")])
    said = capsys.readouterr().out
    assert "3 EUR for one more unit of budget" in said and "of a share: price, price x + curvature x^2 / 2" in said


def test_where_columns_fit_several_costs_the_plan_has_to_say_which(tmp_path, capsys):
    both = NODES + "price = [3.0, 1.0, 2.0, 5.0]\ndemand = [30.0, 10.0, 8.0, 1.0]\n" + REST
    path = written(tmp_path, both)
    with pytest.raises(CojaxInputError, match=r'cost = "deviation" for .* cost = "price" for') as caught:
        cases.build_case(plans.read_plan(path))
    assert "\n" not in str(caught.value)
    chosen = cases.build_case(plans.read_plan(path, ["cpu.cost=deviation"]))
    said = "The cost of a share is deviation, (x - demand)^2 / (2 capacity); columns that it does not use: price."
    assert said in chosen.wiring.notes


@pytest.mark.parametrize("demand", [(36.0, 10.0, 9.0, 1.0), (10.0, 30.0, 9.0, 1.0)])
def test_soft_bounds_give_way_by_a_hundredth_where_that_is_not_too_stiff(tmp_path, demand):
    text = NODES + f"demand = {list(demand)}\nupper = [38.0, 20.0, 8.0, 20.0]\n" + REST
    assert main(["plan", str(written(tmp_path, text)), "--out", str(tmp_path / "out")]) == 0
    judged = json.loads((tmp_path / "out" / "certificate.json").read_text())
    stiffest = cases.build_case(plans.read_plan(tmp_path / "plan.toml")).plan.penalty.weight
    assert judged["soft_bounds"]["overload_percent"] <= 1.01 or stiffest == pytest.approx(cases.STIFFEST / 10.0)


def test_soft_bounds_of_a_share_that_is_fixed_give_way_by_a_hundredth(tmp_path):
    """The others, 3 units short over capacities of 85, save 3 / 85 by one unit more, Tromso, 3 short over 10, 0.3."""
    text = NODES + "demand = [30.0, 10.0, 6.0, 5.0]\nlower = [0.0, 0.0, 3.0, 0.0]\nupper = [40.0, 25.0, 3.0, 20.0]\n"
    assert main(["plan", str(written(tmp_path, text + REST)), "--out", str(tmp_path / "out")]) == 0
    found = {row["node"]: float(row["run_share"]) for row in rows(tmp_path / "out" / "allocation.csv")}
    weight = cases.build_case(plans.read_plan(tmp_path / "plan.toml")).plan.penalty.weight
    assert weight == pytest.approx((0.3 - 3 / 85) / (2 * 0.01 * 3.0)) and weight < 50 / 10
    assert 0.009 < found["Tromso"] / 3.0 - 1.0 < 0.0101


def test_against_finds_names_again_that_a_spreadsheet_would_run(tmp_path):
    named = FLAT.replace('"Oslo"', '"=Oslo"').replace('"Bergen"', '"-Bergen"').replace('"Narvik"', '"\'Narvik"')
    path, out = written(tmp_path, named), tmp_path / "out"
    assert main(["plan", str(path), "--out", str(out)]) == 0
    assert main(["plan", str(path), "--against", str(out), "--out", str(tmp_path / "again")]) == 0
    found = rows(tmp_path / "again" / "against.csv")
    assert {row["node"] for row in found} == {"'=Oslo", "'-Bergen", "Tromso", "'Narvik"}
    assert all(float(row["moved"]) == 0 and row["bound_before"] == row["bound_now"] for row in found)


@pytest.mark.parametrize("steps", [1, 10])
def test_a_message_of_one_price_is_64_bits_however_few_steps_there_are(tmp_path, capsys, steps):
    """By hand: one number of float64 before the first step, and one after each of them."""
    text = f"steps = {steps}\n{NODES}demand = [30.0, 10.0, 6.0, 5.0]\n{REST}"
    main(["plan", str(written(tmp_path, text)), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert f"told           64 bits a message by a node to each neighbour, {8 * (steps + 1)} B in the run" in said


def test_set_changes_keys_and_against_says_what_moved(flat, tmp_path, capsys):
    out = tmp_path / "more"
    changed = ["cpu.budget=50", "title=More cores", "nodes.capacity=[40, 25, 10, 22]"]
    assert main(["plan", str(flat / "plan.toml"), "--set", *changed, "--against", str(flat), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "More cores" in said and f"Against {flat}, in kilo-cores" in said
    # Five more units at 3 each, all of them at Oslo.
    moved = {row["node"]: float(row["moved"]) for row in rows(out / "against.csv")}
    assert moved == pytest.approx({"Oslo": 5.0, "Bergen": 0.0, "Tromso": 0.0, "Narvik": 0.0}, abs=1e-9)
    assert "cost           75 before, 90 now: +15 EUR, +20 %" in said and "still          3 of 4 nodes" in said
    assert plans.read_plan(out / "plan.toml").cpu.budget == 50.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("cpu.budget", "--set needs KEY=VALUE"),
        ("=3", "--set needs KEY=VALUE"),
        ("title.x=3", "title is no table of the plan"),
        ("cpu.budgets=3", "unknown field `budgets`"),
        ("cpu.budget=plenty", "Expected `float`, got `str`"),
        ("cpu.budget=inf", "finite numbers, got inf at $.cpu.budget"),
    ],
)
def test_a_change_with_a_mistake_is_one_sentence(tmp_path, change, said):
    path = written(
        tmp_path, FLAT.replace('name = "ring"', 'name = "ring"\n[link]\nname = "ideal"') + 'title = "x"\n' * 0
    )
    text = 'title = "x"\n' + path.read_text()
    path.write_text(text)
    with pytest.raises(CojaxInputError) as caught:
        plans.read_plan(path, [change])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_price_of_nothing_is_nothing_and_no_gap(flat, tmp_path, capsys):
    free = FLAT.replace(f"price = {PRICES.tolist()}", "price = [0.0, 1.0, 2.0, 5.0]")
    free = free.replace("budget = 45.0", "budget = 30.0")
    assert main(["plan", str(written(tmp_path, free)), "--out", str(tmp_path / "free")]) == 0
    main(["plan", str(flat / "plan.toml"), "--against", str(tmp_path / "free"), "--out", str(tmp_path / "out")])
    assert "price          0 before, 3 now: +3 EUR\n" in capsys.readouterr().out


def test_what_no_plan_wrote_is_nothing_to_compare_with(flat, tmp_path, capsys):
    (tmp_path / "allocation.csv").write_text("node,share\na,1\n")
    (tmp_path / "certificate.json").write_text("{}")
    assert main(["plan", str(flat / "plan.toml"), "--against", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "--against needs a folder that `cojax plan` wrote" in capsys.readouterr().err


SERIES = """hour,south,north,spare,budget
2024-01-01T00:00,10,20,1,40
2024-01-01T01:00,12,5,1,60
2024-01-01T02:00,11,9,1,45
"""
TABLE = "node,capacity,curvature,region\nOslo,40,0.1,north\nBergen,25,0.2,north\nRome,20,0.1,south\n"
HOURLY = '[nodes]\nfile = "nodes.csv"\n[cpu]\nbudget = 45.0\n[graph]\nname = "ring"\n[hours]\nfile = "prices.csv"\n'


def hourly(folder, series=SERIES, table=TABLE):
    (folder / "prices.csv").write_text(series)
    (folder / "nodes.csv").write_text(table)
    return hours.hourly(plans.read_plan(written(folder, HOURLY)))


def test_regions_name_the_columns_of_prices_and_a_column_budget_the_totals(tmp_path):
    found = hourly(tmp_path)
    np.testing.assert_array_equal(found.prices, [[20, 20, 10], [5, 5, 12], [9, 9, 11]])
    np.testing.assert_allclose(found.solved.cpu.sum(1), [40, 60, 45], rtol=1e-12)
    assert found.solved.certified.all()
    # By hand: the third hour has 9 + 0.1 a = 9 + 0.2 b = 11 + 0.1 c and a + b + c = 45.
    equations = np.array([[0.1, -0.2, 0.0], [0.1, 0.0, -0.1], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(found.solved.cpu[2], np.linalg.solve(equations, [0.0, 2.0, 45.0]), rtol=1e-9)
    assert any("budget of every line is the column budget" in note for note in found.notes)
    assert any("no node uses: spare" in note for note in found.notes)


def test_a_budget_that_does_not_fit_names_its_hour(tmp_path):
    with pytest.raises(CojaxInputError, match=r"No plan is possible in 2024-01-01T01:00: the budget 600 is 515 more"):
        hourly(tmp_path, SERIES.replace("1,60", "1,600"))
    with pytest.raises(CojaxInputError, match="needs a printable name for region"):
        hourly(tmp_path, table=TABLE.replace(",south", ","))


def clock(first, count, back=None, ahead=None):
    """Labels of `count` hours by a clock that is set back, or ahead, after line `back` or `ahead`."""
    from datetime import datetime, timedelta

    time, labels = datetime.fromisoformat(first), []
    for row in range(count):
        labels.append(time.strftime("%Y-%m-%d %H:%M"))
        time += timedelta(hours=1 + (row == ahead) - (row == back))
    return labels


def test_a_day_of_25_hours_counts_25_and_one_of_23_counts_23():
    autumn = lengths.lengths(clock("2024-10-27 00:00", 25, back=2))
    assert autumn.hours.sum() == 25 and "set back at '2024-10-27 02:00'" in autumn.notes[0]
    np.testing.assert_array_equal(autumn.begins, np.arange(25.0))
    assert lengths.lengths(clock("2024-03-31 00:00", 23, ahead=1)).hours.sum() == 23
    shuffled = lengths.lengths(["2024-01-01 00:00", "2024-01-01 02:00", "2024-01-01 01:00"])
    assert shuffled.begins is None and "not in order" in shuffled.notes[0]
    twice = lengths.lengths(clock("2024-10-27 00:00", 25, back=2) + clock("2024-10-28 00:00", 25, back=2))
    assert twice.begins is None, "a clock is not set back on two days"


def test_a_series_may_show_an_hour_twice_in_autumn_and_nowhere_else(tmp_path):
    labels = clock("2024-10-27 00:00", 25, back=2)
    series = "hour,north,south\n" + "".join(f"{label},{row},{row + 1}\n" for row, label in enumerate(labels))
    found = hourly(tmp_path, series)
    assert len(found.labels) == 25 and found.lengths.sum() == 25
    with pytest.raises(CojaxInputError, match="repeats the label '2024-10-27 00:00'"):
        hourly(tmp_path, series + "2024-10-27 00:00,1,2\n")


def test_hours_have_a_page_with_a_row_a_day_and_axes_of_dates(tmp_path, capsys):
    labels = clock("2024-02-27 12:00", 24 * 5)
    draw = np.random.default_rng(0).uniform(1, 30, (len(labels), 2))
    (tmp_path / "prices.csv").write_text(
        "hour,north,south\n" + "".join(f"{label},{a},{b}\n" for label, (a, b) in zip(labels, draw, strict=True))
    )
    (tmp_path / "nodes.csv").write_text(TABLE)
    path = written(tmp_path, HOURLY + '[units]\ncpu = "racks"\nmoney = "NOK"\n')
    assert main(["plan", str(path), "--hours", "--out", str(tmp_path / "out")]) == 0
    days = rows(tmp_path / "out" / "days.csv")
    dates = [f"2024-02-{day}" for day in (27, 28, 29)] + [f"2024-03-0{day}" for day in (1, 2, 3)]
    assert [row["day"] for row in days] == dates
    assert [float(row["hours"]) for row in days] == [12, 24, 24, 24, 24, 12]
    per_hour = [float(row["cost"]) for row in rows(tmp_path / "out" / "hours.csv")]
    assert float(days[0]["cost"]) == pytest.approx(sum(per_hour[:12]))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Certified: every hour" in page and "Shares are in racks, costs in NOK" in page and "<script" not in page
    assert page.count("<svg ") == 3 and "2024-02-29" in page


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("node\tcapacity\tdemand\nA\t10\t5\n", ":1 separates columns by tabs: save it with commas."),
        ("sep=;\nnode;capacity;demand\nA;1;2\n", ":1 separates columns by semicolons: save it with commas."),
        ("node,capacity,demand\nA,-54,5\nB,80,5\n", "The node 'A' needs capacity >= 0, got -54."),
        ("node,capcity,demand\nA,54,5\n", "longitude, region; did you mean 'capacity'?"),
        ('node,capacity,demand\nA,"10,5",5\n', ":2 needs a number for capacity, got '10,5': write it like 12.5"),
        ("node,capacity,demand\nA,,5\n", ":2 needs a number for capacity, got an empty cell: fill it in."),
    ],
)
def test_a_table_with_a_usual_mistake_says_what_to_do(tmp_path, table, said):
    (tmp_path / "nodes.csv").write_text(table)
    with pytest.raises(CojaxInputError) as caught:
        cases.build_case(plans.read_plan(written(tmp_path, HOURLY)))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ("hour;north;south\n1;2;3\n", ":1 separates columns by semicolons"),
        ("hour\tnorth\tsouth\n1\t2\t3\n", ":1 separates columns by tabs"),
        ("hour,region,price\n1,north,2\n1,south,3\n", "table.pivot(index='hour', columns='region', values='price')"),
        ("hour,north,south\n1,2,\n", ":2 needs a number for south, got an empty cell: fill it in."),
    ],
)
def test_a_series_with_a_usual_mistake_says_what_to_do(tmp_path, series, said):
    with pytest.raises(CojaxInputError) as caught:
        hourly(tmp_path, series)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_rows_of_commas_below_a_table_are_no_rows(tmp_path):
    found = hourly(tmp_path, "hour,north,south\n1,2,3\n,,\n , ,\n", TABLE + ",,,\n")
    assert found.labels == ("1",) and len(found.names) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("budget = 45.0", "budgett = 45.0", "the keys there are budget, cost; did you mean 'budget'?"),
        ('name = "ring"', 'name = "rign"', "got 'rign'; did you mean 'ring'?"),
    ],
)
def test_a_word_that_is_almost_right_is_asked_for(tmp_path, old, new, said):
    with pytest.raises(CojaxInputError) as caught:
        cases.build_case(plans.read_plan(written(tmp_path, FLAT.replace(old, new))))
    assert str(caught.value).endswith(said)


SITES = """
[nodes]
names = ["Oslo", "Bergen", "Tromso", "Narvik"]
capacity = [40.0, 25.0, 10.0, 20.0]
demand = [30.0, 10.0, 8.0, 5.0]
lower = [1.0, 1.0, 1.0, 1.0]
work = [900.0, 400.0, 500.0, 300.0]
[cpu]
budget = 45.0
cost = "deviation"
[graph]
file = "links.csv"
[clock]
latency = "12 ms"
speed = 100.0
barrier = "all"
"""
LINKS = """source,target,bandwidth
Oslo,Bergen,10 Gbit/s
Bergen,Tromso,100 Mbit/s
Tromso,Narvik,1 Gbit/s
Narvik,Oslo,20 bit/s
"""


def test_links_that_are_slower_back_are_refused_where_there_is_a_clock(tmp_path):
    """The clock of a plan has one latency for both ways: that of the last arrow in the file was taken for both."""
    text = SITES.replace("links.csv", "links.graphml").replace('latency = "12 ms"\n', "")
    path = written(tmp_path, text)
    arrows = nx.DiGraph(nx.cycle_graph(["Oslo", "Bergen", "Tromso", "Narvik"]).to_directed())
    nx.set_edge_attributes(arrows, "10 ms", "latency")
    arrows.edges["Bergen", "Oslo"]["latency"] = "0.01 s"  # as long
    nx.write_graphml(arrows, tmp_path / "links.graphml")
    links = cases.build_case(plans.read_plan(path)).wiring.links
    assert [links[pair]["latency"] in ("10 ms", "0.01 s") for pair in links] == [True] * 4
    arrows.edges["Bergen", "Oslo"]["latency"] = "20 ms"
    nx.write_graphml(arrows, tmp_path / "links.graphml")
    with pytest.raises(CojaxInputError, match=r"has the latency 10 ms one way and 20 ms the other, but \[clock\]"):
        cases.build_case(plans.read_plan(path))
    untimed = written(tmp_path, text.replace('[clock]\nspeed = 100.0\nbarrier = "all"\n', ""))
    assert len(cases.build_case(plans.read_plan(untimed)).wiring.pairs) == 4


def test_a_plan_with_a_clock_says_how_long_training_takes_and_what_it_waits_for(tmp_path, capsys):
    (tmp_path / "links.csv").write_text(LINKS)
    assert main(["plan", str(written(tmp_path, SITES)), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    share = np.array([float(row["share"]) for row in rows(tmp_path / "out" / "allocation.csv")])
    judged = json.loads((tmp_path / "out" / "certificate.json").read_text())["training"]
    spent = np.array([900.0, 400.0, 500.0, 300.0]) / (100.0 * share)
    # One price of 64 bits in every round; the slow link is between the first node and the last.
    slow = 0.012 + 64 / 20.0
    period = max(spent[0], spent[3]) + slow
    assert judged["seconds"] == pytest.approx(period * judged["rounds"] + spent.max(), rel=1e-6)
    table = {row["name"]: row for row in rows(tmp_path / "out" / "training.csv")}
    assert float(table["Oslo - Narvik"]["seconds"]) == pytest.approx(slow * judged["rounds"], rel=1e-2)
    per_gigabit = 64 / 20.0 * judged["rounds"]  # all that the bits take
    assert float(table["Oslo - Narvik"]["most_seconds_saved_by_one_more"]) == pytest.approx(per_gigabit, rel=1e-2)
    assert "on the link Oslo - Narvik for" in said and "by the clock, with the shares to use" in said
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "How long the training takes" in page and "training.csv" in page


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("12 ms", "12 msec", r"\$\.clock\.latency has a unit that is not known, 'msec'; known are ns, us"),
        ("12 ms", "a while", r"\$\.clock\.latency needs a number with a unit, such as \"12 ms\", got 'a while'"),
        ("12 ms", "-1 ms", r"\$\.clock\.latency needs a number with a unit"),
        ("speed = 100.0", "work = 3.0", r"\$\.clock\.work and the column work of the nodes say the same twice"),
        ("work = [900.0, 400.0, 500.0, 300.0]", "", r"\$\.clock needs the work of one gradient"),
        (
            "lower = [1.0, 1.0, 1.0, 1.0]",
            "upper = [40.0, 25.0, 10.0, 0.0]",
            "work for the node 'Narvik', whose share is 0",
        ),
        ("speed = 100.0", "speed = 0.0", r"clock.speed"),
    ],
)
def test_a_clock_that_cannot_be_is_refused_before_the_run(tmp_path, capsys, old, new, message):
    (tmp_path / "links.csv").write_text(LINKS)
    assert old in SITES
    plan = written(tmp_path, SITES.replace(old, new))
    for command in ("plan", "compare"):
        assert main([command, str(plan), "--out", str(tmp_path / "out")]) == 2
        assert re.search(message, capsys.readouterr().err)


def test_a_contest_is_told_and_drawn_over_the_seconds_of_a_plans_clock(tmp_path, capsys):
    (tmp_path / "links.csv").write_text(LINKS)
    out = tmp_path / "out"
    sites = "steps = 200\nevery = 10\n" + SITES
    assert main(["plan", str(written(tmp_path, sites)), "--out", str(tmp_path / "plan")]) in (0, 3)
    share = np.array([float(row["share"]) for row in rows(tmp_path / "plan" / "allocation.csv")])
    capsys.readouterr()
    asked = ["compare", str(tmp_path / "plan.toml"), "--out", str(out), "--methods", "Laplacian", "mirror_extra"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "seconds by the clock of the plan" in said and "over steps, over bits and over seconds" in said
    spent = np.array([900.0, 400.0, 500.0, 300.0]) / (100.0 * share)
    for row in rows(out / "share.csv"):
        per_step = 1000 * float(row["kbit to 1e-2"]) / int(row["steps to 1e-2"])  # bits, near enough
        period = max(spent[0], spent[3]) + 0.012 + per_step / 20.0
        assert float(row["s to 1e-2"]) == pytest.approx(period * int(row["steps to 1e-2"]) + spent.max(), rel=0.02)
    assert (out / "share-over-seconds.png").stat().st_size > 5000
    untimed = sites.replace("[clock]", "").replace('latency = "12 ms"\nspeed = 100.0\nbarrier = "all"', "")
    written(tmp_path, untimed)
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "clock" not in said and said.rstrip().endswith("pictures over steps and over bits.")
    assert sorted(path.name for path in out.iterdir()) == ["share-over-bits.png", "share-over-step.png", "share.csv"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("10 Gb", "links.csv:2, in the column bandwidth, has a unit"),
        ("0", "needs more than 0"),
        ("x", "needs a number"),
    ],
)
def test_a_link_table_names_the_line_of_a_bandwidth_that_it_cannot_read(tmp_path, capsys, cell, message):
    (tmp_path / "links.csv").write_text(LINKS.replace("10 Gbit/s", cell))
    assert main(["plan", str(written(tmp_path, SITES)), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_times_and_bandwidths_are_read_in_every_unit():
    for text, wanted in (
        ("12 ms", 0.012),
        ("1.5h", 5400.0),
        ("3 us", 3e-6),
        ("2 min", 120.0),
        (0.25, 0.25),
        ("7s", 7.0),
    ):
        assert quantities.seconds(text, "x") == pytest.approx(wanted, rel=1e-12)
    for text, wanted in (("10 Gbit/s", 1e10), ("1 MB/s", 8e6), ("10 Gbps", 1e10), ("64 bit/s", 64.0), (5.0, 5.0)):
        assert quantities.bits_per_second(text, "x") == pytest.approx(wanted, rel=1e-12)


MEMORY = """
[resources.memory]
budget = 100.0
unit = "GB"
[resources.memory.nodes]
names = ["Oslo", "Bergen", "Tromso", "Narvik"]
price = [3.0, 1.0, 2.0, 5.0]
upper = [40.0, 50.0, 30.0, 90.0]
"""


def test_another_resource_is_shared_out_by_itself_into_a_folder_of_its_own(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["plan", str(written(tmp_path, FLAT + MEMORY)), "--out", str(out)]) == 0
    bounds = [(0, 40), (0, 50), (0, 30), (0, 90)]
    best = linprog(PRICES, A_eq=np.ones((1, 4)), b_eq=[100.0], bounds=bounds)
    shares = [float(row["share"]) for row in rows(out / "memory" / "allocation.csv")]
    np.testing.assert_allclose(shares, best.x, atol=1e-9)
    own = linprog(PRICES, A_eq=np.ones((1, 4)), b_eq=[45.0], bounds=list(zip([0] * 4, [40, 25, 10, 20], strict=True)))
    np.testing.assert_allclose([float(row["share"]) for row in rows(out / "allocation.csv")], own.x, atol=1e-9)
    assert "GB" in (out / "memory" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    changed = ["--set", "resources.memory.budget=90", "--against", str(out), "--out", str(tmp_path / "again")]
    assert main(["plan", str(out / "plan.toml"), *changed]) == 0  # the plan that was written has it all
    fewer = linprog(PRICES, A_eq=np.ones((1, 4)), b_eq=[90.0], bounds=bounds)
    shares = [float(row["share"]) for row in rows(tmp_path / "again" / "memory" / "allocation.csv")]
    np.testing.assert_allclose(shares, fewer.x, atol=1e-9)
    assert (tmp_path / "again" / "memory" / "against.csv").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Narvik", "Alta", r"\$\.resources\.memory: it needs the nodes of the plan, .* these differ: Alta, Narvik"),
        ("budget = 100.0", "budget = 1000.0", r"\$\.resources\.memory: No plan is possible"),
        ("resources.memory", 'resources."../memory"', r"\$\.resources needs names of letters, digits, - and _"),
    ],
)
def test_a_resource_that_does_not_fit_is_refused_before_the_first_run(tmp_path, capsys, old, new, message):
    text = FLAT + MEMORY.replace(old, new)
    assert main(["plan", str(written(tmp_path, text)), "--out", str(tmp_path / "out")]) in (2, 4)
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out" / "allocation.csv").exists()


def test_the_work_of_a_queue_is_not_that_of_a_gradient(tmp_path, capsys):
    (tmp_path / "links.csv").write_text(LINKS)
    delay = SITES.replace('cost = "deviation"', 'cost = "delay"')
    assert main(["plan", str(written(tmp_path, delay)), "--out", str(tmp_path / "out")]) == 2
    assert "$.clock needs the work of one gradient: give $.clock.work." in capsys.readouterr().err
    inferred = SITES.replace('cost = "deviation"', "")
    case = cases.build_case(plans.read_plan(written(tmp_path, inferred)))
    assert case.plan.cpu.cost == "deviation" and case.centres.pace["work"][0] == 900.0


@pytest.mark.parametrize(("steps", "every"), [(1001, 91), (50, 1), (300, 10), (10_000, 100), (1_000_003, 100)])
def test_a_plan_is_looked_at_as_often_as_its_steps_allow(steps, every):
    assert plans.default_every(steps) == every


def test_hours_of_another_resource_have_a_folder_of_their_own(tmp_path, capsys):
    stamps = [f"2024-03-01T{hour:02d}:00" for hour in range(6)]
    own, other = ([[1.0 + k + shift, 1.0, 2.0, 5.0] for k in range(6)] for shift in (0, 3))
    for name, table in (("prices.csv", own), ("memory.csv", other)):
        lines = [",".join([stamp, *map(str, row)]) for stamp, row in zip(stamps, table, strict=True)]
        (tmp_path / name).write_text("\n".join(["time,Oslo,Bergen,Tromso,Narvik", *lines]))
    text = FLAT + '[hours]\nfile = "prices.csv"\n' + MEMORY + '[resources.memory.hours]\nfile = "memory.csv"\n'
    names = 'names = ["Oslo", "Bergen", "Tromso", "Narvik"]'
    text += f"[resources.disk]\nbudget = 1.0\nnodes = {{ {names}, price = [1.0, 1.0, 1.0, 1.0] }}\n"
    assert main(["plan", str(written(tmp_path, text)), "--hours", "--out", str(tmp_path / "out")]) == 0
    assert "$.resources.disk has no hours, and is left out" in capsys.readouterr().err
    for folder, table, budget, upper in (
        (tmp_path / "out", own, 45.0, [40, 25, 10, 20]),
        (tmp_path / "out" / "memory", other, 100.0, [40, 50, 30, 90]),
    ):
        bounds = [(0, top) for top in upper]
        wanted = [linprog(row, A_eq=np.ones((1, 4)), b_eq=[budget], bounds=bounds).fun for row in table]
        np.testing.assert_allclose([float(row["cost"]) for row in rows(folder / "hours.csv")], wanted, rtol=1e-9)
