"""The cost of one node, mapped over all nodes."""

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float, Int

from .._support import exact_grid, trees
from .._support.blocks_of_rows import first_row, laid_like, of_blocks, rows_lie
from .._support.checks import (
    CojaxInputError,
    check_arrays,
    check_kinds,
    check_leaves,
    device_array,
    floating,
    is_concrete,
    is_small_float,
    one_line,
    real_array,
    whole_number,
)
from .._support.compiling import compiled, is_traced
from .._support.maxima import with_safe_maxima
from .._support.modules import arrays_only
from .._support.precision import in_full
from .._support.reprs import brief, describe, shapes
from .._support.trees import Tree
from .checks import check_cost
from .curving import AroundCost

# What is said of a gradient that is none.
NO_GRADIENT = (
    "is not finite at the start, which no step size mends: start elsewhere, or write the cost so that it has one "
    "there, by jnp.where around a root, a norm or a logarithm"
)
FIELDS = ("cost", "data", "budget", "lower", "upper", "penalty")  # of a `Problem`


class Decision(NamedTuple):
    """What is decided: at one node inside a cost, stacked over nodes everywhere else.

        def cost(x, data):  # of one node: x.params is (d,), x.cpu is ()
            return jnp.sum((x.params - data) ** 2) + x.cpu**2

        start = problem.start(params=jnp.zeros((n, d)))  # start.cpu is (n,)

    Make one by `Problem.start`, which puts the shares on the grid that keeps their sum exact. A pytree: both fields are
    differentiable, and either may be None where there is nothing to decide.

    Fields:
        params: the model copy of every node, any pytree of floats, (n, ...) in every leaf.
        cpu: the CPU share of every node, (n,), or (n, r) for r kinds of resource, in the unit of the budget.
    """

    params: Tree = None
    cpu: Any = None

    def __repr__(self) -> str:
        return brief(self)


class Scenario(eqx.Module):
    """A problem of every step: a `Problem` is one that stays; `Changing` and `Minibatch` have one and vary it."""

    @property
    @abc.abstractmethod
    def base(self) -> "Problem":
        """A problem of all nodes that are ever there, with the cost, bounds and shapes that hold at every step."""

    @abc.abstractmethod
    def at(self, k: Int[Array, ""] | int) -> "Problem":
        """The problem in force after `k` steps."""

    @abc.abstractmethod
    def start(self, params: Any = None, cpu: Any = None) -> Any:
        """A decision to start from, its shares on the grid that keeps their sum exact."""

    @property
    def num_nodes(self) -> int:
        """n, of all nodes that are ever there."""
        return self.base.num_nodes

    def arrivals(self, k: Int[Array, ""] | int) -> Float[Array, "n *r"] | None:
        """What reaches the share of every node in step `k` - 1, so that they sum to the budget after `k` steps."""
        return None

    @property
    def last_change(self) -> int:
        """The step from which the problem stays as it is."""
        return 0

    @property
    def members(self) -> Bool[Array, " n"] | None:
        """Who is there at first, where nodes come and go; None: all are."""
        return None

    @property
    def in_device_order(self) -> bool:
        """Whether its rows are those of `cojax.shard`, and not the caller's."""
        return False

    def handed_over(self, k: Int[Array, ""] | int, method: Any, state: Any) -> Any:
        """The state of `method` after `k` steps, once those who leave or join with the last of them have done so."""
        return state


