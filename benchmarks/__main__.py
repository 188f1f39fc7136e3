"""Run the benchmarks, each as a process of its own, and keep what they print in RESULTS.md.

pip install -r benchmarks/requirements.txt
python -m benchmarks
python -m benchmarks --only scale --only fixed_cost
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import click

FOLDER = Path(__file__).parent
COMMANDS = {
    "training": ("training",),
    "study_epochs": ("training", "--epochs=25", "--variant=conv2_3x3", "--variant=conv5_3x3_reg", "--without=XLA)"),
    "whole_epochs": ("training", "--images=60000", "--variant=conv2_3x3", "--without=XLA)"),
    **{name: (name,) for name in ("choices", "study", "throughput", "fixed_cost", "scale", "pictures")},
}
"""The sections, each with the module that measures it and its options."""
PACKAGES = ("tensorflow", "keras", "mlflow", "numpy", "torch")
SECTION = re.compile(r"^## (\w+)\n", re.MULTILINE)


def describe_machine() -> str:
    """Processor, cores and memory."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB; {platform.system()}"


def describe_versions() -> str:
    """Versions of Python and of what computes, where it is installed."""
    installed = {dist.name.lower(): dist.version for dist in metadata.distributions() if dist.name}
    found = {"python": platform.python_version(), **{name: installed[name] for name in PACKAGES if name in installed}}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def read_sections(path: Path) -> dict[str, str]:
    """The sections of a results file by their names; none where there is no file."""
    parts = SECTION.split(path.read_text(encoding="utf-8")) if path.is_file() else [""]
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def run_benchmark(name: str, options: Sequence[str]) -> str:
    """What a benchmark prints, under when it was measured and with what."""
    began = datetime.now(UTC)
    module, *usual = COMMANDS[name]
    command = [sys.executable, "-m", f"benchmarks.{module}", *usual, *options]
    done = subprocess.run(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise click.ClickException(f"benchmarks.{name} ended with exit code {done.returncode}; nothing of it is kept")
    return f"*Measured {began:%Y-%m-%d %H:%M} UTC, {describe_versions()}.*\n\n{done.stdout.strip()}"


def write_results(path: Path, sections: Mapping[str, str]) -> None:
    """The whole file: the sections in their fixed order."""
    head = (
        "# Results of the benchmarks\n\n`python -m benchmarks` measured them and wrote this file; each section says "
        "what is compared. Numbers are medians, with least and greatest. [FINDINGS.md](FINDINGS.md) says what they "
        f"mean.\n\n- date: {datetime.now(UTC):%Y-%m-%d}\n- hardware: {describe_machine()}\n"
        f"- versions: {describe_versions()}\n"
    )
    texts = [f"\n## {name}\n\n{sections[name]}\n" for name in COMMANDS if name in sections]
    path.write_text(head + "".join(texts), encoding="utf-8")


@click.command()
@click.option(
    "--only", type=click.Choice(list(COMMANDS)), multiple=True, help="This one alone; may be given several times."
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=FOLDER / "RESULTS.md")
@click.argument("options", nargs=-1)
def main(only: tuple[str, ...], output: Path, options: tuple[str, ...]) -> None:
    """Run all benchmarks or some; OPTIONS, behind a --, are those of a single one.

    Sections that are not measured anew are kept, unless they are of another machine.
    """
    if options and len(only) != 1:
        raise click.UsageError("options need one --only, whose options they are")
    sections = read_sections(output)
    if sections and describe_machine() not in output.read_text(encoding="utf-8"):
        raise click.ClickException(f"{output} was measured on another machine; move it away first")
    for name in (name for name in COMMANDS if not only or name in only):
        click.echo(f"{datetime.now(UTC):%H:%M:%S} {name}", err=True)
        sections[name] = run_benchmark(name, options)
        write_results(output, sections)  # now, so that a later failure loses nothing


if __name__ == "__main__":
    main()
