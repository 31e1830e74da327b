"""Arguments of a wrong type get one sentence too, as seen in a process without the type checks of the tests."""

import json
import subprocess
import sys

import pytest

# Each: what is called, and a part of the sentence, or None where it is legal.
CALLS = {
    "solve(problem, nx.cycle_graph(4), method, start, num_steps=1)": "a cojax Network for network, got an",
    "solve(problem, network, cojax.DIGing, start, num_steps=1)": "cojax Method for method, got the class DIGing.",
    "solve(network, problem, method, start, num_steps=1)": "a cojax Problem for problem, got an",
    "solve(problem, network, method, start, num_steps=1, record=[1])": "a function record(problem, x, state)",
    "solve(problem, network, method, None, num_steps=1)": "a start from problem.start(...)",
    "solve(problem, network, method, start, num_steps=1.0)": "solve needs a whole number num_steps >= 0, got 1.0",
    "solve(problem, network, method, start, num_steps=np.int64(2), every=np.int32(1))": None,
    "cojax.network(nx.path_graph(2), weights='metropolis')": "such as cojax.weights.metropolis, got 'metropolis'.",
    "cojax.network(nx.path_graph(2), link=cojax.LogQuantizer(0.1))": "needs a link such as Ideal() or Quantized",
    "cojax.network(nx.path_graph(2), nodelist=3)": "network needs nodelist to be a sequence of nodes, got 3.",
    "cojax.network(nx.path_graph(2), nodelist=[[0], [1]])": "nodelist to be a sequence of nodes, got [[0], [1]].",
    "cojax.Problem('cost', np.ones(4))": "needs to be a function, or a Module with __call__, got 'cost'.",
    "cojax.Problem(problem.cost, np.ones(4), 1.0, penalty='power')": "A cost or a penalty needs to be a function",
    "cojax.Intermittent(nx.path_graph(3), 2)": "Intermittent needs a network, got Graph; make one by cojax.network",
    "cojax.shard(problem, network, start, 8)": "shard needs a jax.sharding.Mesh, got int; leave it out for all",
    "cojax.shard(problem, network, np.ones(4))": "shard needs a cojax Decision for start, got ndarray.",
    "cojax.certificate(changing, start)": "certificate needs the problem of one step, got a Changing; use its field",
    "cojax.reference(cojax.Minibatch(problem, 1, samples=lambda a: a), None)": "samples on the second axis",
    "cojax.shard(changing, network, start)": "shard needs a plain Problem, one that stays as it is from step to step",
    "cojax.allocate('problem')": "allocate needs a cojax Problem, got str.",
    "cojax.graphs.named('ring', 4.0)": "needs a whole number num_nodes >= 1, got 4.0.",
    "cojax.graphs.named('erdos_renyi', np.int64(9), seed=np.int64(3), probability=np.float32(0.5))": None,
    "cojax.graphs.switching(nx.path_graph(3), 2.5, seed=0)": "needs a whole number num_graphs >= 1, got 2.5.",
    "cojax.graphs.switching(nx.path_graph(3), 2, seed=0, share='half')": "switching needs real numbers for share, got",
    "cojax.graphs.named(['ring'], 4)": "graphs.named knows ring, path, complete, star",
    "cojax.graphs.named(None, 4)": "graphs.named knows ring, path, complete, star",
    "cojax.graphs.switching(cojax.graphs.computed('ring', 6), 3, seed=0)": "EdgeList, got Shifts; of a computed graph",
    "cojax.graphs.switching(np.ones((3, 3)), 3, seed=0)": "needs a networkx graph or a graphs.EdgeList, got ndarray",
    "edges([[0.0], [1.0]])": "Edges needs whole numbers for pairs, got float32: JAX would take others for",
    "edges([[False], [True]])": "Edges needs whole numbers for pairs, got bool",
    "edges([[-1], [1]])": "Edges needs pairs of nodes from 0 to 2, got -1 to 1.",
    "edges([[0], [1], [2]])": "Edges needs pairs of shape (2, e), the two ends of every edge, got (3, 1).",
    "table([[1.0, 0.0]], [[0, 0]])": "Neighbors needs whole numbers for index, got float32",
    "table([[1, 0]], [[0.0, 0.0]])": "Neighbors needs whole numbers for twin, got float32",
    "table([[1, 0], [1, 0]], [[0, 0]])": "needs weights, index and twin of one shape (slots, n), got (1, 2), (2, 2)",
    "cojax.Circulant(weights=jnp.ones((2, 1)), offsets=(1.0, 4.0), size=5)": "a whole number offset >= 1, got 1.0.",
    "cojax.Circulant(weights=jnp.ones((2, 1)), offsets=(1, 4), size=5.0)": "a whole number size >= 1, got 5.0.",
    "cojax.datasets.split(np.ones((4, 2)), np.ones(4), '2', seed=0)": "a whole number num_nodes >= 1, got '2'.",
    "cojax.datasets.split(np.ones((4, 2)), np.ones(4), 2, seed=-1)": "split needs a whole number seed >= 0, got -1.",
    "cojax.default(None, network, start)": "default needs a cojax Problem for problem, got NoneType.",
    "cojax.default_learner(problem, nx.cycle_graph(4), start)": "needs a cojax Network for network, got Graph.",
    "cojax.Dense(weights=[[0.0, 0.2], [0.2, 0.0]])": "Dense needs an array of weights, got a list.",
    "cojax.Directed(weights=[[0.0, 0.2], [0.2, 0.0]])": "Directed needs an array of weights, got a list.",
    "cojax.restored(None, start)": "restored needs a cojax Network for network, got NoneType.",
    "cojax.Crashing(network, None, [1], [2])": "Steps, nodes and lateness need to be whole numbers, got None.",
    "cojax.Scripted(network, None, 1)": "Steps, nodes and lateness need to be whole numbers, got None.",
    "cojax.RandomGraph(4, 0.5, link=3)": "RandomGraph needs a link such as Ideal(), got 3.",
    "cojax.RandomPairs(4, link='x')": "RandomPairs needs a link such as Ideal(), got 'x'.",
    "cojax.transfers(nx.cycle_graph(4), method, state)": "transfers needs a cojax Network for network, got Graph.",
    "cojax.transfers(network, cojax.Laplacian, state)": "a cojax Method for method, got the class Laplacian.",
    "cojax.transfers(network, method, None)": "transfers needs a cojax State for state, got NoneType.",
    "cojax.transfers(network, cojax.Laplacian(0.1), state)": "a state of a run with this network and method, got",
    "cojax.transfers(cojax.RandomPairs(6), method, state)": "a state of a run with this network and method, got",
    "jax.jit(lambda s: cojax.transfers(network, method, s).cpu)(state)": "on the host, got traced values; call it",
    "cojax.default_learner(models, cojax.network(DIRECTED), at)": "default_learner needs an undirected network, got a",
    "cojax.default_learner(models, cojax.Intermittent(cojax.network(DIRECTED), 2), at)": "needs an undirected network",
    "cojax.default_allocator(problem, cojax.Ledger(network), start)": "needs a network without a Ledger, over which",
    "cojax.default_learner(models, cojax.Ledger(cojax.network(nx.path_graph(3))), at)": "needs a network without a",
    "cojax.default(problem, cojax.Ledger(network), start)": "default needs a network without a Ledger, over which",
    "cojax.tuned(cojax.Laplacian, problem, cojax.Ledger(cojax.Delayed(network, 2)), start)": "with Delayed; choose",
    "cojax.default_allocator(problem, network, np.ones(4))": "needs a cojax Decision for start, got ndarray.",
    "cojax.tuned(cojax.Laplacian, problem, network, None)": "tuned(Laplacian) needs a cojax Decision for start, got",
    "cojax.Changing(problem, None)": "Changing needs a list of cojax.Change(...), got one NoneType.",
    "cojax.Changing(problem, cojax.Change(5, 3.0))": "a list of cojax.Change(...), got one Change.",
    "cojax.Changing(problem, [(5, 3.0)])": "Changing needs a list of cojax.Change(...), got one with tuple.",
    "cojax.theory.spectrum(nx.cycle_graph(4))": "theory.laplacians needs a cojax Network for network, got Graph.",
    "cojax.theory.nids_limit(None, 1.0)": "needs a cojax Network for network, got NoneType.",
    "cojax.theory.is_undirected(nx.cycle_graph(4))": "is_undirected needs a cojax Network for network, got Graph.",
    "cojax.theory.apapc_radius(None, 1.0, 0.1, 0.5, 0.1)": "apapc_radius needs a cojax Network for network, got",
    "cojax.theory.lyapunov(network, cojax.DIGing)": "lyapunov needs a cojax Method for method, got the class DIGing.",
    "cojax.theory.worst_rate(None, network, convexity=0.1, smoothness=1)": "worst_rate needs a cojax Method for method",
    "cojax.theory.worst_instance(method, nx.cycle_graph(4), convexity=0.1, smoothness=1)": "cojax Network for network",
    "cojax.Innovation(0.1)": "Innovation needs a quantizer such as cojax.LogQuantizer(0.1), got 0.1.",
    "cojax.Quantized(0.1)": "Quantized needs a quantizer such as cojax.LogQuantizer(0.1), got 0.1.",
    "cojax.ErrorFeedback('log')": "ErrorFeedback needs a quantizer such as cojax.LogQuantizer(0.1), got 'log'.",
    "cojax.Innovation(cojax.LogQuantizer)": "such as cojax.LogQuantizer(0.1), got the class LogQuantizer.",
    "cojax.Quantized((cojax.FloatQuantizer(3), cojax.LogQuantizer))": "Quantized needs a quantizer such as",
    "cojax.Quantized((cojax.FloatQuantizer(3), None))": None,
    "cojax.Scheduled(cojax.DIGing(0.1), {'init': [0.1]})": "that hold a number are step_size, mixing.",
    "cojax.Scheduled(cojax.Laplacian(0.1), {'kept': [0.1]})": "that hold a number are step_size.",
    "cojax.Scheduled(cojax.Laplacian(0.1), {'odd': [0.1]})": "that hold a number are step_size.",
    "cojax.Scheduled(cojax.DIGing(0.1), {'transform': [0.1]})": "that hold a number are step_size, mixing.",
    "cojax.Scheduled(cojax.LocalSteps(0.1), {'every': [2.0]})": "that hold a number are step_size.",
    "cojax.Scheduled(cojax.Hold(), {'step_size': [2.0]})": "those that hold a number are none.",
    "cojax.Scheduled(cojax.DIGing(0.1), [0.1])": 'Scheduled needs a dict such as {"step_size": [0.2, 0.1]} for values',
    "cojax.Scheduled(cojax.DIGing(0.1), {'step_size': 'fast'})": "Scheduled needs numbers for step_size in values, got",
    "solve(problem, network, method, start, num_steps=1, record=lambda p, x, s: 'a')": "returns arrays, or a tree of",
    "solve(problem, network, method, start, num_steps=1, record=lambda p, x, s: {'a': (np.array('a'),)})": "in it.",
    "solve(problem, network, method, start, num_steps=1, record=lambda p, x, s: {'a': (1, x.cpu)})": None,
    "cojax.network(nx.Graph([(0, 1, {'weight': [1]}), (1, 2, {'weight': [2]})]))": None,  # a warning: it is not used
    "cojax.tables.read_nodes(None)": "A file needs a path to be read from, got an object of type NoneType.",
    "cojax.tables.read_nodes('a', max_bytes='1')": "a needs real numbers for max_bytes, got <U1.",
    "cojax.tables.read_samples(3)": "A file needs a path to be read from, got an object of type int.",
    "cojax.tables.read_samples(None)": "A file needs a path to be read from, got an object of type NoneType.",
    "cojax.tables.read_samples('a' * 5000)": "needs the suffix .csv, .libsvm, .svm, .bz2 or .npz, got none",
    "cojax.tables.is_libsvm(b'a')": "A file needs a path to be read from, got an object of type bytes.",
    "cojax.keep_programs(3)": "keep_programs needs a path for folder, got an object of type int.",
    "cojax.Trials.read(3)": "Trials.read needs a path for folder, got an object of type int.",
    "cojax.graphs.read_graph(3)": "A file needs a path to be read from, got an object of type int.",
    "cojax.tables.read_libsvm(FILE, first_index=1.5)": "a.svm needs a whole number first_index >= 0, got 1.5.",
    "cojax.tables.read_libsvm(FILE, first_index='1')": "a.svm needs a whole number first_index >= 0, got '1'.",
    "cojax.tables.read_libsvm(FILE, first_index=-1)": "a.svm needs a whole number first_index >= 0, got -1.",
    "cojax.tables.read_libsvm(FILE, first_index=np.int64(0), num_features=np.int32(4), max_features=np.int64(9))": None,
    "cojax.tables.read_libsvm(FILE, num_features=2.5)": "a.svm needs a whole number num_features >= 1, got 2.5.",
    "cojax.tables.read_libsvm(FILE, num_features=0)": "a.svm needs a whole number num_features >= 1, got 0.",
    "cojax.tables.read_libsvm(FILE, max_features=None)": "a.svm needs a whole number max_features >= 1, got None.",
    "cojax.tables.read_sparse_libsvm(FILE, num_features='2')": "a whole number num_features >= 1, got '2'.",
    "cojax.tables.read_sparse_libsvm(FILE, max_features=2.0)": "a whole number max_features >= 1, got 2.0.",
    "cojax.tables.read_samples(FILE, first_index=None)": "a.svm needs a whole number first_index >= 0, got None.",
}
SCRIPT = """
import json, sys, tempfile
from pathlib import Path
import jax, jax.numpy as jnp, networkx as nx, numpy as np
import cojax
from cojax import solve

problem = cojax.Problem(lambda x, a: a * x.cpu**2, jnp.ones(4), 4.0)
network, start = cojax.network(nx.cycle_graph(4)), problem.start()
changing = cojax.Changing(problem, [cojax.Change(5, 3.0)])
method = cojax.CoOpt(allocate=cojax.Laplacian(0.1))
models, DIRECTED = cojax.Problem(lambda x, a: (x.params - a) ** 2, jnp.ones(3)), nx.DiGraph([(0, 1), (1, 2), (2, 0)])
at = models.start(params=jnp.zeros(3))
state = cojax.init(problem, network, method, start)
edges = lambda pairs: cojax.Edges(weights=jnp.ones(1), pairs=jnp.asarray(pairs), size=3)
table = lambda index, twin: cojax.Neighbors(weights=jnp.ones((1, 2)), index=jnp.asarray(index), twin=jnp.asarray(twin))
folder = tempfile.TemporaryDirectory()
FILE = Path(folder.name, "a.svm")
FILE.write_text("1 1:5\\n")
said = {}
for call in json.load(sys.stdin):
    try:
        eval(call)
        said[call] = None
    except Exception as error:
        said[call] = [type(error).__name__, str(error)]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(list(CALLS)), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_type_gets_one_sentence(said, call):
    if CALLS[call] is None:
        assert said[call] is None
        return
    kind, sentence = said[call]
    assert kind == "CojaxInputError" and CALLS[call] in sentence and "\n" not in sentence
