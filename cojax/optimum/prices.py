"""One resource has one price: at the right one, the shares that every node wants sum to the budget."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from .._support import exact_grid
from .roots import Root, divide, newton

Shares = Float[Array, " n"]
Price = Float[Array, ""]
Table = Float[Array, "n r"]  # shares, a column per resource
Prices = Float[Array, " r"]
Slope = Callable[[Array], Array]  # the marginal cost of every node at its own share

# Newton ends far earlier; bisection needs about 110 rounds where a price or a share is 0.
MOST_ROUNDS = 200
MOST_WIDENINGS = 60
# How many times the even share a bound may be away and still tell the size of shares.
FAR = 2.0**10


class Band(NamedTuple):
    """Where shares are searched: strictly inside of the bounds, because a cost may be infinite on them."""

    lower: Shares  # the share of a node that wants none above it: the bound, or `low` where that is far off it
    upper: Shares
    low: Shares  # just above the bound, or so low that the lowest price asked for is bracketed
    high: Shares
    width: Shares  # of the part where shares of the problem's size are
    slope_low: Shares  # marginal cost at `low`
    slope_high: Shares


class PriceSearch(NamedTuple):
    root: Root  # of the sum of shares minus the budget, in the price
    low_shares: Shares  # wanted at root.low
    high_shares: Shares
    shares: Shares  # wanted at `price`, the last one tried
    yields: Shares  # their derivative with respect to the price
    price: Price
    rounds: Int[Array, ""]


def split(slope: Slope, lower: Shares, upper: Shares, budget: Price, start: Shares, width: Shares) -> Shares:
    """The shares of least total cost that sum to the budget within their bounds, searched from those of `inside`."""
    slope = guard(slope, start)
    marginals, rate = value_and_rate(slope, start)
    movable = upper > lower
    # At any shares that sum to the budget, the price lies between the smallest and the largest marginal cost.
    least = jnp.min(jnp.where(movable, marginals, jnp.inf))
    most = jnp.max(jnp.where(movable, marginals, -jnp.inf))
    eps = jnp.finfo(budget.dtype).eps
    # Wider than what counts as met, so that at its ends no flat cost is taken for level.
    margin = 64 * eps * jnp.where((least == 0) & (most == 0), 1, jnp.maximum(jnp.abs(least), jnp.abs(most)))
    least, most = least - margin, most + margin
    band = band_around(slope, start, width, lower, upper, least, most)
    yields = jnp.where(movable, divide(jnp.ones_like(rate), rate), 0)
    guess = divide((yields * jnp.where(movable, marginals, 0)).sum(), yields.sum())
    root = Root(least, most, jnp.clip(guess, least, most), most - least, ~jnp.any(movable))
    search = PriceSearch(root, band.low, band.high, start, yields, guess, jnp.zeros((), jnp.int32))
    noise = eps * margin
    search = lax.while_loop(_going_on, lambda search: _try_price(slope, band, budget, noise, search), search)
    shares, gives_way = _between(search, start, budget, noise)
    return _balance(jnp.clip(shares, lower, upper), gives_way, lower, upper, budget)


def _going_on(search: PriceSearch) -> Bool[Array, ""]:
    return ~search.root.done & (search.rounds < MOST_ROUNDS)


def _try_price(slope: Slope, band: Band, budget: Price, noise: Price, search: PriceSearch) -> PriceSearch:
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
    return PriceSearch(found, low_shares, high_shares, shares, yields, price, rounds + 1)


def _between(search: PriceSearch, start: Shares, budget: Price, noise: Price) -> tuple[Shares, Shares]:
    """The shares found, and how readily each one gives way to what rounding left over.

    Where marginal costs are constant, shares jump at the price, and some between what both sides want fit the budget:
    those near the start, for a side may be infinitely far.
    """
    root = search.root
    eps = jnp.finfo(budget.dtype).eps
    jumps = root.high - root.low <= 2 * (4 * eps * jnp.maximum(jnp.abs(root.low), jnp.abs(root.high)) + noise)
    near = jnp.clip(start, search.low_shares, search.high_shares)
    missing = budget - near.sum()
    room = jnp.where(missing > 0, search.high_shares, search.low_shares) - near
    mixed = near + jnp.clip(divide(jnp.abs(missing), jnp.abs(room).sum()), 0, 1) * room
    return jnp.where(jumps, mixed, search.shares), jnp.where(jumps, jnp.abs(room), search.yields)


def _balance(shares: Shares, gives_way: Shares, lower: Shares, upper: Shares, budget: Price) -> Shares:
    """`shares` with what rounding left over given to the nodes off their bounds, as readily as they give way."""
    weights = jnp.where((shares > lower) & (shares < upper), gives_way, 0)
    weights = divide(weights, jnp.broadcast_to(weights.sum(), weights.shape))
    return jnp.clip(shares + weights * (budget - shares.sum()), lower, upper)


def settle(shares: Table, lower: Table, upper: Table, budget: Prices) -> Table:
    """`shares` on a grid of two roundings of the largest, so that they sum to the budget without one.

    Bounds go to the next point of the grid inside of them. Where no share is off its bounds, and where a box holds no
    point of the grid, shares stay as they are.
    """
    grid = exact_grid.finest(shares)
    low = jnp.ceil(exact_grid.units(lower, grid)) * grid[None]
    high = jnp.floor(exact_grid.units(upper, grid)) * grid[None]
    rounded = jnp.clip(jnp.round(exact_grid.units(shares, grid)) * grid[None], low, high)
    free = (rounded > low) & (rounded < high)
    any_free = jnp.any(free, 0, keepdims=True)
    shares = jnp.where(any_free & (low <= high), rounded, jnp.clip(shares, lower, upper))
    count = jnp.maximum(free.sum(0), 1).astype(shares.dtype)
    missing = jnp.round(exact_grid.units(exact_grid.shortfall(shares, budget), grid))
    each = jnp.floor(missing / count)
    one_more = jnp.cumsum(free.astype(shares.dtype), 0) <= (missing - each * count)[None]
    steps = each[None] + one_more.astype(shares.dtype)
    spread = jnp.where(free, jnp.clip(shares + steps * grid[None], low, high), shares)
    # What a fixed share off the grid leaves goes to the smallest share with room for it, whose own bits are the finest.
    missing = exact_grid.shortfall(spread, budget)[None]
    room = jnp.where(free, jnp.where(missing > 0, high - spread, spread - low), -1)
    fits = room >= jnp.abs(missing)
    smallest = jnp.argmin(jnp.where(fits, jnp.abs(spread), jnp.inf), 0)
    taker = jnp.where(jnp.any(fits, 0), smallest, jnp.argmax(room, 0))
    takes = any_free & (jnp.arange(len(shares))[:, None] == taker[None])
    return jnp.where(takes, jnp.clip(spread + missing, low, high), jnp.where(any_free, spread, shares))


def shares_at(
    slope: Slope, band: Band, price: Price, low: Shares, high: Shares, guess: Shares
) -> tuple[Shares, Shares]:
    """The share every node wants at `price`, between `low` and `high`, and its dshare/dprice, 0 where it is stuck."""
    at_lower = price <= band.slope_low
    at_upper = ~at_lower & (price >= band.slope_high)
    low, high = jnp.maximum(low, band.low), jnp.minimum(high, band.high)
    low, high = jnp.minimum(low, high), jnp.maximum(low, high)
    guess = jnp.where((guess >= low) & (guess <= high), guess, low + (high - low) / 2)
    eps = jnp.finfo(guess.dtype).eps

    def advance(state):
        root, _, _, count = state
        value, rate = value_and_rate(slope, root.at)
        noise = 4 * eps * jnp.abs(root.at) + eps**2 * band.width
        value_noise = 4 * eps * jnp.abs(price)
        # What a move by rounding does not explain is a jump: the node stays while the price goes through it.
        stays = jnp.abs(value - price) > 4 * (jnp.abs(rate) * noise + value_noise)
        return newton(root, value - price, rate, value_noise, noise), rate, stays, count + 1

    def going_on(state):
        return ~jnp.all(state[0].done) & (state[3] < MOST_ROUNDS)

    root = Root(low, high, guess, high - low, at_lower | at_upper)
    state = (root, jnp.ones_like(guess), jnp.zeros_like(root.done), jnp.zeros((), jnp.int32))
    root, rate, stays, _ = lax.while_loop(going_on, advance, state)
    shares = jnp.where(at_lower, band.lower, jnp.where(at_upper, band.upper, root.at))
    return shares, jnp.where(at_lower | at_upper | stays, 0, divide(jnp.ones_like(rate), rate))


def reachable(lower: Table, upper: Table, budget: Prices) -> tuple[Table, Table]:
    """The bounds, drawn in where the bounds of all others leave no share beyond them."""
    bounds, eps = jnp.stack([lower, upper]), jnp.finfo(lower.dtype).eps
    outward, budget = _outward(lower.dtype)[:, :, None], budget[None, None]
    is_open = jnp.isinf(bounds)
    finite = jnp.where(is_open, 0, bounds)
    others_open = (is_open.sum(1, keepdims=True) > 1) | (jnp.any(is_open, 1, keepdims=True) & ~is_open)
    # What the others leave at most, all at their lower bounds, and what they leave at least.
    left = budget - (finite.sum(1, keepdims=True) - finite)
    left = jnp.where(others_open, -outward * jnp.inf, left)
    # So much farther out that a share never ends there only because sums are rounded.
    rounding = 4 * eps * jnp.abs(finite).sum(1, keepdims=True) + 16 * eps * (jnp.abs(budget) + jnp.abs(left))
    most, least = left - outward * rounding
    return jnp.maximum(lower, jnp.minimum(least, upper)), jnp.minimum(upper, jnp.maximum(most, lower))


def inside(lower: Table, upper: Table, budget: Prices) -> tuple[Table, Table]:
    """Shares strictly inside of their bounds, which sum to the budget, and a finite width for every box.

    All have the same share, or stand at the same fraction of their box. A side that is infinite, or so far out that it
    says nothing of the size of shares, is cut where twice the budget would fit.
    """
    even = budget / lower.shape[0]
    bounds = jnp.stack([lower, upper])
    told = jnp.isfinite(bounds) & (bounds != 0)
    smallest = jnp.min(jnp.where(told, jnp.abs(bounds), jnp.inf), (0, 1))
    size = jnp.where(even == 0, jnp.where(jnp.any(told, (0, 1)), smallest, 0), jnp.abs(even))
    far = jnp.abs(bounds - even[None, None]) > FAR * size[None, None]
    opened = jnp.where(far, _outward(bounds.dtype)[:, :, None] * jnp.inf, bounds)
    near, whole = _finite(jnp.stack([opened, bounds]), budget, size)
    near = jnp.stack([jnp.maximum(near[0], lower), jnp.minimum(near[1], upper)])
    least, most = near.sum(1)
    low, high = jnp.where(((least <= budget) & (budget <= most))[None, None], near, whole)
    fraction = jnp.clip(divide(budget - low.sum(0), (high - low).sum(0)), 0, 1)
    alike = jnp.all((lower < even[None]) & (even[None] < upper), 0)
    return jnp.where(alike[None], even[None], low + fraction[None] * (high - low)), high - low


def _finite(bounds: Float[Array, "m 2 n r"], budget: Prices, size: Prices) -> Float[Array, "m 2 n r"]:
    """Finite ends of all boxes, which hold the budget; infinite ones are `size` away from the others at least."""
    is_open, outward = jnp.isinf(bounds), _outward(bounds.dtype)[None, :, :, None]
    budget, size = budget[None, None, None], size[None, None, None]
    # Where an end is infinite the other one stands for it, or the even share.
    other = jnp.where(is_open[:, ::-1], budget / bounds.shape[2], bounds[:, ::-1])
    ends = jnp.where(is_open, other, bounds)
    missing = jnp.maximum(outward * (budget - ends.sum(2, keepdims=True)), 0)
    each = divide(missing, is_open.sum(2, keepdims=True).astype(bounds.dtype))
    reach = 2 * jnp.maximum(jnp.max(each, 1, keepdims=True), size)
    return jnp.where(is_open, ends + outward * jnp.where(reach > 0, reach, 1), bounds)


def _outward(dtype: DTypeLike) -> Float[Array, "2 1"]:
    return jnp.array([[-1], [1]], dtype)


def band_around(
    slope: Slope, start: Shares, width: Shares, lower: Shares, upper: Shares, least: Price, most: Price
) -> Band:
    """The band of all shares wanted at prices from `least` to `most`; far sides are widened until it is."""
    bounds = jnp.stack([lower, upper])
    ends = _ends(start, width, bounds)
    far = jnp.abs(bounds - start[None]) > 2 * width[None]

    def short(slopes, tried):
        return far & jnp.stack([slopes[0] > least, slopes[1] < most]) & (tried != ends)

    def widen(state):
        tried, slopes, rounds = state
        wider = jnp.clip(start[None] + 2 * (tried - start[None]), ends[:1], ends[1:])
        wider = jnp.where((rounds == MOST_WIDENINGS - 1) & ~jnp.isinf(ends), ends, wider)
        tried = jnp.where(short(slopes, tried) & (rounds > 0), wider, tried)
        return tried, jax.vmap(slope)(tried), rounds + 1

    def going_on(state):
        tried, slopes, rounds = state
        return (rounds == 0) | (jnp.any(short(slopes, tried)) & (rounds < MOST_WIDENINGS))

    # One loop with one copy of the cost in it: what is compiled is what the user waits for.
    first = start[None] + _outward(start.dtype) * width[None]
    first = jnp.where(far, jnp.clip(first, ends[:1], ends[1:]), ends)
    state = (first, jnp.zeros_like(first), jnp.zeros((), jnp.int32))
    tried, (slope_low, slope_high), _ = lax.while_loop(going_on, widen, state)
    # Where a marginal cost without a bound never reaches the price, the end of the band stands for infinity.
    lower, upper = jnp.where(tried == ends, bounds, tried)
    return Band(lower, upper, tried[0], tried[1], width, slope_low, slope_high)


def pulled_in(shares: Float[Array, "*m n r"], lower: Table, upper: Table) -> Float[Array, "*m n r"]:
    """`shares` clipped to their bounds, then off them by a rounding error, so that log(0) and 1/0 are not met."""
    lower, upper = (jnp.broadcast_to(bound, shares.shape) for bound in (lower, upper))
    size = jnp.expand_dims(lax.stop_gradient(sizes_of(shares, lower, upper)), -2)
    return jnp.clip(shares, *_ends(shares, size, jnp.stack([lower, upper])))


def sizes_of(
    shares: Float[Array, "*m n r"], lower: Float[Array, "*m n r"], upper: Float[Array, "*m n r"]
) -> Float[Array, "*m r"]:
    """Of every resource the largest share; where all are 0 the largest bound that is finite; else 1."""
    ends = jnp.abs(jnp.concatenate([lower, upper], -2))
    bound = jnp.max(jnp.where(jnp.isinf(ends), 0, ends), -2)
    largest = jnp.max(jnp.abs(shares), -2)
    return jnp.where(largest > 0, largest, jnp.where(bound > 0, bound, 1))


def _ends(start: Array, width: Array, bounds: Float[Array, "2 ..."]) -> Float[Array, "2 ..."]:
    """The first point above the lower bound and the last below the upper, seen from `start`; else the middle."""
    eps = jnp.finfo(start.dtype).eps
    outward = jnp.expand_dims(_outward(start.dtype)[:, 0], tuple(range(1, bounds.ndim)))
    is_open = jnp.isinf(bounds)
    near = jnp.where(is_open, start[None], bounds)
    off = eps * (2 * jnp.abs(near) + jnp.maximum(outward * (near - start[None]), eps * width[None]))
    ends = jnp.where(is_open, bounds, near - outward * off)
    narrow = ~(ends[0] < ends[1])
    middle = jnp.where(narrow, bounds[0] + jnp.where(narrow, bounds[1] - bounds[0], 0) / 2, 0)
    return jnp.where(narrow[None], middle[None], ends)


def value_and_rate(slope: Slope, shares: Shares) -> tuple[Shares, Shares]:
    """The marginal costs and their derivatives, each node's with respect to its own share."""
    return jax.jvp(slope, (shares,), (jnp.ones_like(shares),))


def guard(slope: Slope, start: Array) -> Slope:
    """`slope` with what is not a number, outside of a cost's domain, taken as infinite away from `start`."""

    def safe(shares: Array) -> Array:
        value = slope(shares)
        return jnp.where(jnp.isnan(value), jnp.where(shares > start, jnp.inf, -jnp.inf), value)

    return safe