class Problem(Scenario):
    """min sum_i cost(x_i, data_i) subject to equal params, sum_i cpu_i = budget, and lower <= cpu <= upper.

    Args:
        cost: `cost(x, data)` of one node, a scalar; `x` is a `Decision` without the node axis, `data` one row of
            every leaf of `data`. A plain function, or an `equinox.Module` whose arrays are then differentiable.
        data: a pytree of arrays with the n nodes on the first axis; a pandas DataFrame becomes a dict of its columns.
        budget: the CPU total, () or (r,), in the unit of `cpu`. Its last bits are rounded (1e-14 relative in float64,
            2e-6 in float32), so that shares can sum to it exactly.
        lower, upper: bounds of the shares, () or shaped as they; for r resources also (n, 1) or (n,), one per node, and
            (r,), one per resource, where n differs from r; none by default.
        penalty: what the dynamics add to the cost outside of the bounds, `penalty(cpu, lower, upper)` of one node:
            one of `cojax.penalties.PowerPenalty`, `SoftplusPenalty`, `BarrierPenalty`. Without it, bounds are only
            checked and used by `reference`; with it they are soft: the run may pass them by a little.

    Every array is differentiable. Raises `CojaxInputError` for data whose leaves differ in n, NaN in the data,
    lower > upper, or a budget outside of the summed bounds.
    """

    cost: Callable
    data: Tree
    budget: Float[Array, "*r"] | None
    lower: Float[Array, "n *r"] | None
    upper: Float[Array, "n *r"] | None
    penalty: Callable | None

    def __init__(
        self,
        cost: Callable,
        data: Tree,
        budget: Any = None,
        *,
        lower: Any = None,
        upper: Any = None,
        penalty: Callable | None = None,
    ):
        self.cost = jax.tree.map(_as_own, trees.as_pytree(cost))
        self.data = jax.tree.map(_as_data, with_columns(data))
        nodes = _check_data(self.data)
        self.penalty = None if penalty is None else jax.tree.map(_as_own, trees.as_pytree(penalty))
        if budget is None:
            if lower is not None or upper is not None:
                raise CojaxInputError("Problem needs a budget where bounds are given; pass budget=....")
            self.budget = self.lower = self.upper = None
            return
        budget = _as_float("budget", budget)
        if budget.ndim > 1 or budget.size == 0:
            raise CojaxInputError(f"Problem needs a budget of shape () or (r,), got {budget.shape}.")
        if jnp.finfo(budget.dtype).bits < 32:  # too few bits to count shares in
            budget = budget.astype(jnp.float32)
        self.budget = exact_grid.round_budget(budget)
        lies = rows_lie(jax.tree.leaves(self.data)[0])
        self.lower = bound_of("lower", lower, -jnp.inf, nodes, budget, lies)
        self.upper = bound_of("upper", upper, jnp.inf, nodes, budget, lies)
        if is_concrete(budget, self.lower, self.upper):
            _check_bounds(np.asarray(budget), self.lower, self.upper)

    def __repr__(self) -> str:
        try:
            facts = [f"{self.num_nodes} nodes", f"cost={brief(self.cost)}", f"data={shapes(self.data)}"]
            ends = {"lower": self.lower, "upper": self.upper}
            free = [name for name, end in ends.items() if is_concrete(end) and np.isinf(np.asarray(end, float)).all()]
        except Exception:  # half made, or a tree of a problem's shape with other leaves
            return describe(self)
        return describe(self, *facts, leave_out=("cost", "data", "stages", "draws", "batch", *free))

    @property
    def num_nodes(self) -> int:
        """n, the length of the first axis of the data."""
        return jax.tree.leaves(self.data)[0].shape[0]

    @property
    def base(self) -> "Problem":
        return self

    def at(self, k: Int[Array, ""] | int) -> "Problem":
        """This problem, at every step."""
        return self

    @in_full
    def costs(self, x: Decision) -> Float[Array, " n"]:
        """The cost of every node at its own decision, without the penalty."""
        try:
            # One program, where by itself JAX would compile one for every operation.
            costs = _costs(self, x) if is_traced() else _compiled_costs(self, x)
        except Exception:
            check_cost("Problem.costs", self.cost, x, self.data)
            raise
        like = getattr(costs, "shape", None), getattr(costs, "dtype", bool)
        if like[0] != (self.num_nodes,) or not jnp.issubdtype(like[1], jnp.floating):
            check_cost("Problem.costs", self.cost, x, self.data)
        return costs

    def grad(self, x: Decision) -> Decision:
        """The gradient of every node's cost plus penalty at its own decision, shaped and typed as `x`."""
        return self.grad_on(x, self.data) if is_traced() else _compiled_grad(self, x)

    @in_full
    def grad_on(self, x: Decision, data: Tree) -> Decision:
        """The same on other `data`, a part of this problem's say."""
        soft = Softened(self.cost, self.penalty)
        return trees.cast_like(slopes(soft, x, (data, self.lower, self.upper)), x)

    def softened(self) -> "Problem":
        """The problem that a run solves: the penalty is part of the cost, and bounds are left where it keeps them."""
        if self.penalty is None and self.budget is None:
            return self
        soft = Problem(Softened(self.cost, self.penalty), (self.data, self.lower, self.upper), self.budget)
        if self.lower is None or not getattr(self.penalty, "keeps_bounds", False):
            return soft
        return eqx.tree_at(lambda problem: (problem.lower, problem.upper), soft, (self.lower, self.upper))

    def start(self, params: Tree = None, cpu: Any = None) -> Decision:
        """A decision to start from, its shares on the grid that keeps their sum exact.

        Args:
            params: (n, ...) in every leaf.
            cpu: (n,) or (n, r) shares that sum to the budget, or None for the even split, moved into the bounds
                where one is exceeded.

        Raises `CojaxInputError` for a wrong first axis, NaN, or shares that do not sum to the budget.
        """
        check_leaves("Problem.start", problem=self)
        params = as_params("Problem.start", params, finite=True)
        for leaf in jax.tree.leaves(params):
            self._check_nodes("params", leaf)
        if self.budget is None:
            if cpu is not None:
                raise CojaxInputError("Problem.start got cpu, but the problem has no budget; give the problem one.")
            return Decision(params, None)
        assert self.lower is not None and self.upper is not None
        if cpu is None:
            return Decision(params, _even_start(self.budget, self.lower, self.upper))
        cpu = _as_float("cpu", cpu).astype(self.budget.dtype)
        self._check_nodes("cpu", cpu)
        if cpu.shape != self.lower.shape:
            raise CojaxInputError(f"Problem.start needs cpu of shape {self.lower.shape}, got {cpu.shape}.")
        if is_concrete(cpu, self.budget):
            _check_sum(cpu, np.asarray(self.budget))
        settled, off = _settle(cpu, self.budget)
        if is_concrete(off) and float(off) > 0:
            raise CojaxInputError(
                f"Problem.start needs shares of the size of the budget {show(self.budget)}, got one of "
                f"{show(jnp.max(jnp.abs(cpu)))}: numbers that large cannot sum to it exactly in {cpu.dtype}."
            )
        return Decision(params, settled)

    def _check_nodes(self, name: str, leaf: Array) -> None:
        if leaf.ndim == 0 or leaf.shape[0] != self.num_nodes:
            raise CojaxInputError(
                f"Problem.start needs {self.num_nodes} nodes on the first axis of {name}, got shape {leaf.shape}."
            )


