"""The site names everything that is public, and every source that the code cites."""

import importlib
import re
import runpy
from pathlib import Path
from types import ModuleType

import pytest
from test_layers import FLOORS

import cojax

ROOT = Path(__file__).parents[2]
FILE = re.compile(
    r"(?<![\w/])(?<!\]\()(?:cojax|tests|benchmarks(?!/results)|docs|notebooks|findings)/(?:\w+/)*(?:\w+\.\w+)?(?![\w<*])"
)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/benchmarks").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]


def public_names():
    """The names that `cojax/__init__.py` brings in."""
    return re.findall(r"^from .* import \w+ as (\w+)$", (ROOT / "cojax/__init__.py").read_text(), re.MULTILINE)


def test_the_list_of_names_is_the_one_that_its_script_writes():
    pages = runpy.run_path(str(ROOT / "docs/api_pages.py"))["pages"]()
    listed = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert listed == pages["api"], "run `python docs/api_pages.py`, as `make docs` does"


def test_every_public_name_is_on_the_list_and_has_its_docstring_on_a_page():
    pages = runpy.run_path(str(ROOT / "docs/api_pages.py"))["pages"]()
    for name in public_names():
        if isinstance(getattr(cojax, name), ModuleType):
            continue
        assert re.search(rf"^   cojax\.{name}$", pages["api"], re.MULTILINE), name
        assert [text for text in pages.values() if re.search(rf":: cojax\.{name}$", text, re.MULTILINE)], name


def test_the_plan_of_the_house_shows_the_floors_that_imports_keep_to():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    drawn, room = {}, ""
    for line in page.split("```text\n")[1].split("```")[0].splitlines():
        names = line.strip().split("  ")[0]
        if names.endswith("/"):
            room = names.removeprefix("cojax/").rstrip("/")
        else:
            drawn[room] = (names, *drawn.get(room, ()))  # the ground is the last line
    assert drawn == FLOORS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_name_that_a_page_mentions_is_there(page):
    text = page.read_text(encoding="utf-8")
    for path in FILE.findall(text):
        assert (ROOT / path).exists(), path
    for dotted in re.findall(r"\bcojax((?:\.[A-Za-z_]\w*)+)", text):
        value = cojax
        for name in dotted.split(".")[1:]:
            value = getattr(value, name, None)
            assert value is not None, f"cojax{dotted}"
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("folder", ["cojax", "benchmarks", "tests"])
def test_every_file_that_comments_and_docstrings_name_is_there(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        missing = [name for name in FILE.findall(path.read_text(encoding="utf-8")) if not (ROOT / name).exists()]
        assert not missing, path


def test_every_script_of_the_benchmarks_is_on_their_first_page_and_every_page_on_it_too():
    first = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert re.search(rf"\b{script.stem}\b", first), script.name
    for page in (ROOT / "docs/benchmarks").glob("*.md"):
        assert f"](../docs/benchmarks/{page.name})" in first, page.name


def test_every_field_of_a_result_is_in_its_docstring_where_help_shows_it():
    public = [value for name, value in vars(cojax).items() if isinstance(value, type) and hasattr(value, "_fields")]
    results = [*public, cojax.tuning.Tuning, cojax.tuning.History, cojax.records.Trace, cojax.costs.Samples]
    assert len(results) > 15
    for kind in results:
        listed = kind.__doc__.partition("Fields:")[2]
        missing = [name for name in kind._fields if not re.search(rf"\b{name}\b", listed)]
        assert not missing, kind


def test_every_source_in_the_code_is_in_the_bibliography():
    cited = re.compile(r"\b10\.\d{4,}/[\w./()-]*\w|\b\d{4}\.\d{5}\b")
    listed = set(cited.findall((ROOT / "docs/bibliography.md").read_text()))
    for path in sorted((ROOT / "cojax").rglob("*.py")):
        unknown = set(cited.findall(path.read_text())) - listed
        assert not unknown, path


def test_namespaces_of_the_library_are_imported_under_their_public_names():
    """As users write it; `cojax.costs` lives in `cojax.problems` and is the same module under both names."""
    for name in ("costs", "datasets", "graphs", "penalties", "records", "tables", "weights"):
        assert importlib.import_module(f"cojax.{name}") is getattr(cojax, name)
