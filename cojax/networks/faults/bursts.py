"""Links that fail in bursts, for both of their ends."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from ..._support.checks import CojaxInputError, as_key, check_number, floating
from .draws import arc_bits, key_words, pair_bits
from .fault import Fault
from .faulty import FaultyNetwork, check_network, faults_of, with_fault

NUM_LEVELS = 31  # of halvings: steps are counted in 31 bits
FIRST = 2**NUM_LEVELS  # the block of step 0 alone, in a heap whose root is the block of all steps, 1
HALVES, ROOT, STATE, LOSS = range(4)  # what is drawn with the number of a block

Draw = Callable[[Any, int], Array]


class Bursts(Fault):
    """A link is good or bad, a Markov chain of its own. Fields: see `GilbertElliott`; their derivatives are 0; key."""

    made_by: ClassVar[str] = "GilbertElliott"
    to_bad: Any
    to_good: Any
    loss_good: Any
    loss_bad: Any
    key: PRNGKeyArray

    @property
    def loss(self):
        bad = self.to_bad / (self.to_bad + self.to_good)
        return (1 - bad) * self.loss_good + bad * self.loss_bad

    def on(self, graph, k):
        # In float32 in both precisions, and by sums and products alone, which every device rounds alike.
        rates = (self.to_bad, self.to_good, self.loss_good, self.loss_bad)
        to_bad, to_good, loss_good, loss_bad = (lax.stop_gradient(jnp.asarray(rate, jnp.float32)) for rate in rates)
        one, other = key_words(self.key, 0), key_words(self.key, 1)
        k = jnp.asarray(k, jnp.int32)

        def keep(i: Array, j: Array) -> Array:
            first, second = pair_bits(*one, i, j), pair_bits(*other, i, j)

            def draw(block: Any, what: int) -> Array:
                """A number in [0, 1) of this link, a multiple of 2**-24."""
                bits = arc_bits(first, second, jnp.asarray(block, jnp.uint32), jnp.uint32(what))
                return (bits >> 8).astype(jnp.float32) * 2.0**-24

            bad = _is_bad(draw, to_bad, to_good, k)
            return draw(_block(k), LOSS) >= jnp.where(bad, loss_bad, loss_good)

        return graph.thinned(keep)


def GilbertElliott(
    network: Any, to_bad: Any, to_good: Any, loss_good: Any = 0.0, loss_bad: Any = 1.0, key: Any = 0
) -> FaultyNetwork:
    """A network whose links fail in bursts: each link is good or bad for some steps, a Markov chain of its own.

    A good link turns bad with probability `to_bad` a step, a bad one good with `to_good`: it is bad for 1/to_good steps
    on average, and for to_bad/(to_bad + to_good) of the time, from the first step on. A good link is down with
    probability `loss_good`, a bad one with `loss_bad`, each step anew. What loss means is as for `Lossy`: both ends
    know of it, and node sums are kept.

    The draw depends on the key, the step and the two ends only, so that every layout loses the same links, and a run
    that goes on later loses those of the whole run: no step looks at the one before. In each step a link draws its
    state anew with probability c = to_bad + to_good and keeps it else (where c > 1, with 2 - c, and turns it else),
    which is the same chain; the last such step is found by halving blocks of steps, each of which is known to have one
    or none, with two hashes a link and halving. Probabilities are held to 2**-24.

    Args: network, without such bursts itself; to_bad and to_good, in (0, 1]; loss_good, in [0, 1); loss_bad, in [0, 1];
    key, a JAX key or an integer seed. Derivatives with respect to probabilities are 0.
    Raises `CojaxInputError` for other numbers, a directed network, one that has bursts, and a link with one memory per
    node.
    Source: Gilbert, Bell System Technical Journal 1960, doi 10.1002/j.1538-7305.1960.tb03959.x, with loss_good = 0;
    Elliott, ibid. 1963, doi 10.1002/j.1538-7305.1963.tb00955.x; to look up its state at any step is this library's.
    """
    for name, rate in (("to_bad", to_bad), ("to_good", to_good)):
        check_number("GilbertElliott", name, rate, above=0.0, at_most=1.0, shaped=())
    check_number("GilbertElliott", "loss_good", loss_good, at_least=0.0, below=1.0, shaped=())
    check_number("GilbertElliott", "loss_bad", loss_bad, at_least=0.0, at_most=1.0, shaped=())
    why = "a lost direction breaks its balance"
    check_network("GilbertElliott", network, why)
    if any(isinstance(fault, Bursts) for fault in faults_of(network)):
        raise CojaxInputError(
            "GilbertElliott needs a network whose links do not fail in bursts yet, got one that has them; for longer "
            "bursts lower to_good."
        )
    rates = (floating(to_bad), floating(to_good), floating(loss_good), floating(loss_bad))
    return with_fault(network, Bursts(*rates, as_key("A random network", key)), why)


def _is_bad(draw: Draw, to_bad: Array, to_good: Array, k: Array) -> Array:
    """Whether links are bad in step `k`."""
    change = to_bad + to_good
    turns = change > 1  # a state that is not drawn anew
    since = last_success(draw, jnp.where(turns, 2 - change, change), k)
    # Before step 0 a state is drawn from the stationary law. Anew it is drawn from it too, but where states turn.
    turned = turns & (since >= 0)
    whole = jnp.where(turned, 2 - change, change)
    bad = draw(_block(since), STATE) * whole < jnp.where(turned, 1 - to_good, to_bad)
    return bad ^ (turns & ((k - since) % 2 == 1))


def last_success(draw: Draw, chance: Array, k: Array) -> Array:
    """The last step, up to `k`, in which a trial that succeeds with `chance` did; -1 where none did.

    Trials of all steps are independent. A block of 2**level steps is known to have a success or none; if it has one,
    one draw tells whether its left half has, its right half, or both. So from the largest block that matters down,
    at every level two blocks are followed: that of `k`, and the last one before it that has a success.
    """
    some = [chance]
    for _ in range(NUM_LEVELS):
        some.append(some[-1] * (2 - some[-1]))
    none = 1 - jnp.stack(some)  # the probability that a block of 2**level steps has no success
    none = jnp.where(none < 2.0**-25, 0, none)  # which no draw would show
    top = jnp.sum(none[:-1] > 0, dtype=jnp.uint32)  # blocks of this level all have one, where it is not the root
    leaf = _block(k)

    def halves(block: Array, level: Array) -> tuple[Array, Array]:
        """Whether the left and the right half, of 2**level steps each, of a block with a success have one."""
        lost = none[level]
        place = draw(block, HALVES) * (1 + lost)
        return place >= lost, (place < lost) | (place >= 2 * lost)

    def halve(i: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        last, here = found
        level = top - 1 - i.astype(jnp.uint32)
        block = leaf >> (level + 1)
        left, right = halves(block, level)
        last = jnp.where(last > 0, 2 * last + halves(last, level)[1].astype(jnp.uint32), 0)
        is_right = ((leaf >> level) & 1) == 1
        return jnp.where(is_right & here & left, 2 * block, last), here & jnp.where(is_right, right, left)

    block = leaf >> top
    here = draw(block, ROOT) >= none[top]
    before = jnp.where(block > (jnp.uint32(FIRST) >> top), block - 1, 0)
    last, here = lax.fori_loop(0, top.astype(jnp.int32), halve, (jnp.broadcast_to(before, here.shape), here))
    found = jnp.where(here, leaf, last)
    return jnp.where(found > 0, (found - jnp.uint32(FIRST)).astype(jnp.int32), -1)


def _block(step: Array) -> Array:
    """The block of one step alone; that before step 0 is drawn from for what came before."""
    return jnp.uint32(FIRST) + step.astype(jnp.uint32)
