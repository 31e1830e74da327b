"""Several resources that a cost couples are shared out together, by an interior-point method."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from . import prices
from .margins import Slopes, with_curvatures
from .responses import response

Table = Float[Array, "n r"]

MOST_ROUNDS = 300
MOST_HALVINGS = 40
MOST_POLISHINGS = 8
SHRINKING = 0.1  # of the barrier from round to round
TO_THE_WALL = 0.99  # of the way to the nearest bound


class JointPoint(NamedTuple):
    """Shares strictly inside of their bounds, with prices and rents that need not fit them yet."""

    cpu: Table
    price: Float[Array, " r"]
    floor_rent: Table
    capacity_rent: Table


class Look(NamedTuple):
    slope: Table
    hessian: Float[Array, "n r r"]
    residual: Float[Array, ""]  # of the optimality conditions, in units of the problem's own sizes


class JointSearch(NamedTuple):
    here: JointPoint
    look: Look
    step: JointPoint
    length: Float[Array, ""]
    barrier: Float[Array, ""]  # of which the residual is told
    halvings: Int[Array, ""]
    rounds: Int[Array, ""]
    done: Bool[Array, ""]


class Walls(NamedTuple):
    """The bounds, and what is known of sizes."""

    lower: Table  # -inf of shares that cannot move
    upper: Table
    movable: Bool[Array, "n r"]
    budget: Float[Array, " r"]
    size: Float[Array, " r"]  # of shares
    level: Float[Array, " r"]  # of marginal costs

    @property
    def worth(self) -> Float[Array, "1 r"]:
        """The size of a rent times a room, as of a cost."""
        return (self.level * self.size)[None]

    def room(self, cpu: Table) -> tuple[Table, Table]:
        return cpu - self.lower, self.upper - cpu


def shared_out(slopes: Slopes, lower: Table, upper: Table, budget: Array, start: Table) -> Table:
    """The shares of least total cost, several to a node, from shares strictly inside of their bounds.

    Primal-dual, with a step for all shares, prices and rents at once: Boyd, Vandenberghe, Convex Optimization, 2004,
    section 11.7. Then Newton with the shares that have rents held on their bounds. Hessians may be singular.
    """
    slope, hessian = with_curvatures(slopes, start)
    width = jnp.where(jnp.isinf(upper - lower), jnp.abs(start), upper - lower)
    size = jnp.max(jnp.maximum(jnp.minimum(width, 2 * jnp.abs(budget)[None]), jnp.abs(start)), 0)
    spread = slope.max(0) - slope.min(0)
    bent = (jnp.abs(jnp.diagonal(hessian, axis1=1, axis2=2)) * size[None]).max(0)
    level = jnp.maximum(spread, bent)
    # The bounds of others may leave a share no room but for rounding.
    movable = upper - lower > 2**10 * jnp.finfo(start.dtype).eps * size[None]
    low, high = jnp.where(movable, lower, -jnp.inf), jnp.where(movable, upper, jnp.inf)
    walls = Walls(low, high, movable, budget, jnp.where(size > 0, size, 1), jnp.where(level > 0, level, 1))
    found = _interior(slopes, walls, start, slope)
    return _polish(slopes, walls, found)


def _interior(slopes: Slopes, walls: Walls, start: Table, slope: Table) -> JointPoint:
    below, above = walls.room(start)
    force = walls.worth / 10
    rents = jnp.where(jnp.isinf(below), 0, force / below), jnp.where(jnp.isinf(above), 0, force / above)
    price = (slope - rents[0] + rents[1]).mean(0)
    begun = JointPoint(start, price, *rents)
    eps = jnp.finfo(start.dtype).eps

    def looked(point: JointPoint, barrier: Array) -> Look:
        slope, hessian = with_curvatures(slopes, point.cpu)
        return Look(slope, hessian, _residual(walls, point, slope, barrier))

    def advance(search: JointSearch) -> JointSearch:
        there = JointPoint(*(old + search.length * move for old, move in zip(search.here, search.step, strict=True)))
        look = looked(there, search.barrier)
        first = search.rounds == 0
        better = first | (look.residual <= (1 - 0.01 * search.length) * search.look.residual)
        here, look = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (there, look), (search.here, search.look)
        )
        closeness = _closeness(walls, here)
        barrier = jnp.where(better, SHRINKING * closeness, search.barrier)
        step = _newton(walls, here, look, barrier)
        step = jax.tree.map(lambda new, old: jnp.where(better, new, old), step, search.step)
        length = jnp.where(better, _longest(walls, here, step), search.length / 2)
        halvings = jnp.where(better, 0, search.halvings + 1)
        left = _residual(walls, here, look.slope, barrier)
        done = (better & (jnp.maximum(left, closeness) < 4 * eps)) | (halvings > MOST_HALVINGS)
        look = look._replace(residual=left)
        return JointSearch(here, look, step, length, barrier, halvings, search.rounds + 1, done)

    def going_on(search: JointSearch):
        return ~search.done & (search.rounds < MOST_ROUNDS)

    nothing = Look(slope, jnp.zeros((*start.shape, start.shape[1]), start.dtype), jnp.zeros((), start.dtype))
    still = jax.tree.map(jnp.zeros_like, begun)
    zero, one = jnp.zeros((), jnp.int32), jnp.ones((), start.dtype)
    search = JointSearch(begun, nothing, still, one, _closeness(walls, begun), zero, zero, jnp.asarray(False))
    return lax.while_loop(going_on, advance, search).here


def _closeness(walls: Walls, point: JointPoint) -> Float[Array, ""]:
    """The mean product of rents and room, in units of the problem's sizes: 0 at the optimum."""
    below, above = walls.room(point.cpu)
    products = [
        jnp.where(jnp.isinf(room), 0, rent * room)
        for rent, room in ((point.floor_rent, below), (point.capacity_rent, above))
    ]
    count = jnp.isfinite(below).sum() + jnp.isfinite(above).sum()
    total = ((products[0] + products[1]) / walls.worth).sum()
    return total / jnp.maximum(count, 1).astype(total.dtype)


