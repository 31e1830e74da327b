"""Answers of other solvers, judged: right ones pass, wrong ones lose what another computation says, where it says."""

import dataclasses
import json
import re

import numpy as np
import pytest
from scipy import optimize
from support.interior_point import program
from support.spreadsheets import rows

from cojax.app.cases import cases
from cojax.app.cli import main
from cojax.app.plans import plans
from cojax.app.reports import report, verdicts
from cojax.app.results.check import check as judge

NAMES = ("Oslo", "=Bergen", "Tromso", "Narvik")
DEMAND, CAPACITY = np.array([30.0, 10.0, 8.0, 1.0]), np.array([40.0, 25.0, 10.0, 5.0])
LOWER, UPPER = np.array([0.0, 0.0, 0.0, 2.0]), np.array([40.0, 25.0, 7.0, 5.0])
BUDGET = 45.0
PLAN = """
title = "Four sites"
[nodes]
names = ["Oslo", "=Bergen", "Tromso", "Narvik"]
capacity = [40.0, 25.0, 10.0, 5.0]
demand = [30.0, 10.0, 8.0, 1.0]
lower = [0.0, 0.0, 0.0, 2.0]
upper = [40.0, 25.0, 7.0, 5.0]
[cpu]
budget = 45.0
[units]
cpu = "kilo-cores"
money = "EUR"
[graph]
name = "ring"
"""


def costs(shares):
    return (shares - DEMAND) ** 2 / (2 * CAPACITY)


@pytest.fixture(scope="module")
def best():
    """The optimum by Clarabel: Tromso stands on its upper bound, Narvik on its lower."""
    found = program(np.diag(1 / CAPACITY), -DEMAND / CAPACITY, BUDGET, LOWER, UPPER)
    assert abs(found.shares[2] - UPPER[2]) < 1e-6 and abs(found.shares[3] - LOWER[3]) < 1e-6
    return found


@pytest.fixture
def check(tmp_path, capsys):
    """`cojax check` of shares, or of the text of a file, with what it prints and writes."""

    def run(answer, *arguments, plan=PLAN, header="node,share"):
        (tmp_path / "plan.toml").write_text(plan)
        if not isinstance(answer, str):
            lines = [f"{name},{share!r}" for name, share in zip(NAMES, map(float, answer), strict=True)]
            answer = "\n".join([header, *reversed(lines)]) + "\n"
        (tmp_path / "answer.csv").write_text(answer)
        out = tmp_path / "out"
        paths = [str(tmp_path / name) for name in ("plan.toml", "answer.csv")]
        code = main(["check", *paths, "--out", str(out), *arguments])
        printed = capsys.readouterr()
        if not (out / "check.json").exists():
            return code, printed, None, None
        return code, printed, json.loads((out / "check.json").read_text()), rows(out / "check.csv")

    return run


def by_name(table, column):
    """A column in the order of the plan; names are defused in the file."""
    found = {row["node"].removeprefix("'"): float(row[column]) for row in table}
    return np.array([found[name] for name in NAMES])


def test_the_optimum_of_an_interior_point_solver_is_certified(check, best):
    code, printed, judged, table = check(best.shares, "--tolerance", "1e-6")
    assert code == 0 and "CERTIFIED" in printed.out and "NOT CERTIFIED" not in printed.out
    assert judged["certified"] and judged["lost"] < 1e-9
    np.testing.assert_allclose(judged["price"]["optimum"], best.prices[0], atol=1e-8)  # the solver's own precision
    np.testing.assert_allclose(judged["price"]["answer"], best.prices[0], atol=1e-6)
    np.testing.assert_allclose(by_name(table, "best_share"), best.shares, atol=1e-6)


