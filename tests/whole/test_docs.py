"""The site names everything that is public, and every source that the code cites."""

import re
from pathlib import Path

import cojax

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_on_the_page_of_names():
    public = re.findall(r"^from .* import \w+ as (\w+)$", (ROOT / "cojax/__init__.py").read_text(), re.MULTILINE)
    page = (ROOT / "docs/api.md").read_text()
    missing = [name for name in public if not re.search(rf":: (cojax\.)?(\w+\.)?{name}$", page, re.MULTILINE)]
    assert not missing


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
