"""How simple the house is: figures of the structure of checkouts, side by side.

    python benchmarks/house.py CHECKOUT [CHECKOUT ...]

Entries on the top level of `cojax/`, pairs of packages or top modules that know each other, what the loop needs in all,
tests for kinds of objects outside of the command, participles among the names of functions, words of the README, lines.
"""

import ast
import re
import sys
from pathlib import Path

KINDS = (
    "Network|Wrapper|Layout|Dense|Neighbors|Edges|Split|Circulant|Digraph|Directed|RandomGraph|Lossy|Intermittent|"
    "Members|Ledger|Faulty|FaultyNetwork|Crashing|Corrupted|PaddedNetwork|Sharded\\w+|Problem|Changing|Minibatch|Attended|"
    "PaddedProblem|ReorderedProblem|Scenario|Ideal|Quantized|Innovation|EventTriggered|Link|Method|CoOpt|Scheduled|Hold|"
    "Laplacian|DIGing|Loss|Pauses"
)
PARTICIPLE = re.compile(
    r"^_?(?:\w+_)?(?:\w+ed|told|seen|felt|dealt|drawn|found|made|held|kept|said|shown|begun|ready|apart)$"
)


def modules(root: Path) -> dict[tuple[str, ...], ast.Module]:
    """Every module of cojax by its path of names, without `__init__`."""
    package = root / "cojax"
    return {
        path.relative_to(package).with_suffix("").parts: ast.parse(path.read_text())
        for path in sorted(package.rglob("*.py"))
    }


def imports(name: tuple[str, ...], tree: ast.Module, known: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The modules of cojax that a module imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = (*name[: -node.level], *(node.module.split(".") if node.module else ()))
            for part in node.names:
                path = (*start, part.name)
                whole = next((path[:size] for size in range(len(path), 0, -1) if path[:size] in known), None)
                inside = (*start, "__init__")
                found.add(whole or (inside if inside in known else start))
    return found & known


def figures(root: Path) -> dict[str, int]:
    trees = modules(root)
    known = set(trees)
    knows = {name: imports(name, tree, known) for name, tree in trees.items()}
    tops = {(name[0], other[0]) for name, others in knows.items() for other in others}
    loop = next(name for name in known if name[-1] == "loop")
    needed, waiting = set(), [loop]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(knows[name])
    files = {name: (root / "cojax").joinpath(*name).with_suffix(".py").read_text() for name in known}
    lines = {name: text.count("\n") for name, text in files.items()}
    checks = re.compile(
        rf"isinstance\([^()]*(?:\([^()]*\))?[^()]*,[^)]*\b(?:{KINDS})\b|\btype\(\w+\) is (?:not )?(?:{KINDS})\b"
    )
    functions = [
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and not any("property" in ast.dump(each) for each in node.decorator_list)
    ]
    top = [path for path in (root / "cojax").iterdir() if path.name != "__pycache__"]
    return {
        "entries on the top level of cojax/": len(top),
        "pairs of packages or top modules that know each other": sum(one != other for one, other in tops),
        "files that the loop needs": len(needed),
        "lines that the loop needs": sum(lines[name] for name in needed),
        "tests for kinds of objects outside of the command": sum(
            len(checks.findall(text)) for name, text in files.items() if name[0] != "app"
        ),
        "functions named by a participle": sum(bool(PARTICIPLE.match(name)) for name in functions),
        "words of README.md": len((root / "README.md").read_text().split()),
        "lines of cojax/": sum(lines.values()),
    }


def main(checkouts: list[str]) -> None:
    columns = [figures(Path(checkout)) for checkout in checkouts]
    print("| | " + " | ".join(checkouts) + " |\n|--|" + "--|" * len(checkouts))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:,}" for column in columns) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
