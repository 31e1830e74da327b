"""What an answer of another solver is worth, as text on a terminal and as files for another program."""

import math
from pathlib import Path

import msgspec
import numpy as np

from ..._support.checks import CojaxInputError
from ...runs.files import replace_file
from ..cases.centres import cost_words
from ..results.check import Checked
from ..results.sheets import write_csv
from .numbers import even, lay_out

MOST_ROWS = 30  # on a terminal; check.csv has all
MOST_NAMES = 5


def text(checked: Checked, answer: Path) -> str:
    """A table of the nodes, those that lose most first, and what is known of the whole."""
    plan = checked.stated.plan
    lines = [plan.title, f"{answer}: shares of {len(checked.share)} nodes, in {plan.units.cpu}.", ""]
    lines += [*_table(checked), ""]
    lines += [f"{name:<14} {line}" for name, line in _totals(checked)]
    if plan.model is not None:
        lines.append(f"{'model':<14} not judged: the answer has none, and what shares cost does not depend on it")
    worst = checked.best_certificate["worst"]
    if not worst <= checked.tolerance:
        lines.append(f"{'optimum':<14} the best shares are themselves off by {worst:.1e} of their size")
    return "\n".join(lines) + "\n"


def write_files(folder: Path, checked: Checked) -> None:
    """check.csv with a row per node and check.json; raises `CojaxInputError` where they cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        columns = _columns(checked)
        write_csv(folder / "check.csv", columns, zip(*columns.values(), strict=True))
        judged = msgspec.json.format(msgspec.json.encode(_judgement(checked)), indent=2)
        replace_file(folder / "check.json", lambda handle: handle.write(judged + b"\n"))
    except OSError as error:
        raise CojaxInputError(f"The results cannot be written to {folder}: {error.strerror}.") from error


def _order(checked: Checked) -> np.ndarray:
    """Rows by what they lose, most first; then by how far they are out of bounds."""
    return np.lexsort((-checked.beyond, -checked.lost))


def _columns(checked: Checked) -> dict[str, list]:
    order, centres = _order(checked), checked.stated.centres
    columns = {"node": [checked.stated.names[row] for row in order]}
    parts = {"share": checked.share, "best_share": checked.best, "lower": centres.lower, "upper": centres.upper}
    parts |= {"beyond": checked.beyond, "marginal_cost": checked.marginal, "lost": checked.lost}
    return columns | {name: part[order].tolist() for name, part in parts.items()}


def _judgement(checked: Checked) -> dict:
    plan = checked.stated.plan
    return {
        "title": plan.title,
        "certified": checked.certified,
        "tolerance": checked.tolerance,
        "answer": checked.certificate,
        "optimum": checked.best_certificate,
        "cost": {"answer": checked.cost, "optimum": checked.best_cost},
        "lost": float(checked.lost.sum()),
        "price": {"answer": checked.certificate["price"], "optimum": checked.best_price},
        "off_budget": checked.off_budget,
        "largest_beyond": float(checked.beyond.max()),
        "units": {"cpu": plan.units.cpu, "money": plan.units.money},
    }


def _table(checked: Checked) -> list[str]:
    order = _order(checked)
    columns = {
        "node": [checked.stated.names[row] for row in order],
        "share": even(checked.share[order]),
        "best": even(checked.best[order]),
        "beyond a bound": [f"{beyond:.4g}" if beyond > 0 else "" for beyond in checked.beyond[order]],
        "marginal cost": even(checked.marginal[order]),
        "lost": [f"{lost:.4g}" for lost in checked.lost[order]],
    }
    lines = lay_out([list(columns), *zip(*columns.values(), strict=True)][: MOST_ROWS + 1])
    left = len(order) - MOST_ROWS
    return [*lines, f"... and {left} more, which lose no more; --out writes all"] if left > 0 else lines


def _totals(checked: Checked) -> list[tuple[str, str]]:
    plan, judged = checked.stated.plan, checked.certificate
    lost, unit = float(checked.lost.sum()), plan.units.cpu
    part = f", {100 * lost / abs(checked.best_cost):.3g} % of the cost at the optimum" if checked.best_cost else ""
    total, off = math.fsum(checked.share), checked.off_budget
    told = f"{off:+.3g} {unit} off" if off else "as"
    return [
        ("cost", f"{_money(checked, checked.cost)}; {_money(checked, checked.best_cost)} at the optimum"),
        ("", f"of a share: {cost_words(plan)}"),
        ("lost", f"{_money(checked, lost, 4)} in all{part}"),
        *_how(checked),
        ("price", f"{_money(checked, judged['price'], 5)} for one more unit as the marginal costs of the answer say;"),
        ("", f"{_money(checked, checked.best_price, 5)} at the optimum"),
        ("budget", f"the shares sum to {total:.10g}, {told} the budget of {plan.cpu.budget:.10g}"),
        *_bounds(checked),
        ("cost gap", f"no shares within the bounds are cheaper by more than {_money(checked, judged['gap'], 2)}"),
        *_verdict(checked),
    ]


def _how(checked: Checked) -> list[tuple[str, str]]:
    """How shares are made comparable that break what a plan asks for."""
    ways = ["a share beyond a bound is taken as on it"] * bool(checked.beyond.max() > 0)
    ways += ["what is off the budget is bought or sold at the price"] * bool(checked.off_budget != 0)
    return [("", way) for way in ways]


def _bounds(checked: Checked) -> list[tuple[str, str]]:
    stated, unit = checked.stated, checked.stated.plan.units.cpu
    order = np.argsort(-checked.beyond, kind="stable")
    broken = [row for row in order if checked.beyond[row] > 0]
    if not broken:
        return [("bounds", "kept by every share")]
    lines = []
    for row in broken[:MOST_NAMES]:
        low = checked.share[row] < stated.centres.lower[row]
        side, bound = ("below its lower", stated.centres.lower) if low else ("above its upper", stated.centres.upper)
        lines.append(f"{stated.names[row]} is {checked.beyond[row]:.4g} {unit} {side} bound of {bound[row]:g}")
    if len(broken) > MOST_NAMES:
        lines.append(f"and {len(broken) - MOST_NAMES} more are beyond one")
    return [("" if place else "bounds", line) for place, line in enumerate(lines)]


def _verdict(checked: Checked) -> list[tuple[str, str]]:
    worst, allowed = checked.certificate["worst"], f"of {checked.tolerance:g} allowed"
    if checked.certified:
        return [("certificate", f"CERTIFIED: largest relative error of all checks {worst:.1e}, {allowed}")]
    failed = [f"{words} is {error:.1e} of its size" for words, error in checked.failed.items()]
    heads = ["certificate", *[""] * (len(failed) - 1)]
    return list(zip(heads, [f"NOT CERTIFIED: {failed[0]}, {allowed}", *failed[1:]], strict=True))


def _money(checked: Checked, value: float, digits: int = 8) -> str:
    money = checked.stated.plan.units.money
    return f"{value:.{digits}g}" + ("" if money is None else f" {money}")
