"""Every notebook runs from its first cell to its last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Where kernels find what others compiled: seven processes that would compile many programs anew."""
    return {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {quick_emitters()}".strip(),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("programs")),
        "JAX_ENABLE_COMPILATION_CACHE": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def quick_emitters():
    """The flag by which XLA compiles in two thirds of the time, or none: an XLA that does not know it ends the process.

    Compiling is most of a notebook's time, and no test compares its numbers. The fourth sets flags of its own.
    """
    flag = "--xla_cpu_use_fusion_emitters=false"
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    known = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flag}, capture_output=True)
    return flag if known.returncode == 0 else ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, programs, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    for name, value in programs.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells), "its outputs are not committed"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
