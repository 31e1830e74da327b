"""Every notebook runs from its first cell to its last."""

import os
from pathlib import Path

import pytest

from cojax.app.cli import ONE_KERNEL

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
# It trains for so long that programs which are not optimised take longer than what they spare.
LONG = ("10_training_across_centres",)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.optimised] * (path.stem in LONG)) for path in NOTEBOOKS],
)
def test_a_notebook_runs(path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    # As `docs/faster.md` advises, beside what the tests have.
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} {ONE_KERNEL}")
    notebook = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells), "its outputs are not committed"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    if path.stem.startswith("7"):  # it puts a method of its own through the laws, and only prints how that ended
        assert "the laws hold" in str(notebook)
