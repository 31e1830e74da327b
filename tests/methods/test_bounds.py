"""The stable step that the record of a method says beside the eigenvalues of its recursion, mode by mode, in NumPy.

Every matrix is written down from the equation in the method's docstring, for one eigenvalue w of W = I - L and costs of
one curvature; s is the step size times that curvature, and a tracker, or a dual, is in units of the step.
"""

from types import SimpleNamespace

import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import cojax
from cojax import theory
from cojax.methods.facts import KNOWN

SPECTRA = {
    "W is not negative": [0.0, 0.3, 0.7, 1.0],
    "W is negative": [0.0, 0.2, 1.3, 1.8],
    "hardly mixed": [0.0, 0.01, 0.02],
    "on the edge": [0.0, 0.6, 1.99],
}
CURVATURES = np.linspace(0.05, 1.0, 12)  # a curvature may be any up to the largest


def diging(w, s):
    return [[w, -1], [s * (w - 1), w - s]]


def adapted(w, s):
    return [[w, -w], [s * (w - 1), w - s * w]]


def with_momentum(momentum):
    def matrix(w, s):  # y, y-, z
        step = np.array([w + momentum, -momentum, -1.0])
        return [step, [1, 0, 0], s * (step - [1, 0, 0]) + [0, 0, w]]

    return matrix


def exact_diffusion(w, s):  # y, psi
    mixed = (1 + w) / 2
    return [[mixed * (2 - s), -mixed], [1 - s, 0]]


def nids(w, s):  # y+ = (I + W) / 2 (2 y - y- - s (y - y-)), Li, Shi, Yan 2019
    mixed = (1 + w) / 2
    return [[mixed * (2 - s), -mixed * (1 - s)], [1, 0]]


def lead(gain):
    def matrix(w, s):
        dual = np.array([gain / 2 * (1 - w) * (1 - s), 1 - gain / 2 * (1 - w)])
        return [[1 - s, 0] - dual, dual]

    return matrix


def extra(w, s):
    return [[w - s, 1], [(w - 1) / 2, 1]]


def diffusion(w, s):
    return [[w * (1 - s)]]


def heavy_ball(momentum):
    return lambda s: [[1 + momentum - s, -momentum], [1, 0]]


def nesterov(momentum):  # of x, x-: y = x + momentum (x - x-), x+ = y - s y
    return lambda s: [[(1 + momentum) * (1 - s), -momentum * (1 - s)], [1, 0]]


# By method: the numbers that its bound reads, and its matrix. The first are as large as the largest stable step.
LEARNERS = {
    "DGD": (cojax.DGD, {}, lambda w, s: [[w - s]]),
    "NIDS": (cojax.NIDS, {}, nids),
    "ExactDiffusion": (cojax.ExactDiffusion, {}, exact_diffusion),
    "LEAD": (cojax.LEAD, {"gain": 1.0}, lead(1.0)),
    "LEAD, gain 0.6": (cojax.LEAD, {"gain": 0.6}, lead(0.6)),
    "Choco": (cojax.Choco, {"gain": 1.0}, diffusion),
    "DIGing": (cojax.DIGing, {"mixing": 1.0}, diging),
    "DIGing, mixing 0.6": (cojax.DIGing, {"mixing": 0.6}, diging),
    "PushPull": (cojax.PushPull, {}, diging),
    "ATCTracking": (cojax.ATCTracking, {}, adapted),
    "PushDIGing": (cojax.PushDIGing, {}, adapted),
    "TrackingMomentum": (cojax.TrackingMomentum, {"momentum": 0.3}, with_momentum(0.3)),
    "TrackingMomentum, 0.8": (cojax.TrackingMomentum, {"momentum": 0.8}, with_momentum(0.8)),
}
CAUTIOUS = {
    "EXTRA": (cojax.EXTRA, {}, extra),
    "LocalSteps": (cojax.LocalSteps, {}, diffusion),
    "StreamingSteps": (cojax.StreamingSteps, {}, diffusion),
}
ALLOCATORS = {
    "Laplacian": (cojax.Laplacian, {}, lambda s: [[1 - s]]),
    "HeavyBall": (cojax.HeavyBall, {"momentum": 0.6}, heavy_ball(0.6)),
    "MomentumFlow": (cojax.MomentumFlow, {"momentum": 0.3}, heavy_ball(0.3)),
    "Nesterov": (cojax.Nesterov, {"momentum": 0.6}, nesterov(0.6)),
    "Nesterov, 0.95": (cojax.Nesterov, {"momentum": 0.95}, nesterov(0.95)),
}


