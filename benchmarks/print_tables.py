"""The tables of the two defaults and of the paper's claim in `docs/benchmarks/`, from the JSON of their scripts.

python benchmarks/print_tables.py [allocators | learners | choosing | choosing_within | seconds | paper_claim ...]
"""

import json
import statistics
import sys
from collections.abc import Mapping
from typing import Any

from scipy.stats import kendalltau
from support.timing import RESULTS, show

Rows = list[dict[str, Any]]
HALF = 50.0  # percent: the claim
EXACT = 1e-14  # rounding of the costs
LEAST = -1000.0  # percent: paper_claim.py saves what is below as this


def rows_of(name: str) -> Rows:
    """What a script has measured."""
    return json.loads((RESULTS / f"{name}.json").read_text())["rows"]


def percent(value: float | None) -> str:
    """An improvement; where the other is better by half and more, how many times smaller its gap is."""
    if value is None:
        return "both exact"
    if value >= 99.95:
        return "100"
    if value <= LEAST:
        return "worse"
    return f"{value:.3g}" if value > -100 else f"{1 - value / 100:.2g} times worse"


def by_cell(rows: Rows) -> dict[tuple[str, str], Rows]:
    """The rows of every network and setting."""
    cells: dict[tuple[str, str], Rows] = {}
    for row in rows:
        cells.setdefault((row["network"], row["setting"]), []).append(row)
    return cells


def counted(group: str, columns: Mapping[str, list[float | None]]) -> dict[str, Any]:
    """On how many cells the default is better by half, better at all, and how many cells were not exact already."""
    line: dict[str, Any] = {"rivals": group}
    for name, values in columns.items():
        found = [value for value in values if value is not None]
        half, better = sum(value >= HALF for value in found), sum(value > 0 for value in found)
        line[name] = f"{half} by half, {better} at all, of {len(found)}"
    return line


def allocators() -> None:
    """Counts, then one line a network with the best rival of every group at every level."""
    groups = ("as published, or 2 bits", "the link of the default", "constants in hindsight")
    cells = by_cell(rows_of("which_allocator"))
    counts: dict[str, dict[str, list[float | None]]] = {group: {} for group in groups}
    lines = []
    for (name, setting), rows in cells.items():
        levels = list(dict.fromkeys(row["level"] for row in rows))
        bits = "/".join(f"{row:.0f}" for row in dict.fromkeys(row["bits"] for row in rows))
        line = {"network": name, "setting": setting, "instances": rows[0].get("instances", 12), "bits": bits}
        for group in groups:
            best = [
                min(
                    (row for row in rows if row["level"] == level and group_of(row["rival"]) == group),
                    key=lambda row: row["rival gap"],
                )
                for level in levels
            ]
            for row in best:
                counts[group].setdefault(f"at {row['level']:g}", []).append(row["improvement %"])
            who = "; ".join(dict.fromkeys(row["rival"] for row in best))
            verdict = ", ".join(percent(row["improvement %"]) for row in best)
            line[group] = verdict if group == groups[2] else f"{verdict} ({who})"
        lines.append(line)
    show([counted(group, columns) for group, columns in counts.items()])
    print()
    show(lines)


def group_of(rival: str) -> str:
    """What a rival was given."""
    if rival.endswith("in hindsight"):
        return "constants in hindsight"
    return "the link of the default" if rival.endswith(", 1 bit") else "as published, or 2 bits"


