"""The README is short, and what it and the guides print runs and does what they say."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.processes import environment, free_port, said

from cojax.app import cli, help_texts

ROOT = Path(__file__).parents[2]
EXIT_CODES = (cli.CERTIFIED, cli.BAD_INPUT, cli.NOT_CERTIFIED, cli.INFEASIBLE, cli.NOT_SAVED, cli.INTERRUPTED)


def words(page):
    return (ROOT / page).read_text(encoding="utf-8")


def programs(page):
    """The blocks of Python on a page."""
    return re.findall(r"```python\n(.*?)```", words(page), flags=re.DOTALL)


def test_the_readme_has_at_most_900_words():
    assert len(words("README.md").split()) <= 900


def test_the_python_of_the_readme_and_of_the_choice_by_hand_runs_and_the_total_is_exact():
    (readme,), (*_, by_hand, _, _) = programs("README.md"), programs("docs/choosing.md")
    code = f"{readme}\nprint('----')\n{by_hand}"  # which goes on from the problem of the README
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert out.returncode == 0, out.stderr
    parts = out.stdout.split("----\n")
    cost, imbalance = parts[0].splitlines()[0].split()
    assert float(imbalance) == 0.0
    for printed in parts:
        assert abs(float(printed.splitlines()[-1])) < 1e-3 * float(cost)  # the gap, in float32


def test_the_page_on_the_clock_runs_and_timely_shares_are_faster_than_cheap_ones():
    code = "\n".join(programs("docs/clock.md"))
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert out.returncode == 0, out.stderr
    told, chain, rounds, off, freely = out.stdout.splitlines()
    after = [float(word) for word in told.rpartition("[")[2].rstrip("]").split()]
    assert 0 < after[0] < after[1] < after[2]
    assert float(chain.split()[-4]) == pytest.approx(after[2], rel=0.05)
    cheap, timely = map(float, rounds.split()[-2:])
    assert timely < cheap
    assert float(off.split()[-1]) == 0
    assert float(freely.split()[-1]) == pytest.approx(200)


def test_the_page_on_evidence_runs_and_more_trials_make_intervals_narrower(tmp_path):
    (code,) = programs("docs/evidence.md")
    run = {"capture_output": True, "text": True, "cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    out = subprocess.run([sys.executable, "-c", code], **run, check=False)
    assert out.returncode == 0, out.stderr
    few, many = (
        [float(end) for end in found]
        for found in re.findall(r"^Nesterov / .* times \(([\d.]+) to ([\d.]+)\)", out.stdout, re.M)
    )
    assert many[1] - many[0] < few[1] - few[0]
    assert "not distinguishable" in out.stdout
    assert len(list(tmp_path.glob("runs/lossy/trial-*.npz"))) == 20
    assert all((tmp_path / f"runs/lossy/{name}.png").stat().st_size > 1000 for name in ("bits", "profile"))


def test_the_choice_by_trial_runs_and_its_slopes_are_trusted():
    *_, trial, slopes = programs("docs/choosing.md")
    out = subprocess.run([sys.executable, "-c", trial + slopes], capture_output=True, text=True, cwd=ROOT, check=False)
    assert out.returncode == 0, out.stderr
    first, *_, optimum, run = out.stdout.splitlines()
    assert first.startswith("Take 'Nesterov, tuned'")
    assert optimum.startswith("Trust these gradients") and run.startswith("Trust these gradients")


def test_the_recipe_for_an_answer_of_another_solver_certifies_it():
    code, _ = programs("docs/recipes.md")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert out.returncode == 0, out.stderr
    *_, certified, lost = out.stdout.splitlines()
    assert certified == "True"
    assert all(abs(float(each)) < 1e-9 for each in lost.strip("[]").split())  # of a cost of 78.3


def test_the_recipe_for_a_network_that_no_process_holds_whole_runs_in_one_process_and_in_two():
    _, code = programs("docs/recipes.md")
    costs = []
    for processes in (1, 2):
        here = code.replace("127.0.0.1:1234", f"127.0.0.1:{free_port()}")
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(1))
        commands = [[sys.executable, "-c", here, str(process), str(processes)] for process in range(processes)]
        for words in said([subprocess.Popen(command, **pipes) for command in commands]):
            own, cost, imbalance = words.splitlines()[-1].split()
            assert int(own) == 40_000 // processes and float(imbalance) == 0
            costs.append(float(cost))
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-6)


def test_the_two_commands_of_the_readme_are_those_of_the_makefile_and_of_ci():
    commands = re.findall(r"^make (\w+)", words("README.md"), flags=re.MULTILINE)
    assert commands == ["demo", "test"]
    for command in commands:
        assert re.search(rf"^{command}:", words("Makefile"), flags=re.MULTILINE)
    assert "\nmake clean\nmake test\n" in words(".ci/run")


def test_the_exit_codes_of_the_guide_are_those_of_the_help():
    page = {int(code) for code in re.findall(r"^\| (\d+) \|", words("docs/command.md"), flags=re.MULTILINE)}
    said = {int(code) for code in re.findall(r"\b\d+\b", help_texts.COJAX.partition("Exit codes:")[2])}
    assert page == said == {*EXIT_CODES, cli.SIGNAL + signal.SIGTERM}


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


def test_the_setting_of_the_guide_makes_one_kernel_of_the_loop_and_the_same_results():
    (setting,) = re.findall(r"^export XLA_FLAGS=(\S+)$", words("docs/faster.md"), flags=re.MULTILINE)
    assert setting == cli.ONE_KERNEL, "the command and the guide should agree"
    # Read, not imported: it sets variables for those who import it.
    timing = words("benchmarks/support/timing.py")
    (measured,) = re.findall(r"environ\.setdefault\(\"XLA_FLAGS\", \"(\S+)\"\)", timing)
    assert measured == setting, "the benchmarks should measure what the guide advises"

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
