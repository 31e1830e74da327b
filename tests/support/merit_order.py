"""Exact optima of separable piecewise quadratic costs, in rational arithmetic: what `allocate` is held beside.

Every node offers its share as a function of the price; the sum of the offers meets the budget at an interval of prices.
"""

import itertools
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Node(NamedTuple):
    """price x + curvature x^2 / 2 + sum_k extra_k max(x - tier_k, 0), within [lower, upper]."""

    price: Fraction
    curvature: Fraction
    tiers: tuple[Fraction, ...]
    extras: tuple[Fraction, ...]
    lower: Fraction
    upper: Fraction

    def pieces(self):
        """(from, to, marginal cost at `from`) between bounds and tiers."""
        inside = {tier for tier in self.tiers if self.lower < tier < self.upper}
        corners = sorted({self.lower, self.upper} | inside)
        for left, right in itertools.pairwise(corners):
            over = sum(extra for tier, extra in zip(self.tiers, self.extras, strict=True) if tier <= left)
            yield left, right, self.price + over + self.curvature * left

    def offer(self, price):
        """The smallest and the largest share that is best at `price`."""
        least = most = self.lower
        for left, right, slope in self.pieces():
            if price < slope:
                return least, most
            if self.curvature == 0:
                most = right
                least = right if price > slope else least
                continue
            least = most = min(right, left + (price - slope) / self.curvature)
            if most < right:
                return least, most
        return least, most

    def cost(self, share):
        over = sum(extra * max(share - tier, 0) for tier, extra in zip(self.tiers, self.extras, strict=True))
        return self.price * share + self.curvature * share * share / 2 + over


class Market(NamedTuple):
    """The optimum: what one unit of budget less saves and one more costs (None: impossible), and the shares.

    The shares are None where several nodes without curvature tie.
    """

    less: Fraction | None
    more: Fraction | None
    shares: list[Fraction] | None


def node_of(row):
    price, curvature, tiers, extras, lower, upper = row
    exact = [Fraction(float(value)) for value in (price, curvature, lower, upper)]
    both = [tuple(Fraction(float(value)) for value in np.ravel(values)) for values in (tiers, extras)]
    return Node(exact[0], exact[1], *both, *exact[2:])


def cleared(nodes, budget):
    """The `Market` of `nodes` that share `budget`, which lies within the sums of their bounds."""
    known = set()
    for node in nodes:
        for left, right, slope in node.pieces():
            known |= {slope, slope + node.curvature * (right - left)}
    known = sorted(known)
    offers = [[node.offer(price) for node in nodes] for price in known]
    least, most = ([sum(offer[side] for offer in row) for row in offers] for side in (0, 1))
    less = more = None
    if sum(node.lower for node in nodes) < budget:  # the lowest price at which so much is offered
        first = next(k for k in range(len(known)) if most[k] >= budget)
        less = known[first]
        if first and least[first] > budget:
            less = _between(known[first - 1], known[first], most[first - 1], least[first], budget)
    if sum(node.upper for node in nodes) > budget:
        last = next(k for k in reversed(range(len(known))) if least[k] <= budget)
        more = known[last]
        if last + 1 < len(known) and most[last] < budget:
            more = _between(known[last], known[last + 1], most[last], least[last + 1], budget)
    if less is None or more is None:
        # The budget is the sum of the bounds of one side.
        return Market(less, more, [node.lower if less is None else node.upper for node in nodes])
    pairs = [node.offer((less + more) / 2) for node in nodes]
    open_ones = [k for k, (low, high) in enumerate(pairs) if low < high]
    if len(open_ones) > 1:
        return Market(less, more, None)
    shares = [low for low, _ in pairs]
    if open_ones:
        shares[open_ones[0]] += budget - sum(shares)
    return Market(less, more, shares)


def _between(low, high, offered_low, offered_high, budget):
    """Between two prices at which no node begins or ends to move, offers are linear."""
    return low + (high - low) * (budget - offered_low) / (offered_high - offered_low)
