"""The study's conclusion table: raw numbers, each with the runs that it comes from, also as a JSON result file.

The eleven columns and the label texts (their '-' and 'False' alike) are those of the 2019 notebook, see
study/published.csv. Columns beside them tell what the networks really are and how far the numbers moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from textwrap import indent
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.table.entries import Entry, compare_published, label_row, measure_entry, tell_truth
from pipeline.analysis.table.selection import METRICS, RULES, Selection, SharedSettings, find_images
from pipeline.errors import AnalysisError
from pipeline.images import Images
from pipeline.study import metrics
from pipeline.study.variants import TABLE, Variant, published_variants

FORMAT = "mnist-study conclusion 1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Conclusion:
    """The conclusion table with its evidence: the entries of `rows` by variant and column, in order.

    `runs` holds one row for each run in it: run_id, run_name, experiment, variant, seed, threads, fingerprint,
    weights_sha256, ended (ISO 8601 text, UTC) and the final metrics. `left_out` holds run_id, variant, seed and reason
    of all other runs.
    """

    rule: str
    settings: SharedSettings
    rows: Mapping[str, Mapping[str, Entry]]
    runs: pd.DataFrame
    left_out: pd.DataFrame

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(next(iter(self.rows.values())))

    @property
    def query(self) -> str:
        """The question that chose the runs, in words that can be asked again."""
        conditions = " and ".join(f"{name} = {value!r}" for name, value in self.settings.list_shared().items())
        return f"outcome = 'finished' and {conditions}; {RULES[self.rule]}"

    @property
    def missing(self) -> tuple[str, ...]:
        """Variants that have a row and no run."""
        return tuple(variant for variant in self.rows if variant not in set(self.runs["variant"]))

    @cached_property
    def sha256(self) -> str:
        """Hash of the content: every raw number, its run ids, and what identifies each run; no names, no dates.

        A run that was imported counts under the id that it had in its first store.
        """
        evidence = self.runs.drop(columns=["run_name", "experiment", "ended"])
        first = dict(zip(evidence["run_id"], evidence.pop("origin"), strict=True)) if "origin" in evidence else {}
        evidence["run_id"] = [first.get(run_id, run_id) for run_id in evidence["run_id"]]
        rows = _list_rows(self, lambda entry: {"run_ids": [first.get(run_id, run_id) for run_id in entry.run_ids]})
        dump = partial(json.dumps, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(f'{{"rows":{dump(rows)},"runs":['.encode())
        for place, record in enumerate(list_records(evidence)):  # piece by piece: of many runs the text is long
            digest.update(f"{',' if place else ''}{dump(record)}".encode())
        digest.update(b"]}")
        return digest.hexdigest()

    def trace(self, row: str | int, column: str) -> tuple[str, Entry]:
        """(variant, entry) of one place; `row` is a variant's name or the row's number from 0.

        Raises AnalysisError for a row or column that the table does not have.
        """
        names = list(self.rows)
        variant = names[int(row)] if str(row).isdecimal() and int(row) < len(names) else str(row)
        if variant not in names:
            raise AnalysisError(
                f'"{row}" is not a row of this table; choose 0 to {len(names) - 1} or {", ".join(names)}'
            )
        if column not in self.columns:
            raise AnalysisError(f'"{column}" is not a column of this table; choose one of {", ".join(self.columns)}')
        return variant, self.rows[variant][column]


def conclude(
    selection: Selection,
    *,
    rows: Sequence[Variant] | None = None,
    truth: bool = False,
    published: bool = False,
    controls: bool = False,
) -> Conclusion:
    """Build the conclusion table: the 14 published rows in their order, whether or not they have a run.

    `rows` are those of an experiment with variants of its own, which then stand there instead.
    `truth` adds what the networks really hold, the honest gap and the seconds per epoch; `published` adds the
    notebook's numbers and the difference to them; `controls` adds the five control rows below.
    Raises AnalysisError when none of the chosen runs has a row.
    """
    variants = rows if rows is not None else TABLE if controls else published_variants()
    shown = selection.chosen["variant"].isin([variant.name for variant in variants])
    runs = selection.chosen[shown]
    runs = runs.drop(columns=[name for name in metrics.LATER if name in runs and runs[name].isna().all()])
    if runs.empty:
        raise AnalysisError(
            f"no run to compare: none of {len(selection.left_out) + len(selection.chosen)} is finished, has the "
            "settings asked for and a row in the table; train a variant, or ask for the settings of the newest run"
        )
    images = find_images(runs) if truth else None
    unshown = selection.chosen.loc[~shown, ["run_id", "variant", "seed"]].assign(reason="control: ask for the controls")
    left_out = pd.concat([selection.left_out, unshown], ignore_index=True)
    return Conclusion(
        rule=selection.rule,
        settings=selection.settings,
        rows={
            variant.name: _fill_row(variant, runs[runs["variant"] == variant.name], images, published)
            for variant in variants
        },
        runs=_keep_evidence(runs),
        left_out=left_out,
    )


def _fill_row(variant: Variant, own: pd.DataFrame, images: Images | None, published: bool) -> Mapping[str, Entry]:
    """The row of a variant by its own runs, with the truth if its `images` are given."""
    entries = label_row(variant) | {column: measure_entry(own, metric) for column, metric in METRICS.items()}
    if images:
        entries |= tell_truth(variant, own, images)
    if published:
        entries |= compare_published(variant, entries)
    return entries


def list_records(frame: pd.DataFrame) -> Iterator[dict[str, object]]:
    """The rows of a frame as plain Python values that JSON can hold; None for a missing number."""
    names = list(map(str, frame))
    for row in frame.itertuples(index=False, name=None):  # nan and NaT are not equal to themselves
        yield {name: None if value != value else value for name, value in zip(names, row, strict=True)}


def _keep_evidence(runs: pd.DataFrame) -> pd.DataFrame:
    """The columns of the chosen runs that identify them and carry their final numbers."""
    names = ["run_id", "run_name", "experiment", "variant", "seed", "threads", "fingerprint", "weights_sha256", "ended"]
    finals = [column for column in runs.columns if column.startswith("final/")]
    origin = runs["origin"].where(runs["origin"] != "", runs["run_id"])
    evidence = runs[names].assign(ended=runs["ended"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"), origin=origin)
    return evidence.join(runs[finals].replace([np.inf, -np.inf], np.nan)).reset_index(drop=True)


def dump_conclusion(conclusion: Conclusion) -> str:
    """`conclusion` as JSON text, each number with its run ids, n and interval, and each run with its final metrics."""
    document = {
        "format": FORMAT,
        "sha256": conclusion.sha256,
        "query": conclusion.query,
        "rule": conclusion.rule,
        "settings": conclusion.settings.list_shared(),
        "columns": conclusion.columns,
        "rows": _list_rows(conclusion, lambda entry: {"n": len(entry.run_ids)}),
        "runs": [],
        "left_out": list(list_records(conclusion.left_out)),
    }
    dump = partial(json.dumps, indent=1, ensure_ascii=False, allow_nan=False)
    head, tail = dump(document).split('"runs": []', 1)
    # one by one: of many runs they would take much memory at once
    runs = ",\n".join(indent(dump(record), "  ") for record in list_records(conclusion.runs))
    return f'{head}"runs": [\n{runs}\n ]{tail}\n'


def _list_rows(conclusion: Conclusion, more: Callable[[Entry], dict[str, object]]) -> list[dict[str, object]]:
    """The rows as they are kept, each entry with `more`."""
    return [
        {"variant": variant, "entries": {column: asdict(entry) | more(entry) for column, entry in entries.items()}}
        for variant, entries in conclusion.rows.items()
    ]


def load_conclusion(text: str) -> Conclusion:
    """The conclusion in the text of a result file; raises AnalysisError where the text is damaged or was changed."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT!r}")
        conclusion = _restore(document)
        if conclusion.sha256 != document["sha256"]:
            raise ValueError("its numbers do not have the hash it names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AnalysisError(f"not a usable result file ({error}); write it again with compare --format json") from error
    return conclusion


def _restore(document: dict[str, Any]) -> Conclusion:
    rows: dict[str, dict[str, Entry]] = {}
    for row in document["rows"]:
        for column in document["columns"]:
            fields = {name: value for name, value in row["entries"][column].items() if name != "n"}
            entry = Entry(**(fields | {"run_ids": tuple(fields["run_ids"])}))
            rows.setdefault(row["variant"], {})[column] = entry
    runs = pd.DataFrame(document["runs"])
    finals = [name for name in runs.columns if name.startswith("final/")]
    return Conclusion(
        rule=document["rule"],
        settings=SharedSettings(**document["settings"]),
        rows=rows,
        runs=runs.astype(dict.fromkeys(finals, float)),
        left_out=pd.DataFrame(document["left_out"], columns=["run_id", "variant", "seed", "reason"]),
    )
