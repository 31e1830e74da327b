"""Two methods side by side, one for the model and one for the CPU shares."""

from typing import Any, NamedTuple

from .._support.checks import CojaxInputError
from ..problems.problem import Decision
from .base import Hold, Method
from .facts import half_of


def check_allocates(owner: str, method: Method) -> None:
    """Refuse a method for the shares that is known to be one for the model: it would not keep their sum."""
    if half_of(method) == "learn":
        name = _name(method)
        raise CojaxInputError(
            f"{owner} needs a method such as Laplacian(0.1) for the cpu, got {name}, which learns models and would "
            f"lose the budget; use CoOpt(learn={name}(...), allocate=Laplacian(...))."
        )


def _name(method: Method) -> str:
    return type(method.at(0)).__name__


class CoOptState(NamedTuple):
    learn: Any
    allocate: Any


class CoOpt(Method):
    """Any learner beside any allocator, both methods: one gradient and one exchange a step serve both.

        method = cojax.CoOpt(learn=cojax.DIGing(0.05, mixing=0.5), allocate=cojax.Laplacian(0.1))
        jax.grad(final_cost)(method).learn.step_size  # every number of both halves is differentiable

    Each half sees its own part of the joint gradient, so a cost that couples params and cpu is optimised jointly.

    Fields:
        learn: the method that moves `Decision.params` (n, ...): DIGing, NIDS, ...; `Hold()`, which moves nothing, by
            default.
        allocate: the method that moves `Decision.cpu` (n,) or (n, r): Laplacian, Nesterov, ...; `Hold()` by default.

    `cojax.default` chooses both and the link between them. Raises `CojaxInputError` for a half that is no method, or a
    CoOpt, and for one of cojax's own methods in the place of the other half.
    Source: arXiv 2510.25176 for the pair DIGing and Laplacian.
    """

    learn: Any = Hold()
    allocate: Any = Hold()

    def __check_init__(self):
        for name, half in (("learn", self.learn), ("allocate", self.allocate)):
            if not isinstance(half, Method):
                raise CojaxInputError(f"CoOpt needs a method such as DIGing(0.05) for {name}, got {half!r}.")
            if isinstance(half, CoOpt):
                raise CojaxInputError(f"CoOpt needs a method of one half for {name}, got a CoOpt; use its {name}.")
        check_allocates("CoOpt", self.allocate)
        if half_of(self.learn) == "allocate":
            raise CojaxInputError(
                f"CoOpt needs a method such as DIGing(0.05) for learn, got {_name(self.learn)}, which moves cpu and "
                "would hold the sum of the params instead of finding their optimum; use CoOpt(allocate=...)."
            )

    @property
    def halves(self) -> tuple[Method, Method]:
        return self.learn, self.allocate

    def at(self, k: Any) -> "CoOpt":
        learn, allocate = self.learn.at(k), self.allocate.at(k)
        return self if learn is self.learn and allocate is self.allocate else CoOpt(learn, allocate)

    def without(self, state: CoOptState, node: Any, heir: Any) -> CoOptState:
        return CoOptState(
            self.learn.without(state.learn, node, heir), self.allocate.without(state.allocate, node, heir)
        )

    def init(self, x: Decision, grad: Decision) -> CoOptState:
        return CoOptState(self.learn.init(x.params, grad.params), self.allocate.init(x.cpu, grad.cpu))

    def message(self, state: CoOptState, grad: Decision):
        return self.learn.message(state.learn, grad.params), self.allocate.message(state.allocate, grad.cpu)

    def along(self, state: CoOptState):
        return self.learn.along(state.learn), self.allocate.along(state.allocate)

    def update(self, state: CoOptState, grad: Decision, flow) -> CoOptState:
        return CoOptState(
            self.learn.update(state.learn, grad.params, flow[0]),
            self.allocate.update(state.allocate, grad.cpu, flow[1]),
        )

    def query(self, state: CoOptState) -> Decision:
        return Decision(self.learn.query(state.learn), self.allocate.query(state.allocate))
