"""Whether what is to be tuned is a run, and what it is judged by a number."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, check_kinds, check_leaves, is_concrete
from ..networks.base import Network
from ..problems.checks import check_cost
from ..problems.problem import Decision, Problem, check_start


def check_run(owner: str, problem: Problem, network: Network, start: Decision, halves: Sequence[str]) -> None:
    """Refuse what is no run of one of `halves`, or one that is traced, where numbers are chosen by looking at it."""
    check_kinds(owner, ("problem", problem, Problem), ("network", network, Network), ("start", start, Decision))
    check_start(owner, problem, start)
    check_leaves(owner, network=network)
    sizes = {problem.num_nodes, network.num_nodes, *((*np.shape(leaf), 0)[0] for leaf in jax.tree.leaves(start))}
    if len(sizes) > 1:
        raise CojaxInputError(
            f"{owner} needs one number of nodes everywhere, got {problem.num_nodes} in problem, {network.num_nodes} in "
            f"network and arrays of shapes {[np.shape(leaf) for leaf in jax.tree.leaves(start)]} in start."
        )
    if not is_concrete(problem, network, start):
        raise CojaxInputError(f"{owner} computes on the host, got traced values; call it outside of jit.")
    if not any(jax.tree.leaves(getattr(start, half)) for half in halves):
        wanted = " or ".join(halves)
        raise CojaxInputError(f"{owner} needs a start with {wanted}, got one without: it decides on nothing else.")
    check_cost(owner, problem.cost, start, problem.data)


def check_no_books(owner: str, network: Network) -> None:
    """Refuse a network over which the link of a default, which remembers, cannot work."""
    if network.keeps_books:
        raise CojaxInputError(
            f"{owner} needs a network without a Ledger, over which its link cannot remember; choose numbers by "
            "cojax.tuned for the graphs in it, network.graphs, and try half of their step."
        )


def as_number(wanted: str, found: Any, dtype: Any) -> Float[Array, ""]:
    """What a caller's function returned, in `dtype`; refuses in the words of `wanted` what is no single real number."""
    if not isinstance(found, int | float | complex | np.generic | np.ndarray | jax.Array):
        got: Any = "None" if found is None else type(found).__name__
    elif jnp.shape(found):
        got = f"shape {jnp.shape(found)}"
    elif jnp.isdtype(got := jnp.result_type(found), ("real floating", "integral")):
        return jnp.asarray(found, dtype)
    raise CojaxInputError(f"{wanted}, got {got}.")
