"""Find finished runs whose files or metric points are not what they were when they finished."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial

from pipeline.study.tags import HOST
from pipeline.sweep.finding import Finding
from pipeline.tracking.files.artifacts import is_in_reach
from pipeline.tracking.files.hashes import find_changes
from pipeline.tracking.store import Store
from pipeline.tracking.write.survey import RunRecord, fail_run

logger = logging.getLogger(__name__)


def find_changed(store: Store, finished: Sequence[RunRecord]) -> Iterator[Finding]:
    """The damaged ones of these runs; says how many an earlier version finished, of which no hash was kept."""
    unknown = 0
    for run in finished:
        if not is_in_reach(run.artifact_uri, run.tags.get(HOST)):
            continue
        changes = find_changes(store, run)
        unknown += changes is None
        if changes:
            yield Finding(
                subject=f"run {run.run_id}",
                problem=f"finished, and since then {', '.join(changes)}",
                remedy="ended as failed, so that a sweep trains it again",
                fix=partial(fail_run, store, run.run_id, _explain_change),
            )
    if unknown:
        logger.warning("%d runs of an earlier version have no hashes, so damage to them cannot be seen", unknown)


def _explain_change(store: Store, run: RunRecord) -> str:
    """Why a finished training no longer counts as a result; "" if it does."""
    changes = [] if run.deleted or run.state != "finished" else find_changes(store, run)
    return f"since it finished, {', '.join(changes)}" if changes else ""
