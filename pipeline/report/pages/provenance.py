"""Where the runs of a comparison come from, and what they ran on: each fact with how many runs have each value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.study.facts import Provenance

FACTS = {
    "python": "Python",
    "platform": "system",
    "cpu": "processor",
    "cores": "cores",
    "memory_gib": "memory (GiB)",
    "threads": "threads",
    "image_data_format": "image data format",
}
UNRECORDED, ABSENT = "not recorded", "not installed"
Values = list[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where all runs of a comparison come from, in its order.

    `experiment` is the name of the MLflow experiment, `again` the EXPERIMENT that was asked for, `frozen_at` when the
    claims were frozen (ISO 8601, UTC; "" if they never were), `link` the pattern of a run's address (`{run_id}`), ""
    where no server's address is known.
    """

    experiment: str
    runs: tuple[Provenance, ...]
    again: str = ""
    description: str = ""
    frozen_at: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The facts of all runs: machine, main versions, every package in which they differ, named in `differing`.

    Each fact has its values with their number of runs, the most frequent first. `packages` are those that are the same
    in all, as pip freeze lists them; `recorded` runs had an environment.
    """

    facts: Mapping[str, Values]
    packages: tuple[str, ...]
    differing: tuple[str, ...]
    recorded: int


def describe_surroundings(runs: Sequence[Provenance]) -> Surroundings:
    """The environments of the runs, fact by fact; runs that recorded none are counted and otherwise left out."""
    times = Counter(id(run.environment) for run in runs if run.environment)  # runs of a sweep share one object
    found = list({id(run.environment): run.environment for run in runs if run.environment}.values())

    def count(tables: Sequence[Mapping[str, str]], absent: str) -> dict[str, Values]:
        """The values of every name that occurs in the tables, in order of first sight."""
        counts = {name: Counter[str]() for table in tables for name in table}
        for name, values in counts.items():
            for table, number in zip(tables, times.values(), strict=True):
                values[table.get(name, absent)] += number
        return {name: values.most_common() for name, values in counts.items()}

    machines = [{label: str(each.get(name, UNRECORDED)) for name, label in FACTS.items()} for each in found]
    versions = [_read_versions(each.get("versions")) for each in found]
    packages = count([_split_packages(each.get("packages")) for each in found], ABSENT)
    facts = count(machines, UNRECORDED) | count(versions, UNRECORDED)
    facts |= {name: values for name, values in packages.items() if len(values) > 1 and name not in facts}
    return Surroundings(
        facts=facts,
        packages=tuple(f"{name}=={values[0][0]}" for name, values in packages.items() if len(values) == 1),
        differing=tuple(name for name, values in facts.items() if len(values) > 1),
        recorded=times.total(),
    )


def _read_versions(value: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _split_packages(value: object) -> dict[str, str]:
    """Version by package, from lines as `name==1.0`."""
    lines = map(str, value) if isinstance(value, list) else ()
    return {name: version for name, _, version in (line.partition("==") for line in lines)}
