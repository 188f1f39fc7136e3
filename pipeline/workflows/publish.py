"""Results as pages of the repository: the notebook's table and the verdicts, from the runs in the store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis.comparison import Comparison
from pipeline.errors import AnalysisError, RunsDamaged, StoreError
from pipeline.report.pages.results import Cost, write_results, write_summary
from pipeline.study import metrics
from pipeline.study.experiment import load_experiment
from pipeline.tracking.provenance import read_provenance
from pipeline.tracking.runs import read_history
from pipeline.workflows.compare import Found, find_comparison

SHOWN = frozenset({"truth", "published"})
BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Pages:
    """The texts of docs/results.md and of the README's block."""

    results: str
    summary: str


def write_pages(table: str, claims: str) -> Pages:
    """The pages from two experiments' files: that of the table, and that of the claims (which may have no run yet)."""
    found = find_comparison(table, "newest", {}, SHOWN)
    cost = _measure_cost(found, table)
    judged, judged_cost = _find_claims(claims)
    return Pages(
        results=write_results(found.comparison, cost, judged, judged_cost),
        summary=write_summary(found.comparison, cost, judged),
    )


def replace_block(path: Path, summary: str) -> None:
    """Write the summary between the marks of a file; raises AnalysisError where they are missing."""
    text = path.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise AnalysisError(f"{path} has no line <!-- results --> with <!-- end of results --> below it; add both")
    path.write_text(BLOCK.sub(lambda found: f"{found[1]}{summary.strip()}\n{found[2]}", text), encoding="utf-8")


def _find_claims(claims: str) -> tuple[Comparison | None, Cost]:
    """The comparison of the claims' experiment, None where nothing can be judged, and what its runs took."""
    declared = load_experiment(claims)
    nothing = Cost(
        runs=0, declared=len(declared.variants) * len(declared.seeds), hours=0.0, restarts=0, machines=Counter()
    )
    try:
        found = find_comparison(claims)
    except RunsDamaged:
        raise
    except (AnalysisError, StoreError):  # no such experiment yet, or no finished run
        return None, nothing
    judged = found.comparison if any(verdict.n_seeds for verdict in found.comparison.verdicts) else None
    return judged, _measure_cost(found, claims)


def _measure_cost(found: Found, path: str) -> Cost:
    """What the runs of a comparison took."""
    declared, runs = load_experiment(path), found.comparison.runs
    run_ids: Sequence[str] = list(runs["run_id"])
    seconds = read_history(found.store, run_ids, (metrics.EPOCH_SECONDS,))["value"].sum()
    sources = read_provenance(found.store, found.experiment_id, runs, ())
    return Cost(
        runs=len(runs),
        declared=len(declared.variants) * len(declared.seeds),
        hours=float(seconds) / 3600,
        restarts=sum(source.attempts - 1 for source in sources),
        machines=Counter(str(source.environment.get("cpu", "")) for source in sources),
    )
