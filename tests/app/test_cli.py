"""The command: what it prints, writes, refuses and returns. One short demo is run once and shared by most tests."""

import json
import os
import re
import signal
import sys
import tomllib
from fractions import Fraction
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support import laws, spreadsheets

from cojax.app import cli
from cojax.app.cases import cases
from cojax.app.cli import main
from cojax.app.help_texts import EXAMPLE
from cojax.app.plans import demo
from cojax.app.reports import summaries
from cojax.app.results import contest, hours, runs, scale
from cojax.runs import pieces

STEPS = 8000  # enough for a tolerance of 1e-4


class Ran:
    def __init__(self, code, out, err, folder):
        self.code, self.out, self.err, self.folder = code, out, err, folder

    def rows(self, name):
        return spreadsheets.rows(self.folder / name)

    def column(self, name, key):
        return [float(row[key]) for row in self.rows(name)]

    def judgement(self):
        return json.loads((self.folder / "certificate.json").read_text())


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """`cojax ARGUMENTS --out FOLDER`, in this process, with what it printed."""
    count = iter(range(100))

    def run(*arguments, folder=None):
        folder = tmp_path_factory.mktemp("cli") / f"run{next(count)}" if folder is None else folder
        with pytest.MonkeyPatch.context() as patch:
            out, err = Lines(), Lines()
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = main([*map(str, arguments), "--out", str(folder)])
        return Ran(code, str(out), str(err), folder)

    return run


class Lines:
    """A stream that is no terminal and keeps what it is told."""

    def __init__(self):
        self.parts = []

    def write(self, text):
        self.parts.append(text)

    def flush(self):
        pass

    def isatty(self):
        return False

    def __str__(self):
        return "".join(self.parts)


@pytest.fixture(scope="module")
def shown(command):
    return command("demo", "--steps", STEPS)


def refused(ran, code=2):
    """The one sentence on stderr."""
    assert ran.code == code and ran.out == "" and not ran.folder.exists()
    assert ran.err.startswith("cojax: ") and ran.err.count("\n") == 1
    return ran.err


def changed(shown, folder, *pairs):
    """The demo's plan with some text replaced."""
    text = (shown.folder / "plan.toml").read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def test_the_demo_is_certified_and_says_so(shown):
    assert shown.code == 0 and shown.err == ""
    assert "CERTIFIED" in shown.out and "NOT CERTIFIED" not in shown.out
    assert all(name in shown.out for name in demo.CENTRES)
    assert "found centrally" in shown.out and "held-out samples" in shown.out


def test_the_demo_writes_all_it_promises(shown):
    names = {path.name for path in shown.folder.iterdir()}
    assert names >= {"report.html", "allocation.csv", "worth.csv", "certificate.json", "trace.csv", "plan.toml"}
    pictures = [path for path in shown.folder.iterdir() if path.suffix == ".png"]
    assert len(pictures) >= 3
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert "<html" in (shown.folder / "report.html").read_text(encoding="utf-8")
    tomllib.loads((shown.folder / "plan.toml").read_text())


def test_the_run_shares_out_the_budget_to_the_last_bit_at_every_step(shown):
    assert set(shown.column("trace.csv", "imbalance")) == {0.0}
    assert sum(map(Fraction, shown.column("allocation.csv", "run_share"))) == Fraction(demo.BUDGET)
    assert shown.judgement()["largest_imbalance"] == 0.0


def test_the_share_to_use_is_within_its_bounds_and_optimal_beside_an_independent_solver(shown):
    from scipy.optimize import brentq

    share, lower, upper, capacity, wanted = (
        np.array(shown.column("allocation.csv", key)) for key in ("share", "lower", "upper", "capacity", "demand")
    )
    assert (share >= lower).all() and (share <= upper).all()
    # The optimum of sum (x - d)^2 / (2 k): every x is d + k price, clipped, at the price that meets the budget.
    price = brentq(lambda p: np.clip(wanted + capacity * p, lower, upper).sum() - demo.BUDGET, -1, 1, xtol=1e-15)
    # Shares of 70 at a price found to 1e-15.
    np.testing.assert_allclose(share, np.clip(wanted + capacity * price, lower, upper), atol=1e-11)
    assert abs(shown.judgement()["price"] - price) < 1e-12
    assert [row["at_bound"] for row in shown.rows("allocation.csv")].count("upper") == 4


