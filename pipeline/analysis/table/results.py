"""The conclusion as a JSON result file: raw numbers with their evidence, read back without loss."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from textwrap import indent
from typing import Any

import pandas as pd

from pipeline.analysis.table.conclusion import Conclusion, Row, list_records
from pipeline.analysis.table.entries import Entry
from pipeline.analysis.table.selection import SharedSettings
from pipeline.errors import AnalysisError

FORMAT = "mnist-study conclusion 1"


def dump_conclusion(conclusion: Conclusion) -> str:
    """`conclusion` as JSON text, each number with its run ids, n and interval, and each run with its final metrics."""
    rows = [
        {
            "variant": row.variant,
            "entries": {column: asdict(entry) | {"n": len(entry.run_ids)} for column, entry in row.entries.items()},
        }
        for row in conclusion.rows
    ]
    document = {
        "format": FORMAT,
        "sha256": conclusion.sha256,
        "query": conclusion.query,
        "rule": conclusion.rule,
        "settings": conclusion.settings.list_shared(),
        "columns": conclusion.columns,
        "rows": rows,
        "runs": [],
        "left_out": list(list_records(conclusion.left_out)),
    }
    dump = partial(json.dumps, indent=1, ensure_ascii=False, allow_nan=False)
    head, tail = dump(document).split('"runs": []', 1)
    # one by one: of many runs they would take much memory at once
    runs = ",\n".join(indent(dump(record), "  ") for record in list_records(conclusion.runs))
    return f'{head}"runs": [\n{runs}\n ]{tail}\n'


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
    """The conclusion that a parsed document holds."""
    rows = []
    for row in document["rows"]:
        entries = {}
        for column in document["columns"]:
            fields = {name: value for name, value in row["entries"][column].items() if name != "n"}
            entries[column] = Entry(**(fields | {"run_ids": tuple(fields["run_ids"])}))
        rows.append(Row(variant=row["variant"], entries=entries))
    runs = pd.DataFrame(document["runs"])
    metrics = [name for name in runs.columns if name.startswith("final/")]
    return Conclusion(
        rule=document["rule"],
        settings=SharedSettings(**document["settings"]),
        rows=tuple(rows),
        runs=runs.astype(dict.fromkeys(metrics, float)),
        left_out=pd.DataFrame(document["left_out"], columns=["run_id", "variant", "seed", "reason"]),
    )
