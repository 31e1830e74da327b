"""What a decision is worth, computed from the problem alone: no iteration, state or solver needs to be trusted."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from .._support import trees
from .._support.checks import check_kinds, check_number, is_concrete
from .._support.compiling import compiled
from .._support.precision import in_full
from .._support.reprs import brief
from .._support.trees import Tree
from ..problems.measures import disagreement
from ..problems.problem import Decision, Problem
from . import prices, sizes
from .fits import check_decision
from .margins import (
    ROUNDINGS,
    Slopes,
    Table,
    as_columns,
    ends_of_price,
    inside_of,
    marginals,
    margins,
    price_of,
    reach_of,
)
from .models import model_gap
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
        model_gap: (), cost minus a lower bound of the optimal cost, shares held, in the unit of the cost; inf where
            nothing is shown, NaN where nothing can be.
        price: () or (r,), of one unit of budget, as the marginal costs at this decision reveal it.
        sizes: what these are small against, for `is_certified`, in the same units.
    """

    balance: Float[Array, ""]
    box: Float[Array, ""]
    stationarity: Float[Array, ""]
    gap: Float[Array, ""]
    consensus: Float[Array, ""]
    gradient: Float[Array, ""]
    model_gap: Float[Array, ""]
    price: Float[Array, "*r"]
    sizes: Sizes

    def __repr__(self) -> str:
        try:
            if is_concrete(self) and np.ndim(self.gap) == 0:
                return "\n  ".join([f"Certificate: {verdict(self)}.", *judgement(self)])
        except Exception:  # a tree of the shape of a certificate with other leaves; an error here would hide another
            pass
        return brief(self)


def certificate(problem: Problem, x: Decision) -> Certificate:
    """Judge `x` by the costs without the penalty, the hard bounds and the budget; params at their mean over nodes.

    gap: sum_i f_i(x_i) - price x_i - min_{[l_i, u_i]} (f_i - price x), f_i the cost of node i at the mean params. By
    weak duality it is at least the true suboptimality of the shares, for convex f_i and whatever the price; the inner
    minima are found numerically and then lowered to what their gradients allow, so only the rounding of f itself
    is trusted (on a node with no bounds and several coupled resources, also their gradients). A decision outside
    of its bounds is clipped to them first; one off balance is taken to buy what it lacks at the price. A cost that is
    infinite on a bound is read just inside of it. An unbounded minimum gives inf.

    model_gap: f the cost of one model at all nodes together, and |s| the length in which the Newton step s from here is
    measured by the curvature H there, |s|**2 = s'Hs. Where H halves at most within 4 |s|, the minimum of a convex f
    lies there, and f is above it by |s|**2 at most. How fast H can fall is proved for the costs of `cojax.costs` (by
    self-concordance; a cost of yours may tell it too, see `cojax.problems.curving`), and measured in both directions of
    s for others. Without a proof it is inf: so it is of a cost that falls for ever, as of separable labels without a
    ridge, and of a minimum where H vanishes. Not convex there, and with over 1000 params and no known strong convexity,
    it is NaN. Then the model is stationary, and not certified.

    Differentiable are box, stationarity, consensus and gradient, in every array of `problem` and `x`. The others are
    searched for: their derivatives are 0; those of the optimum's cost, shares and price are had of `allocate`.

    A half that the decision lacks, params or cpu, has zeros. Works under jit and vmap; r resources share each scalar,
    the one that is furthest off beside its own size counts, and `price` is (r,). Sources: of the gap, Boyd,
    Vandenberghe, Convex Optimization, 2004, ch. 5; of model_gap, Bach, doi 10.1214/09-EJS521.
    Raises `CojaxInputError` for a decision of other shapes than the problem's, or that its cost cannot be computed of.
    """
    return _certify(problem, check_decision("certificate", problem, x), jnp.inf)


def certificate_within(problem: Problem, x: Decision, tolerance: Any) -> Certificate:
    """The certificate of `x`, whose model_gap, which takes longest, is inf where another number exceeds `tolerance`."""
    return _certify(problem, check_decision("certificate", problem, x), tolerance)