def test_what_one_more_unit_is_worth_is_the_difference_of_two_exact_plans(shown):
    """Quadratic costs without their bounds' neighbourhood left: differences are exact to second order."""
    capacity, demand = (np.array(column) for column in zip(*demo.CENTRES.values(), strict=True))
    lower, upper = demo.LEAST_LOAD * capacity, demo.MOST_LOAD * capacity

    def least(budget, demand, lower, upper):
        low, high = -10.0, 10.0
        for _ in range(200):
            price = (low + high) / 2
            cpu = np.clip(demand + capacity * price, lower, upper)
            low, high = (price, high) if cpu.sum() < budget else (low, price)
        return ((cpu - demand) ** 2 / (2 * capacity)).sum()

    def slope(**moves):
        ends = [
            least(
                demo.BUDGET + sign * moves.get("budget", 0.0),
                demand + sign * moves.get("demand", 0.0),
                lower + sign * moves.get("lower", 0.0),
                upper + sign * moves.get("upper", 0.0),
            )
            for sign in (1, -1)
        ]
        return (ends[0] - ends[1]) / 2e-4

    worth = shown.judgement()["worth"]
    # Differences over 2e-4 of numbers near 4.
    np.testing.assert_allclose(worth["budget_plus_1"], slope(budget=1e-4), atol=1e-9)
    for key, move, sign in (
        ("upper_plus_1", "upper", 1),
        ("lower_minus_1", "lower", -1),
        ("demand_plus_1", "demand", 1),
    ):
        expected = [sign * slope(**{move: 1e-4 * row}) for row in np.eye(len(capacity))]
        np.testing.assert_allclose(shown.column("worth.csv", key), expected, atol=1e-9)
    np.testing.assert_allclose(sum(shown.column("worth.csv", "part_of_next_unit")), 1.0, rtol=1e-12)