def as_params(owner: str, params: Tree, *, finite: bool = False) -> Tree:
    """Params as a pytree of float arrays; what else a module holds, its functions say, is part of its structure."""
    held = arrays_only(owner, params)
    held = jax.tree_util.tree_map_with_path(lambda path, leaf: _as_param(owner, path, leaf, finite), held)
    if not jax.tree.leaves(held) and jax.tree.leaves(params):
        raise CojaxInputError(
            f"{owner} needs params that hold arrays, got a {type(params).__name__} without any: there is nothing "
            "to learn."
        )
    return held


def replicate(params: Tree, num_nodes: int) -> Tree:
    """The same params at every node, for `Problem.start`.

        start = problem.start(cojax.replicate(model, problem.num_nodes))

    Args:
        params: of one node: a pytree of floats, or a module of Equinox or Flax as it comes.
        num_nodes: n.

    Returns: the pytree with leaves (n, ...); what else a module holds is kept. Differentiable in every leaf. Raises
    `CojaxInputError` for params without floats, and num_nodes < 1.
    """
    num_nodes = whole_number("replicate", "num_nodes", num_nodes, at_least=1)
    held = as_params("replicate", params)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (num_nodes, *leaf.shape)), held)


def _as_param(owner: str, path: tuple, leaf: Any, finite: bool) -> Array:
    place = jax.tree_util.keystr(path).removeprefix(".arrays")
    name = f"params{place}"
    leaf = floating(leaf)  # a plain 0, of one node's params to start from
    if not (isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jnp.number)):  # a key, or flags
        leaf = device_array(owner, name, leaf)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise CojaxInputError(
            f"{owner} needs floats for {name}, got {leaf.dtype}: JAX differentiates with respect to floats only; make "
            "them floats, or keep what is not learned in the cost or its data (of a Flax NNX module, take the state of "
            "nnx.split(model, nnx.Param, ...) that holds the params)."
        )
    if finite and is_concrete(leaf) and not all(of_blocks(_all_finite, leaf)):
        raise CojaxInputError(f"{owner} needs finite numbers for {name}, got {leaf.dtype} with NaN or infinity.")
    return leaf