@functools.partial(compiled, runs_briefly=True)
@in_full
def _certify(problem: Problem, x: Decision, tolerance: Any) -> Certificate:
    x = x._replace(params=trees.filled(x.params, problem.members))
    params = jax.tree.map(lambda mean, leaf: jnp.broadcast_to(mean, leaf.shape), trees.node_mean(x.params), x.params)
    costs = problem.costs(Decision(params, x.cpu))
    slopes = sizes.learning(problem, Decision(params, x.cpu))
    zero = jnp.zeros((), costs.dtype)
    balance, stationarity, gap, price, level, worth = zero, zero, zero, zero, zero, zero
    if x.cpu is not None and problem.budget is not None:
        balance = sizes.balance(problem, x.cpu)
        stationarity, gap, price, level, worth = _market(problem, params, x.cpu)
    box, largest = sizes.box(problem, x.cpu)
    total = jnp.abs(costs).sum()
    cost = jnp.maximum(total, worth.astype(costs.dtype))
    judged = Certificate(
        balance=balance,
        box=box,
        stationarity=stationarity,
        gap=gap,
        consensus=disagreement(x),
        gradient=slopes.mean,
        model_gap=jnp.zeros_like(slopes.mean),
        price=price,
        sizes=lax.stop_gradient(Sizes(largest, level, cost, slopes.params, slopes.gradient, total)),
    )
    if not jax.tree.leaves(x.params):
        return judged
    near = is_certified(judged, tolerance)
    unknown = jnp.full_like(slopes.mean, jnp.inf), jnp.zeros_like(slopes.mean)

    def look() -> tuple[Array, Array]:
        found = model_gap(problem, Decision(params, inside_of(problem, x.cpu)))
        return found[0].astype(unknown[0].dtype), found[1].astype(unknown[1].dtype)

    above, curved = lax.cond(near, look, lambda: unknown)
    size = lax.stop_gradient(jnp.maximum(total, curved.astype(total.dtype)))
    return judged._replace(model_gap=above, sizes=judged.sizes._replace(model_cost=size))


def is_certified(certificate: Certificate, tolerance: Any) -> Bool[Array, ""]:
    """Whether every number of a certificate is below `tolerance` beside its own size: whatever the units, the same.

    The sizes are `Sizes` of the problem and the decision: box beside the largest share, stationarity beside the
    largest marginal cost, the gaps beside the absolute costs, consensus beside the largest params entry, gradient
    beside the largest gradient of one node; or beside what the curvature makes of the decision, where that is larger.
    NaN is never certified. sqrt(precision) is what one may ask of a long run, 1e-10 of `reference` in float64. The
    second tier, of `Status.CONVERGED_REDUCED`, is tolerance ** (2/3): 1e-6 gives 1e-4.

    Raises `CojaxInputError` for what is no certificate, and for a tolerance that is no number >= 0.
    """
    check_kinds("is_certified", ("certificate", certificate, Certificate))
    check_number("is_certified", "tolerance", tolerance, at_least=0.0)
    return jnp.all(jnp.stack([error <= tolerance for error in relative(certificate).values()]), 0)


def is_stationary(certificate: Certificate, tolerance: Any) -> Bool[Array, ""]:
    """Whether all but the gap of the model is below `tolerance`, and that no number: it may have no optimum."""
    gap = certificate.model_gap
    return is_certified(certificate._replace(model_gap=jnp.zeros_like(gap)), tolerance) & ~jnp.isfinite(gap)


def relative(certificate: Certificate) -> dict[str, sizes.Numbers]:
    """What `is_certified` compares: every number of a certificate beside its size."""
    if is_concrete(certificate):  # on the host, where JAX would compile a program for every operation
        certificate = jax.tree.map(np.asarray, certificate)
    own = certificate.sizes
    pairs = {"box": own.cpu, "stationarity": own.price, "gap": own.cost}
    pairs |= {"consensus": own.params, "gradient": own.gradient, "model_gap": own.model_cost}
    beside = {name: sizes.beside(getattr(certificate, name), size) for name, size in pairs.items()}
    return {"balance": certificate.balance} | beside


# Of a certificate, in words.
WORDS = {
    "balance": "the total",
    "box": "a share beyond its bounds",
    "stationarity": "the spread of the marginal costs",
    "gap": "the gap of the shares",
    "consensus": "the distance between the models",
    "gradient": "the gradient of the model",
    "model_gap": "the gap of the model",
}


