"""The program of the README runs as printed and does what the README says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from cojax.app.cli import ONE_KERNEL

ROOT = Path(__file__).parents[2]


def test_the_python_of_the_readme_runs_and_the_total_is_exact():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    assert program
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert out.returncode == 0, out.stderr
    cost, imbalance = out.stdout.splitlines()[0].split()
    assert float(imbalance) == 0.0
    gap = float(out.stdout.splitlines()[-1])
    assert abs(gap) < 1e-3 * float(cost)  # float32


def test_every_file_that_the_readme_links_to_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


# A run of both halves over a ring of 20, in float64: whether its loop is one kernel, then its shares and its params.
ONE_RUN = """
import jax, json, numpy as np
jax.config.update("jax_enable_x64", True)
import networkx as nx
import cojax
from cojax.runs.loop import _solve
from cojax.runs.records import standard

data = np.random.default_rng(0).normal(size=(20, 3))
problem = cojax.Problem(lambda x, data: ((x.params - data) ** 2).sum() + data[0] ** 2 * x.cpu**2, data, budget=20.0)
network = cojax.network(nx.cycle_graph(20), link=cojax.Quantized(cojax.LogQuantizer(1 / 8)))
method = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.1))
run = _solve.lower(problem, network, method, problem.start(params=np.zeros((20, 3))), 5, 20, standard).compile()
x = run(problem, network, method, problem.start(params=np.zeros((20, 3)))).x
print(json.dumps(["xla_cpu_small_call" in run.as_text(), x.cpu.tolist(), x.params.ravel().tolist()]))
"""


def test_the_setting_of_the_readme_makes_one_kernel_of_the_loop_and_the_same_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (setting,) = re.findall(r"^export XLA_FLAGS=(\S+)$", text, flags=re.MULTILINE)
    assert setting == ONE_KERNEL, "the command and the README should agree"
    # Read, not imported: it sets variables for those who import it.
    text = (ROOT / "benchmarks" / "support" / "timing.py").read_text(encoding="utf-8")
    (measured,) = re.findall(r"environ\.setdefault\(\"XLA_FLAGS\", \"(\S+)\"\)", text)
    assert measured == setting, "the benchmarks should measure what the README advises"

    def run(flags: str) -> tuple[bool, np.ndarray, np.ndarray]:
        variables = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", ONE_RUN]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=variables, check=True)
        one_kernel, cpu, params = json.loads(done.stdout)
        return one_kernel, np.array(cpu), np.array(params)

    plain, fast = run(""), run(setting)
    assert (plain[0], fast[0]) == (False, True)
    # Shares move by multiples of a grid; a rounding may tip a quantizer's level, a factor of exp(1 / 8).
    np.testing.assert_array_equal(fast[1].sum(), plain[1].sum())
    np.testing.assert_allclose(fast[1], plain[1], rtol=1e-9)
    np.testing.assert_allclose(fast[2], plain[2], rtol=1e-9)