def radius(matrix, conserves):
    values = np.linalg.eigvals(np.asarray(matrix, float))
    if conserves:  # what a sum that no step changes brings: it starts where it has to end
        values = np.delete(values, np.argmin(np.abs(values - 1)))
    return np.abs(values).max()


def largest_step(is_stable):
    low, high = 0.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if is_stable(middle) else (low, middle)
    return low


def largest_step_of_learner(matrix, spectrum, mixing):
    def is_stable(step):
        modes = [(1 - mixing * value, step * curvature) for value in spectrum for curvature in CURVATURES]
        return all(radius(matrix(w, s), w == 1 and len(matrix(w, s)) > 1) < 1 for w, s in modes)

    return largest_step(is_stable)


def bound_of(kind, numbers, spectrum, fixed=True, xp=np):
    room = xp.asarray(max(2.0 - numbers.get("mixing", 1.0) * max(spectrum), 0.0))
    return float(KNOWN[kind].bound(SimpleNamespace(**numbers), room, fixed))


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=list(SPECTRA))
@pytest.mark.parametrize("name", LEARNERS)
def test_the_bound_of_a_learner_is_the_largest_stable_step_of_its_recursion(name, spectrum):
    kind, numbers, matrix = LEARNERS[name]
    wanted = largest_step_of_learner(matrix, spectrum, numbers.get("mixing", 1.0))
    for xp in (np, jnp):
        # Near the limit a radius comes as the root of a distance, so rounding of 1e-16 moves it by 1e-8.
        assert bound_of(kind, numbers, spectrum, xp=xp) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=list(SPECTRA))
@pytest.mark.parametrize("name", CAUTIOUS)
def test_a_cautious_bound_is_below_the_largest_stable_step_and_meets_it_where_nodes_hardly_mix(name, spectrum):
    kind, numbers, matrix = CAUTIOUS[name]
    bound, wanted = bound_of(kind, numbers, spectrum), largest_step_of_learner(matrix, spectrum, 1.0)
    assert bound <= wanted * (1 + 1e-6)
    if max(spectrum) < 0.1:
        assert bound >= (1 - max(spectrum)) * wanted
    # All three: the most negative mode of W, left alone, turns over at the edge of DGD.
    assert bound == pytest.approx(largest_step_of_learner(lambda w, s: [[w - s]], spectrum, 1.0), rel=1e-6)


@pytest.mark.parametrize("kind", [cojax.ATCTracking, cojax.PushDIGing])
def test_where_graphs_take_turns_the_bound_is_that_of_diging_on_each(kind):
    spectrum = SPECTRA["W is negative"]
    assert bound_of(kind, {}, spectrum, fixed=False) == pytest.approx(
        largest_step_of_learner(diging, spectrum, 1.0), rel=1e-6
    )


@pytest.mark.parametrize("name", ALLOCATORS)
def test_the_bound_of_an_allocator_is_the_largest_stable_step_of_its_recursion(name):
    kind, numbers, matrix = ALLOCATORS[name]
    wanted = largest_step(lambda step: all(radius(matrix(step * s), conserves=False) < 1 for s in CURVATURES))
    assert bound_of(kind, numbers, [1.0]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", [cojax.NIDS, cojax.Choco, cojax.DGD, cojax.DIGing, cojax.EXTRA])
def test_no_step_is_stable_where_weights_do_not_mix(kind):
    assert bound_of(kind, {}, [0.0, 1.0, 2.3]) == 0.0


def apapc(blend, gain):
    def matrix(w, s):  # y, f, D
        read = np.array([blend, 1 - blend, 0.0])
        own, dual = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
        dual = dual + gain * (1 - w) * (own - s * read - dual)
        moved = own - s * read - dual
        return [moved, read + 2 * blend / (2 - blend) * (moved - own), dual]

    return matrix


@pytest.mark.parametrize("blend", [1.0, 0.6, 0.2])
def test_the_limit_of_apapc_is_the_largest_stable_step_of_its_recursion(blend):
    network = cojax.network(nx.cycle_graph(8))
    spectrum = np.append(0.0, np.linalg.eigvalsh(theory.laplacians(network)[0].toarray())[1:])
    wanted = largest_step_of_learner(apapc(blend, 1 / spectrum.max()), spectrum, 1.0)
    assert theory.apapc_limit(network, 1.0, blend).value == pytest.approx(wanted, rel=1e-6)


def test_every_record_with_a_bound_is_held_here():
    held = {kind for table in (LEARNERS, CAUTIOUS, ALLOCATORS) for kind, *_ in table.values()}
    assert held == {kind for kind, facts in KNOWN.items() if facts.bound is not None}
