"""A planner at the command line: which cost, flat prices, firm bounds, regions, budgets by the hour, what-if, units."""

import csv
import json

import numpy as np
import pytest
from scipy.optimize import linprog

from cojax import CojaxInputError
from cojax.app.cases import cases
from cojax.app.cli import main
from cojax.app.plans import plans
from cojax.app.results import hours

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


def rows(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


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
