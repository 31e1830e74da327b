"""The pages of names, written from what `cojax` shows: `docs/api.md` lists them, `docs/api/` has every docstring.

    python docs/api_pages.py

The site writes them anew whenever it is built. A name's topic is the package that it lives in.
"""

import ast
import enum
import inspect
from pathlib import Path
from types import ModuleType

import cojax

HERE = Path(__file__).parent
TITLES = {
    "problems": "Problems",
    "networks": "Networks, links and faults",
    "methods": "Methods",
    "runs": "Runs",
    "optimum": "The optimum",
    "theory": "Theory",
    "tuning": "Choosing and tuning numbers",
    "rivals": "Rivals and comparisons",
    "data": "Files and data sets",
    "plots": "Pictures",
}
PREFACE = """# Names

Every public name, by the package it lives in. `import cojax` brings all of them: `cojax.solve`, or with its namespace
`cojax.costs.Price`. This page is written by `docs/api_pages.py`.
"""


def reexported(module: ModuleType) -> set[str]:
    """The names that a module hands on: those of `import x as x`."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    parts = [part for node in tree.body if isinstance(node, ast.ImportFrom) for part in node.names]
    return {part.name for part in parts if part.name == part.asname}


def names_of(module: ModuleType) -> list[str]:
    """The public functions and classes of a module, those that it hands on included; a package hands all on."""
    handed_on = set(vars(module)) if hasattr(module, "__path__") else reexported(module)

    def is_public(name: str, value: object) -> bool:
        home = str(getattr(value, "__module__", ""))
        ours = home == module.__name__ or (name in handed_on and home.startswith("cojax."))
        plain = inspect.isclass(value) or inspect.isfunction(value)
        return ours and plain and bool(value.__doc__) and not name.startswith(("_", "check_"))

    return [name for name, value in vars(module).items() if is_public(name, value)]


def home_of(value: object) -> tuple[str, str]:
    """The package of cojax that an object or a module lives in, and the package within that one, if there is one."""
    path = value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", ""))
    _, package, *rest = path.split(".")
    return "problems" if package == "_support" else package, rest[0] if len(rest) > 1 else ""


def topics() -> dict[str, dict[str, list[str]]]:
    """For every package its groups of public names: those of `cojax` by inner package, then those of each namespace."""
    found: dict[str, dict[str, list[str]]] = {package: {"": []} for package in TITLES}
    public = {name: getattr(cojax, name) for name in names_of(cojax)}
    for name, value in public.items():
        package, room = home_of(value)
        found[package].setdefault(room, []).append(f"cojax.{name}")
    for space in sorted(reexported(cojax)):
        module = getattr(cojax, space)
        if isinstance(module, ModuleType):
            names = [name for name in names_of(module) if getattr(module, name) not in public.values()]
            found[home_of(module)[0]][f"cojax.{space}"] = [f"cojax.{space}.{name}" for name in names]
    return {package: {name: paths for name, paths in groups.items() if paths} for package, groups in found.items()}


def value_of(path: str) -> object:
    """What a public name such as `cojax.costs.Price` stands for."""
    value: object = cojax
    for part in path.split(".")[1:]:
        value = getattr(value, part)
    return value


def directive(path: str) -> str:
    """The lines that have the docstring of a name written, with those methods that have one of their own."""
    value = value_of(path)
    if not inspect.isclass(value):
        return f".. autofunction:: {path}\n"
    if issubclass(value, Exception):
        return f".. autoexception:: {path}\n"
    if issubclass(value, enum.Enum):
        return f".. autoclass:: {path}\n   :members:\n   :undoc-members:\n"
    inherited = {name for base in value.__mro__[1:] for name in vars(base)}
    methods = (inspect.isfunction, lambda member: isinstance(member, property | classmethod | staticmethod))
    own = [
        name
        for name, member in vars(value).items()
        if any(test(member) for test in methods)
        and member.__doc__
        and name not in inherited
        and not name.startswith("_")
    ]
    return f".. autoclass:: {path}\n" + (f"   :members: {', '.join(own)}\n" if own else "")


def rst(lines: str) -> str:
    """Lines of reStructuredText inside of a page of Markdown."""
    return f"```{{eval-rst}}\n{lines}```\n"


def heading(package: str, group: str) -> str:
    """The heading of a group within its topic, and what its module says of itself; nothing for the first group."""
    if group in ("", f"cojax.{package}"):
        return ""
    module = value_of(group) if group.startswith("cojax.") else value_of(f"cojax.{package}.{group}")
    title = f"`{group}`" if group.startswith("cojax.") else group.capitalize()
    return f"## {title}\n\n{inspect.getdoc(module) or ''}\n\n"


def pages() -> dict[str, str]:
    """Every page by its name: the list, and one for each topic."""
    summary, written = [PREFACE], {}
    for package, groups in topics().items():
        about = f"{inspect.getdoc(getattr(cojax, package))}\n"
        summary.append(f"## {TITLES[package]}\n\n{about}")
        page = [f"# {TITLES[package]}\n\n{about}"]
        for group, paths in groups.items():
            listed = "".join(f"   {path}\n" for path in paths)
            summary.append(rst(f".. autosummary::\n   :nosignatures:\n\n{listed}"))
            page.append(heading(package, group) + rst("\n".join(map(directive, paths))))
        written[f"api/{package}"] = "\n".join(page)
    contents = "".join(f"{name}\n" for name in written)
    summary.append(f"```{{toctree}}\n:hidden:\n\n{contents}```\n")
    return {"api": "\n".join(summary)} | written


def write() -> None:
    """Write what has changed."""
    for name, text in pages().items():
        path = HERE / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