def learners() -> None:
    """Counts, then one line a network with the best other at every budget, tuned and in hindsight."""
    rows, budgets = rows_of("which_learner"), ("2", "4", "8")
    counts: list[dict[str, Any]] = []
    for kind in ("tuned", "in hindsight"):
        columns = {f"at {bits} kbit": [row[f"smaller by %, {kind}, {bits}"] for row in rows] for bits in budgets}
        counts.append(counted(kind, columns))
    show(counts)
    print()
    lines = []
    for row in rows:
        line: dict[str, Any] = {key: row[key] for key in ("network", "setting", "instances")}
        line["gap at 2/4/8 kbit"] = " / ".join(f"{row[f'{bits} kbit']:.0e}" for bits in budgets)
        for kind in ("tuned", "in hindsight"):
            verdict = ", ".join(percent(row[f"smaller by %, {kind}, {bits}"]) for bits in budgets)
            who = "; ".join(dict.fromkeys(short(row[f"best {kind}, {bits}"]) for bits in budgets))
            line[kind] = f"{verdict} ({who})"
        lines.append(line)
    show(lines)


def short(label: str) -> str:
    """NIDS* is over the champion's link."""
    label = label.replace(" in hindsight", "").replace(" of its limit", "")
    return label.replace(" over our link, ", "* ").replace(" over our link", "*")


def choosing() -> None:
    """Counts beside rivals in hindsight, every candidate beside the default, and one line a network."""
    found = json.loads((RESULTS / "worth_of_choosing.json").read_text())
    rows, budgets = found["rows"], [f"{budget:g} kbit" for budget in found["kilobits"]]
    show(beside_rivals(found))
    print()
    show(beside_the_default(rows, [row["bits to the gap"] for row in rows]))
    print()
    lines: Rows = []
    for row in rows:
        bits, name = row["bits to the gap"], row["chosen"]
        best = min(bits, key=lambda each: bits[each])
        line = {key: row[key] for key in ("network", "setting")}
        line |= {"chosen": name, "bits, default": bits["default"], "chosen / default": bits[name] / bits["default"]}
        line["best in hindsight"] = f"{bits[name] / bits[best]:.2f} ({'itself' if best == name else best})"
        of_rivals = [smaller_than_rivals(row, name, found["rivals"], place) for place in range(len(budgets))]
        who = "; ".join(dict.fromkeys(rival for _, rival in of_rivals))
        line[f"own gap smaller by %, {', '.join(budgets)}"] = (
            f"{', '.join(percent(value) for value, _ in of_rivals)} ({who})"
        )
        line |= {"runs": f"{row['runs']} of {row['runs of all']}", "s": row["seconds of choosing"]}
        lines.append(line)
    show(lines)


def choosing_within() -> None:
    """The same where `choose` judged by the first budget, by the gaps that are left then."""
    found = json.loads((RESULTS / "worth_of_choosing_within.json").read_text())
    rows = found["rows"]
    show(beside_rivals(found))
    print()
    gaps = [{name: max(left[0], EXACT) for name, left in row["own gaps"].items()} for row in rows]
    show(beside_the_default(rows, gaps))
    print()
    lines: Rows = []
    for row, left in zip(rows, gaps, strict=True):
        name, best = row["chosen"], min(left, key=lambda each: left[each])
        (smaller, rival), (later, other) = (smaller_than_rivals(row, name, found["rivals"], place) for place in (0, 1))
        line = {key: row[key] for key in ("network", "setting", "chosen")}
        line |= {"gap of the start left": f"{row['own gaps'][name][0]:.0e}", "default": f"{left['default']:.0e}"}
        line["best in hindsight"] = f"{left[name] / left[best]:.2g} ({'itself' if best == name else best})"
        who = "; ".join(dict.fromkeys((rival, other)))
        line["own gap smaller by %, at the budget, at twice it"] = f"{percent(smaller)}, {percent(later)} ({who})"
        lines.append(line | {"runs": f"{row['runs']} of {row['runs of all']}", "s": row["seconds of choosing"]})
    show(lines)


