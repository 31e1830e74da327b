"""The site names everything that is public, and every source that the code cites."""

import re
import runpy
from pathlib import Path
from types import ModuleType

import cojax

ROOT = Path(__file__).parents[2]


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