def test_the_reference_is_the_svm_that_scipy_finds_on_the_pooled_samples(shown):
    from scipy.optimize import minimize

    case = cases.build_case(demo.demo_plan(steps=100, seed=0))
    features, targets = case.dataset.features, case.dataset.targets

    def pooled(params):
        margins = 10 * (1 - targets * (features @ params[:-1] - params[-1]))
        slopes = -targets / (1 + np.exp(-margins)) / len(targets)
        gradient = np.append(features.T @ slopes + 0.1 * params[:-1], -slopes.sum())
        return np.logaddexp(0, margins).mean() / 10 + 0.05 * params[:-1] @ params[:-1], gradient

    best = minimize(pooled, np.zeros(31), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    judged = shown.judgement()
    share, capacity, wanted = (np.array(shown.column("allocation.csv", k)) for k in ("share", "capacity", "demand"))
    expected = 14 * best.fun + ((share - wanted) ** 2 / (2 * capacity)).sum()
    # L-BFGS stops at relative changes of 1e-15 of a cost of 4.
    assert abs(judged["cost"]["reference"] - expected) < 1e-9
    scores = case.dataset.test_features @ best.x[:-1] - best.x[-1]
    assert judged["test"]["centralised"] == np.mean(np.where(scores >= 0, 1, -1) == case.dataset.test_targets)


def test_the_exact_share_costs_no_less_than_the_optimum_and_the_certificates_keep_the_tolerance(shown):
    judged = shown.judgement()
    assert judged["cost"]["exact"] >= judged["cost"]["reference"] - 1e-12  # rounding of a sum of 14 costs
    assert judged["certified"] and judged["exact"]["worst"] <= 1e-4 and judged["run"]["worst"] <= 1e-4
    assert judged["exact"]["box"] == 0.0 < judged["largest_overload"] == judged["run_against_hard_bounds"]["box"]


def test_the_written_plan_gives_the_same_numbers_to_the_last_bit(shown, command):
    again = command("plan", shown.folder / "plan.toml")
    assert again.code == 0
    for name in ("allocation.csv", "trace.csv", "plan.toml"):
        assert (again.folder / name).read_bytes() == (shown.folder / name).read_bytes()


def test_too_few_steps_end_uncertified_with_everything_written(shown, command, tmp_path):
    ran = command("plan", changed(shown, tmp_path, (f"steps = {STEPS}", "steps = 100")))
    assert ran.code == 3 and "NOT CERTIFIED" in ran.out
    assert ran.judgement()["certified"] is False and ran.judgement()["exact"]["box"] == 0.0
    assert len(ran.rows("allocation.csv")) == 14


def test_a_diverging_run_is_not_certified_and_its_files_are_still_readable(shown, command, tmp_path):
    text = (shown.folder / "plan.toml").read_text()
    step = next(line for line in text.splitlines() if line.startswith("step_size"))  # the learner's comes first
    ran = command("plan", changed(shown, tmp_path, (step, "step_size = 1e150")))
    assert ran.code == 3
    assert ran.judgement()["status"] == "NOT_FINITE" and ran.judgement()["exact"]["worst"] is None


def test_a_budget_above_all_bounds_ends_with_code_4(shown, command, tmp_path):
    sentence = refused(command("plan", changed(shown, tmp_path, ("budget = 400.0", "budget = 541.0"))), code=4)
    assert "more than all upper bounds" in sentence and "1 more" in sentence


def test_bad_input_is_one_sentence_with_its_path(shown, command, tmp_path):
    assert "at `$.graph`" in refused(command("plan", changed(shown, tmp_path, ("loss = 0.1", "lost = 0.1"))))
    assert "is not a file" in refused(command("plan", tmp_path / "none.toml"))
    assert "`$.steps`" in refused(command("demo", "--steps", "0"))
    assert "memory" in refused(command("plan", changed(shown, tmp_path, ('memory = "edge"', 'memory = "node"'))))


def test_the_example_in_the_help_runs_without_data(command, tmp_path):
    (tmp_path / "three sites.toml").write_text(EXAMPLE)
    ran = command("plan", tmp_path / "three sites.toml")
    assert ran.code == 0 and "Tromso" in ran.out
    assert "samples" not in ran.rows("allocation.csv")[0] and "test" not in ran.judgement()


def test_arguments_that_are_wrong_and_help_end_without_a_run(capsys):
    assert main(["plan"]) == 2 and main(["bogus"]) == 2 and main([]) == 2
    capsys.readouterr()
    for arguments, said in (
        (["--help"], "cojax plan"),
        (["demo", "--help"], "--seed"),
        (["plan", "--help"], "[graph]"),
        (["--version"], "cojax "),
    ):
        assert main(arguments) == 0
        assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("written", "name", "values"),
    [
        ("plan p.toml --set a=1 b=2", "set", ("a=1", "b=2")),
        ("plan p.toml --set a=1 --set b=2", "set", ("a=1", "b=2")),
        ("plan --set a=1 --resume --set=b=2 --out there p.toml", "set", ("a=1", "b=2")),
        ("plan --set a=1 --out there --set b=2 c=3 p.toml", "set", ("a=1", "b=2", "c=3")),
        ("plan --set a=1 --set b=2 -- p.toml", "set", ("a=1", "b=2")),
        ("plan --set a=1 p.toml --set b=2", "set", ("a=1", "b=2")),
        ("compare p.toml --methods DIGing --methods NIDS Laplacian --seeds 3 --methods=Nesterov", "methods", None),
        ("scale --sizes 11 --sizes=12 --sizes 1e2", "sizes", (11, 12, 100.0)),
        ("scale --layouts dense --layouts edges", "layouts", ("dense", "edges")),
        ("scale --links log --degree 4 --links ideal", "links", ("log", "ideal")),
    ],
)
def test_values_of_a_repeated_option_add_up(written, name, values):
    command = cli._parse(written.split())
    assert getattr(command, name) == (("DIGing", "NIDS", "Laplacian", "Nesterov") if values is None else values)
    assert str(getattr(command, "file", "p.toml")) == "p.toml"