def _all_finite(block: np.ndarray) -> bool:
    return bool(np.isfinite(block).all())


def remake(problem: Problem, **parts: Any) -> Problem:
    """A plain problem with the fields of `problem`, some replaced; nothing is checked or rounded anew."""
    return eqx.tree_at(
        lambda problem: [getattr(problem, name) for name in parts], problem, list(parts.values()), is_leaf=_is_none
    )


def _is_none(node: Any) -> bool:
    return node is None


def check_plain(owner: str, problem: Any) -> None:
    """Refuse what is no problem, and one that samples its data or changes by step, where these would be lost."""
    if type(problem) is not Problem:
        raise CojaxInputError(
            f"{owner} needs a plain Problem, one that stays as it is from step to step, got {type(problem).__name__}."
        )
    check_leaves(owner, problem=problem)


def check_scenario(owner: str, problem: Any) -> None:
    """Refuse what is no problem of any kind."""
    if not isinstance(problem, Scenario):
        raise CojaxInputError(f"{owner} needs a cojax Problem for problem, got {type(problem).__name__}.")


def check_start(owner: str, problem: Any, start: Any) -> None:
    """Refuse a start of anything but arrays, in the precision of the problem and of JAX as it is set."""
    check_scenario(owner, problem)
    check_kinds(owner, ("start", start, Decision))
    check_arrays(owner, start)
    check_leaves(owner, problem=problem, start=start)
    budget = problem.base.budget
    if start.cpu is None or budget is None or start.cpu.dtype == budget.dtype:
        return
    raise CojaxInputError(
        f"{owner} needs cpu in the {budget.dtype} of the budget at the start, got {start.cpu.dtype}: shares "
        "are counted on one grid with it; make the start by problem.start(...)."
    )


class Softened(AroundCost):
    """A cost with its penalty, which does not see the params; the bounds are among the data."""

    penalty: Callable | None

    def __call__(self, x: Decision, data: Tree) -> Any:
        data, lower, upper = data
        cost = self.cost(x, data)
        if self.penalty is None or x.cpu is None:
            return cost
        return cost + self.penalty(x.cpu, lower, upper).astype(cost.dtype)


def slopes(cost: Callable, x: Decision, data: Tree) -> Decision:
    """The gradient of every node's cost at its own decision."""
    try:
        return jax.vmap(jax.grad(with_safe_maxima(cost)))(x, data)
    except CojaxInputError:
        raise
    except Exception as error:  # whatever JAX raises of a function that it cannot differentiate
        check_cost("Problem.grad", cost, x, data)
        raise CojaxInputError(
            f"The cost of a node cannot be differentiated ({one_line(error)}); write it without lax.while_loop and "
            "callbacks, or give that part of it a rule by jax.custom_jvp."
        ) from error


def check_gradient(grad: Decision) -> None:
    """Refuse a gradient, at a start, that is not finite at a node, on the host."""
    for half, tree in zip(Decision._fields, grad, strict=True):
        for leaf in jax.tree.leaves(tree):
            finite = np.isfinite(np.asarray(leaf)).reshape(leaf.shape[0], -1).all(1)
            if not finite.all():
                raise CojaxInputError(f"The gradient of node {np.argmin(finite)} in {half} {NO_GRADIENT}.")


def with_columns(data: Tree) -> Tree:
    """Data with every DataFrame in it as a dict of its columns."""
    return jax.tree.map(_columns, data, is_leaf=_is_frame)


def _is_frame(node: Any) -> bool:
    return type(node).__module__.startswith("pandas") and hasattr(node, "columns")


def _columns(node: Any) -> Any:
    """The columns of a DataFrame by name; as an array they would lose their names."""
    if not _is_frame(node):
        return node
    if not node.columns.is_unique:
        raise CojaxInputError("Problem needs a DataFrame whose columns have names of their own, got a name twice.")
    return {str(name): node[name].to_numpy() for name in node.columns}


