"""What a status promises, checked from the problem's data alone on every run that any test makes.

The parts of a certificate that cost no compilation: all but the gap, whose search over the bounds takes seconds to
compile for every new shape; `tests/runs/test_contract.py` holds whole certificates against a status, for every method.
"""

import contextlib
import functools

import jax
import numpy as np

import cojax
from cojax._support.checks import is_concrete
from cojax.runs import loop, pieces

# Gradients are taken at the mean of the params here and at each node's own in the status: they differ by the curvature
# times the disagreement, each within its own tolerance.
MARGIN = 10.0


def broken(problem, x):
    """Which promise of CONVERGED the decision `x` breaks, in words; none is an empty list."""
    eps = max(float(np.finfo(np.float32 if leaf.dtype.itemsize < 4 else leaf.dtype).eps) for leaf in jax.tree.leaves(x))
    found, tolerance = [], MARGIN * eps**0.5
    there = slice(None) if problem.members is None else np.asarray(problem.members)
    mean = jax.tree.map(lambda leaf: _mean(leaf, there), x.params)

    def rows(tree):
        flat = _flat(tree)
        return flat[there] if flat.size else flat

    def slopes_at(params, cpu):
        """(n, d) and (n, r) in float64, of those who are there."""
        return tuple(rows(half) for half in _slopes(problem, cojax.Decision(params, cpu)))

    def hold(name, value, size, other):
        """Beside its own size; where that vanishes at the optimum, beside another of the same unit."""
        if not value <= tolerance * size and not value <= tolerance * other():
            found.append(f"{name} {float(value):.1e} beside {float(size):.1e} or {float(other()):.1e}")

    def bare():
        return slopes_at(jax.tree.map(np.zeros_like, mean), x.cpu)[0]

    def changed():
        """How far gradients would move the params: those of one node beside what params of this size make of them."""
        change = np.linalg.norm(own - bare(), axis=1).max()
        return largest * np.linalg.norm(own, axis=1).max() / change if change > 0 else 0.0

    def swing():
        """What the price would change by for all shares, by finite differences of the marginal costs."""
        less = jax.tree.map(lambda leaf: leaf * (1 - 2.0**-8), x.cpu)
        rates = (marginal - slopes_at(mean, less)[1]) / np.where(cpu == 0, np.inf, cpu * 2.0**-8)
        rates = np.where(np.isfinite(rates) & (rates > 0), rates, np.inf)
        return (np.abs(cpu).sum(0) / np.maximum((1 / rates).sum(0), np.finfo(float).tiny)).max()

    own, marginal = slopes_at(mean, x.cpu)
    params, cpu = rows(x.params), rows(x.cpu)
    largest = np.abs(params).max(initial=0)
    hold("consensus", np.abs(params - rows(mean)).max(initial=0), largest, changed)
    lengths = np.linalg.norm(own, axis=1)
    hold("gradient", np.linalg.norm(own.mean(0)), lengths.max(), lambda: np.linalg.norm(bare(), axis=1).max())
    if x.cpu is not None:
        if np.any(problem.budget):  # of 0 all shares may vanish at the optimum, and leave nothing to hold it beside
            hold("stationarity", np.ptp(marginal, axis=0).max() / 2, np.abs(marginal).max(), swing)
        off = np.abs(cpu.sum(0) - np.asarray(problem.budget, np.float64)).max()
        hold("balance", off, np.abs(problem.budget).max(), lambda: np.abs(cpu).max())
    return found


@jax.jit  # one program, where its operations one by one are many
def _slopes(problem, x):
    return problem.grad(x)


def _mean(leaf, there):
    """The mean over the nodes that are there, for every node."""
    array = np.asarray(leaf)
    return np.broadcast_to(array[there].astype(np.float64).mean(0).astype(array.dtype), array.shape)


def _flat(tree):
    """(n, all entries) of a tree in float64; one row and no columns of an empty one."""
    leaves = [np.asarray(leaf, np.float64).reshape(len(leaf), -1) for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves, axis=1) if leaves else np.zeros((1, 0))


@contextlib.contextmanager
def watched():
    """Inside, a solution that calls itself converged and is not is an AssertionError of whoever asked for it."""
    whole, piece = loop._run, pieces.ended

    def checked(real, problem, *arguments):
        solution = real(problem, *arguments)
        if is_concrete(solution) and int(solution.status) == cojax.Status.CONVERGED:
            x = arguments[0].to_rows(solution.x)  # in the order of the problem's nodes
            promises = broken(problem.at(solution.state.step), x)
            assert not promises, f"called converged, but {', '.join(promises)}"
        return solution

    loop._run, pieces.ended = (functools.partial(checked, real) for real in (whole, piece))
    try:
        yield
    finally:
        loop._run, pieces.ended = whole, piece