def beside_rivals(found: dict[str, Any]) -> Rows:
    """How often the default and what was chosen have the smaller gap than the best rival in hindsight."""
    budgets = [f"{budget:g} kbit" for budget in found["kilobits"]]
    counts: Rows = []
    for who in ("default", "chosen"):
        columns: dict[str, list[float | None]] = {budget: [] for budget in budgets}
        for row in found["rows"]:
            for place, budget in enumerate(budgets):
                columns[budget].append(smaller_than_rivals(row, row.get(who, who), found["rivals"], place)[0])
        line = counted(who, columns)
        for budget, values in columns.items():
            behind = sum(value is not None and value < 100 * (1 - 1.1) for value in values)
            line[budget] += f"; behind by over 10 % on {behind}"
        counts.append(line)
    return counts


def beside_the_default(rows: Rows, judged: list[dict[str, float]]) -> Rows:
    """By candidate and setting the median over networks of what it took, or left, beside the default, and the worst."""
    lines: Rows = []
    for name in judged[0]:
        line: dict[str, Any] = {"candidate": name}
        for setting in dict.fromkeys(row["setting"] for row in rows):
            here = [each for row, each in zip(rows, judged, strict=True) if row["setting"] == setting]
            ratios = [each[name] / each["default"] for each in here]
            first = sum(each[name] == min(each.values()) for each in here)
            line[setting] = f"{statistics.median(ratios):.2g}, {max(ratios):.2g} ({first})"
        lines.append(line | {"chosen": sum(row["chosen"] == name for row in rows)})
    return lines


def smaller_than_rivals(row: dict[str, Any], name: str, rivals: list[str], place: int) -> tuple[float | None, str]:
    """By how many percent the own gap of one is smaller than that of the best rival in hindsight, and who that is."""
    gaps = {each: values[place] for each, values in row["own gaps"].items()}
    rival = min(rivals, key=lambda each: gaps[each])
    exact = max(gaps[name], gaps[rival]) < EXACT
    return None if exact else max(100 * (1 - gaps[name] / gaps[rival]), LEAST), rival


def seconds() -> None:
    """Counts by hardware, then every learner beside the fastest, what seconds follow, and one line a network."""
    rows, gaps = rows_of("seconds_to_accuracy"), {"1e-3": 0, "1e-6": 1}
    kinds = [what for what in rows[0]["learners"]["default"] if what not in ("rounds", "bits")]
    counts: Rows = []
    lines: list[dict[str, Any]] = [{key: row[key] for key in ("network", "setting")} for row in rows]
    for hardware in kinds:
        for group in ("tuned", "in hindsight"):
            count: dict[str, Any] = {"hardware": hardware, "others": group}
            found = [[beside_the_best(row, hardware, place, group) for place in gaps.values()] for row in rows]
            for gap, place in gaps.items():
                ratios = [of_row[place][0] for of_row in found if of_row[place][0] is not None]
                ahead, near = sum(ratio < 1 for ratio in ratios), sum(ratio <= 1.25 for ratio in ratios)
                middle, worst = statistics.median(ratios), max(ratios)
                told = f"ahead on {ahead}, within 1.25 on {near}, of {len(ratios)}"
                count[f"to {gap}"] = f"{told}; median {middle:.2g}, worst {worst:.2g}"
            counts.append(count)
            for line, of_row in zip(lines, found, strict=True):
                told = ", ".join("-" if ratio is None else f"{ratio:.2g}" for ratio, _ in of_row)
                line[f"{hardware}, {group}"] = f"{told} ({'; '.join(dict.fromkeys(who for _, who in of_row))})"
    show(counts)
    print()
    show(beside_the_fastest(rows, kinds, gaps["1e-6"]))
    print()
    show([what_seconds_follow(rows, hardware, gaps["1e-6"]) for hardware in kinds])
    print()
    show(lines)


def beside_the_best(row: dict[str, Any], hardware: str, place: int, group: str) -> tuple[Any, str]:
    """The default's seconds to a gap beside those of the best other, and who; None where one never got there."""
    mine, others = finished(row, hardware, place)
    others = {label: value for label, value in others.items() if group != "tuned" or is_tuned(label)}
    if not others:
        return None, "nobody" if mine is None else "the default alone"
    best = min(others, key=lambda label: others[label])
    return (None, f"{short(best)} alone") if mine is None else (mine / others[best], short(best))


