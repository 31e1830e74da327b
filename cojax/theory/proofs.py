"""Whether errors of a learner fall at a rate, for all smooth strongly convex costs: one small semidefinite program."""

import numpy as np

from .linearized import Linear
from .semidefinite import Inequalities


def falls(linear: Linear, low: float, convexity: float, rate: float, fixed: bool) -> bool:
    """Whether some Lyapunov function falls by `rate` squared in every step.

    Costs have the smoothness 1, and L, without agreement, eigenvalues from `low` to 1: `Linear.scaled` makes it so.
    With `fixed` L is one and the same in all steps; else another one in each.

    The function is a quadratic in all that is known of one step, s, g, L m and, of one graph that stands, u with
    L u = the kept part of s: one for the mean of nodes, and one for what they differ by. To it come the costs above
    their tangents at the optimum. What is known of two steps in a row is that costs are smooth and strongly convex
    between their two points and the optimum, and that L is symmetric with such eigenvalues.
    """
    a, b_grad, b_flow, c_tell, d_tell, c_at, *_, kept, _ = linear
    p, q, k = len(a), len(c_tell), len(kept) if fixed else 0
    side = p + k + 2 * (1 + q)
    s, u, g, flow, g_next, flow_next = np.split(np.eye(side), np.cumsum([p, k, 1, q, 1]))  # flow is L m, not -L m
    told = c_tell @ s + d_tell @ g
    s_next = a @ s + b_grad @ g - b_flow @ flow
    # What is kept changes by flows alone, kept+ = a kept - b L m, so that kept = L u with u+ = a u - b m.
    u_next = a[np.ix_(kept, kept)] @ u - b_flow[kept] @ told if fixed else u
    told_next = c_tell @ s_next + d_tell @ g_next

    program = Inequalities(4 * side**2)
    free = np.setdiff1d(np.arange(p), kept)
    mean = np.eye(side)[:, [*free, p + k, side - q - 1]]  # hears nothing, and of it what sums to zero is zero
    here = np.eye(side)[:, : side - 1 - q]
    mean_here = mean[:, :-1]

    def falling(now: np.ndarray, then: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = program.symmetric(len(now))
        value = now.T @ weight @ now
        return value, then.T @ weight @ then - rate**2 * value

    of_rest, rest_falls = falling(np.vstack([s, u, g, flow]), np.vstack([s_next, u_next, g_next, flow_next]))
    of_mean, mean_falls = falling(np.vstack([s[free], g]), np.vstack([s_next[free], g_next]))

    # The costs above their tangents at the optimum, h, and what is at most h(one) - h(other), times 1 - convexity.
    first, second, best = (c_at @ s, g), (c_at @ s_next, g_next), (np.zeros((1, side)), np.zeros((1, side)))

    def step_between(one: tuple, other: tuple) -> np.ndarray:
        point, slope = one[0] - other[0], one[1] - other[1]
        bend = slope.T @ slope + convexity * (point.T @ point - 2 * slope.T @ point)
        return (1 - convexity) * other[1].T @ point + bend / 2

    def part() -> np.ndarray:
        number = program.number()
        program.not_negative(number)
        return number

    # Of h the function has as much as is left of what h(first) and -h(first) are known to be at least.
    up, down = part(), part()
    weight = up - down
    held = up * step_between(first, best) + down * step_between(best, first)
    # So do the multipliers of six inequalities cancel h(first) and h(second) from the fall.
    ahead, back, first_up, second_up = part(), part(), part(), part()
    first_down = ahead - back + first_up - rate**2 * weight
    second_down = weight - ahead + back + second_up
    for number in (first_down, second_down):
        program.not_negative(number)
    rise = ahead * step_between(first, second) + back * step_between(second, first)
    rise = rise + first_up * step_between(first, best) + first_down * step_between(best, first)
    rise = rise + second_up * step_between(second, best) + second_down * step_between(best, second)

    def paired(points: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Something >= 0 of points and their images under one L: (image - low point)(point - image), and symmetry."""
        number = len(points)
        weight = program.symmetric(number)
        program.not_negative(weight)
        inside = (images - low * points).T @ weight @ (points - images)
        return inside + points.T @ program.skew(number) @ images

    held_apart, images = np.vstack([u, told]), np.vstack([s[kept] if fixed else u, flow])
    graph_now = paired(held_apart, images)
    if fixed:
        graph = paired(np.vstack([held_apart, told_next]), np.vstack([images, flow_next]))
    else:
        graph = paired(told, flow) + paired(told_next, flow_next)

    program.positive(here.T @ (of_rest + held - graph_now) @ here)
    program.positive(mean_here.T @ (of_mean + held) @ mean_here)
    program.positive(rise - rest_falls - graph)
    program.positive(mean.T @ (rise - mean_falls) @ mean)
    return program.is_met()
