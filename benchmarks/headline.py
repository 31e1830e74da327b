"""The picture of the README: what is left of the first gap over the bits told, by the default allocator and rivals.

    python benchmarks/headline.py

The median of ten instances on NSFNET, the cell "nsfnet static" of `which_allocator.py`, whose rivals and
constants it takes; those that have several, the best of them at every number of bits. Writes results/headline.png.
"""

from collections.abc import Iterable, Mapping

import jax
import numpy as np
from support.contenders import field
from support.timing import RESULTS
from which_allocator import DEFAULT, HINDSIGHT, defaults, rivals_of, run

import cojax
from cojax.plots import canvas

MOST_BITS = 2048  # told to a neighbour
LEAST, MOST = 1e-12, 3.0  # of the first gap, at the edges of the picture
NAMED = {  # the others are grey
    "Laplacian, log 1/4 (the paper)": ("the paper: Laplacian, log-quantized", canvas.VERMILION, "-"),
    "Laplacian, floats": ("Laplacian, 64-bit floats", canvas.ORANGE, "-"),
    "Nesterov, floats": ("Nesterov, 64-bit floats", canvas.PURPLE, "--"),
    "Laplacian, 2 bits": ("Laplacian, 2 bits with memory", canvas.GREEN, "-"),
    "dual ADMM": ("dual consensus ADMM", canvas.SKY, "-"),
    "ratio consensus": ("equal utilisation", canvas.QUIET, "-"),
}


def left(trials: cojax.Trials, groups: Mapping[str, Iterable[str]], bits: np.ndarray) -> dict[str, np.ndarray]:
    """By group the median gap after so many bits, of the best method at each, held to what the picture shows."""
    medians = dict(zip(trials.methods, np.median(trials.left(bits), axis=0), strict=True))
    best = {name: np.min([medians[one] for one in group], axis=0) for name, group in groups.items()}
    return {name: np.clip(gaps, LEAST, 2 * MOST) for name, gaps in best.items()}


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    groups, bits = rivals_of("static"), np.arange(1, MOST_BITS + 1)
    trials = run("nsfnet", "static", field(groups), num_steps=MOST_BITS, bits=MOST_BITS)
    found = left(trials, groups, bits)
    ours = left(defaults("nsfnet", "static", None), {DEFAULT: [DEFAULT]}, bits)[DEFAULT]
    others = [name for name in found if name not in NAMED and name != HINDSIGHT and not name.endswith("1 bit")]
    with canvas.styled() as figure:
        picture = figure(figsize=(2 * canvas.WIDTH, 2.9), layout="constrained")
        ax = picture.add_subplot()
        shown = ours > LEAST
        ax.plot(bits[shown], ours[shown], color=canvas.BLUE, linewidth=2.6, zorder=3, label="cojax.default_allocator")
        for name in others:  # those over our own link are left out
            ax.plot(bits, found[name], color=canvas.FAINT, linewidth=1.0)
        for name, (label, color, dashes) in NAMED.items():
            ax.plot(bits, found[name], dashes, color=color, label=label)
        ax.plot([], [], color=canvas.FAINT, label=f"{len(others)} more rivals")
        ax.set(xscale="log", yscale="log", xlim=(8, MOST_BITS), ylim=(LEAST, MOST))
        ax.set(xlabel="bits told to a neighbour", ylabel="cost gap, of that at the start")
        canvas.ticks(ax)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        picture.savefig(RESULTS / "headline.png", dpi=200)
    print(f"{len(NAMED) + len(others)} rivals; bits until {LEAST:g} is left:")
    for name, gaps in {"the default": ours, **{name: found[name] for name in (*NAMED, *others)}}.items():
        reached = gaps <= LEAST
        print(f"{name}: {bits[np.argmax(reached)] if reached.any() else f'not after {MOST_BITS}'}")


if __name__ == "__main__":
    main()
