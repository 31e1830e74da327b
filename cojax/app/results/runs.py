"""A run takes a case through its steps, chunk by chunk, and puts what it came to beside the centralised optimum."""

import contextlib
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Float

from ...optimum.allocations import Allocation, allocate
from ...optimum.certificates import Certificate, certificate, is_certified, relative
from ...optimum.margins import marginals
from ...optimum.references import Reference, reference
from ...problems.costs import Separable
from ...problems.problem import Decision, Problem, Softened
from ...runs.pieces import Ran, in_pieces
from ...runs.solutions import Solution
from ...runs.solve_to import short_of
from ...runs.status import Status, is_lost
from ..cases.cases import Case, model_cost
from ..cases.centres import cost_words
from ..plans import plans
from . import worth
from .outcome import Outcome
from .scores import learned
from .training import Training, clock_of, training

PACKAGES = ("cojax", "jax", "jaxlib", "numpy", "scikit-learn")


class InterruptedRun(Exception):
    """A signal ended the steps before the run was over."""

    def __init__(self, ran: Ran):
        assert ran.signal is not None
        super().__init__(f"interrupted after {int(ran.solution.state.step)} steps")
        self.signal, self.saved = ran.signal, ran.kept


def run(case: Case, progress: Callable[[int], Any] = lambda steps: None, checkpoint: Path | None = None) -> Outcome:
    """All steps of a case, unless it settles within its tolerance or diverges before; then its judgement.

    A run settles at half of its digits, and goes on from there where the tolerance asks for more: what ends it is what
    judges it. One that settled and does not keep the tolerance is not called converged.

    `progress` is called with the number of steps done since its last call. `checkpoint` is a file that the run is saved
    to as it goes on; where it exists, the run goes on from there. Raises `CojaxInputError` where the centralised
    optimum of the plan does not exist, and `InterruptedRun` after a signal.
    """
    began = time.perf_counter()
    if case.plan.clock is not None:  # what it lacks is said before the run
        clock_of(case, np.asarray(allocate(shares_only(case)).cpu))
    ran, seconds = _time_steps(case, progress, checkpoint)
    if ran.signal is not None:
        raise InterruptedRun(ran)
    x, trace = ran.solution.x, jax.tree.map(np.asarray, ran.solution.trace)
    status, tolerance = Status(int(ran.solution.status)), case.plan.tolerance
    central = _central_model(case)
    shares = shares_only(case)
    priced = worth.find_worth(shares)
    allocation = priced.allocation
    exact = Decision(x.params, allocation.cpu)
    judged, judged_exact = certificate(_as_stated(case), x), certificate(_as_stated(case), exact)
    judged_run = certificate(as_run(case), x)
    kept = status != Status.NOT_FINITE and bool(is_certified(judged_run, tolerance))
    certified = kept and bool(is_certified(judged_exact, tolerance))
    if status == Status.CONVERGED and not kept:
        status = short_of(ran.solution, judged_run, tolerance)
    plan = case.plan
    return Outcome(
        title=plan.title,
        names=case.names,
        columns=case.centres.columns,
        lower=case.centres.lower,
        upper=case.centres.upper,
        budget=float(plan.cpu.budget),
        cpu=np.asarray(x.cpu),
        marginal=marginal_costs(shares, x.cpu),
        exact_cpu=np.asarray(allocation.cpu),
        exact_marginal=marginal_costs(shares, allocation.cpu),
        price=float(allocation.price),
        worth=worth.worth(case.centres.columns, priced),
        learned=None if central is None else learned(case, x.params, central.params),
        positions=case.centres.positions or case.wiring.positions,
        edges=case.wiring.pairs,
        num_graphs=plan.graph.switching,
        trace=trace,
        cost=float(case.problem.costs(x).sum()),
        exact_cost=float(case.problem.costs(exact).sum()),
        reference_cost=_reference_cost(shares, allocation, central),
        certificate=numbers_of(judged),
        run_certificate=numbers_of(judged_run),
        exact_certificate=numbers_of(judged_exact),
        tolerance=tolerance,
        certified=certified,
        status=status.name,
        settings=_settings(plan, int(trace.step[-1])) | _proofs(case),
        seconds=seconds | {"total": time.perf_counter() - began},
        cpu_unit=plan.units.cpu,
        money=plan.units.money,
        training=_training(case, np.asarray(allocation.cpu), trace),
        saved=ran.kept,
    )


def _training(case: Case, share: np.ndarray, trace: Any) -> Training | None:
    """How long the rounds of the run take with the shares to use; each told as many bits."""
    if case.plan.clock is None or not len(trace.step):
        return None
    steps = int(trace.step[-1])
    return training(case, share, steps, float(trace.bits[-1]) / (steps + 1))


