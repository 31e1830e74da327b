"""What a decision is worth, computed from the problem alone: no iteration, state or solver needs to be trusted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .. import _tree
from .._precision import in_full
from .._shown import shown
from .._tree import Tree
from ..problems import Decision, Problem
from ..records import disagreement
from . import prices, sizes
from .allocations import Table, columns, marginals, with_curvatures
from .fits import check_decision
from .sizes import Sizes

# A node's best share at a price, its resources in turn; one turn is exact where the cost does not couple them.
MOST_TURNS = 50


class Certificate(NamedTuple):
    """How far a decision is from feasible and optimal; every number but `price` is >= 0 and 0 at the optimum.

    Fields:
        balance: (), |sum of cpu - budget| beside the budget, or beside the largest share where that is larger, without
            rounding in the sum.
        box: (), the largest distance of a share from its bounds, in the unit of cpu.
        stationarity: (), half of what one unit saves that moves from the dearest to the cheapest node.
        gap: (), cost minus a lower bound of the optimal cost, params held at their mean, in the unit of the cost.
        consensus: (), the largest distance of a params entry from its mean over nodes.
        gradient: (), the norm of the mean over nodes of the params gradient, at the mean params.
        price: () or (r,), of one unit of budget, as the marginal costs at this decision reveal it.
        sizes: what these are small against, for `is_certified`, in the same units.
    """

    balance: Float[Array, ""]
    box: Float[Array, ""]
    stationarity: Float[Array, ""]
    gap: Float[Array, ""]
    consensus: Float[Array, ""]
    gradient: Float[Array, ""]
    price: Float[Array, "*r"]
    sizes: Sizes

    def __repr__(self) -> str:
        return shown(self)


def certificate(problem: Problem, x: Decision) -> Certificate:
    """Judge `x` by the costs without the penalty, the hard bounds and the budget; params at their mean over nodes.

    gap: sum_i f_i(x_i) - price x_i - min_{[l_i, u_i]} (f_i - price x), f_i the cost of node i at the mean params. By
    weak duality it is at least the true suboptimality of the shares, for convex f_i and whatever the price; the inner
    minima are found numerically and then lowered to what their gradients allow, so only the rounding of f itself
    is trusted (on a node with no bounds and several coupled resources, also their gradients). A decision outside
    of its bounds is clipped to them first; one off balance is taken to buy what it lacks at the price. A cost that is
    infinite on a bound is read just inside of it. An unbounded minimum gives inf.

    A half that the decision lacks, params or cpu, has zeros. Works under jit and vmap; r resources share each scalar,
    the one that is furthest off beside its own size counts, and `price` is (r,). Source of the gap: Boyd, Vandenberghe,
    Convex Optimization, 2004, ch. 5.
    Raises `CojaxInputError` for a decision of other shapes than the problem's, or that its cost cannot be computed of.
    """
    check_decision("certificate", problem, x)
    return _judged(problem, x)


@jax.jit
@in_full
def _judged(problem: Problem, x: Decision) -> Certificate:
    x = x._replace(params=_tree.filled(x.params, problem.members))
    params = jax.tree.map(lambda mean, leaf: jnp.broadcast_to(mean, leaf.shape), _tree.node_mean(x.params), x.params)
    costs = problem.costs(Decision(params, x.cpu))
    slopes = sizes.learning(problem, Decision(params, x.cpu))
    zero = jnp.zeros((), costs.dtype)
    balance, stationarity, gap, price, level, worth = zero, zero, zero, zero, zero, zero
    if x.cpu is not None and problem.budget is not None:
        balance = sizes.balance(problem, x.cpu)
        stationarity, gap, price, level, worth = _market(problem, params, x.cpu)
    box, largest = sizes.box(problem, x.cpu)
    return Certificate(
        balance=balance,
        box=box,
        stationarity=stationarity,
        gap=gap,
        consensus=disagreement(x),
        gradient=slopes.mean,
        price=price,
        sizes=Sizes(
            largest, level, jnp.maximum(jnp.abs(costs).sum(), worth.astype(costs.dtype)), slopes.params, slopes.gradient
        ),
    )


def is_certified(certificate: Certificate, tolerance: Any) -> Bool[Array, ""]:
    """Whether every number of a certificate is below `tolerance` beside its own size: whatever the units, the same.

    The sizes are `Sizes` of the problem and the decision: box beside the largest share, stationarity beside the
    largest marginal cost, gap beside the absolute costs, consensus beside the largest params entry, gradient beside the
    largest gradient of one node; or beside what the curvature makes of the decision, where that is larger. NaN is never
    certified. sqrt(precision) is what one may ask of a long run, 1e-10 of `reference` in float64. The second tier, of
    `Status.CONVERGED_REDUCED`, is tolerance ** (2/3): 1e-6 gives 1e-4.
    """
    return jnp.all(jnp.stack([error <= tolerance for error in relative(certificate).values()]), 0)


def relative(certificate: Certificate) -> dict[str, Array]:
    """What `is_certified` compares: every number of a certificate beside its size."""
    own = certificate.sizes
    pairs = {"box": own.cpu, "stationarity": own.price, "gap": own.cost}
    pairs |= {"consensus": own.params, "gradient": own.gradient}
    beside = {name: sizes.beside(getattr(certificate, name), size) for name, size in pairs.items()}
    return {"balance": certificate.balance} | beside


def _market(problem: Problem, params: Tree, cpu: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Stationarity, gap and price of the shares, and the sizes of a price and of a cost."""
    lower, upper, _ = columns(problem)
    shares = cpu.reshape(lower.shape)
    slopes = marginals(problem, params)
    near = prices.pulled_in(shares, lower, upper)
    slope, hessian = with_curvatures(slopes, near)
    # A share this close to a bound counts as on it: what it could still give up is below the tolerance of any answer.
    # Beside its bounds, but beside no more than the largest share: a bound may be written for "no bound".
    ends = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    touch = jnp.finfo(shares.dtype).eps ** 0.5 * jnp.minimum(ends, jnp.abs(shares).max(0, keepdims=True))
    can_give, can_take = shares > lower + touch, shares < upper - touch
    dearest, cheapest = jax.vmap(prices.ends_of_price, 1)(slope, can_give, can_take)
    rates = jnp.diagonal(hessian, axis1=1, axis2=2)
    price = jax.vmap(prices.price_of, 1)(slope, rates, can_give, can_take)
    gap = _gap(problem, params, near, price)
    levels, worth = sizes.market(slope, hessian, shares)
    stationarity, level = sizes.furthest(jnp.maximum(dearest - cheapest, 0) / 2, levels)
    return stationarity, gap, price.reshape(cpu.shape[1:]), level, worth


