"""One node of disropt's gradient tracking on the job of `peers.py`: MPI starts as many of these as there are nodes.

    mpirun -n NODES python support/peer_agent.py JOB.npz STEPS

The first one prints a line of JSON: params of all nodes, and processor seconds of all processes in the steps, with what
they waited for neighbours.
"""

# pyright: reportMissingImports=false
import json
import sys
import time
from typing import Any

import numpy as np


def gradient_tracking(job: Any, rank: int) -> Any:
    """disropt's algorithm on the data of one node, at the start."""
    from disropt.agents import Agent
    from disropt.algorithms import GradientTracking
    from disropt.functions import Logistic, Variable
    from disropt.problems import Problem

    weights = job["weights"][rank]
    neighbors = [int(other) for other in np.flatnonzero(weights) if other != rank]
    agent = Agent(in_neighbors=neighbors, out_neighbors=neighbors, in_weights=weights.tolist())
    features, labels = job["features"][rank], job["labels"][rank]
    losses = Logistic(-(labels[:, None] * features).T @ Variable(features.shape[1]))
    mean = np.full((labels.size, 1), 1 / labels.size) @ losses
    agent.set_problem(Problem(mean))
    return GradientTracking(agent, np.zeros((features.shape[1], 1)))


def main() -> None:
    from mpi4py import MPI

    everyone, num_steps = MPI.COMM_WORLD, int(sys.argv[2])
    job = dict(np.load(sys.argv[1], allow_pickle=False))
    algorithm = gradient_tracking(job, everyone.rank)
    everyone.Barrier()
    begin = time.process_time()
    algorithm.run(iterations=num_steps, stepsize=float(job["step_size"]))
    seconds = everyone.reduce(time.process_time() - begin)
    params = everyone.gather(algorithm.x.ravel().tolist())
    if everyone.rank == 0:
        print(json.dumps({"seconds": seconds, "params": params}))


if __name__ == "__main__":
    main()
