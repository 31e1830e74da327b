"""Whether a problem, a network, a method and a start fit each other, asked before a run is traced."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._support.checks import CojaxInputError, is_concrete
from ..methods import Method, Scheduled
from ..methods.coopt import check_allocates
from ..networks.base import Network
from ..networks.clocks import Clock
from ..networks.faults.faulty import members_of
from ..problems.problem import Decision, Scenario, check_start
from ..problems.rows import ShardedProblem


def check_step_size(network: Network, method: Method) -> None:
    """Whether steps per node are as many as the nodes."""
    num_nodes = network.num_callers
    shape = jnp.shape(getattr(method.at(0).halves[0], "step_size", 0.0))
    if shape not in ((), (num_nodes,)):
        raise CojaxInputError(
            f"solve needs one step_size, or one for each of the {num_nodes} nodes, got shape {shape}."
        )


def check_clock(owner: str, network: Network, cpu: Any, step: Any = 0) -> None:
    """Whether every node with work to do has a share to do it with after `step` steps, as far as that is known."""
    clock = network.clock
    if not isinstance(clock, Clock) or clock.share is not None:
        return
    if cpu is None or cpu.ndim != 1:
        got = "no shares" if cpu is None else f"{cpu.shape[1]} shares a node"
        raise CojaxInputError(
            f"{owner} needs to know with which share a node does its work, got a Timed network and a problem with "
            f"{got}: give cojax.Clock a share."
        )
    moves = members_of(network)
    if moves is not None and is_concrete(moves) and (np.diff(np.asarray(moves.roll).astype(int), axis=0) > 0).any():
        raise CojaxInputError(
            f"{owner} needs to know with which share a node does its work that joins, which has none yet: give "
            "cojax.Clock a share."
        )
    if network.is_cut or not is_concrete(cpu, clock.work, moves, step):
        return
    there = True if moves is None else np.asarray(moves.there(step))
    idle = np.flatnonzero((np.asarray(cpu) <= 0) & (np.asarray(clock.work) > 0) & there)
    if idle.size:
        raise CojaxInputError(
            f"{owner} needs a share > 0 at every node with work to do on a Timed network, got "
            f"{float(cpu[idle[0]]):g} at node {idle[0]}: start from other shares, give cojax.Clock a share, or the "
            "node no work."
        )


def check_kept(problem: Scenario, network: Network, method: Method) -> None:
    """Whether the shares may be given a flow that does not sum to zero in every single step."""
    check_rows(problem, network)
    if network.is_cut and any(isinstance(half, Scheduled) for half in (method, *method.halves)):
        raise CojaxInputError(
            "solve needs a method of constant numbers on a network of cojax.shard, got a Scheduled: numbers by step "
            "look like numbers by node there; solve in pieces, each with its own numbers."
        )
    for half in method.at(0).halves:
        if half.period not in (None, network.period):
            raise CojaxInputError(
                f"{type(half).__name__} exchanges in one step of {half.period}, on a network that talks in one of "
                f"{network.period}: give it every={network.period}, or cojax.Intermittent(network, {half.period})."
            )
        if half.takes_turns and (network.keeps_books or network.link.remembers):
            got = "a Ledger" if network.keeps_books else str(network.link)
            raise CojaxInputError(
                f"{type(half).__name__} with parts > 1 tells other numbers in every exchange, which {got} would take "
                "for changes of those told last; use the link Ideal() or Quantized(...), without a Ledger."
            )
    if problem.base.budget is not None:
        check_allocates("solve", method.halves[1])
    allocator = method.at(0).halves[1]
    if not allocator.adds_flow and (network.keeps_books or problem.arrivals(0) is not None):
        raise CojaxInputError(
            f"{type(allocator).__name__} moves shares by more than the flow of a step, which a Ledger or a budget or "
            "nodes that change cannot account for; use HeavyBall or Nesterov."
        )


def check_sizes(problem: Scenario, network: Network, start: Decision) -> None:
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
    if (start.cpu is None) != (problem.base.budget is None):
        raise CojaxInputError("solve needs a start made by this problem's start(...): only one of them has cpu.")
    lower = problem.base.lower
    if lower is not None and start.cpu.shape != lower.shape:
        raise CojaxInputError(f"solve needs cpu of shape {lower.shape} at the start, got {start.cpu.shape}.")
    for leaf in jax.tree.leaves(start):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise CojaxInputError(f"solve needs a start of floats, got {leaf.dtype}; make it by problem.start(...).")


def check_rows(problem: Any, network: Network) -> None:
    """Whether the rows of a problem and of a network are the same nodes."""
    _check_order(problem, network)
    _check_members(problem, network)


def _check_order(problem: Any, network: Network) -> None:
    """Refuse a problem and a network whose nodes are not in the same order."""
    if network.is_reordered == problem.in_device_order or (problem.in_device_order and network.is_cut):
        return
    raise CojaxInputError(
        "solve needs the problem and the network that one cojax.shard returned, got one of them with another: their "
        "nodes are in different orders, and every node would have another one's neighbours."
    )


def _check_members(problem: Any, network: Any) -> None:
    """Refuse a problem and a network that do not say the same about who is there; as far as they are known."""
    found = members_of(network)
    if network.has_node is not None or (isinstance(problem, ShardedProblem) and problem.members is not None):
        if problem.members is None or network.has_node is None or found is not None:
            raise CojaxInputError(
                "solve needs the problem and the network that one cojax.shard returned, got one of them with another: "
                "of the rows that shard adds, both have to know that they hold no node."
            )
        return
    if problem.members is None and found is None:
        return
    if found is None:
        raise CojaxInputError(
            "solve needs a network on which nodes that are away are silent, got one on which all talk; use "
            "cojax.Members(network, problem)."
        )
    moves = getattr(problem, "moves", None)
    pairs = zip(jax.tree.leaves(moves), jax.tree.leaves(found), strict=False)
    if moves is None or (is_concrete(moves, found) and not all(np.array_equal(*pair) for pair in pairs)):
        raise CojaxInputError(
            "solve needs a network with the Members of its own problem, got those of another; use "
            "cojax.Members(network, problem) with this problem."
        )
