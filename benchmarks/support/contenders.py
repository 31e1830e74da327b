"""Every allocator of the table with its constants, over the same instances: what it had left after so many bits."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import cojax
from cojax import rivals
from cojax.rivals.token_averaging import TOKENS, UNITS
from cojax.theory.limits import largest_scaled_eigenvalue
from cojax.theory.spectra import laplacians

FLOAT_BITS = 64
GRID = [(share, momentum) for share in (0.25, 0.5, 1.0) for momentum in (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)]
CONSTANTS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # steps, penalties and epsilons that rivals choose from, in their units


class Instances(NamedTuple):
    """Of one cell of the table, stacked over instances."""

    demand: jax.Array  # (i, n)
    capacity: jax.Array  # (i, n)
    budget: jax.Array  # (i,)


class Course(NamedTuple):
    """The gap (i, rounds) as a part of that at the start, and the bits (rounds,) that one node had told a neighbour."""

    gap: np.ndarray
    bits: np.ndarray

    def at(self, bits: float) -> np.ndarray:
        """What was left (i,) once `bits` were told; 1 before the first round."""
        rounds = int(np.searchsorted(self.bits, bits, "right"))
        return self.gap[:, rounds - 1] if rounds else np.ones(self.gap.shape[0])


def cost(x: cojax.Decision, data: Any) -> jax.Array:
    """The paper's cost of one node."""
    demand, capacity = data
    return (x.cpu - demand) ** 2 / (2 * capacity)


def drawn(num_nodes: int, seeds: range, spread: float = 1.0) -> Instances:
    """Capacities from 2 to 20, demands of 40 % of them give or take 30 % * spread, and 15 % more to give away."""
    rows = []
    for seed in seeds:
        random = np.random.default_rng(1000 + seed)
        capacity = random.uniform(2.0, 20.0, num_nodes)
        demand = capacity * (0.4 + 0.3 * spread * random.uniform(-1.0, 1.0, num_nodes))
        rows.append((demand, capacity, demand.sum() + 0.15 * capacity.sum()))
    return Instances(*(jnp.asarray(np.stack(column)) for column in zip(*rows, strict=True)))


def problem_of(demand: Any, capacity: Any, budget: Any, **bounds: Any) -> cojax.Problem:
    """One instance."""
    return cojax.Problem(cost, (demand, capacity), budget, **bounds)


def problems(instances: Instances) -> list[cojax.Problem]:
    """Every instance by itself, for what computes on the host."""
    return [problem_of(*(np.asarray(part) for part in row)) for row in zip(*instances, strict=True)]


