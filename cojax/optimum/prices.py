"""One resource has one price: at the right one, the shares that every node wants sum to the budget."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .. import _grid
from .roots import Root, divided, newton

Shares = Float[Array, " n"]
Mask = Bool[Array, " n"]
Price = Float[Array, ""]
Slope = Callable[[Array], Array]  # the marginal cost of every node at its own share

# Newton ends far earlier; bisection needs about 110 rounds where a price or a share is 0.
MOST_ROUNDS = 200
MOST_DOUBLINGS = 60


class Band(NamedTuple):
    """Where shares are searched: strictly inside of the bounds, because a cost may be infinite on them."""

    lower: Shares
    upper: Shares
    low: Shares  # just above `lower`, or so low that the lowest price asked for is bracketed
    high: Shares
    slope_low: Shares  # marginal cost at `low`
    slope_high: Shares


class Search(NamedTuple):
    root: Root  # of the sum of shares minus the budget, in the price
    low_shares: Shares  # wanted at root.low
    high_shares: Shares
    shares: Shares  # wanted at `price`, the last one tried
    yields: Shares  # their derivative with respect to the price
    price: Price
    rounds: Int[Array, ""]


def split(slope: Slope, lower: Shares, upper: Shares, budget: Price) -> Shares:
    """The shares of least total cost that sum to the budget within their bounds."""
    start, width = inside(lower, upper, budget)
    start = pulled_in(start, lower, upper)
    slope = guarded(slope, start)
    marginals, rate = value_and_rate(slope, start)
    movable = upper > lower
    # At any shares that sum to the budget, the price lies between the smallest and the largest marginal cost.
    least = jnp.min(jnp.where(movable, marginals, jnp.inf))
    most = jnp.max(jnp.where(movable, marginals, -jnp.inf))
    eps = jnp.finfo(budget.dtype).eps
    margin = 2 * eps * jnp.where((least == 0) & (most == 0), 1, jnp.maximum(jnp.abs(least), jnp.abs(most)))
    least, most = least - margin, most + margin
    band = band_around(slope, start, width, lower, upper, least, most)
    yields = jnp.where(movable, divided(jnp.ones_like(rate), rate), 0)
    guess = divided((yields * jnp.where(movable, marginals, 0)).sum(), yields.sum())
    root = Root(least, most, jnp.clip(guess, least, most), most - least, ~jnp.any(movable))
    search = Search(root, band.low, band.high, start, yields, guess, jnp.zeros((), jnp.int32))
    noise = eps * margin
    search = lax.while_loop(_going_on, lambda search: _try_price(slope, band, budget, noise, search), search)
    shares, gives_way = _between(search, budget, noise)
    return _balanced(jnp.clip(shares, lower, upper), gives_way, lower, upper, budget)


def _going_on(search: Search) -> Bool[Array, ""]:
    return ~search.root.done & (search.rounds < MOST_ROUNDS)


def _try_price(slope: Slope, band: Band, budget: Price, noise: Price, search: Search) -> Search:
    """The first two rounds look at the ends of the bracket, all others at where Newton points."""
    root, rounds = search.root, search.rounds
    eps = jnp.finfo(budget.dtype).eps
    price = jnp.where(rounds == 0, root.low, jnp.where(rounds == 1, root.high, root.at))
    guess = search.shares + search.yields * (price - search.price)
    shares, yields = shares_at(slope, band, price, search.low_shares, search.high_shares, guess)
    excess = shares.sum() - budget
    is_low = (rounds == 0) | ((rounds > 1) & (excess < 0))
    low_shares = jnp.where(is_low, shares, search.low_shares)
    high_shares = jnp.where(is_low, search.high_shares, shares)
    rounding = 4 * eps * (jnp.abs(shares).sum() + jnp.abs(budget))
    found = newton(root, excess, yields.sum(), rounding, 4 * eps * jnp.abs(root.at) + noise)
    found = jax.tree.map(lambda new, old: jnp.where(rounds > 1, new, old), found, root)
    return Search(found, low_shares, high_shares, shares, yields, price, rounds + 1)


def _between(search: Search, budget: Price, noise: Price) -> tuple[Shares, Shares]:
    """The shares found, and how readily each one gives way to what rounding left over.

    Where marginal costs are constant, shares jump at the price, and a mix of what both sides want fits the budget.
    """
    root = search.root
    eps = jnp.finfo(budget.dtype).eps
    jumps = root.high - root.low <= 2 * (4 * eps * jnp.maximum(jnp.abs(root.low), jnp.abs(root.high)) + noise)
    room = search.high_shares - search.low_shares
    fraction = divided(budget - search.low_shares.sum(), room.sum())
    mixed = search.low_shares + jnp.clip(fraction, 0, 1) * room
    return jnp.where(jumps, mixed, search.shares), jnp.where(jumps, room, search.yields)


def _balanced(shares: Shares, gives_way: Shares, lower: Shares, upper: Shares, budget: Price) -> Shares:
    """`shares` with what rounding left over given to the nodes off their bounds, and the last bits to one of them."""
    free = (shares > lower) & (shares < upper)
    weights = jnp.where(free, gives_way, 0)
    weights = divided(weights, jnp.broadcast_to(weights.sum(), weights.shape))
    roomiest = jnp.argmax(jnp.where(free, jnp.minimum(shares - lower, upper - shares), -1))
    last = jnp.zeros_like(weights).at[roomiest].set(jnp.any(free).astype(weights.dtype))

    def spread(shares, weights):
        return jnp.clip(shares + weights * _grid.shortfall(shares, budget), lower, upper), None

    return lax.scan(spread, shares, jnp.stack([weights, last]))[0]


def shares_at(
    slope: Slope, band: Band, price: Price, low: Shares, high: Shares, guess: Shares
) -> tuple[Shares, Shares]:
    """The share every node wants at `price`, between `low` and `high`, and its dshare/dprice (0 on a bound)."""
    at_lower = price <= band.slope_low
    at_upper = ~at_lower & (price >= band.slope_high)
    low, high = jnp.maximum(low, band.low), jnp.minimum(high, band.high)
    low, high = jnp.minimum(low, high), jnp.maximum(low, high)
    guess = jnp.where((guess >= low) & (guess <= high), guess, low + (high - low) / 2)
    eps = jnp.finfo(guess.dtype).eps

    def advance(state):
        root, _, count = state
        value, rate = value_and_rate(slope, root.at)
        noise = 4 * eps * jnp.abs(root.at) + eps**2 * (band.high - band.low)
        return newton(root, value - price, rate, 4 * eps * jnp.abs(price), noise), rate, count + 1

    def going_on(state):
        return ~jnp.all(state[0].done) & (state[2] < MOST_ROUNDS)

    root = Root(low, high, guess, high - low, at_lower | at_upper)
    root, rate, _ = lax.while_loop(going_on, advance, (root, jnp.ones_like(guess), jnp.zeros((), jnp.int32)))
    # Where a marginal cost without a bound never reaches the price, the end of the band stands for infinity.
    lowest = jnp.where(jnp.isinf(band.lower), band.low, band.lower)
    highest = jnp.where(jnp.isinf(band.upper), band.high, band.upper)
    shares = jnp.where(at_lower, lowest, jnp.where(at_upper, highest, root.at))
    return shares, jnp.where(at_lower | at_upper, 0, divided(jnp.ones_like(rate), rate))


def inside(lower: Shares, upper: Shares, budget: Price) -> tuple[Shares, Shares]:
    """Shares strictly inside of their bounds that sum to the budget, and the finite width of every box.

    All nodes stand at the same fraction of their box; an infinite side is cut where twice the budget would fit.
    """
    even = budget / lower.shape[0]
    low_end = jnp.where(jnp.isfinite(lower), lower, jnp.where(jnp.isfinite(upper), upper, even))
    high_end = jnp.where(jnp.isfinite(upper), upper, jnp.where(jnp.isfinite(lower), lower, even))
    missing = divided(jnp.maximum(budget - high_end.sum(), 0), jnp.isinf(upper).sum().astype(even.dtype))
    surplus = divided(jnp.maximum(low_end.sum() - budget, 0), jnp.isinf(lower).sum().astype(even.dtype))
    reach = 2 * jnp.maximum(jnp.maximum(missing, surplus), jnp.abs(even))
    reach = jnp.where(reach > 0, reach, 1)
    low = jnp.where(jnp.isfinite(lower), lower, low_end - reach)
    high = jnp.where(jnp.isfinite(upper), upper, high_end + reach)
    fraction = jnp.clip(divided(budget - low.sum(), (high - low).sum()), 0, 1)
    return low + fraction * (high - low), high - low


def band_around(
    slope: Slope, start: Shares, width: Shares, lower: Shares, upper: Shares, least: Price, most: Price
) -> Band:
    """The band of all shares wanted at prices from `least` to `most`; infinite sides are widened until it is."""
    low, high = _ends(start, width, lower, upper)
    start, width, bounds = jnp.stack([start, start]), jnp.stack([-width, width]), jnp.stack([lower, upper])
    ends = jnp.where(jnp.isinf(bounds), start + width, jnp.stack([low, high]))

    def short(slopes):
        return jnp.isinf(bounds) & jnp.stack([slopes[0] > least, slopes[1] < most])

    def widen(state):
        ends, slopes, rounds = state
        ends = jnp.where(short(slopes) & (rounds > 0), start + 2 * (ends - start), ends)
        return ends, jax.vmap(slope)(ends), rounds + 1

    def going_on(state):
        _, slopes, rounds = state
        return (rounds == 0) | (jnp.any(short(slopes)) & (rounds < MOST_DOUBLINGS))

    # One loop with one copy of the cost in it: what is compiled is what the user waits for.
    state = (ends, jnp.zeros_like(ends), jnp.zeros((), jnp.int32))
    (low, high), (slope_low, slope_high), _ = lax.while_loop(going_on, widen, state)
    return Band(lower, upper, low, high, slope_low, slope_high)


def pulled_in(shares: Array, lower: Array, upper: Array) -> Array:
    """`shares` clipped to their bounds, then off them by a rounding error, so that log(0) and 1/0 are not met."""
    return jnp.clip(shares, *_ends(shares, jnp.ones_like(shares), lower, upper))


def _ends(start: Array, width: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """The first point above `lower` and the last below `upper`, seen from `start`; the middle where there is none."""
    eps = jnp.finfo(start.dtype).eps
    least, most = jnp.where(jnp.isinf(lower), start, lower), jnp.where(jnp.isinf(upper), start, upper)
    low = least + eps * (2 * jnp.abs(least) + jnp.maximum(start - least, eps * width))
    high = most - eps * (2 * jnp.abs(most) + jnp.maximum(most - start, eps * width))
    low, high = jnp.where(jnp.isinf(lower), lower, low), jnp.where(jnp.isinf(upper), upper, high)
    narrow = ~(low < high)
    middle = jnp.where(narrow, lower + jnp.where(narrow, upper - lower, 0) / 2, 0)
    return jnp.where(narrow, middle, low), jnp.where(narrow, middle, high)


def price_of(marginals: Shares, rate: Shares, can_give: Mask, can_take: Mask) -> Price:
    """The price that marginal costs reveal: their mean over nodes off their bounds, flattest costs first."""
    free = can_give & can_take
    mean = (flatness(rate, free) * jnp.where(free, marginals, 0)).sum()
    return jnp.where(jnp.any(free), mean, idle_price(marginals, can_give, can_take))


def idle_price(marginals: Shares, can_give: Mask, can_take: Mask) -> Price:
    """The middle, or the one finite end, of the prices at which no node wants to give or to take."""
    dearest, cheapest = ends_of_price(marginals, can_give, can_take)
    dearest = jnp.where(jnp.any(can_give), dearest, jnp.where(jnp.any(can_take), cheapest, marginals.max()))
    return (dearest + jnp.where(jnp.any(can_take), cheapest, dearest)) / 2


def ends_of_price(marginals: Shares, can_give: Mask, can_take: Mask) -> tuple[Price, Price]:
    """The dearest marginal cost of a node that can give, the cheapest of one that can take: at best in this order."""
    dearest = jnp.max(jnp.where(can_give, marginals, -jnp.inf))
    return dearest, jnp.min(jnp.where(can_take, marginals, jnp.inf))


def flatness(rate: Shares, free: Mask) -> Shares:
    """1 / curvature of the free nodes, summing to 1: how the next unit of budget splits; linear costs take it all."""
    info = jnp.finfo(rate.dtype)
    rate = jnp.where(free, rate, 0)
    weights = jnp.where(free, 1 / jnp.maximum(rate, jnp.maximum(rate.max() * info.eps**2, info.tiny**0.5)), 0)
    return divided(weights, jnp.broadcast_to(weights.sum(), weights.shape))


def value_and_rate(slope: Slope, shares: Shares) -> tuple[Shares, Shares]:
    """The marginal costs and their derivatives, each node's with respect to its own share."""
    return jax.jvp(slope, (shares,), (jnp.ones_like(shares),))


def guarded(slope: Slope, start: Array) -> Slope:
    """`slope` with what is not a number, outside of a cost's domain, taken as infinite away from `start`."""

    def safe(shares: Array) -> Array:
        value = slope(shares)
        return jnp.where(jnp.isnan(value), jnp.where(shares > start, jnp.inf, -jnp.inf), value)

    return safe
