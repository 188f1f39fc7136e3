"""The notebook of docs/ executed in a copy of the project; `python -m tests.rig.notebook` stores its outputs there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.conftest import ROOT, copy_project

NOTEBOOK = Path("docs") / "notebook.ipynb"


def execute(project: Path) -> Any:
    """The notebook with its outputs, executed in this copy of the project."""
    (project / NOTEBOOK.parent).mkdir()
    shutil.copy(ROOT / NOTEBOOK, project / NOTEBOOK)
    notebook = nbformat.read(project / NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": project / NOTEBOOK.parent}}).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            clean(cell, project)
    return notebook


def clean(cell: Any, project: Path) -> None:
    """Leave of a cell's outputs what a reader wants: no log, time, empty line of progress or path of this machine.

    What was printed piece by piece becomes one text, as the pieces differ from run to run.
    """
    cell.metadata.pop("execution", None)
    printed = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    shown = [output for output in cell.outputs if output.output_type == "execute_result"]
    printed = printed.replace(f"{project.resolve()}\n", "").replace(f"{project}\n", "")
    cell.outputs = [nbformat.v4.new_output("stream", text=printed), *shown] if printed else shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder))
        os.environ["PYTHONPATH"] = folder
        nbformat.write(execute(Path(folder)), ROOT / NOTEBOOK)
