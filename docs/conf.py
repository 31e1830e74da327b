"""The site is built from the README, the notebooks and the docstrings: `make docs` writes build/docs/index.html."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import api_pages
import latex2mathml.converter
from docutils import nodes

import cojax

project = "cojax"
author = "the cojax authors"
version = release = cojax.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "myst_nb"]
html_math_renderer = "mathml"

# The sources are the project's folder, so that links from the README to other files hold here too.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/*/*.md",
    "notebooks/*.ipynb",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
]
nb_execution_mode = "off"  # `make notebooks` runs them; the site shows the outputs that are committed
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# A link to a source file is right in the repository and leads out of the site.
suppress_warnings = ["myst.xref_missing"]

html_theme = "furo"
html_title = "cojax"
html_show_sphinx = False

default_role = "code"
autosummary_generate = False  # `api_pages` writes the pages
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_custom_sections = [("Fields", "params_style")]

CODE = re.compile(r"(`[^`]*`)")


def _as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text: |x|, x_i and 2 * x mean what they say, and are no reStructuredText."""
    written, block = [], False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not block and written and not written[-1]:
            written += ["::", ""]  # an equation or a program: what is indented after an empty line
            block = True
        block = block and (indented or not line)
        written.append(line if block else _escaped(line))
    lines[:] = written


def _escaped(line):
    parts = CODE.split(line)
    parts[::2] = [re.sub(r"([|*_])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _as_imported(app, what, name, obj, options, signature, returned):
    """A signature with JAX's array under the name that users import."""
    return tuple(text and text.replace("jaxlib._jax.Array", "Array") for text in (signature, returned))


def _inline_formula(self, node):
    self.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def _formula(self, node):
    self.body.append(latex2mathml.converter.convert(node.astext(), display="block"))
    raise nodes.SkipNode


def _add_root(app, error):
    """A page at the root of the site that leads to its first one."""
    if error is None and app.builder.format == "html":
        lines = ['<!doctype html><meta charset="utf-8"><title>cojax</title>']
        lines += ['<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">cojax</a>']
        Path(app.outdir).joinpath("index.html").write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app):
    api_pages.write()
    # Browsers draw MathML by themselves: a formula needs no script and no network.
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_formula, None))
    app.connect("build-finished", _add_root)
    app.connect("autodoc-process-docstring", _as_written, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-signature", _as_imported)