def stacked(trees: list[Any]) -> Any:
    """One pytree with the instances first."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def relaid(network: cojax.Network, layout: str) -> cojax.Network:
    """The same graphs, weights and link in one layout: networks that are stacked must be alike."""

    def again(inner: cojax.Network) -> cojax.Network:
        weights = []
        for laplacian in laplacians(inner):
            matrix = -laplacian.toarray()
            np.fill_diagonal(matrix, 0.0)
            weights.append(matrix)
        return cojax.network(weights, link=inner.link, layout=layout)

    return network.over(again(network.bare()))


def _gap(instance: Instances, cpu: jax.Array) -> jax.Array:
    """|cost - optimum| without cancellation: price * (sum - budget) + sum (x - x*)^2 / (2 capacity)."""
    price = (instance.budget - instance.demand.sum()) / instance.capacity.sum()
    off = cpu - (instance.demand + price * instance.capacity)
    sum_off = jnp.where(jnp.abs(off.sum()) > 1e-9 * instance.budget, off.sum(), 0.0)
    return jnp.abs(price * sum_off + (off**2 / (2 * instance.capacity)).sum())


@partial(jax.jit, static_argnums=(3,))
def _solved(instances: Instances, networks: Any, methods: Any, num_steps: int) -> tuple:
    def one(instance: Instances, network: cojax.Network, method: cojax.Method) -> tuple:
        problem = problem_of(*instance)

        def look(_: Any, x: cojax.Decision, state: Any) -> tuple:
            return _gap(instance, x.cpu), state.wire.bits

        start = problem.start()
        run = cojax.solve(
            problem, network, cojax.CoOpt(allocate=method), start, num_steps=num_steps, record=look
        )  # fmt: skip
        return run.trace[0] / _gap(instance, start.cpu), run.trace[1], run.state.imbalance

    return jax.vmap(one)(instances, networks, methods)


def course(instances: Instances, networks: list, methods: list, num_steps: int) -> Course:
    """Run `methods` and fail where the total of a run that did not blow up was ever off."""
    gap, bits, imbalance = map(np.asarray, _solved(instances, stacked(networks), stacked(methods), num_steps))
    assert (imbalance[gap[:, -1] < 1.0] == 0).all() or any(isinstance(m, cojax.MomentumFlow) for m in methods)
    return Course(np.where(np.isfinite(gap), gap, np.inf), bits[0])


def chosen_in_hindsight(instances: Instances, networks: list, num_steps: int) -> list[Course]:
    """`Nesterov` with every pair of constants of GRID, in parts of the limit: whoever knows the best takes it."""
    curvatures = 1 / np.asarray(instances.capacity)
    tops = [1 / largest_scaled_eigenvalue(network, each) for network, each in zip(networks, curvatures, strict=True)]
    return [
        course(instances, networks, [cojax.Nesterov(share * top, momentum) for top in tops], num_steps)
        for share, momentum in GRID
    ]


def _utilisation(constant: Any, instance: Instances, network: cojax.Network, rounds: int) -> jax.Array:
    problem = problem_of(*instance)
    window = 4 * network.num_nodes  # rounds, after which all nodes stop that are within 1e-3
    return rivals.equal_utilisation(problem, network, problem.start(), instance.capacity, rounds, 1e-3, window)


def _tokens(constant: Any, instance: Instances, network: cojax.Network, rounds: int) -> jax.Array:
    """As many tokens at every node as its capacity is of TOKENS a node, rounded so that none is missing."""
    problem, num_tokens = problem_of(*instance), TOKENS * network.num_nodes
    wanted = num_tokens * instance.capacity / instance.capacity.sum()
    whole = jnp.floor(wanted)
    rank = jnp.argsort(jnp.argsort(whole - wanted))
    tokens = (whole + (rank < num_tokens - whole.sum())).astype(int)
    unit = instance.budget / num_tokens / UNITS
    key = jax.random.key(0)
    return rivals.token_averaging(problem, network, problem.start(), tokens, num_tokens, rounds, unit, key)


def token_bits(network: Any) -> float:
    """Told on average by a node to a neighbour in a round: all but one token of every node travel."""
    laplacian = laplacians(network)[0]
    links = laplacian.nnz - network.num_nodes
    return (TOKENS - 1) * network.num_nodes / links * np.log2(TOKENS * UNITS)


def _tracking(constant: Any, instance: Instances, network: cojax.Network, rounds: int) -> jax.Array:
    problem = problem_of(*instance)
    step_size = constant / instance.capacity.mean()
    return rivals.dual_gradient_tracking(problem, network, problem.start(), step_size, rounds)


def _admm(constant: Any, instance: Instances, network: cojax.Network, rounds: int) -> jax.Array:
    problem = problem_of(*instance)
    return rivals.dual_consensus_admm(problem, network, problem.start(), constant * instance.capacity.mean(), rounds)


def _mirror(constant: Any, instance: Instances, network: cojax.Network, rounds: int) -> jax.Array:
    problem = problem_of(*instance)
    return rivals.mirror_extra(problem, network, problem.start(), constant / instance.capacity.mean(), rounds)


def _barrier(constant: Any, instance: Instances, network: cojax.Network, rounds: int) -> jax.Array:
    problem = problem_of(*instance, lower=0.0, upper=instance.capacity)
    # From the same utilisation everywhere, 55 %: the even split lies beyond the bound of some node.
    level = instance.budget / instance.capacity.sum()
    epsilon = 1e-3 * constant
    steepest = jnp.max(1 / instance.capacity + epsilon * (level**-2 + (1 - level) ** -2) / instance.capacity**2)
    # Half of the limit at the start, the Laplacian's largest eigenvalue taken at its bound of 2.
    start = problem.start(cpu=level * instance.capacity)
    return rivals.barrier_method(problem, network, start, 0.5 / steepest, rounds, epsilon)


# Rule, bits a round (None: `token_bits`), whether it needs a constant, and whether it needs one graph that stands.
OUTSIDERS = {
    "ratio consensus": (_utilisation, 4 * FLOAT_BITS, False, False),
    "dual tracking": (_tracking, 2 * FLOAT_BITS, True, False),
    "barrier": (_barrier, FLOAT_BITS, True, False),
    "dual ADMM": (_admm, FLOAT_BITS, True, True),
    "mirror EXTRA": (_mirror, FLOAT_BITS, True, True),
    "token averaging": (_tokens, None, False, True),
}


@partial(jax.jit, static_argnums=(0, 4))
def _traced(rule: Callable[..., jax.Array], constants: Any, instances: Instances, networks: Any, rounds: int) -> Any:
    def one(constant: Any, instance: Instances, network: cojax.Network) -> jax.Array:
        first = _gap(instance, problem_of(*instance).start().cpu)
        return jax.vmap(partial(_gap, instance))(rule(constant, instance, network, rounds)) / first

    return jax.vmap(lambda constant: jax.vmap(partial(one, constant))(instances, networks))(constants)


def outsiders(instances: Instances, networks: list, rounds: int, *, fixed: bool) -> dict[str, list[Course]]:
    """The rivals of `cojax.rivals`; where one needs a constant, a course for each of CONSTANTS."""
    found = {}
    for name, (rule, bits, tunable, needs_fixed) in OUTSIDERS.items():
        if needs_fixed and not fixed:
            continue
        constants = jnp.asarray(CONSTANTS if tunable else CONSTANTS[:1])
        gaps = np.asarray(_traced(rule, constants, instances, stacked(networks), rounds))
        told = (bits or token_bits(networks[0])) * np.arange(1.0, rounds + 1)
        found[name] = [Course(np.where(np.isfinite(gap), gap, np.inf), told) for gap in gaps]
    return found


def equal_utilisation_at_once(instances: Instances) -> Course:
    """Where every scheduler of equal utilisation ends, token averaging among them, as if it took no bits."""

    def one(instance: Instances) -> jax.Array:
        equal = instance.capacity * instance.budget / instance.capacity.sum()
        return _gap(instance, equal) / _gap(instance, problem_of(*instance).start().cpu)

    return Course(np.asarray(jax.vmap(one)(instances))[:, None], np.zeros(1))