def _as_data(leaf: Any) -> Array:
    on_device = isinstance(leaf, jax.Array)  # keys and tracers included
    array = leaf if on_device else np.asarray(leaf)
    wrong = jnp.issubdtype(array.dtype, jnp.complexfloating) if on_device else array.dtype.kind not in "biuf"
    if wrong and not is_small_float(array.dtype):
        raise CojaxInputError(f"Problem needs real numbers in data, got an array of {array.dtype}.")
    if not on_device and array.dtype.kind == "b":
        return jnp.asarray(array)
    return device_array("Problem", "data", array)


def _as_own(leaf: Any) -> Any:
    """A number of the cost or the penalty itself, as it is where JAX can hold it."""
    if isinstance(leaf, jax.Array):
        return device_array("Problem", "the numbers of its cost", leaf)
    if np.asarray(leaf).dtype.kind in "iuf":
        device_array("Problem", "the numbers of its cost", leaf)
    return leaf


def _as_real(name: str, value: Any) -> Array:
    if isinstance(value, jax.Array):
        value = device_array("Problem", name, value)
    else:
        array = real_array("Problem", name, value)
        # Whole numbers become floats before JAX sees them: it would wrap those beyond its integers.
        value = device_array("Problem", name, array.astype(float) if array.dtype.kind in "iu" else array)
    if jnp.issubdtype(value.dtype, jnp.integer):
        value = value.astype(jnp.result_type(float))
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise CojaxInputError(f"Problem needs real numbers for {name}, got {value.dtype}.")
    return value


def _as_float(name: str, value: Any) -> Array:
    value = _as_real(name, value)
    if is_concrete(value) and not all(of_blocks(_all_finite, value)):
        raise CojaxInputError(f"Problem needs finite numbers for {name}, got {value.dtype} with NaN or infinity.")
    return value


def _check_data(data: Tree) -> int:
    leaves = jax.tree.leaves(data)
    if not leaves or any(leaf.ndim == 0 for leaf in leaves):
        raise CojaxInputError(
            "Problem needs data with the nodes on the first axis of every array, got a scalar or none."
        )
    lengths = sorted({leaf.shape[0] for leaf in leaves})
    if len(lengths) > 1 or lengths[0] == 0:
        raise CojaxInputError(f"Problem needs one number of nodes > 0 on the first axis of data, got {lengths}.")
    for leaf in leaves:
        if not is_concrete(leaf) or not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        node = first_row(np.isnan, leaf)
        if node is not None:
            raise CojaxInputError(f"Problem needs data without NaN, got one at node {node}; drop or fill that row.")
    return lengths[0]


def bound_of(
    name: str, value: Any, default: float, nodes: int, budget: Array, lies: NamedSharding | None = None
) -> Array:
    """A bound of all shares, (n,) or (n, r), in the dtype of the budget, its rows where the data have theirs."""
    shape = (nodes, *budget.shape)
    if value is None:
        if lies is not None:
            return laid_like(np.asarray(default, budget.dtype), shape, lies)
        return jnp.asarray(np.full(shape, default, budget.dtype))
    value = _as_real(name, value).astype(budget.dtype)
    if value.ndim == 1 and budget.ndim == 1 and value.shape[0] == nodes:
        if shape == (nodes, nodes) and nodes > 1:
            raise CojaxInputError(
                f"Problem needs {name} of shape (n, 1) or (n, r) where n = r = {nodes}, got {value.shape}: it could be "
                "one per node or one per resource."
            )
        value = value[:, None]
    # Bounds so large that sums of them overflow are none.
    value = jnp.where(jnp.abs(value) > jnp.finfo(value.dtype).max / (8 * nodes), jnp.copysign(jnp.inf, value), value)
    try:
        return jnp.broadcast_to(value, shape) if lies is None or is_traced() else laid_like(value, shape, lies)
    except ValueError as error:
        raise CojaxInputError(f"Problem needs {name} of shape {shape}, got {value.shape}.") from error


def check_ends(lower: Any, upper: Any) -> None:
    """Refuse bounds between which there is no share."""
    if first_row(lambda low, high: np.isnan(low) | np.isnan(high), lower, upper) is not None:
        raise CojaxInputError("Problem needs bounds without NaN; use -inf or inf where there is none.")
    node = first_row(np.greater, lower, upper)
    if node is not None:
        low, high = lower[node], upper[node]
        raise CojaxInputError(f"Problem needs lower <= upper, got {low} > {high} at node {node}.")


