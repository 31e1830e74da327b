"""Many runs at once: everything that differs between them is stacked, and the runs lie side by side in memory."""

import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._support.checks import CojaxInputError, is_concrete
from .._support.compiling import compiled
from .._support.trees import Tree
from ..methods import Method
from ..networks.base import Network
from ..networks.laws import Along, is_law
from ..problems.problem import Decision, Scenario
from .cores import on_all_cores
from .endings import tally
from .labels import dataset, variables
from .loop import clock_of, gradient, init, observe, scan, transmit, update, wait
from .records import standard
from .solutions import Solution, State
from .solve import solve
from .status import moves_on, status_of

if TYPE_CHECKING:
    import pandas
    import xarray

# Where the runs lie in a state of many: last, so that one load brings several runs; the step is common to all.
LAST: Any = State._make([None, -1, -1, -1, -1, -1, -1])


class Sweep(NamedTuple):
    """What `sweep` returns: the grid of runs, and their solutions with the axes of the grid first.

        runs = cojax.sweep(build, step_size=[0.01, 0.03, 0.1], seed=range(5), num_steps=2000, every=20)
        runs.solution.trace.cost  # (3, 5, 100): by step size, seed and look
        runs.solution.x.cpu[2, 0]  # (n,): the shares of step size 0.1 and seed 0
        runs.to_xarray().cost.mean("seed")  # the same with labels
        numpy.savez("runs.npz", **runs.arrays())

    The solution is differentiable in the arrays that `build` closes over, as that of `solve`; axes and step are not.

    Fields:
        axes: by name, the values of every axis, or their positions where they are no numbers or names.
        solution: a `Solution` whose arrays have one leading axis per entry of `axes`, in their order.
        step: (c,), steps done at every row of the trace.
    """

    axes: dict[str, np.ndarray]
    solution: Solution
    step: Int[Array, " c"]

    def __repr__(self) -> str:
        grid = " x ".join(f"{len(values)} {name}" for name, values in self.axes.items())
        return (
            f"Sweep({grid}; {tally(self.solution.status)})" if is_concrete(self.solution.status) else f"Sweep({grid})"
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Axes, decisions, status and trace by name, for `numpy.savez(path, **sweep.arrays())`."""
        named = {**self.axes, "step": np.asarray(self.step)}
        return named | {name: array for name, (_, array) in variables(self.solution, self.axes).items()}

    def to_xarray(self) -> "xarray.Dataset":
        """The same as a labelled dataset, which saves itself: `.to_zarr(path)`, `.to_netcdf(path)`.

        A slash in a name becomes a dot, because files have folders for it.

        Raises `CojaxInputError` where xarray is missing.
        """
        named, coords = variables(self.solution, self.axes), {**self.axes, "step": self.step}
        return dataset("Sweep.to_xarray", named, coords, self.solution.names)

    def to_pandas(self) -> "pandas.DataFrame":
        """The trace as a table, a row for every run and look, indexed by the axes and `step`.

        Records of several numbers a look are left out: `to_xarray` has them. Raises `CojaxInputError` where xarray, or
        pandas, is missing.
        """
        data = self.to_xarray()
        looks = (*(str(dim).replace("/", ".") for dim in self.axes), "step")
        return data[[name for name, values in data.items() if values.dims == looks]].to_dataframe(dim_order=list(looks))


class Run(NamedTuple):
    """What `solve` takes."""

    problem: Scenario
    network: Network
    method: Method
    start: Any


def sweep(
    build: Callable[..., tuple],
    /,
    *,
    num_steps: int,
    every: int = 1,
    record: Callable = standard,
    **axes: Any,
) -> Sweep:
    """Every run of a grid, all at once in one compiled program.

    Args:
        build: `build(**point) -> (problem, network, method, start)`, called once per point of the grid with plain
            values. What it returns may differ between points in numbers only: step sizes, seeds, rho, data, weights.
        num_steps, every, record: as in `solve`.
        axes: the values of every axis by name, in the order of the axes of the result; the grid is their product.

    The runs are dealt out to all cores of a processor that this process may use, at least 32 to each; `taskset` makes
    them fewer, and the last bits of params may depend on how many they are. Under `jax.jit` and its like, where values
    are not known, and on a GPU all runs are one program.
    Arrays equal in all runs are kept once. Fastest where the graph is one of them, whatever the link: then runs lie
    on the last axis (`benchmarks/many_runs.py`). To sweep graphs, give all networks one layout, say `layout="dense"`.

    Returns: a `Sweep`, whose `solution` is that of `solve` for every point, up to rounding; shares are exact. It is
    differentiable in what `build` closes over.
    Raises `CojaxInputError` for runs that differ in more than numbers or go on from different steps, an empty axis, and
    whatever `solve` refuses.
    """
    if not callable(build):
        raise CojaxInputError(f"sweep needs a function build(**point) first, got {type(build).__name__}.")
    values = {name: _values(name, axis) for name, axis in axes.items()}
    if not values or {"step", "node"} & set(values):
        raise CojaxInputError("sweep needs at least one axis, such as step_size=[0.01, 0.1], none named step or node.")
    points = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    runs = [_check_run(build(**point), point) for point in points]
    _check_steps([run[3] for run in runs])
    jax.eval_shape(lambda run: solve(*run, num_steps=num_steps, every=every, record=record), runs[0])
    if runs[0][1].is_cut:
        raise CojaxInputError("sweep needs networks of one device, got one of cojax.shard; solve its runs in turn.")
    many, same = _stack(runs, points)
    one_graph = _only_link(many[1]) and isinstance(runs[0][3], Decision)
    # Books, and what arrives from outside, are kept run by run.
    one_graph = one_graph and not runs[0][1].keeps_books and runs[0][0].arrivals(0) is None
    program = _solve_side_by_side if one_graph else _solve_stacked
    solution = on_all_cores(program, many, same, len(runs), num_steps // every, every, record)
    grid = tuple(len(axis) for axis in values.values())
    solution = jax.tree.map(lambda leaf: leaf.reshape(*grid, *leaf.shape[1:]), solution)
    last = solution.state.step.reshape(-1)[0]
    steps = last - num_steps + every * jnp.arange(1, num_steps // every + 1, dtype=last.dtype)
    return Sweep({name: _label(axis) for name, axis in values.items()}, solution, steps)


@functools.partial(compiled, static_argnums=(2, 3, 4, 5))
def _solve_stacked(many: Tree, same: Tree, num_runs: int, num_chunks: int, every: int, record: Callable) -> Solution:
    """Runs on the first axis: for graphs that differ, whose flows share nothing."""

    def one(many: Tree) -> Solution:
        return solve(*eqx.combine(many, same), num_steps=num_chunks * every, every=every, record=record)

    return jax.vmap(one, axis_size=num_runs)(many)


@functools.partial(compiled, static_argnums=(2, 3, 4, 5))
def _solve_side_by_side(many: Tree, same: Tree, num_runs: int, num_chunks: int, every: int, record: Callable):
    """Runs on the last axis: the flow over their one graph is computed as of one message with longer rows.

    Mapping over the whole step instead would put the runs first again: that is how JAX maps over a gather.
    """
    lanes = functools.partial(jax.vmap, axis_size=num_runs)

    def of_runs(function: Callable, *, in_axes: tuple, out_axes: Any) -> Callable:
        """`function` of one run and what else it takes, mapped over all runs."""

        def of_one(many: Tree, *args: Any) -> Any:
            return function(Run(*eqx.combine(many, same)), *args)

        return functools.partial(lanes(of_one, in_axes=(0, *in_axes), out_axes=out_axes), many)

    def one_step(state: State) -> State:
        graph = eqx.combine(many, same)[1].at(state.step)  # its link is of all runs, and no part of a flow
        laws = laws_of(state.step, state.method)
        flow = graph.flow(state.wire, jax.tree.map(_lane, laws, is_leaf=is_law))
        inner = inner_of(state, flow)
        after = rest(state, inner, slopes(state, inner))
        return after if clock is None else after._replace(elapsed=waited(clock, state, after))

    def end(run: Run, state: State) -> Solution:
        x = run.method.at(state.step).query(state.method)
        status = status_of(run.problem.at(state.step), x, state, moves_on(run.network, run.method, x, state))
        return Solution(x, None, state, status, names=run.network.node_names)

    laws_of = of_runs(lambda run, step, inner: run.method.at(step).along(inner), in_axes=(None, -1), out_axes=0)
    inner_of = of_runs(lambda run, *args: update(*run[:3], *args), in_axes=(LAST, -1), out_axes=-1)
    # Mapped by itself: what reads a gradient of matrix products where JAX puts the runs would read it by columns.
    slopes = of_runs(lambda run, *args: gradient(run.problem, run.method, *args), in_axes=(LAST, -1), out_axes=-1)
    rest = of_runs(lambda run, *args: transmit(*run[:3], *args), in_axes=(LAST, -1, -1), out_axes=LAST)
    timed = eqx.combine(many, same)[1].clock is not None
    clock = of_runs(lambda run: clock_of(run.network), in_axes=(), out_axes=0)() if timed else None
    waited = of_runs(lambda run, *args: wait(*run[:3], *args), in_axes=(0, LAST, LAST), out_axes=-1)
    look = of_runs(
        lambda run, state: observe(run.problem, run.method, state, record), in_axes=(LAST,), out_axes=(-1, 0)
    )
    state = of_runs(lambda run: init(*run), in_axes=(), out_axes=LAST)()
    state, trace = scan(one_step, look, state, num_chunks, every)
    solution = of_runs(end, in_axes=(LAST,), out_axes=0)(state)
    return solution._replace(trace=jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), trace))


class _Lane(Along):
    """A law with numbers of its own for every run, on differences with the runs last."""

    law: Along

    def __call__(self, weights, difference):
        def one(law: Along, difference: Array) -> Array:
            return law(weights, difference)

        return jax.vmap(one, in_axes=(0, -1), out_axes=-1)(self.law, difference)


def _lane(law: Along) -> Along:
    # A law without numbers is known to networks by its class, which may compute it as a matrix product.
    return _Lane(law) if jax.tree.leaves(law) else law


def _only_link(network: Any) -> bool:
    """Whether all that differs between networks is their link."""
    return len(jax.tree.leaves(network)) == len(jax.tree.leaves(network.link))


def _values(name: str, axis: Any) -> list:
    try:
        values = list(axis)
    except TypeError as error:
        raise CojaxInputError(f"sweep needs a sequence of values for {name}, got {axis!r}.") from error
    if not values:
        raise CojaxInputError(f"sweep needs at least one value for {name}, got an empty sequence.")
    return values


def _label(values: list) -> np.ndarray:
    """Numbers and names as they are; of other things, graphs say, their positions."""
    values = [_as_typed(value) for value in values]
    plain = all(isinstance(value, str | int | float) for value in values)
    return np.asarray(values) if plain else np.arange(len(values))


def _as_typed(value: Any) -> Any:
    """A number of JAX or NumPy as it would be typed: 0.01 of a float32 is 0.01, not 0.00999999977648258."""
    if not isinstance(value, jax.Array | np.ndarray | np.generic) or np.ndim(value) or not is_concrete(value):
        return value
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return value
    number = np.asarray(value)[()]
    return float(str(number)) if jnp.issubdtype(number.dtype, jnp.floating) else number.item()


def _check_run(run: Any, point: dict) -> tuple:
    if not isinstance(run, tuple) or len(run) != len(Run._fields):
        raise CojaxInputError(
            f"sweep needs a function that returns ({', '.join(Run._fields)}), got {run!r} at {point}."
        )
    return run


def _check_steps(starts: list) -> None:
    """Refuse runs that go on from different steps: all are looked at after the same ones."""
    steps = [start.step for start in starts if isinstance(start, State)]
    done = sorted({int(step) for step in steps}) if steps and is_concrete(steps) else []
    if len(done) > 1:
        raise CojaxInputError(
            "sweep needs runs that go on from the same step, got states after "
            f"{', '.join(map(str, done))} steps: they are looked at after the same ones; solve them in turn."
        )


def _stack(runs: list[tuple], points: list[dict]) -> tuple[Tree, Tree]:
    """What differs between the runs, stacked, and what is the same in all, each with None in place of the other."""
    flat = [[jax.tree.flatten(part) for part in run] for run in runs]
    for run, point in zip(flat, points, strict=True):
        for name, (leaves, kind), (first, wanted) in zip(Run._fields, run, flat[0], strict=True):
            shapes, others = [np.shape(leaf) for leaf in leaves], [np.shape(leaf) for leaf in first]
            if kind == wanted and shapes == others:
                continue
            got = "another structure" if kind != wanted else f"shapes {shapes} instead of {others}"
            raise CojaxInputError(
                f"sweep needs runs that differ in numbers only, got a {name} with {got} at {point}: define functions "
                'outside of build, give all networks one layout such as "dense", and sweep kinds one at a time.'
            )
    many, same = [], []
    for place, (_, kind) in enumerate(flat[0]):
        columns = list(zip(*(run[place][0] for run in flat), strict=True))
        alike = [all(_equal(leaf, column[0]) for leaf in column[1:]) for column in columns]
        stacked = [None if equal else jnp.stack(column) for column, equal in zip(columns, alike, strict=True)]
        many.append(jax.tree.unflatten(kind, stacked))
        kept = [column[0] if equal else None for column, equal in zip(columns, alike, strict=True)]
        same.append(jax.tree.unflatten(kind, kept))
    return tuple(many), tuple(same)


def _equal(leaf: Any, other: Any) -> bool:
    if leaf is other or not is_concrete(leaf, other):
        return leaf is other
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf, other = jax.random.key_data(leaf), jax.random.key_data(other)
    return bool(np.array_equal(np.asarray(leaf), np.asarray(other)))
