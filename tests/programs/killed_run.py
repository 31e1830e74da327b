"""A run with a checkpoint, as a program of its own, to be killed: `python killed_run.py CHECKPOINT RESULT STEPS`."""

import sys

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from support import laws  # noqa: E402

import cojax  # noqa: E402
from cojax.runs import pieces  # noqa: E402

pieces.SHARE_OF_TIME = 1.0  # save as often as can be


def run(checkpoint, steps):
    problem = laws.quadratic()
    network = cojax.Lossy(cojax.network(laws.ring_with_chords()), 0.2, 7)
    method = cojax.CoOpt(learn=cojax.DIGing(0.002), allocate=cojax.Laplacian(0.01))
    start = laws.start_of(problem)
    return pieces.in_pieces(
        problem, network, method, start, num_steps=steps, piece=20, every=10, checkpoint=checkpoint, told=_told
    )


def _told(steps):
    print(steps, flush=True)


if __name__ == "__main__":
    ran = run(sys.argv[1], int(sys.argv[3]))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((ran.solution.x, ran.solution.state, ran.solution.trace))]
    np.savez(sys.argv[2], *leaves)
    sys.exit(0 if ran.signal is None else 128 + ran.signal)
