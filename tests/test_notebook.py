"""The notebook of docs/, cell by cell, in a kernel of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_notebook_goes_from_a_first_run_to_a_verdict(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "notebook.ipynb", project / "docs")
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(project))
    notebook = nbformat.read(project / "docs" / "notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": project / "docs"}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) <= 10
    outputs = [output for cell in cells for output in cell.outputs]
    said = "".join(output.get("text", "") for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert "10 of 10 cells trained" in said
    assert "gap: SUPPORTED" in said or "gap: INCONCLUSIVE" in said, said
    assert (project / "my_study.html").stat().st_size > 100_000