def verdict(certificate: Certificate) -> str:
    """To which power of ten a certificate passes, and what is furthest off; on the host."""
    off = {name: float(error) for name, error in relative(certificate).items()}
    worst = _worst(off)
    if worst == "model_gap" and not np.isfinite(off[worst]):
        worst = _worst({name: error for name, error in off.items() if name != "model_gap"})
        if off[worst] <= 1e-2:
            return f"NOT certified: stationary to {off[worst]:.2g}, and nothing shows that this is the optimum"
    if off[worst] == 0:
        return "certified: nothing is off"
    if not off[worst] <= 1e-2:
        how = f"{off[worst]:.2g} times" if np.isfinite(off[worst]) else "not small beside"
        return f"NOT certified: {WORDS[worst]} is {how} its size"
    power = np.floor(-np.log10(off[worst]))
    power -= not off[worst] <= 10.0**-power  # of a logarithm that was rounded
    return f"certified to 1e-{power:.0f}: furthest off is {WORDS[worst]}, {off[worst]:.2g} of its size"


def _worst(off: dict[str, float]) -> str:
    return max(off, key=lambda name: np.inf if np.isnan(off[name]) else off[name])


def judgement(certificate: Certificate) -> list[str]:
    """What a certificate says of each half that the decision has, a line each; on the host."""
    shares = (
        f"shares: {brief(certificate.balance)} of the budget off, {brief(certificate.box)} beyond their bounds, "
        f"cost at most {brief(certificate.gap)} above the optimum of this model (convex costs), "
        f"price {brief(certificate.price)}"
    )
    model = (
        f"model: copies {brief(certificate.consensus)} apart, norm of the mean gradient "
        f"{brief(certificate.gradient)}, {_words_of_gap(certificate.model_gap)}"
    )
    own = certificate.sizes
    has_shares = float(own.cpu) > 0 or bool(np.any(certificate.price))
    has_model = any(float(number) != 0 for number in (own.gradient, own.params, certificate.model_gap))
    return [shares] * has_shares + [model] * has_model


def _words_of_gap(gap: Any) -> str:
    """What the gap of a model says; on the host."""
    if np.isnan(gap):
        return "no bound of its cost: not convex here, or too large to tell"
    if np.isinf(gap):
        return "no bound of its cost: it may fall further, for ever if nothing stops it (a ridge would)"
    return f"cost at most {brief(gap)} above the best model's (convex costs)"


