"""The methods that a plan and a contest can name, and the numbers that each takes."""

from collections.abc import Callable, Iterable

from ... import rivals
from ..._support.checks import CojaxInputError, did_you_mean
from ...methods import Method
from ...methods.facts import KNOWN

FIRST = ("diging", "laplacian")  # what a plan takes that names none


def _of_half(half: str) -> dict[str, Callable[..., Method]]:
    named = {facts.in_plans: kind for kind, facts in KNOWN.items() if facts.half == half and facts.in_plans}
    return {name: named[name] for name in sorted(named, key=lambda name: (name not in FIRST, name))}


LEARNERS, ALLOCATORS = _of_half("learn"), _of_half("allocate")
# Besides a step size, with the methods that take it; what each is, the method says.
NUMBERS: dict[str, tuple[str, ...]] = {
    number: tuple(facts.in_plans for facts in KNOWN.values() if facts.in_plans and number in facts.numbers)
    for number in sorted({number for facts in KNOWN.values() if facts.in_plans for number in facts.numbers})
}
# On the undirected graphs of a plan they are methods that it has.
DIRECTED = {"PushDIGing": "ATCTracking", "PushPull": "DIGing"}


def title(name: str) -> str:
    """The name of a method as the library writes it; a rival's name is its own."""
    kind = LEARNERS.get(name) or ALLOCATORS.get(name)
    return kind.__name__ if kind is not None else name


def known_names() -> list[str]:
    """Every name that a contest knows, learners first."""
    return [*LEARNERS, *rivals.LEARNERS, *ALLOCATORS, *rivals.ALLOCATORS]


def match_names(names: Iterable[str]) -> list[str]:
    """The known names that `names` mean, in any case, with or without underscores, in the order of `known`.

    Raises `CojaxInputError` for one that means none, and for one that is made for directed graphs.
    """
    meant = {_plain(name): name for name in known_names()}
    wanted = []
    for name in names:
        for directed, same in DIRECTED.items():
            if _plain(name) == _plain(directed):
                raise CojaxInputError(
                    f"{directed} is for directed graphs, and those of a plan are undirected, where it is {same}: "
                    f"name {same}."
                )
        if _plain(name) not in meant:
            every = ", ".join(map(title, known_names()))
            raise CojaxInputError(f"--methods knows {every}, not {name}{did_you_mean(name, known_names()) or '.'}")
        wanted.append(meant[_plain(name)])
    return [name for name in known_names() if name in wanted]


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()
