"""The picture of the README: what is left of the first gap over the bits told, by the default allocator and rivals.

    python benchmarks/headline.py

The median of ten instances on NSFNET, the cell "nsfnet static" of `which_allocator.py`, whose rivals and
constants it takes; those that have several, the best of them at every number of bits. Writes results/headline.png.
"""

import jax
import numpy as np
from support.contenders import Course
from support.timing import RESULTS
from which_allocator import HINDSIGHT, defaults, rivals_of

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


def left(courses: list[Course], bits: np.ndarray) -> np.ndarray:
    """The median gap after so many bits, of the best course at each, held to what the picture shows."""
    gaps = np.min([[np.median(course.at(each)) for each in bits] for course in courses], axis=0)
    return np.clip(gaps, LEAST, 2 * MOST)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    instances, networks, own = defaults("nsfnet", "static")
    found = rivals_of("static", instances, networks, MOST_BITS)
    bits = np.arange(1, MOST_BITS + 1)
    others = [name for name in found if name not in NAMED and name != HINDSIGHT and not name.endswith("1 bit")]
    with canvas.styled() as figure:
        picture = figure(figsize=(2 * canvas.WIDTH, 2.9), layout="constrained")
        ax = picture.add_subplot()
        ours = left([own], bits)
        shown = ours > LEAST
        ax.plot(bits[shown], ours[shown], color=canvas.BLUE, linewidth=2.6, zorder=3, label="cojax.default_allocator")
        for name in others:  # those over our own link are left out
            ax.plot(bits, left(found[name], bits), color=canvas.FAINT, linewidth=1.0)
        for name, (label, color, dashes) in NAMED.items():
            ax.plot(bits, left(found[name], bits), dashes, color=color, label=label)
        ax.plot([], [], color=canvas.FAINT, label=f"{len(others)} more rivals")
        ax.set(xscale="log", yscale="log", xlim=(8, MOST_BITS), ylim=(LEAST, MOST))
        ax.set(xlabel="bits told to a neighbour", ylabel="cost gap, of that at the start")
        canvas.ticks(ax)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        picture.savefig(RESULTS / "headline.png", dpi=200)
    print(f"{len(NAMED) + len(others)} rivals; bits until {LEAST:g} is left:")
    for name, courses in {"the default": [own], **{name: found[name] for name in (*NAMED, *others)}}.items():
        reached = left(courses, bits) <= LEAST
        print(f"{name}: {bits[np.argmax(reached)] if reached.any() else f'not after {MOST_BITS}'}")


if __name__ == "__main__":
    main()
