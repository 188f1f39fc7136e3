"""Where a run comes from: machine, packages and git checkout, described when it is recorded, read back for a report."""

from __future__ import annotations

import functools
import json
import logging
import os
import platform
import shlex
import subprocess
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from pipeline.errors import StoreError
from pipeline.plain import hide_secrets
from pipeline.study.facts import Provenance
from pipeline.study.settings import RULES, Settings
from pipeline.study.tags import COMMIT, REPOSITORY
from pipeline.tracking.columns import SETTINGS
from pipeline.tracking.mlflow_internals import BATCH, open_artifacts, read_artifact
from pipeline.tracking.runs import read_origins
from pipeline.tracking.store import STORE_ERRORS, Store, project_root, store_errors
from pipeline.tracking.values import escape, read_count

PACKAGES = ("tensorflow", "keras", "mlflow", "numpy", "pandas", "matplotlib", "seaborn")
REPORT = "report.html"
ENVIRONMENT = "environment.json"
WEIGHTS = "figures/weights.png"
UNREADABLE = (*STORE_ERRORS, OSError, ValueError)
GIT_SECONDS = 20
PROJECT = "MLproject"
OTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables that make git look at another repository than the one of the folder."""
GIT_TAGS = (COMMIT, REPOSITORY, "mlflow.source.git.branch", "mlflow.gitRepoURL", "mlflow.gitBranchName")
"""What MLflow says of the repository that it finds, be it another project's around this one."""
logger = logging.getLogger(__name__)


def describe_environment(runtime: Mapping[str, object]) -> dict[str, object]:
    """Versions, machine, the installed packages (as pip freeze lists them), and `runtime` as the training says it."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": name_cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        **runtime,
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "packages": list(list_packages()),
    }


@functools.cache
def list_packages() -> tuple[str, ...]:
    """The installed packages, each as name==version."""
    installed = {dist.name: dist.version for dist in metadata.distributions() if dist.name}
    return tuple(sorted((f"{name}=={version}" for name, version in installed.items()), key=str.lower))


@functools.cache
def read_cpuinfo() -> Mapping[str, str]:
    """What Linux says of the first processor, by name; nothing elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    first = cpuinfo.read_text().partition("\n\n")[0] if cpuinfo.is_file() else ""
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def name_cpu() -> str:
    """The processor's model name, with family and model where Linux tells them: some names say little."""
    facts = read_cpuinfo()
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"


def read_provenance(
    store: Store, experiment_id: str, runs: pd.DataFrame, pictured: Collection[str]
) -> tuple[Provenance, ...]:
    """Where `runs` (tracking.runs.read_runs) come from, in their order; only those `pictured` with their figure.

    A file that a run has not, or that is damaged or out of reach, is left empty. Raises StoreError where the store
    itself does not answer, or no longer knows a run.
    """
    origins = read_origins(store, experiment_id)
    if gone := set(runs["run_id"]) - set(origins.index):
        raise StoreError(f"the run {min(gone)} has been deleted meanwhile; ask again")
    rows = runs[["run_id", "variant", "started", "ended", *SETTINGS]].join(origins, on="run_id")
    return tuple(
        _describe_run(row, row["run_id"] in pictured)
        for first in range(0, len(rows), BATCH)
        for row in rows.iloc[first : first + BATCH].to_dict("records")
    )


def record_report(store: Store, run_id: str, page: str) -> None:
    """Log the report on the comparison's run, so that MLflow's UI shows it; raises StoreError."""
    with store_errors(store, "refused the report"):
        store.client.log_text(run_id, page, REPORT)


def _describe_run(row: Mapping[Any, Any], pictured: bool) -> Provenance:
    """Where one run comes from, by its row of `read_runs` and `read_origins` and by its files."""
    given: dict[str, Any] = {name: RULES[name].kind(row[name]) for name in SETTINGS}
    picture = _read_file(row["artifact_uri"], WEIGHTS) if pictured else b""
    return Provenance(
        run_id=row["run_id"],
        variant=row["variant"],
        settings=Settings(**given, data=_read_data(row)),
        data_name=row["data_name"] or "",
        commit=row["commit"] or "",
        dirty=row["dirty"] == "True" if row["dirty"] else None,
        repository=row["repository"] or "",
        attempts=read_count(row["attempts"]) or 1,
        seconds=None if pd.isna(row["ended"]) else (row["ended"] - row["started"]).total_seconds(),
        environment=_parse_table(_read_file(row["artifact_uri"], ENVIRONMENT)),
        weights=picture if picture.startswith(b"\x89PNG\r\n\x1a\n") else b"",
    )


def _read_data(row: Mapping[Any, Any]) -> str:
    """What a run says of its data: the launcher logs what its shell is to read, anybody may log anything."""
    said = str(row["data"] or "")
    if row["source_type"] == "PROJECT":
        with suppress(ValueError):  # an apostrophe that is not closed
            return " ".join(shlex.split(said))
    return said


def _read_file(artifact_uri: str, path: str) -> bytes:
    """The content of an artifact, empty if the run has none or it cannot be reached."""
    folder = path.rpartition("/")[0]
    with suppress(*UNREADABLE):  # runs of another machine: their files are where this one cannot look
        files = open_artifacts(artifact_uri)
        here = hasattr(files, "artifact_dir")  # elsewhere MLflow asks again and again for what is missing
        if here or path in {file.path for file in files.list_artifacts(folder or None)}:
            return read_artifact(artifact_uri, path)
    return b""


@functools.lru_cache(maxsize=8)  # the runs of a sweep have the same one
def _parse_table(content: bytes) -> dict[str, object]:
    with suppress(ValueError):
        if isinstance(table := json.loads(content), dict):
            return {name: escape(value) for name, value in table.items()}
    return {}


def read_source() -> tuple[str, str, str]:
    """(commit, changed and untracked files, diff of the tracked ones) below the project's folder.

    Empty texts outside a repository, and in one that does not track this project: an archive that was unpacked inside
    of another project's clone says nothing of that.
    """
    if not _is_own_repository():
        return "", "", ""
    commit = _git("rev-parse", "HEAD").strip()
    changes = _git("status", "--porcelain", "--", ".")
    return commit, changes, _git("diff", "HEAD", "--no-color", "--no-ext-diff", "--", ".")


def _is_own_repository() -> bool:
    """Whether the git repository around the project's folder, if there is one, tracks the project."""
    return bool(_git("ls-files", "--", PROJECT).strip())


def correct_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of MLflow's tags that name the repository, without secrets; "" for each that is of another project's."""
    found = {name: tags[name] for name in GIT_TAGS if name in tags}
    own = bool(found) and _is_own_repository()
    return {name: hide_secrets(value) if own else "" for name, value in found.items()}


def _git(*arguments: str) -> str:
    """The output of git, "" without git or a repository; logs a line if git refuses or does not answer."""
    root = project_root()
    environment = {name: value for name, value in os.environ.items() if name not in OTHER_REPOSITORY}
    environment["LC_ALL"] = "C"
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        logger.warning("git did not answer within %d s; the run has no commit and no diff", GIT_SECONDS)
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
