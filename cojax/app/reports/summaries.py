"""An outcome as text on a terminal, and as files that a spreadsheet or another program reads."""

from pathlib import Path

import msgspec
import numpy as np

from ..._support.checks import CojaxInputError
from ...plots.numerals import of_bytes
from ...runs.endings import ENDS
from ...runs.files import replace_file
from ..plans.plans import Plan, write_plan
from ..results.outcome import Outcome
from ..results.sheets import write_csv
from . import words
from .numbers import even, lay_out
from .words import sides

MOST_ROWS = 60  # on a terminal; allocation.csv has all nodes


def text(outcome: Outcome) -> str:
    """A table of the nodes, and what is known of the whole."""
    steps, turns = int(outcome.trace.step[-1]), outcome.num_graphs
    size = f"{len(outcome.names)} nodes, {len(outcome.edges)} links" + (
        f", {turns} graphs in turn" if turns > 1 else ""
    )
    seconds = f"{outcome.seconds['run']:.1f} s of steps after {outcome.seconds['compile']:.1f} s of compiling"
    lines = [outcome.title, f"{size}, {steps} steps: {seconds}.", "", *_table(outcome), ""]
    lines += [f"{name:<14} {line}" for name, line in _totals(outcome, steps)]
    return "\n".join(lines) + "\n"