def _gap(problem: Problem, params: Tree, shares: Table, price: Float[Array, " r"]) -> Array:
    """sum_i f_i(x_i) - price x_i minus a lower bound of its minimum over the box, node by node."""
    lower, upper, _ = columns(problem)
    slopes = marginals(problem, params)
    best, low, high = _best_shares(slopes, shares, price, lower, upper)
    best = prices.pulled_in(best, lower, upper)
    slope = slopes(best) - price[None]
    # A convex function lies above its tangent: from `best` on, it falls by at most this much inside of the box.
    reach = jnp.where(slope > 0, best - low, high - best)
    below = jnp.where(slope == 0, 0, jnp.abs(slope) * reach).sum(1)

    def costs(cpu):
        assert problem.lower is not None
        return problem.costs(Decision(params, cpu.reshape(problem.lower.shape)))

    bought = ((shares - best) * price[None]).sum(1)
    excess = jnp.maximum(costs(shares) - costs(best) - bought.astype(shares.dtype), 0)
    gap = (excess + below).sum()
    return jnp.where(jnp.isnan(gap), jnp.inf, gap)


def _best_shares(slopes, shares: Table, price: Array, lower: Table, upper: Table) -> tuple[Table, Table, Table]:
    """What every node would hold at `price`, and a box around it that holds every minimiser."""
    eps = jnp.finfo(shares.dtype).eps
    largest = jnp.abs(shares).max(0, keepdims=True)
    size = jnp.where(largest > 0, largest, 1)  # where no share has a size, any will do
    width = jnp.where(jnp.isinf(upper - lower), jnp.maximum(jnp.abs(shares), size), upper - lower)

    def one(k, state):
        best, low, high = state

        start = prices.pulled_in(shares[:, k], lower[:, k], upper[:, k])
        slope = prices.guarded(lambda column: slopes(best.at[:, k].set(column))[:, k], start)
        band = prices.band_around(slope, start, width[:, k], lower[:, k], upper[:, k], price[k], price[k])
        found, _ = prices.shares_at(slope, band, price[k], band.low, band.high, start)
        # A side on which the cost falls for ever stays infinite, and so does the gap.
        low = low.at[:, k].set(jnp.where(band.slope_low <= price[k], jnp.maximum(band.low, lower[:, k]), lower[:, k]))
        high = high.at[:, k].set(
            jnp.where(band.slope_high >= price[k], jnp.minimum(band.high, upper[:, k]), upper[:, k])
        )
        return best.at[:, k].set(found), low, high

    def turn(state):
        (best, low, high), _, count = state
        found = lax.fori_loop(0, shares.shape[1], one, (best, low, high))
        return found, jnp.max(jnp.abs(found[0] - best)), count + 1

    def going_on(state):
        found, move, count = state
        return (move > 4 * eps * jnp.max(jnp.abs(found[0]))) & (count < MOST_TURNS)

    state = turn(((shares, lower, upper), jnp.zeros((), shares.dtype), jnp.zeros((), jnp.int32)))
    if shares.shape[1] == 1:
        return state[0]
    return lax.while_loop(going_on, turn, state)[0]
