"""The notebook of docs/, cell by cell, in a kernel of its own; and its copy in the repository, with outputs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.conftest import ROOT
from tests.rig.notebook import NOTEBOOK, execute

PATH = re.compile(r"(?<![\w.:<])/(?:[\w.-]+/)+|[A-Z]:\\\\|file:")
STORED = ROOT / NOTEBOOK


def list_kinds(notebook: Any) -> list[list[str]]:
    """What kinds of output each cell of code has."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[kind for output in cell.outputs for kind in sorted(output.get("data", ["text"]))] for cell in cells]


@pytest.mark.slow
def test_the_notebook_goes_from_a_first_run_to_a_verdict(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(project))
    notebook = execute(project)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) <= 10
    said = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "10 of 10 cells trained" in said
    assert "gap: SUPPORTED" in said or "gap: INCONCLUSIVE" in said, said
    assert (project / "my_study.html").stat().st_size > 100_000
    assert list_kinds(notebook) == list_kinds(nbformat.read(STORED, as_version=4))


def test_the_repository_shows_the_outputs_and_no_path_of_a_machine() -> None:
    """They are stored by `python -m tests.rig.notebook`."""
    notebook = nbformat.read(STORED, as_version=4)
    kinds = list_kinds(notebook)
    assert all(kinds[1:])  # the first cell imports
    assert sum(each.count("image/png") for each in kinds) == 2
    for cell in notebook.cells:
        assert not {"execution"} & set(cell.metadata)
        for output in cell.get("outputs", []):
            texts = {kind: text for kind, text in output.get("data", {}).items() if kind != "image/png"}
            found = PATH.search(json.dumps([output.get("text", ""), texts]))
            assert not found, f"{found[0]!r} is a path of a machine"
    assert STORED.stat().st_size < 300_000
