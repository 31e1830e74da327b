"""A house with floors: a package imports from lower floors only, never from a neighbour, and never in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "cojax"
# From the ground up; names on one floor do not know each other.
FLOORS = {
    "": (
        "_support",
        "problems",
        "networks optimum data",
        "methods",
        "runs theory",
        "tuning",
        "plots rivals",
        "app estimators",
    ),
    "networks": ("laws weights", "base", "clocks links", "layouts", "build faults", "connectivity devices"),
    "app": ("help_texts plans", "cases", "results", "reports", "cli"),
}
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"
}
IN_PACKAGES = {name: path for name, path in MODULES.items() if len(name) > 1}


def imported(name):
    """What a module imports from cojax: a path of names from the top, the module or package and what is taken of it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = (*name[: -node.level], *(node.module.split(".") if node.module else ()))
            for part in node.names:
                yield (*start, part.name), node.lineno


def module_among(path):
    """The module that an import reads: `networks.base.Link` is in `networks.base`."""
    return next((path[:length] for length in range(len(path), 0, -1) if path[:length] in MODULES), None)


@pytest.mark.parametrize("room", FLOORS)
def test_every_package_and_module_has_a_floor(room):
    names = sorted(part for floor in FLOORS[room] for part in floor.split())
    inside = [path for path in (PACKAGE / room).iterdir() if not path.name.startswith("__")]
    found = sorted(path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").is_file())
    assert found == names


@pytest.mark.parametrize("room", FLOORS)
def test_imports_point_down_only_and_never_sideways(room):
    level = {part: floor for floor, names in enumerate(FLOORS[room]) for part in names.split()}
    depth = len(room.split()) if room else 0
    for name, path in IN_PACKAGES.items():
        for other, line in imported(name):
            if name[:depth] != other[:depth] or (room and name[0] != room):
                continue
            here, there = name[depth], other[depth] if len(other) > depth else ""
            assert here == there or level[there] < level[here], f"{path}:{line}: {here} imports {there}"


def test_the_loop_knows_no_devices():
    for name, path in IN_PACKAGES.items():
        if name[0] in ("runs", "theory", "methods", "optimum"):
            for other, line in imported(name):
                assert other[:2] != ("networks", "devices"), f"{path}:{line}"


def test_no_modules_import_each_other_in_a_circle():
    knows = {name: {module_among(other) for other, _ in imported(name)} - {None} for name in MODULES}
    done, open_ones = set(), []

    def visit(name):
        assert name not in open_ones, " -> ".join(".".join(part) for part in [*open_ones, name])
        if name in done:
            return
        open_ones.append(name)
        for other in knows[name]:
            visit(other)
        done.add(open_ones.pop())

    for name in MODULES:
        visit(name)


def test_the_top_of_the_package_shows_rooms_only():
    found = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}
    rooms = {part for floor in FLOORS[""] for part in floor.split()}
    assert found == rooms | {"__init__.py", "__main__.py", "py.typed"}


def test_no_method_imports_another():
    for path in (PACKAGE / "methods").glob("*.py"):
        if path.stem == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                # Four published methods are the Laplacian with another law of the difference; NIDS is exact diffusion,
                # and Nesterov tells what heavy ball tells with the momentum once more.
                allowed = ("at_home", "base", "facts", "laplacian", "exact_diffusion", "heavy_ball", "optimizers")
                assert node.module in allowed, f"{path.name} imports {node.module}"


def test_importing_cojax_loads_no_extra_and_no_graph_library():
    code = (
        "import sys, cojax;"
        "heavy = {'matplotlib', 'sklearn', 'networkx', 'tyro', 'msgspec', 'jinja2', 'tqdm', 'flax', 'pandas'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert out.stdout.strip() == "[]"


def test_what_a_user_sees_are_functions_classes_and_namespaces():
    import cojax

    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {
        "estimators",
        "plots",
        "rivals",
        "theory",
        "tuning",
    }
    assert packages.isdisjoint(dir(cojax)) and packages.isdisjoint(cojax.__all__)
    assert {"solve", "Problem", "costs", "graphs", "plots", "tune"} <= set(cojax.__all__)
    assert all(hasattr(cojax, name) for name in dir(cojax)) and "__version__" in dir(cojax)
