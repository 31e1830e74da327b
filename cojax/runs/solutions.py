"""What a run is between two steps, and what it came to."""

from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Array, Float, Int

from .._support.names import Names
from .._support.trees import Tree
from ..networks.base import Wire
from ..networks.clocks import Elapsed
from ..problems.problem import Decision
from .endings import describe_ending
from .labels import check_single, dataset, node_table, variables
from .progress import Progress

if TYPE_CHECKING:
    import pandas
    import xarray


class State(NamedTuple):
    """All that the next step needs: feed it back into `solve` and the run goes on, bitwise as one long run.

    Fields:
        step: (), steps done.
        imbalance: () or (r,), the largest |sum of cpu, on its way too, - budget| over all steps so far.
        method: what the method remembers, shaped as its `init` makes it.
        grad: the gradient at the decision, shaped as it.
        wire: what neighbours hear in the next step, and what the link remembers.
        progress: of the looks of `solve` so far, by which a status is told.
        elapsed: on a `Timed` network when every node had told what it knows, `state.elapsed.seconds` (n,); else None.
    """

    step: Int[Array, ""]
    imbalance: Float[Array, "*r"]
    method: Any
    grad: Tree
    wire: Wire
    progress: Progress
    elapsed: Elapsed | None = None


class Solution(NamedTuple):
    """What `solve` returns; `print` says how the run ended, what it kept, and what to do next.

        solution = cojax.solve(problem, network, method, start, num_steps=2000, every=20)
        solution.x.cpu  # (n,): who gets how much
        solution.trace.cost  # (100,): the cost after 20, 40, ... steps
        cojax.Status(int(solution.status)).name  # "CONVERGED", "OUT_OF_STEPS", ...
        more = cojax.solve(problem, network, method, solution.state, num_steps=2000)  # goes on, bit for bit

    The decision, and the floats of trace and state, are differentiable in every array of problem, network, method and
    start. Under `jax.vmap`, and in a `Sweep`, every field has the axes of the runs first.

    Fields:
        x: the last `Decision`, params (n, ...) in every leaf and cpu (n,) or (n, r); nodes in your order.
        trace: the record of every chunk, stacked: a `cojax.records.Trace` with (num_steps // every,) in every field, or
            what `record` returned.
        state: all that the next step needs: give it to `solve` as its start.
        status: (), the number of a `cojax.Status`, which says how the run ended; not differentiable.
        certificate: a `Certificate` from `solve_to`, None from `solve`; `cojax.certificate(problem, x)` makes one.
        names: of the nodes, a sequence of n texts; None where the network has none, of an array say.
    """

    x: Decision
    trace: Any
    state: State
    status: Int[Array, ""]
    certificate: Any = None
    names: Names | None = None

    def __repr__(self) -> str:
        return describe_ending(self)

    def to_pandas(self) -> "pandas.DataFrame":
        """The decision as a table, a row a node: `cpu`, or `cpu.0` ... of several resources, and `params.` columns.

        Of the trace, `pandas.DataFrame(solution.trace._asdict())` makes one.

        Raises `CojaxInputError` where pandas is missing, and for the solution of many runs.
        """
        check_single("Solution.to_pandas", self.status)
        return node_table("Solution.to_pandas", self.x._asdict(), self.names)

    def to_xarray(self) -> "xarray.Dataset":
        """Decision, status and trace as a labelled dataset: by `node`, and by `step` where the trace has steps.

        Raises `CojaxInputError` where xarray is missing, and for the solution of many runs.
        """
        check_single("Solution.to_xarray", self.status)
        step = getattr(self.trace, "step", None)
        return dataset("Solution.to_xarray", variables(self, {}), {"step": step}, self.names)
