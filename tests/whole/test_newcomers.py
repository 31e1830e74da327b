"""The first path of each of three people, in fresh processes that keep nothing from before: it works, and says so."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog
from support.spreadsheets import rows
from test_readme import programs

ROOT = Path(__file__).parents[2]
NODES = {"Oslo": (10.0, 40.0, 3.0), "Bergen": (0.0, 25.0, 1.0), "Tromso": (2.0, 10.0, 2.0), "Narvik": (0.0, 20.0, 5.0)}
PLAN = """
title = "Four sites"
[nodes]
file = "nodes.csv"
[cpu]
budget = 45.0
[graph]
name = "ring"
[hours]
file = "prices.csv"
[units]
cpu = "kilo-cores"
money = "EUR"
"""
# A method of one's own, as a researcher types it: gradient descent on the average of what was heard.
METHOD = """
import jax, jax.numpy as jnp, cojax

class Own(cojax.Method):
    step_size: float = 0.05

    def init(self, x, grad):
        return x

    def message(self, state, grad):
        return state

    def update(self, state, grad, flow):
        return jax.tree.map(lambda y, g, f: y + f - self.step_size * g, state, grad, flow)

    def query(self, state):
        return state

features = jax.random.normal(jax.random.key(0), (12, 20, 5))
targets = features @ jnp.arange(5.0) + jax.random.normal(jax.random.key(1), (12, 20))
problem = cojax.Problem(lambda x, data: jnp.mean((data[0] @ x.params - data[1]) ** 2) / 2, (features, targets))
network = cojax.Lossy(cojax.network(cojax.graphs.named("exponential", 12)), 0.2)
start = problem.start(params=jnp.zeros((12, 5)))
optimum = cojax.reference(problem, jnp.zeros(5))
methods = {"own": cojax.CoOpt(learn=Own())}
methods["DIGing"] = cojax.CoOpt(learn=cojax.tuned(cojax.DIGing, problem, network, start))
courses = cojax.compare(problem, network, methods, start, optimum=optimum, num_steps=400, seeds=range(5))
cojax.plots.contest(courses, "learn", over="bits").figure.savefig("contest.pdf")
print(float(courses["own"].learn_gap[:, -1].max()), float(courses["DIGing"].learn_gap[:, -1].max()))
"""


@pytest.fixture
def fresh(tmp_path):
    """Run Python in an empty folder, with an empty cache of programs, and say how long it took."""

    def run(*arguments):
        keys = ("PYTHONPATH", "JAX_COMPILATION_CACHE_DIR")
        env = {name: value for name, value in os.environ.items() if name not in keys}
        env |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
        began = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, cwd=tmp_path, env=env, check=False
        )
        print(f"{' '.join(arguments)[:60]!r}: {time.perf_counter() - began:.1f} s")
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran

    return run


def test_a_planner_goes_from_two_tables_to_shares_a_what_if_and_a_day(fresh, tmp_path):
    lines = [f"{name},{low},{high},{price}" for name, (low, high, price) in NODES.items()]
    (tmp_path / "nodes.csv").write_text("\n".join(["node,lower,upper,price", *lines]))
    hours = [f"2024-03-01T{hour:02d}:00,{3 + hour % 5},1,2,{5 - hour % 4}" for hour in range(24)]
    (tmp_path / "prices.csv").write_text("\n".join(["time,Oslo,Bergen,Tromso,Narvik", *hours]))
    (tmp_path / "plan.toml").write_text(PLAN)
    low, high, price = np.array(list(NODES.values())).T

    def cheapest(budget, price):
        bounds = list(zip(low, high, strict=True))
        return linprog(price, A_eq=np.ones((1, 4)), b_eq=[budget], bounds=bounds)

    first = fresh("-m", "cojax", "plan", "plan.toml", "--out", "first")
    assert first.returncode == 0 and "CERTIFIED" in first.stdout and "EUR" in first.stdout
    shares = [float(row["share"]) for row in rows(tmp_path / "first" / "allocation.csv")]
    np.testing.assert_allclose(shares, cheapest(45.0, price).x, atol=1e-9)
    assert (tmp_path / "first" / "report.html").stat().st_size > 10_000

    more = fresh("-m", "cojax", "plan", "plan.toml", "--set", "cpu.budget=50", "--against", "first", "--out", "more")
    assert more.returncode == 0, more.stderr
    shares = [float(row["share"]) for row in rows(tmp_path / "more" / "allocation.csv")]
    np.testing.assert_allclose(shares, cheapest(50.0, price).x, atol=1e-9)
    assert (tmp_path / "more" / "against.csv").exists()

    day = fresh("-m", "cojax", "plan", "plan.toml", "--hours", "--out", "day")
    assert day.returncode == 0 and "24 of 24 hours CERTIFIED" in day.stdout
    costs = [float(row["cost"]) for row in rows(tmp_path / "day" / "hours.csv")]
    wanted = [cheapest(45.0, np.array(line.split(",")[1:], float)).fun for line in hours]
    np.testing.assert_allclose(costs, wanted, rtol=1e-9)


def test_an_ml_engineer_trains_what_the_page_shows(fresh, tmp_path):
    (code,) = programs("docs/neural_networks.md")
    (tmp_path / "train.py").write_text(code)
    ran = fresh("train.py")
    assert ran.returncode == 0, ran.stderr
    accuracy, apart, central = ran.stdout.replace("\n ", " ").splitlines()
    last, one_place = (float(line.rstrip("]").split()[-1]) for line in (accuracy, central))
    assert last > 0.95 and abs(last - one_place) < 0.02
    assert float(apart.split()[-1]) < 1e-3


def test_a_researcher_puts_a_method_of_their_own_beside_another_over_seeds(fresh, tmp_path):
    (tmp_path / "own.py").write_text(METHOD)
    ran = fresh("own.py")
    assert ran.returncode == 0, ran.stderr
    own, tracking = map(float, ran.stdout.split())
    assert 1e-9 < own < 0.2 and tracking < 1e-6  # without tracking the run ends beside the optimum
    assert (tmp_path / "contest.pdf").read_bytes().startswith(b"%PDF")
