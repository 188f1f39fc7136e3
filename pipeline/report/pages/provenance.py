"""Where the runs of a comparison come from, and what they ran on: each fact with how many runs have each value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
class Fact:
    """One thing that a run recorded of its surroundings; `values` holds each value with its number of runs."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The facts of all runs: machine, main versions, every package in which they differ, named in `differing`.

    `packages` are those that are the same in all, as pip freeze lists them; `recorded` of `runs` had an environment.
    """

    facts: tuple[Fact, ...]
    packages: tuple[str, ...]
    differing: tuple[str, ...]
    recorded: int
    runs: int


def describe_surroundings(runs: Sequence[Provenance]) -> Surroundings:
    """The environments of the runs, fact by fact; runs that recorded none are counted and otherwise left out."""
    times = Counter(id(run.environment) for run in runs if run.environment)  # runs of a sweep share one object
    found = list({id(run.environment): run.environment for run in runs if run.environment}.values())
    count = partial(_count, numbers=list(times.values()))
    facts = [count(label, [str(each.get(name, UNRECORDED)) for each in found]) for name, label in FACTS.items()]
    versions = [_read_mapping(each.get("versions")) for each in found]
    facts += [count(name, [each.get(name, UNRECORDED) for each in versions]) for name in _list_names(versions)]
    installed = [_split_packages(each.get("packages")) for each in found]
    packages = [count(name, [each.get(name, ABSENT) for each in installed]) for name in _list_names(installed)]
    facts += [fact for fact in packages if len(fact.values) > 1 and fact.name not in {known.name for known in facts}]
    return Surroundings(
        facts=tuple(facts) if found else (),
        packages=tuple(f"{fact.name}=={fact.values[0][0]}" for fact in packages if len(fact.values) == 1),
        differing=tuple(fact.name for fact in facts if len(fact.values) > 1),
        recorded=times.total(),
        runs=len(runs),
    )


def _count(name: str, values: Sequence[str], numbers: Sequence[int]) -> Fact:
    """The values with their number of runs, the most frequent first."""
    counts: Counter[str] = Counter()
    for value, number in zip(values, numbers, strict=True):
        counts[value] += number
    return Fact(name=name, values=tuple(counts.most_common()))


def _list_names(tables: Sequence[Mapping[str, str]]) -> list[str]:
    """Every name that occurs, in order of first sight."""
    return list(dict.fromkeys(name for table in tables for name in table))


def _read_mapping(value: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _split_packages(value: object) -> dict[str, str]:
    """Version by package, from lines as `name==1.0`."""
    lines = map(str, value) if isinstance(value, list) else ()
    return {name: version for name, _, version in (line.partition("==") for line in lines)}
