"""The git checkout that a run's code is from: this project's own repository alone, and only what lies in its folder."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipeline.plain import hide_secrets
from pipeline.study.tags import COMMIT, REPOSITORY

SECONDS = 20
PROJECT = "MLproject"
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables that make git look at another repository than the one of the folder."""
TAGS = (COMMIT, REPOSITORY, "mlflow.source.git.branch", "mlflow.gitRepoURL", "mlflow.gitBranchName")
"""What MLflow says of the repository that it finds, be it another project's around this one."""
logger = logging.getLogger(__name__)


def read_source(root: Path) -> tuple[str, str, str]:
    """(commit, changed and untracked files, diff of the tracked ones) below the project's folder.

    Empty texts outside a repository, and in one that does not track this project: an archive that was unpacked inside
    of another project's clone says nothing of that.
    """
    if not is_own_repository(root):
        return "", "", ""
    changes = _git(root, "status", "--porcelain", "--", ".")
    return (
        _git(root, "rev-parse", "HEAD").strip(),
        changes,
        _git(root, "diff", "HEAD", "--no-color", "--no-ext-diff", "--", "."),
    )


def is_own_repository(root: Path) -> bool:
    """Whether the git repository around the project's folder, if there is one, tracks the project."""
    return bool(_git(root, "ls-files", "--", PROJECT).strip())


def correct_tags(tags: Mapping[str, str], root: Path) -> dict[str, str]:
    """Those of MLflow's tags that name the repository, without secrets; "" for each that is of another project's."""
    found = {name: tags[name] for name in TAGS if name in tags}
    own = bool(found) and is_own_repository(root)
    return {name: hide_secrets(value) if own else "" for name, value in found.items()}


def _git(root: Path, *arguments: str) -> str:
    """The output of git, "" without git or a repository; logs a line if git refuses or does not answer."""
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            timeout=SECONDS,
            env={**environment, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        logger.warning("git did not answer within %d s; the run has no commit and no diff", SECONDS)
        return ""
    except OSError:
        return ""
    if done.returncode and b"dubious ownership" in done.stderr:
        logger.warning(
            "git does not trust this folder (dubious ownership), so the run has no commit and no diff; "
            "if it is yours: git config --global --add safe.directory '%s'",
            root,
        )
    return "" if done.returncode else done.stdout.decode(errors="replace")
