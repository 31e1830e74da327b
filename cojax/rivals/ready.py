"""The list of rivals by name, each made ready with its numbers computed from the network and the problem."""

import jax

from .. import theory
from .._support.checks import CojaxInputError
from ..networks.base import Network
from ..networks.faults.faulty import untimed
from ..problems.problem import Decision, Problem
from .barrier_method import ready as ready_barrier_method
from .base import Rival
from .d_admm import ready as ready_d_admm
from .dual_consensus_admm import ready as ready_dual_consensus_admm
from .dual_gradient_tracking import ready as ready_dual_gradient_tracking
from .equal_utilisation import ready as ready_equal_utilisation
from .mirror_extra import ready as ready_mirror_extra
from .quantized_descent import ready as ready_quantized_descent
from .token_averaging import ready as ready_token_averaging

LEARNERS = {
    "d_admm": ready_d_admm,
    "quantized_descent": ready_quantized_descent,
}
ALLOCATORS = {
    "equal_utilisation": ready_equal_utilisation,
    "token_averaging": ready_token_averaging,
    "dual_consensus_admm": ready_dual_consensus_admm,
    "dual_gradient_tracking": ready_dual_gradient_tracking,
    "mirror_extra": ready_mirror_extra,
    "barrier_method": ready_barrier_method,
}
FOR_FIXED = ("d_admm", "quantized_descent", "token_averaging", "dual_consensus_admm", "mirror_extra")


def rival(name: str, problem: Problem, network: Network, start: Decision) -> Rival:
    """The rival of that name, its numbers from curvatures and spectra, as `cojax.tuned` takes them for methods.

        contest = {"DIGing": cojax.CoOpt(learn=cojax.tuned(cojax.DIGing, problem, network, start)),
                   "d_admm": cojax.rivals.rival("d_admm", problem, network, start)}

    They tell numbers of the dtype they compute in, or tokens, whatever the network's link is.
    Computes on the host, not under jit. Raises `CojaxInputError` for another name, a half that the problem does not
    have or that is more than one array, missing bounds, and a network that changes where a fixed one is needed.
    """
    ready = LEARNERS.get(name) or ALLOCATORS.get(name)
    if ready is None:
        raise CojaxInputError(f"rival knows {', '.join((*LEARNERS, *ALLOCATORS))}, not {name}.")
    part, shape, ndim = ("params", "(n, d)", 2) if name in LEARNERS else ("cpu", "(n,)", 1)
    leaves = jax.tree.leaves(getattr(start, part))
    if len(leaves) != 1 or leaves[0].ndim != ndim:
        got = "none" if not leaves else " and ".join(str(leaf.shape) for leaf in leaves)
        raise CojaxInputError(f"{name} needs {part} of shape {shape}, one array, got {got}: use a method of cojax.")
    network = untimed(network)
    if name in FOR_FIXED and not theory.is_fixed(network):
        raise CojaxInputError(
            f"{name} needs a fixed network without loss, got one that changes: use one graph, or a method of cojax."
        )
    return ready(problem, network, start)
