"""`replay` of a run that was trained here, and of what could stand in a store instead of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.workflows.replay import COMPARED
from tests.conftest import call, copy_database, enter, execute


@pytest.fixture
def database(trained: tuple[str, str], store_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store with the trained run, in force."""
    copy_database(store_folder / "mlflow.db", tmp_path)
    enter(tmp_path, monkeypatch)
    return tmp_path / "mlflow.db"


def test_what_a_run_did_not_log_is_named_and_the_rest_is_compared(trained: tuple[str, str], database: Path) -> None:
    run_id = trained[0]
    execute(database, "DELETE FROM metrics WHERE run_uuid = ? AND key IN ('gap/notebook', 'test/accuracy')", run_id)
    result = call("replay", "Default", "--variant", "conv2_3x3_reg")
    assert result.stderr.endswith("Not compared, as the run did not log it: test/accuracy, gap/notebook\n")
    assert result.stdout.endswith(
        f"REPEATED bit for bit: conv2_3x3_reg, seed 0, run {run_id}: {len(COMPARED) - 2} metrics of 1 epoch, "
        "on the same type of processor\n"
    )
    assert result.exit_code == 0
    execute(database, "UPDATE metrics SET value = 0.5 WHERE run_uuid = ? AND key = 'test/loss'", run_id)
    result = call("replay", "Default", "--variant", "conv2_3x3_reg")
    assert result.exit_code == 1
    assert "test/loss of epoch 1 is" in result.stderr
    assert "the run logged 0.5" in result.stderr