def _check_bounds(budget: np.ndarray, lower: Array, upper: Array) -> None:
    check_ends(lower, upper)
    least, most = _total(lower), _total(upper)
    room, need = (_rounding(budget, bound) for bound in (upper, lower))
    if (budget > most + room).any():
        raise CojaxInputError(
            f"Problem needs budget <= sum of upper, got {show(budget)} > {show(most)}: "
            f"{show(budget - most)} too much; raise upper or lower the budget."
        )
    if (budget < least - need).any():
        raise CojaxInputError(
            f"Problem needs budget >= sum of lower, got {show(budget)} < {show(least)}: "
            f"{show(least - budget)} missing; lower the lower bounds or raise the budget."
        )


def _total(shares: Any) -> Any:
    """The sum over nodes, in 64 bits; infinite where one is."""
    return np.sum(of_blocks(lambda block: block.astype(np.float64).sum(0), shares), axis=0)


def _total_size(shares: Any) -> Any:
    """The sum over nodes of what is finite, without its sign."""

    def size(block: Any) -> Any:
        return np.where(np.isfinite(block), np.abs(block.astype(np.float64)), 0).sum(0)

    return np.sum(of_blocks(size, shares), axis=0)


def _rounding(budget: np.ndarray, bound: Array) -> Any:
    """By how much a budget that is the sum of bounds may differ from it, in whatever unit."""
    return 8 * np.finfo(budget.dtype).eps * np.maximum(np.abs(budget), _total_size(bound))


def _check_sum(cpu: Array, budget: np.ndarray) -> None:
    total = _total(cpu)
    tolerance = 64 * np.finfo(budget.dtype).eps * (_total_size(cpu) + np.abs(budget))
    if (np.abs(total - budget) > tolerance).any():
        raise CojaxInputError(
            f"Problem.start needs cpu that sums to the budget {show(budget)}, got {show(total)}: it would stay wrong "
            "for ever; rescale cpu, or leave it out for the even split."
        )


def show(value: Any) -> str:
    return ", ".join(f"{number:.10g}" for number in np.ravel(value))


def _costs(problem: Problem, x: Decision) -> Array:
    return jax.vmap(problem.cost)(x, problem.data)


# Each is one program, because a program for every operation would take longer to compile.
@functools.partial(compiled, runs_briefly=True)
def _even_start(budget: Array, lower: Array, upper: Array) -> Array:
    return exact_grid.settle(_even_split(budget, lower, upper), budget)


@functools.partial(compiled, runs_briefly=True)
def _settle(cpu: Array, budget: Array) -> tuple[Array, Array]:
    settled = exact_grid.settle(cpu, budget)
    return settled, exact_grid.imbalance(settled, budget).max()


@functools.partial(compiled, runs_briefly=True)
def _compiled_costs(problem: Problem, x: Decision) -> Array:
    return _costs(problem, x)


@functools.partial(compiled, runs_briefly=True)
def _compiled_grad(problem: Problem, x: Decision) -> Decision:
    return problem.grad_on(x, problem.data)


def _even_split(budget: Array, lower: Array, upper: Array) -> Array:
    """clip(level, lower, upper) with the level at which the shares sum to the budget, by bisection."""
    num_nodes = lower.shape[0]
    even = jnp.broadcast_to(budget / num_nodes, lower.shape)
    reach = jnp.abs(budget) + jnp.where(jnp.isfinite(lower), jnp.abs(lower), 0).max(0)
    reach = reach + jnp.where(jnp.isfinite(upper), jnp.abs(upper), 0).max(0)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        too_little = jnp.clip(middle[None], lower, upper).sum(0) < budget
        return jnp.where(too_little, middle, low), jnp.where(too_little, high, middle)

    low, high = jax.lax.fori_loop(0, jnp.finfo(budget.dtype).nmant + 4, halve, (-reach, reach))
    inside = ((lower <= even) & (even <= upper)).all(0, keepdims=True)
    return jnp.where(inside, even, jnp.clip(((low + high) / 2)[None], lower, upper))
