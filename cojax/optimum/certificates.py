"""What a decision is worth, computed from the problem alone: no iteration, state or solver needs to be trusted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .. import _grid, _tree
from .._precision import in_full
from .._shown import shown
from .._tree import Tree
from ..problems import Decision, Problem
from ..records import disagreement, overload
from . import prices
from .allocations import Table, columns, marginals, with_curvatures
from .fits import check_decision

# A node's best share at a price, its resources in turn; one turn is exact where the cost does not couple them.
MOST_TURNS = 50


class Sizes(NamedTuple):
    """What "small" is measured against in `is_certified`."""

    cpu: Float[Array, ""]  # largest share
    price: Float[Array, ""]  # largest marginal cost
    cost: Float[Array, ""]  # sum of the absolute costs of all nodes
    params: Float[Array, ""]  # largest entry of the params
    gradient: Float[Array, ""]  # largest norm of one node's params gradient


class Certificate(NamedTuple):
    """How far a decision is from feasible and optimal; every number but `price` is >= 0 and 0 at the optimum.

    Fields:
        balance: (), |sum of cpu - budget| / max(|budget|, 1), without rounding in the sum.
        box: (), the largest distance of a share from its bounds, in the unit of cpu.
        stationarity: (), half of what one unit saves that moves from the dearest to the cheapest node.
        gap: (), cost minus a lower bound of the optimal cost, params held at their mean, in the unit of the cost.
        consensus: (), the largest distance of a params entry from its mean over nodes.
        gradient: (), the norm of the mean over nodes of the params gradient, at the mean params.
        price: () or (r,), of one unit of budget, as the marginal costs at this decision reveal it.
        sizes: what these are small against, for `is_certified`.
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
    the largest counts, and `price` is (r,). Source of the gap: Boyd, Vandenberghe, Convex Optimization, 2004, ch. 5.
    Raises `CojaxInputError` for a decision of other shapes than the problem's, or that its cost cannot be computed of.
    """
    return _judged(problem, check_decision("certificate", problem, x))


@jax.jit
@in_full
def _judged(problem: Problem, x: Decision) -> Certificate:
    x = x._replace(params=_tree.filled(x.params, problem.members))
    params = jax.tree.map(lambda mean, leaf: jnp.broadcast_to(mean, leaf.shape), _tree.node_mean(x.params), x.params)
    costs = problem.costs(Decision(params, x.cpu))
    gradient, largest_gradient = _params_gradient(problem, Decision(params, x.cpu))
    zero = jnp.zeros((), costs.dtype)
    balance, stationarity, gap, price, level = zero, zero, zero, zero, zero
    if x.cpu is not None and problem.budget is not None:
        balance = _grid.imbalance(x.cpu, problem.budget) / jnp.maximum(jnp.max(jnp.abs(problem.budget)), 1)
        stationarity, gap, price, level = _market(problem, params, x.cpu)
    return Certificate(
        balance=balance,
        box=overload(problem, x),
        stationarity=stationarity,
        gap=gap,
        consensus=disagreement(x),
        gradient=gradient,
        price=price,
        sizes=Sizes(_tree.largest(x.cpu), level, jnp.abs(costs).sum(), _tree.largest(x.params), largest_gradient),
    )


def is_certified(certificate: Certificate, tolerance: Any) -> Bool[Array, ""]:
    """Whether every number of a certificate is below `tolerance`, relative to its own size where that exceeds 1.

    balance, relative already; box against the largest share, stationarity against the largest marginal cost, gap
    against the sum of absolute costs, consensus against the largest params entry, gradient against the largest
    gradient of one node. NaN is never certified. sqrt(precision) is what one may ask of a long run, 1e-10 of
    `reference` in float64. The second tier, of `Status.CONVERGED_REDUCED`, is tolerance ** (2/3): 1e-6 gives 1e-4.
    """
    sizes = certificate.sizes
    pairs = (
        (certificate.balance, jnp.ones(())),
        (certificate.box, sizes.cpu),
        (certificate.stationarity, sizes.price),
        (certificate.gap, sizes.cost),
        (certificate.consensus, sizes.params),
        (certificate.gradient, sizes.gradient),
    )
    small = [value <= tolerance * jnp.maximum(size, 1).astype(value.dtype) for value, size in pairs]
    return jnp.all(jnp.stack(small), 0)


def _params_gradient(problem: Problem, x: Decision) -> tuple[Array, Array]:
    """The norm of the mean gradient, and the largest norm of one node's."""
    if not jax.tree.leaves(x.params):
        return jnp.zeros(()), jnp.zeros(())

    def cost(params, cpu, data):
        return problem.cost(Decision(params, cpu), data)

    slopes = _tree.filled(jax.vmap(jax.grad(cost))(x.params, x.cpu, problem.data), problem.members)
    return _tree.norm(_tree.node_mean(slopes)), jnp.max(jax.vmap(_tree.norm)(slopes))


def _market(problem: Problem, params: Tree, cpu: Array) -> tuple[Array, Array, Array, Array]:
    """Stationarity, gap, price and largest marginal cost of the shares."""
    lower, upper, _ = columns(problem)
    shares = cpu.reshape(lower.shape)
    slopes = marginals(problem, params)
    near = prices.pulled_in(shares, lower, upper)
    slope, hessian = with_curvatures(slopes, near)
    # A share this close to a bound counts as on it: what it could still give up is below the tolerance of any answer.
    ends = jnp.where(jnp.isinf(lower), 0, jnp.abs(lower)), jnp.where(jnp.isinf(upper), 0, jnp.abs(upper))
    touch = jnp.finfo(shares.dtype).eps ** 0.5 * jnp.maximum(jnp.maximum(*ends), jnp.abs(shares))
    can_give, can_take = shares > lower + touch, shares < upper - touch
    dearest, cheapest = jax.vmap(prices.ends_of_price, 1)(slope, can_give, can_take)
    rates = jnp.diagonal(hessian, axis1=1, axis2=2)
    price = jax.vmap(prices.price_of, 1)(slope, rates, can_give, can_take)
    gap = _gap(problem, params, near, price)
    level = jnp.max(jnp.abs(slope))
    return jnp.maximum(jnp.max(dearest - cheapest), 0) / 2, gap, price.reshape(cpu.shape[1:]), level


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
    width = jnp.where(jnp.isinf(upper - lower), jnp.maximum(jnp.abs(shares), 1), upper - lower)

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
