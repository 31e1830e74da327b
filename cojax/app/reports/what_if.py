"""What moved between two plans: shares, cost, price, and who came to a bound or left one."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..._support.checks import CojaxInputError
from ...data.files import checked_path
from ..results.outcome import Outcome
from ..results.sheets import armed, write_csv
from .numbers import lay_out
from .words import sides

MOST_ROWS = 30  # on a terminal; against.csv has all
MAX_BYTES = 200_000_000
SAME = 1e-9  # of the largest share: shares that differ by less did not move


class Earlier(NamedTuple):
    """What `cojax plan` wrote of an earlier plan."""

    folder: Path
    shares: dict[str, float]
    at_bound: dict[str, str]
    cost: float
    price: float


def read_earlier(folder: Path) -> Earlier:
    """The allocation.csv and certificate.json in a folder; raises `CojaxInputError` where they are not those."""
    path, judged = (checked_path(folder / name, MAX_BYTES) for name in ("allocation.csv", "certificate.json"))
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = [(armed(row["node"]), float(row["share"]), row["at_bound"]) for row in csv.DictReader(handle)]
        found = msgspec.json.decode(judged.read_bytes())
        more = found["worth"]["budget_plus_1"]  # None where not one more unit fitted
        cost, price = float(found["cost"]["exact"]), float(found["price"] if more is None else more)
    except (KeyError, TypeError, ValueError, csv.Error, msgspec.DecodeError) as error:
        raise CojaxInputError(
            f"--against needs a folder that `cojax plan` wrote, got {folder}, whose allocation.csv or certificate.json "
            "is not as it writes them."
        ) from error
    shares = {name: share for name, share, _ in rows}
    return Earlier(folder, shares, {name: side for name, _, side in rows}, cost, price)


def text(earlier: Earlier, outcome: Outcome) -> str:
    """A table of the nodes whose shares moved, the most first, and what that did to cost and price."""
    rows = _rows(earlier, outcome)
    moved = [row for row in rows if row["moved"] != 0]
    lines = [f"Against {earlier.folder}, in {outcome.cpu_unit}:", ""]
    heads = ["node", "share before", "share now", "moved", "at bound"]
    cells = [[row["node"], *(f"{row[name]:.6g}" for name in ("before", "now", "moved")), row["said"]] for row in moved]
    cells = [heads, *cells[:MOST_ROWS]]
    lines += lay_out(cells) if moved else ["No share moved."]
    if len(moved) > MOST_ROWS:
        lines.append(f"... and {len(moved) - MOST_ROWS} more in against.csv")
    lines += ["", f"{'still':<14} {len(rows) - len(moved)} of {len(rows)} nodes"]
    pairs = (("cost", earlier.cost, outcome.exact_cost), ("price", earlier.price, outcome.price_of_one_more))
    for name, before, now in pairs:
        change = f", {100 * (now - before) / abs(before):+.3g} %" if before else ""
        said = outcome.in_money(f"{now - before:+.6g}").replace("\u00a0", " ")
        lines.append(f"{name:<14} {before:.6g} before, {now:.6g} now: {said}{change}")
    return "\n".join(lines) + "\n"


def write_file(path: Path, earlier: Earlier, outcome: Outcome) -> None:
    """One row a node of either plan."""
    columns = ("node", "before", "now", "moved", "bound_before", "bound_now")
    rows = _rows(earlier, outcome)
    write_csv(path, columns, ([row[name] for name in columns] for row in rows))


def _rows(earlier: Earlier, outcome: Outcome) -> list[dict[str, Any]]:
    """One a node of either plan, the largest move first; a node that one of them lacks holds nothing there."""
    now = dict(zip(outcome.names, outcome.exact_cpu.tolist(), strict=True))
    bound = dict(zip(outcome.names, sides(outcome), strict=True))
    size = max(map(abs, [*now.values(), *earlier.shares.values()]), default=0.0)
    rows = []
    for name in dict.fromkeys([*now, *earlier.shares]):
        before, after = earlier.shares.get(name, 0.0), now.get(name, 0.0)
        was, is_now = earlier.at_bound.get(name, "new"), bound.get(name, "gone")
        said = is_now if was == is_now else f"{was or 'free'} -> {is_now or 'free'}"
        moved = after - before if abs(after - before) > SAME * size else 0.0
        rows.append(
            {"node": name, "before": before, "now": after, "moved": moved}
            | {"bound_before": was, "bound_now": is_now, "said": said}
        )
    return sorted(rows, key=lambda row: -abs(row["moved"]))
