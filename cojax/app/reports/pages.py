"""Pages of HTML that ask for nothing from anywhere: style and pictures are inside, and no script runs."""

import base64
import io
import re
from importlib import resources
from typing import Any
from xml.etree import ElementTree

from ..._support.checks import CojaxInputError

MOST_SVG = 400_000  # bytes: a drawing with more lines than that is quicker shown as pixels
SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
LONG = re.compile(r"-?\d+\.\d{3,}")


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


def inline(figure: Any, name: str, alt: str) -> Any:
    """The figure as markup: a drawing that tells who points at a mark what it is, or pixels where that is too large.

    Letters are drawn as outlines, so that they need no font and no name is read as markup. `name` goes before every
    identifier: pictures on one page share none.
    """
    import matplotlib
    from markupsafe import Markup

    hinted = {f"hint{k}": artist for k, artist in enumerate(figure.findobj(lambda artist: hasattr(artist, "hints")))}
    for key, artist in hinted.items():
        artist.set_gid(key)
    drawn = io.BytesIO()
    # A fixed salt and no date: the same outcome gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "cojax", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    if drawn.tell() > MOST_SVG:
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", dpi=300)
        source = f"data:image/png;base64,{base64.b64encode(pixels.getvalue()).decode()}"
        return Markup('<img src="{}" alt="{}">').format(source, alt)
    root = ElementTree.fromstring(drawn.getvalue())
    for group in [root, *root.iter(f"{SVG}defs")]:
        for spare in group.findall(f"{SVG}metadata") + group.findall(f"{SVG}style"):  # a style would be the page's
            group.remove(spare)
    _tidy(root, name)
    for key, artist in hinted.items():
        for group in root.iterfind(f".//{SVG}g[@id='{name}-{key}']"):
            _tell(group, artist.hints)
    for side in ("width", "height"):  # the page says how large
        root.attrib.pop(side)
    root.attrib |= {"role": "img", "aria-label": alt, "style": "stroke-linejoin: round; stroke-linecap: butt"}
    ElementTree.register_namespace("", SVG[1:-1])
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _tidy(root: ElementTree.Element, name: str) -> None:
    """Identifiers of this picture alone, and coordinates to a hundredth of a point."""
    for element in root.iter():
        link = element.attrib.pop(XLINK, None)
        if link is not None:
            element.set("href", link)
        for key, value in element.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == "href" and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif key in ("d", "x", "y"):
                element.set(key, LONG.sub(lambda found: f"{float(found[0]):.2f}", value))
            else:
                element.set(key, value.replace("url(#", f"url(#{name}-"))


def _tell(group: ElementTree.Element, hints: list[str]) -> None:
    """A title in the group, or one in each of its marks."""
    marks = group.findall(f".//{SVG}use") or group.findall(f"./{SVG}path")
    for mark, text in [(group, hints[0])] if len(hints) == 1 else zip(marks, hints, strict=len(marks) == len(hints)):
        title = ElementTree.Element(f"{SVG}title")
        title.text = text
        mark.insert(0, title)
