"""The methods that a plan and a contest can name, and the numbers that each takes."""

from collections.abc import Callable, Iterable

from ... import methods, rivals
from ..._support.checks import CojaxInputError

LEARNERS: dict[str, Callable[..., methods.Method]] = {
    "diging": methods.DIGing,
    "dgd": methods.DGD,
    "extra": methods.EXTRA,
    "nids": methods.NIDS,
    "exact_diffusion": methods.ExactDiffusion,
    "atc_tracking": methods.ATCTracking,
    "choco": methods.Choco,
    "lead": methods.LEAD,
    "apapc": methods.APAPC,
    "tracking_momentum": methods.TrackingMomentum,
}
ALLOCATORS: dict[str, Callable[..., methods.Method]] = {
    "laplacian": methods.Laplacian,
    "heavy_ball": methods.HeavyBall,
    "nesterov": methods.Nesterov,
    "momentum_flow": methods.MomentumFlow,
    "finite_time": methods.FiniteTime,
    "fixed_time": methods.FixedTime,
    "saturated": methods.Saturated,
    "single_bit": methods.SingleBit,
}
# Besides a step size; what each is, the method says.
NUMBERS = {
    "mixing": ("diging",),
    "gain": ("choco", "lead", "apapc"),
    "blend": ("apapc",),
    "momentum": ("tracking_momentum", "heavy_ball", "nesterov", "momentum_flow"),
    "level": ("saturated",),
}
# On the undirected graphs of a plan they are methods that it has.
DIRECTED = {"PushDIGing": "ATCTracking", "PushPull": "DIGing"}


def shown(name: str) -> str:
    """The name of a method as the library writes it; a rival's name is its own."""
    kind = LEARNERS.get(name) or ALLOCATORS.get(name)
    return kind.__name__ if kind is not None else name


def known() -> list[str]:
    """Every name that a contest knows, learners first."""
    return [*LEARNERS, *rivals.LEARNERS, *ALLOCATORS, *rivals.ALLOCATORS]


def found(names: Iterable[str]) -> list[str]:
    """The known names that `names` mean, in any case, with or without underscores, in the order of `known`.

    Raises `CojaxInputError` for one that means none, and for one that is made for directed graphs.
    """
    meant = {_plain(name): name for name in known()}
    wanted = []
    for name in names:
        for directed, same in DIRECTED.items():
            if _plain(name) == _plain(directed):
                raise CojaxInputError(
                    f"{directed} is for directed graphs, and those of a plan are undirected, where it is {same}: "
                    f"name {same}."
                )
        if _plain(name) not in meant:
            every = ", ".join(map(shown, known()))
            raise CojaxInputError(f"--methods knows {every}, not {name}.")
        wanted.append(meant[_plain(name)])
    return [name for name in known() if name in wanted]


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()
