"""The loop of a run: one pure step, scanned, with a look at the run after every so many steps."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._support import exact_grid
from .._support.checks import MOST_STEPS, CojaxInputError, check_arrays, check_leaves, whole_number
from .._support.compiling import MOST_NUMBERS, compiled, count_numbers, is_traced
from .._support.reprs import brief
from .._support.trees import Tree, alike
from ..methods import Method
from ..methods.base import lateness
from ..networks.base import Network, Wire
from ..networks.clocks import Elapsed, RowClock, Ticks, by_row
from ..problems.checks import check_cost
from ..problems.problem import Decision, Problem, Scenario
from .checks import check_clock, check_kept, check_rows, check_sizes, check_step_size
from .progress import LEAST_LOOKS, Progress, first_progress, take_look
from .rows import taking_part, update_rows
from .solutions import Solution, State
from .status import moves_on, status_of

MANY_LOOKS, MOST_BYTES = 10**6, 2**35  # of fewer looks the trace is taken to fit


def init(problem: Scenario, network: Network, method: Method, start: Decision) -> State:
    """The state before the first step: the gradient at `start`, told to the neighbours once."""
    check_leaves("solve", network=network, method=method)
    check_sizes(problem, network, start)
    check_kept(problem, network, method)
    check_cost("solve", problem.base.cost, start, problem.base.data)
    first = problem.at(0)
    grad = first.grad(start)
    method = network.to_rows(method).at(0)
    inner = method.init(start, grad)
    net = network.at(0)
    along = method.along(inner)
    wire = net.open(method.message(inner, grad)).read_alike(along)
    off = total_off(first, start, wire, along)
    if start.cpu is not None and first.budget is not None:  # far off, a step would see it modulo what integers count
        off = jnp.maximum(off, exact_grid.imbalance(start.cpu, first.budget))
    elapsed = None
    if network.clock is not None:
        late = lateness(method)
        elapsed = by_row(network.clock, network).begun(start.cpu, first.members, wire.bits, late)
    progress = first_progress(first, network, start, grad)
    return State(jnp.zeros((), jnp.int32), off, inner, grad, wire, progress, elapsed)


def step(problem: Scenario, network: Network, method: Method, state: State) -> State:
    """One pure step: hear, update, take the gradient, tell."""
    return one_step(problem, network, method, clock_of(network), state)


def clock_of(network: Network) -> RowClock | Ticks | None:
    """The clock of a network by row; None where nobody asks how long a round takes."""
    return None if network.clock is None else by_row(network.clock, network)


def one_step(
    problem: Scenario, network: Network, method: Method, clock: RowClock | Ticks | None, state: State
) -> State:
    """What `step` does, with a clock that is by row already."""
    along = method.at(state.step).along(state.method)
    flow, wire = network.at(state.step).exchange(state.wire, along, problem.arrivals(state.step + 1))
    state = state._replace(wire=wire)
    inner = update(problem, network, method, state, flow)
    grad = gradient(problem, method, state, inner)
    after = transmit(problem, network, method, state, inner, grad)
    return after if clock is None else after._replace(elapsed=wait(problem, network, method, clock, state, after))


def wait(
    problem: Scenario, network: Network, method: Method, clock: RowClock | Ticks, state: State, after: State
) -> Elapsed:
    """When every node has told what it knows after the step from `state` to `after`."""
    assert state.elapsed is not None
    cpu, members = method.at(after.step).query(after.method).cpu, problem.at(after.step).members
    bits = after.wire.bits_since(state.wire)
    here, late = network.at(state.step), lateness(method.at(state.step))
    return clock.advanced(state.elapsed, here, state.step, cpu, members, bits, late, network.period)


def update(problem: Scenario, network: Network, method: Method, state: State, flow: Tree) -> Tree:
    """What the method remembers after a step that heard `flow`."""
    here, there = method.at(state.step), method.at(state.step + 1)
    rows = taking_part(network, state.step)
    inner = update_rows(rows, here, state.method, state.grad, flow)
    return problem.handed_over(state.step + 1, there, inner)


def gradient(problem: Scenario, method: Method, state: State, inner: Tree) -> Tree:
    """The gradient where the step from `state` has led."""
    return problem.at(state.step + 1).grad(method.at(state.step + 1).query(inner))


def transmit(problem: Scenario, network: Network, method: Method, state: State, inner: Tree, grad: Tree) -> State:
    """The state after a step, in which every node has told its neighbours its message.

    It is told at the end and carried to the next step, because it is computed once per node here; at the beginning of
    a step XLA would compute it inside of the gather, once per neighbour.
    """
    now, then, there = problem.at(state.step + 1), network.at(state.step + 1), method.at(state.step + 1)
    # By the numbers of the next step, whose update completes what is told here.
    along = there.along(inner)
    told = then.tell(there.message(inner, grad), state.wire.without_bits(), state.step + 1).with_bits_of(state.wire)
    wire = told.read_alike(along)
    off = total_off(now, there.query(inner), wire, along)
    return State(state.step + 1, jnp.maximum(state.imbalance, off), inner, grad, wire, state.progress, state.elapsed)


def solve_steps(problem, network, method, start, num_steps, every, record) -> Solution:
    """What `solve` does, in one go: also traced, by jit, vmap and grad."""
    num_chunks, every = check_run(problem, network, method, start, num_steps, every, record)
    return _run(problem, network, method, start, num_chunks, every, record)


def check_run(
    problem: Any,
    network: Any,
    method: Any,
    start: Any,
    num_steps: Any,
    every: Any,
    record: Any,
    most_bytes: int = MOST_BYTES,
) -> tuple[int, int]:
    """What is asked before a run is traced; returns the number of its looks, and of the steps between two of them."""
    every = whole_number("solve", "every", every, at_least=1)
    num_steps = whole_number("solve", "num_steps", num_steps, at_least=0)
    for value, kind, name in (
        (problem, Scenario, "Problem"),
        (network, Network, "Network"),
        (method, Method, "Method"),
    ):
        if not isinstance(value, kind):
            raise CojaxInputError(f"solve needs a cojax {name} for {name.lower()}, got {_describe(value)}.")
    if not isinstance(start, Decision | State):
        got = type(start).__name__
        raise CojaxInputError(f"solve needs a start from problem.start(...) or a solution's state, got {got}.")
    check_arrays("solve", start)
    if not isinstance(record, Hashable) or not callable(record):
        raise CojaxInputError(
            f"solve needs a function record(problem, x, state) that Python can hash, got {_describe(record)}."
        )
    check_rows(problem, network)  # here it knows their numbers, under jit it does not
    if isinstance(start, Decision):
        check_clock("solve", network, start.cpu)
    if num_steps > MOST_STEPS:
        raise CojaxInputError(
            f"solve needs num_steps <= {MOST_STEPS}, got {num_steps}: steps are counted in 32 bits; ask for fewer."
        )
    if num_steps % every:
        raise CojaxInputError(f"solve needs num_steps to be a multiple of every, got {num_steps} and {every}.")
    _check_trace(problem, network, method, start, num_steps // every, record, most_bytes)
    return num_steps // every, every


def _run(problem, network, method, start, num_chunks, every, record) -> Solution:
    """A run in one program, or in three where there is little data: what is compiled is then what takes time."""
    given = problem, network, method, start
    in_parts = not is_traced() and not network.is_cut and count_numbers(given) <= MOST_NUMBERS
    return (_solve_in_parts if in_parts else _solve)(*given, num_chunks, every, record)


def go(problem, network, method, state, num_chunks, every, record) -> tuple[State, Any]:
    """All steps of a run, and the records of its looks."""
    method, clock = network.to_rows(method), clock_of(network)

    def next_state(state: State) -> State:
        return one_step(problem, network, method, clock, state)

    def look(state: State) -> tuple[Progress, Any]:
        return observe(problem, method, state, record)

    return scan(next_state, look, state, num_chunks, every)


def end(problem, network, method, state, few: bool) -> Solution:
    """What a run came to, told by its last state; its trace is not in there."""
    method = network.to_rows(method)
    x = method.at(state.step).query(state.method)
    moves = jnp.asarray(False) if few else moves_on(network, method, x, state)
    status = status_of(problem.at(state.step), x, state, moves)
    return Solution(network.to_nodes(x), None, state, status, names=network.node_names)


def _made_of(begin: Callable[..., State], go: Callable[..., Any], end: Callable[..., Solution]) -> Callable:
    """A whole run, of what makes its first state, its steps, and what it came to."""

    def run(problem, network, method, start, num_chunks, every, record) -> Solution:
        check_beginning(problem, network, method, start)
        state = start if isinstance(start, State) else begin(problem, network, method, start)
        state, trace = go(problem, network, method, state, num_chunks, every, record)
        # A circle is told from a stall, which so few looks never show: what a step more would do need not be compiled.
        few = not isinstance(start, State) and num_chunks < LEAST_LOOKS
        return end(problem, network, method, state, few)._replace(trace=trace)

    return run


def check_beginning(problem: Scenario, network: Network, method: Method, start: Decision | State) -> None:
    """Whether the numbers of a method fit the network, and a state that a run goes on from is one of this run."""
    check_step_size(network, method)
    if isinstance(start, State):
        check_leaves("solve", problem=problem, network=network, method=method, start=start)
        _check_state(problem, network, method, start)
        check_clock("solve", network, method.at(start.step).query(start.method).cpu, start.step)


_solve = compiled(_made_of(init, go, end), static_argnums=(4, 5, 6))
# Three programs, of which the first and the last run once, so that they need not be optimised.
first_state = compiled(init, runs_briefly=True)
advance = compiled(go, static_argnums=(4, 5, 6))
_end = compiled(end, static_argnums=4, runs_briefly=True)
_solve_in_parts = _made_of(first_state, advance, _end)


def ended(problem: Scenario, network: Network, method: Method, state: State) -> Solution:
    """What a run of many looks came to, without its trace."""
    return _end(problem, network, method, state, False)


def observe(problem: Scenario, method: Method, state: State, record: Callable) -> tuple[Progress, Any]:
    """What a look at a state sees: how far the run has come, and the record."""
    now, x = problem.at(state.step), method.at(state.step).query(state.method)
    progress = take_look(now, x, state)
    return progress, _recorded(record, now, x, state._replace(progress=progress))


def _recorded(record: Callable, problem: Problem, x: Decision, state: State) -> Any:
    """The record of a look, refused where it has something else than arrays and numbers in it."""
    found = record(problem, x, state)
    for leaf in jax.tree.leaves(found):
        is_array = isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind not in "OSUMm"
        if not isinstance(leaf, jax.Array | bool | int | float | complex) and not is_array:
            raise CojaxInputError(
                "solve needs a record(problem, x, state) that returns arrays, or a tree of them, got "
                f"{brief(leaf)} in it."
            )
    return found


def scan(
    one_step: Callable[[State], State],
    look: Callable[[State], tuple[Progress, Any]],
    state: State,
    num_chunks: int,
    every: int,
) -> tuple[State, Any]:
    """The state after `num_chunks` times `every` steps, and the records of a look after each chunk, stacked."""
    shapes = jax.eval_shape(lambda: state.wire)

    def flat_step(flat: State, _: None) -> tuple[State, None]:
        return _flatten_wire(one_step(_shape_wire(flat, shapes))), None

    @jax.checkpoint
    def chunk(flat: State, _: None) -> tuple[State, Any]:
        flat, _ = lax.scan(flat_step, flat, length=every)
        progress, row = look(_shape_wire(flat, shapes))
        return flat._replace(progress=progress), row

    flat, trace = lax.scan(chunk, _flatten_wire(state), length=num_chunks)
    return _shape_wire(flat, shapes), trace


def _flatten_wire(state: State) -> State:
    """`state` with the wire as vectors, the shape in which XLA on CPU then computes it.

    A quantizer over rows of 10 numbers leaves most SIMD lanes idle, over a vector none; the flow still reads rows
    (`docs/benchmarks/tried_by_hand.md`).
    """
    return state._replace(wire=jax.tree.map(lambda leaf: leaf.reshape(-1), state.wire))


def _shape_wire(state: State, shapes: Wire) -> State:
    return state._replace(wire=jax.tree.map(lambda leaf, like: leaf.reshape(like.shape), state.wire, shapes))


def total_off(problem: Problem, x: Decision, wire: Wire, along: Tree) -> Float[Array, "*r"]:
    """|sum of cpu, with what is on its way over the wire, - budget|, exact."""
    if x.cpu is None or problem.budget is None:
        return jnp.zeros(())
    return exact_grid.drift(jnp.concatenate([x.cpu, *wire.on_the_way(along)]), problem.budget)


def _describe(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"an object of type {type(value).__name__}"


def _check_trace(
    problem: Scenario,
    network: Network,
    method: Method,
    start: Decision | State,
    num_looks: int,
    record: Callable,
    most_bytes: int,
) -> None:
    """Whether a trace of very many looks has room in memory."""
    if num_looks < MANY_LOOKS:
        return

    def row() -> Any:
        state = start if isinstance(start, State) else init(problem, network, method, start)
        return _recorded(record, problem.at(state.step), method.query(state.method), state)

    num_bytes = num_looks * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(row)))
    if num_bytes > most_bytes:
        raise CojaxInputError(
            f"A run needs {num_bytes / 1e9:.3g} GB for the trace of {num_looks} looks, more than "
            f"{most_bytes / 1e9:.3g}: look less often, with every {-(-num_bytes // most_bytes)} times as large, or "
            "take fewer steps."
        )


def _check_state(problem: Scenario, network: Network, method: Method, state: State) -> None:
    """Whether a run of this problem, network and method has states like `state`."""
    like = None
    if (state.elapsed is None) != (network.clock is None):
        has, lacks = ("the state", "the network") if network.clock is None else ("the network", "the state")
        raise CojaxInputError(
            f"solve needs a state of a run with this network, got {has} with a clock and {lacks} without: take all as "
            "it was, or start anew from its decision, problem.start(*solution.x)."
        )
    try:
        # Jitted, because `init` often was before: then it need not be traced again.
        like = jax.eval_shape(jax.jit(init), problem, network, method, method.query(state.method))
        fits = alike(like, state)
    except CojaxInputError:
        raise
    except Exception:  # whatever a method raises on another one's state
        fits = False
    if not fits:
        raise CojaxInputError(
            "solve needs a state of a run with this problem, network and method, got another's; start anew from its "
            "decision, problem.start(*solution.x)."
        )
    for wanted, got in zip(jax.tree.leaves(like), jax.tree.leaves(state), strict=True):
        if wanted.dtype != got.dtype:
            raise CojaxInputError(
                f"solve needs a state of a run in the precision of this one, got {got.dtype} for {wanted.dtype}: set "
                "jax_enable_x64 as it was there, or start anew from its decision, problem.start(*solution.x)."
            )
