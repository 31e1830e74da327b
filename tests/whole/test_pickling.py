"""What a caller makes can be sent to another process, and is the same there; cojax itself unpickles nothing."""

import enum
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from support import laws

import cojax
from cojax import costs, penalties

TESTS = Path(__file__).parents[1]
NEVER_MADE = {"CojaxInputError", "Layout", "Link", "Method", "Network", "Quantizer"}  # bases
NEVER_SENT = {"Shards"}  # they hold devices of this process; what `shard` was given can be sent
PATH = nx.path_graph(laws.NUM_NODES)
NETWORK = cojax.network(PATH)
PROBLEM = laws.quadratic()
START = laws.start_of(PROBLEM)
METHOD = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.1))


class Frozen(eqx.Module):
    """A cost that holds a function: a plain one, as Python pickles neither those that JAX has compiled nor a lambda."""

    layer: eqx.nn.Linear
    activation: Callable = jax.nn.gelu

    def __call__(self, x, data):
        return (self.activation(self.layer(data[0])) @ x.params) ** 2


def made():
    """At least one object of every public class that can be made."""
    run = cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=4, every=2)
    one_way = cojax.LossyOneWay(NETWORK, 0.1)
    changes = [cojax.Change(5, budget=20.0), cojax.Change(9, leaves=3, heir=4)]
    changing = cojax.Changing(PROBLEM, changes)
    quantizer = cojax.AdaptiveQuantizer(2)
    layer = eqx.nn.Linear(3, 3, key=jax.random.key(0))
    optimum = cojax.reference(PROBLEM, np.zeros(laws.DIM))
    tried = cojax.trials(lambda seed: (PROBLEM, NETWORK, START, optimum), {"one": METHOD}, num_trials=1, num_steps=2)
    points = cojax.sweep(lambda step_size: (PROBLEM, NETWORK, METHOD, START), step_size=[0.1], num_steps=2)
    return [
        *laws.LEARNERS.values(), *laws.ALLOCATORS.values(), *laws.QUANTIZERS, METHOD, cojax.Hold(),
        cojax.OneBitQuantizer(), cojax.Ideal(), cojax.Quantized(quantizer), cojax.Innovation(quantizer, memory="edge"),
        cojax.EventTriggered(0.1, 0.9), cojax.ErrorFeedback(cojax.TopK(2)),
        *(cojax.network(PATH, layout=layout) for layout in laws.LAYOUTS),
        cojax.network(nx.cycle_graph(9), layout="circulant"), cojax.network(nx.DiGraph(PATH)),
        cojax.Directed(weights=jnp.full((2, 2), 0.4)), cojax.RandomGraph(8, 0.5),
        cojax.RandomPairs(8), cojax.Computed(cojax.graphs.computed("geometric", 12)),
        cojax.Lossy(NETWORK, 0.3), one_way, cojax.Ledger(one_way), cojax.Intermittent(NETWORK, every=2),
        cojax.GilbertElliott(NETWORK, 0.1, 0.3), cojax.Timed(NETWORK, cojax.Clock(1.0, share=2.0, latency=0.1)),
        cojax.Asynchronous(NETWORK, cojax.Clock(1.0, share=2.0, latency=0.1), tick=0.25),
        cojax.Timely(START.cpu, *jnp.ones(3)),
        cojax.Delayed(NETWORK, 2), cojax.Reordered(NETWORK, 0.5), cojax.Duplicated(NETWORK, 0.5),
        cojax.Corrupted(NETWORK, 0.5), cojax.Scripted(NETWORK, np.zeros((3, 1, 8, 8), int), most=0),
        cojax.Crashing(NETWORK, [2], [0], [3]), cojax.Members(NETWORK, changing), PROBLEM, START, changing, *changes,
        cojax.Minibatch(PROBLEM, 2, samples=lambda data: data[:2]), run, optimum, points,
        cojax.compare(PROBLEM, NETWORK, {"one": METHOD}, START, optimum=optimum, num_steps=2)["one"],
        tried, tried.paired("one", "one"), tried.profile(),
        cojax.Choice("one", METHOD, {"one": 1.0}, {"one": 1}, {}, {}, tried, None, 1, 2),
        cojax.OuterTuning(PROBLEM, START, {"budget": np.ones(())}, 2.0, 1.0, 3, 1.0),
        cojax.sensitivities(PROBLEM, optimum.x), cojax.shift(PROBLEM, optimum.x, budget=1.0),
        cojax.transfers(NETWORK, METHOD, run.state), cojax.Status.CONVERGED,
        cojax.Problem(Frozen(layer), (np.ones((8, 3)), PROBLEM.data[2])),
        cojax.Problem(costs.Separable(allocate=costs.Price()), (None, np.ones((2, 8)).T), 8.0, lower=0.0,
                      penalty=penalties.PowerPenalty(2.0)),
    ]  # fmt: skip


MADE = made()


def kinds(value):
    """The class of everything that a value is made of."""
    yield type(value)
    parts = value if isinstance(value, tuple | list) else getattr(value, "__dict__", {}).values()
    for part in () if isinstance(value, enum.Enum) else parts:
        yield from kinds(part)


def test_every_public_class_is_among_what_is_sent():
    public = {value for name in dir(cojax) if inspect.isclass(value := getattr(cojax, name))}
    assert {kind.__name__ for kind in public - set(kinds(MADE))} == NEVER_MADE | NEVER_SENT


@pytest.mark.parametrize("value", MADE, ids=lambda value: type(value).__name__)
def test_what_was_sent_is_the_same_there(value):
    there = pickle.loads(pickle.dumps(value))
    assert type(there) is type(value) and jax.tree.structure(there) == jax.tree.structure(value)
    for one, other in zip(jax.tree.leaves(there), jax.tree.leaves(value), strict=True):
        key = isinstance(other, jax.Array) and jax.dtypes.issubdtype(other.dtype, jax.dtypes.prng_key)
        one, other = map(jax.random.key_data, (one, other)) if key else (one, other)
        np.testing.assert_array_equal(one, other)


def test_a_run_in_another_process_is_the_run_bit_for_bit(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    program = """
import pickle, sys, cojax
run = cojax.solve(*pickle.load(sys.stdin.buffer), num_steps=4, every=2)
sys.stdout.buffer.write(pickle.dumps((run.x, run.state)))
"""
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)  # where `support` is, whose cost it is
    sent = pickle.dumps((PROBLEM, NETWORK, METHOD, START))
    done = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=True)
    run = cojax.solve(PROBLEM, NETWORK, METHOD, START, num_steps=4, every=2)
    for one, other in zip(*map(jax.tree.leaves, (pickle.loads(done.stdout), (run.x, run.state))), strict=True):
        np.testing.assert_array_equal(one, other)