def is_tuned(label: str) -> bool:
    """Whether all constants were computed beforehand."""
    return not label.endswith("in hindsight")


def finished(row: dict[str, Any], what: str, place: int) -> tuple[float | None, dict[str, float]]:
    """What the default took to a gap, None if it never got there, and what the others took that did."""
    found = {label: one[what][place] for label, one in row["learners"].items()}
    mine = found.pop("default")
    return mine, {label: value for label, value in found.items() if value is not None}


def beside_the_fastest(rows: Rows, kinds: list[str], place: int) -> Rows:
    """By learner, the median over networks of its seconds beside those of the fastest learner there, and how often."""
    ratios: dict[str, dict[str, list[float]]] = {}
    for hardware in kinds:
        for row in rows:
            mine, found = finished(row, hardware, place)
            found |= {} if mine is None else {"default": mine}
            for label in row["learners"]:
                if found:
                    ratio = found.get(label, float("inf")) / min(found.values())
                    ratios.setdefault(label, {}).setdefault(hardware, []).append(ratio)
    lines = []
    for label, by_kind in sorted(ratios.items(), key=lambda item: sum(map(statistics.median, item[1].values()))):
        line: dict[str, Any] = {"learner": short(label), "networks": len(by_kind[kinds[0]])}
        for hardware, values in by_kind.items():
            middle, first = statistics.median(values), sum(value == 1 for value in values)
            line[hardware] = "-" if middle == float("inf") else f"{middle:.2g} ({first})"
        lines.append(line)
    return lines


def what_seconds_follow(rows: Rows, hardware: str, place: int) -> dict[str, Any]:
    """How alike the order of learners by seconds is to that by rounds and by bits: medians of Kendall's tau."""
    alike: dict[str, list[float]] = {"rounds": [], "bits": []}
    for row in rows:
        all_of = [one for one in row["learners"].values() if one[hardware][place] is not None]
        if len(all_of) > 2:
            took = [one[hardware][place] for one in all_of]
            rounds = [one["rounds"][place] for one in all_of]
            bits = [one["rounds"][place] * one["bits"][place] for one in all_of]
            for what, order in (("rounds", rounds), ("bits", bits)):
                found: Any = kendalltau(took, order)
                alike[what].append(found.statistic)
    return {"hardware": hardware} | {f"as by {what}": statistics.median(each) for what, each in alike.items()}


def paper_claim() -> None:
    """Beside equal utilisation by setting and spread, then beside every rival at equal rounds and at equal bits."""
    rows = rows_of("paper_claim")
    equal = [row for row in rows if row["rival"] == "equal utilisation"]
    lines: dict[str, dict[str, Any]] = {}
    for row in equal:
        where = row["setting"] if row["spread"] is None else f"{row['setting']}, {row['spread']:g}"
        line = lines.setdefault(row["ours"], {"ours": row["ours"]})
        cell = f"{percent(row['median %'])} ({row['over 50 %']:.0f})"
        line[where] = f"{line[where]}, {cell}" if where in line else cell
    show(list(lines.values()))
    print()
    lines = {}
    for row in rows:
        if row["rival"] == "equal utilisation":
            continue
        line = lines.setdefault(row["rival"], {"rival": row["rival"]})
        line.setdefault(row["ours"], []).append(percent(row["median %"]))
    shown = [
        {key: ", ".join(value) if isinstance(value, list) else value for key, value in line.items()}
        for line in lines.values()
    ]
    if shown:
        show(shown)


if __name__ == "__main__":
    tables = {
        "allocators": allocators,
        "learners": learners,
        "choosing": choosing,
        "choosing_within": choosing_within,
        "seconds": seconds,
        "paper_claim": paper_claim,
    }
    for table in sys.argv[1:] or tables:
        tables[table]()
        print()