def test_an_answer_of_scipy_is_certified_to_its_own_precision(check):
    found = optimize.minimize(
        lambda shares: costs(shares).sum(),
        np.full(4, BUDGET / 4),
        jac=lambda shares: (shares - DEMAND) / CAPACITY,
        bounds=list(zip(LOWER, UPPER, strict=True)),
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - BUDGET, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    assert check(found.x)[0] == 0


def test_a_unit_moved_between_two_nodes_loses_what_its_cost_says_at_both(check, best):
    moved = best.shares + np.array([-1.0, 1.0, 0.0, 0.0])
    code, printed, judged, table = check(moved)
    assert code == 3 and "NOT CERTIFIED: the spread of the marginal costs" in printed.out
    wanted = costs(moved) - costs(best.shares) - best.prices[0] * (moved - best.shares)
    np.testing.assert_allclose(by_name(table, "lost"), wanted, atol=1e-6)
    np.testing.assert_allclose(judged["lost"], costs(moved).sum() - costs(best.shares).sum(), rtol=1e-6)
    np.testing.assert_allclose(judged["cost"]["answer"] - judged["cost"]["optimum"], judged["lost"], rtol=1e-6)
    np.testing.assert_allclose(by_name(table, "marginal_cost"), (moved - DEMAND) / CAPACITY, rtol=1e-12)
    assert judged["answer"]["gap"] >= judged["lost"] * (1 - 1e-12)  # proved is at least what is so, to a rounding
    lost = [float(row["lost"]) for row in table]
    assert lost == sorted(lost, reverse=True)
    assert [row["node"] for row in table][:2] == ["'=Bergen", "Oslo"]  # 1 / 50 and 1 / 80 of a euro
    assert "EUR in all" in printed.out and "kilo-cores" in printed.out


def test_shares_off_the_budget_are_told_by_how_much(check, best):
    code, printed, judged, _ = check(best.shares + np.array([0.5, 0.0, 0.0, 0.0]))
    assert code == 3 and "+0.5 kilo-cores off the budget of 45" in printed.out
    assert "the total is 1.1e-02 of its size" in printed.out and "bought or sold at the price" in printed.out
    np.testing.assert_allclose(judged["off_budget"], 0.5, rtol=1e-6)


def test_shares_beyond_bounds_are_named_with_their_bound(check, best):
    code, printed, judged, table = check(best.shares + np.array([0.0, 0.5, 0.25, -0.75]))
    assert code == 3
    assert "Narvik is 0.75 kilo-cores below its lower bound of 2" in printed.out
    assert "Tromso is 0.25 kilo-cores above its upper bound of 7" in printed.out
    np.testing.assert_allclose(by_name(table, "beyond"), [0, 0, 0.25, 0.75], atol=1e-6)
    np.testing.assert_allclose(judged["largest_beyond"], 0.75, rtol=1e-6)
    assert (by_name(table, "lost") >= 0).all()  # what breaking a bound saves is no gain
    far = np.array([10.0, 28.0, 5.0, 2.0])
    at = np.clip(far, LOWER, UPPER)
    wanted = costs(at) - costs(best.shares) - best.prices[0] * (at - best.shares)
    np.testing.assert_allclose(by_name(check(far)[3], "lost"), wanted, atol=1e-6)


def test_a_share_that_may_not_be_touched_loses_nothing_and_the_others_all(check):
    """Linear costs: every unit at the dear node loses the difference of the two prices."""
    plan = """
[nodes]
names = ["a", "b", "c"]
price = [1.0, 2.0, 5.0]
capacity = [10.0, 10.0, 10.0]
[cpu]
budget = 12.0
cost = "price"
[graph]
name = "ring"
"""
    code, _, judged, table = check("node,share\na,10\nb,0\nc,2\n", plan=plan)
    assert code == 3 and table[0]["node"] == "c"
    np.testing.assert_allclose([float(row["lost"]) for row in table], [6.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose([judged["cost"]["answer"], judged["cost"]["optimum"]], [20.0, 14.0])
    assert check("node,share\na,10\nb,2\nc,0\n", plan=plan)[0] == 0


def test_a_share_of_nothing_where_work_waits_loses_without_end(check):
    plan = '[nodes]\nnames = ["a", "b"]\nwork = [4.0, 1.0]\n[cpu]\nbudget = 3.0\n[graph]\nname = "path"\n'
    code, printed, judged, _ = check("node,share\na,3\nb,0\n", plan=plan)
    assert code == 3 and judged["lost"] is None and "inf" in printed.out
    # sqrt(work) is what shares are in proportion to.
    assert check("node,share\na,2\nb,1\n", plan=plan)[0] == 0


MEMORY = """
[resources.memory]
budget = 8.0
unit = "TB"
[resources.memory.nodes]
names = ["Oslo", "=Bergen", "Tromso", "Narvik"]
price = [3.0, 2.0, 1.0, 4.0]
curvature = [1.0, 1.0, 1.0, 1.0]
"""


def test_the_tables_that_a_plan_writes_are_taken_as_they_are(tmp_path, capsys, monkeypatch):
    """Names that look like formulas are defused in them. The run is too short, which the column share does not mind."""
    monkeypatch.setattr(
        report, "write_report", lambda folder, outcome: folder / "report.html"
    )  # takes most of the time
    plan, out = tmp_path / "plan.toml", tmp_path / "result"
    plan.write_text("steps = 100\n" + PLAN + MEMORY)
    main(["plan", str(plan), "--out", str(out)])
    capsys.readouterr()
    for each in (plan, out / "plan.toml"):
        assert main(["check", str(each), str(out / "allocation.csv"), "--tolerance", "1e-9"]) == 0
        assert "memory, are not judged" in capsys.readouterr().err
    memory = str(out / "memory" / "allocation.csv")
    assert main(["check", str(plan), memory, "--resource", "memory", "--tolerance", "1e-9"]) == 0
    assert "in TB" in capsys.readouterr().out
    assert main(["check", str(plan), memory, "--resource", "memoir"]) == 2
    assert "did you mean 'memory'?" in capsys.readouterr().err


def test_a_model_has_no_part_in_what_is_judged(check, best):
    code, printed, judged, _ = check(best.shares, plan=PLAN + '[data]\nfile = "none.csv"\n[model]\nname = "logistic"\n')
    assert code == 0 and "model          not judged" in printed.out
    assert judged["answer"]["consensus"] == judged["answer"]["gradient"] == 0


def test_an_optimum_that_is_not_certified_itself_is_said_to_be_none(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    stated = cases.state_shares(plans.read_plan(tmp_path / "plan.toml"))
    checked = judge(stated, np.array([27.0, 9.0, 7.0, 2.0]), 1e-4)
    assert "optimum  " not in verdicts.text(checked, tmp_path)
    lost = dataclasses.replace(checked, best_certificate={"worst": np.nan})
    assert "the best shares are themselves off by nan of their size" in verdicts.text(lost, tmp_path)


def test_two_columns_need_no_names_of_ours(check, best):
    assert check(best.shares, header="Generator,2024-01-01 00:00")[0] == 0
    assert check(best.shares, header="Node,Share [kilo-cores]")[0] == 0
    swapped = "share,site\n" + "".join(
        f"{float(share)!r},{name}\n" for name, share in zip(NAMES, best.shares, strict=True)
    )
    assert check(swapped)[0] == 0


GOOD = "node,share\nOslo,27\n=Bergen,9\nTromso,7\nNarvik,2\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Oslo,27\n", "", r"answer.csv has no line for 'Oslo' in the column 'node'"),
        ("Oslo,27", "Oslo,27\nOslo,27", r"answer.csv:3 repeats the node 'Oslo' of .*answer.csv:2 in the column 'node'"),
        ("Oslo", "Olso", r"answer.csv:2 names the node 'Olso' in the column 'node', .*; did you mean 'Oslo'\?"),
        ("Oslo,27", "Oslo,nan", r"answer.csv:2 needs a finite number for the column 'share', got 'nan'"),
        ("Oslo,27", "Oslo,", r"answer.csv:2 needs a number for the column 'share', got an empty cell"),
        ("Oslo,27", "Oslo,27 kilo-cores", r"answer.csv:2 needs a number for the column 'share', got '27 kilo-cores'"),
        ("Oslo,27", 'Oslo,"27,0"', r"answer.csv:2 needs a number for the column 'share', got '27,0'"),
        ("Oslo,27", "Oslo,1e60", r"answer.csv:2 needs a share of at most 1e\+50 in the column 'share'"),
        ("Oslo,27", "Oslo,1e999", r"answer.csv:2 needs a finite number for the column 'share', .* overflows"),
        ("Oslo,27", "Oslo,27,3", r"answer.csv:2 has 3 cells"),
        ("share", "share [MW]", r"answer.csv:1 has shares in 'MW' in the column 'share \[MW\]', .* in 'kilo-cores'"),
        (
            GOOD,
            "node,share,Share [kilo-cores]\nOslo,27,1\n",
            r"answer.csv:1 has the columns 'share' and 'Share .*which one",
        ),
        ("node,share", "node;share", r"answer.csv:1 separates columns by semicolons"),
        ("node,share", "name,share,price", r"answer.csv:1 needs a column node and a column share"),
        ("node,share", "hour,Oslo,Bergen", r"answer.csv:1 has the column 'hour': these are shares by the hour"),
        ("node,share", ",0", r"answer.csv:1 has no name for column 1"),
        (GOOD, "", r"answer.csv is empty"),
        (
            GOOD,
            "node,share\nOslo,27000\n=Bergen,9000\nTromso,7000\nNarvik,2000\n",
            r"answer.csv has shares that sum to 45000 in the column 'share', 1000 times the budget of 45 kilo-cores",
        ),
        (
            GOOD,
            "node,share\nOslo,.6\n=Bergen,.2\nTromso,.15\nNarvik,.05\n",
            r"answer.csv has shares that sum to 1 in the column 'share', .* they look like another unit",
        ),
    ],
)
def test_an_answer_that_cannot_be_judged_is_one_sentence(check, old, new, said):
    assert old in GOOD
    code, printed, judged, _ = check(GOOD.replace(old, new, 1))
    assert code == 2 and printed.out == "" and judged is None
    assert printed.err.startswith("cojax: ") and printed.err.count("\n") == 1
    assert re.search(said, printed.err), printed.err


@pytest.mark.parametrize(
    ("arguments", "plan", "code", "said"),
    [
        (["--tolerance", "0"], PLAN, 2, "needs --tolerance > 0, got 0"),
        (["--tolerance", "nan"], PLAN, 2, "needs --tolerance > 0, got nan"),
        (["--resource", "memory"], PLAN, 2, "which has none, got 'memory'"),
        ([], PLAN.replace("budget = 45.0", "budget = 450.0"), 4, "No plan is possible"),
        ([], PLAN.replace("budget", "budgte"), 2, "did you mean 'budget'?"),
    ],
)
def test_what_cannot_be_judged_by_is_one_sentence(check, arguments, plan, code, said):
    found, printed, judged, _ = check(GOOD, *arguments, plan=plan)
    assert found == code and judged is None and printed.out == ""
    assert said in printed.err and printed.err.count("\n") == 1


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    (tmp_path / "plan.toml").write_text(PLAN)
    assert main(["check", str(tmp_path / "plan.toml"), str(tmp_path / "none.csv")]) == 2
    assert "none.csv is not a file" in capsys.readouterr().err


def test_the_tolerance_of_the_plan_holds_unless_another_is_asked_for(check, best):
    near = best.shares + np.array([1e-3, -1e-3, 0.0, 0.0])
    assert check(near)[0] == 0  # 1e-4 by default
    assert check(near, "--tolerance", "1e-6")[0] == 3
    assert check(near, plan="tolerance = 1e-6\n" + PLAN)[0] == 3


def test_a_graph_is_read_only_for_the_names_that_a_plan_lacks(check):
    assert check(GOOD, plan=PLAN.replace('name = "ring"', 'file = "nowhere.csv"'))[0] == 3
    unnamed = PLAN.replace('names = ["Oslo", "=Bergen", "Tromso", "Narvik"]\n', "")
    assert check("node,share\n3,2\n2,7\n1,9\n0,27\n", plan=unnamed)[0] == 3