def _residual(walls: Walls, point: JointPoint, slope: Table, barrier: Array) -> Float[Array, ""]:
    """The norm of what is left of the optimality conditions, each beside the size of what it is made of."""
    below, above = walls.room(point.cpu)
    dual = (slope - point.price[None] - point.floor_rent + point.capacity_rent) / walls.level[None]
    dual = jnp.where(walls.movable, dual, 0)
    products = [
        jnp.where(jnp.isinf(room), 0, rent * room / walls.worth - barrier)
        for rent, room in ((point.floor_rent, below), (point.capacity_rent, above))
    ]
    balance = (point.cpu.sum(0) - walls.budget) / walls.size
    squares = (dual**2).sum() + (products[0] ** 2).sum() + (products[1] ** 2).sum() + (balance**2).sum()
    return jnp.where(jnp.isnan(squares), jnp.inf, jnp.sqrt(squares))


def _newton(walls: Walls, point: JointPoint, look: Look, barrier: Array) -> JointPoint:
    """The step to where the conditions would hold if they were linear."""
    below, above = walls.room(point.cpu)
    force = barrier * walls.worth
    pull = [jnp.where(jnp.isinf(room), 0, force / room) for room in (below, above)]
    stiff = point.floor_rent / below + point.capacity_rent / above
    count = point.cpu.shape[1]
    own = look.hessian + stiff[:, :, None] * jnp.eye(count, dtype=stiff.dtype)[None]
    # Where neither costs nor walls resist, a little does, of the size of what they do elsewhere.
    scale = jnp.sqrt(walls.level / walls.size)
    units = (scale[:, None] * scale[None])[None]
    eye = jnp.eye(count, dtype=stiff.dtype)[None] * (4 * count * jnp.finfo(stiff.dtype).eps)
    both = walls.movable[:, :, None] & walls.movable[:, None, :]
    scaled = jnp.where(both, own / units, jnp.eye(count, dtype=stiff.dtype)[None])
    inverse = jnp.linalg.inv(scaled + eye * jnp.maximum(1, jnp.trace(scaled, axis1=1, axis2=2))[:, None, None])
    inverse = jnp.where(both, inverse / units, 0)
    pushed = look.slope - point.price[None] - pull[0] + pull[1]
    wanted = jnp.einsum("nij,nj->ni", inverse, pushed, precision="highest")
    missing = walls.budget - point.cpu.sum(0)
    still = jnp.diag(1 - jnp.any(walls.movable, 0).astype(stiff.dtype))  # a resource that no share can take
    price = jnp.linalg.solve(inverse.sum(0) + still, missing + wanted.sum(0))
    cpu = jnp.einsum("nij,nj->ni", inverse, price[None] - pushed, precision="highest")
    floor_rent = pull[0] - point.floor_rent - point.floor_rent / below * cpu
    capacity_rent = pull[1] - point.capacity_rent + point.capacity_rent / above * cpu
    return JointPoint(cpu, price, floor_rent, capacity_rent)


def _longest(walls: Walls, point: JointPoint, step: JointPoint) -> Float[Array, ""]:
    """The whole step, or most of the way to where a share meets a bound or a rent 0."""
    below, above = walls.room(point.cpu)
    pairs = [
        (below, step.cpu),
        (above, -step.cpu),
        (point.floor_rent, step.floor_rent),
        (point.capacity_rent, step.capacity_rent),
    ]
    ends = [jnp.min(jnp.where(move < 0, room / jnp.where(move < 0, -move, 1), jnp.inf)) for room, move in pairs]
    return jnp.minimum(1, TO_THE_WALL * jnp.min(jnp.stack(ends)))


def _polish(slopes: Slopes, walls: Walls, point: JointPoint) -> Table:
    """Newton with every share on its bound whose rent is larger than its room, each beside its size."""
    below, above = walls.room(point.cpu)
    at_lower = point.floor_rent / walls.level[None] > below / walls.size[None]
    at_upper = point.capacity_rent / walls.level[None] > above / walls.size[None]
    free = walls.movable & ~(at_lower | at_upper)
    cpu = jnp.where(at_lower, walls.lower, jnp.where(at_upper, walls.upper, point.cpu))

    def once(_, state):
        cpu, free = state
        slope, hessian = with_curvatures(slopes, prices.pulled_in(cpu, walls.lower, walls.upper))
        move, _ = response(hessian, free, slope, jnp.zeros_like(cpu), walls.budget - cpu.sum(0))
        moved = jnp.clip(cpu + move, walls.lower, walls.upper)
        # A share that met a bound on the way stays there, and the others take what it left.
        inside = (moved > walls.lower) & (moved < walls.upper)
        return jnp.where(jnp.isfinite(moved), moved, cpu), free & inside

    return lax.fori_loop(0, MOST_POLISHINGS, once, (cpu, free))[0]
