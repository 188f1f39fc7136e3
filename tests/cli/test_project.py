"""What is stated in several files is the same in all of them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import click
import pytest
import yaml
from packaging.requirements import Requirement

from pipeline.cli.main import main
from tests.conftest import ROOT, call

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = PROJECT["dependencies"]


def test_conda_and_python_env_name_what_pyproject_names() -> None:
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    assert conda[-1] == {"pip": DEPENDENCIES}
    assert conda[0] == "python" + PROJECT["requires-python"]
    assert yaml.safe_load((ROOT / "python_env.yaml").read_text()) == {"dependencies": DEPENDENCIES}


find_packages = cache(metadata.packages_distributions)


def find_undeclared(folder: str, requirements: list[str]) -> set[str]:
    """The packages that the files of a folder import and that no requirement names."""
    declared = {re.sub("[-_.]+", "-", Requirement(line).name).lower() for line in requirements}
    packages = find_packages()
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found |= {name.partition(".")[0] for name in names}
    foreign = found - sys.stdlib_module_names - {"pipeline", "tests", "benchmarks"}
    names = {name: {found.lower().replace("_", "-") for found in packages.get(name, [name])} for name in foreign}
    return {name for name, distributions in names.items() if not distributions & declared}


def test_every_package_that_is_imported_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    assert find_undeclared("pipeline", [*DEPENDENCIES, *extras["pdf"]]) == set()
    everything = [*DEPENDENCIES, *(line for extra in extras.values() for line in extra)]
    assert find_undeclared("tests", everything) == set()
    assert find_undeclared("benchmarks", everything) == {"torch"}, "a peer, where it is there"
    assert "sqlalchemy" in find_undeclared("pipeline", [line for line in everything if "sqlalchemy" not in line])


def test_no_room_has_more_than_thirteen_files() -> None:
    rooms = {path.parent for path in (ROOT / "pipeline").rglob("*.py")}
    counts = {room: len([path for path in room.glob("*.py") if path.name != "__init__.py"]) for room in rooms}
    assert {room: count for room, count in counts.items() if count > 13} == {}


ENTRIES = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_point_has_the_names_and_defaults_of_its_command(entry: str) -> None:
    words = ENTRIES[entry]["command"].split()
    assert words[:4] == ["exec", "python", "-m", "pipeline"]
    options = {option.opts[0].removeprefix("--"): option for option in main.commands[words[4]].params}
    parameters = ENTRIES[entry].get("parameters", {})
    named = [f"--{name}={{{name}}}" for name in parameters if isinstance(options[name], click.Option)]
    placed = [f"{{{name}}}" for name in parameters if isinstance(options[name], click.Argument)]
    assert words[5:] == [*named, *(["--", *placed] if placed else [])]
    for name, parameter in parameters.items():
        if not options[name].required:
            assert str(parameter["default"]) == str(options[name].default)
    if entry == "main":
        assert set(parameters) == set(options), "MLproject: a parameter for each option, and a word of its command"


DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def test_the_documents_name_every_command_and_no_other() -> None:
    named = {name for path in DOCUMENTS for name in re.findall(r"python -m pipeline ([a-z]+)", path.read_text())}
    assert named == {name for name, command in main.commands.items() if not command.hidden}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_outputs_in_documents_are_what_the_commands_print(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unprobed: None
) -> None:
    written = "".join(path.read_text() for path in DOCUMENTS)
    shown = re.findall(r"```console\n\$ python -m pipeline (.*?)\n(.*?)```", written, re.DOTALL)
    groups = {name: getattr(command, "commands", {}) for name, command in main.commands.items() if not command.hidden}
    every = [*groups, *(f"{name} {part}" for name, parts in groups.items() for part in parts)]
    assert {f"{name} --help" for name in every} <= {command for command, _ in shown}
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for command, output in shown:
        printed = call(*command.split()).output
        said, wanted = (re.sub(r"about .* with", "about so long with", text) for text in (printed, output))
        assert said == wanted, f"docs: what `python -m pipeline {command}` prints"


def test_the_readmes_run_looks_like_a_run(trained: tuple[str, str]) -> None:
    command = "$ mlflow run . --env-manager local -P arch=conv2_3x3 -P epochs=3\n"
    shown = (ROOT / "README.md").read_text().partition(command)[2].partition("```")[0].splitlines()

    def blur(line: str) -> str:
        line = re.sub(r"conv2_3x3\w*|mnist|data-[0-9a-f]{12}", "NAME", line)
        return re.sub(r"[0-9a-f]{32,64}|[+-]?\d+(?:\.\d+)?", "0", line)

    printed = list(dict.fromkeys(map(blur, trained[1].splitlines())))
    assert list(dict.fromkeys(map(blur, shown))) == printed


def test_the_installed_program_is_the_command_line() -> None:
    (program,) = metadata.entry_points(group="console_scripts", name="mnist-study")
    assert program.load() is main
