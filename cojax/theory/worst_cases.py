"""The worst rate of a method over all smooth, strongly convex costs, and all graphs that mix as fast."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._support.checks import CojaxInputError, check_number
from ..methods.base import Method
from ..networks.base import Network
from .spectra import spectrum

SLACK = 1e-7  # of a matrix inequality, which a solver meets up to its own tolerance
DIGITS = 1e-4  # of the rate
LARGEST, SMALLEST = 4.0, 1e-6  # steps that are looked at, times the smoothness


class WorstRate(NamedTuple):
    """What `worst_rate` returns.

    Fields:
        rate: errors fall at least as fast as its powers, up to a constant; infinite where nothing is proved.
        mixing: the largest modulus of an eigenvalue of W = I - L but that of agreement, over all graphs.
    """

    rate: float
    mixing: float


class ProvedSteps(NamedTuple):
    """What `proved_steps` returns.

    Fields:
        limit: a step below which a rate < 1 is proved, to three digits; 0 where none is.
        best: the step whose proved rate is least.
        rate: that rate; 1 where none is proved.
    """

    limit: float
    best: float
    rate: float


class _System(NamedTuple):
    """A method at one node: s+ = a s + b_grad g + b_flow f, telling m = c_tell s + d_tell g, where y = c_at s.

    f = -L m is the flow of what is told, g the gradient at y; `kept` s sums to zero over nodes.
    """

    a: np.ndarray
    b_grad: np.ndarray
    b_flow: np.ndarray
    c_tell: np.ndarray
    d_tell: np.ndarray
    c_at: np.ndarray
    kept: np.ndarray


def worst_rate(method: Method, network: Network, *, convexity: float, smoothness: float) -> WorstRate:
    """A rate that no run can be slower than, of any learner that is linear in gradients and flows, a user's own too.

        cojax.theory.worst_rate(cojax.DIGing(0.1), network, convexity=0.1, smoothness=1.0).rate  # 0.990...

    It holds for all costs that are `convexity`-strongly convex with `smoothness`-Lipschitz gradients at every node, for
    any number of nodes, and for any sequence of symmetric graphs that mix as `network` does, changing from step to
    step as they like. So it is no better, and may be much worse, than what one graph that stands allows: of methods
    made for that, such as `NIDS`, little is proved where graphs mix slowly. Links are `Ideal()`. A semidefinite program
    of the size of one node's state is solved for every guess of the rate, by Clarabel (pip install clarabel).

    Where a method keeps a sum over nodes at zero its class has to say so, `kept = ("slack",)`: else nothing is proved.

    Args:
        method: of params, with constant numbers, such as `cojax.NIDS(0.5)`; or the learner of a `CoOpt`.
        network: undirected, whose spectrum gives the mixing.
        convexity: > 0, the least second derivative of a node's cost in any direction.
        smoothness: >= convexity, the largest.

    Raises `CojaxInputError` for a method that is not linear, has numbers per node, or stops beside the optimum, and
    where Clarabel is missing. Source: A. Sundararajan, B. Van Scoy, L. Lessard, IEEE TCNS 2020, arXiv 1907.05448.
    """
    learn = method.halves[0]
    check_number("worst_rate", "convexity", convexity, above=0.0, shaped=())
    check_number("worst_rate", "smoothness", smoothness, at_least=float(convexity), shaped=())
    found = spectrum(network)
    mixing = max(abs(1 - found.lambda_2), abs(1 - found.lambda_n))
    system = _linearized(learn)
    if mixing >= 1 or not _is_proved(system, mixing, convexity, smoothness, 1.0):
        return WorstRate(float("inf"), mixing)
    low, high = 0.0, 1.0
    while high - low > DIGITS:
        middle = (low + high) / 2
        low, high = (low, middle) if _is_proved(system, mixing, convexity, smoothness, middle) else (middle, high)
    return WorstRate(high, mixing)


def proved_steps(method: Method, network: Network, *, convexity: float, smoothness: float) -> ProvedSteps:
    """Which steps are safe over all costs and graphs of `worst_rate`, and which of them has the best proved rate.

        found = cojax.theory.proved_steps(cojax.DIGing(0.1), network, convexity=0.1, smoothness=1.0)
        method = cojax.DIGing(found.best)  # no run over graphs that mix as fast is slower than found.rate

    Such steps hold whatever the graphs do and however unlike the costs are, so `cojax.tuned`, which knows one graph and
    measures the costs, may take longer ones that are not proved. The step is looked for where it is proved from 0 on.

    Args: as of `worst_rate`; all numbers of `method` but its step_size stay as they are.
    Raises `CojaxInputError` as `worst_rate` does, and for a method without a step_size.
    """
    from scipy.optimize import minimize_scalar

    learn: Any = method.halves[0]
    if not hasattr(learn, "step_size"):
        raise CojaxInputError(f"proved_steps needs a learner with a step_size, got {type(learn).__name__}.")

    def rate(step: float) -> float:
        return worst_rate(
            dataclasses.replace(learn, step_size=step), network, convexity=convexity, smoothness=smoothness
        ).rate

    high = LARGEST / smoothness
    low = high
    while not rate(low) < 1:
        low, high = low / 2, low
        if low < SMALLEST / smoothness:
            return ProvedSteps(0.0, 0.0, 1.0)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if rate(middle) < 1 else (low, middle)
    found = minimize_scalar(rate, bounds=(0.0, low), method="bounded", options={"xatol": 1e-3 * low})
    return ProvedSteps(low, float(found.x), float(found.fun))


def _linearized(method: Method) -> _System:
    """A method on one parameter of one node, and whether it can rest at an optimum at which gradients differ."""
    name = type(method).__name__
    zero = jnp.zeros((1, 1))
    try:
        state, back = ravel_pytree(method.init(zero, zero))
        message, unpack = ravel_pytree(method.message(back(state), zero))

        def update(s: Any, g: Any, f: Any) -> Any:
            return ravel_pytree(method.update(back(s), g.reshape(1, 1), unpack(f)))[0]

        def tell(s: Any, g: Any) -> Any:
            return ravel_pytree(method.message(back(s), g.reshape(1, 1)))[0]

        at = (jnp.zeros(state.size), jnp.zeros(1), jnp.zeros(message.size))
        if update(*at).shape != state.shape:
            raise ValueError("it makes one state of another size")
        a, b_grad, b_flow = jax.jacobian(update, argnums=(0, 1, 2))(*at)
        c_tell, d_tell = jax.jacobian(tell, argnums=(0, 1))(*at[:2])
        c_at = jax.jacobian(lambda s: ravel_pytree(method.query(back(s)))[0])(at[0])
        probe = tuple(jnp.cos(jnp.arange(1.0, part.size + 1.0)) for part in at)
        off = jnp.abs(update(*probe) - (a @ probe[0] + b_grad @ probe[1] + b_flow @ probe[2])).max()
        places = back(jnp.arange(float(state.size)))
    except (TypeError, ValueError, AttributeError) as error:
        raise CojaxInputError(
            f"worst_rate needs a learner with one number for each of its fields, got {name}, of which one node alone "
            f"cannot be made ({type(error).__name__})."
        ) from error
    if not float(off) < 1e-6:
        raise CojaxInputError(
            f"worst_rate needs a method that is linear in its gradients and flows, got {name}, which is not."
        )
    rows = [
        int(entry)
        for field in method.kept or ()
        for leaf in jax.tree.leaves(getattr(places, field))
        for entry in leaf.ravel()
    ]
    kept = np.eye(state.size)[rows]
    found = [np.asarray(part) for part in (a, b_grad, b_flow, c_tell, d_tell, c_at)]
    system = _System._make([*found, kept])
    # Gradients differ at the optimum, by parts that sum to zero: the state has to hold them, with nothing to hear.
    rest = np.vstack([system.a - np.eye(state.size), system.c_tell, system.c_at])
    wanted = -np.concatenate([system.b_grad, system.d_tell, np.zeros((1, 1))])
    left = rest @ np.linalg.lstsq(rest, wanted, rcond=None)[0] - wanted
    if np.abs(left).max() > 1e-6:
        raise CojaxInputError(
            f"worst_rate needs a method that can rest at the optimum, got {name}: where the nodes' gradients differ "
            "there, it stops beside it; use DIGing, NIDS or another exact one."
        )
    return system


def _is_proved(system: _System, mixing: float, convexity: float, smoothness: float, rate: float) -> bool:
    """Whether a quadratic in the error of the mean, and one in what nodes differ by, fall by `rate` squared a step."""
    clarabel = _clarabel()
    from scipy import sparse

    p, q = len(system.a), len(system.c_tell)
    sector = np.array([[-2 * convexity * smoothness, convexity + smoothness], [convexity + smoothness, -2.0]])
    ahead = np.hstack([system.a, system.b_grad, -system.b_flow])  # of (s, g, L m)
    here = np.eye(p, p + 1 + q)
    seen = np.vstack([np.pad(system.c_at, ((0, 0), (0, 1 + q))), np.eye(1, p + 1 + q, p)])
    told = np.hstack([system.c_tell, system.d_tell, np.zeros((q, q))])
    moved = np.eye(q, p + 1 + q, p + 1)
    # The mean hears nothing, and of it what sums to zero is zero.
    mean = np.eye(p + 1 + q, p + 1) @ _null_space(np.pad(system.kept, ((0, 0), (0, 1))))

    def falling(weight: np.ndarray) -> np.ndarray:
        return ahead.T @ weight @ ahead - rate**2 * here.T @ weight @ here

    def mixed(weight: np.ndarray) -> np.ndarray:  # |(I - L) m|^2 <= mixing^2 |m|^2 of what nodes differ by
        cross = told.T @ weight @ moved
        return (mixing**2 - 1) * told.T @ weight @ told + cross + cross.T - moved.T @ weight @ moved

    of_state, of_told = _symmetric(p), _symmetric(q)
    of_mean = [mean.T @ falling(one) @ mean for one in of_state] + [mean.T @ seen.T @ sector @ seen @ mean]
    of_rest = [falling(one) for one in of_state] + [mixed(one) for one in of_told] + [seen.T @ sector @ seen]
    problem = _Conic(len(of_state) * 2 + len(of_told) + 3)
    first, second, third = 0, len(of_state), 2 * len(of_state)
    single = third + len(of_told)  # two multipliers of the sector, and the slack
    problem.add([*range(first, second), single], [-one for one in of_mean], slack=True)
    problem.add([*range(second, single), single + 1], [-one for one in of_rest], slack=True)
    problem.add(list(range(first, second)), of_state, constant=-np.eye(p))
    problem.add(list(range(second, third)), of_state, constant=-np.eye(p))
    problem.add(list(range(third, single)), of_told)
    return problem.least_slack(clarabel, sparse) < SLACK


class _Conic:
    """The least t with matrices that are affine in x, plus t times the identity for some, positive semidefinite."""

    def __init__(self, size: int):
        self.size = size
        self.rows: list[np.ndarray] = []
        self.limits: list[np.ndarray] = []
        self.sides: list[int] = []

    def add(self, places: list[int], parts: list[np.ndarray], constant: np.ndarray | None = None, slack: bool = False):
        """sum of x[place] part + constant, and with `slack` + t identity, is positive semidefinite."""
        side = len(parts[0])
        block = np.zeros((side * (side + 1) // 2, self.size))
        for place, part in zip(places, parts, strict=True):
            block[:, place] -= _stacked(part)
        if slack:
            block[:, -1] = -_stacked(np.eye(side))
        self.rows.append(block)
        self.limits.append(np.zeros(len(block)) if constant is None else _stacked(constant))
        self.sides.append(side)

    def least_slack(self, clarabel: Any, sparse: Any) -> float:
        signs = -np.eye(self.size)[-3:]  # both multipliers >= 0, the slack >= -1
        matrix = sparse.csc_matrix(np.vstack([*self.rows, signs]))
        limits = np.concatenate([*self.limits, [0.0, 0.0, 1.0]])
        cones = [*map(clarabel.PSDTriangleConeT, self.sides), clarabel.NonnegativeConeT(3)]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        cost = np.eye(self.size)[-1]
        none = sparse.csc_matrix((self.size, self.size))
        solved = clarabel.DefaultSolver(none, cost, matrix, limits, cones, settings).solve()
        return float(solved.x[-1]) if "Solved" in str(solved.status) else np.inf


def _symmetric(side: int) -> list[np.ndarray]:
    """A basis of symmetric matrices."""
    found = []
    for column in range(side):
        for row in range(column + 1):
            one = np.zeros((side, side))
            one[row, column] = one[column, row] = 1.0
            found.append(one)
    return found


def _stacked(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle by columns, off the diagonal times the root of 2, as Clarabel has it."""
    side = len(matrix)
    scaled = matrix * (np.sqrt(2) - (np.sqrt(2) - 1) * np.eye(side))
    return np.concatenate([scaled[: column + 1, column] for column in range(side)])


def _null_space(rows: np.ndarray) -> np.ndarray:
    """Columns that span what `rows` map to zero."""
    if not len(rows):
        return np.eye(rows.shape[1])
    _, values, turned = np.linalg.svd(rows)
    return turned[int((values > 1e-12).sum()) :].T


def _clarabel() -> Any:
    try:
        import clarabel
    except ModuleNotFoundError as error:
        raise CojaxInputError("worst_rate needs Clarabel: pip install clarabel.") from error
    return clarabel