def _market(problem: Problem, params: Tree, cpu: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Stationarity, gap and price of the shares, and the sizes of a price and of a cost."""
    lower, upper, budget = as_columns(problem)
    shares = cpu.reshape(lower.shape)
    slopes = marginals(problem, params)
    # A share this close to a bound or a corner counts as on it: what it could still give up is below the tolerance of
    # any answer. But of an exact answer it may be the one share that tells the price.
    reach = jnp.finfo(shares.dtype).eps ** 0.5 * jnp.max(jnp.abs(shares), 0)

    def looked(reach):
        found = margins(slopes, shares, lower, upper, reach)
        dearest, cheapest = ends_of_price(found)
        levels, worth = sizes.market(found.steep, found.hessian, shares)
        off = sizes.furthest(jnp.maximum(dearest - cheapest, 0) / 2, levels)
        return price_of(found), *off, worth, (found.steep * reach[None]).sum()

    price, stationarity, *others = lax.map(looked, jnp.stack([reach, reach_of(shares, lower, upper)]))
    # The lower bound is searched for, at one price of two: neither search has a derivative.
    price, (level, worth, moved), problem, params, shares = lax.stop_gradient((price, others, problem, params, shares))
    lower, upper, budget = as_columns(problem)
    # The bounds of the others bound a share too, and a box that is smaller bounds what a tangent can fall.
    low, high = prices.reachable(lower, upper, budget)
    near = prices.pulled_in(shares, low, high)
    gaps = lax.map(lambda price: _gap(problem, params, near, price, low, high), price)
    # What moving every share by a rounding explains is none.
    gaps = jnp.where(gaps <= moved[1], 0, gaps)
    best = jnp.argmin(gaps)
    return stationarity[0], gaps[best], price[best].reshape(cpu.shape[1:]), level[0], worth[0]


def _gap(problem: Problem, params: Tree, shares: Table, price: Array, lower: Table, upper: Table) -> Array:
    """sum_i f_i(x_i) - price x_i minus a lower bound of its minimum over the box, node by node.

    A convex function lies above each of its tangents, and above every mean of them. Those here touch it around its
    minimum, and are weighed so that their slopes cancel: also at a corner, where no single one is level.
    """
    slopes = marginals(problem, params)

    def costs(cpu):
        assert problem.lower is not None
        return problem.costs(Decision(params, cpu.reshape(problem.lower.shape)))

    def gaps(at, low, high):
        reach = jnp.maximum(reach_of(at, lower, upper), reach_of(shares, lower, upper))
        points, weights = _around(slopes, at, price, lower, upper, reach)
        touched = jax.vmap(slopes)(points) - price[None, None]
        slope = (weights[:, :, None] * touched).sum(0)
        # From `at` on, their mean falls by at most this much inside of the box.
        room = jnp.where(slope > 0, at - low, high - at)
        below = jnp.where(slope == 0, 0, jnp.abs(slope) * room).sum(1)
        below = below + (weights * (touched * (points - at[None])).sum(2)).sum(0)
        bought = ((shares[None] - points) * price[None, None]).sum(2)
        excess = (weights * (costs(shares)[None] - jax.vmap(costs)(points) - bought.astype(shares.dtype))).sum(0)
        gap = jnp.maximum(excess + below, 0)
        return jnp.where(jnp.isnan(gap), jnp.inf, gap)

    found = gaps(*_best_shares(slopes, shares, price, lower, upper, as_columns(problem)[2]))
    if shares.shape[1] > 1:
        # Turns of several resources may end short of the minimum, of which the shares themselves may be one.
        found = jnp.minimum(found, gaps(shares, lower, upper))
    return found.sum()


def _around(slopes: Slopes, best: Table, price: Array, lower: Table, upper: Table, reach: Array) -> tuple[Array, Array]:
    """r + 1 points close to `best` for every node, and weights (r + 1, n) at which their slopes mean the price.

    Point k lies to the right of `best` in those resources whose marginal costs have farthest to rise to the price, and
    to the left in the others: as many weights do for r resources as do for one.
    """
    far = jnp.broadcast_to(reach[None], best.shape)
    if best.shape[1] == 1:
        # So far that slopes change by more than they round. Several resources would change each other's.
        eps = jnp.finfo(best.dtype).eps
        slope, rate = jax.jvp(slopes, (best,), (jnp.ones_like(best),))
        off = jnp.abs(slope - price[None]) + 4 * eps * jnp.abs(price)[None]
        farther = far + 4 * prices.divide(off, jnp.abs(rate))
        far = jnp.minimum(farther, reach[None] / (ROUNDINGS * eps**0.5))
    sides = prices.pulled_in(jnp.stack([best - far, best + far]), lower, upper)
    low, high = jax.vmap(slopes)(sides)
    share = jnp.where(high > low, (price[None] - low) / jnp.where(high > low, high - low, 1), 0.5)
    share = jnp.clip(share, 0, 1)  # of the weight that belongs to the right
    ends = jnp.sort(share, axis=1).T
    ends = jnp.concatenate([jnp.zeros_like(ends[:1]), ends, jnp.ones_like(ends[:1])])
    middle = (ends[1:] + ends[:-1]) / 2
    return jnp.where(middle[:, :, None] < share[None], sides[1:], sides[:1]), ends[1:] - ends[:-1]


def _best_shares(
    slopes: Slopes, shares: Table, price: Array, lower: Table, upper: Table, budget: Array
) -> tuple[Table, Table, Table]:
    """What every node would hold at `price`, and a box around it that holds every minimiser.

    The search begins at `shares`, inside of the bounds.
    """
    eps = jnp.finfo(shares.dtype).eps
    _, width = prices.inside(lower, upper, budget)

    def one(k, state):
        best, low, high = state
        start = shares[:, k]
        slope = prices.guard(lambda column: slopes(best.at[:, k].set(column))[:, k], start)
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
        return found, jnp.max(jnp.abs(found[0] - best), 0), count + 1

    def going_on(state):
        found, move, count = state
        return jnp.any(move > 4 * eps * jnp.max(jnp.abs(found[0]), 0)) & (count < MOST_TURNS)

    state = turn(((shares, lower, upper), jnp.zeros_like(price), jnp.zeros((), jnp.int32)))
    if shares.shape[1] == 1:
        return state[0]
    return lax.while_loop(going_on, turn, state)[0]