def test_a_repeated_option_runs_with_all_that_it_was_given(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    ran = command("plan", plan, "--set", "title=One", "--set", "steps=200")
    kept = tomllib.loads((ran.folder / "plan.toml").read_text())
    assert (kept["title"], kept["steps"]) == ("One", 200)
    both = command("compare", plan, "--methods", "Laplacian", "--methods", "Nesterov")
    assert [row["method"] for row in both.rows("share.csv")] == ["Laplacian", "Nesterov"]


@pytest.mark.parametrize("package", ["tyro", "msgspec", "tomli_w", "tqdm"])
def test_a_missing_extra_says_what_to_install(command, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(("cojax.app.plans", "cojax.app.cases"))]:
        monkeypatch.delitem(sys.modules, name)
    for room in ("plans", "cases"):
        monkeypatch.delattr(sys.modules["cojax.app"], room, raising=False)
    assert f"needs {package}, which is not installed: pip install 'cojax[cli]'." in refused(command("demo"))


def test_all_missing_extras_are_named_at_once(monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    for name in cli.EXTRAS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert cli._what_is_missing("tyro") == (
        "this needs tyro, msgspec, tomli_w, tqdm, matplotlib, jinja2 and sklearn, which are not installed: "
        "pip install 'cojax[cli,plots,data]'."
    )


def test_without_the_extra_for_pictures_the_numbers_are_written(shown, command, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    ran = command("plan", changed(shown, tmp_path, (f"steps = {STEPS}", "steps = 100")))
    assert ran.code == 3 and "cojax[plots]" in ran.err
    assert (ran.folder / "allocation.csv").exists() and not (ran.folder / "report.html").exists()


def test_an_interrupted_run_and_a_folder_that_is_a_file_end_in_a_sentence(
    shown, command, monkeypatch, tmp_path, capsys
):
    (tmp_path / "taken").write_text("")
    path = changed(shown, tmp_path, (f"steps = {STEPS}", "steps = 100"))
    assert main(["plan", str(path), "--out", str(tmp_path / "taken")]) == 2
    assert "cannot be written to" in capsys.readouterr().err

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run", interrupted)
    assert "interrupted" in refused(command("demo"), code=130)


CONTEST = """
steps = 400
every = 40
[nodes]
names = ["a", "b", "c", "d"]
capacity = [4.0, 5.0, 6.0, 7.0]
demand = [1.0, 4.0, 2.0, 3.0]
lower = [0.0, 0.0, 0.0, 0.0]
upper = [9.0, 9.0, 9.0, 9.0]
[cpu]
budget = 12.0
[graph]
name = "ring"
"""


def _interrupting(number, after):
    """`in_pieces` that gets a signal after so many pieces."""
    count = iter(range(1, 1000))

    def in_pieces(*arguments, told, **settings):
        def heard(steps):
            told(steps)
            if next(count) == after:
                os.kill(os.getpid(), number)

        return pieces.in_pieces(*arguments, told=heard, **settings)

    return in_pieces


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_plan_is_saved_and_resumed_to_the_same_bits(command, monkeypatch, tmp_path, number, code):
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(CONTEST)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "in_pieces", _interrupting(number, after=3))
        ran = command("plan", plan, "--resume", folder=out)  # there is nothing to resume yet
    assert ran.code == code and "starts anew" in ran.err
    assert "interrupted after 120 steps: they are saved in" in ran.err and "--resume goes on" in ran.err
    assert [path.name for path in out.iterdir()] == ["checkpoint.npz"]
    resumed, whole = command("plan", plan, "--resume", folder=out), command("plan", plan)
    assert resumed.code == whole.code == 0 and "anew" not in resumed.err
    for name in ("allocation.csv", "trace.csv"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert not (out / "checkpoint.npz").exists()  # it is certified


def test_a_run_that_was_too_short_is_resumed_with_more_steps_and_another_plan_is_refused(command, tmp_path):
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(CONTEST.replace("steps = 400", "steps = 40\ntolerance = 1e-9"))
    assert command("plan", plan, folder=out).code == 3
    plan.write_text(CONTEST.replace("budget = 12.0", "budget = 11.0"))
    ran = command("plan", plan, "--resume", folder=out)
    assert ran.code == 2 and "checkpoint.npz is the checkpoint of another run: problem.budget (12.0 there" in ran.err
    plan.write_text(CONTEST)
    resumed = command("plan", plan, "--resume", folder=out)
    assert resumed.code == 0 and [float(row["step"]) for row in resumed.rows("trace.csv")][:2] == [40.0, 80.0]


def test_a_short_run_is_seen_and_goes_on_with_the_looks_that_it_had(command, tmp_path):
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    given = re.sub("every = .*\n", "", CONTEST)
    plan.write_text(given.replace("steps = 400", "steps = 50\ntolerance = 1e-9"))
    ran = command("plan", plan, folder=out)
    assert ran.code == 3 and [float(row["step"]) for row in ran.rows("trace.csv")] == list(range(1, 51))
    plan.write_text(given)
    resumed = command("plan", plan, "--resume", folder=out)
    assert resumed.code == 0 and len(resumed.rows("trace.csv")) > 50


def test_a_report_of_an_earlier_run_is_said_to_be_one(command, monkeypatch, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert "earlier run" not in command("plan", plan, folder=tmp_path / "out").err
    (tmp_path / "out" / "report.html").write_text("old")
    ran = command("plan", plan, folder=tmp_path / "out")
    assert ran.code == 0 and f"{tmp_path / 'out' / 'report.html'} is of an earlier run." in ran.err


def test_a_checkpoint_that_cannot_be_written_ends_with_code_5_and_all_results(command, monkeypatch, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pieces, "save", full)
    ran = command("plan", plan)
    assert ran.code == 5 and "checkpoint.npz could not be written" in ran.err
    assert (ran.folder / "allocation.csv").exists() and "Traceback" not in ran.err


def test_a_plan_that_begins_anew_keeps_the_checkpoint_that_was_there_and_says_where(command, tmp_path):
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(CONTEST.replace("steps = 400", "steps = 40\ntolerance = 1e-9"))
    assert command("plan", plan, folder=out).code == 3
    first = (out / "checkpoint.npz").read_bytes()
    for number in (1, 2):
        ran = command("plan", plan, folder=out)
        assert ran.code == 3 and f"is kept as {out / f'checkpoint-{number}.npz'}. To go on from it" in ran.err
        assert (out / f"checkpoint-{number}.npz").read_bytes() == first
    (out / "checkpoint-1.npz").replace(out / "checkpoint.npz")
    plan.write_text(CONTEST)
    assert command("plan", plan, "--resume", folder=out).code == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["compare", "--kilobits", "-1"], "cojax compare needs --kilobits >= 0, got -1."),
        (["compare", "--kilobits", "nan"], "cojax compare needs --kilobits >= 0, got nan."),
        (["compare", "--methods", "DIGing"], "DIGing learns a model, and the plan has none to learn: "),
        (
            ["compare", "--methods", "Laplacian"],
            "A run needs 64 GB for the trace of 1000000000 looks",
        ),
        (
            ["compare", "--methods", "equal_utilisation"],
            " GB for equal_utilisation, a rival, which returns",
        ),
        (
            ["plan"],
            "A run needs 64 GB for the trace of 1000000000 looks, more than 4.29: look less often, with every 15 ",
        ),
        (
            ["demo", "--steps", "0"],
            "cojax demo needs a whole number --steps (`$.steps` in its plan) from 1 to 1000000000, got 0.",
        ),
        (
            ["demo", "--seed", "-1"],
            "cojax demo needs a whole number --seed (`$.seed` in its plan) from 0 to 4294967295, got -1.",
        ),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_options_and_limits_are_refused_under_their_own_names_and_units(command, tmp_path, asked, said):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST.replace("steps = 400", "steps = 1000000000").replace("every = 40", "every = 1"))
    ran = command(asked[0], *([plan] if asked[0] != "demo" else []), *asked[1:])
    assert ran.code == 2 and said in ran.err and "bits >= 0" not in ran.err.replace("--kilobits", "")
    assert not ran.folder.exists() or not any(ran.folder.iterdir())


@pytest.mark.parametrize("asked", [["plan"], ["plan", "--hours"], ["compare"], ["demo"], ["scale"]], ids=" ".join)
def test_a_folder_that_cannot_be_written_to_is_found_out_before_anything_is_run(monkeypatch, tmp_path, capsys, asked):
    def started(*_, **__):
        raise AssertionError("nothing is run")

    for part, name in ((runs, "run"), (hours, "hourly"), (contest, "contest"), (scale, "study")):
        monkeypatch.setattr(part, name, started)
    (tmp_path / "file").write_text("")
    (tmp_path / "plan.toml").write_text(CONTEST)
    files = [str(tmp_path / "plan.toml")] if asked[0] in ("plan", "compare") else []
    for out, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "out", "Not a directory")):
        assert main([*asked[:1], *files, *asked[1:], "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert said == f"cojax: The results cannot be written to {out} ({reason}): name another folder with --out.\n"


def test_a_contest_prints_and_writes_a_row_per_method(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    ran = command("compare", plan, "--methods", "Laplacian", "Nesterov")
    assert ran.code == 0, ran.err
    rows = ran.rows("share.csv")
    assert [row["method"] for row in rows] == ["Laplacian", "Nesterov"]
    assert all(float(row["final gap"]) < 1e-6 and row["all-time feasible (total)"] == "yes" for row in rows)
    assert not (ran.folder / "learn.csv").exists()  # there is no model to learn
    assert (ran.folder / "share-over-bits.png").stat().st_size > 5000
    assert "Nesterov" in ran.out


def test_a_contest_says_what_its_methods_ran_with_and_why_momentum_gains_nothing_over_changing_graphs(
    command, tmp_path
):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    still = command("compare", plan, "--methods", "Laplacian", "Nesterov")
    assert "Ran with, computed from the theory:\n  Laplacian(step_size=" in still.out and "momentum" not in still.err
    plan.write_text(CONTEST.replace("steps = 400", "steps = 80").replace("[graph]", "[graph]\nloss = 0.1"))
    lossy = command("compare", plan, "--methods", "Laplacian", "Nesterov")
    assert "Nesterov ran with momentum 0.5" in lossy.err and "about as fast as Laplacian" in lossy.err
    long, short = (float(part.split(",")[0].split(")")[0]) for part in lossy.out.split("step_size=")[1:])
    assert short == pytest.approx(long / 2, rel=1e-3)  # told to four digits


def test_a_plan_says_where_its_results_go_before_and_after(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(CONTEST.replace("steps = 400", "steps = 40\ntolerance = 1e-9"))
    for begun in (f"starts anew, for there is no {tmp_path}", f"goes on from {tmp_path}"):
        assert main(["plan", "mine.toml", "--resume"]) == 3
        said = capsys.readouterr()
        assert begun in said.err and f"results go to {tmp_path / 'mine-result'};" in said.err
        assert f"Written to {tmp_path / 'mine-result'}:" in said.out
        assert f"the run is kept in {tmp_path / 'mine-result' / 'checkpoint.npz'}" in said.err


def test_an_unknown_method_is_refused_with_the_known_ones(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    said = refused(command("compare", plan, "--methods", "Newton"))
    assert "--methods knows DIGing, APAPC" in said and "not Newton." in said


def test_a_small_world_of_an_odd_number_of_links_is_refused(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    said = refused(command("plan", plan, "--set", "graph.name=small_world", "graph.links=3"))
    assert "needs an even number of links" in said and "got 3: take 2" in said


def test_a_budget_of_messages_and_a_rival_in_a_contest(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    ran = command("compare", plan, "--kilobits", "40", "--methods", "heavy_ball", "mirror_extra")
    assert ran.code == 0, ran.err
    rows = ran.rows("share.csv")
    assert [row["method"] for row in rows] == ["HeavyBall", "mirror_extra"]
    assert rows[0]["all-time feasible (total)"] == "yes" and rows[1]["all-time feasible (total)"] == "no"


def test_a_contest_over_draws_of_the_links_that_fail_tells_medians(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST.replace('name = "ring"', 'name = "ring"\nloss = 0.2'))
    ran = command("compare", plan, "--seeds", "5", "--methods", "Laplacian")
    assert ran.code == 0 and "medians over 5 draws of the links that fail" in ran.out, ran.err
    assert ran.rows("share.csv")[0]["all-time feasible (total)"] == "yes"
    plan.write_text(CONTEST)
    assert "set $.graph.loss, or leave --seeds out" in refused(command("compare", plan, "--seeds", "5"))


def test_a_contest_over_instances_keeps_them_and_adds_to_them(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST.replace('name = "ring"', 'name = "ring"\nloss = 0.2'))
    asked = ("compare", plan, "--methods", "Laplacian", "Nesterov")
    few = command(*asked, "--trials", "2")
    assert few.code == 0 and "Steps to a gap of the shares, 2 trials" in few.out, few.err
    kept = {path: path.stat().st_mtime_ns for path in few.folder.glob("share-trials/trial-*.npz")}
    many = command(*asked, "--trials", "7", folder=few.folder)
    assert many.code == 0 and "Kilobits to a gap of the shares, 7 trials" in many.out, many.err
    assert len(kept) == 2 and all(path.stat().st_mtime_ns == then for path, then in kept.items())
    rows = many.rows("share-trials.csv")
    assert [(row["method"], row["trial"]) for row in rows] == [
        (name, str(seed)) for name in ("Laplacian", "Nesterov") for seed in range(7)
    ]
    # The first is the run of the plan itself, as `compare` looks at it.
    alone = command(*asked)
    assert float(rows[0]["steps to 0.01"]) == float(alone.rows("share.csv")[0]["steps to 1e-2"])
    for name in ("share-trials-over-steps", "share-trials-over-bits", "share-profile-over-bits"):
        assert (many.folder / f"{name}.png").stat().st_size > 5000
    others = command(*asked[:4], "--trials", "2", folder=few.folder)
    assert (others.code, others.out) == (2, "") and "is of other trials than these: methods" in others.err
    assert "leave --kilobits and --seeds" in refused(command(*asked, "--trials", "2", "--seeds", "3"))
    plan.write_text(CONTEST)
    assert "$.seed draws none of them" in refused(command(*asked, "--trials", "2"))


def test_a_method_for_directed_graphs_is_refused_with_the_one_that_it_is(command, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(CONTEST)
    said = refused(command("compare", plan, "--methods", "push_pull"))
    assert "PushPull is for directed graphs, and those of a plan are undirected, where it is DIGing" in said


def test_the_precision_of_the_process_is_what_it_was_after_a_command(tmp_path):
    jax.config.update("jax_enable_x64", False)
    try:
        assert main(["plan", str(tmp_path / "none.toml")]) == 2
        assert not jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", True)


def test_a_verdict_names_what_fails_first():
    outcome = SimpleNamespace(tolerance=1e-4, certified=False, status="OUT_OF_STEPS")
    verdict = laws.unchecked(summaries._verdict)
    first, second = verdict(outcome, 5.7e-29, 0.25)
    assert first[1].startswith("NOT CERTIFIED: largest relative error 2.5e-01 for what the run minimises, of 0.0001")
    assert second[1].endswith("of the column share the error is 5.7e-29")
    assert "NOT CERTIFIED: largest relative error of all checks 5.0e-01" in verdict(outcome, 0.5, 0.25)[0][1]


def test_a_contest_leaves_no_table_of_an_earlier_one(tmp_path):
    for name in ("learn.csv", "learn-over-bits.png", "mine.csv"):
        (tmp_path / name).write_text("old")
    contest.write_files(tmp_path, {}, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]
