"""Whether a problem, a network, a method and a start fit each other, asked before a run is traced."""

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import CojaxInputError, check_leaves, is_concrete
from .layouts import Network
from .members import check_members
from .methods import Method, Scheduled
from .problems import Decision, Problem, check_start
from .sharding import is_sharded, num_callers


def check_step_size(network: Network, method: Method) -> None:
    """Whether steps per node are as many as the nodes."""
    num_nodes = num_callers(network)
    first = method.at(0)
    shape = jnp.shape(getattr(getattr(first, "learn", first), "step_size", 0.0))
    if shape not in ((), (num_nodes,)):
        raise CojaxInputError(
            f"solve needs one step_size, or one for each of the {num_nodes} nodes, got shape {shape}."
        )


def check_cost(problem: Problem, start: Decision) -> None:
    """Whether the cost of a node is one real number, before a derivative of it is asked for."""
    try:
        costs = jax.eval_shape(jax.vmap(problem.cost), start, problem.data)
    except CojaxInputError:
        raise
    except Exception as error:  # whatever a caller's function raises when it is traced
        reason = str(error).partition("\n")[0]
        raise CojaxInputError(
            f"The cost of a node cannot be traced ({type(error).__name__}: {reason}); write cost(x, data) in "
            "jax.numpy, without branches on values."
        ) from error
    shape, dtype = getattr(costs, "shape", None), getattr(costs, "dtype", bool)
    if shape != (problem.num_nodes,) or not jnp.issubdtype(dtype, jnp.floating):
        one = type(costs).__name__ if shape is None else f"shape {shape[1:]} and dtype {dtype}"
        raise CojaxInputError(f"The cost of a node needs to be one real number, of shape (), got {one}.")


def check_kept(problem: Problem, network: Network, method: Method) -> None:
    """Whether the shares may be given a flow that does not sum to zero in every single step."""
    check_members(problem, network)
    halves = (method, getattr(method, "learn", None), getattr(method, "allocate", None))
    if is_sharded(network) and any(isinstance(half, Scheduled) for half in halves):
        raise CojaxInputError(
            "solve needs a method of constant numbers on a network of cojax.shard, got a Scheduled: numbers by step "
            "look like numbers by node there; solve in pieces, each with its own numbers."
        )
    allocator = getattr(method.at(0), "allocate", method.at(0))
    if not allocator.adds_flow and (network.keeps_books or problem.arrivals(0) is not None):
        raise CojaxInputError(
            f"{type(allocator).__name__} moves shares by more than the flow of a step, which a Ledger or a budget or "
            "nodes that change cannot account for; use HeavyBall or Nesterov."
        )


def check_sizes(problem: Problem, network: Network, start: Decision) -> None:
    """Whether all have one number of nodes, and the start both halves of the problem, in floats."""
    check_start("solve", problem, start)
    sizes = {"problem": problem.num_nodes, "network": network.num_nodes}
    for leaf in jax.tree.leaves(start):
        sizes["start"] = leaf.shape[0] if leaf.ndim else 0
        if len(set(sizes.values())) > 1:
            break
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{size} in {name}" for name, size in sizes.items())
        raise CojaxInputError(f"solve needs one number of nodes everywhere, got {got}.")
    if (start.cpu is None) != (problem.budget is None):
        raise CojaxInputError("solve needs a start made by this problem's start(...): only one of them has cpu.")
    if problem.lower is not None and start.cpu.shape != problem.lower.shape:
        raise CojaxInputError(f"solve needs cpu of shape {problem.lower.shape} at the start, got {start.cpu.shape}.")
    for leaf in jax.tree.leaves(start):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise CojaxInputError(f"solve needs a start of floats, got {leaf.dtype}; make it by problem.start(...).")


def check_run(owner: str, problem: Problem, network: Network, start: Decision) -> None:
    """Refuse what is no run, or one that is traced, where numbers are chosen by looking at it."""
    for name, value, kind in (("problem", problem, Problem), ("network", network, Network), ("start", start, Decision)):
        if not isinstance(value, kind):
            raise CojaxInputError(f"{owner} needs a cojax {kind.__name__} for {name}, got {type(value).__name__}.")
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
