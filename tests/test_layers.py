"""Imports point down only, and nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cojax"
LAYERS = [
    {
        "_checks",
        "_files",
        "_shown",
        "_layout_checks",
        "_modules",
        "_maxima",
        "_precision",
        "_straight",
        "_tree",
        "_grid",
        "fingerprints",
        "quantizers",
        "signals",
        "sparse",
        "columns",
    },
    {"edges", "links", "problems", "attendance", "changing", "costs", "penalties", "weights"},
    {
        "slots",
        "adjoints",
        "layouts",
        "splits",
        "matrices",
        "minibatches",
        "readers",
        "halos",
        "shards",
        "cutting",
        "padding",
    },
    {"lossy", "intermittent", "members", "networks", "sharding", "checkpoints", "unions"},
    {"faults", "schedules", "checksums", "books", "ledger"},
    {"methods"},
    {"records", "progress", "status", "endings", "run_checks", "theory", "transfers"},
    {"loop", "optimum", "defaults", "default_learners", "rivals"},
    {"pieces", "tolerances", "rejoining", "cores"},
    {"graphs", "tables", "datasets", "plots", "comparisons", "sweeps", "default_allocators", "default_pairs", "tuning"},
    {"app"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
TYPES_ONLY = {("links", "layouts")}  # for annotations, under TYPE_CHECKING


def module_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """The modules and packages of cojax that a file imports from outside of its own, and the line."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            parts = [node.module.split(".")[0]] if node.module else [name.name for name in node.names]
            for part in parts:
                yield part, node.lineno


def test_every_module_has_a_layer():
    found = {module_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert found == set(LEVEL)


def test_imports_point_down_only():
    for path in PACKAGE.rglob("*.py"):
        here = module_of(path)
        if here in ("__init__", "__main__"):
            continue
        for other, line in imported(path):
            if other == here or (here, other) in TYPES_ONLY:
                continue
            assert LEVEL[other] <= LEVEL[here], f"{path.name}:{line} imports {other}, which lies above it"


def test_no_method_imports_another():
    for path in (PACKAGE / "methods").glob("*.py"):
        if path.stem == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                # Four published methods are the Laplacian with another law of the difference; NIDS is exact diffusion.
                allowed = ("base", "laplacian", "exact_diffusion", "optimizers")
                assert node.module in allowed, f"{path.name} imports {node.module}"


def test_importing_cojax_loads_no_extra_and_no_graph_library():
    code = (
        "import sys, cojax;"
        "heavy = {'matplotlib', 'sklearn', 'networkx', 'tyro', 'msgspec', 'jinja2', 'tqdm', 'flax', 'pandas'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert out.stdout.strip() == "[]"