def write_files(folder: Path, plan: Plan, outcome: Outcome) -> None:
    """allocation.csv, worth.csv, trace.csv, certificate.json and plan.toml.

    Raises `CojaxInputError` where the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        columns = _columns(outcome)
        write_csv(folder / "allocation.csv", columns, zip(*columns.values(), strict=True))
        columns = worth_columns(outcome)
        write_csv(folder / "worth.csv", columns, zip(*columns.values(), strict=True))
        if outcome.training is not None:
            columns = words.training_columns(outcome)
            write_csv(folder / "training.csv", columns, zip(*columns.values(), strict=True))
        trace = {name: part.tolist() for name, part in outcome.trace._asdict().items() if part is not None}
        write_csv(folder / "trace.csv", trace, zip(*trace.values(), strict=True))
        judged = msgspec.json.format(msgspec.json.encode(_judgement(outcome)), indent=2)
        replace_file(folder / "certificate.json", lambda handle: handle.write(judged + b"\n"))
        write_plan(folder / "plan.toml", plan)
    except OSError as error:
        raise CojaxInputError(f"The results cannot be written to {folder}: {error.strerror}.") from error


def _columns(outcome: Outcome) -> dict[str, list]:
    """One row per node; floats in full, so that nothing is lost on the way to a file."""
    columns = {"node": list(outcome.names), "share": outcome.exact_cpu.tolist(), "run_share": outcome.cpu.tolist()}
    columns |= {"lower": outcome.lower.tolist(), "upper": outcome.upper.tolist(), "at_bound": sides(outcome)}
    columns |= {"marginal_cost": outcome.exact_marginal.tolist(), "run_marginal_cost": outcome.marginal.tolist()}
    columns |= {name: values.tolist() for name, values in outcome.columns.items()}
    if outcome.learned is not None:
        columns["samples"] = outcome.learned.num_samples.tolist()
        columns[outcome.learned.score.replace(" ", "_")] = outcome.learned.local_scores.tolist()
    return columns


def worth_columns(outcome: Outcome) -> dict[str, list]:
    """What one more unit would change the least cost by, one row per node."""
    worth = outcome.worth
    columns = {"node": list(outcome.names), "part_of_next_unit": worth.next_unit.tolist()}
    columns |= {"upper_plus_1": (0.0 - worth.upper).tolist(), "lower_minus_1": (0.0 - worth.lower).tolist()}
    columns |= {f"{name}_plus_1": slopes.tolist() for name, slopes in worth.columns.items()}
    return columns | {"one_sided": worth.one_sided.tolist()}


def _judgement(outcome: Outcome) -> dict:
    learned = outcome.learned
    judgement = {
        "title": outcome.title,
        "certified": outcome.certified,
        "tolerance": outcome.tolerance,
        "status": outcome.status,
        "exact": outcome.exact_certificate,
        "run": outcome.run_certificate,
        "run_against_hard_bounds": outcome.certificate,
        "cost": {"exact": outcome.exact_cost, "run": outcome.cost, "reference": outcome.reference_cost},
        "price": outcome.price,
        "worth": {"budget_plus_1": outcome.worth.budget_more, "budget_minus_1": -outcome.worth.budget_less},
        "soft_bounds": {
            "price": outcome.run_price,
            "overload_percent": outcome.overload_percent,
            "price_off_percent": outcome.price_off_percent,
        },
        "largest_imbalance": outcome.imbalance,
        "largest_overload": outcome.overload,
    }
    if outcome.training is not None:
        judgement["training"] = {"seconds": outcome.training.seconds, "rounds": outcome.training.rounds}
    if learned is not None:
        judgement["test"] = {
            "score": learned.score,
            "samples": learned.test_samples,
            "ours": learned.test_score,
            "centralised": learned.central_test_score,
        }
    return judgement | {"settings": outcome.settings, "seconds": outcome.seconds}


def _table(outcome: Outcome) -> list[str]:
    """The nodes, one a line: names to the left, numbers to the right."""
    columns = {
        "node": list(outcome.names),
        "share": even(outcome.exact_cpu),
        "in the run": even(outcome.cpu),
        "lower": even(outcome.lower),
        "upper": even(outcome.upper),
        "at bound": sides(outcome),
        "marginal cost": even(outcome.exact_marginal),
    }
    if outcome.learned is not None:
        columns["samples"] = [str(count) for count in outcome.learned.num_samples]
        columns[f"own {outcome.learned.score}"] = [_score(outcome, value) for value in outcome.learned.local_scores]
    rows = [list(columns), *zip(*columns.values(), strict=True)][: MOST_ROWS + 1]
    lines = lay_out(rows)
    left = len(outcome.names) - MOST_ROWS
    return [*lines, f"... and {left} more in allocation.csv"] if left > 0 else lines


def _totals(outcome: Outcome, steps: int) -> list[tuple[str, str]]:
    worst, worst_run = outcome.exact_certificate["worst"], outcome.run_certificate["worst"]
    gap = outcome.exact_certificate["gap"]
    more = outcome.exact_cost - outcome.reference_cost
    over = f"soft in the run, which ends up to {outcome.overload:.3g} beyond one; the column share keeps all of them"
    if outcome.overload == 0:
        over = "kept, by the run as well"
    if not np.isfinite(outcome.overload):
        over = "kept by the column share; the run has no end to judge"
    soft = ", its bounds being soft" if outcome.overload > 0 else ""
    lines = [
        (
            "cost",
            f"{_money(outcome, outcome.exact_cost, 6)}, {more:.1e} above the optimum "
            f"{outcome.reference_cost:.6g} found centrally",
        ),
        ("", f"{_money(outcome, outcome.cost, 6)} where the run ended{soft}"),
        ("", f"of a share: {outcome.settings.get('cost of a share', 'not said')}"),
        ("price", _price(outcome)),
        ("budget", f"largest |sum of shares - {outcome.budget:g}| at any of {steps} steps: {outcome.imbalance:.3g}"),
        ("bounds", over),
        ("told", _describe(outcome, steps)),
    ]
    lines[6:6] = _softness(outcome)
    lines[4:4] = _worth(outcome)
    lines += _model_rows(outcome)
    lines += [("training" if place == 0 else "", line) for place, line in enumerate(words.training(outcome))]
    lines += [
        (key.partition(":")[0] + " step", f"computed; stable below {value.partition(';')[0]})")
        for key, value in outcome.settings.items()
        if key.endswith(": stable below")
    ]
    return [
        *lines,
        ("cost gap", f"for convex costs no shares within the bounds are cheaper by more than {gap:.1e}"),
        *_verdict(outcome, worst, worst_run),
    ]


def _verdict(outcome: Outcome, worst: float, worst_run: float) -> list[tuple[str, str]]:
    """Whether it is proved; where it is not, what fails comes first."""
    allowed, ends = f"of {outcome.tolerance:g} allowed", f"the run {ENDS[outcome.status]}"
    shares, run = f"largest relative error of all checks {worst:.1e}", f"{worst_run:.1e} for what the run minimises"
    if outcome.certified:
        return [("certificate", f"CERTIFIED: {shares}, {allowed};"), ("", f"{run}; {ends}")]
    if worst > outcome.tolerance:
        return [("certificate", f"NOT CERTIFIED: {shares}, {allowed};"), ("", f"{run}; {ends}")]
    reason = f"largest relative error {run}, {allowed};"
    return [("certificate", f"NOT CERTIFIED: {reason}"), ("", f"{ends}; of the column share the error is {worst:.1e}")]


def _price(outcome: Outcome) -> str:
    more, less = outcome.worth.budget_more, outcome.worth.budget_less
    one_more = (
        f"{_money(outcome, more)} for one more unit of budget"
        if np.isfinite(more)
        else "no more budget fits the bounds"
    )
    if more == less:
        return one_more
    return f"{one_more}; {f'one less saves {_money(outcome, less)}' if np.isfinite(less) else 'nor does less'}"


def _money(outcome: Outcome, value: float, digits: int = 5) -> str:
    return outcome.in_money(f"{value:.{digits}g}").replace("\u00a0", " ")


def _softness(outcome: Outcome) -> list[tuple[str, str]]:
    if not (outcome.overload > 0 and np.isfinite(outcome.run_price)):
        return []
    off = f"{outcome.overload_percent:.2g} % over a bound, price {outcome.run_price:.5g}"
    return [
        ("", f"{off} or {outcome.price_off_percent:.2g} % off; exact: 0 % over, price {outcome.price_of_one_more:.5g}")
    ]


def _worth(outcome: Outcome) -> list[tuple[str, str]]:
    """Where one more unit of room would save most."""
    worth = outcome.worth
    room = np.maximum(worth.upper, worth.lower)
    best = int(np.argmax(room))
    if not room[best] > 0:
        return [("worth", "no bound is in the way: no node would save by one more unit of room")]
    side = "upper bound one unit higher" if worth.upper[best] >= worth.lower[best] else "lower bound one unit lower"
    return [
        (
            "worth",
            f"{outcome.names[best]} with its {side} would save {_money(outcome, room[best])}, the most of all nodes",
        )
    ]


def _describe(outcome: Outcome, steps: int) -> str:
    bits, saturated = float(outcome.trace.bits[-1]), int(outcome.trace.saturated[-1])
    all_told = of_bytes(bits).replace("\u00a0", " ")
    one = bits / (steps + 1)  # the first is told before the first step
    said = f"{one:.4g} bits a message by a node to each neighbour, {all_told} in the run"
    return said if saturated == 0 else f"{said}; {saturated} numbers were cut, being too large for the quantizer"


def _model_rows(outcome: Outcome) -> list[tuple[str, str]]:
    learned = outcome.learned
    if learned is None:
        return []
    lines = [("models", f"{outcome.certificate['consensus']:.1e} apart at most, over all nodes and parameters")]
    if learned.test_score is None or learned.central_test_score is None:
        return lines
    ours, central = (_score(outcome, value) for value in (learned.test_score, learned.central_test_score))
    said = (
        f"{ours} on {learned.test_samples} held-out samples; {central} of the same {learned.model} trained in one place"
    )
    return [*lines, (f"test {learned.score}"[:14], said)]


def _score(outcome: Outcome, value: float) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{100 * value:.1f} %" if outcome.learned and outcome.learned.score == "accuracy" else f"{value:.4g}"
