"""The program of the README runs as printed and does what the README says."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
