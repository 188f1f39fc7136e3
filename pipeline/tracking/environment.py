"""What surrounds a run: versions, machine, process and source, as plain facts and without secrets."""

from __future__ import annotations

import functools
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import psutil

PACKAGES = ("tensorflow", "keras", "mlflow", "numpy", "pandas", "matplotlib", "seaborn")
GIT_SECONDS = 20
CLOCK_SECONDS = 1
HEARTBEAT_LIMIT = timedelta(hours=1)
NEVER = "1970-01-01T00:00:00+00:00"


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


def identify_process() -> dict[str, str]:
    """What tells later whether this process still lives: host, boot, pid and the process's own start time."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return {
        "host": socket.gethostname(),
        "boot_id": boot.read_text().strip() if boot.is_file() else "",
        "pid": str(os.getpid()),
        "pid_started": f"{_read_start(psutil.Process()):.2f}",
    }


def _read_start(process: psutil.Process) -> float:
    """Seconds from the machine's boot to the process's start, which setting the clock does not change."""
    return float(process.create_time() - psutil.boot_time())


def is_alive(tags: Mapping[str, str], limit: timedelta = HEARTBEAT_LIMIT) -> bool:
    """Whether the process that identify_process described in a run's tags still lives, as far as can be told from here.

    Of another host only the heartbeat is known: one within `limit` counts as alive.
    """
    here = identify_process()
    if tags.get("host") != here["host"]:
        heartbeat = datetime.fromisoformat(tags.get("heartbeat", NEVER))
        return datetime.now(UTC) - heartbeat < limit
    if tags.get("boot_id") != here["boot_id"]:
        return False
    try:
        process = psutil.Process(int(tags["pid"]))
        same = abs(_read_start(process) - float(tags["pid_started"])) < CLOCK_SECONDS
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def read_source(root: Path) -> tuple[str, str, str]:
    """(commit, changed and untracked files, diff of the tracked ones) of the git checkout; empty texts outside one."""
    commit = _git(root, "rev-parse", "HEAD").strip()
    if not commit:
        return "", "", ""
    return commit, _git(root, "status", "--porcelain"), _git(root, "diff", "HEAD", "--no-color", "--no-ext-diff")


def _git(root: Path, *arguments: str) -> str:
    """What git prints, or "" where it cannot answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")
