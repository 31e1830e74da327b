"""Bits for the parts of a message, shared out under a budget that is met to the bit."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._support.checks import CojaxInputError, whole_number
from ..networks.links.links import Innovation, Quantized, quantizers_of
from ..networks.links.quantizers import LogQuantizer
from .knobs import Knob, Setting
from .paths import Pair, layout_of, with_layout

FEWEST, MOST = 2, 24  # bits of one number


class Resolution(Knob):
    """The log quantizer of every part of the message, all of them together at `budget` bits a message.

    bits_k = 2 + softmax(theta)_k (budget - 2 sum c) / c_k, c_k the numbers in part k, so sum_k c_k bits_k = budget; in
    the end rounded down, and what remains given where most was lost. Needs a link `Innovation` or `Quantized` with a
    `LogQuantizer` that has both ends, which stay as they are. Gradients with respect to rho are noise but for what the
    budget couples: what counts is the score with the true quantizer, of which `tune` returns the best.
    """

    order = 0

    def __init__(self, budget: int):
        self.budget = whole_number("Resolution", "budget", budget, at_least=1)

    def first(self, pair, setting):
        counts, ones, _ = _parts(pair, setting)
        spare = self._spare(counts)
        now = np.asarray([float(one.num_bits(jnp.result_type(float))) for one in ones])
        share = np.maximum((now - FEWEST) * counts, 0.05 * spare / counts.size)
        return jnp.log(jnp.asarray(share / share.sum()))

    def turn(self, theta, pair, given, setting):
        counts, ones, treedef = _parts(given, setting)
        bits = self.relaxed(theta, counts)
        finest = [rho_of(each, one.smallest, one.largest) for each, one in zip(bits, ones, strict=True)]
        return _with_finest(finest, pair, ones, treedef)

    def settled(self, theta, pair, given, setting):
        counts, ones, treedef = _parts(given, setting)
        bits = whole_bits(np.asarray(self.relaxed(theta, counts)), counts, self.budget)
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(setting.message)]
        whole = zip(bits, ones, dtypes, strict=True)
        finest = [whole_rho(int(each), one.smallest, one.largest, dtype) for each, one, dtype in whole]
        return _with_finest(finest, pair, ones, treedef)

    def relaxed(self, theta: Array, counts: Int[np.ndarray, " k"]) -> Float[Array, " k"]:
        """Bits of every part, not whole: they cost the budget exactly, unless one reaches 24."""
        return jnp.minimum(FEWEST + jax.nn.softmax(theta) * (self._spare(counts) / counts), MOST)

    def _spare(self, counts: Int[np.ndarray, " k"]) -> int:
        spare = self.budget - FEWEST * int(counts.sum())
        if spare <= 0 or self.budget > MOST * int(counts.sum()):
            least, most = FEWEST * int(counts.sum()), MOST * int(counts.sum())
            raise CojaxInputError(
                f"Resolution needs a budget above {least} and up to {most} bits for {int(counts.sum())} numbers a "
                f"message, got {self.budget}."
            )
        return spare


def whole_bits(relaxed: Float[np.ndarray, " k"], counts: Int[np.ndarray, " k"], budget: int) -> Int[np.ndarray, " k"]:
    """Whole bits that cost the budget: rounded down, then one more where most is missing and it can be paid.

    A part of one number pays to the bit, and gives back what it cannot use itself so that another part can have one;
    without such a part, or with others of more than 20 numbers beside it at 24 bits, a remainder may stay unspent.
    """
    bits = np.clip(np.floor(relaxed), FEWEST, MOST).astype(int)
    while True:
        left = budget - int(bits @ counts)
        payable = (counts <= left) & (bits < MOST)
        if payable.any():
            bits[np.where(payable, relaxed - bits, -np.inf).argmax()] += 1
            continue
        payer = int(np.where(counts == 1, bits, 0).argmax())
        wanting = np.flatnonzero((bits < MOST) & (counts > 1) & (counts - left <= bits[payer] - FEWEST))
        if left == 0 or counts[payer] > 1 or not wanting.size:
            return bits
        bits[payer] -= counts[wanting[0]] - left
        bits[wanting[0]] += 1


def rho_of(bits: Array, smallest: float, largest: float) -> Array:
    """The distance of levels of a log quantizer with these ends that takes about so many bits a number, not whole."""
    return math.log(largest / smallest) / (2.0 ** (bits - 1) - 1.5)


def whole_rho(bits: int, smallest: float, largest: float, dtype: Any) -> float:
    """Nearly the least distance of levels at which a log quantizer with these ends takes so many bits a number.

    How many levels lie between the ends depends on where these are: one more, or one less.
    """
    most = 2 ** (bits - 1) - 1  # levels a sign
    apart = most - 0.51
    while True:
        rho = math.log(largest / smallest) / apart
        if float(LogQuantizer(rho, smallest=smallest, largest=largest).num_bits(dtype)) <= bits:
            return rho
        apart = most - 1.001 if apart > most - 1 > 0 else 0.9 * apart


def _parts(pair: Pair, setting: Setting) -> tuple[Int[np.ndarray, " k"], list[Any], Any]:
    link = layout_of(pair[1]).link
    message = setting.message
    ones = quantizers_of(link.quantizer, message) if isinstance(link, Innovation | Quantized) else []
    if not ones or not all(isinstance(one, LogQuantizer) and one.smallest and one.largest for one in ones):
        raise CojaxInputError(
            "Resolution needs a link Innovation or Quantized with LogQuantizer(rho, smallest=..., largest=...), got "
            f"{link}: only there does rho decide the bits."
        )
    leaves, treedef = jax.tree.flatten(message)
    return np.asarray([leaf.size // leaf.shape[0] for leaf in leaves]), ones, treedef


def _with_finest(finest: list[Any], pair: Pair, ones: list[Any], treedef: Any) -> Pair:
    new = [LogQuantizer(rho, smallest=one.smallest, largest=one.largest) for rho, one in zip(finest, ones, strict=True)]
    layout: Any = layout_of(pair[1])
    changed = eqx.tree_at(lambda net: net.link.quantizer, layout, treedef.unflatten(new))
    return pair[0], with_layout(pair[1], changed)
