"""The tutorial's lines, one after the other, as they are typed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_every_line_of_the_tutorial_works(project: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    shutil.copytree(ROOT / "experiments", project / "experiments")
    lines = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL)
    output = ""
    for line in "".join(lines).splitlines():
        process = start("bash", "-c", line)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, f"{line}\n{said}"
        output += said
    assert "2/2  " in output
    assert "healthy: " in output
    assert (project / "table.md").read_text().count("(no run)") == 12 * 4
    assert "<html" in (project / "report.html").read_text()
    assert re.search(r"\d \(\d+\.\d %\) +digit\.png ", output), output[-500:]
