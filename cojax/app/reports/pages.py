"""Pages of HTML that ask for nothing from anywhere: style and pictures are inside, and no script runs."""

import base64
import io
from importlib import resources
from typing import Any

from ..._support.checks import CojaxInputError

MOST_SVG = 400_000  # bytes: a drawing with more lines than that is quicker shown as pixels


def render(template: str, **values: Any) -> str:
    """A template of this package with `values` in it; raises `CojaxInputError` where jinja2 is missing."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise CojaxInputError("Reports need jinja2: pip install 'cojax[plots]'.") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source, style = (_read(name) for name in (f"{template}.html.j2", "style.css"))
    return environment.from_string(source).render(style=Markup(style), **values)


def _read(name: str) -> str:
    return resources.files("cojax.app.reports").joinpath(name).read_text(encoding="utf-8")


def inline(figure: Any) -> str:
    """The figure as a data URI: an SVG while that is small, else a PNG."""
    import matplotlib

    kind, buffer = "svg+xml", io.BytesIO()
    # A fixed salt and no date: the same outcome gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "cojax", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    if buffer.tell() > MOST_SVG:
        kind, buffer = "png", io.BytesIO()
        figure.savefig(buffer, format="png", dpi=300)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