def _time_steps(case: Case, progress: Callable[[int], Any], checkpoint: Path | None) -> tuple[Ran, dict[str, float]]:
    plan, marks = case.plan, [time.perf_counter()]
    if checkpoint is not None:
        with contextlib.suppress(OSError):  # the run need not be saved to be right
            checkpoint.parent.mkdir(parents=True, exist_ok=True)

    def told(steps: int) -> None:
        marks.append(time.perf_counter())
        progress(steps)

    soft = as_run(case)

    def done(solution: Solution) -> bool:
        status = int(solution.status)
        settled = status == Status.CONVERGED and bool(is_certified(certificate(soft, solution.x), plan.tolerance))
        return settled or is_lost(solution)

    ran = in_pieces(
        case.running,
        case.wiring.network,
        case.method,
        case.start,
        num_steps=plan.steps,
        every=plan.every,
        done=done,
        checkpoint=checkpoint,
        told=told,
    )
    return ran, {"compile": marks[min(1, len(marks) - 1)] - marks[0], "run": marks[-1] - marks[min(1, len(marks) - 1)]}


def _as_stated(case: Case) -> Problem:
    """The problem itself, in the form of `as_run`, so that one compilation judges both."""
    problem = case.problem
    cost = Softened(problem.cost, problem.penalty)
    none = jnp.full(problem.num_nodes, jnp.inf)
    return Problem(cost, (problem.data, -none, none), problem.budget, lower=problem.lower, upper=problem.upper)


def as_run(case: Case) -> Problem:
    """The problem that the run solves: its bounds are in the cost, and the only ones left keep the cost finite."""
    soft = case.running.softened()
    if case.plan.cpu.cost != "delay" or isinstance(case.plan.penalty, plans.Barrier):
        return soft
    return eqx.tree_at(lambda problem: problem.lower, soft, replace_fn=jnp.zeros_like)


def shares_only(case: Case) -> Problem:
    """The CPU half, which does not depend on the model: the cost of a plan is a plain sum."""
    problem = case.problem
    cost = Separable(None, case.problem.cost.allocate)  # pyright: ignore[reportFunctionMemberAccess]
    return Problem(cost, (None, problem.data[1]), problem.budget, lower=problem.lower, upper=problem.upper)


def _central_model(case: Case) -> Reference | None:
    """The model that all samples in one place would give, by the same cost."""
    if case.dataset is None:
        return None
    problem = Problem(Separable(model_cost(case.plan), None), (case.problem.data[0], None))
    return reference(problem, case.start.params[0])


def _reference_cost(shares: Problem, allocation: Allocation, central: Reference | None) -> float:
    cost = float(shares.costs(Decision(None, allocation.cpu)).sum())
    return cost if central is None else cost + float(central.cost)


def marginal_costs(shares: Problem, cpu: Any) -> Float[np.ndarray, " n"]:
    return np.asarray(marginals(shares, None)(cpu[:, None])[:, 0])


def numbers_of(judged: Certificate) -> dict[str, float]:
    """The numbers of a certificate, and `worst`: the largest of them relative to its size, which must pass."""
    numbers = {name: float(getattr(judged, name)) for name in judged._fields if name != "sizes"}
    errors = [float(error) for error in relative(judged).values()]
    return numbers | {"worst": float(np.max(errors))}  # unlike max, NaN where one is


def _settings(plan: plans.Plan, steps: int) -> dict[str, Any]:
    """What ran, in words and numbers."""

    def said(part: Any) -> str:
        keys = msgspec.to_builtins(part)
        name = keys.pop("name", None)
        body = ", ".join(
            f"{key}={said(value) if hasattr(value, '__struct_fields__') else value}"
            for key, value in ((key, getattr(part, key)) for key in keys)
            if value is not None
        )
        return f"{name}({body})" if name else body

    parts = {
        "learn": said(plan.method.learn) if plan.model else "nothing",
        "allocate": said(plan.method.allocate),
        "link": said(plan.link),
        "graph": said(plan.graph),
        "model": said(plan.model) if plan.model else "none",
        "cost of a share": cost_words(plan),
        "penalty": said(plan.penalty) if plan.penalty else "none",
    }
    return parts | {"steps": steps, "seed": plan.seed, "device": jax.devices()[0].device_kind} | versions()


def _proofs(case: Case) -> dict[str, str]:
    """What the computed steps rest on: below which number, by which proof, and what that assumes."""
    return {f"{half}: stable below": str(limit) for half, limit in case.limits.items()}


def versions() -> dict[str, str]:
    """Of what a run depends on."""
    found = {"python": platform.python_version(), "cojax": "from a source tree"}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an extra that is not there
            continue
    return found
